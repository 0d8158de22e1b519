//! Azure at the back: its paths, its key, its version, its errors.

use serde_json::json;

use crate::support::*;

fn file(provider: &Provider, end: &str) -> String {
    format!(
        "version: 1\nproviders:\n  az: {{ format: openai, base_url: \"http://{}{end}\", api_key: \"own-key-of-the-file\", models: {{ gpt-4o: {{}} }} }}\n\
         default: {{ chain: [az/gpt-4o] }}\n",
        provider.address
    )
}

#[tokio::test]
async fn a_version_in_the_address_leads_to_deployments() {
    for (end, path) in [
        ("/?api-version=2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ("/openai?api-version=2024-10-21", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ("/openai/deployments/other?api-version=2024-10-21", "/openai/deployments/other/chat/completions?api-version=2024-10-21"),
        ("/openai/v1?api-version=preview", "/openai/v1/chat/completions?api-version=preview"),
    ] {
        let provider = sound_provider("hello", false).await;
        let daemon = Daemon::start(&file(&provider, end)).await;
        let got = daemon.post("/v1/chat/completions", &[("authorization", "Bearer of-the-client"), ("api-key", "x")], &chat(false)).await;
        assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{got:?}");
        let seen = provider.wait_for_requests(1).await.remove(0);
        assert!(seen.head.starts_with(&format!("POST {path} HTTP/1.1")), "{}", seen.head);
        assert_eq!((seen.header("api-key"), seen.header("authorization")), (Some("own-key-of-the-file"), None));
    }
}

#[tokio::test]
async fn azures_filter_prelude_and_errors_keep_their_meaning() {
    let prelude =
        json!({ "choices": [], "created": 0, "id": "", "model": "", "object": "", "prompt_filter_results": [{ "prompt_index": 0 }] });
    let stream = [
        format!("data: {prelude}\n\n"),
        delta(r#"{"role":"assistant","content":""}"#, None),
        content("hello"),
        delta("{}", Some("stop")),
        "data: [DONE]\n\n".into(),
    ];
    let filtered = r#"{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
    let busy = "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/json\r\nretry-after-ms: 1500\r\ncontent-length: 60\r\n\r\n";
    let busy = format!("{busy}{:<60}", r#"{"error":{"code":"429","message":"over the rate limit"}}"#);
    let provider = Provider::start(vec![
        vec![send(format!("{STREAM_HEAD}{}0\r\n\r\n", stream.iter().map(|event| chunk(event)).collect::<Vec<_>>().concat()))],
        vec![send(json_answer("400 Bad Request", filtered))],
        vec![send(busy)],
    ])
    .await;
    let daemon = Daemon::start(&file(&provider, "/openai/v1?api-version=preview")).await;
    let got = daemon.stream().await;
    assert_eq!((got.text(), got.is_done()), ("hello".into(), true), "{got:?}");
    assert!(got.body.starts_with(&format!("data: {prelude}\n\n")), "the prelude passes as it came: {}", got.body);
    let got = daemon.chat().await;
    assert_eq!((got.status, got.body.as_str()), (400, filtered));
    let got = daemon.chat().await;
    assert_eq!((got.status, got.code().as_str(), got.header("retry-after")), (429, "rate_limit_exceeded", Some("2")), "{got:?}");
}
