//! Who may spend how much: budgets, callers, and how the books are kept.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Limits;
use crate::config::diagnostic::Place;
use crate::units::{BudgetName, CallerName, Pairs, Rate, RuleName, Share, Tokens, Usd, Window};

/// A cap on spend per window, over all that it covers.
#[derive(Clone, Debug)]
pub struct Budget {
    pub name: BudgetName,
    /// Where its name, or the key of its provider or caller, stands.
    pub place: Place,
    pub covers: Covers,
    /// In file order, no period twice. Empty where there is only a pace.
    pub caps: Vec<Cap>,
    /// Micro-dollars per time: smooths spending, and is never the cap.
    pub pace: Option<Rate>,
    /// Default: hard.
    pub mode: BudgetMode,
    /// In rising order.
    pub warn_at: Vec<Share>,
    /// Default: clamp.
    pub on_low: OnLow,
    /// The least that a clamp leaves. Default 256.
    pub min_output_tokens: Tokens,
    /// How long a request may wait where only other requests' holds stand in the way. Default 10 s.
    pub wait: Duration,
    /// The name that it had; its spend goes on under the new one.
    pub was: Option<BudgetName>,
    /// Default: auto.
    pub estimate: EstimateBy,
}

impl Budget {
    /// Whether the next step of a chain may escape it: it is about a provider or model.
    #[must_use]
    pub fn is_skippable(&self) -> bool {
        self.covers.providers.is_some() || self.covers.models.is_some()
    }
}

/// What a budget covers: all that holds of what is there. Nothing there: every request.
#[derive(Clone, Debug, Default)]
pub struct Covers {
    /// Indices into [`Checked::providers`](super::Checked::providers).
    pub providers: Option<Vec<usize>>,
    /// Globs on the target's model.
    pub models: Option<Vec<String>>,
    /// Indices into [`Checked::callers`](super::Checked::callers).
    pub callers: Option<Vec<usize>>,
    /// Tag → globs, any of which may match the value.
    pub tags: BTreeMap<String, Vec<String>>,
    pub rules: Option<Vec<RuleName>>,
    /// Label → globs; only with `trust_client`.
    pub labels: BTreeMap<String, Vec<String>>,
}

/// `$300/month`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    pub amount: Usd,
    pub window: Window,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BudgetMode {
    /// Nothing is sent whose worst case does not fit.
    #[default]
    Hard,
    /// Counted and warned about; refuses once the cap is spent, without holding worst cases against it.
    Soft,
    /// Counted and warned about; refuses nothing.
    Observe,
}

/// What happens where a hold does not fit any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLow {
    /// The output limit is lowered to what the rest affords.
    #[default]
    Clamp,
    Reject,
}

/// What bounds the input of a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EstimateBy {
    #[default]
    Auto,
    Bytes,
    Exact,
    Calibrated,
}

/// One entry of `callers:`.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: CallerName,
    pub place: Place,
    /// At least one; two while a key is exchanged.
    pub keys: Vec<CallerKey>,
    pub tags: Pairs,
    pub limits: Limits,
    /// Globs on targets that this caller may use, whatever a rule says. Absent: all.
    pub allow: Option<Vec<String>>,
    /// No key of it works from then on.
    pub expires: Option<Timestamp>,
    /// What it says of itself in labels counts for budgets.
    pub trust_client: bool,
}

/// A caller's key, known by its hash alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerKey {
    pub sha256: [u8; 32],
    pub expires: Option<Timestamp>,
}

impl CallerKey {
    /// The beginning of its hash: enough to tell it from others, for logs.
    #[must_use]
    pub fn short(&self) -> String {
        let [first, second, third, fourth, ..] = self.sha256;
        format!("{:08x}", u32::from_be_bytes([first, second, third, fourth]))
    }
}

/// `ledger:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// The longest wait for the disk before a request is refused. Default 2 s.
    pub timeout: Duration,
    pub durability: Durability,
    /// How long a dispute counts. Default 24 h.
    pub hold_for: HoldFor,
    /// What may be spent without a row under budgets that are not hard while the disk cannot be written. Default $10.
    pub max_unrecorded: Usd,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            durability: Durability::Grant,
            hold_for: HoldFor::For(Duration::from_hours(24)),
            max_unrecorded: Usd::from_nano(10_000_000_000),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A request is sent under a grant that is on disk already.
    #[default]
    Grant,
    /// Each request waits until its own hold is on disk.
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldFor {
    For(Duration),
    /// Until the end of its window.
    Window,
}

/// One window of one budget: indices into [`Checked::budgets`](super::Checked::budgets) and [`Budget::caps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpentWindow {
    pub budget: usize,
    pub cap: usize,
}

impl SpentWindow {
    /// The window by its name, such as `company.month`; nothing where no budget has it.
    #[must_use]
    pub fn named(text: &str, budgets: &[Budget]) -> Option<Self> {
        let (name, period) = text.rsplit_once('.')?;
        let budget = budgets.iter().position(|budget| budget.name.as_str() == name)?;
        let cap = budgets.get(budget)?.caps.iter().position(|cap| cap.window.period.as_str() == period)?;
        Some(Self { budget, cap })
    }

    /// Its name: `company.month`.
    #[must_use]
    pub fn name(self, budgets: &[Budget]) -> String {
        let budget = budgets.get(self.budget);
        budget.and_then(|budget| Some(format!("{}.{}", budget.name, budget.caps.get(self.cap)?.window.period))).unwrap_or_default()
    }
}
