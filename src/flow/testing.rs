use std::fmt;

use crate::config::{At, Bounds, Checked, Code, Diagnostic, Key, Place, Test};
use crate::rules::{Revision, RuleSet};
use crate::units::{Secret, Usd};
use crate::wire::Mark;

use super::explain::{Explained, ExplainedStep, explain};
use super::{Parts, Question, Running};

/// How long a target rests that a test has at rest.
const REST: std::time::Duration = std::time::Duration::from_hours(1);

/// What came of a file's tests.
#[derive(Clone, Debug, Default)]
pub struct Tested {
    /// One for each expectation that was not met, at its place.
    pub findings: Vec<Diagnostic>,
    /// The names of the rules that no test reaches, `default` among them where it has a chain.
    pub unreached: Vec<String>,
}

/// Runs the tests of a file on its compiled rules: the decision of a real request, with nothing sent.
#[must_use]
pub fn run_tests(checked: &Checked, revision: &Revision) -> Tested {
    let mut tested = Tested::default();
    let mut reached = std::collections::BTreeSet::new();
    // Most tests assume the same state: every key there, nothing at rest.
    let mut usual = None;
    for test in &checked.tests {
        let question = Question { given: test.given.clone(), body: None };
        let own;
        let running = if test.no_key.is_empty() && test.resting.is_empty() && test.given.spent.is_empty() {
            &*usual.get_or_insert_with(|| assumed(checked, revision, test))
        } else {
            own = assumed(checked, revision, test);
            &own
        };
        let explained = match question.features(running.rules()) {
            Ok(features) => {
                features.spent.all().for_each(|(window, share)| running.purse().assume(window, share));
                explain(running, &features)
            }
            Err(refusal) => {
                let message = format!("test `{}` states what no request can say: {}", test.name, refusal.message);
                tested.findings.push(Diagnostic::error(Code::FAILING_TEST, test.place, message));
                continue;
            }
        };
        reached.extend(explained.rule.clone());
        tested.findings.extend(Judge { test, checked, explained: &explained }.findings());
    }
    let rules = checked.rules.iter().map(|rule| rule.name.to_string());
    let default = matches!(checked.default, crate::config::DefaultRule::Route(_)).then(|| "default".to_owned());
    tested.unreached = rules.chain(default).filter(|rule| !reached.contains(rule)).collect();
    tested
}

/// The rules in the state that a test assumes.
fn assumed(checked: &Checked, revision: &Revision, test: &Test) -> Running {
    let mut checked = checked.clone();
    for (index, provider) in checked.providers.iter_mut().enumerate() {
        provider.key = match &provider.key {
            Key::Missing(_) if !test.no_key.contains(&index) => Key::Present(Secret::new("assumed".into())),
            Key::Present(_) if test.no_key.contains(&index) => Key::Missing("its key".to_owned()),
            as_it_is => as_it_is.clone(),
        };
    }
    let running = Parts::offline().adopt(RuleSet::from((checked, revision.clone())));
    for target in &test.resting {
        running.rests().failed(*target, Mark::Rest, Some(REST), None);
    }
    running
}

/// Holds what came of a test's request against what was expected.
struct Judge<'t> {
    test: &'t Test,
    checked: &'t Checked,
    explained: &'t Explained,
}

impl Judge<'_> {
    fn findings(&self) -> Vec<Diagnostic> {
        let expect = &self.test.expect;
        if let Some(finding) = expect.rule.as_ref().and_then(|rule| self.rule(rule.place, rule.value.as_str())) {
            // With another rule, everything behind it differs too.
            return vec![finding];
        }
        let first = self.explained.order.first().map(String::as_str);
        let mut findings = Vec::new();
        findings.extend(expect.target.as_ref().and_then(|at| {
            let wanted = self.name(at.value);
            let got = first.map_or_else(|| "no target".to_owned(), |first| format!("`{first}`"));
            (first != Some(wanted.as_str())).then(|| self.differs(at.place, &format!("target `{wanted}`"), &got, self.steps()))
        }));
        findings.extend(expect.chain.as_ref().and_then(|at| {
            let wanted: Vec<String> = at.value.iter().map(|target| self.name(*target)).collect();
            let is_same = wanted == self.explained.order;
            (!is_same).then(|| self.differs(at.place, &format!("the chain {}", listed(&wanted)), &self.order(), self.steps()))
        }));
        findings.extend(expect.skipped.iter().filter_map(|at| self.skipped(at)));
        findings.extend(expect.refusal.as_ref().and_then(|at| {
            let code = self.explained.refusal.as_ref().map(|refusal| refusal.code.as_str());
            let told = self.explained.refusal.as_ref().map_or_else(|| self.order(), |refusal| format!("`{}`", refusal.code));
            (code != Some(at.value)).then(|| self.differs(at.place, &format!("the refusal `{}`", at.value), &told, self.steps()))
        }));
        findings.extend(expect.worst_case.as_ref().and_then(|at| self.worst_case(at)));
        findings
    }

    fn rule(&self, place: Place, wanted: &str) -> Option<Diagnostic> {
        if self.explained.rule.as_deref() == Some(wanted) {
            return None;
        }
        let got = self.explained.rule.as_ref().map_or_else(|| "no rule".to_owned(), |rule| format!("rule `{rule}`"));
        let why = self.explained.rules.iter().find(|rule| rule.name == wanted).map_or_else(
            || format!("{got} stands before it and matches too"),
            |rule| match (&rule.condition, &rule.wanted, &rule.actual) {
                (Some(condition), Some(wanted_fact), Some(actual)) => {
                    format!("rule `{wanted}` does not match on {condition}: it asks for {wanted_fact}, the request has {actual}")
                }
                _ => format!("{got} decides"),
            },
        );
        Some(self.differs(place, &format!("rule `{wanted}`"), &got, why))
    }

    fn skipped(&self, at: &At<(usize, &'static str)>) -> Option<Diagnostic> {
        let (target, wanted) = at.value;
        let name = self.name(target);
        let step = self.explained.steps.iter().find(|step| step.target == name);
        let told = match step {
            Some(ExplainedStep { skip: Some(skip), .. }) if skip == wanted => return None,
            Some(ExplainedStep { skip: Some(skip), .. }) => format!("it is left out as `{skip}`"),
            Some(_) => "it would be tried".to_owned(),
            None => format!("rule `{}` has no such step", self.explained.rule.as_deref().unwrap_or_default()),
        };
        let message = format!("test `{}` expects `{name}` to be left out as `{wanted}`, but {told}", self.test.name);
        Some(self.finding(at.place, message, self.steps()))
    }

    fn worst_case(&self, at: &At<Bounds<Usd>>) -> Option<Diagnostic> {
        let Bounds { min, max } = at.value;
        let wanted = match (min, max) {
            (Some(min), Some(max)) => format!("a worst case of {min} to {max}"),
            (Some(min), None) => format!("a worst case of at least {min}"),
            (None, max) => format!("a worst case of at most {}", max.unwrap_or_default()),
        };
        let first = self.explained.steps.iter().find(|step| step.skip.is_none());
        let told = match first.map(|step| step.worst_case_usd.as_deref().and_then(|usd| usd.parse::<Usd>().ok())) {
            Some(Some(worst_case)) if at.value.hold(worst_case) => return None,
            Some(Some(worst_case)) => worst_case.to_string(),
            Some(None) => "a cost that is not known".to_owned(),
            None => "no target".to_owned(),
        };
        Some(self.differs(at.place, &wanted, &told, self.steps()))
    }

    /// One finding: what was expected, what came instead, and why.
    fn differs(&self, place: Place, wanted: &str, got: &str, why: impl fmt::Display) -> Diagnostic {
        let message = format!("test `{}` expects {wanted}, and gets {got}", self.test.name);
        self.finding(place, message, why)
    }

    fn finding(&self, place: Place, message: String, why: impl fmt::Display) -> Diagnostic {
        Diagnostic::error(Code::FAILING_TEST, place, message).hint(format!("{why}{}", self.assumptions()))
    }

    /// Every step in order, used or left out.
    fn steps(&self) -> String {
        if let Some(refusal) = &self.explained.refusal {
            return format!("refused with {} `{}`: {}", refusal.status, refusal.code, refusal.message);
        }
        let steps = self.explained.steps.iter().map(|step| match &step.reason {
            Some(reason) => format!("`{}` is left out: {reason}", step.target),
            None => format!("`{}` would be tried", step.target),
        });
        let rule = self.explained.rule.as_deref().unwrap_or_default();
        format!("rule `{rule}` decides; {}", steps.collect::<Vec<_>>().join("; "))
    }

    /// The defaults that went into a cost or a window, where the test leaves them open.
    fn assumptions(&self) -> String {
        let is_about_cost = |step: &&ExplainedStep| step.output_is_assumed && (step.worst_case_usd.is_some() || step.skip.is_some());
        match self.explained.steps.iter().find(is_about_cost) {
            Some(step) if self.test.expect.rule.is_none() || self.test.expect.worst_case.is_some() => {
                format!("; the test sets no `max_output_tokens`, so {} are assumed", step.output_tokens)
            }
            _ => String::new(),
        }
    }

    fn order(&self) -> String {
        listed(&self.explained.order)
    }

    fn name(&self, target: usize) -> String {
        self.checked.targets[target].name.to_string()
    }
}

fn listed(names: &[String]) -> String {
    if names.is_empty() { "no target".into() } else { names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ") }
}
