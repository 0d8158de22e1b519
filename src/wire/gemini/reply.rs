use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use crate::units::{Tokens, Usage};
use crate::wire::error::read_error;
use crate::wire::json::utf8;
use crate::wire::reading::{Reading, ReplyFault, Told};

/// Bytes that a token has at the very least in no answer of any length: below, a count is not believed.
const BYTES_PER_TOKEN_AT_MOST: u64 = 64;

/// Reads a whole answer.
pub(in crate::wire) fn read_reply(body: &Bytes) -> Result<Told, ReplyFault> {
    let text = utf8(body).map_err(|_| ReplyFault::Malformed("the body is not UTF-8"))?;
    let mut reading = Reading::default();
    absorb(&mut reading, text)?;
    if reading.told.finish.is_none() && !reading.has_content {
        return Err(ReplyFault::Malformed("the body holds no answer"));
    }
    reading.doubt_usage_below(reading.text_bytes / BYTES_PER_TOKEN_AT_MOST);
    Ok(reading.told)
}

/// Takes over what one event or body says.
pub(in crate::wire) fn absorb(reading: &mut Reading, text: &str) -> Result<(), ReplyFault> {
    let Ok(chunk @ Value::Object(_)) = serde_json::from_str::<Value>(text) else {
        let told = read_error(None, &HeaderMap::new(), text.as_bytes());
        return Err(if told.message.is_some() { ReplyFault::from(told) } else { ReplyFault::Malformed("an event is not a JSON object") });
    };
    if chunk.get("error").is_some_and(|error| !error.is_null()) {
        return Err(ReplyFault::from(read_error(None, &HeaderMap::new(), text.as_bytes())));
    }
    let name = |key: &str| chunk[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    reading.told.id = reading.told.id.take().or_else(|| name("responseId"));
    reading.told.model = reading.told.model.take().or_else(|| name("modelVersion"));
    if let Some(usage) = chunk.get("usageMetadata").filter(|usage| !usage.is_null()) {
        (reading.told.usage, reading.told.usage_flagged) = self::usage(usage);
    }
    if chunk["promptFeedback"]["blockReason"].is_string() {
        (reading.seen, reading.finished) = (1, 1);
        return reading.finish("SAFETY");
    }
    let candidate = &chunk["candidates"][0];
    if candidate.is_object() {
        reading.seen = 1;
    }
    let (text, reasoning) = candidate["content"]["parts"].as_array().into_iter().flatten().fold((0, 0), |sum, part| {
        let (text, reasoning) = weigh(part);
        (sum.0 + text, sum.1 + reasoning)
    });
    reading.add(text, reasoning);
    reading.has_content |= text + reasoning > 0;
    reading.has_tool |= candidate["content"]["parts"].as_array().into_iter().flatten().any(|part| part["functionCall"].is_object());
    if let Some(word) = candidate["finishReason"].as_str() {
        reading.finished = 1;
        reading.finish(word)?;
    }
    Ok(())
}

/// The bytes of text and calls, and of reasoning.
fn weigh(part: &Value) -> (u64, u64) {
    let text = part["text"].as_str().map_or(0, |text| text.len() as u64);
    if part["thought"] == true {
        return (0, text);
    }
    let call = part.get("functionCall").map_or(0, |call| {
        let name = call["name"].as_str().map_or(0, str::len);
        (name + call.get("args").map_or(0, |args| args.to_string().len())) as u64
    });
    (text + call, 0)
}

/// The usage by kind, and whether something about it is wrong. Nothing when nothing believable was told.
fn usage(told: &Value) -> (Option<Usage>, bool) {
    let mut is_implausible = false;
    let mut count = |value: &Value| match value {
        Value::Null => 0,
        value => value.as_u64().filter(|&count| count <= Tokens::PLAUSIBLE.count()).unwrap_or_else(|| {
            is_implausible = true;
            0
        }),
    };
    let asked = count(&told["promptTokenCount"]);
    let input = asked + count(&told["toolUsePromptTokenCount"]);
    let cached = count(&told["cachedContentTokenCount"]).min(input);
    let (said, thought, total) =
        (count(&told["candidatesTokenCount"]), count(&told["thoughtsTokenCount"]), count(&told["totalTokenCount"]));
    let mut of_sound = |list: &Value| {
        let sounds = list.as_array().into_iter().flatten().filter(|part| part["modality"] == "AUDIO");
        sounds.map(|part| count(&part["tokenCount"])).sum::<u64>()
    };
    let (heard, spoken) = (of_sound(&told["promptTokensDetails"]), of_sound(&told["candidatesTokensDetails"]));
    if is_implausible || told.get("promptTokenCount").is_none() {
        return (None, is_implausible);
    }
    let output = said + thought;
    let usage = Usage {
        input_uncached: Tokens::new(input - cached),
        cache_read: Tokens::new(cached),
        output: Tokens::new(output),
        reasoning: Tokens::new(thought),
        audio_input: Tokens::new(heard.min(input - cached)),
        audio_output: Tokens::new(spoken.min(output)),
        ..Usage::default()
    };
    (Some(usage), total > 0 && total != input + output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Class, Finish};

    fn read(body: &'static str) -> Result<Told, ReplyFault> {
        read_reply(&Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn u33_what_cannot_be_is_not_believed() {
        for count in ["-1", "1.5", "\"7\"", "1099511627777"] {
            let told: Value = serde_json::from_str(&format!("{{\"promptTokenCount\":5,\"candidatesTokenCount\":{count}}}")).unwrap();
            assert_eq!(usage(&told), (None, true), "{count}");
        }
    }

    #[test]
    fn what_is_no_answer_is_a_fault() {
        for body in ["", "{}", "7", "<html></html>", r#"{"candidates":[]}"#] {
            assert!(matches!(read(body), Err(ReplyFault::Malformed(_))), "{body}");
        }
        let cases = [
            (r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#, Class::Overloaded),
            (r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#, Class::BadModelOutput),
        ];
        for (body, class) in cases {
            let Err(ReplyFault::Error(told)) = read(body) else { panic!("{body}") };
            assert_eq!(told.class, class, "{body}");
        }
    }

    #[test]
    fn a_blocked_prompt_is_an_answer_without_content() {
        let told = read(r#"{"promptFeedback":{"blockReason":"OTHER"}}"#).unwrap();
        assert_eq!((told.finish, told.is_blocked), (Some(Finish::ContentFilter), true));
    }
}
