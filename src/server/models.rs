use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeSet;

use crate::flow::Running;

/// When the list began to be told in this shape; clients only ask that there is a time.
const CREATED: u64 = 1_767_225_600;
const CREATED_AT: &str = "2026-01-01T00:00:00Z";

/// One list that serves both the OpenAI and the Anthropic clients.
#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Entry>,
    has_more: bool,
    first_id: Option<String>,
    last_id: Option<String>,
}

#[derive(Serialize)]
struct Entry {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: String,
    #[serde(rename = "type")]
    kind: &'static str,
    display_name: String,
    created_at: &'static str,
}

/// `GET /v1/models`: `auto`, the exact names that rules match, and every target that the caller may use.
pub(super) fn list(running: &Running, caller: Option<usize>) -> Bytes {
    let data: Vec<Entry> = names(running, caller).into_iter().map(entry).collect();
    let id_of = |entry: Option<&Entry>| entry.map(|entry| entry.id.clone());
    let list = List { object: "list", has_more: false, first_id: id_of(data.first()), last_id: id_of(data.last()), data };
    serde_json::to_vec(&list).unwrap_or_default().into()
}

/// `GET /v1/models/{id}`; nothing where the name stands for no target of the caller's and no rule asks for it.
pub(super) fn one(running: &Running, caller: Option<usize>, id: &str) -> Option<Bytes> {
    let rules = running.rules();
    let mut meant = rules.targets_named(id).iter().filter(|target| running.may_use(caller, **target));
    let first = meant.next();
    let is_known = first.is_some() || names(running, caller).iter().any(|(name, _)| name == id);
    let owner = first.map_or("tollgate", |target| rules.targets()[*target].name.provider());
    is_known.then(|| serde_json::to_vec(&entry((id.to_owned(), owner.to_owned()))).unwrap_or_default().into())
}

/// Each name with its owner, `auto` first.
fn names(running: &Running, caller: Option<usize>) -> Vec<(String, String)> {
    let rules = running.rules();
    let matched: BTreeSet<&str> = rules.rules().iter().flat_map(|rule| rule.matcher.exact_models()).collect();
    let usable = rules.targets().iter().enumerate().filter(|(index, _)| running.may_use(caller, *index));
    let targets = usable.map(|(_, target)| (target.name.to_string(), target.name.provider().to_owned()));
    std::iter::once("auto").chain(matched).map(|name| (name.to_owned(), "tollgate".to_owned())).chain(targets).collect()
}

fn entry((id, owned_by): (String, String)) -> Entry {
    Entry { display_name: id.clone(), id, object: "model", created: CREATED, owned_by, kind: "model", created_at: CREATED_AT }
}
