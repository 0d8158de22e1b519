//! Embeddings: OpenAI's call as Gemini's, and its answer back.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::units::{Tokens, Usage};
use crate::wire::call::{Call, Edits};
use crate::wire::canonical::Translated;
use crate::wire::error::read_error;
use crate::wire::json::utf8;
use crate::wire::reading::{ReplyFault, Told};
use crate::wire::retell::Spoken;

/// One text, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
}

#[derive(Serialize)]
struct Batch<'a> {
    requests: Vec<Request<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    model: String,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [Part<'a>; 1],
}

#[derive(Serialize)]
struct Part<'a> {
    text: &'a str,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    embeddings: Option<Vec<Values<'a>>>,
    usage_metadata: Option<UsageMetadata>,
}

#[derive(Deserialize)]
struct Values<'a> {
    #[serde(borrow)]
    values: &'a RawValue,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsageMetadata {
    prompt_token_count: Option<u64>,
}

/// A prompt given as numbers of another model's tokens means nothing here.
pub(in crate::wire) fn unmet_embeddings(call: &Call) -> Vec<String> {
    if input(call).is_some() { Vec::new() } else { vec!["input".into()] }
}

/// Writes the request: every text one of a batch.
pub(in crate::wire) fn write_embeddings(call: &Call, edits: &Edits<'_>) -> Translated {
    let mut translated = Translated::default();
    let mut dimensions = None;
    for (name, value) in call.fields() {
        match name {
            "model" | "input" => {}
            "dimensions" => dimensions = serde_json::from_str::<Option<&RawValue>>(value).unwrap_or_default(),
            "encoding_format" => translated.wants_base64 = value == "\"base64\"",
            name => translated.dropped.push(name.to_owned()),
        }
    }
    translated.dropped.sort();
    let texts = match input(call) {
        Some(Input::One(text)) => vec![text],
        Some(Input::Many(texts)) => texts,
        None => Vec::new(),
    };
    let model = format!("models/{}", edits.model);
    let request = |text| Request { model: model.clone(), content: Content { parts: [Part { text }] }, output_dimensionality: dimensions };
    let batch = Batch { requests: texts.iter().map(|text| request(text.as_str())).collect() };
    // Texts and a number can be written.
    translated.body = serde_json::to_vec(&batch).unwrap_or_default().into();
    translated
}

fn input(call: &Call) -> Option<Input> {
    let (_, value) = call.fields().find(|(name, _)| *name == "input")?;
    serde_json::from_str(value).ok()
}

/// Reads a whole answer.
pub(in crate::wire) fn read_embeddings(body: &Bytes) -> Result<Told, ReplyFault> {
    let text = utf8(body).map_err(|_| ReplyFault::Malformed("the body is not UTF-8"))?;
    let answer = serde_json::from_str::<Answer<'_>>(text).ok();
    let Some(Answer { embeddings: Some(_), usage_metadata }) = answer else {
        let told = read_error(None, &HeaderMap::new(), body);
        return Err(if told.message.is_some() { ReplyFault::from(told) } else { ReplyFault::Malformed("the body holds no answer") });
    };
    let count = usage_metadata.and_then(|usage| usage.prompt_token_count).map(Tokens::new);
    let believable = count.filter(|count| *count <= Tokens::PLAUSIBLE);
    let usage = believable.map(|input_uncached| Usage { input_uncached, ..Usage::default() });
    Ok(Told { usage, usage_flagged: count.is_some() && usage.is_none(), ..Told::default() })
}

/// Writes a whole answer as OpenAI's clients read it. Numbers stay as they are written, unless they are wanted as bytes.
pub(in crate::wire) fn retell_embeddings(text: &str, of: &Spoken<'_>, usage: Option<Usage>, wants_base64: bool) -> Bytes {
    let answer = serde_json::from_str::<Answer<'_>>(text).ok();
    let all = answer.and_then(|answer| answer.embeddings).unwrap_or_default();
    let data: Vec<_> = all
        .iter()
        .enumerate()
        .map(|(index, Values { values })| {
            let embedding = if wants_base64 { as_bytes(values) } else { (*values).to_owned() };
            Datum { object: "embedding", index, embedding }
        })
        .collect();
    let tokens = usage.map_or(of.input, |usage| usage.input_total()).count();
    let list = List { object: "list", data, model: of.model, usage: json!({ "prompt_tokens": tokens, "total_tokens": tokens }) };
    serde_json::to_vec(&list).unwrap_or_default().into()
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Datum>,
    model: &'a str,
    usage: serde_json::Value,
}

#[derive(Serialize)]
struct Datum {
    object: &'static str,
    index: usize,
    embedding: Box<RawValue>,
}

/// A list of numbers as one text: each in four bytes, the least first, all in base64.
fn as_bytes(values: &RawValue) -> Box<RawValue> {
    let numbers: Vec<f32> = serde_json::from_str(values.get()).unwrap_or_default();
    let bytes: Vec<u8> = numbers.into_iter().flat_map(f32::to_le_bytes).collect();
    crate::wire::canonical::raw(&STANDARD.encode(bytes))
}
