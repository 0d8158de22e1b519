use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::units::{
    AdjustedEntry, AttemptId, Basis, BudgetName, Clock, DisputeClass, DisputeId, Disputed, EndedEntry, Endpoint, HeldEntry, LedgerQueue,
    Pairs, Period, RememberedWindow, RequestFacts, ResolvedEntry, RuleName, SettledEntry, TargetName, TaskName, Usd, WindowKey,
};

/// A state folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-ledger-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> (Ledger, Remembered) {
        Ledger::open(&self.0, at(0), HoldFor::For(Duration::from_hours(24))).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_392_000 + second).unwrap()
}

/// The window of a budget that began with the test's time.
fn month(name: &str) -> WindowKey {
    WindowKey { budget: budget(name), period: Period::Month, starts: at(0), ends: Some(at(2_592_000)) }
}

fn budget(name: &str) -> BudgetName {
    BudgetName::parse(name).unwrap()
}

fn usd(nano: u64) -> Usd {
    Usd::from_nano(nano)
}

fn facts(request: &str) -> Arc<RequestFacts> {
    Arc::new(RequestFacts {
        request_id: request.into(),
        accepted: at(0),
        endpoint: Endpoint::Chat,
        rule: RuleName::parse("coding").ok(),
        caller: None,
        tags: Pairs::default(),
        labels: Pairs::default(),
        task: TaskName::unknown(),
        revision: "1-abc".into(),
    })
}

fn id(epoch: u64, number: u64) -> AttemptId {
    AttemptId { epoch, number }
}

fn held(id: AttemptId, hold: u64, windows: &[WindowKey]) -> Entry {
    Entry::Held(HeldEntry {
        id,
        at: at(1),
        request: facts(&format!("request-{}", id.number)),
        attempt: 1,
        target: TargetName::parse("openai/gpt-4o").unwrap(),
        hold: usd(hold),
        windows: windows.into(),
    })
}

fn settled(id: AttemptId, posted: u64, disputed: u64) -> Entry {
    let dispute = Disputed { class: DisputeClass::Cancelled, amount: usd(disputed), until: Some(at(900)) };
    Entry::Settled(SettledEntry {
        id,
        at: at(2),
        basis: Basis::Usage,
        posted: usd(posted),
        disputed: (disputed > 0).then_some(dispute),
        usage: None,
        prices: None,
        provider_cost: None,
        fault: None,
        phase: "P4",
        upstream_status: Some(200),
        ttft: Some(Duration::from_millis(300)),
        duration: Duration::from_secs(1),
        served_model: Some("gpt-4o-2024-08-06".into()),
    })
}

fn ended(request: &str, served: Option<AttemptId>) -> Entry {
    Entry::Ended(EndedEntry {
        at: at(3),
        request: facts(request),
        outcome: "ok",
        status: 200,
        code: None,
        served,
        attempts: 1,
        duration: Duration::from_secs(2),
    })
}

/// Budget, posted and disputed of each window.
fn counters(remembered: &Remembered) -> Vec<(String, u64, u64)> {
    let tell = |window: &RememberedWindow| (window.key.budget.to_string(), window.posted.nano(), window.disputed.nano());
    remembered.windows.iter().map(tell).collect()
}

/// A file with some of everything, closed or as a kill leaves it.
fn sample(folder: &Folder, is_closed: bool) {
    let (mut ledger, _) = folder.open();
    let windows = [month("company"), month("provider.openai")];
    ledger.put(&[Entry::Granted(vec![(windows[0].clone(), usd(1_000_000)), (windows[1].clone(), usd(500_000))])]).unwrap();
    for number in 1..=300 {
        let entries = [
            held(id(1, number), 100, &windows),
            settled(id(1, number), 70, number % 2),
            ended(&format!("request-{number}"), Some(id(1, number))),
        ];
        ledger.put(&entries).unwrap();
    }
    ledger.put(&[held(id(1, 301), 100, &windows)]).unwrap();
    if is_closed {
        ledger.close().unwrap();
    }
}

fn verified(folder: &Folder) -> Verified {
    Reader::open(&folder.0).unwrap().verify(&mut |_, _| {}).unwrap()
}

fn rows(folder: &Folder) -> Vec<(i64, Option<i64>, Option<String>)> {
    let connection = Connection::open(folder.0.join(NAME)).unwrap();
    let mut sql = connection.prepare("SELECT kind, posted, outcome FROM entries ORDER BY seq").unwrap();
    sql.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().map(Result::unwrap).collect()
}

#[test]
fn a_run_that_ended_well_is_remembered_as_it_ended() {
    let folder = Folder::new();
    let (mut ledger, remembered) = folder.open();
    assert_eq!((remembered.epoch, counters(&remembered)), (1, vec![]));
    let windows = [month("company"), month("provider.openai")];
    ledger.put(&[Entry::Granted(windows.iter().map(|key| (key.clone(), usd(1_000))).collect())]).unwrap();
    ledger.put(&[held(id(1, 1), 100, &windows), held(id(1, 2), 200, &windows[..1])]).unwrap();
    let ignored = ledger.put(&[settled(id(1, 1), 70, 0), ended("request-1", Some(id(1, 1))), settled(id(1, 2), 150, 50)]).unwrap();
    assert_eq!(ignored, 0);
    ledger.put(&[ended("request-2", Some(id(1, 2))), ended("request-3", None)]).unwrap();
    ledger.put(&[Entry::Granted(vec![(windows[0].clone(), usd(270)), (windows[1].clone(), usd(70))])]).unwrap();
    ledger.close().unwrap();
    let ok = || Some("ok".to_owned());
    let told = [(7, None, None), (1, Some(70), ok()), (1, Some(150), None), (2, None, ok()), (2, None, ok())];
    assert_eq!(rows(&folder), told);
    let (_, remembered) = folder.open();
    assert_eq!(remembered.epoch, 2);
    assert_eq!(counters(&remembered), [("company".into(), 220, 50), ("provider.openai".into(), 70, 0)]);
    let [dispute] = &remembered.disputes[..] else { panic!("{:?}", remembered.disputes) };
    assert_eq!((&dispute.id, dispute.amount, dispute.until), (&DisputeId::Attempt(id(1, 2)), usd(50), Some(at(900))));
    assert_eq!((dispute.windows.len(), dispute.target.as_ref().map(TargetName::as_str)), (1, Some("openai/gpt-4o")));
    assert_eq!(remembered.windows[0].key, windows[0]);
}

#[test]
fn l14_what_a_killed_run_left_is_disputed() {
    let folder = Folder::new();
    let (mut ledger, _) = folder.open();
    let windows = [month("company")];
    ledger.put(&[Entry::Granted(vec![(windows[0].clone(), usd(1_000))])]).unwrap();
    ledger.put(&[held(id(1, 1), 100, &windows), held(id(1, 2), 200, &windows), settled(id(1, 1), 70, 0)]).unwrap();
    drop(ledger);
    let (ledger, remembered) = folder.open();
    // All that was granted is explained: 70 posted, 200 held and now disputed, and the rest.
    assert_eq!(counters(&remembered), [("company".into(), 70, 930)]);
    let told: Vec<_> = remembered.disputes.iter().map(|dispute| (dispute.id.clone(), dispute.class, dispute.amount.nano())).collect();
    let crash = DisputeId::Crash(1, windows[0].clone());
    assert_eq!(told, [(DisputeId::Attempt(id(1, 2)), DisputeClass::Ambiguous, 200), (crash, DisputeClass::Crash, 730)]);
    assert!(remembered.disputes.iter().all(|dispute| dispute.until == Some(at(24 * 3_600))));
    drop(ledger);
    // Once is enough.
    let (mut ledger, again) = folder.open();
    assert_eq!((again.epoch, counters(&again), again.disputes.len()), (3, counters(&remembered), 2));
    let resolve = |dispute: &crate::units::RememberedDispute, posted: u64| {
        let (amount, at) = (dispute.amount.nano(), at(4));
        let resolved =
            ResolvedEntry { id: dispute.id.clone(), at, posted: usd(posted), released: usd(amount - posted), reason: "time".into() };
        Entry::Resolved(resolved)
    };
    ledger.put(&[resolve(&again.disputes[0], 200), resolve(&again.disputes[1], 0)]).unwrap();
    assert_eq!(ledger.put(&[resolve(&again.disputes[0], 200)]).unwrap(), 1, "a dispute ends once");
    ledger.close().unwrap();
    let (_, remembered) = folder.open();
    assert_eq!((counters(&remembered), remembered.disputes.len()), (vec![("company".into(), 270, 0)], 0));
}

#[test]
fn l14_no_start_waits_for_all_disputes_of_the_runs_before() {
    // So many attempts under way in each of three runs that died.
    let (crashes, open) = (3, std::env::var("TOLLGATE_DISPUTES").map_or(400, |text| text.parse().unwrap()));
    let (folder, windows) = (Folder::new(), [month("company"), month("provider.openai")]);
    let mut times = Vec::new();
    for run in 1..=crashes {
        let (mut ledger, _) = folder.open();
        let holds: Vec<Entry> = (1..=open).map(|number| held(id(run, number), 100, &windows)).collect();
        ledger.put(&holds).unwrap();
        drop(ledger);
    }
    for _ in 0..2 {
        let began = tokio::time::Instant::now();
        let opened = folder.open();
        times.push((began.elapsed(), opened.1.disputes.len()));
    }
    println!("{} disputes are open: {times:?}", crashes * open);
    let (mut ledger, remembered) = folder.open();
    // What counts is known at once.
    let all = crashes * open;
    assert_eq!(counters(&remembered), [("company".into(), 0, all * 100), ("provider.openai".into(), 0, all * 100)]);
    let mut known = remembered.disputes;
    assert!((known.len() as u64) < all);
    let mut unread = ledger.unread().unwrap().unwrap();
    loop {
        let page = unread.next_page().unwrap();
        known.extend_from_slice(&page);
        if page.is_empty() {
            break;
        }
    }
    let expected: Vec<_> = (1..=crashes).flat_map(|run| (1..=open).map(move |number| DisputeId::Attempt(id(run, number)))).collect();
    assert_eq!(known.iter().map(|dispute| dispute.id.clone()).collect::<Vec<_>>(), expected);
    assert!(known.iter().all(|dispute| dispute.windows == windows && dispute.amount == usd(100) && dispute.until == Some(at(24 * 3_600))));
    let resolve = |at_row: usize| {
        let (id, at) = (known[at_row].id.clone(), at(4));
        Entry::Resolved(ResolvedEntry { id, at, posted: usd(40), released: usd(60), reason: "invoice".into() })
    };
    assert_eq!(ledger.put(&[resolve(0), resolve(known.len() - 1), resolve(0)]).unwrap(), 1, "a dispute ends once");
    ledger.close().unwrap();
    assert_eq!(counters(&folder.open().1)[0], ("company".into(), 80, (all - 2) * 100));
    assert_eq!(verified(&folder).findings, Vec::<String>::new());
}

#[test]
fn no_attempt_is_entered_twice() {
    let folder = Folder::new();
    let (mut ledger, _) = folder.open();
    let windows = [month("company")];
    let all = [held(id(1, 1), 100, &windows), settled(id(1, 1), 70, 0), settled(id(1, 1), 70, 0)];
    assert_eq!(ledger.put(&all).unwrap(), 1);
    assert_eq!(ledger.put(&all).unwrap(), 3);
    // Of another run, and never held.
    assert_eq!(ledger.put(&[held(id(7, 9), 1, &windows), settled(id(1, 2), 5, 0)]).unwrap(), 2);
    ledger.close().unwrap();
    assert_eq!(counters(&folder.open().1), [("company".into(), 70, 0)]);
}

#[test]
fn a_renamed_budget_keeps_its_windows_and_an_adjusted_one_its_history() {
    let folder = Folder::new();
    let (mut ledger, _) = folder.open();
    let windows = [month("research")];
    ledger.put(&[held(id(1, 1), 100, &windows), settled(id(1, 1), 70, 0)]).unwrap();
    let rename = Entry::Renamed { was: budget("research"), name: budget("science") };
    assert_eq!(ledger.put(std::slice::from_ref(&rename)).unwrap(), 0);
    assert_eq!(ledger.put(&[rename]).unwrap(), 1);
    let renamed = month("science");
    let adjust = |amount, is_credit| {
        let (window, at) = (renamed.clone(), at(5));
        Entry::Adjusted(AdjustedEntry { at, window, amount: usd(amount), is_credit, reason: "invoice".into() })
    };
    ledger
        .put(&[held(id(1, 2), 100, std::slice::from_ref(&renamed)), settled(id(1, 2), 30, 0), adjust(5, false), adjust(25, true)])
        .unwrap();
    ledger.close().unwrap();
    assert_eq!(counters(&folder.open().1), [("science".into(), 80, 0)]);
}

#[test]
fn amounts_beyond_the_files_numbers_are_refused() {
    let folder = Folder::new();
    let (mut ledger, _) = folder.open();
    let error = ledger.put(&[held(id(1, 1), u64::MAX, &[])]).unwrap_err();
    assert!(error.to_string().contains("9.2 billion"), "{error}");
}

#[test]
fn the_thread_tells_when_an_entry_is_safe() {
    let folder = Folder::new();
    let (ledger, _) = folder.open();
    let (queue, inbox) = LedgerQueue::new();
    let thread = ledger.run(inbox);
    let (tx, rx) = std::sync::mpsc::channel();
    let then = move |result| tx.send(result).unwrap();
    queue.tell(Entry::Granted(vec![(month("company"), usd(1_000))]), Some(Box::new(then)));
    assert_eq!(rx.recv_timeout(Duration::from_secs(10)), Ok(Ok(())));
    let windows = [month("company")];
    for number in 1..=2_000 {
        queue.tell(held(id(1, number), 100, &windows), None);
        queue.tell(settled(id(1, number), 1, 0), None);
    }
    queue.tell(Entry::Granted(vec![(month("company"), usd(2_000))]), None);
    let watch = thread.watch();
    assert!(thread.finish(Duration::from_secs(10)));
    assert_eq!((watch.written(), watch.ignored(), watch.state(), queue.waiting()), (4_002, 0, LedgerState::Ended, 0));
    let (_, remembered) = folder.open();
    assert_eq!((counters(&remembered), remembered.disputes.len()), (vec![("company".into(), 2_000, 0)], 0));
}

#[test]
fn what_nobody_waits_for_is_written_too() {
    let folder = Folder::new();
    let (queue, inbox) = LedgerQueue::new();
    let thread = folder.open().0.run(inbox);
    // Few entries, and more than are worth a commit at once.
    for told in [1, 1_001] {
        while queue.told() < told {
            queue.tell(Entry::Granted(Vec::new()), None);
        }
        let began = Clock::System.now();
        while queue.written() < told {
            assert!(Clock::System.now().since(began) < Duration::from_secs(10), "{} of {told} are written", queue.written());
            std::thread::yield_now();
        }
    }
    assert!(thread.finish(Duration::from_secs(10)));
}

#[test]
fn a_whole_file_is_proved() {
    for is_closed in [true, false] {
        let folder = Folder::new();
        sample(&folder, is_closed);
        let told = verified(&folder);
        assert_eq!((told.rows, told.windows, told.open_disputes, told.holds, told.findings), (301, 2, 150, 1, vec![]));
    }
}

#[test]
fn l25_what_another_hand_changes_is_found() {
    for (edit, told) in [
        ("UPDATE entries SET posted = 1 WHERE seq = 40", "row 40: it does not follow"),
        ("UPDATE entries SET labels = '{}' WHERE seq = 301", "row 301: it does not follow"),
        ("DELETE FROM entries WHERE seq = 40", "row 41: it does not follow"),
        ("UPDATE entries SET context = 2 WHERE seq = 40", "row 40: it does not follow"),
        ("UPDATE contexts SET rule = 'other'", "contexts 1: it is not what was written"),
        ("UPDATE windows SET posted = 0 WHERE id = 1", "the counters of window 1"),
        ("DELETE FROM disputes WHERE seq = (SELECT min(seq) FROM disputes)", "is not what its row says"),
        ("UPDATE disputes SET amount = 9", "is not what its row says"),
        ("UPDATE head SET seq = 300", "row 301 is the last, and should be row 300"),
        ("INSERT INTO holds SELECT (1 << 40) + 7, at, request, context, windows, nth, hold, labels FROM holds", "attempt 1.7 has ended"),
    ] {
        let folder = Folder::new();
        sample(&folder, true);
        Connection::open(folder.0.join(NAME)).unwrap().execute(edit, []).unwrap();
        let findings = verified(&folder).findings;
        assert!(findings.iter().any(|finding| finding.contains(told)), "{edit}\n{findings:#?}");
    }
}

#[test]
fn l25_a_start_refuses_what_another_hand_changed_where_it_looks() {
    for edit in [
        "UPDATE entries SET posted = 1 WHERE seq = 290",
        "DELETE FROM entries WHERE seq = 301",
        "UPDATE windows SET posted = 0",
        "UPDATE head SET seq = 9",
    ] {
        let folder = Folder::new();
        sample(&folder, true);
        Connection::open(folder.0.join(NAME)).unwrap().execute(edit, []).unwrap();
        let refused = Ledger::open(&folder.0, at(0), HoldFor::Window).unwrap_err();
        assert!(matches!(refused, LedgerError::Corrupt { .. }), "{edit}: {refused}");
    }
}

#[test]
fn l06_a_schema_that_is_newer_by_one_is_used_and_by_two_refused() {
    let folder = Folder::new();
    sample(&folder, true);
    let set = |version: i64| Connection::open(folder.0.join(NAME)).unwrap().pragma_update(None, "user_version", version).unwrap();
    set(2);
    folder.open().0.close().unwrap();
    set(3);
    let before = std::fs::read(folder.0.join(NAME)).unwrap();
    let refused = Ledger::open(&folder.0, at(0), HoldFor::Window).unwrap_err();
    assert_eq!(refused, LedgerError::Newer { file: folder.0.join(NAME).display().to_string(), found: 3, known: 2 });
    assert_eq!(std::fs::read(folder.0.join(NAME)).unwrap(), before);
    assert_eq!(Reader::open(&folder.0).unwrap_err(), refused);
}

#[test]
fn l05_a_damaged_file_is_refused_and_what_is_proved_of_it_saved() {
    type Damage = fn(&std::path::Path);
    let ways: [(&str, Damage); 5] = [
        ("the header", |file| overwrite(file, 0, &[0xff; 64])),
        ("the schema", |file| overwrite(file, 100, &[0xff; 200])),
        ("the end", |file| std::fs::File::options().write(true).open(file).unwrap().set_len(8_192).unwrap()),
        ("all but the beginning", |file| overwrite(file, 4_096, &vec![0x5a; 60_000])),
        ("another file", |file| std::fs::write(file, "version: 1\n".repeat(4_000)).unwrap()),
    ];
    for (name, damage) in ways {
        let folder = Folder::new();
        sample(&folder, true);
        let file = folder.0.join(NAME);
        damage(&file);
        let damaged = std::fs::read(&file).unwrap();
        let refused = Ledger::open(&folder.0, at(0), HoldFor::Window).unwrap_err();
        assert!(matches!(refused, LedgerError::Corrupt { .. }), "{name}: {refused}");
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "{name}: the file is left as it is");
        let recovered = recover(&folder.0, at(10), HoldFor::Window).unwrap();
        assert_eq!(std::fs::read(&recovered.aside).unwrap(), damaged, "{name}");
        assert!(!recovered.is_complete, "{name}");
        assert!(verified(&folder).is_whole(), "{name}: {:?}", verified(&folder).findings);
        folder.open();
    }
}

fn overwrite(file: &std::path::Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    std::fs::File::options().write(true).open(file).unwrap().write_all_at(bytes, at).unwrap();
}

#[test]
fn l05_a_row_that_was_changed_is_left_out_and_disputed() {
    let folder = Folder::new();
    sample(&folder, true);
    let before = folder.open().1;
    // Disputes and the hold count on.
    assert_eq!(counters(&before), [("company".into(), 21_000, 250), ("provider.openai".into(), 21_000, 250)]);
    Connection::open(folder.0.join(NAME)).unwrap().execute("UPDATE entries SET posted = 1 WHERE seq IN (40, 41, 299)", []).unwrap();
    let recovered = recover(&folder.0, at(10), HoldFor::Window).unwrap();
    assert!(recovered.is_complete);
    let disputed: Vec<_> = recovered.disputed.iter().map(|(window, amount)| (window.as_str(), amount.nano())).collect();
    // Three rows that posted 70 each; one of them disputed 1.
    let lost = 3 * 70 + before.disputes.iter().filter(|dispute| lost_with(&dispute.id)).count() as u64;
    assert_eq!(disputed, [("company.month", lost), ("provider.openai.month", lost)]);
    assert!(verified(&folder).is_whole());
    let after: Vec<u64> = folder.open().1.windows.iter().map(|window| window.posted.plus(window.disputed).nano()).collect();
    assert_eq!(after, [21_250, 21_250], "nothing that was counted is forgotten");
}

/// Rows 40, 41 and 299 told these attempts.
fn lost_with(dispute: &DisputeId) -> bool {
    [39, 40, 298].iter().any(|number| *dispute == DisputeId::Attempt(id(1, *number)))
}

#[test]
fn l16_a_torn_log_is_covered_by_its_grant_and_a_log_that_is_damaged_within_is_refused() {
    let folder = Folder::new();
    sample(&folder, false);
    let log = wal::beside(&folder.0.join(NAME));
    let whole = std::fs::read(&log).unwrap();
    let frame = 4_096 + 24;
    let frames = (whole.len() - 32) / frame;
    for cut in [1, frame / 2, frame + 17, 5 * frame] {
        std::fs::write(&log, &whole[..whole.len() - cut]).unwrap();
        wal::check(&folder.0.join(NAME)).unwrap();
    }
    // The last frame alone: as a power cut leaves it.
    let flipped = |frame_number: usize| {
        let mut bytes = whole.clone();
        bytes[32 + frame_number * frame + 500] ^= 1;
        bytes
    };
    std::fs::write(&log, flipped(frames - 1)).unwrap();
    wal::check(&folder.0.join(NAME)).unwrap();
    for broken in [flipped(3), flipped(frames / 2), vec![0x5a; whole.len()]] {
        std::fs::write(&log, broken).unwrap();
        assert!(matches!(Ledger::open(&folder.0, at(0), HoldFor::Window), Err(LedgerError::Corrupt { .. })));
    }
    std::fs::write(&log, &whole[..whole.len() - 5 * frame]).unwrap();
    let (_, remembered) = folder.open();
    let all: Vec<u64> = remembered.windows.iter().map(|window| window.posted.plus(window.disputed).nano()).collect();
    assert_eq!(all, [1_000_000, 500_000], "all that was granted is explained");
}

mod histories;
