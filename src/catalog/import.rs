//! Price lists of others, read row by row: one wrong row costs only itself.

mod decimal;
mod litellm;
mod models_dev;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::catalog;
use crate::units::{Need, Prices, Tokens};

/// What a price list says.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PriceList {
    /// Whose format it has: `models.dev`, `LiteLLM`.
    pub origin: &'static str,
    /// By provider and model, each once.
    pub rows: Vec<PriceRow>,
    /// Rows that cannot be used, by their names there, and why.
    pub skipped: Vec<(String, String)>,
}

/// One model of one provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceRow {
    /// As the catalogue calls it, where it knows it.
    pub provider: String,
    pub model: String,
    pub prices: Prices,
    pub context: Option<Tokens>,
    pub max_output: Option<Tokens>,
    /// Absent: not said.
    pub can: Option<Vec<Need>>,
}

/// Why a text is no price list.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("it is no JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("it is neither models.dev's api.json nor LiteLLM's model_prices_and_context_window.json")]
    Unknown,
}

type Rows<'t> = BTreeMap<String, &'t RawValue>;

/// Reads models.dev's `api.json` or `LiteLLM`'s `model_prices_and_context_window.json`, whichever it is.
pub fn read_price_list(text: &str) -> Result<PriceList, ImportError> {
    /// What tells the two apart.
    #[derive(Deserialize)]
    struct Shape<'t> {
        #[serde(borrow)]
        models: Option<&'t RawValue>,
        #[serde(borrow)]
        litellm_provider: Option<&'t RawValue>,
    }
    let rows: Rows<'_> = serde_json::from_str(text)?;
    let mut shapes = rows.values().filter_map(|row| serde_json::from_str::<Shape<'_>>(row.get()).ok());
    let is_models_dev = shapes.find_map(|shape| match (shape.models, shape.litellm_provider) {
        (Some(_), _) => Some(true),
        (None, Some(_)) => Some(false),
        (None, None) => None,
    });
    let mut list = match is_models_dev {
        Some(true) => models_dev::read(&rows),
        Some(false) => litellm::read(&rows),
        None => return Err(ImportError::Unknown),
    };
    list.rows.sort_by(|one, other| (&one.provider, &one.model).cmp(&(&other.provider, &other.model)));
    list.rows.dedup_by(|later, first| (&later.provider, &later.model) == (&first.provider, &first.model));
    Ok(list)
}

/// A provider's name as we have it.
fn provider_name(theirs: &str) -> String {
    let name = theirs.to_ascii_lowercase().replace('_', "-");
    catalog().provider(&name).map_or(name, |known| known.name.clone())
}

#[cfg(test)]
mod tests;
