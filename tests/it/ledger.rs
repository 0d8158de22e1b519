//! The ledger as its file and its commands are met from outside: a disk that fails, a file that is damaged, a process that is killed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use tokio::time::Instant;
use tollgate::config::HoldFor;
use tollgate::store::{Ledger, Lock, Reader};
use tollgate::units::{
    AttemptId, Basis, BudgetName, DisputeClass, Disputed, EndedEntry, Endpoint, Entry, HeldEntry, LedgerQueue, Period, Prices,
    RequestFacts, RuleName, SettledEntry, TargetName, TaskName, Tokens, Usage, Usd, WindowKey,
};

use crate::support::Folder;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tollgate");
/// The attempts of a test cost so much each.
const COST: u64 = 1_000_000;

fn usd(nano: u64) -> Usd {
    Usd::from_nano(nano)
}

/// The present month of a budget, in UTC.
fn month(name: &str) -> WindowKey {
    let today = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let (first, last) = (today.first_of_month().unwrap(), today.last_of_month().unwrap());
    let begin = |day: &jiff::Zoned| day.start_of_day().unwrap().timestamp();
    let (starts, ends) = (begin(&first), Some(begin(&last.tomorrow().unwrap())));
    WindowKey { budget: BudgetName::parse(name).unwrap(), period: Period::Month, starts, ends }
}

fn request(number: u64) -> Arc<RequestFacts> {
    Arc::new(RequestFacts {
        request_id: format!("request-{number}").into(),
        accepted: Timestamp::now(),
        endpoint: Endpoint::Chat,
        rule: RuleName::parse("coding").ok(),
        caller: None,
        tags: BTreeMap::from([("team".to_owned(), "search".to_owned())]).into(),
        labels: BTreeMap::from([("run".to_owned(), format!("{}", number % 2))]).into(),
        task: TaskName::unknown(),
        revision: "1-abc".into(),
    })
}

fn held(epoch: u64, number: u64) -> Entry {
    Entry::Held(HeldEntry {
        id: AttemptId { epoch, number },
        at: Timestamp::now(),
        request: request(number),
        attempt: 1,
        target: TargetName::parse("openai/gpt-4o").unwrap(),
        hold: usd(3 * COST),
        windows: [month("company")].into(),
    })
}

/// The attempt costs `COST`; of every tenth as much is disputed.
fn settled(epoch: u64, number: u64) -> Entry {
    let dispute = Disputed { class: DisputeClass::Cancelled, amount: usd(COST), until: None };
    Entry::Settled(SettledEntry {
        id: AttemptId { epoch, number },
        at: Timestamp::now(),
        basis: Basis::Usage,
        posted: usd(COST),
        disputed: number.is_multiple_of(10).then_some(dispute),
        usage: Some(Usage { input_uncached: Tokens::new(900), output: Tokens::new(300), ..Usage::default() }),
        prices: Some(Arc::new(Prices { input: "2.5".parse().unwrap(), output: "10".parse().unwrap(), ..Prices::default() })),
        provider_cost: None,
        fault: None,
        phase: "P4",
        upstream_status: Some(200),
        ttft: None,
        duration: Duration::from_secs(1),
        served_model: Some("gpt-4o-2024-08-06".into()),
    })
}

fn ended(epoch: u64, number: u64) -> Entry {
    Entry::Ended(EndedEntry {
        at: Timestamp::now(),
        request: request(number),
        outcome: "ok",
        status: 200,
        code: None,
        served: Some(AttemptId { epoch, number }),
        attempts: 1,
        duration: Duration::from_secs(1),
    })
}

/// A state folder with forty attempts, closed.
fn sample() -> Folder {
    let folder = Folder::new();
    let state = folder.file("state");
    std::fs::create_dir_all(&state).unwrap();
    std::fs::write(
        folder.file("routes.yaml"),
        "version: 1\nproviders: { sandbox: { format: sandbox, models: { echo: {} } } }\ndefault: { chain: [sandbox/echo] }\n",
    )
    .unwrap();
    let (mut ledger, remembered) = Ledger::open(&state, Timestamp::now(), HoldFor::Window).unwrap();
    let epoch = remembered.epoch;
    ledger.put(&[Entry::Granted(vec![(month("company"), usd(1_000 * COST))])]).unwrap();
    for number in 1..=40 {
        ledger.put(&[held(epoch, number), settled(epoch, number), ended(epoch, number)]).unwrap();
    }
    ledger.close().unwrap();
    folder
}

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).current_dir(folder.path()).env_clear().stdin(Stdio::null()).env("RUNTIME_DIRECTORY", folder.file("state"));
    command.output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error} in {} {}", out(output), err(output)))
}

#[test]
fn the_commands_tell_of_money_and_change_it() {
    let folder = sample();
    let verify = run(&folder, &["ledger", "verify"]);
    assert!(verify.status.success() && out(&verify).starts_with("41 rows, 1 windows, 4 open disputes, 0 holds\n"), "{}", out(&verify));
    let disputes = json(&run(&folder, &["ledger", "disputes", "--json"]));
    let ids: Vec<&str> = disputes["disputes"].as_array().unwrap().iter().map(|dispute| dispute["id"].as_str().unwrap()).collect();
    assert_eq!((ids.len(), ids[0]), (4, "1.10"));
    assert_eq!((&disputes["disputes"][0]["amount_usd"], &disputes["disputes"][0]["target"]), (&"0.001".into(), &"openai/gpt-4o".into()));
    let resolve = run(&folder, &["ledger", "resolve", "1.10", "--as", "$0.0004"]);
    assert!(resolve.status.success() && out(&resolve) == "1 dispute resolved as $0.0004\n", "{}", err(&resolve));
    let again = run(&folder, &["ledger", "resolve", "1.10", "--as", "billed"]);
    assert!(again.status.code() == Some(1) && err(&again).contains("no open dispute is named `1.10`"), "{}", err(&again));
    assert!(out(&run(&folder, &["ledger", "resolve", "--provider", "anthropic", "--as", "billed"])).contains("nothing is disputed there"));
    let resolve = run(&folder, &["ledger", "resolve", "--provider", "openai", "--since", "1h", "--as", "not-billed", "--json"]);
    assert_eq!(json(&resolve)["written"], 3);
    assert_eq!(out(&run(&folder, &["ledger", "disputes"])), "nothing is disputed\n");
    for (amount, code) in [("-$0.0104", 0), ("$1", 0), ("1e3", 1)] {
        let adjust = run(&folder, &["ledger", "adjust", "--budget", "company.month", "--amount", amount, "--reason", "invoice"]);
        assert_eq!(adjust.status.code(), Some(code), "{}", err(&adjust));
    }
    let adjust = run(&folder, &["ledger", "adjust", "--budget", "nobody.month", "--amount", "$1", "--reason", "x"]);
    assert!(err(&adjust).contains("nothing was counted in a present window `nobody.month`"), "{}", err(&adjust));
    let report = json(&run(&folder, &["report", "--json", "--by", "provider"]));
    let lines: Vec<_> = report["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["name"].as_str().unwrap(), line["spent_usd"].as_str().unwrap()))
        .collect();
    assert_eq!(lines, [("(corrections)", "0.9896"), ("openai", "0.0404")]);
    assert_eq!(
        (&report["total"]["spent_usd"], &report["total"]["disputed_usd"], &report["total"]["requests"]),
        (&"1.03".into(), &"0".into(), &40.into())
    );
    assert_eq!(report["lines"][1]["tokens"]["input_uncached"], 36_000);
    let labels = json(&run(&folder, &["report", "--json", "--by", "label:run", "--since", "1h"]));
    let requests: Vec<_> = labels["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| (line["name"].as_str().unwrap(), line["requests"].as_u64().unwrap()))
        .collect();
    assert_eq!(requests, [("(corrections)", 0), ("0", 20), ("1", 20)]);
    let verify = run(&folder, &["ledger", "verify", "--json"]);
    assert_eq!((&json(&verify)["ok"], &json(&verify)["open_disputes"]), (&true.into(), &0.into()));
}

#[test]
fn an_export_is_whole_in_both_forms() {
    let folder = sample();
    let lines = out(&run(&folder, &["ledger", "export"]));
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), &rows[0]["kind"], &rows[1]["kind"]), (41, &"started".into(), &"attempt".into()));
    let row = &rows[10];
    for (name, value) in [
        ("posted_usd", "0.001"),
        ("disputed_usd", "0.001"),
        ("hold_usd", "0.003"),
        ("provider", "openai"),
        ("model", "gpt-4o"),
        ("outcome", "ok"),
    ] {
        assert_eq!(row[name], value, "{row}");
    }
    assert_eq!((&row["usd_per_mtok"]["output"], &row["tags"]["team"]), (&"10".into(), &"search".into()));
    let csv = out(&run(&folder, &["ledger", "export", "--format", "csv"]));
    let columns = csv.lines().next().unwrap().split(',').count();
    assert_eq!((csv.lines().count(), columns), (42, 46));
    assert!(out(&run(&folder, &["ledger", "export", "--since", "2100-01-01"])).is_empty());
}

#[test]
fn without_a_ledger_every_command_says_so() {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), "version: 1\n").unwrap();
    for command in ["verify", "export"] {
        let output = run(&folder, &["ledger", command]);
        assert!(output.status.code() == Some(66) && err(&output).contains("there is no ledger"), "{command}: {}", err(&output));
    }
    let report = run(&folder, &["report"]);
    assert!(report.status.success() && out(&report).contains("nothing was asked for in this time"), "{}", out(&report));
}

#[test]
fn l04_what_a_running_daemon_has_is_not_written_behind_its_back() {
    let folder = sample();
    let lock = Lock::take(&folder.file("state")).unwrap();
    let recover = run(&folder, &["ledger", "recover"]);
    assert!(recover.status.code() == Some(75) && err(&recover).contains("a daemon uses"), "{}", err(&recover));
    let resolve = run(&folder, &["ledger", "resolve", "1.10", "--as", "billed"]);
    assert_eq!(resolve.status.code(), Some(69), "{}", err(&resolve));
    drop(lock);
    assert!(run(&folder, &["ledger", "recover"]).status.success());
}

#[test]
fn l05_a_damaged_ledger_is_told_and_recovered() {
    let folder = sample();
    let file = folder.file("state/ledger.sqlite");
    let connection = rusqlite::Connection::open(&file).unwrap();
    connection.execute("UPDATE entries SET posted = 0 WHERE seq IN (12, 13)", []).unwrap();
    drop(connection);
    let verify = run(&folder, &["ledger", "verify"]);
    assert!(verify.status.code() == Some(65) && out(&verify).contains("damaged: row 12: it does not follow"), "{}", out(&verify));
    let recover = run(&folder, &["ledger", "recover"]);
    assert!(recover.status.success() && out(&recover).contains("company.month: $0.002 was counted"), "{}{}", out(&recover), err(&recover));
    assert!(run(&folder, &["ledger", "verify"]).status.success());
    let total = json(&run(&folder, &["report", "--json"]))["total"].clone();
    assert_eq!((&total["spent_usd"], &total["disputed_usd"]), (&"0.038".into(), &"0.006".into()));
}

#[test]
fn l07_a_folder_that_cannot_be_written_is_told() {
    let folder = sample();
    let file = folder.file("state/ledger.sqlite");
    std::fs::remove_file(&file).unwrap();
    // Nobody can write where a folder stands, root included.
    std::fs::create_dir(&file).unwrap();
    let adjust = run(&folder, &["ledger", "adjust", "--budget", "company.month", "--amount", "$1", "--reason", "x"]);
    assert_eq!(adjust.status.code(), Some(74), "{}", err(&adjust));
    let refused = Ledger::open(&folder.file("state"), Timestamp::now(), HoldFor::Window).unwrap_err();
    assert!(matches!(refused, tollgate::store::LedgerError::Unwritable { .. }), "{refused}");
}

#[test]
fn l05_l06_l07_a_daemon_does_not_start_on_a_ledger_that_it_cannot_trust() {
    type Damage = fn(&Path);
    let ways: [(&str, i32, Damage); 4] = [
        ("header", 65, |file| overwrite(file, 0, &[0xff; 64])),
        ("counters", 65, |file| sql(file, "UPDATE windows SET posted = 0")),
        ("newer", 78, |file| sql(file, "PRAGMA user_version = 9")),
        ("unwritable", 74, |file| std::fs::remove_file(file).and_then(|()| std::fs::create_dir(file)).unwrap()),
    ];
    for (name, code, damage) in ways {
        let folder = sample();
        let routes = std::fs::read_to_string(folder.file("routes.yaml")).unwrap();
        let listen = routes + "server: { listen: \"127.0.0.1:0\", admin: \"127.0.0.1:0\" }\n";
        std::fs::write(folder.file("routes.yaml"), listen).unwrap();
        damage(&folder.file("state/ledger.sqlite"));
        let serve = run(&folder, &["serve", "--state", "state"]);
        assert_eq!(serve.status.code(), Some(code), "{name}: {}", err(&serve));
        let hint = if code == 65 { "hint: `tollgate ledger recover` saves" } else { "hint: " };
        assert!(err(&serve).contains(hint), "{name}: {}", err(&serve));
    }
}

fn overwrite(file: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(file).unwrap().write_all_at(bytes, at).unwrap();
}

fn sql(file: &Path, statement: &str) {
    rusqlite::Connection::open(file).unwrap().execute_batch(statement).unwrap();
}

/// A ledger's writer in a process of its own, whose disk fails as it is told.
struct Writer {
    child: Child,
    stdin: ChildStdin,
    said: Receiver<String>,
    folder: Folder,
    word: PathBuf,
}

impl Writer {
    fn start() -> Self {
        let folder = Folder::new();
        Self::start_in(folder)
    }

    fn start_in(folder: Folder) -> Self {
        let word = folder.file("disk");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "ledger::writes_as_it_is_told", "--nocapture"])
            .env("LD_PRELOAD", shim())
            .env("TOLLGATE_DISK", &word)
            .env("TOLLGATE_STATE", folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tx, said) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            lines.map_while(Result::ok).filter_map(|line| Some(line.split_once('@')?.1.to_owned())).try_for_each(|line| tx.send(line)).ok();
        });
        let stdin = child.stdin.take().unwrap();
        let writer = Self { child, stdin, said, folder, word };
        assert_eq!(writer.hear(), "ready");
        writer
    }

    fn disk(&self, word: &str) {
        std::fs::write(&self.word, word).unwrap();
    }

    fn ask(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
    }

    fn hear(&self) -> String {
        self.said.recv_timeout(Duration::from_secs(30)).unwrap()
    }

    /// What the shim saw.
    fn told(&self) -> String {
        std::fs::read_to_string(self.word.with_extension("told")).unwrap_or_default()
    }

    fn kill(mut self) -> Folder {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.folder
    }
}

/// The preloaded library, built once.
pub(crate) fn shim() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/ledger/disk.c");
        let library = std::env::temp_dir().join(format!("tollgate-disk-{}.so", std::process::id()));
        let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl").status().unwrap();
        assert!(built.success());
        library
    })
}

/// Not a test: the other process of [`Writer`]. It answers `put N` with how the commit of N attempts ended, `tell N` not at all, and ends
/// with `stop`.
#[test]
#[ignore = "a part of other tests"]
fn writes_as_it_is_told() {
    let state = PathBuf::from(std::env::var_os("TOLLGATE_STATE").unwrap());
    let (ledger, remembered) = Ledger::open(&state, Timestamp::now(), HoldFor::Window).unwrap();
    let (queue, inbox) = LedgerQueue::new();
    let thread = ledger.run(inbox);
    let mut number = 0;
    println!("\n@ready");
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (word, count) = line.split_once(' ').unwrap_or((&line, "0"));
        if word == "stop" {
            println!("\n@{}", thread.finish(Duration::from_secs(10)));
            return;
        }
        for _ in 0..count.parse::<u64>().unwrap() {
            number += 1;
            queue.tell(held(remembered.epoch, number), None);
            queue.tell(settled(remembered.epoch, number), None);
        }
        if word == "put" {
            let (tx, rx) = channel();
            let began = Instant::now();
            queue.tell(
                Entry::Granted(vec![(month("company"), usd(1_000_000 * COST))]),
                Some(Box::new(move |result| tx.send(result).unwrap())),
            );
            let result = rx.recv_timeout(Duration::from_secs(20)).unwrap();
            println!(
                "\n@{} after {} ms",
                result.map_or_else(|error| error.to_string(), |()| "written".into()),
                began.elapsed().as_millis()
            );
        }
    }
}

fn millis(told: &str) -> u64 {
    told.split(" after ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap()
}

/// Posted and disputed of the one window, after the run.
fn counted(folder: &Folder) -> (u64, u64) {
    let windows = Reader::open(folder.path()).unwrap().windows(Timestamp::now()).unwrap();
    assert!(Reader::open(folder.path()).unwrap().verify(&mut |_, _| {}).unwrap().is_whole());
    (windows[0].posted.nano(), windows[0].disputed.nano())
}

/// Who waits is told within two seconds, what was told is kept, and all is written soon after the disk works again.
fn a_failing_disk_is_outlived(word: &str, seen: &str) {
    let mut writer = Writer::start();
    writer.ask("put 9");
    assert!(writer.hear().starts_with("written after "));
    writer.disk(word);
    writer.ask("put 9");
    let told = writer.hear();
    assert!(told.starts_with("the ledger cannot be written: ") && millis(&told) < 2_000, "{told}");
    // What is settled meanwhile waits.
    writer.ask("tell 1");
    writer.ask("put 0");
    assert!(writer.hear().starts_with("the ledger cannot be written: "));
    assert!(writer.told().contains(seen), "{}", writer.told());
    writer.disk("");
    let began = Instant::now();
    writer.ask("put 1");
    while !writer.hear().starts_with("written") {
        assert!(began.elapsed() < Duration::from_secs(5));
        writer.ask("put 0");
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!writer.told().contains("again"), "a descriptor was synced again after it had failed");
    writer.ask("stop");
    assert_eq!(writer.hear(), "true");
    // Each attempt once, and every tenth disputed.
    assert_eq!(counted(&writer.folder), (20 * COST, 2 * COST));
}

#[test]
fn l01_a_full_disk_is_told_and_outlived() {
    a_failing_disk_is_outlived("full", "full");
}

#[test]
fn l03_a_descriptor_that_failed_is_never_synced_again() {
    a_failing_disk_is_outlived("eio", "eio");
}

#[test]
fn l02_what_is_settled_on_a_full_disk_is_kept_and_a_kill_only_counts_more() {
    let mut writer = Writer::start();
    writer.ask("put 9");
    writer.hear();
    writer.disk("full");
    writer.ask("tell 5");
    writer.ask("put 0");
    writer.hear();
    let folder = writer.kill();
    let (ledger, remembered) = Ledger::open(folder.path(), Timestamp::now(), HoldFor::Window).unwrap();
    ledger.close().unwrap();
    let window = &remembered.windows[0];
    // Nothing of the five is on disk, so all that was granted counts.
    assert_eq!((window.posted, window.posted.plus(window.disputed)), (usd(9 * COST), usd(1_000_000 * COST)));
    assert_eq!(counted(&folder).0, 9 * COST);
}

#[test]
fn l25_what_another_hand_writes_while_it_runs_ends_the_writer() {
    let mut writer = Writer::start();
    writer.ask("put 9");
    assert!(writer.hear().starts_with("written after "));
    sql(&writer.folder.file("ledger.sqlite"), "UPDATE head SET hash = zeroblob(32), commits = commits + 1");
    writer.ask("put 1");
    let told = writer.hear();
    assert!(told.contains("is damaged") && millis(&told) < 2_000, "{told}");
    writer.ask("put 1");
    assert!(writer.hear().starts_with("the ledger cannot be written: "));
    writer.ask("stop");
    assert_eq!(writer.hear(), "false");
}

#[test]
fn l20_a_slow_disk_delays_who_waits_and_loses_nothing() {
    let mut writer = Writer::start();
    writer.ask("put 1");
    writer.hear();
    writer.disk("slow");
    writer.ask("put 1");
    let told = writer.hear();
    assert!(told.starts_with("written after ") && millis(&told) >= 3_000, "{told}");
    writer.disk("");
    writer.ask("stop");
    assert_eq!(writer.hear(), "true");
    assert_eq!(counted(&writer.folder), (2 * COST, 0));
}

#[test]
fn l14_a_killed_writer_is_followed_by_one_that_counts_no_less() {
    let mut folder = Folder::new();
    for round in 1..=3 {
        let mut writer = Writer::start_in(folder);
        writer.ask("put 20");
        assert!(writer.hear().starts_with("written"), "round {round}");
        writer.ask("tell 20");
        folder = writer.kill();
        let began = Instant::now();
        let (ledger, remembered) = Ledger::open(folder.path(), Timestamp::now(), HoldFor::Window).unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        let counted: u64 = remembered.windows.iter().map(|window| window.posted.plus(window.disputed).nano()).sum();
        assert!(counted >= 40 * COST && remembered.windows[0].posted.nano() >= 20 * COST, "round {round}: {remembered:?}");
        drop(ledger);
    }
}

#[test]
fn l01_a_small_file_system_fills_and_is_outlived() {
    let folder = Folder::new();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(folder.path()).stderr(Stdio::null()).status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("skipped: only root may mount a file system");
        return;
    }
    let _unmount = Unmount(folder.path().to_owned());
    let (mut ledger, remembered) = Ledger::open(folder.path(), Timestamp::now(), HoldFor::For(Duration::from_hours(24))).unwrap();
    let mut written = 0;
    let error = loop {
        let number = written + 1;
        match ledger.put(&[held(remembered.epoch, number), settled(remembered.epoch, number)]) {
            Ok(_) => written = number,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, tollgate::store::LedgerError::Unwritable { .. }) && written > 10, "{error}");
    drop(ledger);
    let room = Command::new("mount").args(["-o", "remount,size=8m"]).arg(folder.path()).status().unwrap();
    assert!(room.success());
    let later = Timestamp::now().saturating_add(SignedDuration::from_secs(1)).unwrap();
    let (ledger, remembered) = Ledger::open(folder.path(), later, HoldFor::Window).unwrap();
    assert_eq!(remembered.windows[0].posted, usd(written * COST));
    ledger.close().unwrap();
    counted(&folder);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}
