use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::units::Heartbeat;

/// Tells the service manager how the daemon is. Does nothing where no manager listens.
#[derive(Clone, Debug, Default)]
pub(super) struct Notifier {
    socket: Option<OsString>,
}

impl Notifier {
    /// To the socket that `NOTIFY_SOCKET` names.
    #[must_use]
    pub(super) fn from_env() -> Self {
        Self::to(std::env::var_os("NOTIFY_SOCKET"))
    }

    /// To a path, or to an abstract name behind `@`.
    #[must_use]
    pub(super) fn to(socket: Option<OsString>) -> Self {
        Self { socket: socket.filter(|socket| !socket.is_empty()) }
    }

    /// The daemon serves, at the start and after a reload.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
    }

    /// A reload begins. The moment goes in the same message: the manager refuses a reload without it.
    pub(super) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(error) => tracing::warn!(%error, "the monotonic clock cannot be read"),
        }
    }

    pub(super) fn stopping(&self, status: &str) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
    }

    /// Pings every half `interval` until stopped, but only while each heartbeat has beaten since the last ping.
    /// A loop that is stuck so ends the daemon, and the manager starts it anew.
    pub(super) async fn watchdog(&self, interval: Duration, beats: Vec<Heartbeat>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(interval / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The first tick comes at once; the loops may only be starting.
        ticks.tick().await;
        let mut seen: Vec<_> = beats.iter().map(Heartbeat::count).collect();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now: Vec<_> = beats.iter().map(Heartbeat::count).collect();
            if seen.iter().zip(&now).all(|(before, after)| before != after) {
                self.tell(&[NotifyState::Watchdog]);
                seen = now;
            } else {
                tracing::warn!("no watchdog ping: a loop of the daemon stands still");
            }
        }
    }

    /// One datagram with all that is told. A manager that cannot be reached is logged and does not stop the daemon.
    fn tell(&self, states: &[NotifyState<'_>]) {
        let Some(socket) = &self.socket else { return };
        let message: String = states.iter().map(Line).map(|line| line.to_string()).collect();
        if let Err(error) = send(socket, message.as_bytes()) {
            tracing::warn!(%error, "the service manager cannot be told");
        }
    }
}

/// How often the service manager wants a ping; absent when it wants none.
#[must_use]
pub(super) fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|interval| !interval.is_zero())
}

struct Line<'a>(&'a NotifyState<'a>);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.0)
    }
}

/// A line break would begin another assignment.
fn one_line(status: &str) -> String {
    status.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn send(socket: &OsString, message: &[u8]) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let datagram = UnixDatagram::unbound()?;
    // A manager that does not read must not hold the daemon up.
    datagram.set_nonblocking(true)?;
    datagram.send_to_addr(message, &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;

    use super::*;

    struct Manager(UnixDatagram);

    impl Manager {
        fn new() -> (Self, Notifier) {
            let name = format!("tollgate-notify-{}", uuid::Uuid::now_v7());
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            let socket = UnixDatagram::bind_addr(&address).unwrap();
            socket.set_nonblocking(true).unwrap();
            (Self(socket), Notifier::to(Some(format!("@{name}").into())))
        }

        fn next(&self) -> Option<String> {
            let mut message = [0; 512];
            self.0.recv(&mut message).ok().map(|length| String::from_utf8_lossy(&message[..length]).into_owned())
        }
    }

    #[test]
    fn each_state_is_one_message() {
        let (manager, notifier) = Manager::new();
        notifier.ready("revision 1-abc\nserves");
        assert_eq!(manager.next().unwrap(), "READY=1\nSTATUS=revision 1-abc serves\n");
        notifier.reloading();
        let message = manager.next().unwrap();
        let usec = message.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").and_then(|rest| rest.trim_end().parse::<u64>().ok());
        assert!(usec.is_some_and(|usec| usec > 0), "{message}");
        notifier.stopping("draining");
        assert_eq!(manager.next().unwrap(), "STOPPING=1\nSTATUS=draining\n");
        assert_eq!(manager.next(), None);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        Notifier::to(None).ready("");
        Notifier::to(Some("".into())).stopping("");
        Notifier::to(Some("/nowhere/at/all".into())).reloading();
    }

    #[tokio::test(start_paused = true)]
    async fn l24_the_watchdog_is_fed_only_while_every_loop_turns() {
        let (manager, notifier) = Manager::new();
        let (accept, reload, ledger) = (Heartbeat::default(), Heartbeat::default(), Heartbeat::default());
        let stop = CancellationToken::new();
        let (beats, stopped) = (vec![accept.clone(), reload.clone(), ledger.clone()], stop.clone());
        let task = TaskTracker::new().spawn(async move { notifier.watchdog(Duration::from_secs(10), beats, stopped).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (beaten, is_fed) in [
            (vec![&accept, &reload, &ledger], true),
            (vec![&accept, &ledger], false),
            (vec![], false),
            (vec![&reload], true),
            (vec![&accept, &reload], false),
            (vec![&ledger], true),
        ] {
            beaten.into_iter().for_each(Heartbeat::beat);
            tokio::time::sleep(Duration::from_secs(5)).await;
            assert_eq!(manager.next().is_some_and(|message| message == "WATCHDOG=1\n"), is_fed);
        }
        stop.cancel();
        task.await.unwrap();
    }
}
