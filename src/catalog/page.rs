//! The catalogue as a page for people.

use std::fmt::Write;

use super::{CatalogModel, CatalogProvider, StreamUsage, catalog};
use crate::units::{Need, OnDisconnect, Price, Replay};

const HEAD: &str = "\
# Catalogue

What tollgate knows of providers and models without being told. It is in the binary and is never fetched; the file overrides any of it:

```yaml
providers:
  deepseek: {}                                        # format, address, key variable, models, prices
  openai:
    models: { gpt-4o: {}, gpt-5-nano: { usd_per_mtok: { input: 0.04, output: 0.32 } } }   # these alone, one at a price of yours
  openai-eu: { like: openai, base_url: \"https://eu.api.openai.com/v1\", api_key: \"${EU_KEY}?\" }
```

- An entry without `models` has every model below; one with `models` has those, and what a chain names.
- The key's variable counts only for the provider's own host: an entry with another `base_url` names its own `api_key`.
- Models are found in any case, in Hugging Face style (`deepseek-ai/DeepSeek-V4-Flash`), with a date or `latest` behind
  (`gpt-4o-2024-08-06`) and under the names that their sellers give them (`llama-3.3-70b-versatile`), for clients and in chains. A dated
  version in a chain is sent as it is written.
- Of what a client asks for, what says nothing of the model is taken off: `@20250929`, `:free`, `:nitro`, `:groq`, `openai:`,
  `us.anthropic.` and `-v1:0`. What changes the answer is not: `:thinking` and `:online` name something else. A name that several
  targets go by means them in the order of the file. `x-tollgate-target` says who answered.
- A provider whose own format is not spoken yet is reached where it speaks OpenAI's; the table says where.
- Where a model bills its reasoning apart, both parts of an answer count at the dearer price: a hold may never be below the bill.
- Few sources say which models read files; those that see pictures are taken to.
- What a provider's API lacks of OpenAI's format, how many stop sequences it takes and which words for effort its models know, decides what it
  is sent ([formats](formats.md)); `lacks`, `max_stops` and `efforts` in the file say otherwise.
- How fast a provider writes at most, and whether it bills what it would have written when an answer is cut, bound what a cut answer
  is taken to cost. The first is what the provider commonly publishes, rounded up, the second what OpenRouter's page on cancelled
  streams says. Where nothing is said, 300 tokens a second are assumed, and that it stops.

Prices change. `tollgate prices import FILE|URL` reads models.dev's `api.json` or LiteLLM's
`model_prices_and_context_window.json` and writes `prices.yaml` beside the routing file; with `include: [prices.yaml]` it counts: what
a provider's entry says comes first, then the imported list, then the catalogue. The file is watched, checked, kept and rolled back
like every other one, and a row that cannot be read is left out with a warning. `tollgate prices` says where prices differ, and how old
each list is; `check` and `serve` warn in one line when prices that may be spent at are above 90 days old. None of the prices below was
read from a live page. `tests/catalogue/refresh.py` in the repository brings this catalogue itself up to a newer snapshot of models.dev.

";

/// The page, as `docs/catalogue.md` holds it.
#[must_use]
pub fn catalogue_page() -> String {
    let mut page = HEAD.to_owned();
    // Writing to a String cannot fail.
    for (source, meaning) in &catalog().sources {
        _ = writeln!(page, "- *{source}*: {meaning}");
    }
    page.push_str("\nPrompts are estimated by the tokenizer that a model's name tells, whoever serves it; the first that fits:\n\n");
    for (tokenizer, names) in &catalog().tokenizers {
        let names: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_str())).collect();
        _ = writeln!(page, "- `{}`: {}", tokenizer.as_str(), names.join(", "));
    }
    page.push_str("\nPrices are US dollars per million tokens.\n");
    for provider in &catalog().providers {
        _ = writeln!(page, "\n## {}\n\n{}", provider.name, provider.title);
        let mut facts = vec![
            format!("format `{}`", provider.format.as_str()),
            format!("`{}` ({})", provider.base_url, provider.base_url_source),
            format!("key `{}`", provider.key_variable),
        ];
        facts.extend(provider.openai_url.as_ref().map(|url| {
            let is_used = provider.reachable().is_some_and(|(_, used)| used == url);
            format!("{} OpenAI's format at `{url}`", if is_used { "reached in" } else { "also speaks" })
        }));
        let aliases: Vec<String> = provider.aliases.iter().map(|alias| format!("`{alias}`")).collect();
        facts.extend((!aliases.is_empty()).then(|| format!("also called {}", aliases.join(", "))));
        facts.extend(provider.docs.as_ref().map(|url| format!("[its models](<{url}>)")));
        _ = writeln!(page, "· {}", facts.join(" · "));
        let ways = ways(provider);
        if !ways.is_empty() {
            _ = writeln!(page, "· {}", ways.join(" · "));
        }
        if let Some(note) = &provider.note {
            _ = writeln!(page, "\n{note}");
        }
        page.push_str("\n| model | input | output | cache read, write | context | output limit | can | source |\n|---|---:|---:|---:|---:|---:|---|---|\n");
        for model in &provider.models {
            page.push_str(&row(model));
        }
    }
    page
}

/// What else is known of how it serves.
fn ways(provider: &CatalogProvider) -> Vec<String> {
    let mut ways = Vec::new();
    ways.extend(provider.on_disconnect.map(|how| match how {
        OnDisconnect::Stops => "stops when an answer is cut".into(),
        OnDisconnect::Finishes => "bills a cut answer whole".into(),
        OnDisconnect::Unknown => "may bill a cut answer whole".to_owned(),
    }));
    ways.extend(provider.max_output_tps.map(|fastest| format!("writes up to {fastest} tokens a second")));
    ways.extend(provider.most_stops.map(|most| format!("up to {most} stop sequences")));
    ways.extend(provider.stream_usage.map(|when| match when {
        StreamUsage::Always => "streams always tell their usage".into(),
        StreamUsage::Asked => "streams tell their usage when asked".to_owned(),
    }));
    let lacks: Vec<String> = provider.lacks.iter().map(|lack| format!("`{}`", lack.as_str())).collect();
    ways.extend((!lacks.is_empty()).then(|| format!("has no {}", lacks.join(", "))));
    ways.extend(provider.replay.and_then(|replay| match replay {
        Replay::Off => None,
        Replay::Tools => Some("wants back what a model thought before it called tools".to_owned()),
        Replay::Always => Some("wants back what a model thought".to_owned()),
    }));
    ways
}

fn row(model: &CatalogModel) -> String {
    let price = |price: Price| price.per_mtok().plain();
    let or_dash = |price_of: Option<Price>| price_of.map_or_else(|| "–".into(), price);
    let mut name = format!("`{}`", model.name);
    for tier in &model.prices.tiers {
        _ = write!(name, "; above {} tokens {} / {}", tier.above, price(tier.input), price(tier.output));
    }
    if !model.aliases.is_empty() {
        _ = write!(name, ", also `{}`", model.aliases.join("`, `"));
    }
    let can: Vec<&str> = if model.embeds { vec!["embeds"] } else { model.can.iter().flatten().copied().map(Need::as_str).collect() };
    format!(
        "| {name} | {} | {} | {}, {} | {} | {} | {} | {}, {} |\n",
        price(model.prices.input),
        price(model.prices.output),
        or_dash(model.prices.cache_read),
        or_dash(model.prices.cache_write),
        model.context.map_or_else(|| "–".into(), |count| count.to_string()),
        model.max_output.map_or_else(|| "–".into(), |count| count.to_string()),
        can.join(", "),
        model.source,
        model.as_of,
    )
}
