use std::process::ExitCode;

use serde_json::json;

use super::super::daemon::Daemon;
use super::super::patch::patch;
use super::super::revisions::{self, Named, Unfound, local};
use super::super::{exit, print, print_json};
use crate::app::as_written;
use crate::config::{Checked, Sources, changes, masked};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    daemon: Daemon,
    /// The old one: its number, `7-3f2a9c1b04de`, or `file` for the one on disk
    #[arg(value_name = "A")]
    old: String,
    /// The new one, named alike
    #[arg(value_name = "B", default_value = "file")]
    new: String,
    /// Show the texts line by line; what is secret is starred
    #[arg(long, conflicts_with = "json")]
    text: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (old, new) = match both(options) {
        Ok(both) => both,
        Err(unfound) => {
            anstream::eprint!("{}", unfound.text);
            return Ok(ExitCode::from(unfound.code));
        }
    };
    let (old_file, new_file) = (as_written(&old.sources), as_written(&new.sources));
    if options.text {
        print(&by_line((&old.sources, old_file.as_ref()), (&new.sources, new_file.as_ref())))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (Some(old_file), Some(new_file)) = (&old_file, &new_file) else {
        let refused = if old_file.is_none() { &old } else { &new };
        anstream::eprintln!("error: {} is refused, so what it means cannot be told\n hint: `--text` compares the texts", refused.name);
        return Ok(ExitCode::from(exit::CONFIG));
    };
    let changes = changes(old_file, new_file);
    let is_same_text = old.sources.files() == new.sources.files();
    if options.daemon.json() {
        let told = |named: &Named| json!({ "revision": named.accepted_at.map(|_| &named.name), "accepted_at": named.accepted_at });
        print_json(&json!({ "from": told(&old), "to": told(&new), "same_text": is_same_text, "changes": changes }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("from {} to {}:\n", told(&old), told(&new));
    text.extend(changes.iter().map(|change| format!("  {change}\n")));
    if changes.is_empty() {
        text += if is_same_text { "  nothing differs\n" } else { "  nothing that counts: only words differ, `--text` shows them\n" };
    }
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn both(options: &Options) -> Result<(Named, Named), Unfound> {
    let kept = revisions::all(&options.daemon)?;
    Ok((revisions::named(&options.daemon, &kept, &options.old)?, revisions::named(&options.daemon, &kept, &options.new)?))
}

fn told(named: &Named) -> String {
    match named.accepted_at {
        Some(at) => format!("revision {} ({})", named.name, local(at)),
        None => format!("{} on disk", named.name),
    }
}

/// All files of both, each compared by line, without any secret.
fn by_line((old, old_file): (&Sources, Option<&Checked>), (new, new_file): (&Sources, Option<&Checked>)) -> String {
    let text = |of: &Sources, file, path: &str| of.files().iter().find(|known| known.path == path).map(|known| masked(&known.text, file));
    let of_old = old.files().iter().map(|file| file.path.as_str());
    let mut paths: Vec<&str> = of_old.collect();
    paths.extend(new.files().iter().map(|file| file.path.as_str()).filter(|path| !old.files().iter().any(|file| file.path == *path)));
    let one = |path: &str| patch(path, text(old, old_file, path).as_deref(), text(new, new_file, path).as_deref());
    paths.into_iter().map(one).collect()
}
