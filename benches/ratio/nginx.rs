//! nginx as a plain proxy before the same provider, and the way without any proxy: what two of the promised figures are held against.

use std::fmt;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;

use crate::daemon::{Folder, Process, free_address};
use crate::figures::{cpu_us, middle};
use crate::load::{Shape, Told, percentile};
use crate::process;

/// How much later than through nginx the first event of a stream may come, in milliseconds.
const FIRST_EVENT_LATER: f64 = 1.0;
/// How many times nginx's what tollgate adds to the 99th percentile of a call may be, at 200 calls a second.
const P99_ADDED: f64 = 1.5;

pub(crate) struct Nginx {
    pub(crate) process: Process,
    pub(crate) listen: SocketAddr,
    /// Dropped after the process that writes into it.
    _folder: Folder,
}

impl Nginx {
    /// Starts nginx before `upstream`, alone on the core of the servers under test.
    pub(crate) fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let folder = Folder::new("nginx")?;
        let listen = free_address()?;
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, configuration(upstream, listen))?;
        let log = std::fs::File::create(folder.path().join("error.log"))?;
        let mut program = process::pinned("nginx", process::SERVER_CORE);
        program.arg("-p").arg(folder.path()).arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = Process::new(program.spawn().context("nginx does not start: `apt-get install nginx-light` brings it")?);
        let began = Instant::now();
        while std::net::TcpStream::connect(listen).is_err() {
            if began.elapsed() > Duration::from_secs(10) {
                bail!("nginx does not listen:\n{}", std::fs::read_to_string(folder.path().join("error.log"))?);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { process, listen, _folder: folder })
    }
}

/// One process, since its CPU time is read by its number; connections to both sides are kept, answers pass as they come.
fn configuration(upstream: SocketAddr, listen: SocketAddr) -> String {
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  keepalive_requests 1000000000;
  upstream provider {{ server {upstream}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen {listen};
    location / {{
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
      proxy_buffering off;
    }}
  }}
}}
"
    )
}

/// What one shape of load showed in one round.
pub(crate) struct Round {
    pub(crate) shape: Shape,
    pub(crate) tollgate: Told,
    pub(crate) nginx: Told,
    pub(crate) direct: Told,
}

/// How long each calm call of one round took, in microseconds.
#[derive(Clone, Default)]
pub(crate) struct CalmRound {
    pub(crate) direct: Vec<u64>,
    pub(crate) nginx: Vec<u64>,
    pub(crate) tollgate: Vec<u64>,
}

/// What is added to a percentile of the calm calls, in milliseconds, and that percentile without a proxy.
struct Added {
    direct: f64,
    nginx: f64,
    tollgate: f64,
}

#[derive(Default)]
pub(crate) struct Beside {
    pub(crate) rounds: Vec<Round>,
    pub(crate) calm: Vec<CalmRound>,
}

impl CalmRound {
    fn added(mut self, percent: usize) -> Added {
        let [direct, nginx, tollgate] = [&mut self.direct, &mut self.nginx, &mut self.tollgate].map(|times| {
            times.sort_unstable();
            ms(percentile(times, percent))
        });
        Added { direct, nginx: nginx - direct, tollgate: tollgate - direct }
    }
}

impl Beside {
    /// The shapes of load that are put on nginx too.
    pub(crate) const MEASURED: [Shape; 2] = [Shape::Small, Shape::FirstEvent];

    pub(crate) fn holds(&self) -> bool {
        let p99 = self.calm_added(99);
        self.first_event_later() <= FIRST_EVENT_LATER && p99.tollgate / p99.nginx <= P99_ADDED
    }

    fn middle_of(&self, shape: Shape, value: impl Fn(&Round) -> f64) -> f64 {
        middle(self.each(shape, value).collect())
    }

    fn each(&self, shape: Shape, value: impl Fn(&Round) -> f64) -> impl Iterator<Item = f64> {
        self.rounds.iter().filter(move |round| round.shape == shape).map(value)
    }

    /// Milliseconds; the middle of the rounds' differences.
    fn first_event_later(&self) -> f64 {
        self.middle_of(Shape::FirstEvent, |round| ms(round.tollgate.first_event_us) - ms(round.nginx.first_event_us))
    }

    /// Each the middle of the rounds': a round that something else disturbed does not decide.
    fn calm_added(&self, percent: usize) -> Added {
        let rounds: Vec<Added> = self.calm.iter().map(|round| round.clone().added(percent)).collect();
        let middle_of = |value: fn(&Added) -> f64| middle(rounds.iter().map(value).collect());
        Added {
            direct: middle_of(|round| round.direct),
            nginx: middle_of(|round| round.nginx),
            tollgate: middle_of(|round| round.tollgate),
        }
    }

    fn write_rounds(&self, out: &mut fmt::Formatter<'_>, shape: Shape, value: impl Fn(&Round) -> f64) -> fmt::Result {
        let rounds: Vec<String> = self.each(shape, value).map(|value| format!("{value:.2}")).collect();
        write!(out, "{}", rounds.join(" "))
    }
}

fn ms(microseconds: u64) -> f64 {
    microseconds as f64 / 1e3
}

fn verdict(holds: bool) -> &'static str {
    if holds { "" } else { "  MISSED" }
}

/// What tollgate adds over what nginx adds.
impl fmt::Display for Added {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.2}/{:.2}", self.tollgate, self.nginx)
    }
}

impl fmt::Display for Beside {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |shape, value: fn(&Round) -> f64| self.middle_of(shape, value);
        writeln!(out, "\nbeside nginx, and without a proxy:")?;
        let first = |pick: fn(&Round) -> &Told| self.middle_of(Shape::FirstEvent, |round| ms(pick(round).first_event_us));
        let later = self.first_event_later();
        write!(out, "first event after: direct {:.2} ms, nginx {:.2} ms, ", first(|round| &round.direct), first(|round| &round.nginx))?;
        write!(
            out,
            "tollgate {:.2} ms: {later:.2} ms later than through nginx, bound {FIRST_EVENT_LATER}; ",
            first(|round| &round.tollgate)
        )?;
        self.write_rounds(out, Shape::FirstEvent, |round| ms(round.tollgate.first_event_us) - ms(round.nginx.first_event_us))?;
        writeln!(out, "{}", verdict(later <= FIRST_EVENT_LATER))?;
        for (percent, bound) in [(99, Some(P99_ADDED)), (90, None), (50, None)] {
            let Added { direct, nginx, tollgate } = self.calm_added(percent);
            let ratio = tollgate / nginx;
            write!(out, "p{percent} of a call at 200/s: direct {direct:.3} ms; nginx adds {nginx:.3} ms, tollgate {tollgate:.3} ms: ")?;
            write!(out, "{ratio:.2} x nginx's")?;
            if let Some(bound) = bound {
                let rounds: Vec<String> = self.calm.iter().map(|round| round.clone().added(percent).to_string()).collect();
                write!(out, ", bound {bound}; rounds {}{}", rounds.join(" "), verdict(ratio <= bound))?;
            }
            writeln!(out)?;
        }
        let (own, other) =
            (of(Shape::Small, |round| cpu_us(Shape::Small, &round.tollgate)), of(Shape::Small, |round| cpu_us(Shape::Small, &round.nginx)));
        writeln!(out, "CPU per small request: nginx {other:.1} µs, tollgate {own:.1} µs: {:.2} x nginx's", own / other)
    }
}
