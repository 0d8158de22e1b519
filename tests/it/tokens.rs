//! How far the estimate of tokens is from what OpenAI's own tokenizer counts, by kind of text; docs/tokens.md has the figures.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use base64::Engine;
use serde_json::Value;
use tollgate::tokens::{Vocabulary, estimate};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The texts of each kind: prompts of people by their script, our own sources, JSON as it stands and minified, random bytes.
fn texts() -> BTreeMap<&'static str, Vec<String>> {
    let mut texts: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for file in ["dev.jsonl", "natural.jsonl"] {
        for line in std::fs::read_to_string(root().join("tests/tasks").join(file)).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let prompt = row["prompt"].as_str().unwrap();
            if let Some(kind) = script(prompt, row["source"].as_str().unwrap()) {
                texts.entry(kind).or_default().push(prompt.to_owned());
            }
        }
    }
    for file in files("src", "rs").into_iter().chain(files("tests/it", "rs")) {
        texts.entry("code").or_default().extend(cut(&std::fs::read_to_string(file).unwrap()));
    }
    for file in files("schemas", "json").into_iter().chain(files("src/catalog", "json")) {
        let text = std::fs::read_to_string(file).unwrap();
        texts.entry("json").or_default().extend(cut(&text));
        let minified = serde_json::from_str::<Value>(&text).unwrap().to_string();
        texts.entry("json, minified").or_default().extend(cut(&minified));
    }
    let mut random = fastrand::Rng::with_seed(5);
    for number in 0..60 {
        let bytes: Vec<u8> = (0..200 + number * 15).map(|_| random.u8(..)).collect();
        texts.entry("base64").or_default().push(base64::engine::general_purpose::STANDARD.encode(bytes));
    }
    texts
}

/// What a prompt is written in, where that is one of the kinds; too short ones are of none.
fn script(prompt: &str, source: &str) -> Option<&'static str> {
    let all = prompt.chars().filter(|character| !character.is_whitespace()).count().max(1);
    let share = |from: char, to: char| prompt.chars().filter(|character| (from..=to).contains(character)).count() * 100 / all;
    let is_prose = ["own/", "P3/", "self-instruct", "natural/"].iter().any(|start| source.starts_with(start));
    let kind = match () {
        () if source == "mbpp" || source.starts_with("humaneval") => "code",
        () if share('\u{3040}', '\u{30ff}') > 20 => "japanese",
        () if share('\u{4e00}', '\u{9fff}') > 60 => "chinese",
        () if share('\u{400}', '\u{4ff}') > 70 => "russian",
        () if is_prose && share('A', 'Z') + share('a', 'z') > 85 => "english",
        () => return None,
    };
    (prompt.len() >= if kind == "english" { 400 } else { 150 }).then_some(kind)
}

fn files(folder: &str, extension: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Pieces of some 3 KB, every fourth of them.
fn cut(text: &str) -> Vec<String> {
    let lines: Vec<&str> = text.split_inclusive([' ', '\n', ',']).collect();
    let mut pieces = vec![String::new()];
    for line in lines {
        if pieces.last().unwrap().len() > 3_000 {
            pieces.push(String::new());
        }
        pieces.last_mut().unwrap().push_str(line);
    }
    pieces.into_iter().step_by(4).filter(|piece| piece.len() >= 300).collect()
}

#[test]
fn the_estimate_is_near_a_real_tokenizers_count_for_every_kind_of_text() {
    let (mut table, mut all) = (String::new(), Vec::new());
    for (kind, texts) in texts() {
        let mut errors: Vec<f64> = Vec::new();
        let mut bias = 0.0;
        for text in &texts {
            let exact = f64::from(u32::try_from(Vocabulary::O200k.count(text, &|| false).unwrap().count()).unwrap());
            let told = f64::from(u32::try_from(estimate(text.as_bytes()).count()).unwrap());
            bias += (told - exact) / exact * 100.0;
            errors.push(((told - exact) / exact * 100.0).abs());
        }
        errors.sort_by(f64::total_cmp);
        let count = f64::from(u32::try_from(errors.len()).unwrap());
        let mean = errors.iter().sum::<f64>() / count;
        let p95 = errors[errors.len() * 95 / 100];
        writeln!(table, "| {kind} | {} | {:+.1} | {mean:.1} | {p95:.1} |", errors.len(), bias / count).unwrap();
        assert!(mean <= 12.0 && p95 <= 27.0, "{kind}: {mean:.1} % on average, {p95:.1} % at p95\n{table}");
        all.push((mean, p95));
        assert!(texts.len() >= 15, "{kind}: {} texts", texts.len());
    }
    println!("| kind | texts | bias | mean absolute error | p95 |\n{table}");
    let kinds = f64::from(u32::try_from(all.len()).unwrap());
    let (mean, p95) = all.iter().fold((0.0, 0.0), |(mean, p95), (one, other)| (mean + one / kinds, p95 + other / kinds));
    assert!(mean <= 8.0 && p95 <= 20.0, "over all kinds {mean:.1} % on average, {p95:.1} % at p95\n{table}");
}
