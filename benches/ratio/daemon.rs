//! The daemon under test, on free ports and with a folder of its own; ended with the bench.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

/// A child process; killed with its value.
pub(crate) struct Process(Child);

impl Process {
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.0.kill().is_ok() && self.0.wait().is_err() {
            eprintln!("process {} could not be waited for", self.0.id());
        }
    }
}

/// A folder that goes with its value.
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// A new one, named by what it is for and by this process.
    pub(crate) fn new(purpose: &str) -> anyhow::Result<Self> {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{purpose}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

pub(crate) struct Daemon {
    pub(crate) process: Process,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) file: PathBuf,
    /// From the start of the process to its first whole answer.
    pub(crate) first_answer: Duration,
    /// Dropped after the process that writes into it.
    _folder: Folder,
}

impl Daemon {
    /// Starts `program`, which is tollgate or runs it, on the file that `routes` gives for the two addresses.
    pub(crate) fn start(mut program: Command, routes: impl FnOnce(SocketAddr, SocketAddr) -> String) -> anyhow::Result<Self> {
        let own = Folder::new("bench")?;
        let folder = own.path().to_owned();
        let (listen, admin) = (free_address()?, free_address()?);
        let file = folder.join("routes.yaml");
        std::fs::write(&file, routes(listen, admin))?;
        let nowhere = || std::fs::OpenOptions::new().write(true).open("/dev/null");
        let log = std::fs::File::create(folder.join("log"))?;
        let began = Instant::now();
        program.args(["serve", "--config"]).arg(&file).arg("--state").arg(folder.join("state"));
        let child = program.stdin(Stdio::null()).stdout(nowhere()?).stderr(log).spawn().context("tollgate does not start")?;
        let daemon = Self { process: Process::new(child), listen, admin, file, first_answer: Duration::ZERO, _folder: own };
        while !daemon.ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
            if began.elapsed() > Duration::from_secs(10) {
                let log = std::fs::read_to_string(folder.join("log"))?;
                bail!("tollgate gave no answer in 10 s:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { first_answer: began.elapsed(), ..daemon })
    }

    /// The whole answer to a small call that is left to the rules.
    pub(crate) fn ask(&self) -> std::io::Result<String> {
        let body = r#"{"model":"auto","messages":[{"role":"user","content":"hi"}]}"#;
        exchange(self.listen, "POST", "/v1/chat/completions", body)
    }

    /// The sum of a metric's series now.
    pub(crate) fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = exchange(self.admin, "GET", "/metrics", "")?;
        let series = text.lines().filter_map(|line| line.strip_prefix(name)).filter(|rest| rest.starts_with(['{', ' ']));
        let values = series.filter_map(|rest| rest.rsplit(' ').next()).map(str::parse::<f64>);
        values.sum::<Result<f64, _>>().with_context(|| format!("{name} is no number"))
    }
}

/// Memory that a process has in use, in KiB.
pub(crate) fn rss_kib(process: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS line")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// A port that nobody listens on now.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?)
}

/// One request on a connection of its own; the whole answer, head and body.
fn exchange(address: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let fields = format!("host: {address}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
    stream.write_all(format!("{method} {path} HTTP/1.1\r\n{fields}\r\n\r\n{body}").as_bytes())?;
    std::io::read_to_string(stream)
}
