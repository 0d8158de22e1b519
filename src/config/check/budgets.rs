//! `budgets:`, and those of providers and callers: windows, what each covers, and what is said of all of them together.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::callers::Callers;
use super::providers::Providers;
use crate::config::checked::{Budget, Cap, Covers};
use crate::config::codes::Code;
use crate::config::collections::{Row, Rows};
use crate::config::decode::{At, Field, Findings};
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::draft::{BudgetDraft, CallersDraft, CoversDraft, FileDraft, TermsDraft};
use crate::units::{BudgetName, CallerName, Glob, Period, ProviderName, Rate, RuleName, Share, StartsOn, Tokens, Window};

/// Every budget of the file, those of providers and callers behind the named ones.
#[derive(Default)]
pub(super) struct Budgets {
    pub(super) named: Vec<Named>,
    /// False where some budget could not be read: then no name is judged.
    pub(super) is_whole: bool,
    /// Nothing once a finding says why.
    pub(super) list: Option<Vec<Budget>>,
}

/// A budget as conditions name it.
pub(super) struct Named {
    pub(super) name: String,
    /// Nothing where they could not be read.
    pub(super) periods: Option<Vec<Period>>,
}

/// The zone of windows and days where nothing else is said.
pub(super) fn zone(draft: &FileDraft) -> TimeZone {
    draft.server.get().and_then(|server| server.timezone.get()).map_or(TimeZone::UTC, |name| zone_named(name))
}

fn zone_named(name: &str) -> TimeZone {
    TimeZoneDatabase::bundled().get(name).unwrap_or(TimeZone::UTC)
}

pub(super) fn check(draft: &FileDraft, listed: &Providers, callers: &Callers<'_>, zone: &TimeZone, findings: &mut Findings) -> Budgets {
    let mut checker = Checker { draft, listed, callers, zone, findings, named: Vec::new(), list: Vec::new(), renamed: Vec::new() };
    for row in draft.budgets.get().into_iter().flatten() {
        checker.named(row);
    }
    checker.providers();
    checker.callers();
    checker.refuse_names_in_use();
    let Checker { named, list, .. } = checker;
    let is_read = [draft.budgets.is_absent() || draft.budgets.get().is_some(), draft.providers.get().is_some(), callers.list.is_some()];
    Budgets { named, is_whole: is_read.into_iter().all(|is_read| is_read), list: list.into_iter().collect() }
}

/// What the file says of one budget.
struct Said<'a> {
    /// Whose it is, for messages.
    about: String,
    /// Nothing once a finding says why.
    name: Option<BudgetName>,
    /// The name as it is written or made.
    text: String,
    place: Place,
    terms: &'a TermsDraft,
    covers: Option<Covers>,
    pace: Option<Rate>,
    /// False where `was` is another budget's, and only copied.
    may_be_renamed: bool,
}

struct Checker<'c, 'd> {
    draft: &'d FileDraft,
    listed: &'c Providers,
    callers: &'c Callers<'d>,
    zone: &'c TimeZone,
    findings: &'c mut Findings,
    named: Vec<Named>,
    list: Vec<Option<Budget>>,
    /// Former names and where they stand.
    renamed: Vec<(String, At<String>)>,
}

impl Checker<'_, '_> {
    fn named(&mut self, row: &Row<BudgetDraft>) {
        let about = format!("budget `{}`", row.name);
        let name = name(row, self.findings);
        let Some(draft) = &row.value else {
            self.named.push(Named { name: row.name.clone(), periods: None });
            self.list.push(None);
            return;
        };
        if draft.cap.is_absent() && draft.pace.is_absent() {
            let finding = Diagnostic::error(Code::MISSING_KEY, row.key, format!("{about} needs a `cap`"));
            self.findings.push(finding.hint("write `cap: $300/month`"));
        }
        let covers = match draft.r#match.at() {
            Some(at) => self.covers(&about, at, draft),
            None => Some(Covers::default()),
        };
        self.add(Said {
            about,
            name,
            text: row.name.clone(),
            place: row.key,
            terms: &draft.terms(),
            covers,
            pace: draft.pace.get().copied(),
            may_be_renamed: true,
        });
    }

    fn providers(&mut self) {
        for (index, row) in self.draft.providers.get().into_iter().flatten().enumerate() {
            // What `like` copies is a budget of its own, but for the name that the other one had.
            let Some(own) = &row.value else { continue };
            let Some(copied) = self.listed.copied.get(index).and_then(Option::as_ref) else { continue };
            if copied.budget.is_absent() && copied.pace.is_absent() {
                continue;
            }
            let name = ProviderName::parse(&row.name).ok().and_then(|name| BudgetName::parse(&format!("provider.{name}")).ok());
            let covers = Some(Covers { providers: Some(vec![index]), ..Covers::default() });
            let about = format!("the budget of provider `{}`", row.name);
            let terms = copied.budget.get().cloned().unwrap_or_else(TermsDraft::none);
            self.add(Said {
                about,
                name,
                text: format!("provider.{}", row.name),
                place: own.budget.key().or(own.pace.key()).unwrap_or(row.key),
                terms: &terms,
                covers: if copied.budget.is_absent() || copied.budget.get().is_some() { covers } else { None },
                pace: copied.pace.get().copied(),
                may_be_renamed: own.budget.get().is_some_and(|budget| !budget.was.is_absent()),
            });
        }
    }

    fn callers(&mut self) {
        for (index, row) in self.draft.callers.get().map(CallersDraft::entries).unwrap_or_default().iter().enumerate() {
            let Some(draft) = row.value.as_ref().filter(|draft| !draft.budget.is_absent()) else { continue };
            let name = CallerName::parse(&row.name).ok().and_then(|name| BudgetName::parse(&format!("caller.{name}")).ok());
            let covers = draft.budget.get().map(|_| Covers { callers: Some(vec![index]), ..Covers::default() });
            let about = format!("the budget of caller `{}`", row.name);
            let terms = draft.budget.get().cloned().unwrap_or_else(TermsDraft::none);
            let (text, place) = (format!("caller.{}", row.name), draft.budget.key().unwrap_or(row.key));
            self.add(Said { about, name, text, place, terms: &terms, covers, pace: None, may_be_renamed: true });
        }
    }

    fn add(&mut self, said: Said<'_>) {
        let Said { about, name, text, place, terms, covers, pace, may_be_renamed } = said;
        let window = Window {
            period: Period::Total,
            zone: terms.timezone.get().map_or_else(|| self.zone.clone(), |name| zone_named(name)),
            starts_on: terms.starts_on.get().copied().unwrap_or_default(),
        };
        let caps = self.caps(&about, terms, &window);
        let periods = caps.as_ref().map(|caps| caps.iter().map(|cap| cap.window.period).collect());
        self.named.push(Named { name: text.clone(), periods });
        if let (Some(key), Some(caps)) = (terms.starts_on.key(), &caps)
            && !caps.iter().any(|cap| cap.window.period == Period::Month)
            && window.starts_on != StartsOn::default()
        {
            let finding = Diagnostic::error(Code::KEY_DOES_NOT_APPLY, key, format!("`starts_on` is about months, and {about} has none"));
            self.findings.push(finding.hint("take it out, or write a cap per `/month`"));
        }
        let warn_at = self.warn_at(&about, terms);
        let was = terms.was.at().filter(|_| may_be_renamed).map(|was| self.was(&about, &text, was));
        let budget = (|| {
            Some(Budget {
                name: name?,
                place,
                covers: covers?,
                caps: caps?,
                pace,
                mode: terms.mode.get().copied().unwrap_or_default(),
                warn_at: warn_at?,
                on_low: terms.on_low.get().copied().unwrap_or_default(),
                min_output_tokens: terms.min_output_tokens.get().copied().unwrap_or(Tokens::new(256)),
                wait: terms.wait.get().copied().unwrap_or(Duration::from_secs(10)),
                was: was.flatten(),
                estimate: terms.estimate.get().copied().unwrap_or_default(),
            })
        })();
        self.list.push(budget);
    }

    /// The caps in file order, no period twice; nothing once a finding says why.
    fn caps(&mut self, about: &str, terms: &TermsDraft, window: &Window) -> Option<Vec<Cap>> {
        let written = match &terms.cap {
            Field::Absent => return Some(Vec::new()),
            Field::Wrong => return None,
            Field::Given { at, .. } => &at.value,
        };
        let mut caps: Vec<Cap> = Vec::new();
        let mut is_sound = true;
        for At { place, value: (amount, period) } in written {
            if let Some(first) = caps.iter().find(|cap| cap.window.period == *period) {
                let message = format!("{about} has two caps for one `{period}`, {} and {amount}", first.amount);
                let finding = Diagnostic::error(Code::DUPLICATE_WINDOW, *place, message);
                self.findings.push(finding.hint(format!("keep one: `{}/{period}`", first.amount.min(*amount))));
                is_sound = false;
            }
            caps.push(Cap { amount: *amount, window: Window { period: *period, ..window.clone() } });
        }
        is_sound.then_some(caps)
    }

    fn warn_at(&mut self, about: &str, terms: &TermsDraft) -> Option<Vec<Share>> {
        let written = match &terms.warn_at {
            Field::Absent => return Some(Vec::new()),
            Field::Wrong => return None,
            Field::Given { at, .. } => &at.value,
        };
        for pair in written.windows(2) {
            if let [first, second] = pair
                && second.value <= first.value
            {
                let message = format!("{about} warns at {} behind {}", second.value, first.value);
                self.findings
                    .push(Diagnostic::error(Code::BAD_WARN_AT, second.place, message).hint("write the shares in rising order, each once"));
                return None;
            }
        }
        Some(written.iter().map(|share| share.value).collect())
    }

    fn was(&mut self, about: &str, name: &str, was: &At<String>) -> Option<BudgetName> {
        if was.value == name {
            let finding = Diagnostic::error(Code::WAS_IN_USE, was.place, format!("{about} says that it had the name that it has"));
            self.findings.push(finding.hint("take `was` out"));
            return None;
        }
        self.renamed.push((about.to_owned(), was.clone()));
        BudgetName::parse(&was.value)
            .map_err(|error| {
                let message = format!("`{}` is no budget name: {error}", was.value);
                self.findings.push(Diagnostic::error(Code::BAD_NAME, was.place, message).hint_name(&was.value));
            })
            .ok()
    }

    /// The spend of one budget goes on under one name.
    fn refuse_names_in_use(&mut self) {
        let mut taken: BTreeMap<&str, &str> = BTreeMap::new();
        for (about, was) in &self.renamed {
            if self.named.iter().any(|named| named.name == was.value) {
                let message = format!("{about} was `{}`, and a budget of that name is still there", was.value);
                let finding = Diagnostic::error(Code::WAS_IN_USE, was.place, message);
                self.findings.push(finding.hint("take the old one out, or `was`: one spend goes on under one name"));
            } else if let Some(other) = taken.get(was.value.as_str()) {
                let message = format!("{about} was `{}`, and so was {other}", was.value);
                self.findings.push(
                    Diagnostic::error(Code::WAS_IN_USE, was.place, message).hint("one spend goes on under one name: take one `was` out"),
                );
            }
            taken.entry(&was.value).or_insert(about);
        }
    }

    fn covers(&mut self, about: &str, at: &At<CoversDraft>, budget: &BudgetDraft) -> Option<Covers> {
        let draft = &at.value;
        if draft.is_empty() {
            let finding = Diagnostic::error(Code::EMPTY_MATCH, at.place, format!("`match` of {about} is empty"));
            self.findings.push(finding.hint("take it out where every request counts, or write whom it covers"));
        }
        let (listed, callers) = (self.listed, self.callers);
        let providers = indices(&draft.provider, |name| listed.directory.provider(about, &name.value, name.place, self.findings));
        let of_callers = indices(&draft.caller, |name| callers.find(about, name, self.findings));
        let rules = self.rules(about, &draft.rule);
        let models = match &draft.model {
            Field::Absent => Some(None),
            Field::Wrong => None,
            Field::Given { at, .. } => {
                at.value.iter().for_each(|pattern| self.warn_model(about, pattern, providers.as_ref().and_then(Option::as_deref)));
                Some(Some(at.value.iter().map(|pattern| pattern.value.clone()).collect()))
            }
        };
        for row in draft.tags.get().into_iter().flatten() {
            callers.warn_unknown_tag(about, &row.name, row.key, self.findings);
        }
        if let Some(key) = draft.labels.key()
            && budget.trust_client.get() != Some(&true)
            && budget.trust_client.key().is_some() == budget.trust_client.get().is_some()
        {
            let message = format!("{about} matches by labels, which are what clients say of themselves");
            let finding = Diagnostic::error(Code::UNTRUSTED_LABELS, key, message);
            self.findings.push(finding.hint("match by `tags`, which only this file sets, or write `trust_client: true` beside `match`"));
        }
        Some(Covers {
            providers: providers?,
            models: models?,
            callers: of_callers?,
            tags: patterns(&draft.tags)?,
            rules: rules?,
            labels: patterns(&draft.labels)?,
        })
    }

    #[expect(clippy::option_option, reason = "the outer one ends the reading, the inner one says whether it is there")]
    fn rules(&mut self, about: &str, field: &Field<Vec<At<String>>>) -> Option<Option<Vec<RuleName>>> {
        let at = match field {
            Field::Absent => return Some(None),
            Field::Wrong => return None,
            Field::Given { at, .. } => at,
        };
        let rules = &self.draft.rules;
        let names: Option<Vec<&str>> = match rules.get() {
            Some(rules) => rules.iter().map(|rule| rule.value.name.get().map(String::as_str)).collect(),
            None => rules.is_absent().then(Vec::new),
        };
        let rule = |name: &At<String>| {
            if name.value == "default" {
                return Some(RuleName::default_rule());
            }
            if !names.as_ref()?.contains(&name.value.as_str()) {
                let message = format!("{about} names rule `{}`, which is not there", name.value);
                let finding = Diagnostic::error(Code::UNKNOWN_RULE, name.place, message);
                self.findings.push(finding.hint_nearest(&name.value, names.iter().flatten().copied().chain(["default"])));
                return None;
            }
            RuleName::parse(&name.value).ok()
        };
        let found: Vec<Option<RuleName>> = at.value.iter().map(rule).collect();
        found.into_iter().collect::<Option<Vec<_>>>().map(Some)
    }

    /// A model that none of the providers has.
    fn warn_model(&mut self, about: &str, pattern: &At<String>, providers: Option<&[usize]>) {
        let Some(targets) = self.listed.targets.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return };
        let glob = Glob::new(&pattern.value);
        let is_covered = |target: &&&crate::config::Target| providers.is_none_or(|providers| providers.contains(&target.provider));
        let models: Vec<&str> = targets.iter().filter(is_covered).map(|target| target.model.as_str()).collect();
        if models.iter().any(|model| glob.matches(model)) {
            return;
        }
        let message = format!("{about} names model `{}`, which no provider that it covers lists", pattern.value);
        let finding = Diagnostic::error(Code::UNKNOWN_MODEL, pattern.place, message);
        self.findings.push(match pattern.value.split_once('/') {
            Some((provider, model)) if targets.iter().any(|target| target.name.as_str() == pattern.value) => {
                finding.hint(format!("write `provider: {provider}, model: {model}`"))
            }
            _ => finding.hint_nearest(&pattern.value, models),
        });
    }
}

fn name(row: &Row<BudgetDraft>, findings: &mut Findings) -> Option<BudgetName> {
    if row.name.starts_with("provider.") || row.name.starts_with("caller.") {
        let (kind, _) = row.name.split_once('.')?;
        let message = format!("`{}` is the name of a budget that stands with its {kind}", row.name);
        let finding = Diagnostic::error(Code::RESERVED_NAME, row.key, message);
        findings.push(finding.hint(format!("write `budget: $300/month` into the entry of the {kind}, or give this one another name")));
        return None;
    }
    BudgetName::parse(&row.name)
        .map_err(|error| {
            let finding = Diagnostic::error(Code::BAD_NAME, row.key, format!("`{}` is no budget name: {error}", row.name));
            findings.push(finding.hint_name(&row.name));
        })
        .ok()
}

/// What names stand for; nothing inside where none are said, nothing at all once a finding says why.
#[expect(clippy::option_option, reason = "the outer one ends the reading, the inner one says whether it is there")]
fn indices(field: &Field<Vec<At<String>>>, mut find: impl FnMut(&At<String>) -> Option<usize>) -> Option<Option<Vec<usize>>> {
    match field {
        Field::Absent => Some(None),
        Field::Wrong => None,
        Field::Given { at, .. } => {
            let found: Vec<Option<usize>> = at.value.iter().map(&mut find).collect();
            found.into_iter().collect::<Option<Vec<usize>>>().map(Some)
        }
    }
}

/// Names and the patterns behind them; nothing once a finding says why.
fn patterns(field: &Field<Rows<Vec<At<String>>>>) -> Option<BTreeMap<String, Vec<String>>> {
    let row = |row: &Row<Vec<At<String>>>| {
        let patterns = row.value.as_ref()?.iter().map(|pattern| pattern.value.clone()).collect();
        Some((row.name.clone(), patterns))
    };
    field.get().into_iter().flatten().map(row).collect()
}

impl CoversDraft {
    fn is_empty(&self) -> bool {
        let Self { caller, tags, rule, provider, model, labels } = self;
        let has_rows = |field: &Field<Rows<Vec<At<String>>>>| !field.is_absent() && field.get().is_none_or(|rows| !rows.is_empty());
        caller.is_absent() && rule.is_absent() && provider.is_absent() && model.is_absent() && !has_rows(tags) && !has_rows(labels)
    }
}
