//! Shapes made of other shapes: tables, lists, one or many, `off` or a value.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::json;

use super::codes::Code;
use super::decode::{At, Findings, Shape, field};
use super::diagnostic::{Diagnostic, Place};
use super::tree::{Entry, Node, Value};

/// A map from names to one kind of value, in the order of the file.
#[derive(Debug)]
pub(super) struct Table<S>(PhantomData<S>);

/// The entries of a [`Table`]: name, place of the name, value.
pub(super) type Rows<T> = Vec<Row<T>>;

#[derive(Clone, Debug)]
pub(super) struct Row<T> {
    pub(super) name: String,
    pub(super) key: Place,
    /// Absent when a finding says what is wrong with it.
    pub(super) value: Option<T>,
}

impl<S: Shape> Shape for Table<S> {
    type Value = Rows<S::Value>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        let Value::Map(entries) = &node.value else {
            let message = format!("expected a map from names to values, found {}", node.kind());
            findings.push(Diagnostic::error(Code::WRONG_TYPE, node.place, message));
            return None;
        };
        let row =
            |entry: &Entry| Row { name: entry.key.clone(), key: entry.value.label, value: field::<S>(entry, findings).map(|at| at.value) };
        Some(entries.iter().map(row).collect())
    }

    fn over(own: &Self::Value, copied: &Self::Value) -> Self::Value {
        let mut rows: Self::Value = own.clone();
        for below in copied {
            match rows.iter_mut().find(|row| row.name == below.name) {
                Some(row) => {
                    if let (Some(value), Some(under)) = (&row.value, &below.value) {
                        row.value = Some(S::over(value, under));
                    }
                }
                None => rows.push(below.clone()),
            }
        }
        rows
    }
}

impl<S: Shape> JsonSchema for Table<S> {
    fn schema_name() -> Cow<'static, str> {
        format!("TableOf{}", S::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let values = generator.subschema_for::<S>();
        schemars::json_schema!({ "type": "object", "additionalProperties": values })
    }
}

/// A list, never empty.
#[derive(Debug)]
pub(super) struct List<S>(PhantomData<S>);

impl<S: Shape> Shape for List<S> {
    type Value = Vec<At<S::Value>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        let Value::List(items) = &node.value else {
            findings.push(Diagnostic::error(Code::WRONG_TYPE, node.place, format!("expected a list, found {}", node.kind())));
            return None;
        };
        read_items::<S>(node, items, findings)
    }
}

impl<S: Shape> JsonSchema for List<S> {
    fn schema_name() -> Cow<'static, str> {
        format!("ListOf{}", S::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let items = generator.subschema_for::<S>();
        schemars::json_schema!({ "type": "array", "items": items, "minItems": 1 })
    }
}

/// One value, or a list of which any may hold.
#[derive(Debug)]
pub(super) struct AnyOf<S>(PhantomData<S>);

impl<S: Shape> Shape for AnyOf<S> {
    type Value = Vec<At<S::Value>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        match &node.value {
            Value::List(items) => read_items::<S>(node, items, findings),
            _ => S::read(node, findings).map(|value| vec![At { place: node.place, value }]),
        }
    }
}

impl<S: Shape> JsonSchema for AnyOf<S> {
    fn schema_name() -> Cow<'static, str> {
        format!("AnyOf{}", S::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = json!(generator.subschema_for::<S>());
        schemars::json_schema!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
    }
}

/// All items are looked at, so that every wrong one is told; one wrong item makes the whole list wrong.
fn read_items<S: Shape>(node: &Node, items: &[Node], findings: &mut Findings) -> Option<Vec<At<S::Value>>> {
    if items.is_empty() {
        findings.push(Diagnostic::error(Code::EMPTY_LIST, node.label, "this list is empty, so nothing can come of it"));
        return None;
    }
    let read: Vec<Option<At<S::Value>>> = items
        .iter()
        .map(|item| match &item.value {
            Value::Nothing => {
                findings.push(Diagnostic::error(Code::EMPTY_VALUE, item.place, "an item of this list has nothing in it"));
                None
            }
            _ => S::read(item, findings).map(|value| At { place: item.place, value }),
        })
        .collect();
    read.into_iter().collect()
}

/// `off`, or a value.
#[derive(Debug)]
pub(super) struct OrOff<S>(PhantomData<S>);

impl<S: Shape> Shape for OrOff<S> {
    type Value = Option<S::Value>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text == "off" => Some(None),
            _ => S::read(node, findings).map(Some),
        }
    }

    fn over(own: &Self::Value, copied: &Self::Value) -> Self::Value {
        match (own, copied) {
            (Some(own), Some(copied)) => Some(S::over(own, copied)),
            _ => own.clone(),
        }
    }
}

impl<S: Shape> JsonSchema for OrOff<S> {
    fn schema_name() -> Cow<'static, str> {
        format!("OffOr{}", S::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let value = json!(generator.subschema_for::<S>());
        schemars::json_schema!({ "anyOf": [{ "const": "off" }, value] })
    }
}
