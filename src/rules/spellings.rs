//! The names that people write for a model beside its own.

use std::collections::HashMap;

use crate::catalog::{base_name, catalog, folded_name, plainer_name};
use crate::config::{Provider, Target};

/// Targets by what stands for all names of their models.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    by_target: HashMap<(Box<str>, Box<str>), usize>,
    by_model: HashMap<Box<str>, Vec<usize>>,
    /// What stands for a name that is spelled as some provider spells it: most requests name one so.
    spelled: HashMap<Box<str>, Box<str>>,
    /// Dated versions of a model that are priced otherwise, so that they are not this one.
    other: Vec<Box<str>>,
}

impl Spellings {
    pub(super) fn new(providers: &[Provider], targets: &[Target]) -> Self {
        let mut all = Self::default();
        for (index, target) in targets.iter().enumerate() {
            let Some(provider) = providers.get(target.provider) else { continue };
            let name = target.model.as_str();
            let known =
                catalog().provider(provider.name.as_str()).and_then(|known| known.model(name)).filter(|known| known.is_called(name));
            let aliases = known.into_iter().flat_map(|known| known.aliases.iter().map(String::as_str));
            all.spelled.entry(name.into()).or_insert_with(|| catalog().families.family_name(name));
            for spelling in std::iter::once(name).chain(aliases).map(|name| catalog().families.family_name(name)) {
                all.by_target.entry((provider.name.as_str().into(), spelling.clone())).or_insert(index);
                let named = all.by_model.entry(spelling).or_default();
                if named.last() != Some(&index) {
                    named.push(index);
                }
            }
            let other = known.into_iter().flat_map(|known| &known.other_versions);
            all.other.extend(other.map(|name| folded_name(name).into()));
        }
        all
    }

    /// The targets that a name means: in whatever spelling and under whatever name of the model, else without what stands around the
    /// model's name and says nothing of it, one thing after the other.
    pub(super) fn find(&self, requested: &str) -> Option<&[usize]> {
        let mut name = requested;
        loop {
            if let Some(found) = self.named(name) {
                return Some(found);
            }
            if base_name(name).is_some() && self.is_other(name) {
                return None;
            }
            let plainer = plainer_name(name)?;
            // `gpt-oss-120b:groq` asks for it at one provider.
            let provider = name.strip_prefix(plainer).and_then(|tag| tag.strip_prefix(':'));
            if let Some(found) = provider.and_then(|provider| self.at(provider, plainer)) {
                return Some(found);
            }
            name = plainer;
        }
    }

    fn named(&self, name: &str) -> Option<&[usize]> {
        let of_provider = name.split_once(['/', ':']).and_then(|(provider, model)| self.at(provider, model));
        let family = || match self.spelled.get(name) {
            Some(family) => self.by_model.get(family),
            None => self.by_model.get(&catalog().families.family_name(name)),
        };
        of_provider.or_else(|| family().map(Vec::as_slice))
    }

    fn at(&self, provider: &str, model: &str) -> Option<&[usize]> {
        let key = (provider.to_ascii_lowercase().into(), catalog().families.family_name(model));
        self.by_target.get(&key).map(std::slice::from_ref)
    }

    fn is_other(&self, name: &str) -> bool {
        let name = folded_name(name);
        self.other.iter().any(|other| **other == *name)
    }
}
