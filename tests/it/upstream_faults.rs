//! What happens in every fault of a provider, row by row: what the client sees when nothing else is left, whether another provider
//! takes over, whether the target rests, and what the ledger counts.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::charges::{Charge, Ending, charged, charges, end_as};
use crate::support::*;
use tollgate::upstream::{Names, Resolver};

/// Short enough for a test, long enough for loopback.
const TIMEOUTS: &str = "timeouts: { connect: 300ms, first_content: 300ms, idle: 300ms }";
/// One failure that counts is enough to rest.
const RESTS_AT_ONCE: &str = "cooldown: { after: 1, rest: 60s }";

/// How a fault shows: alone, before a sound provider, in the target's state afterwards, and in the ledger.
struct Shown {
    alone: Got,
    /// Of the request whose chain has no other step.
    charges: Vec<Charge>,
    /// As `status` tells it: `ready`, `resting`, `target_down` …
    state: String,
    second: Got,
    second_charges: Vec<Charge>,
    provider: Provider,
}

async fn shown(acts: Vec<Act>, streamed: bool) -> Shown {
    shown_with(acts, streamed, &chat(streamed)).await
}

async fn shown_with(acts: Vec<Act>, streamed: bool, body: &str) -> Shown {
    let settings = format!("{TIMEOUTS}, {RESTS_AT_ONCE}");
    let provider = Provider::always(acts).await;
    let deadline = |routes: String| charged(&routes.replace("] }\n", "], deadline: 1s, retry: false }\n"));
    let daemon = Daemon::start(&deadline(routes(&[&provider], &settings))).await;
    let alone = daemon.ask(body).await;
    let state = state_of(&daemon);
    let alone_charges = charges(&daemon, 1).await;
    let sound = sound_provider("sound", streamed).await;
    let daemon = Daemon::start(&deadline(routes(&[&provider, &sound], &settings))).await;
    let second = daemon.ask(body).await;
    let second_charges = charges(&daemon, 1).await;
    Shown { alone, charges: alone_charges, state, second, second_charges, provider }
}

fn state_of(daemon: &Daemon) -> String {
    daemon.status()["providers"][0]["targets"][0]["state"].as_str().unwrap().to_owned()
}

impl Shown {
    #[track_caller]
    fn refuses(&self, status: u16, code: &str) -> &Self {
        assert_eq!((self.alone.status, self.alone.code().as_str()), (status, code), "{:?}", self.alone);
        self
    }

    #[track_caller]
    fn falls_back(&self) -> &Self {
        assert_eq!((self.second.status, self.second.target()), (200, "p1/m"), "{:?}", self.second);
        assert_eq!(self.second.header("x-tollgate-attempts"), Some("2"), "the failed one and the one that answered");
        assert!(self.second.text().starts_with("sound"), "{:?}", self.second);
        self
    }

    #[track_caller]
    fn stays(&self) -> &Self {
        assert_eq!(self.second.header("x-tollgate-target"), Some("p0/m"), "{:?}", self.second);
        self
    }

    #[track_caller]
    fn rests(&self, state: &str) -> &Self {
        assert_eq!(self.state, state);
        self
    }

    /// What the faulty attempt counts with, whatever the next one costs.
    #[track_caller]
    fn counts(&self, ending: Ending) -> &Self {
        end_as(&self.charges, &[ending]);
        let fell_back = self.second.target() == "p1/m";
        end_as(&self.second_charges, &[ending, Ending::Usage][..=usize::from(fell_back)]);
        self
    }

    #[track_caller]
    fn may_be_tried_again(&self, value: &str) -> &Self {
        assert_eq!(self.alone.header("x-should-retry"), Some(value), "{:?}", self.alone);
        self
    }
}

fn status(line: &str, body: &str) -> Vec<Act> {
    vec![send(json_answer(line, body))]
}

fn error(message: &str, kind: &str, code: &str) -> String {
    format!(r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}"}}}}"#)
}

fn stream_of(events: &[String]) -> String {
    format!("{STREAM_HEAD}{}", events.iter().map(|event| chunk(event)).collect::<String>())
}

fn role() -> String {
    delta(r#"{"role":"assistant","content":""}"#, None)
}

#[tokio::test]
async fn u01_a_name_that_does_not_resolve_falls_back() {
    let sound = sound_provider("sound", false).await;
    let nowhere = "http://nowhere.test:9/v1";
    let table = |options: &mut tollgate::app::Options| options.resolver = Resolver::Table(Names::default());
    let settings = format!("allow_http: true, {RESTS_AT_ONCE}");
    let daemon = Daemon::start_with(&charged(&routes_to(&[nowhere], &settings)), table).await;
    let alone = daemon.chat().await;
    end_as(&charges(&daemon, 1).await, &[Ending::Void]);
    assert_eq!((alone.status, alone.code().as_str()), (502, "upstream_connect"));
    assert_eq!(alone.header("x-should-retry"), Some("true"));
    assert_eq!(state_of(&daemon), "resting");
    let daemon = Daemon::start_with(&charged(&routes_to(&[nowhere, &sound.url()], &settings)), table).await;
    assert_eq!(daemon.chat().await.target(), "p1/m");
    end_as(&charges(&daemon, 1).await, &[Ending::Void, Ending::Usage]);
}

#[tokio::test]
async fn u02_a_refused_connection_falls_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/v1", listener.local_addr().unwrap());
    drop(listener);
    let sound = sound_provider("sound", false).await;
    let daemon = Daemon::start(&charged(&routes_to(&[&nobody], RESTS_AT_ONCE))).await;
    let alone = daemon.chat().await;
    end_as(&charges(&daemon, 1).await, &[Ending::Void]);
    assert_eq!((alone.status, alone.code().as_str()), (502, "upstream_connect"));
    assert_eq!(state_of(&daemon), "resting");
    let daemon = Daemon::start(&charged(&routes_to(&[&nobody, &sound.url()], RESTS_AT_ONCE))).await;
    assert_eq!(daemon.chat().await.target(), "p1/m");
    end_as(&charges(&daemon, 1).await, &[Ending::Void, Ending::Usage]);
}

#[tokio::test]
async fn u03_a_connection_that_is_never_accepted_times_out_and_falls_back() {
    // A listener whose queue is full drops what knocks.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await {
        queued.push(stream);
    }
    let sound = sound_provider("sound", false).await;
    let deaf = format!("http://{address}/v1");
    let settings = format!("{TIMEOUTS}, {RESTS_AT_ONCE}");
    let daemon = Daemon::start(&charged(&routes_to(&[&deaf], &settings))).await;
    let alone = daemon.chat().await;
    end_as(&charges(&daemon, 1).await, &[Ending::Void]);
    assert_eq!((alone.status, alone.code().as_str()), (502, "upstream_connect"));
    assert_eq!(state_of(&daemon), "resting");
    let daemon = Daemon::start(&charged(&routes_to(&[&deaf, &sound.url()], &settings))).await;
    assert_eq!(daemon.chat().await.target(), "p1/m");
    end_as(&charges(&daemon, 1).await, &[Ending::Void, Ending::Usage]);
}

#[tokio::test]
async fn u04_a_broken_tls_handshake_rests_at_once_and_never_speaks_plain() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let heard = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut first = [0; 3];
            stream.read_exact(&mut first).await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            heard.push(first);
        }
        heard
    });
    let sound = sound_provider("sound", false).await;
    let daemon = Daemon::start(&charged(&routes_to(&[&url], ""))).await;
    let alone = daemon.chat().await;
    end_as(&charges(&daemon, 1).await, &[Ending::Void]);
    assert_eq!((alone.status, alone.code().as_str()), (502, "upstream_tls"));
    assert_eq!(state_of(&daemon), "resting");
    let daemon = Daemon::start(&charged(&routes_to(&[&url, &sound.url()], ""))).await;
    assert_eq!(daemon.chat().await.target(), "p1/m");
    end_as(&charges(&daemon, 1).await, &[Ending::Void, Ending::Usage]);
    for first in heard.await.unwrap() {
        assert_eq!(first[..2], [0x16, 0x03], "a TLS handshake, and nothing plain");
    }
}

#[tokio::test]
async fn u05_a_pooled_connection_that_died_is_replaced_in_silence() {
    let provider = Provider::start(vec![[answers("one"), vec![Act::Close]].concat(), answers("two")]).await;
    let daemon = Daemon::start(&charged(&routes(&[&provider], RESTS_AT_ONCE))).await;
    assert_eq!(daemon.chat().await.text(), "one");
    provider.wait_for_closed(1).await;
    let second = daemon.chat().await;
    assert_eq!((second.text().as_str(), second.header("x-tollgate-attempts")), ("two", Some("1")));
    assert_eq!(state_of(&daemon), "ready");
    end_as(&charges(&daemon, 2).await, &[Ending::Usage, Ending::Usage]);
}

#[tokio::test]
async fn u06_a_reset_before_the_answer_is_tried_again_only_on_a_reused_connection() {
    let provider = Provider::start(vec![answers("one"), vec![Act::Reset], answers("two")]).await;
    let daemon = Daemon::start(&charged(&routes(&[&provider], RESTS_AT_ONCE))).await;
    assert_eq!(daemon.chat().await.text(), "one");
    let second = daemon.chat().await;
    assert_eq!((second.status, second.text().as_str()), (200, "two"));
    assert_eq!((provider.count(), state_of(&daemon).as_str()), (3, "ready"));
    // What went over the broken connection may be billed.
    end_as(&charges(&daemon, 2).await, &[Ending::Usage, Ending::Disputed, Ending::Usage]);

    let fresh = shown(vec![Act::Reset], false).await;
    fresh.refuses(502, "upstream_reset").falls_back().rests("resting").may_be_tried_again("false").counts(Ending::Disputed);
}

#[tokio::test]
async fn u07_silence_before_the_head_falls_back_where_time_is_left() {
    let streamed = shown(vec![Act::Hang], true).await;
    streamed.refuses(504, "upstream_timeout").falls_back().rests("resting").may_be_tried_again("false").counts(Ending::Disputed);
    streamed.provider.wait_for_closed(1).await;
    let whole = shown(vec![Act::Hang], false).await;
    whole.refuses(504, "upstream_timeout").rests("resting").may_be_tried_again("false").counts(Ending::Disputed);
    assert_eq!(whole.second.status, 504, "the deadline is the whole request's");
}

#[tokio::test]
async fn u08_silence_after_the_head_falls_back_where_time_is_left() {
    let streamed = shown(vec![send(stream_of(&[role()])), Act::Hang], true).await;
    streamed.refuses(504, "upstream_timeout").falls_back().rests("resting").counts(Ending::Disputed);
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
    let whole = shown(vec![send(head), Act::Hang], false).await;
    whole.refuses(504, "upstream_timeout").may_be_tried_again("false").counts(Ending::Disputed);
}

#[tokio::test]
async fn u09_a_slow_drip_ends_at_the_deadline() {
    let mut acts = vec![send(STREAM_HEAD)];
    acts.extend((0..100).flat_map(|_| [send(chunk(&content("drip "))), Act::Wait(Duration::from_millis(50))]));
    let streamed = shown(acts, true).await;
    assert_eq!((streamed.alone.status, streamed.alone.stream_code().as_str()), (200, "upstream_timeout"));
    assert!(!streamed.alone.is_whole && !streamed.alone.is_done());
    streamed.stays().counts(Ending::ObservedAndDisputed);
    let mut acts = vec![send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n")];
    acts.extend((0..100).flat_map(|_| [send(" "), Act::Wait(Duration::from_millis(50))]));
    shown(acts, false).await.refuses(504, "upstream_timeout").counts(Ending::Disputed);
}

#[tokio::test]
async fn u10_server_errors_fall_back() {
    let body = error("it broke", "server_error", "boom");
    for (line, status_seen, code) in [
        ("500 Internal Server Error", 500, "upstream_error"),
        ("502 Bad Gateway", 502, "upstream_error"),
        ("503 Service Unavailable", 503, "server_is_overloaded"),
        ("504 Gateway Timeout", 504, "upstream_timeout"),
        ("529 Overloaded", 503, "server_is_overloaded"),
    ] {
        for streamed in [false, true] {
            shown(status(line, &body), streamed).await.refuses(status_seen, code).falls_back().rests("resting").counts(Ending::Void);
        }
    }
    let hinted = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let hinted = shown(vec![send(hinted)], false).await;
    assert_eq!(hinted.alone.header("retry-after"), Some("7"));
    hinted.may_be_tried_again("true");
}

#[tokio::test]
async fn u11_a_rate_limit_falls_back_and_rests_until_its_reset() {
    let limited = |header: &str| {
        let body = error("slow down", "requests", "rate_limit_exceeded");
        vec![send(format!(
            "HTTP/1.1 429 Too Many Requests\r\n{header}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))]
    };
    for (header, wait) in [("retry-after: 9", "9"), ("retry-after-ms: 2350", "3"), ("retry-after: 2.2", "3"), ("x-nothing: 1", "20")] {
        let shown = shown(limited(header), false).await;
        shown.refuses(429, "rate_limit_exceeded").falls_back().rests("resting").may_be_tried_again("true").counts(Ending::Void);
        assert_eq!(shown.alone.header("retry-after"), Some(wait), "{header}");
    }
    let (long, short) = (Provider::always(limited("retry-after: 40")).await, Provider::always(limited("retry-after: 4")).await);
    let daemon = Daemon::start(&routes(&[&long, &short], "")).await;
    assert_eq!(daemon.chat().await.header("retry-after"), Some("4"), "the shortest of the chain");
    let again = daemon.chat().await;
    assert_eq!((again.status, long.count()), (429, 1), "a resting target is not asked again: {again:?}");
}

#[tokio::test]
async fn u12_a_rejected_key_is_ours_and_is_never_told() {
    let told = error("Incorrect API key provided: sk-tollgate-secret", "invalid_request_error", "invalid_api_key");
    for line in ["401 Unauthorized", "403 Forbidden"] {
        let shown = shown(status(line, &told), false).await;
        shown.refuses(502, "upstream_auth").falls_back().rests("key_down").counts(Ending::Void);
        assert!(!shown.alone.body.contains("sk-tollgate"), "{}", shown.alone.body);
    }
    let region = error("Country, region, or territory not supported", "request_forbidden", "unsupported_country_region_territory");
    shown(status("403 Forbidden", &region), false)
        .await
        .refuses(403, "upstream_permission")
        .falls_back()
        .rests("target_down")
        .counts(Ending::Void);
}

#[tokio::test]
async fn u13_an_empty_account_falls_back() {
    let told = error("You exceeded your current quota", "insufficient_quota", "insufficient_quota");
    shown(status("429 Too Many Requests", &told), false)
        .await
        .refuses(503, "provider_quota")
        .falls_back()
        .rests("account_down")
        .counts(Ending::Void);
    shown(status("402 Payment Required", "{}"), false)
        .await
        .refuses(503, "provider_quota")
        .falls_back()
        .rests("account_down")
        .counts(Ending::Void);
}

#[tokio::test]
async fn u14_the_clients_own_faults_come_back_as_they_are() {
    let own = error("messages must not be empty", "invalid_request_error", "empty_array");
    for line in ["400 Bad Request", "422 Unprocessable Entity"] {
        let shown = shown(status(line, &own), false).await;
        assert_eq!((shown.alone.status.to_string().as_str(), shown.alone.body.as_str()), (&line[..3], own.as_str()), "byte for byte");
        shown.stays().rests("ready").may_be_tried_again("false").counts(Ending::Void);
    }
    let capability = error("Unsupported value", "invalid_request_error", "unsupported_value");
    shown(status("400 Bad Request", &capability), false).await.falls_back().rests("ready").counts(Ending::Void);
    let model = error("no such model", "invalid_request_error", "model_not_found");
    shown(status("404 Not Found", &model), false)
        .await
        .refuses(404, "upstream_model_not_found")
        .falls_back()
        .rests("target_down")
        .counts(Ending::Void);
    let foreign = shown(status("400 Bad Request", r#"{"detail":"max_tokens is too large"}"#), false).await;
    foreign.counts(Ending::Void);
    assert_eq!((foreign.alone.status, foreign.alone.json()["error"]["type"].as_str()), (400, Some("invalid_request_error")));
}

#[tokio::test]
async fn u14_a_prompt_too_long_goes_only_to_a_larger_window() {
    let told = error(
        "This model's maximum context length is 8000 tokens. However, your messages resulted in 9000 tokens.",
        "invalid_request_error",
        "context_length_exceeded",
    );
    let small = Provider::always(status("400 Bad Request", &told)).await;
    let sound = sound_provider("sound", false).await;
    let file = |second: &str| {
        format!(
            "version: 1\nproviders:\n  a: {{ format: openai, base_url: \"{}\", models: {{ m: {{ context: 8k }} }} }}\n  b: {{ format: openai, base_url: \"{}\", models: {{ m: {{{second}}} }} }}\ndefault: {{ chain: [a/m, b/m] }}\n",
            small.url(),
            sound.url()
        )
    };
    let larger = Daemon::start(&file(" context: 128k ")).await;
    assert_eq!(larger.chat().await.target(), "b/m");
    for not_larger in [" context: 8k ", ""] {
        let daemon = Daemon::start(&file(not_larger)).await;
        let answer = daemon.chat().await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "context_length_exceeded"));
    }
    assert_eq!(sound.count(), 1);
}

#[tokio::test]
async fn u14_a_content_policy_falls_back_only_where_the_rule_says_so() {
    let told = error("it was flagged", "invalid_request_error", "content_policy_violation");
    let strict = Provider::always(status("400 Bad Request", &told)).await;
    let sound = sound_provider("sound", false).await;
    let file = routes(&[&strict, &sound], "");
    assert_eq!(Daemon::start(&file).await.chat().await.code(), "content_policy_violation");
    let opted = file.replace("] }\n", "], fallback_on: [content_policy] }\n");
    assert_eq!(Daemon::start(&opted).await.chat().await.target(), "p1/m");
}

#[tokio::test]
async fn u15_a_redirect_is_never_followed() {
    let elsewhere = sound_provider("elsewhere", false).await;
    for code in [301, 302, 303, 307, 308] {
        let acts =
            vec![send(format!("HTTP/1.1 {code} Moved\r\nlocation: {}/chat/completions\r\ncontent-length: 0\r\n\r\n", elsewhere.url()))];
        shown(acts, false).await.refuses(502, "upstream_redirect").falls_back().rests("resting").counts(Ending::Void);
    }
    assert_eq!(elsewhere.count(), 0);
}

#[tokio::test]
async fn u16_switching_protocols_and_endless_interim_answers_are_malformed() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
    shown(vec![send(switch)], false).await.refuses(502, "upstream_malformed").falls_back().rests("resting").counts(Ending::Void);
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(9);
    let mut acts = vec![send(interim)];
    acts.extend(answers("late"));
    shown(acts, false).await.refuses(502, "upstream_malformed").falls_back().rests("resting").counts(Ending::Void);
}

#[tokio::test]
async fn u17_an_error_inside_a_200_is_a_failure_of_its_type() {
    for (kind, code, status_seen, code_seen) in [
        ("server_error", "server_error", 502, "upstream_error"),
        ("overloaded_error", "overloaded_error", 503, "server_is_overloaded"),
        ("requests", "rate_limit_exceeded", 429, "rate_limit_exceeded"),
    ] {
        shown(status("200 OK", &error("it broke", kind, code)), false)
            .await
            .refuses(status_seen, code_seen)
            .falls_back()
            .counts(Ending::Void);
    }
    let usage = r#""usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}"#;
    let counted = error("it broke", "server_error", "server_error").replacen('{', &format!("{{{usage},"), 1);
    shown(status("200 OK", &counted), false).await.refuses(502, "upstream_error").falls_back().counts(Ending::Usage);
}

#[tokio::test]
async fn u18_an_error_in_the_first_event_falls_back() {
    for (kind, status_seen, code) in [("overloaded_error", 503, "server_is_overloaded"), ("server_error", 502, "upstream_error")] {
        let event = format!("data: {}\n\n", error("not now", kind, kind));
        let shown = shown(vec![send(stream_of(&[role(), event])), Act::Close], true).await;
        shown.refuses(status_seen, code).falls_back().rests("resting").counts(Ending::Void);
    }
}

#[tokio::test]
async fn u19_an_error_after_content_is_told_in_the_stream() {
    let event = format!("data: {}\n\n", error("it broke at host secret.internal", "server_error", "server_error"));
    let shown = shown(vec![send(stream_of(&[role(), content("half "), event])), Act::Close], true).await;
    assert_eq!((shown.alone.text().as_str(), shown.alone.stream_code().as_str()), ("half ", "upstream_error"));
    assert!(!shown.alone.is_done() && !shown.alone.is_whole && !shown.alone.body.contains("secret.internal"), "{:?}", shown.alone);
    shown.stays().rests("resting").counts(Ending::ObservedAndDisputed);
}

#[tokio::test]
async fn u20_a_stream_that_was_cut_never_looks_finished() {
    for end in [Act::Close, Act::Reset] {
        let shown = shown(vec![send(stream_of(&[role(), content("half")])), Act::Wait(Duration::from_millis(50)), end], true).await;
        assert_eq!((shown.alone.text().as_str(), shown.alone.stream_code().as_str()), ("half", "upstream_truncated"));
        assert!(!shown.alone.is_done() && !shown.alone.is_whole, "{:?}", shown.alone);
        shown.stays().rests("resting").counts(Ending::ObservedAndDisputed);
    }
    let shown = shown(vec![send(format!("{}0\r\n\r\n", stream_of(&[role(), content("half")])))], true).await;
    assert_eq!(shown.alone.stream_code(), "upstream_truncated", "a proper end of the body is not the end of the answer");
}

#[tokio::test]
async fn u20b_a_finish_without_done_is_a_normal_end() {
    let events = [role(), content("whole"), delta("{}", Some("stop"))];
    for end in [vec![send("0\r\n\r\n")], vec![Act::Close]] {
        let shown = shown([vec![send(stream_of(&events))], end].concat(), true).await;
        assert!(shown.alone.is_done() && shown.alone.is_whole, "{:?}", shown.alone);
        assert_eq!(shown.alone.body.matches("[DONE]").count(), 1);
        shown.stays().rests("ready").counts(Ending::Estimated);
    }
    let usage = r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
    let counted = [&events[..], &[format!("{usage}\n\n")]].concat();
    shown(vec![send(stream_of(&counted)), Act::Close], true).await.rests("ready").counts(Ending::Usage);
}

#[tokio::test]
async fn u21_a_body_shorter_than_promised_falls_back() {
    let whole = completion("short");
    let short = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{whole}", whole.len() + 5);
    let chunked = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk(&whole));
    for text in [short, chunked] {
        let shown = shown(vec![send(text), Act::Close], false).await;
        shown.refuses(502, "upstream_truncated").falls_back().rests("resting").may_be_tried_again("false").counts(Ending::Disputed);
    }
}

#[tokio::test]
async fn u22_what_does_not_parse_is_malformed() {
    shown(status("200 OK", "{not json"), false)
        .await
        .refuses(502, "upstream_malformed")
        .falls_back()
        .rests("resting")
        .counts(Ending::Disputed);
    for bad in ["data: {not json\n\n", "data: {\"a\":\"\0\"}\n\n"] {
        let early = shown(vec![send(stream_of(&[role(), bad.into()])), Act::Close], true).await;
        early.refuses(502, "upstream_malformed").falls_back().rests("resting").counts(Ending::Disputed);
        let late = shown(vec![send(stream_of(&[content("half"), bad.into()])), Act::Close], true).await;
        assert_eq!(late.alone.stream_code(), "upstream_malformed");
        assert!(!late.alone.is_done() && !late.alone.is_whole);
        late.counts(Ending::ObservedAndDisputed);
    }
    let bytes = b"data: {\"choices\":[{\"delta\":{\"content\":\"\xff\xfe\"}}]}\n\n";
    let mut acts = vec![send(STREAM_HEAD), send(format!("{:x}\r\n", bytes.len())), send(bytes.to_vec()), send("\r\n"), Act::Close];
    shown(acts.clone(), true).await.refuses(502, "upstream_malformed").falls_back().counts(Ending::Disputed);
    acts.insert(1, send(chunk(&content("half"))));
    let late = shown(acts, true).await;
    late.counts(Ending::ObservedAndDisputed);
    assert_eq!(late.alone.stream_code(), "upstream_malformed");
}

#[tokio::test]
async fn u23_an_event_above_one_mebibyte_is_too_large() {
    let huge = content(&"x".repeat((1 << 20) + 1));
    let early = shown(vec![send(stream_of(&[role(), huge.clone()])), Act::Close], true).await;
    early.refuses(502, "upstream_too_large").falls_back().rests("resting").counts(Ending::Disputed);
    let late = shown(vec![send(stream_of(&[content("half"), huge])), Act::Close], true).await;
    late.counts(Ending::ObservedAndDisputed);
    assert_eq!(late.alone.stream_code(), "upstream_too_large");
}

#[tokio::test]
async fn u24_a_stream_that_ignores_its_limit_is_cut() {
    let body = chat(true).replace("\"stream\"", "\"max_tokens\":10,\"stream\"");
    let words: Vec<String> = (0..5_000).map(|_| content("word word ")).collect();
    let shown = shown_with(vec![send(stream_of(&words)), Act::Hang], true, &body).await;
    assert_eq!(shown.alone.stream_code(), "upstream_too_large", "{}", shown.alone.body.len());
    shown.stays().rests("resting").counts(Ending::Observed);
}

#[tokio::test]
async fn u25_a_compressed_answer_is_malformed() {
    let gzip = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nxxxx";
    shown(vec![send(gzip)], false).await.refuses(502, "upstream_malformed").falls_back().rests("resting").counts(Ending::InputDisputed);
}

#[tokio::test]
async fn u26_a_head_beyond_bounds_is_malformed() {
    let many = (0..101).fold(String::new(), |text, index| text + &format!("x-{index}: 1\r\n"));
    let large = format!("x-large: {}\r\n", "x".repeat(70_000));
    for headers in [many.as_str(), large.as_str(), "x-bad: a\x01b\r\n"] {
        let acts = vec![send(format!("HTTP/1.1 200 OK\r\n{headers}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"))];
        shown(acts, false).await.refuses(502, "upstream_malformed").falls_back().rests("resting").counts(Ending::InputDisputed);
    }
}

#[tokio::test]
async fn u26_only_known_headers_reach_the_client() {
    let body = completion("hello");
    let head = "set-cookie: a=b\r\nserver: secret\r\nopenai-organization: org\r\nx-request-id: up-1\r\nx-ratelimit-limit-requests: 5";
    let acts =
        vec![send(format!("HTTP/1.1 200 OK\r\n{head}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()))];
    let got = shown(acts, false).await.alone;
    for name in ["set-cookie", "server", "openai-organization", "x-ratelimit-limit-requests"] {
        assert_eq!(got.header(name), None, "{name}");
    }
    assert_eq!(got.header("x-tollgate-upstream-request-id"), Some("up-1"));
    assert_ne!(got.header("x-request-id"), Some("up-1"));
}

#[tokio::test]
async fn u29_contradictory_framing_is_malformed() {
    let both = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
        chunk(&completion("x"))
    );
    let two = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}";
    let negative = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: -2\r\n\r\n{}";
    let huge_chunk = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n10000000000000000\r\n{}";
    for text in [both.as_str(), two, negative, huge_chunk] {
        let shown = shown(vec![send(text)], false).await;
        assert_eq!(shown.alone.status, 502, "{:?}", shown.alone);
        shown.falls_back().rests("resting").counts(Ending::InputDisputed);
    }
    let mut trailing = answers("one");
    trailing.push(send("garbage"));
    let provider = Provider::start(vec![trailing, answers("two")]).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    assert_eq!(daemon.chat().await.text(), "one");
    assert_eq!(daemon.chat().await.text(), "two", "bytes behind a body belong to no other request");
    assert_eq!(provider.seen()[1].connection, 1, "the connection was not used again");
}

#[tokio::test]
async fn u30_an_answer_that_nobody_asked_for_reaches_nobody() {
    let provider = Provider::start(vec![[answers("one"), answers("stray")].concat(), answers("two")]).await;
    let daemon = Daemon::start(&charged(&routes(&[&provider], ""))).await;
    assert_eq!(daemon.chat().await.text(), "one");
    for _ in 0..3 {
        assert_eq!(daemon.chat().await.text(), "two");
    }
    end_as(&charges(&daemon, 4).await, &[Ending::Usage; 4]);
}

#[tokio::test]
async fn u31_a_web_page_instead_of_an_answer_takes_the_target_down() {
    let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>";
    for streamed in [false, true] {
        shown(vec![send(page)], streamed)
            .await
            .refuses(502, "upstream_malformed")
            .falls_back()
            .rests("target_down")
            .counts(Ending::InputDisputed);
    }
}

#[tokio::test]
async fn u32_an_answer_without_usage_is_served() {
    let body = r#"{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}"#;
    let shown = shown(status("200 OK", body), false).await;
    assert_eq!((shown.alone.body.as_str(), shown.alone.header("x-tollgate-usage-source")), (body, Some("estimated")));
    shown.rests("ready").counts(Ending::Estimated);
}

#[tokio::test]
async fn u33_an_implausible_usage_is_relayed_and_not_believed() {
    for usage in [
        r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
        r#"{"prompt_tokens":"9","completion_tokens":1}"#,
        r#"{"prompt_tokens":1.5,"completion_tokens":1}"#,
        r#"{"prompt_tokens":9,"completion_tokens":9999999999999}"#,
    ] {
        let body = completion("hi").replace(r#"{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}"#, usage);
        let provider = Provider::always(status("200 OK", &body)).await;
        let daemon = Daemon::start(&charged(&routes(&[&provider], ""))).await;
        assert_eq!(daemon.chat().await.body, body);
        let record = &daemon.records.wait_for(1).await[0];
        assert!(record["usage"].is_null(), "{usage}: {record}");
        assert_ne!(record["usage_source"], "provider");
        end_as(&charges(&daemon, 1).await, &[Ending::Estimated]);
    }
}

#[tokio::test]
async fn u34_another_model_than_asked_is_told() {
    let other = completion("hi").replace(r#""model":"m""#, r#""model":"m-2026-11""#);
    let shown = shown(status("200 OK", &other), false).await;
    assert_eq!(shown.alone.header("x-tollgate-served-model"), Some("m-2026-11"));
    shown.rests("ready").counts(Ending::Usage);
}

#[tokio::test]
async fn u35_new_connections_go_to_the_new_address_and_open_streams_finish() {
    let (names, gate) = (Names::default(), Gate::shut());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let old = Provider::on(listener, vec![streams_in_two("one ", &gate, "two")]);
    let new = Provider::on(TcpListener::bind(("127.0.0.2", port)).await.unwrap(), vec![answers("from the new one")]);
    let shared = names.clone();
    names.set("localhost", &["127.0.0.1".parse().unwrap()]);
    let routes = charged(&routes_to(&[&format!("http://localhost:{port}/v1")], ""));
    let daemon = Daemon::start_with(&routes, move |options| options.resolver = Resolver::Table(shared)).await;
    let mut open = Line::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("one ").await;
    names.set("localhost", &["127.0.0.2".parse().unwrap()]);
    let got = daemon.chat().await;
    assert_eq!((got.status, got.text().as_str()), (200, "from the new one"), "{got:?}");
    gate.open_wide();
    let streamed = open.rest().await;
    assert_eq!((streamed.text().as_str(), streamed.is_done(), streamed.is_whole), ("one two", true, true), "{streamed:?}");
    assert_eq!((old.count(), new.count(), state_of(&daemon)), (1, 1, "ready".into()));
    let mut charges = charges(&daemon, 2).await;
    // The stream told no usage.
    charges.sort_by_key(|charge| charge.posted);
    end_as(&charges, &[Ending::Estimated, Ending::Usage]);
}

#[tokio::test]
async fn u36_a_peer_that_vanished_counts_as_silence() {
    let late = shown(vec![send(stream_of(&[role(), content("half")])), Act::Hang], true).await;
    late.counts(Ending::ObservedAndDisputed);
    assert_eq!(late.alone.stream_code(), "upstream_timeout");
    assert!(!late.alone.is_whole && !late.alone.is_done());
    shown(vec![Act::Hang], true).await.falls_back().counts(Ending::Disputed);
}

#[tokio::test]
async fn u37_an_early_answer_ends_the_sending() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    let answered = Gate::shut();
    let gate = answered.clone();
    let early = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut some = [0; 1024];
        stream.read_exact(&mut some).await.unwrap();
        stream.write_all(&json_answer("413 Payload Too Large", &error("too large", "invalid_request_error", "too_large"))).await.unwrap();
        gate.passed().await;
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.ok();
        rest.len()
    });
    let daemon = Daemon::start(&charged(&routes_to(&[&url], "")).replace("128k", "16M")).await;
    let big = chat(false).replace("Say hello.", &"hello ".repeat(5_000_000));
    let got = daemon.ask(&big).await;
    assert_eq!(got.status, 413, "{got:?}");
    end_as(&charges(&daemon, 1).await, &[Ending::Void]);
    answered.open();
    assert!(early.await.unwrap() < big.len() / 2, "the rest stays here, and the connection is closed");
}

#[tokio::test]
async fn u38_an_empty_answer_is_malformed() {
    for text in ["HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 0\r\n\r\n"] {
        shown(vec![send(text)], false).await.refuses(502, "upstream_malformed").falls_back().rests("resting").counts(Ending::InputDisputed);
    }
    let empty_stream = format!("{STREAM_HEAD}0\r\n\r\n");
    let shown = shown(vec![send(empty_stream)], true).await;
    assert_eq!(shown.alone.status, 502);
    // It may have been cut, and a model have written.
    shown.falls_back().rests("resting").counts(Ending::Disputed);
}

#[tokio::test]
async fn u39_a_senseless_retry_after_is_unknown_or_clamped() {
    for (value, wait) in [("-1", "20"), ("0", "20"), ("soon", "20"), ("1000000000000", "3600"), ("Sun, 06 Nov 1994 08:49:37 GMT", "20")] {
        let acts = vec![send(format!(
            "HTTP/1.1 429 Too Many Requests\r\nretry-after: {value}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}"
        ))];
        let provider = Provider::always(acts).await;
        let daemon = Daemon::start(&charged(&routes(&[&provider], ""))).await;
        assert_eq!(daemon.chat().await.header("retry-after"), Some(wait), "{value}");
        end_as(&charges(&daemon, 1).await, &[Ending::Void]);
    }
}

#[tokio::test]
async fn u40_a_slow_but_correct_answer_is_served() {
    let slow = [vec![Act::Wait(Duration::from_millis(250))], answers("slow")].concat();
    let shown = shown(slow, false).await;
    assert_eq!(shown.alone.text(), "slow");
    shown.stays().rests("ready").counts(Ending::Usage);
}
