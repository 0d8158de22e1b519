use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;
use tokio::time::Instant;

/// How long a command of the user's own may take for one answer.
const COMMAND_PATIENCE: Duration = Duration::from_secs(10);
/// A judge gives 0 to 10; from here up an answer is right.
pub(super) const JUDGED_RIGHT: u64 = 7;

/// What one check asks of an answer.
#[derive(Clone, Debug)]
pub enum Grader {
    /// The whole answer, without the space around it, is one of these.
    Exact(Vec<String>),
    StartsWith(Vec<String>),
    Contains(Vec<String>),
    /// None of these is in the answer.
    Excludes(Vec<String>),
    Regex(Regex),
    /// The last number of the answer is this one, give or take so much.
    Number {
        expect: f64,
        tolerance: f64,
    },
    /// The letter that the answer chooses.
    Choice(char),
    /// The JSON in the answer is this value.
    Json(Value),
    IsJson,
    JsonSchema(Schema),
    /// A program gets the answer on its standard input and ends with 0 where it is right.
    Command(Vec<String>),
    /// A model judges the answer by this rubric.
    Judge(String),
}

/// A compiled JSON Schema, and its text.
#[derive(Clone)]
pub struct Schema(Arc<jsonschema::Validator>, Value);

impl std::fmt::Debug for Schema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(&self.1, f)
    }
}

/// A grader and how it reads.
#[derive(Clone, Debug)]
pub struct Check {
    pub grader: Grader,
    ignores_case: bool,
}

impl Grader {
    /// Reads a grader by its word and what it expects; what is wrong is told in words.
    pub fn parse(word: &str, expect: &Value, tolerance: &Value, rubric: Option<String>) -> Result<Self, String> {
        Ok(match word {
            "exact" => Self::Exact(texts(expect)?),
            "starts_with" => Self::StartsWith(texts(expect)?),
            "contains" => Self::Contains(texts(expect)?),
            "excludes" => Self::Excludes(texts(expect)?),
            "regex" => {
                let pattern = expect.as_str().ok_or("`expect` is the regular expression")?;
                Self::Regex(Regex::new(pattern).map_err(|error| format!("`expect` is no regular expression: {error}"))?)
            }
            "number" => {
                let expect = number(expect).ok_or("`expect` is a number")?;
                Self::Number { expect, tolerance: tolerance_of(expect, tolerance)? }
            }
            "choice" => {
                let letter = expect.as_str().and_then(|text| text.trim().chars().next()).filter(char::is_ascii_alphabetic);
                Self::Choice(letter.ok_or("`expect` is a letter such as `B`")?.to_ascii_uppercase())
            }
            "json" => Self::Json(expect.clone()),
            "json_schema" => {
                let schema = jsonschema::validator_for(expect).map_err(|error| format!("`expect` is no JSON Schema: {error}"))?;
                Self::JsonSchema(Schema(Arc::new(schema), expect.clone()))
            }
            "command" => Self::Command(texts(expect)?),
            "judge" => Self::Judge(rubric.ok_or("a judge needs a `rubric`")?),
            other => {
                let known = "exact, starts_with, contains, excludes, regex, number, choice, json, json_schema, command, judge";
                return Err(format!("`{other}` is no grader; there are {known}"));
            }
        })
    }
}

impl Check {
    #[must_use]
    pub fn new(grader: Grader, ignores_case: bool) -> Self {
        Self { grader, ignores_case }
    }

    /// Whether an answer is right; nothing where a program or a model decides.
    #[must_use]
    pub fn holds(&self, answer: &str) -> Option<bool> {
        let answer = answer.trim();
        let plain = |text: &str| if self.ignores_case { text.to_lowercase() } else { text.to_owned() };
        let any = |texts: &[String], is_it: fn(&str, &str) -> bool| {
            let answer = plain(answer);
            texts.iter().any(|text| is_it(&answer, &plain(text)))
        };
        Some(match &self.grader {
            Grader::Exact(texts) => any(texts, |answer, text| answer == text.trim()),
            Grader::StartsWith(texts) => any(texts, |answer, text| answer.starts_with(text)),
            Grader::Contains(texts) => any(texts, |answer, text| answer.contains(text)),
            Grader::Excludes(texts) => !any(texts, |answer, text| answer.contains(text)),
            Grader::Regex(regex) => regex.is_match(answer),
            Grader::Number { expect, tolerance } => last_number(answer).is_some_and(|found| (found - expect).abs() <= *tolerance),
            Grader::Choice(letter) => chosen(answer) == Some(*letter),
            Grader::Json(value) => json_in(answer).is_some_and(|found| is_same(&found, value)),
            Grader::IsJson => json_in(answer).is_some(),
            Grader::JsonSchema(schema) => json_in(answer).is_some_and(|found| schema.0.is_valid(&found)),
            Grader::Command(_) | Grader::Judge(_) => return None,
        })
    }
}

/// Runs the user's own program on an answer. What could not be run is told in words. Blocks.
pub(super) fn accepts(command: &[String], answer: &str) -> Result<bool, String> {
    let (program, arguments) = command.split_first().ok_or("an empty command")?;
    let told = |error: std::io::Error| format!("`{program}`: {error}");
    let mut child =
        Command::new(program).args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(told)?;
    if let Some(mut input) = child.stdin.take() {
        // A program that decides before it has read everything is none the worse for it.
        input.write_all(answer.as_bytes()).ok();
    }
    let until = Instant::now() + COMMAND_PATIENCE;
    loop {
        match child.try_wait().map_err(told)? {
            Some(status) => return Ok(status.success()),
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            None => {
                child.kill().map_err(told)?;
                child.wait().map_err(told)?;
                return Err(format!("`{program}` took more than {} s", COMMAND_PATIENCE.as_secs()));
            }
        }
    }
}

/// The score that a judge's answer gives, 0 to 10.
pub(super) fn judged(answer: &str) -> Option<u64> {
    json_in(answer)?["score"].as_u64().filter(|score| *score <= 10)
}

fn texts(expect: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let texts = match expect {
        Value::Array(items) => items.iter().map(text).collect::<Option<Vec<_>>>(),
        one => text(one).map(|text| vec![text]),
    };
    texts.filter(|texts| !texts.is_empty()).ok_or_else(|| "`expect` is a text, or a list of texts".into())
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// `0.01`, or `"1%"` of what is expected. Without one, what rounding to nine digits leaves.
fn tolerance_of(expect: f64, tolerance: &Value) -> Result<f64, String> {
    if tolerance.is_null() {
        return Ok(expect.abs().max(1.0) * 1e-9);
    }
    let share = tolerance.as_str().and_then(|text| text.trim().strip_suffix('%')?.trim().parse::<f64>().ok());
    let tolerance = share.map(|share| expect.abs() * share / 100.0).or_else(|| number(tolerance));
    tolerance.filter(|tolerance| *tolerance >= 0.0).ok_or_else(|| "`tolerance` is a number or a share such as `1%`".into())
}

/// The last number of a text; `1,234.5` is one.
fn last_number(text: &str) -> Option<f64> {
    let runs = text.split(|letter: char| !(letter.is_ascii_digit() || matches!(letter, '.' | ',' | '-')));
    let mut parsed = runs.filter_map(|run| {
        let run = run.trim_matches(['.', ',']);
        let run = if run.contains('-') { &run[run.rfind('-').unwrap_or_default()..] } else { run };
        run.replace(',', "").parse::<f64>().ok()
    });
    parsed.next_back()
}

/// The letter that an answer chooses: `B`, `(B)`, `B.`, `The answer is B`; of several the last that stands alone.
fn chosen(text: &str) -> Option<char> {
    let mut chosen = None;
    for word in text.split_whitespace() {
        let bare = word.trim_matches(|letter: char| !letter.is_ascii_alphanumeric());
        let mut letters = bare.chars();
        if let (Some(letter @ 'A'..='Z'), None) = (letters.next(), letters.next()) {
            // `A` and `I` are words as well: at the beginning of a sentence they choose only where nothing else does.
            let is_word = matches!(letter, 'A' | 'I') && word == bare && text.split_whitespace().count() > 1;
            if !is_word || chosen.is_none() {
                chosen = Some(letter);
            }
        }
    }
    chosen.or_else(|| {
        text.trim()
            .chars()
            .next()
            .filter(|letter| letter.is_ascii_alphabetic() && text.trim().len() == 1)
            .map(|letter| letter.to_ascii_uppercase())
    })
}

/// The JSON value of an answer: all of it, what stands between fences, or the first object or list in it.
fn json_in(text: &str) -> Option<Value> {
    let fenced = || text.split("```").nth(1).map(|part| part.strip_prefix("json").unwrap_or(part));
    let first = || {
        let from = &text[text.find(['{', '['])?..];
        serde_json::Deserializer::from_str(from).into_iter::<Value>().next()?.ok()
    };
    serde_json::from_str(text).ok().or_else(|| serde_json::from_str(fenced()?.trim()).ok()).or_else(first)
}

/// Equal values; `1` and `1.0` are the same number.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len() && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_graded() {
        let none = Value::Null;
        for (grader, expect, tolerance, answer, is_right) in [
            ("exact", json!("Paris"), none.clone(), " Paris\n", true),
            ("exact", json!(["Paris", "paris"]), none.clone(), "paris", true),
            ("exact", json!("Paris"), none.clone(), "Paris.", false),
            ("contains", json!("Hund"), none.clone(), "der Hund", true),
            ("regex", json!(r"^\d{4}$"), none.clone(), "1969", true),
            ("regex", json!(r"^\d{4}$"), none.clone(), "in 1969", false),
            ("number", json!(1234.5), none.clone(), "That makes $1,234.50.", true),
            ("number", json!(-3), none.clone(), "x = -3", true),
            ("number", json!(3), none.clone(), "10-7 = 3", true),
            ("number", json!(2.468), json!(0.01), "about 2.47", true),
            ("number", json!(200), json!("1%"), "201.9", true),
            ("number", json!(200), json!("1%"), "203", false),
            ("number", json!(5), none.clone(), "five", false),
            ("choice", json!("B"), none.clone(), "B", true),
            ("choice", json!("B"), none.clone(), "(B) because A is wrong", true),
            ("choice", json!("b"), none.clone(), "The answer is B.", true),
            ("choice", json!("B"), none.clone(), "A better one is C)", false),
            ("choice", json!("B"), none.clone(), "b", true),
            ("json", json!({"a": 1, "b": [true]}), none.clone(), "Here:\n```json\n{\"b\":[true],\"a\":1.0}\n```", true),
            ("json", json!({"a": 1}), none.clone(), "{\"a\":1,\"b\":2}", false),
            ("json", json!([1, 2]), none.clone(), "It is [1, 2], I think", true),
            ("json_schema", json!({"type": "object", "required": ["a"]}), none.clone(), "{\"a\":null}", true),
            ("json_schema", json!({"type": "object", "required": ["a"]}), none.clone(), "{\"b\":null}", false),
        ] {
            let check = Check::new(Grader::parse(grader, &expect, &tolerance, None).unwrap(), false);
            assert_eq!(check.holds(answer), Some(is_right), "{grader} {expect} of {answer:?}");
        }
        assert_eq!(Check::new(Grader::parse("exact", &json!("Paris"), &none, None).unwrap(), true).holds("PARIS"), Some(true));
    }

    #[test]
    fn a_command_decides_by_its_exit_code() {
        let shell = |script: &str| vec!["sh".to_owned(), "-c".into(), script.into()];
        assert_eq!(accepts(&shell("grep -q 42"), "it is 42"), Ok(true));
        assert_eq!(accepts(&shell("grep -q 42"), "it is 41"), Ok(false));
        assert!(accepts(&["/nowhere/at-all".to_owned()], "x").unwrap_err().contains("/nowhere/at-all"));
    }

    #[test]
    fn a_judges_score_is_read() {
        for (answer, score) in
            [("{\"score\": 8}", Some(8)), ("Good.\n```json\n{\"score\":0}\n```", Some(0)), ("{\"score\":11}", None), ("8", None)]
        {
            assert_eq!(judged(answer), score, "{answer}");
        }
    }
}
