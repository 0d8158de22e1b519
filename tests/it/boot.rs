//! The start: on a sound file, on the last good one, or not at all.

use std::fs;

use tollgate::app::Unstarted;
use tollgate::reload::Cause;

use crate::support::*;

const NO_SUCH: &str = "version: 1\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0 }\nproviders:\n  a: { format: opnai, models: { m: {} } }\nrules:\n  - { name: x, match: {}, chain: [b/m] }\ndefault: { chain: [c/m] }\n";

async fn started(routes: &str) -> (Folder, String) {
    let daemon = Daemon::start(routes).await;
    let revision = daemon.revision();
    (daemon.stop().await, revision)
}

#[tokio::test]
async fn at_boot_a_bad_file_ends_the_program_with_all_findings() {
    let folder = Folder::new();
    fs::write(folder.file("routes.yaml"), NO_SUCH).unwrap();
    let Err((folder, Unstarted::Config(said))) = Daemon::start_in(folder, |_| {}).await else { panic!("it started") };
    for part in ["opnai", "`b`", "`c`", "routes.yaml:4:", "routes.yaml:6:", "routes.yaml:7:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Neither is there anything to fall back on.
    let Err((folder, Unstarted::Config(_))) = Daemon::start_in(folder, |options| options.may_fall_back = true).await else {
        panic!("it started")
    };
    fs::remove_file(folder.file("routes.yaml")).unwrap();
    let Err((_, Unstarted::Config(said))) = Daemon::start_in(folder, |_| {}).await else { panic!("it started") };
    assert!(said.contains("no such file"), "{said}");
}

#[tokio::test]
async fn fallback_last_good_serves_the_stored_copy_and_says_so() {
    let provider = sound_provider("hello", false).await;
    let good = routes(&[&provider], "");
    for (what, spoil) in [("bad", Some(good.replace("[p0/m]", "[p0/n]"))), ("missing", None)] {
        let (folder, revision) = started(&good).await;
        match &spoil {
            Some(bad) => fs::write(folder.file("routes.yaml"), bad).unwrap(),
            None => fs::remove_file(folder.file("routes.yaml")).unwrap(),
        }
        let Err((folder, Unstarted::Config(_))) = Daemon::start_in(folder, |_| {}).await else { panic!("{what}: it started") };
        let daemon =
            Daemon::start_in(folder, |options| options.may_fall_back = true).await.unwrap_or_else(|(_, error)| panic!("{what}: {error}"));
        assert_eq!((daemon.revision(), daemon.chat().await.header("x-tollgate-revision")), (revision.clone(), Some(&*revision)), "{what}");
        let status = daemon.status();
        let why = if spoil.is_some() { "p0/n" } else { "no such file" };
        assert!(status["degraded"].as_str().is_some_and(|told| told.contains(why)), "{what}: {status}");
        assert!(status["last_reload"]["ok"] == false && status["last_reload"]["cause"] == "start", "{what}: {status}");
        assert_eq!(daemon.metric("tollgate_config_last_reload_success").await, 0, "{what}");
        assert_eq!(daemon.admin("/readyz").await.status, 200, "{what}");
        if spoil.is_none() {
            while daemon.metric("tollgate_config_present").await != 0 {
                tokio::task::yield_now().await;
            }
        } else {
            assert_eq!(daemon.metric("tollgate_config_present").await, 1);
        }
        // A sound file ends it.
        daemon.write(&good.replace("default:", "rules:\n  - { name: back, match: { endpoint: chat }, chain: [p0/m] }\ndefault:"));
        daemon.wait_for_another(&revision).await;
        let status = daemon.status();
        assert!(status["degraded"].is_null() && status["last_reload"]["ok"] == true, "{what}: {status}");
        // A reload that begins now ends after that one's last words.
        daemon.app.reload(Cause::Poll).await;
        assert_eq!((daemon.metric("tollgate_config_last_reload_success").await, daemon.metric("tollgate_config_present").await), (1, 1));
    }
}

#[tokio::test]
async fn the_running_file_back_on_disk_ends_the_degraded_state() {
    let provider = sound_provider("hello", false).await;
    let good = routes(&[&provider], "");
    let (folder, revision) = started(&good).await;
    fs::write(folder.file("routes.yaml"), "version: 2\n").unwrap();
    let daemon = Daemon::start_in(folder, |options| options.may_fall_back = true).await.unwrap_or_else(|(_, error)| panic!("{error}"));
    assert!(daemon.status()["degraded"].is_string());
    daemon.write(&good);
    daemon.wait_for_reload(|last| last["ok"] == true).await;
    assert_eq!((daemon.status()["degraded"].is_null(), daemon.revision()), (true, revision));
}

#[tokio::test]
async fn a_damaged_copy_is_passed_over() {
    let provider = sound_provider("hello", false).await;
    let good = routes(&[&provider], "");
    let daemon = Daemon::start(&good).await;
    let first = daemon.revision();
    daemon.write(&good.replace("default:", "rules:\n  - { name: more, match: { endpoint: chat }, chain: [p0/m] }\ndefault:"));
    let second = daemon.wait_for_another(&first).await;
    let folder = daemon.stop().await;
    fs::write(folder.file(&format!("state/revisions/00000{second}/routes.yaml")), "version: 1\nprov").unwrap();
    fs::write(folder.file("routes.yaml"), "version: 2\n").unwrap();
    let daemon = Daemon::start_in(folder, |options| options.may_fall_back = true).await.unwrap_or_else(|(_, error)| panic!("{error}"));
    assert_eq!(daemon.revision(), first);
}

#[tokio::test]
async fn a_revision_number_survives_a_restart_and_is_never_used_twice() {
    let provider = sound_provider("hello", false).await;
    let good = routes(&[&provider], "");
    let (folder, first) = started(&good).await;
    let daemon = Daemon::start_in(folder, |_| {}).await.unwrap_or_else(|(_, error)| panic!("{error}"));
    assert_eq!(daemon.revision(), first);
    let folder = daemon.stop().await;
    fs::write(folder.file("routes.yaml"), with_server(&good) + "# more\n").unwrap();
    let daemon = Daemon::start_in(folder, |_| {}).await.unwrap_or_else(|(_, error)| panic!("{error}"));
    assert!(first.starts_with("1-") && daemon.revision().starts_with("2-"), "{first}, {}", daemon.revision());
}

#[tokio::test]
async fn a_state_folder_serves_one_daemon() {
    let provider = sound_provider("hello", false).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let folder = Folder::new();
    fs::copy(daemon.file(), folder.file("routes.yaml")).unwrap();
    let state = daemon.folder.file("state");
    let Err((folder, error)) = Daemon::start_in(folder, |options| options.state = state.clone()).await else { panic!("it started") };
    assert!(matches!(&error, Unstarted::Busy { owner: Some(owner), .. } if *owner == std::process::id()), "{error}");
    assert!(error.to_string().contains("belongs to another daemon, process"), "{error}");
    assert_eq!(daemon.chat().await.status, 200);
    // Free as soon as the first one has stopped.
    let _first = daemon.stop().await;
    let second = Daemon::start_in(folder, |options| options.state = state).await.unwrap_or_else(|(_, error)| panic!("{error}"));
    assert_eq!(second.chat().await.status, 200);
}

#[tokio::test]
async fn an_address_in_use_is_told() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let folder = Folder::new();
    let file = NO_SUCH.replace("opnai", "sandbox").replace("rules:\n  - { name: x, match: {}, chain: [b/m] }\n", "").replace("c/m", "a/m");
    let address = taken.local_addr().unwrap();
    fs::write(folder.file("routes.yaml"), file.replace("listen: 127.0.0.1:0", &format!("listen: {address}"))).unwrap();
    let Err((_, error)) = Daemon::start_in(folder, |_| {}).await else { panic!("it started") };
    assert!(matches!(error, Unstarted::Listen(_)) && error.to_string().contains(&format!("{address} (`server.listen`)")), "{error}");
}
