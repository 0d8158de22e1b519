use crate::units::{Tokens, Usage, Usd};
use crate::wire::json::{Fault, Kind, Scan, Str, Value};

/// The numbers of `usage` objects as the providers write them. Snapshots replace each other field by field.
#[derive(Clone, Debug, Default)]
pub(in crate::wire) struct Counts {
    prompt: Option<u64>,
    completion: Option<u64>,
    total: Option<u64>,
    cached: Option<u64>,
    cache_written: Option<u64>,
    reasoning: Option<u64>,
    audio_in: Option<u64>,
    audio_out: Option<u64>,
    cost: Option<Usd>,
    /// A count was negative, no whole number, or beyond belief.
    is_implausible: bool,
    /// Whether they are named as the Responses API does.
    is_of_responses: bool,
}

impl Counts {
    /// Those of the Responses API, which has other names for them.
    pub(in crate::wire) fn of_responses() -> Self {
        Self { is_of_responses: true, ..Self::default() }
    }

    /// Takes over what a `usage` object says.
    pub(in crate::wire) fn merge(&mut self, raw: &str) {
        self.is_implausible = false;
        let mut scan = Scan::lenient(raw);
        if scan.peek() != Ok(Kind::Object) || scan.object(|scan, key| self.field(scan, key)).is_err() {
            self.is_implausible = true;
        }
    }

    /// What the provider says that the call cost.
    pub(in crate::wire) fn cost(&self) -> Option<Usd> {
        self.cost
    }

    /// The usage by kind, and whether something about it is wrong. Nothing when nothing believable was told.
    pub(in crate::wire) fn usage(&self) -> (Option<Usage>, bool) {
        let Some(prompt) = self.prompt else { return (None, self.is_implausible) };
        if self.is_implausible {
            return (None, true);
        }
        let (output, reasoning, is_consistent) = self.output(prompt);
        let cache_read = self.cached.unwrap_or(0).min(prompt);
        let cache_write = self.cache_written.unwrap_or(0).min(prompt - cache_read);
        let input_uncached = prompt - cache_read - cache_write;
        let fits = self.cached.unwrap_or(0).saturating_add(self.cache_written.unwrap_or(0)) <= prompt;
        let usage = Usage {
            input_uncached: Tokens::new(input_uncached),
            cache_read: Tokens::new(cache_read),
            cache_write: Tokens::new(cache_write),
            cache_write_1h: Tokens::ZERO,
            output: Tokens::new(output),
            reasoning: Tokens::new(reasoning.min(output)),
            audio_input: Tokens::new(self.audio_in.unwrap_or(0).min(input_uncached)),
            audio_output: Tokens::new(self.audio_out.unwrap_or(0).min(output)),
        };
        (Some(usage), !(is_consistent && fits))
    }

    /// All output, the reasoning in it, and whether the sum is right. Some count reasoning beside the completion, some only
    /// in the total: the numbers decide, not the provider's name.
    fn output(&self, prompt: u64) -> (u64, u64, bool) {
        let told = self.total.unwrap_or(prompt);
        let completion = self.completion.unwrap_or(told.saturating_sub(prompt));
        let sum = prompt + completion;
        let excess = self.total.unwrap_or(sum).saturating_sub(sum);
        match self.reasoning {
            Some(reasoning) if excess > 0 && excess == reasoning => (completion + reasoning, reasoning, true),
            None if excess > 0 => (completion + excess, excess, true),
            reasoning => (completion, reasoning.unwrap_or(0), self.total.is_none_or(|total| total == sum)),
        }
    }

    fn field(&mut self, scan: &mut Scan<'_>, key: Str<'_>) -> Result<(), Fault> {
        match self.name(key.raw()) {
            "prompt_tokens" => self.prompt = self.count(scan.value()?).or(self.prompt),
            "completion_tokens" => self.completion = self.count(scan.value()?).or(self.completion),
            "total_tokens" => self.total = self.count(scan.value()?).or(self.total),
            "cached_tokens" | "prompt_cache_hit_tokens" => self.cached = self.count(scan.value()?).or(self.cached),
            "prompt_tokens_details" if scan.peek()? == Kind::Object => scan.object(|scan, key| self.input_detail(scan, key))?,
            "completion_tokens_details" if scan.peek()? == Kind::Object => scan.object(|scan, key| self.output_detail(scan, key))?,
            "cost" => self.cost = dollars(scan.value()?.text(), 9).or(self.cost),
            // Ten billion ticks are a dollar.
            "cost_in_usd_ticks" => self.cost = dollars(scan.value()?.text(), -1).or(self.cost),
            _ => drop_value(scan)?,
        }
        Ok(())
    }

    /// The name of a field in chat completions.
    fn name<'n>(&self, name: &'n str) -> &'n str {
        match (self.is_of_responses, name) {
            (true, "input_tokens") => "prompt_tokens",
            (true, "output_tokens") => "completion_tokens",
            (true, "input_tokens_details") => "prompt_tokens_details",
            (true, "output_tokens_details") => "completion_tokens_details",
            (_, name) => name,
        }
    }

    fn input_detail(&mut self, scan: &mut Scan<'_>, key: Str<'_>) -> Result<(), Fault> {
        match key.raw() {
            "cached_tokens" => self.cached = self.count(scan.value()?).or(self.cached),
            "cache_write_tokens" => self.cache_written = self.count(scan.value()?).or(self.cache_written),
            "audio_tokens" => self.audio_in = self.count(scan.value()?).or(self.audio_in),
            _ => drop_value(scan)?,
        }
        Ok(())
    }

    fn output_detail(&mut self, scan: &mut Scan<'_>, key: Str<'_>) -> Result<(), Fault> {
        match key.raw() {
            "reasoning_tokens" => self.reasoning = self.count(scan.value()?).or(self.reasoning),
            "audio_tokens" => self.audio_out = self.count(scan.value()?).or(self.audio_out),
            _ => drop_value(scan)?,
        }
        Ok(())
    }

    fn count(&mut self, value: Value<'_>) -> Option<u64> {
        let count = value.digits().filter(|&count| count <= Tokens::PLAUSIBLE.count());
        self.is_implausible |= count.is_none() && !value.is_null();
        count
    }
}

fn drop_value(scan: &mut Scan<'_>) -> Result<(), Fault> {
    scan.value().map(|_| ())
}

/// A JSON number times ten to the power `shift`, in nano-dollars, rounded up; nothing when it is negative or no number.
fn dollars(text: &str, shift: i32) -> Option<Usd> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: u128 = format!("{whole}{part}").parse().ok()?;
    let exponent: i32 = exponent.parse().ok()?;
    let power = exponent.checked_add(shift)?.checked_sub(i32::try_from(part.len()).ok()?)?;
    let scale = 10_u128.checked_pow(power.unsigned_abs());
    let nano = match (scale, power < 0) {
        (Some(scale), false) => digits.checked_mul(scale)?,
        (Some(scale), true) => digits.div_ceil(scale),
        (None, false) => return (digits == 0).then_some(Usd::ZERO),
        (None, true) => u128::from(digits > 0),
    };
    u64::try_from(nano).ok().map(Usd::from_nano)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(raw: &str) -> (Option<Usage>, bool) {
        let mut counts = Counts::default();
        counts.merge(raw);
        counts.usage()
    }

    #[test]
    fn u33_what_cannot_be_is_not_believed() {
        for completion in ["-1", "1.5", "\"7\"", "1099511627777", "true", "[]", "99999999999999999999"] {
            let (usage, is_flagged) = read(&format!("{{\"prompt_tokens\":5,\"completion_tokens\":{completion}}}"));
            assert_eq!((usage, is_flagged), (None, true), "{completion}");
        }
        for raw in ["7", "\"x\"", "[1]"] {
            assert_eq!(read(raw), (None, true), "{raw}");
        }
        assert_eq!(read("{}"), (None, false));
    }

    #[test]
    fn the_numbers_decide_where_reasoning_counts() {
        let cases = [
            ("\"completion_tokens\":10,\"total_tokens\":15", None, 10, 0, false),
            ("\"completion_tokens\":10,\"total_tokens\":45", Some(30), 40, 30, false),
            ("\"completion_tokens\":10,\"total_tokens\":15", Some(7), 10, 7, false),
            ("\"completion_tokens\":10,\"total_tokens\":45", None, 40, 30, false),
            ("\"completion_tokens\":10,\"total_tokens\":45", Some(7), 10, 7, true),
            ("\"completion_tokens\":10,\"total_tokens\":12", None, 10, 0, true),
            ("\"total_tokens\":5", None, 0, 0, false),
            ("\"completion_tokens\":3", None, 3, 0, false),
        ];
        for (counts, told, output, reasoning, is_flagged) in cases {
            let details = told.map(|n| format!(",\"completion_tokens_details\":{{\"reasoning_tokens\":{n}}}")).unwrap_or_default();
            let (usage, flag) = read(&format!("{{\"prompt_tokens\":5,{counts}{details}}}"));
            let usage = usage.unwrap();
            assert_eq!((usage.output.count(), usage.reasoning.count(), flag), (output, reasoning, is_flagged), "{counts} {told:?}");
        }
    }

    #[test]
    fn a_later_snapshot_replaces_field_by_field() {
        let mut counts = Counts::default();
        counts.merge("{\"prompt_tokens\":9,\"completion_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":4}}");
        counts.merge("{\"prompt_tokens\":9,\"completion_tokens\":2,\"prompt_tokens_details\":null}");
        let usage = counts.usage().0.unwrap();
        assert_eq!((usage.output.count(), usage.cache_read.count(), usage.input_uncached.count()), (2, 4, 5));
    }

    #[test]
    fn a_providers_own_cost_is_exact() {
        let cases = [
            ("0.00041", 9, Some(410_000)),
            ("6e-05", 9, Some(60_000)),
            ("1.5E1", 9, Some(15_000_000_000)),
            ("1e-12", 9, Some(1)),
            ("36680000", -1, Some(3_668_000)),
            ("0", 9, Some(0)),
            ("-1", 9, None),
            ("null", 9, None),
            ("1e400", 9, None),
            ("1e-400", 9, Some(1)),
        ];
        for (text, shift, nano) in cases {
            assert_eq!(dollars(text, shift).map(Usd::nano), nano, "{text}");
        }
    }
}
