use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::foreign;
use super::grade::{Check, Grader};
use crate::units::TaskName;

/// One question and what makes an answer to it right.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name in the file, or its place there.
    pub id: String,
    pub task: TaskName,
    /// As chat completions take them.
    pub messages: Value,
    /// All must hold.
    pub checks: Vec<Check>,
    /// The beginning of a hash over all of it.
    pub print: String,
}

/// What a file of cases says.
#[derive(Debug, Default)]
pub struct Cases {
    pub all: Vec<Case>,
    /// What was left out, and why, in words.
    pub left_out: Vec<String>,
}

/// A row that is no case.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("case {at}: {what}")]
pub struct Unreadable {
    /// Counted from 1.
    pub at: usize,
    /// Where several rows are wrong, each further one on a line of its own.
    pub what: String,
}

/// So many wrong rows are told; the rest are counted.
const TOLD: usize = 20;

impl Unreadable {
    /// All that is wrong, as one. Absent: nothing is.
    fn all(wrong: Vec<Self>) -> Option<Self> {
        let more = wrong.len().saturating_sub(TOLD);
        let mut all = wrong.into_iter().take(TOLD);
        let first = all.next()?;
        let mut what = all.fold(first.what, |what, next| format!("{what}\n{next}"));
        if more > 0 {
            what = format!("{what}\nand {more} more");
        }
        Some(Self { at: first.at, what })
    }
}

/// The small set that comes along. It shows the form, and ranks nothing.
#[must_use]
pub fn example() -> &'static str {
    include_str!("example.jsonl")
}

/// Reads cases: JSON Lines of our own, OpenAI-evals rows among them, or a promptfoo configuration with plain tests. `task` is that of
/// rows that name none.
pub fn read(text: &str, task: &TaskName) -> Result<Cases, Unreadable> {
    if let Some(config) = foreign::promptfoo(text) {
        return foreign::read_promptfoo(&config, task);
    }
    let (mut cases, mut wrong) = (Cases::default(), Vec::new());
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let at = at + 1;
        let row = serde_json::from_str::<Value>(line).map_err(|error| format!("no JSON: {error}"));
        let case = |row: Value| if row.get("ideal").is_some() { foreign::openai_eval(&row, at, task) } else { own(row, at, task) };
        match row.and_then(case) {
            Ok(case) => cases.all.push(case),
            Err(what) => wrong.push(Unreadable { at, what }),
        }
    }
    if let Some(wrong) = Unreadable::all(wrong) {
        return Err(wrong);
    }
    if cases.all.is_empty() {
        return Err(Unreadable { at: 1, what: "there is no case in the file".into() });
    }
    Ok(cases)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    id: Option<Value>,
    task: Option<String>,
    system: Option<String>,
    prompt: Option<String>,
    messages: Option<Value>,
    /// Further checks, all of which must hold.
    #[serde(default)]
    also: Vec<CheckRow>,
}

/// What a row says of its check; stands among the fields of a [`Row`] as well.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckRow {
    grader: String,
    #[serde(default)]
    expect: Value,
    #[serde(default)]
    tolerance: Value,
    #[serde(default)]
    ignore_case: bool,
    rubric: Option<String>,
}

const CHECK_FIELDS: [&str; 5] = ["grader", "expect", "tolerance", "ignore_case", "rubric"];

impl CheckRow {
    fn check(self) -> Result<Check, String> {
        Ok(Check::new(Grader::parse(&self.grader, &self.expect, &self.tolerance, self.rubric)?, self.ignore_case))
    }
}

fn own(row: Value, at: usize, task: &TaskName) -> Result<Case, String> {
    let Value::Object(mut row) = row else { return Err("it is no JSON object".into()) };
    let first: Map<String, Value> = CHECK_FIELDS.iter().filter_map(|name| row.remove_entry(*name)).collect();
    let row: Row = serde_json::from_value(row.into()).map_err(|error| error.to_string())?;
    let first: CheckRow = serde_json::from_value(first.into()).map_err(|error| error.to_string())?;
    let messages = match (row.messages, row.prompt) {
        (Some(messages), None) if messages.is_array() => messages,
        (None, Some(prompt)) => json!([{ "role": "user", "content": prompt }]),
        (Some(_), None) => return Err("`messages` is no list".into()),
        _ => return Err("a case has either `prompt` or `messages`".into()),
    };
    let checks = std::iter::once(first).chain(row.also).map(CheckRow::check).collect::<Result<Vec<Check>, String>>()?;
    made(row.id, at, row.task, task, with_system(row.system, messages), checks)
}

fn with_system(system: Option<String>, messages: Value) -> Value {
    let Some(system) = system else { return messages };
    let own = std::iter::once(json!({ "role": "system", "content": system }));
    own.chain(messages.as_array().into_iter().flatten().cloned()).collect()
}

pub(super) fn made(
    id: Option<Value>,
    at: usize,
    named: Option<String>,
    task: &TaskName,
    messages: Value,
    checks: Vec<Check>,
) -> Result<Case, String> {
    let task = match named {
        Some(named) => TaskName::parse(&named).map_err(|error| format!("`{named}` is no task: {error}"))?,
        None => task.clone(),
    };
    let id = match id {
        Some(Value::String(id)) => id,
        Some(id) => id.to_string(),
        None => at.to_string(),
    };
    let print = print(&format!("{task} {messages} {checks:?}"));
    Ok(Case { id, task, messages, checks, print })
}

/// The first 16 hexadecimal digits of a text's SHA-256.
pub(super) fn print(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().take(8).fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn qa() -> TaskName {
        TaskName::parse("qa").unwrap()
    }

    #[test]
    fn the_example_set_has_ten_cases_a_task_and_no_case_twice() {
        let cases = read(example(), &qa()).unwrap().all;
        let mut tasks: BTreeMap<&str, usize> = BTreeMap::new();
        for case in &cases {
            *tasks.entry(case.task.as_str()).or_default() += 1;
        }
        assert!(tasks.len() == 10 && tasks.values().all(|count| *count >= 10), "{tasks:?}");
        let ids: std::collections::BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
        assert_eq!(ids.len(), cases.len());
    }

    #[test]
    fn rows_that_are_no_case_are_told_with_their_line() {
        for (text, at, part) in [
            ("", 1, "no case"),
            ("{", 1, "no JSON"),
            (r#"{"prompt":"x","grader":"guess","expect":"y"}"#, 1, "`guess` is no grader"),
            ("\n{\"prompt\":\"x\",\"messages\":[],\"grader\":\"exact\",\"expect\":\"y\"}", 2, "either"),
            (r#"{"prompt":"x","grader":"exact"}"#, 1, "`expect`"),
            (r#"{"prompt":"x","grader":"regex","expect":"("}"#, 1, "regular expression"),
            (r#"{"prompt":"x","grader":"exact","expect":"y","taks":"qa"}"#, 1, "unknown field `taks`"),
        ] {
            let wrong = read(text, &qa()).unwrap_err();
            assert!(wrong.at == at && wrong.what.contains(part), "{text}: {wrong}");
        }
        let wrong = read(&"{\n".repeat(30), &qa()).unwrap_err().to_string();
        let told: Vec<&str> = wrong.lines().collect();
        assert_eq!((told.len(), told[0].starts_with("case 1: no JSON"), told[1].starts_with("case 2: ")), (21, true, true), "{wrong}");
        assert_eq!(told[20], "and 10 more", "every wrong row is counted");
    }
}
