use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::support::{KEY, OK_BODY, Server, adopt, answer, closed, ok, outgoing, provider, read_request, send, whole, within};
use crate::upstream::{Failure, Phase};
use crate::wire::{Class, Mark};

const OWN_ERROR: &str = r#"{"error":{"message":"no","type":"t","param":"p","code":"c"}}"#;

async fn failure_of(answer: impl Into<Vec<u8>>) -> Failure {
    let server = Server::answering(answer).await;
    send(&server.upstream()).await.expect_err("this answer must fail")
}

#[tokio::test]
async fn u10_u11_u12_u13_u14_error_answers_are_classified() {
    let table = [
        ("500 Oops", Class::ServerError, "upstream_error", 500, Mark::Count),
        ("503 Busy", Class::Overloaded, "server_is_overloaded", 503, Mark::Rest),
        ("504 Late", Class::Timeout, "upstream_timeout", 504, Mark::Count),
        ("529 Busy", Class::Overloaded, "server_is_overloaded", 503, Mark::Rest),
        ("429 Slow", Class::RateLimited, "rate_limit_exceeded", 429, Mark::Rest),
        ("401 No", Class::Auth, "upstream_auth", 502, Mark::KeyDown),
        ("403 No", Class::Permission, "upstream_permission", 403, Mark::TargetDown),
        // One that names a time is a limit, not an empty account.
        ("402 Wait", Class::RateLimited, "rate_limit_exceeded", 429, Mark::Rest),
        ("404 Where", Class::ModelNotFound, "upstream_model_not_found", 404, Mark::TargetDown),
        ("413 Big", Class::TooLarge, "request_too_large", 413, Mark::None),
        ("422 Odd", Class::InvalidRequest, "invalid_request", 422, Mark::None),
    ];
    for (status, class, code, answer_status, mark) in table {
        let failure = failure_of(answer(status, "content-type: application/json\r\nretry-after: 7\r\n", OWN_ERROR)).await;
        let told = (failure.class, failure.code, failure.answer_status().as_u16(), failure.mark, failure.phase);
        assert_eq!(told, (class, code, answer_status, mark, Phase::P2), "{status}");
        assert_eq!(failure.retry_after, Some(Duration::from_secs(7)), "{status}");
        assert!(failure.nothing_billed, "{status}");
        assert_eq!(failure.body.is_some(), matches!(class, Class::InvalidRequest | Class::TooLarge), "{status}");
    }
}

#[tokio::test]
async fn u10_a_busy_provider_that_names_no_time_counts() {
    for status in ["503 Busy", "529 Busy"] {
        let failure = failure_of(answer(status, "content-type: application/json\r\n", OWN_ERROR)).await;
        assert_eq!((failure.class, failure.mark, failure.retry_after), (Class::Overloaded, Mark::Count, None), "{status}");
    }
}

#[tokio::test]
async fn u12_the_provider_s_words_about_a_key_stay_inside() {
    let body = format!(r#"{{"error":{{"message":"bad key {}","type":"t","param":null,"code":"c"}}}}"#, KEY.to_uppercase());
    let failure = failure_of(answer("401 No", "", &body)).await;
    assert_eq!((failure.body.clone(), failure.message.as_str()), (None, "answered with status 401"));
    assert_eq!(failure.told.as_ref().unwrap().message, None);
}

#[tokio::test]
async fn u14_an_error_body_passes_only_without_key_and_host() {
    let with = |word: &str| format!(r#"{{"error":{{"message":"see {word}","type":"t","param":null,"code":"c"}}}}"#);
    for (word, passes) in [("the manual", true), (KEY, false), ("http://127.0.0.1/x", false)] {
        let failure = failure_of(answer("400 Bad", "", &with(word))).await;
        assert_eq!(failure.body, passes.then(|| Bytes::from(with(word))), "{word}");
        assert_eq!(failure.told.as_ref().unwrap().message.is_some(), passes, "{word}");
    }
    let failure = failure_of(answer("400 Bad", "", r#"{"detail":"other shape"}"#)).await;
    assert_eq!(failure.body, None);
}

#[tokio::test]
async fn u10_an_error_answer_that_breaks_off_may_have_been_billed() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 100\r\n\r\n{").await.unwrap();
    })
    .await;
    let failure = send(&server.upstream()).await.unwrap_err();
    assert_eq!((failure.class, failure.nothing_billed), (Class::ServerError, false));
}

#[tokio::test]
async fn u10_an_endless_error_answer_is_cut() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 503 Busy\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    })
    .await;
    let failure = send(&server.upstream()).await.unwrap_err();
    assert_eq!((failure.class, failure.nothing_billed), (Class::Overloaded, false));
}

#[tokio::test]
async fn u15_redirect_is_never_followed() {
    let elsewhere = Server::answering(ok()).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: http://{}/\r\n", elsewhere.address);
        let failure = failure_of(answer(&format!("{status} Go"), &location, "")).await;
        assert_eq!((failure.code, failure.fault, failure.status), ("upstream_redirect", "redirect", Some(status)));
        assert_eq!((failure.answer_status().as_u16(), failure.mark, failure.nothing_billed), (502, Mark::Count, true));
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn u16_a_switch_of_protocols_is_malformed() {
    let failure = failure_of("HTTP/1.1 101 Switch\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n").await;
    assert_eq!((failure.code, failure.fault, failure.phase), ("upstream_malformed", "upgrade", Phase::P2));
}

#[tokio::test]
async fn u16_eight_preliminary_heads_are_enough() {
    let early = "HTTP/1.1 103 Early\r\nlink: x\r\n\r\n";
    let server = Server::answering(early.repeat(8) + &ok()).await;
    assert_eq!(whole(send(&server.upstream()).await.unwrap()).await.unwrap(), OK_BODY);

    let failure = failure_of(early.repeat(9)).await;
    assert_eq!((failure.code, failure.fault), ("upstream_malformed", "informational"));
}

#[tokio::test]
async fn u16_an_endless_row_of_preliminary_heads_ends() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 102 Wait\r\n\r\n").await.is_ok() {}
    })
    .await;
    let failure = send(&server.upstream()).await.unwrap_err();
    assert_eq!(failure.fault, "informational");
}

#[tokio::test]
async fn u21_a_body_that_breaks_off_is_truncated() {
    let heads = ["content-length: 100\r\n\r\n{\"id\":", "transfer-encoding: chunked\r\n\r\n5\r\n{\"id\"\r\n"];
    for head in heads {
        let server = Server::start(move |_, mut stream| async move {
            read_request(&mut stream).await;
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{head}");
            stream.write_all(head.as_bytes()).await.unwrap();
        })
        .await;
        let failure = whole(send(&server.upstream()).await.unwrap()).await.unwrap_err();
        assert_eq!((failure.code, failure.fault, failure.phase), ("upstream_truncated", "truncated", Phase::P2), "{head}");
        assert_eq!((failure.answer_status().as_u16(), failure.nothing_billed), (502, false));
    }
}

#[tokio::test]
async fn u23_a_body_above_the_limit_is_too_large() {
    let server = Server::answering(ok()).await;
    let reply = send(&server.upstream()).await.unwrap();
    let failure = within(reply.body.read_whole(5)).await.unwrap_err();
    assert_eq!((failure.code, failure.message.as_str()), ("upstream_too_large", "sent an answer of more than 5 bytes"));
}

#[tokio::test]
async fn u25_a_compressed_reply_is_never_unpacked() {
    for encoding in ["gzip", "br", "identity, gzip"] {
        let headers = format!("content-type: application/json\r\ncontent-encoding: {encoding}\r\n");
        let failure = failure_of(answer("200 OK", &headers, "\u{1f}x")).await;
        assert_eq!((failure.code, failure.fault), ("upstream_malformed", "content_encoding"), "{encoding}");
    }
    let server = Server::answering(answer("200 OK", "content-type: application/json\r\ncontent-encoding: Identity\r\n", OK_BODY)).await;
    assert!(send(&server.upstream()).await.is_ok());
}

#[tokio::test]
async fn u26_heads_have_bounds() {
    let lines = "x-a: 1\r\n".repeat(101);
    let long = format!("x-long: {}\r\n", "y".repeat(70 << 10));
    let heads =
        [lines.as_str(), long.as_str(), "x-ctl: a\x01b\r\n", "x-nul: a\0b\r\n", "x-fold: a\r\n b\r\n", "x cr: a\r\n", "x-cr: a\rb\r\n"];
    for head in heads {
        let failure = failure_of(answer("200 OK", head, OK_BODY)).await;
        assert_eq!((failure.code, failure.fault, failure.nothing_billed), ("upstream_malformed", "bad_head", false), "{head:.20}");
    }
    let lines = "x-a: 1\r\n".repeat(98);
    let server = Server::answering(answer("200 OK", &(lines + "content-type: application/json\r\n"), OK_BODY)).await;
    assert!(send(&server.upstream()).await.is_ok());
}

#[tokio::test]
async fn u29_two_lengths_are_no_answer_and_the_connection_ends() {
    let table = [
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "bad_framing"),
        ("content-length: 5\r\ncontent-length: 5\r\n\r\nhello", "bad_framing"),
        ("content-length: 5, 5\r\n\r\nhello", "bad_framing"),
        ("content-length: 5\r\ncontent-length: 6\r\n\r\nhello", "bad_head"),
        ("content-length: -5\r\n\r\nhello", "bad_head"),
        ("content-length: +5\r\n\r\nhello", "bad_head"),
        ("content-length: 18446744073709551616\r\n\r\nhello", "bad_head"),
    ];
    for (rest, fault) in table {
        let server = Server::answering(format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{rest}")).await;
        let upstream = server.upstream();
        for connections in 1..=2 {
            let failure = send(&upstream).await.unwrap_err();
            assert_eq!((failure.code, failure.fault), ("upstream_malformed", fault), "{rest:?}");
            assert_eq!(server.connections(), connections, "the connection must not be used again: {rest:?}");
        }
    }
}

#[tokio::test]
async fn u29_a_chunk_of_impossible_size_is_malformed() {
    for size in ["10000000000000000", "-1", "xyz"] {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
        let server = Server::answering(format!("{head}{size}\r\nhello\r\n")).await;
        let failure = whole(send(&server.upstream()).await.unwrap()).await.unwrap_err();
        assert_eq!((failure.code, failure.fault), ("upstream_malformed", "bad_framing"), "{size}");
    }
}

#[tokio::test]
async fn u29_bytes_after_a_body_reach_nobody() {
    let server = Server::answering(ok() + "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil").await;
    let upstream = server.upstream();
    for connections in 1..=3 {
        assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn u30_an_unsolicited_answer_reaches_nobody() {
    let (go, gone) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (go_in, gone_in) = (Arc::clone(&go), Arc::clone(&gone));
    let server = Server::start(move |_, mut stream| {
        let (go, gone) = (Arc::clone(&go_in), Arc::clone(&gone_in));
        async move {
            read_request(&mut stream).await;
            stream.write_all(ok().as_bytes()).await.unwrap();
            go.acquire().await.unwrap().forget();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4\r\n\r\nevil").await.unwrap();
            gone.add_permits(1);
            closed(&mut stream).await;
        }
    })
    .await;
    let upstream = server.upstream();
    for _ in 0..3 {
        assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
        go.add_permits(1);
        within(gone.acquire()).await.unwrap().forget();
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn u31_other_content_takes_the_target_down() {
    for kind in ["text/html", "text/html; charset=utf-8", "text/plain", "text/event-stream"] {
        let failure = failure_of(answer("200 OK", &format!("content-type: {kind}\r\n"), "<html>")).await;
        assert_eq!((failure.code, failure.fault, failure.mark), ("upstream_malformed", "content_type", Mark::TargetDown), "{kind}");
    }
}

#[tokio::test]
async fn a_stream_s_request_may_get_events_or_json() {
    for (kind, is_event_stream) in [("text/event-stream; charset=utf-8", true), ("Application/JSON", false), ("application/x+json", false)]
    {
        let server = Server::answering(answer("200 OK", &format!("content-type: {kind}\r\n"), OK_BODY)).await;
        let reply = within(server.upstream().send(&outgoing(true))).await.unwrap();
        assert_eq!(reply.is_event_stream, is_event_stream, "{kind}");
        assert_eq!(whole(reply).await.unwrap(), OK_BODY);
    }
}

#[tokio::test]
async fn u37_an_early_answer_counts_and_ends_the_connection() {
    let shut = Arc::new(Semaphore::new(0));
    let seen = Arc::clone(&shut);
    let server = Server::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut start = [0; 64];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut start).await.unwrap();
            stream.write_all(answer("413 Big", "", OWN_ERROR).as_bytes()).await.unwrap();
            closed(&mut stream).await;
            seen.add_permits(1);
        }
    })
    .await;
    let mut large = outgoing(false);
    large.body = vec![Bytes::from(vec![b' '; 1 << 20]); 32];
    let upstream = server.upstream();
    let failure = within(upstream.send(&large)).await.unwrap_err();
    assert_eq!((failure.class, failure.status), (Class::TooLarge, Some(413)));
    within(shut.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn u38_an_answer_without_content_is_malformed() {
    let json = "content-type: application/json\r\n";
    for status in ["204 None", "200 OK", "205 Reset"] {
        let failure = failure_of(answer(status, json, "")).await;
        assert_eq!((failure.code, failure.fault), ("upstream_malformed", "empty"), "{status}");
    }
    let server = Server::answering(format!("HTTP/1.1 200 OK\r\n{json}transfer-encoding: chunked\r\n\r\n0\r\n\r\n")).await;
    let failure = whole(send(&server.upstream()).await.unwrap()).await.unwrap_err();
    assert_eq!((failure.code, failure.fault), ("upstream_malformed", "empty"));
}

#[tokio::test]
async fn a_long_answer_is_put_together() {
    let body = format!(r#"{{"text":"{}"}}"#, "x".repeat(300_000));
    let server = Server::answering(answer("200 OK", "content-type: application/json\r\n", &body)).await;
    assert_eq!(whole(send(&server.upstream()).await.unwrap()).await.unwrap(), body);
}

#[tokio::test]
async fn a_request_is_built_new() {
    let (tx, mut rx) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |_, mut stream| {
        let tx = tx.clone();
        async move {
            let request = read_request(&mut stream).await.unwrap();
            tx.send(request).await.unwrap();
            stream.write_all(ok().as_bytes()).await.unwrap();
        }
    })
    .await;
    let mut call = outgoing(true);
    let client = [
        ("openai-beta", "a=1"),
        ("openai-beta", "b=2"),
        ("authorization", "Bearer client"),
        ("cookie", "c"),
        ("x-api-key", "k"),
        ("user-agent", "x"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-for", "1.2.3.4"),
        ("x-tollgate-task", "coding"),
        ("openai-organization", "o"),
        ("idempotency-key", "i"),
        ("traceparent", "t"),
        ("connection", "close"),
        ("te", "trailers"),
    ];
    let headers = client.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.append::<http::HeaderName>(name, value);
    }
    call.client_headers = Arc::new(map);
    drop(within(server.upstream().send(&call)).await);
    let request = within(rx.recv()).await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<_> = head.lines().collect();
    lines[1..].sort_unstable();
    let host = format!("host: {}", server.address);
    let authorization = format!("authorization: Bearer {KEY}");
    let expected = [
        "POST /v1/chat/completions HTTP/1.1",
        "accept-encoding: identity",
        "accept: text/event-stream, application/json",
        &authorization,
        "content-length: 27",
        "content-type: application/json",
        &host,
        "openai-beta: a=1",
        "openai-beta: b=2",
        concat!("user-agent: tollgate/", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(lines, expected);
    assert_eq!(body, r#"{"model":"m","messages":[]}"#);
}

#[tokio::test]
async fn a_dropped_reply_closes_the_connection_at_once() {
    let shut = Arc::new(Semaphore::new(0));
    let seen = Arc::clone(&shut);
    let server = Server::start(move |_, mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_request(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            closed(&mut stream).await;
            seen.add_permits(1);
        }
    })
    .await;
    let upstream = server.upstream();
    let mut reply = within(upstream.send(&outgoing(true))).await.unwrap();
    assert_eq!(within(reply.body.frame()).await.unwrap().unwrap().into_data().unwrap(), "data:");
    drop(reply);
    tokio::time::timeout(Duration::from_millis(100), shut.acquire()).await.unwrap().unwrap().forget();
}

#[tokio::test]
async fn a_send_that_is_given_up_closes_the_connection() {
    let (asked, shut) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (asked_in, shut_in) = (Arc::clone(&asked), Arc::clone(&shut));
    let server = Server::start(move |_, mut stream| {
        let (asked, shut) = (Arc::clone(&asked_in), Arc::clone(&shut_in));
        async move {
            read_request(&mut stream).await;
            asked.add_permits(1);
            closed(&mut stream).await;
            shut.add_permits(1);
        }
    })
    .await;
    let upstream = server.upstream();
    let outgoing = outgoing(false);
    tokio::select! {
        _ = upstream.send(&outgoing) => panic!("there is no answer"),
        permit = asked.acquire() => permit.unwrap().forget(),
    }
    tokio::time::timeout(Duration::from_millis(100), shut.acquire()).await.unwrap().unwrap().forget();
}

#[tokio::test]
async fn no_failure_names_a_host_or_a_key() {
    let failure = send(&adopt(&provider("http://127.0.0.1:1/v1"))).await.unwrap_err();
    let text = format!("{failure} {failure:?}");
    assert!(!text.contains("127.0.0.1") && !text.contains(KEY), "{text}");
    let debug = format!("{:?}", adopt(&provider("http://127.0.0.1:1/v1")));
    assert!(!debug.contains(KEY), "{debug}");
}
