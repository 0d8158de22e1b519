//! What is known of models: which there are, what they cost, and which of them the routing file can use now.

mod rows;
mod table;

use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Config, exit, print, print_json, width};
use crate::app::check_file;
use crate::catalog::catalog;
use crate::config::{ImportedList, price_lists};
use crate::rules::{Revision, RuleSet};
use crate::units::{Need, Price};

use rows::{Row, State};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A model, by any name that a client may give it: who sells it, and whom a client gets that asks for it
    #[arg(value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    config: Config,
    /// Models of these providers alone
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    provider: Vec<String>,
    /// Models that can do all of this: tools, vision, audio, files, `json_schema`, reasoning
    #[arg(long, value_name = "NEED", value_delimiter = ',', value_parser = need)]
    needs: Vec<Need>,
    /// Nothing dearer than that, in dollars per million tokens: one bound for input and output, or one for each, `IN/OUT`
    #[arg(long, value_name = "USD", value_parser = most)]
    max_price: Option<Most>,
    /// The targets of the routing file alone
    #[arg(long)]
    configured: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The dearest prices that fit.
#[derive(Clone, Copy, Debug)]
struct Most {
    input: Price,
    output: Price,
}

/// The routing file, as it stands with the keys of this environment.
struct File {
    name: String,
    rules: RuleSet,
    lists: Vec<ImportedList>,
}

/// Answers 0, or 1 where nothing fits.
pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let path = &options.config.config;
    let file = file(path);
    if file.is_none() && (path.exists() || options.configured) {
        anstream::eprintln!("warning: {} cannot be read: `tollgate check` says why", path.display());
    }
    let all = rows::all(file.as_ref(), options.name.as_deref());
    for name in &options.provider {
        let known = catalog().provider(name).is_some() || all.iter().any(|row| row.is_of(name));
        if !known {
            bail!("no provider `{name}` is known: `tollgate models` lists those that are");
        }
    }
    let (shown, unsaid) = fitting(all, options);
    if options.json {
        print_json(&shown.iter().map(Row::json).collect::<anyhow::Result<Vec<_>>>()?)?;
    } else {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        let file = file.as_ref().map(|file| file.name.as_str());
        print(&table::readable(&shown, file, unsaid, today, width()))?;
    }
    Ok(if shown.is_empty() { ExitCode::from(exit::FINDINGS) } else { ExitCode::SUCCESS })
}

fn file(path: &Path) -> Option<File> {
    let checking = check_file(path).ok()?;
    let lists = price_lists(&checking.sources);
    let revision = Revision { number: 0, hash: String::new() };
    Some(File { name: path.display().to_string(), rules: RuleSet::from((checking.checked?, revision)), lists })
}

/// The rows that fit, and how many were left out only because nobody says what they can do.
fn fitting(all: Vec<Row>, options: &Options) -> (Vec<Row>, usize) {
    let mut unsaid = 0;
    let mut fits = |row: &Row| {
        let is_of = options.provider.is_empty() || options.provider.iter().any(|name| row.is_of(name));
        let is_cheap = options
            .max_price
            .is_none_or(|most| row.prices.as_ref().is_some_and(|prices| prices.input <= most.input && prices.output <= most.output));
        if !is_of || !is_cheap || options.configured && row.state == State::Elsewhere {
            return false;
        }
        let can = row.can.as_ref();
        unsaid += usize::from(can.is_none() && !options.needs.is_empty());
        options.needs.is_empty() || can.is_some_and(|can| options.needs.iter().all(|need| can.contains(need)))
    };
    let shown = all.into_iter().filter(|row| fits(row)).collect();
    (shown, unsaid)
}

fn need(word: &str) -> Result<Need, String> {
    Need::parse(word).ok_or_else(|| format!("expected one of {}", Need::ALL.map(Need::as_str).join(", ")))
}

fn most(text: &str) -> Result<Most, String> {
    let (input, output) = text.split_once('/').unwrap_or((text, text));
    let price = |part: &str| part.parse::<Price>().map_err(|_| format!("`{part}` is no price, expected one such as `0.50` or `0.50/2`"));
    Ok(Most { input: price(input)?, output: price(output)? })
}
