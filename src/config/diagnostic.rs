use std::fmt;

use serde::Serialize;

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
    /// Stable, lower case with dashes: `unknown-provider`.
    pub code: &'static str,
    pub severity: Severity,
    /// Lower case, no full stop, with the value that was wrong.
    pub message: String,
    pub place: Place,
    /// What to do, as text that can be pasted where possible.
    pub hint: Option<String>,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}
