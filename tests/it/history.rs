//! What was accepted once: listed, compared, brought back.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::*;

/// A key in plain text: whatever prints it is at fault.
const KEY: &str = "my-recognisable-own-key";

/// A daemon whose file has been through some revisions.
struct Fixture {
    daemon: Daemon,
    text: String,
}

impl Fixture {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(settings: &str) -> Self {
        let text = with_server(&format!(
            "version: 1\ninclude: [\"rules/*.yaml\"]\nproviders:\n  box: {{ format: sandbox, models: {{ m: {{}}, n: {{}} }} }}\n  house: {{ format: openai, base_url: \"http://127.0.0.1:9/v1\", models: {{ m: {{}} }}{settings} }}\ndefault: {{ chain: [box/m, house/m] }}\n"
        ));
        let daemon = Daemon::start_with(&text, |options| {
            fs::create_dir(options.config.with_file_name("rules")).unwrap();
            options.control = Some(options.state.join("control.sock"));
        })
        .await;
        Self { daemon, text }
    }

    /// Saves a file below the folder, and waits until it is in force and kept.
    async fn save(&self, path: &str, text: &str) -> String {
        let before = self.daemon.revision();
        fs::write(self.daemon.folder.file(path), text).unwrap();
        let now = self.daemon.wait_for_another(&before).await;
        // In force first, kept right behind.
        eventually(|| self.daemon.folder.file(&format!("state/revisions/00000{now}")).exists().then_some(now.clone())).await
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&self.daemon.folder, arguments)
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
    }
}

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).current_dir(folder.path()).env_clear().stdin(Stdio::null()).env("TZ", "Asia/Tokyo");
    command.env("RUNTIME_DIRECTORY", folder.file("state")).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

const TEAM_A: &str = "rules:\n  - { name: coding, match: { task: coding }, chain: [box/n] }\n";

#[tokio::test(flavor = "multi_thread")]
async fn history_lists_what_was_accepted_and_what_changed() {
    let fixture = Fixture::new().await;
    let first = fixture.daemon.revision();
    let second = fixture.save("rules/a.yaml", TEAM_A).await;
    let third = fixture.save("routes.yaml", &fixture.text.replace("n: {}", "n: { context: 8k, max_output: 1k }")).await;
    let listed = fixture.run(&["history"]);
    let text = out(&listed);
    let lines: Vec<&str> = text.lines().collect();
    assert!(listed.status.success() && lines.len() == 4 && lines[0].starts_with("revision  "), "{text}");
    assert!(lines[1].starts_with(&third) && lines[1].contains("running, on disk"), "{text}");
    assert!(lines[1].contains("model `box/n`: context 8000 added") && lines[1].ends_with("1 more"), "{text}");
    assert!(lines[2].starts_with(&second) && lines[2].ends_with("rule `coding` added"), "{text}");
    assert!(lines[3].starts_with(&first) && lines[3].ends_with('-'), "{text}");
    // In local time, nine hours ahead of UTC there.
    let json = fixture.json(&["history", "--json"]);
    let at: jiff::Timestamp = json["revisions"][0]["accepted_at"].as_str().unwrap().parse().unwrap();
    let tokyo = at.to_zoned(jiff::tz::TimeZone::get("Asia/Tokyo").unwrap()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    assert!(lines[1].contains(&tokyo), "{tokyo} {text}");
    assert_eq!((&json["revisions"][0]["running"], &json["revisions"][1]["running"]), (&true.into(), &false.into()));
    assert_eq!(json["revisions"][1]["changes"][0]["change"], "added");
    // What is on disk is not what runs.
    fs::write(fixture.daemon.file(), &fixture.text).unwrap();
    let json = fixture.json(&["history", "--last", "2", "--json"]);
    assert_eq!(json["revisions"].as_array().unwrap().len(), 2);
    assert_eq!((&json["revisions"][0]["on_disk"], &json["revisions"][1]["on_disk"]), (&false.into(), &true.into()));
    fs::write(fixture.daemon.file(), "version: 7\n").unwrap();
    let text = out(&fixture.run(&["history"]));
    assert!(!text.contains("on disk  ") && text.ends_with("\nroutes.yaml on disk is none of these\n"), "{text}");
    // Without the daemon the folder is read all the same, a damaged one told.
    let folder = fixture.daemon.stop().await;
    fs::write(folder.file(&format!("state/revisions/00000{second}/rules/a.yaml")), "rules: []\n").unwrap();
    let text = out(&run(&folder, &["history"]));
    assert!(!text.contains("running") && text.contains("is damaged") && text.lines().count() == 6, "{text}");
    for (arguments, code, part) in [
        (&["history", "--state", "nowhere"][..], 69, "nowhere/revisions"),
        (&["history", "diff", "9", "1"], 1, "there is no revision `9`"),
        (&["rollback", "1-beef"], 1, "there is no revision `1-beef`"),
        (&["rollback", "2"], 74, "is damaged"),
        (&["rollback", "file"], 1, "there is no revision `file`"),
    ] {
        let output = run(&folder, arguments);
        assert!(output.status.code() == Some(code) && err(&output).contains(part), "{arguments:?}: {output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_diff_tells_what_a_change_means_and_shows_no_secret() {
    let fixture = Fixture::with(&format!(", api_key: {KEY}")).await;
    let first = fixture.daemon.revision();
    // The variable is there for nobody who asks.
    let changed = fixture.text.replace(KEY, "\"${TOLLGATE_NOT_SET}?\"").replace("[box/m, house/m]", "[house/m]");
    fixture.save("routes.yaml", &changed).await;
    fixture.save("rules/a.yaml", TEAM_A).await;
    fs::write(fixture.daemon.file(), changed.replace("n: {}", "n: { context: 8k }") + "# words\n").unwrap();
    let diff = fixture.run(&["history", "diff", "1", "2"]);
    let told = out(&diff);
    assert!(told.starts_with(&format!("from revision {first} (20")) && told.contains(") to revision 2-"), "{told}");
    assert!(told.contains("\n  provider `house`: api_key from a key in plain text to ${TOLLGATE_NOT_SET}\n"), "{told}");
    assert!(told.ends_with("\n  `default`: chain from [box/m, house/m] to [house/m]\n"), "{told}");
    for (arguments, part) in [
        (&["history", "diff", "2", "1"][..], "api_key from ${TOLLGATE_NOT_SET} to a key in plain text"),
        (&["history", "diff", &first, "3"], "rule `coding` added"),
        (&["history", "diff", "3"], "to routes.yaml on disk:\n  model `box/n`: context 8000 added\n"),
        (&["history", "diff", "file", "3"], "model `box/n`: context 8000 removed"),
        (&["history", "diff", "3", "3"], "nothing differs"),
        (&["history", "diff", "1", "file", "--text"], "+      - "),
    ] {
        let output = fixture.run(arguments);
        if part == "+      - " {
            let text = out(&output);
            assert!(
                text.contains("--- routes.yaml\n+++ routes.yaml\n@@ ") && text.contains("--- /dev/null\n+++ rules/a.yaml\n@@ -0,0"),
                "{text}"
            );
            assert!(text.contains(&"*".repeat(KEY.len())), "{text}");
        } else {
            assert!(output.status.success() && out(&output).contains(part), "{arguments:?}: {output:?}");
        }
        assert!(!out(&output).contains(KEY) && !err(&output).contains(KEY), "{output:?}");
    }
    let json = fixture.json(&["history", "diff", "2", "3", "--json"]);
    assert_eq!((&json["changes"][0]["kind"], &json["changes"][0]["name"]), (&"rule".into(), &"coding".into()));
    assert!(json["from"]["revision"].as_str().unwrap().starts_with("2-") && json["same_text"] == false, "{json}");
    // Only words.
    fs::write(fixture.daemon.file(), changed.clone() + "# words\n").unwrap();
    assert!(out(&fixture.run(&["history", "diff", "3"])).contains("nothing that counts"));
    // A file that means nothing can still be compared by line.
    fs::write(fixture.daemon.file(), "version: 7\n").unwrap();
    let refused = fixture.run(&["history", "diff", "3"]);
    assert!(refused.status.code() == Some(78) && err(&refused).contains("`--text`"), "{refused:?}");
    assert!(out(&fixture.run(&["history", "diff", "3", "--text"])).contains("+version: 7\n"));
    // Nor does a patch show the key.
    let patch = fixture.run(&["rollback", "1"]);
    assert!(patch.status.code() == Some(1) && out(&patch).is_empty() && err(&patch).contains("`--write`"), "{patch:?}");
    assert!(!err(&patch).contains(KEY), "{patch:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_prints_a_patch_that_brings_every_file_back() {
    let fixture = Fixture::new().await;
    fixture.save("rules/a.yaml", TEAM_A).await;
    let edited = fixture.text.replace("[box/m, house/m]", "[house/m]");
    fixture.save("routes.yaml", &edited).await;
    fs::remove_file(fixture.daemon.folder.file("rules/a.yaml")).unwrap();
    fs::write(fixture.daemon.folder.file("rules/b.yaml"), "rules: []").unwrap();
    let rollback = fixture.run(&["rollback", "2"]);
    assert!(rollback.status.success() && err(&rollback).contains("patch -p0 -d ."), "{rollback:?}");
    assert_eq!(fs::read_to_string(fixture.daemon.file()).unwrap(), edited, "nothing is written");
    for program in [&["patch", "-p0", "-i"][..], &["git", "apply", "-p0"]] {
        // Where it is not installed, the other one has to do.
        if Command::new(program[0]).arg("--version").output().is_err() {
            continue;
        }
        let copy = Folder::new();
        fs::create_dir(copy.file("rules")).unwrap();
        for file in ["routes.yaml", "rules/b.yaml"] {
            fs::copy(fixture.daemon.folder.file(file), copy.file(file)).unwrap();
        }
        fs::write(copy.file("patch"), &rollback.stdout).unwrap();
        let applied = Command::new(program[0]).args(&program[1..]).arg("patch").current_dir(copy.path()).output().unwrap();
        assert!(applied.status.success(), "{program:?}: {applied:?}\n{}", out(&rollback));
        assert_eq!(fs::read_to_string(copy.file("routes.yaml")).unwrap(), fixture.text);
        assert_eq!(fs::read_to_string(copy.file("rules/a.yaml")).unwrap(), TEAM_A);
        assert!(!copy.file("rules/b.yaml").exists(), "{program:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_writes_the_files_and_the_daemon_follows() {
    let fixture = Fixture::new().await;
    let folder = &fixture.daemon.folder;
    let first = fixture.daemon.revision();
    // What comes later begins with what is brought back: that is no half-written file.
    let longer = fixture.text.clone() + "rules:\n  - { name: last, match: { task: x }, chain: [box/m] }\n";
    fixture.save("routes.yaml", &longer).await;
    fixture.save("rules/a.yaml", TEAM_A).await;
    // The file is a link, and not for everybody.
    fs::rename(fixture.daemon.file(), folder.file("real.yaml")).unwrap();
    symlink("real.yaml", fixture.daemon.file()).unwrap();
    fs::set_permissions(folder.file("real.yaml"), fs::Permissions::from_mode(0o640)).unwrap();
    let owner = fs::metadata(folder.file("real.yaml")).unwrap().uid();

    let written = fixture.run(&["rollback", "1", "--write"]);
    assert!(written.status.success() && err(&written).contains("rules/a.yaml is removed"), "{written:?}");
    assert!(err(&written).contains(&format!("routes.yaml is revision {first} again")), "{written:?}");
    let now = eventually(|| Some(fixture.daemon.revision()).filter(|now| now.starts_with("4-"))).await;
    assert_eq!(now.split_once('-').unwrap().1, first.split_once('-').unwrap().1, "the same files");
    assert_eq!(fs::read_link(fixture.daemon.file()).unwrap().to_str(), Some("real.yaml"));
    let real = fs::metadata(folder.file("real.yaml")).unwrap();
    assert_eq!((real.permissions().mode() & 0o777, real.uid()), (0o640, owner));
    assert_eq!(fs::read_to_string(fixture.daemon.file()).unwrap(), fixture.text);
    assert!(fixture.daemon.status()["last_reload"]["ok"] == true);
    let again = fixture.run(&["rollback", "1", "--write", "--json"]);
    assert!(again.status.success() && err(&again).contains("nothing to bring back"), "{again:?}");
    assert_eq!(serde_json::from_slice::<Value>(&again.stdout).unwrap()["written"], Value::Array(vec![]));

    // What nobody accepted is not lost.
    fs::write(fixture.daemon.file(), "version: 1\nmy unsaved work: [\n").unwrap();
    fs::write(folder.file("rules/b.yaml"), "mine: too\n").unwrap();
    fixture.daemon.wait_for_refusal().await;
    let json = fixture.json(&["rollback", "3", "--write", "--json"]);
    assert_eq!(
        (&json["written"][0], &json["written"][1], &json["removed"][0]),
        (&"routes.yaml".into(), &"rules/a.yaml".into(), &"rules/b.yaml".into())
    );
    eventually(|| (fixture.daemon.status()["last_reload"]["ok"] == true).then_some(())).await;
    assert!(fixture.daemon.revision().starts_with("5-"), "{}", fixture.daemon.revision());
    assert_eq!(fs::read_to_string(folder.file(".routes.yaml.before-rollback")).unwrap(), "version: 1\nmy unsaved work: [\n");
    assert_eq!(fs::read_to_string(folder.file("rules/.b.yaml.before-rollback")).unwrap(), "mine: too\n");
    assert_eq!(fs::read_to_string(folder.file("rules/a.yaml")).unwrap(), TEAM_A);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(!left.iter().any(|name| name.contains(".new")), "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rollback_writes_only_what_would_be_accepted_now() {
    let folder = Folder::new();
    let key = folder.file("key");
    fs::write(&key, "secret-one\n").unwrap();
    let settings = format!(", api_key: \"${{file:{}}}\"", key.display());
    let fixture = Fixture::with(&settings).await;
    let without = fixture.text.replace(&settings, "");
    fixture.save("routes.yaml", &without).await;
    fs::remove_file(&key).unwrap();
    let refused = fixture.run(&["rollback", "1", "--write"]);
    assert!(refused.status.code() == Some(78) && err(&refused).contains("error[missing-secret]"), "{refused:?}");
    assert!(err(&refused).contains("nothing was written"), "{refused:?}");
    assert_eq!(fs::read_to_string(fixture.daemon.file()).unwrap(), without);
    // Comparing and printing do not need it.
    assert!(out(&fixture.run(&["history", "diff", "1", "2"])).contains("api_key ${file:"));
    assert!(fixture.run(&["rollback", "1"]).status.success());

    // A listener cannot move under a running daemon.
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = fixture.daemon.stop().await;
    let moved = without.replace("listen: 127.0.0.1:0", &format!("listen: {free}"));
    let start = async |folder: Folder| {
        Daemon::start_in(folder, |options| options.control = Some(options.state.join("control.sock")))
            .await
            .unwrap_or_else(|(_, error)| panic!("{error}"))
    };
    fs::write(folder.file("routes.yaml"), &moved).unwrap();
    let folder = start(folder).await.stop().await;
    fs::write(folder.file("routes.yaml"), &without).unwrap();
    let daemon = start(folder).await;
    let refused = run(&daemon.folder, &["rollback", "3", "--write"]);
    assert!(refused.status.code() == Some(1) && err(&refused).contains(&format!("`server.listen: {free}`")), "{refused:?}");
    assert_eq!(fs::read_to_string(daemon.file()).unwrap(), without);
    let folder = daemon.stop().await;
    assert!(run(&folder, &["rollback", "3", "--write"]).status.success(), "without a daemon nobody listens");
    assert_eq!(fs::read_to_string(folder.file("routes.yaml")).unwrap(), moved);
}
