use bytes::Bytes;
use http::HeaderMap;

use super::{Counts, Tap};
use crate::units::{Usage, Usd};
use crate::wire::error::read_error;
use crate::wire::openai::{Chunk, Form, absorb, error_in_a_list, mended, told_usage};
use crate::wire::reading::{ReplyFault, Told};
use crate::wire::sse::{Event, Plain};

impl Tap {
    pub(super) fn chat_event(&mut self, name: Option<&str>, text: &str, plain: Option<(&[u8], &Plain)>) -> Result<bool, ReplyFault> {
        if text.trim_ascii() == "[DONE]" {
            self.is_done = true;
            return Ok(false);
        }
        let Ok(chunk) = Chunk::read(text) else {
            return Err(error_in_a_list(text).unwrap_or(ReplyFault::Malformed("an event is not a JSON object")));
        };
        if name == Some("error") {
            return Err(ReplyFault::from(read_error(None, &HeaderMap::new(), text.as_bytes())));
        }
        let was_finished = self.reading.is_finished();
        if let Counts::Chat(counts) = &mut self.counts {
            absorb(&mut self.reading, counts, &chunk, text)?;
        }
        self.check_limit()?;
        let is_usage_alone = chunk.usage.is_some() && !chunk.has_content() && chunk.finished == 0 && (chunk.choices == 0 || was_finished);
        if self.interpreter.is_some() || (is_usage_alone && !self.asks_for_usage) {
            return Ok(false);
        }
        self.has_sent_usage |= chunk.usage.is_some();
        let form = Form { endpoint: self.endpoint, is_stream: true };
        let mut mends = self.repair.event(&chunk, text, &self.reading, form);
        if let Some(usage) = chunk.usage
            && let Some(cost) = self.cost_to_add(usage)
        {
            // The usage is a part of the text.
            let inside = usage.as_ptr() as usize - text.as_ptr() as usize + 1;
            mends.push((inside..inside, format!("\"cost\":{},", cost.plain())));
        }
        if !mends.is_empty() {
            self.rewrite(&Event { name: name.map(str::to_owned), data: mended(text, mends) });
            return Ok(false);
        }
        let tells_usage = chunk.usage.is_some() || chunk.hidden_usage.is_some();
        let is_ordinary = chunk.choices == 1 && chunk.finish.is_none() && !tells_usage && chunk.mentions_tool == chunk.has_tool;
        if let Some((event, plain)) = plain
            && is_ordinary
            && chunk.has_content()
        {
            self.stencil.learn(event, plain.data.start, &chunk.holes);
        }
        Ok(true)
    }

    /// What is to stand in a usage object that has other fields but no cost.
    fn cost_to_add(&self, usage: &str) -> Option<Usd> {
        let price = self.price.as_ref()?;
        let has_fields = usage.starts_with('{') && !usage[1..].trim_ascii_start().starts_with('}');
        (has_fields && self.told().provider_cost.is_none()).then(|| price(self.told())).flatten()
    }

    pub(super) fn usage_chunk(&self, usage: &Usage) -> Bytes {
        let form = Form { endpoint: self.endpoint, is_stream: true };
        let chunk = serde_json::json!({
            "id": self.repair.id(self.told(), form),
            "object": form.object(),
            "created": self.reading.created.unwrap_or(0),
            "model": self.repair.model(self.told()),
            "choices": [],
        });
        let text = chunk.to_string();
        let told = Told { usage: Some(*usage), ..self.told().clone() };
        let cost = self.price.as_ref().and_then(|price| price(&told));
        Bytes::from(format!("data: {},\"usage\":{}}}\n\n", &text[..text.len() - 1], told_usage(usage, cost).get()))
    }
}
