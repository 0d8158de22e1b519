mod litellm;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::app::style_for_people;
use crate::config::{self, Sources};

use super::{exit, print};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, clap::Subcommand)]
enum From {
    /// A config.yaml of `LiteLLM`'s proxy
    Litellm {
        #[arg(value_name = "CONFIG")]
        file: PathBuf,
    },
}

/// Another gateway's file as one of ours, and what of it could not come along.
#[derive(Debug, Default)]
struct Imported {
    text: String,
    /// One line each: the place in the other file, and why.
    left: Vec<String>,
}

/// Prints the file to standard output, and what could not be carried over to standard error.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let From::Litellm { file } = &options.from;
    let name = file.display().to_string();
    let text = std::fs::read_to_string(file).with_context(|| name.clone())?;
    let json = match config::yaml_as_json(&text) {
        Ok(json) => json,
        Err(mut findings) => {
            let sources = Sources::new(name, text);
            sources.name_in(&mut findings);
            anstream::eprint!("{}", config::render(&sources, &findings, style_for_people()));
            return Ok(ExitCode::from(exit::FINDINGS));
        }
    };
    let imported = litellm::import(&serde_json::from_str(&json)?);
    print(&imported.text)?;
    if !imported.left.is_empty() {
        anstream::eprintln!("not carried over from {name}:");
        for line in &imported.left {
            anstream::eprintln!("  {line}");
        }
    }
    Ok(ExitCode::SUCCESS)
}
