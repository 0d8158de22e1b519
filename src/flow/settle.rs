//! What an attempt came to: usage or bounds → cost → the end that the ledger is told.

use std::sync::Arc;
use std::time::Duration;

use crate::admit::{End, Open};
use crate::config::{CostSource, Provider, Target};
use crate::units::{AttemptId, Basis, Clock, DisputeClass, Moment, OnDisconnect, Prices, Tokens, Usage, Usd};
use crate::upstream::{Entry, Failure, Phase};
use crate::wire::{Call, Class, Iteration, Told};

use super::Running;
use super::hold::likely;

/// What a provider may write on after its stream was closed, in tokens.
const ABORT_SLACK: Tokens = Tokens::new(64);

/// What one attempt can be billed, at most and by what was seen of it.
#[derive(Clone, Debug)]
pub(super) struct Bill {
    running: Arc<Running>,
    target: usize,
    call: Arc<Call>,
    /// The bound of the input that it is held by.
    pub(super) input: Tokens,
    /// The most output, of all answers together.
    output: Tokens,
}

/// An attempt on its way, and what it can be billed. Dropped: nobody waits for it any more, and what it may cost is disputed.
#[derive(Debug)]
pub(super) struct Booked {
    /// Present until it is settled.
    open: Option<Open>,
    pub(super) bill: Bill,
    pub(super) phase: Phase,
    sent: Moment,
    clock: Clock,
}

impl Booked {
    pub(super) fn new(open: Open, bill: Bill, clock: &Clock) -> Self {
        Self { open: Some(open), bill, phase: Phase::P1, sent: clock.now(), clock: clock.clone() }
    }

    pub(super) fn id(&self) -> Option<AttemptId> {
        self.open.as_ref().and_then(Open::id)
    }

    pub(super) fn sent(&self) -> Moment {
        self.sent
    }

    /// From sending until now.
    pub(super) fn took(&self) -> Duration {
        self.clock.now().since(self.sent)
    }

    /// The one end. `used`: what limits in tokens are corrected to; absent, their estimate stays. Answers what the tightest hard budget
    /// has left.
    pub(super) fn settle(&mut self, used: Option<Tokens>, end: &End) -> Option<Usd> {
        let open = self.open.take()?;
        match used {
            Some(used) => open.settle(used, end),
            None => open.settle_money(end),
        }
    }

    /// What the tightest hard budget has left beside all holds, as it was last looked at. Absent: none covers it.
    pub(super) fn rest(&self) -> Option<Usd> {
        self.open.as_ref().and_then(Open::rest)
    }

    /// No byte reached the provider.
    pub(super) fn was_never_sent(&mut self, end: &End) {
        if let Some(open) = self.open.take() {
            open.was_never_sent(end);
        }
    }

    /// Where the prompt was estimated, the estimate's error is learnt from what the provider counted.
    pub(super) fn learn_error(&self, told: &Told) {
        let estimated = self.bill.call.counted_prompt_tokens(self.bill.target().tokenizer);
        // Of several calls the sum tells nothing of the prompt.
        if let (Some(usage), Some(estimated), true) = (&told.usage, estimated, told.iterations.is_empty()) {
            self.bill.running.gate().learn(self.bill.target, estimated, usage.input_total());
        }
    }

    /// The provider has counted the input: nothing above it will be billed.
    pub(super) fn learn_input(&mut self, input: Tokens) {
        if input < self.bill.input
            && let Some(open) = &mut self.open
        {
            self.bill.input = input;
            open.shrink(self.bill.cost(input, self.bill.output));
        }
    }
}

impl Drop for Booked {
    fn drop(&mut self) {
        // A panic leaves the whole hold disputed.
        if let Some(open) = self.open.take().filter(|_| !std::thread::panicking()) {
            let times = Times { ttft: None, took: self.took() };
            open.settle_money(&self.bill.left("client_gone", self.phase, times));
        }
    }
}

/// What an attempt takes before it is sent: its target's turn, and room within limits and budgets.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) entry: Entry,
    pub(super) booked: Booked,
}

/// When an attempt was sent and had content, and how long it took so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) ttft: Option<Duration>,
    pub(super) took: Duration,
}

/// What was seen of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'t> {
    pub(super) told: &'t Told,
    pub(super) output: Tokens,
}

impl Bill {
    pub(super) fn new(running: &Arc<Running>, target: usize, call: &Arc<Call>, input: Tokens, output: Tokens) -> Self {
        Self { running: Arc::clone(running), target, call: Arc::clone(call), input, output }
    }

    /// The likely input with a margin; never above the bound. Counted when first asked.
    fn likely_input(&self) -> Tokens {
        likely(self.call.prompt_tokens_for(self.target().tokenizer), self.running.gate().ratios(self.target).largest).min(self.input)
    }

    /// A complete answer: its usage priced, or bounds where it told none that can be believed.
    pub(super) fn complete(&self, seen: Seen<'_>, times: Times) -> End {
        let Seen { told, .. } = seen;
        let cost = self.told_cost(told);
        let (basis, posted) = cost.unwrap_or_else(|| (Basis::Estimated, self.estimated(seen)));
        self.end(basis, posted, None, Phase::P4, told, times)
    }

    /// An attempt that failed before the client had anything of it.
    pub(super) fn failed(&self, failure: &Failure, times: Times) -> End {
        let empty = Told::default();
        let told = failure.told.as_ref().and_then(|told| told.usage).map(|usage| Told { usage: Some(usage), ..Told::default() });
        let told = told.as_ref().unwrap_or(&empty);
        let is_unsent = failure.phase == Phase::P0;
        let (basis, posted, disputed) = match self.told_cost(told) {
            Some((basis, posted)) => (basis, posted, None),
            None if is_unsent || failure.nothing_billed => (Basis::Void, Usd::ZERO, None),
            None => (Basis::Unknown, Usd::ZERO, Some((DisputeClass::Ambiguous, self.disputed(failure, times)))),
        };
        let end = self.end(basis, posted, disputed, failure.phase, told, times);
        End { fault: Some(failure.fault), upstream_status: failure.status, ..end }
    }

    /// A content filter ended the answer before any content, and another target may try.
    pub(super) fn blocked(&self, told: &Told, failure: &Failure, times: Times) -> End {
        let cost = self.told_cost(told).unwrap_or_else(|| (Basis::Estimated, self.cost(self.input, Tokens::ZERO)));
        End { fault: Some(failure.fault), ..self.end(cost.0, cost.1, None, Phase::P2, told, times) }
    }

    /// An answer that was cut after content had reached the client, by whomever.
    pub(super) fn cut(&self, seen: Seen<'_>, fault: &'static str, times: Times) -> End {
        let reported = seen.told.usage.as_ref();
        let input = reported.map_or(self.input, Usage::input_total);
        let known = reported.map(|usage| usage.output).unwrap_or_default().max(seen.output);
        // Only who has passed its limit already is expected to write beyond it.
        let output = if known > self.output { known.plus(ABORT_SLACK) } else { known.plus(ABORT_SLACK).min(self.output) };
        let posted = self.cost(input, output);
        let most = self.cost(input, self.most_output(times.took).max(output));
        let disputed = Some((DisputeClass::Cancelled, most.minus(posted)));
        let end = self.end(Basis::Observed, posted, disputed, Phase::P3, seen.told, times);
        End { fault: Some(fault), upstream_status: Some(200), ..end }
    }

    /// The client left before any content.
    pub(super) fn left(&self, fault: &'static str, phase: Phase, times: Times) -> End {
        let disputed = Some((DisputeClass::Ambiguous, self.cost(self.likely_input(), self.most_output(times.took))));
        End { fault: Some(fault), ..self.end(Basis::Unknown, Usd::ZERO, disputed, phase, &Told::default(), times) }
    }

    /// What a usage costs at this target; nothing where that is not known.
    pub(super) fn price(&self, usage: &Usage) -> Option<Usd> {
        price(self.target(), usage)
    }

    /// What the answer costs by its own words: the usage priced, or the provider's figure where the file says that it counts. An
    /// answer of another model of the same provider costs what the dearer of the two does.
    pub(super) fn told_cost(&self, told: &Told) -> Option<(Basis, Usd)> {
        if self.provider().cost_source == CostSource::Provider
            && let Some(cost) = told.provider_cost
        {
            return Some((Basis::ProviderCost, cost));
        }
        let usage = told.usage.as_ref()?;
        let own = self.price(usage)?;
        if !told.iterations.is_empty() && self.target().flat_usd.is_none() {
            return Some((Basis::Usage, self.iterated(&told.iterations)?));
        }
        let served = told.model.as_deref().filter(|model| *model != self.target().model.as_str());
        let others = served.and_then(|model| {
            let targets = self.running.rules().targets().iter();
            targets
                .filter(|other| other.provider == self.target().provider && other.model.as_str() == model)
                .find_map(|other| price(other, usage))
        });
        Some((Basis::Usage, others.map_or(own, |other| own.max(other))))
    }

    /// What several calls of models cost, each at its own model's prices. A model that the file does not know costs what the dearest of its
    /// provider does.
    fn iterated(&self, calls: &[Iteration]) -> Option<Usd> {
        let target = self.target();
        let own = target.prices.as_deref()?;
        let others = || self.running.rules().targets().iter().filter(|other| other.provider == target.provider);
        let prices = |call: &Iteration| match call.model.as_deref() {
            Some(model) if model != target.model.as_str() => {
                let exact = others().find(|other| other.model.as_str() == model).and_then(|other| other.prices.as_deref());
                let known = others().filter_map(|other| other.prices.as_deref());
                exact.or_else(|| known.max_by_key(|prices| prices.cost(&call.usage))).unwrap_or(own)
            }
            _ => own,
        };
        let cost = Prices::cost_of_all(calls.iter().map(|call| (prices(call), &call.usage)));
        Some(cost.plus(target.usd_per_call.unwrap_or_default()))
    }

    /// Complete, but without a usage: what models that reason have thought is not seen, so that all of the hold counts.
    fn estimated(&self, seen: Seen<'_>) -> Usd {
        let output = if self.target().reasons() { self.output } else { seen.output.min(self.output) };
        self.cost(self.input, output)
    }

    /// What a failed attempt may have been billed, by physics: output takes time to write.
    fn disputed(&self, failure: &Failure, times: Times) -> Usd {
        let output = match failure.class {
            // The answer that came was no model's.
            Class::BadModelOutput if failure.phase == Phase::P2 && is_no_answer(failure.fault) => Tokens::ZERO,
            Class::StreamTruncated => self.output,
            _ => self.most_output(times.took),
        };
        self.cost(self.likely_input(), output)
    }

    /// The most output that can have been written in that time.
    fn most_output(&self, took: Duration) -> Tokens {
        if self.provider().on_disconnect != OnDisconnect::Stops {
            return self.output;
        }
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let written = millis.saturating_mul(u64::from(self.target().max_output_tps.get())).div_ceil(1_000);
        Tokens::new(written).plus(ABORT_SLACK).min(self.output)
    }

    fn cost(&self, input: Tokens, output: Tokens) -> Usd {
        worst_case(self.target(), input, output).unwrap_or_default()
    }

    fn end(&self, basis: Basis, posted: Usd, disputed: Option<(DisputeClass, Usd)>, phase: Phase, told: &Told, times: Times) -> End {
        let served = told.model.as_deref().filter(|model| *model != self.target().model.as_str());
        End {
            basis,
            posted,
            disputed,
            usage: told.usage,
            prices: self.target().prices.clone(),
            provider_cost: told.provider_cost,
            fault: None,
            phase: phase.as_str(),
            upstream_status: (phase == Phase::P4).then_some(200),
            ttft: times.ttft,
            duration: times.took,
            served_model: served.map(Into::into),
        }
    }

    fn target(&self) -> &Target {
        &self.running.rules().targets()[self.target]
    }

    fn provider(&self) -> &Provider {
        &self.running.rules().providers()[self.target().provider]
    }
}

/// What a usage costs; nothing where the target has no price.
fn price(target: &Target, usage: &Usage) -> Option<Usd> {
    match target.flat_usd {
        Some(flat) => Some(flat),
        None => target.prices.as_ref().map(|prices| prices.cost(usage).plus(target.usd_per_call.unwrap_or_default())),
    }
}

/// The most that so much input and output costs; nothing where the target has no price.
pub(super) fn worst_case(target: &Target, input: Tokens, output: Tokens) -> Option<Usd> {
    match target.flat_usd {
        Some(flat) => Some(flat),
        None => target.prices.as_ref().map(|prices| prices.worst_case(input, output).plus(target.usd_per_call.unwrap_or_default())),
    }
}

/// Faults of answers that no model wrote: a page, a head that breaks its format, something compressed.
fn is_no_answer(fault: &str) -> bool {
    matches!(fault, "bad_head" | "bad_framing" | "empty" | "content_encoding" | "content_type")
}
