use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream as BlockingStream;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// The socket's name in whatever folder it lives.
const NAME: &str = "control.sock";
/// Where the shipped unit has its runtime folder.
const SHARED: &str = "/run/tollgate";

/// Who asks for the socket's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Daemon,
    /// Takes another place than the daemon's rule says where only there is a socket.
    Command,
}

/// Who is on the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub uid: u32,
    /// True for root and the daemon's own user.
    pub may_change: bool,
}

impl Peer {
    /// As the kernel says. `owner` is the daemon's user.
    pub fn of(stream: &UnixStream, owner: u32) -> io::Result<Self> {
        let uid = stream.peer_cred()?.uid();
        Ok(Self { uid, may_change: uid == 0 || uid == owner })
    }
}

/// A bound control socket.
#[derive(Debug)]
pub struct Bound {
    pub listener: UnixListener,
    /// The daemon's user.
    pub owner: u32,
}

/// `control.sock` in `$RUNTIME_DIRECTORY`, else in `/run/tollgate` where that can be written, else in the state folder.
#[must_use]
pub fn socket_path(runtime_directory: Option<&OsStr>, state: &Path, side: Side) -> PathBuf {
    place(runtime_directory, Path::new(SHARED), state, side)
}

fn place(runtime_directory: Option<&OsStr>, shared: &Path, state: &Path, side: Side) -> PathBuf {
    // systemd separates several folders with colons; the first is the one the unit names first.
    let given = runtime_directory.map(|all| all.to_string_lossy().split(':').next().unwrap_or_default().to_owned());
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        return Path::new(&given).join(NAME);
    }
    let (shared_socket, state_socket) = (shared.join(NAME), state.join(NAME));
    let is_socket = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket());
    let daemons = if is_writable(shared) { &shared_socket } else { &state_socket };
    if side == Side::Daemon || is_socket(daemons) {
        return daemons.clone();
    }
    // A reader in the socket's group cannot write to the shared folder, and still finds the daemon there.
    [&state_socket, &shared_socket].into_iter().find(|path| is_socket(path)).unwrap_or(daemons).clone()
}

fn is_writable(folder: &Path) -> bool {
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    let created = File::options().write(true).create(true).truncate(true).open(&probe).is_ok();
    created && fs::remove_file(probe).is_ok()
}

/// Binds the socket: its group may connect, others may not. A socket left by a dead daemon is replaced.
/// Fails with `AddrInUse` when a daemon answers there. Must run inside a runtime.
pub fn bind(path: &Path) -> io::Result<Bound> {
    if BlockingStream::connect(path).is_ok() {
        return Err(io::Error::new(io::ErrorKind::AddrInUse, format!("another daemon listens on {}", path.display())));
    }
    // Bound beside and moved over, so that nobody connects before the permissions hold.
    let beside = path.with_extension(format!("{}", std::process::id()));
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&beside)?;
    fs::set_permissions(&beside, Permissions::from_mode(0o660))?;
    let owner = fs::metadata(&beside)?.uid();
    fs::rename(&beside, path)?;
    Ok(Bound { listener, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("tollgate-socket-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(folder.join("state")).unwrap();
        folder
    }

    #[tokio::test]
    async fn daemon_and_command_agree_on_the_place() {
        let folder = folder();
        let (shared, state) = (folder.join("shared"), folder.join("state"));
        let both = |given: Option<&OsStr>| [Side::Daemon, Side::Command].map(|side| place(given, &shared, &state, side));
        assert_eq!(both(Some(OsStr::new("/run/a:/run/b"))), [PathBuf::from("/run/a/control.sock"), "/run/a/control.sock".into()]);
        assert_eq!(both(None), [state.join(NAME), state.join(NAME)]);
        fs::create_dir(&shared).unwrap();
        assert_eq!(both(None), [shared.join(NAME), shared.join(NAME)]);
        // Only the state folder has a socket: a daemon of another user runs there.
        let _bound = bind(&state.join(NAME)).unwrap();
        assert_eq!(both(None), [shared.join(NAME), state.join(NAME)]);
        fs::remove_dir_all(folder).unwrap();
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_one_is_not() {
        let folder = folder();
        let path = folder.join(NAME);
        let bound = bind(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(bind(&path).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let (client, server) = tokio::join!(UnixStream::connect(&path), async {
            // The first connection is the one that asked whether somebody lives here.
            bound.listener.accept().await.unwrap();
            bound.listener.accept().await.unwrap().0
        });
        drop(client.unwrap());
        let peer = Peer::of(&server, bound.owner).unwrap();
        assert_eq!(peer, Peer { uid: bound.owner, may_change: true });
        assert_eq!(Peer::of(&server, bound.owner + 1).unwrap().may_change, bound.owner == 0);
        drop(bound);
        bind(&path).unwrap();
        fs::remove_dir_all(folder).unwrap();
    }
}
