use bytes::Bytes;
use http::HeaderMap;

use super::{Chunk, Counts};
use crate::units::Usage;
use crate::wire::error::read_error;
use crate::wire::json::{Str, utf8};
use crate::wire::reading::{Reading, ReplyFault, Told};

/// Bytes that a token has at the very least in no answer of any length: below, a count is not believed.
const BYTES_PER_TOKEN_AT_MOST: u64 = 64;

/// Reads a whole answer.
pub(in crate::wire) fn read_reply(body: &Bytes) -> Result<Told, ReplyFault> {
    let text = utf8(body).map_err(|_| ReplyFault::Malformed("the body is not UTF-8"))?;
    let Ok(chunk) = Chunk::read(text) else { return Err(ReplyFault::Malformed("the body is not a JSON object")) };
    let mut reading = Reading::default();
    absorb(&mut reading, &mut Counts::default(), &chunk, text)?;
    if !chunk.has_list {
        let told = read_error(None, &HeaderMap::new(), body);
        return Err(if told.message.is_some() { ReplyFault::from(told) } else { ReplyFault::Malformed("the body holds no answer") });
    }
    reading.doubt_usage_below(reading.text_bytes / BYTES_PER_TOKEN_AT_MOST);
    Ok(reading.told)
}

/// Takes over what one event or body says; `text` is all of it.
pub(in crate::wire) fn absorb(reading: &mut Reading, counts: &mut Counts, chunk: &Chunk<'_>, text: &str) -> Result<(), ReplyFault> {
    if chunk.has_error || chunk.is("error") {
        return Err(ReplyFault::from(read_error(None, &HeaderMap::new(), text.as_bytes())));
    }
    let name = |string: Option<Str<'_>>| Some(string?.text().into_owned()).filter(|text| !text.is_empty());
    if chunk.is("message_start") || chunk.is("message") {
        reading.told.id = name(chunk.id);
        reading.told.model = name(chunk.model);
    }
    reading.seen = 1;
    reading.add(chunk.text, chunk.reasoning);
    reading.has_content |= chunk.has_content();
    reading.has_tool |= chunk.has_tool;
    if let Some(word) = chunk.stop_reason {
        reading.finish(&word.text())?;
    }
    if chunk.usage.iter().any(Option::is_some) {
        for raw in chunk.usage.iter().flatten() {
            counts.merge(raw);
        }
        (reading.told.usage, reading.told.usage_flagged) = counts.usage();
        reading.told.iterations = counts.iterations();
        if !reading.told.iterations.is_empty() {
            reading.told.usage = Some(reading.told.iterations.iter().fold(Usage::default(), |sum, call| sum.plus(&call.usage)));
        }
    }
    if chunk.is("message_stop") {
        reading.finished = 1;
    }
    Ok(())
}
