use std::collections::BTreeSet;
use std::fmt::Write;

use comfy_table::CellAlignment;
use jiff::civil::Date;

use super::rows::{Row, State};
use crate::cli::status::{plain, push};
use crate::config::{age_in_days, many};
use crate::units::{Need, Price};

/// From how many days on the oldest of the prices is worth a word.
const OLD_DAYS: i32 = 90;

/// The columns, and how early each is left out where the terminal is too narrow for all.
const COLUMNS: [(&str, u8); 8] =
    [("target", 0), ("in $/M", 0), ("out $/M", 0), ("cached", 5), ("context", 3), ("output", 4), ("can", 2), ("here", 1)];

/// What stands for each need in the table.
const LETTERS: [(Need, char); 6] =
    [(Need::Tools, 't'), (Need::Reasoning, 'r'), (Need::Vision, 'v'), (Need::JsonSchema, 'j'), (Need::Audio, 'a'), (Need::Files, 'f')];

/// The table, no wider than the terminal, and what has to be known of it. `file` is the routing file, `unsaid` how many were left out
/// because nobody says what they can do.
pub(super) fn readable(rows: &[Row], file: Option<&str>, unsaid: usize, today: Date, width: Option<usize>) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("no model fits\n");
    } else {
        text.push_str(&fitting(rows, file.is_some(), width));
        text.push_str("\nDollars per million tokens. can: t tools, r reasoning, v vision, j json_schema, a audio, f files, ? not said\n");
    }
    // Writing to a String cannot fail.
    if unsaid > 0 {
        _ = writeln!(text, "left out: {unsaid} of which nobody says what they can do");
    }
    if rows.is_empty() {
        return text;
    }
    let providers: BTreeSet<&str> = rows.iter().map(Row::provider).collect();
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    _ = write!(text, "{} of {}", many(rows.len(), "model"), many(providers.len(), "provider"));
    if let Some(file) = file {
        _ = write!(text, "; {file} has {} of them ready, {} without a key", count(State::Ready), count(State::NoKey));
    }
    text.push('\n');
    let oldest = rows.iter().filter_map(|row| row.date.as_deref()).min();
    if let Some((day, days)) = oldest.and_then(|day| Some((day, age_in_days(day, today)?))).filter(|(_, days)| *days >= OLD_DAYS) {
        _ = writeln!(text, "prices are up to {days} days old ({day}): `tollgate prices import` brings newer ones");
    }
    text
}

fn fitting(rows: &[Row], has_file: bool, width: Option<usize>) -> String {
    let shown = |left_out: u8| {
        let is_shown = move |at: &usize| COLUMNS[*at].1 < left_out && (has_file || COLUMNS[*at].0 != "here");
        (0..COLUMNS.len()).filter(is_shown).collect::<Vec<_>>()
    };
    let mut left_out = 9;
    loop {
        let text = table(rows, &shown(left_out), usize::MAX);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        match width {
            Some(width) if widest > width && left_out > 1 => left_out -= 1,
            // Names alone are too long: their middle gives way.
            Some(width) if widest > width => {
                let longest = rows.iter().map(|row| row.target.chars().count()).max().unwrap_or_default();
                return table(rows, &shown(left_out), longest.saturating_sub(widest - width).max(12));
            }
            _ => return text,
        }
    }
}

fn table(rows: &[Row], columns: &[usize], longest: usize) -> String {
    let mut table = plain();
    table.set_header(columns.iter().map(|at| COLUMNS[*at].0));
    for row in rows {
        let cells = cells(row, longest);
        table.add_row(columns.iter().map(|at| cells[*at].clone()));
    }
    for (at, column) in columns.iter().zip(table.column_iter_mut()) {
        if (1..=5).contains(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = String::new();
    push(&mut text, &table);
    text
}

fn cells(row: &Row, longest: usize) -> [String; 8] {
    let price = |price: Option<Price>| price.map_or_else(|| "-".into(), |price| price.per_mtok().plain());
    let prices = row.prices.as_ref();
    // A longer prompt costs more.
    let more = if prices.is_some_and(|prices| !prices.tiers.is_empty()) { "+" } else { "" };
    let can = match &row.can {
        _ if row.embeds => "embeds".into(),
        None => "?".into(),
        Some(can) => LETTERS.iter().map(|(need, letter)| if can.contains(need) { *letter } else { '·' }).collect(),
    };
    [
        shortened(&row.target, longest),
        price(prices.map(|prices| prices.input)) + more,
        price(prices.map(|prices| prices.output)) + more,
        price(prices.and_then(|prices| prices.cache_read)),
        row.context.map_or_else(|| "-".into(), tokens),
        row.max_output.map_or_else(|| "-".into(), tokens),
        can,
        row.state.as_str().into(),
    ]
}

/// Tokens as people write them, rounded down: `131k`, `1.05M`.
fn tokens(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}k", count / 1_000),
        _ => {
            let hundredths = format!("{}.{:02}", count / 1_000_000, count % 1_000_000 / 10_000);
            format!("{}M", hundredths.trim_end_matches('0').trim_end_matches('.'))
        }
    }
}

/// The beginning and the end of a text that is too long.
fn shortened(text: &str, longest: usize) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= longest {
        return text.to_owned();
    }
    let end = longest / 2;
    let begin = longest.saturating_sub(end + 1);
    letters[..begin].iter().chain(&['…']).chain(&letters[letters.len() - end..]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::models::rows;

    #[test]
    fn counts_of_tokens_are_short() {
        for (count, text) in [(512, "512"), (8_191, "8k"), (131_072, "131k"), (1_000_000, "1M"), (1_048_576, "1.04M"), (10_000_000, "10M")]
        {
            assert_eq!(tokens(count), text);
        }
    }

    #[test]
    fn long_names_give_way_in_the_middle() {
        for (text, longest, shown) in
            [("gpt-4o", 6, "gpt-4o"), ("accounts/x/models/glm-5", 12, "accou…/glm-5"), ("日本日本日本", 3, "日…本")]
        {
            assert_eq!(shortened(text, longest), shown);
        }
    }

    #[test]
    fn the_table_fits_every_terminal() {
        let rows = rows::all(None, None);
        let today = "2026-06-01".parse().unwrap();
        for width in [40, 60, 80, 100, 120, 200] {
            for file in [None, Some("routes.yaml")] {
                let text = readable(&rows, file, 3, today, Some(width));
                let (table, _) = text.split_once("\n\n").unwrap();
                let widest = table.lines().map(|line| line.chars().count()).max().unwrap();
                assert!(widest <= width, "{width}: {widest}");
                assert!(table.contains("out $/M") && table.contains("gpt-4o"), "{width}");
                // What matters less is left out first.
                assert!(table.contains("context") || width < 200, "{width}: {}", table.lines().next().unwrap());
                assert!(!table.contains("context") || width > 60, "{width}: {}", table.lines().next().unwrap());
            }
        }
    }

    #[test]
    fn old_prices_are_told_in_one_line() {
        let rows = rows::all(None, Some("gpt-4o"));
        let told = |today: &str| readable(&rows, None, 0, today.parse().unwrap(), None);
        assert!(!told("2026-06-01").contains("old"));
        assert!(told("2026-11-23").ends_with("prices are up to 186 days old (2026-05-21): `tollgate prices import` brings newer ones\n"));
    }
}
