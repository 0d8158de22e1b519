//! `prices:` as written.

use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};

use super::TARGET;
use super::provider::{NeedWord, PricesDraft};
use crate::config::codes::Code;
use crate::config::collections::{List, Row, Rows, Table};
use crate::config::decode::{Findings, Shape, draft, field};
use crate::config::diagnostic::{Diagnostic, Severity};
use crate::config::shapes::{Text, TokenCount};
use crate::config::tree::{Node, Value};

draft! {
    /// A price list, as `tollgate prices import` writes it. It holds where a provider's entry says nothing, before the catalogue.
    PriceListDraft is "`prices`"
    such as { "source": "models.dev", "as_of": "2026-11-22", "models": { "openai/gpt-4o": { "usd_per_mtok": { "input": 2.5, "output": 10 } } } } {
        /// Whose list it is.
        source[such as "models.dev"]: Text,
        /// The day of its figures, for `tollgate prices --check`.
        as_of[such as "2026-11-22"]: Text,
        /// What it says of each model, by `provider/model`. A row that cannot be read is left out, with a warning.
        models(required: "it says prices by `provider/model`")[such as { "openai/gpt-4o": { "usd_per_mtok": { "input": 2.5, "output": 10 } } }]: Sound<PricedDraft>,
    }
    later []
    schema { "properties": { "models": { "propertyNames": { "pattern": TARGET } } } }
}

draft! {
    /// What a price list says of a model.
    PricedDraft is "a row of a price list" such as { "usd_per_mtok": { "input": 2.5, "output": 10 }, "context": "128k" } {
        /// Prices in US dollars per million tokens.
        usd_per_mtok: PricesDraft,
        /// Context window: input and output together, in tokens.
        context[such as "128k"]: TokenCount,
        /// The most that the model writes in one answer, in tokens.
        max_output: TokenCount,
        /// What the model can do.
        can: List<NeedWord>,
    }
    later []
}

/// A table whose rows are taken as far as they are sound: what is wrong with one is a warning, and costs only itself.
#[derive(Debug)]
pub(in crate::config) struct Sound<S>(PhantomData<S>);

impl<S: Shape> Shape for Sound<S> {
    type Value = Rows<S::Value>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        let Value::Map(entries) = &node.value else {
            return Table::<S>::read(node, findings);
        };
        let mut rows = Vec::new();
        for entry in entries {
            let mut of_row = Findings::default();
            let value = field::<S>(entry, &mut of_row).map(|at| at.value);
            match of_row.sorted().into_iter().find(|finding| finding.severity == Severity::Error) {
                None => rows.push(Row { name: entry.key.clone(), key: entry.value.label, value }),
                Some(wrong) => {
                    let message = format!("the price of `{}` is left out: {}", entry.key, wrong.message);
                    let finding = Diagnostic::warning(Code::BAD_PRICE_ROW, wrong.place, message);
                    findings.push(match wrong.hint {
                        Some(hint) => finding.hint(hint),
                        None => finding,
                    });
                }
            }
        }
        Some(rows)
    }

    fn example() -> serde_json::Value {
        Table::<S>::example()
    }

    fn filler() -> String {
        Table::<S>::filler()
    }
}

impl<S: Shape> JsonSchema for Sound<S> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Table::<S>::schema_name()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Table::<S>::json_schema(generator)
    }
}
