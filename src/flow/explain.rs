use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::admit::Denial;
use crate::rules::{Features, Found, Rank, Shown};
use crate::units::{Confidence, Pairs, Tokens, Usd};
use crate::upstream::Standing;

use super::plan::{self, Plan, Skip, Step};
use super::{Refusal, Running, Tried, exact, hold};

/// What would happen to one request, and why: rule by rule, step by step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Explained {
    pub revision: String,
    pub features: ExplainedFeatures,
    /// Every rule down to the one that matched, in file order.
    pub rules: Vec<ExplainedRule>,
    /// The rule that decides; absent where `default: refuse` does.
    pub rule: Option<String>,
    pub steps: Vec<ExplainedStep>,
    /// The targets that would be tried, in order.
    pub order: Vec<String>,
    /// The target that the client's session stays on, where it comes first for that reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Under `sticky: session`: `stays` on that target; `begins`, and will stay with whoever answers; `moves`, since its target may not be
    /// tried now; `unnamed`, where the request names no session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<String>,
    /// What the caller may still use; absent where no caller is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowance: Option<ExplainedAllowance>,
    /// Why nothing would be tried; absent where something would.
    pub refusal: Option<ExplainedRefusal>,
}

/// What a caller may still use: of its own limits, and of the budgets that name it or its tags.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedAllowance {
    pub limits: Vec<ExplainedLimit>,
    pub budgets: Vec<ExplainedBudget>,
}

/// One limit of a caller.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedLimit {
    /// `requests`, `tokens` or `concurrent`.
    pub limit: String,
    /// What a full one lets through at once.
    pub capacity: u64,
    pub remaining: u64,
}

/// One window of a budget.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedBudget {
    /// `caller.search-team.month`.
    pub window: String,
    pub cap_usd: String,
    /// Beside what is spent, held and disputed.
    pub left_usd: String,
}

/// What the client would be told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedRefusal {
    /// HTTP status.
    pub status: u16,
    /// One of the codes in docs/errors.md.
    pub code: String,
    pub message: String,
}

/// What the rules looked at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedFeatures {
    pub endpoint: String,
    pub model: String,
    pub task: String,
    /// `declared`; `structure` or `learned`, where the words showed it; `none` where they did not.
    pub task_source: String,
    /// What the words show; absent where the task is declared, where only facts are stated, and with `classify: off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_shown: Option<ExplainedTask>,
    /// Where the facts about the prompt come from: `body`, or `stated` in a question.
    pub prompt_source: String,
    /// Absent where nothing was said of the prompt's length.
    pub prompt_tokens: Option<u64>,
    /// A bound that the prompt cannot exceed.
    pub prompt_tokens_at_most: Option<u64>,
    pub output_limit: Option<u64>,
    pub max_cost_usd: Option<String>,
    pub needs: Vec<String>,
    pub turns: Option<u64>,
    pub effort: Option<String>,
    pub stream: bool,
    pub labels: BTreeMap<String, String>,
    /// Who asks; absent where no caller is named.
    pub caller: Option<String>,
    /// What the caller's entry says of it.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// What the words of a request show of its task, whether it counts or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedTask {
    /// The likeliest task.
    pub likeliest: String,
    /// From 0 to 1.
    pub confidence: f64,
    pub runner_up: Option<String>,
    pub runner_up_confidence: Option<f64>,
    /// What was seen.
    pub signs: Vec<String>,
    /// From this confidence on it counts; below it the task is `unknown`.
    #[serde(default)]
    pub floor: f64,
}

/// One rule, and the first of its conditions that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedRule {
    pub name: String,
    /// The file that the rule stands in; absent for the main one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// 1-based line in that file; absent for `default`.
    pub line: Option<usize>,
    pub matched: bool,
    pub condition: Option<String>,
    pub wanted: Option<String>,
    pub actual: Option<String>,
}

/// One step of the chain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedStep {
    pub target: String,
    /// A word such as `no_key`; absent where the step would be tried.
    pub skip: Option<String>,
    /// The same in words.
    pub reason: Option<String>,
    /// How the pool that it is a member of puts its members in order: `cheapest`, `fastest`, `split` or `best`. Absent for other steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<String>,
    /// Why it stands where it does among them, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// `ready`, or why the target rests.
    pub state: String,
    /// Upper bound of the input.
    pub input_tokens: Option<u64>,
    /// What the input is counted by where a hard budget has no room for that bound: `o200k` or `cl100k`, the model's vocabulary;
    /// `estimate` or `bytes` where that is not public, or a budget's `estimate` asks for it. Absent where no hard budget covers the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counted_by: Option<String>,
    /// Upper bound of one answer.
    pub output_tokens: u64,
    /// True where the client set no output limit, so that the file's default counts.
    pub output_is_assumed: bool,
    /// Dollars at most; absent where the target has no price.
    pub worst_case_usd: Option<String>,
    /// The output limit that would be set in the request; absent where it goes as it came.
    pub sets_max_tokens: Option<u64>,
}

/// Runs the same decisions as a real request, with nothing taken and nothing sent.
#[must_use]
pub fn explain(running: &Running, features: &Features) -> Explained {
    let rules = running.rules();
    let found = rules.find(features);
    let plan = found.map(|found| plan::plan(running, found, features));
    let mut tried = Tried::default();
    let mut steps = Vec::new();
    if let Some(plan) = &plan {
        for (position, step) in plan.steps.iter().enumerate() {
            let skip = skip_now(running, plan, position, step);
            steps.push(explained_step(running, step, skip.as_ref()));
            if let Some(skip) = skip {
                tried.skipped(step, skip);
            }
        }
    }
    let order: Vec<String> = steps.iter().filter(|step| step.skip.is_none()).map(|step| step.target.clone()).collect();
    let refusal = match &plan {
        None => Some(Refusal::no_rule(features)),
        Some(plan) if order.is_empty() => Some(Refusal::all_skipped(running, plan, &tried.skips, tried.shortest_wait())),
        Some(_) => None,
    };
    Explained {
        revision: rules.revision().to_string(),
        features: explained_features(running, features),
        rules: explained_rules(running, found.as_ref(), features),
        rule: found.map(|found| found.name.to_string()),
        steps,
        order,
        session: plan.as_ref().and_then(|plan| stays_on(running, plan)),
        sticky: plan.as_ref().zip(found).and_then(|(plan, found)| sticky(running, plan, &found)).map(Into::into),
        allowance: allowance(running, features),
        refusal: refusal.map(|refusal| ExplainedRefusal {
            status: refusal.status.as_u16(),
            code: refusal.code.into(),
            message: refusal.message,
        }),
    }
}

/// The target that a session stays on, where that is what comes first.
fn stays_on(running: &Running, plan: &Plan<'_>) -> Option<String> {
    let stays = plan.session.as_ref()?.target.as_ref()?;
    let first = plan.steps.first()?;
    (first.skip.is_none() && running.rules().targets()[first.target].name == *stays).then(|| stays.to_string())
}

/// What becomes of the session, where the rule keeps sessions.
fn sticky(running: &Running, plan: &Plan<'_>, found: &Found<'_>) -> Option<&'static str> {
    found.route.sticky.then(|| match &plan.session {
        None => "unnamed",
        Some(session) if session.target.is_none() => "begins",
        Some(_) if stays_on(running, plan).is_some() => "stays",
        Some(_) => "moves",
    })
}

fn allowance(running: &Running, features: &Features) -> Option<ExplainedAllowance> {
    let name = features.caller.as_ref()?;
    let index = running.rules().callers().iter().position(|caller| caller.name == *name)?;
    let limits = running.gate().caller_levels(index).into_iter().map(|level| ExplainedLimit {
        limit: level.limit.as_str().into(),
        capacity: level.capacity,
        remaining: level.remaining,
    });
    let budgets = running.purse().levels_of_caller(features).into_iter().map(|level| ExplainedBudget {
        window: format!("{}.{}", level.key.budget, level.key.period.as_str()),
        left_usd: level.rest().plain(),
        cap_usd: level.cap.plain(),
    });
    Some(ExplainedAllowance { limits: limits.collect(), budgets: budgets.collect() })
}

fn explained_features(running: &Running, features: &Features) -> ExplainedFeatures {
    ExplainedFeatures {
        endpoint: features.endpoint.to_string(),
        model: features.requested_model.to_string(),
        task: features.task.name.to_string(),
        task_source: features.task.source.as_str().into(),
        task_shown: features.task.shown.as_deref().map(|shown| explained_task(shown, running.rules().classify().floor)),
        prompt_source: features.prompt.source().into(),
        prompt_tokens: features.prompt_tokens().map(Tokens::count),
        prompt_tokens_at_most: features.prompt_tokens_at_most().map(Tokens::count),
        output_limit: features.output_limit.map(Tokens::count),
        max_cost_usd: features.max_cost.map(Usd::plain),
        needs: features.needs().iter().map(ToString::to_string).collect(),
        turns: features.turns(),
        effort: features.effort.map(|effort| effort.as_str().into()),
        stream: features.stream,
        labels: named(&features.labels),
        caller: features.caller.as_ref().map(ToString::to_string),
        tags: named(&features.tags),
    }
}

fn named(pairs: &Pairs) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn explained_task(shown: &Shown, floor: Confidence) -> ExplainedTask {
    let share = |confidence: Confidence| f64::from(confidence.thousandths()) / 1_000.0;
    ExplainedTask {
        likeliest: shown.likeliest.to_string(),
        confidence: share(shown.confidence),
        runner_up: shown.runner_up.as_ref().map(|(name, _)| name.to_string()),
        runner_up_confidence: shown.runner_up.as_ref().map(|(_, confidence)| share(*confidence)),
        signs: shown.signs.iter().map(ToString::to_string).collect(),
        floor: share(floor),
    }
}

fn explained_rules(running: &Running, found: Option<&Found<'_>>, features: &Features) -> Vec<ExplainedRule> {
    let rules = running.rules();
    let looked_at = found.map_or(rules.rules().len(), |found| found.index + 1);
    let mut told: Vec<ExplainedRule> = rules
        .rules()
        .iter()
        .take(looked_at)
        .map(|rule| {
            let mismatch = rule.matcher.mismatch(rules, &rule.route, features);
            ExplainedRule {
                name: rule.name.to_string(),
                file: rules.included_from(rule).map(str::to_owned),
                line: Some(rule.line),
                matched: mismatch.is_none(),
                condition: mismatch.as_ref().map(|mismatch| mismatch.condition.into()),
                wanted: mismatch.as_ref().map(|mismatch| mismatch.wanted.clone()),
                actual: mismatch.map(|mismatch| mismatch.actual),
            }
        })
        .collect();
    if let Some(found) = found.filter(|found| found.index == rules.rules().len()) {
        told.push(ExplainedRule {
            name: found.name.to_string(),
            file: None,
            line: None,
            matched: true,
            condition: None,
            wanted: None,
            actual: None,
        });
    }
    told
}

/// Why the step would be left out if its turn came now.
fn skip_now(running: &Running, plan: &Plan<'_>, position: usize, step: &Step<'_>) -> Option<Skip> {
    let is_last = plan.is_last(position);
    step.skip
        .clone()
        .or_else(|| running.rests().allows(step.target, is_last).err().map(Skip::AtRest))
        .or_else(|| denied(running, step, is_last, plan.tokens_to_reserve(running, step)).map(Skip::Limit))
        .or_else(|| hold::look(running, plan.features(), step).err())
}

fn explained_step(running: &Running, step: &Step<'_>, skip: Option<&Skip>) -> ExplainedStep {
    let target = &running.rules().targets()[step.target];
    let state = match running.rests().standing(step.target) {
        Standing::Ready => "ready".to_owned(),
        Standing::Resting { why, .. } => format!("at rest: {why}"),
        Standing::Down { why } => why.to_owned(),
    };
    ExplainedStep {
        target: target.name.to_string(),
        skip: skip.map(|skip| skip.as_str().into()),
        reason: skip.map(Skip::reason),
        pick: step.rank.map(|rank| rank.pick().into()),
        why: step.rank.map(Rank::why),
        state,
        input_tokens: step.estimate.input.map(Tokens::count),
        counted_by: step.cover.is_hard().then(|| exact::counted_by(running, step).into()),
        output_tokens: step.estimate.output.count(),
        output_is_assumed: step.estimate.output_is_assumed,
        worst_case_usd: step.estimate.worst_case.map(Usd::plain),
        sets_max_tokens: step.limit.tokens().map(Tokens::count),
    }
}

/// The limit that keeps the step out. A last step waits its turn where its limits allow it to wait so long.
fn denied(running: &Running, step: &Step<'_>, is_last: bool, tokens: Tokens) -> Option<Denial> {
    let denial = running.gate().standing(step.target, tokens).err()?;
    let waits = is_last && denial.retry_after.is_some_and(|wait| wait <= running.wait_of(step.target));
    (!waits).then_some(denial)
}
