//! The processes of a bench: this very program in other roles, pinned to a core; CPU time and memory read from `/proc`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::daemon::Process;
use crate::load::{Load, Told};
use crate::mock::Script;

pub(crate) const SERVER_CORE: usize = 0;
pub(crate) const LOAD_CORE: usize = 1;

/// Names the part that this very program plays when it is started again.
const ROLE_VARIABLE: &str = "TOLLGATE_BENCH_ROLE";

#[derive(Serialize, Deserialize)]
pub(crate) enum Role {
    /// The provider, and the load when it is told to.
    Peer(Script),
    /// The bare proxy, and where its provider listens.
    Bare(SocketAddr),
}

impl Role {
    pub(crate) fn of_this_process() -> anyhow::Result<Option<Self>> {
        match std::env::var(ROLE_VARIABLE) {
            Ok(text) => Ok(Some(serde_json::from_str(&text)?)),
            Err(_) => Ok(None),
        }
    }
}

/// A command that runs on `core` alone, where there is more than one.
pub(crate) fn pinned(program: &str, core: usize) -> Command {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.to_string()).arg(program);
    command
}

/// The provider and the load: one process, told over its standard input what to do next.
pub(crate) struct Peer {
    /// Where the provider listens.
    pub(crate) address: SocketAddr,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    _process: Process,
}

impl Peer {
    pub(crate) fn start(script: Script) -> anyhow::Result<Self> {
        let mut child =
            again(&Role::Peer(script), LOAD_CORE)?.stdin(Stdio::piped()).spawn().context("this program does not start again")?;
        let (input, output) = (child.stdin.take().context("no input")?, child.stdout.take().context("no output")?);
        let process = Process::new(child);
        let mut output = BufReader::new(output);
        let address = read_address(&mut output)?;
        Ok(Self { address, input, output, _process: process })
    }

    /// Runs one load to its end.
    pub(crate) fn put_under(&mut self, load: &Load) -> anyhow::Result<Told> {
        writeln!(self.input, "{}", serde_json::to_string(load)?)?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        serde_json::from_str(&line).context("the load ended early")
    }
}

/// Starts this program in `role` and reads the address that it prints first.
pub(crate) fn start(role: &Role, core: usize) -> anyhow::Result<(Process, SocketAddr)> {
    let mut child = again(role, core)?.stdin(Stdio::piped()).spawn().context("this program does not start again")?;
    let output = child.stdout.take().context("no output")?;
    let process = Process::new(child);
    Ok((process, read_address(&mut BufReader::new(output))?))
}

fn read_address(output: &mut impl BufRead) -> anyhow::Result<SocketAddr> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    line.trim().parse().with_context(|| format!("`{}` is no address", line.trim()))
}

fn again(role: &Role, core: usize) -> anyhow::Result<Command> {
    let program = std::env::current_exe()?;
    let mut command = pinned(program.to_str().context("the program's path is no UTF-8")?, core);
    command.env(ROLE_VARIABLE, serde_json::to_string(role)?).stdout(Stdio::piped());
    Ok(command)
}

/// Serves on a free port of the loopback address, which it prints, until standard input ends: this process then does too.
pub(crate) fn listen<F: Future<Output = anyhow::Result<()>>>(serve: impl FnOnce(TcpListener) -> F) -> anyhow::Result<()> {
    std::thread::spawn(|| {
        let mut ignored = Vec::new();
        let code = i32::from(std::io::stdin().read_to_end(&mut ignored).is_err());
        std::process::exit(code);
    });
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        serve(listener).await
    })
}

/// CPU time of each thread of a process so far, in nanoseconds.
pub(crate) struct CpuTime(HashMap<String, u64>);

impl CpuTime {
    pub(crate) fn of(process: u32) -> anyhow::Result<Self> {
        let mut threads = HashMap::new();
        for entry in std::fs::read_dir(format!("/proc/{process}/task"))? {
            let path = entry?.path();
            // A thread may end between the listing and the reading.
            let Ok(text) = std::fs::read_to_string(path.join("schedstat")) else { continue };
            let nanoseconds = text.split_ascii_whitespace().next().context("an empty schedstat")?.parse()?;
            threads.insert(path.display().to_string(), nanoseconds);
        }
        Ok(Self(threads))
    }

    /// What was used since `before`, by the threads that are still there.
    pub(crate) fn since(&self, before: &Self) -> u64 {
        self.0.iter().map(|(thread, now)| now - before.0.get(thread).unwrap_or(&0)).sum()
    }
}
