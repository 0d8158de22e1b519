//! The JSON Schema of `routes.yaml`, from the types that read it.

use schemars::generate::SchemaSettings;
use serde_json::json;

use super::draft::{FileDraft, IncludedDraft};

/// The schema as `schemas/routes.schema.json` holds it.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<FileDraft>();
    schema.insert("title".into(), "routes.yaml".into());
    // Where they come from included files, this one needs none of its own.
    schema.insert("anyOf".into(), json!([{ "required": ["providers"] }, { "required": ["include"] }]));
    schema.into()
}

/// The schema of included files as `schemas/include.schema.json` holds it.
#[must_use]
pub fn included_schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<IncludedDraft>();
    schema.insert("title".into(), "a file that routes.yaml includes".into());
    schema.into()
}
