//! What a chat answer says, event by event.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::canonical::{Event, compact};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(default, borrow)]
    choices: Vec<ChoiceField<'a>>,
}

#[derive(Deserialize)]
struct ChoiceField<'a> {
    #[serde(default)]
    index: Option<u64>,
    #[serde(borrow, alias = "message")]
    delta: Option<Delta<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(default)]
    content: Option<Value>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<Value>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<CallDelta<'a>>>,
    #[serde(borrow)]
    function_call: Option<FunctionDelta<'a>>,
}

#[derive(Deserialize)]
struct CallDelta<'a> {
    index: Option<usize>,
    id: Option<String>,
    #[serde(borrow)]
    function: Option<FunctionDelta<'a>>,
    extra_content: Option<Value>,
}

#[derive(Deserialize)]
struct FunctionDelta<'a> {
    name: Option<String>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// Reads a stream's events. What it does not know says nothing.
#[derive(Debug, Default)]
pub(in crate::wire) struct Decoder {
    calls: Vec<Known>,
}

/// A tool call that has begun.
#[derive(Debug)]
struct Known {
    index: usize,
    id: Option<String>,
}

impl Decoder {
    pub(in crate::wire) fn read(&mut self, text: &str, into: &mut Vec<Event>) {
        let Ok(answer) = serde_json::from_str::<Answer<'_>>(text) else { return };
        // Only one answer is ever asked for where it has to be translated.
        let first = answer.choices.into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        let Some(delta) = first.and_then(|choice| choice.delta) else { return };
        let reasoning = delta.reasoning_content.or_else(|| delta.reasoning.as_ref().and_then(Value::as_str).map(str::to_owned));
        into.extend(reasoning.filter(|text| !text.is_empty()).map(Event::Reasoning));
        content(delta.content.as_ref(), into);
        into.extend(delta.refusal.filter(|text| !text.is_empty()).map(Event::Refusal));
        for call in delta.tool_calls.into_iter().flatten() {
            self.call(call, into);
        }
        if let Some(function) = delta.function_call {
            self.call(CallDelta { index: Some(0), id: None, function: Some(function), extra_content: None }, into);
        }
    }

    fn call(&mut self, call: CallDelta<'_>, into: &mut Vec<Event>) {
        let (name, arguments) = call.function.map_or((None, None), |function| (function.name, function.arguments));
        let (id, name) = (call.id.filter(|id| !id.is_empty()), name.filter(|name| !name.is_empty()));
        let (slot, is_new) = self.slot(call.index, id, name.is_some());
        if is_new {
            let id = self.calls[slot].id.clone();
            let signature = call.extra_content.and_then(|extra| Some(extra["google"]["thought_signature"].as_str()?.to_owned()));
            into.push(Event::Call { slot, id, name: name.unwrap_or_default(), signature });
        }
        // Some give the arguments as an object.
        let json = arguments.map(RawValue::get).filter(|raw| *raw != "null").map(|raw| match serde_json::from_str::<String>(raw) {
            Ok(text) => text,
            Err(_) => compact(raw),
        });
        into.extend(json.filter(|json| !json.is_empty()).map(|json| Event::Arguments { slot, json }));
    }

    /// The call that a delta belongs to, by its index, else by its id, and whether it begins here.
    fn slot(&mut self, index: Option<usize>, id: Option<String>, has_name: bool) -> (usize, bool) {
        let last = self.calls.len().checked_sub(1);
        let is_other = |known: &Known| id.is_some() && known.id.is_some() && known.id != id;
        let found = match index {
            // Whole calls, one after the other, may all come under the same index.
            Some(index) => self.calls.iter().rposition(|known| known.index == index).filter(|at| !is_other(&self.calls[*at])),
            None => match &id {
                Some(id) => self.calls.iter().position(|known| known.id.as_ref() == Some(id)),
                None if has_name => None,
                None => last,
            },
        };
        if let Some(at) = found {
            return (at, false);
        }
        self.calls.push(Known { index: index.unwrap_or(self.calls.len()), id });
        (self.calls.len() - 1, true)
    }
}

/// A whole answer.
pub(in crate::wire) fn decode_reply(text: &str) -> Vec<Event> {
    let mut events = Vec::new();
    Decoder::default().read(text, &mut events);
    events
}

/// A text, or a list of parts, some of which may be reasoning.
fn content(content: Option<&Value>, into: &mut Vec<Event>) {
    match content {
        Some(Value::String(text)) if !text.is_empty() => into.push(Event::Text(text.clone())),
        Some(Value::Array(parts)) => {
            for part in parts {
                if let Some(text) = part["text"].as_str().filter(|text| !text.is_empty()) {
                    into.push(Event::Text(text.to_owned()));
                }
                let thinking = match &part["thinking"] {
                    Value::String(text) => text.clone(),
                    Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
                    _ => String::new(),
                };
                if !thinking.is_empty() {
                    into.push(Event::Reasoning(thinking));
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids with names, and arguments.
    type Told = Vec<(String, String)>;

    fn calls(deltas: &[&str]) -> Told {
        let mut decoder = Decoder::default();
        let mut events = Vec::new();
        for delta in deltas {
            decoder.read(&format!("{{\"choices\":[{{\"delta\":{{\"tool_calls\":[{delta}]}}}}]}}"), &mut events);
        }
        let answer = crate::wire::canonical::Assembly::of(events);
        answer.calls().map(|call| (format!("{}:{}", call.id, call.name), call.arguments.clone())).collect()
    }

    #[test]
    fn tool_deltas_are_put_together_however_they_come() {
        let one = |text: &str, arguments: &str| vec![(text.to_owned(), arguments.to_owned())];
        let cases: [(&[&str], Told); 6] = [
            (
                &[
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":""}}"#,
                    r#"{"index":0,"id":null,"function":{"name":null,"arguments":"{}"}}"#,
                ],
                one("a:f", "{}"),
            ),
            (&[r#"{"id":"a","function":{"name":"f","arguments":"{"}}"#, r#"{"function":{"arguments":"}"}}"#], one("a:f", "{}")),
            (&[r#"{"index":0,"id":"a","function":{"name":"f","arguments":{"x": 1}}}"#], one("a:f", r#"{"x":1}"#)),
            (&[r#"{"index":0,"id":"a","function":{"name":"f","arguments":null}}"#], one("a:f", "")),
            (
                &[
                    r#"{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}"#,
                    r#"{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}"#,
                ],
                [one("a:f", "{}"), one("b:f", "{}")].concat(),
            ),
            (
                &[r#"{"function":{"name":"f","arguments":"{}"}}"#, r#"{"function":{"name":"f","arguments":"{}"}}"#],
                [one(":f", "{}"), one(":f", "{}")].concat(),
            ),
        ];
        for (deltas, wanted) in cases {
            assert_eq!(calls(deltas), wanted, "{deltas:?}");
        }
    }
}
