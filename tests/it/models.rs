//! `tollgate models`: what is known, and what of it the routing file can use.

use std::process::{Command, Output};

use serde_json::{Value, json};
use tollgate::catalog::catalog;

use crate::support::*;

const ROUTES: &str = "version: 1\nproviders:\n  openai: { models: { gpt-4o: { usd_per_mtok: { input: 2, output: 8 } }, gpt-5-nano: {} } }\n  \
                      groq: {}\n  eu: { like: openai, base_url: \"https://eu.api.openai.com/v1\", api_key: \"${EU_KEY}?\", models: { gpt-4o: {} } }\n  \
                      house: { format: openai, base_url: \"http://127.0.0.1:11434/v1\", models: { deepseek-v4-flash: {}, llama3.2: { context: 128k, can: [tools] } } }\n\
                      default: { chain: [openai/gpt-4o] }\n";

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.arg("models").args(arguments).current_dir(folder.path()).env_clear().env("OPENAI_API_KEY", "sk-there").output().unwrap()
}

fn listed(folder: &Folder, arguments: &[&str]) -> Vec<Value> {
    let output = run(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Vec<Value>>(&output.stdout).unwrap()
}

fn names(rows: &[Value]) -> Vec<&str> {
    rows.iter().map(|row| row["target"].as_str().unwrap()).collect()
}

fn with_file() -> Folder {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), ROUTES).unwrap();
    folder
}

#[test]
fn every_model_is_listed_with_its_price_source_and_day() {
    let rows = listed(&Folder::new(), &[]);
    assert_eq!(rows.len(), catalog().providers.iter().map(|provider| provider.models.len()).sum::<usize>());
    for row in &rows {
        assert!(row["usd_per_mtok"]["input"].is_number() && row["usd_per_mtok"]["output"].is_number(), "{row}");
        assert!(row["source"].is_string() && row["date"].is_string() && row["state"].is_null(), "{row}");
    }
    let sonnet = rows.iter().find(|row| row["target"] == "anthropic/claude-sonnet-4-5").unwrap();
    assert_eq!(
        *sonnet,
        json!({ "target": "anthropic/claude-sonnet-4-5", "usd_per_mtok": { "input": 3, "output": 15, "cache_read": 0.3, "cache_write": 3.75 },
            "context": 200_000, "max_output": 64_000, "can": ["tools", "reasoning", "vision", "files"], "embeds": false,
            "aliases": ["claude-4-5-sonnet"], "source": "models.dev", "date": "2026-05-21", "state": null })
    );
}

#[test]
fn targets_of_the_file_come_first_and_say_whether_they_can_be_used() {
    let folder = with_file();
    let rows = listed(&folder, &["--configured"]);
    let told = |row: &Value| format!("{} {} {} {}", row["target"], row["state"], row["source"], row["date"]).replace('"', "");
    let told: Vec<String> = rows.iter().map(told).collect();
    assert_eq!(
        told[..3],
        [
            "openai/gpt-4o ready routes.yaml null",
            "openai/gpt-5-nano ready models.dev 2026-05-21",
            "groq/moonshotai/kimi-k2-instruct-0905 no_key models.dev 2026-05-21"
        ]
    );
    assert_eq!(
        told[told.len() - 3..],
        ["eu/gpt-5-nano no_key models.dev 2026-05-21", "house/deepseek-v4-flash ready no price null", "house/llama3.2 ready no price null"]
    );
    let all = listed(&folder, &[]);
    assert_eq!(names(&all)[..rows.len()], names(&rows));
    assert!(all.len() > 700 && all[rows.len()..].iter().all(|row| row["state"].is_null()));
    // No row stands there twice.
    let mut targets = names(&all);
    targets.sort_unstable();
    targets.dedup();
    assert_eq!(targets.len(), all.len());
}

#[test]
fn a_name_tells_whom_a_client_gets_and_who_else_sells_it() {
    let folder = with_file();
    assert_eq!(names(&listed(&folder, &["GPT-4o-2024-08-06"]))[..2], ["openai/gpt-4o", "eu/gpt-4o"]);
    let rows = listed(&folder, &["deepseek-ai/DeepSeek-V4-Flash"]);
    assert_eq!(names(&rows)[0], "house/deepseek-v4-flash");
    let prices: Vec<f64> = rows[1..].iter().map(|row| row["usd_per_mtok"]["output"].as_f64().unwrap()).collect();
    assert!(prices.len() > 5 && prices.is_sorted(), "{prices:?}");
    assert_eq!(names(&rows)[1], "openrouter/deepseek/deepseek-v4-flash");
}

#[test]
fn what_is_asked_for_bounds_what_is_shown() {
    let folder = with_file();
    let rows = listed(&folder, &["--provider", "openai,gemini", "--needs", "vision,json_schema", "--max-price", "0.5/3"]);
    assert!(rows.len() > 4);
    for row in &rows {
        let (input, output) = (row["usd_per_mtok"]["input"].as_f64().unwrap(), row["usd_per_mtok"]["output"].as_f64().unwrap());
        let can: Vec<&str> = row["can"].as_array().unwrap().iter().map(|need| need.as_str().unwrap()).collect();
        assert!(input <= 0.5 && output <= 3.0 && can.contains(&"vision") && can.contains(&"json_schema"), "{row}");
        let target = row["target"].as_str().unwrap();
        assert!(target.starts_with("openai/") || target.starts_with("google/"), "{row}");
    }
    // One bound is one for both.
    assert!(listed(&folder, &["--max-price", "$0.1"]).iter().all(|row| row["usd_per_mtok"]["output"].as_f64().unwrap() <= 0.1));
    // Who says nothing of what it can do is left out, and counted.
    let text = run(&folder, &["Qwen3-32B", "--needs", "tools"]);
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("left out: 1 of which nobody says what they can do\n") && !text.contains("global-apis"), "{text}");
    for (arguments, code, told) in [
        (&["--provider", "opnai"][..], 1, "no provider `opnai` is known"),
        (&["--max-price", "cheap"], 2, "`cheap` is no price, expected one such as `0.50` or `0.50/2`"),
        (&["--needs", "wings"], 2, "expected one of tools, vision"),
        (&["gpt-99"], 1, "no model fits"),
    ] {
        let output = run(&folder, arguments);
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.code() == Some(code) && text.contains(told), "{arguments:?}: {text}");
    }
}

#[test]
fn a_broken_file_is_told_and_the_catalogue_is_shown_all_the_same() {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), "version: 1\nproviders: {}\n").unwrap();
    let output = run(&folder, &["gpt-4o"]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("openai/gpt-4o"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "warning: routes.yaml cannot be read: `tollgate check` says why\n");
}

#[test]
fn old_prices_are_told_in_one_line_where_somebody_may_spend_at_them() {
    let folder = with_file();
    let check = |folder: &Folder| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let output = command.arg("check").current_dir(folder.path()).env_clear().env("OPENAI_API_KEY", "sk-there").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let days = |text: &str| text.lines().filter(|line| line.contains("days old")).count();
    let text = check(&folder);
    assert!(
        text.contains("  1 price is ") && text.contains("days old (built in, 2026-05-21): `tollgate prices import` brings newer ones\n"),
        "{text}"
    );
    assert_eq!(days(&text), 1, "{text}");
    std::fs::write(folder.file("routes.yaml"), ROUTES.replace(", gpt-5-nano: {}", "")).unwrap();
    assert_eq!(days(&check(&folder)), 0);
}
