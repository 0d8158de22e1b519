//! What happens in every fault of the file that a running daemon meets, row by row. Rows that need no daemon stand in `config.rs`.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use tollgate::reload::{Cause, Verdict};

use crate::support::*;

/// A provider, a daemon on it, and the text that it runs.
struct Fixture {
    provider: Provider,
    daemon: Daemon,
    good: String,
    revision: String,
}

impl Fixture {
    async fn new() -> Self {
        Self::with(|_| {}, "").await
    }

    async fn with(change: impl FnOnce(&mut tollgate::app::Options), settings: &str) -> Self {
        let provider = sound_provider("hello", false).await;
        let good = with_server(&routes(&[&provider], settings)) + "...\n";
        let daemon = Daemon::start_with(&good, change).await;
        let revision = daemon.revision();
        Self { provider, daemon, good, revision }
    }

    /// The same file with one rule more.
    fn other(&self, rule: &str) -> String {
        self.good.replace("default:", &format!("rules:\n  - {{ name: {rule}, match: {{ endpoint: chat }}, chain: [p0/m] }}\ndefault:"))
    }

    async fn reload(&self, cause: Cause) -> Verdict {
        self.daemon.app.reload(cause).await
    }

    async fn rule(&self) -> String {
        self.daemon.chat().await.header("x-tollgate-rule").unwrap().to_owned()
    }

    /// The revision goes on as if nothing had been, and readiness says so.
    async fn goes_on(&self, what: &str) {
        assert_eq!(self.daemon.revision(), self.revision, "{what}");
        assert_eq!(self.daemon.chat().await.header("x-tollgate-revision"), Some(&*self.revision), "{what}");
        assert_eq!((self.daemon.get("/readyz").await.status, self.daemon.admin("/readyz").await.status), (200, 200), "{what}");
    }

    /// Reads `text` now and refuses it with `code`, in so many words and numbers.
    async fn refuses(&self, text: &str, code: &str) -> Verdict {
        fs::write(self.daemon.file(), text).unwrap();
        let (tries, failures) = self.daemon.reloads().await;
        let verdict = self.reload(Cause::Command).await;
        assert!(!verdict.ok && !verdict.changed && verdict.findings[0].code == code, "{code}: {verdict:?}");
        let (now_tries, now_failures) = self.daemon.reloads().await;
        assert!(now_tries > tries && now_failures > failures, "{code}");
        assert_eq!(self.daemon.metric("tollgate_config_last_reload_success").await, 0, "{code}");
        let last = self.daemon.status()["last_reload"].clone();
        assert!(last["ok"] == false && last["text"] == verdict.text, "{last}");
        self.goes_on(code).await;
        verdict
    }
}

/// Moves the file to where `lay` puts it, before the daemon starts.
fn laid(options: &mut tollgate::app::Options, lay: impl FnOnce(&Path, String) -> PathBuf) {
    let folder = options.config.parent().unwrap().to_owned();
    let text = fs::read_to_string(&options.config).unwrap();
    fs::remove_file(&options.config).unwrap();
    options.config = lay(&folder, text);
}

#[tokio::test]
async fn c03_a_half_written_file_is_not_loaded_until_the_rest_comes() {
    let fixture = Fixture::new().await;
    let file = fixture.daemon.file();
    // Longer than the running text, so that every kind of prefix occurs: of both, of the new one alone, broken, sound.
    let whole = fixture.other("first");
    // All but the last line break is the whole already.
    for end in 0..whole.len() - 1 {
        fs::write(&file, &whole[..end]).unwrap();
        let verdict = fixture.reload(Cause::Watch).await;
        assert!(!verdict.changed, "{end}: {verdict:?}");
    }
    fixture.goes_on("prefixes").await;
    fs::write(&file, &whole).unwrap();
    fixture.daemon.wait_for_another(&fixture.revision).await;
    assert_eq!(fixture.rule().await, "first");
}

#[tokio::test]
async fn c03_the_watcher_waits_for_the_rest_and_the_command_does_not() {
    let fixture = Fixture::new().await;
    let (file, whole) = (fixture.daemon.file(), fixture.other("first"));
    // Sound as it stands, but for the end mark.
    let without_mark = whole.strip_suffix("...\n").unwrap();
    fs::write(&file, without_mark).unwrap();
    let said = fixture.daemon.wait_for_refusal().await;
    assert!(said.contains("error[half-written]") && said.contains("routes.yaml") && said.contains("`tollgate reload` loads it"), "{said}");
    fixture.goes_on("half-written").await;
    assert!(!fixture.reload(Cause::Poll).await.ok && !fixture.reload(Cause::Signal).await.ok);
    assert!(fixture.reload(Cause::Command).await.changed);
    assert_eq!(fixture.rule().await, "first");
    // From now on the running text has no mark; a strict prefix is still known.
    let prefix = &without_mark[..without_mark.find("rules:").unwrap()];
    fs::write(&file, format!("{prefix}default:")).unwrap();
    assert_eq!(fixture.reload(Cause::Watch).await.findings[0].code, "empty-value");
    fs::write(&file, prefix).unwrap();
    assert_eq!(fixture.reload(Cause::Watch).await.findings[0].code, "half-written");
}

#[tokio::test]
async fn c04_a_deleted_file_and_folder_keep_the_revision_until_they_return() {
    let fixture = Fixture::with(
        |options| {
            laid(options, |folder, text| {
                fs::create_dir(folder.join("etc")).unwrap();
                fs::write(folder.join("etc/routes.yaml"), text).unwrap();
                folder.join("etc/routes.yaml")
            });
        },
        "",
    )
    .await;
    let folder = fixture.daemon.folder.file("etc");
    let file = folder.join("routes.yaml");
    let present = async |wanted: i64| {
        while fixture.daemon.metric("tollgate_config_present").await != wanted {
            tokio::task::yield_now().await;
        }
    };
    present(1).await;
    fs::remove_file(&file).unwrap();
    present(0).await;
    fixture.goes_on("no file").await;
    let asked = fixture.reload(Cause::Command).await;
    assert!(!asked.ok && asked.text.contains("no such file"), "{asked:?}");
    fs::write(&file, &fixture.good).unwrap();
    present(1).await;
    fixture.goes_on("the same file again").await;
    fs::remove_dir_all(&folder).unwrap();
    present(0).await;
    fixture.goes_on("no folder").await;
    fs::create_dir(&folder).unwrap();
    fs::write(&file, fixture.other("back")).unwrap();
    fixture.daemon.wait_for_another(&fixture.revision).await;
    assert_eq!((fixture.rule().await.as_str(), fixture.daemon.metric("tollgate_config_present").await), ("back", 1));
}

#[tokio::test]
async fn c05_a_swapped_link_is_one_reload_within_two_seconds() {
    // As a ConfigMap is mounted: routes.yaml → ..data/routes.yaml, ..data → ..1, and a link of our own before all that.
    let fixture = Fixture::with(
        |options| {
            laid(options, |folder, text| {
                let mount = folder.join("mount");
                fs::create_dir_all(mount.join("..1")).unwrap();
                fs::write(mount.join("..1/routes.yaml"), text).unwrap();
                symlink("..1", mount.join("..data")).unwrap();
                symlink("..data/routes.yaml", mount.join("routes.yaml")).unwrap();
                symlink(mount.join("routes.yaml"), folder.join("mine.yaml")).unwrap();
                folder.join("mine.yaml")
            });
        },
        "",
    )
    .await;
    let mount = fixture.daemon.folder.file("mount");
    let mut before = fixture.revision.clone();
    for round in 2..5_u32 {
        let data = mount.join(format!("..{round}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("routes.yaml"), fixture.other(&format!("rule-{round}"))).unwrap();
        symlink(format!("..{round}"), mount.join("..data_tmp")).unwrap();
        let swapped = tokio::time::Instant::now();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        fs::remove_dir_all(mount.join(format!("..{}", round - 1))).unwrap();
        before = fixture.daemon.wait_for_another(&before).await;
        assert!(swapped.elapsed() < Duration::from_secs(2), "{:?}", swapped.elapsed());
        assert_eq!(fixture.rule().await, format!("rule-{round}"));
    }
    assert!(!fixture.reload(Cause::Poll).await.changed);
    assert_eq!(fixture.daemon.reloads().await, (3, 0));
}

#[tokio::test]
async fn c06_rename_over_and_in_place_write_are_one_reload_each_and_touch_is_none() {
    let fixture = Fixture::new().await;
    let file = fixture.daemon.file();
    fixture.daemon.write(&fixture.other("renamed"));
    let renamed = fixture.daemon.wait_for_another(&fixture.revision).await;
    fs::write(&file, fixture.other("in-place")).unwrap();
    let written = fixture.daemon.wait_for_another(&renamed).await;
    fs::File::options().write(true).open(&file).unwrap().set_modified(SystemTime::now()).unwrap();
    assert!(!fixture.reload(Cause::Watch).await.changed);
    // The same text under another inode is no change either.
    fixture.daemon.write(&fixture.other("in-place"));
    assert!(!fixture.reload(Cause::Poll).await.changed);
    assert_eq!((fixture.daemon.reloads().await, fixture.daemon.revision()), ((2, 0), written));
}

#[tokio::test]
async fn c07_a_file_that_cannot_be_read_is_refused() {
    let fixture = Fixture::new().await;
    // Reading one's own memory at address 0 is an EIO for everybody. Permissions are the process tests' matter: root has them all.
    fs::remove_file(fixture.daemon.file()).unwrap();
    symlink("/proc/self/mem", fixture.daemon.file()).unwrap();
    let said = fixture.daemon.wait_for_refusal().await;
    assert!(said.contains("error[unreadable]: the file cannot be read"), "{said}");
    fixture.goes_on("EIO").await;
    fixture.daemon.write(&fixture.other("back"));
    fixture.daemon.wait_for_another(&fixture.revision).await;
}

#[tokio::test]
async fn c09_c10_c14_are_refused_by_a_running_daemon() {
    let fixture = Fixture::new().await;
    let cycle = fixture.good.replace("default:", "chains:\n  a: [b]\n  b: [a]\ndefault:");
    let verdict = fixture.refuses(&cycle, "chain-cycle").await;
    assert!(verdict.text.contains("a → b → a"), "{}", verdict.text);
    fixture.refuses(&fixture.good.replace("default:", "default: refuse\ndefault:"), "duplicate-key").await;
    fs::write(fixture.daemon.folder.file("empty"), " \n").unwrap();
    let secret = format!("api_key: \"${{file:{}}}\", format:", fixture.daemon.folder.file("empty").display());
    fixture.refuses(&fixture.good.replace("format:", &secret), "bad-secret").await;
}

#[tokio::test]
async fn c11_a_file_above_one_mebibyte_is_refused() {
    let fixture = Fixture::new().await;
    fixture.refuses(&format!("{}{}\n...\n", fixture.good, "#".repeat(1 << 20)), "file-too-large").await;
    let fits = fixture.good.replace("...\n", &format!("#{}\n...\n", "x".repeat((1 << 20) - fixture.good.len() - 2)));
    assert_eq!(fits.len(), 1 << 20);
    fs::write(fixture.daemon.file(), &fits).unwrap();
    assert!(fixture.reload(Cause::Command).await.ok);
}

/// Texts that grow when they are read, and the code that each is refused with.
pub(crate) fn bombs() -> Vec<(&'static str, String, &'static str)> {
    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..10 {
        let inner = vec![format!("*a{}", level - 1); 10].join(",");
        writeln!(bomb, "a{level}: &a{level} [{inner}]").unwrap();
    }
    vec![
        ("aliases of aliases", bomb, "yaml-too-much"),
        ("1,001 aliases", format!("a: &a x\nb: [{}]\n", vec!["*a"; 1_001].join(",")), "yaml-too-much"),
        ("depth in flow", format!("a: {}{}\n", "[".repeat(65), "]".repeat(65)), "yaml-too-much"),
        ("depth without end", "[".repeat(1 << 20), "yaml-syntax"),
        ("depth in blocks", (0..100).map(|level| " ".repeat(level) + "a:\n").collect(), "yaml-too-much"),
        ("documents", "---\n".repeat(100_000), "yaml-documents"),
    ]
}

#[tokio::test]
async fn c12_bombs_are_refused_within_100_ms() {
    let fixture = Fixture::new().await;
    for (what, text, code) in bombs() {
        fixture.refuses(&text, code).await;
        // The best of three: the machine has others to serve, too.
        let mut best = Duration::MAX;
        for _ in 0..3 {
            let begun = tokio::time::Instant::now();
            assert!(!fixture.reload(Cause::Command).await.ok);
            best = best.min(begun.elapsed());
        }
        assert!(best < Duration::from_millis(100), "{what}: {best:?}");
    }
}

#[tokio::test]
async fn c22_a_changed_rate_carries_the_level_over() {
    let fixture = Fixture::with(|_| {}, "limits: { requests: 10/hour }").await;
    let remaining = || fixture.daemon.status()["providers"][0]["limits"][0]["remaining"].as_u64().unwrap();
    for _ in 0..4 {
        fixture.daemon.chat().await;
    }
    assert_eq!(remaining(), 6);
    // What was used stays used, counted in requests: a larger rate adds what is new, a smaller one takes it away.
    for (rate, left) in [("20/hour", 16), ("5/hour", 1), ("1000/day", 996), ("10/hour", 6)] {
        fs::write(fixture.daemon.file(), fixture.good.replace("10/hour", rate)).unwrap();
        let verdict = fixture.reload(Cause::Command).await;
        assert!(verdict.ok, "{verdict:?}");
        // Rounded down, never up.
        assert!((left - 1..=left).contains(&remaining()), "{rate}: {} left", remaining());
        assert_eq!(
            fixture.daemon.metric(r#"tollgate_limit_remaining{provider="p0",model="",limit="requests"}"#).await,
            i64::try_from(remaining()).unwrap()
        );
    }
}

#[tokio::test]
async fn c23_another_listener_address_needs_a_restart() {
    let fixture = Fixture::new().await;
    for (key, line) in [
        ("listen", fixture.good.replace("listen: 127.0.0.1:0", "listen: 127.0.0.1:9")),
        ("admin", fixture.good.replace("admin: 127.0.0.1:0", "admin: 127.0.0.1:9")),
    ] {
        let verdict = fixture.refuses(&line, "needs-restart").await;
        let at = format!("routes.yaml:2:{}", line.lines().nth(1).unwrap().find(&format!("{key}:")).unwrap() + 1);
        assert!(verdict.text.contains(&at) && verdict.text.contains("restart"), "{at}: {}", verdict.text);
    }
}

#[tokio::test]
async fn c24_a_thousand_hang_ups_are_few_loads() {
    let fixture = Fixture::new().await;
    for round in 0..1_000 {
        if round % 100 == 0 {
            fs::write(fixture.daemon.file(), fixture.other(&format!("rule-{round}"))).unwrap();
        }
        fixture.daemon.app.hang_up();
        tokio::task::yield_now().await;
    }
    fs::write(fixture.daemon.file(), fixture.other("last")).unwrap();
    fixture.daemon.app.hang_up();
    let last = format!("-{}", &tollgate::store::content_hash(fixture.other("last").as_bytes())[..12]);
    eventually(|| fixture.daemon.revision().ends_with(&last).then_some(())).await;
    assert_eq!(fixture.rule().await, "last");
    let (tries, _) = fixture.daemon.reloads().await;
    assert!(tries <= 5, "{tries} loads");
}

#[tokio::test]
async fn c25_a_reload_during_drain_is_ignored() {
    let gate = Gate::shut();
    let provider = Provider::always(streams_in_two("one ", &gate, "two")).await;
    let good = routes(&[&provider], "");
    let daemon = Daemon::start(&good).await;
    let revision = daemon.revision();
    let mut open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("one ").await;
    let app = std::sync::Arc::clone(&daemon.app);
    let stopping = tokio::spawn(async move { app.stop(std::future::pending()).await });
    while daemon.admin("/readyz").await.status != 503 {
        tokio::task::yield_now().await;
    }
    daemon.write(&good.replace("default:", "rules:\n  - { name: late, match: { endpoint: chat }, chain: [p0/m] }\ndefault:"));
    daemon.app.hang_up();
    for cause in [Cause::Command, Cause::Signal, Cause::Watch] {
        let verdict = daemon.app.reload(cause).await;
        assert!(!verdict.ok && !verdict.changed && verdict.text.starts_with("the daemon is stopping"), "{verdict:?}");
    }
    assert_eq!((daemon.revision(), daemon.reloads().await), (revision.clone(), (0, 0)));
    gate.open_wide();
    let got = open.rest().await;
    assert_eq!((got.is_done(), got.header("x-tollgate-revision")), (true, Some(&*revision)));
    stopping.await.unwrap();
}

#[tokio::test]
async fn c26_what_is_no_file_is_refused_without_waiting() {
    type Lay<'l> = &'l dyn Fn(&Path);
    let fixture = Fixture::new().await;
    let file = fixture.daemon.file();
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    let lay: [(&str, Lay<'_>); 3] = [
        ("a directory", &|path| fs::create_dir(path).unwrap()),
        ("a named pipe", &pipe),
        ("a device", &|path| symlink("/dev/zero", path).unwrap()),
    ];
    for (what, lay) in lay {
        let before = fixture.daemon.status()["last_reload"]["at"].clone();
        let beside = fixture.daemon.folder.file("beside");
        lay(&beside);
        if file.is_dir() {
            fs::remove_dir(&file).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
        fs::rename(&beside, &file).unwrap();
        let last = fixture.daemon.wait_for_reload(|last| last["at"] != before && last["ok"] == false).await;
        assert!(last["text"].as_str().unwrap().contains(&format!("the path names {what}, expected a file")), "{last}");
        fixture.goes_on(what).await;
    }
    // A secret is held to the same: nobody writes to this pipe.
    fs::remove_file(&file).unwrap();
    let key = fixture.daemon.folder.file("key");
    pipe(&key);
    let secret = format!("api_key: \"${{file:{}}}\", format:", key.display());
    fixture.refuses(&fixture.good.replace("format:", &secret), "missing-secret").await;
}

#[tokio::test]
async fn c28_a_removed_provider_finishes_its_streams_and_keeps_its_state() {
    let gate = Gate::shut();
    let leaves = Provider::always(streams_in_two("one ", &gate, "two")).await;
    let (fails, stays) = (Provider::always(vec![Act::Reset]).await, sound_provider("stays", true).await);
    let with = |names: &str| {
        let all = [
            ("leaves", &leaves, "limits: { requests: 3/hour }"),
            ("fails", &fails, "cooldown: { after: 1, rest: 60s }"),
            ("stays", &stays, ""),
        ];
        let mut text = "version: 1\nproviders:\n".to_owned();
        for (name, provider, settings) in all.iter().filter(|(name, ..)| names.contains(name)) {
            let settings = if settings.is_empty() { String::new() } else { format!(", {settings}") };
            writeln!(text, "  {name}: {{ format: openai, base_url: \"{}\", models: {{ m: {{}} }}{settings} }}", provider.url()).unwrap();
        }
        let chain: Vec<_> = names.split(' ').map(|name| format!("{name}/m")).collect();
        text + &format!("default: {{ chain: [{}] }}\n", chain.join(", "))
    };
    let daemon = Daemon::start(&with("fails leaves stays")).await;
    let before = daemon.revision();
    let mut open = OpenCall::send(daemon.app.listen(), &post("/v1/chat/completions", &[], &chat(true))).await;
    open.until("one ").await;

    daemon.write(&with("stays"));
    let verdict = daemon.app.reload(Cause::Command).await;
    assert!(verdict.ok && verdict.removed.iter().any(|removed| removed == "provider `leaves`"), "{verdict:?}");
    assert_eq!(daemon.status()["providers"].as_array().unwrap().len(), 1);
    assert_eq!((daemon.stream().await.target(), daemon.status()["open_streams"].as_u64()), ("stays/m", Some(1)));
    gate.open_wide();
    let got = open.rest().await;
    assert_eq!(
        (got.text().as_str(), got.is_done(), got.target(), got.header("x-tollgate-revision")),
        ("one two", true, "leaves/m", Some(&*before))
    );

    // Back again, the one still rests and the other's limit is where it was.
    daemon.write(&with("fails leaves stays"));
    assert!(daemon.app.reload(Cause::Command).await.ok);
    let status = daemon.status();
    let of = |name: &str| status["providers"].as_array().unwrap().iter().find(|provider| provider["name"] == name).unwrap().clone();
    assert_eq!((&of("fails")["targets"][0]["state"], &of("leaves")["limits"][0]["remaining"]), (&"resting".into(), &2.into()));
    assert_eq!((daemon.stream().await.target(), fails.count()), ("leaves/m", 1));
}

#[tokio::test]
async fn c30_the_content_decides_and_not_the_clock_on_the_file() {
    let fixture = Fixture::new().await;
    let day = Duration::from_hours(24);
    let mut before = fixture.revision.clone();
    for (round, time) in
        [SystemTime::UNIX_EPOCH + day, SystemTime::now() + day * 36_500, SystemTime::UNIX_EPOCH + day * 2].into_iter().enumerate()
    {
        let (text, beside) = (fixture.other(&format!("rule-{round}")), fixture.daemon.folder.file("beside"));
        fs::write(&beside, &text).unwrap();
        fs::File::options().write(true).open(&beside).unwrap().set_modified(time).unwrap();
        fs::rename(&beside, fixture.daemon.file()).unwrap();
        before = fixture.daemon.wait_for_another(&before).await;
        assert_eq!(fixture.rule().await, format!("rule-{round}"));
    }
    fs::File::options().write(true).open(fixture.daemon.file()).unwrap().set_modified(SystemTime::now() + day).unwrap();
    assert!(!fixture.reload(Cause::Poll).await.changed);
    assert_eq!((fixture.daemon.revision(), fixture.daemon.reloads().await), (before, (3, 0)));
}

#[tokio::test]
async fn c31_a_file_is_accepted_while_the_state_folder_cannot_be_written() {
    let fixture = Fixture::new().await;
    // A file where the folder was: nobody can write there, root included.
    let revisions = fixture.daemon.folder.file("state/revisions");
    fs::rename(&revisions, fixture.daemon.folder.file("aside")).unwrap();
    fs::write(&revisions, "").unwrap();
    fs::write(fixture.daemon.file(), fixture.other("first")).unwrap();
    let verdict = fixture.reload(Cause::Command).await;
    assert!(verdict.ok && verdict.changed && verdict.text.contains("could not be kept in the state folder"), "{verdict:?}");
    assert_eq!((fixture.rule().await.as_str(), fixture.daemon.metric("tollgate_config_last_reload_success").await), ("first", 1));
    assert_eq!(fixture.provider.count(), 1);
    // Once it can be written again, the next one is kept under a number of its own.
    fs::remove_file(&revisions).unwrap();
    fs::rename(fixture.daemon.folder.file("aside"), &revisions).unwrap();
    fs::write(fixture.daemon.file(), fixture.other("second")).unwrap();
    let verdict = fixture.reload(Cause::Command).await;
    assert!(verdict.changed && verdict.revision.starts_with("3-") && !verdict.text.contains("could not be kept"), "{verdict:?}");
    assert_eq!(fs::read_to_string(revisions.join(format!("00000{}/routes.yaml", verdict.revision))).unwrap(), fixture.other("second"));
}
