use std::process::ExitCode;

use clap::{CommandFactory, ValueEnum};

use super::{Cli, print, print_json};

#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// What the schema describes
    #[arg(value_enum, default_value_t = Of::Routes)]
    of: Of,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    /// routes.yaml
    Routes,
    /// A file that routes.yaml includes
    Include,
    /// One line of the record stream
    Record,
    /// The answer of `explain --json` and of a dry run
    Explain,
}

#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    shell: clap_complete::Shell,
}

pub(super) fn schema(options: &Schema) -> anyhow::Result<ExitCode> {
    match options.of {
        Of::Routes => print_json(&crate::config::schema())?,
        Of::Include => print_json(&crate::config::included_schema())?,
        Of::Record => print_json(&schemars::schema_for!(crate::record::Record))?,
        Of::Explain => print_json(&schemars::schema_for!(crate::flow::Explained))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn completions(options: &Completions) -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Cli::command(), "tollgate", &mut text);
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn man() -> anyhow::Result<ExitCode> {
    let mut text = Vec::new();
    clap_mangen::Man::new(Cli::command()).render(&mut text)?;
    for command in Cli::command().get_subcommands() {
        clap_mangen::Man::new(command.clone()).render(&mut text)?;
    }
    print(&String::from_utf8(text)?)?;
    Ok(ExitCode::SUCCESS)
}
