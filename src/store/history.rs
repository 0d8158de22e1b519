use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::revisions::{self, Accepted, Kept, UNFINISHED};
use crate::config::Sources;

/// How many accepted configurations are kept.
const KEPT: usize = 100;

/// The accepted configurations in `<state>/revisions`, each in a folder named by its number and the beginning of its hash.
/// The newest 100 are kept.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    newest: Mutex<Newest>,
}

/// The highest number that is taken, and the content that took it; no content when its folder turned out damaged.
#[derive(Clone, Debug, Default)]
struct Newest {
    number: u64,
    hash: Option<String>,
}

impl History {
    /// Opens the history below the state folder and makes what is missing. Fails when the folder cannot be made or listed.
    pub fn open(state: &Path) -> io::Result<Self> {
        let folder = state.join("revisions");
        revisions::make_folder(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
                if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
            }
        }
        let listed = revisions::list(&folder)?;
        let number = listed.last().map_or(0, |kept| kept.number);
        let hash = listed.last().and_then(read).map(|accepted| accepted.hash);
        Ok(Self { folder, newest: Mutex::new(Newest { number, hash }) })
    }

    /// The newest accepted configuration that is whole. Damaged ones are passed over.
    #[must_use]
    pub fn last(&self) -> Option<Accepted> {
        self.newest_first().next()
    }

    /// The accepted configurations that are whole, from the newest back, each read when it is asked for.
    pub fn newest_first(&self) -> impl Iterator<Item = Accepted> + use<> {
        revisions::list(&self.folder).unwrap_or_default().into_iter().rev().filter_map(|kept| read(&kept))
    }

    /// The number that a configuration of this content has or would get: content that did not change keeps its number.
    #[must_use]
    pub fn number_of(&self, hash: &str) -> u64 {
        let newest = self.lock();
        if newest.hash.as_deref() == Some(hash) { newest.number } else { newest.number.saturating_add(1) }
    }

    /// Whether this content was in force once, as far as the history reaches back.
    #[must_use]
    pub fn knows(&self, hash: &str) -> bool {
        revisions::list(&self.folder).unwrap_or_default().iter().any(|kept| hash.starts_with(&kept.short))
    }

    /// Keeps an accepted configuration, safe on disk when this returns. On failure the number is taken all the same, since it is in force.
    pub fn accept(&self, sources: &Sources, hash: &str, wall: Timestamp) -> io::Result<Accepted> {
        let number = self.number_of(hash);
        *self.lock() = Newest { number, hash: Some(hash.to_owned()) };
        let accepted = Accepted { number, hash: hash.to_owned(), at: wall, sources: sources.clone() };
        revisions::write(&self.folder, &accepted)?;
        self.prune()?;
        Ok(accepted)
    }

    fn prune(&self) -> io::Result<()> {
        let listed = revisions::list(&self.folder)?;
        let surplus = listed.len().saturating_sub(KEPT);
        listed.iter().take(surplus).try_for_each(Kept::remove)
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(kept: &Kept) -> Option<Accepted> {
    kept.read().inspect_err(|error| tracing::warn!(revision = %kept, %error, "an accepted file cannot be read back")).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::{content_hash, sources_hash};
    use super::*;
    use crate::config::SourceFile;

    fn state() -> PathBuf {
        std::env::temp_dir().join(format!("tollgate-history-{}", uuid::Uuid::now_v7()))
    }

    fn accept(history: &History, text: &str) -> Accepted {
        accept_all(history, &Sources::new("routes.yaml", text))
    }

    fn accept_all(history: &History, sources: &Sources) -> Accepted {
        history.accept(sources, &sources_hash(sources), Timestamp::from_second(1_800_000_000).unwrap()).unwrap()
    }

    fn folder_of(history: &History, accepted: &Accepted) -> PathBuf {
        history.folder.join(format!("{:06}-{}", accepted.number, &accepted.hash[..12]))
    }

    #[test]
    fn numbers_grow_with_every_change_and_survive_a_restart() {
        let state = state();
        let history = History::open(&state).unwrap();
        assert_eq!(history.last(), None);
        let numbers: Vec<_> = ["a", "a", "b", "a"].iter().map(|text| accept(&history, text).number).collect();
        assert_eq!(numbers, [1, 1, 2, 3]);
        let again = History::open(&state).unwrap();
        let last = again.last().unwrap();
        assert_eq!((last.number, last.sources.main(), last.at.as_second()), (3, "a", 1_800_000_000));
        assert_eq!((again.number_of(&content_hash(b"a")), again.number_of(&content_hash(b"c"))), (3, 4));
        assert!(again.knows(&content_hash(b"b")) && !again.knows(&content_hash(b"c")));
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn included_files_are_kept_in_their_order_and_places() {
        let state = state();
        let history = History::open(&state).unwrap();
        let mut sources = Sources::new("/etc/tollgate/routes.yaml", "include: [z.yaml, rules/a.yaml]\n");
        for (path, text) in [("z.yaml", "rules: []\n"), ("rules/a.yaml", "")] {
            sources.add(SourceFile { path: path.into(), text: text.into() });
        }
        let accepted = accept_all(&history, &sources);
        let folder = folder_of(&history, &accepted);
        assert_eq!(fs::read_to_string(folder.join("z.yaml")).unwrap(), "rules: []\n");
        assert_eq!(fs::metadata(folder.join("rules/a.yaml")).unwrap().permissions().mode() & 0o777, 0o600);
        let last = History::open(&state).unwrap().last().unwrap();
        assert_eq!((last.sources.files(), &last.hash), (sources.files(), &accepted.hash));
        // Another place or another order is another configuration.
        let mut moved = Sources::new("routes.yaml", sources.main());
        moved.add(sources.files()[2].clone());
        moved.add(sources.files()[1].clone());
        assert_ne!(sources_hash(&moved), accepted.hash);
        // Without one of its files it is damaged.
        fs::remove_file(folder.join("rules/a.yaml")).unwrap();
        assert_eq!(History::open(&state).unwrap().last(), None);
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_torn_revision_is_passed_over_and_its_number_is_not_used_again() {
        let state = state();
        let history = History::open(&state).unwrap();
        accept(&history, "version: 1\n");
        let second = accept(&history, "version: 1\nrules: []\n");
        fs::write(folder_of(&history, &second).join("routes.yaml"), "version: 1\nrul").unwrap();
        fs::create_dir(history.folder.join(".new-3")).unwrap();
        fs::write(history.folder.join(".new-3/routes.yaml"), "version").unwrap();
        for stranger in ["notes.txt", "000009-3f2a9c1b04de.yaml"] {
            fs::write(history.folder.join(stranger), "mine").unwrap();
        }
        let again = History::open(&state).unwrap();
        assert_eq!(again.last().unwrap().number, 1);
        assert_eq!(again.number_of(&second.hash), 3);
        assert!(!history.folder.join(".new-3").exists());
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn the_newest_hundred_are_kept() {
        let state = state();
        let history = History::open(&state).unwrap();
        for number in 0..KEPT + 5 {
            accept(&history, &format!("# {number}\n"));
        }
        let listed = revisions::kept(&state).unwrap();
        assert_eq!((listed.len(), listed[0].number), (KEPT, 6));
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let state = state();
        fs::write(&state, "a file").unwrap();
        assert!(History::open(&state).is_err());
        fs::remove_file(state).unwrap();
    }
}
