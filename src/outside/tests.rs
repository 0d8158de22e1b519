use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{Limits, Timeouts};
use crate::units::{Format, ProviderName, Secret};

const SECRET: &str = "sk-very-secret";

fn provider(base_url: &str, key: Key) -> Provider {
    Provider {
        name: ProviderName::parse("house").unwrap(),
        format: Format::OpenAi,
        base_url: Some(base_url.parse().unwrap()),
        key,
        limits: Limits::default(),
        timeouts: Timeouts { connect: Duration::from_millis(500), first_content: Duration::from_mins(1), idle: Duration::from_mins(1) },
        cooldown: None,
        proxy: Proxy::None,
        http1_only: false,
        on_disconnect: crate::units::OnDisconnect::default(),
        cost_source: crate::config::CostSource::default(),
        sandbox: None,
    }
}

fn key() -> Key {
    Key::Present(Secret::new(SECRET.into()))
}

/// Answers one request with a head line and a body; the second value is the request as it came.
async fn scripted(head: &'static str, body: &'static str) -> (String, tokio::sync::oneshot::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let (tx, rx) = tokio::sync::oneshot::channel();
    TaskTracker::new().spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        tx.send(String::from_utf8_lossy(&request[..length]).to_lowercase()).unwrap();
        let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    (url, rx)
}

async fn ask_scripted(head: &'static str, body: &'static str, key: Key) -> (Probe, String) {
    let (url, request) = scripted(head, body).await;
    let probe = probe(&provider(&url, key), Duration::from_secs(10), &Clock::System).await;
    (probe, request.await.unwrap())
}

#[tokio::test]
async fn a_probe_sends_the_key_and_reads_the_models() {
    let (probe, request) = ask_scripted("200 OK", r#"{"data":[{"id":"a","object":"model"},{"id":"b"}]}"#, key()).await;
    assert!(request.starts_with("get /v1/models http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("authorization: bearer {SECRET}\r\n")), "{request}");
    assert_eq!((probe.reachable, probe.key_works, probe.is_well()), (true, Some(true), true));
    assert_eq!((probe.models, probe.problem), (Some(vec!["a".into(), "b".into()]), None));
}

#[tokio::test]
async fn what_a_status_says() {
    let missing = || Key::Missing("HOUSE_KEY".into());
    for (head, body, key, key_works, problem) in [
        ("401 Unauthorized", "", key(), Some(false), "the key is refused (status 401)"),
        ("403 Forbidden", "", key(), Some(false), "the key is refused (status 403)"),
        ("401 Unauthorized", "", Key::NotNeeded, None, "a key is asked for (status 401)"),
        ("401 Unauthorized", "", missing(), None, "no key: HOUSE_KEY is not set"),
        ("404 Not Found", "", key(), None, "no list of models there (status 404)"),
        ("429 Too Many Requests", "", key(), None, "status 429"),
        ("302 Found\r\nlocation: http://127.0.0.1:1/", "", key(), None, "redirects are not followed (status 302)"),
        ("200 OK", "<html>", key(), Some(true), "the answer is no list of models"),
    ] {
        let (probe, _) = ask_scripted(head, body, key).await;
        assert_eq!((probe.reachable, probe.key_works, probe.problem.as_deref()), (true, key_works, Some(problem)), "{head}");
    }
}

#[tokio::test]
async fn nobody_there_is_told_without_key_or_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}/v1", listener.local_addr().unwrap());
    let answer = probe(&provider(&silent, key()), Duration::from_millis(50), &Clock::System).await;
    assert_eq!((answer.reachable, answer.problem.as_deref()), (false, Some("no answer within 50ms")));
    drop(listener);
    let answer = probe(&provider(&silent, key()), Duration::from_secs(10), &Clock::System).await;
    assert!(!answer.is_well() && !answer.reachable);
    let problem = answer.problem.unwrap();
    assert!(problem.starts_with("cannot connect: ") && !problem.contains("127.0.0.1") && !problem.contains(SECRET), "{problem}");
}

#[tokio::test]
async fn the_control_client_tells_nobody_there_from_no_permission() {
    let socket = std::env::temp_dir().join(format!("tollgate-control-{}", uuid::Uuid::now_v7()));
    let client = ControlClient::new(&socket).unwrap();
    assert_eq!(client.get_status().await, Err(ControlError::NobodyListens(socket.display().to_string())));
    // A socket whose daemon died is there, and nobody listens.
    drop(UnixListener::bind(&socket).unwrap());
    assert_eq!(client.post_reload().await, Err(ControlError::NobodyListens(socket.display().to_string())));
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let answers = [
        ("200 OK", r#"{"ok":true}"#, Ok(serde_json::json!({"ok": true}))),
        ("422 Unprocessable Content", r#"{"ok":false}"#, Ok(serde_json::json!({"ok": false}))),
        ("403 Forbidden", r#"{"error":"not you"}"#, Err(ControlError::Forbidden("not you".into()))),
        ("500 Oops", r#"{"error":"broken"}"#, Err(ControlError::Unusable("broken".into()))),
    ];
    for (head, body, expected) in answers {
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"POST /reload "));
            let answer = format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (answer, ()) = tokio::join!(client.post_reload(), serve);
        assert_eq!(answer, expected);
    }
    std::fs::remove_file(socket).unwrap();
}
