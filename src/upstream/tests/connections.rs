use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::support::{OK_BODY, Server, adopt, adopt_with, closed, ok, outgoing, provider, read_request, send, send_afresh, whole, within};
use crate::config::Proxy;
use crate::units::Clock;
use crate::upstream::{Names, Outgoing, Phase, Resolver, Upstreams};
use crate::wire::{Class, Mark};

fn names(table: &[(&str, &[&str])]) -> Resolver {
    let addresses = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    Resolver::Table(Names::from(table.iter().map(|(name, texts)| ((*name).to_owned(), addresses(texts))).collect::<HashMap<_, _>>()))
}

/// A port on which nobody listens.
async fn silent_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// A listener whose queue is full, so that the next connection gets no answer at all; and what keeps it so.
async fn full_listener() -> (u16, Vec<TcpStream>, TcpListener) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address.port(), waiting, listener)
}

#[tokio::test]
async fn u01_an_unknown_name_is_no_connection() {
    let failure = send(&adopt_with(&provider("http://api.example/v1"), names(&[]))).await.unwrap_err();
    assert_eq!((failure.class, failure.code, failure.fault), (Class::Connect, "upstream_connect", "dns"));
    assert_eq!((failure.phase, failure.nothing_billed, failure.mark), (Phase::P0, true, Mark::Count));
    assert_eq!(failure.answer_status().as_u16(), 502);
}

#[tokio::test]
async fn u02_a_refused_connection_fails_at_once() {
    let port = silent_port().await;
    let failure = send(&adopt(&provider(&format!("http://127.0.0.1:{port}/v1")))).await.unwrap_err();
    assert_eq!((failure.code, failure.fault, failure.phase, failure.nothing_billed), ("upstream_connect", "refused", Phase::P0, true));
}

#[tokio::test]
async fn u02_the_next_address_is_tried() {
    let port = silent_port().await;
    let script = |_, mut stream: TcpStream| async move {
        read_request(&mut stream).await;
        stream.write_all(ok().as_bytes()).await.unwrap();
    };
    let _server = Server::start_at(&format!("127.0.0.2:{port}"), script).await;
    let upstream = adopt_with(&provider(&format!("http://localhost:{port}/v1")), names(&[("localhost", &["127.0.0.1", "127.0.0.2"])]));
    assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
}

#[tokio::test]
async fn u03_a_dropped_syn_ends_at_the_connect_timeout() {
    let (port, _waiting, _listener) = full_listener().await;
    let failure = send(&adopt(&provider(&format!("http://127.0.0.1:{port}/v1")))).await.unwrap_err();
    assert_eq!((failure.code, failure.fault, failure.phase), ("upstream_connect", "connect_timeout", Phase::P0));

    let script = |_, mut stream: TcpStream| async move {
        read_request(&mut stream).await;
        stream.write_all(ok().as_bytes()).await.unwrap();
    };
    let _server = Server::start_at(&format!("127.0.0.2:{port}"), script).await;
    let upstream = adopt_with(&provider(&format!("http://localhost:{port}/v1")), names(&[("localhost", &["127.0.0.1", "127.0.0.2"])]));
    assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
}

#[tokio::test]
async fn u05_a_dead_pooled_connection_is_invisible() {
    let shut = Arc::new(Semaphore::new(0));
    let done = Arc::clone(&shut);
    let server = Server::start(move |_, mut stream| {
        let done = Arc::clone(&done);
        async move {
            read_request(&mut stream).await;
            stream.write_all(ok().as_bytes()).await.unwrap();
            drop(stream);
            done.add_permits(1);
        }
    })
    .await;
    let upstream = server.upstream();
    for connections in 1..=5 {
        assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
        within(shut.acquire()).await.unwrap().forget();
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn u06_a_reused_connection_that_breaks_is_tried_once_afresh() {
    for linger in [None, Some(Duration::ZERO)] {
        let server = Server::start(move |number, mut stream| async move {
            read_request(&mut stream).await;
            stream.write_all(ok().as_bytes()).await.unwrap();
            read_request(&mut stream).await;
            if number == 0 {
                // A lingering time of zero makes the close a reset.
                socket2::SockRef::from(&stream).set_linger(linger).unwrap();
            } else {
                stream.write_all(ok().as_bytes()).await.unwrap();
            }
        })
        .await;
        let upstream = server.upstream();
        assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
        // What was sent may be billed: whether it goes again is for whoever pays to say.
        let failure = send(&upstream).await.unwrap_err();
        assert!(failure.may_go_again && !failure.nothing_billed, "{failure:?}");
        assert_eq!(whole(send_afresh(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn u06_a_fresh_connection_that_breaks_is_a_reset() {
    for linger in [None, Some(Duration::ZERO)] {
        let server = Server::start(move |_, mut stream| async move {
            read_request(&mut stream).await;
            socket2::SockRef::from(&stream).set_linger(linger).unwrap();
        })
        .await;
        let failure = send(&server.upstream()).await.unwrap_err();
        assert_eq!((failure.class, failure.code, failure.fault), (Class::Connect, "upstream_reset", "reset"));
        assert_eq!((failure.phase, failure.nothing_billed, failure.mark), (Phase::P1, false, Mark::Count));
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn u06_the_second_try_is_the_last() {
    let server = Server::start(|number, mut stream| async move {
        read_request(&mut stream).await;
        if number == 0 {
            stream.write_all(ok().as_bytes()).await.unwrap();
            read_request(&mut stream).await;
        }
    })
    .await;
    let upstream = server.upstream();
    whole(send(&upstream).await.unwrap()).await.unwrap();
    assert!(send(&upstream).await.unwrap_err().may_go_again);
    let failure = send_afresh(&upstream).await.unwrap_err();
    assert_eq!((failure.code, failure.may_go_again, server.connections()), ("upstream_reset", false, 2));
}

#[tokio::test]
async fn u06_after_the_first_byte_of_an_answer_nothing_goes_again() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(ok().as_bytes()).await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 2").await.unwrap();
    })
    .await;
    let upstream = server.upstream();
    whole(send(&upstream).await.unwrap()).await.unwrap();
    let failure = send(&upstream).await.unwrap_err();
    assert_eq!((failure.code, failure.phase, server.connections()), ("upstream_reset", Phase::P2, 1));
}

#[tokio::test]
async fn u35_a_pool_older_than_its_lifetime_is_left() {
    let server = Server::answering(ok()).await;
    let clock = Clock::manual();
    let upstreams = Upstreams::new(clock.clone(), Resolver::System);
    let upstream = upstreams.adopt(&[server.provider()]).remove(0);
    for (seconds, connections) in [(0, 1), (299, 1), (2, 2), (0, 2)] {
        clock.advance(Duration::from_secs(seconds));
        let now = Outgoing { sent: clock.now(), ..outgoing(false) };
        whole(upstream.send(&now).await.unwrap()).await.unwrap();
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn c15_a_name_that_points_inside_is_refused_at_each_connect() {
    let server = Server::answering(ok()).await;
    let base = format!("http://api.example:{}/v1", server.address.port());
    for address in ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1"] {
        let upstream = adopt_with(&provider(&base), names(&[("api.example", &[address])]));
        let failure = send(&upstream).await.unwrap_err();
        assert_eq!((failure.code, failure.fault, failure.phase), ("upstream_connect", "forbidden_address", Phase::P0), "{address}");
    }
    assert_eq!(server.connections(), 0);
    let base = format!("http://localhost:{}/v1", server.address.port());
    assert!(send(&adopt_with(&provider(&base), names(&[("localhost", &["127.0.0.1"])]))).await.is_ok());
}

#[tokio::test]
async fn c28_an_unchanged_provider_keeps_its_connections_over_a_reload() {
    let server = Server::answering(ok()).await;
    let upstreams = Upstreams::new(Clock::System, Resolver::System);
    let mut provider = server.provider();
    let first = upstreams.adopt(&[provider.clone()]).remove(0);
    whole(send(&first).await.unwrap()).await.unwrap();
    provider.timeouts.idle = Duration::from_secs(9);
    let second = upstreams.adopt(&[provider.clone()]).remove(0);
    assert!(Arc::ptr_eq(&first, &second));
    provider.http1_only = true;
    let third = upstreams.adopt(&[provider]).remove(0);
    assert!(!Arc::ptr_eq(&first, &third));
    whole(send(&first).await.unwrap()).await.unwrap();
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_proxy_is_tunnelled_through_only_when_asked() {
    let server = Server::answering(ok()).await;
    let (tx, mut rx) = tokio::sync::mpsc::channel(1);
    let proxy = Server::start(move |_, mut stream| {
        let tx = tx.clone();
        async move {
            let asked = read_request(&mut stream).await.unwrap();
            let to = asked.split(' ').nth(1).unwrap().to_owned();
            tx.send(asked).await.unwrap();
            let mut onward = TcpStream::connect(to).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 Go\r\n\r\n").await.unwrap();
            drop(tokio::io::copy_bidirectional(&mut stream, &mut onward).await);
        }
    })
    .await;
    let mut provider = server.provider();
    provider.proxy = Proxy::Url(format!("http://user:pass@{}", proxy.address).parse().unwrap());
    assert_eq!(whole(send(&adopt(&provider)).await.unwrap()).await.unwrap(), OK_BODY);
    let asked = within(rx.recv()).await.unwrap();
    assert!(asked.starts_with(&format!("CONNECT {} HTTP/1.1\r\n", server.address)), "{asked}");
    assert!(asked.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{asked}");

    provider.proxy = Proxy::Url("socks5://127.0.0.1:1".parse().unwrap());
    assert_eq!(send(&adopt(&provider)).await.unwrap_err().fault, "proxy");
    provider.proxy = Proxy::None;
    assert!(send(&adopt(&provider)).await.is_ok());
    assert_eq!(proxy.connections(), 1);
}

#[tokio::test]
async fn a_proxy_that_opens_no_tunnel_is_no_connection() {
    let proxy = Server::start(|_, mut stream| async move {
        let mut start = [0; 16];
        stream.read_exact(&mut start).await.unwrap();
        stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").await.unwrap();
        closed(&mut stream).await;
    })
    .await;
    let mut provider = provider("http://127.0.0.1:9/v1");
    provider.proxy = Proxy::Url(format!("http://{}", proxy.address).parse().unwrap());
    let failure = send(&adopt(&provider)).await.unwrap_err();
    assert_eq!((failure.code, failure.fault, failure.phase), ("upstream_connect", "proxy", Phase::P0));
}

#[tokio::test]
async fn a_call_may_run_in_any_task() {
    let server = Server::answering(ok()).await;
    let upstream = server.upstream();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let upstream = Arc::clone(&upstream);
        tasks.spawn(async move { whole(send(&upstream).await.unwrap()).await.unwrap() });
    }
    assert_eq!(within(tasks.join_all()).await, [OK_BODY; 8]);
}
