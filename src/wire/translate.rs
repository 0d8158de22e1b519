//! A call of one format for a target of another.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::call::{BadCall, Call, Edits};
use super::canonical::Translated;
use super::json;
use super::reading::{ReplyFault, Told};
use super::{anthropic, gemini, openai, responses};
use crate::units::{Endpoint, Lacks, ModelName, Quirks, Tokens, Wire};

impl Call {
    /// The fields that the call must have and a target that speaks `to`, another format, lacks, in order of their names. Fails where the
    /// call breaks its own format's rules.
    pub fn unmet(&self, to: Wire, quirks: &Quirks) -> Result<Vec<String>, BadCall> {
        if self.endpoint() == Endpoint::Embeddings {
            return Ok(gemini::unmet_embeddings(self));
        }
        self.conversation().map(|asked| asked.unmet(to, quirks)).map_err(Clone::clone)
    }

    /// The fields that a target of another format drops or takes for something else, in order of their names.
    #[must_use]
    pub fn losses(&self, wire: Wire, quirks: &Quirks) -> Vec<String> {
        let set = BTreeMap::new();
        let edits =
            Edits { model: "", include_usage: false, output_limit: None, assumed_limit: Tokens::ZERO, set: &set, lacks: Lacks::default() };
        let Translated { mut dropped, adjusted, .. } = self.translate(wire, &edits, quirks).unwrap_or_default();
        dropped.extend(adjusted);
        dropped.sort();
        dropped.dedup();
        dropped
    }

    /// The call as a target that speaks `wire` gets it. [`unmet`](Self::unmet) has to be empty, or parts of the call are lost.
    pub fn translate(&self, wire: Wire, edits: &Edits<'_>, quirks: &Quirks) -> Result<Translated, BadCall> {
        if wire == Wire::Embed {
            return Ok(gemini::write_embeddings(self, edits));
        }
        let asked = self.conversation().map_err(Clone::clone)?;
        let translated = match wire {
            Wire::Messages => anthropic::write_request(asked, edits, quirks),
            Wire::Generate => gemini::write_request(asked, edits, quirks),
            Wire::Responses => responses::write_request(asked, edits, quirks),
            Wire::Chat | Wire::Completions | Wire::Embeddings | Wire::Embed | Wire::Passed => openai::write_request(asked, edits, quirks),
        };
        let echo = (self.endpoint() == Endpoint::Responses).then(|| responses::echo(self.fields()).into());
        Ok(Translated { echo, ..translated })
    }
}

/// Reads a whole answer.
pub fn read_reply(wire: Wire, body: &Bytes) -> Result<Told, ReplyFault> {
    match wire {
        Wire::Messages => anthropic::read_reply(body),
        Wire::Generate => gemini::read_reply(body),
        Wire::Responses => responses::read_reply(body),
        Wire::Chat | Wire::Completions | Wire::Embeddings => openai::read_reply(wire, body),
        Wire::Embed => gemini::read_embeddings(body),
        Wire::Passed => Ok(Told::default()),
    }
}

/// A whole answer for a client of the provider's own format: as it came, or with mended what the provider gets wrong of it. `request`:
/// the id of an answer that has none is made from this; `model`: as it was asked for.
#[must_use]
pub fn mend_reply(endpoint: Endpoint, body: Bytes, told: &Told, request: &Arc<str>, model: &ModelName) -> Bytes {
    let text = if told.is_suspect { json::utf8(&body).ok() } else { None };
    match text {
        Some(text) => openai::Repair::named(Arc::clone(request), model.clone()).whole(text, told, endpoint).into(),
        None => body,
    }
}
