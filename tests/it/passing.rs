//! Paths whose calls pass through as they came, for a flat price.

use crate::support::*;

const FORM: &str = "--b\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\nauto\r\n--b\r\n\
    content-disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\ncontent-type: audio/wav\r\n\r\nR\u{1}\u{7f} --b\r\n\r\n--b--\r\n";

fn file(provider: &Provider, price: &str) -> String {
    format!(
        "version: 1\nproviders:\n  p: {{ format: openai, base_url: \"{}\", api_key: \"own-key-of-the-file\", budget: $1/day,\n    \
         models: {{ picture: {{ {price} }} }} }}\n  c: {{ format: anthropic, base_url: \"{}\", models: {{ m: {{ flat_usd: 1 }} }} }}\n\
         rules:\n  - {{ name: pictures, match: {{ endpoint: [images, audio, moderations, rerank] }}, chain: [c/m, p/picture] }}\n\
         default: {{ chain: [p/picture] }}\n",
        provider.url(),
        provider.url()
    )
}

/// Sends a body of another kind than JSON.
async fn ask(daemon: &Daemon, path: &str, kind: &str, body: &str) -> Got {
    let text = post(path, &[], body).replacen("content-type: application/json", &format!("content-type: {kind}"), 1);
    got(daemon.app.listen(), &text).await
}

#[tokio::test]
async fn a_call_passes_through_and_costs_its_flat_price() {
    let sound = "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\nx-request-id: r1\r\ncontent-length: 4\r\n\r\nID3 ";
    let provider = Provider::always(vec![send(sound)]).await;
    let daemon = Daemon::start(&file(&provider, "flat_usd: 0.25")).await;
    let spoken = r#"{ "voice":"a", "model" : "auto", "input":"hi","stream":true, "n":900 }"#;
    let got = daemon.post("/v1/audio/speech", &[("openai-beta", "x")], spoken).await;
    assert_eq!((got.status, got.header("content-type"), got.body.as_str()), (200, Some("audio/mpeg"), "ID3 "), "{got:?}");
    assert_eq!((got.header("x-tollgate-cost-usd"), got.header("x-tollgate-target")), (Some("0.25"), Some("p/picture")));
    assert_eq!((got.header("x-tollgate-rule"), got.header("x-tollgate-budget-remaining-usd")), (Some("pictures"), Some("0.75")));
    let got = ask(&daemon, "/v1/audio/transcriptions", "multipart/form-data; boundary=b", FORM).await;
    assert_eq!((got.status, got.header("x-tollgate-budget-remaining-usd")), (200, Some("0.5")), "{got:?}");
    // Without a model it is the target's.
    let got = daemon.post("/v1/moderations", &[], r#"{"input":"hi"}"#).await;
    assert_eq!(got.status, 200, "{got:?}");
    let named = FORM.replacen("auto", "picture", 1);
    let got = ask(&daemon, "/v1/images/edits", "multipart/form-data; boundary=b", &named).await;
    assert_eq!((got.status, got.header("x-tollgate-budget-remaining-usd")), (200, Some("0")), "{got:?}");
    let got = daemon.post("/v1/rerank", &[], spoken).await;
    assert_eq!((got.status, got.code().as_str()), (429, "budget_exceeded"), "{got:?}");
    let seen = provider.wait_for_requests(4).await;
    let paths: Vec<&str> = seen.iter().map(|seen| seen.head.split(' ').nth(1).unwrap()).collect();
    assert_eq!(paths, ["/v1/audio/speech", "/v1/audio/transcriptions", "/v1/moderations", "/v1/images/edits"]);
    assert_eq!(seen[0].body, spoken.replacen("auto", "picture", 1));
    assert_eq!((seen[1].body.as_str(), seen[1].header("content-type")), (named.as_str(), Some("multipart/form-data; boundary=b")));
    assert_eq!(seen[2].body, r#"{"model":"picture","input":"hi"}"#);
    assert_eq!((seen[3].body.as_str(), seen[3].header("authorization")), (named.as_str(), Some("Bearer own-key-of-the-file")));
    let records = daemon.records.wait_for(5).await;
    assert_eq!((&records[0]["endpoint"], &records[0]["cost_nano_usd"]), (&"audio".into(), &250_000_000.into()), "{records:?}");
}

#[tokio::test]
async fn a_call_passes_only_where_a_rule_and_a_flat_price_say_so() {
    let provider = sound_provider("x", false).await;
    let unpriced = file(&provider, "usd_per_mtok: { input: 1, output: 1 }, max_output: 1k");
    let unruled = file(&provider, "flat_usd: 0.25").replacen("endpoint: [images, audio, moderations, rerank]", "endpoint: chat", 1);
    for (file, why) in [(unpriced, "it has no `flat_usd`"), (unruled, "not by `default`")] {
        let daemon = Daemon::start(&file).await;
        let got = daemon.post("/v1/images/generations", &[], r#"{"model":"auto","prompt":"a dog"}"#).await;
        assert_eq!((got.status, got.code().as_str()), (400, "unpriceable_request"), "{got:?}");
        assert!(got.body.contains(why), "{got:?}");
    }
    let daemon = Daemon::start(&file(&provider, "flat_usd: 0.25")).await;
    for (path, kind, body, status, code) in [
        ("/v1/images/generations", "text/plain", "{}", 415, "unsupported_media_type"),
        ("/v1/images/edits", "multipart/form-data; boundary=c", FORM, 400, "bad_framing"),
        ("/v1/images/edits", "multipart/form-data", FORM, 400, "invalid_json"),
        ("/v1/images/generations", "application/json", "{", 400, "invalid_json"),
        ("/v1/chat/completions", "multipart/form-data; boundary=b", FORM, 415, "unsupported_media_type"),
        ("/v1/images/others", "application/json", "{}", 404, "not_found"),
    ] {
        let got = ask(&daemon, path, kind, body).await;
        assert_eq!((got.status, got.code().as_str()), (status, code), "{path} {kind}: {got:?}");
    }
    assert_eq!(provider.count(), 0);
}

#[tokio::test]
async fn a_failure_of_a_call_that_passes_falls_back() {
    let failing = Provider::always(vec![send(json_answer("500 Internal Server Error", r#"{"error":{"message":"m"}}"#))]).await;
    let sound = Provider::always(vec![send(json_answer("200 OK", r#"{"data":[{"b64_json":"AAAA"}]}"#))]).await;
    let text = format!(
        "version: 1\nproviders:\n  a: {{ format: openai, base_url: \"{}\", models: {{ m: {{ flat_usd: 1 }} }} }}\n  b: {{ like: a, base_url: \"{}\" }}\n\
         rules: [{{ name: r, match: {{ model: picture }}, chain: [a/m, b/m] }}]\ndefault: refuse\n",
        failing.url(),
        sound.url()
    );
    let daemon = Daemon::start(&text).await;
    let got = daemon.post("/v1/images/generations", &[], r#"{"model":"picture","prompt":"a dog"}"#).await;
    assert_eq!((got.status, got.target(), got.header("x-tollgate-attempts")), (200, "b/m", Some("2")), "{got:?}");
}
