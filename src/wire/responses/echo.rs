//! What of a request stands again in each answer's body.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// The fields that are said again, and what stands there where the client said nothing. Whether the provider keeps the answer and how
/// it is served are not the client's words, and left out.
const FIELDS: [(&str, &str); 14] = [
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("temperature", "1.0"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", "\"auto\""),
    ("top_logprobs", "0"),
    ("top_p", "1.0"),
    ("truncation", "\"disabled\""),
];

/// The members of an answer's body that repeat the request, without braces. Nothing is kept here, so an answer is never stored.
pub(in crate::wire) fn echo<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let said: BTreeMap<&str, &str> = fields.filter(|(_, value)| *value != "null").collect();
    let member = |name: &str, value: &str| format!("\"{name}\":{value}");
    let mut echo = vec![r#""background":false,"previous_response_id":null,"store":false"#.to_owned()];
    echo.extend(FIELDS.map(|(name, default)| member(name, said.get(name).copied().unwrap_or(default))));
    echo.extend(said.get("user").filter(|user| user.starts_with('"')).map(|user| member("user", user)));
    let tools = said.get("tools").and_then(|tools| serde_json::from_str::<Vec<&RawValue>>(tools).ok()).unwrap_or_default();
    let tools: Vec<String> = tools.into_iter().map(|tool| whole(tool.get())).collect();
    echo.push(member("tools", &format!("[{}]", tools.join(","))));
    echo.join(",")
}

/// A function with what an answer says of each one, though a request need not.
fn whole(tool: &str) -> String {
    let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(tool) else { return tool.into() };
    if fields.get("type").is_none_or(|kind| kind.get() != "\"function\"") {
        return tool.into();
    }
    let added = [("parameters", "\"parameters\":null,"), ("strict", "\"strict\":false,")];
    let added: String = added.into_iter().filter(|(name, _)| !fields.contains_key(*name)).map(|(_, text)| text).collect();
    tool.replacen('{', &format!("{{{added}"), 1)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn echoed(fields: &[(&str, &str)]) -> Value {
        serde_json::from_str(&format!("{{{}}}", echo(fields.iter().copied()))).unwrap()
    }

    #[test]
    fn an_answer_says_what_was_asked_and_what_was_not() {
        let all = echoed(&[
            ("temperature", "0.5"),
            ("tool_choice", "null"),
            ("metadata", r#"{"a":"b"}"#),
            ("input", "\"x\""),
            ("tools", r#"[{"type":"function","name":"f"},{"type":"custom","name":"g"}]"#),
        ]);
        assert_eq!((&all["temperature"], &all["tool_choice"], &all["metadata"]), (&json!(0.5), &json!("auto"), &json!({ "a": "b" })));
        assert_eq!(
            all["tools"],
            json!([{ "type": "function", "name": "f", "parameters": null, "strict": false }, { "type": "custom", "name": "g" }])
        );
        assert_eq!((&all["input"], &all["store"], &all["top_p"]), (&Value::Null, &json!(false), &json!(1.0)));
        assert_eq!(echoed(&[])["tools"], json!([]));
    }
}
