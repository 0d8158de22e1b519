//! The program itself: its commands, exit codes, signals, and what it prints.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::config_faults::bombs;
use crate::program::*;
use crate::support::*;

fn with_key(providers: &[&Provider]) -> String {
    with_server(&routes(providers, "api_key: \"${TOLLGATE_TEST_KEY}\""))
}

/// What `check` said, without the line below all findings.
fn findings_of(check: &Output) -> String {
    let said = err(check);
    let (findings, foot) = said.trim_end().rsplit_once('\n').unwrap();
    assert!(foot.contains("--explain"), "{said}");
    format!("{findings}\n")
}

async fn ask(address: std::net::SocketAddr, stream: bool) -> Got {
    got(address, &post("/v1/chat/completions", &[], &chat(stream))).await
}

async fn ready(admin: std::net::SocketAddr) -> u16 {
    got(admin, "GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.status
}

async fn stream_to(address: std::net::SocketAddr) -> OpenCall {
    let mut open = OpenCall::send(address, &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("one ").await;
    open
}

#[tokio::test]
async fn serve_reload_refuse_and_drain() {
    let gate = Gate::shut();
    let (slow, quick) = (Provider::always(streams_in_two("one ", &gate, "two")).await, sound_provider("quick", false).await);
    let good = with_key(&[&slow, &quick]);
    let mut serving = Serving::start(&good).await;
    let (listen, admin) = (serving.address("listen"), serving.address("admin"));
    let open = stream_to(listen).await;

    // A good edit, by hand: with 0 and in words.
    let edited = good.replace("[p0/m, p1/m]", "[p1/m]");
    fs::write(serving.file(), &edited).unwrap();
    let reload = serving.run(&["reload", "--state", "state"]);
    let revision = serving.status()["revision"].as_str().unwrap().to_owned();
    assert!(revision.starts_with("2-") && reload.status.success(), "{revision} {reload:?}");
    assert!(out(&reload).contains(&format!("revision {revision}")), "{reload:?}");
    assert_eq!(ask(listen, false).await.text(), "quick");

    // A bad one: with 1, in the words of `check`.
    fs::write(serving.file(), edited.replace("[p1/m]", "[p1/n]")).unwrap();
    let (reload, check) = (serving.run(&["reload", "--state", "state"]), serving.run(&["check"]));
    assert_eq!((reload.status.code(), check.status.code(), out(&reload).as_str()), (Some(1), Some(1), ""));
    assert_eq!(err(&reload), format!("{}not reloaded: revision {revision} goes on\n", findings_of(&check)));
    assert!(err(&check).contains("error[unknown-model]") && err(&check).contains("routes.yaml:"), "{check:?}");
    let status = serving.run(&["status", "--state", "state"]);
    assert!(status.status.success() && out(&status).contains("refused") && out(&status).contains("unknown-model"), "{status:?}");
    assert_eq!((serving.status()["last_reload"]["ok"].as_bool(), ready(admin).await), (Some(false), 200));
    let logged = serving.err.wait_for("the file is refused, the running revision goes on").await;
    assert!(logged["line"].is_u64() && logged["column"].is_u64() && logged["code"] == "unknown-model", "{logged}");

    // The drain: the stream goes on, nothing new comes in, the end is a 0.
    serving.signal("TERM");
    while ready(admin).await != 503 {
        tokio::task::yield_now().await;
    }
    // The listener closes a moment after the word that it will.
    while tokio::net::TcpStream::connect(listen).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let late = serving.run(&["reload", "--state", "state"]);
    assert!(late.status.code() == Some(1) && err(&late).contains("the daemon is stopping"), "{late:?}");
    gate.open_wide();
    let streamed = open.rest().await;
    assert_eq!((streamed.text().as_str(), streamed.is_done(), streamed.is_whole), ("one two", true, true));
    assert!(streamed.header("x-tollgate-revision").is_some_and(|revision| revision.starts_with("1-")));
    assert_eq!(serving.end().await.code(), Some(0));
    let gone = serving.run(&["status", "--state", "state"]);
    assert!(gone.status.code() == Some(69) && err(&gone).contains("hint:"), "{gone:?}");

    // What it left: records that fit their schema, a log that names what went, and no key anywhere.
    let schema: Value = serde_json::from_slice(&serving.run(&["schema", "record"]).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let records = serving.out.lines();
    assert_eq!(records.len(), 2);
    for record in &records {
        assert!(
            validator.is_valid(record),
            "{record}: {:?}",
            validator.iter_errors(record).map(|error| error.to_string()).collect::<Vec<_>>()
        );
    }
    let removed: Vec<_> = serving.err.lines().into_iter().filter_map(|line| line["removed"].as_str().map(ToOwned::to_owned)).collect();
    assert_eq!(removed, ["step `p0/m` of `default`"]);
    assert_eq!(slow.seen()[0].header("authorization"), Some(&*format!("Bearer {KEY}")));
}

#[tokio::test]
async fn a_stream_longer_than_the_drain_is_told_and_the_program_ends_with_0() {
    let provider = Provider::always(streams_in_two("one ", &Gate::shut(), "two")).await;
    let mut serving = Serving::start(&with_key(&[&provider]).replace("early_head: off", "drain: 300ms")).await;
    let open = stream_to(serving.address("listen")).await;
    serving.signal("TERM");
    let got = open.rest().await;
    assert_eq!((got.stream_code().as_str(), got.is_done(), got.is_whole), ("draining", false, false));
    assert_eq!(serving.end().await.code(), Some(0));
    assert_eq!(serving.out.lines()[0]["code"], "draining", "its record is written");
}

#[tokio::test]
async fn a_second_sigterm_cuts_at_once() {
    let provider = Provider::always(streams_in_two("one ", &Gate::shut(), "two")).await;
    let mut serving = Serving::start(&with_key(&[&provider])).await;
    let (listen, admin) = (serving.address("listen"), serving.address("admin"));
    let open = stream_to(listen).await;
    serving.signal("TERM");
    while ready(admin).await != 503 {
        tokio::task::yield_now().await;
    }
    let told = tokio::time::Instant::now();
    serving.signal("TERM");
    assert_eq!(open.rest().await.stream_code(), "draining");
    assert_eq!(serving.end().await.code(), Some(0));
    assert!(told.elapsed() < std::time::Duration::from_secs(2), "{:?}", told.elapsed());
}

#[tokio::test]
async fn l12_a_hang_up_mid_stream_leaves_the_stream_and_its_revision_alone() {
    let gate = Gate::shut();
    let (slow, quick) = (Provider::always(streams_in_two("one ", &gate, "two")).await, sound_provider("quick", false).await);
    let good = with_key(&[&slow, &quick]);
    let serving = Serving::start(&good).await;
    let listen = serving.address("listen");
    let open = stream_to(listen).await;
    fs::write(serving.file(), good.replace("[p0/m, p1/m]", "[p1/m]")).unwrap();
    serving.signal("HUP");
    serving.err.wait_for("a changed file is in force").await;
    let next = ask(listen, false).await;
    assert_eq!((next.text().as_str(), next.target()), ("quick", "p1/m"), "{next:?}");
    gate.open_wide();
    let streamed = open.rest().await;
    assert_eq!((streamed.text().as_str(), streamed.is_done(), streamed.is_whole), ("one two", true, true), "{streamed:?}");
    let revision = |got: &Got| got.header("x-tollgate-revision").unwrap().split('-').next().unwrap().to_owned();
    assert_eq!((streamed.target(), revision(&streamed), revision(&next)), ("p0/m", "1".to_owned(), "2".to_owned()));
}

#[tokio::test]
async fn c24_a_thousand_sighups_are_few_loads() {
    let provider = sound_provider("hello", false).await;
    let good = with_key(&[&provider]);
    let serving = Serving::start(&good).await;
    let (listen, admin) = (serving.address("listen"), serving.address("admin"));
    let last = good.replace("default:", "rules:\n  - { name: last, match: { endpoint: chat }, chain: [p0/m] }\ndefault:");
    fs::write(serving.file(), &last).unwrap();
    let burst = format!("i=0; while [ $i -lt 1000 ]; do kill -HUP {}; i=$((i+1)); done", serving.child.id());
    assert!(Command::new("sh").args(["-c", &burst]).status().unwrap().success());
    eventually(|| serving.err.lines().iter().any(|line| line["message"] == "a changed file is in force").then_some(())).await;
    // One more edit, noticed by the watcher: whatever the signals asked for came before it.
    fs::write(serving.file(), last.replace("name: last", "name: very-last")).unwrap();
    while ask(listen, false).await.header("x-tollgate-rule") != Some("very-last") {
        tokio::task::yield_now().await;
    }
    // Told last, after the file is safe in the state folder.
    let told = || serving.err.lines().iter().filter(|line| line["message"] == "a changed file is in force").count();
    eventually(|| (told() == 2).then_some(())).await;
    let metrics = got(admin, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.body;
    let loads: u32 = metrics.lines().find_map(|line| line.strip_prefix("tollgate_config_reloads_total ")?.parse().ok()).unwrap();
    assert!((1..=6).contains(&loads), "{loads} loads");
}

#[tokio::test]
async fn a_hang_up_right_after_the_start_does_not_end_the_daemon() {
    let provider = sound_provider("hello", false).await;
    for _ in 0..3 {
        let serving = Serving::start(&with_key(&[&provider])).await;
        serving.signal("HUP");
        assert_eq!(ask(serving.address("listen"), false).await.status, 200);
    }
}

#[tokio::test]
async fn at_boot_a_bad_file_ends_the_program_with_78_and_all_findings_and_nothing_listens() {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = probe.local_addr().unwrap();
    drop(probe);
    let bad = format!(
        "version: 1\nserver: {{ listen: \"{address}\", admin: \"127.0.0.1:0\" }}\nproviders:\n  a: {{ format: opnai, api_key: \"{KEY} x\", models: {{ m: {{}} }} }}\ndefault: {{ chain: [c/m] }}\n"
    );
    let folder = folder_with(&bad);
    let (serve, check) = (run(&folder, &["serve", "--state", "state"]), run(&folder, &["check"]));
    assert_eq!((serve.status.code(), check.status.code()), (Some(78), Some(1)));
    for part in ["opnai", "`c`"] {
        assert!(err(&serve).contains(part), "{part}: {}", err(&serve));
    }
    assert!(err(&serve).starts_with(&findings_of(&check)) && err(&serve).contains("--fallback last-good"), "{}", err(&serve));
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
    assert!(!err(&serve).contains(KEY) && !out(&serve).contains(KEY));
}

#[tokio::test]
async fn fallback_last_good_serves_loudly_degraded() {
    let provider = sound_provider("hello", false).await;
    let good = with_key(&[&provider]);
    // The state folder is named by the file alone, also by the one that is refused.
    let good = good.replace("server: {", "server: { state: kept,");
    let start = async |folder: Folder| {
        let mut child =
            command(&folder, &["serve", "--fallback", "last-good"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Said::by(child.stdout.take().unwrap()), Said::by(child.stderr.take().unwrap()));
        let serving = Serving { child, folder, out, err };
        serving.err.wait_for("serving").await;
        serving
    };
    let folder = folder_with(&good);
    fs::create_dir(folder.file("state")).unwrap();
    let mut serving = start(folder).await;
    serving.signal("INT");
    assert_eq!(serving.end().await.code(), Some(0));
    let folder = std::mem::replace(&mut serving.folder, Folder::new());
    fs::write(folder.file("routes.yaml"), good.replace("[p0/m]", "[p0/n]")).unwrap();
    let serving = start(folder).await;
    let logged = serving.err.wait_for("degraded: the file is refused, the last good one serves").await;
    assert!(logged["level"] == "ERROR" && logged["findings"].as_str().is_some_and(|said| said.contains("p0/n")), "{logged}");
    let status = serving.run(&["status"]);
    assert!(status.status.success() && out(&status).contains("DEGRADED"), "{status:?}");
    // Without a runtime folder the socket is in the state folder, and the file that names it is the refused one.
    let status = command(&serving.folder, &["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert!(status["degraded"].is_string());
    assert_eq!(ask(status["listen"].as_str().unwrap().parse().unwrap(), false).await.status, 200);
}

#[tokio::test]
async fn commands_find_the_daemon_of_a_refused_file() {
    let provider = sound_provider("hello", false).await;
    let good = with_key(&[&provider]).replace("server: {", "server: { state: \"kept\",");
    let folder = folder_with(&good);
    let mut child =
        command(&folder, &["serve"]).env_remove("RUNTIME_DIRECTORY").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (out, err_said) = (Said::by(child.stdout.take().unwrap()), Said::by(child.stderr.take().unwrap()));
    let serving = Serving { child, folder, out, err: err_said };
    serving.err.wait_for("serving").await;
    fs::write(serving.file(), good.replace("[p0/m]", "[p0/n]")).unwrap();
    let reload = command(&serving.folder, &["reload"]).env_remove("RUNTIME_DIRECTORY").output().unwrap();
    assert_eq!(reload.status.code(), Some(1), "{reload:?}");
    assert!(err(&reload).contains("unknown-model"), "{reload:?}");
    fs::write(serving.file(), "server:\n  # state: elsewhere\n  state: kept # here\nproviders: [").unwrap();
    let reload = command(&serving.folder, &["reload", "--json"]).env_remove("RUNTIME_DIRECTORY").output().unwrap();
    let verdict: Value = serde_json::from_slice(&reload.stdout).unwrap_or_else(|error| panic!("{error}: {reload:?}"));
    assert_eq!((reload.status.code(), &verdict["ok"]), (Some(1), &false.into()));
}

#[tokio::test]
async fn l04_a_second_daemon_on_the_same_state_ends_with_75() {
    let provider = sound_provider("hello", false).await;
    let serving = Serving::start(&with_key(&[&provider])).await;
    let second = serving.run(&["serve", "--state", "state"]);
    assert_eq!(second.status.code(), Some(75), "{second:?}");
    assert!(err(&second).contains(&format!("process {}", serving.child.id())), "{second:?}");
    // Another state folder, and the same control socket.
    let third = serving.run(&["serve", "--state", "other"]);
    assert!(third.status.code() == Some(75) && err(&third).contains("control"), "{third:?}");
    assert_eq!(ask(serving.address("listen"), false).await.status, 200);
}

#[tokio::test]
async fn l25_a_ledger_that_is_damaged_while_it_is_written_ends_the_daemon_with_65() {
    let provider = sound_provider("hello", false).await;
    let priced =
        with_key(&[&provider]).replace("m: {}", "m: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 64 }");
    let mut serving = Serving::start(&(priced + "budgets: { company: { cap: $10/month } }\n")).await;
    let listen = serving.address("listen");
    assert_eq!(ask(listen, false).await.status, 200);
    let ledger = rusqlite::Connection::open(serving.folder.file("state/ledger.sqlite")).unwrap();
    ledger.execute_batch("UPDATE head SET hash = zeroblob(32), commits = commits + 1").unwrap();
    drop(ledger);
    ask(listen, false).await;
    let ended = serving.end().await;
    assert!(ended.code() == Some(65) && serving.err.text().contains("tollgate ledger recover"), "{ended} {}", serving.err.text());
    let recover = serving.run(&["ledger", "recover", "--state", "state"]);
    assert!(recover.status.success(), "{recover:?}");
    assert!(serving.run(&["ledger", "verify", "--state", "state"]).status.success());
}

#[tokio::test]
async fn l07_a_state_folder_that_cannot_be_written_ends_the_start_with_74() {
    let provider = sound_provider("hello", false).await;
    let folder = folder_with(&with_key(&[&provider]));
    fs::write(folder.file("a-file"), "").unwrap();
    for state in ["a-file", "a-file/state", "/proc/nowhere"] {
        let serve = run(&folder, &["serve", "--state", state]);
        assert_eq!(serve.status.code(), Some(74), "{state}: {serve:?}");
        assert!(err(&serve).contains(state), "{serve:?}");
    }
}

#[tokio::test]
async fn c07_a_file_without_permission_is_refused() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let provider = sound_provider("hello", false).await;
    let folder = folder_with(&with_key(&[&provider]));
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let serve = ["serve", "--state", "state"];
    let mut daemon = command(&folder, &serve);
    if is_root {
        // Root may read every file: the daemon runs as somebody else then, from a place that is open to all.
        let program = folder.file("tollgate");
        fs::copy(PROGRAM, &program).unwrap();
        chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        daemon = command_of(&program, &folder, &serve);
        daemon.uid(NOBODY).gid(NOBODY);
    }
    let unreadable = |folder: &Folder, mode| fs::set_permissions(folder.file("routes.yaml"), fs::Permissions::from_mode(mode)).unwrap();
    let serving = Serving::spawn(folder, daemon).await;
    let revision = serving.status()["revision"].clone();
    unreadable(&serving.folder, 0o000);
    let logged = serving.err.wait_for("the file is refused, the running revision goes on").await;
    assert!(logged["finding"] == "the file cannot be read: permission denied", "{logged}");
    let reload = serving.run(&["reload", "--state", "state"]);
    assert!(reload.status.code() == Some(1) && err(&reload).contains("permission denied"), "{reload:?}");
    assert_eq!((serving.status()["revision"].clone(), ask(serving.address("listen"), false).await.status), (revision, 200));
    unreadable(&serving.folder, 0o644);
    serving.err.wait_for("the file is back at the running revision").await;
}

#[tokio::test]
async fn c12_bombs_take_at_most_32_mib() {
    let provider = sound_provider("hello", false).await;
    for (what, text, code) in bombs() {
        // A daemon for each: what the allocator keeps of one bomb is not the next one's.
        let serving = Serving::start(&with_key(&[&provider])).await;
        let peak = || {
            let status = fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
        };
        let before = peak();
        fs::write(serving.file(), text).unwrap();
        let reload = serving.run(&["reload", "--state", "state"]);
        assert!(reload.status.code() == Some(1) && err(&reload).contains(code), "{what}: {reload:?}");
        let more = peak() - before;
        println!("{what}: {more} KiB more than before");
        assert!(more <= 32 << 10, "{what}: {more} KiB more than before");
    }
}

/// A file that says `estimate: exact` loads no vocabulary; the first request that bytes leave no room for does.
#[tokio::test]
async fn a_vocabulary_costs_nothing_until_it_is_asked_for() {
    let provider = sound_provider("hello", false).await;
    let model = "gpt-4o: { usd_per_mtok: { input: 1000, output: 1000 }, context: 128k, max_output: 16 }";
    let file = with_key(&[&provider]).replace("m: {}", model).replace("p0/m", "p0/gpt-4o");
    let serving = Serving::start(&format!("{file}budgets: {{ all: {{ cap: $1/day, on_low: reject, estimate: exact }} }}\n")).await;
    let listen = serving.address("listen");
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    assert_eq!(ask(listen, false).await.status, 200);
    let before = resident();
    let long = chat(false).replace("\"content\":\"", &format!("\"content\":\"{}", "word ".repeat(400)));
    assert_eq!(got(listen, &post("/v1/chat/completions", &[], &long)).await.status, 200, "{long}");
    let more = resident() - before;
    println!("{before} KiB before, {more} KiB more with a vocabulary");
    assert!(more > 10 << 10, "{before} KiB before, {more} KiB more with a vocabulary");
}

#[tokio::test]
async fn l23_a_log_that_nobody_reads_holds_nothing_up() {
    let provider = sound_provider("hello", false).await;
    let folder = folder_with(&with_key(&[&provider]));
    let mut serve = command(&folder, &["serve", "--state", "state"]);
    serve.env("TOLLGATE_LOG", "trace").stdout(Stdio::piped()).stderr(Stdio::piped());
    // Both pipes stay unread; a few dozen requests fill them.
    let mut child = serve.spawn().unwrap();
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let mut serving = Serving { child, folder, out: Said::default(), err: Said::default() };
    eventually(|| serving.folder.file("state/control.sock").exists().then_some(())).await;
    let listen = serving.address("listen");
    for _ in 0..300 {
        assert_eq!(ask(listen, false).await.status, 200);
    }
    fs::write(serving.file(), "version: 2\n").unwrap();
    assert_eq!(serving.run(&["reload", "--state", "state"]).status.code(), Some(1));
    serving.signal("TERM");
    assert_eq!(serving.end().await.code(), Some(0), "the end waits for no reader either");
    drop((out, err));
}

#[tokio::test]
async fn no_secret_is_ever_printed() {
    // The provider throws the key back in an error and in a header, and the file has it in plain text in odd places.
    let echo = format!(r#"{{"error":{{"message":"bad key {KEY}","type":"x","param":null,"code":"{KEY}"}}}}"#);
    let fails = Provider::always(vec![send(json_answer(&format!("401 Unauthorized\r\nx-echo: {KEY}"), &echo))]).await;
    let sound = sound_provider("hello", false).await;
    let good = with_key(&[&fails, &sound]);
    let folder = folder_with(&good);
    let mut serving = Serving::start_in(folder, &[], |command| {
        command.env("TOLLGATE_LOG", "trace");
    })
    .await;
    let (listen, admin) = (serving.address("listen"), serving.address("admin"));
    let mut all = String::new();
    let mut note = |output: &Output| all += &(out(output) + &err(output));
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let answers = [
        ask(listen, false).await,
        got(listen, &post("/v1/chat/completions", &[("x-tollgate-dry-run", "true")], &chat(false))).await,
        got(listen, &post("/v1/chat/completions", &[], r#"{"model":"p0/m","messages":[{"role":"user","content":"Say hello."}]}"#)).await,
        got(admin, &get("/metrics")).await,
        got(admin, &get("/status")).await,
        got(listen, &get("/v1/models")).await,
    ];
    note(&serving.run(&["status", "--json", "--state", "state"]));
    note(&serving.run(&["status", "--state", "state"]));
    note(&serving.run(&["explain", "--json"]));
    for text in [
        good.replace("\"${TOLLGATE_TEST_KEY}\"", &format!("{KEY} ")),
        good.replace("\"${TOLLGATE_TEST_KEY}\"", &format!("[{KEY}]")),
        good.replace("api_key:", "api_kye:").replace("${TOLLGATE_TEST_KEY}", KEY),
        good.replace("http://", &format!("http://{KEY}@")),
        good.replace("\"${TOLLGATE_TEST_KEY}\"", &format!("\"{KEY}")),
        good.replace("[p0/m, p1/m]", "[p0/n, p1/m]").replace("${TOLLGATE_TEST_KEY}", KEY),
    ] {
        fs::write(serving.file(), text).unwrap();
        note(&serving.run(&["reload", "--state", "state"]));
        for format in ["text", "json", "github"] {
            note(&serving.run(&["check", "--format", format]));
        }
        note(&serving.run(&["status", "--json", "--state", "state"]));
        note(&serving.run(&["explain"]));
    }
    serving.signal("TERM");
    assert_eq!(serving.end().await.code(), Some(0));
    all += &serving.out.text();
    all += &serving.err.text();
    for answer in &answers {
        write!(all, "{answer:?}").unwrap();
    }
    assert!(all.len() > 10_000 && fails.count() > 0, "there is something to look through");
    let found: Vec<_> = all.lines().filter(|line| line.contains("recognisable")).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn check_tells_people_programs_and_workflows() {
    let folder =
        folder_with(&with_server("version: 1\nproviders:\n  a: { format: sandbox, models: { m: {} } }\ndefault: { chain: [a/m] }\n"));
    let sound = run(&folder, &["check"]);
    assert!(sound.status.success() && out(&sound).contains("routes.yaml: sound; 1 provider, 1 target, 0 rules"), "{sound:?}");
    fs::write(folder.file("bad.yaml"), "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {} } }\ndefault: { chain: [b/m] }\n")
        .unwrap();
    let text = run(&folder, &["check", "bad.yaml"]);
    assert!(text.status.code() == Some(1) && err(&text).contains("bad.yaml:4:") && out(&text).is_empty(), "{text:?}");
    for arguments in [&["check", "bad.yaml", "--format", "json"][..], &["check", "--config", "bad.yaml", "--json"]] {
        let json = run(&folder, arguments);
        let findings: Value = serde_json::from_slice(&json.stdout).unwrap_or_else(|error| panic!("{error}: {json:?}"));
        let text = findings.to_string();
        assert!(json.status.code() == Some(1) && text.contains("unknown-provider") && text.contains("\"line\":4"), "{text}");
    }
    let github = run(&folder, &["check", "bad.yaml", "--format", "github"]);
    assert!(out(&github).starts_with("::error file=bad.yaml,line=4,"), "{github:?}");
    // What cannot be read is a finding like any other.
    for (format, part) in [("text", "no such file"), ("json", "unreadable"), ("github", "::error file=none.yaml")] {
        let none = run(&folder, &["check", "none.yaml", "--format", format]);
        assert!(none.status.code() == Some(1) && (out(&none) + &err(&none)).contains(part), "{format}: {none:?}");
    }
    serde_json::from_slice::<Value>(&run(&folder, &["check", "none.yaml", "--json"]).stdout).unwrap();
}

#[test]
fn explain_tells_people_and_programs() {
    let folder = folder_with(
        "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {}, n: {} } }\nrules:\n  - { name: coding, match: { task: coding }, chain: [a/n] }\ndefault: { chain: [a/m] }\n",
    );
    let text = run(&folder, &["explain", "--task", "coding", "--prompt-tokens", "900"]);
    assert!(
        text.status.success() && out(&text).contains("rule `coding` (line 5) matches") && out(&text).contains("it would go to a/n"),
        "{text:?}"
    );
    let text = run(&folder, &["explain", "--model", "gpt-4o"]);
    assert!(out(&text).contains("rule `coding` (line 5) does not match") && out(&text).contains("it would go to a/m"), "{text:?}");
    let schema: Value = serde_json::from_slice(&run(&folder, &["schema", "explain"]).stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    fs::write(folder.file("body.json"), chat(true)).unwrap();
    for arguments in [
        &["--task", "coding"][..],
        &["--max-cost", "0.01", "--needs", "tools,vision", "--label", "a=b", "--stream"],
        &["--body", "body.json"],
    ] {
        let json = run(&folder, &[&["explain", "--json"], arguments].concat());
        let explained: Value = serde_json::from_slice(&json.stdout).unwrap_or_else(|error| panic!("{error}: {json:?}"));
        assert!(
            validator.is_valid(&explained),
            "{explained}: {:?}",
            validator.iter_errors(&explained).map(|error| error.to_string()).collect::<Vec<_>>()
        );
    }
    fs::write(folder.file("routes.yaml"), "version: 2\n").unwrap();
    let refused = run(&folder, &["explain"]);
    assert!(refused.status.code() == Some(78) && err(&refused).contains("version"), "{refused:?}");
}

#[test]
fn explain_takes_a_caller_and_what_is_spent() {
    let folder = folder_with(
        "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {}, n: {} } }\ncallers:\n  \
         search: { key: \"sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918\", tags: { team: s }, expires: 2199-01-01 }\n\
         budgets: { company: { cap: $9/month } }\nrules:\n  \
         - { name: late, match: { tags: { team: s }, spent: { company.month: { min: 80% } } }, chain: [a/n] }\ndefault: { chain: [a/m] }\n",
    );
    for (arguments, told) in [
        (&["--caller", "search", "--spent", "company.month=85%"][..], "rule `late` (line 8) matches"),
        (&["--caller", "search"], "does not match on spent: wanted at least 80% of company.month, found 0% of company.month"),
        (&["--tag", "team=x", "--spent", "company.month=100%"], "does not match on tags: wanted team=s, found team=x"),
        (&["--spent", "company.month=100%"], "does not match on tags: wanted team=s, found no tag team"),
    ] {
        let text = run(&folder, &[&["explain"], arguments].concat());
        assert!(text.status.success() && out(&text).contains(told), "{arguments:?}: {text:?}");
    }
    for (arguments, told) in [
        (&["--caller", "serch"][..], "there is no caller `serch`"),
        (&["--spent", "company.day=85%"], "there is no budget with a window `company.day`"),
        (&["--spent", "company.month=85"], "80%"),
        (&["--caller", "search", "--tag", "team=s"], "cannot be used with"),
    ] {
        let text = run(&folder, &[&["explain"], arguments].concat());
        assert!(!text.status.success() && err(&text).contains(told), "{arguments:?}: {text:?}");
    }
}

#[test]
fn included_files_are_named_by_check_and_explain() {
    let folder = folder_with(
        "version: 1\ninclude: [rules/*.yaml]\nproviders:\n  a: { format: sandbox, models: { m: {} } }\nrules:\n  - { name: own, match: { task: x }, chain: [a/m] }\ndefault: { chain: [a/m] }\n",
    );
    fs::create_dir(folder.file("rules")).unwrap();
    fs::write(folder.file("rules/team-a.yaml"), "rules:\n  - { name: coding, match: { task: coding }, chain: [a/m] }\n").unwrap();
    let text = run(&folder, &["explain", "--task", "coding"]);
    assert!(
        out(&text).contains("rule `own` (line 6) does not match") && out(&text).contains("rule `coding` (rules/team-a.yaml:2) matches"),
        "{text:?}"
    );
    let json: Value = serde_json::from_slice(&run(&folder, &["explain", "--task", "coding", "--json"]).stdout).unwrap();
    assert_eq!((&json["rules"][0]["file"], &json["rules"][1]["file"]), (&Value::Null, &"rules/team-a.yaml".into()));
    let check = run(&folder, &["check"]);
    assert!(check.status.success() && out(&check).contains("1 provider, 1 target, 2 rules"), "{check:?}");
    // From elsewhere the same files have longer names.
    fs::write(folder.file("rules/team-a.yaml"), "rulez: []\n").unwrap();
    fs::create_dir(folder.file("elsewhere")).unwrap();
    let check = command(&folder, &["check", "../routes.yaml"]).current_dir(folder.file("elsewhere")).output().unwrap();
    assert!(check.status.code() == Some(1) && err(&check).contains("--> ../rules/team-a.yaml:1:1"), "{check:?}");
}

#[test]
fn schema_completions_and_man_are_printed() {
    let folder = Folder::new();
    for of in ["routes", "include", "record", "explain"] {
        let schema = run(&folder, &["schema", of]);
        let value: Value = serde_json::from_slice(&schema.stdout).unwrap();
        assert!(jsonschema::validator_for(&value).is_ok() && value["$schema"].is_string(), "{of}");
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{of}.schema.json"));
        assert_eq!(fs::read_to_string(committed).unwrap(), out(&schema), "{of}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&folder, &["completions", shell]);
        assert!(
            completions.status.success() && out(&completions).contains("tollgate") && out(&completions).contains("fallback"),
            "{shell}"
        );
    }
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin.take().unwrap().write_all(&run(&folder, &["completions", "bash"]).stdout).unwrap();
    assert!(bash.wait().unwrap().success(), "bash reads it");
    let man = run(&folder, &["man"]);
    assert!(man.status.success() && out(&man).contains(".TH") && out(&man).contains("last\\-good"), "{}", out(&man));
    for (arguments, code, part) in
        [(&["--version"][..], 0, "tollgate 0."), (&["--help"], 0, "Usage:"), (&["serv"], 2, "serve"), (&[], 2, "Usage:")]
    {
        let output = run(&folder, arguments);
        assert!(output.status.code() == Some(code) && (out(&output) + &err(&output)).contains(part), "{arguments:?}: {output:?}");
    }
}

#[tokio::test]
async fn explain_live_asks_the_daemon() {
    let failing = Provider::always(vec![send(json_answer("429 Too Many Requests\r\nretry-after: 60", "{}"))]).await;
    let sound = sound_provider("hello", false).await;
    let serving = Serving::start(&with_key(&[&failing, &sound])).await;
    let revision = serving.status()["revision"].clone();
    let explain = |more: &[&str]| serving.run(&[&["explain", "--state", "state"], more].concat());
    assert!(out(&explain(&["--live"])).contains("it would go to p0/m, then p1/m"), "{:?}", explain(&["--live"]));
    assert_eq!(ask(serving.address("listen"), false).await.status, 200);
    fs::write(serving.folder.file("body.json"), chat(true)).unwrap();
    let schema: Value = serde_json::from_slice(&serving.run(&["schema", "explain"]).stdout).unwrap();
    for arguments in [&[][..], &["--task", "coding", "--prompt-tokens", "9", "--header", "x-app=batch"], &["--body", "body.json"]] {
        let live = explain(&[&["--live", "--json"], arguments].concat());
        let live: Value = serde_json::from_slice(&live.stdout).unwrap_or_else(|error| panic!("{error}: {live:?}"));
        assert!(jsonschema::is_valid(&schema, &live), "{live}");
        assert_eq!(
            (&live["revision"], &live["steps"][0]["skip"], &live["order"]),
            (&revision, &"at_rest".into(), &serde_json::json!(["p1/m"]))
        );
        // The file alone knows of no rest.
        let offline: Value = serde_json::from_slice(&explain(&[&["--json"], arguments].concat()).stdout).unwrap();
        assert_eq!((&offline["features"], &offline["order"]), (&live["features"], &serde_json::json!(["p0/m", "p1/m"])));
    }
    let question = r#"{"given":{"task":"coding"}}"#;
    let posted = |kind: &str, question: &str| {
        format!(
            "POST /explain HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{question}",
            question.len()
        )
    };
    let admin = serving.address("admin");
    let answer = got(admin, &posted("application/json", question)).await;
    assert_eq!((answer.status, &answer.json()["order"]), (200, &serde_json::json!(["p1/m"])));
    assert_eq!(got(admin, &posted("text/plain", question)).await.status, 415);
    let wrong = got(admin, &posted("application/json", r#"{"given":{"tsak":"coding"}}"#)).await;
    assert!(wrong.status == 400 && wrong.body.contains("did you mean `task`?"), "{wrong:?}");
    drop(serving);
    let nobody = run(&folder_with("version: 1\n"), &["explain", "--live", "--state", "state"]);
    assert_eq!(nobody.status.code(), Some(69), "{nobody:?}");
}

#[test]
fn check_says_which_rules_no_test_reaches() {
    let folder = folder_with(
        "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {}, n: {} } }\nrules:\n  - { name: coding, match: { task: coding }, chain: [a/n] }\n  - { name: long, match: { prompt_tokens: { min: 1k } }, chain: [a/n] }\ndefault: { chain: [a/m] }\ntests:\n  - { name: code, given: { task: coding }, expect: { target: a/n } }\n",
    );
    let text = run(&folder, &["check", "--coverage"]);
    let told = out(&text);
    assert!(text.status.success() && told.contains("1 test passed"), "{told}");
    assert!(told.contains("tests reach 1 of 3 rules\n  no test reaches rule `long`\n  no test reaches rule `default`\n"), "{told}");
    let json: Value = serde_json::from_slice(&run(&folder, &["check", "--coverage", "--json"]).stdout).unwrap();
    assert_eq!((&json["errors"], &json["unreached"]), (&0.into(), &serde_json::json!(["long", "default"])));
}

#[test]
fn fmt_prints_checks_and_writes() {
    use std::os::unix::fs::PermissionsExt;
    let untidy = "rules:\n  - chain: [a/m]   # why\n    name: code\n    match: {task: coding}\nversion: 1\nproviders:\n  a: { format: sandbox, models: { m: {} } }\ndefault: refuse\n";
    let folder = folder_with(untidy);
    fs::set_permissions(folder.file("routes.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let printed = run(&folder, &["fmt"]);
    assert!(printed.status.success() && fs::read_to_string(folder.file("routes.yaml")).unwrap() == untidy, "{printed:?}");
    let wanted = "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {} } }\nrules:\n  - name: code\n    match: { task: coding }\n    chain: [a/m] # why\ndefault: refuse\n...\n";
    assert_eq!(out(&printed), wanted);
    let checked = run(&folder, &["fmt", "--check"]);
    assert!(checked.status.code() == Some(1) && err(&checked).contains("not in its canonical form"), "{checked:?}");
    assert!(run(&folder, &["fmt", "--write"]).status.success());
    assert_eq!(fs::read_to_string(folder.file("routes.yaml")).unwrap(), wanted);
    assert_eq!(fs::metadata(folder.file("routes.yaml")).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(run(&folder, &["fmt", "--check"]).status.success());
    fs::write(folder.file("routes.yaml"), "rules: [\n").unwrap();
    let refused = run(&folder, &["fmt", "--write"]);
    assert!(refused.status.code() == Some(1) && err(&refused).contains("yaml-syntax"), "{refused:?}");
    assert_eq!(fs::read_to_string(folder.file("routes.yaml")).unwrap(), "rules: [\n");
}
