use serde_json::{Map, Value, json};

use super::MARK;

/// Nesting that an example follows; what lies deeper is null.
const DEPTH: usize = 16;

/// The smallest JSON value that fits a schema, as far as its usual words go. Without one: an object that says what it is.
pub(super) fn of(schema: Option<&Value>) -> Value {
    match schema {
        Some(schema) => fit(schema, schema, DEPTH),
        None => json!({ "sandbox": format!("{MARK} no provider was asked") }),
    }
}

fn fit(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    if let Some(target) = schema["$ref"].as_str() {
        let found = target.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return found.map_or(Value::Null, |found| fit(found, root, depth));
    }
    if let Some(value) = schema.get("const").or_else(|| schema["enum"].get(0)).or_else(|| schema.get("default")) {
        return value.clone();
    }
    if let Some(first) = ["anyOf", "oneOf", "allOf"].iter().find_map(|word| schema[*word].get(0)) {
        return fit(first, root, depth);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0)?.as_str());
    match kind {
        Some("string") => text(schema),
        Some("integer" | "number") => number(schema),
        Some("boolean") => Value::Bool(false),
        Some("array") => {
            let least = schema["minItems"].as_u64().unwrap_or(0).min(64);
            (0..least).map(|_| fit(&schema["items"], root, depth)).collect()
        }
        Some("object") => object(schema, root, depth),
        None if schema["properties"].is_object() => object(schema, root, depth),
        _ => Value::Null,
    }
}

fn object(schema: &Value, root: &Value, depth: usize) -> Value {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(name, schema)| (name.clone(), fit(schema, root, depth))).collect::<Map<_, _>>().into()
}

fn text(schema: &Value) -> Value {
    let length = |word: &str| schema[word].as_u64().and_then(|length| usize::try_from(length.min(4_096)).ok());
    let mut text: String = MARK.chars().take(length("maxLength").unwrap_or(usize::MAX)).collect();
    while text.chars().count() < length("minLength").unwrap_or(0) {
        text.push('.');
    }
    text.into()
}

fn number(schema: &Value) -> Value {
    if let Some(above) = schema["exclusiveMinimum"].as_i64() {
        return (above + 1).into();
    }
    let bound = ["minimum", "maximum"].iter().find_map(|word| schema.get(word));
    match bound {
        // Zero lies between the bounds more often than not; a bound itself always fits.
        Some(bound) if schema["minimum"].as_f64().is_some_and(|least| least > 0.0) => bound.clone(),
        Some(_) if schema["maximum"].as_f64().is_some_and(|most| most < 0.0) => schema["maximum"].clone(),
        _ => 0.into(),
    }
}
