use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;

use fixedbitset::FixedBitSet;
use http::HeaderMap;

use super::matcher::{Condition, Model};
use super::{Features, Rule};
use crate::units::Glob;
use crate::units::{CallerName, Effort, Endpoint, Need, Pairs, TaskName, Tokens, Usd};

/// Fewer rules than this are looked at one by one.
const WORTH_IT: usize = 64;

/// Runs of numbers that are told apart, at most: a run more is a set of rules more.
const MOST_RUNS: usize = 256;

/// Which rules a request may match, told from facts that cost nothing to look up. Every rule that matches is among them.
#[derive(Debug)]
pub(super) struct Index {
    /// In the order of [`Endpoint::ALL`].
    endpoints: Vec<FixedBitSet>,
    /// Not streamed, streamed.
    streams: [FixedBitSet; 2],
    efforts: Sieve<Buckets<Effort>>,
    needs: Sieve<Buckets<Need>>,
    tasks: Sieve<Buckets<TaskName>>,
    callers: Sieve<Buckets<CallerName>>,
    models: Sieve<Beginnings>,
    /// By one tag of each rule.
    tags: Sieve<HashMap<Box<str>, Beginnings>>,
    /// By one label of each rule.
    labels: Sieve<HashMap<Box<str>, Beginnings>>,
    /// By one header of each rule.
    headers: Sieve<HashMap<Box<str>, Beginnings>>,
    turns: Runs,
    max_costs: Runs,
    /// By their bounds from below, which the most that a prompt can be is held against: to count it costs more.
    prompts: Runs,
}

/// The rules that ask nothing of a fact, and how to find those that do.
#[derive(Debug)]
struct Sieve<T> {
    without: FixedBitSet,
    asking: T,
}

/// Numbers of rules by what they ask for.
type Buckets<K> = HashMap<K, Vec<usize>>;

/// The rules that a number may fulfil.
#[derive(Debug)]
struct Runs {
    /// The rules that ask nothing.
    without: FixedBitSet,
    /// The least number of each run, the first 0.
    starts: Vec<u64>,
    rules: Vec<FixedBitSet>,
}

/// Rules by texts that they ask for as a whole, and by what stands before the first star of a pattern.
#[derive(Debug, Default)]
struct Beginnings {
    whole: Buckets<Box<str>>,
    heads: Buckets<Box<str>>,
    /// How long the heads are, in bytes, each length once.
    lengths: Vec<usize>,
}

impl Index {
    /// Nothing where it is not worth the while.
    pub(super) fn new(rules: &[Rule]) -> Option<Self> {
        (rules.len() >= WORTH_IT).then(|| Self::of(rules))
    }

    fn of(rules: &[Rule]) -> Self {
        let all = all(rules.len());
        let mut index = Self {
            endpoints: vec![all.clone(); Endpoint::ALL.len()],
            streams: [all.clone(), all.clone()],
            efforts: Sieve::of(&all),
            needs: Sieve::of(&all),
            tasks: Sieve::of(&all),
            callers: Sieve::of(&all),
            tags: Sieve::of(&all),
            models: Sieve::of(&all),
            labels: Sieve::of(&all),
            headers: Sieve::of(&all),
            turns: Runs::new(rules, |condition| match condition {
                Condition::Turns(bounds) => Some((bounds.min, bounds.max)),
                _ => None,
            }),
            max_costs: Runs::new(rules, |condition| match condition {
                Condition::MaxCost(bounds) => Some((bounds.min.map(Usd::nano), bounds.max.map(Usd::nano))),
                _ => None,
            }),
            prompts: Runs::new(rules, |condition| match condition {
                Condition::PromptTokens(bounds) => Some((bounds.min.map(Tokens::count), None)),
                _ => None,
            }),
        };
        for (number, rule) in rules.iter().enumerate() {
            for condition in rule.matcher.all() {
                index.add(number, condition);
            }
            add_named(&mut index.tags, number, rule.matcher.all().iter().filter_map(tag));
            add_named(&mut index.labels, number, rule.matcher.all().iter().filter_map(label));
            add_named(&mut index.headers, number, rule.matcher.all().iter().filter_map(header));
        }
        index
    }

    fn add(&mut self, number: usize, condition: &Condition) {
        match condition {
            Condition::Endpoint(any) => {
                for (endpoint, rules) in Endpoint::ALL.iter().zip(&mut self.endpoints) {
                    rules.set(number, any.contains(endpoint));
                }
            }
            Condition::Stream(wanted) => self.streams[usize::from(!wanted)].set(number, false),
            Condition::Effort(any) => self.efforts.put(any, number),
            Condition::Needs(any) => self.needs.put(any, number),
            Condition::Task(any) => self.tasks.put(any, number),
            Condition::Caller(any) => self.callers.put(any, number),
            Condition::Model(any) => {
                self.models.without.set(number, false);
                for model in any {
                    // Any name may be known.
                    self.models.asking.add(if matches!(model, Model::Known) { "*" } else { model.as_str() }, number);
                }
            }
            _ => {}
        }
    }

    /// The numbers of the rules that may match, in a set.
    pub(super) fn candidates(&self, features: &Features) -> FixedBitSet {
        let mut candidates = self.streams[usize::from(features.stream)].clone();
        if let Some(rules) = Endpoint::ALL.iter().position(|endpoint| *endpoint == features.endpoint).map(|at| &self.endpoints[at]) {
            candidates.intersect_with(rules);
        }
        self.turns.narrow(&mut candidates, features.turns());
        self.max_costs.narrow(&mut candidates, features.max_cost.map(Usd::nano));
        self.prompts.narrow(&mut candidates, features.prompt_tokens_at_most().map(Tokens::count));
        self.efforts.narrow(&mut candidates, |efforts, asking| insert(asking, features.effort.and_then(|effort| efforts.get(&effort))));
        self.needs.narrow(&mut candidates, |needs, asking| {
            for need in features.needs() {
                insert(asking, needs.get(need));
            }
        });
        self.tasks.narrow(&mut candidates, |tasks, asking| insert(asking, tasks.get(&features.task.name)));
        self.models.narrow(&mut candidates, |models, asking| models.find(&features.requested_model, asking));
        self.callers
            .narrow(&mut candidates, |callers, asking| insert(asking, features.caller.as_ref().and_then(|caller| callers.get(caller))));
        self.tags.narrow(&mut candidates, |tags, asking| find_named(tags, &features.tags, asking));
        self.labels.narrow(&mut candidates, |labels, asking| find_named(labels, &features.labels, asking));
        self.headers.narrow(&mut candidates, |headers, asking| find_headers(headers, &features.headers, asking));
        candidates
    }
}

impl<T: Default> Sieve<T> {
    fn of(all: &FixedBitSet) -> Self {
        Self { without: all.clone(), asking: T::default() }
    }

    /// Leaves the rules that ask nothing, and those that `find` inserts.
    fn narrow(&self, candidates: &mut FixedBitSet, find: impl FnOnce(&T, &mut FixedBitSet)) {
        if self.without.is_full() {
            return;
        }
        let mut asking = self.without.clone();
        find(&self.asking, &mut asking);
        candidates.intersect_with(&asking);
    }
}

impl<K: Clone + Eq + Hash> Sieve<Buckets<K>> {
    fn put(&mut self, any: &[K], number: usize) {
        self.without.set(number, false);
        for key in any {
            put(&mut self.asking, key.clone(), number);
        }
    }
}

impl Runs {
    /// `bounds` are inclusive.
    fn new(rules: &[Rule], bounds: impl Fn(&Condition) -> Option<(Option<u64>, Option<u64>)>) -> Self {
        let mut without = all(rules.len());
        let asked = rules.iter().enumerate().flat_map(|(number, rule)| rule.matcher.all().iter().map(move |condition| (number, condition)));
        let asked: Vec<(usize, u64, u64)> = asked
            .filter_map(|(number, condition)| {
                let (min, max) = bounds(condition)?;
                without.set(number, false);
                Some((number, min.unwrap_or(0), max.unwrap_or(u64::MAX)))
            })
            .collect();
        let edges: BTreeSet<u64> = asked.iter().flat_map(|(_, min, max)| [*min, max.saturating_add(1)]).collect();
        let step = edges.len() / MOST_RUNS + 1;
        let starts: Vec<u64> = std::iter::once(0).chain(edges.into_iter().filter(|edge| *edge > 0).step_by(step)).collect();
        let mut runs = Self { rules: vec![without.clone(); starts.len()], starts, without };
        for (number, min, max) in asked {
            let (first, last) = (runs.of(min), runs.of(max));
            for rules in &mut runs.rules[first..=last] {
                rules.insert(number);
            }
        }
        runs
    }

    /// The run that has a number.
    fn of(&self, number: u64) -> usize {
        self.starts.partition_point(|start| *start <= number).saturating_sub(1)
    }

    /// Leaves the rules that ask nothing, and those that the number may fulfil.
    fn narrow(&self, candidates: &mut FixedBitSet, number: Option<u64>) {
        candidates.intersect_with(number.map_or(&self.without, |number| &self.rules[self.of(number)]));
    }
}

impl Beginnings {
    fn add(&mut self, pattern: &str, number: usize) {
        match pattern.split_once('*') {
            None => put(&mut self.whole, pattern.into(), number),
            Some((head, _)) => {
                put(&mut self.heads, head.into(), number);
                if !self.lengths.contains(&head.len()) {
                    self.lengths.push(head.len());
                }
            }
        }
    }

    fn find(&self, text: &str, rules: &mut FixedBitSet) {
        insert(rules, self.whole.get(text));
        for head in self.lengths.iter().filter_map(|length| text.get(..*length)) {
            insert(rules, self.heads.get(head));
        }
    }
}

/// Finds the rules of all values of labels or tags.
fn find_named(wanted: &HashMap<Box<str>, Beginnings>, values: &Pairs, rules: &mut FixedBitSet) {
    for (name, value) in values.iter() {
        if let Some(patterns) = wanted.get(name) {
            patterns.find(value, rules);
        }
    }
}

/// Finds the rules of all values of all headers, in the shorter of the two lists.
fn find_headers(wanted: &HashMap<Box<str>, Beginnings>, headers: &HeaderMap, rules: &mut FixedBitSet) {
    if wanted.len() < headers.len() {
        for (name, values) in wanted {
            for text in headers.get_all(&**name).iter().filter_map(|value| value.to_str().ok()) {
                values.find(text, rules);
            }
        }
    } else {
        for (name, value) in headers {
            if let (Some(values), Ok(text)) = (wanted.get(name.as_str()), value.to_str()) {
                values.find(text, rules);
            }
        }
    }
}

/// What a condition asks of one tag.
fn tag(condition: &Condition) -> Option<(&str, Vec<&str>)> {
    match condition {
        Condition::Tag(name, any) => Some((name, any.iter().map(Glob::as_str).collect())),
        _ => None,
    }
}

/// What a condition asks of one label.
fn label(condition: &Condition) -> Option<(&str, Vec<&str>)> {
    match condition {
        Condition::Label(name, any) => Some((name, any.iter().map(Glob::as_str).collect())),
        _ => None,
    }
}

/// What a condition asks of one header.
fn header(condition: &Condition) -> Option<(&str, Vec<&str>)> {
    match condition {
        Condition::Header(name, any) => Some((name, any.iter().map(Glob::as_str).collect())),
        _ => None,
    }
}

/// One of several conditions is enough: one whose patterns begin with something, where there is one.
fn add_named<'c>(
    sieve: &mut Sieve<HashMap<Box<str>, Beginnings>>,
    number: usize,
    conditions: impl Iterator<Item = (&'c str, Vec<&'c str>)>,
) {
    let is_loose = |(_, patterns): &(&str, Vec<&str>)| patterns.iter().any(|pattern| pattern.starts_with('*'));
    if let Some((name, patterns)) = conditions.min_by_key(is_loose) {
        sieve.without.set(number, false);
        let values = sieve.asking.entry(name.into()).or_default();
        for pattern in patterns {
            values.add(pattern, number);
        }
    }
}

fn put<K: Eq + Hash>(buckets: &mut Buckets<K>, key: K, number: usize) {
    buckets.entry(key).or_default().push(number);
}

fn insert(rules: &mut FixedBitSet, bucket: Option<&Vec<usize>>) {
    for number in bucket.into_iter().flatten() {
        rules.insert(*number);
    }
}

fn all(size: usize) -> FixedBitSet {
    let mut all = FixedBitSet::with_capacity(size);
    all.insert_range(..);
    all
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;
    use crate::rules::world::{ALL_FACTS, long_file, read, rule_set, some_requests};

    static REQUESTS: LazyLock<Vec<Features>> = LazyLock::new(|| some_requests(ALL_FACTS, 500, 5));

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_index_finds_what_a_look_at_every_rule_finds(rules in long_file()) {
            let rules = rule_set(ALL_FACTS, &rules);
            let count = rules.rules().len();
            let index = Index::new(rules.rules()).unwrap();
            for features in &*REQUESTS {
                let matches = |number: &usize| rules.rules()[*number].matcher.matches(&rules, &rules.rules()[*number].route, features);
                let candidates = index.candidates(features);
                prop_assert!((0..count).filter(matches).all(|number| candidates.contains(number)));
                let first = (0..count).find(matches).unwrap_or(count);
                prop_assert_eq!(rules.find(features).map(|found| found.index), Some(first));
            }
        }
    }

    #[test]
    fn a_request_leaves_few_of_many_rules() {
        let mut text = String::from("version: 1\nproviders: { box: { format: sandbox, models: { echo: {} } } }\ndefault: refuse\nrules:\n");
        for number in 0..500 {
            let conditions = [
                format!("task: task-{number}"),
                format!("model: [model-{number}, 'family-{number}-*']"),
                format!("labels: {{ team: '*x', run: run-{number} }}"),
                format!("headers: {{ x-app: app-{number} }}"),
            ];
            writeln!(text, "  - {{ name: rule-{number}, match: {{ {} }}, chain: [box/echo] }}", conditions[number % 4]).unwrap();
        }
        let rules = read(&text);
        let index = Index::new(rules.rules()).unwrap();
        let mut features = some_requests(&[], 1, 0).remove(0);
        assert_eq!(index.candidates(&features).count_ones(..), 0);
        features.requested_model = "family-201-x".into();
        features.labels = Pairs::from(std::collections::BTreeMap::from([("run".into(), "run-402".into())]));
        features.headers =
            std::sync::Arc::new([(http::HeaderName::from_static("x-app"), http::HeaderValue::from_static("app-3"))].into_iter().collect());
        assert_eq!(index.candidates(&features).ones().collect::<Vec<_>>(), [3, 201, 402]);
    }
}
