//! The names that people write for a model beside its own.

use std::collections::HashMap;

use crate::catalog::{base_name, catalog, folded_name};
use crate::config::{Provider, Target};
use crate::units::Format;

/// Targets by names without case and prefix.
#[derive(Debug, Default)]
pub(super) struct Spellings {
    by_target: HashMap<(Box<str>, Box<str>), usize>,
    by_model: HashMap<Box<str>, Vec<usize>>,
    /// Dated versions of a model that are priced otherwise, so that they are not this one.
    other: Vec<Box<str>>,
}

impl Spellings {
    pub(super) fn new(providers: &[Provider], targets: &[Target]) -> Self {
        let mut all = Self::default();
        for (index, target) in targets.iter().enumerate() {
            let Some(provider) = providers.get(target.provider).filter(|provider| provider.format != Format::Sandbox) else { continue };
            let name = target.model.as_str();
            let known =
                catalog().provider(provider.name.as_str()).and_then(|known| known.model(name)).filter(|known| known.is_called(name));
            let aliases = known.into_iter().flat_map(|known| known.aliases.iter().map(String::as_str));
            for spelling in std::iter::once(name).chain(aliases).map(folded_name) {
                all.by_target.entry((provider.name.as_str().into(), spelling.as_str().into())).or_insert(index);
                all.by_model.entry(spelling.into()).or_default().push(index);
            }
            let other = known.into_iter().flat_map(|known| &known.other_prices);
            all.other.extend(other.map(|name| folded_name(name).into()));
        }
        all
    }

    /// The targets that a name means which none of them has: in its spelling, else without the date at its end.
    pub(super) fn find(&self, requested: &str) -> Option<&[usize]> {
        self.spelled(requested).or_else(|| {
            let base = base_name(requested)?;
            let name = folded_name(requested);
            if self.other.iter().any(|other| **other == *name) { None } else { self.spelled(base) }
        })
    }

    fn spelled(&self, requested: &str) -> Option<&[usize]> {
        let folded: Box<str> = folded_name(requested).into();
        let of_provider = requested.split_once('/').and_then(|(provider, _)| {
            let key = (provider.to_ascii_lowercase().into(), folded.clone());
            self.by_target.get(&key).map(std::slice::from_ref)
        });
        of_provider.or_else(|| self.by_model.get(&folded).map(Vec::as_slice))
    }
}
