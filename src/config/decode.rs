//! Nodes → draft: a cursor that takes the keys it knows, collects findings and names strangers.

use std::collections::{BTreeMap, BTreeSet};

use schemars::{JsonSchema, Schema};
use serde_json::json;

use super::codes::Code;
use super::diagnostic::{Diagnostic, Place, Severity, listed, nearest};
use super::tree::{Entry, Node, Scalar, Value};

/// Every finding so far, each once: what `like` copies is looked at again for every copy.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The files of the configuration as the user would name them; empty where there is but one.
    files: Vec<String>,
    all: Vec<Diagnostic>,
    told: BTreeSet<(Place, String)>,
    form: Option<Form>,
}

/// How what was read is written canonically; kept only where a file is to be formatted.
#[derive(Debug, Default)]
pub(super) struct Form {
    /// Where another spelling is the canonical one.
    pub(super) spellings: BTreeMap<Place, String>,
    /// By the place of a map's first key: the canonical rank of each of its keys, in the order of the file.
    pub(super) ranks: BTreeMap<Place, Vec<usize>>,
}

impl Findings {
    /// Keeps the canonical form of what is read, too.
    pub(super) fn with_form() -> Self {
        Self { form: Some(Form::default()), ..Self::default() }
    }

    /// The canonical form of what was read.
    pub(super) fn form(&mut self) -> Form {
        self.form.take().unwrap_or_default()
    }

    /// Says how the scalar at a node is written canonically.
    pub(super) fn spelled(&mut self, node: &Node, spelling: impl FnOnce() -> String) {
        let Value::Scalar(scalar) = &node.value else { return };
        if let Some(form) = &mut self.form {
            let spelling = spelling();
            if spelling != scalar.text {
                form.spellings.insert(node.place, spelling);
            }
        }
    }

    fn ranked(&mut self, entries: &[Entry], known: &[&str]) {
        if let (Some(form), Some(first)) = (&mut self.form, entries.first()) {
            let rank = |entry: &Entry| known.iter().position(|key| *key == entry.key).unwrap_or(known.len());
            form.ranks.insert(first.value.label, entries.iter().map(rank).collect());
        }
    }

    pub(super) fn of(files: Vec<String>) -> Self {
        Self { files, ..Self::default() }
    }

    /// A place that a message in another one points to: `line 12`, or `rules/team-a.yaml:12` where that is another file.
    pub(super) fn pointed(&self, to: Place, from: Place) -> String {
        match self.files.get(to.file) {
            Some(file) if to.file != from.file => format!("{file}:{}", to.line),
            _ => format!("line {}", to.line),
        }
    }

    pub(super) fn push(&mut self, finding: Diagnostic) {
        if self.told.insert((finding.place, finding.message.clone())) {
            self.all.push(finding);
        }
    }

    pub(super) fn has_errors(&self) -> bool {
        self.all.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Errors first, then warnings, each in the order of the file.
    pub(super) fn sorted(mut self) -> Vec<Diagnostic> {
        self.all.sort_by_key(|finding| (finding.severity, finding.place));
        self.all
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
pub struct At<T> {
    pub place: Place,
    pub value: T,
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
        let Value::Map(entries) = &node.value else {
            findings.push(Diagnostic::error(Code::WRONG_TYPE, node.place, format!("{about} is a map, found {}", node.kind())));
            return None;
        };
        Some(Self { about, place: node.label, entries })
    }

    pub(super) fn take<S: Shape>(&self, key: &str, findings: &mut Findings) -> Field<S::Value> {
        let Some(entry) = self.entries.iter().find(|entry| entry.key == key) else {
            return Field::Absent;
        };
        field::<S>(entry, findings).map_or(Field::Wrong, |at| Field::Given { key: entry.value.label, at })
    }

    pub(super) fn require(&self, key: &str, why: &str, findings: &mut Findings) {
        if !self.entries.iter().any(|entry| entry.key == key) {
            findings.push(Diagnostic::error(Code::MISSING_KEY, self.place, format!("{} needs `{key}`", self.about)).hint(why));
        }
    }

    /// Names every key that is not known here, and every one that only a later version knows.
    pub(super) fn close(self, known: &[&str], later: &[&str], findings: &mut Findings) {
        findings.ranked(self.entries, known);
        for entry in self.entries {
            let key = entry.key.as_str();
            if later.contains(&key) {
                let of = if self.about == "the file" { String::new() } else { format!(" of {}", self.about) };
                findings.push(not_yet(entry.value.label, &format!("`{key}`{of}")));
            } else if !known.contains(&key) {
                let candidates: Vec<&str> = known.iter().chain(later).copied().collect();
                let finding = Diagnostic::error(Code::UNKNOWN_KEY, entry.value.label, format!("{} has no key `{key}`", self.about));
                findings.push(match elsewhere(self.about, key) {
                    Some(hint) => finding.hint(hint),
                    None => match nearest(key, &candidates) {
                        Some(name) => finding.hint(format!("did you mean `{name}`?")),
                        None => finding.hint(format!("its keys are {}", listed(known))),
                    },
                });
            }
        }
    }
}

/// What a key of another gateway, or of another place, is called here.
fn elsewhere(about: &str, key: &str) -> Option<String> {
    let name = match (about, key) {
        ("`default`", "match" | "unless" | "name") => {
            return Some("`default` has no conditions: it holds for what no rule matched".into());
        }
        ("the file", "routes" | "route") => "rules",
        ("the file", "models" | "model_list" | "backends" | "upstreams") => "providers",
        ("the file", "fallback" | "fallbacks") => "chains",
        ("a provider", "key" | "apikey" | "api-key" | "token" | "secret") => "api_key",
        ("a provider", "url" | "endpoint" | "api_base" | "host" | "baseurl") => "base_url",
        ("a provider", "type" | "kind" | "api") => "format",
        ("a provider", "rate_limit" | "rate_limits" | "quota") => "limits",
        ("a provider" | "a model", "price" | "prices" | "pricing" | "cost") => "usd_per_mtok",
        ("a model", "context_window" | "max_context" | "context_length") => "context",
        ("a rule", "when" | "if" | "conditions" | "where") => "match",
        ("a rule", "route" | "targets" | "target" | "providers" | "fallbacks" | "use" | "to") => "chain",
        ("a match", "model_name" | "requested_model") => "model",
        ("a match", "tokens" | "length" | "prompt_length") => "prompt_tokens",
        ("`limits`", "rpm" | "rps") => "requests",
        ("`limits`", "tpm") => "tokens",
        ("`limits`", "concurrency" | "parallel" | "max_parallel_requests") => "concurrent",
        ("`server`", "port" | "address" | "bind" | "host") => "listen",
        _ => return None,
    };
    Some(format!("here it is called `{name}`"))
}

/// A setting of the full grammar that this version does not have: never ignored, always said.
pub(super) fn not_yet(place: Place, what: &str) -> Diagnostic {
    Diagnostic::error(Code::NOT_YET_SUPPORTED, place, format!("{what} is not yet supported"))
        .hint("take it out until a later version brings it")
}

/// The value of one entry; a key with nothing after it is told apart.
pub(super) fn field<S: Shape>(entry: &Entry, findings: &mut Findings) -> Option<At<S::Value>> {
    if matches!(entry.value.value, Value::Nothing) {
        let finding = Diagnostic::error(Code::EMPTY_VALUE, entry.value.label, format!("`{}` has nothing after it", entry.key));
        findings.push(finding.hint(format!("write a value after `{0}:`, `{0}: {{}}` for an empty map, or take the key out", entry.key)));
        return None;
    }
    S::read(&entry.value, findings).map(|value| At { place: entry.value.place, value })
}

/// The scalar at a node; `expected` says what belongs there: a duration such as `10s`.
pub(super) fn scalar<'a>(node: &'a Node, expected: &str, findings: &mut Findings) -> Option<&'a Scalar> {
    let Value::Scalar(scalar) = &node.value else {
        findings.push(Diagnostic::error(Code::WRONG_TYPE, node.place, format!("expected {expected}, found {}", node.kind())));
        return None;
    };
    Some(scalar)
}

/// The schema of a map with a fixed set of keys, built by [`draft!`].
pub(super) struct Properties {
    schema: serde_json::Map<String, serde_json::Value>,
    keys: serde_json::Map<String, serde_json::Value>,
    required: Vec<serde_json::Value>,
}

impl Properties {
    pub(super) fn new(about: &[&str]) -> Self {
        let mut schema = serde_json::Map::new();
        schema.insert("description".into(), json!(sentence(about)));
        Self { schema, keys: serde_json::Map::new(), required: Vec::new() }
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
        self.keys.insert(key.into(), property.into());
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
