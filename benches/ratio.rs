//! What tollgate costs, as a ratio: the daemon and a bare hyper proxy before the same provider, in turns, in the same minutes.
//!
//! `cargo bench --bench ratio` prints CPU per request at 64 connections, per streamed event and per request with a 200 KB
//! prompt, each against the bare proxy, with the task declared and without, and ends with exit code 1 when a bound is missed. Rounds are short
//! and many, since the machine's other guests slow it down for seconds at a time. The program starts itself again
//! as the bare proxy and as the peer, which is the provider and the load in one; the server under test has core 0 to itself.
//! Flags: `--seconds N` for one measurement, `--rounds N`, `--quick`, `--nginx`, which measures an installed nginx and the way
//! without a proxy in the same rounds, and `--only-bare`, which puts a second bare proxy in tollgate's place to show how much
//! the figures wander by themselves.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::cast_precision_loss, reason = "figures for people: counts stay far below 2^52")]

#[path = "ratio/bare.rs"]
mod bare;
#[path = "ratio/client.rs"]
mod client;
#[path = "ratio/daemon.rs"]
mod daemon;
#[path = "ratio/figures.rs"]
mod figures;
#[path = "ratio/gateway.rs"]
mod gateway;
#[path = "ratio/load.rs"]
mod load;
#[path = "ratio/mock.rs"]
mod mock;
#[path = "ratio/nginx.rs"]
mod nginx;
#[path = "ratio/peer.rs"]
mod peer;
#[path = "ratio/process.rs"]
mod process;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};

use daemon::Process;
use figures::{Pair, Report};
use load::{Load, Shape, Told};
use nginx::{Beside, CalmRound, Nginx, Round};
use process::{Peer, Role};

/// How often a round measures what recognising a task adds, and for how many seconds each.
const SLICES: usize = 3;
const SLICE: f64 = 0.4;
/// How often a round measures calm calls through nginx, tollgate and no proxy, and for how many seconds each.
const CALM_SLICES: usize = 6;
const CALM_SLICE: f64 = 1.0;

struct Flags {
    seconds: f64,
    rounds: usize,
    only_bare: bool,
    nginx: bool,
}

impl Flags {
    fn read() -> anyhow::Result<Self> {
        let mut flags = Self { seconds: 2.0, rounds: 11, only_bare: false, nginx: false };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                // Cargo adds this one by itself.
                "--bench" => {}
                "--quick" => flags.rounds = 2,
                "--only-bare" => flags.only_bare = true,
                "--nginx" => flags.nginx = true,
                "--seconds" => flags.seconds = words.next().context("--seconds needs a number")?.parse()?,
                "--rounds" => flags.rounds = words.next().context("--rounds needs a number")?.parse()?,
                other => bail!("unknown flag `{other}`: --seconds N, --rounds N, --quick, --nginx, --only-bare"),
            }
        }
        Ok(flags)
    }
}

fn main() -> anyhow::Result<ExitCode> {
    if let Some(role) = Role::of_this_process()? {
        return match role {
            Role::Peer(script) => peer::run(script),
            Role::Bare(upstream) => process::listen(|listener| bare::serve(listener, upstream)),
        }
        .map(|()| ExitCode::SUCCESS);
    }
    let report = measure(&Flags::read()?)?;
    print!("{report}");
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(flags: &Flags) -> anyhow::Result<Report> {
    let mut peer = Peer::start(mock::Script::default())?;
    let upstream = peer.address;
    let (bare, bare_address) = process::start(&Role::Bare(upstream), process::SERVER_CORE)?;
    if flags.only_bare {
        let (other, other_address) = process::start(&Role::Bare(upstream), process::SERVER_CORE)?;
        return compare(flags, &mut peer, [(&bare, bare_address), (&other, other_address)], None);
    }
    let nginx = flags.nginx.then(|| Nginx::start(upstream)).transpose()?;
    let daemon = gateway::start(upstream)?;
    let servers = [(&bare, bare_address), (&daemon.process, daemon.listen)];
    let mut report = compare(flags, &mut peer, servers, nginx.as_ref())?;
    report.first_answer = Some(daemon.first_answer);
    let (counted, dropped) = (daemon.metric("tollgate_requests_total")?, daemon.metric("tollgate_records_dropped_total")?);
    let rules = std::fs::read_to_string(&daemon.file)?.lines().filter(|line| line.contains("name: rule-")).count();
    eprintln!("tollgate served {counted} requests with {rules} rules and dropped {dropped} records");
    Ok(report)
}

fn compare(flags: &Flags, peer: &mut Peer, servers: [(&Process, SocketAddr); 2], nginx: Option<&Nginx>) -> anyhow::Result<Report> {
    let mut report = Report::default();
    report.beside = nginx.map(|_| Beside::default());
    report.rss.push(("idle", in_turns(0, servers, |process, _| daemon::rss_kib(process.id()))?));
    for round in 0..flags.rounds {
        for shape in Shape::MEASURED {
            let pair = in_turns(round, servers, |process, address| put_under(peer, shape, process, address, flags.seconds))?;
            if let Some((nginx, beside)) = nginx.zip(report.beside.as_mut()).filter(|_| Beside::MEASURED.contains(&shape)) {
                let others = [(&nginx.process, nginx.listen), (&nginx.process, peer.address)];
                let others = in_turns(round, others, |process, address| put_under(peer, shape, process, address, flags.seconds))?;
                beside.rounds.push(Round { shape, tollgate: pair.tested.clone(), nginx: others.bare, direct: others.tested });
            }
            report.add(shape, pair);
        }
        if let Some((nginx, beside)) = nginx.zip(report.beside.as_mut()) {
            beside.calm.push(calm_calls(peer, servers[1], nginx)?);
        }
        for slice in 0..SLICES {
            report.recognising.push(what_recognising_adds(peer, servers, round + slice)?);
        }
        eprintln!("round {} of {} done", round + 1, flags.rounds);
    }
    report.rss.push(("256 connections", in_turns(0, servers, |process, address| with_connections(peer, process, address))?));
    Ok(report)
}

/// Measures both servers, the other one first in every second round.
fn in_turns<T>(
    round: usize,
    [bare, tested]: [(&Process, SocketAddr); 2],
    mut measure: impl FnMut(&Process, SocketAddr) -> anyhow::Result<T>,
) -> anyhow::Result<Pair<T>> {
    if round.is_multiple_of(2) {
        let first = measure(bare.0, bare.1)?;
        Ok(Pair { bare: first, tested: measure(tested.0, tested.1)? })
    } else {
        let first = measure(tested.0, tested.1)?;
        Ok(Pair { bare: measure(bare.0, bare.1)?, tested: first })
    }
}

/// What recognising the task adds to the ratio of a small request. The three are measured within three seconds, another one first each
/// time: between two measurements of a round the machine changes more than that.
fn what_recognising_adds(peer: &mut Peer, [bare, tested]: [(&Process, SocketAddr); 2], turn: usize) -> anyhow::Result<f64> {
    let loads = [(bare, Shape::Small), (tested, Shape::Small), (tested, Shape::SmallUndeclared)];
    let mut cpu = [0.0; 3];
    for at in (0..loads.len()).map(|nth| (turn + nth) % loads.len()) {
        let ((process, address), shape) = loads[at];
        cpu[at] = figures::cpu_us(shape, &put_under(peer, shape, process, address, SLICE)?);
    }
    let [bare, declared, recognised] = cpu;
    Ok((recognised - declared) / bare)
}

/// By short turns, another one first each time: what else the machine does for seconds at a time meets all three alike.
fn calm_calls(peer: &mut Peer, (tollgate, listen): (&Process, SocketAddr), nginx: &Nginx) -> anyhow::Result<CalmRound> {
    let ways = [(&nginx.process, peer.address), (&nginx.process, nginx.listen), (tollgate, listen)];
    let mut round = CalmRound::default();
    for turn in 0..CALM_SLICES {
        for at in (0..ways.len()).map(|nth| (turn + nth) % ways.len()) {
            let (process, address) = ways[at];
            let told = put_under(peer, Shape::Calm, process, address, CALM_SLICE)?;
            [&mut round.direct, &mut round.nginx, &mut round.tollgate][at].extend(told.calm_us);
        }
    }
    Ok(round)
}

fn put_under(peer: &mut Peer, shape: Shape, process: &Process, to: SocketAddr, seconds: f64) -> anyhow::Result<Told> {
    let told = peer.put_under(&Load { to, shape, seconds, server: process.id() })?;
    if told.failed > 0 || told.requests == 0 {
        bail!("{shape:?}: {} of {} requests failed: {}", told.failed, told.requests + told.failed, told.first_failure);
    }
    Ok(told)
}

fn with_connections(peer: &mut Peer, process: &Process, to: SocketAddr) -> anyhow::Result<u64> {
    Ok(peer.put_under(&Load { to, shape: Shape::Connections, seconds: 0.5, server: process.id() })?.rss_kib)
}
