//! What YAML itself trips people with: each mistake that is common has a hint of its own.

use super::codes::Code;
use super::diagnostic::{Diagnostic, Place};

/// A syntax error, with a hint where the lines show a common cause.
pub(super) fn syntax(text: &str, place: Place, message: &str) -> Diagnostic {
    let line_at = |number: usize| text.lines().nth(number.wrapping_sub(1)).unwrap_or_default();
    let (line, before) = (line_at(place.line), line_at(place.line.saturating_sub(1)));
    let place = if message.contains("tab") { at_tab(text, place) } else { place };
    let finding = Diagnostic::error(Code::YAML_SYNTAX, place, plain(message));
    if let Some(reference) = unquoted_reference(line).or_else(|| unquoted_reference(before)) {
        return finding.hint(format!("inside `{{…}}` and `[…]` a reference is quoted: `\"{reference}\"`"));
    }
    for (number, line) in [(place.line.saturating_sub(1), before), (place.line, line)] {
        if let Some(key) = key_without_space(line) {
            let (indent, words) = (line.len() - line.trim_start().len(), line.trim());
            let start = text.split_inclusive('\n').take(number - 1).map(str::len).sum::<usize>() + indent;
            let place = Place { line: number, column: indent + 1, start, end: start + words.len(), ..place };
            let message = format!("`{key}:` is part of a text here, since no space follows it");
            return Diagnostic::error(Code::YAML_SYNTAX, place, message).hint(format!("write a space behind `{key}:`"));
        }
    }
    match hint(line, place, message) {
        Some(hint) if hint == UNCLOSED => finding.hint(unclosed(text, place).unwrap_or_else(|| hint.into())),
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

const UNCLOSED: &str = "a `[` or `{` above may lack its `]` or `}`, or a comma is missing";

/// The innermost bracket that is open at a place, when it was opened in a line above.
fn unclosed(text: &str, place: Place) -> Option<String> {
    let mut open: Vec<(usize, char)> = Vec::new();
    for (number, line) in text.get(..place.start)?.lines().enumerate() {
        let mut quote = None;
        let mut last = ' ';
        for c in line.chars() {
            match (quote, c) {
                (None, '#') if last == ' ' => break,
                (None, '"' | '\'') if !last.is_alphanumeric() => quote = Some(c),
                (None, '[' | '{') => open.push((number + 1, c)),
                (None, ']' | '}') => drop(open.pop()),
                (Some(mark), c) if mark == c => quote = None,
                _ => {}
            }
            last = c;
        }
    }
    let (line, bracket) = open.pop().filter(|(line, _)| *line < place.line)?;
    let closing = if bracket == '[' { ']' } else { '}' };
    Some(format!("the `{bracket}` in line {line} lacks its `{closing}`, or a comma is missing behind it"))
}

fn hint(line: &str, place: Place, message: &str) -> Option<&'static str> {
    let indent = &line[..line.len() - line.trim_start().len()];
    let is_first_colon = line.chars().take(place.column.saturating_sub(1)).all(|c| c != ':');
    Some(match message {
        _ if indent.contains('\t') || message.contains("tab") => "YAML is indented by spaces: replace the tab by spaces",
        _ if message.contains("unexpected character") => "put the text into quotes",
        _ if message.contains("mapping values are not allowed") && is_first_colon => {
            "check the indentation: keys of one map begin in the same column"
        }
        _ if message.contains("mapping values are not allowed") => "put a text that has `: ` in it into quotes",
        _ if message.contains("quote") => "add the closing quote",
        _ if message.contains("flow") || message.contains("illegal placement of ':'") => UNCLOSED,
        _ if message.contains("block sequence entries") => "begin a list on a line of its own, each item with `- `, or write `[…]`",
        _ if message.contains("expected key") || message.contains("document start") => {
            "check the indentation: keys of one map begin in the same column, and so do the `- ` of one list"
        }
        _ => return None,
    })
}

/// The tab that the parser stumbled over: it names the end of what it read before.
fn at_tab(text: &str, place: Place) -> Place {
    let line_begin = text.get(..place.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
    let Some(start) = text.get(line_begin..).and_then(|rest| rest.find('\t')).map(|at| line_begin + at) else {
        return place;
    };
    let before = &text[..start];
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Place { line: before.matches('\n').count() + 1, column, start, end: start + 1, ..place }
}

/// The key of a line such as `version:1`.
fn key_without_space(line: &str) -> Option<&str> {
    let (key, value) = line.trim_start().trim_start_matches("- ").split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_key && value.starts_with(|c: char| c.is_alphanumeric() || "$[{".contains(c))).then_some(key)
}

/// `*-mini` is an alias to YAML, and a pattern to people.
pub(super) fn unknown_anchor(text: &str, place: Place) -> Diagnostic {
    let rest = text.get(place.start..).unwrap_or_default();
    let end = rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len());
    let word = &rest[..end];
    let place = Place { end: place.start + end, ..place };
    Diagnostic::error(Code::YAML_ALIAS, place, format!("`{word}` is an alias to YAML, and nothing is anchored under that name"))
        .hint(format!("quote a pattern that begins with `*`: `\"{word}\"`"))
}

/// The parser's message in words of ours; what is rare stays as it is.
fn plain(message: &str) -> String {
    if let Some(character) = message.strip_prefix("unexpected character: `").and_then(|rest| rest.strip_suffix('\'')) {
        return format!("a text cannot begin with `{character}`");
    }
    let known = [
        ("mapping values are not allowed", "a `:` stands where no key can be"),
        ("illegal placement of ':'", "a `:` stands where no key can be"),
        ("while parsing a block mapping", "expected another key of this map"),
        ("while parsing a block collection", "expected another item of this list"),
        ("did not find expected <document start>", "expected another key of the file"),
        ("while parsing a flow mapping", "expected `,` or `}`"),
        ("while parsing a flow sequence", "expected `,` or `]`"),
        ("tabs disallowed", "a tab stands in the indentation"),
        ("while scanning a plain scalar, found a tab", "a tab stands in or before this text"),
        ("unclosed quote", "this quote is never closed"),
        ("block sequence entries are not allowed", "a list cannot begin here"),
    ];
    known
        .iter()
        .find(|(theirs, _)| message.contains(theirs))
        .map_or_else(|| message.trim_end_matches('.').into(), |(_, ours)| (*ours).into())
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
