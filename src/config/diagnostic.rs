use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::codes::Code;
use super::json_value::flow;
pub(super) use super::nearest::nearest;
use crate::units::RuleName;

/// How bad a finding is: an error keeps a file from loading, a warning does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// A place in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// Which file of the configuration: 0 is the main one, see [`Sources`](super::Sources).
    #[serde(skip)]
    pub file: usize,
    /// 1-based.
    pub line: usize,
    /// 1-based, in characters.
    pub column: usize,
    /// Byte offset where the marked text begins.
    pub start: usize,
    /// Byte offset behind the marked text.
    pub end: usize,
}

/// One finding in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// Lower case, no full stop, with the value that was wrong.
    pub message: String,
    /// The file as the user would name it; absent as long as nobody asked [`Sources`](super::Sources).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<Arc<String>>,
    pub place: Place,
    /// What to do, as text that can be pasted where possible.
    pub hint: Option<String>,
}

impl Diagnostic {
    #[must_use]
    pub fn error(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), file: None, place, hint: None }
    }

    #[must_use]
    pub fn warning(code: Code, place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, place, message) }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// A hint with a value as the file would have it; none where there is no example.
    pub(super) fn hint_example(self, example: &serde_json::Value) -> Self {
        if example.is_null() { self } else { self.hint(format!("write it as in `{}`", flow(example))) }
    }

    /// A hint with the nearest text that is a name: `Long context` as `long-context`.
    pub(super) fn hint_name(self, wrong: &str) -> Self {
        match as_name(wrong) {
            Some(name) => self.hint(format!("write `{name}`")),
            None => self,
        }
    }

    /// A hint that names the nearest of `known`, or else all of them where they are few.
    pub(crate) fn hint_nearest<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(wrong, &known) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None if known.is_empty() || self.hint.is_some() => self,
            None => self.hint(format!("known here: {}", listed(&known))),
        }
    }
}

impl Diagnostic {
    /// The same, where the nearest of `more` is named if none of `known` is near.
    pub(super) fn hint_near<'a>(self, wrong: &str, known: impl IntoIterator<Item = &'a str>, more: &[&str]) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        match nearest(wrong, more).filter(|_| nearest(wrong, &known).is_none()) {
            Some(name) => self.hint(format!("did you mean `{name}`?")),
            None => self.hint_nearest(wrong, known),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// The nearest text that is a name, where this is none: `Code Review!` as `code-review`.
pub(super) fn as_name(wrong: &str) -> Option<String> {
    let is_of_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let words = wrong.trim().to_lowercase().replace('\'', "");
    let name = words.split(|c| !is_of_names(c)).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    (name != wrong && RuleName::parse(&name).is_ok()).then_some(name)
}

/// `a`, `b`, `c`, and how many more there are past a dozen.
pub(super) fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(12) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
