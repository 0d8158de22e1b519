//! The JSON Schema of `routes.yaml`, from the types that read it.

use schemars::generate::SchemaSettings;

use super::draft::FileDraft;

/// The schema as `schemas/routes.schema.json` holds it.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<FileDraft>();
    schema.insert("title".into(), "routes.yaml".into());
    schema.into()
}
