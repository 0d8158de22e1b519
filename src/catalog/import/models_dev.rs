//! models.dev's `api.json`: providers with their models, dollars per million tokens.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{PriceList, PriceRow, Rows, decimal, provider_name};
use crate::units::{Need, Price, Prices, Tier, Tokens};

#[derive(Deserialize)]
struct Provider<'t> {
    #[serde(borrow)]
    models: BTreeMap<String, &'t RawValue>,
}

#[derive(Deserialize)]
struct Model<'t> {
    #[serde(borrow)]
    cost: Option<BTreeMap<String, &'t RawValue>>,
    limit: Option<Limit>,
    tool_call: Option<bool>,
    reasoning: Option<bool>,
    structured_output: Option<bool>,
    modalities: Option<Modalities>,
}

#[derive(Deserialize)]
struct Limit {
    context: Option<u64>,
    output: Option<u64>,
}

#[derive(Deserialize)]
struct Modalities {
    #[serde(default)]
    input: Vec<String>,
}

pub(super) fn read(providers: &Rows<'_>) -> PriceList {
    let mut list = PriceList { origin: "models.dev", ..PriceList::default() };
    for (theirs, provider) in providers {
        let provider: Provider<'_> = match serde_json::from_str(provider.get()) {
            Ok(provider) => provider,
            Err(error) => {
                list.skipped.push((theirs.clone(), error.to_string()));
                continue;
            }
        };
        let name = provider_name(theirs);
        for (model, row) in provider.models {
            match serde_json::from_str::<Model<'_>>(row.get()).map_err(|error| error.to_string()).and_then(|row| one(&name, &model, &row)) {
                Ok(row) => list.rows.push(row),
                Err(why) => list.skipped.push((format!("{theirs}/{model}"), why)),
            }
        }
    }
    list
}

fn one(provider: &str, model: &str, row: &Model<'_>) -> Result<PriceRow, String> {
    let cost = row.cost.as_ref().ok_or("it has no price")?;
    let says = |flag: Option<bool>, need: Need| flag.unwrap_or(false).then_some(need);
    let takes =
        |word: &str, need: Need| row.modalities.as_ref().is_some_and(|all| all.input.iter().any(|kind| kind == word)).then_some(need);
    let can = [
        says(row.tool_call, Need::Tools),
        says(row.reasoning, Need::Reasoning),
        says(row.structured_output, Need::JsonSchema),
        takes("image", Need::Vision),
        takes("audio", Need::Audio),
        takes("pdf", Need::Files),
    ];
    let limit = |of: fn(&Limit) -> Option<u64>| row.limit.as_ref().and_then(of).filter(|count| *count > 0).map(Tokens::new);
    Ok(PriceRow {
        provider: provider.into(),
        model: model.into(),
        prices: prices(cost)?,
        context: limit(|limit| limit.context),
        max_output: limit(|limit| limit.output),
        can: row.tool_call.map(|_| can.into_iter().flatten().collect()),
    })
}

fn prices(cost: &BTreeMap<String, &RawValue>) -> Result<Prices, String> {
    let optional = |key: &str| cost.get(key).filter(|value| value.get() != "null").map(|value| decimal::price(value.get(), 0)).transpose();
    let needed = |key: &str| optional(key)?.ok_or_else(|| format!("it has no `{key}` price"));
    let mut tiers: Vec<Tier> = Vec::new();
    if let Some(value) = cost.get("tiers") {
        for tier in serde_json::from_str::<Vec<BTreeMap<String, &RawValue>>>(value.get()).map_err(|error| error.to_string())? {
            tiers.push(self::tier(&tier)?);
        }
    } else if let Some(value) = cost.get("context_over_200k") {
        let rates: BTreeMap<String, &RawValue> = serde_json::from_str(value.get()).map_err(|error| error.to_string())?;
        tiers.push(rated(200_000, &rates)?);
    }
    tiers.sort_by_key(|tier| tier.above);
    let reasoning: Option<Price> = optional("reasoning")?;
    Ok(Prices {
        input: needed("input")?,
        // As in the catalogue: which part of an answer is reasoning is known only after it.
        output: needed("output")?.max(reasoning.unwrap_or_default()),
        cache_read: optional("cache_read")?,
        cache_write: optional("cache_write")?,
        audio_input: optional("input_audio")?,
        audio_output: optional("output_audio")?,
        tiers,
        ..Prices::default()
    })
}

fn tier(rates: &BTreeMap<String, &RawValue>) -> Result<Tier, String> {
    #[derive(Deserialize)]
    struct Of {
        #[serde(rename = "type")]
        kind: String,
        size: u64,
    }
    let of = rates.get("tier").ok_or("a price tier does not say what it is of")?;
    let of: Of = serde_json::from_str(of.get()).map_err(|error| error.to_string())?;
    if of.kind != "context" {
        return Err(format!("a price tier of `{}` is not known here", of.kind));
    }
    rated(of.size, rates)
}

fn rated(above: u64, rates: &BTreeMap<String, &RawValue>) -> Result<Tier, String> {
    let optional = |key: &str| rates.get(key).map(|value| decimal::price(value.get(), 0)).transpose();
    let needed = |key: &str| optional(key)?.ok_or_else(|| format!("a price tier has no `{key}`"));
    Ok(Tier { above: Tokens::new(above), input: needed("input")?, output: needed("output")?, cache_read: optional("cache_read")? })
}
