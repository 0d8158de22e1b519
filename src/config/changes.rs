//! What differs between two configurations, by meaning and in words: rules, providers, models, budgets, callers, chains, limits.

mod facts;

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::checked::Checked;
use facts::{Fact, Thing};

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Server,
    Provider,
    Model,
    Budget,
    Caller,
    Classify,
    Ledger,
    Alerts,
    Rule,
    Default,
    Score,
    Test,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    pub kind: Kind,
    /// Whose it is; empty for what there is one of.
    pub name: String,
    #[serde(flatten)]
    pub what: What,
}

/// What happened. No value here is a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "lowercase")]
pub enum What {
    Added,
    Removed,
    /// A rule that is looked at earlier or later than others that stayed where they were.
    Moved {
        up: bool,
        /// The rule that comes next; absent where it is the last.
        before: Option<String>,
    },
    /// One setting; absent on the side that does not have it. Both say the same where what changed is secret.
    Changed {
        key: String,
        from: Option<String>,
        to: Option<String>,
    },
}

/// Everything that differs, in the order of the new file; what only the old one has comes first.
#[must_use]
pub fn changes(old: &Checked, new: &Checked) -> Vec<Change> {
    let (old, new) = (facts::things(old), facts::things(new));
    let by_name = |things: &[Thing]| -> BTreeMap<(Kind, String), usize> {
        things.iter().enumerate().map(|(at, thing)| ((thing.kind, thing.name.clone()), at)).collect()
    };
    let (in_old, in_new) = (by_name(&old), by_name(&new));
    let change = |thing: &Thing, what| Change { kind: thing.kind, name: thing.name.clone(), what };
    let key = |thing: &Thing| (thing.kind, thing.name.clone());
    let mut all: Vec<Change> =
        old.iter().filter(|thing| !in_new.contains_key(&key(thing))).map(|thing| change(thing, What::Removed)).collect();
    let moves = moves(&old, &new);
    for thing in &new {
        let Some(before) = in_old.get(&key(thing)).and_then(|at| old.get(*at)) else {
            all.push(change(thing, What::Added));
            continue;
        };
        all.extend(moves.get(thing.name.as_str()).filter(|_| thing.kind == Kind::Rule).map(|what| change(thing, what.clone())));
        all.extend(differences(&before.facts, &thing.facts).into_iter().map(|what| change(thing, what)));
    }
    all
}

/// What each rule says in all, its conditions and its chain, as a number; that of `default` is the last. Another number: the rule changed.
#[must_use]
pub fn prints(file: &Checked) -> Vec<u64> {
    let of_rules = facts::things(file).into_iter().filter(|thing| matches!(thing.kind, Kind::Rule | Kind::Default));
    let print = |thing: Thing| {
        let mut hasher = DefaultHasher::new();
        thing.name.hash(&mut hasher);
        thing.facts.iter().for_each(|fact| (&fact.key, &fact.exact).hash(&mut hasher));
        hasher.finish()
    };
    of_rules.map(print).collect()
}

/// The settings that differ, in the order of the new one.
fn differences(old: &[Fact], new: &[Fact]) -> Vec<What> {
    let find = |facts: &'_ [Fact], key: &str| facts.iter().position(|fact| fact.key == key);
    let gone = old.iter().filter(|fact| find(new, &fact.key).is_none());
    let mut all: Vec<What> = gone.map(|fact| What::Changed { key: fact.key.clone(), from: Some(fact.shown.clone()), to: None }).collect();
    for fact in new {
        let before = find(old, &fact.key).and_then(|at| old.get(at));
        if before.is_none_or(|before| before.exact != fact.exact) {
            let from = before.map(|before| before.shown.clone());
            all.push(What::Changed { key: fact.key.clone(), from, to: Some(fact.shown.clone()) });
        }
    }
    all
}

/// The fewest rules that must have moved, among those that both have.
fn moves(old: &[Thing], new: &[Thing]) -> BTreeMap<String, What> {
    let rules = |things: &[Thing]| -> Vec<String> {
        things.iter().filter(|thing| thing.kind == Kind::Rule).map(|thing| thing.name.clone()).collect()
    };
    let (old, new) = (rules(old), rules(new));
    let places: BTreeMap<&str, usize> = old.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
    // Where each rule that both have was, in the order in which they are now.
    let common: Vec<(usize, usize)> = new.iter().enumerate().filter_map(|(now, name)| Some((now, *places.get(name.as_str())?))).collect();
    let stays = longest_rising(&common.iter().map(|(_, was)| *was).collect::<Vec<_>>());
    let moved = common.iter().enumerate().filter(|(at, _)| !stays.contains(at));
    moved
        .map(|(at, (now, was))| {
            // Against one that stayed: earlier than before, where it now stands before a rule that it once stood behind.
            let up = stays.iter().any(|stayed| *stayed > at && common[*stayed].1 < *was);
            (new[*now].clone(), What::Moved { up, before: new.get(now + 1).cloned() })
        })
        .collect()
}

/// Indices of a longest rising part of `values`, which are all different.
fn longest_rising(values: &[usize]) -> Vec<usize> {
    // For each length the index where the best such part ends, and for each index the one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; values.len()];
    for (at, value) in values.iter().enumerate() {
        let length = ends.partition_point(|end| values[*end] < *value);
        before[at] = length.checked_sub(1).map(|shorter| ends[shorter]);
        if length == ends.len() { ends.push(at) } else { ends[length] = at }
    }
    let mut rising: Vec<usize> = std::iter::successors(ends.last().copied(), |at| before[*at]).collect();
    rising.reverse();
    rising
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = match self.kind {
            Kind::Server => "`server`".to_owned(),
            Kind::Default => "`default`".to_owned(),
            Kind::Provider => format!("provider `{}`", self.name),
            Kind::Model => format!("model `{}`", self.name),
            Kind::Budget => format!("budget `{}`", self.name),
            Kind::Caller => format!("caller `{}`", self.name),
            Kind::Classify => "`classify`".to_owned(),
            Kind::Ledger => "`ledger`".to_owned(),
            Kind::Alerts => "`alerts`".to_owned(),
            Kind::Rule => format!("rule `{}`", self.name),
            Kind::Score => format!("score of {}", self.name),
            Kind::Test => format!("test `{}`", self.name),
        };
        match &self.what {
            What::Added => write!(f, "{about} added"),
            What::Removed => write!(f, "{about} removed"),
            What::Moved { up, before } => {
                write!(f, "{about} moved {}, ", if *up { "up" } else { "down" })?;
                match before {
                    Some(next) => write!(f, "before `{next}`"),
                    None => f.write_str("to the end"),
                }
            }
            What::Changed { key, from: Some(from), to: Some(to) } if from == to => write!(f, "{about}: another {key}, not shown"),
            What::Changed { key, from: Some(from), to: Some(to) } => write!(f, "{about}: {key} from {from} to {to}"),
            What::Changed { key, from: None, to: Some(to) } => write!(f, "{about}: {key} {to} added"),
            What::Changed { key, from, .. } => write!(f, "{about}: {key} {} removed", from.as_deref().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Sources, read};

    /// A file whose references stand for themselves.
    fn file(text: &str) -> Checked {
        let reference = |name: &str| Some(format!("${{{name}}}"));
        let nothing = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let env = Env { variable: &reference, file: &nothing, credential: &nothing };
        let (checked, findings) = read(&Sources::new("routes.yaml", text), &env);
        checked.unwrap_or_else(|| panic!("{findings:#?}"))
    }

    fn with_rules(names: &str) -> Checked {
        let rules: Vec<String> =
            names.chars().map(|name| format!("  - {{ name: {name}, match: {{ task: x }}, chain: [box/m] }}\n")).collect();
        file(&format!(
            "version: 1\nproviders:\n  box: {{ format: sandbox, models: {{ m: {{}} }} }}\nrules:\n{}default: refuse\n",
            rules.concat()
        ))
    }

    fn told(old: &Checked, new: &Checked) -> Vec<String> {
        changes(old, new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_that_moved_are_the_fewest_that_explain_the_order() {
        for (old, new, expected) in [
            ("abc", "abc", &[][..]),
            ("abc", "cab", &["rule `c` moved up, before `a`"]),
            ("abc", "bca", &["rule `a` moved down, to the end"]),
            ("abc", "acb", &["rule `c` moved up, before `b`"]),
            ("abcde", "axbdce", &["rule `x` added", "rule `d` moved up, before `c`"]),
            ("abc", "cd", &["rule `a` removed", "rule `b` removed", "rule `d` added"]),
        ] {
            assert_eq!(told(&with_rules(old), &with_rules(new)), expected, "{old} → {new}");
        }
    }

    #[test]
    fn longest_rising_parts_are_found() {
        for (values, expected) in
            [(&[][..], &[][..]), (&[0], &[0]), (&[2, 0, 1], &[1, 2]), (&[1, 2, 0], &[0, 1]), (&[0, 4, 1, 2, 3], &[0, 2, 3, 4])]
        {
            assert_eq!(longest_rising(values), expected, "{values:?}");
        }
    }

    const BEFORE: &str = "version: 1
server: { drain: 10s }
providers:
  openai: { format: openai, base_url: https://api.openai.com/v1, api_key: \"${A}\", limits: { requests: 500/min }, models: { m: { usd_per_mtok: { input: 1, output: 2 } }, n: {} } }
  plain: { format: openai, base_url: https://example.com/v1, api_key: sk-one, proxy: \"http://me:one@proxy:1\", models: { m: {} } }
chains:
  both: [openai/m, plain/m]
rules:
  - { name: coding, match: { task: coding, prompt_tokens: { max: 32k } }, chain: both }
  - { name: long, match: { prompt_tokens: { min: 32k } }, unless: { stream: true }, chain: [openai/m], deadline: 5m }
default: { chain: both }
tests:
  - { name: code, given: { task: coding, resting: plain/m }, expect: { rule: coding, target: openai/m } }
";

    #[test]
    fn a_key_in_plain_text_is_masked_wherever_it_stands() {
        let text = BEFORE.replacen("api_key: sk-one,", "api_key:\n      my-own-key,", 1);
        let masked = crate::config::masked(&text, Some(&file(&text)));
        assert!(masked.contains("api_key:\n      **********,") && masked.contains("http://******@proxy:1"), "{masked}");
        assert!(masked.contains("${A}") && masked.len() == text.len(), "{masked}");
    }

    const MONEY: &str = "version: 1
providers:
  box: { format: sandbox, models: { m: {} }, budget: $3/day, pace: $1/min }
budgets:
  company: { cap: [$300/month, $40/day], warn_at: [50%, 80%], match: { tags: { team: x }, provider: box } }
callers:
  search: { key: sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918, tags: { team: x }, limits: { requests: 5/min }, allow: [box/*] }
rules:
  - { name: late, match: { caller: search, spent: { company.month: { min: 80% } } }, chain: [box/m] }
default: { chain: [box/m] }
ledger: { timeout: 3s }
classify: { floor: 80%, labels: { legal: [contract*] } }
alerts: { webhook: { url: \"https://hooks.example.com/services/T0/secret\", secret: \"${A}\" } }
";

    #[test]
    fn what_is_said_of_money_is_told_in_the_words_of_the_file() {
        let old = file(MONEY);
        for (from, to, expected) in [
            ("$300/month", "$400/month", &["budget `company`: cap per month from $300 to $400"][..]),
            ("[$300/month, $40/day]", "$300/month", &["budget `company`: cap per day $40 removed"]),
            (
                "warn_at: [50%, 80%]",
                "mode: soft, starts_on: last",
                &[
                    "budget `company`: warn_at [50%, 80%] removed",
                    "budget `company`: starts_on from 1 to last",
                    "budget `company`: mode from hard to soft",
                ],
            ),
            (", provider: box }", " }", &["budget `company`: match.provider [box] removed"]),
            (", pace: $1/min", ", pace: $2/min", &["budget `provider.box`: pace from $1/min to $2/min"]),
            ("{ team: x }, limits", "{ team: y }, limits", &["caller `search`: tags.team from x to y"]),
            (", allow: [box/*]", "", &["caller `search`: allow [box/*] removed"]),
            (
                "sha256:6b51d431",
                "sha256:7b51d431",
                &["caller `search`: key 6b51d431 for good removed", "caller `search`: key 7b51d431 for good added"],
            ),
            ("min: 80%", "min: 90%", &["rule `late`: match.spent.company.month from { min: 80% } to { min: 90% }"]),
            ("timeout: 3s", "durability: strict", &["`ledger`: timeout from 3s to 2s", "`ledger`: durability from grant to strict"]),
            ("floor: 80%", "when: always", &["`classify`: when from needed to always", "`classify`: floor from 0.80 to 0.70"]),
            ("[contract*]", "[contract*, nda]", &["`classify`: labels.legal from [contract*] to [contract*, nda]"]),
            ("T0/secret", "T1/secret", &["`alerts`: another webhook.url, not shown"]),
            ("${A}", "${B}", &["`alerts`: webhook.secret from ${A} to ${B}"]),
        ] {
            assert!(MONEY.contains(from), "{from}");
            assert_eq!(told(&old, &file(&MONEY.replacen(from, to, 1))), expected, "{from} → {to}");
        }
    }

    #[test]
    fn every_difference_is_told_in_the_words_of_the_file() {
        let old = file(BEFORE);
        assert_eq!(told(&old, &file(&format!("# only a comment\n{BEFORE}"))), [""; 0]);
        for (from, to, expected) in [
            ("drain: 10s", "drain: 1m", &["`server`: drain from 10s to 1m"][..]),
            ("\"${A}\"", "\"${B}\"", &["provider `openai`: api_key from ${A} to ${B}"]),
            ("sk-one", "sk-two", &["provider `plain`: another api_key, not shown"]),
            ("sk-one", "\"${A}\"", &["provider `plain`: api_key from a key in plain text to ${A}"]),
            ("me:one@", "me:two@", &["provider `plain`: another proxy, not shown"]),
            (
                "500/min",
                "{ rate: 500/min, burst: 50 }",
                &["provider `openai`: limits.requests from 500/min to { rate: 500/min, burst: 50 }"],
            ),
            ("limits: { requests: 500/min }, ", "", &["provider `openai`: limits.requests 500/min removed"]),
            ("n: {}", "o: { max_output: 4k }", &["model `openai/n` removed", "model `openai/o` added"]),
            ("output: 2", "output: 2.50", &["model `openai/m`: usd_per_mtok.output from $2 to $2.5"]),
            ("task: coding", "task: [coding, math]", &["rule `coding`: match.task from [coding] to [coding, math]"]),
            ("{ stream: true }", "{ stream: false }", &["rule `long`: unless.stream from true to false"]),
            (", deadline: 5m", "", &["rule `long`: deadline 5m removed"]),
            ("name: long", "name: longer", &["rule `long` removed", "rule `longer` added"]),
            ("default: { chain: both }", "default: refuse", &["`default`: chain from [openai/m, plain/m] to refuse"]),
            ("rule: coding,", "", &["test `code`: expect.rule coding removed"]),
            (
                "resting: plain/m",
                "no_key: plain",
                &["test `code`: given.resting [plain/m] removed", "test `code`: given.no_key [plain] added"],
            ),
            (
                "[openai/m, plain/m]",
                "[plain/m, { target: openai/m, set: { temperature: 0 } }]",
                &[
                    "rule `coding`: chain from [openai/m, plain/m] to [plain/m, openai/m with set.temperature: 0]",
                    "`default`: chain from [openai/m, plain/m] to [plain/m, openai/m with set.temperature: 0]",
                ],
            ),
        ] {
            assert!(BEFORE.contains(from), "{from}");
            assert_eq!(told(&old, &file(&BEFORE.replacen(from, to, 1))), expected, "{from} → {to}");
        }
    }
}
