//! What people are told of money, and that a webhook which does not listen holds nothing up.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::support::*;

const PRICED: &str = "m: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 64 }";

/// A cap of nine cents, of which each answer takes 1.2, told to `hook`. It is for good: of a day's cap there would be a forecast to tell
/// too, in the first hours of the day.
fn file(provider: &Provider, hook: &Provider, secret: &str) -> String {
    let url = hook.url().replace("/v1", "/alerts?token=abc");
    routes(&[provider], "").replace("m: {}", PRICED)
        + "budgets:\n  company: { cap: $0.09/total, on_low: reject, warn_at: [10%, 90%] }\n"
        + &format!("alerts: {{ webhook: {{ url: \"{url}\"{secret} }} }}\n")
}

fn taken() -> Vec<Act> {
    vec![send(json_answer("204 No Content", ""))]
}

fn failing(status: &str) -> Vec<Act> {
    vec![send(json_answer(status, "{}"))]
}

#[tokio::test]
async fn a_crossing_and_a_refusal_are_told_once_each_and_signed() {
    let (provider, hook) = (sound_provider("hello", false).await, Provider::always(taken()).await);
    let daemon = Daemon::start(
        &file(&provider, &hook, ", secret: \"${file:/dev/null}?\"").replace("\"${file:/dev/null}?\"", "s3cret-of-the-webhook"),
    )
    .await;
    for expected in [200, 429, 429, 429] {
        assert_eq!(daemon.chat().await.status, expected);
    }
    let seen = hook.wait_for_requests(2).await;
    let (crossed, refused) = (seen[0].json(), seen[1].json());
    assert_eq!((&crossed["kind"], &crossed["budget"], &crossed["window"]), (&"crossed".into(), &"company".into(), &"total".into()));
    assert_eq!((&crossed["share"], &crossed["used_usd"], &crossed["cap_usd"]), (&"10%".into(), &"0.012".into(), &"0.09".into()));
    assert!(crossed["at"].as_str().unwrap().ends_with('Z'));
    assert_eq!((&refused["kind"], &refused["used_usd"]), (&"refused".into(), &"0.012".into()));
    for seen in &seen {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"s3cret-of-the-webhook").unwrap();
        mac.update(seen.body.as_bytes());
        let expected: Vec<String> = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(seen.head.contains(&format!("x-tollgate-signature: sha256={}", expected.concat())), "{}", seen.head);
        assert!(seen.head.starts_with("POST /alerts?token=abc HTTP/1.1"), "{}", seen.head);
    }
    assert_eq!(daemon.metric(r#"tollgate_alerts_total{kind="refused"}"#).await, 1, "three were refused, and it was told once");
    assert_eq!(daemon.metric(r#"tollgate_alerts_total{kind="crossed"}"#).await, 1);
    assert_eq!(daemon.metric("tollgate_alerts_lost_total").await, 0);
    assert_eq!(hook.count(), 2);
}

#[tokio::test]
async fn a_webhook_that_fails_is_tried_again_and_one_that_refuses_is_not() {
    let provider = sound_provider("hello", false).await;
    let hook = Provider::start(vec![failing("503 Service Unavailable"), taken(), failing("410 Gone")]).await;
    let daemon = Daemon::start(&file(&provider, &hook, "")).await;
    assert_eq!(daemon.chat().await.status, 200);
    let seen = hook.wait_for_requests(2).await;
    assert_eq!(seen[0].body, seen[1].body, "the same message again");
    assert!(!seen[0].head.contains("x-tollgate-signature"));
    assert_eq!(daemon.metric("tollgate_alerts_lost_total").await, 0);
    assert_eq!(daemon.chat().await.status, 429);
    hook.wait_for_requests(3).await;
    let mut lost = 0;
    while lost == 0 {
        lost = daemon.metric("tollgate_alerts_lost_total").await;
    }
    assert_eq!((lost, hook.count()), (1, 3));
}

#[tokio::test]
async fn a_webhook_that_never_answers_holds_up_neither_requests_nor_the_end() {
    let (provider, hook) = (sound_provider("hello", false).await, Provider::always(vec![Act::Hang]).await);
    let daemon = Daemon::start(&file(&provider, &hook, "")).await;
    assert_eq!(daemon.chat().await.status, 200);
    hook.wait_for_requests(1).await;
    assert_eq!(daemon.chat().await.status, 429);
    tokio::time::timeout(std::time::Duration::from_secs(5), daemon.stop()).await.unwrap();
}
