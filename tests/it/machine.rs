//! What becomes of requests when the machine gives too little: descriptors, memory, time.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::program::*;
use crate::support::*;

const SANDBOX: &str = "version: 1\nproviders:\n  a: { format: sandbox, models: { m: {} } }\ndefault: { chain: [a/m] }\n";

/// The program started by a shell that does `first`.
async fn after(first: &str, routes: &str) -> Serving {
    let folder = folder_with(&with_server(routes));
    let mut command = command(&folder, &[]);
    let script = format!("{first} && exec {PROGRAM} serve --state state");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null()).env_clear();
    shell.envs(command.env("PATH", "/usr/bin:/bin").get_envs().filter_map(|(name, value)| Some((name, value?))));
    Serving::spawn(folder, shell).await
}

fn call(content: &str) -> String {
    post("/v1/chat/completions", &[], &format!(r#"{{"model":"auto","messages":[{{"role":"user","content":"{content}"}}]}}"#))
}

/// A call that leaves its connection open.
fn kept(content: &str) -> String {
    call(content).replace("connection: close\r\n", "")
}

/// Processor time that a process has used so far, in nanoseconds.
fn cpu(process: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let of = |path: PathBuf| fs::read_to_string(path.join("schedstat")).ok()?.split(' ').next()?.parse::<u64>().ok();
    threads.filter_map(|thread| of(thread.unwrap().path())).sum()
}

#[tokio::test]
async fn l18_out_of_descriptors_new_connections_are_told_and_old_ones_served() {
    let serving = after("ulimit -n 64", SANDBOX).await;
    let address = serving.address("listen");
    let mut old = Line::send(address, &kept("one")).await;
    old.until("message was: one").await;
    let mut idle = Vec::new();
    for _ in 0..80 {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    for _ in 0..3 {
        let refused = Line::send(address, "").await.rest().await;
        assert_eq!((refused.status, refused.code().as_str(), refused.is_whole), (503, "server_is_overloaded", true), "{refused:?}");
    }
    let (before, began) = (cpu(serving.child.id()), Instant::now());
    old.send_more(kept("two")).await;
    old.until("message was: two").await;
    // Whether a loop spins can be seen only while time goes by.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let used = Duration::from_nanos(cpu(serving.child.id()) - before);
    assert!(used < began.elapsed() / 5, "{used:?} of {:?}", began.elapsed());
    drop(idle);
    let mut served = got(address, &call("three")).await;
    while served.status == 503 {
        served = got(address, &call("three")).await;
    }
    assert_eq!((served.status, served.is_whole), (200, true), "{served:?}");
    let told = serving.err.lines().into_iter().filter(|line| line["message"] == "a connection could not be accepted").count();
    assert_eq!(told, 1, "a crowd fills the log");
}

/// A control group of our own; taken away with its value.
struct Group(PathBuf);

impl Group {
    /// One with a limit in bytes; absent where this user may not make one.
    fn limited(limit: u64) -> Option<Self> {
        let name = format!("tollgate-test-{}", std::process::id());
        for (root, file) in [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")] {
            let folder = PathBuf::from(root).join(&name);
            if fs::create_dir(&folder).is_err() {
                continue;
            }
            let group = Self(folder);
            if fs::write(group.0.join(file), limit.to_string()).is_ok() {
                return Some(group);
            }
        }
        None
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).ok();
    }
}

#[tokio::test]
async fn l17_when_memory_is_short_new_requests_wait_and_open_ones_go_on() {
    const LIMIT: u64 = 160 << 20;
    let Some(group) = Group::limited(LIMIT) else {
        println!("skipped: only root may make a control group");
        return;
    };
    let mut serving = after(&format!("echo $$ > {}/cgroup.procs", group.0.display()), SANDBOX).await;
    let address = serving.address("listen");
    let mut open = Vec::new();
    while !serving.err.text().contains("memory is short") {
        assert!(open.len() < 60, "{}", serving.err.text());
        // Held while it hangs.
        let body = format!(
            r#"{{"model":"auto","messages":[{{"role":"user","content":"{}"}},{{"role":"user","content":"hang:30s"}}]}}"#,
            "x".repeat(3 << 20)
        );
        open.push(Line::send(address, &post("/v1/chat/completions", &[], &body)).await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = got(address, &call("more")).await;
    assert_eq!((refused.status, refused.code().as_str(), refused.header("retry-after")), (503, "server_is_overloaded", Some("1")));
    // The last one may have come too late.
    let going_on = serving.status()["connections"].as_u64().unwrap();
    assert!(going_on >= open.len() as u64 - 1, "{going_on} of {}", open.len());
    drop(open);
    serving.err.wait_for("memory is free again").await;
    assert_eq!(got(address, &call("more")).await.status, 200);
    serving.signal("TERM");
    assert!(serving.end().await.success());
    drop(group);
}

#[tokio::test]
async fn l24_after_a_stall_timeouts_fire_at_once() {
    let (silent, other) = (Provider::always(vec![Act::Hang]).await, Provider::always(streams("H", "i")).await);
    let serving = Serving::start(&with_server(&routes(&[&silent, &other], "timeouts: { first_content: 1s }"))).await;
    let open = Line::send(serving.address("listen"), &post("/v1/chat/completions", &[], &chat(true))).await;
    eventually(|| (silent.count() == 1).then_some(())).await;
    serving.signal("STOP");
    // As long as the machine gives the process nothing.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let woken = Instant::now();
    serving.signal("CONT");
    let got = open.rest().await;
    assert_eq!((got.status, got.text().as_str(), got.is_done()), (200, "Hi", true), "{got:?}");
    assert!(woken.elapsed() < Duration::from_millis(700), "{:?}", woken.elapsed());
}
