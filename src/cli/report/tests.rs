use super::*;
use crate::report::Forecast;

fn sample() -> (Report, Range) {
    let line = |spent, disputed, requests| Figures {
        spent,
        disputed,
        requests,
        attempts: requests,
        input: 1_234_567,
        output: 89_000,
        failures: 2,
        ..Figures::default()
    };
    let lines = vec![
        ("openai".to_owned(), line(1_234_567_890_123, 0, 10_000)),
        ("house".to_owned(), line(456_789_000, 250_000_000, 20)),
        ("(corrections)".to_owned(), Figures { spent: -3_000_000_000, ..Figures::default() }),
    ];
    let month_end = Some(Likely { low: 1_400_000_000_000, likely: 1_600_000_000_000, high: 1_900_000_000_000 });
    let forecast = Forecast { days: 21, method: "mean", month_end, year: month_end };
    let range = Range {
        since: "2026-11-01T00:00:00Z".parse().unwrap(),
        until: "2026-12-01T00:00:00Z".parse().unwrap(),
        zone: TimeZone::UTC,
        is_month: true,
    };
    (Report { lines, total: line(1_232_024_679_123, 250_000_000, 10_020), forecast: Some(forecast) }, range)
}

#[test]
fn a_report_is_readable() {
    let (made, range) = sample();
    let expected = "\
2026-11-01 00:00 to 2026-12-01 00:00 (UTC)

provider           spent              disputed  requests  failed  fell back  per 1,000      input  cached  written  output  reasoning
openai         $1,234.57  ██████████         -    10,000       2          0    $123.46  1,234,567       0        0  89,000          0
house            $0.4568  ▏            $0.2500        20       2          0     $22.84  1,234,567       0        0  89,000          0
(corrections)     -$3.00                     -         0       0          0          -          0       0        0       0          0
total          $1,232.03               $0.2500    10,020       2          0    $122.96  1,234,567       0        0  89,000          0

month end  $1,600.00 ($1,400.00 to $1,900.00)
a year     $1,600.00 ($1,400.00 to $1,900.00)
from 21 days: mean
";
    assert_eq!(readable(&made, &By::Provider, &range, None), expected);
}

#[test]
fn a_narrow_terminal_gets_fewer_columns_and_no_broken_lines() {
    let (made, range) = sample();
    for width in [60, 80, 100, 120, 200] {
        let text = readable(&made, &By::Provider, &range, Some(width));
        let widest = text.lines().filter(|line| !line.starts_with("from ")).map(|line| line.chars().count()).max().unwrap();
        assert!(widest <= width, "{width}:\n{text}");
        assert!(text.contains("$1,234.57") && text.contains("requests"), "{width}:\n{text}");
    }
}

#[test]
fn nothing_says_what_to_do() {
    let (_, range) = sample();
    let empty = Report { lines: vec![], total: Figures::default(), forecast: None };
    assert!(readable(&empty, &By::Provider, &range, None).contains("--config"));
}

#[test]
fn json_and_csv_are_exact() {
    let (made, range) = sample();
    let told = as_json(&made, &By::Tag("team".into()), &range);
    assert_eq!(told["lines"][0]["spent_usd"], "1234.567890123");
    assert_eq!((&told["lines"][2]["spent_usd"], &told["by"], &told["timezone"]), (&json!("-3"), &json!("tag:team"), &json!("UTC")));
    assert_eq!(told["forecast"]["month_end"]["likely_usd"], "1600");
    let csv = as_csv(&made, &By::Provider);
    assert!(csv.starts_with("provider,spent_usd,disputed_usd,requests"), "{csv}");
    assert!(csv.contains("\nhouse,0.456789,0.25,20,2,0,20,0,22.83945,1234567,0,0,89000,0\n"), "{csv}");
    let markdown = as_markdown(&made, &By::Provider);
    assert!(markdown.contains("| **total** | $1,232.03 | $0.2500 |"), "{markdown}");
}

#[test]
fn dollars_are_rounded_up_and_grouped() {
    for (nano, text) in [
        (0, "$0.0000"),
        (1, "$0.0001"),
        (999_999_999, "$1.0000"),
        (1_000_000_001, "$1.01"),
        (-1_500_000_000, "-$1.50"),
        (1_234_567_000_000_000, "$1,234,567.00"),
    ] {
        assert_eq!(dollars(nano), text, "{nano}");
    }
}
