use super::{Counts, Tap};
use crate::wire::reading::ReplyFault;
use crate::wire::responses::{Chunk, Failed, absorb};
use crate::wire::sse::Plain;

impl Tap {
    pub(super) fn responses_event(&mut self, text: &str, plain: Option<(&[u8], &Plain)>) -> Result<bool, ReplyFault> {
        // Some servers end every stream as chat completions do; clients of this format do not know the word.
        if text.trim_ascii() == "[DONE]" {
            self.is_done = true;
            return Ok(false);
        }
        let Ok(chunk) = Chunk::read(text) else { return Err(ReplyFault::Malformed("an event is not a JSON object")) };
        if let Counts::Responses { counts, next } = &mut self.counts {
            *next = chunk.sequence.map_or(*next, |number| number.saturating_add(1));
            absorb(&mut self.reading, counts, &chunk, text)?;
        }
        self.check_limit()?;
        self.is_done |= self.reading.is_finished();
        if self.interpreter.is_some() {
            return Ok(false);
        }
        if let Some((event, plain)) = plain
            && chunk.is("response.output_text.delta")
            && chunk.said().has_content()
        {
            self.stencil.learn(event, plain.data.start, &chunk.holes);
        }
        Ok(true)
    }

    /// The answer as far as it was relayed.
    pub(super) fn relayed<'a>(&'a self, request_id: &'a str) -> Failed<'a> {
        let told = self.told();
        let sequence = if let Counts::Responses { next, .. } = self.counts { next } else { 0 };
        Failed {
            id: told.id.as_deref().unwrap_or(request_id),
            model: told.model.as_deref().unwrap_or_default(),
            created: self.reading.created.unwrap_or(0),
            sequence,
        }
    }
}
