//! `callers:`: names, keys by their hashes, and what each may use.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::providers::{Providers, limits};
use crate::config::checked::{Caller, CallerKey};
use crate::config::codes::Code;
use crate::config::collections::Row;
use crate::config::decode::{At, Findings};
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::draft::{CallerDraft, CallersDraft, FileDraft, KeyDraft};
use crate::units::{CallerName, Glob};

/// Every caller of the file.
pub(super) struct Callers<'d> {
    rows: &'d [Row<CallerDraft>],
    /// False where `callers` itself could not be read: then no name is judged.
    is_whole: bool,
    /// Nothing once a finding says why.
    pub(super) list: Option<Vec<Caller>>,
}

pub(super) fn check<'d>(draft: &'d FileDraft, listed: &Providers, zone: &TimeZone, findings: &mut Findings) -> Callers<'d> {
    let rows = draft.callers.get().map(CallersDraft::entries).unwrap_or_default();
    let mut hashes: BTreeMap<[u8; 32], (&str, Place)> = BTreeMap::new();
    let mut all = Vec::new();
    for row in rows {
        let name = name(row, findings);
        let Some(draft) = &row.value else {
            all.push(None);
            continue;
        };
        let keys = keys(row, draft, findings);
        for key in keys.iter().flatten() {
            refuse_shared(row, key, &mut hashes, findings);
        }
        warn_allow(row, draft, listed, findings);
        all.push(one(row, name, draft, keys.as_deref(), zone));
    }
    let is_whole = draft.callers.is_absent() || draft.callers.get().is_some();
    Callers { rows, is_whole, list: if is_whole { all.into_iter().collect() } else { None } }
}

impl Callers<'_> {
    /// The index of a caller by name; `about` is who names it. Nothing once a finding says why, or when it cannot be judged.
    pub(super) fn find(&self, about: &str, name: &At<String>, findings: &mut Findings) -> Option<usize> {
        let found = self.rows.iter().position(|row| row.name == name.value);
        if found.is_none() && self.is_whole {
            let message = format!("{about} names caller `{}`, which is not under `callers`", name.value);
            let finding = Diagnostic::error(Code::UNKNOWN_CALLER, name.place, message);
            findings.push(if self.rows.is_empty() {
                finding.hint("`tollgate key new NAME` makes a key and prints the entry to paste")
            } else {
                finding.hint_nearest(&name.value, self.rows.iter().map(|row| row.name.as_str()))
            });
        }
        found
    }

    /// Told where no caller has a tag that somebody asks for.
    pub(super) fn warn_unknown_tag(&self, about: &str, tag: &str, place: Place, findings: &mut Findings) {
        let known = || self.rows.iter().filter_map(|row| row.value.as_ref()).filter_map(|caller| caller.tags.get()).flatten();
        let is_read = self.is_whole
            && self.rows.iter().all(|row| row.value.as_ref().is_some_and(|caller| caller.tags.is_absent() || caller.tags.get().is_some()));
        if is_read && !known().any(|row| row.name == tag) {
            let mut tags: Vec<&str> = known().map(|row| row.name.as_str()).collect();
            tags.sort_unstable();
            tags.dedup();
            let finding = Diagnostic::warning(Code::UNKNOWN_TAG, place, format!("{about} names tag `{tag}`, which no caller has"));
            findings.push(if tags.is_empty() {
                finding.hint("tags are set under `callers`, as in `search-team: { key: …, tags: { team: search } }`")
            } else {
                finding.hint_nearest(tag, tags)
            });
        }
    }
}

fn name(row: &Row<CallerDraft>, findings: &mut Findings) -> Option<CallerName> {
    CallerName::parse(&row.name)
        .map_err(|error| {
            let finding = Diagnostic::error(Code::BAD_NAME, row.key, format!("`{}` is no caller name: {error}", row.name));
            findings.push(finding.hint_name(&row.name));
        })
        .ok()
}

/// The keys of one caller with their places, or nothing once a finding says why.
fn keys(row: &Row<CallerDraft>, draft: &CallerDraft, findings: &mut Findings) -> Option<Vec<At<KeyDraft>>> {
    if let (Some(key), Some(_)) = (draft.keys.key(), draft.key.key()) {
        let finding = Diagnostic::error(Code::CONFLICTING_KEYS, key, format!("caller `{}` has both `key` and `keys`", row.name));
        findings.push(finding.hint("write all of them under `keys`"));
        return None;
    }
    if draft.key.is_absent() && draft.keys.is_absent() {
        let finding = Diagnostic::error(Code::MISSING_KEY, row.key, format!("caller `{}` needs a `key`", row.name));
        findings.push(finding.hint(format!("`tollgate key new {}` makes one and prints its line", row.name)));
        return None;
    }
    match draft.key.at() {
        Some(key) => Some(vec![key.clone()]),
        None => draft.keys.get().cloned(),
    }
}

/// One key is one caller's: whose request would it be otherwise?
fn refuse_shared<'d>(
    row: &'d Row<CallerDraft>,
    key: &At<KeyDraft>,
    hashes: &mut BTreeMap<[u8; 32], (&'d str, Place)>,
    findings: &mut Findings,
) {
    if let Some((other, first)) = hashes.get(&key.value.sha256) {
        let message = if *other == row.name {
            format!("caller `{other}` has this key twice, the first time in {}", findings.pointed(*first, key.place))
        } else {
            format!("caller `{}` has the key of caller `{other}`, in {}", row.name, findings.pointed(*first, key.place))
        };
        let hint =
            if *other == row.name { "take one of the two out" } else { "a key is one caller's alone: `tollgate key new` makes another" };
        findings.push(Diagnostic::error(Code::DUPLICATE_HASH, key.place, message).hint(hint));
    }
    hashes.entry(key.value.sha256).or_insert((&row.name, key.place));
}

/// Patterns that let nothing through.
fn warn_allow(row: &Row<CallerDraft>, draft: &CallerDraft, listed: &Providers, findings: &mut Findings) {
    let Some(targets) = listed.targets.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return };
    let is_alone = draft.allow.get().is_some_and(|all| all.len() == 1);
    for pattern in draft.allow.get().into_iter().flatten() {
        let glob = Glob::new(&pattern.value);
        if targets.iter().any(|target| glob.matches(target.name.as_str())) {
            continue;
        }
        let so = if is_alone { ", so this caller may use nothing" } else { "" };
        let message = format!("`allow` of caller `{}` has `{}`, which is no target of this file{so}", row.name, pattern.value);
        let finding = Diagnostic::warning(Code::ALLOWS_NOTHING, pattern.place, message);
        let is_provider = targets.iter().any(|target| target.name.provider() == pattern.value);
        findings.push(if is_provider {
            finding.hint(format!("write `{}/*` for all of its models", pattern.value))
        } else if let Some(like) = like_target(&pattern.value, &targets) {
            finding.hint(format!("did you mean `{like}`?"))
        } else {
            finding.hint("a target is `provider/model`; `house/*` is every model of `house`")
        });
    }
}

/// The pattern or target that was perhaps meant.
fn like_target(pattern: &str, targets: &[&crate::config::Target]) -> Option<String> {
    use crate::config::diagnostic::nearest;
    if let Some(provider) = pattern.strip_suffix("/*") {
        let names: Vec<&str> = targets.iter().map(|target| target.name.provider()).collect();
        return nearest(provider, &names).map(|name| format!("{name}/*"));
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    nearest(pattern, &names).map(str::to_owned)
}

fn one(
    row: &Row<CallerDraft>,
    name: Option<CallerName>,
    draft: &CallerDraft,
    keys: Option<&[At<KeyDraft>]>,
    zone: &TimeZone,
) -> Option<Caller> {
    let key = |key: &At<KeyDraft>| CallerKey { sha256: key.value.sha256, expires: key.value.expires.map(|when| when.in_zone(zone)) };
    let tags: Option<BTreeMap<String, String>> =
        draft.tags.get().into_iter().flatten().map(|row| Some((row.name.clone(), row.value.clone()?))).collect();
    Some(Caller {
        name: name?,
        place: row.key,
        keys: keys?.iter().map(key).collect(),
        tags: tags?.into(),
        limits: limits(&draft.limits),
        allow: draft.allow.get().map(|all| all.iter().map(|pattern| pattern.value.clone()).collect()),
        expires: draft.expires.get().map(|when| when.in_zone(zone)),
        trust_client: draft.trust_client.get().copied().unwrap_or_default(),
    })
}
