use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

use super::daemon::Daemon;
use super::patch::patch;
use super::revisions::{self, label};
use super::{exit, print, print_json};
use crate::app::{Staged, as_written, check_sources, style_for_people};
use crate::config::{Checked, SourceFile, masked};
use crate::reload::{included_by, read_file};
use crate::store::{Accepted, Kept};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    daemon: Daemon,
    /// The revision to bring back: its number, or `7-3f2a9c1b04de`
    #[arg(value_name = "REV")]
    revision: String,
    /// Write the file instead of printing a patch; a running daemon takes it up by itself
    #[arg(long)]
    write: bool,
}

/// What stands between the files on disk and those of a revision. Paths begin at the main file's folder.
struct Way {
    folder: PathBuf,
    /// Files that are to say something else, the main one first, each with what it says now; absent where it is not there.
    write: Vec<(SourceFile, Option<Vec<u8>>)>,
    /// Files that the revision would include and did not.
    remove: Vec<SourceFile>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let found = revisions::all(&options.daemon).and_then(|kept| Ok((revisions::revision(&kept, &options.revision)?, kept)));
    let (accepted, kept) = match found {
        Ok(found) => found,
        Err(unfound) => {
            anstream::eprint!("{}", unfound.text);
            return Ok(ExitCode::from(unfound.code));
        }
    };
    let file = options.daemon.config();
    let way = Way::to(file, &accepted)?;
    let is_there = way.write.is_empty() && way.remove.is_empty();
    if is_there {
        anstream::eprintln!("{} says what revision {} says: nothing to bring back", file.display(), label(&accepted));
    } else if !options.write {
        return print_patch(&way, file, &accepted);
    } else if let Some(code) = refusal(options, &accepted)? {
        return Ok(ExitCode::from(code));
    } else if let Err(error) = write(&way, file, &kept, &accepted) {
        return Ok(ExitCode::from(told_failure(&error)));
    }
    if options.daemon.json() {
        let names = |files: Vec<&SourceFile>| files.iter().map(|file| file.path.clone()).collect::<Vec<_>>();
        print_json(&serde_json::json!({
            "revision": label(&accepted),
            "written": names(way.write.iter().map(|(file, _)| file).collect()),
            "removed": names(way.remove.iter().collect()),
        }))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Way {
    fn to(main: &Path, accepted: &Accepted) -> anyhow::Result<Self> {
        let folder = main.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        let mut files = accepted.sources.files().to_vec();
        // The revision may have been accepted under another name.
        files[0].path = main.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut write = Vec::new();
        for file in &files {
            let now = match fs::read(folder.join(&file.path)) {
                Ok(bytes) => Some(bytes),
                Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                Err(error) => return Err(error).with_context(|| folder.join(&file.path).display().to_string()),
            };
            if now.as_deref() != Some(file.text.as_bytes()) {
                write.push((file.clone(), now));
            }
        }
        let remove =
            included_by(main, accepted.sources.main()).into_iter().filter(|found| !files.iter().any(|file| file.path == found.path));
        Ok(Self { remove: remove.collect(), folder, write })
    }
}

fn print_patch(way: &Way, file: &Path, accepted: &Accepted) -> anyhow::Result<ExitCode> {
    let revision = label(accepted);
    let mut text = String::new();
    for (file, now) in &way.write {
        let now = now.as_deref().map(std::str::from_utf8).transpose();
        let Ok(now) = now else {
            anstream::eprintln!(
                "error: {} is no text on disk, so no patch leads to revision {revision}\n hint: `--write` replaces it",
                file.path
            );
            return Ok(ExitCode::from(exit::FINDINGS));
        };
        text += &patch(&file.path, now, Some(&file.text));
    }
    for file in &way.remove {
        text += &patch(&file.path, Some(&file.text), None);
    }
    let on_disk = read_file(file).ok().and_then(|source| as_written(&source.sources));
    let is_open = |checked: Option<&Checked>| masked(&text, checked) == text;
    if !is_open(None) || !is_open(on_disk.as_ref()) || !is_open(as_written(&accepted.sources).as_ref()) {
        anstream::eprintln!(
            "error: the patch would show a key that stands in a file in plain text\n hint: `--write` brings the revision back without showing it"
        );
        return Ok(ExitCode::from(exit::FINDINGS));
    }
    print(&text)?;
    anstream::eprintln!(
        "to bring revision {revision} back: `patch -p0 -d {}` with this, or `tollgate rollback {revision} --write`",
        way.folder.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// Why the revision cannot be brought back now, so that the file and what runs would differ; already told.
fn refusal(options: &Options, accepted: &Accepted) -> anyhow::Result<Option<u8>> {
    let revision = label(accepted);
    let checking = check_sources(accepted.sources.clone().named(options.daemon.config().display().to_string()));
    let Some(checked) = &checking.checked else {
        anstream::eprint!("{}", checking.render(style_for_people()));
        anstream::eprintln!("error: revision {revision} is refused by now, so nothing was written");
        return Ok(Some(exit::CONFIG));
    };
    let Some(status) = options.daemon.status()? else { return Ok(None) };
    for (key, address) in [("listen", checked.server.listen), ("admin", checked.server.admin)] {
        let runs = status[key].as_str().unwrap_or_default();
        // Port 0 is whatever the system chose.
        if address.port() != 0 && runs != address.to_string() {
            anstream::eprintln!(
                "error: revision {revision} has `server.{key}: {address}`, and the running daemon listens on {runs}; nothing was written"
            );
            anstream::eprintln!(" hint: stop the daemon first, or apply the patch and restart it");
            return Ok(Some(exit::FINDINGS));
        }
    }
    Ok(None)
}

/// Everything is safe on disk before the first file changes, so that a daemon sees one change.
fn write(way: &Way, main: &Path, kept: &[Kept], accepted: &Accepted) -> anyhow::Result<()> {
    let path = |file: &SourceFile| way.folder.join(&file.path);
    let mut staged = Vec::new();
    for (file, _) in &way.write {
        staged.push(Staged::new(&path(file), &file.text, main).with_context(|| path(file).display().to_string())?);
    }
    // What was accepted can be brought back like any other revision; what was not would be lost.
    let is_kept = read_file(main).is_ok_and(|source| kept.iter().any(|kept| source.hash.starts_with(&kept.short)));
    let mut told = String::new();
    for (file, now) in &way.write {
        if let (false, Some(now)) = (is_kept, now) {
            let aside = aside(&path(file));
            let context = || aside.display().to_string();
            Staged::new(&aside, &String::from_utf8_lossy(now), main).with_context(context)?.commit().with_context(context)?;
            writeln!(told, "what {} said is kept as {}", path(file).display(), aside.display())?;
        }
    }
    for file in &way.remove {
        let from = path(file);
        if is_kept {
            fs::remove_file(&from).with_context(|| from.display().to_string())?;
            writeln!(told, "{} is removed", from.display())?;
        } else {
            fs::rename(&from, aside(&from)).with_context(|| from.display().to_string())?;
            writeln!(told, "{} is kept as {}", from.display(), aside(&from).display())?;
        }
    }
    for one in staged.into_iter().rev() {
        one.commit().with_context(|| main.display().to_string())?;
    }
    anstream::eprint!("{told}");
    anstream::eprintln!("{} is revision {} again; a running daemon takes it up by itself", main.display(), label(accepted));
    Ok(())
}

/// Says what could not be written, and why. Answers the exit code.
fn told_failure(error: &anyhow::Error) -> u8 {
    anstream::eprintln!("error: {error:#}");
    if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
        anstream::eprintln!(" hint: run it as root or as the owner of the files");
        return exit::NO_PERMISSION;
    }
    exit::IO
}

/// Hidden, so that no `include` takes it for a file of its own.
fn aside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.before-rollback"))
}
