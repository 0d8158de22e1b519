use std::path::Path;

use super::source::{self, Fault, Source};
use super::{Loaded, Refused};
use crate::store::{History, content_hash};

/// How often a file that changes while it is read is read again at the start.
const READS: usize = 100;

/// What a daemon starts on.
#[derive(Clone, Debug)]
pub struct First<T> {
    pub text: String,
    /// [`content_hash`] of the text.
    pub hash: String,
    /// The revision's number.
    pub number: u64,
    pub loaded: Loaded<T>,
    /// Why the file on disk is not the one in force; present when the last good one had to stand in.
    pub refused: Option<(Option<String>, Refused)>,
}

/// Reads a file as a reload would: regular, at most 1 MiB, UTF-8. For the commands that check a file.
pub fn read_file(path: &Path) -> Result<Source, Refused> {
    for _ in 0..READS {
        match source::read(path) {
            Err(Fault::Torn) => {}
            Err(fault) => return Err(fault.refused(path)),
            Ok(source) => return Ok(source),
        }
    }
    Err(Fault::Torn.refused(path))
}

/// The file a daemon starts on: the one on disk, else, where `may_fall_back`, the newest accepted one that still loads.
pub fn first<T>(
    path: &Path,
    history: &History,
    may_fall_back: bool,
    load: impl Fn(&str) -> Result<Loaded<T>, Refused>,
) -> Result<First<T>, Refused> {
    let (hash, refused) = match read_file(path) {
        Ok(Source { text, hash }) => match load(&text) {
            Ok(loaded) => return Ok(First { number: history.number_of(&hash), text, hash, loaded, refused: None }),
            Err(refused) => (Some(hash), refused),
        },
        Err(refused) => (None, refused),
    };
    if !may_fall_back {
        return Err(refused);
    }
    let Some(accepted) = history.last() else { return Err(refused) };
    let Ok(loaded) = load(&accepted.text) else { return Err(refused) };
    let (revision, accepted_at, findings) = (accepted.number, accepted.at, &refused.text);
    tracing::error!(revision, %accepted_at, findings, "degraded: the file is refused, the last good one serves");
    let hash_of_good = content_hash(accepted.text.as_bytes());
    Ok(First { text: accepted.text, hash: hash_of_good, number: accepted.number, loaded, refused: Some((hash, refused)) })
}
