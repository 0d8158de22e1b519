//! Text in, checked settings out: `routes.yaml` from its first byte to [`Checked`].
//!
//! Floor 1. Text → positioned nodes → draft → checked. Every finding comes back, each with its place.

mod changes;
mod check;
mod checked;
mod codes;
mod collections;
mod decode;
mod diagnostic;
mod draft;
mod elsewhere;
mod expired;
mod format;
mod half_written;
mod insert;
mod json_value;
mod lists;
mod losses;
mod manual;
mod mask;
mod nearest;
mod origins;
mod properties;
mod references;
mod render;
#[cfg(test)]
mod sample;
mod schema;
mod secrets;
mod shapes;
mod sources;
mod traps;
mod tree;
mod urls;

pub use changes::{Change, Kind, What, changes, prints};
pub use check::old_scores;
pub use checked::{
    Alerts, Bounds, Budget, BudgetMode, Caller, CallerKey, Cap, Chain, Checked, Classify, ClassifyWhen, ConditionPlaces, Conditions,
    CooldownPolicy, CostSource, Covers, DefaultRule, Durability, EstimateBy, Eval, Expect, FallbackOn, Given, HoldFor, Key, LedgerSettings,
    Limits, Member, ModelPattern, OnCeiling, OnClientDisconnect, OnLow, OwnLabel, Pick, Pool, Provider, Proxy, Route, Rule, Sandbox,
    Server, SpentWindow, Target, Test, TimeoutChanges, Timeouts, UnsupportedParams, Use, Webhook,
};
pub use codes::{Code, UnknownCode};
pub use decode::At;
pub use diagnostic::{Diagnostic, Place, Severity};
pub use expired::expired;
pub use format::format;
pub use half_written::{HalfWritten, half_written};
pub use insert::{NoRoom, with_key};
pub use lists::{ImportedList, price_lists};
pub use losses::losses;
pub use manual::{diagnostics_page, explain};
pub use mask::masked;
pub use origins::{PriceFrom, PriceOrigin, age_in_days, old_prices, price_origin};
pub use render::{Style, many, render};
pub use schema::{included_schema, schema};
pub use sources::{Include, SourceFile, Sources, includes};

use decode::{Findings, Shape};
use draft::{FileDraft, IncludedDraft};

/// Largest file that is read, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The first character of the main file.
const START: Place = Place { file: 0, line: 1, column: 1, start: 0, end: 0 };

/// Where secrets come from. A look-up answers the text, or says that there is none (`NotFound`) or why it cannot be read.
#[derive(Clone, Copy)]
pub struct Env<'a> {
    /// `${VAR}`.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// `${file:/path}`.
    pub file: &'a dyn Fn(&str) -> std::io::Result<String>,
    /// `${credential:name}`: systemd's folder of credentials.
    pub credential: &'a dyn Fn(&str) -> std::io::Result<String>,
}

impl std::fmt::Debug for Env<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Env")
    }
}

/// The one door: what the files say together, and every finding, errors first, each in the order of the files.
/// The first part is there exactly when no finding is an error.
#[must_use]
pub fn read(sources: &Sources, env: &Env<'_>) -> (Option<Checked>, Vec<Diagnostic>) {
    let mut findings = Findings::of(sources.names());
    let checked = read_all(sources, env, &mut findings);
    let checked = checked.filter(|_| !findings.has_errors());
    let mut findings = findings.sorted();
    sources.name_in(&mut findings);
    (checked, findings)
}

/// Any YAML document as JSON. Numbers keep their digits.
pub fn yaml_as_json(text: &str) -> Result<String, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let json = read_node(text, 0, &mut findings).and_then(|node| json_value::read(&node, &mut findings));
    json.filter(|_| !findings.has_errors()).ok_or_else(|| findings.sorted())
}

/// The facts of a request in the form of `given:`, as YAML or JSON.
pub fn read_given(text: &str) -> Result<Given, Vec<Diagnostic>> {
    let mut findings = Findings::default();
    let draft = tree::parse(text, 0, &mut findings).and_then(|node| draft::GivenDraft::read(&node, &mut findings));
    let given = draft.and_then(|draft| check::question(&draft, &mut findings));
    given.filter(|_| !findings.has_errors()).ok_or_else(|| findings.sorted())
}

/// [`read`] for the bytes of one file: refuses what is no UTF-8 text and what is above [`MAX_BYTES`].
#[must_use]
pub fn read_bytes(bytes: &[u8], env: &Env<'_>) -> (Option<Checked>, Vec<Diagnostic>) {
    match text_of(bytes) {
        Ok(text) => read(&Sources::new("routes.yaml", text), env),
        Err(finding) => (None, vec![finding]),
    }
}

/// Every file is looked at, whatever is wrong with the others; names are judged only where all of them are there.
fn read_all(sources: &Sources, env: &Env<'_>, findings: &mut Findings) -> Option<Checked> {
    let main = read_main(sources.main(), findings);
    let included: Vec<_> = (1..sources.files().len()).map(|file| read_included(sources, file, findings)).collect();
    for fault in sources.faults() {
        findings.push(fault.clone());
    }
    let is_whole = sources.faults().iter().all(|fault| fault.severity != Severity::Error);
    let (mut draft, place) = main?;
    for included in included {
        draft.join(included?, findings);
    }
    if !is_whole {
        return None;
    }
    if draft.providers.is_absent() {
        let finding = Diagnostic::error(Code::MISSING_KEY, place, "the file needs `providers`");
        findings.push(finding.hint("a gateway without providers has nothing to route to"));
    }
    check::check(&draft, sources.names(), env, findings)
}

/// The main file's draft, and its place.
fn read_main(text: &str, findings: &mut Findings) -> Option<(FileDraft, Place)> {
    let node = read_node(text, 0, findings)?;
    if matches!(node.value, tree::Value::Nothing) {
        let finding = Diagnostic::error(Code::MISSING_KEY, START, "the file is empty");
        findings.push(finding.hint("a first file: `version: 1`, `providers` with one entry, `default: { chain: [provider/model] }`"));
        return None;
    }
    Some((FileDraft::read(&node, findings)?, node.label))
}

fn read_included(sources: &Sources, file: usize, findings: &mut Findings) -> Option<IncludedDraft> {
    let node = read_node(sources.text(file), file, findings)?;
    IncludedDraft::read_file(&node, &sources.name(0), findings)
}

fn read_node(text: &str, file: usize, findings: &mut Findings) -> Option<tree::Node> {
    if let Err(mut finding) = text_of(text.as_bytes()) {
        finding.place.file = file;
        findings.push(finding);
        return None;
    }
    tree::parse(text, file, findings)
}

/// The bytes as text, when they are one that YAML can hold.
fn text_of(bytes: &[u8]) -> Result<&str, Diagnostic> {
    if bytes.len() > MAX_BYTES {
        let finding = Diagnostic::error(Code::FILE_TOO_LARGE, START, "the file is larger than 1 MiB");
        return Err(finding.hint("two thousand rules fit in a third of that; is this the right file?"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Diagnostic::error(Code::BAD_ENCODING, START, "the file is UTF-16").hint("save it as UTF-8"));
    }
    let sound = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let before = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            let finding = Diagnostic::error(Code::BAD_ENCODING, place_behind(before), "these bytes are no UTF-8 text");
            return Err(finding.hint("save the file as UTF-8"));
        }
    };
    match sound.find('\0') {
        Some(at) => {
            let finding = Diagnostic::error(Code::BAD_ENCODING, place_behind(&sound[..at]), "there is a NUL character in the file");
            Err(finding.hint("save the file as UTF-8 text"))
        }
        None => Ok(sound),
    }
}

/// The place right behind a text.
fn place_behind(text: &str) -> Place {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Place { line: text.matches('\n').count() + 1, column: last.chars().count() + 1, start: text.len(), end: text.len(), ..START }
}
