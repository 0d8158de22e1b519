use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use super::Refused;
use super::include::{self, Included};
use crate::config::{self, Code, Diagnostic, Include, Place, Sources};
use crate::store::sources_hash;

/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// A file and all that it includes as they were read: whole, and UTF-8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub sources: Sources,
    /// [`sources_hash`] of them.
    pub hash: String,
    /// How the included files looked right before they were read; absent where the file does not say which they are.
    pub(super) included: Option<Included>,
}

/// Why there is no text to check.
#[derive(Debug)]
pub(super) enum Fault {
    /// No file under this path, or no directory for it.
    Missing,
    /// The file changed while it was read.
    Torn,
    Unsound(Diagnostic),
}

impl Fault {
    pub(super) fn refused(self, path: &Path) -> Refused {
        let mut finding = match self {
            Self::Unsound(finding) => finding,
            Self::Missing => {
                let hint = "`--config FILE` names another one, `tollgate init` writes a first one";
                finding(Code::UNREADABLE, "no such file".into(), Some(hint))
            }
            Self::Torn => finding(Code::UNSETTLED, "the file keeps changing while it is read".into(), Some("try again when it is whole")),
        };
        finding.file = Some(path.display().to_string().into());
        let Place { line, column, .. } = finding.place;
        let place = if line == 0 { String::new() } else { format!(":{line}:{column}") };
        let hint = finding.hint.as_ref().map(|hint| format!("\n   hint: {hint}")).unwrap_or_default();
        let text = format!("error[{}]: {}\n  --> {}{place}{hint}\n", finding.code, finding.message, path.display());
        Refused { text, findings: vec![finding], secrets: Vec::new() }
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stat {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Reads a file and all that it includes.
pub(super) fn read(path: &Path) -> Result<Source, Fault> {
    let text = read_text(path)?;
    let entries = config::includes(&text);
    let patterns = |entries: &Vec<Include>| entries.iter().map(|include| include.pattern.clone()).collect();
    let included = entries.as_ref().map(|entries| Included::look(include::folder(path), patterns(entries)).0);
    let sources = include::gather(path, text, entries.as_deref().unwrap_or_default())?;
    Ok(Source { hash: sources_hash(&sources), sources, included })
}

/// Reads a regular file of at most 1 MiB. Waits for no pipe, and reads no more than one byte beyond the limit.
pub(super) fn read_text(path: &Path) -> Result<String, Fault> {
    // Asked before opening, because opening alone may already do something to a device.
    regular(&fs::metadata(path).map_err(|error| unreadable(&error))?)?;
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(|error| unreadable(&error))?;
    let before = file.metadata().map_err(|error| unreadable(&error))?;
    regular(&before)?;
    let mut bytes = Vec::new();
    file.by_ref().take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > LARGEST {
        let message = "the file is larger than 1 MiB".into();
        return Err(Fault::Unsound(finding(Code::FILE_TOO_LARGE, message, Some("a rule file of that size is most likely another file"))));
    }
    let after = file.metadata().map_err(|error| unreadable(&error))?;
    if Stat::of(&before) != Stat::of(&after) {
        return Err(Fault::Torn);
    }
    String::from_utf8(bytes).map_err(|error| not_utf8(error.as_bytes(), error.utf8_error().valid_up_to()))
}

fn regular(metadata: &Metadata) -> Result<(), Fault> {
    let kind = metadata.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Fault::Unsound(finding(Code::NOT_A_FILE, format!("the path names {what}, expected a file"), None)))
}

fn unreadable(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Fault::Missing,
        kind => {
            let hint = (kind == io::ErrorKind::PermissionDenied).then_some("the daemon's user must be able to read the file");
            Fault::Unsound(finding(Code::UNREADABLE, format!("the file cannot be read: {kind}"), hint))
        }
    }
}

fn not_utf8(bytes: &[u8], sound: usize) -> Fault {
    let (message, hint) = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("the file is UTF-16".to_owned(), "save it as UTF-8"),
        _ => (format!("byte 0x{:02x} is no UTF-8", bytes.get(sound).copied().unwrap_or_default()), "save the file as UTF-8"),
    };
    let before = String::from_utf8_lossy(&bytes[..sound]);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let place = Place { file: 0, line, column, start: sound, end: sound + 1 };
    Fault::Unsound(Diagnostic { place, ..finding(Code::BAD_ENCODING, message, Some(hint)) })
}

fn finding(code: Code, message: String, hint: Option<&str>) -> Diagnostic {
    Diagnostic { hint: hint.map(ToOwned::to_owned), ..Diagnostic::error(code, Place::default(), message) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::super::folder;
    use super::*;

    fn code(path: &Path) -> String {
        match read(path) {
            Ok(_) => "sound".into(),
            Err(fault) => fault.refused(path).findings[0].code.to_string(),
        }
    }

    #[test]
    fn c26_what_is_no_file_is_refused_without_waiting() {
        let folder = folder();
        let pipe = folder.join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let socket = folder.join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [&folder, &pipe, &socket, Path::new("/dev/null"), Path::new("/dev/zero")] {
            assert_eq!(code(path), "not-a-file", "{}", path.display());
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn c11_the_limit_is_one_mebibyte() {
        let folder = folder();
        let path = folder.join("routes.yaml");
        for (size, expected) in [(1 << 20, "sound"), ((1 << 20) + 1, "file-too-large"), (9 << 20, "file-too-large")] {
            fs::write(&path, "#".repeat(size)).unwrap();
            assert_eq!(code(&path), expected, "{size}");
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn c01_what_is_no_utf8_is_refused_with_its_place() {
        let folder = folder();
        let path = folder.join("routes.yaml");
        for (bytes, place, message) in [
            (b"a: 1\nb: \"\xc3\xa4\xff\"".as_slice(), (2, 6), "byte 0xff is no UTF-8"),
            (b"\xff\xfea\0".as_slice(), (1, 1), "the file is UTF-16"),
        ] {
            fs::write(&path, bytes).unwrap();
            let Err(Fault::Unsound(finding)) = read(&path) else { panic!("{message}") };
            assert_eq!(((finding.place.line, finding.place.column), finding.message.as_str()), (place, message));
        }
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn c07_a_file_without_permission_is_refused() {
        let folder = folder();
        let path = folder.join("routes.yaml");
        fs::write(&path, "version: 1\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        // Root reads every file; the answer is then the file itself.
        let expected = if fs::read(&path).is_ok() { "sound" } else { "unreadable" };
        assert_eq!(code(&path), expected);
        let Fault::Unsound(refused) = unreadable(&io::Error::from(io::ErrorKind::PermissionDenied)) else { panic!() };
        assert_eq!(refused.message, "the file cannot be read: permission denied");
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn c04_a_missing_file_or_directory_is_missing() {
        let folder = folder();
        fs::write(folder.join("file"), "").unwrap();
        for path in ["none.yaml", "none/routes.yaml", "file/routes.yaml"] {
            assert!(matches!(read(&folder.join(path)), Err(Fault::Missing)), "{path}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
