//! Where the price in force of each target comes from, and how old it is: told beside the file, since the file alone does not know
//! the time.

use jiff::Unit;
use jiff::civil::Date;

use super::checked::{Key, Provider, Target};
use super::lists::ImportedList;
use crate::catalog::{CatalogModel, catalog};
use crate::units::Prices;

/// From how many days on a price is called old.
const OLD_DAYS: i32 = 90;

/// Which of the prices that are known of a target counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PriceFrom {
    Nowhere,
    File,
    Imported,
    BuiltIn,
}

/// What is known of one target's price beside what counts.
#[derive(Clone, Copy, Debug)]
pub struct PriceOrigin<'l> {
    pub from: PriceFrom,
    pub imported: Option<(&'l ImportedList, &'l Prices)>,
    pub built_in: Option<&'static CatalogModel>,
}

impl PriceFrom {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nowhere => "nowhere",
            Self::File => "file",
            Self::Imported => "imported",
            Self::BuiltIn => "built in",
        }
    }
}

impl PriceOrigin<'_> {
    /// Who says so; nothing where it is the user's own figure.
    #[must_use]
    pub fn source(&self) -> Option<&str> {
        match self.from {
            PriceFrom::Imported => self.imported.and_then(|(list, _)| list.source.as_deref()),
            PriceFrom::BuiltIn => self.built_in.map(|model| model.source.as_str()),
            PriceFrom::Nowhere | PriceFrom::File => None,
        }
    }

    /// The day of the figure, as written.
    #[must_use]
    pub fn as_of(&self) -> Option<&str> {
        match self.from {
            PriceFrom::Imported => self.imported.and_then(|(list, _)| list.as_of.as_deref()),
            PriceFrom::BuiltIn => self.built_in.map(|model| model.as_of.as_str()),
            PriceFrom::Nowhere | PriceFrom::File => None,
        }
    }
}

/// Where the price of a target comes from. `providers` are those of the file.
#[must_use]
pub fn price_origin<'l>(providers: &[Provider], target: &Target, lists: &'l [ImportedList]) -> PriceOrigin<'l> {
    let own = providers.get(target.provider).map(|provider| provider.name.as_str()).unwrap_or_default();
    let model = target.model.as_str();
    let in_force = target.prices.as_deref();
    let known = catalog().provider(own);
    // What is copied from an entry of the catalogue under another name has its prices.
    let copied = || {
        catalog()
            .providers
            .iter()
            .filter_map(|known| known.model(model))
            .find(|known| known.name == model && in_force == Some(&known.prices))
    };
    let built_in = known.map_or_else(copied, |known| known.model(model));
    let row = |provider: &str| {
        let name = format!("{provider}/{model}");
        lists.iter().find_map(|list| list.rows.iter().find(|(row, _)| *row == name).map(|(_, prices)| (list, prices)))
    };
    let imported = row(known.map_or(own, |known| &known.name)).or_else(|| row(own));
    let from = match in_force {
        None => PriceFrom::Nowhere,
        Some(prices) if imported.is_some_and(|(_, imported)| imported == prices) => PriceFrom::Imported,
        Some(prices) if imported.is_none() && built_in.is_some_and(|model| model.prices == *prices) => PriceFrom::BuiltIn,
        Some(_) => PriceFrom::File,
    };
    PriceOrigin { from, imported, built_in }
}

/// How many days lie between the day of a figure and today; nothing where its day cannot be read.
#[must_use]
pub fn age_in_days(as_of: &str, today: Date) -> Option<i32> {
    as_of.parse::<Date>().ok()?.until((Unit::Day, today)).ok().map(|span| span.get_days())
}

/// One line about prices that are old by now and may be spent at: those of targets that no key is missing for.
#[must_use]
pub fn old_prices(providers: &[Provider], targets: &[Target], lists: &[ImportedList], today: Date) -> Option<String> {
    let is_served = |target: &&Target| providers.get(target.provider).is_some_and(|provider| !matches!(provider.key, Key::Missing(_)));
    let old = targets.iter().filter(is_served).filter_map(|target| {
        let origin = price_origin(providers, target, lists);
        let day = origin.as_of()?.to_owned();
        let days = age_in_days(&day, today).filter(|days| *days >= OLD_DAYS)?;
        Some((days, day, origin.from))
    });
    let old: Vec<_> = old.collect();
    let (days, day, from) = old.iter().max()?;
    let prices = if old.len() == 1 { "1 price is".to_owned() } else { format!("{} prices are up to", old.len()) };
    Some(format!("{prices} {days} days old ({}, {day}): `tollgate prices import` brings newer ones", from.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Env, Sources, price_lists, read};

    /// What is told on a day of a file with these prices.
    fn told(text: &str, today: &str) -> Option<String> {
        let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
        let env = Env { variable: &|name| (name == "OPENAI_API_KEY").then(|| "sk-there".into()), file: &none, credential: &none };
        let sources = Sources::new("routes.yaml", text);
        let checked = read(&sources, &env).0.unwrap();
        old_prices(&checked.providers, &checked.targets, &price_lists(&sources), today.parse().unwrap())
    }

    #[test]
    fn one_line_tells_of_old_prices_that_may_be_spent_at() {
        let file = |providers: &str, more: &str| format!("version: 1\n{more}providers:\n{providers}default: refuse\n");
        let one = "  openai: { models: { gpt-4o: {} } }\n";
        let list = |day: &str| {
            format!(
                "prices: {{ source: models.dev, as_of: {day}, models: {{ openai/gpt-4o: {{ usd_per_mtok: {{ input: 3, output: 9 }} }} }} }}\n"
            )
        };
        for (text, today, line) in [
            (file(one, ""), "2026-06-01", None),
            (file(one, ""), "2026-08-18", None),
            (
                file(one, ""),
                "2026-08-19",
                Some("1 price is 90 days old (built in, 2026-05-21): `tollgate prices import` brings newer ones"),
            ),
            (
                file("  openai: { models: { gpt-4o: {}, gpt-4o-mini: {}, mine: { usd_per_mtok: { input: 1, output: 1 } } } }\n", ""),
                "2026-11-23",
                Some("2 prices are up to 186 days old (built in, 2026-05-21): `tollgate prices import` brings newer ones"),
            ),
            // Nobody can spend there.
            (file("  groq: {}\n", ""), "2026-11-23", None),
            // The user's own, and a list of yesterday's.
            (file("  openai: { models: { gpt-4o: { usd_per_mtok: { input: 1, output: 1 } } } }\n", ""), "2030-01-01", None),
            (file(one, &list("2026-11-22")), "2026-11-23", None),
            (
                file(one, &list("2026-01-01")),
                "2026-11-23",
                Some("1 price is 326 days old (imported, 2026-01-01): `tollgate prices import` brings newer ones"),
            ),
            (
                file(
                    "  eu: { like: openai, base_url: \"https://eu.api.openai.com/v1\", api_key: \"${OPENAI_API_KEY}\", models: { gpt-4o: {} } }\n",
                    "",
                ),
                "2026-11-23",
                Some("1 price is 186 days old (built in, 2026-05-21): `tollgate prices import` brings newer ones"),
            ),
        ] {
            assert_eq!(told(&text, today).as_deref(), line, "{today} {text}");
        }
    }
}
