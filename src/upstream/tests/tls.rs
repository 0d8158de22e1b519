use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::support::{OK_BODY, Server, closed, ok, outgoing, provider, read_request, send, whole, within};
use crate::units::Clock;
use crate::upstream::dial::Trust;
use crate::upstream::{Phase, Resolver, Upstream, Upstreams};
use crate::wire::{Class, Mark};

/// A certificate authority that the tests' clients trust.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "tests");
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn acceptor(&self, name: &str, is_expired: bool, protocols: &[&str]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if is_expired {
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
        }
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
        TlsAcceptor::from(Arc::new(config))
    }

    fn upstream(&self, server: &Server, host: &str, http1_only: bool) -> Arc<Upstream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let config = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots).with_no_client_auth();
        let mut provider = provider(&format!("https://{host}:{}/v1", server.address.port()));
        provider.http1_only = http1_only;
        Upstreams::with_trust(Clock::System, Resolver::System, Trust::given(config)).adopt(&[provider]).remove(0)
    }
}

#[tokio::test]
async fn u04_tls_that_cannot_be_trusted_rests_the_target() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    let table = [
        ("wrong name", trusted.acceptor("other.example", false, &[])),
        ("expired", trusted.acceptor("127.0.0.1", true, &[])),
        ("unknown root", stranger.acceptor("127.0.0.1", false, &[])),
    ];
    for (what, acceptor) in table {
        let server = Server::start(move |_, stream| {
            let acceptor = acceptor.clone();
            async move { drop(acceptor.accept(stream).await) }
        })
        .await;
        let failure = send(&trusted.upstream(&server, "127.0.0.1", false)).await.unwrap_err();
        assert_eq!((failure.class, failure.code, failure.fault), (Class::Connect, "upstream_tls", "tls"), "{what}");
        assert_eq!((failure.mark, failure.retry_after), (Mark::Rest, Some(Duration::from_mins(1))), "{what}");
        assert_eq!((failure.phase, failure.nothing_billed, server.connections()), (Phase::P0, true, 1), "{what}");
    }
}

#[tokio::test]
async fn u04_garbage_and_plain_text_are_never_spoken_to() {
    for garbage in ["HTTP/1.1 400 Bad Request\r\n\r\n", "\x16\x03\x01\u{0}\u{0}", "SSH-2.0-x\r\n"] {
        let server = Server::start(move |_, mut stream| async move {
            stream.write_all(garbage.as_bytes()).await.unwrap();
            let mut first = [0; 1];
            stream.read_exact(&mut first).await.unwrap();
            assert_eq!(first, [0x16], "a handshake, never a request");
            closed(&mut stream).await;
        })
        .await;
        let failure = send(&Authority::new().upstream(&server, "127.0.0.1", false)).await.unwrap_err();
        assert_eq!((failure.code, failure.fault), ("upstream_tls", "tls"), "{garbage:?}");
    }
}

#[tokio::test]
async fn a_peer_that_leaves_in_the_handshake_is_no_distrust() {
    let server = Server::start(|_, stream| async move { drop(stream) }).await;
    let failure = send(&Authority::new().upstream(&server, "127.0.0.1", false)).await.unwrap_err();
    assert_eq!((failure.code, failure.fault, failure.mark), ("upstream_connect", "refused", Mark::Count));
}

#[tokio::test]
async fn https_speaks_http2_or_http1_as_both_sides_can() {
    let authority = Authority::new();
    for (server_speaks, http1_only, chosen) in
        [(&["h2", "http/1.1"][..], false, "h2"), (&["h2", "http/1.1"], true, "http/1.1"), (&["http/1.1"], false, "http/1.1")]
    {
        let acceptor = authority.acceptor("127.0.0.1", false, server_speaks);
        let server = Server::start(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                assert_eq!(stream.get_ref().1.alpn_protocol(), Some(chosen.as_bytes()));
                if chosen == "h2" {
                    answer_http2(stream, |_| Answer::Ok).await;
                } else {
                    while read_request(&mut stream).await.is_some() {
                        stream.write_all(ok().as_bytes()).await.unwrap();
                    }
                }
            }
        })
        .await;
        let upstream = authority.upstream(&server, "127.0.0.1", http1_only);
        for _ in 0..2 {
            assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
        }
        assert_eq!(server.connections(), 1);
    }
}

enum Answer {
    Ok,
    Reset(h2::Reason),
    /// A head and some content, then silence; the permit is given when the stream is reset.
    Begin(Arc<Semaphore>),
}

async fn answer_http2(stream: TlsStream<TcpStream>, answer: impl Fn(usize) -> Answer) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut number = 0;
    let mut open = tokio::task::JoinSet::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        assert_eq!(request.uri().path(), "/v1/chat/completions");
        let head = http::Response::builder().header("content-type", "application/json").body(()).unwrap();
        match answer(number) {
            Answer::Ok => {
                let mut body = respond.send_response(head, false).unwrap();
                body.send_data(Bytes::from_static(OK_BODY.as_bytes()), true).unwrap();
            }
            Answer::Reset(reason) => respond.send_reset(reason),
            Answer::Begin(seen) => {
                let mut body = respond.send_response(head, false).unwrap();
                body.send_data(Bytes::from_static(b"{"), false).unwrap();
                open.spawn(async move {
                    let reason = std::future::poll_fn(|context| body.poll_reset(context)).await;
                    assert_eq!(reason.unwrap(), h2::Reason::CANCEL);
                    seen.add_permits(1);
                });
            }
        }
        number += 1;
    }
}

/// A server of HTTP/2 whose connections answer by their number.
async fn http2_server(authority: &Authority, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Server {
    let acceptor = authority.acceptor("127.0.0.1", false, &["h2"]);
    let answer = Arc::new(answer);
    let asked = Arc::new(AtomicUsize::new(0));
    Server::start(move |_, stream| {
        let (acceptor, answer, asked) = (acceptor.clone(), Arc::clone(&answer), Arc::clone(&asked));
        async move {
            let stream = acceptor.accept(stream).await.unwrap();
            answer_http2(stream, |_| answer(asked.fetch_add(1, Ordering::SeqCst))).await;
        }
    })
    .await
}

#[tokio::test]
async fn u27_a_refused_stream_goes_again_on_a_new_connection() {
    let authority = Authority::new();
    let server = http2_server(&authority, |number| if number == 0 { Answer::Reset(h2::Reason::REFUSED_STREAM) } else { Answer::Ok }).await;
    let upstream = authority.upstream(&server, "127.0.0.1", false);
    assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_idle_connection_of_http2_closes_in_time() {
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", false, &["h2"]);
    let closed = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&closed);
    let server = Server::start(move |_, stream| {
        let (acceptor, count) = (acceptor.clone(), Arc::clone(&count));
        async move {
            answer_http2(acceptor.accept(stream).await.unwrap(), |_| Answer::Ok).await;
            count.add_permits(1);
        }
    })
    .await;
    let upstream = authority.upstream(&server, "127.0.0.1", false);
    for _ in 0..2 {
        assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
    }
    assert_eq!((server.connections(), closed.available_permits()), (1, 0));
    tokio::time::pause();
    let start = Instant::now();
    timeout(Duration::from_mins(5), closed.acquire()).await.unwrap().unwrap().forget();
    assert!((29..=30).contains(&start.elapsed().as_secs()), "after {:?}", start.elapsed());
    tokio::time::resume();
    assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn first_requests_wait_for_one_connection() {
    let authority = Authority::new();
    for (protocols, most) in [(&["h2"][..], 1), (&["http/1.1"], 8)] {
        let acceptor = authority.acceptor("127.0.0.1", false, protocols);
        let is_http2 = protocols == ["h2"];
        let server = Server::start(move |_, stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await.unwrap();
                if is_http2 {
                    return answer_http2(stream, |_| Answer::Ok).await;
                }
                while let Some(request) = read_request(&mut stream).await {
                    assert!(request.contains("\r\nhost: 127.0.0.1:"), "{request}");
                    stream.write_all(ok().as_bytes()).await.unwrap();
                }
            }
        })
        .await;
        let upstream = authority.upstream(&server, "127.0.0.1", false);
        // Whoever asked first goes away while the connection is opened.
        let asked = outgoing(false);
        tokio::select! {
            biased;
            _ = upstream.send(&asked) => panic!("no answer comes so soon"),
            () = std::future::ready(()) => {}
        }
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let upstream = Arc::clone(&upstream);
            tasks.spawn(async move { whole(send(&upstream).await.unwrap()).await.unwrap() });
        }
        assert_eq!(within(tasks.join_all()).await, [OK_BODY; 8]);
        assert!(server.connections() <= most, "{} connections for {protocols:?}", server.connections());
    }
}

#[tokio::test]
async fn first_requests_share_the_failure_of_one_connection() {
    let server = Server::start(|_, stream| async move { drop(stream) }).await;
    let upstream = Authority::new().upstream(&server, "127.0.0.1", false);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let upstream = Arc::clone(&upstream);
        tasks.spawn(async move { send(&upstream).await.unwrap_err().fault });
    }
    assert_eq!(within(tasks.join_all()).await, ["refused"; 8]);
    assert_eq!(server.connections(), 1);
    assert_eq!((send(&upstream).await.unwrap_err().fault, server.connections()), ("refused", 2));
}

#[tokio::test]
async fn u27b_another_reset_is_a_reset() {
    let authority = Authority::new();
    let server = http2_server(&authority, |_| Answer::Reset(h2::Reason::INTERNAL_ERROR)).await;
    let failure = send(&authority.upstream(&server, "127.0.0.1", false)).await.unwrap_err();
    assert_eq!((failure.code, failure.phase, failure.nothing_billed), ("upstream_reset", Phase::P1, false));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_dropped_reply_resets_its_stream_and_nothing_else() {
    let authority = Authority::new();
    let reset = Arc::new(Semaphore::new(0));
    let seen = Arc::clone(&reset);
    let server = http2_server(&authority, move |number| if number == 0 { Answer::Begin(Arc::clone(&seen)) } else { Answer::Ok }).await;
    let upstream = authority.upstream(&server, "127.0.0.1", false);
    let mut reply = send(&upstream).await.unwrap();
    assert_eq!(within(reply.body.frame()).await.unwrap().unwrap().into_data().unwrap(), "{");
    drop(reply);
    tokio::time::timeout(Duration::from_millis(100), reset.acquire()).await.unwrap().unwrap().forget();
    assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
    assert_eq!(server.connections(), 1);
}

const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const HEADERS: u8 = 1;

/// Reads frames until the client's request head.
async fn read_head_frame(stream: &mut TlsStream<TcpStream>) {
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            return;
        }
    }
}

#[tokio::test]
async fn u27_a_stream_that_a_goaway_left_out_goes_again_on_a_new_connection() {
    const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", false, &["h2"]);
    let server = Server::start(move |number, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            if number > 0 {
                return answer_http2(stream, |_| Answer::Ok).await;
            }
            stream.write_all(SETTINGS).await.unwrap();
            read_head_frame(&mut stream).await;
            stream.write_all(GOAWAY).await.unwrap();
            closed(&mut stream).await;
        }
    })
    .await;
    let upstream = authority.upstream(&server, "127.0.0.1", false);
    assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn u28_floods_of_frames_end_the_connection() {
    // HEADERS without its end, then CONTINUATION for ever; PING for ever; SETTINGS for ever.
    let head: &[u8] = &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88];
    let continuation: &[u8] = &[0, 0, 4, 9, 0, 0, 0, 0, 1, 0x40, 1, b'a', 0];
    let authority = Authority::new();
    let acceptor = authority.acceptor("127.0.0.1", false, &["h2"]);
    let server = Server::start(move |_, stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(SETTINGS).await.unwrap();
            read_head_frame(&mut stream).await;
            stream.write_all(head).await.unwrap();
            while stream.write_all(&continuation.repeat(100)).await.is_ok() {}
        }
    })
    .await;
    let failure = send(&authority.upstream(&server, "127.0.0.1", false)).await.unwrap_err();
    assert_eq!(failure.code, "upstream_reset");
}
