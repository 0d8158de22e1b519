//! Names with slips of the finger, and what they are answered with.

use std::collections::BTreeSet;
use std::ops::Range;

use fastrand::Rng;
use serde_json::Value;
use tollgate::config;

use super::edits::words;
use crate::config::{as_json, read};

/// A name in a text, of at least four letters.
#[derive(Clone, Debug)]
pub(super) struct Name {
    pub(super) range: Range<usize>,
    /// A name is given here and used elsewhere: then the other place asks whether this one was meant.
    is_given: bool,
}

/// The keys, words of closed lists, and names of providers, models and chains of a text.
pub(super) fn names(text: &str) -> Vec<Name> {
    let grammar = config::schema();
    let (mut keys, mut closed) = (BTreeSet::new(), BTreeSet::from(["requested".into(), "refuse".into(), "true".into(), "false".into()]));
    vocabulary(&grammar, &mut keys, &mut closed);
    let file = as_json(text).unwrap();
    let own = |of: &Value| of.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect::<BTreeSet<_>>();
    let (providers, chains, callers) = (own(&file["providers"]), own(&file["chains"]), own(&file["callers"]));
    let models: BTreeSet<String> =
        file["providers"].as_object().into_iter().flatten().flat_map(|(_, entry)| own(&entry["models"])).collect();
    let mut found = Vec::new();
    for (at, word) in words(text) {
        let (before, behind) = (&text[..at], &text[at + word.len()..]);
        let line = before.rsplit('\n').next().unwrap();
        let key = behind.starts_with(':').then_some(word);
        let of = last_key(line).or_else(|| last_key(before.trim_end().rsplit('\n').find(|line| line.trim_end().ends_with(':'))?));
        // What is free text, or stands for itself alone.
        let is_free =
            ["base_url", "proxy", "state", "api_key", "listen", "admin", "timezone", "name", "task", "labels", "headers", "set", "user"];
        let is_inside_free = ["labels", "headers", "set", "given", "tests"].iter().any(|free| is_below(before, free));
        if word.len() < 4 || of.is_some_and(|of| is_free.contains(&of)) && key.is_none() || is_inside_free || text[..at].ends_with('"') {
            continue;
        }
        let is_reference = behind.starts_with('/') && providers.contains(word)
            || before.ends_with('/') && models.contains(word)
            || of == Some("like")
            || key.is_none() && callers.contains(word) && of == Some("caller")
            || key.is_none() && chains.contains(word) && of.is_some_and(|of| of == "chain" || chains.contains(of) || keys.contains(of));
        let is_given =
            key.is_some() && (providers.contains(word) || models.contains(word) || chains.contains(word)) && !keys.contains(word);
        let is_used = is_given && is_used(text, word, at);
        let is_closed = key.is_none() && closed.contains(word) && of.is_some_and(|of| keys.contains(of) && of != "model");
        if key.is_some_and(|key| keys.contains(key)) && !is_given || is_reference || is_closed || is_used {
            found.push(Name { range: at..at + word.len(), is_given });
        }
    }
    found
}

/// Every key of the grammar and every word of a closed list.
fn vocabulary(schema: &Value, keys: &mut BTreeSet<String>, closed: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            keys.extend(map.get("properties").and_then(Value::as_object).into_iter().flatten().map(|(key, _)| key.clone()));
            closed
                .extend(map.get("enum").and_then(Value::as_array).into_iter().flatten().filter_map(|word| Some(word.as_str()?.to_owned())));
            closed.extend(map.get("const").and_then(Value::as_str).map(ToOwned::to_owned));
            map.values().for_each(|inner| vocabulary(inner, keys, closed));
        }
        Value::Array(items) => items.iter().for_each(|inner| vocabulary(inner, keys, closed)),
        _ => {}
    }
}

/// The key that the end of a line stands behind.
fn last_key(line: &str) -> Option<&str> {
    let colon = line.rfind(": ").or_else(|| line.trim_end().ends_with(':').then(|| line.trim_end().len() - 1))?;
    line[..colon].rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()
}

/// Whether the place behind `before` stands inside the block or the braces of a key.
fn is_below(before: &str, key: &str) -> bool {
    let line = before.rsplit('\n').next().unwrap();
    if let Some(at) = line.rfind(&format!("{key}: {{")) {
        let rest = &line[at..];
        if rest.matches(['{', '[']).count() > rest.matches(['}', ']']).count() {
            return true;
        }
    }
    let mut indent = line.len() - line.trim_start_matches([' ', '-']).len();
    for above in before.lines().rev().skip(1).filter(|above| !above.trim().is_empty()) {
        let depth = above.len() - above.trim_start_matches([' ', '-']).len();
        if depth < indent || above.trim_start().starts_with(key) && depth == 0 && indent > 0 {
            if above.trim_start_matches([' ', '-']).starts_with(&format!("{key}:")) {
                return true;
            }
            indent = depth;
        }
    }
    false
}

/// Whether a name that is given at `at` is used somewhere.
fn is_used(text: &str, word: &str, at: usize) -> bool {
    words(text).any(|(other, found)| other != at && found == word && !text[other + word.len()..].starts_with(':'))
}

/// The word with one or two slips, never itself; nothing when chance only finds the word again.
pub(super) fn misspell(word: &str, chance: &mut Rng) -> Option<String> {
    let mut letters: Vec<char> = word.chars().collect();
    for _ in 0..=chance.usize(..2) {
        slip(&mut letters, chance);
    }
    let typo: String = letters.into_iter().collect();
    // What YAML reads as something other than a word is another mistake.
    let is_word = typo.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !typo.ends_with(['-', '.'])
        && !matches!(&*typo, "null" | "true" | "false");
    (typo != word && is_word).then_some(typo)
}

fn slip(letters: &mut Vec<char>, chance: &mut Rng) {
    let at = chance.usize(..letters.len());
    let beside = neighbour(letters[at], chance);
    match chance.u8(..5) {
        0 if letters.len() > 3 => drop(letters.remove(at)),
        1 => letters.insert(at, letters[at]),
        2 => letters.insert(at, beside),
        3 if at + 1 < letters.len() => letters.swap(at, at + 1),
        _ => letters[at] = beside,
    }
}

/// A letter beside it on the keyboard; seldom any letter.
fn neighbour(letter: char, chance: &mut Rng) -> char {
    let rows = ["qwertyuiop", "asdfghjkl", "zxcvbnm", "1234567890"];
    let near: Vec<char> = rows
        .iter()
        .filter_map(|row| Some((row, row.find(letter)?)))
        .flat_map(|(row, at)| row.char_indices().filter(move |(other, _)| other.abs_diff(at) == 1).map(|(_, near)| near))
        .collect();
    if chance.u8(..10) < 7 { chance.choice(near).unwrap_or('x') } else { char::from(b'a' + chance.u8(..26)) }
}

/// Whether the typo is answered with the name; what was said instead.
pub(super) fn verdict(text: &str, name: &Name, typo: &str) -> Result<(), String> {
    let word = &text[name.range.clone()];
    let edited = format!("{}{typo}{}", &text[..name.range.start], &text[name.range.end..]);
    let (_, findings) = read(&edited);
    // Of a name that is given here, its other place may ask, or whoever knows it besides.
    let is_offered = |part: &str| part == word || name.is_given && part == typo;
    let offers = |hint: &str| hint.split('`').any(|part| is_offered(part) || part.split([' ', '/']).any(is_offered));
    let hints: Vec<&str> = findings.iter().filter_map(|finding| finding.hint.as_deref()).collect();
    if hints.iter().any(|hint| offers(hint) && !hint.starts_with("its keys are") && !hint.starts_with("known here")) {
        return Ok(());
    }
    let said: Vec<String> =
        findings.iter().take(2).map(|found| format!("{} ({})", found.message, found.hint.as_deref().unwrap_or("no hint"))).collect();
    Err(format!("{word} as {typo}: {}", said.join("; ")))
}
