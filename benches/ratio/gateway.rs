//! The daemon under test, with everything on: twenty rules with mixed conditions, limits, metrics and a record per request.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::process::{self, Process};

/// What every request of the load asks for.
pub(crate) const MODEL: &str = "bench-model";
/// What every request says of itself.
pub(crate) const LABELS: &str = "feature=bench,run=7";

/// Conditions that look at every kind of fact and that no request of the load fulfils: the twentieth rule matches.
const CONDITIONS: [&str; 19] = [
    "{ task: coding }",
    "{ model: \"gpt-*\" }",
    "{ task: [summarization, translation], prompt_tokens: { max: 32k } }",
    "{ prompt_tokens: { min: 300k } }",
    "{ labels: { team: \"search-*\" } }",
    "{ headers: { x-app: batch } }",
    "{ needs: [vision] }",
    "{ turns: { min: 40 } }",
    "{ effort: [high] }",
    "{ endpoint: embeddings }",
    "{ max_cost: { max: $0.002 } }",
    "{ model: [\"claude-*\", \"*-mini\"] }",
    "{ needs: [audio, files] }",
    "{ stream: true, labels: { run: nightly } }",
    "{ labels: { feature: \"import-*\" }, prompt_tokens: { min: 1k } }",
    "{ model: auto }",
    "{ headers: { x-region: \"eu-*\" } }",
    "{ needs: [tools], prompt_tokens: { max: 8k } }",
    "{ endpoint: completions, stream: true }",
];

pub(crate) struct Gateway {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
    /// From the start of the process to its first whole answer.
    pub(crate) first_answer: Duration,
}

/// Starts the program of this package before `upstream` and waits for its first answer.
pub(crate) fn start(upstream: SocketAddr) -> anyhow::Result<Gateway> {
    let folder = folder()?;
    let (address, admin) = (free_address()?, free_address()?);
    let file = folder.join("routes.yaml");
    std::fs::write(&file, routes(upstream, address, admin))?;
    let output = || std::fs::OpenOptions::new().write(true).open("/dev/null");
    let began = Instant::now();
    let child = process::pinned(env!("CARGO_BIN_EXE_tollgate"), process::SERVER_CORE)
        .arg("serve")
        .arg("--config")
        .arg(&file)
        .arg("--state")
        .arg(folder.join("state"))
        .stdin(Stdio::null())
        .stdout(output()?)
        .stderr(output()?)
        .spawn()
        .context("tollgate does not start")?;
    let process = Process::new(child);
    while !answers(address) {
        if began.elapsed() > Duration::from_secs(10) {
            bail!("tollgate gave no answer in 10 s; look at it with: tollgate serve --config {}", file.display());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(Gateway { process, address, first_answer: began.elapsed() })
}

fn folder() -> anyhow::Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("ratio-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A port that nobody listens on now.
fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?.local_addr()?)
}

/// Whether the smallest possible call gets a status 200.
fn answers(address: SocketAddr) -> bool {
    let body = format!(r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"hi"}}]}}"#);
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let ask = || -> std::io::Result<String> {
        let mut stream = std::net::TcpStream::connect(address)?;
        std::io::Write::write_all(&mut stream, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
        std::io::read_to_string(stream)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn routes(upstream: SocketAddr, listen: SocketAddr, admin: SocketAddr) -> String {
    let model = "usd_per_mtok: { input: 1, output: 2 }, context: 1M, max_output: 100k, can: [tools]";
    let target = format!("mock/{MODEL}");
    let rule = |(number, conditions): (usize, &&str)| format!("  - {{ name: rule-{number}, match: {conditions}, chain: [{target}] }}\n");
    let rules: String = CONDITIONS.iter().enumerate().map(rule).collect();
    format!(
        "version: 1
server:
  listen: {listen}
  admin: {admin}
providers:
  mock:
    format: openai
    base_url: http://{upstream}/v1
    limits: {{ requests: 100M/min, tokens: 100_000M/min, concurrent: 100000 }}
    models:
      {MODEL}: {{ {model}, limits: {{ requests: 100M/min }} }}
rules:
{rules}  - {{ name: rule-19, match: {{ model: \"bench-*\", prompt_tokens: {{ max: 1M }} }}, chain: [{target}] }}
default: {{ chain: [{target}] }}
"
    )
}
