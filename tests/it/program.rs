//! The program as a process of its own, for tests that need one.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::*;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate");
/// The key of every provider here: whatever prints it is at fault.
pub(crate) const KEY: &str = "sk-recognisable-d41d8cd98f00b204";
/// A user without rights, where the tests run as root.
pub(crate) const NOBODY: u32 = 65_534;

/// What one stream of a process has said so far.
#[derive(Clone, Default)]
pub(crate) struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    pub(crate) fn by(mut pipe: impl Read + Send + 'static) -> Self {
        let said = Self::default();
        let taken = said.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 4 << 10];
            while let Ok(read @ 1..) = pipe.read(&mut chunk) {
                taken.0.lock().unwrap().extend_from_slice(&chunk[..read]);
            }
        });
        said
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The whole lines so far, which are JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = self.text();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))).collect()
    }

    pub(crate) async fn wait_for(&self, message: &str) -> Value {
        eventually(|| self.lines().into_iter().find(|line| line["message"] == message)).await
    }
}

/// `tollgate serve` in a folder of its own; killed when dropped.
pub(crate) struct Serving {
    pub(crate) child: Child,
    pub(crate) folder: Folder,
    pub(crate) out: Said,
    pub(crate) err: Said,
}

pub(crate) fn command(folder: &Folder, arguments: &[&str]) -> Command {
    command_of(Path::new(PROGRAM), folder, arguments)
}

pub(crate) fn command_of(program: &Path, folder: &Folder, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder.path()).env_clear().stdin(Stdio::null());
    command.env("TOLLGATE_TEST_KEY", KEY).env("RUNTIME_DIRECTORY", folder.file("state"));
    command
}

/// Runs a command to its end in a folder that holds a `routes.yaml` and the state of its daemon.
pub(crate) fn run(folder: &Folder, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn folder_with(routes: &str) -> Folder {
    let folder = Folder::new();
    fs::write(folder.file("routes.yaml"), routes).unwrap();
    folder
}

impl Serving {
    pub(crate) async fn start(routes: &str) -> Self {
        Self::start_in(folder_with(routes), &[], |_| {}).await
    }

    pub(crate) async fn start_in(folder: Folder, more: &[&str], change: impl FnOnce(&mut Command)) -> Self {
        let mut command = command(&folder, &["serve", "--state", "state"]);
        command.args(more);
        change(&mut command);
        Self::spawn(folder, command).await
    }

    pub(crate) async fn spawn(folder: Folder, mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Said::by(child.stdout.take().unwrap()), Said::by(child.stderr.take().unwrap()));
        let serving = Self { child, folder, out, err };
        serving.err.wait_for("serving").await;
        serving
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.file("routes.yaml")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        run(&self.folder, arguments)
    }

    pub(crate) fn status(&self) -> Value {
        let output = self.run(&["status", "--json", "--state", "state"]);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn address(&self, listener: &str) -> std::net::SocketAddr {
        self.status()[listener].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        kill(name, self.child.id());
    }

    pub(crate) async fn end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually(|| child.try_wait().unwrap()).await
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

pub(crate) fn kill(signal: &str, process: u32) {
    assert!(Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status().unwrap().success());
}
