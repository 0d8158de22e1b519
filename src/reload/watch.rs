use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use super::include::{self, Included};
use super::source::Stat;

/// Links that one path may lead through, as the kernel counts them.
const HOPS: usize = 40;

/// How the file and the secrets beside it look, without their content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) file: Shape,
    /// Where each link on the way to the file points.
    links: Vec<(PathBuf, PathBuf)>,
    pub(super) included: Included,
    pub(super) secrets: Secrets,
}

/// How each secret outside the file looked.
pub(super) type Secrets = BTreeMap<PathBuf, Shape>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Absent(io::ErrorKind),
    There(Stat),
}

impl Look {
    pub(super) fn same(&self, other: &Self) -> bool {
        self.file == other.file && self.links == other.links && self.included == other.included && self.same_secrets(other)
    }

    /// Compares the secrets that both know: one that has just come into use did not change.
    pub(super) fn same_secrets(&self, other: &Self) -> bool {
        self.secrets.iter().all(|(path, shape)| other.secrets.get(path).is_none_or(|before| before == shape))
    }

    #[cfg(test)]
    pub(super) fn fake(file: u64, secret: u64) -> Self {
        let link = |to: u64| vec![(PathBuf::from("/link"), PathBuf::from(to.to_string()))];
        let absent = if secret == 0 { io::ErrorKind::NotFound } else { io::ErrorKind::PermissionDenied };
        Self {
            file: Shape::Absent(io::ErrorKind::NotFound),
            links: link(file),
            included: Included::default(),
            secrets: BTreeMap::from([("/secret".into(), Shape::Absent(absent))]),
        }
    }
}

/// Watches the directories that lead to the file, never the file: a renamed-over file would end its own watch.
pub(super) struct Watch {
    path: PathBuf,
    hints: Arc<Notify>,
    /// Absent where the system has no watches left, or where only the poll is wanted.
    watcher: Option<RecommendedWatcher>,
    /// Device and inode of each directory when its watch began.
    armed: BTreeMap<PathBuf, (u64, u64)>,
    wants_events: bool,
    warned: bool,
}

impl Watch {
    /// `path` is made absolute by the caller. Events and their like wake `hints`.
    pub(super) fn new(path: PathBuf, hints: Arc<Notify>) -> Self {
        Self { path, hints, watcher: None, armed: BTreeMap::new(), wants_events: true, warned: false }
    }

    /// As on a file system that sends no events: only the poll sees changes.
    #[cfg(test)]
    pub(super) fn polling(path: PathBuf, hints: Arc<Notify>) -> Self {
        Self { wants_events: false, ..Self::new(path, hints) }
    }

    /// Begins again without the watcher. It is leaked: its thread is gone, and ending it would panic.
    pub(super) fn renew(&mut self) {
        std::mem::forget(self.watcher.take());
        self.armed.clear();
    }

    /// Follows the links anew, watches every directory on the way and looks. `patterns`: what the file includes. `refresh` renews each
    /// watch, since a replaced directory ends its own in silence.
    pub(super) fn look<'a>(
        &mut self,
        secrets: impl IntoIterator<Item = &'a PathBuf, IntoIter: Clone>,
        patterns: Vec<String>,
        refresh: bool,
    ) -> Look {
        let secrets = secrets.into_iter();
        let trail = Trail::follow(&self.path);
        let mut wanted = trail.directories;
        for secret in secrets.clone() {
            wanted.extend(Trail::follow(secret).directories);
        }
        let (before, directories) = Included::look(include::folder(&self.path), patterns);
        wanted.extend(directories);
        if self.wants_events {
            self.arm(&wanted, refresh);
        }
        // Looked at after the watches are set, so that no change falls between.
        let included = if before.patterns.is_empty() { before } else { Included::look(include::folder(&self.path), before.patterns).0 };
        let secrets = secrets.map(|secret| (secret.clone(), shape(secret))).collect();
        Look { file: shape(&self.path), links: trail.links, included, secrets }
    }

    fn arm(&mut self, wanted: &BTreeSet<PathBuf>, refresh: bool) {
        if self.watcher.is_none() {
            match new_watcher(Arc::clone(&self.hints)) {
                Ok(watcher) => self.watcher = Some(watcher),
                Err(error) => return self.warn(&error),
            }
        }
        let Some(watcher) = &mut self.watcher else { return };
        let gone: Vec<_> = self.armed.keys().filter(|armed| !wanted.contains(*armed)).cloned().collect();
        for directory in gone {
            // Fails where the directory itself is gone, and its watch with it.
            watcher.unwatch(&directory).ok();
            self.armed.remove(&directory);
        }
        let mut failed = None;
        for directory in wanted {
            let Ok(metadata) = fs::metadata(directory) else { continue };
            let identity = (metadata.dev(), metadata.ino());
            let before = self.armed.get(directory);
            if before == Some(&identity) && !refresh {
                continue;
            }
            if before.is_some_and(|before| *before != identity) {
                watcher.unwatch(directory).ok();
            }
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => drop(self.armed.insert(directory.clone(), identity)),
                Err(error) => {
                    self.armed.remove(directory);
                    // A directory that went away just now is no shortage.
                    failed = failed.or((!matches!(error.kind, notify::ErrorKind::PathNotFound)).then_some(error));
                }
            }
        }
        match failed {
            Some(error) => self.warn(&error),
            None => self.warned = false,
        }
    }

    fn warn(&mut self, error: &notify::Error) {
        if !std::mem::replace(&mut self.warned, true) {
            tracing::warn!(%error, "file events are not available, changes are seen by the poll alone");
        }
    }
}

fn new_watcher(hints: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    // Our own read is an access; everything else, an overflow included, may mean a change.
    notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !matches!(event, Ok(notify::Event { kind: EventKind::Access(_), .. })) {
            hints.notify_one();
        }
    })
}

pub(super) fn shape(path: &Path) -> Shape {
    match fs::metadata(path) {
        Ok(metadata) => Shape::There(Stat::of(&metadata)),
        Err(error) => Shape::Absent(error.kind()),
    }
}

/// The way to a file: each link on it, and each directory in which a change could lead it elsewhere.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) links: Vec<(PathBuf, PathBuf)>,
    pub(super) directories: BTreeSet<PathBuf>,
}

impl Trail {
    pub(super) fn follow(path: &Path) -> Self {
        let mut trail = Self::default();
        let mut at = PathBuf::from("/");
        let mut left = parts(path);
        while let Some(part) = left.pop_front() {
            if part == ".." {
                at.pop();
                continue;
            }
            let next = at.join(&part);
            let Ok(metadata) = fs::symlink_metadata(&next) else { break };
            if metadata.is_symlink() {
                let Ok(to) = fs::read_link(&next) else { break };
                trail.directories.insert(at.clone());
                for part in parts(&to).into_iter().rev() {
                    left.push_front(part);
                }
                if to.is_absolute() {
                    at = PathBuf::from("/");
                }
                trail.links.push((next, to));
                if trail.links.len() > HOPS {
                    break;
                }
            } else if left.is_empty() {
                break;
            } else {
                at = next;
            }
        }
        // The file's own directory, or the last one that is there.
        trail.directories.insert(at);
        trail
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::folder;
    use super::*;

    #[test]
    fn c05_every_directory_on_the_way_is_watched() {
        let folder = fs::canonicalize(folder()).unwrap();
        fs::create_dir_all(folder.join("etc/..2026")).unwrap();
        fs::create_dir_all(folder.join("elsewhere")).unwrap();
        fs::write(folder.join("etc/..2026/routes.yaml"), "a").unwrap();
        symlink("..2026", folder.join("etc/..data")).unwrap();
        symlink("..data/routes.yaml", folder.join("etc/routes.yaml")).unwrap();
        symlink(folder.join("etc/routes.yaml"), folder.join("elsewhere/mine.yaml")).unwrap();
        let trail = Trail::follow(&folder.join("elsewhere/../elsewhere/mine.yaml"));
        assert_eq!(trail.directories, ["elsewhere", "etc", "etc/..2026"].map(|name| folder.join(name)).into());
        assert_eq!(trail.links.len(), 3);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn c04_the_nearest_directory_that_is_left_is_watched() {
        let folder = fs::canonicalize(folder()).unwrap();
        assert_eq!(Trail::follow(&folder.join("gone/deeper/routes.yaml")).directories, [folder.clone()].into());
        symlink("loop", folder.join("loop")).unwrap();
        assert_eq!(Trail::follow(&folder.join("loop")).links.len(), HOPS + 1);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_look_changes_with_the_file_and_not_with_its_neighbours() {
        let folder = fs::canonicalize(folder()).unwrap();
        let (path, secret) = (folder.join("routes.yaml"), folder.join("key"));
        let mut watch = Watch::polling(path.clone(), Arc::default());
        let mut look = || watch.look([&secret], vec!["rules/*.yaml".into()], false);
        let absent = look();
        fs::write(&path, "a").unwrap();
        let there = look();
        assert!(!absent.same(&there));
        fs::write(folder.join("other"), "b").unwrap();
        assert!(there.same(&look()));
        fs::write(&secret, "s").unwrap();
        let with_secret = look();
        assert!(!there.same(&with_secret) && !there.same_secrets(&with_secret));
        fs::write(&path, "ab").unwrap();
        let other = look();
        assert!(with_secret.same_secrets(&other) && !with_secret.same(&other));
        // Included files count, from the first one that matches on; their neighbours do not.
        fs::create_dir(folder.join("rules")).unwrap();
        fs::write(folder.join("rules/notes.txt"), "b").unwrap();
        assert!(other.same(&look()));
        fs::write(folder.join("rules/a.yaml"), "b").unwrap();
        let with_included = look();
        assert!(!other.same(&with_included));
        fs::write(folder.join("rules/a.yaml"), "bc").unwrap();
        let changed = look();
        assert!(!with_included.same(&changed));
        fs::remove_file(folder.join("rules/a.yaml")).unwrap();
        assert!(!changed.same(&look()));
        fs::remove_dir_all(folder).unwrap();
    }
}
