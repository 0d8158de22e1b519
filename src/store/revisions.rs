//! Accepted configurations on disk: one folder each, with the files as they were and a note of what belongs to it.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::config::{SourceFile, Sources};

/// Digits of the hash that stand in a folder's name.
const SHORT: usize = 12;
/// The note in each folder. No configuration has a file of that name: hidden files are never included.
const NOTE: &str = ".revision.json";

/// SHA-256 of a file's bytes, in lower-case hex.
#[must_use]
pub fn content_hash(bytes: &[u8]) -> String {
    use fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

/// What a configuration is known by: the [`content_hash`] of its one file, or of what `sha256sum` prints for its files in their order.
#[must_use]
pub fn sources_hash(sources: &Sources) -> String {
    if let [file] = sources.files() {
        return content_hash(file.text.as_bytes());
    }
    let lines: Vec<String> =
        sources.files().iter().map(|file| format!("{}  {}\n", content_hash(file.text.as_bytes()), file.path)).collect();
    content_hash(lines.concat().as_bytes())
}

/// A configuration that was in force once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Grows with every accepted change; never used twice.
    pub number: u64,
    /// [`sources_hash`] of the files.
    pub hash: String,
    /// When it was accepted.
    pub at: Timestamp,
    pub sources: Sources,
}

/// An accepted configuration in the state folder, not yet read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    pub number: u64,
    /// The beginning of the hash.
    pub short: String,
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Note {
    hash: String,
    accepted_at: Timestamp,
    /// The main file first, then the included ones in their order.
    files: Vec<String>,
}

/// What is kept below a state folder, oldest first. Fails where the folder cannot be listed.
pub fn kept(state: &Path) -> io::Result<Vec<Kept>> {
    list(&state.join("revisions"))
}

pub(super) fn list(folder: &Path) -> io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        kept.extend(Kept::parse(&entry.file_name().to_string_lossy(), entry.path()));
    }
    kept.sort_unstable();
    Ok(kept)
}

impl Kept {
    /// Reads it. Fails with `InvalidData` where its files are not those that were accepted.
    pub fn read(&self) -> io::Result<Accepted> {
        let note: Note = serde_json::from_slice(&fs::read(self.folder.join(NOTE))?)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", self.folder.display()));
        let mut files = note.files.into_iter().map(|path| {
            if !Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(damaged());
            }
            let text = fs::read_to_string(self.folder.join(&path))?;
            Ok(SourceFile { path, text })
        });
        let main = files.next().ok_or_else(damaged)??;
        let mut sources = Sources::new(main.path, main.text);
        for file in files {
            sources.add(file?);
        }
        if sources_hash(&sources) != note.hash || !note.hash.starts_with(&self.short) {
            return Err(damaged());
        }
        Ok(Accepted { number: self.number, hash: note.hash, at: note.accepted_at, sources })
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_dir_all(&self.folder)
    }

    /// `000007-3f2a9c1b04de`.
    fn parse(name: &str, folder: PathBuf) -> Option<Self> {
        let (number, short) = name.split_once('-')?;
        let is_hex = short.len() == SHORT && short.bytes().all(|b| b.is_ascii_hexdigit());
        let kept = Self { number: number.parse().ok()?, short: short.to_owned(), folder };
        (is_hex && folder_name(kept.number, short) == name).then_some(kept)
    }
}

/// `7-3f2a9c1b04de`, as everywhere else.
impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.short)
    }
}

fn folder_name(number: u64, hash: &str) -> String {
    format!("{number:06}-{}", hash.get(..SHORT).unwrap_or(hash))
}

/// How the folder of a configuration that is not yet whole begins.
pub(super) const UNFINISHED: &str = ".new-";

/// Writes a configuration below `folder` unless it is there already. Safe on disk, whole or not at all, when this returns.
pub(super) fn write(folder: &Path, accepted: &Accepted) -> io::Result<()> {
    let last = folder.join(folder_name(accepted.number, &accepted.hash));
    if last.exists() {
        return Ok(());
    }
    let beside = folder.join(format!("{UNFINISHED}{}", accepted.number));
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    make_folder(&beside)?;
    let files = accepted.sources.files();
    let note = Note { hash: accepted.hash.clone(), accepted_at: accepted.at, files: files.iter().map(|file| file.path.clone()).collect() };
    write_file(&beside, NOTE, &serde_json::to_vec(&note)?)?;
    for file in files {
        write_file(&beside, &file.path, file.text.as_bytes())?;
    }
    fs::rename(&beside, last)?;
    File::open(folder)?.sync_all()
}

/// Files may hold keys in plain text, so nobody else reads them.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes one file and every folder on its way, each safe on disk.
fn write_file(folder: &Path, path: &str, bytes: &[u8]) -> io::Result<()> {
    let whole = folder.join(path);
    let parent = whole.parent().unwrap_or(folder);
    make_folder(parent)?;
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&whole)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    parent.ancestors().take_while(|above| above.starts_with(folder)).try_for_each(|above| File::open(above)?.sync_all())
}
