use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::app::as_written;
use crate::catalog::catalog;
use crate::cli::status::{plain, push};
use crate::cli::{exit, print, print_json};
use crate::config::{Checked, ImportedList, Target, age_in_days, old_prices, price_lists, price_origin};
use crate::reload::read_file;
use crate::units::Prices;

/// One target, with every price that somebody knows.
#[derive(Debug, Serialize)]
struct Row {
    target: String,
    /// What counts, and which of the others it is: `file`, `imported`, `built in`.
    in_force: Option<String>,
    from: &'static str,
    imported: Option<String>,
    built_in: Option<String>,
    differs: bool,
}

/// Where prices come from.
#[derive(Debug, Serialize)]
struct Age {
    what: String,
    as_of: Option<String>,
    /// Absent where its day cannot be read.
    days: Option<i32>,
}

/// Tells the differences and ages. Answers 0, or 1 where the file cannot be read.
pub(super) fn run(file: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let found = read_file(file).ok().and_then(|source| Some((as_written(&source.sources)?, source.sources)));
    let Some((checked, sources)) = found else {
        anstream::eprintln!("error: {} cannot be read: `tollgate check` says why", file.display());
        return Ok(ExitCode::from(exit::FINDINGS));
    };
    let lists = price_lists(&sources);
    let rows = rows(&checked, &lists);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let ages = ages(&lists, today);
    if json {
        print_json(&serde_json::json!({ "prices": rows, "ages": ages }))?;
    } else {
        let old = old_prices(&checked.providers, &checked.targets, &lists, today);
        print(&(readable(&rows, &ages) + &old.map(|old| format!("\n{old}\n")).unwrap_or_default()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn rows(checked: &Checked, lists: &[ImportedList]) -> Vec<Row> {
    let row = |target: &Target| {
        let origin = price_origin(&checked.providers, target, lists);
        let (imported, built_in) = (origin.imported.map(|(_, prices)| prices), origin.built_in.map(|model| &model.prices));
        let in_force = target.prices.as_deref();
        let all: Vec<&Prices> = [in_force, imported, built_in].into_iter().flatten().collect();
        Row {
            target: target.name.to_string(),
            in_force: in_force.map(shown),
            from: origin.from.as_str(),
            imported: imported.map(shown),
            built_in: built_in.map(shown),
            differs: all.windows(2).any(|pair| pair[0] != pair[1]),
        }
    };
    checked.targets.iter().map(row).collect()
}

/// Input and output price; `…` where there are more.
fn shown(prices: &Prices) -> String {
    let more = prices.cache_read.is_some() || prices.cache_write.is_some() || !prices.tiers.is_empty();
    format!("{}/{}{}", prices.input.per_mtok().plain(), prices.output.per_mtok().plain(), if more { "…" } else { "" })
}

fn ages(lists: &[ImportedList], today: Date) -> Vec<Age> {
    let age = |what: String, as_of: Option<&str>| Age {
        what,
        as_of: as_of.map(str::to_owned),
        days: as_of.and_then(|day| age_in_days(day, today)),
    };
    let oldest = catalog().providers.iter().flat_map(|provider| &provider.models).map(|model| model.as_of.as_str()).min();
    let imported =
        lists.iter().map(|list| age(format!("{} ({})", list.file, list.source.as_deref().unwrap_or("imported")), list.as_of.as_deref()));
    imported.chain([age("built in".into(), oldest)]).collect()
}

fn readable(rows: &[Row], ages: &[Age]) -> String {
    let mut text = String::new();
    let differing: Vec<&Row> = rows.iter().filter(|row| row.differs || row.in_force.is_none()).collect();
    if differing.is_empty() {
        text.push_str("every price is the same wherever it is known\n");
    } else {
        let mut table = plain();
        table.set_header(["target", "in force", "from", "imported", "built in"]);
        let word = |price: &Option<String>| price.clone().unwrap_or_else(|| "-".into());
        for row in differing {
            table.add_row([row.target.clone(), word(&row.in_force), row.from.into(), word(&row.imported), word(&row.built_in)]);
        }
        push(&mut text, &table);
        text.push_str("\nInput and output in dollars per million tokens; … where cache or long inputs have prices of their own.\n");
    }
    text.push('\n');
    let mut table = plain();
    for age in ages {
        let days = age.days.map_or_else(|| "age unknown".into(), |days| format!("{days} days old"));
        table.add_row([age.what.clone(), age.as_of.clone().unwrap_or_else(|| "-".into()), days]);
    }
    push(&mut text, &table);
    text
}
