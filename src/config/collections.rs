//! Shapes made of other shapes: tables, lists, one or many, `off` or a value.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value as Json, json};

use super::codes::Code;
use super::decode::{At, Findings, Shape, field};
use super::diagnostic::{Diagnostic, Place};
use super::tree::{Entry, Node, Scalar, Value};

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
            let finding = Diagnostic::error(Code::WRONG_TYPE, node.place, message);
            findings.push(finding.hint(named_instead(node, &S::filler())));
            return None;
        };
        let row =
            |entry: &Entry| Row { name: entry.key.clone(), key: entry.value.label, value: field::<S>(entry, findings).map(|at| at.value) };
        Some(entries.iter().map(row).collect())
    }

    fn example() -> Json {
        json!({ "name": S::example() })
    }

    fn filler() -> String {
        "{}".into()
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

/// What to write where a list or a single value stands, and names with values behind them belong.
fn named_instead(node: &Node, filler: &str) -> String {
    let items = match &node.value {
        Value::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let text = |item: &Node| match &item.value {
        Value::Scalar(scalar) => Some(format!("{}: {filler}", scalar.text)),
        _ => None,
    };
    match items.iter().map(text).collect::<Option<Vec<String>>>() {
        Some(entries) if filler == "{}" && (1..=6).contains(&entries.len()) => format!("write `{{ {} }}`", entries.join(", ")),
        _ => "write each name in front of what it stands for, `name: …`, without a `-`".into(),
    }
}

/// A list, never empty.
#[derive(Debug)]
pub(super) struct List<S>(PhantomData<S>);

impl<S: Shape> Shape for List<S> {
    type Value = Vec<At<S::Value>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        let Value::List(items) = &node.value else {
            findings.push(no_list(node));
            return None;
        };
        read_items::<S>(node, items, findings)
    }

    fn spelling() -> String {
        format!("A list. {}", S::spelling()).trim_end().into()
    }

    fn example() -> Json {
        Some(S::example()).filter(|item| !item.is_null()).map_or(Json::Null, |item| json!([item]))
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

    fn spelling() -> String {
        format!("{} A list means any of its items.", S::spelling()).trim_start().into()
    }

    fn example() -> Json {
        S::example()
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

/// One value, or a list of values that all count.
#[derive(Debug)]
pub(super) struct Several<S>(PhantomData<S>);

impl<S: Shape> Shape for Several<S> {
    type Value = Vec<At<S::Value>>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        AnyOf::<S>::read(node, findings)
    }

    fn spelling() -> String {
        format!("{} Or a list of them.", S::spelling()).trim_start().into()
    }

    fn example() -> Json {
        S::example()
    }
}

impl<S: Shape> JsonSchema for Several<S> {
    fn schema_name() -> Cow<'static, str> {
        format!("SeveralOf{}", S::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        AnyOf::<S>::json_schema(generator)
    }
}

/// All items are looked at, so that every wrong one is told; one wrong item makes the whole list wrong.
fn read_items<S: Shape>(node: &Node, items: &[Node], findings: &mut Findings) -> Option<Vec<At<S::Value>>> {
    if items.is_empty() {
        let finding = Diagnostic::error(Code::EMPTY_LIST, node.label, "this list is empty, so nothing can come of it");
        findings.push(finding.hint("write at least one item, or take the key out"));
        return None;
    }
    let read: Vec<Option<At<S::Value>>> = items
        .iter()
        .map(|item| match &item.value {
            Value::Nothing => {
                findings.push(empty_item(item));
                None
            }
            _ => S::read(item, findings).map(|value| At { place: item.place, value }),
        })
        .collect();
    read.into_iter().collect()
}

/// An item that is only its `-`.
pub(super) fn empty_item(item: &Node) -> Diagnostic {
    let finding = Diagnostic::error(Code::EMPTY_VALUE, item.place, "an item of this list has nothing in it");
    finding.hint("write a value behind the `-`, or take the line out")
}

/// Something other than a list where a list belongs.
pub(super) fn no_list(node: &Node) -> Diagnostic {
    let finding = Diagnostic::error(Code::WRONG_TYPE, node.place, format!("expected a list, found {}", node.kind()));
    match &node.value {
        Value::Scalar(scalar) => finding.hint(format!("write `[{}]`", scalar.text)),
        _ => finding.hint("a list has its items behind `- `, or in `[…]`"),
    }
}

/// `off`, or a value.
#[derive(Debug)]
pub(super) struct OrOff<S>(PhantomData<S>);

impl<S: Shape> Shape for OrOff<S> {
    type Value = Option<S::Value>;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text == "off" => Some(None),
            Value::Scalar(Scalar { text, .. }) if matches!(text.as_str(), "no" | "none" | "never" | "false" | "disabled") => {
                let finding = Diagnostic::error(Code::UNKNOWN_WORD, node.place, format!("`{text}` is not the word that switches this off"));
                findings.push(finding.hint("write `off`"));
                None
            }
            _ => S::read(node, findings).map(Some),
        }
    }

    fn spelling() -> String {
        format!("{} Or `off`.", S::spelling()).trim_start().into()
    }

    fn example() -> Json {
        S::example()
    }

    fn filler() -> String {
        S::filler()
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
