//! What a workload would cost a month and a year on different models.

mod measured;
mod projection;
mod table;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::json;

use super::{Config, print, print_json};
use crate::app::{as_written, state_folder};
use crate::catalog::{CatalogModel, CatalogProvider, catalog, is_same_name};
use crate::config::Target;
use crate::reload::read_file;
use crate::units::{Prices, parse_count};

use projection::{Part, WHOLE, Workload, project};
use table::{Report, grouped};

/// What is compared where nobody says: a published table, whose prices the catalogue keeps under this provider.
const PUBLISHED: &str = "global-apis";

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: Config,
    /// Requests a month; 100k where nobody says, and as many as there were with `--from-ledger`
    #[arg(long, value_name = "N", value_parser = parse_count)]
    requests: Option<u64>,
    /// Tokens that a request sends
    #[arg(long, value_name = "N", value_parser = parse_count, required_unless_present_any = ["preset", "from_ledger"])]
    input_tokens: Option<u64>,
    /// Tokens that it gets back
    #[arg(long, value_name = "N", value_parser = parse_count, required_unless_present_any = ["preset", "from_ledger"])]
    output_tokens: Option<u64>,
    /// Share of the input that the provider's cache holds: `80%`, `0.8`
    #[arg(long, value_name = "S", value_parser = parse_part)]
    cached_share: Option<u64>,
    /// Retries and fallbacks that are billed besides, as a share of the requests: `3%`
    #[arg(long, value_name = "F", value_parser = parse_part, default_value = "0")]
    retries: u64,
    /// Tokens that the model reasons for each one that it shows: `1.5`
    #[arg(long, value_name = "R", value_parser = parse_part, default_value = "0")]
    reasoning: u64,
    /// A usual size of requests; a choice to begin with, and no measurement
    #[arg(long, value_enum)]
    preset: Option<Preset>,
    /// The requests of the last 30 days, task by task, as the ledger recorded them
    #[arg(long, conflicts_with_all = ["preset", "input_tokens", "output_tokens", "cached_share", "retries", "reasoning"])]
    from_ledger: bool,
    /// The folder of the ledger, where it is not where the routing file says
    #[arg(long, value_name = "FOLDER", requires = "from_ledger")]
    state: Option<PathBuf>,
    /// A model, as the routing file or the catalogue names it, or with dollars per million tokens: `GPT-4o=2.50/10`
    #[arg(long = "model", value_name = "NAME[=IN/OUT]")]
    models: Vec<String>,
    /// Every target of the routing file that has a price
    #[arg(long)]
    targets: bool,
    /// The model that savings are counted against
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    #[command(flatten)]
    form: Form,
}

#[derive(Clone, Copy, Debug, clap::Args)]
#[group(multiple = false)]
struct Form {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print comma-separated values
    #[arg(long)]
    csv: bool,
    /// Print a Markdown table
    #[arg(long)]
    md: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Preset {
    /// 700 tokens in, 250 out
    Chat,
    /// Answers from documents: 4,000 in, 350 out
    Rag,
    /// 20,000 in of which the cache holds 80 %, 800 out
    Agent,
    /// 1,500 in, 120 out
    Extraction,
}

/// One model with its prices.
#[derive(Clone, Debug)]
struct Row {
    /// As it is shown.
    name: String,
    /// `provider/model`, where it is one.
    target: Option<String>,
    prices: Prices,
    /// Where the prices come from.
    origin: String,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let asked = asked(options)?;
    let targets = targets(&options.config.config, options.targets)?;
    let mut rows = rows(options, &targets, &asked.served)?;
    let baseline = options.baseline.as_ref().map(|name| baseline(name, &mut rows, &targets)).transpose()?;
    let mut priced = Vec::new();
    for row in rows {
        let projected = project(&asked.workload, &row.prices).with_context(|| format!("{}: these figures are too large", row.name))?;
        priced.push((row, projected));
    }
    let mut notes = asked.notes;
    notes.extend(origins(&priced.iter().map(|(row, _)| row).collect::<Vec<_>>()));
    let report = Report { head: asked.head, notes, rows: priced, baseline, workload: asked.figures };
    match options.form {
        Form { json: true, .. } => print_json(&report.json())?,
        Form { csv: true, .. } => print(&report.csv())?,
        Form { md: true, .. } => print(&report.markdown())?,
        _ => print(&report.text())?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Preset {
    /// Tokens in and out, and the share from the cache.
    fn sizes(self) -> (u64, u64, u64) {
        match self {
            Self::Chat => (700, 250, 0),
            Self::Rag => (4_000, 350, 0),
            Self::Agent => (20_000, 800, 800_000),
            Self::Extraction => (1_500, 120, 0),
        }
    }
}

/// What is asked of the models, and how it is told.
struct Asked {
    workload: Workload,
    head: String,
    notes: Vec<String>,
    figures: serde_json::Value,
    /// Targets that served it so far.
    served: Vec<String>,
}

fn asked(options: &Options) -> anyhow::Result<Asked> {
    if !options.from_ledger {
        return Ok(stated(options));
    }
    let state = state_folder(options.state.as_deref(), &options.config.config);
    let measured = measured::measured(&state, jiff::Timestamp::now(), options.requests)?;
    Ok(Asked {
        figures: json!({ "requests_per_month": measured.workload.requests, "from_ledger": true }),
        workload: measured.workload,
        head: measured.head,
        notes: measured.notes,
        served: measured.targets,
    })
}

/// The workload that the command line states.
fn stated(options: &Options) -> Asked {
    let requests = options.requests.unwrap_or(100_000);
    let (input, output, cached) = options.preset.map(Preset::sizes).unwrap_or_default();
    let (input, output) = (options.input_tokens.unwrap_or(input), options.output_tokens.unwrap_or(output));
    let cached = options.cached_share.unwrap_or(cached).min(WHOLE);
    let left_out = "Input is left out. With it the order may turn round: try --input-tokens 1k --output-tokens 500.";
    Asked {
        workload: Workload { requests, retries: options.retries, parts: vec![Part::told(input, output, cached, options.reasoning)] },
        head: head(options, (requests, input, output), cached),
        notes: (input == 0).then(|| left_out.to_owned()).into_iter().collect(),
        figures: json!({
            "requests_per_month": requests,
            "input_tokens": input,
            "output_tokens": output,
            "cached_share": decimal(cached),
            "retries": decimal(options.retries),
            "reasoning": decimal(options.reasoning),
        }),
        served: Vec::new(),
    }
}

/// The targets of the routing file. One that is not there is asked for only where it is needed.
fn targets(file: &Path, is_needed: bool) -> anyhow::Result<Vec<Target>> {
    let checked = read_file(file).ok().and_then(|source| as_written(&source.sources));
    match checked {
        Some(checked) => Ok(checked.targets),
        None if is_needed => bail!("{} cannot be read: `tollgate check` says why", file.display()),
        None => Ok(Vec::new()),
    }
}

/// `served` are those that served a recorded workload.
fn rows(options: &Options, targets: &[Target], served: &[String]) -> anyhow::Result<Vec<Row>> {
    let mut rows = Vec::new();
    for name in &options.models {
        rows.extend(named(name, targets)?);
    }
    if options.targets {
        rows.extend(targets.iter().filter_map(of_target));
    }
    if options.models.is_empty() && !options.targets && options.from_ledger {
        // A target that is gone may have no price any more.
        rows.extend(served.iter().filter_map(|name| named(name, targets).ok()).flatten());
    } else if options.models.is_empty() && !options.targets {
        rows.extend(catalog().provider(PUBLISHED).into_iter().flat_map(|of| of.models.iter().map(move |model| titled(of, model))));
    }
    Ok(rows)
}

/// All that a name on the command line means: prices of its own, a target of the file, a model of the catalogue.
fn named(text: &str, targets: &[Target]) -> anyhow::Result<Vec<Row>> {
    if let Some((name, prices)) = text.rsplit_once('=') {
        let both = prices.split_once('/').and_then(|(input, output)| Some((input.parse().ok()?, output.parse().ok()?)));
        let Some((input, output)) = both else {
            bail!("`{prices}` is no pair of prices: write dollars per million tokens in and out, as in `{name}=2.50/10`");
        };
        let prices = Prices { input, output, ..Prices::default() };
        return Ok(vec![Row { name: name.into(), target: None, prices, origin: "given".into() }]);
    }
    let own: Vec<Row> = targets.iter().filter(|target| target.name.as_str() == text).filter_map(of_target).collect();
    if !own.is_empty() {
        return Ok(own);
    }
    // A model that many sell: the cheapest of them first.
    let mut known: Vec<Row> = catalog().named(text).into_iter().map(|(of, model)| of_catalogue(of, model)).collect();
    known.sort_by_key(|row| (row.prices.output, row.prices.input));
    if known.is_empty() {
        bail!("no price is known for `{text}`: give it, as in `{text}=2.50/10`, or name one that `tollgate models` lists");
    }
    Ok(known)
}

/// The row that savings are counted against; it is added where it is not among the others.
fn baseline(name: &str, rows: &mut Vec<Row>, targets: &[Target]) -> anyhow::Result<usize> {
    let is_it = |row: &Row| row.name == name || row.target.as_deref() == Some(name);
    let spelled = |row: &Row| is_same_name(&row.name, name);
    if let Some(at) = rows.iter().position(is_it).or_else(|| rows.iter().position(spelled)) {
        return Ok(at);
    }
    let mut found = named(name, targets)?;
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|row| row.name.as_str()).collect();
        bail!("`{name}` is sold by several providers: name one of {}", names.join(", "));
    }
    rows.append(&mut found);
    Ok(rows.len() - 1)
}

fn of_target(target: &Target) -> Option<Row> {
    let prices = target.prices.as_ref()?;
    let name = target.name.as_str().to_owned();
    Some(Row { target: Some(name.clone()), name, prices: Prices::clone(prices), origin: "routing file".into() })
}

fn of_catalogue(of: &CatalogProvider, model: &CatalogModel) -> Row {
    let target = format!("{}/{}", of.name, model.name);
    Row { name: target.clone(), target: Some(target), prices: model.prices.clone(), origin: format!("{}, {}", model.source, model.as_of) }
}

/// The same as people write it.
fn titled(of: &CatalogProvider, model: &CatalogModel) -> Row {
    let row = of_catalogue(of, model);
    Row { name: model.title.clone().unwrap_or(row.name), ..row }
}

fn head(options: &Options, (requests, input, output): (u64, u64, u64), cached: u64) -> String {
    let mut text = format!("{} requests a month, each with {} tokens in and {} out", grouped(requests), grouped(input), grouped(output));
    // Writing to a String cannot fail.
    for (share, what) in [(cached, "of the input from the cache"), (options.retries, "more requests for retries")] {
        if share > 0 {
            _ = write!(text, ", {} % {what}", percent(share));
        }
    }
    if options.reasoning > 0 {
        _ = write!(text, ", {} tokens of reasoning for each one shown", decimal(options.reasoning));
    }
    text
}

/// Where the prices come from.
fn origins(rows: &[&Row]) -> Option<String> {
    let mut origins: Vec<&str> = rows.iter().map(|row| row.origin.as_str()).collect();
    origins.sort_unstable();
    origins.dedup();
    (origins != ["given"]).then(|| format!("Prices: {}.", origins.join("; ")))
}

/// Reads `80%`, `0.8` or `1.5` as millionths.
fn parse_part(text: &str) -> Result<u64, String> {
    let (number, of) = text.strip_suffix('%').map_or((text, 1), |number| (number.trim_end(), 100));
    let whole: crate::units::Usd = number.parse().map_err(|_| format!("`{text}` is no share, expected one such as `80%` or `0.8`"))?;
    Ok(whole.nano() / 1_000 / of)
}

/// Millionths as a plain decimal.
fn decimal(millionths: u64) -> String {
    crate::units::Usd::from_nano(millionths.saturating_mul(1_000)).plain()
}

fn percent(millionths: u64) -> String {
    decimal(millionths.saturating_mul(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_as_people_write_them() {
        for (text, millionths) in [("80%", Some(800_000)), ("0.8", Some(800_000)), ("1.5", Some(1_500_000)), ("0", Some(0)), ("half", None)]
        {
            assert_eq!(parse_part(text).ok(), millionths, "{text}");
        }
        assert_eq!((decimal(1_500_000), percent(30_000)), ("1.5".into(), "3".into()));
    }

    #[test]
    fn a_name_means_what_is_given_then_the_file_then_the_catalogue() {
        let prices = |text: &str| {
            let rows = named(text, &[]).unwrap();
            rows.iter()
                .map(|row| format!("{} {}/{}", row.name, row.prices.input.per_mtok(), row.prices.output.per_mtok()))
                .collect::<Vec<_>>()
        };
        assert_eq!(prices("My Model=0.10/0.35"), ["My Model $0.1/$0.35"]);
        assert_eq!(prices("openai/gpt-4o"), ["openai/gpt-4o $2.5/$10"]);
        assert_eq!(
            prices("gpt-4o"),
            ["global-apis/gpt-4o $2.5/$10", "openai/gpt-4o $2.5/$10", "openrouter/openai/gpt-4o $2.5/$10", "vercel/openai/gpt-4o $2.5/$10"]
        );
        assert_eq!(prices("Qwen3-235B-A22B-Thinking-2507")[0], "wandb/Qwen/Qwen3-235B-A22B-Thinking-2507 $0.1/$0.1");
        for text in ["gpt-99", "x=1", "x=1/y"] {
            assert!(named(text, &[]).is_err(), "{text}");
        }
    }
}
