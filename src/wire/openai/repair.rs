//! Mends what providers that claim the format get wrong, and changes nothing else.

mod pass;

use std::ops::Range;
use std::sync::Arc;

use super::chunk::Chunk;
use crate::units::{Endpoint, ModelName};
use crate::wire::reading::{Reading, Told};
use pass::{Pass, Place, insert, quoted};

/// A place of the text, and what is to stand there instead.
pub(in crate::wire) type Mend = (Range<usize>, String);

/// What is known of one answer that is being mended. It reads every chunk, because whether one is sound depends on those before.
#[derive(Debug, Default)]
pub(in crate::wire) struct Repair {
    /// Of the request and of the target, for answers that name neither themselves nor their model.
    names: Option<(Arc<str>, ModelName)>,
    /// Choices that showed, and those with a tool call, each a bit.
    spoken: u128,
    tools: u128,
    calls: Vec<Known>,
}

/// A tool call that has begun.
#[derive(Debug)]
struct Known {
    choice: u64,
    index: u64,
    id: Option<String>,
}

/// What the format calls an answer.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire) struct Form {
    pub(in crate::wire) endpoint: Endpoint,
    pub(in crate::wire) is_stream: bool,
}

impl Form {
    pub(in crate::wire) fn object(self) -> &'static str {
        match (self.endpoint, self.is_stream) {
            (Endpoint::Chat, true) => "chat.completion.chunk",
            (Endpoint::Chat, false) => "chat.completion",
            _ => "text_completion",
        }
    }
}

/// Whether a whole answer may have a fault.
pub(in crate::wire) fn is_suspect(chunk: &Chunk<'_>) -> bool {
    let hides_usage = chunk.usage.is_none() && chunk.hidden_usage.is_some();
    chunk.is_odd || chunk.seen & !chunk.roles != 0 || (chunk.has_tool && chunk.says_stop) || hides_usage
}

/// The text with everything mended.
pub(in crate::wire) fn mended(text: &str, mut mends: Vec<Mend>) -> String {
    mends.sort_by_key(|(place, _)| (place.start, place.end));
    let mut out = String::with_capacity(text.len() + mends.iter().map(|(_, put)| put.len()).sum::<usize>());
    let mut from = 0;
    for (place, put) in mends {
        out.push_str(&text[from..place.start]);
        out.push_str(&put);
        from = place.end;
    }
    out.push_str(&text[from..]);
    out
}

impl Repair {
    pub(in crate::wire) fn named(request: Arc<str>, model: ModelName) -> Self {
        Self { names: Some((request, model)), ..Self::default() }
    }

    /// What is to be mended in one event of a stream; `reading` has taken it over already.
    pub(in crate::wire) fn event(&mut self, chunk: &Chunk<'_>, text: &str, reading: &Reading, form: Form) -> Vec<Mend> {
        let is_unspoken = chunk.seen & !self.spoken & !chunk.roles != 0;
        let ends_with_tools = (chunk.finished | chunk.maybe_finished) & self.tools != 0;
        let is_sound = !(chunk.is_odd || chunk.mentions_tool || is_unspoken || ends_with_tools);
        let mends = if is_sound { Vec::new() } else { self.mends(text, &reading.told, reading.finished, form) };
        self.spoken |= chunk.seen;
        mends
    }

    /// A whole answer with everything mended.
    pub(in crate::wire) fn whole(&mut self, text: &str, told: &Told, endpoint: Endpoint) -> String {
        let mends = self.mends(text, told, u128::MAX, Form { endpoint, is_stream: false });
        mended(text, mends)
    }

    /// `finished`: the choices that have ended, each a bit.
    fn mends(&mut self, text: &str, told: &Told, finished: u128, form: Form) -> Vec<Mend> {
        // What cannot be read did not come so far.
        let Some(Pass { top, has_usage, hidden, mut mends, .. }) = Pass::over(text, self, finished, form) else { return Vec::new() };
        let mut missing = Vec::new();
        for (name, place) in [("id", &top.id), ("object", &top.object), ("model", &top.model)] {
            let put = || match name {
                "id" => self.id(told, form),
                "object" => form.object().to_owned(),
                _ => self.model(told),
            };
            match place {
                Place::Sound => {}
                Place::Bad(place) => mends.push((place.clone(), quoted(&put()))),
                Place::Missing => missing.push(format!("{}:{}", quoted(name), quoted(&put()))),
            }
        }
        if let Some(hidden) = hidden.filter(|_| !has_usage && !form.is_stream) {
            missing.push(format!("\"usage\":{hidden}"));
        }
        insert(top.open, top.is_empty, &missing, &mut mends);
        mends
    }

    /// The model as the answer names it, else as it was asked for.
    pub(in crate::wire) fn model(&self, told: &Told) -> String {
        told.model.clone().or(self.names.as_ref().map(|(_, model)| model.to_string())).unwrap_or_default()
    }

    /// The answer's id, and where it has none, one of ours that all its chunks share.
    pub(in crate::wire) fn id(&self, told: &Told, form: Form) -> String {
        told.id.clone().unwrap_or_else(|| {
            let request = self.names.as_ref().map_or("", |(request, _)| request);
            let start = if form.endpoint == Endpoint::Chat { "chatcmpl-tg" } else { "cmpl-tg" };
            start.chars().chain(request.chars().filter(char::is_ascii_alphanumeric)).collect()
        })
    }

    /// Which call a delta belongs to that does not say so: the one with its id, a new one, or the last.
    fn index_of(&self, choice: u64, id: Option<&str>, has_name: bool) -> u64 {
        let mut own = self.calls.iter().filter(|known| known.choice == choice);
        let found = match id {
            Some(id) => own.clone().find(|known| known.id.as_deref() == Some(id)),
            None if has_name => None,
            None => own.clone().next_back(),
        };
        found.map_or_else(|| own.next_back().map_or(0, |last| last.index + 1), |known| known.index)
    }

    fn note(&mut self, choice: u64, index: u64, id: Option<String>) {
        if !self.calls.iter().any(|known| known.choice == choice && known.index == index && (id.is_none() || known.id == id)) {
            self.calls.push(Known { choice, index, id });
        }
    }
}

#[cfg(test)]
mod tests;
