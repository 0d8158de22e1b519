//! Cases in other programs' forms: OpenAI-evals rows, and promptfoo's plain tests.

use serde_json::{Map, Value, json};

use super::Case;
use super::case::{Cases, Unreadable, made};
use super::grade::{Check, Grader};
use crate::config::yaml_as_json;
use crate::units::TaskName;

/// `{"input": [messages] or text, "ideal": text or texts}`: right where the answer begins with one of them, as the `Match` class has it.
pub(super) fn openai_eval(row: &Value, at: usize, task: &TaskName) -> Result<Case, String> {
    let messages = match &row["input"] {
        Value::Array(messages) => json!(messages),
        Value::String(prompt) => json!([{ "role": "user", "content": prompt }]),
        _ => return Err("a row with `ideal` has its messages or its prompt under `input`".into()),
    };
    let check = Check::new(Grader::parse("starts_with", &row["ideal"], &Value::Null, None)?, false);
    let named = row["task"].as_str().map(str::to_owned);
    made(row.get("id").cloned(), at, named, task, messages, vec![check])
}

/// The configuration, where the text is one: prompts with tests.
pub(super) fn promptfoo(text: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(&yaml_as_json(text).ok()?).ok()?;
    (value["prompts"].is_array() && value["tests"].is_array()).then_some(value)
}

pub(super) fn read_promptfoo(config: &Value, task: &TaskName) -> Result<Cases, Unreadable> {
    let mut cases = Cases::default();
    let defaults = &config["defaultTest"];
    let prompts: Vec<&str> = config["prompts"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (at, test) in config["tests"].as_array().into_iter().flatten().enumerate() {
        let at = at + 1;
        let asserts = [&defaults["assert"], &test["assert"]].into_iter().filter_map(Value::as_array).flatten();
        let checks = asserts.map(check).collect::<Result<Vec<Check>, String>>();
        let checks = match checks {
            Ok(checks) if !checks.is_empty() => checks,
            Ok(_) => {
                cases.left_out.push(format!("test {at} asserts nothing"));
                continue;
            }
            Err(what) => {
                cases.left_out.push(format!("test {at}: {what}"));
                continue;
            }
        };
        let mut vars: Map<String, Value> = defaults["vars"].as_object().cloned().unwrap_or_default();
        vars.extend(test["vars"].as_object().cloned().unwrap_or_default());
        let named = test["metadata"]["task"].as_str().map(str::to_owned);
        for (number, prompt) in prompts.iter().enumerate() {
            let about = test["description"].as_str().map_or_else(|| at.to_string(), str::to_owned);
            let id = if prompts.len() == 1 { about } else { format!("{about} ({})", number + 1) };
            let messages = json!([{ "role": "user", "content": filled(prompt, &vars) }]);
            let case = made(Some(id.into()), at, named.clone(), task, messages, checks.clone());
            cases.all.push(case.map_err(|what| Unreadable { at, what })?);
        }
    }
    if cases.all.is_empty() {
        return Err(Unreadable { at: 1, what: format!("no test of this file is a plain one; {}", cases.left_out.join("; ")) });
    }
    Ok(cases)
}

/// `{{ name }}` replaced by what the test says of it.
fn filled(prompt: &str, vars: &Map<String, Value>) -> String {
    let mut parts = prompt.split("{{");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let Some((name, rest)) = part.split_once("}}") else {
            text.push_str("{{");
            text.push_str(part);
            continue;
        };
        match vars.get(name.trim()) {
            Some(Value::String(value)) => text.push_str(value),
            Some(value) => text.push_str(&value.to_string()),
            None => {}
        }
        text.push_str(rest);
    }
    text
}

fn check(assert: &Value) -> Result<Check, String> {
    let value = &assert["value"];
    let kind = assert["type"].as_str().unwrap_or_default();
    let (grader, ignores_case) = match kind {
        "equals" if !value.is_string() => ("json", false),
        "equals" => ("exact", false),
        "contains" | "contains-any" => ("contains", false),
        "icontains" | "icontains-any" => ("contains", true),
        "starts-with" => ("starts_with", false),
        "regex" => ("regex", false),
        "is-json" if value.is_null() => return Ok(Check::new(Grader::IsJson, false)),
        "is-json" => ("json_schema", false),
        "llm-rubric" => {
            let rubric = value.as_str().map(str::to_owned);
            return Ok(Check::new(Grader::parse("judge", &Value::Null, &Value::Null, rubric)?, false));
        }
        other => return Err(format!("asserts of type `{other}` are no plain ones")),
    };
    Ok(Check::new(Grader::parse(grader, value, &Value::Null, None)?, ignores_case))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::read;

    fn qa() -> TaskName {
        TaskName::parse("qa").unwrap()
    }

    #[test]
    fn openai_evals_rows_are_read() {
        let rows = r#"{"input":[{"role":"system","content":"Be brief."},{"role":"user","content":"2+2?"}],"ideal":"4"}
{"input":"Capital of France?","ideal":["Paris","paris"],"task":"chat"}"#;
        let cases = read(rows, &qa()).unwrap().all;
        assert_eq!(cases[0].messages[1]["content"], "2+2?");
        assert_eq!((cases[0].task.as_str(), cases[1].task.as_str()), ("qa", "chat"));
        for (case, answer, is_right) in [(0, "4.", true), (0, "It is 4", false), (1, "paris!", true), (1, "PARIS", false)] {
            assert_eq!(cases[case].checks[0].holds(answer), Some(is_right), "{answer}");
        }
    }

    #[test]
    fn promptfoos_plain_tests_are_read_and_what_is_not_plain_is_told() {
        let config = "prompts: ['Translate to {{language}}: {{ text }}']\ndefaultTest: { vars: { language: French } }\ntests:\n\
                      - { vars: { text: cat }, assert: [{ type: icontains, value: CHAT }], metadata: { task: translation } }\n\
                      - { description: two, vars: { text: dog, language: German }, assert: [{ type: contains, value: Hund }, { type: regex, value: '^[A-Z]' }] }\n\
                      - { vars: { text: x }, assert: [{ type: javascript, value: 'true' }] }\n";
        let cases = read(config, &qa()).unwrap();
        assert_eq!(cases.left_out, ["test 3: asserts of type `javascript` are no plain ones"]);
        let [first, second] = &cases.all[..] else { panic!("{cases:?}") };
        assert_eq!(first.messages[0]["content"], "Translate to French: cat");
        assert_eq!((first.task.as_str(), second.id.as_str()), ("translation", "two"));
        assert_eq!(second.messages[0]["content"], "Translate to German: dog");
        assert_eq!(second.checks.iter().map(|check| check.holds("der Hund").unwrap()).collect::<Vec<_>>(), [true, false]);
    }
}
