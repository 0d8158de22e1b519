use crate::units::{Tokens, Usage};
use crate::wire::json::{Fault, Kind, Scan, Str, Value};
use crate::wire::reading::Iteration;

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
    /// The calls of models, one by one, where the answer took several.
    iterations: Vec<Call>,
    /// These are the counts of one of several calls.
    is_inner: bool,
    /// A count was negative, no whole number, or beyond belief.
    is_implausible: bool,
}

/// One of several calls of models.
#[derive(Clone, Debug, Default)]
struct Call {
    counts: Counts,
    /// The model, where it is another than the one that was asked.
    model: Option<String>,
    /// One of those that the counts beside the list are about.
    is_message: bool,
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

    /// The calls that the answer took, where they were told one by one and can be believed. Of the calls that the counts beside them are
    /// about, those tell no less than all of these.
    pub(in crate::wire) fn iterations(&self) -> Vec<Iteration> {
        let (Some(beside), _) = self.usage() else { return Vec::new() };
        let Some(mut all) = self.iterations.iter().map(iterated).collect::<Option<Vec<Iteration>>>() else { return Vec::new() };
        let messages = || self.iterations.iter().zip(&all).filter(|(call, _)| call.is_message).map(|(_, told)| &told.usage);
        let sum = messages().fold(Usage::default(), |sum, usage| sum.plus(usage));
        if !all.is_empty() && (sum.output < beside.output || sum.input_total() < beside.input_total()) {
            let mut calls = self.iterations.iter();
            all.retain(|_| calls.next().is_some_and(|call| !call.is_message));
            all.push(Iteration { model: None, usage: beside });
        }
        all
    }

    fn iteration(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        let value = scan.value()?;
        let mut call = Call { counts: Self { is_inner: true, ..Self::default() }, ..Call::default() };
        call.counts.merge(value.text());
        let mut inner = Scan::lenient(value.text());
        if value.kind == Kind::Object {
            inner.object(|scan, key| {
                let value = scan.value()?;
                match key.raw() {
                    "type" => call.is_message = value.string().is_some_and(|kind| kind.raw() == "message"),
                    "model" => call.model = value.string().map(|model| model.text().into_owned()),
                    _ => {}
                }
                Ok::<(), Fault>(())
            })?;
        }
        self.is_implausible |= call.counts.usage().0.is_none();
        self.iterations.push(call);
        Ok(())
    }

    fn field(&mut self, scan: &mut Scan<'_>, key: Str<'_>) -> Result<(), Fault> {
        if key.raw() == "iterations" && !self.is_inner && scan.peek()? == Kind::Array {
            self.iterations.clear();
            return scan.array(|scan| self.iteration(scan));
        }
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

fn iterated(call: &Call) -> Option<Iteration> {
    let (usage, _) = call.counts.usage();
    Some(Iteration { model: call.model.clone(), usage: usage? })
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

    /// Model, input and output of each call.
    fn iterations(usage: &str) -> Vec<(Option<String>, u64, u64)> {
        let mut counts = Counts::default();
        counts.merge(usage);
        let told = |call: &Iteration| (call.model.clone(), call.usage.input_total().count(), call.usage.output.count());
        counts.iterations().iter().map(told).collect()
    }

    #[test]
    fn several_calls_of_models_are_told_one_by_one() {
        let compaction = r#"{"type":"compaction","input_tokens":180,"output_tokens":35}"#;
        let message = r#"{"type":"message","input_tokens":23,"output_tokens":10,"iterations":[7]}"#;
        let advice = r#"{"type":"advisor_message","model":"o","input_tokens":8,"output_tokens":9}"#;
        let of = |list: &[&str]| iterations(&format!(r#"{{"input_tokens":23,"output_tokens":10,"iterations":[{}]}}"#, list.join(",")));
        let advised = (Some("o".to_owned()), 8, 9);
        assert_eq!(of(&[]), []);
        assert_eq!(of(&[compaction, message]), [(None, 180, 35), (None, 23, 10)]);
        assert_eq!(of(&[message, advice, message]), [(None, 23, 10), advised.clone(), (None, 23, 10)]);
        // What stands beside the list is billed, too, where the list tells less of it.
        assert_eq!(of(&[advice]), [advised, (None, 23, 10)]);
        for bad in ["7", "{}", r#"{"input_tokens":-1,"output_tokens":1}"#] {
            let mut counts = Counts::default();
            counts.merge(&format!(r#"{{"input_tokens":23,"output_tokens":10,"iterations":[{bad}]}}"#));
            assert_eq!((counts.usage(), counts.iterations().len()), ((None, true), 0), "{bad}");
        }
        assert_eq!(iterations(r#"{"input_tokens":23,"output_tokens":10,"iterations":null}"#), []);
    }
}
