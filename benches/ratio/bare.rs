//! The measure of things: a proxy of hyper's server and hyper-util's client, and nothing else.

use std::net::SocketAddr;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

type Relay = Client<HttpConnector, Incoming>;

pub(crate) async fn serve(listener: TcpListener, upstream: SocketAddr) -> anyhow::Result<()> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let relay: Relay = Client::builder(TokioExecutor::new()).build(connector);
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let relay = relay.clone();
        connections.spawn(async move {
            let pass = service_fn(move |request| pass(relay.clone(), upstream, request));
            // A client that goes away is no matter of the proxy's.
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), pass).await.is_ok()
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn pass(relay: Relay, upstream: SocketAddr, mut request: Request<Incoming>) -> anyhow::Result<Response<Incoming>> {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::builder().scheme("http").authority(upstream.to_string()).path_and_query(path).build()?;
    Ok(relay.request(request).await?)
}
