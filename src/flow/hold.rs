//! The money of one step: how much is held for it, and whether its budgets let it through.

use std::sync::Arc;

use crate::admit::{Cover, OverBudget, OverBudgetWhy, Stake};
use crate::config::{EstimateBy, Target};
use crate::rules::{Features, Prompt};
use crate::units::{Tokens, Usd};
use crate::wire::Call;

use super::plan::{OutputLimit, Skip, Step, largest_output};
use super::settle::{Bill, worst_case};
use super::{Running, exact};

/// The bound in bytes is good enough while so many times the holds in flight fit into what is left.
pub(super) const FAR: u64 = 20;
/// An estimate with a margin is, while so many times do.
const NEAR: u64 = 5;
/// The margin of an estimate above the largest error of late: a tenth, in thousandths.
const MARGIN: u64 = 1_100;

/// A hold that was given.
#[derive(Debug)]
pub(super) struct Holding {
    pub(super) stake: Box<Stake>,
    pub(super) bill: Bill,
    /// The output limit that goes along, where the budgets lowered it.
    pub(super) limit: OutputLimit,
}

/// What a hold is worked out from.
struct Wanted<'w> {
    target: &'w Target,
    cover: &'w Cover,
    /// Bounds: of the input, and of one answer.
    input: Tokens,
    output: Tokens,
    answers: u64,
    amount: Usd,
}

/// Holds the worst case of a step at once where all of its budgets are far from their caps; nothing otherwise.
pub(super) fn hold_far(running: &Arc<Running>, call: &Arc<Call>, features: &Features, step: &Step<'_>) -> Option<Holding> {
    if step.cover.estimate() != EstimateBy::Auto {
        return None;
    }
    let bound = bound(running, features, step);
    let stake = running.purse().reserve_far(&step.cover, bound.amount, FAR)?;
    Some(bound.held(running, call, step, stake, step.limit))
}

/// Holds the worst case of a step against all of its budgets, near their caps too. Where it does not fit, the output limit is lowered to what does, if
/// the budgets allow that; where only others' holds stand in the way and it `waits`, it first waits for its turn.
pub(super) async fn hold(
    running: &Arc<Running>,
    call: &Arc<Call>,
    features: &Features,
    step: &Step<'_>,
    waits: bool,
) -> Result<Holding, Skip> {
    let mut wanted = bound(running, features, step).estimated(running, features, step);
    let mut limit = step.limit;
    let mut waits = waits;
    let mut vocabulary = exact::vocabulary(running, step);
    loop {
        // Nobody waits because of bytes where tokens may fit.
        match running.purse().reserve(&step.cover, wanted.amount, waits && vocabulary.is_none()).await {
            Ok(stake) => return Ok(wanted.held(running, call, step, stake, limit)),
            Err(over) => {
                if let Some(vocabulary) = vocabulary.take().filter(|_| exact::is_too_dear(&over)) {
                    wanted = wanted.counted(exact::count(call, vocabulary).await);
                    continue;
                }
                let Some(lower) = wanted.clamped(&over) else { return Err(Skip::Budget(over)) };
                wanted = lower;
                limit = OutputLimit::Clamped(wanted.output);
                // Whoever has waited in vain takes what is free; whoever fits only when lowered has not waited yet.
                waits &= over.why == OverBudgetWhy::Exceeded;
            }
        }
    }
}

/// What [`hold`] would come to now, without waiting: the limit that would go along. Takes nothing.
pub(super) fn look(running: &Running, features: &Features, step: &Step<'_>) -> Result<OutputLimit, Skip> {
    let mut wanted = bound(running, features, step).estimated(running, features, step);
    let mut limit = step.limit;
    let mut vocabulary = exact::vocabulary(running, step);
    loop {
        let Err(over) = running.purse().standing(&step.cover, wanted.amount) else { return Ok(limit) };
        if let (Some(vocabulary), Prompt::Of(call)) = (vocabulary.take().filter(|_| exact::is_too_dear(&over)), &features.prompt) {
            wanted = wanted.counted(exact::count_here(call, vocabulary));
            continue;
        }
        let Some(lower) = wanted.clamped(&over) else { return Err(Skip::Budget(over)) };
        wanted = lower;
        limit = OutputLimit::Clamped(wanted.output);
    }
}

/// Why the step's worst case has no bound in dollars, where a budget needs one.
pub(super) fn unpriceable(features: &Features, target: &Target, cover: &Cover) -> Option<Skip> {
    if !cover.is_hard() {
        return None;
    }
    let has_price = target.prices.is_some() || target.flat_usd.is_some();
    let reason = match &features.prompt {
        _ if !has_price => Some("it has no price"),
        Prompt::Of(call) if call.images() > 0 && target.image_tokens.is_none() => {
            Some("it has no `image_tokens`, so an image has no bound")
        }
        Prompt::Of(call) => call.unpriced(),
        Prompt::Stated { .. } => None,
    };
    reason.map(Skip::Unpriceable)
}

/// The worst case by the bound of the prompt in bytes.
fn bound<'w>(running: &'w Running, features: &Features, step: &'w Step<'_>) -> Wanted<'w> {
    let target = &running.rules().targets()[step.target];
    let (output, answers) = (step.estimate.output, u64::from(features.answers));
    let input = step.estimate.input.unwrap_or_default();
    Wanted { target, cover: &step.cover, input, output, answers, amount: Usd::ZERO }.priced()
}

/// Whether an estimate of the prompt is to be preferred to its bound in bytes.
fn counts_tokens(running: &Running, step: &Step<'_>, amount: Usd) -> bool {
    match step.cover.estimate() {
        EstimateBy::Bytes | EstimateBy::Exact => false,
        EstimateBy::Calibrated => true,
        // Far from the cap tight holds protect nothing, near it they do: only in between is it worth counting.
        EstimateBy::Auto => {
            running.purse().tightest(&step.cover).is_some_and(|tight| !tight.is_far(amount, FAR) && tight.is_far(amount, NEAR))
        }
    }
}

/// The estimate of a prompt times the largest error of late, in thousandths, and a margin.
pub(super) fn likely(estimate: Tokens, error: u32) -> Tokens {
    let thousandths = u128::from(error) * u128::from(MARGIN);
    let likely = (u128::from(estimate.count()) * thousandths).div_ceil(1_000_000);
    Tokens::new(u64::try_from(likely).unwrap_or(u64::MAX))
}

impl Wanted<'_> {
    /// The same by an estimate of the prompt, where that is to be preferred.
    fn estimated(self, running: &Running, features: &Features, step: &Step<'_>) -> Self {
        if step.cover.is_empty() || !counts_tokens(running, step, self.amount) {
            return self;
        }
        let estimate = features.prompt_tokens_for(self.target.tokenizer).unwrap_or_default();
        self.counted(Some(likely(estimate, running.gate().ratios(step.target).largest)))
    }

    fn held(&self, running: &Arc<Running>, call: &Arc<Call>, step: &Step<'_>, stake: Box<Stake>, limit: OutputLimit) -> Holding {
        let bill = Bill::new(running, step.target, call, self.input, self.output.times(self.answers));
        Holding { stake, bill, limit }
    }

    fn priced(self) -> Self {
        let amount = worst_case(self.target, self.input, self.output.times(self.answers)).unwrap_or_default();
        Self { amount, ..self }
    }

    /// The same with the prompt's own count, where that is less.
    fn counted(self, counted: Option<Tokens>) -> Self {
        Self { input: counted.map_or(self.input, |counted| counted.min(self.input)), ..self }.priced()
    }

    /// The same with the largest output that fits what is left, where the budgets let it be lowered and it is of use.
    fn clamped(&self, over: &OverBudget) -> Option<Self> {
        let least = self.cover.clamp()?;
        if !matches!(over.why, OverBudgetWhy::Exceeded | OverBudgetWhy::Busy) {
            return None;
        }
        let cost = |output: Tokens| worst_case(self.target, self.input, output.times(self.answers)).unwrap_or(Usd::MAX);
        let output = largest_output(least, self.output, |output| cost(output) <= over.rest)?;
        // Lowered once already and still too much: others were faster.
        (output < self.output).then(|| Self { output, amount: cost(output), ..*self })
    }
}
