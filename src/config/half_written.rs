//! A file that was caught while it was being written, known by what it is.

/// Why a text is taken for a part of what is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfWritten {
    /// The running text begins with it and goes on.
    Prefix,
    /// The running text ended with YAML's end mark `...`, and this one does not.
    EndMarkGone,
}

/// Whether `new` looks half written beside the text of the running revision.
#[must_use]
pub fn half_written(running: &str, new: &str) -> Option<HalfWritten> {
    if new.len() < running.len() && running.starts_with(new) {
        Some(HalfWritten::Prefix)
    } else if has_end_mark(running) && !has_end_mark(new) {
        Some(HalfWritten::EndMarkGone)
    } else {
        None
    }
}

/// Whether the last line that says anything is `...`.
fn has_end_mark(text: &str) -> bool {
    text.lines().rev().map(str::trim_end).find(|line| !line.is_empty()).is_some_and(|line| line == "...")
}

impl std::fmt::Display for HalfWritten {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Prefix => "the file is the beginning of the running one and ends too early",
            Self::EndMarkGone => "the running file ended with the mark `...` and this one does not",
        })
    }
}
