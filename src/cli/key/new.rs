use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::hashed;
use crate::app::{Staged, as_written, check_sources, style_for_people};
use crate::cli::{Config, exit, print, print_json};
use crate::config::{self, Caller, Checked, NoRoom, Sources, losses, with_key};
use crate::reload::read_file;
use crate::units::CallerName;

/// Bytes of chance in a key.
const SECRET_BYTES: usize = 32;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Options {
    /// The caller's name. Where the file has it, the new key stands beside the old one, so that both work for a while
    #[arg(value_name = "NAME")]
    name: String,
    /// Put the entry into the file; a running daemon takes it up by itself
    #[arg(long)]
    write: bool,
    #[command(flatten)]
    config: Config,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A file that takes the key, and what it then says.
struct Edit {
    path: PathBuf,
    text: String,
    /// The caller was there before.
    is_second: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let name = match CallerName::parse(&options.name) {
        Ok(name) => name,
        Err(error) => {
            anstream::eprintln!("error: `{}` is no caller name: {error}", options.name.escape_debug());
            return Ok(ExitCode::from(exit::FINDINGS));
        }
    };
    let key = secret()?;
    let hash = hashed(&key);
    let file = &options.config.config;
    if options.write {
        match edit(file, &name, &hash)? {
            Ok(edit) => {
                if let Some(code) = write(&edit)? {
                    return Ok(ExitCode::from(code));
                }
                let done = if edit.is_second { "has a second key" } else { "is a caller" };
                anstream::eprintln!("{name} {done} now, by {}; a running daemon takes it up by itself", edit.path.display());
            }
            Err(code) => return Ok(ExitCode::from(code)),
        }
    }
    if options.json {
        print_json(&serde_json::json!({ "caller": name.as_str(), "key": key, "hash": hash, "written": options.write }))?;
        return Ok(ExitCode::SUCCESS);
    }
    anstream::eprintln!("the key of {name}, shown this once: send it as `authorization: Bearer …` or `x-api-key`");
    print(&format!("{key}\n"))?;
    if !options.write {
        anstream::eprintln!("\nfor {}:", file.display());
        print(&format!("\ncallers:\n  {name}:\n    key: {hash}\n"))?;
        anstream::eprintln!("\n`tollgate key new {name} --write` puts an entry like this into the file by itself");
    }
    Ok(ExitCode::SUCCESS)
}

/// A key that nobody guesses.
fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| anyhow!("the system gives no random bytes: {error}"))?;
    Ok(format!("tg_{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// The file with the key in it, proved to say all that it said before; an exit code where it was told why not.
fn edit(main: &Path, name: &CallerName, hash: &str) -> anyhow::Result<Result<Edit, u8>> {
    let sources = match read_file(main) {
        Ok(source) => source.sources,
        Err(refused) => {
            anstream::eprint!("{}", refused.text);
            return Ok(Err(exit::NO_INPUT));
        }
    };
    let before = as_written(&sources);
    let files = sources.files();
    // An entry in an included file stays there; a new one goes to the main file.
    let place = (0..files.len()).rev().find_map(|file| match with_key(&files[file].text, name.as_str(), hash, file == 0) {
        Ok(found) => found.map(|text| Ok((file, text))),
        Err(no_room) => Some(Err((file, no_room))),
    });
    let (file, text) = match place {
        Some(Ok(found)) => found,
        Some(Err((file, no_room))) => return Ok(Err(told(&no_room, &sources, file, name, hash))),
        None => return Err(anyhow!("{} takes no callers", main.display())),
    };
    let after = sources.clone().with_text(file, &text);
    let Some(checked) = as_written(&after) else {
        let checking = check_sources(after);
        anstream::eprint!("{}", checking.render(style_for_people()));
        anstream::eprintln!("error: with the new key {} is refused, so nothing was written", main.display());
        return Ok(Err(exit::CONFIG));
    };
    let (adds, is_second) = adds_only(before.as_ref(), &checked, name, hash);
    if !adds {
        return Ok(Err(told(&NoRoom::ByHand, &sources, file, name, hash)));
    }
    let path = if file == 0 { main.to_owned() } else { beside(main, &files[file].path) };
    Ok(Ok(Edit { path, text, is_second }))
}

/// Whether the new file has one key more and is otherwise the old one, and whether the caller had one before.
fn adds_only(before: Option<&Checked>, after: &Checked, name: &CallerName, hash: &str) -> (bool, bool) {
    let is_it = |caller: &&Caller| caller.name == *name;
    let Some(caller) = after.callers.iter().find(is_it) else { return (false, false) };
    let has_key = caller.keys.iter().any(|key| hash.contains(&key.short()));
    // Where the old file was refused, for want of callers for one, there was nothing to lose.
    let Some(before) = before else { return (has_key, caller.keys.len() > 1) };
    let former = before.callers.iter().find(is_it);
    let keys = former.map_or(0, |former| former.keys.len());
    let keeps = former.is_none_or(|former| former.keys.iter().all(|key| caller.keys.contains(key)));
    let others = before.callers.len() + usize::from(former.is_none()) == after.callers.len();
    (has_key && keeps && others && caller.keys.len() == keys + 1 && losses(before, after).is_empty(), keys > 0)
}

/// Says why the key has no place in the file, and what to do. Answers the exit code.
fn told(no_room: &NoRoom, sources: &Sources, file: usize, name: &CallerName, hash: &str) -> u8 {
    let path = sources.name(file);
    let (what, hint) = match no_room {
        NoRoom::Unread(findings) => {
            let mut findings = findings.clone();
            sources.name_in(&mut findings);
            anstream::eprint!("{}", config::render(sources, &findings, style_for_people()));
            return exit::CONFIG;
        }
        NoRoom::Open => (
            format!("{path} says `callers: open`, which serves everybody"),
            format!("replace it by hand, and everybody needs a key from then on:\n\ncallers:\n  {name}:\n    key: {hash}\n"),
        ),
        NoRoom::TwoKeys => (
            format!("{name} has two keys already"),
            "take out the one that is no longer used; `tollgate key list` shows how each begins".to_owned(),
        ),
        NoRoom::ByHand => (
            format!("the callers of {path} are laid out in a way that is left to you"),
            format!("run it without `--write`, and put the entry of {name} in by hand"),
        ),
    };
    anstream::eprintln!("error: {what}; nothing was written\n hint: {hint}");
    exit::FINDINGS
}

fn beside(main: &Path, path: &str) -> PathBuf {
    main.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).join(path)
}

/// Puts the text in its place; an exit code where it was told why not.
fn write(edit: &Edit) -> anyhow::Result<Option<u8>> {
    let written = Staged::new(&edit.path, &edit.text, &edit.path).and_then(Staged::commit);
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            anstream::eprintln!("error: {}: {error}\n hint: run it as root or as the owner of the file", edit.path.display());
            Ok(Some(exit::NO_PERMISSION))
        }
        written => written.map(|()| None).with_context(|| edit.path.display().to_string()),
    }
}
