//! Nodes → draft: a cursor that takes the keys it knows, collects findings and names strangers.

use schemars::{JsonSchema, Schema};
use serde_json::json;

use super::codes;
use super::diagnostic::{Diagnostic, Place, Severity, listed};
use super::tree::{Entry, Node, Scalar, Value};

/// Every finding so far. One place has each kind of finding once.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Diagnostic>);

impl Findings {
    pub(super) fn push(&mut self, finding: Diagnostic) {
        let is_known = self.0.iter().any(|known| known.code == finding.code && known.place == finding.place);
        if !is_known {
            self.0.push(finding);
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Errors first, then warnings, each in the order of the file.
    pub(super) fn sorted(mut self) -> Vec<Diagnostic> {
        self.0.sort_by_key(|finding| (finding.severity, finding.place));
        self.0
    }
}

/// What may stand in one place of the file: how it is read, and how the schema tells it.
pub(super) trait Shape: JsonSchema {
    type Value: Clone;

    /// The value, or nothing once a finding says why.
    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value>;

    /// One's own value over a copied one: maps join key by key, anything else replaces.
    fn over(own: &Self::Value, _copied: &Self::Value) -> Self::Value {
        own.clone()
    }
}

/// A value and its place.
#[derive(Clone, Debug)]
pub(super) struct At<T> {
    pub(super) place: Place,
    pub(super) value: T,
}

/// One key of a draft, as written.
#[derive(Clone, Debug)]
pub(super) enum Field<T> {
    Absent,
    /// It was there, and a finding says what is wrong with it.
    Wrong,
    Given {
        key: Place,
        at: At<T>,
    },
}

impl<T> Field<T> {
    pub(super) fn get(&self) -> Option<&T> {
        self.at().map(|at| &at.value)
    }

    pub(super) fn at(&self) -> Option<&At<T>> {
        match self {
            Self::Given { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Where the key stands, when it could be read.
    pub(super) fn key(&self) -> Option<Place> {
        match self {
            Self::Given { key, .. } => Some(*key),
            _ => None,
        }
    }

    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Clone> Field<T> {
    /// This field where it is given, else the copied one; joined where both are.
    pub(super) fn over(&self, copied: &Self, join: impl Fn(&T, &T) -> T) -> Self {
        match (self, copied) {
            (Self::Absent, _) => copied.clone(),
            (Self::Given { key, at }, Self::Given { at: below, .. }) => {
                Self::Given { key: *key, at: At { place: at.place, value: join(&at.value, &below.value) } }
            }
            _ => self.clone(),
        }
    }
}

/// The keys of one map, taken one by one.
pub(super) struct Cursor<'a> {
    about: &'static str,
    place: Place,
    entries: &'a [Entry],
}

impl<'a> Cursor<'a> {
    /// `about` says what the map is, for messages: `a provider`.
    pub(super) fn open(node: &'a Node, about: &'static str, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => Some(Self { about, place: node.label, entries }),
            _ => {
                findings.push(Diagnostic::error(codes::WRONG_TYPE, node.place, format!("{about} is a map, found {}", node.kind())));
                None
            }
        }
    }

    pub(super) fn take<S: Shape>(&self, key: &str, findings: &mut Findings) -> Field<S::Value> {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == key) else {
            return Field::Absent;
        };
        field::<S>(entry, findings).map_or(Field::Wrong, |at| Field::Given { key: entry.value.label, at })
    }

    pub(super) fn require(&self, key: &str, why: &str, findings: &mut Findings) {
        if !self.entries.iter().any(|entry| entry.key == key) {
            findings.push(Diagnostic::error(codes::MISSING_KEY, self.place, format!("{} needs `{key}`", self.about)).hint(why));
        }
    }

    /// Names every key that is not known here, and every one that only a later version knows.
    pub(super) fn close(self, known: &[&str], later: &[&str], findings: &mut Findings) {
        for entry in self.entries {
            let key = entry.key.as_str();
            if later.contains(&key) {
                findings.push(not_yet(entry.value.label, &format!("`{key}` of {}", self.about)));
            } else if !known.contains(&key) {
                let candidates: Vec<&str> = known.iter().chain(later).copied().collect();
                let finding = Diagnostic::error(codes::UNKNOWN_KEY, entry.value.label, format!("{} has no key `{key}`", self.about));
                findings.push(match super::diagnostic::nearest(key, &candidates) {
                    Some(name) => finding.hint(format!("did you mean `{name}`?")),
                    None => finding.hint(format!("its keys are {}", listed(known))),
                });
            }
        }
    }
}

/// A setting of the full grammar that this version does not have: never ignored, always said.
pub(super) fn not_yet(place: Place, what: &str) -> Diagnostic {
    Diagnostic::error(codes::NOT_YET_SUPPORTED, place, format!("{what} is not yet supported"))
        .hint("take it out: a setting is refused rather than ignored")
}

/// The value of one entry; a key with nothing after it is told apart.
pub(super) fn field<S: Shape>(entry: &Entry, findings: &mut Findings) -> Option<At<S::Value>> {
    if matches!(entry.value.value, Value::Nothing) {
        let finding = Diagnostic::error(codes::EMPTY_VALUE, entry.value.label, format!("`{}` has nothing after it", entry.key));
        findings.push(finding.hint(format!("write a value after `{0}:`, `{0}: {{}}` for an empty map, or take the key out", entry.key)));
        return None;
    }
    S::read(&entry.value, findings).map(|value| At { place: entry.value.place, value })
}

/// The scalar at a node; `expected` says what belongs there: `a duration such as `10s``.
pub(super) fn scalar<'a>(node: &'a Node, expected: &str, findings: &mut Findings) -> Option<&'a Scalar> {
    match &node.value {
        Value::Scalar(scalar) => Some(scalar),
        _ => {
            findings.push(Diagnostic::error(codes::WRONG_TYPE, node.place, format!("expected {expected}, found {}", node.kind())));
            None
        }
    }
}

/// The schema of a map with a fixed set of keys, built by [`draft!`].
pub(super) struct Properties {
    schema: serde_json::Map<String, serde_json::Value>,
    properties: serde_json::Map<String, serde_json::Value>,
    required: Vec<serde_json::Value>,
}

impl Properties {
    pub(super) fn new(about: &[&str]) -> Self {
        let mut schema = serde_json::Map::new();
        schema.insert("description".into(), json!(sentence(about)));
        Self { schema, properties: serde_json::Map::new(), required: Vec::new() }
    }

    pub(super) fn add(&mut self, key: &str, about: &[&str], defaults: &[serde_json::Value], required: &[&str], value: Schema) {
        let mut property = match serde_json::Value::from(value) {
            serde_json::Value::Object(property) => property,
            _ => serde_json::Map::new(),
        };
        property.insert("description".into(), json!(sentence(about)));
        if let Some(default) = defaults.first() {
            property.insert("default".into(), default.clone());
        }
        if !required.is_empty() {
            self.required.push(json!(key));
        }
        self.properties.insert(key.into(), property.into());
    }

    pub(super) fn finish(mut self) -> Schema {
        self.schema.insert("type".into(), json!("object"));
        self.schema.insert("properties".into(), self.properties.into());
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

/// A map with a fixed set of keys: its draft, its decoder and its schema from one list, so that they cannot differ.
///
/// `key(required: "why"): Shape = default,` — the doc comment is the schema's description; keys under `later` belong to the full
/// grammar and are refused as not yet supported.
macro_rules! draft {
    (
        $(#[doc = $about:literal])*
        $name:ident is $noun:literal {
            $($(#[doc = $doc:literal])* $field:ident $((required: $why:literal))? : $shape:ty $(= $default:literal)?,)*
        }
        later [$($later:literal),* $(,)?]
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub(in crate::config) struct $name {
            $($(#[doc = $doc])* pub(in crate::config) $field: $crate::config::decode::Field<<$shape as $crate::config::decode::Shape>::Value>,)*
        }

        impl $crate::config::decode::Shape for $name {
            type Value = Self;

            fn read(node: &$crate::config::tree::Node, findings: &mut $crate::config::decode::Findings) -> Option<Self> {
                let map = $crate::config::decode::Cursor::open(node, $noun, findings)?;
                $($(map.require(stringify!($field).trim_start_matches("r#"), $why, findings);)?)*
                let draft = Self { $($field: map.take::<$shape>(stringify!($field).trim_start_matches("r#"), findings),)* };
                map.close(&[$(stringify!($field).trim_start_matches("r#")),*], &[$($later),*], findings);
                Some(draft)
            }

            fn over(own: &Self, copied: &Self) -> Self {
                Self { $($field: own.$field.over(&copied.$field, <$shape as $crate::config::decode::Shape>::over),)* }
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let mut properties = $crate::config::decode::Properties::new(&[$($about),*]);
                $(
                    let value = generator.subschema_for::<$shape>();
                    let defaults: &[serde_json::Value] = &[$(serde_json::json!($default))?];
                    let required: &[&str] = &[$($why)?];
                    properties.add(stringify!($field).trim_start_matches("r#"), &[$($doc),*], defaults, required, value);
                )*
                properties.finish()
            }
        }
    };
}
pub(super) use draft;
