use crate::units::{Tokens, Usage};
use crate::wire::json::{Fault, Kind, Scan, Str, Value};

/// The numbers of `usage` objects. Snapshots replace each other field by field.
#[derive(Clone, Debug, Default)]
pub(in crate::wire) struct Counts {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_written: Option<u64>,
    written_5m: Option<u64>,
    written_1h: Option<u64>,
    thinking: Option<u64>,
    /// A count was negative, no whole number, or beyond belief.
    is_implausible: bool,
}

impl Counts {
    /// Takes over what a `usage` object says.
    pub(in crate::wire) fn merge(&mut self, raw: &str) {
        self.is_implausible = false;
        let mut scan = Scan::lenient(raw);
        if scan.peek() != Ok(Kind::Object) || scan.object(|scan, key| self.field(scan, key)).is_err() {
            self.is_implausible = true;
        }
    }

    /// The usage by kind, and whether something about it is wrong. Nothing when nothing believable was told.
    pub(in crate::wire) fn usage(&self) -> (Option<Usage>, bool) {
        let (Some(input), Some(output)) = (self.input, self.output) else { return (None, self.is_implausible) };
        if self.is_implausible {
            return (None, true);
        }
        let split = self.written_5m.unwrap_or(0).saturating_add(self.written_1h.unwrap_or(0));
        let written = self.cache_written.unwrap_or(split);
        let reasoning = self.thinking.unwrap_or(0);
        let usage = Usage {
            input_uncached: Tokens::new(input),
            cache_read: Tokens::new(self.cache_read.unwrap_or(0)),
            cache_write: Tokens::new(written),
            cache_write_1h: Tokens::new(self.written_1h.unwrap_or(0).min(written)),
            output: Tokens::new(output),
            reasoning: Tokens::new(reasoning.min(output)),
            ..Usage::default()
        };
        (Some(usage), split > written || reasoning > output)
    }

    fn field(&mut self, scan: &mut Scan<'_>, key: Str<'_>) -> Result<(), Fault> {
        let details = matches!(key.raw(), "cache_creation" | "output_tokens_details");
        if details && scan.peek()? == Kind::Object {
            return scan.object(|scan, key| self.field(scan, key));
        }
        let value = scan.value()?;
        let place = match key.raw() {
            "input_tokens" => &mut self.input,
            "output_tokens" => &mut self.output,
            "cache_read_input_tokens" => &mut self.cache_read,
            "cache_creation_input_tokens" => &mut self.cache_written,
            "ephemeral_5m_input_tokens" => &mut self.written_5m,
            "ephemeral_1h_input_tokens" => &mut self.written_1h,
            "thinking_tokens" => &mut self.thinking,
            _ => return Ok(()),
        };
        match count(value) {
            Some(count) => *place = Some(count),
            None => self.is_implausible |= !value.is_null(),
        }
        Ok(())
    }
}

fn count(value: Value<'_>) -> Option<u64> {
    value.digits().filter(|&count| count <= Tokens::PLAUSIBLE.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn u33_what_cannot_be_is_not_believed() {
        for output in ["-1", "1.5", "\"7\"", "1099511627777", "true", "[]"] {
            let mut counts = Counts::default();
            counts.merge(&format!("{{\"input_tokens\":5,\"output_tokens\":{output}}}"));
            assert_eq!(counts.usage(), (None, true), "{output}");
        }
    }

    #[test]
    fn a_later_snapshot_replaces_field_by_field() {
        let mut counts = Counts::default();
        counts.merge(
            "{\"input_tokens\":9,\"cache_creation_input_tokens\":7,\"cache_creation\":{\"ephemeral_1h_input_tokens\":3},\"output_tokens\":1}",
        );
        counts.merge("{\"input_tokens\":8,\"output_tokens\":20,\"output_tokens_details\":{\"thinking_tokens\":4}}");
        let (usage, is_flagged) = counts.usage();
        let usage = usage.unwrap();
        assert_eq!((usage.input_uncached.count(), usage.cache_write.count(), usage.cache_write_1h.count()), (8, 7, 3));
        assert_eq!((usage.output.count(), usage.reasoning.count(), is_flagged), (20, 4, false));
    }
}
