use super::{Counts, Tap};
use crate::wire::anthropic::{Chunk, absorb};
use crate::wire::reading::ReplyFault;
use crate::wire::sse::{Event, Plain};

impl Tap {
    pub(super) fn messages_event(&mut self, name: Option<&str>, text: &str, plain: Option<(&[u8], &Plain)>) -> Result<bool, ReplyFault> {
        let Ok(chunk) = Chunk::read(text) else { return Err(ReplyFault::Malformed("an event is not a JSON object")) };
        if let Counts::Messages(counts) = &mut self.counts {
            absorb(&mut self.reading, counts, &chunk, text)?;
        }
        self.check_limit()?;
        self.is_done |= chunk.is("message_stop");
        if self.interpreter.is_some() {
            return Ok(false);
        }
        // Clients go by the event's name, and some servers leave it out.
        let kind = chunk.kind.map(|kind| kind.text());
        if kind.is_some() && kind.as_deref() != name {
            self.rewrite(&Event { name: kind.map(Into::into), data: text.to_owned() });
            return Ok(false);
        }
        if let Some((event, plain)) = plain
            && chunk.is("content_block_delta")
            && chunk.has_content()
        {
            self.stencil.learn(event, plain.data.start, &chunk.holes);
        }
        Ok(true)
    }
}
