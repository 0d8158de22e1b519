//! Nodes → draft: a cursor that takes the keys it knows, collects findings and names strangers.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;

use super::codes::Code;
use super::diagnostic::{Diagnostic, Place, Severity, listed};
use super::elsewhere::{Elsewhere, elsewhere};
use super::json_value::flow;
use super::nearest::near;
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

    /// How a value is written: its unit, its bounds, its words. Whole sentences for the schema; nothing where there is nothing to say.
    fn spelling() -> String {
        String::new()
    }

    /// A value as the file would have it, for the schema and for hints; null where each place has its own.
    fn example() -> serde_json::Value {
        serde_json::Value::Null
    }

    /// What to paste behind a key with nothing after it; empty where only the user knows.
    fn filler() -> String {
        flow(&Self::example())
    }

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
    meant: Vec<Meant<'a>>,
}

/// A key that nothing reads, and the one that it was meant to be: told once, and then taken for it, so that neither its absence nor
/// what follows from it is told besides.
struct Meant<'a> {
    key: &'a str,
    /// Where hardly anything else can have been meant.
    value: Option<&'a Entry>,
}

impl<'a> Cursor<'a> {
    /// `about` says what the map is, for messages: `a provider`. Names every key that is not `known` here, and every one that only a
    /// later version knows.
    pub(super) fn open<S: Shape>(
        node: &'a Node,
        about: &'static str,
        (known, later): (&[&'static str], &[&'static str]),
        findings: &mut Findings,
    ) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            let finding = Diagnostic::error(Code::WRONG_TYPE, node.place, format!("{about} is a map, found {}", node.kind()));
            findings.push(finding.hint_example(&S::example()));
            return None;
        };
        findings.ranked(entries, known);
        let mut cursor = Self { about, place: node.label, entries, meant: Vec::new() };
        for entry in entries {
            let key = entry.key.as_str();
            if later.contains(&key) {
                let of = if about == "the file" { String::new() } else { format!(" of {about}") };
                findings.push(not_yet(entry.value.label, &format!("`{key}`{of}")));
            } else if !known.contains(&key) {
                let finding = Diagnostic::error(Code::UNKNOWN_KEY, entry.value.label, format!("{about} has no key `{key}`"));
                findings.push(finding.hint(cursor.stranger(entry, known, later)));
            }
        }
        Some(cursor)
    }

    /// What to say of a key that is not known here.
    fn stranger(&mut self, entry: &'a Entry, known: &[&'static str], later: &[&'static str]) -> String {
        let key = entry.key.as_str();
        if let Some(found) = elsewhere(self.about, key) {
            if let Elsewhere::Called(name) = found {
                self.meant.push(Meant { key: name, value: None });
            }
            return found.hint();
        }
        // A key that is there already is hardly the one that is missing, and one that cannot be used yet hardly the one that is meant.
        let is_free = |name: &&str| !self.entries.iter().any(|other| other.key == **name);
        let free: Vec<&'static str> = known.iter().copied().filter(is_free).collect();
        let of_later = || near(key, later).filter(|found| found.is_sure());
        match near(key, &free).or_else(of_later).or_else(|| near(key, known)) {
            Some(found) => {
                self.meant.push(Meant { key: found.name, value: found.is_sure().then_some(entry) });
                format!("did you mean `{}`?", found.name)
            }
            None => format!("its keys are {}", listed(known)),
        }
    }

    pub(super) fn take<S: Shape>(&self, key: &str, findings: &mut Findings) -> Field<S::Value> {
        let meant = self.meant.iter().find(|meant| meant.key == key);
        match self.entries.iter().find(|entry| entry.key == key).or(meant.and_then(|meant| meant.value)) {
            Some(entry) => field::<S>(entry, findings).map_or(Field::Wrong, |at| Field::Given { key: entry.value.label, at }),
            None if meant.is_some() => Field::Wrong,
            None => Field::Absent,
        }
    }

    pub(super) fn require(&self, key: &str, why: &str, findings: &mut Findings) {
        if !self.entries.iter().any(|entry| entry.key == key) && !self.meant.iter().any(|meant| meant.key == key) {
            findings.push(Diagnostic::error(Code::MISSING_KEY, self.place, format!("{} needs `{key}`", self.about)).hint(why));
        }
    }
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
        let filler = S::filler();
        findings.push(finding.hint(match filler.as_str() {
            "" => format!("write a value after `{}:`, or take the key out", entry.key),
            filler => format!("write a value, such as `{}: {filler}`, or take the key out", entry.key),
        }));
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

/// The key of a field: `match` for `r#match`.
pub(super) const fn key(field: &'static str) -> &'static str {
    match field.as_bytes() {
        [b'r', b'#', ..] => field.split_at(2).1,
        _ => field,
    }
}

/// A map with a fixed set of keys: its draft, its decoder and its schema from one list, so that they cannot differ.
///
/// `key(required: "why")[such as example]: Shape = default,` — the doc comment is the schema's description, with what the shape says of
/// its spelling and the default behind it. Keys under `later` belong to the full grammar and are refused as not yet supported.
/// `schema { … }` adds what a validator can see of the later checks.
macro_rules! draft {
    (
        $(#[doc = $about:literal])*
        $name:ident is $noun:literal $(such as $whole:tt)? {
            $($(#[doc = $doc:literal])* $field:ident $((required: $why:literal))? $([such as $such:tt])? : $shape:ty $(= $default:literal)?,)*
        }
        later [$($later:literal),* $(,)?]
        $(schema $more:tt)?
    ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub(in crate::config) struct $name {
            $($(#[doc = $doc])* pub(in crate::config) $field: $crate::config::decode::Field<<$shape as $crate::config::decode::Shape>::Value>,)*
        }

        impl $name {
            /// Every key, in the order of the schema.
            pub(in crate::config) const KEYS: &'static [&'static str] = &[$($crate::config::decode::key(stringify!($field))),*];
        }

        impl $crate::config::decode::Shape for $name {
            type Value = Self;

            fn read(node: &$crate::config::tree::Node, findings: &mut $crate::config::decode::Findings) -> Option<Self> {
                let known = (Self::KEYS, &[$($later),*] as &[&'static str]);
                let map = $crate::config::decode::Cursor::open::<Self>(node, $noun, known, findings)?;
                $($(map.require($crate::config::decode::key(stringify!($field)), $why, findings);)?)*
                Some(Self { $($field: map.take::<$shape>($crate::config::decode::key(stringify!($field)), findings),)* })
            }

            fn example() -> serde_json::Value {
                let examples: &[serde_json::Value] = &[$(serde_json::json!($whole))?];
                examples.first().cloned().unwrap_or_default()
            }

            fn filler() -> String {
                let required: &[&str] = &[$($($why,)?)*];
                if required.is_empty() { "{}".into() } else { $crate::config::json_value::flow(&Self::example()) }
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
                let mut map = $crate::config::properties::Properties::new(&[$($about),*]);
                $(
                    let (required, default, example): (&[&str], &[serde_json::Value], &[serde_json::Value]) =
                        (&[$($why)?], &[$(serde_json::json!($default))?], &[$(serde_json::json!($such))?]);
                    map.add::<$shape>(generator, $crate::config::properties::Property {
                        key: $crate::config::decode::key(stringify!($field)),
                        about: &[$($doc),*],
                        is_required: !required.is_empty(),
                        default: default.first().cloned(),
                        example: example.first().cloned(),
                    });
                )*
                $(map.extend(serde_json::json!($more));)?
                map.finish()
            }
        }
    };
}
pub(super) use draft;
