//! What many rows have in common, written once: contexts, terms and sets of windows. Each is known by its hash, which the hashes of the
//! rows that name it cover.

use std::fmt::Write as _;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, ToSql};
use sha2::{Digest, Sha256};

use super::row::Hash;
use crate::units::{CallerName, Pairs, Price, Prices, QuickMap, RequestFacts, RuleName, TargetName, TaskName, WindowKey};

/// Beyond so many the memory of a table begins anew; the table itself goes on.
const REMEMBERED: usize = 20_000;

/// A row of a dictionary: its id and what it is proved by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ref {
    pub(super) id: i64,
    pub(super) hash: Hash,
}

/// A set of windows and the ids of its members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WindowSet {
    pub(super) named: Ref,
    pub(super) windows: Arc<[i64]>,
}

/// The dictionaries as far as this process has used them.
#[derive(Debug, Default)]
pub(super) struct Dictionary {
    contexts: QuickMap<ContextKey, Ref>,
    /// The context that was asked for last: the next is often the same.
    last: Option<(ContextKey, Ref)>,
    terms: QuickMap<TermsKey, Ref>,
    last_terms: Option<(TermsKey, Ref)>,
    sets: QuickMap<Arc<[WindowKey]>, WindowSet>,
    last_set: Option<(Arc<[WindowKey]>, WindowSet)>,
}

/// The texts of a context, shared with the requests that it was met in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ContextKey {
    endpoint: &'static str,
    rule: Option<RuleName>,
    caller: Option<CallerName>,
    tags: Pairs,
    task: TaskName,
    target: Option<TargetName>,
    revision: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TermsKey {
    served_model: Option<Arc<str>>,
    prices: Option<SamePrices>,
}

/// The prices of one rule set, known by where they are: they are kept, so that nothing else can come to be there.
#[derive(Clone, Debug)]
struct SamePrices(Arc<Prices>);

impl PartialEq for SamePrices {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for SamePrices {}

impl std::hash::Hash for SamePrices {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl ContextKey {
    fn is_of(&self, facts: &RequestFacts, target: Option<&TargetName>) -> bool {
        self.endpoint == facts.endpoint.as_str()
            && self.target.as_ref() == target
            && self.rule == facts.rule
            && self.caller == facts.caller
            && self.task == facts.task
            && self.revision == facts.revision
            && self.tags == facts.tags
    }
}

impl TermsKey {
    fn is_of(&self, served_model: Option<&Arc<str>>, prices: Option<&Arc<Prices>>) -> bool {
        let are_same = match (&self.prices, prices) {
            (Some(SamePrices(own)), Some(prices)) => Arc::ptr_eq(own, prices),
            (own, prices) => own.is_none() && prices.is_none(),
        };
        are_same && self.served_model.as_ref() == served_model
    }
}

impl Dictionary {
    /// The context of a request, and of the target that an attempt of it went to.
    pub(super) fn context(&mut self, facts: &RequestFacts, target: Option<&TargetName>, connection: &Connection) -> rusqlite::Result<Ref> {
        if let Some((_, known)) = self.last.as_ref().filter(|(key, _)| key.is_of(facts, target)) {
            return Ok(*known);
        }
        let key = ContextKey {
            endpoint: facts.endpoint.as_str(),
            rule: facts.rule.clone(),
            caller: facts.caller.clone(),
            tags: facts.tags.clone(),
            task: facts.task.clone(),
            target: target.cloned(),
            revision: Arc::clone(&facts.revision),
        };
        if let Some(known) = self.contexts.get(&key).copied() {
            self.last = Some((key, known));
            return Ok(known);
        }
        let tags = words(&key.tags);
        let texts = [
            Some(key.endpoint),
            key.rule.as_ref().map(RuleName::as_str),
            key.caller.as_ref().map(CallerName::as_str),
            tags.as_deref(),
            Some(key.task.as_str()),
            key.target.as_ref().map(TargetName::as_str),
            Some(&*key.revision),
        ];
        let found = find_or_add(connection, &CONTEXTS, &texts)?;
        remember(&mut self.contexts, key, found);
        Ok(found)
    }

    /// What an attempt was counted with.
    pub(super) fn terms(
        &mut self,
        served_model: Option<&Arc<str>>,
        prices: Option<&Arc<Prices>>,
        connection: &Connection,
    ) -> rusqlite::Result<Option<Ref>> {
        if served_model.is_none() && prices.is_none() {
            return Ok(None);
        }
        if let Some((_, known)) = self.last_terms.as_ref().filter(|(key, _)| key.is_of(served_model, prices)) {
            return Ok(Some(*known));
        }
        let key = TermsKey { served_model: served_model.cloned(), prices: prices.cloned().map(SamePrices) };
        if let Some(known) = self.terms.get(&key).copied() {
            self.last_terms = Some((key, known));
            return Ok(Some(known));
        }
        let found = find_or_add(connection, &TERMS, &[key.served_model.as_deref(), prices.map(|prices| written(prices)).as_deref()])?;
        remember(&mut self.terms, key, found);
        Ok(Some(found))
    }

    /// The set that was met under these keys already.
    pub(super) fn known_set(&mut self, keys: &Arc<[WindowKey]>) -> Option<WindowSet> {
        if let Some((_, set)) = self.last_set.as_ref().filter(|(last, _)| Arc::ptr_eq(last, keys)) {
            return Some(set.clone());
        }
        let set = self.sets.get(keys)?.clone();
        self.last_set = Some((Arc::clone(keys), set.clone()));
        Some(set)
    }

    /// The set of these windows, whose ids are told.
    pub(super) fn set(&mut self, keys: Arc<[WindowKey]>, windows: Vec<i64>, connection: &Connection) -> rusqlite::Result<WindowSet> {
        let named = find_or_add(connection, &SETS, &[Some(&listed(&windows))])?;
        let set = WindowSet { named, windows: windows.into() };
        remember(&mut self.sets, keys, set.clone());
        Ok(set)
    }

    /// Names of budgets mean other windows from now on.
    pub(super) fn forget_sets(&mut self) {
        self.sets.clear();
        self.last_set = None;
    }
}

fn remember<K: std::hash::Hash + Eq, V>(known: &mut QuickMap<K, V>, key: K, value: V) {
    if known.len() >= REMEMBERED {
        known.clear();
    }
    known.insert(key, value);
}

/// A dictionary's table.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    find: &'static str,
    add: &'static str,
    /// All rows: id, hash, then the texts in the order in which they are hashed.
    pub(super) all: &'static str,
    pub(super) texts: usize,
}

pub(super) const CONTEXTS: Table = Table {
    name: "contexts",
    find: "SELECT id FROM contexts WHERE hash = ?",
    add: "INSERT INTO contexts (hash, endpoint, rule, caller, tags, task, target, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    all: "SELECT id, hash, endpoint, rule, caller, tags, task, target, revision FROM contexts",
    texts: 7,
};
pub(super) const TERMS: Table = Table {
    name: "terms",
    find: "SELECT id FROM terms WHERE hash = ?",
    add: "INSERT INTO terms (hash, served_model, prices) VALUES (?, ?, ?)",
    all: "SELECT id, hash, served_model, prices FROM terms",
    texts: 2,
};
pub(super) const SETS: Table = Table {
    name: "window_sets",
    find: "SELECT id FROM window_sets WHERE hash = ?",
    add: "INSERT INTO window_sets (hash, windows) VALUES (?, ?)",
    all: "SELECT id, hash, windows FROM window_sets",
    texts: 1,
};

fn find_or_add(connection: &Connection, table: &Table, texts: &[Option<&str>]) -> rusqlite::Result<Ref> {
    let hash = hash_of(texts);
    if let Some(id) = connection.prepare_cached(table.find)?.query_row([&hash[..]], |row| row.get(0)).optional()? {
        return Ok(Ref { id, hash });
    }
    let first: &[u8] = &hash;
    let mut values: Vec<&dyn ToSql> = vec![&first];
    values.extend(texts.iter().map(|text| text as &dyn ToSql));
    let id = connection.prepare_cached(table.add)?.insert(&values[..])?;
    Ok(Ref { id, hash })
}

/// What a dictionary's row is known by: all of its texts.
pub(super) fn hash_of(texts: &[Option<&str>]) -> Hash {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.map_or(u64::MAX, |text| text.len() as u64).to_le_bytes());
        hasher.update(text.unwrap_or_default());
    }
    hasher.finalize().into()
}

/// `3,17`: ids as a set's row lists them.
fn listed(windows: &[i64]) -> String {
    windows.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The ids that a set's row lists; nothing where it is no list.
pub(super) fn unlisted(text: &str) -> Option<Vec<i64>> {
    text.split(',').filter(|id| !id.is_empty()).map(|id| id.parse().ok()).collect()
}

/// Tags or labels as a JSON object; nothing where there are none.
pub(super) fn words(words: &Pairs) -> Option<String> {
    if words.is_empty() { None } else { serde_json::to_string(words).ok() }
}

/// Dollars per million tokens, by part, as a JSON object.
fn written(prices: &Prices) -> String {
    let mut text = String::from("{");
    let mut add = |name: &str, price: Option<Price>| {
        if let Some(price) = price {
            let comma = if text.len() > 1 { "," } else { "" };
            write!(text, "{comma}\"{name}\":\"{}\"", price.per_mtok().plain()).ok();
        }
    };
    add("input", Some(prices.input));
    add("output", Some(prices.output));
    add("cache_read", prices.cache_read);
    add("cache_write", prices.cache_write);
    add("cache_write_1h", prices.cache_write_1h);
    add("audio_input", prices.audio_input);
    add("audio_output", prices.audio_output);
    for tier in &prices.tiers {
        let above = tier.above.count();
        add(&format!("input_above_{above}"), Some(tier.input));
        add(&format!("output_above_{above}"), Some(tier.output));
        add(&format!("cache_read_above_{above}"), tier.cache_read);
    }
    text.push('}');
    text
}
