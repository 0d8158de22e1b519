use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::daemon::{Daemon, tell_failure};
use super::exit;
use crate::outside::ControlClient;

pub(super) fn run(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    daemon.ask(async |socket, json| ask(socket, json, &mut anstream::stdout(), &mut anstream::stderr()).await)
}

/// Prints how the daemon is. Answers the exit code: 0 when it answered.
async fn ask(socket: &Path, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let answer = match ControlClient::new(socket) {
        Ok(client) => client.get_status().await,
        Err(error) => Err(error),
    };
    let status = match answer {
        Ok(status) => status,
        Err(error) => return tell_failure(&error, json, out, err),
    };
    if json {
        writeln!(out, "{status:#}")?;
    } else {
        out.write_all(readable(&status).as_bytes())?;
    }
    Ok(exit::OK)
}

/// The status as people read it. Fields that a daemon of another version lacks print as `-`.
fn readable(status: &Value) -> String {
    let mut text = String::new();
    let last = &status["last_reload"];
    let mut head = plain();
    head.add_row(["revision", &word(&status["revision"])]);
    head.add_row(["file", &word(&status["config_path"])]);
    let verdict = if last["ok"].as_bool().unwrap_or(false) { "ok" } else { "refused" };
    head.add_row(["last reload", &format!("{verdict} ({}) {}", word(&last["cause"]), word(&last["at"]))]);
    head.add_row(["serving", &format!("{} connections, {} open streams", word(&status["connections"]), word(&status["open_streams"]))]);
    head.add_row(["version", &format!("{}, since {}", word(&status["version"]), word(&status["started_at"]))]);
    push(&mut text, &head);
    if !status["degraded"].is_null() {
        text.push_str("\nDEGRADED: the file on disk is refused, the last good one serves\n");
    }
    if verdict == "refused" {
        text.push('\n');
        text.push_str(last["text"].as_str().unwrap_or_default());
    }
    let providers = || status["providers"].as_array().into_iter().flatten();
    let mut targets = plain();
    targets.set_header(["target", "state", "until", "ttft p50", "p99"]);
    for target in providers().flat_map(|provider| provider["targets"].as_array().into_iter().flatten()) {
        let ttft = |part: &str| target["ttft_ms"][part].as_u64().map_or_else(|| "-".into(), |ms| format!("{ms} ms"));
        targets.add_row([word(&target["name"]), word(&target["state"]), word(&target["cooldown_until"]), ttft("p50"), ttft("p99")]);
    }
    let mut limits = plain();
    limits.set_header(["limit", "taken", "remaining"]);
    let callers = status["callers"].as_array().into_iter().flatten();
    for limit in providers().chain(callers).flat_map(|owner| owner["limits"].as_array().into_iter().flatten()) {
        limits.add_row([word(&limit["name"]), word(&limit["level"]), word(&limit["remaining"])]);
    }
    let mut budgets = plain();
    budgets.set_header(["budget", "spent", "held", "disputed", "cap", "forecast", "ends"]);
    for budget in status["budgets"].as_array().into_iter().flatten() {
        let dollars = |part: &str| budget[part].as_str().map_or_else(|| "-".into(), |amount| format!("${amount}"));
        let name = format!("{}.{}", word(&budget["name"]), word(&budget["window"]));
        let amounts = ["spent_usd", "held_usd", "disputed_usd", "cap_usd", "forecast_usd"].map(dollars);
        budgets.add_row(std::iter::once(name).chain(amounts).chain([word(&budget["ends"])]));
    }
    for table in [&targets, &limits, &budgets] {
        if !table.is_empty() {
            text.push('\n');
            push(&mut text, table);
        }
    }
    let ledger = &status["ledger"];
    if let Some(failing) = ledger["failing"].as_str() {
        _ = writeln!(text, "\nthe ledger cannot be written, and {} entries wait: {failing}", word(&ledger["queue"]));
    }
    if ledger["disputes"].as_u64().unwrap_or_default() > 0 {
        _ = writeln!(text, "\n{} disputes are open: `tollgate ledger disputes` shows them", word(&ledger["disputes"]));
    }
    text
}

pub(super) fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table
}

/// Adds a table without the spaces that pad its right and left edges.
pub(super) fn push(text: &mut String, table: &Table) {
    for line in table.to_string().lines() {
        text.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end());
        text.push('\n');
    }
}

fn word(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::future::Future;
    use std::path::PathBuf;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;

    use super::*;

    /// Runs `ask` beside a daemon that answers one request so.
    pub(in crate::cli) async fn answering<F: Future>(head: &str, body: &str, ask: impl FnOnce(PathBuf) -> F) -> F::Output {
        let socket = std::env::temp_dir().join(format!("tollgate-cli-{}", uuid::Uuid::now_v7()));
        let listener = UnixListener::bind(&socket).unwrap();
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (given, ()) = tokio::join!(ask(socket.clone()), serve);
        std::fs::remove_file(socket).unwrap();
        given
    }

    fn sample() -> Value {
        json!({
            "revision": "7-3f2a9c1b04de", "file_hash": "3f2a9c1b04de00", "config_path": "/etc/tollgate/routes.yaml",
            "last_reload": { "at": "2026-11-22T16:00:00Z", "ok": false, "cause": "watch", "findings": [], "text": "error[bad]: x\nnot reloaded\n" },
            "providers": [{
                "name": "openai",
                "targets": [
                    { "name": "openai/gpt-5", "state": "resting", "cooldown_until": "2026-11-22T16:01:00Z", "ttft_ms": { "p50": 310, "p99": 900 } },
                    { "name": "openai/gpt-5-nano", "state": "ready", "cooldown_until": null, "ttft_ms": null }
                ],
                "limits": [{ "name": "openai.requests", "level": 12, "remaining": 488 }]
            }],
            "connections": 3, "open_streams": 1, "started_at": "2026-11-22T15:00:00Z", "degraded": null, "version": "0.1.0"
        })
    }

    #[test]
    fn the_status_is_readable() {
        let expected = "\
revision     7-3f2a9c1b04de
file         /etc/tollgate/routes.yaml
last reload  refused (watch) 2026-11-22T16:00:00Z
serving      3 connections, 1 open streams
version      0.1.0, since 2026-11-22T15:00:00Z

error[bad]: x
not reloaded

target             state    until                 ttft p50  p99
openai/gpt-5       resting  2026-11-22T16:01:00Z  310 ms    900 ms
openai/gpt-5-nano  ready    -                     -         -

limit            taken  remaining
openai.requests  12     488
";
        assert_eq!(readable(&sample()), expected);
    }

    #[tokio::test]
    async fn json_is_passed_on_whole() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let body = sample().to_string();
        let (code, out) =
            answering("200 OK", &body, |socket| async move { (ask(&socket, true, &mut out, &mut err).await.unwrap(), out) }).await;
        assert_eq!((code, serde_json::from_slice::<Value>(&out).unwrap()), (0, sample()));
    }
}
