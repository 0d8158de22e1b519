//! What YAML itself trips people with: each mistake that is common has a hint of its own.

use super::codes;
use super::diagnostic::{Diagnostic, Place};

/// A syntax error, with a hint where the line shows a common cause.
pub(super) fn syntax(text: &str, place: Place, message: &str) -> Diagnostic {
    let line = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
    let before = text.lines().nth(place.line.saturating_sub(2)).unwrap_or_default();
    let finding = Diagnostic::error(codes::YAML_SYNTAX, place, plain(message));
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') || message.contains("tab") {
        finding.hint("YAML is indented by spaces; replace the tab by spaces")
    } else if let Some(reference) = unquoted_reference(line).or_else(|| unquoted_reference(before)) {
        finding.hint(format!("inside `{{…}}` and `[…]` a reference is quoted: `\"{reference}\"`"))
    } else if message.contains("unexpected character") {
        finding.hint("quote a text that begins with `@`, `` ` `` or `%`")
    } else if message.contains("mapping values are not allowed") {
        finding.hint("check the indentation of this line and the space after each `:`; quote a text that has `: ` in it")
    } else if message.contains("quote") {
        finding.hint("a quote that opens here is never closed")
    } else if message.contains("flow") || message.contains("illegal placement of ':'") {
        finding.hint("a `[` or `{` above may lack its `]` or `}`, or a comma is missing")
    } else if message.contains("expected key") || message.contains("document start") || message.contains("block") {
        finding.hint("check the indentation: keys of one map begin in the same column, items of one list with `- ` in the same column")
    } else {
        finding
    }
}

/// `*-mini` is an alias to YAML, and a pattern to people.
pub(super) fn unknown_anchor(text: &str, place: Place) -> Diagnostic {
    let rest = text.get(place.start..).unwrap_or_default();
    let end = rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len());
    let word = &rest[..end];
    let place = Place { end: place.start + end, ..place };
    Diagnostic::error(codes::YAML_ALIAS, place, format!("`{word}` is an alias to YAML, and nothing is anchored under that name"))
        .hint(format!("quote a pattern that begins with `*`: `\"{word}\"`"))
}

/// The parser's message in the spelling of ours.
fn plain(message: &str) -> String {
    message
        .trim_end_matches('.')
        .replace("`\\u{0}'", "a NUL character")
        .replace("`@'", "`@`")
        .replace("``'", "`` ` ``")
        .replace("`%'", "`%`")
}

/// `${…}` that stands unquoted behind a `{`, `[` or `,`.
fn unquoted_reference(line: &str) -> Option<&str> {
    let start = line.find("${")?;
    let is_in_flow = line[..start].contains(['{', '[', ',']);
    let is_quoted = line[..start].trim_end().ends_with(['"', '\'']);
    let end = line[start..].find('}').map(|at| start + at + 1)?;
    let end = if line[end..].starts_with('?') { end + 1 } else { end };
    (is_in_flow && !is_quoted).then(|| &line[start..end])
}
