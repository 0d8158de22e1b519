use serde::{Deserialize, Serialize};

use super::Tokens;

/// How many true tokens a target's provider counts for a thousand estimated: 500 to 2,500. Beyond that an estimate or a count is wrong
/// in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ratios {
    /// The largest of late.
    pub largest: u32,
    /// A slow mean.
    pub usual: u32,
}

impl Ratios {
    /// The nearest ratio that can be.
    #[must_use]
    pub fn bound(thousandths: u32) -> u32 {
        thousandths.clamp(500, 2_500)
    }

    /// Both within their bounds.
    #[must_use]
    pub fn bounded(self) -> Self {
        Self { largest: Self::bound(self.largest), usual: Self::bound(self.usual) }
    }

    /// What an estimate usually comes to.
    #[must_use]
    pub fn usually(self, estimate: Tokens) -> Tokens {
        let tokens = (u128::from(estimate.count()) * u128::from(self.usual)).div_ceil(1_000);
        Tokens::new(u64::try_from(tokens).unwrap_or(u64::MAX))
    }
}
