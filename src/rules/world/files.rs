use proptest::collection::vec;
use proptest::prelude::*;

use crate::config::{self, Bounds, Checked, Conditions, DefaultRule, Env, ModelPattern, Place, Sources, SpentWindow};
use crate::rules::{Revision, RuleSet};
use crate::units::{CallerName, Effort, Endpoint, Need, RuleName, TaskName, Tokens, Usd, parse_share};

/// One kind of fact that the rules of a file look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Fact {
    Endpoint,
    Effort,
    Needs,
    Turns,
    PromptTokens,
    Stream,
    Task,
    MaxCost,
    Model,
    Label(&'static str),
    Header(&'static str),
    Ceiling,
    Caller,
    Tag(&'static str),
    /// One of the windows of the file, by its name.
    Spent(&'static str),
}

/// The facts that one file's rules look at: few enough for every request to be tried.
pub(in crate::rules) const PROFILES: &[&[Fact]] = &[
    &[Fact::Endpoint, Fact::Effort, Fact::Needs, Fact::Turns, Fact::PromptTokens],
    &[Fact::Needs, Fact::Effort, Fact::Stream, Fact::Task],
    &[Fact::Endpoint, Fact::Turns],
    &[Fact::Needs, Fact::PromptTokens],
    &[Fact::Turns, Fact::PromptTokens, Fact::MaxCost],
    &[Fact::Model],
    &[Fact::Model, Fact::Task, Fact::Stream],
    &[Fact::Model, Fact::Label("l")],
    &[Fact::Header("h")],
    &[Fact::Header("h"), Fact::Stream, Fact::Task],
    &[Fact::Header("h"), Fact::Label("l")],
    &[Fact::Label("l"), Fact::Label("k"), Fact::Stream],
    &[Fact::Label("l"), Fact::Label("a,b")],
    &[Fact::Label("l"), Fact::PromptTokens, Fact::Ceiling],
    &[Fact::Ceiling, Fact::Endpoint, Fact::Needs, Fact::MaxCost],
    &[Fact::Stream, Fact::Task, Fact::Endpoint],
    &[Fact::Caller, Fact::Tag("t"), Fact::Stream],
    &[Fact::Caller, Fact::Tag("t"), Fact::Tag("u")],
    &[Fact::Tag("t"), Fact::Tag("u")],
    &[Fact::Caller, Fact::Spent("b.month"), Fact::Task],
    &[Fact::Spent("b.month"), Fact::Spent("b.day"), Fact::Stream],
];

/// All of them.
pub(in crate::rules) const ALL_FACTS: &[Fact] = &[
    Fact::Endpoint,
    Fact::Effort,
    Fact::Needs,
    Fact::Turns,
    Fact::PromptTokens,
    Fact::Stream,
    Fact::Task,
    Fact::MaxCost,
    Fact::Model,
    Fact::Label("l"),
    Fact::Label("k"),
    Fact::Header("h"),
    Fact::Header("g"),
    Fact::Ceiling,
    Fact::Caller,
    Fact::Tag("t"),
    Fact::Spent("b.month"),
];

/// The conditions of `match` and `unless`.
pub(in crate::rules) type RuleDraft = (Vec<Pick>, Option<Vec<Pick>>);
/// A fact out of those of the file, and two numbers that say what is asked of it.
type Pick = (usize, usize, usize);

/// Up to six rules, and which of the [`PROFILES`] they have.
pub(in crate::rules) fn draft() -> impl Strategy<Value = (usize, Vec<RuleDraft>)> {
    (0..PROFILES.len(), vec(rule(1..3), 1..7))
}

/// The rules of a file that is worth an index.
pub(in crate::rules) fn long_file() -> impl Strategy<Value = Vec<RuleDraft>> {
    vec(rule(2..5), 64..140)
}

fn rule(conditions: std::ops::Range<usize>) -> impl Strategy<Value = RuleDraft> {
    let pick = || (0..ALL_FACTS.len(), 0..60_usize, 0..60_usize);
    (vec(pick(), conditions), proptest::option::weighted(0.35, vec(pick(), 1..3)))
}

/// A file with three callers, two of them with tags, a budget with two windows, and one target that costs $1 per million tokens of answer, and nothing for the prompt.
const FILE: &str = "version: 1
providers:
  p: { format: openai, base_url: 'https://a.example/v1', models: { m: { usd_per_mtok: { input: 0, output: 1 } }, ab: {} } }
callers:
  c: { key: 'sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918', tags: { t: a, u: ab } }
  d: { key: 'sha256:ef2d127de37b942baad06145e54b0c619a1f22327b2ebbcfbec78f5564afe39d', tags: { t: bx } }
  e: { key: 'sha256:0000000000000000000000000000000000000000000000000000000000000000' }
budgets: { b: { cap: [$9/month, $2/day], mode: observe } }
default: { chain: [p/m] }
";

/// The callers of the file and their tags.
pub(in crate::rules) const CALLERS: [(&str, &[(&str, &str)]); 3] = [("c", &[("t", "a"), ("u", "ab")]), ("d", &[("t", "bx")]), ("e", &[])];

/// A sound file, compiled.
pub(in crate::rules) fn read(text: &str) -> RuleSet {
    RuleSet::from((checked(text), Revision { number: 0, hash: String::new() }))
}

fn checked(text: &str) -> Checked {
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let env = Env { variable: &|_| None, file: &none, credential: &none };
    let (checked, findings) = config::read(&Sources::new("routes.yaml", text), &env);
    checked.unwrap_or_else(|| panic!("{findings:?}"))
}

/// A file with these rules.
pub(in crate::rules) fn rule_set(facts: &[Fact], rules: &[RuleDraft]) -> RuleSet {
    let mut checked = checked(FILE);
    let DefaultRule::Route(route) = &checked.default else { panic!("the default is a route") };
    for (index, (matches, unless)) in rules.iter().enumerate() {
        checked.rules.push(config::Rule {
            name: RuleName::parse(&format!("r{index}")).unwrap(),
            place: Place::default(),
            line: index + 1,
            matches: conditions(facts, matches),
            unless: unless.as_ref().map(|picks| conditions(facts, picks)),
            route: route.clone(),
        });
    }
    RuleSet::from((checked, Revision { number: 0, hash: String::new() }))
}

/// Patterns for labels, headers and tags.
pub(super) const TEXTS: &[&str] = &["a", "b", "ab", "a*", "*a", "*b", "*", "a*b", "*a*", "b*", "ba", "a b", "ä*", "*,*", " a", "x"];
/// Patterns for the requested model, and the words that stand for more than themselves.
pub(super) const MODELS: &[&str] =
    &["a", "b", "ab", "a*", "*a", "*b", "*", "a*b", "*m", "b*", "known", "auto", "auto/*", "a*o", "m", "p/*"];

fn conditions(facts: &[Fact], picks: &[Pick]) -> Conditions {
    let mut all = Conditions::default();
    for (fact, first, second) in picks {
        let some = |values: &[&'static str]| -> Vec<&'static str> {
            let second = (second % 2 == 1).then(|| values[second / 2 % values.len()]);
            std::iter::once(values[first % values.len()]).chain(second).collect()
        };
        let texts = || some(TEXTS).into_iter().map(str::to_owned).collect();
        match facts[fact % facts.len()] {
            Fact::Endpoint => {
                let any = some(&["chat", "completions", "embeddings"]);
                all.endpoint = Some(any.into_iter().filter_map(Endpoint::parse).collect());
            }
            Fact::Effort => all.effort = Some(some(&["none", "low", "high"]).into_iter().filter_map(Effort::parse).collect()),
            Fact::Needs => {
                let any = some(&["tools", "vision", "files", "reasoning"]);
                all.needs = Some(any.into_iter().filter_map(Need::parse).collect());
            }
            Fact::Turns => all.turns = Some(bounds(*first, *second, &[0, 1, 2, 3, 5], |turns| turns)),
            Fact::PromptTokens => {
                all.prompt_tokens = Some(bounds(*first, *second, &[0, 2, 3, 7, 11, 12, 106, 107, 1_006, 1_007, 1_106], Tokens::new));
            }
            Fact::Stream => all.stream = Some(first % 2 == 1),
            Fact::Task => all.task = Some(some(&["coding", "chat", "unknown"]).into_iter().flat_map(TaskName::parse).collect()),
            Fact::MaxCost => all.max_cost = Some(bounds(*first, *second, &[0, 1, 2, 4], Usd::from_nano)),
            Fact::Model => {
                let pattern = |text: &str| match text {
                    "known" => ModelPattern::Known,
                    "auto" => ModelPattern::Auto,
                    glob => ModelPattern::Glob(glob.into()),
                };
                all.model = Some(some(MODELS).into_iter().map(pattern).collect());
            }
            Fact::Tag(name) => drop(all.tags.insert(name.into(), texts())),
            Fact::Caller => all.caller = Some(some(&["c", "d", "e"]).into_iter().flat_map(CallerName::parse).collect()),
            Fact::Spent(window) => {
                let percent = |share: u64| parse_share(&format!("{share}%")).unwrap();
                let window = SpentWindow { budget: 0, cap: usize::from(window == "b.day") };
                all.spent.retain(|(other, _)| *other != window);
                all.spent.push((window, bounds(*first, *second, &[0, 1, 20, 50, 80, 100], percent)));
            }
            Fact::Label(name) => drop(all.labels.insert(name.into(), texts())),
            Fact::Header(name) => drop(all.headers.insert(name.into(), texts())),
            // One token of answer costs 1,000.
            Fact::Ceiling => all.cost_ceiling = Some(Usd::from_nano([999, 1_000, 2_500, 3_000][first % 4])),
        }
    }
    all
}

fn bounds<T>(first: usize, second: usize, values: &[u64], of: impl Fn(u64) -> T) -> Bounds<T> {
    let (first_value, second_value) = (values[first % values.len()], values[second % values.len()]);
    let (low, high) = (first_value.min(second_value), first_value.max(second_value));
    match (first + second) % 3 {
        0 => Bounds { min: Some(of(low)), max: Some(of(high)) },
        1 => Bounds { min: Some(of(first_value)), max: None },
        _ => Bounds { min: None, max: Some(of(first_value)) },
    }
}
