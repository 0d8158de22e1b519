//! The request's story: classify, find the rule, plan, attempt step by step, relay, settle.
//!
//! Floor 4. Holds handles, owns no state: counters sit in `admit` and `upstream`, and outlive every rule set.

mod account;
mod answer;
mod attempt;
mod classify;
mod count;
mod early;
mod exact;
mod explain;
mod head;
mod hold;
mod panics;
mod plan;
mod question;
mod relay;
mod running;
mod session;
mod settle;
mod testing;
mod tried;

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::{OnClientDisconnect, Route};
use crate::units::{Moment, Tokens};
use crate::wire::{Call, Shape};

use account::Account;
use attempt::{Begun, Deadline};
use hold::Holding;
use plan::{Plan, Step};
use settle::{Booked, Place};
use tried::Tried;

pub use account::Epilogue;
pub use answer::{Addressee, Answer, Body, Refusal};
pub use classify::features;
pub use explain::{
    Explained, ExplainedAllowance, ExplainedBudget, ExplainedFeatures, ExplainedLimit, ExplainedRefusal, ExplainedRule, ExplainedStep,
    ExplainedTask, explain,
};
pub use panics::answer_or_internal;
pub use plan::{OutputLimit, Skip};
pub use question::Question;
pub use running::{Parts, Running};
pub use testing::{Tested, run_tests};

/// A request that came in, parsed, and the facts that go with it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub request_id: Arc<str>,
    pub call: Arc<Call>,
    /// The client's headers, as they came.
    pub headers: Arc<HeaderMap>,
    /// Who asks: index into the rule set's callers. Absent: there are none.
    pub caller: Option<usize>,
    pub accepted: Moment,
    /// The same by the clock on the wall.
    pub at: Timestamp,
}

/// A request's way to its answer; dropping it cancels what is under way.
pub type Story = Pin<Box<dyn Future<Output = Answer> + Send>>;

impl Parts {
    /// Answers one request from one snapshot. A streamed call gets its status early when no content comes for long.
    ///
    /// The story is boxed here, before anything waits: carried along inside the futures around it, it would be copied by each of them.
    pub fn handle(self: Arc<Self>, running: Arc<Running>, asked: Asked) -> Story {
        let server = running.rules().server();
        let (early_head, on_hang_up) = (server.early_head.filter(|_| asked.call.is_streaming()), server.on_client_disconnect);
        let request_id = Arc::clone(&asked.request_id);
        let shape = Shape::of(asked.call.endpoint());
        let tracker = self.tracker.clone();
        // What is asked stands here once, and is lent: an async function keeps twice what it is given.
        let story = || async move { self.story(&running, &asked).await };
        let story: Story = match on_hang_up {
            OnClientDisconnect::Cancel => boxed(story),
            // The story goes on without its listener, because its task is not the connection's.
            OnClientDisconnect::Finish => {
                let task = tracker.spawn(story());
                let request_id = Arc::clone(&request_id);
                Box::pin(async move {
                    let to = Addressee { shape, request_id: &request_id };
                    task.await.unwrap_or_else(|_| Refusal::internal().answer(to))
                })
            }
        };
        match early_head {
            None => story,
            Some(after) => Box::pin(async move { early::answer_by(after, Addressee { shape, request_id: &request_id }, story).await }),
        }
    }

    async fn story(self: &Arc<Self>, running: &Arc<Running>, asked: &Asked) -> Answer {
        let mut account = Account::open(self, running, asked);
        let features = match classify::features(&asked.call, &asked.headers) {
            Ok(features) => running.known(features, asked.caller),
            Err(refusal) => return account.refused(&refusal, &Tried::default()),
        };
        account.classified(&features);
        if classify::is_dry_run(&asked.headers) {
            return account.explained(&explain(running, &running.recognised(features)));
        }
        if let Err(denial) = account.enter(running, &features, asked.caller).await {
            return account.refused(&Refusal::limited(denial), &Tried::default());
        }
        let Some(found) = running.rules().find(&features) else {
            return account.refused(&Refusal::no_rule(&features), &Tried::default());
        };
        account.matched(&found);
        let mut plan = plan::plan(running, found, &features);
        let deadline = Deadline::of(found.route, running.rules().server(), features.stream);
        let mut walk = pin!(self.walk(running, asked, &mut plan, &deadline, account));
        // To listen takes a lock that all requests share, so only a drain makes them: when it begins, every connection has a turn. A story
        // in a task of its own has none.
        let listens = running.rules().server().on_client_disconnect == OnClientDisconnect::Finish;
        let mut cut = pin!(self.cut.cancelled());
        let answer = poll_fn(|cx| match walk.as_mut().poll(cx) {
            Poll::Ready(answer) => Poll::Ready(Some(answer)),
            Poll::Pending if listens || self.is_draining.load(Ordering::Acquire) => cut.as_mut().poll(cx).map(|()| None),
            Poll::Pending => Poll::Pending,
        });
        answer.await.unwrap_or_else(|| {
            let to = Addressee { shape: Shape::of(asked.call.endpoint()), request_id: &asked.request_id };
            Refusal::draining().answer(to)
        })
    }

    /// Tries the steps in order until one answers.
    async fn walk(
        self: &Arc<Self>,
        running: &Arc<Running>,
        asked: &Asked,
        plan: &mut Plan<'_>,
        deadline: &Deadline,
        mut account: Box<Account>,
    ) -> Answer {
        let route = plan.found.route;
        let mut tried = Tried::default();
        for position in 0..plan.steps.len() {
            let step = &plan.steps[position];
            if let Some(skip) = step.skip.clone().or_else(|| tried.rules_out(running, step)) {
                account.skipped(running, step, &skip);
                tried.skipped(step, skip);
                continue;
            }
            if !tried.is_empty() && !deadline.allows_another() {
                break;
            }
            let is_last = plan.is_last(position);
            let mut retries = u32::from(is_last && route.retry);
            let mut broken: Option<crate::upstream::Failure> = None;
            let planned = step.limit;
            loop {
                plan.steps[position].limit = planned;
                let step = &plan.steps[position];
                let (mut place, limit) = match self.admit(running, asked, plan, step, is_last, deadline, &mut account).await {
                    Ok(admitted) => admitted,
                    Err(skip) => {
                        account.skipped(running, step, &skip);
                        tried.skipped(step, skip);
                        break;
                    }
                };
                let step = plan.sets_out(position, limit, broken.is_some());
                let begun = attempt::attempt(running, asked, step, &mut place.booked, deadline, &mut account).await;
                plan.learn(running, position, begun.as_ref());
                let step = &plan.steps[position];
                match begun {
                    Ok(Begun::Whole(whole)) => return account.answered(running, step, *whole, place),
                    Ok(Begun::Stream(stream)) => return self.relay(running, step, stream, *deadline, account, place),
                    Err(failure) if failure.may_go_again => broken = Some(failure),
                    Err(failure) => {
                        let failure = broken.take().map_or_else(|| failure.clone(), |first| failure.clone().after(&first));
                        running.rests().failed(step.target, failure.mark, failure.retry_after, failure.silent_for);
                        drop(place);
                        let pause = pause_before_retry(running, step, &failure, retries, deadline);
                        tried.failed(step, failure);
                        let Some(pause) = pause else { break };
                        retries -= 1;
                        tokio::time::sleep(pause).await;
                    }
                }
            }
            if !tried.allows_next(route) {
                break;
            }
        }
        account.exhausted(running, plan, &tried)
    }

    /// Takes the step's place: out of its rest, within every limit, and held against every budget.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own, and a bag of them would hide that")]
    async fn admit(
        &self,
        running: &Arc<Running>,
        asked: &Asked,
        plan: &Plan<'_>,
        step: &Step<'_>,
        is_last: bool,
        deadline: &Deadline,
        account: &mut Account,
    ) -> Result<(Place, OutputLimit), Skip> {
        let entry = running.rests().enter(step.target, is_last).map_err(Skip::AtRest)?;
        let tokens = plan.tokens_to_reserve(running, step);
        let mut held = running.gate().reserve(step.target, tokens);
        // Only the last step waits, and only then is there a wait to carry along.
        if is_last && held.is_err() {
            let waited = Box::pin(deadline.bound(running.gate().reserve_within(step.target, tokens))).await;
            held = waited.unwrap_or_else(|_| running.gate().reserve(step.target, tokens));
        }
        let held = held.map_err(Skip::Limit)?;
        let far = hold::hold_far(running, &asked.call, plan.features(), step);
        let Holding { stake, bill, limit } = if let Some(holding) = far {
            holding
        } else {
            // Boxed: most attempts need neither this nor its timer.
            let holding = hold::hold(running, &asked.call, plan.features(), step, is_last);
            Box::pin(deadline.bound(holding)).await.unwrap_or_else(|_| Err(Skip::out_of_time()))?
        };
        let mut held = held.with(stake);
        held.record(account.sent_facts(step.target)).await.map_err(Skip::Budget)?;
        Ok((Place { entry, booked: Booked::new(held.sent(), bill, &self.clock) }, limit))
    }
}

/// A story that begins on the heap: begun elsewhere, all of the room it may come to need would be copied there.
fn boxed<F: Future<Output = Answer> + Send + 'static>(story: impl FnOnce() -> F) -> Story {
    let place = Box::<F>::new_uninit();
    let begun = Box::write(place, story());
    Box::into_pin(begun)
}

/// How long to wait before the same target is tried again; nothing where it is not.
fn pause_before_retry(
    running: &Running,
    step: &Step<'_>,
    failure: &crate::upstream::Failure,
    retries: u32,
    deadline: &Deadline,
) -> Option<Duration> {
    if retries == 0 {
        return None;
    }
    let pause = match failure.retry_after {
        // The last step may wait for a provider that names a short time.
        Some(wait) if failure.class == crate::wire::Class::RateLimited => (wait <= running.wait_of(step.target)).then_some(wait)?,
        _ if failure.class.retries_same() => Duration::from_millis(fastrand::u64(100..500)),
        _ => return None,
    };
    (Instant::now() + pause < deadline.at() && running.rests().retry_allowed(step.target)).then_some(pause)
}

/// The output tokens counted against a limit where the client set no limit of its own; corrected when the usage is known.
const OUTPUT_GUESS: Tokens = Tokens::new(1_024);
/// Far from its limits a prompt is not estimated but for one in so many: the bound in bytes is taken, and what is too much comes back.
const LEARNS_FROM: u64 = 8;

impl Plan<'_> {
    /// What a limit in tokens is asked for before sending; nothing where no such limit covers the step.
    fn tokens_to_reserve(&self, running: &Running, step: &Step<'_>) -> Tokens {
        if !running.limits_tokens(step.target) {
            return Tokens::ZERO;
        }
        let output = if step.estimate.output_is_assumed { step.estimate.output.min(OUTPUT_GUESS) } else { step.estimate.output };
        let (features, gate) = (self.features(), running.gate());
        let at_most = features.prompt_tokens_at_most().unwrap_or_default().plus(output);
        // How far off estimates are is learned from those that are made.
        let learns = features.draw < u64::MAX / LEARNS_FROM || gate.learned(step.target).is_none();
        if !learns && gate.is_far(step.target, at_most, hold::FAR) {
            return at_most;
        }
        let tokenizer = running.rules().targets()[step.target].tokenizer;
        let prompt = features.prompt_tokens_for(tokenizer).unwrap_or_default();
        gate.ratios(step.target).usually(prompt).plus(output)
    }
}

/// Whether a rule lets failures of this class go on to the next target.
fn opted_in(route: &Route, class: crate::wire::Class) -> bool {
    use crate::config::FallbackOn;
    use crate::wire::Class;
    route.fallback_on.iter().any(|extra| match extra {
        FallbackOn::ContentPolicy => class == Class::ContentPolicy,
        FallbackOn::InvalidRequest => class == Class::InvalidRequest,
    })
}
