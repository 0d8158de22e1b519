use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::codes::Code;
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

    /// A hint with the nearest text that is a name: `Long context` as `long-context`.
    pub(super) fn hint_name(self, wrong: &str) -> Self {
        let name: String = wrong.trim().to_lowercase().chars().map(|c| if c.is_whitespace() || c == '/' { '-' } else { c }).collect();
        if name != wrong && RuleName::parse(&name).is_ok() { self.hint(format!("write `{name}`")) } else { self }
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

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}

/// `a`, `b`, `c`, and how many more there are past a dozen.
pub(super) fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(12).map(|name| format!("`{name}`")).collect();
    match names.len().saturating_sub(12) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The name that `wrong` was most likely meant to be: at most a third of its letters differ.
pub(super) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    let folded = fold(wrong);
    let budget = (folded.len() / 3).max(1);
    known
        .iter()
        .map(|name| (distance(&folded, &fold(name)), *name))
        .filter(|(far, name)| *far <= budget && *far < name.chars().count())
        .min_by_key(|(far, _)| *far)
        .map(|(_, name)| name)
}

/// Letters without case, and `-` as `_`: people mix them up.
fn fold(text: &str) -> Vec<char> {
    text.chars().take(300).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Letters to add, drop, change or swap with their neighbour to come from one to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let known = ["limits", "timeouts", "base_url", "anthropic", "openai"];
        for (wrong, name) in [
            ("limit", Some("limits")),
            ("base-url", Some("base_url")),
            ("antropic", Some("anthropic")),
            ("OpenAI", Some("openai")),
            ("opneai", Some("openai")),
            ("colour", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, &known), name, "{wrong:?}");
        }
    }
}
