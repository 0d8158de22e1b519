use bytes::Bytes;
use http::HeaderMap;

use super::Chunk;
use super::chunk::Weight;
use crate::wire::error::{Class, ErrorTold, read_error};
use crate::wire::json::{Str, utf8};
use crate::wire::openai::Counts;
use crate::wire::reading::{Reading, ReplyFault, Told};

/// Bytes that a token has at the very least in no answer of any length: below, a count is not believed.
const BYTES_PER_TOKEN_AT_MOST: u64 = 64;

/// Reads a whole answer.
pub(in crate::wire) fn read_reply(body: &Bytes) -> Result<Told, ReplyFault> {
    let text = utf8(body).map_err(|_| ReplyFault::Malformed("the body is not UTF-8"))?;
    let Ok(chunk) = Chunk::read(text) else { return Err(ReplyFault::Malformed("the body is not a JSON object")) };
    let mut reading = Reading::default();
    let mut counts = Counts::of_responses();
    absorb(&mut reading, &mut counts, &chunk, text)?;
    if !chunk.has_list {
        let told = read_error(None, &HeaderMap::new(), body);
        return Err(if told.message.is_some() { ReplyFault::from(told) } else { ReplyFault::Malformed("the body holds no answer") });
    }
    reading.doubt_usage_below(reading.text_bytes / BYTES_PER_TOKEN_AT_MOST);
    Ok(reading.told)
}

/// Takes over what one event or body says; `text` is all of it.
pub(in crate::wire) fn absorb(reading: &mut Reading, counts: &mut Counts, chunk: &Chunk<'_>, text: &str) -> Result<(), ReplyFault> {
    let name = |string: Option<Str<'_>>| Some(string?.text().into_owned()).filter(|text| !text.is_empty());
    let tells_response = chunk.kind.is_none_or(|kind| RESPONSES.contains(&kind.raw()));
    if tells_response {
        reading.told.id = reading.told.id.take().or_else(|| name(chunk.id));
        reading.told.model = reading.told.model.take().or_else(|| name(chunk.model));
        reading.created = reading.created.or(chunk.created.filter(|&created| created > 0));
        if let Some(raw) = chunk.usage {
            counts.merge(raw);
            (reading.told.usage, reading.told.usage_flagged) = counts.usage();
            reading.told.provider_cost = counts.cost();
        }
    }
    if let Some(told) = failure(chunk, text) {
        return Err(ReplyFault::from(ErrorTold { usage: told.usage.or(reading.told.usage), ..told }));
    }
    reading.seen = 1;
    take(reading, chunk.said());
    let Some(word) = end(chunk) else { return Ok(()) };
    // Whole answers, and streams of servers that tell all of it at the end.
    if !reading.has_content {
        take(reading, chunk.output);
    }
    reading.has_tool |= chunk.output.has_call;
    reading.finished = 1;
    reading.finish(&word)
}

/// The events that tell of the whole response.
const RESPONSES: [&str; 6] =
    ["response.created", "response.queued", "response.in_progress", "response.completed", "response.incomplete", "response.failed"];

fn take(reading: &mut Reading, said: Weight) {
    reading.add(said.text, said.reasoning);
    reading.has_content |= said.has_content();
    reading.has_tool |= said.has_call;
}

/// The error that an event or a body tells.
fn failure(chunk: &Chunk<'_>, text: &str) -> Option<ErrorTold> {
    let has_failed = |word: &str| chunk.status.is_some_and(|status| status.raw() == word);
    if chunk.is("error") {
        return Some(read_error(None, &HeaderMap::new(), text.as_bytes()));
    }
    let is_over = chunk.is("response.failed") || (chunk.kind.is_none() && (has_failed("failed") || has_failed("cancelled")));
    // An answer that has content and does not say that it failed is one, whatever stands beside it.
    let is_answer = chunk.kind.is_none() && chunk.output.has_content();
    if !is_over && (chunk.error.is_none() || is_answer) {
        return None;
    }
    Some(match chunk.error {
        // The rest of the body holds words of the request, which tell nothing of the error.
        Some(error) => read_error(None, &HeaderMap::new(), format!("{{\"error\":{error}}}").as_bytes()),
        None => ErrorTold::bare(Class::ServerError, "the provider ended the answer as failed".into()),
    })
}

/// Why the answer ended, in a word that [`Reading::finish`] knows; nothing where it goes on.
fn end<'a>(chunk: &Chunk<'a>) -> Option<std::borrow::Cow<'a, str>> {
    let kind = chunk.kind.map(|kind| kind.raw());
    let status = chunk.status.map(|status| status.raw());
    match (kind, status) {
        (Some("response.completed"), _) | (None, Some("completed") | None) => Some("stop".into()),
        (Some("response.incomplete"), _) | (None, Some("incomplete")) => Some(match chunk.reason.map(|reason| reason.text()) {
            None => "length".into(),
            Some(reason) if reason == "max_output_tokens" => "length".into(),
            Some(reason) => reason,
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Finish;

    fn read(body: &'static str) -> Result<Told, ReplyFault> {
        read_reply(&Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn an_answer_with_content_that_did_not_fail_is_one() {
        let body = r#"{"object":"response","error":{"code":"x","message":"m"},"output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}]}"#;
        assert_eq!(read(body).unwrap().finish, Some(Finish::Stop));
    }

    #[test]
    fn u17_a_whole_answer_that_is_an_error_is_one() {
        let cases = [
            (
                r#"{"object":"response","status":"failed","error":{"code":"rate_limit_exceeded","message":"m"},"output":[]}"#,
                Class::RateLimited,
            ),
            (r#"{"object":"response","status":"failed","error":null,"output":[]}"#, Class::ServerError),
            (r#"{"error":{"message":"m","type":"overloaded_error"}}"#, Class::Overloaded),
            (r#"{"type":"error","code":"server_is_overloaded","message":"m","param":null}"#, Class::Overloaded),
        ];
        for (body, class) in cases {
            let Err(ReplyFault::Error(told)) = read(body) else { panic!("{body}") };
            assert_eq!(told.class, class, "{body}");
        }
    }

    #[test]
    fn u22_u31_u38_what_is_no_answer_is_malformed() {
        for body in ["", "<html></html>", "{", "{}", "null", "[]", "7", r#"{"status":"completed"}"#, r#"{"output":[]} x"#] {
            assert!(matches!(read(body), Err(ReplyFault::Malformed(_))), "{body}");
        }
    }

    #[test]
    fn finish_reasons_have_our_words() {
        let message = r#"{"type":"message","content":[{"type":"output_text","text":"x"}]}"#;
        let call = r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}"#;
        let cases = [
            ("\"completed\"", "null", message, Some(Finish::Stop), false),
            ("\"completed\"", "null", call, Some(Finish::ToolCalls), false),
            ("\"incomplete\"", r#"{"reason":"max_output_tokens"}"#, message, Some(Finish::Length), false),
            ("\"incomplete\"", r#"{"reason":"content_filter"}"#, message, Some(Finish::ContentFilter), false),
            ("\"incomplete\"", r#"{"reason":"content_filter"}"#, "", Some(Finish::ContentFilter), true),
            ("\"queued\"", "null", "", None, false),
        ];
        for (status, details, output, finish, is_blocked) in cases {
            let body = format!("{{\"status\":{status},\"incomplete_details\":{details},\"output\":[{output}]}}");
            let told = read_reply(&Bytes::from(body)).unwrap();
            assert_eq!((told.finish, told.is_blocked), (finish, is_blocked), "{status} {details}");
        }
    }

    #[test]
    fn u33_usage_below_what_was_seen_is_not_believed() {
        let told = read(r#"{"output":[{"type":"message","content":[{"text":"hi"}]}],"usage":{"input_tokens":1,"output_tokens":0}}"#);
        let told = told.unwrap();
        assert_eq!((told.usage, told.usage_flagged), (None, true));
    }
}
