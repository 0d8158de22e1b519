//! What a month and a year of a workload cost on one model, in whole numbers, rounded up once.

use crate::units::{Price, Prices, Tokens, Usd};

/// Millionths in one.
pub(super) const WHOLE: u64 = 1_000_000;

/// What is asked of a model in a month.
#[derive(Clone, Debug)]
pub(super) struct Workload {
    pub(super) requests: u64,
    /// Retries and fallbacks that are billed besides, in millionths of the requests.
    pub(super) retries: u64,
    /// Kinds of requests, each in proportion to its weight; never empty.
    pub(super) parts: Vec<Part>,
}

/// Requests of one kind. The tokens are those of all `weight` requests together, in millionths of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) weight: u64,
    /// Input of one request, in tokens: it decides the price tier.
    pub(super) input: u64,
    pub(super) uncached: u128,
    pub(super) cached: u128,
    pub(super) written: u128,
    pub(super) output: u128,
}

impl Part {
    /// A kind of request that is told, and none that was measured: tokens in and out, and in millionths how much of the input comes
    /// from the cache and how much the model reasons for each token that it shows.
    pub(super) fn told(input: u64, output: u64, cached: u64, reasoning: u64) -> Self {
        let (tokens_in, cached) = (u128::from(input), u128::from(cached.min(WHOLE)));
        Self {
            weight: 1,
            input,
            uncached: tokens_in * (u128::from(WHOLE) - cached),
            cached: tokens_in * cached,
            written: 0,
            output: u128::from(output) * (u128::from(WHOLE) + u128::from(reasoning)),
        }
    }
}

/// Dollars for a month, and for twelve of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Projected {
    pub(super) month: Usd,
    pub(super) year: Usd,
}

/// Nothing where a figure is beyond what can be counted.
pub(super) fn project(workload: &Workload, prices: &Prices) -> Option<Projected> {
    let weights: u128 = workload.parts.iter().map(|part| u128::from(part.weight)).sum();
    let mut sum: u128 = 0;
    for part in &workload.parts {
        let (input, output, cache_read) = at(prices, part.input);
        let write = prices.cache_write.unwrap_or(input);
        for (tokens, price) in
            [(part.uncached, input), (part.cached, cache_read.unwrap_or(input)), (part.written, write), (part.output, output)]
        {
            sum = sum.checked_add(tokens.checked_mul(u128::from(price.nano()))?)?;
        }
    }
    // Millionths of a token, millionths of a retry, and prices for a million tokens.
    let times = u128::from(workload.requests).checked_mul(u128::from(WHOLE) + u128::from(workload.retries))?;
    let whole = u128::from(WHOLE);
    let parts = weights.checked_mul(whole * whole * whole)?;
    let common = divisor(times, parts);
    let (times, parts) = (times / common, parts / common);
    let dollars = |months: u128| {
        let exact = sum.checked_mul(times)?.checked_mul(months)?;
        u64::try_from(exact.div_ceil(parts.max(1))).ok().map(Usd::from_nano)
    };
    Some(Projected { month: dollars(1)?, year: dollars(12)? })
}

/// Input, output and cache-read price of a call with that much input.
fn at(prices: &Prices, input: u64) -> (Price, Price, Option<Price>) {
    let tier = prices.tiers.iter().rev().find(|tier| Tokens::new(input) > tier.above);
    tier.map_or((prices.input, prices.output, prices.cache_read), |tier| (tier.input, tier.output, tier.cache_read))
}

/// The greatest common divisor; 1 where one of them is 0.
fn divisor(mut one: u128, mut other: u128) -> u128 {
    while other != 0 {
        (one, other) = (other, one % other);
    }
    one.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Tier;

    fn prices(input: &str, output: &str) -> Prices {
        Prices { input: input.parse().unwrap(), output: output.parse().unwrap(), ..Prices::default() }
    }

    fn workload(input: u64, output: u64) -> Workload {
        Workload { requests: 100_000, retries: 0, parts: vec![Part::told(input, output, 0, 0)] }
    }

    fn told(workload: &Workload, prices: &Prices) -> (String, String) {
        let projected = project(workload, prices).unwrap();
        (projected.month.to_string(), projected.year.to_string())
    }

    #[test]
    fn the_published_table_comes_out_to_the_dollar() {
        for (input, output, month, year, with_input) in [
            ("0.14", "0.28", "$140", "$1680", "$28"),
            ("0.10", "0.35", "$175", "$2100", "$27.5"),
            ("2.50", "10.00", "$5000", "$60000", "$750"),
            ("0.50", "1.00", "$500", "$6000", "$100"),
        ] {
            let prices = prices(input, output);
            assert_eq!(told(&workload(0, 5_000), &prices), (month.into(), year.into()));
            assert_eq!(told(&workload(1_000, 500), &prices).0, with_input);
        }
    }

    #[test]
    fn cache_reasoning_retries_and_tiers_count() {
        let whole = Prices {
            cache_read: Some("0.1".parse().unwrap()),
            tiers: vec![Tier { above: Tokens::new(10_000), input: "2".parse().unwrap(), output: "4".parse().unwrap(), cache_read: None }],
            ..prices("1", "2")
        };
        let of = |part, retries| told(&Workload { requests: 1_000_000, retries, parts: vec![part] }, &whole).0;
        assert_eq!(of(Part::told(1_000, 0, 0, 0), 0), "$1000");
        assert_eq!(of(Part::told(1_000, 0, 800_000, 0), 0), "$280");
        assert_eq!(of(Part::told(0, 1_000, 0, 500_000), 0), "$3000");
        assert_eq!(of(Part::told(1_000, 0, 0, 0), 30_000), "$1030");
        assert_eq!(of(Part::told(10_000, 0, 0, 0), 0), "$10000");
        assert_eq!(of(Part::told(10_001, 0, 0, 0), 0), "$20002");
        let written = Part { weight: 4, written: 4_000 * 1_000_000, ..Part::default() };
        assert_eq!(of(written, 0), "$1000");
    }

    #[test]
    fn parts_count_by_their_weight_and_the_sum_is_rounded_up_once() {
        let parts = vec![Part { weight: 3, ..Part::told(0, 3, 0, 0) }, Part { weight: 1, ..Part::told(0, 1, 0, 0) }];
        let mixed = Workload { requests: 7, retries: 0, parts };
        // 4 tokens for 4 requests: one token each.
        assert_eq!(told(&mixed, &prices("0", "0.000001")).0, "$0.000000001");
        assert_eq!(project(&Workload { requests: u64::MAX, ..workload(u64::MAX, u64::MAX) }, &prices("99999999", "1")), None);
    }
}
