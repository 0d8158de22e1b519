use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::responses;
use crate::tokens::estimate;
use crate::units::{Tokens, Wire};

/// Most choices that one call gets.
const CHOICES: u64 = 16;
pub(super) const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A request as the sandbox reads it.
pub(super) struct Call<'a> {
    pub(super) wire: Wire,
    pub(super) model: &'a str,
    pub(super) number: u64,
    pub(super) body: &'a Value,
}

/// What is said, word by word, and what it counts.
#[derive(Debug)]
pub(super) struct Saying {
    pub(super) words: Vec<String>,
    pub(super) is_cut: bool,
    pub(super) input: Tokens,
    /// Of one choice.
    pub(super) output: Tokens,
}

/// One event of a stream; `word`: which word it says, if any.
pub(super) struct Event {
    pub(super) word: Option<usize>,
    pub(super) bytes: Bytes,
}

impl Call<'_> {
    /// The text of the last message, or of the prompt.
    pub(super) fn last_text(&self) -> String {
        match self.wire {
            Wire::Chat | Wire::Messages | Wire::Generate | Wire::Embed | Wire::Passed => {
                self.body["messages"].as_array().and_then(|messages| messages.last()).map(message_text).unwrap_or_default()
            }
            Wire::Responses => responses::last_text(self.body),
            Wire::Completions => last_or_self(&self.body["prompt"]),
            Wire::Embeddings => last_or_self(&self.body["input"]),
        }
    }

    /// All text that a model would have read.
    pub(super) fn prompt_text(&self) -> String {
        match self.wire {
            Wire::Chat | Wire::Messages | Wire::Generate | Wire::Embed | Wire::Passed => {
                self.body["messages"].as_array().into_iter().flatten().map(message_text).collect::<Vec<_>>().join("\n")
            }
            Wire::Responses => responses::prompt_text(self.body),
            Wire::Completions => joined(&self.body["prompt"]),
            Wire::Embeddings => joined(&self.body["input"]),
        }
    }

    pub(super) fn output_limit(&self) -> Option<Tokens> {
        let fields = ["max_completion_tokens", "max_tokens", "max_output_tokens"];
        fields.iter().filter_map(|field| self.body[*field].as_u64()).min().map(Tokens::new)
    }

    /// `Some` when the answer has to be JSON; inside it the schema, where one was given.
    #[expect(clippy::option_option, reason = "JSON may be asked for with a schema or without one")]
    pub(super) fn asked_json(&self) -> Option<Option<&Value>> {
        let format = if self.wire == Wire::Responses { &self.body["text"]["format"] } else { &self.body["response_format"] };
        match format["type"].as_str()? {
            "json_object" => Some(None),
            "json_schema" => Some(format.get("schema").or_else(|| format["json_schema"].get("schema"))),
            _ => None,
        }
    }

    /// The whole answer in one body.
    pub(super) fn answer(&self, saying: &Saying, created: i64) -> Value {
        if self.wire == Wire::Responses {
            return responses::answer(self, saying, created);
        }
        let text = saying.words.concat();
        let choices: Vec<_> = (0..self.choices()).map(|index| self.choice(index, &text, saying.finish())).collect();
        json!({
            "id": self.id(), "object": self.object(false), "created": created, "model": self.model,
            "system_fingerprint": "sandbox", "choices": choices, "usage": self.usage(saying),
        })
    }

    /// The same answer as the events of a stream.
    pub(super) fn events(&self, saying: &Saying, created: i64) -> Vec<Event> {
        if self.wire == Wire::Responses {
            return responses::events(self, saying, created);
        }
        let asks_for_usage = self.body["stream_options"]["include_usage"] == true;
        let chunk = |choices: Value, usage: Value| {
            let mut chunk = json!({
                "id": self.id(), "object": self.object(true), "created": created, "model": self.model,
                "system_fingerprint": "sandbox", "choices": choices,
            });
            if asks_for_usage {
                chunk["usage"] = usage;
            }
            Bytes::from(format!("data: {chunk}\n\n"))
        };
        let silent = |bytes| Event { word: None, bytes };
        let mut events = Vec::new();
        if self.wire == Wire::Chat {
            let first = json!({ "role": "assistant", "content": "", "refusal": null });
            events.extend((0..self.choices()).map(|index| silent(chunk(json!([delta(index, &first, None)]), Value::Null))));
        }
        for (word, text) in saying.words.iter().enumerate() {
            for index in 0..self.choices() {
                let choice = match self.wire {
                    Wire::Chat => delta(index, &json!({ "content": text }), None),
                    _ => json!({ "index": index, "text": text, "logprobs": null, "finish_reason": null }),
                };
                // The words of further choices come with the first one's.
                let word = (index == 0).then_some(word);
                events.push(Event { word, bytes: chunk(json!([choice]), Value::Null) });
            }
        }
        for index in 0..self.choices() {
            let choice = match self.wire {
                Wire::Chat => delta(index, &json!({}), Some(saying.finish())),
                _ => json!({ "index": index, "text": "", "logprobs": null, "finish_reason": saying.finish() }),
            };
            events.push(silent(chunk(json!([choice]), Value::Null)));
        }
        if asks_for_usage {
            events.push(silent(chunk(json!([]), self.usage(saying))));
        }
        events.push(silent(Bytes::from_static(b"data: [DONE]\n\n")));
        events
    }

    /// A vector of eight for each input, of length one, decided by the input alone.
    pub(super) fn embeddings(&self) -> Value {
        let wants_base64 = self.body["encoding_format"] == "base64";
        let data: Vec<_> = inputs(&self.body["input"])
            .iter()
            .enumerate()
            .map(|(index, input)| {
                let vector = vector(input);
                let embedding = if wants_base64 { base64(&vector.map(f32::to_le_bytes).concat()).into() } else { json!(vector) };
                json!({ "object": "embedding", "index": index, "embedding": embedding })
            })
            .collect();
        let input = estimate(self.prompt_text().as_bytes()).count();
        json!({ "object": "list", "data": data, "model": self.model, "usage": { "prompt_tokens": input, "total_tokens": input } })
    }

    fn choice(&self, index: u64, text: &str, finish: &str) -> Value {
        match self.wire {
            Wire::Chat => json!({
                "index": index, "logprobs": null, "finish_reason": finish,
                "message": { "role": "assistant", "content": text, "refusal": null },
            }),
            _ => json!({ "index": index, "text": text, "logprobs": null, "finish_reason": finish }),
        }
    }

    fn usage(&self, saying: &Saying) -> Value {
        let (input, output) = (saying.input.count(), saying.output.times(self.choices()).count());
        json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output })
    }

    fn choices(&self) -> u64 {
        self.body["n"].as_u64().unwrap_or(1).clamp(1, CHOICES)
    }

    fn id(&self) -> String {
        let kind = if self.wire == Wire::Chat { "chatcmpl" } else { "cmpl" };
        format!("{kind}-sandbox-{}", self.number)
    }

    fn object(&self, is_chunk: bool) -> &'static str {
        match (self.wire, is_chunk) {
            (Wire::Chat, true) => "chat.completion.chunk",
            (Wire::Chat, false) => "chat.completion",
            _ => "text_completion",
        }
    }
}

impl Saying {
    fn finish(&self) -> &'static str {
        if self.is_cut { "length" } else { "stop" }
    }
}

fn delta(index: u64, delta: &Value, finish: Option<&str>) -> Value {
    json!({ "index": index, "delta": delta, "logprobs": null, "finish_reason": finish })
}

/// A message's text: its content, or the texts among its parts.
pub(super) fn message_text(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("\n"),
        _ => String::new(),
    }
}

fn last_or_self(value: &Value) -> String {
    let last = value.as_array().and_then(|values| values.last()).unwrap_or(value);
    last.as_str().map_or_else(String::new, str::to_owned)
}

pub(super) fn joined(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(joined).collect::<Vec<_>>().join("\n"),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

/// One text, many texts, one list of token numbers, or many.
fn inputs(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(values) if !values.first().is_some_and(Value::is_number) => values.iter().collect(),
        _ => vec![value],
    }
}

fn vector(input: &Value) -> [f32; 8] {
    let hash: [u8; 32] = Sha256::digest(input.to_string()).into();
    let raw: [f32; 8] = std::array::from_fn(|i| f32::from(u16::from_le_bytes([hash[2 * i], hash[2 * i + 1]])) - 32_767.5);
    let length = raw.iter().map(|part| part * part).sum::<f32>().sqrt();
    raw.map(|part| part / length)
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0, |group, byte| group << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = char::from(BASE64[group >> (18 - 6 * place) & 63]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}
