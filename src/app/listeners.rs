use std::net::SocketAddr;

use anyhow::Context;
use listenfd::ListenFd;
use tokio::net::TcpListener;

use crate::config::Server;

/// The two listening sockets: applications and operators.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) applications: TcpListener,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Takes the sockets that systemd hands over, in the order applications, operators; opens what it does not.
    pub(super) async fn open(server: &Server) -> anyhow::Result<Self> {
        let mut inherited = ListenFd::from_env();
        let applications = match inherited.take_tcp_listener(0).context("the first inherited socket")? {
            Some(listener) => adopt(listener)?,
            None => bind(server.listen, "server.listen").await?,
        };
        let admin = match inherited.take_tcp_listener(1).context("the second inherited socket")? {
            Some(listener) => adopt(listener)?,
            None => bind(server.admin, "server.admin").await?,
        };
        Ok(Self { applications, admin })
    }
}

fn adopt(listener: std::net::TcpListener) -> anyhow::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address} (`{setting}`)"))
}
