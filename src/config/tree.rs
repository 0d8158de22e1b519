//! YAML text → nodes, each with its place. The only file that knows the YAML crate.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Visitor};
use serde_yaml::{Error, Location, Spanned};

use super::codes::Code;
use super::decode::Findings;
use super::diagnostic::{Diagnostic, Place};
use super::traps;

/// A value of the file and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    /// The key in front of the value; the value itself where it has none.
    pub(super) label: Place,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Nothing at all, `~` or `null`.
    Nothing,
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// Text as it was written: `0755`, `1_000` and `$2_000` arrive unread.
#[derive(Clone, Debug)]
pub(super) struct Scalar {
    pub(super) text: String,
    pub(super) is_quoted: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Node,
}

impl Node {
    /// What stands here, as a noun for messages.
    pub(super) fn kind(&self) -> String {
        match &self.value {
            Value::Nothing => "nothing".into(),
            Value::Scalar(scalar) => format!("`{}`", scalar.text),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
        }
    }
}

/// Reads a whole file; `file` is its place among the files of the configuration. A file that is no YAML has one finding, since nothing behind the mistake can be trusted.
/// A key that is there twice is a finding too; its first value stands.
pub(super) fn parse(text: &str, file: usize, findings: &mut Findings) -> Option<Node> {
    match serde_yaml::from_str_with_options::<Spanned<Raw>>(text, options()) {
        Ok(raw) => Some(Builder { text, file, findings }.node(raw, None)),
        Err(error) => {
            findings.push(refused(text, file, &error));
            None
        }
    }
}

/// Bounds that hold a file of 2,000 rules and stop a bomb within milliseconds.
fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_nodes: 50_000,
            max_events: 100_000,
            max_aliases: 1_000,
            max_depth: 64,
            max_documents: 1,
        },
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: serde_yaml::options::NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

/// The parser's error as a finding of ours.
fn refused(text: &str, file: usize, error: &Error) -> Diagnostic {
    let error = error.without_snippet();
    let place = error.location().map_or(Place { file, ..Place::default() }, |location| place_of(text, file, location));
    let finding = |code, message: String| Diagnostic::error(code, place, message);
    match error {
        Error::AliasError { error, .. } => refused(text, file, error),
        Error::UnknownAnchor { .. } => traps::unknown_anchor(text, place),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            finding(Code::YAML_ALIAS, "this alias stands inside its own anchor".into()).hint("write the values out")
        }
        Error::UnsupportedTag { tag, .. } => {
            finding(Code::YAML_TAG, format!("the tag `{tag}` means nothing here")).hint("remove the tag: values are plain text here")
        }
        Error::MultipleDocuments { .. } | Error::Budget { breach: serde_yaml::budget::BudgetBreach::Documents { .. }, .. } => {
            finding(Code::YAML_DOCUMENTS, "a second YAML document begins here, and one file is one document".into())
                .hint("remove the line `---`")
        }
        Error::Budget { breach, .. } => finding(Code::YAML_TOO_MUCH, too_much(breach)),
        Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. } => finding(Code::YAML_TOO_MUCH, "aliases unfold into too many values".into()),
        Error::MergeValueNotMapOrSeqOfMaps { .. } => finding(Code::YAML_ALIAS, "`<<` takes a map, or a list of maps".into()),
        Error::InvalidScalar { .. } | Error::TaggedScalarCannotDeserializeIntoString { .. } | Error::InvalidBooleanStrict { .. } => {
            finding(Code::YAML_TAG, "the tag does not fit its value".into()).hint("remove the tag: values are plain text here")
        }
        Error::Eof { .. } => finding(Code::YAML_SYNTAX, "the file ends too early".into()),
        other => traps::syntax(text, place, &message_of(other)),
    }
}

/// The message without its place, which stands in front of every finding anyway.
fn message_of(error: &Error) -> String {
    let message = match error {
        Error::ExternalMessage { msg, .. } | Error::Message { msg, .. } => msg.clone(),
        other => other.to_string(),
    };
    let end = message.rfind(" at line ").unwrap_or(message.len());
    message[..end].to_owned()
}

fn too_much(breach: &serde_yaml::budget::BudgetBreach) -> String {
    use serde_yaml::budget::BudgetBreach as Breach;
    match breach {
        Breach::Depth { .. } => "values are nested more than 64 deep".into(),
        Breach::Aliases { .. } => "there are more than 1,000 aliases".into(),
        Breach::Nodes { .. } | Breach::Events { .. } => "there are more than 50,000 values, aliases unfolded".into(),
        _ => "this is more than a file of rules can need".into(),
    }
}

/// A place without byte offsets gets them from its line and column.
fn place_of(text: &str, file: usize, location: Location) -> Place {
    let line = usize::try_from(location.line()).unwrap_or(1).max(1);
    let column = usize::try_from(location.column()).unwrap_or(1).max(1);
    let span = location.span();
    let known = span.byte_offset().zip(span.byte_len()).and_then(|(start, len)| {
        let (start, len) = (usize::try_from(start).ok()?, usize::try_from(len).ok()?);
        Some((start, start.checked_add(len)?))
    });
    let (start, end) = known.unwrap_or_else(|| {
        let line_start = text.split_inclusive('\n').take(line - 1).map(str::len).sum::<usize>();
        let rest = text.get(line_start..).unwrap_or_default().lines().next().unwrap_or_default();
        let start = rest.char_indices().nth(column - 1).map_or(line_start + rest.len(), |(at, _)| line_start + at);
        (start, start)
    });
    Place { file, line, column, start, end }
}

/// What the parser hands over before the source text is looked at.
enum Raw {
    Nothing,
    /// A number or a truth value; the source has its spelling.
    Inferred,
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<Self>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Nothing)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Inferred)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.into()))
    }

    fn visit_string<E>(self, text: String) -> Result<Raw, E> {
        Ok(Raw::Text(text))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Raw::Map(map))
    }
}

struct Builder<'a> {
    text: &'a str,
    file: usize,
    findings: &'a mut Findings,
}

impl Builder<'_> {
    fn node(&mut self, raw: Spanned<Raw>, label: Option<Place>) -> Node {
        let defined = place_of(self.text, self.file, raw.defined);
        // An alias is marked where it is used: that is the line to change.
        let place = if raw.referenced == raw.defined { defined } else { place_of(self.text, self.file, raw.referenced) };
        let value = match raw.value {
            Raw::Nothing => Value::Nothing,
            Raw::Inferred => Value::Scalar(Scalar { text: self.source(defined).into(), is_quoted: false }),
            Raw::Text(text) => Value::Scalar(self.text_scalar(text, defined)),
            Raw::List(items) => Value::List(items.into_iter().map(|item| self.node(item, None)).collect()),
            Raw::Map(entries) => Value::Map(self.entries(entries)),
        };
        Node { place, label: label.unwrap_or(place), value }
    }

    /// A text that only looked like an unusual number arrives as it was written, `1e999` for one.
    fn text_scalar(&self, text: String, defined: Place) -> Scalar {
        let source = self.source(defined);
        let is_quoted = source.starts_with(['"', '\'']);
        let is_number = !is_quoted && matches!(text.as_str(), ".inf" | "-.inf" | ".nan");
        Scalar { text: if is_number { source.into() } else { text }, is_quoted }
    }

    fn entries(&mut self, raw: Vec<(Spanned<Raw>, Spanned<Raw>)>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut lines: BTreeMap<String, usize> = BTreeMap::new();
        for (key, value) in raw {
            let key = self.node(key, None);
            let value = self.node(value, Some(key.place));
            let Value::Scalar(Scalar { text, .. }) = key.value else {
                self.findings.push(
                    Diagnostic::error(Code::BAD_KEY, key.place, format!("a key is plain text, found {}", key.kind()))
                        .hint("quote a text that has `[`, `{` or `:` in it"),
                );
                continue;
            };
            if let Some(line) = lines.get(&text) {
                self.findings.push(
                    Diagnostic::error(Code::DUPLICATE_KEY, key.place, format!("`{text}` is there twice, first in line {line}"))
                        .hint("keep one of the two"),
                );
                continue;
            }
            lines.insert(text.clone(), value.label.line);
            entries.push(Entry { key: text, value });
        }
        entries
    }

    fn source(&self, place: Place) -> &str {
        self.text.get(place.start..place.end).unwrap_or_default().trim()
    }
}
