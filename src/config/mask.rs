//! Source lines without the secrets that someone wrote into them: findings go to logs and terminals.

use std::ops::Range;

use super::checked::{Checked, Key};
use super::diagnostic::nearest;
use crate::units::Secret;

/// Words that a key for a secret ends with.
const SECRET_KEYS: [&str; 6] = ["key", "keys", "apikey", "token", "secret", "password"];
/// A key of tests, which says whose key is missing.
const NAMES_PROVIDERS: &str = "no_key";
/// How the keys of well-known providers begin.
const KEY_MARKS: [&str; 6] = ["sk-", "gsk_", "xai-", "AIza", "hf_", "pplx-"];
/// A word so marked is a key from this length on.
const SHORTEST_KEY: usize = 16;

/// A whole text in which no secret can be read: neither what looks like one, nor any key that `file` says in plain text.
#[must_use]
pub fn masked(text: &str, file: Option<&Checked>) -> String {
    let keys = file.into_iter().flat_map(|file| &file.providers).filter_map(|provider| match &provider.key {
        Key::Present(secret) if !is_reference(secret.expose()) => Some(secret.expose()),
        _ => None,
    });
    let webhook = file.and_then(|file| file.alerts.webhook.as_ref());
    let signed = webhook.and_then(|webhook| webhook.secret.as_ref()).map(Secret::expose).filter(|secret| !is_reference(secret));
    // What stands behind the host is often what lets one post there.
    let path = webhook.and_then(|webhook| webhook.url.path_and_query()).map(http::uri::PathAndQuery::as_str).filter(|path| path.len() > 1);
    let secrets = keys.chain(signed).chain(path);
    let text = secrets.fold(text.to_owned(), |text, secret| text.replace(secret, &"*".repeat(secret.len())));
    text.split_inclusive('\n').map(|written| line(written, None)).collect()
}

/// The line with a `*` for every byte of what may be a secret, so that places stay where they were.
/// `marked` is a part that is a secret whatever stands around it.
pub(super) fn line(line: &str, marked: Option<Range<usize>>) -> String {
    let mut hidden: Vec<Range<usize>> =
        marked.into_iter().filter(|range| !is_reference(line.get(range.clone()).unwrap_or_default())).collect();
    hidden.extend(values_of_secret_keys(line));
    hidden.extend(url_parts(line));
    hidden.extend(known_keys(line));
    let covers = |at: usize| hidden.iter().any(|range| range.contains(&at));
    line.char_indices().fold(String::with_capacity(line.len()), |mut out, (at, character)| {
        if covers(at) {
            out.extend(std::iter::repeat_n('*', character.len_utf8()));
        } else {
            out.push(character);
        }
        out
    })
}

/// `${…}` with or without `?`, in quotes or not, and no default text inside.
fn is_reference(text: &str) -> bool {
    let bare = text.trim_matches(['"', '\'']);
    let of_others = ["$", "env:", "os.environ/"].iter().find_map(|mark| bare.strip_prefix(mark));
    if of_others.is_some_and(|name| name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')) {
        return true;
    }
    let inner = bare.strip_prefix("${").map(|rest| rest.strip_suffix('?').unwrap_or(rest)).and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| !inner.contains(['{', '}', '-', '=']) || inner.starts_with("file:/") || inner.starts_with("credential:"))
}

/// The hash of a caller's key, or a list of such: no secret.
fn is_hash(text: &str) -> bool {
    let is_one = |text: &str| {
        let hex = text.trim().trim_matches(['"', '\'']).strip_prefix("sha256:");
        hex.is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    text.trim_start_matches('[').split(',').all(is_one)
}

/// A few digits, perhaps with a unit and a period: no key.
fn is_quantity(text: &str) -> bool {
    let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_').unwrap_or(text.len()));
    let period = rest.strip_prefix(['k', 'M']).unwrap_or(rest);
    let is_period = |text: &str| text.len() <= 6 && text.bytes().all(|b| b.is_ascii_lowercase());
    (1..=12).contains(&number.len()) && (period.is_empty() || period.strip_prefix('/').is_some_and(is_period))
}

/// What stands behind `api_key:` and its like.
fn values_of_secret_keys(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (colon, _) in line.match_indices(':') {
        let key = line[..colon].trim_end().trim_end_matches(['"', '\'']).to_ascii_lowercase();
        let rest = &line[colon + 1..];
        let start = colon + 1 + (rest.len() - rest.trim_start().len());
        // A misspelt key holds the same as the right one.
        let word = key.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != '-').next().unwrap_or_default();
        let names_secret =
            word != NAMES_PROVIDERS && (SECRET_KEYS.iter().any(|end| word.ends_with(end)) || nearest(word, &["api_key"]).is_some());
        let value = &line[start..];
        if !names_secret || start == colon + 1 || value.starts_with(['{', '#']) {
            continue;
        }
        let end = match value.chars().next() {
            Some('[') => value.find(']').unwrap_or(value.len()),
            Some(quote @ ('"' | '\'')) => value[1..].find(quote).map_or(value.len(), |at| at + 2),
            _ if value.starts_with("${") => {
                value.find('}').map_or(value.len(), |at| at + 1 + usize::from(value[at + 1..].starts_with('?')))
            }
            _ => value.find(|c: char| c.is_whitespace() || ",}".contains(c)).unwrap_or(value.len()),
        };
        // `token: 200k/min` is a misspelt limit, and a price per token a price.
        let is_quantity = word.ends_with("token") && is_quantity(&value[..end]);
        if !is_reference(&value[..end]) && !is_quantity && !is_hash(&value[..end]) {
            found.push(start..start + end);
        }
    }
    found
}

/// Words that are keys by their looks, whatever stands around them.
fn known_keys(line: &str) -> Vec<Range<usize>> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut found = Vec::new();
    for (start, _) in KEY_MARKS.into_iter().flat_map(|mark| line.match_indices(mark)) {
        let is_inside = line[..start].ends_with(is_of_word);
        let length = line[start..].find(|c: char| !is_of_word(c)).unwrap_or(line.len() - start);
        if !is_inside && length >= SHORTEST_KEY {
            found.push(start..start + length);
        }
    }
    found
}

/// User, password and query of a URL, with or without its scheme.
fn url_parts(line: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in ["://", "url:", "proxy:"].into_iter().flat_map(|mark| line.match_indices(mark)) {
        let start = at + mark.len();
        let start = start + line[start..].find(|c: char| !c.is_whitespace() && !"\"'".contains(c)).unwrap_or(0);
        let rest = &line[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "\"',}".contains(c)).unwrap_or(rest.len());
        let url = &rest[..end];
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        found.extend(url[..authority].rfind('@').map(|at| start..start + at));
        found.extend(url.find('?').map(|at| start + at + 1..start + end));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn secrets_are_starred_and_references_are_not() {
        for (plain, masked) in [
            ("api_key: sk-12", "api_key: *****"),
            ("{ no_key: openai }", "{ no_key: openai }"),
            ("{ api_key: sk-12, format: openai }", "{ api_key: *****, format: openai }"),
            ("apikey: \"sk 12\" # x", "apikey: ******* # x"),
            ("api_key: ${OPENAI_API_KEY}?", "api_key: ${OPENAI_API_KEY}?"),
            ("api_key: \"${file:/etc/a-b.key}?\"", "api_key: \"${file:/etc/a-b.key}?\""),
            ("api_key: ${A:-sk-12}", "api_key: ***********"),
            ("{ api_kye: \"sk 12\", models: [m] }", "{ api_kye: *******, models: [m] }"),
            ("api_key: [sk-12, sk-34] # x", "api_key: *************] # x"),
            (
                "key: sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918",
                "key: sha256:6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918",
            ),
            ("key: sha256:sk-12", "key: ************"),
            ("keys: [sk-12, sk-34]", "keys: *************]"),
            ("labels: [sk-0123456789abcdef]", "labels: [*******************]"),
            ("models: [task-0123456789abcdef]", "models: [task-0123456789abcdef]"),
            ("base_url: https://me:pw@host/v1?key=1", "base_url: https://*****@host/v1?*****"),
            ("{ base_url: \"me:pw@host/v1\", proxy: me:pw@host }", "{ base_url: \"*****@host/v1\", proxy: *****@host }"),
            ("tokens: 200k/min", "tokens: 200k/min"),
            ("{ token: 200k/min, input_cost_per_token: 0.0000025 }", "{ token: 200k/min, input_cost_per_token: 0.0000025 }"),
            ("token: 0123456789abcdef", "token: ****************"),
            ("api_key: os.environ/OPENAI_API_KEY", "api_key: os.environ/OPENAI_API_KEY"),
        ] {
            assert_eq!(line(plain, None), masked);
        }
        assert_eq!(line("  Bearer ${X}", Some(2..13)), "  ***********");
    }
}
