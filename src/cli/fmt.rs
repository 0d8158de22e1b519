use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::app::{Staged, style_for_people};
use crate::config::{self, Sources};

use super::{exit, print};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The file
    #[arg(value_name = "FILE", default_value = "routes.yaml", env = "TOLLGATE_CONFIG")]
    file: PathBuf,
    /// Write the file instead of printing what it would be
    #[arg(long)]
    write: bool,
    /// Print nothing, and end with 1 where the file is not in its canonical form
    #[arg(long, conflicts_with = "write")]
    check: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let name = options.file.display().to_string();
    let text = std::fs::read_to_string(&options.file).with_context(|| name.clone())?;
    let formatted = match config::format(&text) {
        Ok(formatted) => formatted,
        Err(mut findings) => {
            let sources = Sources::new(name, text);
            sources.name_in(&mut findings);
            anstream::eprint!("{}", config::render(&sources, &findings, style_for_people()));
            return Ok(ExitCode::from(exit::FINDINGS));
        }
    };
    let is_canonical = formatted == text;
    if options.check {
        if !is_canonical {
            anstream::eprintln!("{name}: not in its canonical form; `tollgate fmt --write {name}` writes it");
        }
        return Ok(ExitCode::from(if is_canonical { exit::OK } else { exit::FINDINGS }));
    }
    if !options.write {
        print(&formatted)?;
    } else if !is_canonical {
        Staged::new(&options.file, &formatted, &options.file).and_then(Staged::commit).with_context(|| name.clone())?;
    }
    Ok(ExitCode::SUCCESS)
}
