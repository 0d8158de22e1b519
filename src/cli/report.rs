use std::process::ExitCode;

use anyhow::Context;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use super::daemon::Daemon;
use super::ledger::{field, told};
use super::moment::{moment, zone};
use super::status::{plain, push};
use super::{print, print_json};
use crate::app;
use crate::reload::read_file;
use crate::report::{By, Figures, Likely, Range, Report, report};
use crate::store::{LedgerError, Reader};
use crate::units::Usd;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    daemon: Daemon,
    /// What a line stands for: provider, model, target, rule, caller, tag:NAME, label:NAME, task or day
    #[arg(long, default_value = "provider", value_parser = by)]
    by: By,
    /// A calendar month: 2026-11; without any time, the present one
    #[arg(long, value_name = "YYYY-MM", conflicts_with_all = ["since", "until"])]
    month: Option<String>,
    /// From then on: 2026-11-01, 2026-11-01T10:00:00Z, 24h
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// Before then; without it, now
    #[arg(long, value_name = "T", requires = "since")]
    until: Option<String>,
    /// Where days and months begin; without it, where those of the file's first budget do, else UTC
    #[arg(long, value_name = "ZONE")]
    timezone: Option<String>,
    /// Print comma-separated values
    #[arg(long, conflicts_with_all = ["json", "md"])]
    csv: bool,
    /// Print a Markdown table
    #[arg(long, conflicts_with = "json")]
    md: bool,
}

fn by(text: &str) -> Result<By, String> {
    By::parse(text).ok_or_else(|| "one of provider, model, target, rule, caller, tag:NAME, label:NAME, task and day".to_owned())
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now();
    let range = range(options, now)?;
    let sums =
        Reader::open(&options.daemon.state()).and_then(|reader| reader.sums(range.since, range.until, matches!(options.by, By::Label(_))));
    let sums = match sums {
        Ok(sums) => sums,
        Err(LedgerError::Missing { .. }) => Vec::new(),
        Err(error) => return Ok(told(&error)),
    };
    let made = report(&sums, &options.by, &range, now);
    if options.daemon.json() {
        print_json(&as_json(&made, &options.by, &range))?;
    } else if options.csv {
        print(&as_csv(&made, &options.by))?;
    } else if options.md {
        print(&as_markdown(&made, &options.by))?;
    } else {
        print(&readable(&made, &options.by, &range, super::width()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn range(options: &Options, now: Timestamp) -> anyhow::Result<Range> {
    let zone = match &options.timezone {
        Some(name) => zone(name)?,
        None => zone_of_file(options).unwrap_or(TimeZone::UTC),
    };
    if let Some(since) = &options.since {
        let since = moment(since, &zone, now)?;
        let until = options.until.as_deref().map_or(Ok(now), |text| moment(text, &zone, now))?;
        anyhow::ensure!(since < until, "the time begins at {since} and ends at {until}");
        return Ok(Range { since, until, zone, is_month: false });
    }
    let first = match &options.month {
        Some(month) => format!("{month}-01").parse().with_context(|| format!("`{month}` is no month, such as 2026-11"))?,
        None => now.to_zoned(zone.clone()).date().first_of_month(),
    };
    let next = first.checked_add(1.month())?;
    let begin = |day: jiff::civil::Date| day.to_zoned(zone.clone()).map(|begin| begin.timestamp());
    Ok(Range { since: begin(first)?, until: begin(next)?, zone: zone.clone(), is_month: true })
}

fn zone_of_file(options: &Options) -> Option<TimeZone> {
    let checked = app::check_sources(read_file(options.daemon.config()).ok()?.sources).checked?;
    checked.budgets.iter().find_map(|budget| budget.caps.first()).map(|cap| cap.window.zone.clone())
}

fn signed(nano: i64) -> String {
    let amount = Usd::from_nano(nano.unsigned_abs()).plain();
    if nano < 0 { format!("-{amount}") } else { amount }
}

/// Dollars and cents for people, rounded up; four decimals below a dollar.
fn dollars(nano: i64) -> String {
    let unsigned = nano.unsigned_abs();
    let (unit, decimals) = if unsigned < 1_000_000_000 { (100_000, 4) } else { (10_000_000, 2) };
    let units = unsigned.div_ceil(unit);
    let scale = 10_u64.pow(decimals);
    let whole: String = thousands(units / scale);
    format!("{}${whole}.{:0width$}", if nano < 0 { "-" } else { "" }, units % scale, width = decimals as usize)
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of the largest as a bar of eighths.
fn bar(part: i64, most: i64) -> String {
    const WIDE: i64 = 10;
    if part <= 0 || most <= 0 {
        return String::new();
    }
    let eighths = usize::try_from(i128::from(part) * i128::from(WIDE * 8) / i128::from(most)).unwrap_or_default().max(1);
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    format!("{}{rest}", "█".repeat(eighths / 8))
}

/// The columns in their order, and how early each is left out where the terminal is narrow; 0: never.
const COLUMNS: [(&str, u8); 13] = [
    ("", 0),
    ("spent", 0),
    ("", 6),
    ("disputed", 1),
    ("requests", 1),
    ("failed", 5),
    ("fell back", 5),
    ("per 1,000", 4),
    ("input", 3),
    ("cached", 7),
    ("written", 9),
    ("output", 3),
    ("reasoning", 8),
];

fn cells(name: &str, figures: &Figures, most: i64) -> [String; 13] {
    [
        name.to_owned(),
        dollars(figures.spent),
        bar(figures.spent, most),
        if figures.disputed == 0 { "-".into() } else { dollars(figures.disputed) },
        thousands(figures.requests),
        thousands(figures.failures),
        thousands(figures.fallbacks),
        figures.per_thousand().map_or_else(|| "-".into(), dollars),
        thousands(figures.input),
        thousands(figures.cache_read),
        thousands(figures.cache_write),
        thousands(figures.output),
        thousands(figures.reasoning),
    ]
}

fn readable(made: &Report, by: &By, range: &Range, width: Option<usize>) -> String {
    let (since, until) = (range.since.to_zoned(range.zone.clone()), range.until.to_zoned(range.zone.clone()));
    let time = |moment: &jiff::Zoned| moment.strftime("%Y-%m-%d %H:%M").to_string();
    let mut text = format!("{} to {} ({})\n\n", time(&since), time(&until), since.strftime("%Q"));
    if made.lines.is_empty() {
        text.push_str("nothing was asked for in this time\n");
        text.push_str("a daemon writes what it serves into its state folder: see `--config` and `--state`, or another `--month`\n");
        return text;
    }
    let most = made.lines.iter().map(|(_, figures)| figures.spent).max().unwrap_or_default();
    let mut rows: Vec<_> = made.lines.iter().map(|(line, figures)| cells(line, figures, most)).collect();
    rows.push(cells("total", &made.total, 0));
    let mut left_out = 10;
    loop {
        let table = table(&rows, by, left_out);
        let fits = width.is_none_or(|width| table.lines().all(|line| line.chars().count() <= width));
        if fits || left_out <= 1 {
            text.push_str(&table);
            break;
        }
        left_out -= 1;
    }
    text.push_str(&told_forecast(made));
    text
}

/// The table without the columns that are left out that early.
fn table(rows: &[[String; 13]], by: &By, left_out: u8) -> String {
    let shown = || COLUMNS.iter().enumerate().filter(move |(_, (_, early))| *early < left_out).map(|(at, _)| at);
    let mut table = plain();
    table.set_header(shown().map(|at| if at == 0 { by.name() } else { COLUMNS[at].0.to_owned() }));
    for row in rows {
        table.add_row(shown().map(|at| row[at].clone()));
    }
    for (at, column) in shown().zip(table.column_iter_mut()) {
        if at != 0 && at != 2 {
            column.set_cell_alignment(comfy_table::CellAlignment::Right);
        }
    }
    let mut text = String::new();
    push(&mut text, &table);
    text
}

fn told_forecast(made: &Report) -> String {
    let Some(forecast) = &made.forecast else { return String::new() };
    let (Some(month), Some(year)) = (forecast.month_end, forecast.year) else {
        return format!("\nno forecast: only {} whole days of the month are over, and it takes 3\n", forecast.days);
    };
    let told = |likely: &Likely| format!("{} ({} to {})", dollars(likely.likely), dollars(likely.low), dollars(likely.high));
    let days = forecast.days;
    format!("\nmonth end  {}\na year     {}\nfrom {days} days: {}\n", told(&month), told(&year), forecast.method)
}

fn figures_json(figures: &Figures) -> Value {
    json!({
        "spent_usd": signed(figures.spent), "disputed_usd": signed(figures.disputed),
        "requests": figures.requests, "failures": figures.failures, "fallbacks": figures.fallbacks,
        "attempts": figures.attempts, "faults": figures.faults,
        "usd_per_thousand_requests": figures.per_thousand().map(signed),
        "tokens": {
            "input_uncached": figures.input, "cache_read": figures.cache_read, "cache_write": figures.cache_write,
            "output": figures.output, "reasoning": figures.reasoning,
        },
    })
}

fn as_json(made: &Report, by: &By, range: &Range) -> Value {
    let line = |(name, figures): &(String, Figures)| {
        let mut line = figures_json(figures);
        line["name"] = json!(name);
        line
    };
    let likely =
        |likely: &Likely| json!({ "low_usd": signed(likely.low), "likely_usd": signed(likely.likely), "high_usd": signed(likely.high) });
    let forecast = made.forecast.as_ref().map(|forecast| {
        json!({
            "days": forecast.days, "method": forecast.method,
            "month_end": forecast.month_end.as_ref().map(likely), "year": forecast.year.as_ref().map(likely),
        })
    });
    json!({
        "by": by.name(), "since": range.since, "until": range.until, "timezone": range.zone.iana_name(),
        "lines": made.lines.iter().map(line).collect::<Vec<_>>(), "total": figures_json(&made.total), "forecast": forecast,
    })
}

const NAMES: [&str; 13] = [
    "spent_usd",
    "disputed_usd",
    "requests",
    "failures",
    "fallbacks",
    "attempts",
    "faults",
    "usd_per_thousand_requests",
    "input_uncached",
    "cache_read",
    "cache_write",
    "output",
    "reasoning",
];

fn as_csv(made: &Report, by: &By) -> String {
    let mut text = format!("{},{}\n", field(&json!(by.name())), NAMES.join(","));
    for (name, figures) in &made.lines {
        let told = figures_json(figures);
        let values = NAMES.iter().map(|name| told.get(name).unwrap_or(&told["tokens"][name]));
        let fields: Vec<String> = std::iter::once(field(&json!(name))).chain(values.map(field)).collect();
        text.push_str(&(fields.join(",") + "\n"));
    }
    text
}

fn as_markdown(made: &Report, by: &By) -> String {
    let shown: Vec<usize> = (0..COLUMNS.len()).filter(|at| *at != 2).collect();
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(shown.iter().map(|at| if *at == 0 { by.name() } else { COLUMNS[*at].0.to_owned() }).collect());
    text.push_str(&line(shown.iter().map(|at| if *at == 0 { "---" } else { "---:" }.to_owned()).collect()));
    let total = ("**total**".to_owned(), made.total.clone());
    for (name, figures) in made.lines.iter().chain([&total]) {
        let cells = cells(&name.replace('|', "\\|"), figures, 0);
        text.push_str(&line(shown.iter().map(|at| cells[*at].clone()).collect()));
    }
    text
}

#[cfg(test)]
mod tests;
