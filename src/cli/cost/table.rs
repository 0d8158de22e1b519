//! The projection as people, spreadsheets, pages and programs read it.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, ColumnConstraint, Table};
use serde_json::{Value, json};

use super::Row;
use super::projection::Projected;
use crate::cli::status::{plain, push};
use crate::units::{Price, Usd};

/// What is printed.
pub(super) struct Report {
    /// The workload in words.
    pub(super) head: String,
    pub(super) rows: Vec<(Row, Projected)>,
    /// Index of the row that savings are counted against.
    pub(super) baseline: Option<usize>,
    /// What a reader has to know besides.
    pub(super) notes: Vec<String>,
    /// The workload in figures.
    pub(super) workload: Value,
}

impl Report {
    pub(super) fn text(&self) -> String {
        let mut table = plain();
        self.fill(&mut table);
        let mut text = format!("{}\n\n", self.head);
        push(&mut text, &table);
        self.add_notes(&mut text);
        text
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!("{}\n\n", self.head);
        let header = self.header();
        let line =
            |cells: &[String]| format!("| {} |\n", cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "));
        text.push_str(&line(&header));
        let rule: Vec<String> = (0..header.len()).map(|column| if column == 0 { "---".into() } else { "---:".into() }).collect();
        text.push_str(&line(&rule));
        for row in self.cells() {
            text.push_str(&line(&row));
        }
        self.add_notes(&mut text);
        text
    }

    /// Plain decimals, and a column more where there is a baseline.
    pub(super) fn csv(&self) -> String {
        let mut text = String::from("model,input_usd_per_mtok,output_usd_per_mtok,usd_per_month,usd_per_year");
        text.push_str(if self.baseline.is_some() { ",saved_usd_per_month\n" } else { "\n" });
        for (row, projected) in &self.rows {
            let name = if row.name.contains([',', '"']) { format!("\"{}\"", row.name.replace('"', "\"\"")) } else { row.name.clone() };
            let (input, output) = (row.prices.input.per_mtok().plain(), row.prices.output.per_mtok().plain());
            // Writing to a String cannot fail.
            _ = write!(text, "{name},{input},{output},{},{}", projected.month.plain(), projected.year.plain());
            if let Some(saved) = self.saved(projected) {
                _ = write!(text, ",{}", saved.plain());
            }
            text.push('\n');
        }
        text
    }

    pub(super) fn json(&self) -> Value {
        let rows = self.rows.iter().map(|(row, projected)| {
            json!({
                "model": row.name,
                "target": row.target,
                "input_usd_per_mtok": row.prices.input.per_mtok().plain(),
                "output_usd_per_mtok": row.prices.output.per_mtok().plain(),
                "usd_per_month": projected.month.plain(),
                "usd_per_year": projected.year.plain(),
                "saved_usd_per_month": self.saved(projected).map(Signed::plain),
                "prices": row.origin,
            })
        });
        json!({
            "workload": self.workload,
            "baseline": self.baseline.and_then(|at| self.rows.get(at)).map(|(row, _)| &row.name),
            "models": rows.collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    fn fill(&self, table: &mut Table) {
        table.set_header(self.header());
        for row in self.cells() {
            table.add_row(row.into_iter().enumerate().map(|(column, text)| {
                let cell = Cell::new(text);
                if column == 0 { cell } else { cell.set_alignment(CellAlignment::Right) }
            }));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }

    fn header(&self) -> Vec<String> {
        let all = ["Model", "Input $/M", "Output $/M", "Per month", "Per year"].map(str::to_owned).into_iter();
        all.chain(self.base().map(|_| "Saved a month".to_owned())).collect()
    }

    fn cells(&self) -> Vec<Vec<String>> {
        let one = |(row, projected): &(Row, Projected)| {
            let mut cells = vec![
                row.name.clone(),
                price(row.prices.input),
                price(row.prices.output),
                dollars(projected.month),
                dollars(projected.year),
            ];
            if let (Some(saved), Some((_, base))) = (self.saved(projected), self.base()) {
                cells.push(format!("{} ({})", saved.shown(), saved.of(base.month)));
            }
            cells
        };
        self.rows.iter().map(one).collect()
    }

    fn add_notes(&self, text: &mut String) {
        text.push('\n');
        if let Some((row, _)) = self.base() {
            // Writing to a String cannot fail.
            _ = writeln!(text, "Saved against {}.", row.name);
        }
        for note in &self.notes {
            text.push_str(note);
            text.push('\n');
        }
    }

    fn base(&self) -> Option<&(Row, Projected)> {
        self.baseline.and_then(|at| self.rows.get(at))
    }

    /// What a month costs less than on the baseline.
    fn saved(&self, projected: &Projected) -> Option<Signed> {
        let (_, base) = self.base()?;
        Some(Signed {
            is_negative: projected.month > base.month,
            amount: if projected.month > base.month { projected.month.minus(base.month) } else { base.month.minus(projected.month) },
        })
    }
}

/// Dollars more or less.
#[derive(Clone, Copy)]
struct Signed {
    is_negative: bool,
    amount: Usd,
}

impl Signed {
    fn sign(self) -> &'static str {
        if self.is_negative { "-" } else { "" }
    }

    fn plain(self) -> String {
        format!("{}{}", self.sign(), self.amount.plain())
    }

    fn shown(self) -> String {
        format!("{}{}", self.sign(), dollars(self.amount))
    }

    /// As a share of what it is counted against, in tenths of a percent.
    fn of(self, base: Usd) -> String {
        let tenths = (u128::from(self.amount.nano()) * 1_000).checked_div(u128::from(base.nano())).unwrap_or_default();
        format!("{}{}.{} %", self.sign(), tenths / 10, tenths % 10)
    }
}

/// `$5,000`, `$27.50`: cents where there are any, rounded up, and more digits for what is less than a cent.
pub(super) fn dollars(amount: Usd) -> String {
    const CENT: u64 = 10_000_000;
    if amount > Usd::ZERO && amount.nano() < CENT {
        return amount.to_string();
    }
    let cents = amount.nano().div_ceil(CENT);
    let (whole, part) = (grouped(cents / 100), cents % 100);
    if part == 0 { format!("${whole}") } else { format!("${whole}.{part:02}") }
}

/// `100,000`.
pub(super) fn grouped(number: u64) -> String {
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

/// Two decimals at least.
fn price(price: Price) -> String {
    let text = price.per_mtok().plain();
    match text.split_once('.') {
        None => format!("{text}.00"),
        Some((_, part)) if part.len() == 1 => format!("{text}0"),
        Some(_) => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        for (nano, text) in [
            (0, "$0"),
            (1, "$0.000000001"),
            (10_000_000, "$0.01"),
            (10_000_001, "$0.02"),
            (27_500_000_000, "$27.50"),
            (5_000_000_000_000, "$5,000"),
            (1_234_567_890_000_000, "$1,234,567.89"),
        ] {
            assert_eq!(dollars(Usd::from_nano(nano)), text);
        }
        assert_eq!((grouped(100_000), grouped(999)), ("100,000".into(), "999".into()));
        for (text, shown) in [("0.1", "0.10"), ("10", "10.00"), ("0.0375", "0.0375")] {
            assert_eq!(price(text.parse().unwrap()), shown);
        }
    }
}
