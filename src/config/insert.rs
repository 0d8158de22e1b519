//! A caller's key put into a text that people write: what stands there stays as it is, comments and layout too.

use super::decode::Findings;
use super::diagnostic::Diagnostic;
use super::read_node;
use super::tree::{Entry, Node, Value};

/// Keys that one caller may have: one, and one that takes its place.
const MOST_KEYS: usize = 2;
/// Before which of the file's keys the callers go, where there are none yet.
const BEFORE: [&str; 4] = ["chains", "rules", "default", "tests"];

/// Why a key cannot be put into the text.
#[derive(Debug)]
pub enum NoRoom {
    /// It is no YAML.
    Unread(Vec<Diagnostic>),
    /// It says `callers: open`.
    Open,
    /// The caller has two keys already.
    TwoKeys,
    /// It is laid out in a way that is left to people.
    ByHand,
}

/// The text with one more key of the caller: a new entry under `callers`, or a second key in the entry that is there. Nothing where
/// there is no entry and `may_add` says no. `key` is `sha256:…`.
pub fn with_key(text: &str, caller: &str, key: &str, may_add: bool) -> Result<Option<String>, NoRoom> {
    let mut findings = Findings::default();
    let Some(root) = read_node(text, 0, &mut findings) else { return Err(NoRoom::Unread(findings.sorted())) };
    let root = match &root.value {
        Value::Map(entries) => entries.as_slice(),
        Value::Nothing => &[],
        _ => return Err(NoRoom::ByHand),
    };
    let callers = entry(root, "callers");
    if let Some(Value::Map(entries)) = callers.map(|callers| &callers.value)
        && let Some(found) = entry(entries, caller)
    {
        return second(text, found, key).map(Some);
    }
    if !may_add {
        return Ok(None);
    }
    let Some(callers) = callers else { return first_of_all(text, root, caller, key).map(Some) };
    match &callers.value {
        Value::Nothing if !text[callers.label.end..line_end(text, callers.label.end)].contains(['~', 'n', '&', '!']) => {
            Ok(Some(below(text, callers, "  ", caller, key)))
        }
        Value::Map(entries) => another(text, callers, entries, caller, key).map(Some),
        Value::Scalar(scalar) if scalar.text == "open" => Err(NoRoom::Open),
        _ => Err(NoRoom::ByHand),
    }
}

fn entry<'n>(entries: &'n [Entry], key: &str) -> Option<&'n Node> {
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

/// The whole of `callers`, before what uses it or else at the end.
fn first_of_all(text: &str, root: &[Entry], caller: &str, key: &str) -> Result<String, NoRoom> {
    if root.iter().any(|entry| entry.value.label.column != 1) {
        return Err(NoRoom::ByHand);
    }
    let block = format!("callers:\n  {caller}:\n    key: {key}\n");
    let next = root.iter().find(|entry| BEFORE.contains(&entry.key.as_str()));
    let Some(next) = next else {
        let end = end_mark(text);
        let gap = if end == 0 || text[..end].ends_with('\n') { "" } else { "\n" };
        return Ok(spliced(text, end, &format!("{gap}{block}")));
    };
    // A comment right above a key is the key's.
    let mut at = line_start(text, next.value.label.start);
    while at > 0 && text[line_start(text, at - 1)..at].starts_with('#') {
        at = line_start(text, at - 1);
    }
    Ok(spliced(text, at, &format!("{block}\n")))
}

/// One more entry beside others.
fn another(text: &str, callers: &Node, entries: &[Entry], caller: &str, key: &str) -> Result<String, NoRoom> {
    let start = callers.place.start;
    if text[start..].starts_with('{') {
        let rest = if entries.is_empty() { " " } else { "," };
        return Ok(spliced(text, start + 1, &format!(" {caller}: {{ key: {key} }}{rest}")));
    }
    let first = entries.first().ok_or(NoRoom::ByHand)?.value.label;
    let indent = &text[line_start(text, first.start)..first.start];
    if !indent.chars().all(|c| c == ' ') || indent.is_empty() {
        return Err(NoRoom::ByHand);
    }
    Ok(below(text, callers, indent, caller, key))
}

/// An entry right below the line of `callers`.
fn below(text: &str, callers: &Node, indent: &str, caller: &str, key: &str) -> String {
    let at = line_end(text, callers.label.end);
    let gap = if text[..at].ends_with('\n') { "" } else { "\n" };
    spliced(text, at, &format!("{gap}{indent}{caller}:\n{indent}  key: {key}\n"))
}

/// A second key in an entry that is there.
fn second(text: &str, caller: &Node, key: &str) -> Result<String, NoRoom> {
    let Value::Map(settings) = &caller.value else { return Err(NoRoom::ByHand) };
    if let Some(old) = entry(settings, "key") {
        let (label, value) = (&text[old.label.start..old.label.end], written(text, old)?);
        if label != "key" {
            return Err(NoRoom::ByHand);
        }
        let mut with = text.to_owned();
        with.replace_range(old.place.start..old.place.start + value.len(), &format!("[{value}, {key}]"));
        with.replace_range(old.label.start..old.label.end, "keys");
        return Ok(with);
    }
    let keys = entry(settings, "keys").ok_or(NoRoom::ByHand)?;
    let Value::List(items) = &keys.value else { return Err(NoRoom::ByHand) };
    if items.len() >= MOST_KEYS {
        return Err(NoRoom::TwoKeys);
    }
    let item = items.first().ok_or(NoRoom::ByHand)?;
    let end = item.place.start + written(text, item)?.len();
    if text[keys.place.start..].starts_with('[') {
        return Ok(spliced(text, end, &format!(", {key}")));
    }
    let dash = &text[line_start(text, item.place.start)..item.place.start];
    if dash.trim() != "-" {
        return Err(NoRoom::ByHand);
    }
    let at = line_end(text, end);
    let gap = if text[..at].ends_with('\n') { "" } else { "\n" };
    Ok(spliced(text, at, &format!("{gap}{dash}{key}\n")))
}

/// A key as it is written, on one line and not by an anchor's name.
fn written<'t>(text: &'t str, node: &Node) -> Result<&'t str, NoRoom> {
    let (start, rest) = (node.place.start, text.get(node.place.start..).unwrap_or_default());
    let value = match &node.value {
        Value::Scalar(_) => text.get(start..node.place.end).unwrap_or_default().trim_end(),
        // A hash and its end: nothing in it has braces of its own.
        Value::Map(_) if rest.starts_with('{') => rest.split_inclusive('}').next().unwrap_or_default(),
        _ => "",
    };
    let is_key = value.starts_with('{') || value.trim_matches(['"', '\'']).starts_with("sha256:");
    if is_key && !value.contains('\n') { Ok(value) } else { Err(NoRoom::ByHand) }
}

/// The text with something more at a place, in its own kind of line ends.
fn spliced(text: &str, at: usize, more: &str) -> String {
    let more = if text.contains("\r\n") { more.replace('\n', "\r\n") } else { more.to_owned() };
    [&text[..at], &more, &text[at..]].concat()
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |end| end + 1)
}

/// Behind the end of the line.
fn line_end(text: &str, at: usize) -> usize {
    text[at..].find('\n').map_or(text.len(), |end| at + end + 1)
}

/// Where YAML's end mark stands, or the end.
fn end_mark(text: &str) -> usize {
    let before = text.trim_end().strip_suffix("...").filter(|before| before.is_empty() || before.ends_with('\n'));
    before.map_or(text.len(), str::len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(text: &str) -> Option<String> {
        with_key(text, "app", "sha256:NEW", true).ok().flatten()
    }

    #[test]
    fn a_new_caller_finds_its_place() {
        let block = "callers:\n  app:\n    key: sha256:NEW\n";
        for (text, expected) in [
            ("version: 1\n", format!("version: 1\n{block}")),
            ("version: 1", format!("version: 1\n{block}")),
            ("version: 1\r\n", format!("version: 1\r\n{}", block.replace('\n', "\r\n"))),
            ("version: 1\n...\n", format!("version: 1\n{block}...\n")),
            ("a: 1\n\n# of rules\n# too\nrules: []\n", format!("a: 1\n\n{block}\n# of rules\n# too\nrules: []\n")),
            ("rules: []\n", format!("{block}\nrules: []\n")),
            ("callers: # who\nrules: []\n", "callers: # who\n  app:\n    key: sha256:NEW\nrules: []\n".into()),
            ("callers: {}\n", "callers: { app: { key: sha256:NEW } }\n".into()),
            ("callers: { b: {} } # who\n", "callers: { app: { key: sha256:NEW }, b: {} } # who\n".into()),
            ("callers:\n  # of b\n  b: {} # b\n", "callers:\n  app:\n    key: sha256:NEW\n  # of b\n  b: {} # b\n".into()),
            ("callers:\n    b: {}", "callers:\n    app:\n      key: sha256:NEW\n    b: {}".into()),
        ] {
            assert_eq!(put(text).as_ref(), Some(&expected), "{text:?}");
        }
    }

    #[test]
    fn a_second_key_stands_beside_the_first() {
        for (text, expected) in [
            ("callers:\n  app: { key: sha256:OLD } # a\n", "callers:\n  app: { keys: [sha256:OLD, sha256:NEW] } # a\n"),
            (
                "callers:\n  app:\n    key: 'sha256:OLD' # b\n    tags: {}\n",
                "callers:\n  app:\n    keys: ['sha256:OLD', sha256:NEW] # b\n    tags: {}\n",
            ),
            (
                "callers:\n  app: { key: { sha256: OLD, expires: 2026-12-31 }, tags: {} }\n",
                "callers:\n  app: { keys: [{ sha256: OLD, expires: 2026-12-31 }, sha256:NEW], tags: {} }\n",
            ),
            ("callers:\n  app: { keys: [sha256:OLD] }\n", "callers:\n  app: { keys: [sha256:OLD, sha256:NEW] }\n"),
            ("callers:\n  app: { keys: [ { sha256: OLD } ] }\n", "callers:\n  app: { keys: [ { sha256: OLD }, sha256:NEW ] }\n"),
            (
                "callers:\n  app:\n    keys:\n      - sha256:OLD # c\n    tags: {}\n",
                "callers:\n  app:\n    keys:\n      - sha256:OLD # c\n      - sha256:NEW\n    tags: {}\n",
            ),
            ("callers:\n  app:\n    keys:\n    - sha256:OLD", "callers:\n  app:\n    keys:\n    - sha256:OLD\n    - sha256:NEW\n"),
        ] {
            assert_eq!(put(text).as_deref(), Some(expected), "{text:?}");
            assert!(with_key(text, "app", "sha256:NEW", false).is_ok_and(|found| found.is_some()));
        }
        assert!(with_key("callers:\n  b: {}\n", "app", "sha256:NEW", false).is_ok_and(|found| found.is_none()));
    }

    #[test]
    fn what_is_not_understood_is_left_to_people() {
        for (text, expected) in [
            ("callers: open\n", "Open"),
            ("callers:\n  app: { keys: [sha256:A, sha256:B] }\n", "TwoKeys"),
            ("callers: &all ~\n", "ByHand"),
            ("{ version: 1 }\n", "ByHand"),
            ("[1]\n", "ByHand"),
            ("x: &k sha256:OLD\ncallers:\n  app: { key: *k }\n", "ByHand"),
            ("callers:\n  app:\n    key:\n      sha256: OLD\n", "ByHand"),
            ("callers:\n  app: { tags: {} }\n", "ByHand"),
            ("callers: [\n", "Unread"),
        ] {
            let refused = format!("{:?}", with_key(text, "app", "sha256:NEW", true).unwrap_err());
            assert!(refused.starts_with(expected), "{text:?}: {refused}");
        }
    }
}
