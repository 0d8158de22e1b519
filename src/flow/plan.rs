use std::time::Duration;

use crate::admit::{Cover, Denial, OverBudget, OverBudgetWhy};
use crate::config::{Key, Member, OnCeiling, Pick, Pool, Route, Target, UnsupportedParams, Use};
use crate::rules::{Candidate, Estimate, Features, Found, Prompt, Rank, Unfit, candidates, estimate, unfit};
use crate::units::{Endpoint, Format, RuleName, Score, TaskName, Tokens, Usd, Wire};
use crate::upstream::Resting;
use crate::wire::{BadCall, Class, Gaps, is_lacking};

use super::hold::unpriceable;
use super::session::Session;
use super::{Running, opted_in};

/// The smallest output limit that a clamp may leave: below it an answer is of no use.
const LEAST_OUTPUT: Tokens = Tokens::new(256);

/// The chain as it stands for one call.
#[derive(Debug)]
pub(super) struct Plan<'r> {
    pub(super) found: Found<'r>,
    pub(super) steps: Vec<Step<'r>>,
    features: &'r Features,
    /// The client's session, where the rule keeps it on one target.
    pub(super) session: Option<Session>,
}

impl<'r> Plan<'r> {
    /// The step with what its admission made of it: the output limit that goes along, and whether a pooled connection will not do.
    pub(super) fn sets_out(&mut self, position: usize, limit: OutputLimit, on_fresh_connection: bool) -> &Step<'r> {
        let step = &mut self.steps[position];
        (step.limit, step.on_fresh_connection) = (limit, on_fresh_connection);
        step
    }
}

/// One entry of a plan. What depends on the moment (rests, limits) is asked when the step's turn comes.
#[derive(Clone, Debug)]
pub(super) struct Step<'r> {
    /// Its place in the plan, 0 for the first.
    pub(super) index: usize,
    pub(super) target: usize,
    pub(super) uses: Option<&'r Use>,
    /// Why its pool put it where it is.
    pub(super) rank: Option<Rank>,
    pub(super) estimate: Estimate,
    pub(super) limit: OutputLimit,
    /// The budgets that a call here counts in.
    pub(super) cover: Cover,
    pub(super) first_content: Duration,
    pub(super) idle: Duration,
    /// What the target speaks for this call.
    pub(super) wire: Wire,
    /// An earlier try of the same attempt broke on a pooled connection.
    pub(super) on_fresh_connection: bool,
    /// Whether an answer that a content filter ended before any content lets the next target try.
    pub(super) passes_on_blocked: bool,
    /// Whether the answer names what the target's format lacks.
    pub(super) tells_losses: bool,
    /// Why the step is left out, whatever its state.
    pub(super) skip: Option<Skip>,
}

/// What happens to the client's output limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputLimit {
    AsSent,
    /// The client set none; this one goes along.
    Injected(Tokens),
    /// The client's is above what the file or a ceiling allows.
    Clamped(Tokens),
}

impl OutputLimit {
    #[must_use]
    pub fn tokens(self) -> Option<Tokens> {
        match self {
            Self::AsSent => None,
            Self::Injected(limit) | Self::Clamped(limit) => Some(limit),
        }
    }
}

/// Why a step is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Skip {
    /// What would have held the key.
    NoKey(String),
    AtRest(Resting),
    Limit(Denial),
    /// A budget leaves too little, or others' holds stand in the way.
    Budget(Box<OverBudget>),
    /// The caller may not use the target, whatever a rule says.
    NotAllowed,
    /// A budget needs a bound in dollars, and there is none: why.
    Unpriceable(&'static str),
    Unfit(Unfit),
    /// Calls of this kind pass through unread, and this step must not have them: why.
    NotPassed(&'static str),
    /// The target's format has nothing for calls of this kind.
    NoSuchApi(Endpoint),
    /// The call has fields that mean nothing in the target's format, and without which the answer would be wrong.
    Unmet(Vec<String>),
    /// The same of fields that the format has, and the target does not.
    Lacks(Vec<String>),
    /// The call breaks its own format's rules, so that no target of another can be told what it asks.
    Bad(BadCall),
    /// The call can cost more than the ceiling allows; nothing where the target has no price.
    AboveCeiling {
        ceiling: Usd,
        worst_case: Option<Usd>,
    },
    /// The sandbox answers only where every other step lacks its key.
    SandboxStandsBack,
    /// Its pool goes by scores, and there is none for this task.
    NoScore(TaskName),
    BelowFloor {
        score: Score,
        floor: Score,
    },
    /// The prompt did not fit a window, and this one is not known to be larger.
    NotLarger,
}

impl Skip {
    /// The request's time is over before its turn came.
    pub(super) fn out_of_time() -> Self {
        Self::Budget(Box::new(OverBudget::out_of_time()))
    }

    /// The word for records, metrics and `explain --json`.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::NoKey(_) => "no_key",
            Self::AtRest(_) => "at_rest",
            Self::Limit(_) => "limit",
            Self::Budget(_) => "budget",
            Self::NotAllowed => "not_allowed",
            Self::Unpriceable(_) => "unpriceable",
            Self::Unfit(Unfit::Context { .. }) => "context",
            Self::Unfit(Unfit::Needs(_)) => "needs",
            Self::NotPassed(_) => "not_passed",
            Self::NoSuchApi(_) => "no_such_api",
            Self::Unmet(_) | Self::Lacks(_) => "unsupported",
            Self::Bad(_) => "invalid",
            Self::AboveCeiling { .. } => "above_ceiling",
            Self::SandboxStandsBack => "sandbox_stands_back",
            Self::NoScore(_) => "no_score",
            Self::BelowFloor { .. } => "below_floor",
            Self::NotLarger => "context_not_larger",
        }
    }

    /// The reason in words, to stand behind the target's name.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::NoKey(source) => format!("no key ({source} is not set)"),
            Self::AtRest(resting) => match resting.retry_after {
                Some(wait) => format!("at rest ({}) for {} s more", resting.why, wait.as_secs().max(1)),
                None => format!("at rest ({})", resting.why),
            },
            Self::Limit(denial) => match denial.retry_after {
                Some(wait) => format!("{} is used up for {} ms more", denial.limit, wait.as_millis().max(1)),
                None => format!("{} can never take a request of this size", denial.limit),
            },
            Self::Budget(over) => over_budget(over),
            Self::NotAllowed => "this caller may not use it".into(),
            Self::Unpriceable(why) => format!("{why}, and a hard budget covers it"),
            Self::Unfit(Unfit::Context { window, prompt }) => {
                format!("a prompt of about {prompt} tokens does not fit its window of {window}")
            }
            Self::Unfit(Unfit::Needs(need)) => format!("it cannot do {need}"),
            Self::NotPassed(why) => (*why).into(),
            Self::NoSuchApi(endpoint) => format!("its format has no {endpoint}"),
            Self::Unmet(fields) => format!("its format has no {}", quoted(fields)),
            Self::Lacks(fields) => format!("it has no {}", quoted(fields)),
            Self::Bad(bad) => bad.message.clone(),
            Self::AboveCeiling { ceiling, worst_case: Some(worst_case) } => {
                format!("can cost {worst_case}, above the ceiling of {ceiling}")
            }
            Self::AboveCeiling { ceiling, worst_case: None } => format!("has no price, so it cannot be held to the ceiling of {ceiling}"),
            Self::SandboxStandsBack => "the sandbox answers only where every other step lacks its key".into(),
            Self::NoScore(task) => format!("no score for `{task}` under `evals`"),
            Self::BelowFloor { score, floor } => format!("its score of {score} is below {floor}"),
            Self::NotLarger => "its window is not known to be larger than the one that was too small".into(),
        }
    }
}

fn quoted(fields: &[String]) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("`{}`", field.escape_default())).collect();
    fields.join(", ")
}

/// Decides which targets this call may try, in which order, and why the others are left out. Sends nothing.
pub(super) fn plan<'r>(running: &'r Running, found: Found<'r>, features: &'r Features) -> Plan<'r> {
    let rules = running.rules();
    let ceiling = [found.cost_ceiling, features.max_cost].into_iter().flatten().min();
    let pace = |target: usize| running.pace(target, features.stream);
    let mut steps: Vec<Step<'r>> = candidates(rules, found.route, features, &pace)
        .into_iter()
        .enumerate()
        .map(|(index, candidate)| step(running, &found, index, candidate, ceiling, features))
        .collect();
    let is_sandbox = |step: &Step<'_>| format_of(running, step) == Format::Sandbox;
    let others_lack_keys = steps.iter().filter(|step| !is_sandbox(step)).all(|step| matches!(step.skip, Some(Skip::NoKey(_))));
    if !others_lack_keys {
        for step in steps.iter_mut().filter(|step| is_sandbox(step)) {
            step.skip = Some(Skip::SandboxStandsBack);
        }
    }
    let session = Session::of(running, &found, features);
    if let Some(at) = session.as_ref().and_then(|session| session.stays_at(running, &steps)) {
        steps[..=at].rotate_right(1);
        for (index, step) in steps.iter_mut().enumerate() {
            step.index = index;
        }
    }
    // A blocked answer is an answer: the last target's goes to the client as it came.
    if let Some(last) = steps.iter_mut().rfind(|step| step.skip.is_none()) {
        last.passes_on_blocked = false;
    }
    Plan { found, steps, features, session }
}

impl Plan<'_> {
    /// True when no later step could be tried.
    pub(super) fn is_last(&self, position: usize) -> bool {
        self.steps[position + 1..].iter().all(|step| step.skip.is_some())
    }

    pub(super) fn features(&self) -> &Features {
        self.features
    }

    pub(super) fn requested_model(&self) -> &str {
        &self.features.requested_model
    }
}

fn step<'r>(
    running: &Running,
    found: &Found<'r>,
    index: usize,
    candidate: Candidate<'r>,
    ceiling: Option<Usd>,
    features: &Features,
) -> Step<'r> {
    let (route, rule) = (found.route, found.name);
    let target = &running.rules().targets()[candidate.target];
    let provider = &running.rules().providers()[target.provider];
    let mut estimate = estimate(target, candidate.uses, route, features);
    let cover = running.purse().cover(features, rule, target);
    let mut skip = match &provider.key {
        Key::Missing(source) => Some(Skip::NoKey(source.clone())),
        Key::Present(_) | Key::NotNeeded if !running.allows(features, candidate.target) => Some(Skip::NotAllowed),
        Key::Present(_) | Key::NotNeeded => left_out(found, &candidate, features)
            .or_else(|| unfit(target, features).map(Skip::Unfit))
            .or_else(|| not_passed(target, found, features))
            .or_else(|| untold(provider.format, target, (route, candidate.uses), features))
            .or_else(|| unpriceable(features, target, &cover)),
    };
    if let (None, Some(ceiling)) = (&skip, ceiling)
        && estimate.worst_case.is_none_or(|worst_case| worst_case > ceiling)
    {
        let clamped = (route.on_ceiling == OnCeiling::Clamp).then(|| clamped_to(ceiling, target, &estimate, features)).flatten();
        match clamped {
            Some(fitting) => estimate = fitting,
            None => skip = Some(Skip::AboveCeiling { ceiling, worst_case: estimate.worst_case }),
        }
    }
    let own = candidate.uses.map(|uses| uses.timeouts).unwrap_or_default();
    Step {
        index,
        target: candidate.target,
        uses: candidate.uses,
        rank: candidate.rank,
        limit: output_limit(target, candidate, route, ceiling.is_some() || cover.is_hard(), &estimate, features),
        cover,
        estimate,
        first_content: own.first_content.or(route.timeouts.first_content).unwrap_or(target.timeouts.first_content),
        idle: own.idle.or(route.timeouts.idle).unwrap_or(target.timeouts.idle),
        wire: provider.format.wire(features.endpoint, target.speaks).unwrap_or(features.endpoint.wire()),
        on_fresh_connection: false,
        passes_on_blocked: opted_in(route, Class::ContentPolicy),
        tells_losses: route.unsupported_params == UnsupportedParams::Warn,
        skip,
    }
}

/// Why the candidate's pool leaves it out.
fn left_out(found: &Found<'_>, candidate: &Candidate<'_>, features: &Features) -> Option<Skip> {
    let Rank::Score { score, floor, .. } = candidate.rank.filter(|rank| !rank.lets_in())? else { return None };
    if let (Some(score), Some(floor)) = (score, floor) {
        return Some(Skip::BelowFloor { score, floor });
    }
    let is_it = |one: &Use| candidate.uses.is_some_and(|uses| std::ptr::eq(one, uses));
    let of_pool = found.route.chain.members().find_map(|member| match member {
        Member::Pool(Pool { pick: Pick::Best { task, .. }, of }) if of.iter().any(is_it) => task.as_ref(),
        _ => None,
    });
    Some(Skip::NoScore(of_pool.unwrap_or(&features.task.name).clone()))
}

/// Why a call of which nothing is read must not go to the target: it costs what the file says, and goes where the file says.
fn not_passed(target: &Target, found: &Found<'_>, features: &Features) -> Option<Skip> {
    let why = match () {
        () if !features.endpoint.is_passed() => return None,
        () if *found.name == RuleName::default_rule() => "calls of this kind are served by rules alone, not by `default`",
        () if target.flat_usd.is_none() => "it has no `flat_usd`, and calls of this kind tell no usage",
        () => return None,
    };
    Some(Skip::NotPassed(why))
}

/// Why the call cannot be said to the target, in its format or in what it has of it.
fn untold(format: Format, target: &Target, (route, uses): (&Route, Option<&Use>), features: &Features) -> Option<Skip> {
    let Some(wire) = format.wire(features.endpoint, target.speaks) else { return Some(Skip::NoSuchApi(features.endpoint)) };
    let Prompt::Of(call) = &features.prompt else { return None };
    if wire == features.endpoint.wire() {
        let Gaps { mut unmet, dropped, adjusted } = call.gaps(&target.quirks);
        // What the step sets takes the place of what the client says.
        if let Some(set) = uses.map(|uses| &uses.set).filter(|set| !set.is_empty()) {
            unmet.retain(|field| !set.contains_key(field));
            unmet
                .extend(set.iter().filter(|(field, value)| is_lacking(&target.quirks, field, value.get())).map(|(field, _)| field.clone()));
        }
        if unmet.is_empty() && route.unsupported_params == UnsupportedParams::Reject {
            unmet = dropped.into_iter().chain(adjusted).collect();
        }
        return (!unmet.is_empty()).then_some(Skip::Lacks(unmet));
    }
    let mut unmet = match call.unmet(wire, &target.quirks) {
        Ok(unmet) => unmet,
        Err(bad) => return Some(Skip::Bad(bad)),
    };
    if unmet.is_empty() && route.unsupported_params == UnsupportedParams::Reject {
        unmet = call.losses(wire, &target.quirks);
    }
    (!unmet.is_empty()).then_some(Skip::Unmet(unmet))
}

/// The largest output that keeps the call within `ceiling`, if an answer of that length is of use.
fn clamped_to(ceiling: Usd, target: &Target, estimate: &Estimate, features: &Features) -> Option<Estimate> {
    let (prices, input) = target.prices.as_ref().zip(estimate.input)?;
    let cost =
        |output: Tokens| prices.worst_case(input, output.times(u64::from(features.answers))).plus(target.usd_per_call.unwrap_or_default());
    let fits = largest_output(LEAST_OUTPUT, estimate.output, |output| cost(output) <= ceiling)?;
    Some(Estimate { output: fits, worst_case: Some(cost(fits)), ..*estimate })
}

/// The largest output of at most `most` that fits; nothing where `least` is already too much. Less fits wherever more does.
pub(super) fn largest_output(least: Tokens, most: Tokens, does_fit: impl Fn(Tokens) -> bool) -> Option<Tokens> {
    let (mut fits, mut too_much) = (least.min(most), most.plus(Tokens::new(1)));
    if !does_fit(fits) {
        return None;
    }
    while fits.plus(Tokens::new(1)) < too_much {
        let middle = Tokens::new(fits.count().midpoint(too_much.count()));
        if does_fit(middle) { fits = middle } else { too_much = middle }
    }
    Some(fits)
}

/// `budget company.month: $1,999.98 spent, …`.
fn over_budget(over: &OverBudget) -> String {
    let name = match (&over.budget, over.period) {
        (Some(budget), Some(period)) => format!("budget {budget}.{period}"),
        (Some(budget), None) => format!("budget {budget}"),
        (None, _) => "a budget".into(),
    };
    let state = || format!("{} of {} spent, {} held, {} disputed", over.spent, over.cap, over.held, over.disputed);
    match over.why {
        OverBudgetWhy::Exceeded => format!("{name} leaves too little ({})", state()),
        OverBudgetWhy::Busy => format!("{name} is held by requests in flight ({})", state()),
        OverBudgetWhy::Pace => match over.retry_after {
            Some(wait) => format!("{name} runs ahead of its pace for {} ms more", wait.as_millis().max(1)),
            None => format!("{name} has a pace that never takes a request of this size"),
        },
        OverBudgetWhy::Ledger => "the ledger cannot be written, so that no budget can grant more".into(),
        OverBudgetWhy::Clock => format!("{name}: the clock jumped ahead over the end of its window, and is not believed yet"),
    }
}

/// A limit goes along only where a ceiling, a hard budget or the file covers the call; else the client's own stands as it came.
fn output_limit(
    target: &Target,
    candidate: Candidate<'_>,
    route: &Route,
    is_bounded: bool,
    estimate: &Estimate,
    features: &Features,
) -> OutputLimit {
    let set_by_file = [target.max_output_tokens, route.max_output_tokens, candidate.uses.and_then(|uses| uses.max_output_tokens)];
    if !features.endpoint.writes_tokens() || (!is_bounded && set_by_file.iter().all(Option::is_none)) {
        return OutputLimit::AsSent;
    }
    match features.output_limit {
        None => OutputLimit::Injected(estimate.output),
        Some(asked) if asked > estimate.output => OutputLimit::Clamped(estimate.output),
        Some(_) => OutputLimit::AsSent,
    }
}

fn format_of(running: &Running, step: &Step<'_>) -> Format {
    let rules = running.rules();
    rules.providers()[rules.targets()[step.target].provider].format
}
