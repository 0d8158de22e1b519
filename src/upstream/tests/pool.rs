//! Which connection a request takes, and what becomes of it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::support::{OK_BODY, Server, answer, ok, outgoing, read_request, send, send_afresh, whole, within};
use crate::units::Clock;
use crate::upstream::{Outgoing, Phase, Reply, Resolver, Upstream, Upstreams};

const JSON: &str = "content-type: application/json\r\n";

/// A server whose answers name their connection; and a permit for each connection that the client has closed.
async fn naming() -> (Server, Arc<Semaphore>) {
    let closed = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&closed);
    let server = Server::start(move |number, mut stream| {
        let count = Arc::clone(&count);
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(answer("200 OK", JSON, &number.to_string()).as_bytes()).await.unwrap();
            }
            count.add_permits(1);
        }
    })
    .await;
    (server, closed)
}

async fn named(reply: Reply) -> usize {
    std::str::from_utf8(&whole(reply).await.unwrap()).unwrap().parse().unwrap()
}

/// Which connection the next request takes.
async fn next(upstream: &Upstream) -> usize {
    named(send(upstream).await.unwrap()).await
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_taken_first() {
    for ends in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let (server, _) = naming().await;
        let upstream = server.upstream();
        // A connection is in use until its reply was read.
        let mut replies = Vec::new();
        for _ in 0..3 {
            replies.push(Some(send(&upstream).await.unwrap()));
        }
        for end in ends {
            assert_eq!(named(replies[end].take().unwrap()).await, end);
        }
        assert_eq!(next(&upstream).await, ends[2]);
        assert_eq!(next(&upstream).await, ends[2]);
        let held = send(&upstream).await.unwrap();
        assert_eq!(next(&upstream).await, ends[1]);
        assert_eq!((named(held).await, next(&upstream).await), (ends[2], ends[2]));
        assert_eq!(server.connections(), 3);
    }
}

#[tokio::test]
async fn idle_connections_close_in_time_and_nothing_is_left_of_them() {
    let (server, closed) = naming().await;
    let upstream = server.upstream();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let (first, second) = (send(&upstream).await.unwrap(), send(&upstream).await.unwrap());
    tokio::time::pause();
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(closed.available_permits(), 0, "a connection in use is not idle, however slowly it is read");
    let start = Instant::now();
    assert_eq!(named(first).await, 0);
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(named(second).await, 1);
    for seconds in [30, 50] {
        timeout(Duration::from_mins(5), closed.acquire()).await.unwrap().unwrap().forget();
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!((tasks(), start.elapsed().as_secs()), (before, 50), "nothing waits where nothing is idle");
}

#[tokio::test]
async fn a_reply_that_was_dropped_half_way_ends_its_connection() {
    let closed = Arc::new(Semaphore::new(0));
    let count = Arc::clone(&closed);
    let server = Server::start(move |_, mut stream| {
        let count = Arc::clone(&count);
        async move {
            read_request(&mut stream).await;
            stream.write_all(format!("HTTP/1.1 200 OK\r\n{JSON}content-length: 9\r\n\r\n[1,2").as_bytes()).await.unwrap();
            assert_eq!(read_request(&mut stream).await, None, "no other request may come");
            count.add_permits(1);
        }
    })
    .await;
    let upstream = server.upstream();
    for connections in 1..=3 {
        let mut reply = send(&upstream).await.unwrap();
        assert_eq!(within(reply.body.frame()).await.unwrap().unwrap().into_data().unwrap(), "[1,2");
        drop(reply);
        within(closed.acquire()).await.unwrap().forget();
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn a_stream_that_was_read_to_its_end_leaves_its_connection() {
    let server = Server::start(|_, mut stream| async move {
        while read_request(&mut stream).await.is_some() {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
            for piece in ["7\r\ndata: 1\r\n", "7\r\ndata: 2\r\n", "0\r\n\r\n"] {
                tokio::task::yield_now().await;
                stream.write_all(piece.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let upstream = server.upstream();
    for _ in 0..5 {
        let reply = within(upstream.send(&outgoing(true))).await.unwrap();
        assert_eq!(whole(reply).await.unwrap(), "data: 1data: 2");
        assert_eq!(server.connections(), 1);
    }
}

#[tokio::test]
async fn an_error_answer_that_was_read_whole_leaves_its_connection() {
    let server = Server::answering(answer("503 Busy", JSON, "{}")).await;
    let upstream = server.upstream();
    for _ in 0..3 {
        assert_eq!(send(&upstream).await.unwrap_err().status, Some(503));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_provider_that_closes_after_each_answer_gets_a_connection_for_each() {
    let server = Server::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        stream.write_all(answer("200 OK", &format!("{JSON}connection: close\r\n"), OK_BODY).as_bytes()).await.unwrap();
    })
    .await;
    let upstream = server.upstream();
    for connections in 1..=5 {
        assert_eq!(whole(send(&upstream).await.unwrap()).await.unwrap(), OK_BODY);
        assert_eq!(server.connections(), connections);
    }
}

#[tokio::test]
async fn u05_dead_connections_are_passed_over_until_one_takes_the_request() {
    let (go, gone) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (go_in, gone_in) = (Arc::clone(&go), Arc::clone(&gone));
    let server = Server::start(move |number, mut stream| {
        let (go, gone) = (Arc::clone(&go_in), Arc::clone(&gone_in));
        async move {
            while read_request(&mut stream).await.is_some() {
                stream.write_all(answer("200 OK", JSON, &number.to_string()).as_bytes()).await.unwrap();
                if number > 0 {
                    go.acquire().await.unwrap().forget();
                    break;
                }
            }
            drop(stream);
            gone.add_permits(1);
        }
    })
    .await;
    let upstream = server.upstream();
    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(send(&upstream).await.unwrap());
    }
    for reply in replies {
        named(reply).await;
    }
    go.add_permits(3);
    // Whether their connections' tasks have seen it or not: this is one thread, and only the server's tasks have run for sure.
    within(gone.acquire_many(3)).await.unwrap().forget();
    assert_eq!((next(&upstream).await, server.connections()), (0, 4));
}

#[tokio::test]
async fn a_connection_that_ends_before_it_takes_a_request_is_tried_once_more() {
    let server = Server::start(|_, stream| async move {
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    })
    .await;
    let failure = send(&server.upstream()).await.unwrap_err();
    assert_eq!((failure.code, failure.may_go_again), ("upstream_reset", false));
    assert!(failure.phase <= Phase::P1 && server.connections() <= 2, "{failure:?}");
}

#[tokio::test]
async fn a_connection_of_its_own_is_not_kept() {
    let (server, closed) = naming().await;
    let upstream = server.upstream();
    assert_eq!(next(&upstream).await, 0);
    for number in 1..=2 {
        assert_eq!(named(send_afresh(&upstream).await.unwrap()).await, number);
        within(closed.acquire()).await.unwrap().forget();
    }
    assert_eq!(next(&upstream).await, 0);
}

#[tokio::test]
async fn u35_what_was_lent_before_the_pool_s_lifetime_ended_is_not_kept() {
    let (server, closed) = naming().await;
    let clock = Clock::manual();
    let upstream = Upstreams::new(clock.clone(), Resolver::System).adopt(&[server.provider()]).remove(0);
    let go = async || within(upstream.send(&Outgoing { sent: clock.now(), ..outgoing(false) })).await.unwrap();
    let (lent, idle) = (go().await, go().await);
    assert_eq!(named(idle).await, 1);
    clock.advance(Duration::from_secs(301));
    assert_eq!(named(go().await).await, 2);
    within(closed.acquire()).await.unwrap().forget();
    assert_eq!(named(lent).await, 0, "a reply outlives the pool that its connection came from");
    within(closed.acquire()).await.unwrap().forget();
    assert_eq!((named(go().await).await, server.connections()), (2, 3));
}

#[tokio::test]
async fn a_pool_that_is_dropped_closes_what_is_idle_and_ends_no_reply() {
    let (server, closed) = naming().await;
    let upstream = server.upstream();
    let (lent, idle) = (send(&upstream).await.unwrap(), send(&upstream).await.unwrap());
    assert_eq!(named(idle).await, 1);
    drop(upstream);
    within(closed.acquire()).await.unwrap().forget();
    assert_eq!(named(lent).await, 0);
    within(closed.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn the_head_says_where_it_goes() {
    let (tx, mut rx) = tokio::sync::mpsc::channel(1);
    let server = Server::start(move |_, mut stream| {
        let tx = tx.clone();
        async move {
            while let Some(request) = read_request(&mut stream).await {
                tx.send(request).await.unwrap();
                stream.write_all(ok().as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let upstream = server.upstream();
    for _ in 0..2 {
        whole(send(&upstream).await.unwrap()).await.unwrap();
        let head = within(rx.recv()).await.unwrap();
        assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
        assert_eq!(head.matches("host: ").count(), 1, "{head}");
        assert!(head.contains(&format!("\r\nhost: {}\r\n", server.address)), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_few_connections() {
    let (server, _) = naming().await;
    let upstream = server.upstream();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let upstream = Arc::clone(&upstream);
        tasks.spawn(async move {
            for _ in 0..100 {
                next(&upstream).await;
            }
        });
    }
    within(tasks.join_all()).await;
    assert!(server.connections() <= 16, "{} connections", server.connections());
}
