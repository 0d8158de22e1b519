//! Faults of a provider that speaks HTTP/2, as the daemon shows, counts and remembers them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::charges::{Ending, charged, charges_in, end_as};
use crate::kills::{Daemon, two_ports};
use crate::support::*;

/// What a server does with the streams of its connections.
#[derive(Clone, Copy)]
enum Fault {
    /// The first stream is refused, as one that nobody has looked at.
    RefusedOnce,
    /// The first connection is told to go elsewhere before its stream was looked at.
    GoneOnce,
    Reset,
    /// A head that never ends.
    Flood,
}

/// A provider of HTTP/2 alone, whose certificate an authority of the test's own signed.
struct Http2 {
    url: String,
    /// The authority, as `SSL_CERT_FILE` takes it.
    authority: String,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Http2 {
    async fn start(fault: Fault) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "tests");
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let mut config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/v1", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, number) = (acceptor.clone(), counted.fetch_add(1, Ordering::SeqCst));
                served.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    match fault {
                        Fault::RefusedOnce if number == 0 => answer(stream, Some(h2::Reason::REFUSED_STREAM)).await,
                        Fault::Reset => answer(stream, Some(h2::Reason::INTERNAL_ERROR)).await,
                        // Of the streams none was looked at.
                        Fault::GoneOnce if number == 0 => raw(stream, &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]).await,
                        // HEADERS without its end, then CONTINUATION for ever.
                        Fault::Flood => {
                            let (head, more) = ([0, 0, 1, 1, 0, 0, 0, 0, 1, 0x88], [0, 0, 4, 9, 0, 0, 0, 0, 1, 0x40, 1, b'a', 0]);
                            raw(stream, &head, &more.repeat(100)).await;
                        }
                        Fault::RefusedOnce | Fault::GoneOnce => answer(stream, None).await,
                    }
                });
            }
        });
        Self { url, authority: authority.pem(), connections, _tasks: tasks }
    }
}

/// Answers every stream soundly, or resets it.
async fn answer(stream: TlsStream<TcpStream>, reset: Option<h2::Reason>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        if let Some(reason) = reset {
            respond.send_reset(reason);
            continue;
        }
        let head = http::Response::builder().header("content-type", "application/json").body(()).unwrap();
        let mut body = respond.send_response(head, false).unwrap();
        body.send_data(Bytes::from(completion("over HTTP/2")), true).unwrap();
    }
}

/// Waits for a request's head, sends these bytes, then others for as long as somebody reads them.
async fn raw(mut stream: TlsStream<TcpStream>, first: &[u8], forever: &[u8]) {
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const HEADERS: u8 = 1;
    stream.write_all(SETTINGS).await.unwrap();
    stream.read_exact(&mut [0; 24]).await.unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await.unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await.unwrap();
        if head[3] == HEADERS {
            break;
        }
    }
    stream.write_all(first).await.unwrap();
    if forever.is_empty() {
        while stream.read(&mut [0; 1024]).await.is_ok_and(|count| count > 0) {}
    } else {
        while stream.write_all(forever).await.is_ok() {}
    }
}

/// A daemon of its own process, since it takes its trust from the environment.
struct Asked {
    got: Got,
    folder: Folder,
    /// Of the faulty target, as `status` tells it.
    state: String,
    connections: usize,
}

async fn asked(fault: Fault, has_second: bool) -> Asked {
    let (faulty, sound) = (Http2::start(fault).await, sound_provider("sound", false).await);
    let (folder, (listen, admin)) = (Folder::new(), two_ports());
    let second = sound.url();
    let urls = [faulty.url.as_str(), &second];
    let urls = &urls[..=usize::from(has_second)];
    let routes = charged(&routes_to(urls, "cooldown: { after: 1, rest: 60s }").replace("] }\n", "], retry: false }\n"));
    let server = format!("version: 1\nserver: {{ listen: \"{listen}\", admin: \"{admin}\" }}\n");
    std::fs::write(folder.file("routes.yaml"), routes.replacen("version: 1\n", &server, 1)).unwrap();
    let trusted = folder.file("authority.pem");
    std::fs::write(&trusted, &faulty.authority).unwrap();
    let daemon = Daemon::start_with(&folder, admin, |command| {
        command.env("SSL_CERT_FILE", &trusted);
    })
    .await;
    let got = got(listen, &post("/v1/chat/completions", &[], &chat(false))).await;
    let state = state_of(admin).await;
    charges_in(&folder, 1).await;
    drop(daemon);
    Asked { got, folder, state, connections: faulty.connections.load(Ordering::SeqCst) }
}

async fn state_of(admin: SocketAddr) -> String {
    let status = got(admin, "GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.json();
    status["providers"][0]["targets"][0]["state"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u27_what_was_never_looked_at_goes_again_unseen_and_costs_once() {
    for fault in [Fault::RefusedOnce, Fault::GoneOnce] {
        let asked = asked(fault, true).await;
        assert_eq!((asked.got.status, asked.got.target(), asked.connections), (200, "p0/m", 2), "{:?}", asked.got);
        assert_eq!(asked.got.header("x-tollgate-attempts"), Some("1"), "{:?}", asked.got);
        assert!(asked.got.body.contains("over HTTP/2") && asked.state == "ready", "{:?} {}", asked.got, asked.state);
        end_as(&charges_in(&asked.folder, 1).await, &[Ending::Usage]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u27b_u28_a_reset_and_a_flood_fall_back_rest_and_are_disputed() {
    for fault in [Fault::Reset, Fault::Flood] {
        let alone = asked(fault, false).await;
        assert_eq!((alone.got.status, alone.got.code().as_str()), (502, "upstream_reset"), "{:?}", alone.got);
        assert_eq!((alone.got.header("x-should-retry"), alone.state.as_str()), (Some("false"), "resting"));
        end_as(&charges_in(&alone.folder, 1).await, &[Ending::Disputed]);
        let second = asked(fault, true).await;
        assert_eq!((second.got.status, second.got.target()), (200, "p1/m"), "{:?}", second.got);
        assert!(second.got.text().starts_with("sound"), "{:?}", second.got);
        end_as(&charges_in(&second.folder, 1).await, &[Ending::Disputed, Ending::Usage]);
    }
}
