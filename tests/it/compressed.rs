//! Bodies that come compressed.

use std::io::Write;

use crate::support::*;

const CHAT: &str = "/v1/chat/completions";

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
}

async fn ask(daemon: &Daemon, path: &str, coding: &str, body: &[u8]) -> Got {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n"
    );
    let mut line = Line::send(daemon.app.listen(), &head).await;
    line.send_more(body).await;
    line.rest().await
}

#[tokio::test]
async fn k22_a_compressed_body_is_served_like_any_other() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    // The second is decoded beside the tasks that wait for the network.
    let noise = (0..40_000_u32).map(|number| format!("{:x} ", number.wrapping_mul(2_654_435_761))).collect::<Vec<_>>().concat();
    for body in [chat(false), chat(false).replace("hello", &noise)] {
        for (coding, sent) in [("gzip", gzip(&body)), ("zstd", zstd(&body))] {
            let got = ask(&daemon, CHAT, coding, &sent).await;
            assert_eq!((got.status, got.text().as_str()), (200, "hello"), "{coding}: {got:?}");
        }
    }
    let seen = provider.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|seen| seen.header("content-encoding").is_none()));
    assert!(seen[2].body.contains(&noise) && seen[3].body == seen[2].body && seen[1].body == seen[0].body);
}

#[tokio::test]
async fn k22_bombs_broken_bodies_and_strange_codings_are_refused_in_the_clients_words() {
    let provider = sound_provider("hello", false).await;
    let server = "version: 1\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0, body_limit: 100KiB }\n";
    let daemon = Daemon::start(&routes(&[&provider], "").replacen("version: 1\n", server, 1)).await;
    let spaces = format!("{}{}", chat(false), " ".repeat(20 << 20));
    let above = chat(false).replace("hello", &(0..30_000).map(|number| format!("{number} ")).collect::<Vec<_>>().concat());
    for (coding, body, status, code) in [
        ("gzip", gzip(&spaces), 413, "request_too_large"),
        ("zstd", zstd(&spaces), 413, "request_too_large"),
        ("gzip", gzip(&above), 413, "request_too_large"),
        ("gzip", chat(false).into_bytes(), 400, "bad_framing"),
        ("br", vec![0xff; 40], 400, "bad_framing"),
        ("compress", gzip(&chat(false)), 415, "unsupported_encoding"),
        ("gzip, gzip", gzip(&chat(false)), 415, "unsupported_encoding"),
        ("gzip", gzip("{"), 400, "invalid_json"),
    ] {
        let got = ask(&daemon, CHAT, coding, &body).await;
        assert_eq!((got.status, got.code().as_str()), (status, code), "{coding}: {got:?}");
        assert_eq!(got.header("x-should-retry"), Some("false"));
        let got = ask(&daemon, "/v1/messages", coding, &body).await;
        assert_eq!((got.status, got.json()["type"].as_str()), (status, Some("error")), "{coding}: {got:?}");
    }
    assert_eq!(provider.count(), 0);
}
