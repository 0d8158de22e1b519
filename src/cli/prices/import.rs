use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::app::as_written;
use crate::catalog::{PriceList, PriceRow, catalog, read_price_list};
use crate::cli::{Config, exit, print};
use crate::outside::fetch;
use crate::reload::read_file;
use crate::units::{Need, Prices, TargetName};

/// The longest list that is read, in bytes.
const LONGEST: usize = 64 << 20;

/// How long a list may take to come.
const PATIENCE: Duration = Duration::from_mins(1);

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The list: a file, or an address that begins with https:// or http://
    #[arg(value_name = "FILE|URL")]
    from: String,
    #[command(flatten)]
    config: Config,
    /// The file to write; without it `prices.yaml` beside the routing file
    #[arg(long, short, value_name = "FILE", conflicts_with = "print")]
    output: Option<PathBuf>,
    /// Print it instead
    #[arg(long)]
    print: bool,
}

/// What of a list is of use here.
struct Taken<'l> {
    rows: Vec<&'l PriceRow>,
    /// Rows of providers that nobody uses here.
    others: usize,
    /// Rows that cannot be used, and why.
    skipped: Vec<(String, String)>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let text = read(&options.from).with_context(|| options.from.clone())?;
    let list = match read_price_list(&text) {
        Ok(list) => list,
        Err(error) => {
            anstream::eprintln!("error: {} is no price list: {error}", options.from);
            return Ok(ExitCode::from(exit::FINDINGS));
        }
    };
    let routes = &options.config.config;
    let providers = providers(routes);
    let taken = take(&list, providers.as_ref());
    let day = jiff::Timestamp::now().to_zoned(TimeZone::UTC).date().to_string();
    let written = written(&taken.rows, &list, &options.from, &day);
    if options.print {
        print(&written)?;
        return Ok(ExitCode::SUCCESS);
    }
    let file = options.output.clone().unwrap_or_else(|| routes.with_file_name("prices.yaml"));
    replace(&file, &written).with_context(|| file.display().to_string())?;
    print(&told(&list, &taken, providers.as_ref(), &options.from, &file))?;
    if !is_included(routes, &file) {
        let name = file.file_name().unwrap_or_default().display();
        print(&format!("hint: it counts once {} names it: `include: [{name}]`\n", routes.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(from: &str) -> anyhow::Result<String> {
    if !from.starts_with("https://") && !from.starts_with("http://") {
        return Ok(fs::read_to_string(from)?);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(fetch(from, LONGEST, PATIENCE)).map_err(anyhow::Error::msg)
}

/// The providers of the routing file by the catalogue's names; nothing where it cannot be read.
fn providers(routes: &Path) -> Option<BTreeSet<String>> {
    let checked = as_written(&read_file(routes).ok()?.sources)?;
    let host = |url: &str| url.split('/').nth(2).unwrap_or_default().to_owned();
    let names = checked.providers.iter().map(|provider| {
        let own = provider.name.as_str();
        let at = provider.base_url.as_ref().map(|url| host(&url.to_string()));
        let is_there = |url: &str| at.as_deref() == Some(host(url).as_str());
        let known = catalog().provider(own).or_else(|| {
            catalog().providers.iter().find(|known| is_there(&known.base_url) || known.openai_url.as_deref().is_some_and(is_there))
        });
        known.map_or_else(|| own.to_owned(), |known| known.name.clone())
    });
    Some(names.collect())
}

/// The rows of the providers that are used here; where nobody says which, of all that the catalogue knows.
fn take<'l>(list: &'l PriceList, providers: Option<&BTreeSet<String>>) -> Taken<'l> {
    let is_used = |provider: &str| match providers {
        Some(providers) => providers.contains(provider),
        None => catalog().provider(provider).is_some(),
    };
    let mut taken = Taken { rows: Vec::new(), others: 0, skipped: Vec::new() };
    for row in &list.rows {
        let name = format!("{}/{}", row.provider, row.model);
        if !is_used(&row.provider) {
            taken.others += 1;
        } else if let Err(error) = TargetName::parse(&name) {
            taken.skipped.push((name, error.to_string()));
        } else {
            taken.rows.push(row);
        }
    }
    for (name, why) in &list.skipped {
        let theirs = name.split('/').next().unwrap_or(name).to_ascii_lowercase().replace('_', "-");
        let provider = catalog().provider(&theirs).map_or(theirs.as_str(), |known| known.name.as_str());
        // A row without a provider in its name may be anybody's.
        if !name.contains('/') || is_used(provider) {
            taken.skipped.push((name.clone(), why.clone()));
        } else {
            taken.others += 1;
        }
    }
    taken
}

/// The list as one of ours.
fn written(rows: &[&PriceRow], list: &PriceList, from: &str, day: &str) -> String {
    let mut text = format!(
        "# Written by `tollgate prices import {}`; the next import replaces it. What a provider's entry says counts before it,\n\
         # and it counts before the prices in the binary. In dollars per million tokens.\n\
         prices:\n  source: {}\n  as_of: {day}\n  models:{}\n",
        from.replace(|letter: char| letter.is_control(), "?"),
        list.origin,
        if rows.is_empty() { " {}" } else { "" }
    );
    for row in rows {
        let name = serde_json::Value::from(format!("{}/{}", row.provider, row.model));
        let mut settings = vec![format!("usd_per_mtok: {{ {} }}", prices(&row.prices))];
        settings.extend(row.context.map(|count| format!("context: {count}")));
        settings.extend(row.max_output.map(|count| format!("max_output: {count}")));
        let can: Vec<&str> = row.can.iter().flatten().copied().map(Need::as_str).collect();
        settings.extend((!can.is_empty()).then(|| format!("can: [{}]", can.join(", "))));
        // Writing to a String cannot fail.
        _ = writeln!(text, "    {name}: {{ {} }}", settings.join(", "));
    }
    text
}

fn prices(prices: &Prices) -> String {
    let parts = [
        ("input", Some(prices.input)),
        ("output", Some(prices.output)),
        ("cache_read", prices.cache_read),
        ("cache_write", prices.cache_write),
        ("cache_write_1h", prices.cache_write_1h),
        ("audio_input", prices.audio_input),
        ("audio_output", prices.audio_output),
    ];
    let part = |(key, price): (&str, Option<crate::units::Price>)| Some(format!("{key}: {}", price?.per_mtok().plain()));
    let mut all: Vec<String> = parts.into_iter().filter_map(part).collect();
    let tiers = prices.tiers.iter().map(|tier| {
        let parts = [("input", Some(tier.input)), ("output", Some(tier.output)), ("cache_read", tier.cache_read)];
        format!("{{ above: {}, {} }}", tier.above, parts.into_iter().filter_map(part).collect::<Vec<_>>().join(", "))
    });
    let tiers: Vec<String> = tiers.collect();
    all.extend((!tiers.is_empty()).then(|| format!("tiers: [{}]", tiers.join(", "))));
    all.join(", ")
}

/// Puts the whole text under the name at once, so that no reader meets half of it.
fn replace(file: &Path, text: &str) -> std::io::Result<()> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let draft = file.with_file_name(format!(".{name}.new"));
    fs::write(&draft, text)?;
    fs::rename(&draft, file)
}

fn is_included(routes: &Path, file: &Path) -> bool {
    let same = |name: &str| Path::new(name).canonicalize().ok() == file.canonicalize().ok();
    read_file(routes).is_ok_and(|source| source.sources.names().iter().any(|name| same(name)))
}

fn told(list: &PriceList, taken: &Taken<'_>, providers: Option<&BTreeSet<String>>, from: &str, file: &Path) -> String {
    let mut by_provider: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &taken.rows {
        *by_provider.entry(&row.provider).or_default() += 1;
    }
    let each: Vec<String> = by_provider.iter().map(|(provider, rows)| format!("{provider} {rows}")).collect();
    let mut text = format!("{from}: a list in {}'s format, {} rows\n", list.origin, list.rows.len() + list.skipped.len());
    let of = if each.is_empty() { String::new() } else { format!(": {}", each.join(", ")) };
    // Writing to a String cannot fail.
    _ = writeln!(text, "taken: {}{of}", taken.rows.len());
    let why = if providers.is_some() { "the routing file does not list" } else { "the catalogue does not know" };
    _ = writeln!(text, "left out: {} of providers that {why}", taken.others);
    _ = writeln!(text, "skipped: {}", taken.skipped.len());
    for (name, why) in &taken.skipped {
        _ = writeln!(text, "  {name}: {why}");
    }
    for provider in providers.into_iter().flatten().filter(|provider| !by_provider.contains_key(provider.as_str())) {
        _ = writeln!(text, "nothing for provider {provider}");
    }
    _ = writeln!(text, "wrote {}", file.display());
    text
}
