use std::path::Path;

use super::include::{self, Included};
use super::source::{self, Fault, Source};
use super::{Loaded, Refused};
use crate::config::{self, SourceFile, Sources};
use crate::store::{Accepted, History};

/// How often a file that changes while it is read is read again at the start.
const READS: usize = 100;

/// What a daemon starts on.
#[derive(Clone, Debug)]
pub struct First<T> {
    pub sources: Sources,
    /// [`sources_hash`](crate::store::sources_hash) of them.
    pub hash: String,
    /// The revision's number.
    pub number: u64,
    pub loaded: Loaded<T>,
    /// Why the file on disk is not the one in force; present when the last good one had to stand in.
    pub refused: Option<(Option<String>, Refused)>,
    /// What the file on disk includes, as it looked when it was read.
    pub(super) included: Included,
}

/// Reads a file and all that it includes as a reload would: regular, at most 1 MiB each, UTF-8. For the commands that check a file.
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

/// The files that a main file at `path` would bring along if it said `text`. What cannot be read of them is left out.
#[must_use]
pub fn included_by(path: &Path, text: &str) -> Vec<SourceFile> {
    let includes = config::includes(text).unwrap_or_default();
    for _ in 0..READS {
        if let Ok(sources) = include::gather(path, text.to_owned(), &includes) {
            return sources.files().iter().skip(1).cloned().collect();
        }
    }
    Vec::new()
}

/// The file a daemon starts on: the one on disk, else, where `may_fall_back`, the newest accepted one that still loads.
pub fn first<T>(
    path: &Path,
    history: &History,
    may_fall_back: bool,
    load: impl Fn(&Sources) -> Result<Loaded<T>, Refused>,
) -> Result<First<T>, Refused> {
    let (on_disk, included, refused) = match read_file(path) {
        Ok(Source { sources, hash, included }) => {
            let included = included.unwrap_or_default();
            match load(&sources) {
                Ok(loaded) => return Ok(First { number: history.number_of(&hash), sources, hash, loaded, refused: None, included }),
                Err(refused) => (Some(hash), included, refused),
            }
        }
        Err(refused) => (None, Included::default(), refused),
    };
    if !may_fall_back {
        return Err(refused);
    }
    let Some(Accepted { number, hash, at, sources }) = history.last() else { return Err(refused) };
    let Ok(loaded) = load(&sources) else { return Err(refused) };
    let findings = &refused.text;
    tracing::error!(revision = number, accepted_at = %at, findings, "degraded: the file is refused, the last good one serves");
    Ok(First { sources, hash, number, loaded, refused: Some((on_disk, refused)), included })
}
