use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::{self, Checked, Code, Diagnostic, Env, Place, Sources, Style};
use crate::flow::{self, Parts, Running};
use crate::reload::{Loaded, Refused, read_file};
use crate::rules::{self, Revision, RuleSet};
use crate::store::sources_hash;

/// The largest secret that is read from a file: 64 KiB.
const LARGEST_SECRET: u64 = 64 << 10;

/// A configuration that was looked at, and what was found in it.
#[derive(Clone, Debug)]
pub struct Checking {
    pub sources: Sources,
    pub checked: Option<Checked>,
    pub findings: Vec<Diagnostic>,
    /// Files whose content went into secrets.
    pub secrets: Vec<PathBuf>,
    /// The rules that no test of the file reaches, by name.
    pub unreached: Vec<String>,
}

impl Checking {
    #[must_use]
    pub fn render(&self, style: Style) -> String {
        config::render(&self.sources, &self.findings, style)
    }
}

/// Everything there is to find in the files, and what they say where none of that is an error.
#[must_use]
pub fn check(sources: Sources, env: &Env<'_>) -> Checking {
    let (checked, mut findings) = config::read(&sources, env);
    let mut unreached = Vec::new();
    let checked = checked.filter(|checked| {
        let now = jiff::Timestamp::now();
        findings.extend(config::expired(checked, now));
        findings.extend(config::old_scores(checked, now));
        findings.extend(rules::analyze(&RuleSet::from((checked.clone(), revision_of(&sources))), &sources));
        let tested = flow::run_tests(checked, &revision_of(&sources));
        let is_sound = tested.findings.is_empty();
        findings.extend(tested.findings);
        unreached = tested.unreached;
        is_sound
    });
    findings.sort_by_key(|finding| (finding.severity, finding.place));
    sources.name_in(&mut findings);
    Checking { sources, checked, findings, secrets: Vec::new(), unreached }
}

/// What the files say where every reference to a secret stands for itself, so that no secret need be there. Nothing where they are refused.
#[must_use]
pub fn as_written(sources: &Sources) -> Option<Checked> {
    let kept = |text: String| text.replace(|letter: char| !letter.is_ascii_graphic(), "?");
    let env = Env {
        variable: &|name| Some(kept(format!("${{{name}}}"))),
        file: &|path| Ok(kept(format!("${{file:{path}}}"))),
        credential: &|name| Ok(kept(format!("${{credential:{name}}}"))),
    };
    config::read(sources, &env).0
}

/// Checks files with the secrets of this process.
#[must_use]
pub fn check_sources(sources: Sources) -> Checking {
    let secrets = RefCell::new(Vec::new());
    let file = |path: &str| {
        secrets.borrow_mut().push(PathBuf::from(path));
        small_file(Path::new(path))
    };
    let credential = |name: &str| {
        let folder = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from).ok_or(io::ErrorKind::NotFound)?;
        secrets.borrow_mut().push(folder.join(name));
        small_file(&folder.join(name))
    };
    let env = Env { variable: &|name| std::env::var(name).ok(), file: &file, credential: &credential };
    let checking = check(sources, &env);
    Checking { secrets: secrets.into_inner(), ..checking }
}

/// Reads and checks a file and all that it includes.
pub fn check_file(path: &Path) -> Result<Checking, Refused> {
    read_file(path).map(|source| check_sources(source.sources))
}

/// Says in one line that prices are old, where they are.
pub(super) fn tell_old_prices(sources: &Sources, checked: &Checked, now: Timestamp) {
    let today = now.to_zoned(TimeZone::UTC).date();
    if let Some(old) = config::old_prices(&checked.providers, &checked.targets, &config::price_lists(sources), today) {
        tracing::warn!("{old}");
    }
}

/// What a reload loads: a sound file, or what it was refused for. The listeners of a running daemon stay as they are.
pub(super) fn load(path: &Path, sources: &Sources, running: Option<&config::Server>) -> Result<Loaded<Checked>, Refused> {
    let mut checking = check_sources(sources.clone().named(path.display().to_string()));
    if let (Some(running), Some(checked)) = (running, &checking.checked)
        && let Some(finding) = needs_restart(sources.main(), running, &checked.server)
    {
        checking.checked = None;
        checking.findings.push(finding);
        checking.sources.name_in(&mut checking.findings);
    }
    let said = checking.render(Style::Plain);
    match checking.checked {
        Some(value) => Ok(Loaded { value, secrets: checking.secrets, findings: checking.findings, text: said }),
        None => Err(Refused { text: said, findings: checking.findings, secrets: checking.secrets }),
    }
}

/// A listener's address cannot change under a running daemon.
fn needs_restart(text: &str, running: &config::Server, new: &config::Server) -> Option<Diagnostic> {
    let (key, old, new) = if running.listen != new.listen {
        ("listen:", running.listen, new.listen)
    } else if running.admin != new.admin {
        ("admin:", running.admin, new.admin)
    } else {
        return None;
    };
    let block = if text.starts_with("server:") { 0 } else { text.find("\nserver:").unwrap_or_default() };
    let start = block + text[block..].find(key).unwrap_or_default();
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let place = Place {
        file: 0,
        line: text[..start].matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        start,
        end: start + key.len() - 1,
    };
    let message = format!("`server.{}` changes from {old} to {new}, and the daemon listens already", key.trim_end_matches(':'));
    let finding = Diagnostic::error(Code::NEEDS_RESTART, place, message);
    Some(finding.hint("restart the daemon for a new address, or keep the old one; everything else can change while it runs"))
}

/// How findings look on this process's standard error.
#[must_use]
pub fn style_for_people() -> Style {
    if io::stderr().is_terminal() { Style::Colour } else { Style::Plain }
}

/// The file's rules as they would run, with nothing resting and nothing used up, for questions. Nothing where it is refused: then
/// the findings were printed.
pub fn offline(path: &Path) -> anyhow::Result<Option<Running>> {
    let checking = match check_file(path) {
        Ok(checking) => checking,
        Err(refused) => {
            anstream::eprint!("{}", refused.text);
            return Ok(None);
        }
    };
    let revision = revision_of(&checking.sources);
    if let Some(checked) = checking.checked {
        return Ok(Some(Parts::offline().adopt(RuleSet::from((checked, revision)))));
    }
    anstream::eprint!("{}", checking.render(style_for_people()));
    Ok(None)
}

/// The revision of files that no daemon has numbered.
fn revision_of(sources: &Sources) -> Revision {
    Revision { number: 0, hash: sources_hash(sources) }
}

/// The state folder: `--state`, else `$STATE_DIRECTORY`, else `server.state`, else `./state`.
#[must_use]
pub fn state_folder(option: Option<&Path>, config: &Path) -> PathBuf {
    let from_systemd = || std::env::var("STATE_DIRECTORY").ok().and_then(|folders| folders.split(':').next().map(PathBuf::from));
    let from_file = || {
        let sources = read_file(config).ok()?.sources;
        match check_sources(sources.clone()).checked {
            Some(checked) => checked.server.state,
            None => stated(sources.main()),
        }
    };
    option.map(Path::to_owned).or_else(from_systemd).or_else(from_file).unwrap_or_else(|| PathBuf::from("state"))
}

/// `server.state` of a file that is refused for something else, so that the daemon that runs on its last good form is found, and the
/// form itself. The text is scanned, since it may be no YAML.
fn stated(text: &str) -> Option<PathBuf> {
    let mut is_server = false;
    for line in text.lines() {
        if !line.starts_with([' ', '\t', '#', '}']) {
            is_server = line.starts_with("server:");
        }
        let Some(at) = line.find("state:").filter(|_| is_server) else { continue };
        let (before, after) = (&line[..at], line[at + "state:".len()..].trim_start());
        if before.contains('#') || before.ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let value = match after.chars().next()? {
            quote @ ('"' | '\'') => after[1..].split(quote).next(),
            _ => after.split([',', '}', '#']).next(),
        };
        return value.map(str::trim).filter(|value| !value.is_empty()).map(PathBuf::from);
    }
    None
}

/// Makes the state folder and tries a write, so that a daemon that could keep nothing does not start.
pub(super) fn writable(folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let probe = folder.join(".writable");
    OpenOptions::new().write(true).create(true).truncate(true).open(&probe)?.write_all(b"ok")?;
    std::fs::remove_file(probe)
}

fn small_file(path: &Path) -> io::Result<String> {
    // A pipe would hold up the start or a reload until somebody writes to it, and has nothing left when it is read again.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let mut text = String::new();
    file.take(LARGEST_SECRET).read_to_string(&mut text)?;
    Ok(text)
}
