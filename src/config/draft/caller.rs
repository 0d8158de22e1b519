//! `callers:` as written.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::NAME;
use super::budget::OwnBudget;
use super::conditions::Glob;
use super::provider::LimitsDraft;
use crate::config::codes::Code;
use crate::config::collections::{AnyOf, Rows, Several, Table};
use crate::config::decode::{Findings, Shape, draft, scalar};
use crate::config::diagnostic::{Diagnostic, nearest};
use crate::config::shapes::{Flag, Text, scalar_schema};
use crate::config::tree::{Node, Value};

draft! {
    /// Who may ask: a client's key by its hash, and what its requests may do.
    CallerDraft is "a caller"
    such as { "key": "sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918", "tags": { "team": "search" }, "budget": "$50/month" } {
        /// The hash of the key that its clients send; `tollgate key new` makes both.
        key: KeyShape,
        /// Several keys, for the time in which one replaces another.
        keys: Several<KeyShape>,
        /// What rules and budgets may know of it, by tag. Clients cannot change them.
        tags[such as { "team": "search" }]: Table<Text>,
        /// What it may send per time and at once.
        limits: LimitsDraft,
        /// What it may spend, whatever provider serves.
        budget[such as "$50/month"]: OwnBudget,
        /// Patterns on the targets that may serve it, whatever a rule says. Without it all of them.
        allow[such as ["house/*"]]: AnyOf<Glob>,
        /// None of its keys works from then on.
        expires: Expiry,
        /// Whether budgets believe what its clients say of themselves in labels.
        trust_client: Flag = false,
    }
    later []
    schema {
        "allOf": [
            { "oneOf": [{ "required": ["key"] }, { "required": ["keys"] }] }
        ]
    }
}

draft! {
    /// One of several keys, with its own end.
    EndingKeyDraft is "a key" such as { "sha256": "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918", "expires": "2026-12-31" } {
        /// The hash of the key, 64 hexadecimal digits.
        sha256(required: "write `{ sha256: …, expires: 2026-12-31 }`; `tollgate key hash` prints the hash of a key"): HexHash,
        /// The key does not work from then on.
        expires: Expiry,
    }
    later []
}

/// A caller's key as written.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct KeyDraft {
    pub(in crate::config) sha256: [u8; 32],
    pub(in crate::config) expires: Option<When>,
}

/// `sha256:…`, or `{ sha256: …, expires: … }`.
#[derive(Debug)]
pub(in crate::config) struct KeyShape;

impl Shape for KeyShape {
    type Value = KeyDraft;

    fn read(node: &Node, findings: &mut Findings) -> Option<KeyDraft> {
        if matches!(node.value, Value::Map(_)) {
            let draft = EndingKeyDraft::read(node, findings)?;
            let expires = if draft.expires.is_absent() { None } else { Some(*draft.expires.get()?) };
            return Some(KeyDraft { sha256: *draft.sha256.get()?, expires });
        }
        let text = scalar_of_key(node, findings)?;
        let hash = text.strip_prefix("sha256:").and_then(hex);
        if hash.is_none() {
            findings.push(no_hash(node, text, "sha256:"));
        }
        Some(KeyDraft { sha256: hash?, expires: None })
    }

    fn spelling() -> String {
        "`sha256:` and the 64 hexadecimal digits that `tollgate key hash` prints.".into()
    }

    fn example() -> serde_json::Value {
        "sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918".into()
    }
}

impl JsonSchema for KeyShape {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CallerKey".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let ending = json!(generator.subschema_for::<EndingKeyDraft>());
        json_schema!({ "anyOf": [{ "type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$" }, ending] })
    }
}

/// 64 hexadecimal digits.
#[derive(Debug)]
pub(in crate::config) struct HexHash;

scalar_schema!(HexHash: { "type": ["string", "number"], "pattern": "^(sha256:)?[0-9a-fA-F]{64}$" });

impl Shape for HexHash {
    type Value = [u8; 32];

    fn read(node: &Node, findings: &mut Findings) -> Option<[u8; 32]> {
        let text = scalar_of_key(node, findings)?;
        let hash = hex(text.strip_prefix("sha256:").unwrap_or(text));
        if hash.is_none() {
            findings.push(no_hash(node, text, ""));
        }
        hash
    }

    fn spelling() -> String {
        "64 hexadecimal digits.".into()
    }

    fn example() -> serde_json::Value {
        "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918".into()
    }
}

/// The text at a node; what else stands there may be a key, and is not said.
fn scalar_of_key<'a>(node: &'a Node, findings: &mut Findings) -> Option<&'a str> {
    if let Value::Scalar(scalar) = &node.value {
        return Some(&scalar.text);
    }
    let finding = Diagnostic::error(Code::WRONG_TYPE, node.place, "expected the hash of a key, `sha256:…`");
    findings.push(finding.hint("several keys stand in a list under `keys`; `tollgate key hash` prints the hash of a key"));
    None
}

/// What stands where a hash belongs. The text may be the key itself, so that no message has it.
fn no_hash(node: &Node, text: &str, prefix: &str) -> Diagnostic {
    let hash = text.strip_prefix("sha256:").unwrap_or(text);
    let is_hex = !hash.is_empty() && hash.bytes().all(|b| b.is_ascii_hexdigit());
    let finding = |message: String| Diagnostic::error(Code::BAD_HASH, node.place, message);
    if let Some((kind, rest)) = text.split_once(':')
        && kind != "sha256"
        && hex(rest).is_some()
    {
        let finding = finding(format!("`{kind}` is no hash that keys are known by"));
        return finding.hint(if nearest(kind, &["sha256"]).is_some() {
            "did you mean `sha256`?"
        } else {
            "`tollgate key hash` makes one with `sha256`"
        });
    }
    if hash.len() == 64 && is_hex {
        return finding("this hash does not say which one it is".into()).hint(format!("write `{prefix}` in front of it"));
    }
    if text.starts_with("sha256:") || is_hex && hash.len() >= 32 {
        let what = match hash.bytes().find(|b| !b.is_ascii_hexdigit()) {
            Some(_) => "has characters in it that are no hexadecimal digits".to_owned(),
            None => format!("has {} hexadecimal digits", hash.len()),
        };
        return finding(format!("this hash {what}, and a SHA-256 has 64")).hint("`tollgate key hash` prints it whole");
    }
    if text.starts_with("${") {
        return finding("a hash is no secret, and is not read from elsewhere".into())
            .hint(format!("write `{prefix}` and the 64 hexadecimal digits that `tollgate key hash` prints"));
    }
    Diagnostic::error(Code::PLAIN_SECRET, node.place, "this may be the key itself, and the file holds only its hash")
        .hint("`tollgate key hash` makes `sha256:…` of it; a key that stood in a file is better replaced: `tollgate key new`")
}

/// The bytes of 64 hexadecimal digits.
fn hex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A moment, or a day that begins somewhere.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum When {
    At(Timestamp),
    Day(Date),
}

impl When {
    /// A day is its first instant in `zone`.
    pub(in crate::config) fn in_zone(self, zone: &TimeZone) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Day(day) => {
                day.to_zoned(zone.clone()).and_then(|begin| begin.start_of_day()).map_or(Timestamp::MAX, |begin| begin.timestamp())
            }
        }
    }
}

/// `2026-12-31`, or `2026-12-31T18:00:00Z`.
#[derive(Debug)]
pub(in crate::config) struct Expiry;

scalar_schema!(Expiry: {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-9]{2}))?$"
});

impl Shape for Expiry {
    type Value = When;

    fn read(node: &Node, findings: &mut Findings) -> Option<When> {
        let text = scalar(node, "a day such as `2026-12-31`", findings)?.text.as_str();
        let found = if text.len() == 10 { text.parse().map(When::Day).ok() } else { text.parse().map(When::At).ok() };
        if found.is_none() {
            let finding =
                Diagnostic::error(Code::BAD_TIME, node.place, format!("`{text}` is no moment, expected one such as `2026-12-31`"));
            findings.push(finding.hint("write a day, `2026-12-31`, or a moment with its distance from UTC, `2026-12-31T18:00:00Z`"));
        }
        found
    }

    fn spelling() -> String {
        "A day such as `2026-12-31`, from its beginning in `server.timezone` on, or a moment such as `2026-12-31T18:00:00Z`.".into()
    }

    fn example() -> serde_json::Value {
        "2026-12-31".into()
    }
}

/// `2026-12-31T18:00:00Z`.
#[derive(Debug)]
pub(in crate::config) struct Moment;

scalar_schema!(Moment: {
    "type": "string",
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?([Zz]|[+-][0-9]{2}:[0-9]{2})$"
});

impl Shape for Moment {
    type Value = Timestamp;

    fn read(node: &Node, findings: &mut Findings) -> Option<Timestamp> {
        let text = scalar(node, "a moment such as `2026-12-31T18:00:00Z`", findings)?.text.as_str();
        let found = text.parse();
        if found.is_err() {
            let message = format!("`{text}` is no moment, expected one such as `2026-12-31T18:00:00Z`");
            findings.push(Diagnostic::error(Code::BAD_TIME, node.place, message).hint("a moment has its distance from UTC behind it"));
        }
        found.ok()
    }

    fn spelling() -> String {
        "A moment such as `2026-12-31T18:00:00Z`.".into()
    }

    fn example() -> serde_json::Value {
        "2026-12-31T18:00:00Z".into()
    }
}

/// `callers:` as written.
#[derive(Clone, Debug)]
pub(in crate::config) enum CallersDraft {
    Open,
    Entries(Rows<CallerDraft>),
}

impl CallersDraft {
    pub(in crate::config) fn entries(&self) -> &[crate::config::collections::Row<CallerDraft>] {
        match self {
            Self::Open => &[],
            Self::Entries(rows) => rows,
        }
    }
}

impl Shape for CallersDraft {
    type Value = Self;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Scalar(scalar) if scalar.text == "open" => Some(Self::Open),
            Value::Scalar(scalar) => {
                let message = format!("`callers` is `open` or a map of callers, found `{}`", scalar.text);
                let finding = Diagnostic::error(Code::UNKNOWN_WORD, node.place, message);
                findings.push(match nearest(&scalar.text, &["open"]) {
                    Some(_) => finding.hint("did you mean `open`?"),
                    None => finding.hint("write `callers: open`, or name each caller with its `key`"),
                });
                None
            }
            _ => Table::<CallerDraft>::read(node, findings).map(Self::Entries),
        }
    }

    fn example() -> serde_json::Value {
        json!({ "search-team": CallerDraft::example() })
    }

    fn filler() -> String {
        "open".into()
    }
}

impl JsonSchema for CallersDraft {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Callers".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut entries = json!(generator.subschema_for::<Table<CallerDraft>>());
        entries["propertyNames"] = json!({ "pattern": NAME });
        json_schema!({ "anyOf": [{ "const": "open" }, entries] })
    }
}
