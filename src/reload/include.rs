//! `include:` on disk: which files its entries name, what they hold, how they look, and where a change could bring others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use glob::{MatchOptions, Pattern};

use super::source::{self, Fault};
use super::watch::{Shape, Trail, shape};
use crate::config::{Code, Diagnostic, Include, Place, SourceFile, Sources};

/// Most files that one configuration may include.
const MOST: usize = 100;
/// Most bytes that the files of one configuration may have in all.
const LARGEST: usize = 4 << 20;

/// What the entries of an `include` name on disk, and how it looks there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Included {
    pub(super) patterns: Vec<String>,
    files: BTreeMap<PathBuf, (Shape, Vec<(PathBuf, PathBuf)>)>,
}

impl Included {
    /// How what `patterns` name below `folder` looks now, and every directory in which a change could make it look otherwise.
    pub(super) fn look(folder: &Path, patterns: Vec<String>) -> (Self, BTreeSet<PathBuf>) {
        let mut included = Self { patterns, files: BTreeMap::new() };
        let mut directories = BTreeSet::new();
        for pattern in &included.patterns {
            let found = Found::of(folder, pattern);
            for searched in found.searched {
                // The name of a file that may come: its directory is watched, or the last one on the way there.
                directories.extend(Trail::follow(&searched.join("*")).directories);
            }
            for file in found.files {
                let path = folder.join(file);
                let trail = Trail::follow(&path);
                directories.extend(trail.directories);
                included.files.insert(path.clone(), (shape(&path), trail.links));
            }
        }
        (included, directories)
    }
}

/// Where the included files of the main file at `path` are.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The main file at `path` with all that it includes. What is wrong with an entry is a fault of the sources; only files that change
/// while they are read are a fault of the reading.
pub(super) fn gather(path: &Path, text: String, includes: &[Include]) -> Result<Sources, Fault> {
    let seen = BTreeMap::from([(identity(path), None)]);
    let (size, sources) = (text.len(), Sources::new(path.display().to_string(), text));
    let mut gathering = Gathering { folder: folder(path), sources, size, seen };
    for include in includes {
        if !gathering.entry(include)? {
            break;
        }
    }
    Ok(gathering.sources)
}

struct Gathering<'a> {
    folder: &'a Path,
    sources: Sources,
    size: usize,
    /// Every file so far by what it is on disk; nothing for the main one, else its path.
    seen: BTreeMap<PathBuf, Option<String>>,
}

impl Gathering<'_> {
    /// Adds what one entry names. False when there is no room for more.
    fn entry(&mut self, include: &Include) -> Result<bool, Fault> {
        let found = Found::of(self.folder, &include.pattern);
        if let Some(fault) = found.fault {
            self.sources.add_fault(Diagnostic { place: include.place, ..fault });
            return Ok(true);
        }
        if found.files.is_empty() {
            let finding = Diagnostic::warning(Code::UNMATCHED_INCLUDE, include.place, format!("no file matches `{}`", include.pattern));
            self.sources.add_fault(finding.hint("a file that matches is read as soon as it is there"));
        }
        for file in found.files {
            if !self.file(include, file)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn file(&mut self, include: &Include, file: String) -> Result<bool, Fault> {
        let path = self.folder.join(&file);
        match self.seen.insert(identity(&path), Some(file.clone())) {
            None => {}
            Some(first) => {
                self.sources.add_fault(twice(include, &file, first.as_deref()));
                return Ok(true);
            }
        }
        match source::read_text(&path) {
            Ok(text) => {
                self.size += text.len();
                if self.seen.len() > MOST + 1 || self.size > LARGEST {
                    let message = "the included files are more than 100, or larger than 4 MiB in all";
                    let finding = Diagnostic::error(Code::TOO_MANY_FILES, include.place, message);
                    self.sources
                        .add_fault(finding.hint(format!("`{file}` is one too many: does `{}` name what it should?", include.pattern)));
                    return Ok(false);
                }
                self.sources.add(SourceFile { path: file, text });
            }
            // It was there when its folder was read.
            Err(Fault::Missing) if is_pattern(&include.pattern) && fs::symlink_metadata(&path).is_err() => return Err(Fault::Torn),
            Err(Fault::Torn) => return Err(Fault::Torn),
            Err(Fault::Missing) => {
                let fault = self.missing(include, &file);
                self.sources.add_fault(fault);
            }
            Err(Fault::Unsound(why)) => self.sources.add_fault(unsound(include, &file, why)),
        }
        Ok(true)
    }

    fn missing(&self, include: &Include, file: &str) -> Diagnostic {
        let finding = Diagnostic::error(Code::MISSING_INCLUDE, include.place, format!("there is no file `{file}`"));
        let beside = file.rsplit_once('/').map_or("*".into(), |(folder, _)| format!("{folder}/*"));
        let known: Vec<String> = Found::of(self.folder, &beside).files;
        let main = self.sources.files().first().map(|main| main.path.as_str());
        let is_yaml = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
        let is_meant = |known: &&str| is_yaml(known) && Some(*known) != main;
        let known: Vec<&str> = known.iter().map(String::as_str).filter(is_meant).collect();
        if known.is_empty() { finding.hint("paths begin at the main file's folder") } else { finding.hint_nearest(file, known) }
    }
}

/// What a file is on disk, under whatever name.
fn identity(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn twice(include: &Include, file: &str, first: Option<&str>) -> Diagnostic {
    let (message, hint) = match first {
        None => (format!("`{file}` is the main file itself"), "keep included files in a folder of their own: `rules/*.yaml`"),
        Some(first) if first == file => (format!("`{file}` is included twice"), "take one of the two out, or narrow the pattern"),
        Some(first) => (format!("`{file}` and `{first}` are one and the same file"), "include it under one of its names"),
    };
    Diagnostic::error(Code::DUPLICATE_INCLUDE, include.place, message).hint(hint)
}

/// A file that cannot be read, told where it is included.
fn unsound(include: &Include, file: &str, why: Diagnostic) -> Diagnostic {
    let at = if why.place.line > 0 { format!(" in line {}", why.place.line) } else { String::new() };
    let message = format!("`{file}` cannot be included: {}{at}", why.message);
    let hint = match why.code {
        Code::NOT_A_FILE => Some(format!("name files, as in `{file}/*.yaml`")),
        _ => why.hint.clone(),
    };
    Diagnostic { message, hint, place: include.place, ..why }
}

/// What one path or pattern names.
#[derive(Debug, Default)]
struct Found {
    /// Below the main file's folder, sorted by name. A path without wildcards is named whether it is there or not.
    files: Vec<String>,
    /// Every folder whose names were looked through.
    searched: Vec<PathBuf>,
    /// Why nothing can be said of it; without a place.
    fault: Option<Diagnostic>,
}

impl Found {
    fn of(folder: &Path, pattern: &str) -> Self {
        let mut found = Self::default();
        let parts: Vec<&str> = pattern.split('/').collect();
        if let Err(fault) = found.walk(folder, String::new(), &parts, false) {
            found.fault = Some(fault);
        }
        found
    }

    /// `at` is what stands before `parts`, below `folder`; `is_found`: it came from a wildcard.
    fn walk(&mut self, folder: &Path, at: String, parts: &[&str], is_found: bool) -> Result<(), Diagnostic> {
        let [part, rest @ ..] = parts else {
            if !is_found || may_be_file(&folder.join(&at)) {
                self.files.push(at);
            }
            return Ok(());
        };
        let below = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}/{name}") };
        if !is_pattern(part) {
            return self.walk(folder, below(part), rest, is_found);
        }
        let pattern = Pattern::new(part).map_err(|error| {
            let finding = Diagnostic::error(Code::BAD_INCLUDE, Place::default(), format!("`{part}` is no pattern: {}", error.msg));
            finding.hint("close the `[`, or write `[[]` for a `[` that is part of a name")
        })?;
        self.searched.push(folder.join(&at));
        for name in names(&folder.join(&at), &pattern).map_err(|error| unlisted(&at, &error))? {
            // One more than there may be is enough to say so.
            if self.files.len() > MOST {
                break;
            }
            self.walk(folder, below(&name), rest, true)?;
        }
        Ok(())
    }
}

/// A folder that matches is meant by nobody; a link to nothing is a file that is missing.
fn may_be_file(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => !metadata.is_dir(),
        Err(_) => fs::symlink_metadata(path).is_ok(),
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The names in a folder that match, sorted; hidden ones never do. A folder that is not there has none.
fn names(folder: &Path, pattern: &Pattern) -> io::Result<Vec<String>> {
    let options = MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        names.extend(name.to_str().filter(|name| !name.starts_with('.') && pattern.matches_with(name, options)).map(str::to_owned));
    }
    names.sort_unstable();
    Ok(names)
}

fn unlisted(folder: &str, error: &io::Error) -> Diagnostic {
    let folder = if folder.is_empty() { "." } else { folder };
    let message = format!("the folder `{folder}` cannot be read: {}", error.kind());
    Diagnostic::error(Code::UNREADABLE, Place::default(), message).hint("the daemon's user must be able to list it")
}
