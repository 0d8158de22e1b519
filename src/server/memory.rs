use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Drain, Load};

/// How often the memory in use is looked at.
const EVERY: Duration = Duration::from_millis(100);
/// New requests are refused above this share of the limit, so that those that run can end.
const ENOUGH_PERCENT: u64 = 80;
/// What a kernel says for "no limit" is larger than any machine.
const NO_LIMIT: u64 = 1 << 60;
/// The files of both kinds of control groups that tell a limit, below the folder that each group has.
const LIMITS: [(&str, &str); 2] = [("/sys/fs/cgroup", "memory.max"), ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")];

/// Looks after the memory until everything is cut, where a control group limits it (`MemoryMax=` of a unit, a container's limit).
pub async fn watch_memory(load: Arc<Load>, drain: Drain) {
    let Some(limit) = limit() else { return };
    let enough = limit / 100 * ENOUGH_PERCENT;
    loop {
        tokio::select! {
            () = drain.was_cut() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
        let Some(used) = used() else { return };
        let is_short = used > enough;
        if load.set_short_of_memory(is_short) != is_short {
            if is_short {
                tracing::warn!(used, limit, "memory is short: new requests are refused until some is free");
            } else {
                tracing::info!(used, limit, "memory is free again");
            }
        }
    }
}

/// The lowest limit, in bytes, of the process's control group and those above it; absent where there is none.
fn limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    LIMITS.iter().filter_map(|(root, file)| lowest(Path::new(root), &group(&groups, file), file)).min()
}

/// The path of this process's group, out of `/proc/self/cgroup`: lines such as `0::/a/b`, or `4:memory:/a/b` of the older kind.
fn group(groups: &str, file: &str) -> PathBuf {
    let wanted = if file == "memory.max" { "" } else { "memory" };
    let path = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == wanted).then_some(path)
    });
    PathBuf::from(path.unwrap_or_default().trim_start_matches('/'))
}

/// A group that cannot be seen from here, as from within a container, is passed over for those above it.
fn lowest(root: &Path, group: &Path, file: &str) -> Option<u64> {
    let read = |folder: &Path| fs::read_to_string(root.join(folder).join(file)).ok()?.trim().parse::<u64>().ok();
    group.ancestors().filter_map(read).filter(|limit| *limit < NO_LIMIT).min()
}

/// Bytes of memory that cannot be given back by forgetting what a file has; absent where the kernel does not tell.
fn used() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l17_the_lowest_limit_of_the_groups_above_counts() {
        let root = std::env::temp_dir().join(format!("tollgate-{}", uuid::Uuid::now_v7()));
        fs::create_dir_all(root.join("a/b")).unwrap();
        for (folder, text) in [("", "max\n"), ("a", "2000\n"), ("a/b", "3000\n")] {
            fs::write(root.join(folder).join("memory.max"), text).unwrap();
        }
        for (groups, limit) in
            [("0::/a/b\n", Some(2000)), ("0::/a\n", Some(2000)), ("0::/\n", None), ("0::/a/unseen\n", Some(2000)), ("", None)]
        {
            assert_eq!(lowest(&root, &group(groups, "memory.max"), "memory.max"), limit, "{groups}");
        }
        fs::write(root.join("a/memory.limit_in_bytes"), "9223372036854771712\n").unwrap();
        fs::write(root.join("a/b/memory.limit_in_bytes"), "5000\n").unwrap();
        let file = "memory.limit_in_bytes";
        let of = |groups| lowest(&root, &group(groups, file), file);
        assert_eq!((of("9:cpu,memory:/a/b\n0::/\n"), of("4:memory:/a\n")), (Some(5000), None));
        assert!(used().is_some_and(|used| used > 100_000));
        fs::remove_dir_all(root).unwrap();
    }
}
