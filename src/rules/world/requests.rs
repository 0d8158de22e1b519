use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::files::{CALLERS, Fact, MODELS, TEXTS};
use crate::config::SpentWindow;
use crate::rules::{Features, Prompt, Task};
use crate::units::{CallerName, Effort, Endpoint, Glob, Need, TaskName, Tokens, Usd, parse_share};

/// One request, before it is made features.
#[derive(Clone, Debug)]
struct Draft {
    endpoint: Endpoint,
    effort: Option<Effort>,
    needs: Vec<Need>,
    turns: u64,
    prompt_tokens: u64,
    stream: bool,
    task: &'static str,
    max_cost: Option<u64>,
    model: String,
    labels: BTreeMap<String, String>,
    headers: Vec<(&'static str, String)>,
    output_limit: u64,
    caller: Option<&'static str>,
    /// Those of a request without a caller.
    tags: BTreeMap<String, String>,
    /// By window.
    spent: BTreeMap<&'static str, &'static str>,
}

/// Every request of the small world, as far as `facts` tell requests apart.
pub(in crate::rules) fn requests(facts: &[Fact]) -> Vec<Features> {
    World { drafts: calls(facts), random: None }.with_all(facts)
}

/// So many of these requests, drawn at random.
pub(in crate::rules) fn some_requests(facts: &[Fact], count: usize, seed: u64) -> Vec<Features> {
    let mut random = fastrand::Rng::with_seed(seed);
    let calls = calls(facts);
    let drafts = (0..count).map(|_| calls[random.usize(..calls.len())].clone()).collect();
    World { drafts, random: Some(random) }.with_all(facts)
}

struct World {
    drafts: Vec<Draft>,
    /// Where it is absent, every draft is made with each value.
    random: Option<fastrand::Rng>,
}

impl World {
    fn with_all(mut self, facts: &[Fact]) -> Vec<Features> {
        for fact in facts {
            match fact {
                Fact::Endpoint | Fact::Effort | Fact::Needs | Fact::Turns | Fact::PromptTokens => {}
                Fact::Stream => self.vary(&[true, false], |draft, stream| draft.stream = *stream),
                Fact::Task => self.vary(&["coding", "chat", "unknown", "other"], |draft, task| draft.task = task),
                Fact::MaxCost => {
                    let ceilings = [None, Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)];
                    self.vary(&ceilings, |draft, max_cost| draft.max_cost = *max_cost);
                }
                Fact::Ceiling => self.vary(&[1, 2, 3, 4], |draft, limit| draft.output_limit = *limit),
                Fact::Model => self.vary(&models(), |draft, model| draft.model.clone_from(model)),
                Fact::Label(name) if name.contains(',') => {}
                Fact::Label(name) => self.vary(&labels(), |draft, value| {
                    if let Some(value) = value {
                        draft.labels.insert((*name).into(), value.clone());
                    }
                }),
                Fact::Caller => self.vary(&[None, Some("c"), Some("d"), Some("e")], |draft, caller| draft.caller = *caller),
                Fact::Tag(name) => self.vary(&tags(), |draft, value| {
                    if let Some(value) = value {
                        draft.tags.insert((*name).into(), value.clone());
                    }
                }),
                Fact::Spent(window) => {
                    let shares = ["0%", "0.5%", "1%", "2%", "20%", "21%", "50%", "51%", "80%", "81%", "100%"];
                    self.vary(&shares, |draft, share| draft.spent.extend([(*window, *share)]));
                }
                Fact::Header(name) => {
                    self.vary(&headers(), |draft, values| draft.headers.extend(values.iter().map(|value| (*name, value.clone()))));
                }
            }
        }
        self.drafts.into_iter().map(features).collect()
    }

    fn vary<T>(&mut self, values: &[T], set: impl Fn(&mut Draft, &T)) {
        if let Some(random) = &mut self.random {
            for draft in &mut self.drafts {
                set(draft, &values[random.usize(..values.len())]);
            }
            return;
        }
        let with = |draft: &Draft, value: &T| {
            let mut draft = draft.clone();
            set(&mut draft, value);
            draft
        };
        self.drafts = self.drafts.iter().flat_map(|draft| values.iter().map(move |value| with(draft, value))).collect();
    }
}

/// Whether a call can have these facts together, as `reach::tests::calls` proves of real bodies.
pub(in crate::rules) fn is_possible(endpoint: Endpoint, effort: Option<Effort>, needs: &[Need], turns: u64, prompt_tokens: u64) -> bool {
    let reasons = effort.is_some_and(|effort| effort != Effort::None);
    let attached: u64 = needs
        .iter()
        .map(|need| match need {
            Need::Vision => 1_000,
            Need::Files => 100,
            Need::Audio => 10,
            Need::Tools | Need::JsonSchema | Need::Reasoning => 0,
        })
        .sum();
    let (turns_fit, messages) = match endpoint {
        Endpoint::Chat | Endpoint::Messages | Endpoint::Responses => (attached == 0 || turns > 0, turns),
        _ => (attached == 0 && turns == 1, 0),
    };
    reasons == needs.contains(&Need::Reasoning) && turns_fit && prompt_tokens >= 3 + 4 * messages + attached
}

/// One draft for each combination of the facts that only some calls have together.
fn calls(facts: &[Fact]) -> Vec<Draft> {
    let draft = Draft {
        endpoint: Endpoint::Chat,
        effort: None,
        needs: Vec::new(),
        turns: 1,
        prompt_tokens: 5_000,
        stream: false,
        task: "unknown",
        max_cost: None,
        model: "auto".into(),
        labels: BTreeMap::new(),
        headers: Vec::new(),
        output_limit: 1,
        caller: None,
        tags: BTreeMap::new(),
        spent: BTreeMap::new(),
    };
    let mut all = World { drafts: vec![draft], random: None };
    let mut tokens = vec![5_000];
    tokens.extend(
        [0, 2, 3, 7, 11, 12, 106, 107, 1_006, 1_007, 1_106].into_iter().flat_map(|bound: u64| [bound.saturating_sub(1), bound, bound + 1]),
    );
    let sets = |needs: &[Need]| -> Vec<Vec<Need>> {
        (0..1_usize << needs.len())
            .map(|set| needs.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, need)| *need).collect())
            .collect()
    };
    all.vary(&Endpoint::ALL, |draft, endpoint| draft.endpoint = *endpoint);
    let efforts = [None, Some(Effort::None), Some(Effort::Low), Some(Effort::High), Some(Effort::Max)];
    all.vary(&efforts, |draft, effort| draft.effort = *effort);
    all.vary(&sets(&[Need::Tools, Need::Vision, Need::Files, Need::Reasoning]), |draft, needs| draft.needs.clone_from(needs));
    all.vary(&[0, 1, 2, 3, 4, 5, 6], |draft, turns| draft.turns = *turns);
    all.vary(&tokens, |draft, tokens| draft.prompt_tokens = *tokens);
    let is_draft_possible = |draft: &Draft| is_possible(draft.endpoint, draft.effort, &draft.needs, draft.turns, draft.prompt_tokens);
    let mut seen = BTreeMap::new();
    for draft in all.drafts.into_iter().filter(is_draft_possible) {
        let has = |fact: Fact| facts.contains(&fact);
        let key = (
            has(Fact::Endpoint).then_some(draft.endpoint),
            has(Fact::Effort).then_some(draft.effort),
            has(Fact::Needs).then(|| draft.needs.clone()),
            has(Fact::Turns).then_some(draft.turns),
            has(Fact::PromptTokens).then_some(draft.prompt_tokens),
        );
        seen.entry(key).or_insert(draft);
    }
    seen.into_values().collect()
}

/// Every text of at most `longest` of these characters, the shortest first.
fn texts(characters: &str, longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut begin = 0;
    for _ in 0..longest {
        let end = all.len();
        for at in begin..end {
            all.extend(characters.chars().map(|c| format!("{}{c}", all[at])).collect::<Vec<_>>());
        }
        begin = end;
    }
    all
}

/// Of the texts of up to four of these characters, the shortest of each kind: one for every set of patterns that some text matches
/// and no more. Four characters are enough for every kind that the patterns of the files have, as `five_characters_tell_no_more` shows.
fn of_each_kind(characters: &str, patterns: &[&str], can_be: impl Fn(&str) -> bool) -> BTreeMap<Vec<bool>, String> {
    of_each_kind_up_to(4, characters, patterns, can_be)
}

fn of_each_kind_up_to(longest: usize, characters: &str, patterns: &[&str], can_be: impl Fn(&str) -> bool) -> BTreeMap<Vec<bool>, String> {
    let globs: Vec<Glob> = patterns.iter().map(|pattern| Glob::new(pattern)).collect();
    let mut kinds = BTreeMap::new();
    for text in texts(characters, longest).into_iter().filter(|text| can_be(text)) {
        kinds.entry(globs.iter().map(|glob| glob.matches(&text)).collect()).or_insert(text);
    }
    kinds
}

fn is_trimmed(text: &str) -> bool {
    text.trim() == text
}

/// What `auto/…` becomes is in the list, itself it cannot be. The file's own names are kinds for themselves: they are `known`.
fn models() -> Vec<String> {
    let own = ["auto", "p/m", "m", "p/ab", "ab"].map(str::to_owned);
    let kinds = of_each_kind("abxomp/", MODELS, |text| !text.is_empty() && !own.contains(&text.to_owned()));
    own.iter().cloned().chain(kinds.into_values()).collect()
}

fn labels() -> Vec<Option<String>> {
    std::iter::once(None).chain(of_each_kind("abx ", TEXTS, is_trimmed).into_values().map(Some)).collect()
}

/// What a tag can be that a label cannot, too.
fn tags() -> Vec<Option<String>> {
    std::iter::once(None).chain(of_each_kind("abx ä,", TEXTS, |_| true).into_values().map(Some)).collect()
}

/// Values that one header has: as few as match each set of patterns that some number of values match together.
fn headers() -> Vec<Vec<String>> {
    let kinds = of_each_kind("abx ,", TEXTS, is_trimmed);
    let mut sets = BTreeMap::from([(vec![false; TEXTS.len()], Vec::new())]);
    let mut open: VecDeque<(Vec<bool>, Vec<String>)> = sets.clone().into_iter().collect();
    while let Some((matched, values)) = open.pop_front() {
        for (kind, value) in &kinds {
            let both: Vec<bool> = matched.iter().zip(kind).map(|(one, other)| *one || *other).collect();
            // By number of values, so the first way to a set is the shortest.
            if !sets.contains_key(&both) {
                let values: Vec<String> = values.iter().chain([value]).cloned().collect();
                sets.insert(both.clone(), values.clone());
                open.push_back((both, values));
            }
        }
    }
    sets.into_values().collect()
}

fn window_named(name: &str) -> SpentWindow {
    SpentWindow { budget: 0, cap: usize::from(name == "b.day") }
}

fn features(draft: Draft) -> Features {
    let header = |(name, value): &(&'static str, String)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    let mut headers = HeaderMap::new();
    for (name, value) in draft.headers.iter().map(header) {
        headers.append(name, value);
    }
    // Whoever is a caller has the tags of its entry alone.
    let of_entry = draft.caller.and_then(|caller| CALLERS.iter().find(|(name, _)| *name == caller));
    let tags = match of_entry {
        Some((_, tags)) => tags.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        None => draft.tags,
    };
    Features {
        endpoint: draft.endpoint,
        requested_model: draft.model.into(),
        task: Task::declared(TaskName::parse(draft.task).unwrap()),
        max_cost: draft.max_cost.map(Usd::from_nano),
        labels: draft.labels.into(),
        headers: Arc::new(headers),
        caller: draft.caller.map(|name| CallerName::parse(name).unwrap()),
        tags: tags.into(),
        spent: draft.spent.into_iter().map(|(window, share)| (window_named(window), parse_share(share).unwrap())).collect(),
        effort: draft.effort,
        stream: draft.stream,
        answers: 1,
        output_limit: Some(Tokens::new(draft.output_limit)),
        prompt: Prompt::Stated { tokens: Some(Tokens::new(draft.prompt_tokens)), needs: draft.needs, turns: Some(draft.turns) },
        draw: 0,
    }
}

#[test]
fn five_characters_tell_no_more() {
    for (characters, patterns) in [("abx ä,", TEXTS), ("abxomp/", MODELS)] {
        let kinds = |longest| of_each_kind_up_to(longest, characters, patterns, |_| true).into_keys().collect::<Vec<_>>();
        assert_eq!(kinds(4), kinds(5), "{characters}");
    }
}
