use std::fmt;

use crate::config::{Bounds, Budget, ConditionPlaces, Conditions, ModelPattern, OnCeiling, Route, SpentWindow};
use crate::units::{CallerName, Effort, Endpoint, Glob, Need, Share, TaskName, Tokens, Usd};

use super::{Features, RuleSet, candidates, estimate, unfit};

/// A rule's conditions. All of `all` must hold; `unless` holds when every one of it does, and then the rule does not match.
#[derive(Debug)]
pub struct Matcher {
    all: Vec<Condition>,
    unless: Option<Vec<Condition>>,
    cost_ceiling: Option<Usd>,
    places: ConditionPlaces,
    unless_places: ConditionPlaces,
}

/// The first condition that kept a rule from matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The condition's key: `task`, `prompt_tokens`, `unless`.
    pub condition: &'static str,
    /// What the rule asks for, as the file would say it.
    pub wanted: String,
    /// What the request has.
    pub actual: String,
}

/// One condition. Cheap ones come first, so that dear facts are only worked out when they decide.
#[derive(Debug)]
pub(super) enum Condition {
    Endpoint(Vec<Endpoint>),
    Stream(bool),
    Task(Vec<TaskName>),
    Model(Vec<Model>),
    Effort(Vec<Effort>),
    MaxCost(Bounds<Usd>),
    Label(String, Vec<Glob>),
    Header(String, Vec<Glob>),
    PromptTokens(Bounds<Tokens>),
    Turns(Bounds<u64>),
    Needs(Vec<Need>),
    Caller(Vec<CallerName>),
    Tag(String, Vec<Glob>),
    /// A window by its name, such as `company.month`, and the shares of it.
    Spent(String, SpentWindow, Bounds<Share>),
    CostCeiling(Usd),
}

#[derive(Debug)]
pub(super) enum Model {
    Known,
    Auto,
    Glob(Glob),
}

impl Matcher {
    /// `budgets` are those of the file.
    pub(super) fn new(mut matches: Conditions, mut unless: Option<Conditions>, on_ceiling: OnCeiling, budgets: &[Budget]) -> Self {
        let cost_ceiling = matches.cost_ceiling;
        let places = std::mem::take(&mut matches.places);
        let unless_places = unless.as_mut().map(|unless| std::mem::take(&mut unless.places)).unwrap_or_default();
        let mut all = conditions(matches, budgets);
        // Where the rule clamps or refuses, the ceiling decides in the plan and not about the match.
        all.retain(|condition| on_ceiling == OnCeiling::NextRule || !matches!(condition, Condition::CostCeiling(_)));
        Self { all, unless: unless.map(|unless| conditions(unless, budgets)), cost_ceiling, places, unless_places }
    }

    /// The dollars that one request of this rule may cost at most.
    #[must_use]
    pub fn cost_ceiling(&self) -> Option<Usd> {
        self.cost_ceiling
    }

    /// The model names that the rule asks for letter by letter.
    pub fn exact_models(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter_map(|condition| if let Condition::Model(any) = condition { Some(any) } else { None }).flatten().filter_map(
            |model| match model {
                Model::Glob(glob) if !glob.as_str().contains('*') => Some(glob.as_str()),
                _ => None,
            },
        )
    }

    /// Whether some condition asks how much of a budget is used.
    #[must_use]
    pub fn asks_spent(&self) -> bool {
        self.all.iter().chain(self.unless.iter().flatten()).any(|condition| matches!(condition, Condition::Spent(..)))
    }

    /// Whether some condition asks what the request is about.
    #[must_use]
    pub fn asks_task(&self) -> bool {
        self.all.iter().chain(self.unless.iter().flatten()).any(|condition| matches!(condition, Condition::Task(..)))
    }

    /// What must hold.
    pub(super) fn all(&self) -> &[Condition] {
        &self.all
    }

    /// What must not hold together.
    pub(super) fn unless(&self) -> Option<&[Condition]> {
        self.unless.as_deref()
    }

    /// Where conditions of the rule's `match` stand.
    pub(super) fn places(&self) -> &ConditionPlaces {
        &self.places
    }

    /// Where conditions of its `unless` stand.
    pub(super) fn unless_places(&self) -> &ConditionPlaces {
        &self.unless_places
    }

    pub(super) fn matches(&self, rules: &RuleSet, route: &Route, features: &Features) -> bool {
        let holds = |condition: &Condition| condition.holds(rules, route, features);
        self.all.iter().all(holds) && !self.unless.as_ref().is_some_and(|unless| unless.iter().all(holds))
    }

    /// Why the rule does not match, or nothing when it does.
    #[must_use]
    pub fn mismatch(&self, rules: &RuleSet, route: &Route, features: &Features) -> Option<Mismatch> {
        let holds = |condition: &&Condition| condition.holds(rules, route, features);
        if let Some(failed) = self.all.iter().find(|condition| !holds(condition)) {
            return Some(Mismatch { condition: failed.key(), wanted: failed.to_string(), actual: failed.actual(rules, features) });
        }
        let unless = self.unless.as_ref().filter(|unless| unless.iter().all(|condition| holds(&condition)))?;
        let words = |of: &dyn Fn(&Condition) -> String| unless.iter().map(of).collect::<Vec<_>>().join(" and ");
        Some(Mismatch {
            condition: "unless",
            wanted: format!("not {}", words(&|condition| format!("{} {condition}", condition.key()))),
            actual: words(&|condition| condition.actual(rules, features)),
        })
    }
}

impl Condition {
    fn holds(&self, rules: &RuleSet, route: &Route, features: &Features) -> bool {
        match self {
            Self::Endpoint(any) => any.contains(&features.endpoint),
            Self::Stream(wanted) => *wanted == features.stream,
            Self::Task(any) => any.contains(&features.task.name),
            Self::Model(any) => any.iter().any(|model| model.matches(rules, &features.requested_model)),
            Self::Effort(any) => features.effort.is_some_and(|effort| any.contains(&effort)),
            Self::MaxCost(bounds) => features.max_cost.is_some_and(|max_cost| bounds.hold(max_cost)),
            Self::Label(name, any) => features.labels.get(name).is_some_and(|value| any.iter().any(|glob| glob.matches(value))),
            Self::Header(name, any) => features
                .headers
                .get_all(name.as_str())
                .iter()
                .filter_map(|value| value.to_str().ok())
                .any(|value| any.iter().any(|glob| glob.matches(value))),
            Self::PromptTokens(bounds) => prompt_holds(*bounds, features),
            Self::Turns(bounds) => features.turns().is_some_and(|turns| bounds.hold(turns)),
            Self::Needs(any) => any.iter().any(|need| features.needs().contains(need)),
            Self::Caller(any) => features.caller.as_ref().is_some_and(|caller| any.contains(caller)),
            Self::Tag(name, any) => features.tags.get(name).is_some_and(|value| any.iter().any(|glob| glob.matches(value))),
            Self::Spent(_, window, bounds) => bounds.hold(features.spent.of(*window)),
            Self::CostCeiling(ceiling) => some_target_is_within(*ceiling, rules, route, features),
        }
    }

    pub(super) fn key(&self) -> &'static str {
        match self {
            Self::Endpoint(_) => "endpoint",
            Self::Stream(_) => "stream",
            Self::Task(_) => "task",
            Self::Model(_) => "model",
            Self::Effort(_) => "effort",
            Self::MaxCost(_) => "max_cost",
            Self::Label(..) => "labels",
            Self::Header(..) => "headers",
            Self::PromptTokens(_) => "prompt_tokens",
            Self::Turns(_) => "turns",
            Self::Needs(_) => "needs",
            Self::Caller(_) => "caller",
            Self::Tag(..) => "tags",
            Self::Spent(..) => "spent",
            Self::CostCeiling(_) => "cost_ceiling",
        }
    }

    /// What the request has, in the words of the file.
    fn actual(&self, rules: &RuleSet, features: &Features) -> String {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "not said".into());
        match self {
            Self::Endpoint(_) => features.endpoint.to_string(),
            Self::Stream(_) => features.stream.to_string(),
            Self::Task(_) => features.task.name.to_string(),
            Self::Model(_) if rules.targets_named(&features.requested_model).is_empty() && !features.is_auto() => {
                format!("{} (no target of that name)", features.requested_model)
            }
            Self::Model(_) => features.requested_model.to_string(),
            Self::Effort(_) => or_none(features.effort.map(|effort| effort.as_str().into())),
            Self::MaxCost(_) => or_none(features.max_cost.map(|max_cost| max_cost.to_string())),
            Self::Label(name, _) => format!("{name}={}", or_none(features.labels.get(name).map(Into::into))),
            Self::Header(name, _) => {
                format!("{name}: {}", or_none(features.headers.get(name.as_str()).and_then(|value| value.to_str().ok()).map(Into::into)))
            }
            Self::PromptTokens(_) => or_none(features.prompt_tokens().map(|tokens| format!("about {tokens}"))),
            Self::Turns(_) => or_none(features.turns().map(|turns| turns.to_string())),
            Self::Needs(_) => list(features.needs().iter().map(|need| need.as_str())),
            Self::Caller(_) => features.caller.as_ref().map_or_else(|| "no caller".into(), ToString::to_string),
            Self::Tag(name, _) => features.tags.get(name).map_or_else(|| format!("no tag {name}"), |value| format!("{name}={value}")),
            Self::Spent(name, window, _) => format!("{} of {name}", features.spent.of(*window)),
            Self::CostCeiling(_) => "no target of the chain can serve it for that in the worst case".into(),
        }
    }
}

/// What the condition asks for, as the file would say it.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(any) => f.write_str(&list(any.iter().map(|endpoint| endpoint.as_str()))),
            Self::Stream(wanted) => wanted.fmt(f),
            Self::Task(any) => f.write_str(&list(any.iter().map(TaskName::as_str))),
            Self::Model(any) => f.write_str(&list(any.iter().map(Model::as_str))),
            Self::Effort(any) => f.write_str(&list(any.iter().map(|effort| effort.as_str()))),
            Self::MaxCost(bounds) => f.write_str(&range(*bounds)),
            Self::Label(name, any) | Self::Tag(name, any) => write!(f, "{name}={}", list(any.iter().map(Glob::as_str))),
            Self::Header(name, any) => write!(f, "{name}: {}", list(any.iter().map(Glob::as_str))),
            Self::PromptTokens(bounds) => f.write_str(&range(*bounds)),
            Self::Turns(bounds) => f.write_str(&range(*bounds)),
            Self::Needs(any) => f.write_str(&list(any.iter().map(|need| need.as_str()))),
            Self::Caller(any) => f.write_str(&list(any.iter().map(CallerName::as_str))),
            Self::Spent(name, _, bounds) => write!(f, "{} of {name}", range(*bounds)),
            Self::CostCeiling(ceiling) => write!(f, "at most {ceiling}"),
        }
    }
}

impl Model {
    fn matches(&self, rules: &RuleSet, requested: &str) -> bool {
        match self {
            Self::Known => !rules.targets_named(requested).is_empty(),
            Self::Auto => requested == "auto",
            Self::Glob(glob) => glob.matches(requested),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Known => "known",
            Self::Auto => "auto",
            Self::Glob(glob) => glob.as_str(),
        }
    }
}

/// Decides by the byte bound where that is enough, and counts only where it is not.
fn prompt_holds(bounds: Bounds<Tokens>, features: &Features) -> bool {
    let Some(at_most) = features.prompt_tokens_at_most() else {
        return false;
    };
    if bounds.min.is_some_and(|min| at_most < min) {
        return false;
    }
    if bounds.min.is_none() && bounds.max.is_some_and(|max| at_most <= max) {
        return true;
    }
    features.prompt_tokens().is_some_and(|tokens| bounds.hold(tokens))
}

fn some_target_is_within(ceiling: Usd, rules: &RuleSet, route: &Route, features: &Features) -> bool {
    let nobody_knows = |_: usize| None;
    candidates(rules, route, features, &nobody_knows).iter().filter(|candidate| candidate.is_let_in()).any(|candidate| {
        let target = &rules.targets()[candidate.target];
        unfit(target, features).is_none()
            && estimate(target, candidate.uses, route, features).worst_case.is_some_and(|worst_case| worst_case <= ceiling)
    })
}

fn conditions(from: Conditions, budgets: &[Budget]) -> Vec<Condition> {
    let globs = |texts: &[String]| texts.iter().map(|text| Glob::new(text)).collect::<Vec<_>>();
    let Conditions {
        task,
        prompt_tokens,
        cost_ceiling,
        max_cost,
        model,
        labels,
        headers,
        needs,
        turns,
        effort,
        endpoint,
        stream,
        caller,
        tags,
        spent,
        places: _,
    } = from;
    let mut all = Vec::new();
    all.extend(endpoint.map(Condition::Endpoint));
    all.extend(stream.map(Condition::Stream));
    all.extend(task.map(Condition::Task));
    all.extend(model.map(|any| Condition::Model(any.into_iter().map(Model::from).collect())));
    all.extend(effort.map(Condition::Effort));
    all.extend(max_cost.map(Condition::MaxCost));
    all.extend(caller.map(Condition::Caller));
    all.extend(spent.into_iter().map(|(window, bounds)| Condition::Spent(window.name(budgets), window, bounds)));
    all.extend(tags.into_iter().map(|(name, any)| Condition::Tag(name, globs(&any))));
    all.extend(labels.into_iter().map(|(name, any)| Condition::Label(name, globs(&any))));
    all.extend(headers.into_iter().map(|(name, any)| Condition::Header(name, globs(&any))));
    all.extend(prompt_tokens.map(Condition::PromptTokens));
    all.extend(turns.map(Condition::Turns));
    all.extend(needs.map(Condition::Needs));
    all.extend(cost_ceiling.map(Condition::CostCeiling));
    all
}

impl From<ModelPattern> for Model {
    fn from(pattern: ModelPattern) -> Self {
        match pattern {
            ModelPattern::Known => Self::Known,
            ModelPattern::Auto => Self::Auto,
            ModelPattern::Glob(text) => Self::Glob(Glob::new(&text)),
        }
    }
}

fn range<T: fmt::Display + Copy>(bounds: Bounds<T>) -> String {
    match (bounds.min, bounds.max) {
        (Some(min), Some(max)) => format!("{min} to {max}"),
        (Some(min), None) => format!("at least {min}"),
        (None, Some(max)) => format!("at most {max}"),
        (None, None) => "any".into(),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.collect();
    if words.is_empty() { "none".into() } else { words.join(" or ") }
}
