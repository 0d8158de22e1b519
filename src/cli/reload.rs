use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::outside::ControlClient;

use super::daemon::{Daemon, tell_failure};
use super::exit;

pub(super) fn run(daemon: &Daemon) -> anyhow::Result<ExitCode> {
    daemon.ask(async |socket, json| ask(socket, json, &mut anstream::stdout(), &mut anstream::stderr()).await)
}

/// Makes the daemon read its file now and prints its verdict. Answers the exit code: 0 in force or unchanged, 1 refused.
async fn ask(socket: &Path, json: bool, out: &mut impl Write, err: &mut impl Write) -> io::Result<u8> {
    let answer = match ControlClient::new(socket) {
        Ok(client) => client.post_reload().await,
        Err(error) => Err(error),
    };
    let verdict = match answer {
        Ok(verdict) => verdict,
        Err(error) => return tell_failure(&error, json, out, err),
    };
    let ok = verdict["ok"].as_bool().unwrap_or(false);
    if json {
        writeln!(out, "{verdict:#}")?;
    } else {
        let text = verdict["text"].as_str().unwrap_or("the daemon gave no verdict\n");
        // A refusal is an error like any other: scripts that keep stdout alone stay clean.
        if ok { out.write_all(text.as_bytes())? } else { err.write_all(text.as_bytes())? }
    }
    Ok(if ok { exit::OK } else { exit::FINDINGS })
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::answering;
    use super::*;

    #[tokio::test]
    async fn the_verdict_is_printed_and_decides_the_exit_code() {
        for (head, body, json, code, out, err) in [
            ("200 OK", r#"{"ok":true,"text":"revision 2-abc is in force\n"}"#, false, 0, "revision 2-abc is in force\n", ""),
            ("422 No", r#"{"ok":false,"text":"error[bad]: x\n"}"#, false, 1, "", "error[bad]: x\n"),
            ("422 No", r#"{"ok":false}"#, true, 1, "{\n  \"ok\": false\n}\n", ""),
            (
                "403 No",
                r#"{"error":"user 7 may not reload"}"#,
                false,
                77,
                "",
                "error: user 7 may not reload\n hint: run it as root or as the daemon's user\n",
            ),
        ] {
            let (mut printed, mut complained) = (Vec::new(), Vec::new());
            let given = answering(head, body, |socket| async move {
                (ask(&socket, json, &mut printed, &mut complained).await.unwrap(), printed, complained)
            })
            .await;
            assert_eq!(given, (code, out.as_bytes().to_vec(), err.as_bytes().to_vec()), "{head}");
        }
    }

    #[tokio::test]
    async fn without_a_daemon_the_message_says_where_it_was_looked_for() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(ask(Path::new("/nowhere/control.sock"), false, &mut out, &mut err).await.unwrap(), 69);
        let err = String::from_utf8(err).unwrap();
        assert!(err.starts_with("error: no daemon listens on /nowhere/control.sock\n hint: start it"), "{err}");
    }
}
