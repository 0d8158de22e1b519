//! `tests:`: what they name is there, and each of them expects something.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use super::providers::Providers;
use super::rules::About;
use crate::config::checked::{Bounds, Expect, Given, Test};
use crate::config::codes::Code;
use crate::config::collections::Rows;
use crate::config::decode::{At, Field, Findings};
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::draft::{ExpectDraft, FileDraft, GivenDraft, TestDraft};
use crate::units::{CallerName, RuleName};

/// All tests in file order, or nothing once a finding says why.
pub(super) fn check(draft: &FileDraft, around: About<'_>, findings: &mut Findings) -> Option<Vec<Test>> {
    let drafts = draft.tests.get().map(Vec::as_slice).unwrap_or_default();
    let rules: Option<Vec<&str>> = draft.rules.get().map_or_else(
        || draft.rules.is_absent().then(Vec::new),
        |rules| rules.iter().map(|rule| rule.value.name.get().map(String::as_str)).collect(),
    );
    let mut lines: BTreeMap<&str, usize> = BTreeMap::new();
    let mut tests = Vec::new();
    for test in drafts {
        if let Some(name) = test.value.name.at() {
            if let Some(line) = lines.get(name.value.as_str()) {
                let message = format!("two tests are named `{}`, the first in line {line}", name.value);
                findings.push(Diagnostic::error(Code::DUPLICATE_NAME, name.place, message).hint("give one of them another name"));
            }
            lines.entry(&name.value).or_insert(name.place.line);
        }
        tests.push(one(&test.value, rules.as_deref(), around, findings));
    }
    tests.into_iter().collect()
}

/// `rules`: the names of all rules, where every one of them could be read.
fn one(draft: &TestDraft, rules: Option<&[&str]>, around: About<'_>, findings: &mut Findings) -> Option<Test> {
    let listed = around.listed;
    let about = draft.name.get().map_or_else(|| "a test".to_owned(), |name| format!("test `{name}`"));
    let (mut no_key, mut resting) = (Some(Vec::new()), Some(Vec::new()));
    let given = match &draft.given {
        Field::Absent => Some(Given::default()),
        Field::Wrong => None,
        Field::Given { at, .. } => {
            let all = |names: &Field<Vec<At<String>>>| names.get().cloned().unwrap_or_default();
            no_key =
                all(&at.value.no_key).iter().map(|name| listed.directory.provider(&about, &name.value, name.place, findings)).collect();
            resting = all(&at.value.resting).iter().map(|name| targets(&about, name, listed, findings)).collect();
            let is_known = names_exist(&about, &at.value, around, findings);
            given(&at.value, findings).filter(|_| is_known)
        }
    };
    let expect = draft.expect.at().and_then(|at| expect(&about, at, rules, listed, findings));
    let name = draft.name.at()?;
    let resting = resting?.into_iter().flatten().collect();
    Some(Test { name: name.value.clone(), place: name.place, given: given?, no_key: no_key?, resting, expect: expect? })
}

/// One target, or every target of a provider.
fn targets(about: &str, name: &At<String>, listed: &Providers, findings: &mut Findings) -> Option<Vec<usize>> {
    if name.value.contains('/') {
        return listed.directory.find(about, &name.value, name.place, findings).map(|target| vec![target]);
    }
    let provider = listed.directory.provider(about, &name.value, name.place, findings)?;
    let is_its_own = |target: &Option<crate::config::Target>| target.as_ref().is_some_and(|target| target.provider == provider);
    Some(listed.targets.iter().enumerate().filter(|(_, target)| is_its_own(target)).map(|(index, _)| index).collect())
}

/// The facts of a request, or nothing once a finding says why.
pub(in crate::config) fn given(draft: &GivenDraft, findings: &mut Findings) -> Option<Given> {
    let mut headers = HeaderMap::new();
    let mut is_sound = true;
    for row in draft.headers.get().into_iter().flatten() {
        match header(&row.name, row.value.as_ref()?, row.key, findings) {
            Some((name, value)) => {
                headers.append(name, value);
            }
            None => is_sound = false,
        }
    }
    is_sound.then_some(())?;
    Some(Given {
        task: draft.task.get().cloned(),
        prompt_tokens: draft.prompt_tokens.get().copied(),
        max_output_tokens: draft.max_output_tokens.get().copied(),
        model: draft.model.get().cloned(),
        endpoint: draft.endpoint.get().copied(),
        labels: texts(&draft.labels)?,
        headers,
        max_cost: draft.max_cost.get().copied(),
        needs: draft.needs.get().map(|needs| needs.iter().map(|need| need.value).collect()).unwrap_or_default(),
        turns: draft.turns.get().copied(),
        effort: draft.effort.get().copied(),
        stream: draft.stream.get().copied().unwrap_or_default(),
        n: draft.n.get().and_then(|n| u32::try_from(*n).ok()),
        caller: caller(draft, findings)?,
        tags: texts(&draft.tags)?,
        spent: draft.spent.get().into_iter().flatten().map(|row| Some((row.name.clone(), row.value?))).collect::<Option<_>>()?,
        time: draft.time.get().copied(),
    })
}

/// The caller that is named, alone or with nothing that its entry says; no answer once a finding says why.
#[expect(clippy::option_option, reason = "the outer one ends the reading, the inner one says whether it is there")]
fn caller(draft: &GivenDraft, findings: &mut Findings) -> Option<Option<CallerName>> {
    let Some(name) = draft.caller.at() else { return draft.caller.is_absent().then_some(None) };
    if let Some(place) = draft.tags.key() {
        let finding = Diagnostic::error(Code::CONFLICTING_KEYS, place, format!("the tags of caller `{}` come from its entry", name.value));
        findings.push(finding.hint("take `tags` out, or `caller` where nobody in particular is meant"));
        return None;
    }
    CallerName::parse(&name.value)
        .map_err(|error| {
            let finding = Diagnostic::error(Code::BAD_NAME, name.place, format!("`{}` is no caller name: {error}", name.value));
            findings.push(finding.hint_name(&name.value));
        })
        .ok()
        .map(Some)
}

/// Whether the caller and the windows that a test names are there; a finding for each that is not.
fn names_exist(about: &str, draft: &GivenDraft, around: About<'_>, findings: &mut Findings) -> bool {
    let caller = draft.caller.at().map(|name| around.callers.find(about, name, findings));
    let windows: Vec<bool> =
        (draft.spent.get().into_iter().flatten()).map(|row| around.budgets.window(about, &row.name, row.key, findings).is_some()).collect();
    caller != Some(None) && windows.into_iter().all(|is_there| is_there)
}

fn texts(field: &Field<Rows<String>>) -> Option<BTreeMap<String, String>> {
    field.get().into_iter().flatten().map(|row| Some((row.name.clone(), row.value.clone()?))).collect()
}

fn header(name: &str, value: &str, place: Place, findings: &mut Findings) -> Option<(HeaderName, HeaderValue)> {
    let Ok(read) = HeaderName::try_from(name) else {
        findings.push(Diagnostic::error(Code::BAD_HEADER_NAME, place, format!("`{name}` is no header name")));
        return None;
    };
    let Ok(value) = HeaderValue::from_str(value) else {
        findings.push(Diagnostic::error(Code::BAD_HEADER_NAME, place, format!("no header carries the value of `{name}`")));
        return None;
    };
    Some((read, value))
}

fn expect(about: &str, at: &At<ExpectDraft>, rules: Option<&[&str]>, listed: &Providers, findings: &mut Findings) -> Option<Expect> {
    let draft = &at.value;
    let target = draft.target.at().map(|name| found(about, name, listed, findings));
    let chain = draft.chain.at().map(|names| {
        let all: Option<Vec<usize>> =
            names.value.iter().map(|name| listed.directory.find(about, &name.value, name.place, findings)).collect();
        all.map(|value| At { place: names.place, value })
    });
    let skipped: Option<Vec<At<(usize, &'static str)>>> = (draft.skipped.get().into_iter().flatten())
        .map(|row| {
            let target = listed.directory.find(about, &row.name, row.key, findings)?;
            Some(At { place: row.key, value: (target, row.value?) })
        })
        .collect();
    let rule = draft.rule.at().map(|name| rule(about, name, rules, findings));
    if let Some(place) = draft.refusal.key()
        && !(draft.target.is_absent() && draft.chain.is_absent() && draft.worst_case.is_absent())
    {
        let finding = Diagnostic::error(Code::CONFLICTING_KEYS, place, format!("{about} expects a refusal and a target at once"));
        findings.push(finding.hint("keep one of the two"));
        return None;
    }
    let expect = Expect {
        rule: whole(rule)?,
        target: whole(target)?,
        chain: whole(chain)?,
        skipped: skipped?,
        refusal: draft.refusal.at().cloned(),
        worst_case: draft.worst_case.at().map(|at| At { place: at.place, value: Bounds { min: at.value.0, max: at.value.1 } }),
    };
    if draft.is_empty() {
        let finding = Diagnostic::error(Code::EMPTY_VALUE, at.place, format!("{about} expects nothing"));
        findings.push(finding.hint("write `expect: { rule: … }` or `expect: { target: provider/model }`"));
        return None;
    }
    Some(expect)
}

/// What was said and could be read; no answer where it could not.
#[expect(clippy::option_option, reason = "the outer one ends the reading, the inner one says whether it is there")]
fn whole<T>(read: Option<Option<T>>) -> Option<Option<T>> {
    match read {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

fn found(about: &str, name: &At<String>, listed: &Providers, findings: &mut Findings) -> Option<At<usize>> {
    if !name.value.contains('/') {
        let finding = Diagnostic::error(Code::WRONG_TYPE, name.place, format!("{about} expects a target, found `{}`", name.value));
        findings.push(finding.hint("a target is written `provider/model`"));
        return None;
    }
    listed.directory.find(about, &name.value, name.place, findings).map(|value| At { place: name.place, value })
}

fn rule(about: &str, name: &At<String>, rules: Option<&[&str]>, findings: &mut Findings) -> Option<At<RuleName>> {
    if name.value == "default" {
        return Some(At { place: name.place, value: RuleName::default_rule() });
    }
    let rules = rules?;
    if !rules.contains(&name.value.as_str()) {
        let finding =
            Diagnostic::error(Code::UNKNOWN_RULE, name.place, format!("{about} expects rule `{}`, which is not there", name.value));
        findings.push(finding.hint_nearest(&name.value, rules.iter().copied().chain(["default"])));
        return None;
    }
    RuleName::parse(&name.value).ok().map(|value| At { place: name.place, value })
}

impl ExpectDraft {
    fn is_empty(&self) -> bool {
        self.rule.is_absent()
            && self.target.is_absent()
            && self.chain.is_absent()
            && self.skipped.is_absent()
            && self.refusal.is_absent()
            && self.worst_case.is_absent()
    }
}

/// A question's facts in the form of `given:`, as JSON or YAML, without the state of a test.
pub(in crate::config) fn question(draft: &GivenDraft, findings: &mut Findings) -> Option<Given> {
    for place in [draft.no_key.key(), draft.resting.key()].into_iter().flatten() {
        let message = "a question has no state of its own: it meets the state that there is";
        findings
            .push(Diagnostic::error(Code::KEY_DOES_NOT_APPLY, place, message).hint("take it out; `tests:` in the file may assume a state"));
    }
    given(draft, findings)
}
