//! Names resolve: providers and models by their targets; what nothing names is told.

use super::check::Chains;
use super::codes::Code;
use super::decode::Findings;
use super::diagnostic::{Diagnostic, Place, as_name, nearest};
use super::draft::FileDraft;
use crate::catalog::{CatalogProvider, catalog};

/// Every provider that the file lists, with the models it was read with.
pub(super) struct Directory {
    listed: Vec<Listed>,
    /// False when `providers` itself could not be read: then no name is judged.
    is_whole: bool,
}

pub(super) struct Listed {
    pub(super) name: String,
    pub(super) key: Place,
    /// Absent when the entry does not say them or could not be read: then no model name is judged.
    pub(super) models: Option<Vec<String>>,
    /// What the catalogue knows of it.
    pub(super) known: Option<&'static CatalogProvider>,
    /// Index of its first target.
    pub(super) first_target: usize,
}

impl Directory {
    pub(super) fn new(is_whole: bool) -> Self {
        Self { listed: Vec::new(), is_whole }
    }

    pub(super) fn add(&mut self, provider: Listed) {
        self.listed.push(provider);
    }

    /// The index of a target by name; `about` is who names it: a rule, a chain. Nothing once a finding says why, or when it cannot be judged.
    pub(super) fn find(&self, about: &str, name: &str, place: Place, findings: &mut Findings) -> Option<usize> {
        let (provider, model) = name.split_once('/')?;
        let listed = &self.listed[self.provider(about, provider, place, findings)?];
        let models = listed.models.as_ref()?;
        let known = listed.known.and_then(|known| known.model(model));
        let at = models.iter().position(|listed| listed == model);
        let at = at.or_else(|| known.and_then(|known| models.iter().position(|listed| *listed == known.name)));
        if at.is_none() {
            let message = format!("{about} names model `{model}`, which provider `{provider}` does not list");
            let finding = Diagnostic::error(Code::UNKNOWN_MODEL, place, message);
            let more: Vec<&str> = listed.known.into_iter().flat_map(|known| &known.models).map(|known| known.name.as_str()).collect();
            findings.push(finding.hint_near(model, models.iter().map(String::as_str), &more));
        }
        at.map(|at| listed.first_target + at)
    }

    /// The index of a target by name, with nothing told.
    pub(super) fn quietly(&self, name: &str) -> Option<usize> {
        let (provider, _) = name.split_once('/')?;
        self.listed.iter().any(|listed| listed.name == provider).then(|| self.find("", name, Place::default(), &mut Findings::default()))?
    }

    /// Whether every provider could be read with its models, so that a name that is not there is a wrong one.
    pub(super) fn is_whole(&self) -> bool {
        self.is_whole && self.listed.iter().all(|listed| listed.models.is_some())
    }

    /// The index of a provider by name. Nothing once a finding says why, or when it cannot be judged.
    pub(super) fn provider(&self, about: &str, name: &str, place: Place, findings: &mut Findings) -> Option<usize> {
        let found = self.listed.iter().position(|listed| listed.name == name);
        // An entry whose name is refused will have this one.
        let is_told = self.listed.iter().any(|listed| as_name(&listed.name).is_some_and(|meant| meant == name));
        if found.is_none() && self.is_whole && !is_told {
            let finding = Diagnostic::error(Code::UNKNOWN_PROVIDER, place, format!("{about} names provider `{name}`"));
            let listed: Vec<&str> = self.listed.iter().map(|listed| listed.name.as_str()).collect();
            findings.push(if catalog().provider(name).is_some() && nearest(name, &listed).is_none() {
                finding.hint(format!("the catalogue knows it, and the file has to list it: `{name}: {{}}` under `providers`"))
            } else {
                finding.hint_nearest(name, listed)
            });
        }
        found
    }

    /// A target that has exactly this model, for hints.
    pub(super) fn with_model(&self, model: &str) -> Option<String> {
        let has = |listed: &&Listed| listed.models.iter().flatten().any(|known| known == model);
        self.listed.iter().find(has).map(|listed| format!("{}/{model}", listed.name))
    }

    /// One target of a provider, for hints.
    pub(super) fn example(&self, provider: &str) -> Option<String> {
        let listed = self.listed.iter().find(|listed| listed.name == provider)?;
        Some(format!("{provider}/{}", listed.models.as_ref()?.first()?))
    }
}

/// Chains and providers that nothing can reach. Said only where every chain could be read.
pub(super) fn warn_unused(draft: &FileDraft, chains: &Chains<'_>, directory: &Directory, findings: &mut Findings) {
    if !chains.is_whole() || draft.rules.at().is_none() && !draft.rules.is_absent() || draft.default.at().is_none() {
        return;
    }
    for row in draft.chains.get().into_iter().flatten() {
        if !chains.is_used(&row.name) {
            let finding = Diagnostic::warning(Code::UNUSED_CHAIN, row.key, format!("nothing uses chain `{}`", row.name));
            findings.push(finding.hint("name it in a rule, or take it out"));
        }
    }
    let copied = |name: &str| {
        let likes = |row: &&super::collections::Row<super::draft::ProviderDraft>| {
            row.value.as_ref().and_then(|value| value.like.get()).is_some_and(|like| like == name)
        };
        draft.providers.get().into_iter().flatten().find(likes).is_some()
    };
    for listed in &directory.listed {
        if !chains.reaches(&listed.name) && !copied(&listed.name) {
            let finding = Diagnostic::warning(Code::UNUSED_PROVIDER, listed.key, format!("no chain reaches provider `{}`", listed.name));
            findings.push(finding.hint("name one of its models in a chain, or take it out"));
        }
    }
}
