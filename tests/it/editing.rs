//! An editing session: files saved in all the ways in which editors, scripts and mounts save them. The daemon ends on the right
//! revision each time, and whoever asks for its status meanwhile is told the truth.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tollgate::app::App;
use tollgate::config::{SourceFile, Sources};
use tollgate::store::sources_hash;

use crate::support::*;

/// Asks for the status without end, and notes every answer that cannot be true.
struct Witness {
    asked: Arc<Mutex<Vec<String>>>,
    /// Hashes of what was ever saved whole and sound.
    saved: Arc<Mutex<BTreeSet<String>>>,
    is_over: Arc<AtomicBool>,
    task: JoinHandle<Vec<String>>,
}

impl Witness {
    fn of(app: Arc<App>, first: String) -> Self {
        let saved = Arc::new(Mutex::new(BTreeSet::from([first])));
        let (asked, is_over) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<AtomicBool>::default());
        let shared = (Arc::clone(&asked), Arc::clone(&saved), Arc::clone(&is_over));
        let task = std::thread::spawn(move || {
            let (asked, saved, is_over) = shared;
            let (mut lies, mut newest) = (Vec::new(), 0);
            let mut is_last = false;
            while !is_last {
                is_last = is_over.load(Ordering::Acquire);
                let status = app.status();
                lies.extend(lie(&status, &saved.lock().unwrap(), &mut newest).map(|lie| format!("{lie}: {status:#}")));
                asked.lock().unwrap().push(status["revision"].as_str().unwrap().to_owned());
                std::thread::yield_now();
            }
            lies
        });
        Self { asked, saved, is_over, task }
    }

    /// What is about to be saved.
    fn expects(&self, hash: &str) {
        self.saved.lock().unwrap().insert(hash.to_owned());
    }

    /// Every revision that was told, each once, in order.
    fn finish(self) -> Vec<String> {
        self.is_over.store(true, Ordering::Release);
        let lies = self.task.join().unwrap();
        assert!(lies.is_empty(), "{} lies, the first: {}", lies.len(), lies[0]);
        let mut told = self.asked.lock().unwrap().clone();
        told.dedup();
        told
    }
}

/// What is wrong with a status in itself, or beside what was saved and told before.
fn lie(status: &Value, saved: &BTreeSet<String>, newest: &mut u64) -> Option<&'static str> {
    let (revision, hash, last) = (status["revision"].as_str()?, status["file_hash"].as_str()?, &status["last_reload"]);
    let (number, short) = revision.split_once('-')?;
    let number: u64 = number.parse().ok()?;
    let goes_on = format!("not reloaded: revision {revision} goes on\n");
    let text = last["text"].as_str()?;
    let found = if !hash.starts_with(short) {
        "the revision and the hash are of different files"
    } else if !saved.contains(hash) {
        "this was never saved"
    } else if number < *newest {
        "the revision went back"
    } else if last["ok"] == false && (!text.ends_with(&goes_on) || last["findings"].as_array().is_none_or(Vec::is_empty)) {
        "a refusal that does not say what goes on, and why"
    } else if last["ok"] == true && text.contains("error[") {
        "accepted with an error"
    } else if !status["degraded"].is_null() {
        "degraded without a reason"
    } else {
        *newest = number;
        return None;
    };
    Some(found)
}

/// A daemon that is edited, and its witness.
struct Session {
    daemon: Daemon,
    witness: Witness,
    revisions: u64,
}

/// A whole file with one rule of that name, and the end mark.
fn main_file(rule: &str, more: &str) -> String {
    with_server(&format!(
        "version: 1\n{more}providers:\n  box: {{ format: sandbox, latency: 0ms, models: {{ m: {{}} }} }}\nrules:\n  - {{ name: {rule}, match: {{ task: {rule} }}, chain: [box/m] }}\ndefault: refuse\n...\n"
    ))
}

fn included(rule: &str) -> String {
    format!("rules:\n  - {{ name: {rule}, match: {{ endpoint: chat }}, chain: [box/m] }}\n")
}

fn hash(main: &str, files: &[(&str, &str)]) -> String {
    let mut sources = Sources::new("routes.yaml", main);
    for (path, text) in files {
        sources.add(SourceFile { path: (*path).into(), text: (*text).into() });
    }
    sources_hash(&sources)
}

impl Session {
    async fn start(main: &str, files: &[(&str, &str)], change: impl FnOnce(&mut tollgate::app::Options)) -> Self {
        let daemon = Daemon::start_with(main, change).await;
        let witness = Witness::of(Arc::clone(&daemon.app), hash(main, files));
        Self { daemon, witness, revisions: 1 }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.daemon.folder.file(name)
    }

    /// `save` leaves these files, which come into force as the next revision, and it alone.
    async fn saves(&mut self, what: &str, main: &str, files: &[(&str, &str)], save: impl AsyncFnOnce(&Self)) {
        let hash = hash(main, files);
        self.witness.expects(&hash);
        save(self).await;
        self.revisions += 1;
        let wanted = format!("{}-{}", self.revisions, &hash[..12]);
        let status = eventually(|| Some(self.daemon.status()).filter(|status| status["revision"] == wanted.as_str())).await;
        assert_eq!((&status["file_hash"], &status["last_reload"]["ok"]), (&hash.as_str().into(), &true.into()), "{what}: {status:#}");
    }

    /// What was just saved is refused with `code`, found in `file`, and the revision goes on.
    async fn refused(&self, what: &str, code: &str, file: &str) {
        let before = self.daemon.revision();
        let is_told = |last: &Value| last["ok"] == false && last["findings"][0]["code"] == code;
        let last = self.daemon.wait_for_reload(is_told).await;
        assert!(last["findings"][0]["file"].as_str().is_some_and(|told| told.ends_with(file)), "{what}: {last:#}");
        assert_eq!(self.daemon.revision(), before, "{what}");
        assert_eq!(self.daemon.admin("/readyz").await.status, 200, "{what}");
    }

    async fn rule(&self, task: &str) -> String {
        let got = self.daemon.post("/v1/chat/completions", &[("x-tollgate-task", task)], &chat(false)).await;
        got.header("x-tollgate-rule").unwrap_or("none").to_owned()
    }

    /// Nothing but the changes made revisions, and nothing of what was told was untrue.
    fn finish(self) {
        let told = self.witness.finish();
        let last = told.last().unwrap().split_once('-').unwrap().0;
        assert_eq!(last, self.revisions.to_string(), "{told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editing_session_of_the_main_file() {
    let one = main_file("one", "");
    let mut session = Session::start(&one, &[], |_| {}).await;
    let path = session.daemon.file();

    let two = main_file("two", "");
    session.saves("write beside, rename over", &two, &[], async |session| session.daemon.write(&two)).await;
    let three = main_file("three", "");
    session.saves("write in place", &three, &[], async |_| fs::write(&path, &three).unwrap()).await;

    // Truncated, a part written, the rest after a while.
    let four = main_file("four", "");
    fs::write(&path, "").unwrap();
    session.refused("truncated", "half-written", "routes.yaml").await;
    session
        .saves("truncated, then completed", &four, &[], async |session| {
            let half = four.find("rules:").unwrap();
            fs::write(&path, &four[..half]).unwrap();
            session.refused("a half", "half-written", "routes.yaml").await;
            fs::File::options().append(true).open(&path).unwrap().write_all(&four.as_bytes()[half..]).unwrap();
        })
        .await;
    assert_eq!((session.rule("four").await, session.rule("three").await), ("four".into(), "none".into()));

    // As vim does it with `backupcopy=no`, and Emacs: the old file becomes the backup, then a new one is written, in several writes.
    let five = main_file("five", "");
    session
        .saves("backup, then a new file", &five, &[], async |session| {
            fs::rename(&path, session.file("routes.yaml~")).unwrap();
            let mut new = fs::File::create(&path).unwrap();
            for part in five.as_bytes().chunks(64) {
                new.write_all(part).unwrap();
                tokio::task::yield_now().await;
            }
        })
        .await;
    fs::remove_file(session.file("routes.yaml~")).unwrap();

    // A mistake, seen and taken back: the old revision is in force all the while.
    fs::write(&path, five.replace("chain: [box/m]", "chain: [box/n]")).unwrap();
    session.refused("a mistake", "unknown-model", "routes.yaml").await;
    fs::write(&path, &five).unwrap();
    session.daemon.wait_for_reload(|last| last["ok"] == true).await;

    // A link in its place, then the link led elsewhere, then what it leads to edited.
    let six = main_file("six", "");
    session
        .saves("a link in its place", &six, &[], async |session| {
            fs::write(session.file("v6.yaml"), &six).unwrap();
            symlink("v6.yaml", session.file("link")).unwrap();
            fs::rename(session.file("link"), &path).unwrap();
        })
        .await;
    let seven = main_file("seven", "");
    session
        .saves("the link led elsewhere", &seven, &[], async |session| {
            fs::write(session.file("v7.yaml"), &seven).unwrap();
            symlink("v7.yaml", session.file("link")).unwrap();
            fs::rename(session.file("link"), &path).unwrap();
        })
        .await;
    let eight = main_file("eight", "");
    session.saves("behind the link", &eight, &[], async |session| fs::write(session.file("v7.yaml"), &eight).unwrap()).await;
    assert_eq!(session.rule("eight").await, "eight");

    // Back to where it began is a revision of its own.
    session.saves("back to the first", &one, &[], async |session| session.daemon.write(&one)).await;
    session.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_editing_session_of_included_files() {
    let main = main_file("own", "include: [\"rules/*.yaml\"]\n");
    let plain = main_file("own", "");
    let mut session = Session::start(&plain, &[], |_| {}).await;
    let (file, rules) = (session.daemon.file(), session.file("rules"));
    let (a, b) = (rules.join("a.yaml"), rules.join("b.yaml"));

    let first = included("first");
    session
        .saves("the main file begins to include", &main, &[("rules/a.yaml", &first)], async |session| {
            fs::create_dir(session.file("rules-1")).unwrap();
            symlink("rules-1", &rules).unwrap();
            fs::write(&a, &first).unwrap();
            fs::write(&file, &main).unwrap();
        })
        .await;
    assert_eq!((session.rule("own").await, session.rule("any").await), ("own".into(), "first".into()));
    let second = included("second");
    session.saves("edited in place", &main, &[("rules/a.yaml", &second)], async |_| fs::write(&a, &second).unwrap()).await;
    let third = included("third");
    let both = [("rules/a.yaml", second.as_str()), ("rules/b.yaml", third.as_str())];
    session
        .saves("one more, written beside and renamed", &main, &both, async |_| {
            fs::write(rules.join("b.yaml.tmp"), &third).unwrap();
            fs::rename(rules.join("b.yaml.tmp"), &b).unwrap();
        })
        .await;
    assert_eq!(session.rule("any").await, "second", "sorted by name");

    // Two files that belong together, one broken for a while.
    let fourth = included("fourth");
    fs::write(&b, "rulez: []\n").unwrap();
    session.refused("a broken included file", "unknown-key", "rules/b.yaml").await;
    session
        .saves("both edited", &main, &[("rules/a.yaml", &fourth), ("rules/b.yaml", &second)], async |_| {
            fs::write(&a, &fourth).unwrap();
            fs::write(&b, &second).unwrap();
        })
        .await;
    // Truncated and completed: what is gone from it for a moment is not gone from what is in force.
    fs::write(&a, "").unwrap();
    session.refused("a truncated included file", "half-written", "rules/a.yaml").await;
    assert_eq!(session.rule("any").await, "fourth");
    let fifth = fourth.clone() + "# complete\n";
    session
        .saves("completed", &main, &[("rules/a.yaml", &fifth), ("rules/b.yaml", &second)], async |_| fs::write(&a, &fifth).unwrap())
        .await;

    // The whole folder changed for another, then one file removed, then the last.
    let pair = [("rules/a.yaml", third.as_str()), ("rules/c.yaml", fourth.as_str())];
    session
        .saves("another folder in its place", &main, &pair, async |session| {
            let next = session.file("rules-2");
            fs::create_dir(&next).unwrap();
            fs::write(next.join("a.yaml"), &third).unwrap();
            fs::write(next.join("c.yaml"), &fourth).unwrap();
            symlink("rules-2", session.file("link")).unwrap();
            fs::rename(session.file("link"), &rules).unwrap();
        })
        .await;
    session.saves("one removed", &main, &pair[1..], async |_| fs::remove_file(&a).unwrap()).await;
    assert_eq!(session.rule("any").await, "fourth");
    session.saves("the last removed", &main, &[], async |_| fs::remove_file(rules.join("c.yaml")).unwrap()).await;
    let last = session.daemon.status()["last_reload"].clone();
    assert_eq!(
        (&last["findings"][0]["code"], &last["findings"][0]["file"]),
        (&"unmatched-include".into(), &file.to_str().unwrap().into()),
        "{last:#}"
    );
    session.saves("nothing included any more", &plain, &[], async |session| session.daemon.write(&plain)).await;
    assert_eq!(session.rule("any").await, "none");
    session.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mounted_map_of_files_changes_as_one_revision() {
    // As a ConfigMap is mounted: every file a link into ..data, which is itself a link that is swapped.
    let main = |rule: &str| main_file(rule, "include: [team-a.yaml, \"more-*.yaml\"]\n");
    let mut session = Session::start(&main("one"), &[("team-a.yaml", &included("a-1"))], |options| {
        let folder = options.config.parent().unwrap().to_owned();
        let text = fs::read_to_string(&options.config).unwrap();
        fs::remove_file(&options.config).unwrap();
        fs::create_dir(folder.join("..1")).unwrap();
        fs::write(folder.join("..1/routes.yaml"), text).unwrap();
        fs::write(folder.join("..1/team-a.yaml"), included("a-1")).unwrap();
        symlink("..1", folder.join("..data")).unwrap();
        for name in ["routes.yaml", "team-a.yaml"] {
            symlink(format!("..data/{name}"), folder.join(name)).unwrap();
        }
    })
    .await;
    for round in 2..6_u32 {
        let (main, team, more) = (main(&format!("rule-{round}")), included(&format!("a-{round}")), included(&format!("m-{round}")));
        let mut files = vec![("team-a.yaml", team.as_str())];
        // From the third on there is one more file in the map.
        if round > 2 {
            files.push(("more-b.yaml", &more));
        }
        session
            .saves(&format!("round {round}"), &main, &files, async |session| {
                let data = session.file(&format!("..{round}"));
                fs::create_dir(&data).unwrap();
                fs::write(data.join("routes.yaml"), &main).unwrap();
                for (name, text) in &files {
                    fs::write(data.join(name), text).unwrap();
                }
                if round == 3 {
                    // Leads to nothing until the swap, which is a finding until then.
                    symlink("..data/more-b.yaml", session.file("more-b.yaml")).unwrap();
                }
                symlink(format!("..{round}"), session.file("..data_tmp")).unwrap();
                fs::rename(session.file("..data_tmp"), session.file("..data")).unwrap();
                fs::remove_dir_all(session.file(&format!("..{}", round - 1))).unwrap();
            })
            .await;
        assert_eq!(session.rule("any").await, format!("a-{round}"));
    }
    session.finish();
}
