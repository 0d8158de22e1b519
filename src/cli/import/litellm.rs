//! `LiteLLM`'s config.yaml after its documented form: `model_list`, `router_settings`, `litellm_settings`, `general_settings`.

mod budgets;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value};

use budgets::Budgets;

use super::Imported;
use crate::catalog::catalog;
use crate::config;

/// Prefixes of `litellm_params.model` whose providers speak `OpenAI`'s format: prefix, base URL, variable of the key.
const PREFIXES: [(&str, &str, &str); 18] = [
    ("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("text-completion-openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    ("deepseek", "https://api.deepseek.com", "DEEPSEEK_API_KEY"),
    ("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    ("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    ("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    ("moonshot", "https://api.moonshot.ai/v1", "MOONSHOT_API_KEY"),
    ("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ("together_ai", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    ("fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    ("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    ("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY"),
    ("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    ("ollama", "http://127.0.0.1:11434/v1", ""),
    ("ollama_chat", "http://127.0.0.1:11434/v1", ""),
    ("hosted_vllm", "", ""),
];
/// What of `litellm_params` is looked at; the rest is told.
const KNOWN_PARAMS: [&str; 15] = [
    "model",
    "api_base",
    "base_url",
    "api_key",
    "rpm",
    "tpm",
    "max_parallel_requests",
    "weight",
    "timeout",
    "stream_timeout",
    "input_cost_per_token",
    "output_cost_per_token",
    "order",
    "max_budget",
    "budget_duration",
];

/// The file of ours that does what `config` says, as far as it can.
pub(super) fn import(config: &Value) -> Imported {
    let mut import = Import::default();
    import.models(&config["model_list"]);
    import.settings(config);
    let text = import.written();
    // Canonical, unless something in it cannot be laid out: then it stays as it was written.
    Imported { text: config::format(&text).unwrap_or(text), left: import.left }
}

#[derive(Default)]
struct Import {
    providers: Vec<Provider>,
    /// Model groups by name, in the order of the file.
    groups: Vec<Group>,
    /// Of each group: the groups that follow when it fails.
    fallbacks: BTreeMap<String, Vec<String>>,
    /// The same for answers that a content policy stopped.
    on_policy: BTreeMap<String, Vec<String>>,
    for_all: Vec<String>,
    /// Other names of a group.
    aliases: Vec<(String, String)>,
    deadline: Option<String>,
    cooldown: Option<String>,
    has_retries: bool,
    budgets: Budgets,
    /// Provider → its cap.
    caps: BTreeMap<String, String>,
    left: Vec<String>,
}

struct Provider {
    name: String,
    base_url: String,
    key: Option<String>,
    /// Model → its settings in flow form.
    models: Vec<(String, String)>,
}

impl Provider {
    /// Whether the catalogue knows it under its name with this very address and key.
    fn is_known(&self) -> bool {
        let known = catalog().provider(&self.name).filter(|known| known.reachable().is_some_and(|(_, url)| url == self.base_url));
        known.is_some_and(|known| self.key.as_deref() == Some(&known.key_variable))
    }
}

struct Group {
    name: String,
    /// Target and weight.
    targets: Vec<(String, u64)>,
    deadline: Option<String>,
    first_content: Option<String>,
}

impl Import {
    fn models(&mut self, list: &Value) {
        for (index, entry) in list.as_array().into_iter().flatten().enumerate() {
            let place = format!("model_list[{index}]");
            let (Some(group), Some(params)) = (entry["model_name"].as_str(), entry["litellm_params"].as_object()) else {
                self.left.push(format!("{place}: it has no `model_name` and `litellm_params`"));
                continue;
            };
            for key in params.keys().filter(|key| !KNOWN_PARAMS.contains(&key.as_str())) {
                let why = match key.as_str() {
                    "api_version" | "azure_ad_token" => "it belongs to a format that is not yet supported",
                    _ => "there is no such setting here",
                };
                self.left.push(format!("{place}.litellm_params.{key}: {why}"));
            }
            if let Some(target) = self.target(&place, params, &entry["model_info"]) {
                match budgets::cap(params, "max_budget", "budget_duration") {
                    Some(Ok(cap)) => {
                        let (provider, model) = target.split_once('/').unwrap_or((&target, "*"));
                        self.budgets.add_model(provider, model, &cap);
                    }
                    Some(Err(why)) => self.left.push(format!("{place}.litellm_params.max_budget: {why}")),
                    None => {}
                }
                self.join_group(&place, group, target, params);
            }
        }
    }

    /// The target of one deployment, put under its provider.
    fn target(&mut self, place: &str, params: &Map<String, Value>, info: &Value) -> Option<String> {
        let model = params.get("model").and_then(Value::as_str)?;
        let (prefix, model) = model.split_once('/').unwrap_or(("openai", model));
        let Some((_, base, variable)) = PREFIXES.iter().find(|(known, ..)| *known == prefix) else {
            self.left.push(format!("{place}: `{prefix}` speaks a format that is not yet supported"));
            return None;
        };
        if model.contains('*') {
            self.left.push(format!("{place}: a wildcard in `{prefix}/{model}`: list the models that are meant"));
            return None;
        }
        let base = text(params, &["api_base", "base_url"]).unwrap_or((*base).to_owned());
        if base.is_empty() {
            self.left.push(format!("{place}: `{prefix}` needs an `api_base`"));
            return None;
        }
        let key = self.key(place, params.get("api_key").and_then(Value::as_str), variable);
        let settings = model_settings(params, info);
        let provider = self.provider(prefix, base.trim_end_matches('/').to_owned(), key);
        if let Some((_, known)) = provider.models.iter().find(|(known, _)| known == model) {
            if *known != settings {
                let message = format!("{place}: `{prefix}/{model}` is listed twice with different settings; the first ones stand");
                let name = provider.name.clone();
                self.left.push(message);
                return Some(format!("{name}/{model}"));
            }
        } else {
            provider.models.push((model.to_owned(), settings));
        }
        Some(format!("{}/{model}", provider.name))
    }

    /// The reference for a key: never the key itself.
    fn key(&mut self, place: &str, key: Option<&str>, variable: &str) -> Option<String> {
        match key {
            Some(key) if key.starts_with("os.environ/") => Some(key.trim_start_matches("os.environ/").to_owned()),
            Some(_) if variable.is_empty() => {
                self.left.push(format!("{place}.litellm_params.api_key: a key in plain text; put it into LOCAL_API_KEY"));
                Some("LOCAL_API_KEY".into())
            }
            Some(_) => {
                self.left.push(format!("{place}.litellm_params.api_key: a key in plain text; put it into {variable}"));
                Some(variable.to_owned())
            }
            None => (!variable.is_empty()).then(|| variable.to_owned()),
        }
    }

    fn provider(&mut self, prefix: &str, base_url: String, key: Option<String>) -> &mut Provider {
        let at = self.providers.iter().position(|known| known.base_url == base_url && known.key == key);
        let at = at.unwrap_or_else(|| {
            let base = prefix.replace('_', "-");
            let taken = |name: &str, all: &[Provider]| all.iter().any(|known| known.name == name);
            let mut name = base.clone();
            let mut number = 2;
            while taken(&name, &self.providers) {
                name = format!("{base}-{number}");
                number += 1;
            }
            self.providers.push(Provider { name, base_url, key, models: Vec::new() });
            self.providers.len() - 1
        });
        &mut self.providers[at]
    }

    fn join_group(&mut self, place: &str, name: &str, target: String, params: &Map<String, Value>) {
        let weight = params.get("weight").and_then(Value::as_u64).filter(|weight| *weight > 0).unwrap_or(1);
        let at = self.groups.iter().position(|known| known.name == name).unwrap_or(self.groups.len());
        if at == self.groups.len() {
            self.groups.push(Group { name: name.to_owned(), targets: Vec::new(), deadline: None, first_content: None });
        }
        let group = &mut self.groups[at];
        group.deadline = group.deadline.take().or_else(|| seconds(params.get("timeout")));
        group.first_content = group.first_content.take().or_else(|| seconds(params.get("stream_timeout")));
        if group.targets.iter().any(|(known, _)| *known == target) {
            self.left.push(format!("{place}: `{target}` serves `{name}` already"));
        } else {
            group.targets.push((target, weight));
        }
    }

    fn settings(&mut self, config: &Value) {
        self.has_retries = true;
        for section in ["router_settings", "litellm_settings", "general_settings"] {
            self.caps(section, &config[section]);
            for (key, value) in config[section].as_object().into_iter().flatten() {
                if !self.setting(key, value) {
                    let why = reason(key);
                    self.left.push(format!("{section}.{key}: {why}"));
                }
            }
        }
        let sections = ["model_list", "router_settings", "litellm_settings", "general_settings"];
        for key in config.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| !sections.contains(&key.as_str())) {
            self.left.push(format!("{key}: {}", reason(key)));
        }
    }

    /// Budgets over everything, and of providers.
    fn caps(&mut self, section: &str, settings: &Value) {
        let Some(settings) = settings.as_object() else { return };
        match budgets::cap(settings, "max_budget", "budget_duration") {
            Some(Ok(cap)) => self.budgets.add_all(&cap),
            Some(Err(why)) => self.left.push(format!("{section}.max_budget: {why}")),
            None => {}
        }
        for (provider, config) in settings.get("provider_budget_config").and_then(Value::as_object).into_iter().flatten() {
            let place = format!("{section}.provider_budget_config.{provider}");
            let name = provider.replace('_', "-");
            let limit = if config["budget_limit"].is_null() { "max_budget" } else { "budget_limit" };
            let duration = if config["time_period"].is_null() { "budget_duration" } else { "time_period" };
            match config.as_object().and_then(|config| budgets::cap(config, limit, duration)) {
                Some(Ok(cap)) if self.providers.iter().any(|known| known.name == name) => drop(self.caps.insert(name, cap)),
                Some(Ok(_)) => self.left.push(format!("{place}: no model of `{provider}` came over")),
                Some(Err(why)) => self.left.push(format!("{place}: {why}")),
                None => self.left.push(format!("{place}: it names no amount")),
            }
        }
    }

    /// True when the setting was carried over, or asks for what is so anyway.
    fn setting(&mut self, key: &str, value: &Value) -> bool {
        match key {
            // A prompt that is too long goes on to larger windows by itself.
            "fallbacks" | "context_window_fallbacks" => follow(value, &mut self.fallbacks),
            "content_policy_fallbacks" => follow(value, &mut self.on_policy),
            "default_fallbacks" => self.for_all.extend(names(value)),
            "model_group_alias" => {
                for (alias, group) in value.as_object().into_iter().flatten() {
                    let group = group.as_str().or_else(|| group["model"].as_str());
                    self.aliases.extend(group.map(|group| (alias.clone(), group.to_owned())));
                }
            }
            "timeout" | "request_timeout" => self.deadline = seconds(Some(value)),
            "num_retries" => self.has_retries = value.as_u64() != Some(0),
            "allowed_fails" => self.cooldown = value.as_u64().map(|fails| format!("after: {}", fails.max(1))),
            "cooldown_time" => {
                let rest = seconds(Some(value)).map(|rest| format!("rest: {rest}"));
                let both: Vec<String> = self.cooldown.take().into_iter().chain(rest).collect();
                self.cooldown = (!both.is_empty()).then(|| both.join(", "));
            }
            "routing_strategy" => return value == "simple-shuffle",
            "max_budget" | "budget_duration" | "provider_budget_config" => {}
            "enable_pre_call_checks" => return value.as_bool() == Some(true),
            _ => return false,
        }
        true
    }

    fn written(&mut self) -> String {
        let mut out = String::from("# From a config.yaml of LiteLLM's proxy. `tollgate check` says whether it is sound.\nversion: 1\n");
        // Writing to a String cannot fail.
        let mut line = |words: &str| _ = writeln!(out, "{words}");
        if let Some(deadline) = &self.deadline {
            line(&format!("server:\n  deadline: {deadline}"));
        }
        if let Some(cooldown) = &self.cooldown {
            line(&format!("defaults:\n  cooldown: {{ {cooldown} }}"));
        }
        line("providers:");
        for provider in &self.providers {
            line(&format!("  {}:", provider.name));
            // What the catalogue says of it need not be said again.
            if !provider.is_known() {
                line(&format!("    format: openai\n    base_url: {}", provider.base_url));
                provider.key.iter().for_each(|key| line(&format!("    api_key: ${{{key}}}?")));
            }
            if let Some(cap) = self.caps.get(&provider.name) {
                line(&format!("    budget: {{ cap: {cap}, mode: soft }}"));
            }
            line("    models:");
            for (model, settings) in &provider.models {
                line(&format!("      {}: {{ {settings} }}", quoted(model)));
            }
        }
        let budgets = self.budgets.written();
        if !budgets.is_empty() {
            line(&format!("\n{budgets}"));
        }
        line("rules:");
        let mut used = BTreeSet::new();
        for group in &self.groups {
            line(&self.rule(group, &mut used));
        }
        line("default: refuse");
        for (alias, group) in &self.aliases {
            if !self.groups.iter().any(|known| known.name == *group) {
                self.left.push(format!("router_settings.model_group_alias.{alias}: there is no group `{group}`"));
            }
        }
        out
    }

    fn rule(&self, group: &Group, used: &mut BTreeSet<String>) -> String {
        let aliases = self.aliases.iter().filter(|(_, of)| *of == group.name).map(|(alias, _)| alias.as_str());
        let models: Vec<String> = std::iter::once(group.name.as_str()).chain(aliases).map(quoted).collect();
        let models = if models.len() == 1 { models[0].clone() } else { format!("[{}]", models.join(", ")) };
        let mut steps = vec![pool(&group.targets)];
        let mut seen: BTreeSet<&str> = group.targets.iter().map(|(target, _)| target.as_str()).collect();
        let policy = self.on_policy.get(&group.name);
        let next = self.fallbacks.get(&group.name).into_iter().chain(policy).flatten().chain(&self.for_all);
        for target in next.filter_map(|name| self.groups.iter().find(|known| known.name == *name)).flat_map(|group| &group.targets) {
            if seen.insert(&target.0) {
                steps.push(quoted(&target.0));
            }
        }
        let mut text =
            format!("  - name: {}\n    match: {{ model: {models} }}\n    chain: [{}]", rule_name(&group.name, used), steps.join(", "));
        text.extend(group.deadline.as_ref().map(|deadline| format!("\n    deadline: {deadline}")));
        text.extend(group.first_content.as_ref().map(|wait| format!("\n    timeouts: {{ first_content: {wait} }}")));
        text.extend(policy.map(|_| "\n    fallback_on: [content_policy]".to_owned()));
        text.extend((!self.has_retries).then(|| "\n    retry: false".to_owned()));
        text
    }
}

/// One target, or several of which each request draws one.
fn pool(targets: &[(String, u64)]) -> String {
    match targets {
        [(target, _)] => quoted(target),
        _ if targets.iter().all(|(_, weight)| *weight == 1) => {
            format!("{{ pick: split, of: [{}] }}", targets.iter().map(|(target, _)| quoted(target)).collect::<Vec<_>>().join(", "))
        }
        _ => {
            let members = targets.iter().map(|(target, weight)| format!("{{ target: {}, weight: {weight} }}", quoted(target)));
            format!("{{ pick: split, of: [{}] }}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Why a setting stays behind.
fn reason(key: &str) -> &'static str {
    match key {
        "master_key" => "each caller has a key of its own, known by its hash: `tollgate key new NAME`, or `tollgate key hash` for this one",
        "salt_key" => "the file holds hashes of keys, so that there is nothing to encrypt",
        "max_internal_user_budget" | "internal_user_budget_duration" | "max_end_user_budget" | "default_internal_user_params" => {
            "a budget is of a caller that has an entry: `callers: { name: { key: …, budget: $50/month } }`"
        }
        "upperbound_key_generate_params" | "default_key_generate_params" | "default_team_settings" => {
            "keys are entries under `callers`, each with its limits, budget and `allow`"
        }
        "database_url" | "store_model_in_db" | "database_connection_pool_limit" => "tollgate needs no database: the file is all there is",
        "redis_host" | "redis_port" | "redis_password" | "redis_url" => "one daemon keeps its own counters",
        "success_callback" | "failure_callback" | "callbacks" | "alerting" => "tollgate writes records and metrics of its own",
        "cache" | "cache_params" => "answers are never cached",
        "drop_params" => "parameters pass through as they came",
        "routing_strategy" => "members of a pool are drawn by weight",
        "guardrails" | "mcp_servers" | "vector_store_registry" => "it is no routing",
        "environment_variables" => "variables belong into the environment of the daemon",
        _ => "there is no such setting here",
    }
}

/// `[{ a: [b, c] }]` as a list of names by name.
fn follow(value: &Value, into: &mut BTreeMap<String, Vec<String>>) {
    for (group, next) in value.as_array().into_iter().flatten().filter_map(Value::as_object).flatten() {
        let known = into.entry(group.clone()).or_default();
        known.extend(names(next));
    }
}

fn names(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(ToOwned::to_owned).collect()
}

/// The settings of a model in flow form.
fn model_settings(params: &Map<String, Value>, info: &Value) -> String {
    let mut settings = Vec::new();
    let cost = |key: &str| params.get(key).or_else(|| info.get(key)).and_then(per_million);
    if let (Some(input), Some(output)) = (cost("input_cost_per_token"), cost("output_cost_per_token")) {
        settings.push(format!("usd_per_mtok: {{ input: {input}, output: {output} }}"));
    }
    for (key, theirs) in [("context", "max_input_tokens"), ("max_output", "max_output_tokens")] {
        settings.extend(info[theirs].as_u64().map(|count| format!("{key}: {count}")));
    }
    let rates = [("requests", "rpm"), ("tokens", "tpm")]
        .into_iter()
        .filter_map(|(limit, theirs)| Some(format!("{limit}: {}/min", params.get(theirs)?.as_u64().filter(|rate| *rate > 0)?)));
    let at_once = params.get("max_parallel_requests").and_then(Value::as_u64).map(|count| format!("concurrent: {count}"));
    let limits: Vec<String> = rates.chain(at_once).collect();
    if !limits.is_empty() {
        settings.push(format!("limits: {{ {} }}", limits.join(", ")));
    }
    settings.join(", ")
}

/// A price per token as one per million tokens: the point moves by six digits, and nothing is rounded.
fn per_million(value: &Value) -> Option<String> {
    let text = value.as_number()?.to_string();
    let (digits, exponent) = match text.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (text.as_str(), 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    let point = i32::try_from(whole.len()).ok()? + exponent + 6;
    let shifted = match usize::try_from(point) {
        Ok(point) if point < all.len() => format!("{}.{}", &all[..point], &all[point..]),
        Ok(point) => format!("{all:0<point$}"),
        Err(_) => format!("0.{}{all}", "0".repeat(usize::try_from(-point).ok()?)),
    };
    let (whole, part) = shifted.split_once('.').unwrap_or((&shifted, ""));
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") })
}

/// A number of seconds as a duration.
fn seconds(value: Option<&Value>) -> Option<String> {
    let value = value?;
    value.as_u64().map(|seconds| format!("{seconds}s")).or_else(|| value.as_number().map(|seconds| format!("{seconds}s")))
}

fn text(params: &Map<String, Value>, keys: &[&str]) -> Option<String> {
    keys.iter().find_map(|key| params.get(*key)?.as_str()).map(ToOwned::to_owned)
}

/// A text that YAML reads as itself inside brackets.
fn quoted(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        && text.bytes().any(|byte| byte.is_ascii_alphabetic());
    if is_plain { text.to_owned() } else { format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")) }
}

/// A rule's name from a group's: letters that names do not have become dashes.
fn rule_name(group: &str, used: &mut BTreeSet<String>) -> String {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let name: String = group.to_ascii_lowercase().chars().map(|c| if fits(c) { c } else { '-' }).take(56).collect();
    let name = name.trim_matches(['-', '.', '_']);
    let base =
        if name.is_empty() || name == "default" { format!("model-{name}").trim_end_matches('-').to_owned() } else { name.to_owned() };
    let mut unique = base.clone();
    let mut number = 2;
    while !used.insert(unique.clone()) {
        unique = format!("{base}-{number}");
        number += 1;
    }
    unique
}

#[cfg(test)]
mod tests;
