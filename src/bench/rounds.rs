use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Case;
use super::ask::{Engine, JUDGE_PROMPT, Said};
use super::case::print;
use super::grade::{Grader, JUDGED_RIGHT, accepts, judged};
use crate::units::Usd;

/// What is asked of whom, and by which means answers may be judged.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cases: Vec<Arc<Case>>,
    /// Indices of targets.
    pub targets: Vec<usize>,
    /// The target that judges, where one may.
    pub judge: Option<usize>,
    /// Whether programs that the cases name may be run.
    pub runs_commands: bool,
    /// Of the order in which cases are asked.
    pub seed: u64,
    /// Requests at once.
    pub parallel: usize,
}

/// What a run may use at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub requests: u64,
    /// In the worst case: nothing is sent that could cost more.
    pub cost: Usd,
    pub until: Instant,
}

/// Why a run ended before everything was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    MaxRequests,
    MaxCost,
    MaxTime,
}

/// What came of one case at one target. Neither the question nor the answer is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Tells the case, what is asked of it and who judges from others.
    pub key: String,
    pub case: String,
    pub task: String,
    pub target: String,
    /// Absent where there was no answer, or nobody could grade it.
    pub right: Option<bool>,
    /// Why not.
    pub failure: Option<String>,
    pub cost_nano_usd: u64,
    pub output_tokens: u64,
    pub ttft_us: u64,
    pub took_us: u64,
}

/// Asks every case of every target, as far as the limits go. What `known` has already is not asked again. Answers the outcomes in the
/// order in which they were asked, and why it ended early. `tell` gets each new outcome, and how many are to come.
pub async fn run(
    engine: &Engine,
    plan: &Plan,
    limits: Limits,
    known: &BTreeMap<String, Outcome>,
    mut tell: impl FnMut(&Outcome, usize),
) -> (Vec<Outcome>, Option<Stopped>) {
    let work = order(engine, plan);
    let mut outcomes: Vec<Option<Outcome>> = work.iter().map(|item| known.get(&item.key).cloned()).collect();
    let mut open: Vec<usize> = (0..work.len()).rev().filter(|at| outcomes[*at].is_none()).collect();
    let mut purse = Purse { limits, requests: 0, spent: Usd::ZERO, held: Usd::ZERO };
    let (mut asking, mut stopped) = (JoinSet::new(), None);
    loop {
        while stopped.is_none() && asking.len() < plan.parallel.max(1) {
            let Some(at) = open.last().copied() else { break };
            let item = work[at].clone();
            let held = match purse.take(&item, engine, plan) {
                Ok(held) => held,
                Err(why) => {
                    stopped = Some(why);
                    break;
                }
            };
            open.pop();
            let (engine, plan, until) = (engine.clone(), plan.clone(), limits.until);
            asking.spawn(async move {
                let outcome = tokio::time::timeout_at(until, one(&engine, &plan, &item)).await;
                (at, held, outcome.ok())
            });
        }
        let Some(done) = asking.join_next().await else { break };
        let Ok((at, held, outcome)) = done else { continue };
        purse.settle(held, outcome.as_ref());
        match outcome {
            Some((outcome, _)) => {
                tell(&outcome, open.len() + asking.len());
                outcomes[at] = Some(outcome);
            }
            None => stopped = Some(Stopped::MaxTime),
        }
    }
    (outcomes.into_iter().flatten().collect(), stopped)
}

/// One case at one target.
#[derive(Clone, Debug)]
struct Item {
    case: Arc<Case>,
    target: usize,
    key: String,
}

/// Every target gets a case before the next one comes, so that a run that ends early has compared like with like.
fn order(engine: &Engine, plan: &Plan) -> Vec<Item> {
    let mut cases = plan.cases.clone();
    fastrand::Rng::with_seed(plan.seed).shuffle(&mut cases);
    let name = |target: usize| engine.running.rules().targets()[target].name.to_string();
    let judge = plan.judge.map(name).unwrap_or_default();
    let item = |case: &Arc<Case>, target: usize| {
        let key = print(&format!("{} {} {judge}", case.print, name(target)));
        Item { case: Arc::clone(case), target, key }
    };
    cases.iter().flat_map(|case| plan.targets.iter().map(move |target| (case, *target))).map(|(case, target)| item(case, target)).collect()
}

/// What was used so far.
struct Purse {
    limits: Limits,
    requests: u64,
    spent: Usd,
    held: Usd,
}

impl Purse {
    /// Holds the worst case of an item; where it does not fit, the run is over.
    fn take(&mut self, item: &Item, engine: &Engine, plan: &Plan) -> Result<Usd, Stopped> {
        let judges = item.case.checks.iter().filter(|check| matches!(check.grader, Grader::Judge(_)));
        let judges = if plan.judge.is_some() { judges.count() as u64 } else { 0 };
        if Instant::now() >= self.limits.until {
            return Err(Stopped::MaxTime);
        }
        if self.requests + 1 + judges > self.limits.requests {
            return Err(Stopped::MaxRequests);
        }
        let own = engine.worst_case(item.target, &item.case.task, &item.case.messages).unwrap_or(Usd::MAX);
        let of_judge = plan.judge.filter(|_| judges > 0).map_or(Usd::ZERO, |judge| {
            // The answer is part of what the judge reads.
            let longest = json!([{ "role": "user", "content": format!("{JUDGE_PROMPT}{}{}", item.case.messages, "x".repeat(64 << 10)) }]);
            engine.worst_case(judge, &item.case.task, &longest).unwrap_or(Usd::MAX)
        });
        let held = (0..judges).fold(own, |sum, _| sum.plus(of_judge));
        if self.spent.plus(self.held).plus(held) > self.limits.cost {
            return Err(Stopped::MaxCost);
        }
        self.requests += 1 + judges;
        self.held = self.held.plus(held);
        Ok(held)
    }

    /// What nobody told counts as it was held.
    fn settle(&mut self, held: Usd, outcome: Option<&(Outcome, bool)>) {
        self.held = self.held.minus(held);
        let cost = outcome.filter(|(_, is_told)| *is_told).map_or(held, |(outcome, _)| Usd::from_nano(outcome.cost_nano_usd));
        self.spent = self.spent.plus(cost);
    }
}

/// The outcome of one item, and whether its whole cost was told.
async fn one(engine: &Engine, plan: &Plan, item: &Item) -> (Outcome, bool) {
    let Item { case, target, key } = item;
    let said = engine.ask(*target, &case.task, &case.messages).await;
    let (mut cost, mut is_told) = (said.cost.unwrap_or(Usd::ZERO), said.cost.is_some());
    let (right, failure) = match &said.failure {
        Some(code) => (None, Some(code.clone())),
        None => grade(engine, plan, case, &said, &mut cost, &mut is_told).await,
    };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let outcome = Outcome {
        key: key.clone(),
        case: case.id.clone(),
        task: case.task.to_string(),
        target: engine.running.rules().targets()[*target].name.to_string(),
        right,
        failure,
        cost_nano_usd: cost.nano(),
        output_tokens: said.output_tokens,
        ttft_us: micros(said.ttft),
        took_us: micros(said.took),
    };
    (outcome, is_told)
}

/// Whether all checks hold; the failure of a check that could not be made.
async fn grade(
    engine: &Engine,
    plan: &Plan,
    case: &Case,
    said: &Said,
    cost: &mut Usd,
    is_told: &mut bool,
) -> (Option<bool>, Option<String>) {
    for check in &case.checks {
        let holds = match (&check.grader, check.holds(&said.text)) {
            (_, Some(holds)) => Ok(holds),
            (Grader::Command(_), _) if !plan.runs_commands => Err("commands_off".to_owned()),
            (Grader::Command(command), _) => {
                let (command, answer) = (command.clone(), said.text.clone());
                let ran = engine.parts.tracker.spawn_blocking(move || accepts(&command, &answer)).await;
                ran.map_err(|error| error.to_string()).and_then(|ran| ran).map_err(|what| format!("command: {what}"))
            }
            (Grader::Judge(rubric), _) => match plan.judge {
                None => Err("judge_off".to_owned()),
                Some(judge) => {
                    let verdict = engine.ask(judge, &case.task, &brief(rubric, &case.messages, &said.text)).await;
                    *cost = cost.plus(verdict.cost.unwrap_or(Usd::ZERO));
                    *is_told &= verdict.cost.is_some();
                    judged(&verdict.text).map(|score| score >= JUDGED_RIGHT).ok_or_else(|| "no_verdict".to_owned())
                }
            },
            (_, None) => Err("no_grader".to_owned()),
        };
        match holds {
            Ok(true) => {}
            Ok(false) => return (Some(false), None),
            Err(why) => return (None, Some(why)),
        }
    }
    (Some(true), None)
}

/// What a judge is told.
fn brief(rubric: &str, messages: &Value, answer: &str) -> Value {
    let question = format!("Rubric:\n{rubric}\n\nQuestion:\n{messages}\n\nAnswer:\n{answer}");
    json!([{ "role": "system", "content": JUDGE_PROMPT }, { "role": "user", "content": question }])
}
