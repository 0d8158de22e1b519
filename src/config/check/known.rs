//! What the catalogue gives an entry of `providers:` that the file does not say itself.

use std::collections::BTreeMap;

use super::providers::prices;
use crate::catalog::{CatalogModel, CatalogProvider, base_name, catalog};
use crate::config::codes::Code;
use crate::config::collections::Row;
use crate::config::decode::{At, Field, Findings, Shape};
use crate::config::diagnostic::{Diagnostic, Place, nearest};
use crate::config::draft::{ChainDraft, DefaultDraft, FileDraft, MemberDraft, ModelDraft, ProviderDraft};
use crate::config::tree::{Node, Value};
use crate::config::urls;
use crate::units::{Efforts, Format, Lacks, Need, Prices, Replay, Speaks, Thinks, Tokens};

/// What is known of a model that the file does not say.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) prices: Option<Prices>,
    pub(super) context: Option<Tokens>,
    pub(super) max_output: Option<Tokens>,
    pub(super) can: Option<Vec<Need>>,
    /// How it is asked to reason.
    pub(super) thinks: Option<Thinks>,
    /// How many stop sequences a call may have.
    pub(super) most_stops: Option<usize>,
    pub(super) lacks: Lacks,
    pub(super) efforts: Efforts,
    pub(super) replay: Option<Replay>,
    pub(super) speaks: Option<Speaks>,
}

/// Imported price lists, by provider and model.
#[derive(Debug, Default)]
pub(super) struct Imported(BTreeMap<(String, String), Facts>);

impl Imported {
    /// Of two rows about one model the first counts.
    pub(super) fn new(draft: &FileDraft, findings: &mut Findings) -> Self {
        let mut all = BTreeMap::new();
        for row in draft.prices.get().and_then(|list| list.models.get()).into_iter().flatten() {
            let (Some((provider, model)), Some(value)) = (row.name.split_once('/'), &row.value) else { continue };
            let mut of_row = Findings::default();
            let prices = value.usd_per_mtok.get().and_then(|written| prices(written, &mut of_row));
            if of_row.has_errors() {
                let message = format!("the price of `{}` is left out: its tiers do not rise", row.name);
                findings
                    .push(Diagnostic::warning(Code::BAD_PRICE_ROW, row.key, message).hint("write the tiers in rising order of `above`"));
                continue;
            }
            let facts = Facts {
                prices,
                context: value.context.get().copied(),
                max_output: value.max_output.get().copied(),
                can: value.can.get().map(|can| can.iter().map(|need| need.value).collect()),
                ..Facts::default()
            };
            all.entry((provider_key(provider), model.to_owned())).or_insert(facts);
        }
        Self(all)
    }

    /// A model by its own name, or by the one without the date at its end.
    fn model(&self, provider: &str, model: &str) -> Option<&Facts> {
        let row = |model: &str| self.0.get(&(provider.to_owned(), model.to_owned()));
        row(model).or_else(|| base_name(model).and_then(row))
    }
}

/// The catalogue's name of a provider, where it has one.
fn provider_key(name: &str) -> String {
    catalog().provider(name).map_or_else(|| name.to_owned(), |known| known.name.clone())
}

/// The entry with what the catalogue says of its format, address, key and models where the file says none.
pub(super) fn filled(
    row: &Row<ProviderDraft>,
    mut draft: ProviderDraft,
    (known, imported): (&CatalogProvider, &Imported),
    named: &[&str],
    findings: &mut Findings,
) -> ProviderDraft {
    let given = |value: &str| Field::Given { key: row.key, at: At { place: row.key, value: value.to_owned() } };
    let Some((format, url)) = known.reachable() else {
        return draft;
    };
    // A format that the file chooses has an address of its own.
    let url = draft.format.get().and_then(|format| known.url_of(*format)).unwrap_or(url);
    if draft.format.is_absent() {
        draft.format = Field::Given { key: row.key, at: At { place: row.key, value: format } };
    }
    // A key goes to the host that it was made for, and to another one only where the file says so.
    let is_at_home = draft.base_url.is_absent() || draft.base_url.get().is_some_and(|own| urls::host(own) == urls::host(url));
    if draft.base_url.is_absent() {
        draft.base_url = given(url);
    }
    if draft.api_key.is_absent() && is_at_home {
        draft.api_key = given(&format!("${{{}}}?", known.key_variable));
    }
    or_known(&mut draft.on_disconnect, row.key, known.on_disconnect);
    or_known(&mut draft.max_output_tps, row.key, known.max_output_tps.map(|fastest| u64::from(fastest.get())));
    draft.models = models(row, &draft.models, (known, imported), named, findings);
    draft
}

fn or_known<T>(field: &mut Field<T>, place: Place, known: Option<T>) {
    if let (true, Some(value)) = (field.is_absent(), known) {
        *field = Field::Given { key: place, at: At { place, value } };
    }
}

/// The models that the file lists, or all that are known where it lists none; besides those that a chain names.
fn models(
    of: &Row<ProviderDraft>,
    own: &Field<Vec<Row<ModelDraft>>>,
    (known, imported): (&CatalogProvider, &Imported),
    named: &[&str],
    findings: &mut Findings,
) -> Field<Vec<Row<ModelDraft>>> {
    let key = of.key;
    // An entry with nothing in it.
    let node = Node { place: key, label: key, value: Value::Map(Vec::new()) };
    let unsaid = ModelDraft::read(&node, &mut Findings::default());
    let bare = |name: &str| Row { name: name.to_owned(), key, value: unsaid.clone() };
    let (key, at) = match own {
        Field::Wrong => return Field::Wrong,
        Field::Absent => (key, At { place: key, value: known.models.iter().map(|model| bare(&model.name)).collect() }),
        Field::Given { key, at } => (*key, at.clone()),
    };
    let mut rows: Vec<Row<ModelDraft>> = at.value;
    let written = rows.len();
    for name in named {
        let is_listed = |name: &str| rows.iter().any(|row| row.name == name);
        // A dated version is a model of its own to the provider; another spelling is not.
        let meant = known.model(name).map(|model| if model.is_called(name) { model.name.as_str() } else { *name });
        let meant = meant.or_else(|| imported.model(&known.name, name).map(|_| *name));
        if let Some(meant) = meant.filter(|meant| !is_listed(name) && !is_listed(meant)) {
            rows.push(bare(meant));
        }
    }
    let (written, added) = rows.split_at(written);
    let added: Vec<&str> = added.iter().map(|row| row.name.as_str()).collect();
    // What is written of a model under a slip of its name would be lost in silence.
    for row in written.iter().filter(|row| known.model(&row.name).is_none()) {
        if let Some(name) = nearest(&row.name, &added) {
            let message =
                format!("provider `{}` lists model `{}`, which the catalogue does not know, and chains name `{name}`", of.name, row.name);
            findings.push(Diagnostic::warning(Code::UNKNOWN_MODEL, row.key, message).hint(format!("did you mean `{name}`?")));
        }
    }
    Field::Given { key, at: At { place: at.place, value: rows } }
}

/// What is known of a model, unless the entry is the offline provider's: an imported price comes before the catalogue's.
pub(super) fn facts(provider: (&str, Option<&CatalogProvider>), imported: &Imported, of: &ProviderDraft, name: &str) -> Facts {
    if of.format.get() == Some(&Format::Sandbox) {
        return Facts::default();
    }
    let (own, known) = provider;
    let model = known.and_then(|known| known.model(name));
    let key = known.map_or(own, |known| known.name.as_str());
    let spelled = model.filter(|model| model.is_called(name)).map_or(name, |model| model.name.as_str());
    let row = imported.model(key, name).or_else(|| imported.model(key, spelled)).cloned().unwrap_or_default();
    Facts {
        prices: row.prices.or_else(|| model.map(|model| model.prices.clone())),
        context: row.context.or(model.and_then(|model| model.context)),
        max_output: row.max_output.or(model.and_then(|model| model.max_output)),
        can: row.can.or_else(|| model.and_then(CatalogModel::serves)),
        thinks: model.and_then(|model| model.thinks),
        most_stops: known.and_then(|known| known.most_stops),
        lacks: known.map(|known| known.lacks).unwrap_or_default(),
        efforts: model.map(|model| model.efforts).unwrap_or_default(),
        replay: known.and_then(|known| known.replay),
        speaks: model.and_then(|model| model.speaks),
    }
}

/// Every target that some chain of the file names.
pub(super) fn named(draft: &FileDraft) -> Vec<&str> {
    let mut names = Vec::new();
    for row in draft.chains.get().into_iter().flatten() {
        row.value.iter().for_each(|chain| in_chain(chain, &mut names));
    }
    for rule in draft.rules.get().into_iter().flatten() {
        rule.value.chain.get().into_iter().for_each(|chain| in_chain(chain, &mut names));
    }
    if let Some(DefaultDraft::Route(route)) = draft.default.get() {
        route.chain.get().into_iter().for_each(|chain| in_chain(chain, &mut names));
    }
    names
}

fn in_chain<'d>(chain: &'d ChainDraft, names: &mut Vec<&'d str>) {
    if let ChainDraft::Steps(members) = chain {
        for member in members {
            in_member(&member.value, names);
        }
    }
}

fn in_member<'d>(member: &'d MemberDraft, names: &mut Vec<&'d str>) {
    match member {
        MemberDraft::Name(name) => names.push(name),
        MemberDraft::Step(step) => names.extend(step.target.get().map(String::as_str)),
        MemberDraft::Pool(pool) => pool.of.get().into_iter().flatten().for_each(|member| in_member(&member.value, names)),
    }
}

/// Names the keys that are missing where the catalogue does not know the provider, either.
pub(super) fn refuse_incomplete(row: &Row<ProviderDraft>, draft: &ProviderDraft, findings: &mut Findings) {
    let is_sandbox = draft.format.get() == Some(&Format::Sandbox);
    let has_no_models = draft.models.is_absent() || draft.models.get().is_some_and(Vec::is_empty);
    let missing: Vec<&str> =
        [("`format`", draft.format.is_absent()), ("`base_url`", draft.base_url.is_absent() && !is_sandbox), ("`models`", has_no_models)]
            .into_iter()
            .filter_map(|(key, is_missing)| is_missing.then_some(key))
            .collect();
    if missing.is_empty() {
        return;
    }
    if missing == ["`models`"] {
        let finding = Diagnostic::error(Code::MISSING_KEY, row.key, format!("provider `{}` needs `models`", row.name));
        findings.push(finding.hint(if is_sandbox {
            "write `models: { echo: {} }`"
        } else {
            "list at least one: `models: { name-of-it: {} }`"
        }));
        return;
    }
    let missing = joined(&missing);
    let message = format!("the catalogue knows no provider `{}`, so it needs {missing}", row.name);
    let finding = Diagnostic::error(Code::MISSING_KEY, row.key, message);
    findings.push(match nearest(&row.name, &provider_names()) {
        Some(name) => finding.hint(format!("did you mean `{name}`? Else write {missing} out")),
        None => finding.hint(format!("write {missing} out")),
    });
}

/// The names that an entry may have to be known.
pub(super) fn provider_names() -> Vec<&'static str> {
    catalog().providers.iter().flat_map(|known| std::iter::once(&known.name).chain(&known.aliases)).map(String::as_str).collect()
}

fn joined(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => (*one).into(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
