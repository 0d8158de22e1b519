//! The floors hold: who may use whom inside the crate, and where each outside crate has its one home.
//!
//! The sources are read as tokens, not as types: every `use` tree and every path in an expression, an attribute or a
//! macro call that starts at `crate`, `super`, `self` or an outside crate is resolved and held against two tables.

mod paths;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use paths::{Named, named_paths};

/// Every top module and its floor. A module uses its own folder and lower floors only.
const FLOORS: &[(&str, u8)] = &[
    ("units", 0),
    ("config", 1),
    ("wire", 1),
    ("catalog", 1),
    ("tokens", 1),
    ("rules", 2),
    ("tasks", 2),
    ("admit", 3),
    ("upstream", 3),
    ("record", 3),
    ("store", 3),
    ("outside", 3),
    ("flow", 4),
    ("server", 5),
    ("reload", 5),
    ("control", 5),
    ("bench", 5),
    ("report", 5),
    ("main", 6),
    ("cli", 6),
    ("app", 6),
];

/// The top floor wires the parts together, so its modules may name each other.
const TOP_FLOOR: u8 = 6;

/// Steps between modules of one floor that the design allows.
const ALLOWED_SIDEWAYS: &[(&str, &str)] = &[("config", "catalog"), ("wire", "tokens")];

/// Outside paths and the only modules (with what is inside them) that may name them.
const HOMES: &[(&str, &[&str])] = &[
    ("pretty_yaml", &["config::format"]),
    ("tikv_jemallocator", &["main"]),
    ("serde_yaml", &["config::tree"]),
    ("arc_swap", &["rules::live"]),
    ("hmac", &["outside"]),
    ("subtle", &["server::caller"]),
    ("governor", &["admit::limits"]),
    ("loom", &["admit::limits"]),
    ("shuttle", &["admit"]),
    ("tiktoken_rs", &["tokens"]),
    ("rusqlite", &["store"]),
    ("hyper::client", &["upstream"]),
    ("hyper_util::client", &["upstream"]),
    ("hyper_rustls", &["upstream"]),
    ("flate2", &["server::coding"]),
    ("brotli_decompressor", &["server::coding"]),
    ("crc32fast", &["wire::bedrock"]),
    ("ruzstd", &["server::coding"]),
    ("hyper::server", &["server"]),
    ("hyper_util::server", &["server"]),
    ("reqwest", &["outside"]),
    ("notify", &["reload::watch"]),
    ("glob", &["reload::include"]),
    ("similar", &["cli::patch"]),
    ("clap", &["cli", "main"]),
    ("clap_complete", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("terminal_size", &["cli"]),
    ("indicatif", &["cli"]),
    ("regex", &["bench"]),
    ("jsonschema", &["bench", "record::tests", "upstream::sandbox::tests"]),
    ("tracing_subscriber", &["app"]),
    ("tracing_journald", &["app"]),
    ("anyhow", &["main", "cli", "app"]),
];

/// The lowest floor that may write log lines and spans.
const TRACING_FROM: u8 = 3;

/// One source file: its path below `src/`, with `/` between folders, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// `admit/limits.rs` → `["admit", "limits"]`; `lib.rs` → `[]`.
    fn module(&self) -> Vec<String> {
        let stem = self.path.strip_suffix(".rs").unwrap_or(&self.path);
        if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
    }
}

fn floor_of(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == module).map(|(_, floor)| *floor)
}

/// Everything that is wrong with `sources`, one line each.
fn findings(sources: &[Source]) -> Vec<String> {
    let modules: BTreeSet<Vec<String>> = sources.iter().map(Source::module).collect();
    let exports: BTreeSet<Vec<String>> = sources.iter().flat_map(|source| namesakes(source, &modules)).collect();
    let hidden = modules.difference(&exports).cloned().collect();
    let mut found = Vec::new();
    for source in sources {
        let module = source.module();
        let Some(top) = module.first() else { continue };
        if source.path.ends_with("/mod.rs") {
            found.push(format!("src/{}: a folder's parent file stands beside the folder, not in it", source.path));
        }
        let Some(floor) = floor_of(top) else {
            found.push(format!("src/{}: the module `{top}` stands on no floor", source.path));
            continue;
        };
        let named = named_paths(&source.text);
        let in_scope = modules_in_scope(&named, &module, &modules);
        for named in &named {
            let told = match resolve(named, &module, &in_scope) {
                Resolved::Inside(path) => check_inside(&path, &module, floor, &modules, &hidden),
                Resolved::Outside(path) => check_outside(&path, &module, floor),
            };
            found.extend(told.map(|told| format!("src/{}:{}: {told}", source.path, named.line)));
        }
    }
    found
}

enum Resolved {
    /// A path from the crate's root.
    Inside(Vec<String>),
    /// A path from outside, or from whatever the file has in scope.
    Outside(Vec<String>),
}

/// The children of a file that it re-exports an item of the same name from: `pub use render::render`.
fn namesakes(source: &Source, modules: &BTreeSet<Vec<String>>) -> Vec<Vec<String>> {
    let module = source.module();
    let named = named_paths(&source.text);
    let in_scope = modules_in_scope(&named, &module, modules);
    let is_namesake = |path: &[String]| matches!(path, [.., folder, item] if folder == item);
    let used = named.iter().filter(|named| named.is_use).filter_map(|named| match resolve(named, &module, &in_scope) {
        Resolved::Inside(path) if is_namesake(&path) => Some(path[..path.len() - 1].to_vec()),
        _ => None,
    });
    used.filter(|child| child.len() == module.len() + 1 && modules.contains(child)).collect()
}

/// The crate's modules that a file may name by one word: its own children, and those that a `use` brings in.
fn modules_in_scope(named: &[Named], module: &[String], modules: &BTreeSet<Vec<String>>) -> Vec<Vec<String>> {
    let children = modules.iter().filter(|other| other.len() == module.len() + 1 && other.starts_with(module)).cloned();
    let brought_in = named.iter().filter(|named| named.is_use).filter_map(|named| match resolve(named, module, &[]) {
        Resolved::Inside(path) if modules.contains(&path) => Some(path),
        _ => None,
    });
    children.chain(brought_in).collect()
}

/// Turns `crate::…`, `self::…`, `super::…` and paths that begin at a module in scope into a path from the crate's root.
fn resolve(named: &Named, module: &[String], in_scope: &[Vec<String>]) -> Resolved {
    let is_main = module == ["main"];
    let mut base: Vec<String> = module.iter().chain(&named.inline).cloned().collect();
    let mut rest = named.segments.as_slice();
    match rest.first().map(String::as_str) {
        Some("crate" | "$crate") => return Resolved::Inside(rest[1..].to_vec()),
        Some("tollgate") if is_main => return Resolved::Inside(rest[1..].to_vec()),
        Some("self") => rest = &rest[1..],
        Some("super") => {
            while rest.first().is_some_and(|segment| segment == "super") {
                base.pop();
                rest = &rest[1..];
            }
        }
        first => {
            let Some(start) = in_scope.iter().find(|start| start.last().map(String::as_str) == first) else {
                return Resolved::Outside(rest.to_vec());
            };
            return Resolved::Inside(start.iter().chain(&rest[1..]).cloned().collect());
        }
    }
    base.extend_from_slice(rest);
    Resolved::Inside(base)
}

fn check_inside(
    path: &[String],
    from: &[String],
    floor: u8,
    modules: &BTreeSet<Vec<String>>,
    hidden: &BTreeSet<Vec<String>>,
) -> Option<String> {
    let (top, own) = (path.first()?, &from[0]);
    let text = format!("crate::{}", path.join("::"));
    let Some(target) = floor_of(top) else {
        return Some(format!("`{text}` names the crate's root, which has no floor"));
    };
    if top != own && target > floor {
        return Some(format!("`{text}` climbs from floor {floor} to floor {target}"));
    }
    if top != own && target == floor && floor != TOP_FLOOR && !ALLOWED_SIDEWAYS.contains(&(own, top)) {
        return Some(format!("`{text}` steps sideways from `{own}` on floor {floor}"));
    }
    // A file inside a folder is named by that folder alone: outsiders use what the parent file exports.
    // Tests may lend each other their support.
    if path.iter().any(|segment| segment == "tests") {
        return None;
    }
    (2..=path.len())
        .filter(|length| if *length == path.len() { hidden } else { modules }.contains(&path[..*length]))
        .find(|length| !from.starts_with(&path[..length - 1]))
        .map(|length| format!("`{text}` reaches past `{}` into a file of its folder", path[..length - 1].join("::")))
}

fn check_outside(path: &[String], from: &[String], floor: u8) -> Option<String> {
    let text = path.join("::");
    let from = from.join("::");
    let is_below = |whole: &str, start: &str| whole == start || whole.strip_prefix(start).is_some_and(|rest| rest.starts_with("::"));
    if is_below(&text, "tracing") && floor < TRACING_FROM {
        return Some(format!("`{text}` on floor {floor}: `tracing` is for floor {TRACING_FROM} and up"));
    }
    let (name, homes) = HOMES.iter().find(|(name, _)| is_below(&text, name))?;
    if homes.iter().any(|home| is_below(&from, home)) {
        return None;
    }
    Some(format!("`{text}` outside its home: `{name}` belongs in `{}`", homes.join("`, `")))
}

/// Every Rust file below `folder`, in order of path.
fn read_sources(root: &Path, folder: &Path, into: &mut Vec<Source>) {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for entry in entries {
        if entry.is_dir() {
            read_sources(root, &entry, into);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let path = entry.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
            into.push(Source { path, text: std::fs::read_to_string(&entry).unwrap() });
        }
    }
}

#[test]
fn the_floors_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_sources(&root, &root, &mut sources);
    assert!(sources.len() > 10, "only {} source files were found below {}", sources.len(), root.display());
    let found = findings(&sources);
    assert!(found.is_empty(), "{} findings:\n{}", found.len(), found.join("\n"));
}

/// Files of a small crate that is in order, so that each sample below differs from it in one thing.
fn sample(path: &str, text: &str) -> Vec<Source> {
    let sound = [
        ("units.rs", ""),
        ("units/usd.rs", ""),
        ("config.rs", "mod checked; mod render; pub use checked::Provider; pub use render::render;"),
        ("config/render.rs", ""),
        ("config/checked.rs", ""),
        ("admit.rs", ""),
        ("admit/limits.rs", ""),
        ("admit/limits/cell.rs", ""),
        ("record.rs", ""),
        ("flow.rs", ""),
        ("cli.rs", ""),
    ];
    let mut sources: Vec<Source> = sound
        .iter()
        .filter(|(sound, _)| *sound != path)
        .map(|(path, text)| Source { path: (*path).to_owned(), text: (*text).to_owned() })
        .collect();
    sources.push(Source { path: path.to_owned(), text: text.to_owned() });
    sources
}

#[test]
fn wrong_samples_are_found() {
    for (path, text, told) in [
        ("config.rs", "use crate::admit::Gate;", "climbs from floor 1 to floor 3"),
        ("units/usd.rs", "use crate::{config::Provider};", "climbs from floor 0 to floor 1"),
        ("units.rs", "fn f() { let x = crate::flow::run(); }", "climbs from floor 0 to floor 4"),
        ("admit.rs", "mod tests { use super::super::flow::Parts; }", "climbs from floor 3 to floor 4"),
        ("admit.rs", "use super::record::Record;", "steps sideways from `admit`"),
        ("admit/limits.rs", "use crate::{units::Usd, record::Record};", "steps sideways from `admit`"),
        ("flow.rs", "use crate::config::checked::Provider;", "reaches past `config` into a file"),
        ("flow.rs", "type X = crate::config::checked::Provider;", "reaches past `config` into a file"),
        ("flow.rs", "use crate::config::{Provider, checked::Target};", "reaches past `config` into a file"),
        ("flow.rs", "use crate::config::render::Style;", "reaches past `config` into a file"),
        ("flow.rs", "use crate::config::checked;", "reaches past `config` into a file"),
        ("flow.rs", "use crate::config; fn f(x: config::checked::Provider) {}", "reaches past `config` into a file"),
        ("admit.rs", "fn f() { limits::cell::new(); }", "reaches past `admit::limits` into a file"),
        ("admit.rs", "use self::limits::cell::Cell;", "reaches past `admit::limits` into a file"),
        ("flow.rs", "use crate::Everything;", "names the crate's root"),
        ("helpers.rs", "", "stands on no floor"),
        ("admit/mod.rs", "", "beside the folder"),
        ("config.rs", "use serde_yaml::Spanned;", "belongs in `config::tree`"),
        ("flow.rs", "fn f() { ::arc_swap::ArcSwap::from_pointee(1); }", "belongs in `rules::live`"),
        ("admit.rs", "use governor::Quota;", "belongs in `admit::limits`"),
        ("flow.rs", "use hyper_util::{rt::TokioIo, client::legacy::Client};", "belongs in `upstream`"),
        ("flow.rs", "use hyper::server::conn::http1;", "belongs in `server`"),
        ("upstream.rs", "use reqwest as web;", "belongs in `outside`"),
        ("reload.rs", "use notify::{Watcher as _};", "belongs in `reload::watch`"),
        ("app.rs", "#[derive(clap::Parser)] struct Flags;", "belongs in `cli`"),
        ("server.rs", "fn f() { tracing_subscriber::fmt().init(); }", "belongs in `app`"),
        ("flow.rs", "fn f() -> anyhow::Result<()> { Ok(()) }", "belongs in `main`, `cli`, `app`"),
        ("config.rs", "fn f() { tracing::info!(\"loaded\"); }", "`tracing` is for floor 3 and up"),
        ("units.rs", "#[tracing::instrument] fn f() {}", "`tracing` is for floor 3 and up"),
        ("main.rs", "use tollgate::config::checked::Provider;", "reaches past `config` into a file"),
    ] {
        let found = findings(&sample(path, text));
        assert!(found.len() == 1 && found[0].contains(told), "{path}: {text}\nwanted one finding with: {told}\ngot: {found:#?}");
    }
}

#[test]
fn sound_samples_pass() {
    for (path, text) in [
        ("config.rs", "mod checked; pub use checked::Provider; use crate::units::{self, Usd}; type T = units::Usd;"),
        ("config/checked.rs", "use super::diagnostic::Place; use crate::config::checked::Provider;"),
        ("config.rs", "use crate::catalog::Entry;"),
        ("flow.rs", "use crate::config::{Provider, render}; fn f() { crate::config::render(); }"),
        ("admit/limits.rs", "mod tests { use crate::admit::tests::support::Daemon; }"),
        ("admit/limits.rs", "mod cell; use cell::Cell; use governor::Quota; use crate::units::{Clock, Moment};"),
        ("admit/limits/cell.rs", "use governor::state::StateStore; use super::Limit; use crate::admit::Gate;"),
        ("admit.rs", "mod tests { use super::*; use super::limits::Limit; }"),
        ("flow.rs", "// use crate::server::Http;\n/* use crate::app; /* nested */ crate::cli */ use crate::admit::Gate;"),
        ("flow.rs", "const S: &str = \"use crate::app::App;\"; const R: &str = r#\"crate::cli::\"quoted\"\"#;"),
        ("flow.rs", "fn f<'a>(x: &'a str) -> char { let c = '\"'; let d = '\\''; tracing::info!(\"crate::app::x\"); c }"),
        ("flow.rs", "use hyper::body::Incoming; use hyper_util::rt::TokioIo; pub(crate) fn f() {}"),
        ("flow.rs", "fn f(x: Vec<u8>) -> impl Iterator + use<> { x.notify(); tokio::sync::Notify::new() }"),
        ("cli.rs", "use crate::app::App; use clap::Parser; use anyhow::Context as _;"),
        ("cli/serve.rs", "use clap::Args;"),
        ("app/log.rs", "use tracing_subscriber::Registry;"),
        ("main.rs", "fn main() -> anyhow::Result<()> { tollgate::cli::run() }"),
        ("upstream/dial.rs", "use hyper_util::client::legacy::Client; use hyper::client::conn::http1;"),
    ] {
        let found = findings(&sample(path, text));
        assert!(found.is_empty(), "{path}: {text}\n{found:#?}");
    }
}
