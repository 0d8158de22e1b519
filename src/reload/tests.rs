use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::AtomicUsize;
use std::time::SystemTime;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

use super::*;
use crate::config::{Code, Place, Severity};
use crate::store::content_hash;

const ONE: &str = "version: 1\nrule a\nrule b\n...\n";
const TWO: &str = "version: 1\nrule a\nrule c\n...\n";
/// Long enough for a loaded machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: Duration = Duration::from_secs(1_000_000);

/// A daemon's reload part with a checker of its own: a text with the word `bad` is refused.
struct Fixture {
    folder: PathBuf,
    path: PathBuf,
    reloader: Reloader<String>,
    adopted: mpsc::UnboundedReceiver<(u64, String)>,
    notices: mpsc::UnboundedReceiver<String>,
    loads: Arc<AtomicUsize>,
    stop: CancellationToken,
}

/// The value of a configuration is its files' texts, one behind the other.
fn load(sources: &Sources) -> Result<Loaded<String>, Refused> {
    let texts: Vec<&str> = sources.files().iter().map(|file| file.text.as_str()).collect();
    let text = texts.concat();
    assert!(!text.contains("panic"), "asked for");
    let secrets: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("secret ")).map(PathBuf::from).collect();
    let read: Vec<_> = secrets.iter().map(fs::read_to_string).collect();
    if text.lines().any(|line| line == "bad") || read.iter().any(Result::is_err) {
        let finding = Diagnostic {
            code: Code::BAD_NAME,
            severity: Severity::Error,
            message: "`bad` is no word".into(),
            file: None,
            place: Place { file: 0, line: 2, column: 1, start: 11, end: 14 },
            hint: None,
        };
        return Err(Refused { text: "error[bad]: `bad` is no word\n".into(), findings: vec![finding], secrets });
    }
    let value = read.into_iter().flatten().fold(text, |value, secret| value + &secret);
    Ok(Loaded { value, secrets, findings: Vec::new(), text: String::new() })
}

fn is_half_written(running: &str, new: &str) -> bool {
    (running.len() > new.len() && running.starts_with(new)) || (running.ends_with("...\n") && !new.ends_with("...\n"))
}

fn losses(old: &str, new: &str) -> Vec<String> {
    old.lines().filter(|line| line.starts_with("rule ") && !new.contains(*line)).map(ToOwned::to_owned).collect()
}

impl Fixture {
    fn at(path: &Path, folder: PathBuf) -> Self {
        let history = History::open(&folder.join("state")).unwrap();
        let loads = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&loads);
        let (adopted_tx, adopted) = mpsc::unbounded_channel();
        let (notices_tx, notices) = mpsc::unbounded_channel();
        let hooks = Hooks {
            load: Box::new(move |sources| {
                count.fetch_add(1, Ordering::AcqRel);
                load(sources)
            }),
            is_half_written: Box::new(is_half_written),
            losses: Box::new(|old, new| losses(old, new)),
            adopt: Box::new(move |value: &String, number, _| adopted_tx.send((number, value.clone())).unwrap()),
            notice: Box::new(move |notice| {
                let text = match notice {
                    Notice::Begun => "begun".into(),
                    Notice::Ended(verdict) => format!("ended {}", verdict.ok),
                    Notice::Present(is_present) => format!("present {is_present}"),
                };
                notices_tx.send(text).ok();
            }),
        };
        let first = first(path, &history, true, load).unwrap();
        let reloader = Reloader::new(path.to_owned(), Clock::System, history, hooks, first);
        Self { folder, path: path.to_owned(), reloader, adopted, notices, loads, stop: CancellationToken::new() }
    }

    fn new() -> Self {
        let folder = fs::canonicalize(folder()).unwrap();
        let path = folder.join("routes.yaml");
        fs::write(&path, ONE).unwrap();
        Self::at(&path, folder)
    }

    /// Watches by events alone; the task ends with the fixture's stop.
    async fn by_events(&mut self) -> JoinHandle<()> {
        self.start(Watch::new(self.path.clone(), Arc::clone(&self.reloader.0.hints)), NEVER).await
    }

    /// Watches by the poll alone.
    async fn by_poll(&mut self) -> JoinHandle<()> {
        self.start(Watch::polling(self.path.clone(), Arc::clone(&self.reloader.0.hints)), POLL).await
    }

    async fn start(&mut self, watch: Watch, poll: Duration) -> JoinHandle<()> {
        let (reloader, stop) = (self.reloader.clone(), self.stop.clone());
        let task = TaskTracker::new().spawn(async move { reloader.run_with(watch, poll, stop).await });
        // The first beat comes after the first look.
        while self.reloader.heartbeat().count() == 0 {
            tokio::task::yield_now().await;
        }
        task
    }

    async fn next(&mut self) -> (u64, String) {
        tokio::time::timeout(PATIENCE, self.adopted.recv()).await.expect("a reload").unwrap()
    }

    async fn next_notice(&mut self) -> String {
        tokio::time::timeout(PATIENCE, self.notices.recv()).await.expect("a notice").unwrap()
    }

    fn loads(&self) -> usize {
        self.loads.load(Ordering::Acquire)
    }

    /// Nothing more was adopted, and the watching task ends.
    async fn finish(mut self, task: JoinHandle<()>) {
        self.stop.cancel();
        task.await.unwrap();
        assert!(self.adopted.try_recv().is_err());
        fs::remove_dir_all(&self.folder).unwrap();
    }

    fn clean(self) {
        fs::remove_dir_all(&self.folder).unwrap();
    }
}

fn rename_over(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn c06_rename_over_and_in_place_write_reload_once_each() {
    let mut fixture = Fixture::new();
    let task = fixture.by_events().await;
    rename_over(&fixture.path.clone(), TWO);
    assert_eq!(fixture.next().await, (2, TWO.into()));
    fs::write(&fixture.path, ONE).unwrap();
    assert_eq!(fixture.next().await, (3, ONE.into()));
    // A second rename-over is seen as well: the watch did not die with the first file.
    rename_over(&fixture.path.clone(), TWO);
    assert_eq!(fixture.next().await, (4, TWO.into()));
    assert_eq!(fixture.loads(), 3);
    fixture.finish(task).await;
}

#[tokio::test(start_paused = true)]
async fn c06_touch_and_c30_odd_clocks_reload_nothing() {
    let mut fixture = Fixture::new();
    let task = fixture.by_poll().await;
    let file = fs::File::options().write(true).open(&fixture.path).unwrap();
    for time in [SystemTime::UNIX_EPOCH, SystemTime::now() + Duration::from_secs(1_000_000)] {
        file.set_modified(time).unwrap();
        tokio::time::sleep(POLL * 3).await;
    }
    assert_eq!((fixture.loads(), fixture.reloader.status().cause), (0, Cause::Start));
    // A changed content under an older time is a change.
    fs::write(&fixture.path, TWO).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(fixture.next().await.0, 2);
    fixture.finish(task).await;
}

/// Kubernetes: `routes.yaml` → `..data/routes.yaml`, `..data` → a directory that is replaced.
fn mounted(folder: &Path) -> PathBuf {
    for (name, text) in [("..one", ONE), ("..two", TWO)] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("routes.yaml"), text).unwrap();
    }
    symlink("..one", folder.join("..data")).unwrap();
    symlink("..data/routes.yaml", folder.join("routes.yaml")).unwrap();
    folder.join("routes.yaml")
}

fn swap_link(folder: &Path, to: &str) {
    symlink(to, folder.join("..data_tmp")).unwrap();
    fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn c05_symlink_swap_reloads_once() {
    let folder = fs::canonicalize(folder()).unwrap();
    let path = mounted(&folder);
    let mut fixture = Fixture::at(&path, folder.clone());
    let task = fixture.by_events().await;
    for (number, name, text) in [(2, "..two", TWO), (3, "..one", ONE)] {
        swap_link(&folder, name);
        assert_eq!(fixture.next().await, (number, text.into()));
    }
    // What the link points at now is watched, too.
    fs::write(folder.join("..one/routes.yaml"), TWO).unwrap();
    assert_eq!(fixture.next().await, (4, TWO.into()));
    assert_eq!(fixture.loads(), 3);
    fixture.finish(task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c05_double_symlink_swap_reloads_once() {
    let folder = fs::canonicalize(folder()).unwrap();
    let mount = folder.join("mount");
    fs::create_dir_all(&mount).unwrap();
    fs::create_dir_all(folder.join("etc")).unwrap();
    mounted(&mount);
    let path = folder.join("etc/tollgate.yaml");
    symlink("../mount/routes.yaml", &path).unwrap();
    let mut fixture = Fixture::at(&path, folder.clone());
    let task = fixture.by_events().await;
    swap_link(&mount, "..two");
    assert_eq!(fixture.next().await, (2, TWO.into()));
    symlink("../mount/..one/routes.yaml", folder.join("etc/next")).unwrap();
    fs::rename(folder.join("etc/next"), &path).unwrap();
    assert_eq!(fixture.next().await, (3, ONE.into()));
    assert_eq!(fixture.loads(), 2);
    fixture.finish(task).await;
}

#[tokio::test(start_paused = true)]
async fn c05_without_events_the_poll_sees_a_swap_within_its_period() {
    let folder = fs::canonicalize(folder()).unwrap();
    let path = mounted(&folder);
    let mut fixture = Fixture::at(&path, folder.clone());
    let task = fixture.by_poll().await;
    let begin = Instant::now();
    swap_link(&folder, "..two");
    assert_eq!(fixture.next().await.0, 2);
    assert!(begin.elapsed() <= POLL + Duration::from_millis(200), "{:?}", begin.elapsed());
    tokio::time::sleep(POLL * 5).await;
    assert_eq!(fixture.loads(), 1);
    fixture.finish(task).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn c04_a_deleted_file_and_directory_are_picked_up_on_return() {
    let mut fixture = Fixture::new();
    let etc = fixture.folder.join("etc");
    fs::create_dir(&etc).unwrap();
    let path = etc.join("routes.yaml");
    fs::write(&path, ONE).unwrap();
    fixture = Fixture::at(&path, fixture.folder);
    let task = fixture.by_events().await;

    fs::remove_file(&path).unwrap();
    assert_eq!(fixture.next_notice().await, "present false");
    fs::write(&path, TWO).unwrap();
    assert_eq!(fixture.next_notice().await, "present true");
    assert_eq!(fixture.next().await.1, TWO);
    while fixture.next_notice().await != "ended true" {}

    fs::remove_dir_all(&etc).unwrap();
    assert_eq!(fixture.next_notice().await, "present false");
    assert!(fixture.reloader.status().ok, "a file that is away is no refused file");
    fs::create_dir(&etc).unwrap();
    fs::write(&path, ONE).unwrap();
    assert_eq!(fixture.next_notice().await, "present true");
    assert_eq!(fixture.next().await.1, ONE);
    while fixture.next_notice().await != "ended true" {}

    // A directory that is replaced ends its watch in silence; the new one is watched.
    fs::create_dir(fixture.folder.join("next")).unwrap();
    fs::write(fixture.folder.join("next/routes.yaml"), TWO).unwrap();
    fs::rename(&etc, fixture.folder.join("old")).unwrap();
    fs::rename(fixture.folder.join("next"), &etc).unwrap();
    assert_eq!(fixture.next().await.1, TWO);
    fs::write(&path, ONE).unwrap();
    assert_eq!(fixture.next().await.1, ONE);
    fixture.finish(task).await;
}

#[tokio::test]
async fn c03_half_written_at_every_byte_offset_changes_nothing() {
    let mut fixture = Fixture::new();
    for whole in [ONE.to_owned() + "# more\n...\n", TWO.to_owned()] {
        for end in 0..whole.len() {
            fs::write(&fixture.path, &whole[..end]).unwrap();
            let verdict = fixture.reloader.reload(Cause::Watch).await;
            assert!(!verdict.changed && (verdict.ok == (whole[..end] == *ONE)), "{end}: {verdict:?}");
        }
        assert!(fixture.adopted.try_recv().is_err());
        fs::write(&fixture.path, &whole).unwrap();
        assert!(fixture.reloader.reload(Cause::Watch).await.changed);
        assert_eq!(fixture.adopted.recv().await.unwrap().1, whole);
    }
    assert_eq!(fixture.loads(), 2);
    fixture.clean();
}

#[tokio::test]
async fn c03_the_command_loads_what_looks_half_written() {
    let fixture = Fixture::new();
    let prefix = &ONE[..ONE.len() - 4];
    fs::write(&fixture.path, prefix).unwrap();
    for cause in [Cause::Watch, Cause::Poll, Cause::Signal] {
        let verdict = fixture.reloader.reload(cause).await;
        assert_eq!((verdict.ok, verdict.findings[0].code), (false, Code::HALF_WRITTEN), "{cause:?}");
        assert!(verdict.text.contains("`tollgate reload` loads it as it is"), "{}", verdict.text);
    }
    assert!(fixture.reloader.reload(Cause::Command).await.changed);
    fixture.clean();
}

#[tokio::test]
async fn a_refused_file_leaves_the_running_one_and_says_why() {
    let mut fixture = Fixture::new();
    fs::write(&fixture.path, "version: 1\nbad\n...\n").unwrap();
    let verdict = fixture.reloader.reload(Cause::Command).await;
    let running = format!("1-{}", &content_hash(ONE.as_bytes())[..12]);
    assert_eq!(verdict.text, format!("error[bad]: `bad` is no word\nnot reloaded: revision {running} goes on\n"));
    let status = fixture.reloader.status();
    assert_eq!(
        (status.ok, status.cause, status.revision, status.findings[0].code),
        (false, Cause::Command, running.clone(), Code::BAD_NAME)
    );
    // The same text again is no second failure.
    assert_eq!(fixture.reloader.reload(Cause::Poll).await, verdict);
    assert_eq!(fixture.loads(), 1);
    fs::write(&fixture.path, ONE).unwrap();
    let verdict = fixture.reloader.reload(Cause::Watch).await;
    assert_eq!((verdict.ok, verdict.changed, fixture.reloader.status().ok), (true, false, true));
    assert!(fixture.adopted.try_recv().is_err());
    let told: Vec<_> = std::iter::from_fn(|| fixture.notices.try_recv().ok()).collect();
    assert_eq!(told, ["begun", "ended false", "ended true"]);
    fixture.clean();
}

#[tokio::test]
async fn c07_c11_c26_what_cannot_be_read_leaves_the_running_one() {
    let fixture = Fixture::new();
    let path = &fixture.path;
    fs::remove_file(path).unwrap();
    assert_eq!(fixture.reloader.reload(Cause::Command).await.findings[0].message, "no such file");
    fs::create_dir(path).unwrap();
    assert_eq!(fixture.reloader.reload(Cause::Watch).await.findings[0].code, "not-a-file");
    fs::remove_dir(path).unwrap();
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    assert_eq!(fixture.reloader.reload(Cause::Watch).await.findings[0].code, "not-a-file");
    fs::remove_file(path).unwrap();
    fs::write(path, "#".repeat(2 << 20)).unwrap();
    let verdict = fixture.reloader.reload(Cause::Watch).await;
    assert!(verdict.text.starts_with("error[file-too-large]: the file is larger than 1 MiB\n  --> /"), "{}", verdict.text);
    assert_eq!((fixture.loads(), verdict.revision.starts_with("1-")), (0, true));
    fixture.clean();
}

#[tokio::test]
async fn what_a_file_removes_is_told_by_name() {
    let fixture = Fixture::new();
    fs::write(&fixture.path, TWO).unwrap();
    let verdict = fixture.reloader.reload(Cause::Watch).await;
    assert_eq!(verdict.removed, ["rule b"]);
    assert_eq!(verdict.text, format!("revision {} is in force\nremoved: rule b\n", verdict.revision));
    fixture.clean();
}

#[tokio::test(start_paused = true)]
async fn c24_a_thousand_signals_are_few_loads_and_the_last_content_wins() {
    let mut fixture = Fixture::new();
    let task = fixture.by_poll().await;
    for i in 0..1_000 {
        if i % 50 == 0 {
            fs::write(&fixture.path, format!("version: 1\nrule {i}\n...\n")).unwrap();
        }
        fixture.reloader.hang_up();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fs::write(&fixture.path, TWO).unwrap();
    fixture.reloader.hang_up();
    while fixture.next().await.1 != TWO {}
    tokio::time::sleep(POLL * 2).await;
    assert!(fixture.loads() <= 5, "{}", fixture.loads());
    fixture.finish(task).await;
}

#[tokio::test]
async fn c25_a_reload_during_drain_is_ignored() {
    let fixture = Fixture::new();
    fs::write(&fixture.path, TWO).unwrap();
    fixture.reloader.drain();
    for cause in [Cause::Watch, Cause::Signal, Cause::Command] {
        let verdict = fixture.reloader.reload(cause).await;
        assert!(!verdict.ok && verdict.text.starts_with("the daemon is stopping"), "{verdict:?}");
    }
    assert_eq!(fixture.loads(), 0);
    fixture.clean();
}

#[tokio::test(start_paused = true)]
async fn a_changed_secret_file_loads_the_same_text_again() {
    let mut fixture = Fixture::new();
    let secret = fixture.folder.join("key");
    let text = format!("version: 1\nsecret {}\n...\n", secret.display());
    let task = fixture.by_poll().await;
    // The secret that a refused file asks for is waited for.
    fs::write(&fixture.path, &text).unwrap();
    while fixture.next_notice().await != "ended false" {}
    fs::write(&secret, "k1").unwrap();
    assert_eq!(fixture.next().await, (2, format!("{text}k1")));
    fs::write(&secret, "k2, longer").unwrap();
    assert_eq!(fixture.next().await, (2, format!("{text}k2, longer")));
    // A key is changed in time even while the file on disk is refused.
    fs::write(&fixture.path, "version: 1\nbad\n...\n").unwrap();
    while fixture.next_notice().await != "ended false" {}
    fs::write(&secret, "k3").unwrap();
    assert_eq!(fixture.next().await, (2, format!("{text}k3")));
    // So it is while the file looks half-written or is away, and a secret that is away is not tried without end.
    fs::write(&fixture.path, "version: 1\n").unwrap();
    while fixture.next_notice().await != "ended false" {}
    fs::write(&secret, "the fourth").unwrap();
    assert_eq!(fixture.next().await, (2, format!("{text}the fourth")));
    fs::remove_file(&fixture.path).unwrap();
    while fixture.next_notice().await != "present false" {}
    fs::write(&secret, "k5").unwrap();
    assert_eq!(fixture.next().await, (2, format!("{text}k5")));
    let loads = fixture.loads();
    fs::remove_file(&secret).unwrap();
    tokio::time::sleep(POLL * 20).await;
    assert_eq!(fixture.loads(), loads + 1);
    fs::write(&secret, "k6").unwrap();
    assert_eq!(fixture.next().await, (2, format!("{text}k6")));
    fs::write(&fixture.path, &text).unwrap();
    while fixture.next_notice().await != "ended true" {}
    let loads = fixture.loads();
    let verdict = fixture.reloader.reload(Cause::Command).await;
    assert!(verdict.ok && !verdict.changed && verdict.text.starts_with("unchanged: "), "{verdict:?}");
    assert_eq!(fixture.next().await.0, 2);
    assert_eq!(fixture.loads(), loads + 1);
    fixture.finish(task).await;
}

#[tokio::test]
async fn a_check_that_panics_leaves_the_running_one_and_the_next_reload_works() {
    let mut fixture = Fixture::new();
    fs::write(&fixture.path, "version: 1\npanic\n...\n").unwrap();
    let verdict = fixture.reloader.reload(Cause::Command).await;
    assert!(!verdict.ok && verdict.text.starts_with("error[internal]"), "{verdict:?}");
    assert!(!fixture.reloader.status().ok);
    fs::write(&fixture.path, TWO).unwrap();
    assert!(fixture.reloader.reload(Cause::Watch).await.changed);
    assert_eq!(fixture.next().await.0, 2);
    fixture.clean();
}

#[tokio::test]
async fn a_start_falls_back_to_the_last_good_file_when_told_to() {
    let fixture = Fixture::new();
    fs::write(&fixture.path, "version: 1\nbad\n...\n").unwrap();
    let history = History::open(&fixture.folder.join("state")).unwrap();
    assert_eq!(first(&fixture.path, &history, false, load).unwrap_err().findings[0].code, Code::BAD_NAME);
    let fixture = Fixture::at(&fixture.path, fixture.folder);
    assert!(fixture.reloader.degraded().is_some_and(|why| why.contains("`bad` is no word")));
    assert!(!fixture.reloader.status().ok && fixture.reloader.status().revision.starts_with("1-"));
    // The refused text is known, so watching it does not refuse it again.
    assert!(!fixture.reloader.reload(Cause::Poll).await.ok);
    assert_eq!(fixture.loads(), 0);
    fs::write(&fixture.path, TWO).unwrap();
    assert!(fixture.reloader.reload(Cause::Watch).await.revision.starts_with("2-"));
    assert_eq!(fixture.reloader.degraded(), None);
    fixture.clean();
}

#[tokio::test]
async fn a_start_without_a_good_file_is_refused() {
    let folder = folder();
    let history = History::open(&folder).unwrap();
    let refused = first(&folder.join("routes.yaml"), &history, true, load).unwrap_err();
    assert!(refused.text.starts_with("error[unreadable]: no such file\n  --> /"), "{}", refused.text);
    fs::remove_dir_all(folder).unwrap();
}

/// A main file that includes what matches `pattern`, and nothing else.
fn including(pattern: &str) -> String {
    format!("include: [\"{pattern}\"]\n...\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn included_files_are_watched_like_the_main_one() {
    let mut fixture = Fixture::new();
    let task = fixture.by_events().await;
    let main = including("rules/*.yaml");
    let rules = fixture.folder.join("rules");
    // The folder is not there yet: it is waited for.
    rename_over(&fixture.path.clone(), &main);
    assert_eq!(fixture.next().await, (2, main.clone()));
    fs::create_dir(&rules).unwrap();
    fs::write(rules.join("b.yaml"), "rule b\n").unwrap();
    assert_eq!(fixture.next().await, (3, format!("{main}rule b\n")));
    rename_over(&rules.join("a.yaml"), "rule a\n");
    assert_eq!(fixture.next().await, (4, format!("{main}rule a\nrule b\n")));
    // In place, by another name that does not match, by a link.
    fs::write(rules.join("a.yaml"), "rule A\n").unwrap();
    assert_eq!(fixture.next().await, (5, format!("{main}rule A\nrule b\n")));
    fs::rename(rules.join("b.yaml"), rules.join("b.off")).unwrap();
    assert_eq!(fixture.next().await, (6, format!("{main}rule A\n")));
    symlink("b.off", rules.join("b.yaml")).unwrap();
    assert_eq!(fixture.next().await, (7, format!("{main}rule A\nrule b\n")));
    // What the link leads to is watched, too.
    fs::write(rules.join("b.off"), "rule B\n").unwrap();
    assert_eq!(fixture.next().await, (8, format!("{main}rule A\nrule B\n")));
    // Neighbours are nobody's business.
    fs::write(rules.join("notes.txt"), "rule c\n").unwrap();
    fs::remove_dir_all(&rules).unwrap();
    assert_eq!(fixture.next().await, (9, main));
    assert_eq!(fixture.loads(), 8);
    fixture.finish(task).await;
}

#[tokio::test(start_paused = true)]
async fn without_events_the_poll_sees_included_files_within_its_period() {
    let mut fixture = Fixture::new();
    let task = fixture.by_poll().await;
    let main = including("*/rules.yaml");
    let team = fixture.folder.join("team");
    fs::create_dir(&team).unwrap();
    fs::write(team.join("rules.yaml"), "rule a\n").unwrap();
    fs::write(&fixture.path, &main).unwrap();
    assert_eq!(fixture.next().await, (2, format!("{main}rule a\n")));
    for (number, text) in [(3, "rule b\n"), (4, "rule b\nrule c\n")] {
        let begin = Instant::now();
        fs::write(team.join("rules.yaml"), text).unwrap();
        assert_eq!(fixture.next().await, (number, format!("{main}{text}")));
        assert!(begin.elapsed() <= POLL + Duration::from_millis(200), "{:?}", begin.elapsed());
    }
    fs::remove_file(team.join("rules.yaml")).unwrap();
    assert_eq!(fixture.next().await, (5, main));
    tokio::time::sleep(POLL * 5).await;
    assert_eq!(fixture.loads(), 4);
    fixture.finish(task).await;
}

#[tokio::test(start_paused = true)]
async fn files_that_are_newly_included_are_read_once_they_have_come_to_rest() {
    let mut fixture = Fixture::new();
    let task = fixture.by_poll().await;
    let (main, rules) = (including("a.yaml"), fixture.folder.join("a.yaml"));
    fs::write(&fixture.path, &main).unwrap();
    // Written on for longer than the main file takes to come to rest.
    let mut text = String::new();
    for line in 0..20 {
        text.extend(["rule ", &line.to_string(), "\n"]);
        fs::write(&rules, &text).unwrap();
        fixture.reloader.hang_up();
        tokio::time::sleep(Duration::from_millis(90)).await;
        // A signal may not cut a running write short, however old it is.
        assert_eq!(fixture.loads(), 0, "after line {line}");
    }
    assert_eq!(fixture.next().await, (2, format!("{main}{text}")));
    assert_eq!(fixture.loads(), 1);
    fixture.finish(task).await;
}

#[tokio::test]
async fn c03_an_included_file_may_be_half_written_too() {
    let mut fixture = Fixture::new();
    let (main, rules) = (including("*.rules"), fixture.folder.join("a.rules"));
    fs::write(&fixture.path, &main).unwrap();
    let whole = "rule a\nrule b\n...\n";
    fs::write(&rules, whole).unwrap();
    assert!(fixture.reloader.reload(Cause::Watch).await.changed);
    assert_eq!(fixture.next().await, (2, format!("{main}{whole}")));
    for half in ["", "rule a\n", "rule a\nrule c\n"] {
        fs::write(&rules, half).unwrap();
        let verdict = fixture.reloader.reload(Cause::Watch).await;
        assert_eq!((verdict.ok, verdict.findings[0].code), (false, Code::HALF_WRITTEN), "{half:?}");
        assert!(verdict.text.contains(&format!("--> {}\n", rules.display())), "{}", verdict.text);
    }
    // A file of its own that is new, and one that is gone, are no halves.
    fs::write(fixture.folder.join("b.rules"), "rule x\n").unwrap();
    fs::remove_file(&rules).unwrap();
    assert!(fixture.reloader.reload(Cause::Watch).await.changed);
    assert_eq!(fixture.next().await, (3, format!("{main}rule x\n")));
    // What was in force once is whole, though it is the beginning of what is in force now.
    fs::write(fixture.folder.join("b.rules"), "rule x\nrule y\n").unwrap();
    assert!(fixture.reloader.reload(Cause::Watch).await.changed);
    fs::write(fixture.folder.join("b.rules"), "rule x\n").unwrap();
    assert!(fixture.reloader.reload(Cause::Watch).await.changed);
    fixture.clean();
}

#[tokio::test]
async fn a_start_on_the_last_good_files_has_all_of_them() {
    let fixture = Fixture::new();
    let (main, rules) = (including("*.rules"), fixture.folder.join("a.rules"));
    fs::write(&fixture.path, &main).unwrap();
    fs::write(&rules, "rule a\n").unwrap();
    assert!(fixture.reloader.reload(Cause::Watch).await.changed);
    let revision = fixture.reloader.status().revision;
    fs::write(&rules, "bad\n").unwrap();
    let mut fixture = Fixture::at(&fixture.path, fixture.folder);
    assert!(fixture.reloader.degraded().is_some_and(|why| why.contains("`bad` is no word")));
    assert_eq!(fixture.reloader.status().revision, revision);
    // The file that spoilt it is watched from the start on.
    let task = fixture.by_events().await;
    fs::write(&rules, "rule b\n").unwrap();
    assert_eq!(fixture.next().await, (3, format!("{main}rule b\n")));
    fixture.finish(task).await;
}
