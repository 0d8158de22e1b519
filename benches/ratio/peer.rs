//! The other side of the servers under test: the provider behind them and the load before them, in one thread that never sleeps.
//!
//! Waking a process on another core costs the one who writes to it some 10 µs on a virtual machine, but only while it sleeps, and
//! the load sleeps the more the slower the server is. A peer that is always awake costs both servers the same: nothing.

use std::io::BufRead;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::load::{self, Load};
use crate::mock::{self, Script};

/// Prints where the provider listens, then a line for each load that a line of standard input asks for, until that ends.
pub(crate) fn run(script: Script) -> anyhow::Result<()> {
    let (tx, mut rx) = mpsc::channel(1);
    std::thread::spawn(move || {
        let lines = std::io::stdin().lock().lines().map_while(Result::ok);
        lines.map_while(|line| serde_json::from_str::<Load>(&line).ok()).all(|load| tx.blocking_send(load).is_ok())
    });
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let loads = async {
            while let Some(load) = rx.recv().await {
                println!("{}", serde_json::to_string(&load::under_load(load).await?)?);
            }
            Ok(())
        };
        tokio::select! {
            served = mock::serve(listener, script) => served,
            done = loads => done,
            () = stay_awake() => Ok(()),
        }
    })
}

async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}
