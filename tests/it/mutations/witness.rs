//! What a text holds, told by another reader than tollgate's: plain YAML as JSON, walked key by key.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::config::as_json;

/// Deepest nesting of named chains and of copies that is followed.
const DEEPEST: usize = 8;

/// What stood in the one text and stands no more in the other: limits, prices, rules, conditions, steps and the like, as `losses` names
/// them. Whatever loads can be read by any YAML reader.
pub(super) fn lost(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (Held::of(&as_json(before).unwrap()), Held::of(&as_json(after).unwrap()));
    before.0.difference(&after.0).cloned().collect()
}

/// Whether a thing is named, by itself or by what it belonged to.
pub(super) fn is_told(thing: &str, told: &[String]) -> bool {
    told.iter().any(|name| thing == name || thing.ends_with(&format!(" of {name}")))
}

/// The names of all that a file holds.
#[derive(Default)]
struct Held(BTreeSet<String>);

impl Held {
    fn of(file: &Value) -> Self {
        let mut held = Self::default();
        held.keys("`server`", &["deadline", "stream_deadline", "connections", "body_limit", "max_n"], &file["server"]);
        for (name, own) in entries(&file["providers"]) {
            held.provider(name, &merged(own, &file["providers"], DEEPEST), file);
        }
        for (name, budget) in entries(&file["budgets"]) {
            held.budget(&format!("budget `{name}`"), budget, budget);
        }
        for (name, caller) in entries(&file["callers"]) {
            let about = format!("caller `{name}`");
            held.0.insert(about.clone());
            held.keys(&about, &["allow", "expires"], caller);
            held.limits(&about, &caller["limits"]);
            entries(&caller["tags"]).for_each(|(tag, _)| held.add(&about, &format!("tags.{tag}")));
            held.budget(&format!("budget of {about}"), &caller["budget"], &Value::Null);
            let keys = caller["keys"].as_array().cloned().unwrap_or_else(|| vec![caller["keys"].clone()]);
            for key in keys.iter().chain([&caller["key"]]) {
                let hash = key.as_str().or_else(|| key["sha256"].as_str()).unwrap_or_default().trim_start_matches("sha256:");
                if let Some(short) = hash.get(..8) {
                    held.add(&about, &format!("key {}", short.to_lowercase()));
                }
            }
        }
        for (key, strict) in [("durability", "strict")] {
            if file["ledger"][key] == *strict {
                held.add("`ledger`", &format!("`{key}: {strict}`"));
            }
        }
        held.keys("`alerts`", &["webhook"], &file["alerts"]);
        for rule in items(&file["rules"]) {
            let about = format!("rule `{}`", text(&rule["name"]));
            held.0.insert(about.clone());
            held.keys(&about, &["unless"], rule);
            held.conditions(&about, &rule["match"]);
            held.route(&about, rule, &file["chains"]);
        }
        match &file["default"] {
            Value::String(word) => held.0.extend([format!("`default: {word}`")]),
            route => held.route("`default`", route, &file["chains"]),
        }
        held.0.extend(items(&file["tests"]).map(|test| format!("test `{}`", text(&test["name"]))));
        held
    }

    fn add(&mut self, about: &str, key: &str) {
        self.0.insert(format!("{key} of {about}"));
    }

    /// Those of the keys that a map has.
    fn keys(&mut self, about: &str, keys: &[&str], map: &Value) {
        keys.iter().filter(|key| !map[**key].is_null()).for_each(|key| self.add(about, key));
    }

    fn limits(&mut self, about: &str, limits: &Value) {
        let all = ["requests", "tokens", "concurrent"];
        all.into_iter().filter(|limit| !limits[*limit].is_null()).for_each(|limit| self.add(about, &format!("limits.{limit}")));
    }

    /// `said` holds the caps, `around` what else belongs to the budget.
    fn budget(&mut self, about: &str, said: &Value, around: &Value) {
        if said.is_null() && around["pace"].is_null() {
            return;
        }
        self.0.insert(about.to_owned());
        self.keys(about, &["pace"], around);
        let caps = if said.is_object() { &said["cap"] } else { said };
        let caps = caps.as_array().cloned().unwrap_or_else(|| vec![caps.clone()]);
        for period in caps.iter().filter_map(|cap| cap.as_str()?.split_once('/')) {
            self.add(about, &format!("cap per {}", period.1.trim()));
        }
        self.keys(about, &["warn_at"], said);
        if said["mode"].is_null() || said["mode"] == "hard" {
            self.add(about, "`mode: hard`");
        }
        for (condition, value) in entries(&said["match"]) {
            match condition.as_str() {
                "tags" | "labels" => entries(value).for_each(|(name, _)| self.add(about, &format!("match.{condition}.{name}"))),
                _ => self.add(about, &format!("match.{condition}")),
            }
        }
    }

    fn provider(&mut self, name: &str, provider: &Value, file: &Value) {
        let about = format!("provider `{name}`");
        self.0.insert(about.clone());
        self.keys(&about, &["api_key", "proxy"], provider);
        let known = known(name, provider);
        if !known.is_null() && (provider["base_url"].is_null() || text(&provider["base_url"]).starts_with(&host(&known["url"]))) {
            self.add(&about, "api_key");
        }
        self.limits(&about, &provider["limits"]);
        self.budget(&format!("budget of {about}"), &provider["budget"], provider);
        let cooldown = if provider["cooldown"].is_null() { &file["defaults"]["cooldown"] } else { &provider["cooldown"] };
        if *cooldown != "off" {
            self.add(&about, "cooldown");
        }
        for (model, own) in entries(&provider["models"]) {
            self.model(&format!("model `{name}/{model}`"), own, provider, &fact(&known, model));
        }
        let chains = [&file["chains"], &file["rules"], &file["default"]].map(Value::to_string).concat();
        for fact in items(&known["models"]).filter(|fact| provider["models"][text(&fact["name"])].is_null()) {
            if provider["models"].is_null() || chains.contains(&format!("\"{name}/{}\"", text(&fact["name"]))) {
                self.model(&format!("model `{name}/{}`", text(&fact["name"])), &Value::Null, provider, fact);
            }
        }
    }

    fn model(&mut self, about: &str, own: &Value, provider: &Value, fact: &Value) {
        self.0.insert(about.to_owned());
        self.limits(about, &own["limits"]);
        let said =
            |key: &str| [own, provider, fact].into_iter().map(|one| &one[key]).find(|value| !value.is_null()).cloned().unwrap_or_default();
        for key in ["max_output_tokens", "usd_per_call", "flat_usd", "image_tokens", "context", "max_output", "can"] {
            if !said(key).is_null() {
                self.add(about, key);
            }
        }
        let prices = said("usd_per_mtok");
        if !prices.is_null() || provider["format"] == "sandbox" {
            self.add(about, "prices");
        }
        for part in ["cache_read", "cache_write", "cache_write_1h", "audio_input", "audio_output"] {
            if !prices[part].is_null() {
                self.add(about, &format!("the {part} price"));
            }
        }
        (1..=items(&prices["tiers"]).count()).for_each(|tier| self.add(about, &format!("price tier {tier}")));
    }

    fn conditions(&mut self, about: &str, matches: &Value) {
        for (condition, value) in entries(matches) {
            match condition.as_str() {
                "tags" => entries(value).for_each(|(name, _)| self.add(about, &format!("match.tags.{name}"))),
                "spent" => {
                    for (window, range) in entries(value) {
                        self.add(about, &format!("match.spent.{window}"));
                        entries(range).for_each(|(bound, _)| self.add(about, &format!("match.spent.{window}.{bound}")));
                    }
                }
                "labels" => entries(value).for_each(|(name, _)| self.add(about, &format!("match.labels.{name}"))),
                "headers" => entries(value).for_each(|(name, _)| self.add(about, &format!("match.headers.{}", name.to_lowercase()))),
                _ => self.add(about, &format!("match.{condition}")),
            }
            for bound in ["min", "max"].into_iter().filter(|bound| !value[*bound].is_null()) {
                self.add(about, &format!("match.{condition}.{bound}"));
            }
        }
    }

    fn route(&mut self, about: &str, route: &Value, chains: &Value) {
        self.keys(about, &["deadline", "max_output_tokens"], route);
        if !route["on_ceiling"].is_null() && route["on_ceiling"] != "next_rule" {
            self.add(about, "on_ceiling");
        }
        self.steps(about, &route["chain"], chains, DEEPEST);
    }

    /// The steps of a chain, named chains unfolded.
    fn steps(&mut self, about: &str, chain: &Value, chains: &Value, depth: usize) {
        if depth == 0 {
            return;
        }
        if let Some(name) = chain.as_str() {
            return self.steps(about, &chains[name], chains, depth - 1);
        }
        for member in items(chain) {
            match member {
                Value::String(name) if name != "requested" && !name.contains('/') => self.steps(about, member, chains, depth),
                Value::Object(pool) if pool.contains_key("of") => self.steps(about, &pool["of"], chains, depth),
                step => {
                    let target = if step.is_object() { &step["target"] } else { step };
                    let about = format!("step `{}` of {about}", text(target));
                    self.keys(&about, &["max_output_tokens"], step);
                    entries(&step["set"]).for_each(|(field, _)| self.add(&about, &format!("set.{field}")));
                    self.0.insert(about);
                }
            }
        }
    }
}

/// What the catalogue's own file says of a provider; nothing of the offline one.
fn known(name: &str, provider: &Value) -> Value {
    let facts: Value = serde_json::from_str(include_str!("../../../src/catalog/facts.json")).unwrap();
    let name = provider["like"].as_str().unwrap_or(name);
    let found = items(&facts["providers"]).find(|known| known["name"] == name).filter(|_| provider["format"] != "sandbox");
    found.cloned().unwrap_or_default()
}

fn fact(known: &Value, model: &str) -> Value {
    items(&known["models"]).find(|fact| fact["name"] == model).cloned().unwrap_or_default()
}

/// The beginning of a URL up to the path.
fn host(url: &Value) -> String {
    text(url).splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

/// A provider with what `like` copies under it: maps joined key by key.
fn merged(own: &Value, providers: &Value, depth: usize) -> Value {
    match own["like"].as_str() {
        Some(base) if depth > 0 => over(own, &merged(&providers[base], providers, depth - 1)),
        _ => own.clone(),
    }
}

fn over(own: &Value, below: &Value) -> Value {
    match (own, below) {
        (Value::Object(own), Value::Object(below)) => {
            let mut joined = below.clone();
            for (key, value) in own {
                let value = joined.get(key).map_or_else(|| value.clone(), |below| over(value, below));
                joined.insert(key.clone(), value);
            }
            Value::Object(joined)
        }
        (own, _) => own.clone(),
    }
}

fn entries(map: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map.as_object().into_iter().flatten()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

/// A scalar as it is written.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
