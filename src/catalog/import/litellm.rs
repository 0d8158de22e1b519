//! `LiteLLM`'s `model_prices_and_context_window.json`: one flat row a model, dollars per single token, tiers in the names of keys.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{PriceList, PriceRow, Rows, decimal, provider_name};
use crate::units::{Need, Price, Prices, Tier, Tokens};

/// From a token to a million.
const MILLION: i32 = 6;

type Row<'t> = BTreeMap<String, &'t RawValue>;

pub(super) fn read(rows: &Rows<'_>) -> PriceList {
    let mut list = PriceList { origin: "LiteLLM", ..PriceList::default() };
    for (name, row) in rows.iter().filter(|(name, _)| *name != "sample_spec") {
        match serde_json::from_str::<Row<'_>>(row.get()).map_err(|error| error.to_string()).and_then(|row| one(name, &row)) {
            Ok(row) => list.rows.push(row),
            Err(why) => list.skipped.push((name.clone(), why)),
        }
    }
    list
}

fn one(name: &str, row: &Row<'_>) -> Result<PriceRow, String> {
    let text = |key: &str| row.get(key).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
    let theirs = text("litellm_provider").ok_or("it has no provider")?;
    if let Some(mode) = text("mode").filter(|mode| !matches!(mode.as_str(), "chat" | "completion" | "responses" | "embedding")) {
        return Err(format!("`{mode}` is not paid by the token"));
    }
    let count = |key: &str| row.get(key).and_then(|value| value.get().parse::<u64>().ok()).filter(|count| *count > 0).map(Tokens::new);
    let says = |key: &str| row.get(key).map(|value| value.get() == "true");
    let flags = [
        ("supports_function_calling", Need::Tools),
        ("supports_reasoning", Need::Reasoning),
        ("supports_response_schema", Need::JsonSchema),
        ("supports_vision", Need::Vision),
        ("supports_audio_input", Need::Audio),
        ("supports_pdf_input", Need::Files),
    ];
    let is_told = flags.iter().any(|(key, _)| row.contains_key(*key));
    Ok(PriceRow {
        provider: provider_name(&theirs),
        model: name.strip_prefix(&format!("{theirs}/")).unwrap_or(name).to_owned(),
        prices: prices(row)?,
        context: count("max_input_tokens").or_else(|| count("max_tokens")),
        max_output: count("max_output_tokens"),
        can: is_told.then(|| flags.into_iter().filter(|(key, _)| says(key) == Some(true)).map(|(_, need)| need).collect()),
    })
}

fn prices(row: &Row<'_>) -> Result<Prices, String> {
    let optional = |key: &str| -> Result<Option<Price>, String> {
        row.get(key).filter(|value| value.get() != "null").map(|value| decimal::price(value.get(), MILLION)).transpose()
    };
    let needed = |key: &str| optional(key)?.ok_or_else(|| format!("it has no `{key}`"));
    let mut tiers = Vec::new();
    for key in row.keys() {
        let Some(size) = key.strip_prefix("input_cost_per_token_above_").and_then(|rest| rest.strip_suffix("k_tokens")) else { continue };
        let above = size.parse::<u64>().map_err(|_| format!("`{key}` names no size"))?.saturating_mul(1_000);
        tiers.push(Tier {
            above: Tokens::new(above),
            input: needed(key)?,
            output: optional(&format!("output_cost_per_token_above_{size}k_tokens"))?
                .map_or_else(|| needed("output_cost_per_token"), Ok)?,
            cache_read: optional(&format!("cache_read_input_token_cost_above_{size}k_tokens"))?,
        });
    }
    tiers.sort_by_key(|tier| tier.above);
    let reasoning = optional("output_cost_per_reasoning_token")?;
    Ok(Prices {
        input: needed("input_cost_per_token")?,
        output: needed("output_cost_per_token")?.max(reasoning.unwrap_or_default()),
        cache_read: optional("cache_read_input_token_cost")?,
        cache_write: optional("cache_creation_input_token_cost")?,
        cache_write_1h: optional("cache_creation_input_token_cost_above_1hr")?,
        audio_input: optional("input_cost_per_audio_token")?,
        audio_output: optional("output_cost_per_audio_token")?,
        tiers,
    })
}
