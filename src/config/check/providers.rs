//! `providers:`: copies resolved, keys and URLs read, models with their prices and bounds.

use std::sync::Arc;
use std::time::Duration;

use super::known::{self, Facts, Imported};
use super::server::{count, nonzero};
use crate::catalog::{CatalogProvider, catalog};
use crate::config::checked::{CooldownPolicy, Key, Limits, Provider, Proxy, Sandbox, Target, Timeouts};
use crate::config::codes::Code;
use crate::config::collections::Row;
use crate::config::decode::{Field, Findings, Shape};
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::draft::{CooldownDraft, DefaultsDraft, FileDraft, LimitsDraft, ModelDraft, PricesDraft, ProviderDraft};
use crate::config::references::{Directory, Listed};
use crate::config::{Env, secrets, urls};
use crate::units::{Format, ModelName, NameError, Need, Prices, ProviderName, Quirks, Share, Speaks, TargetName, Thinks, Tier, Tokens};

/// All providers and their targets in file order; an entry is absent once a finding says why.
pub(super) struct Providers {
    pub(super) directory: Directory,
    pub(super) entries: Vec<Option<Provider>>,
    pub(super) targets: Vec<Option<Target>>,
    /// Where each target stands.
    pub(super) places: Vec<Place>,
    /// The entries with all that `like` copies into them.
    pub(super) copied: Vec<Option<ProviderDraft>>,
}

pub(super) fn check(draft: &FileDraft, env: &Env<'_>, findings: &mut Findings) -> Providers {
    let rows = draft.providers.get().map(Vec::as_slice).unwrap_or_default();
    let mut all = Providers {
        directory: Directory::new(draft.providers.get().is_some()),
        entries: Vec::new(),
        targets: Vec::new(),
        places: Vec::new(),
        copied: Vec::new(),
    };
    let defaults = draft.defaults.get();
    let in_chains = known::named(draft);
    let imported = Imported::new(draft, findings);
    for row in rows {
        let name = name(row, findings);
        let (draft, known) = row.value.as_ref().and_then(|own| copied(row, own, rows, findings)).unzip();
        let known = known.flatten();
        let draft = draft.map(|draft: ProviderDraft| match known.filter(|_| draft.format.get() != Some(&Format::Sandbox)) {
            Some(known) => {
                let own = in_chains.iter().filter_map(|name| name.split_once('/')).filter(|(provider, _)| *provider == row.name);
                known::filled(row, draft, (known, &imported), &own.map(|(_, model)| model).collect::<Vec<_>>(), findings)
            }
            None => draft,
        });
        let index = all.entries.len();
        let first_target = all.targets.len();
        let mut models = None;
        let mut provider = None;
        if let Some(draft) = &draft {
            provider = one(row, name.as_ref(), draft, defaults, env, findings);
            models = draft.models.get().filter(|models| !models.is_empty());
            let made = models.into_iter().flatten().map(|model| {
                let facts = known::facts((&row.name, known), &imported, draft, &model.name);
                target(model, name.as_ref(), index, (draft, facts), defaults, findings)
            });
            all.targets.extend(made);
            // What is copied stands elsewhere, and is about this one.
            let is_own =
                |name: &str| row.value.as_ref().is_some_and(|own| own.models.get().into_iter().flatten().any(|own| own.name == name));
            all.places.extend(models.into_iter().flatten().map(|model| if is_own(&model.name) { model.key } else { row.key }));
        }
        all.entries.push(provider);
        let names = models.map(|models| models.iter().map(|model| model.name.clone()).collect());
        all.directory.add(Listed { name: row.name.clone(), key: row.key, models: names, known, first_target });
        all.copied.push(draft);
    }
    all
}

fn name(row: &Row<ProviderDraft>, findings: &mut Findings) -> Option<ProviderName> {
    let error = match ProviderName::parse(&row.name) {
        Ok(name) => return Some(name),
        Err(error) => error,
    };
    let code = if error == NameError::Auto { Code::RESERVED_NAME } else { Code::BAD_NAME };
    let message = if error == NameError::Auto { error.to_string() } else { format!("`{}` is no provider name: {error}", row.name) };
    let finding = Diagnostic::error(code, row.key, message);
    findings.push(if code == Code::RESERVED_NAME { finding.hint("give the provider another name") } else { finding.hint_name(&row.name) });
    None
}

/// The entry with all that `like` copies into it, and what the catalogue knows of the last one that is copied.
fn copied(
    row: &Row<ProviderDraft>,
    own: &ProviderDraft,
    rows: &[Row<ProviderDraft>],
    findings: &mut Findings,
) -> Option<(ProviderDraft, Option<&'static CatalogProvider>)> {
    let mut path = vec![row.name.as_str()];
    let mut merged = own.clone();
    let mut next = own.like.at();
    while let Some(like) = next {
        let known = catalog().provider(&like.value);
        // An entry that is like its own name means the catalogue's.
        let is_itself = |other: &Row<ProviderDraft>| known.is_some() && path.last().is_some_and(|last| *last == other.name);
        let Some(base) = rows.iter().find(|other| other.name == like.value && !is_itself(other)) else {
            if known.is_some() {
                return Some((merged, known));
            }
            let names = rows.iter().map(|other| other.name.as_str()).filter(|name| *name != row.name);
            let message =
                format!("provider `{}` is like provider `{}`, which is neither in this file nor in the catalogue", row.name, like.value);
            findings.push(Diagnostic::error(Code::UNKNOWN_PROVIDER, like.place, message).hint_near(
                &like.value,
                names,
                &known::provider_names(),
            ));
            return None;
        };
        path.push(&base.name);
        if path[..path.len() - 1].contains(&base.name.as_str()) {
            // A cycle is told once, where its first member in the file says `like`.
            let message = format!("these providers copy each other: {}", path.join(" → "));
            let is_member = base.name == row.name;
            if is_member && rows.iter().find(|other| path.contains(&other.name.as_str())).is_some_and(|first| first.name == row.name) {
                let place = own.like.at().map_or(like.place, |at| at.place);
                findings.push(Diagnostic::error(Code::LIKE_CYCLE, place, message).hint("one of them has to say everything itself"));
            }
            return None;
        }
        let below = base.value.as_ref()?;
        warn_copied_key(row, &merged, below, findings);
        merged = ProviderDraft::over(&merged, below);
        next = below.like.at();
    }
    Some((merged, path.last().and_then(|last| catalog().provider(last))))
}

/// A key that was given for one host goes to another one only when somebody meant it.
fn warn_copied_key(row: &Row<ProviderDraft>, own: &ProviderDraft, base: &ProviderDraft, findings: &mut Findings) {
    let (Some(url), Some(other), Some(_)) = (own.base_url.at(), base.base_url.get(), base.api_key.get()) else {
        return;
    };
    if own.api_key.is_absent() && urls::host(&url.value) != urls::host(other) {
        let message = format!("provider `{}` sends the key that it copies to another host", row.name);
        let finding = Diagnostic::warning(Code::COPIED_KEY, url.place, message);
        findings.push(finding.hint("write the `api_key` that belongs to this host"));
    }
}

fn one(
    row: &Row<ProviderDraft>,
    name: Option<&ProviderName>,
    draft: &ProviderDraft,
    defaults: Option<&DefaultsDraft>,
    env: &Env<'_>,
    findings: &mut Findings,
) -> Option<Provider> {
    known::refuse_incomplete(row, draft, findings);
    let format = draft.format.get().copied();
    refuse_foreign_keys(draft, format, findings);
    let base_url = match draft.base_url.at() {
        Some(url) if format != Some(Format::Sandbox) => urls::read_base(url, draft.allow_http.get().copied().unwrap_or(false), findings),
        _ => None,
    };
    let key = match draft.api_key.at() {
        Some(text) => secrets::read(text, env, findings),
        None => Some(Key::NotNeeded),
    };
    let proxy = match draft.proxy.at() {
        Some(text) => urls::read_proxy(text, findings),
        None => Some(Proxy::None),
    };
    let sandbox = (format == Some(Format::Sandbox)).then(|| sandbox(draft));
    Some(Provider {
        name: name?.clone(),
        format: format?,
        base_url: if format == Some(Format::Sandbox) { None } else { Some(base_url?) },
        key: key?,
        limits: limits(&draft.limits),
        timeouts: timeouts(draft, defaults, false),
        cooldown: cooldown(&draft.cooldown, defaults),
        proxy: proxy?,
        http1_only: draft.http1_only.get().copied().unwrap_or(false),
        on_disconnect: draft.on_disconnect.get().copied().unwrap_or_default(),
        cost_source: draft.cost_source.get().copied().unwrap_or_default(),
        sandbox,
    })
}

/// Keys that mean nothing for the provider's format.
fn refuse_foreign_keys(draft: &ProviderDraft, format: Option<Format>, findings: &mut Findings) {
    let sandbox_only = [
        ("latency", draft.latency.key()),
        ("tokens_per_second", draft.tokens_per_second.key()),
        ("failure", draft.failure.key()),
        ("seed", draft.seed.key()),
    ];
    let network_only = [
        ("base_url", draft.base_url.key()),
        ("api_key", draft.api_key.key()),
        ("proxy", draft.proxy.key()),
        ("http1_only", draft.http1_only.key()),
        ("allow_http", draft.allow_http.key()),
    ];
    if let (Some(Format::Anthropic | Format::Gemini), Some(place)) = (format, draft.speaks.key()) {
        let finding = Diagnostic::error(Code::KEY_DOES_NOT_APPLY, place, "`speaks` is for the `openai` format, which alone has two APIs");
        findings.push(finding.hint("take it out"));
    }
    let (foreign, why): (&[_], _) = match format {
        Some(Format::Sandbox) => (&network_only, "means nothing to the sandbox, which never leaves this machine"),
        Some(Format::OpenAi | Format::Anthropic | Format::Gemini) => (&sandbox_only, "is a setting of the sandbox alone"),
        None => return,
    };
    for (key, place) in foreign {
        if let Some(place) = place {
            findings.push(Diagnostic::error(Code::KEY_DOES_NOT_APPLY, *place, format!("`{key}` {why}")).hint("take it out"));
        }
    }
}

fn sandbox(draft: &ProviderDraft) -> Sandbox {
    Sandbox {
        latency: draft.latency.get().copied().unwrap_or(Duration::from_millis(20)),
        tokens_per_second: nonzero(draft.tokens_per_second.get().copied()).unwrap_or(count(200)),
        failure: draft.failure.get().copied().unwrap_or(Share::default()),
        seed: draft.seed.get().copied().unwrap_or(1),
    }
}

pub(super) fn limits(draft: &Field<LimitsDraft>) -> Limits {
    let Some(draft) = draft.get() else {
        return Limits::default();
    };
    Limits {
        requests: draft.requests.get().copied(),
        tokens: draft.tokens.get().copied(),
        concurrent: nonzero(draft.concurrent.get().copied()),
        wait: draft.wait.get().copied().unwrap_or_default(),
    }
}

/// The provider's own waits, else those of `defaults`, else the built-in ones.
fn timeouts(draft: &ProviderDraft, defaults: Option<&DefaultsDraft>, reasons: bool) -> Timeouts {
    let own = draft.timeouts.get();
    let general = defaults.and_then(|defaults| defaults.timeouts.get());
    let layers = [own, general];
    let first = layers.iter().flatten().find_map(|layer| layer.first_content.get());
    let built_in = if reasons { Duration::from_mins(10) } else { Duration::from_mins(1) };
    Timeouts {
        connect: layers.iter().flatten().find_map(|layer| layer.connect.get()).copied().unwrap_or(Duration::from_secs(2)),
        first_content: first.copied().unwrap_or(built_in),
        idle: layers.iter().flatten().find_map(|layer| layer.idle.get()).copied().unwrap_or(Duration::from_mins(2)),
    }
}

fn cooldown(own: &Field<Option<CooldownDraft>>, defaults: Option<&DefaultsDraft>) -> Option<CooldownPolicy> {
    let built_in = CooldownPolicy { after: count(5), rest: Duration::from_secs(20) };
    let over = |draft: &CooldownDraft, below: CooldownPolicy| CooldownPolicy {
        after: nonzero(draft.after.get().copied()).unwrap_or(below.after),
        rest: draft.rest.get().copied().unwrap_or(below.rest),
    };
    let general = match defaults.and_then(|defaults| defaults.cooldown.get()) {
        Some(Some(draft)) => Some(over(draft, built_in)),
        Some(None) => None,
        None => Some(built_in),
    };
    match own.get() {
        Some(Some(draft)) => Some(over(draft, general.unwrap_or(built_in))),
        Some(None) => None,
        None => general,
    }
}

fn target(
    row: &Row<ModelDraft>,
    provider: Option<&ProviderName>,
    index: usize,
    (of, facts): (&ProviderDraft, Facts),
    defaults: Option<&DefaultsDraft>,
    findings: &mut Findings,
) -> Option<Target> {
    let model = ModelName::parse(&row.name)
        .map_err(|error| findings.push(Diagnostic::error(Code::BAD_NAME, row.key, format!("`{}` is no model name: {error}", row.name))))
        .ok();
    let draft = row.value.as_ref()?;
    let can = draft.can.at().or(of.can.at()).map(|can| can.value.iter().map(|need| need.value).collect::<Vec<Need>>());
    let can = can.or_else(|| facts.can.clone());
    let reasons = can.as_ref().is_some_and(|can| can.contains(&Need::Reasoning));
    let context = draft.context.at().or(of.context.at());
    let max_output = draft.max_output.at().or(of.max_output.at());
    if let (Some(context), Some(output)) = (context, max_output)
        && output.value > context.value
    {
        let message = format!("`max_output` of `{}` is above its context of {} tokens", row.name, context.value);
        findings.push(Diagnostic::warning(Code::OUTPUT_ABOVE_CONTEXT, output.place, message).hint("a model writes at most its context"));
    }
    let context = context.map(|at| at.value).or(facts.context);
    // Of what the file says of one of them, the other one's fact takes heed.
    let known_output = facts.max_output.map(|most| context.map_or(most, |context| most.min(context)));
    let max_output = max_output.map(|at| at.value).or(known_output);
    let ceiling = draft.max_output_tokens.get().or(of.max_output_tokens.get()).copied();
    let assumed = [draft.default_max_output_tokens.get(), of.default_max_output_tokens.get()]
        .into_iter()
        .chain([defaults.and_then(|defaults| defaults.default_max_output_tokens.get())])
        .flatten()
        .next()
        .copied()
        .unwrap_or(Tokens::new(if reasons { 32_000 } else { 16_000 }));
    let bounds = [ceiling, max_output, context];
    let free_sandbox = (of.format.get() == Some(&Format::Sandbox)).then(Prices::default);
    let written = draft.usd_per_mtok.get().or(of.usd_per_mtok.get());
    let quirks = quirks((of, draft), &row.name, can.as_deref(), &facts);
    let speaks = speaks(of, draft, facts.speaks);
    let known = match written {
        Some(written) => Some(prices(written, findings)?),
        None => free_sandbox.or(facts.prices),
    };
    let (provider, model) = (provider?, model?);
    // The sandbox counts by our own estimate, whatever its models are called.
    let is_sandbox = of.format.get() == Some(&Format::Sandbox);
    let tokenizer = catalog().tokenizer(model.as_str()).filter(|_| !is_sandbox).unwrap_or_default();
    Some(Target {
        name: TargetName::new(provider, &model),
        provider: index,
        model,
        prices: known.map(Arc::new),
        usd_per_call: draft.usd_per_call.get().or(of.usd_per_call.get()).copied(),
        flat_usd: draft.flat_usd.get().or(of.flat_usd.get()).copied(),
        image_tokens: draft.image_tokens.get().or(of.image_tokens.get()).copied(),
        max_output_tps: nonzero(draft.max_output_tps.get().or(of.max_output_tps.get()).copied()).unwrap_or(count(300)),
        context,
        max_output,
        can,
        default_max_output_tokens: bounds.into_iter().flatten().fold(assumed, Tokens::min),
        max_output_tokens: ceiling,
        limits: limits(&draft.limits),
        timeouts: timeouts(of, defaults, reasons),
        speaks,
        quirks,
        tokenizer,
    })
}

/// How a target of that format takes calls: as the file says, as is known, or as most do.
fn quirks(said: (&ProviderDraft, &ModelDraft), model: &str, can: Option<&[Need]>, facts: &Facts) -> Quirks {
    let general = said_quirks(said, facts);
    let (of, _) = said;
    let thinks = facts.thinks;
    let may = |need| can.is_none_or(|can| can.contains(&need));
    let general = Quirks { structured_outputs: may(Need::JsonSchema), ..general };
    let most_stops = |assumed| if general.most_stops_is_known { general.most_stops } else { assumed };
    if of.format.get() == Some(&Format::Anthropic) {
        let reasons = can.is_some_and(|can| can.contains(&Need::Reasoning));
        let assumed = if reasons { Thinks::Budget } else { Thinks::No };
        return Quirks { thinks: thinks.unwrap_or(assumed), cache_breakpoints: true, most_stops: most_stops(usize::MAX), ..general };
    }
    if of.format.get() == Some(&Format::Gemini) {
        // Its second generation neither asks for signatures nor knows levels.
        let is_older = ["gemini-1", "gemini-2"].iter().any(|older| model.starts_with(older));
        let assumed = match (may(Need::Reasoning), is_older) {
            (false, _) => Thinks::No,
            (true, true) => Thinks::Budget,
            (true, false) => Thinks::Level,
        };
        let thinks = thinks.unwrap_or(assumed);
        return Quirks { thinks, needs_signatures: !is_older, image_urls: false, most_stops: most_stops(5), ..general };
    }
    let is_first_hand = is_first_hand(of);
    let assumed = if may(Need::Reasoning) { Thinks::Effort } else { Thinks::No };
    Quirks {
        names_limit_newly: is_first_hand,
        cache_breakpoints: is_first_hand,
        takes_verbosity: is_first_hand,
        thinks: thinks.unwrap_or(assumed),
        ..general
    }
}

/// What the file says of it or the catalogue knows; the rest as most have it.
fn said_quirks((of, draft): (&ProviderDraft, &ModelDraft), facts: &Facts) -> Quirks {
    let general = Quirks::default();
    let most_stops = draft.max_stops.get().or(of.max_stops.get()).and_then(|most| usize::try_from(*most).ok()).or(facts.most_stops);
    let lacks = draft.lacks.get().or(of.lacks.get()).map(|words| words.iter().filter_map(|word| word.value).collect());
    let efforts = draft.efforts.get().or(of.efforts.get()).map(|words| words.iter().map(|word| word.value).collect());
    Quirks {
        most_stops: most_stops.unwrap_or(general.most_stops),
        most_stops_is_known: most_stops.is_some(),
        lacks: lacks.unwrap_or(facts.lacks),
        efforts: efforts.unwrap_or(facts.efforts),
        replay: draft.replay_reasoning.get().or(of.replay_reasoning.get()).copied().or(facts.replay).unwrap_or_default(),
        ..general
    }
}

/// Whether it is the maker of the `openai` format, whose API has what others' lack.
fn is_first_hand(of: &ProviderDraft) -> bool {
    let host = of.base_url.get().and_then(|url| urls::host(url)).unwrap_or_default();
    ["openai.com", "openai.azure.com"].iter().any(|own| host == *own || host.ends_with(&format!(".{own}")))
}

/// By which APIs a model is reached: as the file says, or what is known of it.
fn speaks(of: &ProviderDraft, draft: &ModelDraft, known: Option<Speaks>) -> Speaks {
    let said = draft.speaks.get().or(of.speaks.get());
    let said = said.and_then(|words| words.iter().map(|word| word.value).reduce(Speaks::and));
    let has_both = of.format.get() == Some(&Format::Sandbox) || is_first_hand(of);
    said.or(known).unwrap_or(if has_both { Speaks::Both } else { Speaks::Chat })
}

pub(in crate::config) fn prices(draft: &PricesDraft, findings: &mut Findings) -> Option<Prices> {
    let mut tiers: Vec<Tier> = Vec::new();
    let mut last: Option<(Tokens, Place)> = None;
    for tier in draft.tiers.get().into_iter().flatten() {
        let above = tier.value.above.at()?;
        if let Some((before, _)) = last
            && above.value <= before
        {
            let message = format!("this tier begins above {}, and the one before it above {before}", above.value);
            findings.push(Diagnostic::error(Code::BAD_TIERS, above.place, message).hint("write the tiers in rising order of `above`"));
        }
        last = Some((above.value, above.place));
        tiers.push(Tier {
            above: above.value,
            input: *tier.value.input.get()?,
            output: *tier.value.output.get()?,
            cache_read: tier.value.cache_read.get().copied(),
        });
    }
    Some(Prices {
        input: *draft.input.get()?,
        output: *draft.output.get()?,
        cache_read: draft.cache_read.get().copied(),
        cache_write: draft.cache_write.get().copied(),
        cache_write_1h: draft.cache_write_1h.get().copied(),
        audio_input: draft.audio_input.get().copied(),
        audio_output: draft.audio_output.get().copied(),
        tiers,
    })
}
