//! What is asked and what is answered, in no format's words.

use serde_json::{Value, json};

/// What every front asks of every back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Text,
    Stream,
    Tool,
    Tools,
    Results,
    Image,
    Schema,
    Reasoning,
    Error,
    Cut,
    Disconnect,
}

impl Case {
    pub(super) const ALL: [Self; 11] = [
        Self::Text,
        Self::Stream,
        Self::Tool,
        Self::Tools,
        Self::Results,
        Self::Image,
        Self::Schema,
        Self::Reasoning,
        Self::Error,
        Self::Cut,
        Self::Disconnect,
    ];

    /// The row's name in the document.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Stream => "stream",
            Self::Tool => "one tool",
            Self::Tools => "two parallel tools",
            Self::Results => "tool result turn",
            Self::Image => "image",
            Self::Schema => "json_schema",
            Self::Reasoning => "reasoning",
            Self::Error => "error",
            Self::Cut => "cut stream",
            Self::Disconnect => "disconnect",
        }
    }

    /// Whether the answer comes whole, streamed, or is asked for both ways one after the other.
    pub(super) fn ways(self) -> &'static [bool] {
        match self {
            Self::Text | Self::Error => &[false],
            Self::Stream | Self::Cut | Self::Disconnect => &[true],
            Self::Tool | Self::Tools | Self::Results | Self::Image | Self::Schema | Self::Reasoning => &[false, true],
        }
    }

    /// Needs nothing but words in and words out.
    pub(super) fn is_plain(self) -> bool {
        matches!(self, Self::Text | Self::Stream | Self::Error | Self::Cut | Self::Disconnect)
    }

    pub(super) fn asked(self, is_streaming: bool) -> Asked {
        let plain = Asked { system: "Be brief.".into(), said: "When is low water?".into(), is_streaming, ..Asked::default() };
        let both = || vec![Tool::named("get_tide"), Tool::named("get_wind")];
        match self {
            Self::Tool => Asked { tools: vec![Tool::named("get_tide")], ..plain },
            Self::Tools => Asked { tools: both(), ..plain },
            Self::Results => {
                let results = vec![("call_a".into(), "noon".into()), ("call_b".into(), "west".into())];
                Asked { tools: both(), calls: calls(2), results, ..plain }
            }
            Self::Image => Asked { image: Some(PIXEL.into()), ..plain },
            Self::Schema => Asked { schema: Some(schema("port")), ..plain },
            Self::Reasoning => Asked { thinks: true, ..plain },
            _ => plain,
        }
    }

    pub(super) fn answer(self) -> Answer {
        let plain = Answer { text: "Low water at noon.".into(), finish: "stop", input: 14, output: 12, ..Answer::default() };
        match self {
            Self::Tool => Answer { text: String::new(), calls: calls(1), finish: "tool_calls", ..plain },
            Self::Tools => Answer { text: String::new(), calls: calls(2), finish: "tool_calls", ..plain },
            Self::Schema => Answer { text: "{\"port\":\"Ystad\"}".into(), ..plain },
            Self::Reasoning => Answer { reasoning: "Tides turn twice a day.".into(), ..plain },
            _ => plain,
        }
    }
}

/// One grey pixel, a whole PNG in base64.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg==";

/// An object with one text in it, as providers of every kind take it.
fn schema(property: &str) -> Value {
    json!({ "type": "object", "properties": { property: { "type": "string" } }, "required": [property], "additionalProperties": false })
}

fn calls(count: usize) -> Vec<ToolCall> {
    let call = |id: &str, name: &str, port: &str| ToolCall { id: id.into(), name: name.into(), arguments: json!({ "port": port }) };
    [call("call_a", "get_tide", "Ystad"), call("call_b", "get_wind", "Kiel")].into_iter().take(count).collect()
}

/// A request: a client writes it in its format, and a provider reads it in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) system: String,
    pub(super) said: String,
    /// A PNG in base64, behind the text.
    pub(super) image: Option<String>,
    pub(super) tools: Vec<Tool>,
    /// What the model called before, and what came of it, by id.
    pub(super) calls: Vec<ToolCall>,
    pub(super) results: Vec<(String, String)>,
    /// What the answer is held to.
    pub(super) schema: Option<Value>,
    pub(super) thinks: bool,
    pub(super) is_streaming: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) name: String,
    pub(super) schema: Value,
}

impl Tool {
    fn named(name: &str) -> Self {
        Self { name: name.into(), schema: schema("port") }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ToolCall {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) arguments: Value,
}

/// An answer: a provider writes it in its format, and a client reads it in another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) calls: Vec<ToolCall>,
    pub(super) finish: &'static str,
    /// Tokens.
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Answer {
    /// The same without the calls' ids, which are whatever the format makes of them.
    pub(super) fn without_ids(mut self) -> Self {
        self.calls.iter_mut().for_each(|call| call.id.clear());
        self
    }

    /// The text in two pieces, as it comes in a stream; nothing where there is none.
    pub(super) fn pieces(&self) -> Vec<&str> {
        let (first, second) = self.text.split_at(self.text.len() / 2);
        [first, second].into_iter().filter(|piece| !piece.is_empty()).collect()
    }
}

/// What a client makes of a stream.
#[derive(Debug, Default)]
pub(super) struct Streamed {
    pub(super) answer: Answer,
    /// It ended as its format ends what is whole.
    pub(super) is_complete: bool,
    /// It was told an error, in its format.
    pub(super) has_error: bool,
}

/// The word for how an answer ended, out of the pairs that a format has.
pub(super) fn finish(word: &Value, words: &[(&str, &'static str)]) -> &'static str {
    words.iter().find(|(own, _)| word == own).map_or("something else", |(_, finish)| *finish)
}

/// The text of a string, or of a list of parts that have one.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(super) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// JSON that stands in a string.
pub(super) fn inner(value: &Value) -> Value {
    serde_json::from_str(value.as_str().unwrap_or_default()).unwrap_or_default()
}
