use std::str::FromStr;

use super::quantity::{QuantityError, parse_nano};
use super::{Tokens, Usage, Usd};

/// Nano-dollars per million tokens, so that `$0.0375` per million is a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(u64);

impl Price {
    pub const ZERO: Self = Self(0);

    /// Nano-dollars for one million tokens.
    #[must_use]
    pub fn nano(self) -> u64 {
        self.0
    }

    /// The next higher price there is.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }

    /// Dollars for one million tokens.
    #[must_use]
    pub fn per_mtok(self) -> Usd {
        Usd::from_nano(self.0)
    }
}

/// Reads dollars per million tokens: `$3`, `0.0375`.
impl FromStr for Price {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_nano(text.strip_prefix('$').unwrap_or(text)).map(Self)
    }
}

/// The prices of one model. A part without a price of its own costs what its parent costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    pub input: Price,
    pub output: Price,
    pub cache_read: Option<Price>,
    pub cache_write: Option<Price>,
    pub cache_write_1h: Option<Price>,
    pub audio_input: Option<Price>,
    pub audio_output: Option<Price>,
    /// Other prices for the whole call when its input is longer, in rising order of `above`.
    pub tiers: Vec<Tier>,
}

/// The prices that hold for a whole call whose input is longer than `above`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    pub above: Tokens,
    pub input: Price,
    pub output: Price,
    pub cache_read: Option<Price>,
}

impl Prices {
    /// What `usage` costs, each part priced once, rounded up once.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Usd {
        cost(&self.parts(usage))
    }

    /// What several usages cost together, each at prices of its own, rounded up once.
    #[must_use]
    pub fn cost_of_all<'a>(all: impl IntoIterator<Item = (&'a Self, &'a Usage)>) -> Usd {
        let parts: Vec<(Price, Tokens)> = all.into_iter().flat_map(|(prices, usage)| prices.parts(usage)).collect();
        cost(&parts)
    }

    /// Each part of a usage with its price.
    fn parts(&self, usage: &Usage) -> [(Price, Tokens); 7] {
        let (input, output, cache_read) = self.at(usage.input_total());
        let write = self.cache_write.unwrap_or(input);
        let write_1h = self.cache_write_1h.unwrap_or(write);
        [
            (input, usage.input_uncached.minus(usage.audio_input)),
            (self.audio_input.unwrap_or(input), usage.audio_input),
            (cache_read.unwrap_or(input), usage.cache_read),
            (write, usage.cache_write.minus(usage.cache_write_1h)),
            (write_1h, usage.cache_write_1h),
            (output, usage.output.minus(usage.audio_output)),
            (self.audio_output.unwrap_or(output), usage.audio_output),
        ]
    }

    /// The most that `input` tokens in and `output` tokens out can cost, whatever the provider's cache does.
    #[must_use]
    pub fn worst_case(&self, input: Tokens, output: Tokens) -> Usd {
        let dearest_in = |(price, _, cache_read): (Price, Price, Option<Price>)| price.max(cache_read.unwrap_or_default());
        let dearest_out = |(_, price, _): (Price, Price, Option<Price>)| price;
        let tiers = self.tiers.iter().filter(|tier| tier.above < input).map(|tier| self.at(tier.above.plus(Tokens::new(1))));
        let reachable = std::iter::once(self.at(Tokens::ZERO)).chain(tiers);
        let price_in = reachable.clone().map(dearest_in).max().unwrap_or_default();
        let price_out = reachable.map(dearest_out).max().unwrap_or_default();
        // What is written to the cache may cost more than plain input.
        let beside = [self.audio_input, self.cache_write, self.cache_write_1h].into_iter().flatten().max().unwrap_or_default();
        cost(&[(price_in.max(beside), input), (price_out.max(self.audio_output.unwrap_or_default()), output)])
    }

    /// Input, output and cache-read price of a call with that much input.
    fn at(&self, input: Tokens) -> (Price, Price, Option<Price>) {
        self.tiers
            .iter()
            .rev()
            .find(|tier| input > tier.above)
            .map_or((self.input, self.output, self.cache_read), |tier| (tier.input, tier.output, tier.cache_read))
    }
}

/// What `parts` cost together: summed exactly, divided once, rounded up once. Stops at [`Usd::MAX`].
fn cost(parts: &[(Price, Tokens)]) -> Usd {
    let exact: u128 = parts.iter().map(|(price, used)| u128::from(price.nano()) * u128::from(used.count())).sum();
    Usd::from_nano(u64::try_from(exact.div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    #[test]
    fn each_part_is_priced_once_and_the_sum_rounded_up_once() {
        let prices = Prices {
            input: price("1.25"),
            output: price("10"),
            cache_read: Some(price("0.125")),
            cache_write: Some(price("1.5625")),
            ..Prices::default()
        };
        let usage = Usage {
            input_uncached: Tokens::new(28),
            cache_read: Tokens::new(1024),
            cache_write: Tokens::new(128),
            output: Tokens::new(9),
            ..Usage::default()
        };
        assert_eq!(prices.cost(&usage).to_string(), "$0.000453");
    }

    #[test]
    fn a_tier_prices_the_whole_call() {
        let prices = Prices {
            input: price("1"),
            output: price("2"),
            tiers: vec![Tier { above: Tokens::new(1000), input: price("2"), output: price("4"), cache_read: None }],
            ..Prices::default()
        };
        let at = |input| prices.cost(&Usage { input_uncached: Tokens::new(input), ..Usage::default() }).nano();
        assert_eq!(at(1000), 1_000_000);
        assert_eq!(at(1001), 2_002_000);
        assert_eq!(prices.worst_case(Tokens::new(1001), Tokens::ZERO).nano(), 2_002_000);
    }
}
