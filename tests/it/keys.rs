//! `tollgate key`: a key is shown once and works at once, and the file keeps everything else.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::support::*;

const FILE: &str = "version: 1 # ours\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }\nproviders:\n  # answers by itself\n  box: { format: sandbox, latency: 0ms, models: { m: {} } }\n\n# what no rule matches\ndefault: { chain: [box/m] }\n...\n";

fn run(folder: &Folder, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).current_dir(folder.path()).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing may have ended by now.
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    child.wait_with_output().unwrap()
}

fn folder(text: &str) -> Folder {
    let folder = Folder::new();
    fs::write(folder.file("routes.yaml"), text).unwrap();
    folder
}

fn text(folder: &Folder) -> String {
    fs::read_to_string(folder.file("routes.yaml")).unwrap()
}

/// The key that a run printed, alone on its first line.
#[track_caller]
fn key(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let key = String::from_utf8(output.stdout.clone()).unwrap().lines().next().unwrap().to_owned();
    let secret = key.strip_prefix("tg_").unwrap();
    assert!(secret.len() == 43 && secret.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{key}");
    key
}

fn hash(folder: &Folder, key: &str) -> String {
    String::from_utf8(run(folder, &["key", "hash"], key).stdout).unwrap().trim().to_owned()
}

#[track_caller]
fn refused(output: &Output, code: i32, why: &str) {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(code) && told.contains(why) && output.stdout.is_empty(), "{output:?}");
}

#[tokio::test]
async fn a_new_key_is_printed_with_its_entry_and_works_where_it_is_pasted() {
    let folder = folder(FILE);
    let output = run(&folder, &["key", "new", "search"], "");
    let key = key(&output);
    assert_eq!(text(&folder), FILE, "nothing is written unasked");
    let entry = String::from_utf8(output.stdout).unwrap().split_once("\n\n").unwrap().1.to_owned();
    assert_eq!(entry, format!("callers:\n  search:\n    key: {}\n", hash(&folder, &key)));
    let daemon = Daemon::start(&(FILE.replace("...\n", "") + &entry)).await;
    assert_eq!(daemon.post("/v1/chat/completions", &[("x-api-key", &key)], &chat(false)).await.status, 200);
    assert_eq!(daemon.chat().await.status, 401);
}

#[tokio::test]
async fn a_written_key_is_in_force_beside_the_old_one_and_the_file_keeps_the_rest() {
    let daemon = Daemon::start(FILE).await;
    let before = daemon.revision();
    let first = key(&run(&daemon.folder, &["key", "new", "search", "--write"], ""));
    let revision = daemon.wait_for_another(&before).await;
    let status = async |key: &str| daemon.post("/v1/chat/completions", &[("x-api-key", key)], &chat(false)).await.status;
    assert_eq!(status(&first).await, 200);
    let added = format!("callers:\n  search:\n    key: {}\n\n", hash(&daemon.folder, &first));
    assert_eq!(text(&daemon.folder), FILE.replace("# what no rule", &format!("{added}# what no rule")));
    let second = key(&run(&daemon.folder, &["key", "new", "search", "--write"], ""));
    daemon.wait_for_another(&revision).await;
    assert_eq!((status(&first).await, status(&second).await), (200, 200));
    assert_eq!(text(&daemon.folder).replace(&added[..], ""), text(&daemon.folder), "the entry has both");
    let third = run(&daemon.folder, &["key", "new", "search", "--write"], "");
    refused(&third, 1, "search has two keys already");
    let listed = String::from_utf8(run(&daemon.folder, &["key", "list"], "").stdout).unwrap();
    for key in [&first, &second] {
        let hash = hash(&daemon.folder, key);
        let begin = &hash["sha256:".len()..][..8];
        assert!(listed.contains(begin) && !listed.contains(&hash["sha256:".len()..][..12]), "{listed}");
    }
}

#[test]
fn the_first_callers_of_an_open_listener_can_be_written() {
    let folder = folder(&FILE.replace("127.0.0.1:0, admin", "0.0.0.0:0, admin"));
    key(&run(&folder, &["key", "new", "app", "--write"], ""));
    assert_eq!(run(&folder, &["check"], "").status.code(), Some(0));
}

#[test]
fn a_key_is_written_where_its_caller_stands() {
    let folder = folder(&FILE.replace("...\n", "include: [teams.yaml]\n"));
    let old = hash(&folder, "tg_old");
    fs::write(folder.file("teams.yaml"), format!("# theirs\ncallers:\n  legal: {{ key: {old} }} # by post\n")).unwrap();
    let new = key(&run(&folder, &["key", "new", "legal", "--write"], ""));
    let expected = format!("# theirs\ncallers:\n  legal: {{ keys: [{old}, {}] }} # by post\n", hash(&folder, &new));
    assert_eq!(fs::read_to_string(folder.file("teams.yaml")).unwrap(), expected);
}

#[test]
fn what_cannot_be_written_is_said_and_nothing_changes() {
    for (file, code, why) in [
        (FILE.to_owned() + "x", 78, "error"),
        (FILE.replace("...\n", "callers: open\n"), 1, "serves everybody"),
        (FILE.replace("box/m", "box/other"), 78, "nothing was written"),
        (FILE.replace("...\n", "callers: { other: { key: sha256:12 } }\n"), 78, "nothing was written"),
    ] {
        let folder = folder(&file);
        refused(&run(&folder, &["key", "new", "app", "--write"], ""), code, why);
        assert_eq!(text(&folder), file);
    }
    let folder = folder(FILE);
    refused(&run(&folder, &["key", "new", "No Name"], ""), 1, "is no caller name");
    refused(&run(&folder, &["key", "new", "app", "--write", "--config", "none.yaml"], ""), 66, "none.yaml");
}

#[test]
fn a_hash_is_of_the_key_alone() {
    let folder = folder(FILE);
    let known = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\n";
    for (arguments, input) in [(vec!["key", "hash", "hello"], ""), (vec!["key", "hash"], "hello\n"), (vec!["key", "hash"], "  hello\r\n")] {
        assert_eq!(String::from_utf8(run(&folder, &arguments, input).stdout).unwrap(), known);
    }
    refused(&run(&folder, &["key", "hash"], "\n"), 1, "a key is one word");
}

#[test]
fn the_list_says_who_may_do_what_and_no_hash() {
    let zero = "0".repeat(64);
    let one = "1".repeat(64);
    let callers = format!(
        "callers:\n  legal: {{ key: sha256:{zero}, allow: [box/*] }}\n  search:\n    keys: [{{ sha256: {one}, expires: 2026-12-31 }}]\n    tags: {{ team: search }}\n    limits: {{ requests: 60/min, concurrent: 4 }}\n"
    );
    let folder = folder(&FILE.replace("...\n", &callers));
    let output = run(&folder, &["key", "list"], "");
    let listed = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect()).collect();
    assert_eq!(lines[1], ["legal", "00000000", "-", "-", "-", "box/*"], "{output:?}");
    assert_eq!(lines[2], ["search", "11111111", "2026-12-31T00:00:00Z", "team=search", "requests 60/min, concurrent 4", "all"]);
    let json = String::from_utf8(run(&folder, &["key", "list", "--json"], "").stdout).unwrap();
    assert!(json.contains("\"begins\": \"11111111\"") && !json.contains(&one) && !listed.contains(&one));
}
