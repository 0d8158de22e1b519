//! A kill at each of the points where an attempt may stand: nothing is charged less than the provider's bill, and nothing twice.

use std::net::SocketAddr;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::kills::{Daemon, two_ports};
use crate::ledger::shim;
use crate::support::*;

/// Billionths of a dollar for a token, in or out.
const TOKEN: u64 = 1_000_000;
/// The prompt as the provider counts it, and the most that it may write.
const PROMPT: u64 = 9;
const MOST: u64 = 64;
/// What a crash may leave unexplained beyond the attempt itself: a hundredth of the cap of ten dollars.
const GRANT: u64 = 100_000_000;

/// Where the daemon is when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeReserve,
    AfterReserve,
    AfterDispatch,
    AfterHead,
    AfterCommit,
    AfterFinish,
    AfterSettleInMemory,
    AfterSettleOnDisk,
}

const POINTS: [Point; 8] = [
    Point::BeforeReserve,
    Point::AfterReserve,
    Point::AfterDispatch,
    Point::AfterHead,
    Point::AfterCommit,
    Point::AfterFinish,
    Point::AfterSettleInMemory,
    Point::AfterSettleOnDisk,
];

struct Killed {
    folder: Folder,
    admin: SocketAddr,
    /// What the provider charges, however much of it we saw.
    billed: u64,
}

/// A stream of which one word comes at once and the rest, with its usage, through the gate.
fn told_stream(gate: &Gate) -> Vec<Act> {
    let usage = format!(r#"{{"prompt_tokens":{PROMPT},"completion_tokens":2,"total_tokens":{}}}"#, PROMPT + 2);
    let event = format!(r#"data: {{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{usage}}}"#);
    let rest = [content("lo"), delta("{}", Some("stop")), format!("{event}\n\n"), "data: [DONE]\n\n".into()];
    let chunks: String = rest.iter().map(|event| chunk(event)).collect();
    vec![send(format!("{STREAM_HEAD}{}", chunk(&content("hel")))), Act::Gate(gate.clone()), send(format!("{chunks}0\r\n\r\n"))]
}

/// One cap for everything.
const ONE_CAP: &str = "budgets:\n  company: { cap: $10/month }\n";

/// Sends one request under these budgets and kills the daemon when it stands at that point.
async fn killed_at(point: Point, budgets: &str) -> Killed {
    let (gate, folder, ports) = (Gate::shut(), Folder::new(), two_ports());
    let acts = match point {
        Point::AfterDispatch => vec![Act::Hang],
        Point::AfterHead => vec![send(STREAM_HEAD), Act::Gate(gate.clone()), Act::Hang],
        _ => told_stream(&gate),
    };
    let provider = Provider::always(acts).await;
    // A queue that is full lets no connection through: the hold is taken, and nothing can be sent.
    let deaf = Deaf::listen().await;
    let url = if point == Point::AfterReserve { deaf.url() } else { provider.url() };
    let (listen, admin) = ports;
    let routes = routes_to(&[&url], "timeouts: { connect: 20s }")
        .replace("m: {}", "m: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 64 }")
        .replacen("version: 1\n", &format!("version: 1\nserver: {{ listen: {listen}, admin: {admin}, early_head: off }}\n"), 1)
        + budgets;
    std::fs::write(folder.file("routes.yaml"), routes).unwrap();
    let disk = folder.file("disk");
    let mut daemon = Daemon::start_with(&folder, admin, |command| {
        command.env("LD_PRELOAD", shim()).env("TOLLGATE_DISK", &disk);
    })
    .await;
    let request = post("/v1/chat/completions", &[], &chat(true));
    let is_begun = point != Point::BeforeReserve;
    let mut line = Line::send(listen, if is_begun { &request } else { &request[..request.len() - 1] }).await;
    let spent = async |part: &str| wait_for_money(admin, part).await;
    match point {
        Point::BeforeReserve => assert_eq!(got(admin, GET_READY).await.status, 200),
        Point::AfterReserve => spent("held_usd").await,
        Point::AfterDispatch => drop(provider.wait_for_requests(1).await),
        Point::AfterHead => {
            provider.wait_for_requests(1).await;
            // Nothing tells from outside that the head has been read.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Point::AfterCommit => line.until("hel").await,
        Point::AfterFinish => {
            gate.open_wide();
            line.until("[DONE]").await;
        }
        Point::AfterSettleInMemory => {
            line.until("hel").await;
            // From here on nothing reaches the disk any more.
            std::fs::write(&disk, "full").unwrap();
            gate.open_wide();
            spent("spent_usd").await;
        }
        Point::AfterSettleOnDisk => {
            gate.open_wide();
            line.until("[DONE]").await;
            eventually(|| (rows(&folder).0 == 1).then_some(())).await;
        }
    }
    daemon.kill();
    let billed = match point {
        Point::BeforeReserve | Point::AfterReserve => 0,
        // It may write on to its limit.
        Point::AfterDispatch | Point::AfterHead | Point::AfterCommit => (PROMPT + MOST) * TOKEN,
        Point::AfterFinish | Point::AfterSettleInMemory | Point::AfterSettleOnDisk => (PROMPT + 2) * TOKEN,
    };
    assert_eq!(provider.count(), usize::from(billed > 0), "{point:?}");
    Killed { folder, admin, billed }
}

const GET_READY: &str = "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

/// Waits until some money of the budget is counted so.
async fn wait_for_money(admin: SocketAddr, part: &str) {
    let due = tokio::time::Instant::now() + PATIENCE;
    loop {
        let status = got(admin, "GET /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.json();
        if status["budgets"][0][part] != "0" {
            return;
        }
        assert!(tokio::time::Instant::now() < due, "nothing is {part}: {status}");
    }
}

/// Attempts that have ended, holds, and what is posted and disputed.
fn rows(folder: &Folder) -> (u64, u64, u64, u64) {
    let ledger = Connection::open_with_flags(folder.file("state/ledger.sqlite"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let number = |sql: &str| ledger.query_row(sql, [], |row| row.get::<_, Option<i64>>(0)).unwrap().unwrap_or(0).unsigned_abs();
    (
        number("SELECT count(*) FROM entries WHERE kind = 1"),
        number("SELECT count(*) FROM holds"),
        number("SELECT sum(posted) FROM windows"),
        number("SELECT sum(disputed) FROM windows"),
    )
}

/// A listener whose queue is full: whoever knocks hears nothing.
struct Deaf {
    socket: socket2::Socket,
    _queued: Vec<tokio::net::TcpStream>,
}

impl Deaf {
    async fn listen() -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.listen(0).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        let (mut queued, patience) = (Vec::new(), Duration::from_millis(200));
        while let Ok(Ok(stream)) = tokio::time::timeout(patience, tokio::net::TcpStream::connect(address)).await {
            queued.push(stream);
        }
        Self { socket, _queued: queued }
    }

    fn url(&self) -> String {
        format!("http://{}/v1", self.socket.local_addr().unwrap().as_socket().unwrap())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l15_killed_at_any_point_nothing_is_charged_too_little_or_twice() {
    for point in POINTS {
        let Killed { folder, admin, billed } = killed_at(point, ONE_CAP).await;
        let mut counted = Vec::new();
        for _ in 0..2 {
            let mut daemon = Daemon::start(&folder, admin).await;
            let (attempts, holds, posted, disputed) = rows(&folder);
            assert!(posted + disputed >= billed, "{point:?}: {posted} posted and {disputed} disputed of {billed}");
            assert!(posted + disputed <= billed.max((PROMPT + 100 + MOST) * TOKEN) + GRANT, "{point:?}: {posted} and {disputed}");
            assert!(attempts <= 1 && holds == 0, "{point:?}: {attempts} attempts, {holds} holds");
            counted.push((attempts, posted, disputed));
            daemon.kill();
        }
        assert_eq!(counted[0], counted[1], "{point:?}: another start counts nothing more");
        let (attempts, posted, disputed) = counted[0];
        match point {
            Point::BeforeReserve => assert_eq!((attempts, posted, disputed), (0, 0, 0)),
            Point::AfterSettleOnDisk => assert_eq!((attempts, posted), (1, billed)),
            // The row may be on disk, or what was granted counts for it.
            Point::AfterFinish => assert!(posted == billed || (posted == 0 && disputed >= billed)),
            _ => assert!(posted == 0 && disputed > 0, "{point:?}: {posted} {disputed}"),
        }
    }
}

/// Five windows of three levels: what a kill leaves of an attempt counts in each of them alike, or in none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn b08_a_kill_leaves_no_part_of_a_hold_on_some_levels() {
    let budgets = "budgets:\n  company: { cap: [$10/month, $10/day] }\n  team: { cap: [$10/week, $10/hour] }\n  models: { match: { provider: p0 }, cap: $10/total }\n";
    for point in POINTS {
        let Killed { folder, admin, billed } = killed_at(point, budgets).await;
        let mut daemon = Daemon::start(&folder, admin).await;
        assert_eq!(rows(&folder).1, 0, "{point:?}");
        daemon.kill();
        let ledger = Connection::open_with_flags(folder.file("state/ledger.sqlite"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut windows = ledger.prepare("SELECT posted, disputed FROM windows").unwrap();
        let counted: Vec<(u64, u64)> = windows
            .query_map([], |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs())))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(counted.windows(2).all(|pair| pair[0] == pair[1]), "{point:?}: {counted:?}");
        assert!(counted.is_empty() || counted.len() == 5, "{point:?}: {counted:?}");
        assert!(counted.iter().all(|(posted, disputed)| posted + disputed >= billed), "{point:?}: {counted:?} of {billed}");
        assert!(billed == 0 || counted.len() == 5, "{point:?}: {counted:?}");
    }
}
