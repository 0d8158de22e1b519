//! Secrets: a reference to where the text is, never the text itself.

use std::io;

use super::checked::Key;
use super::codes::Code;
use super::decode::{At, Findings};
use super::diagnostic::Diagnostic;
use super::{Env, Place};
use crate::units::Secret;

/// Where a secret is: `${VAR}`, `${file:/path}`, `${credential:name}`.
enum Reference<'a> {
    Variable(&'a str),
    File(&'a str),
    Credential(&'a str),
}

/// The key that `text` stands for. No finding ever holds the secret.
pub(super) fn read(text: &At<String>, env: &Env<'_>, findings: &mut Findings) -> Option<Key> {
    let At { place, value } = text;
    if !value.contains("${") {
        if let Some(hint) = looks_like_reference(value) {
            findings.push(Diagnostic::error(Code::BAD_SECRET, *place, "this key is no reference").hint(hint));
            return None;
        }
        if matches!(value.to_ascii_lowercase().as_str(), "none" | "null" | "no" | "off" | "false" | "empty") {
            let finding = Diagnostic::error(Code::BAD_SECRET, *place, "this word would be sent as the key");
            findings.push(finding.hint("take `api_key` out where the provider asks for none"));
            return None;
        }
        let secret = sound("this key", value, *place, findings)?;
        let finding = Diagnostic::warning(Code::PLAIN_SECRET, *place, "this key stands in the file in plain text");
        findings.push(finding.hint("write `${NAME_OF_A_VARIABLE}`, `${file:/path}` or `${credential:name}`"));
        return Some(Key::Present(secret));
    }
    let (inner, may_be_missing) = match value.strip_prefix("${").and_then(|rest| rest.split_once('}')) {
        Some((inner, "")) => (inner, false),
        Some((inner, "?")) => (inner, true),
        _ => {
            let finding = Diagnostic::error(Code::BAD_SECRET, *place, "a secret is one `${…}` and nothing around it");
            findings.push(if value.starts_with("Bearer ") {
                finding.hint("`Bearer` is put in front by itself: write the reference alone")
            } else {
                finding.hint("write `${NAME}`, or `${NAME}?` when it may be missing")
            });
            return None;
        }
    };
    let reference = reference(inner, *place, findings)?;
    let told = inner.to_owned();
    match fetch(&reference, env) {
        Ok(found) => sound(
            &format!("`${{{told}}}`"),
            found.strip_suffix('\n').map_or(found.as_str(), |rest| rest.strip_suffix('\r').unwrap_or(rest)),
            *place,
            findings,
        )
        .map(Key::Present),
        Err(error) if error.kind() == io::ErrorKind::NotFound && may_be_missing => Some(Key::Missing(told)),
        Err(error) => {
            findings.push(missing(&reference, &told, &error, *place));
            None
        }
    }
}

/// `$VAR` and `{{VAR}}` are references elsewhere.
fn looks_like_reference(value: &str) -> Option<String> {
    let name = value.strip_prefix('$').or_else(|| value.strip_prefix("env:")).or_else(|| value.strip_prefix("os.environ/"))?;
    let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    is_name.then(|| format!("write `${{{name}}}`"))
}

fn reference<'a>(inner: &'a str, place: Place, findings: &mut Findings) -> Option<Reference<'a>> {
    let is_name = |name: &str, more: &[u8]| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || more.contains(&b)) && !name.starts_with('.')
    };
    let found = match inner.split_once(':') {
        None if is_name(inner, b"") => Some(Reference::Variable(inner)),
        Some(("file", path)) if path.starts_with('/') => Some(Reference::File(path)),
        Some(("credential", name)) if is_name(name, b"-.@") => Some(Reference::Credential(name)),
        _ => None,
    };
    if found.is_none() {
        let finding = Diagnostic::error(Code::BAD_SECRET, place, "this is no reference to a secret");
        findings.push(match inner.split_once(':') {
            Some(("file", _)) => finding.hint("the path of a file begins with `/`"),
            Some((name, rest)) if rest.starts_with(['-', '?', '=']) => {
                finding.hint(format!("a reference has no default text; write `${{{name}}}?` when it may be missing"))
            }
            Some((kind, _)) if super::diagnostic::nearest(kind, &["file", "credential"]).is_some() => {
                finding.hint("write `${file:/path}` or `${credential:name}`")
            }
            _ => finding.hint("write `${NAME}`, `${file:/path}` or `${credential:name}`"),
        });
    }
    found
}

fn fetch(reference: &Reference<'_>, env: &Env<'_>) -> io::Result<String> {
    match reference {
        Reference::Variable(name) => (env.variable)(name).ok_or_else(|| io::ErrorKind::NotFound.into()),
        Reference::File(path) => (env.file)(path),
        Reference::Credential(name) => (env.credential)(name),
    }
}

fn missing(reference: &Reference<'_>, told: &str, error: &io::Error, place: Place) -> Diagnostic {
    let is_absent = error.kind() == io::ErrorKind::NotFound;
    let message = match reference {
        Reference::Variable(name) => format!("the environment has no variable `{name}`"),
        Reference::File(path) if is_absent => format!("there is no file `{path}`"),
        Reference::File(path) => format!("the file `{path}` cannot be read: {}", error.kind()),
        Reference::Credential(name) if is_absent => format!("systemd gave no credential `{name}`"),
        Reference::Credential(name) => format!("the credential `{name}` cannot be read: {}", error.kind()),
    };
    let finding = Diagnostic::error(Code::MISSING_SECRET, place, message);
    if is_absent {
        finding.hint(format!("write `${{{told}}}?` when it may be missing"))
    } else {
        finding.hint("the user that runs tollgate has to be allowed to read it")
    }
}

/// A secret as a header can carry it. `about` says whose it is; the text itself is in no message.
fn sound(about: &str, text: &str, place: Place, findings: &mut Findings) -> Option<Secret> {
    let wrong = if text.is_empty() {
        "is empty"
    } else if text.trim().is_empty() {
        "holds nothing but spaces"
    } else if text.contains(char::is_whitespace) {
        "has spaces or line breaks in it"
    } else if text.contains(char::is_control) {
        "has control characters in it"
    } else if !text.is_ascii() {
        "has characters in it that a header cannot carry"
    } else {
        return Some(Secret::new(text.into()));
    };
    let finding = Diagnostic::error(Code::BAD_SECRET, place, format!("{about} {wrong}"));
    findings.push(if text.is_empty() {
        finding.hint("give it a value, or unset it and write `?` behind the reference")
    } else {
        finding.hint("a key is one word, as its provider shows it")
    });
    None
}
