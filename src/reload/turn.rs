use std::fmt::Write;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::JoinError;

use super::include::{self, Included};
use super::settle::Settled;
use super::source::{self, Fault, Source};
use super::watch::{Secrets, shape};
use super::{Cause, First, Inner, LastReload, Loaded, Notice, Refused, Told, Verdict};
use crate::config::{Code, Diagnostic, Place, Sources};
use crate::store::History;
use crate::units::Clock;

/// What is in force, and what was last turned away.
#[derive(Debug)]
pub(super) struct State<T> {
    sources: Sources,
    hash: String,
    number: u64,
    value: T,
    secrets: Vec<PathBuf>,
    /// Hash of the text that was refused last, and what was said of it; cleared by a success.
    refused: Option<(Option<String>, Verdict)>,
    is_present: bool,
}

/// How one reading of the file ended.
#[derive(Debug)]
pub(super) enum Turn {
    Done(Verdict),
    /// The file changed meanwhile: read it again.
    Torn,
    /// The file is not the one that had come to rest.
    MovedOn,
}

impl<T> State<T> {
    /// From what the daemon started on. Files that came from disk joins the history; failing that is told, not fatal.
    pub(super) fn begin(first: First<T>, history: &History, clock: &Clock) -> (Self, Told) {
        let First { sources, hash, number, loaded, refused, included } = first;
        if refused.is_none() {
            keep(history, &sources, &hash, clock).ok();
        }
        let revision = revision(number, &hash);
        let (ok, findings, said) = match &refused {
            Some((_, refused)) => (false, refused.findings.clone(), refused.text.clone()),
            None => (true, loaded.findings, loaded.text),
        };
        let last = LastReload {
            at: clock.wall(),
            ok,
            cause: Cause::Start,
            revision: revision.clone(),
            file_hash: hash.clone(),
            findings,
            text: said,
        };
        let degraded = refused.as_ref().map(|(_, refused)| refused.text.clone());
        let mut watched = loaded.secrets.clone();
        watched.extend(refused.iter().flat_map(|(_, refused)| refused.secrets.clone()));
        let refused = refused.map(|(hash, refused)| (hash, verdict_of(&refused, &revision)));
        let state = Self { sources, hash, number, value: loaded.value, secrets: loaded.secrets, refused, is_present: true };
        let secrets = watched.into_iter().map(|path| (path.clone(), shape(&path))).collect();
        (state, Told { last, degraded, secrets, included })
    }

    fn revision(&self) -> String {
        revision(self.number, &self.hash)
    }
}

impl Told {
    fn note(&mut self, last: LastReload, secrets: Secrets) {
        if last.ok {
            self.degraded = None;
        }
        self.secrets = secrets;
        self.last = last;
    }
}

impl<T> Inner<T> {
    /// One reading of the file and all that it includes, from disk to verdict. Blocks.
    pub(super) fn turn(&self, state: &mut State<T>, cause: Cause, again: bool, settled: Option<&Settled>) -> Turn {
        let source = source::read(&self.path);
        let included = source.as_ref().ok().and_then(|source| source.included.clone());
        let is_settled = settled.is_none_or(|settled| self.is_settled(settled, included.as_ref()));
        if let Some(included) = included {
            self.told().included = included;
        }
        let source = match source {
            _ if !is_settled => return Turn::MovedOn,
            Err(Fault::Torn) => return Turn::Torn,
            source => source,
        };
        let is_running_text = source.as_ref().is_ok_and(|source| source.hash == state.hash);
        if is_running_text {
            self.present(state, true);
            return Turn::Done(if again { self.read_again(state, cause) } else { self.unchanged(state, cause) });
        }
        let verdict = match source {
            Ok(source) => self.other_text(state, cause, source, again),
            Err(Fault::Missing) => self.missing(state, cause),
            Err(fault) => {
                self.present(state, true);
                self.refuse(state, cause, None, &fault.refused(&self.path), self.known_secrets(state))
            }
        };
        if again && !verdict.ok {
            self.refresh(state);
        }
        Turn::Done(verdict)
    }

    /// Whether what was read is what had come to rest; asked after it was read. `included`: what the file that was read includes.
    fn is_settled(&self, settled: &Settled, included: Option<&Included>) -> bool {
        let looks_the_same = || {
            let patterns = settled.included.patterns.clone();
            settled.included == Included::look(include::folder(&self.path), patterns).0
        };
        // Files that nobody watched until now have yet to come to rest.
        settled.file == shape(&self.path)
            && included.is_none_or(|included| included.patterns == settled.included.patterns)
            && looks_the_same()
    }

    fn other_text(&self, state: &mut State<T>, cause: Cause, source: Source, again: bool) -> Verdict {
        self.present(state, true);
        match &state.refused {
            Some((Some(hash), verdict)) if *hash == source.hash && !again => return verdict.clone(),
            _ => {}
        }
        if cause != Cause::Command
            && let Some(path) = self.half_written(state, &source)
        {
            return self.refuse(state, cause, Some(source.hash), &half_written(&path), self.known_secrets(state));
        }
        let (loaded, secrets) = self.load(state, &source.sources);
        match loaded {
            Ok(loaded) => self.adopt(state, cause, source, loaded, secrets),
            Err(refused) => self.refuse(state, cause, Some(source.hash), &refused, secrets),
        }
    }

    /// The first file that looks as if the rest of it were still to come. What was in force once is whole.
    fn half_written(&self, state: &State<T>, source: &Source) -> Option<PathBuf> {
        if self.history.knows(&source.hash) {
            return None;
        }
        let running = state.sources.files();
        let mut pairs = source.sources.files().iter().enumerate().filter_map(|(at, file)| {
            let known = if at == 0 { running.first() } else { running.iter().skip(1).find(|known| known.path == file.path) };
            Some((at, file, known?))
        });
        let (at, file, _) = pairs.find(|(_, file, known)| (self.hooks.is_half_written)(&known.text, &file.text))?;
        Some(if at == 0 { self.path.clone() } else { include::folder(&self.path).join(&file.path) })
    }

    /// The check, and how each secret looked afterwards that it or the running value needs.
    fn load(&self, state: &State<T>, sources: &Sources) -> (Result<Loaded<T>, Refused>, Secrets) {
        (self.hooks.notice)(Notice::Begun);
        let loaded = (self.hooks.load)(sources);
        let needed = match &loaded {
            Ok(loaded) => loaded.secrets.clone(),
            Err(refused) => [state.secrets.as_slice(), &refused.secrets].concat(),
        };
        (loaded, needed.into_iter().map(|path| (path.clone(), shape(&path))).collect())
    }

    fn adopt(&self, state: &mut State<T>, cause: Cause, source: Source, loaded: Loaded<T>, secrets: Secrets) -> Verdict {
        let Source { sources, hash, included: _ } = source;
        let number = self.history.number_of(&hash);
        let removed = (self.hooks.losses)(&state.value, &loaded.value);
        let mut said = format!("revision {} is in force\n", revision(number, &hash));
        said.extend(removed.iter().map(|name| format!("removed: {name}\n")));
        let Loaded { value, secrets: needed, findings, text: warnings } = loaded;
        said.push_str(&warnings);
        let next = State { sources, hash, number, value, secrets: needed, refused: None, is_present: state.is_present };
        let revision = next.revision();
        let mut verdict = Verdict { ok: true, changed: true, revision, text: said, findings, removed };
        // Whoever looks finds the new revision and the word that it was accepted together.
        let mut told = self.told();
        (self.hooks.adopt)(&next.value, number, &next.hash);
        told.note(self.last(&next, cause, &verdict), secrets.clone());
        drop(told);
        *state = next;
        if let Err(error) = keep(&self.history, &state.sources, &state.hash, &self.clock) {
            writeln!(verdict.text, "warning: it could not be kept in the state folder: {error}").ok();
        }
        let (revision, warnings) = (&verdict.revision, verdict.findings.len());
        tracing::info!(revision, cause = cause.as_str(), warnings, "a changed file is in force");
        for name in &verdict.removed {
            tracing::warn!(revision, removed = %name, "the new file removes this");
        }
        self.tell(state, cause, &verdict, secrets);
        verdict
    }

    /// The running text once more, with the secrets as they are now.
    fn read_again(&self, state: &mut State<T>, cause: Cause) -> Verdict {
        let (loaded, secrets) = self.load(state, &state.sources);
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(refused) => return self.refuse(state, cause, None, &refused, secrets),
        };
        (self.hooks.adopt)(&loaded.value, state.number, &state.hash);
        state.value = loaded.value;
        state.secrets = loaded.secrets;
        state.refused = None;
        let revision = state.revision();
        tracing::info!(revision, cause = cause.as_str(), "the file did not change, its secrets were read again");
        let said = format!("unchanged: revision {revision} stays in force, its secrets were read again\n{}", loaded.text);
        let verdict = Verdict { ok: true, changed: false, revision, text: said, findings: loaded.findings, removed: Vec::new() };
        self.tell(state, cause, &verdict, secrets);
        verdict
    }

    /// Fresh secrets for the running text while the file on disk is refused, so that a key can be changed all the same.
    fn refresh(&self, state: &mut State<T>) {
        if state.secrets.is_empty() {
            return;
        }
        if let Ok(loaded) = (self.hooks.load)(&state.sources) {
            (self.hooks.adopt)(&loaded.value, state.number, &state.hash);
            state.value = loaded.value;
            state.secrets = loaded.secrets;
            tracing::info!(revision = state.revision(), "the running revision has its secrets read again");
        }
    }

    fn unchanged(&self, state: &mut State<T>, cause: Cause) -> Verdict {
        let revision = state.revision();
        let text = format!("unchanged: revision {revision} stays in force\n");
        let verdict = Verdict { ok: true, changed: false, revision, text, findings: Vec::new(), removed: Vec::new() };
        // News only where the file came back from something that was refused.
        if state.refused.take().is_some() {
            tracing::info!(revision = verdict.revision, cause = cause.as_str(), "the file is back at the running revision");
            self.tell(state, cause, &verdict, self.known_secrets(state));
        }
        verdict
    }

    fn missing(&self, state: &mut State<T>, cause: Cause) -> Verdict {
        let refused = Fault::Missing.refused(&self.path);
        if self.present(state, false) {
            tracing::warn!(path = %self.path.display(), "the file is gone, the running revision goes on");
        }
        if cause.is_asked_for() {
            self.refuse(state, cause, None, &refused, self.known_secrets(state))
        } else {
            verdict_of(&refused, &state.revision())
        }
    }

    /// True when that is news.
    fn present(&self, state: &mut State<T>, is_present: bool) -> bool {
        let is_news = std::mem::replace(&mut state.is_present, is_present) != is_present;
        if is_news {
            (self.hooks.notice)(Notice::Present(is_present));
        }
        is_news
    }

    fn refuse(&self, state: &mut State<T>, cause: Cause, hash: Option<String>, refused: &Refused, secrets: Secrets) -> Verdict {
        let verdict = verdict_of(refused, &state.revision());
        log_refusal(cause, refused, &verdict.revision);
        state.refused = Some((hash, verdict.clone()));
        self.tell(state, cause, &verdict, secrets);
        verdict
    }

    /// The secrets of the running value alone.
    fn known_secrets(&self, state: &State<T>) -> Secrets {
        let mut known = self.told().secrets.clone();
        known.retain(|path, _| state.secrets.contains(path));
        known
    }

    /// For `status`, and for whoever listens.
    fn tell(&self, state: &State<T>, cause: Cause, verdict: &Verdict, secrets: Secrets) {
        self.told().note(self.last(state, cause, verdict), secrets);
        // What is watched may be other files now.
        self.hints.notify_one();
        (self.hooks.notice)(Notice::Ended(verdict));
    }

    fn last(&self, state: &State<T>, cause: Cause, verdict: &Verdict) -> LastReload {
        LastReload {
            at: self.clock.wall(),
            ok: verdict.ok,
            cause,
            revision: verdict.revision.clone(),
            file_hash: state.hash.clone(),
            findings: verdict.findings.clone(),
            text: verdict.text.clone(),
        }
    }

    pub(super) fn ignored(&self, cause: Cause) -> Verdict {
        tracing::info!(cause = cause.as_str(), "reload ignored while draining");
        let text = "the daemon is stopping: reload ignored\n".into();
        verdict_of(&Refused { text, ..Refused::default() }, &self.told().last.revision)
    }

    /// A hook panicked; what was in force before still is.
    pub(super) fn broken(&self, cause: Cause, error: &JoinError) -> Verdict {
        tracing::error!(cause = cause.as_str(), %error, "a reload failed inside tollgate");
        let text = "error[internal]: the reload failed inside tollgate, its log says where\n".into();
        self.failed(cause, &Refused { text, ..Refused::default() })
    }

    pub(super) fn unsettled(&self, cause: Cause) -> Verdict {
        let refused = Fault::Torn.refused(&self.path);
        log_refusal(cause, &refused, &self.told().last.revision);
        self.failed(cause, &refused)
    }

    /// What is in force is known from what was told of it last.
    fn failed(&self, cause: Cause, refused: &Refused) -> Verdict {
        let mut told = self.told();
        let verdict = verdict_of(refused, &told.last.revision);
        let (findings, text) = (verdict.findings.clone(), verdict.text.clone());
        told.last = LastReload { at: self.clock.wall(), ok: false, cause, findings, text, ..told.last.clone() };
        drop(told);
        (self.hooks.notice)(Notice::Ended(&verdict));
        verdict
    }
}

fn revision(number: u64, hash: &str) -> String {
    format!("{number}-{}", hash.get(..12).unwrap_or(hash))
}

fn verdict_of(refused: &Refused, revision: &str) -> Verdict {
    let text = format!("{}not reloaded: revision {revision} goes on\n", refused.text);
    Verdict { ok: false, changed: false, revision: revision.to_owned(), text, findings: refused.findings.clone(), removed: Vec::new() }
}

fn half_written(path: &Path) -> Refused {
    let message = "the file looks half-written: it ends before the running one does".to_owned();
    let hint = "it is loaded when the rest comes; `tollgate reload` loads it as it is".to_owned();
    let text = format!("error[half-written]: {message}\n  --> {}\n   hint: {hint}\n", path.display());
    let finding = Diagnostic::error(Code::HALF_WRITTEN, Place::default(), message).hint(hint);
    let finding = Diagnostic { file: Some(path.display().to_string().into()), ..finding };
    Refused { text, findings: vec![finding], secrets: Vec::new() }
}

fn log_refusal(cause: Cause, refused: &Refused, revision: &str) {
    let worst = refused.findings.iter().min_by_key(|finding| finding.severity);
    let place = worst.map(|finding| finding.place).unwrap_or_default();
    tracing::error!(
        cause = cause.as_str(),
        revision,
        findings = refused.findings.len(),
        code = worst.map(|finding| finding.code.as_str()),
        file = worst.and_then(|finding| finding.file.as_deref().map(String::as_str)),
        line = place.line,
        column = place.column,
        finding = worst.map(|finding| finding.message.as_str()),
        "the file is refused, the running revision goes on"
    );
}

/// A failure is told and keeps nothing from coming into force.
fn keep(history: &History, sources: &Sources, hash: &str, clock: &Clock) -> io::Result<()> {
    history
        .accept(sources, hash, clock.wall())
        .map(drop)
        .inspect_err(|error| tracing::warn!(%error, "an accepted file could not be kept in the state folder"))
}
