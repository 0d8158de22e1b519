use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// How many accepted files are kept.
const KEPT: usize = 100;
/// Digits of the hash that stand in a file's name.
const SHORT: usize = 12;

/// SHA-256 of a file's bytes, in lower-case hex.
#[must_use]
pub fn content_hash(bytes: &[u8]) -> String {
    use fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

/// A file that was in force once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Grows with every accepted change; never used twice.
    pub number: u64,
    /// [`content_hash`] of the text.
    pub hash: String,
    /// When it was accepted.
    pub at: Timestamp,
    pub text: String,
}

/// The accepted files in `<state>/revisions`, each under its number and the beginning of its hash. The newest 100 are kept.
#[derive(Debug)]
pub struct History {
    folder: PathBuf,
    newest: Mutex<Newest>,
}

/// The highest number that is taken, and the content that took it; no content when its file turned out damaged.
#[derive(Clone, Debug, Default)]
struct Newest {
    number: u64,
    hash: Option<String>,
}

impl History {
    /// Opens the history below the state folder and makes what is missing. Fails when the folder cannot be made or listed.
    pub fn open(state: &Path) -> io::Result<Self> {
        let folder = state.join("revisions");
        // A file may hold keys in plain text, so nobody else reads it.
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(".new-") {
                fs::remove_file(entry.path())?;
            }
        }
        let listed = list(&folder)?;
        let number = listed.last().map_or(0, |name| name.number);
        let hash = listed.last().and_then(|name| read(&folder, name)).map(|accepted| accepted.hash);
        Ok(Self { folder, newest: Mutex::new(Newest { number, hash }) })
    }

    /// The newest accepted file that is whole. Damaged ones are passed over.
    #[must_use]
    pub fn last(&self) -> Option<Accepted> {
        let listed = list(&self.folder).unwrap_or_default();
        listed.iter().rev().find_map(|name| read(&self.folder, name))
    }

    /// The number that a file of this content has or would get: content that did not change keeps its number.
    #[must_use]
    pub fn number_of(&self, hash: &str) -> u64 {
        let newest = self.lock();
        if newest.hash.as_deref() == Some(hash) { newest.number } else { newest.number.saturating_add(1) }
    }

    /// Keeps an accepted file, safe on disk when this returns. On failure the number is taken all the same, since the file is in force.
    pub fn accept(&self, text: &str, hash: &str, wall: Timestamp) -> io::Result<Accepted> {
        let number = self.number_of(hash);
        *self.lock() = Newest { number, hash: Some(hash.to_owned()) };
        let name = Name { number, short: hash.get(..SHORT).unwrap_or(hash).to_owned() };
        let path = self.folder.join(name.to_string());
        if !path.exists() {
            self.write(&name, text, wall)?;
            self.prune()?;
        }
        Ok(Accepted { number, hash: hash.to_owned(), at: wall, text: text.to_owned() })
    }

    fn write(&self, name: &Name, text: &str, wall: Timestamp) -> io::Result<()> {
        let beside = self.folder.join(format!(".new-{}", name.number));
        let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_modified(wall.into())?;
        file.sync_all()?;
        fs::rename(&beside, self.folder.join(name.to_string()))?;
        File::open(&self.folder)?.sync_all()
    }

    fn prune(&self) -> io::Result<()> {
        let listed = list(&self.folder)?;
        let surplus = listed.len().saturating_sub(KEPT);
        listed.iter().take(surplus).try_for_each(|name| fs::remove_file(self.folder.join(name.to_string())))
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A kept file's name: `000007-3f2a9c1b04de.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    number: u64,
    short: String,
}

impl Name {
    fn parse(text: &str) -> Option<Self> {
        let (number, short) = text.strip_suffix(".yaml")?.split_once('-')?;
        let is_hex = short.len() == SHORT && short.bytes().all(|b| b.is_ascii_hexdigit());
        let name = Self { number: number.parse().ok()?, short: short.to_owned() };
        (is_hex && name.to_string() == text).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}-{}.yaml", self.number, self.short)
    }
}

/// Oldest first.
fn list(folder: &Path) -> io::Result<Vec<Name>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(Name::parse(&entry?.file_name().to_string_lossy()));
    }
    names.sort_unstable();
    Ok(names)
}

/// The kept file, unless it is damaged: its hash then is not the one in its name.
fn read(folder: &Path, name: &Name) -> Option<Accepted> {
    let path = folder.join(name.to_string());
    let whole = fs::read(&path).and_then(|bytes| Ok((bytes, fs::metadata(&path)?.modified()?)));
    let (bytes, modified) = match whole {
        Ok(whole) => whole,
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "an accepted file cannot be read");
            return None;
        }
    };
    let hash = content_hash(&bytes);
    match String::from_utf8(bytes) {
        Ok(text) if hash.starts_with(&name.short) => {
            Some(Accepted { number: name.number, hash, at: Timestamp::try_from(modified).unwrap_or(Timestamp::UNIX_EPOCH), text })
        }
        _ => {
            tracing::warn!(file = %path.display(), "an accepted file is damaged");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> PathBuf {
        std::env::temp_dir().join(format!("tollgate-history-{}", uuid::Uuid::now_v7()))
    }

    fn accept(history: &History, text: &str) -> Accepted {
        history.accept(text, &content_hash(text.as_bytes()), Timestamp::from_second(1_800_000_000).unwrap()).unwrap()
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
        assert_eq!((last.number, last.text.as_str(), last.at.as_second()), (3, "a", 1_800_000_000));
        assert_eq!((again.number_of(&content_hash(b"a")), again.number_of(&content_hash(b"c"))), (3, 4));
        fs::remove_dir_all(state).unwrap();
    }

    #[test]
    fn a_torn_file_is_passed_over_and_its_number_is_not_used_again() {
        let state = state();
        let history = History::open(&state).unwrap();
        accept(&history, "version: 1\n");
        let second = accept(&history, "version: 1\nrules: []\n");
        let path = history.folder.join(Name { number: 2, short: second.hash[..SHORT].into() }.to_string());
        fs::write(&path, "version: 1\nrul").unwrap();
        fs::write(history.folder.join(".new-3"), "version").unwrap();
        fs::write(history.folder.join("notes.txt"), "mine").unwrap();
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
        let listed = list(&history.folder).unwrap();
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
