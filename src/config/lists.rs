//! The price lists that a configuration names, row by row: for telling them from other prices.

use super::check::prices;
use super::decode::{Findings, Shape};
use super::draft::PriceListDraft;
use super::sources::Sources;
use super::tree::{self, Value};
use crate::units::Prices;

/// One `prices:` of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedList {
    /// The file as the user would name it.
    pub file: String,
    pub source: Option<String>,
    /// The day of its figures, as written.
    pub as_of: Option<String>,
    /// By `provider/model`; rows that cannot be read are left out.
    pub rows: Vec<(String, Prices)>,
}

/// Every price list of the files, in the order in which they count.
#[must_use]
pub fn price_lists(sources: &Sources) -> Vec<ImportedList> {
    (0..sources.files().len()).filter_map(|file| in_file(sources, file)).collect()
}

fn in_file(sources: &Sources, file: usize) -> Option<ImportedList> {
    let mut findings = Findings::default();
    let root = tree::parse(sources.text(file), file, &mut findings)?;
    let Value::Map(entries) = &root.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == "prices")?;
    let list = PriceListDraft::read(&entry.value, &mut findings)?;
    let row = |name: &str, written| Some((name.to_owned(), prices(written, &mut Findings::default())?));
    let rows = list.models.get().into_iter().flatten();
    Some(ImportedList {
        file: sources.name(file),
        source: list.source.get().cloned(),
        as_of: list.as_of.get().cloned(),
        rows: rows.filter_map(|one| row(&one.name, one.value.as_ref()?.usd_per_mtok.get()?)).collect(),
    })
}
