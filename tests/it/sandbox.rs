//! The offline provider: when it may answer, what it says, and what it never hides.

use tollgate::units::Endpoint;

use crate::support::*;

const CHAT: &str = r#"{"model":"auto","messages":[{"role":"user","content":"Say hello."}]}"#;

fn file(providers: &str, chain: &str) -> String {
    format!("version: 1\nproviders:\n  box: {{ format: sandbox, models: {{ echo: {{}} }} }}\n{providers}default: {{ chain: [{chain}] }}\n")
}

const NO_KEY: &str = "  keyless: { format: openai, base_url: \"https://example.com/v1\", api_key: \"${NOT_SET_ANYWHERE}?\", models: { m: { context: 4k } } }\n";

#[tokio::test]
async fn it_answers_where_every_other_step_lacks_its_key() {
    let second = NO_KEY.replace("keyless", "second");
    for chain in ["keyless/m, box/echo", "box/echo, keyless/m", "keyless/m, second/m, box/echo"] {
        let inside = Inside::of(&file(&format!("{NO_KEY}{second}"), chain));
        let got = inside.handle(inside.asked(Endpoint::Chat, &[], CHAT)).await;
        assert_eq!((got.status, got.target()), (200, "box/echo"), "{chain}: {got:?}");
        assert!(got.text().starts_with("[tollgate sandbox]"));
        let record = &inside.into_records()[0];
        let skips: Vec<&str> = record["skipped"].as_array().unwrap().iter().map(|skip| skip["reason"].as_str().unwrap()).collect();
        assert!(skips.iter().all(|reason| *reason == "no_key"), "{record}");
    }
}

#[tokio::test]
async fn it_hides_no_failure_no_limit_and_no_rest() {
    let failing = Provider::always(vec![send(json_answer("500 Internal Server Error", "{}"))]).await;
    let with_box = |settings: &str| {
        routes(&[&failing], settings)
            .replace("default:", "  box: { format: sandbox, models: { echo: {} } }\ndefault:")
            .replace("chain: [p0/m]", "chain: [p0/m, box/echo], retry: false")
    };
    // It fails.
    let daemon = Daemon::start(&with_box("cooldown: { after: 1, rest: 60s }")).await;
    let got = daemon.chat().await;
    assert_eq!((got.status, got.code().as_str()), (502, "upstream_error"), "{got:?}");
    // It rests: the last step that can be tried is probed, and after that it is said.
    daemon.chat().await;
    let got = daemon.chat().await;
    assert_eq!((got.status, got.code().as_str()), (503, "server_is_overloaded"), "{got:?}");
    // It is at its limit.
    let daemon = Daemon::start(&with_box("limits: { requests: 1/hour }")).await;
    daemon.chat().await;
    let got = daemon.chat().await;
    assert_eq!((got.status, got.code().as_str()), (429, "rate_limit_exceeded"), "{got:?}");
    // It is unfit for the call.
    let daemon = Daemon::start(&with_box("can: [tools]")).await;
    let vision = chat(false).replace("\"Say hello.\"", r#"[{"type":"image_url","image_url":{"url":"x"}}]"#);
    assert_eq!(daemon.ask(&vision).await.code(), "unsupported_parameter");
    // One of two steps lacks its key, the other fails.
    let mixed = with_box("").replace("default:", &format!("{NO_KEY}default:")).replace("[p0/m, box", "[keyless/m, p0/m, box");
    let got = Daemon::start(&mixed).await.chat().await;
    assert_eq!((got.status, got.code().as_str()), (502, "upstream_error"), "{got:?}");
}

#[tokio::test]
async fn a_chain_of_sandboxes_alone_always_works() {
    let file = "version: 1\nproviders:\n  one: { format: sandbox, failure: 100%, models: { echo: {} } }\n  two: { format: sandbox, models: { echo: {} } }\ndefault: { chain: [one/echo, two/echo] }\n";
    let inside = Inside::of(file);
    let got = inside.handle(inside.asked(Endpoint::Chat, &[], CHAT)).await;
    assert_eq!((got.status, got.target()), (200, "two/echo"));
}

#[tokio::test(start_paused = true)]
async fn a_last_message_orders_a_failure_or_a_delay() {
    let inside = Inside::of(&file("", "box/echo"));
    let say = |text: &str| CHAT.replace("Say hello.", text);
    for (order, status) in [("fail:503", 503), ("fail:429", 429), ("fail:400", 400), ("fail:401", 502)] {
        let inside = Inside::of(&file("", "box/echo"));
        let got = inside.handle(inside.asked(Endpoint::Chat, &[], &say(order))).await;
        assert_eq!(got.status, status, "{order}: {got:?}");
    }
    let begun = tokio::time::Instant::now();
    let got = inside.handle(inside.asked(Endpoint::Chat, &[], &say("hang:5s"))).await;
    assert!(got.status == 200 && begun.elapsed() >= std::time::Duration::from_secs(5), "{got:?}");
}

#[tokio::test(start_paused = true)]
async fn it_streams_and_tells_its_usage() {
    let inside = Inside::of(&file("", "box/echo"));
    let whole = inside.handle(inside.asked(Endpoint::Chat, &[], CHAT)).await;
    let body = CHAT.replace("\"model\"", r#""stream":true,"stream_options":{"include_usage":true},"model""#);
    let streamed = inside.handle(inside.asked(Endpoint::Chat, &[], &body)).await;
    assert_eq!(streamed.text(), whole.text());
    assert!(streamed.is_done() && streamed.text().contains("Say hello."));
    let events = streamed.events();
    assert_eq!(events.last().unwrap()["usage"]["total_tokens"], whole.json()["usage"]["total_tokens"]);
    let embedded = inside.handle(inside.asked(Endpoint::Embeddings, &[], r#"{"model":"auto","input":["a","b"]}"#)).await;
    assert_eq!(embedded.json()["data"].as_array().map(Vec::len), Some(2));
    for record in inside.into_records() {
        assert!(record["usage"]["input"].as_u64() > Some(0) && record["usage_source"] == "provider", "{record}");
    }
}

#[tokio::test]
async fn the_shipped_file_answers_without_a_key_and_says_so() {
    let shipped = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/routes.yaml")).unwrap();
    let inside = Inside::of(&shipped);
    for (headers, body) in
        [(vec![], CHAT.to_owned()), (vec![("x-tollgate-task", "coding")], CHAT.to_owned()), (vec![], CHAT.replace("auto", "gpt-4o"))]
    {
        let got = inside.handle(inside.asked(Endpoint::Chat, &headers, &body)).await;
        assert_eq!((got.status, got.target()), (200, "sandbox/echo"), "{got:?}");
        assert!(got.text().starts_with("[tollgate sandbox]"), "{}", got.text());
    }
    let got = inside.handle(inside.asked(Endpoint::Embeddings, &[], r#"{"model":"auto","input":"x"}"#)).await;
    assert_eq!(got.status, 200, "{got:?}");
}
