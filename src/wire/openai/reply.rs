use bytes::Bytes;
use http::HeaderMap;

use super::chunk::Chunk;
use super::repair::is_suspect;
use super::usage::Counts;
use crate::units::Wire;
use crate::wire::error::read_error;
use crate::wire::json::utf8;
use crate::wire::reading::{Reading, ReplyFault, Told};

/// Bytes that a token has at the very least in no answer of any length: below, a count is not believed.
const BYTES_PER_TOKEN_AT_MOST: u64 = 64;

/// Reads a whole answer. White space may stand before it.
pub(in crate::wire) fn read_reply(wire: Wire, body: &Bytes) -> Result<Told, ReplyFault> {
    let text = utf8(body).map_err(|_| ReplyFault::Malformed("the body is not UTF-8"))?;
    if text.trim_ascii().is_empty() {
        return Err(ReplyFault::Malformed("the body is empty"));
    }
    let Ok(chunk) = Chunk::read(text) else {
        return Err(error_in_a_list(text).unwrap_or(ReplyFault::Malformed("the body is not a JSON object")));
    };
    let mut reading = Reading::default();
    absorb(&mut reading, &mut Counts::default(), &chunk, text)?;
    if !chunk.has_list || (wire != Wire::Embeddings && chunk.choices == 0) {
        let told = read_error(None, &HeaderMap::new(), body);
        let fault = ReplyFault::Malformed("the body holds no answer");
        return Err(if told.message.is_some() { ReplyFault::from(told) } else { fault });
    }
    reading.doubt_usage_below(reading.text_bytes / BYTES_PER_TOKEN_AT_MOST);
    Ok(Told { is_suspect: wire != Wire::Embeddings && is_suspect(&chunk), ..reading.told })
}

/// An error object inside an array, as one provider writes it.
pub(in crate::wire) fn error_in_a_list(text: &str) -> Option<ReplyFault> {
    let told = text.trim_ascii_start().starts_with('[').then(|| read_error(None, &HeaderMap::new(), text.as_bytes()))?;
    told.message.is_some().then(|| ReplyFault::from(told))
}

/// Takes over what one event or body says; `text` is all of it.
pub(in crate::wire) fn absorb(reading: &mut Reading, counts: &mut Counts, chunk: &Chunk<'_>, text: &str) -> Result<(), ReplyFault> {
    if chunk.error.is_some() {
        return Err(ReplyFault::from(read_error(None, &HeaderMap::new(), text.as_bytes())));
    }
    names(reading, chunk);
    usage(reading, counts, chunk);
    reading.add(chunk.text, chunk.reasoning);
    let is_late = reading.has_content && !chunk.has_content();
    reading.has_content |= chunk.has_content();
    reading.has_tool |= chunk.has_tool;
    reading.seen |= chunk.seen;
    // Some write an empty word for null, one writes it for the end; only behind the content can it be the end.
    reading.finished |= chunk.finished | if is_late { chunk.maybe_finished } else { 0 };
    if let Some(word) = chunk.finish.filter(|word| is_late || !word.raw().is_empty()) {
        reading.finish(&word.text())?;
    }
    Ok(())
}

fn names(reading: &mut Reading, chunk: &Chunk<'_>) {
    let name = |string: Option<crate::wire::json::Str<'_>>| Some(string?.text().into_owned()).filter(|text| !text.is_empty());
    if reading.told.id.is_none() {
        reading.told.id = name(chunk.id);
    }
    if reading.told.model.is_none() {
        reading.told.model = name(chunk.model);
    }
    reading.created = reading.created.or(chunk.created.filter(|&created| created > 0));
}

fn usage(reading: &mut Reading, counts: &mut Counts, chunk: &Chunk<'_>) {
    if chunk.usage.is_none() && chunk.hidden_usage.is_none() {
        return;
    }
    for raw in [chunk.hidden_usage, chunk.usage].into_iter().flatten() {
        counts.merge(raw);
    }
    (reading.told.usage, reading.told.usage_flagged) = counts.usage();
    reading.told.provider_cost = counts.cost();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Tokens;
    use crate::wire::{Class, Finish};

    fn read(wire: Wire, body: &'static str) -> Result<Told, ReplyFault> {
        read_reply(wire, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn u17_a_whole_answer_that_is_an_error_is_one() {
        let cases = [
            (r#"{"error":{"message":"m","type":"overloaded_error"}}"#, Class::Overloaded),
            (r#"[{"error":{"code":400,"message":"Invalid reasoning_effort: x"}}]"#, Class::CapabilityMismatch),
            (r#"{"object":"error","message":"m","type":"t","code":"3051"}"#, Class::ServerError),
            (r#"{"choices":[{"message":{"content":""},"finish_reason":"insufficient_system_resource"}]}"#, Class::Overloaded),
            (r#"{"choices":[{"message":{"content":null},"finish_reason":"MALFORMED_FUNCTION_CALL"}]}"#, Class::BadModelOutput),
        ];
        for (body, class) in cases {
            let Err(ReplyFault::Error(told)) = read(Wire::Chat, body) else { panic!("{body}") };
            assert_eq!(told.class, class, "{body}");
        }
        let with_usage = read(Wire::Chat, r#"{"error":{"message":"m"},"usage":{"prompt_tokens":3,"completion_tokens":0}}"#);
        let Err(ReplyFault::Error(told)) = with_usage else { panic!() };
        assert_eq!(told.usage.unwrap().input_total(), Tokens::new(3));
    }

    #[test]
    fn u22_u31_u38_what_is_no_answer_is_malformed() {
        for body in ["", " \n", "<html></html>", "{", "{}", "null", "[]", "7", r#"{"choices":[]}"#, r#"{"choices":[{}]} x"#] {
            assert!(matches!(read(Wire::Chat, body), Err(ReplyFault::Malformed(_))), "{body}");
        }
        assert!(matches!(read_reply(Wire::Chat, &Bytes::from_static(b"{\"choices\":[{\"a\":\"\xff\"}]}")), Err(ReplyFault::Malformed(_))));
    }

    #[test]
    fn u33_usage_below_what_was_seen_is_not_believed() {
        let told = read(Wire::Chat, r#"{"choices":[{"message":{"content":"hi"}}],"usage":{"prompt_tokens":1,"completion_tokens":0}}"#);
        let told = told.unwrap();
        assert_eq!((told.usage, told.usage_flagged), (None, true));
    }

    #[test]
    fn u34_the_model_that_answered_is_told() {
        let told = read(Wire::Chat, r#"{"id":"a","model":"other\u002d1","choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#);
        let told = told.unwrap();
        assert_eq!((told.model.as_deref(), told.id.as_deref(), told.finish), (Some("other-1"), Some("a"), Some(Finish::Stop)));
    }

    #[test]
    fn finish_reasons_have_our_words() {
        let cases = [
            ("stop", "\"content\":\"x\"", Finish::Stop, false),
            ("stop", "\"tool_calls\":[{\"function\":{\"name\":\"f\"}}]", Finish::ToolCalls, false),
            ("eos", "\"content\":\"x\"", Finish::Stop, false),
            ("model_length", "\"content\":\"x\"", Finish::Length, false),
            ("content_filter", "\"content\":\"\"", Finish::ContentFilter, true),
            ("content_filter", "\"content\":\"x\"", Finish::ContentFilter, false),
            ("something_new", "\"content\":[{\"type\":\"text\",\"text\":\"x\"}]", Finish::Stop, false),
        ];
        for (word, message, finish, is_blocked) in cases {
            let body = Bytes::from(format!("{{\"choices\":[{{\"message\":{{{message}}},\"finish_reason\":\"{word}\"}}]}}"));
            let told = read_reply(Wire::Chat, &body).unwrap();
            assert_eq!((told.finish, told.is_blocked), (Some(finish), is_blocked), "{word} {message}");
        }
    }
}
