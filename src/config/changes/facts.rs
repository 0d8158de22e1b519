//! A checked configuration as plain facts: every thing that has a name, and all that is said of it, in the words of the file.
//!
//! Each type is taken apart whole, so that a setting which is added later cannot be forgotten here.

mod money;

use std::fmt::Display;
use std::time::Duration;

use super::Kind;
use crate::config::checked::{
    Bounds, Chain, Checked, Classify, ClassifyWhen, Conditions, CooldownPolicy, CostSource, DefaultRule, Eval, Expect, FallbackOn, Given,
    Key, Limits, Member, ModelPattern, OnCeiling, OnClientDisconnect, OwnLabel, Pick, Pool, Provider, Proxy, Route, Rule, Sandbox, Server,
    Target, Test, TimeoutChanges, Timeouts, UnsupportedParams, Use,
};
use crate::config::decode::At;
use crate::config::shapes::spelled;
use crate::units::{Effort, Lack, OnDisconnect, Prices, Quirks, Rate, Replay, Tier};

/// A thing of the file, and what is said of it.
pub(super) struct Thing {
    pub(super) kind: Kind,
    /// Empty where there is but one.
    pub(super) name: String,
    pub(super) facts: Vec<Fact>,
}

pub(super) struct Fact {
    /// `limits.requests`.
    pub(super) key: String,
    /// As the file would say it, without anything secret.
    pub(super) shown: String,
    /// What decides whether it changed; never printed.
    pub(super) exact: String,
}

/// Everything, in the order of the file.
pub(super) fn things(file: &Checked) -> Vec<Thing> {
    let Checked { files: _, server, providers, targets, rules, default, tests, budgets, callers, classify, ledger, alerts, evals } = file;
    let thing = |kind, name: &dyn Display, facts: Facts| Thing { kind, name: name.to_string(), facts: facts.0 };
    let mut all = vec![thing(Kind::Server, &"", of_server(server))];
    all.extend(providers.iter().map(|provider| thing(Kind::Provider, &provider.name, of_provider(provider))));
    all.extend(targets.iter().map(|target| thing(Kind::Model, &target.name, of_target(target))));
    all.extend(budgets.iter().map(|budget| thing(Kind::Budget, &budget.name, money::of_budget(budget, file))));
    all.extend(callers.iter().map(|caller| thing(Kind::Caller, &caller.name, money::of_caller(caller))));
    all.push(thing(Kind::Classify, &"", of_classify(classify)));
    all.push(thing(Kind::Ledger, &"", money::of_ledger(ledger)));
    all.push(thing(Kind::Alerts, &"", money::of_alerts(alerts)));
    all.extend(rules.iter().map(|rule| thing(Kind::Rule, &rule.name, of_rule(rule, file))));
    let mut facts = Facts::default();
    match default {
        DefaultRule::Refuse => facts.say("chain", "refuse"),
        DefaultRule::Route(route) => of_route(&mut facts, route, file),
    }
    all.push(thing(Kind::Default, &"", facts));
    all.extend(evals.iter().map(|eval| {
        let Eval { task, target, score, n, date, place: _ } = eval;
        let name = file.targets.get(*target).map(|target| target.name.to_string()).unwrap_or_default();
        let mut facts = Facts::default();
        facts.say("score", score);
        facts.some("n", *n);
        facts.some("date", *date);
        Thing { kind: Kind::Score, name: format!("{name} for {task}"), facts: facts.0 }
    }));
    all.extend(tests.iter().map(|test| thing(Kind::Test, &test.name, of_test(test, file))));
    all
}

#[derive(Default)]
struct Facts(Vec<Fact>);

impl Facts {
    fn say(&mut self, key: &str, value: impl Display) {
        let shown = value.to_string();
        self.0.push(Fact { key: key.into(), exact: shown.clone(), shown });
    }

    fn some(&mut self, key: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.say(key, value);
        }
    }

    /// Only what is on is said.
    fn flag(&mut self, key: &str, is_on: bool) {
        self.some(key, is_on.then_some(true));
    }

    fn secret(&mut self, key: &str, shown: impl Into<String>, exact: &str) {
        self.0.push(Fact { key: key.into(), shown: shown.into(), exact: exact.into() });
    }
}

fn of_server(server: &Server) -> Facts {
    let Server {
        listen,
        admin,
        open,
        deadline,
        stream_deadline,
        connections,
        body_limit,
        drain,
        early_head,
        state,
        max_n,
        on_client_disconnect,
    } = server;
    let mut facts = Facts::default();
    facts.say("listen", listen);
    facts.say("admin", admin);
    facts.some("callers", open.then_some("open"));
    facts.say("deadline", spelled(*deadline));
    facts.say("stream_deadline", spelled(*stream_deadline));
    facts.say("connections", connections);
    facts.say("body_limit", body_limit);
    facts.say("drain", spelled(*drain));
    facts.say("early_head", early_head.map_or("off".into(), spelled));
    facts.some("state", state.as_ref().map(|state| state.display()));
    facts.say("max_n", max_n);
    let word = match on_client_disconnect {
        OnClientDisconnect::Cancel => "cancel",
        OnClientDisconnect::Finish => "finish",
    };
    facts.say("on_client_disconnect", word);
    facts
}

fn of_provider(provider: &Provider) -> Facts {
    let Provider { name: _, format, base_url, key, limits, timeouts, cooldown, proxy, http1_only, on_disconnect, cost_source, sandbox } =
        provider;
    let mut facts = Facts::default();
    facts.say("format", format.as_str());
    facts.some("base_url", base_url.as_ref());
    match key {
        Key::NotNeeded => {}
        // Where a file is read as it is written, a reference stands for itself.
        Key::Present(secret) if secret.expose().starts_with("${") => facts.say("api_key", secret.expose()),
        Key::Present(secret) => facts.secret("api_key", "a key in plain text", secret.expose()),
        Key::Missing(source) => facts.say("api_key", format!("${{{source}}}")),
    }
    limits_told(&mut facts, limits);
    let Timeouts { connect, first_content, idle } = timeouts;
    facts.say("timeouts.connect", spelled(*connect));
    facts.say("timeouts.first_content", spelled(*first_content));
    facts.say("timeouts.idle", spelled(*idle));
    match cooldown {
        None => facts.say("cooldown", "off"),
        Some(CooldownPolicy { after, rest }) => facts.say("cooldown", format!("{{ after: {after}, rest: {} }}", spelled(*rest))),
    }
    match proxy {
        Proxy::None => {}
        Proxy::Env => facts.say("proxy", "env"),
        Proxy::Url(url) => facts.secret("proxy", url.host().unwrap_or_default(), &url.to_string()),
    }
    facts.flag("http1_only", *http1_only);
    match on_disconnect {
        OnDisconnect::Stops => {}
        OnDisconnect::Finishes => facts.say("on_disconnect", "finishes"),
        OnDisconnect::Unknown => facts.say("on_disconnect", "unknown"),
    }
    facts.some("cost_source", (*cost_source == CostSource::Provider).then_some("provider"));
    if let Some(Sandbox { latency, tokens_per_second, failure, seed }) = sandbox {
        facts.say("latency", spelled(*latency));
        facts.say("tokens_per_second", tokens_per_second);
        facts.say("failure", failure);
        facts.say("seed", seed);
    }
    facts
}

fn limits_told(facts: &mut Facts, limits: &Limits) {
    let Limits { requests, tokens, concurrent, wait } = limits;
    let rate =
        |rate: &Rate| if rate.burst == rate.amount { rate.to_string() } else { format!("{{ rate: {rate}, burst: {} }}", rate.burst) };
    facts.some("limits.requests", requests.as_ref().map(rate));
    facts.some("limits.tokens", tokens.as_ref().map(rate));
    facts.some("limits.concurrent", *concurrent);
    facts.some("limits.wait", (*wait > Duration::ZERO).then(|| spelled(*wait)));
}

fn of_target(target: &Target) -> Facts {
    // The timeouts are its provider's, and follow from what the model can do.
    let Target {
        name: _,
        provider: _,
        model: _,
        prices,
        usd_per_call,
        flat_usd,
        image_tokens,
        max_output_tps,
        context,
        max_output,
        can,
        default_max_output_tokens,
        max_output_tokens,
        limits,
        timeouts: _,
        speaks,
        quirks: Quirks { lacks, efforts, most_stops, most_stops_is_known, replay, .. },
        tokenizer: _,
    } = target;
    let mut facts = Facts::default();
    if let Some(prices) = prices {
        of_prices(&mut facts, prices);
    }
    facts.some("usd_per_call", *usd_per_call);
    facts.some("flat_usd", *flat_usd);
    facts.some("image_tokens", *image_tokens);
    facts.say("max_output_tps", max_output_tps);
    facts.some("context", *context);
    facts.some("max_output", *max_output);
    facts.some("can", can.as_ref().map(|can| list(can)));
    facts.say("speaks", speaks.words());
    facts.some("lacks", (!lacks.is_empty()).then(|| list(&lacks.iter().map(Lack::as_str).collect::<Vec<_>>())));
    facts.some("efforts", (!efforts.is_empty()).then(|| list(&efforts.iter().map(Effort::as_str).collect::<Vec<_>>())));
    facts.some("max_stops", most_stops_is_known.then_some(*most_stops));
    facts.some("replay_reasoning", (*replay != Replay::Off).then(|| replay.as_str()));
    facts.say("default_max_output_tokens", default_max_output_tokens);
    facts.some("max_output_tokens", *max_output_tokens);
    limits_told(&mut facts, limits);
    facts
}

fn of_prices(facts: &mut Facts, prices: &Prices) {
    let Prices { input, output, cache_read, cache_write, cache_write_1h, audio_input, audio_output, tiers } = prices;
    for (key, price) in [("input", Some(input)), ("output", Some(output))].into_iter().chain([
        ("cache_read", cache_read.as_ref()),
        ("cache_write", cache_write.as_ref()),
        ("cache_write_1h", cache_write_1h.as_ref()),
        ("audio_input", audio_input.as_ref()),
        ("audio_output", audio_output.as_ref()),
    ]) {
        facts.some(&format!("usd_per_mtok.{key}"), price.map(|price| price.per_mtok()));
    }
    for Tier { above, input, output, cache_read } in tiers {
        let cached = cache_read.map(|price| format!(", cache_read: {}", price.per_mtok())).unwrap_or_default();
        let told = format!("{{ input: {}, output: {}{cached} }}", input.per_mtok(), output.per_mtok());
        facts.say(&format!("usd_per_mtok above {above}"), told);
    }
}

fn of_rule(rule: &Rule, file: &Checked) -> Facts {
    let Rule { name: _, place: _, line: _, matches, unless, route } = rule;
    let mut facts = Facts::default();
    of_conditions(&mut facts, "match", matches, file);
    if let Some(unless) = unless {
        of_conditions(&mut facts, "unless", unless, file);
    }
    of_route(&mut facts, route, file);
    facts
}

fn of_conditions(facts: &mut Facts, of: &str, conditions: &Conditions, file: &Checked) {
    let Conditions {
        caller,
        tags,
        spent,
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
        places: _,
    } = conditions;
    let key = |name: &str| format!("{of}.{name}");
    let pattern = |pattern: &ModelPattern| match pattern {
        ModelPattern::Known => "known".to_owned(),
        ModelPattern::Auto => "auto".to_owned(),
        ModelPattern::Glob(glob) => glob.clone(),
    };
    facts.some(&key("task"), task.as_ref().map(|any| list(any)));
    facts.some(&key("prompt_tokens"), prompt_tokens.map(range));
    facts.some(&key("cost_ceiling"), *cost_ceiling);
    facts.some(&key("max_cost"), max_cost.map(range));
    facts.some(&key("model"), model.as_ref().map(|any| list(&any.iter().map(pattern).collect::<Vec<_>>())));
    for (name, any) in labels {
        facts.say(&key(&format!("labels.{name}")), list(any));
    }
    for (name, any) in headers {
        facts.say(&key(&format!("headers.{name}")), list(any));
    }
    facts.some(&key("needs"), needs.as_ref().map(|any| list(any)));
    facts.some(&key("turns"), turns.map(range));
    facts.some(&key("effort"), effort.as_ref().map(|any| list(&any.iter().map(|effort| effort.as_str()).collect::<Vec<_>>())));
    facts.some(&key("endpoint"), endpoint.as_ref().map(|any| list(any)));
    facts.some(&key("stream"), *stream);
    facts.some(&key("caller"), caller.as_ref().map(|any| list(any)));
    for (name, any) in tags {
        facts.say(&key(&format!("tags.{name}")), list(any));
    }
    for (window, bounds) in spent {
        facts.say(&key(&format!("spent.{}", window.name(&file.budgets))), range(*bounds));
    }
}

fn of_route(facts: &mut Facts, route: &Route, file: &Checked) {
    let Route { chain, deadline, max_output_tokens, on_ceiling, fallback_on, timeouts, retry, unsupported_params, sticky } = route;
    facts.say("chain", told_chain(chain, file));
    facts.some("deadline", deadline.map(spelled));
    facts.some("max_output_tokens", *max_output_tokens);
    match on_ceiling {
        OnCeiling::NextRule => {}
        OnCeiling::Clamp => facts.say("on_ceiling", "clamp"),
        OnCeiling::Refuse => facts.say("on_ceiling", "refuse"),
    }
    let word = |class: &FallbackOn| match class {
        FallbackOn::ContentPolicy => "content_policy",
        FallbackOn::InvalidRequest => "invalid_request",
    };
    facts.some("fallback_on", (!fallback_on.is_empty()).then(|| list(&fallback_on.iter().map(word).collect::<Vec<_>>())));
    for (key, wait) in waits(timeouts) {
        facts.say(key, wait);
    }
    facts.some("retry", (!retry).then_some(false));
    match unsupported_params {
        UnsupportedParams::Warn => {}
        UnsupportedParams::Drop => facts.say("unsupported_params", "drop"),
        UnsupportedParams::Reject => facts.say("unsupported_params", "reject"),
    }
    facts.some("sticky", sticky.then_some("session"));
}

fn of_classify(classify: &Classify) -> Facts {
    let Classify { when, floor, labels } = classify;
    let mut facts = Facts::default();
    let when = match when {
        ClassifyWhen::Never => "off",
        ClassifyWhen::Needed => "needed",
        ClassifyWhen::Always => "always",
    };
    facts.say("when", when);
    facts.say("floor", floor);
    for OwnLabel { name, words } in labels {
        facts.say(&format!("labels.{name}"), list(words));
    }
    facts
}

fn waits(changes: &TimeoutChanges) -> impl Iterator<Item = (&'static str, String)> {
    let TimeoutChanges { first_content, idle } = changes;
    let told = |key, wait: &Option<Duration>| wait.map(|wait| (key, spelled(wait)));
    [told("timeouts.first_content", first_content), told("timeouts.idle", idle)].into_iter().flatten()
}

fn told_chain(chain: &Chain, file: &Checked) -> String {
    let members: Vec<String> = chain
        .members()
        .map(|member| match member {
            Member::Target(one) => told_use(one, file),
            Member::Requested => "requested".into(),
            Member::Pool(Pool { pick: Pick::Split, of }) => {
                let uses: Vec<String> = of.iter().map(|one| format!("{} parts {}", one.weight, told_use(one, file))).collect();
                format!("split of {}", list(&uses))
            }
            Member::Pool(Pool { pick, of }) => {
                let uses: Vec<String> = of.iter().map(|one| told_use(one, file)).collect();
                format!("{} of {}", told_pick(pick), list(&uses))
            }
        })
        .collect();
    list(&members)
}

fn told_pick(pick: &Pick) -> String {
    let Pick::Best { task, min_score } = pick else { return pick.as_str().into() };
    let task = task.as_ref().map(|task| format!(" for {task}")).unwrap_or_default();
    let floor = min_score.map(|floor| format!(" from {floor} up")).unwrap_or_default();
    format!("best{task}{floor}")
}

fn of_test(test: &Test, file: &Checked) -> Facts {
    let Test { name: _, place: _, given, no_key, resting, expect } = test;
    let Given {
        task,
        prompt_tokens,
        max_output_tokens,
        model,
        endpoint,
        labels,
        headers,
        max_cost,
        needs,
        turns,
        effort,
        stream,
        n,
        caller,
        tags,
        spent,
        time,
    } = given;
    let mut facts = Facts::default();
    facts.some("given.task", task.as_ref());
    facts.some("given.prompt_tokens", *prompt_tokens);
    facts.some("given.max_output_tokens", *max_output_tokens);
    facts.some("given.model", model.as_ref());
    facts.some("given.endpoint", *endpoint);
    for (name, value) in labels {
        facts.say(&format!("given.labels.{name}"), value);
    }
    for (name, value) in headers {
        facts.say(&format!("given.headers.{name}"), value.to_str().unwrap_or_default());
    }
    facts.some("given.max_cost", *max_cost);
    facts.some("given.needs", (!needs.is_empty()).then(|| list(needs)));
    facts.some("given.turns", *turns);
    facts.some("given.effort", effort.map(Effort::as_str));
    facts.flag("given.stream", *stream);
    facts.some("given.n", *n);
    facts.some("given.caller", caller.as_ref());
    for (name, value) in tags {
        facts.say(&format!("given.tags.{name}"), value);
    }
    for (window, share) in spent {
        facts.say(&format!("given.spent.{window}"), share);
    }
    facts.some("given.time", *time);
    let providers: Vec<&str> = no_key.iter().filter_map(|at| Some(file.providers.get(*at)?.name.as_str())).collect();
    facts.some("given.no_key", (!providers.is_empty()).then(|| list(&providers)));
    facts.some("given.resting", (!resting.is_empty()).then(|| list(&names(resting, file))));
    let Expect { rule, target, chain, skipped, refusal, worst_case } = expect;
    facts.some("expect.rule", rule.as_ref().map(|rule| &rule.value));
    facts.some("expect.target", target.as_ref().and_then(|target| names(&[target.value], file).pop()));
    facts.some("expect.chain", chain.as_ref().map(|chain| list(&names(&chain.value, file))));
    for At { value: (target, reason), .. } in skipped {
        for name in names(&[*target], file) {
            facts.say(&format!("expect.skipped.{name}"), reason);
        }
    }
    facts.some("expect.refusal", refusal.as_ref().map(|refusal| refusal.value));
    facts.some("expect.worst_case", worst_case.as_ref().map(|bounds| range(bounds.value)));
    facts
}

/// The targets at these indices.
fn names(targets: &[usize], file: &Checked) -> Vec<String> {
    targets.iter().filter_map(|at| Some(file.targets.get(*at)?.name.to_string())).collect()
}

fn told_use(one: &Use, file: &Checked) -> String {
    // The weight counts in a split alone, which tells it.
    let Use { target, place: _, weight: _, timeouts, max_output_tokens, set } = one;
    let name = file.targets.get(*target).map(|target| target.name.to_string()).unwrap_or_default();
    let mut settings: Vec<String> = waits(timeouts).map(|(key, wait)| format!("{key}: {wait}")).collect();
    settings.extend(max_output_tokens.map(|limit| format!("max_output_tokens: {limit}")));
    settings.extend(set.iter().map(|(key, value)| format!("set.{key}: {}", value.get())));
    if settings.is_empty() { name } else { format!("{name} with {}", settings.join(", ")) }
}

fn range<T: Display>(bounds: Bounds<T>) -> String {
    match (bounds.min, bounds.max) {
        (Some(min), Some(max)) => format!("{{ min: {min}, max: {max} }}"),
        (Some(min), None) => format!("{{ min: {min} }}"),
        (None, Some(max)) => format!("{{ max: {max} }}"),
        (None, None) => "{}".into(),
    }
}

fn list<T: Display>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    format!("[{}]", items.join(", "))
}
