//! The schema of a map with a fixed set of keys, so that an editor's hover is the manual.

use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::decode::Shape;
use super::json_value::flow;

/// The map as a whole, built key by key.
pub(super) struct Properties {
    schema: Map<String, Value>,
    keys: Map<String, Value>,
    required: Vec<Value>,
}

/// One key.
pub(super) struct Property {
    pub(super) key: &'static str,
    /// The lines of its doc comment.
    pub(super) about: &'static [&'static str],
    pub(super) is_required: bool,
    pub(super) default: Option<Value>,
    /// Where the shape's own example says too little.
    pub(super) example: Option<Value>,
}

impl Properties {
    pub(super) fn new(about: &[&str]) -> Self {
        let mut schema = Map::new();
        schema.insert("description".into(), json!(sentence(about)));
        Self { schema, keys: Map::new(), required: Vec::new() }
    }

    pub(super) fn add<S: Shape>(&mut self, generator: &mut SchemaGenerator, property: Property) {
        let Property { key, about, is_required, default, example } = property;
        let mut schema = match Value::from(generator.subschema_for::<S>()) {
            Value::Object(schema) => schema,
            _ => Map::new(),
        };
        let default_words = default.as_ref().map(|default| format!("Default: `{}`.", flow(default)));
        let words = [sentence(about), S::spelling(), default_words.unwrap_or_default()];
        schema.insert("description".into(), json!(words.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ")));
        let own = Some(S::example()).filter(|example| !example.is_null());
        if let Some(example) = example.or(own).or_else(|| default.clone()) {
            schema.insert("examples".into(), json!([example]));
        }
        if let Some(default) = default {
            schema.insert("default".into(), default);
        }
        if is_required {
            self.required.push(json!(key));
        }
        self.keys.insert(key.into(), schema.into());
    }

    /// What a validator can see of the later checks.
    pub(super) fn extend(&mut self, more: Value) {
        if let Value::Object(more) = more {
            self.schema.extend(more);
        }
    }

    pub(super) fn finish(mut self) -> Schema {
        self.schema.insert("type".into(), json!("object"));
        self.schema.insert("properties".into(), self.keys.into());
        self.schema.insert("additionalProperties".into(), json!(false));
        if !self.required.is_empty() {
            self.schema.insert("required".into(), self.required.into());
        }
        Schema::from(self.schema)
    }
}

/// The lines of a doc comment as one text.
fn sentence(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}
