use fixedbitset::FixedBitSet;

use super::space::Space;
use super::written::path;
use crate::config::{Code, ConditionPlaces, Diagnostic, Place};
use crate::rules::Rule;
use crate::rules::matcher::{Condition, Model};
use crate::units::{CallerName, Glob, TaskName};

/// Values of a rule's conditions that no request can have, and those that the rest of their list holds already.
pub(super) fn told(rule: &Rule, space: &Space) -> Vec<Diagnostic> {
    let matcher = &rule.matcher;
    let all = matcher.all().iter().map(|condition| (condition, matcher.places(), "match"));
    let unless = matcher.unless().into_iter().flatten().map(|condition| (condition, matcher.unless_places(), "unless"));
    all.chain(unless).flat_map(|(condition, places, of)| of_condition(rule, condition, places, of == "match", space)).collect()
}

/// Whether no request can have any value of a condition.
pub(super) fn is_impossible(condition: &Condition, space: &Space) -> bool {
    space.values(condition).is_some_and(|values| values.iter().all(FixedBitSet::is_clear))
}

fn of_condition(rule: &Rule, condition: &Condition, places: &ConditionPlaces, must_hold: bool, space: &Space) -> Vec<Diagnostic> {
    let words = words(condition);
    let repeated = (0..words.len()).filter(|at| words[..*at].contains(&words[*at]));
    let mut findings: Vec<Diagnostic> = repeated
        .map(|at| {
            let message = format!("`{}` is in this list twice", words[at]);
            Diagnostic::warning(Code::REDUNDANT_VALUE, place(rule, condition, places, at + 1), message).hint("take one of them out")
        })
        .collect();
    let Some(values) = space.values(condition) else { return findings };
    let so = if must_hold && values.iter().all(FixedBitSet::is_clear) {
        format!(", so rule `{}` can never match", rule.name)
    } else {
        String::new()
    };
    if let Condition::Label(name, _) = condition
        && !space.has_label(name)
    {
        let finding =
            Diagnostic::warning(Code::IMPOSSIBLE_VALUE, place(rule, condition, places, 0), format!("no label is named `{name}`{so}"));
        findings.push(finding.hint("labels come as `name=value,name=value` in plain ASCII"));
        return findings;
    }
    for (at, value) in values.iter().enumerate() {
        let place = place(rule, condition, places, at + 1);
        if value.is_clear() {
            let (message, hint) = impossible(condition, words[at]);
            findings.push(Diagnostic::warning(Code::IMPOSSIBLE_VALUE, place, format!("{message}{so}")).hint(hint));
        } else if let Some(message) = redundant(condition, &words, &values, at) {
            findings.push(Diagnostic::warning(Code::REDUNDANT_VALUE, place, message).hint("take the narrower one out, or the wider one"));
        }
    }
    findings
}

/// What is said of a pattern that no text matches, and why.
fn impossible(condition: &Condition, word: &str) -> (String, String) {
    let has_blank = word.contains(char::is_whitespace);
    match condition {
        Condition::Header(name, _) => {
            let hint = if word.is_ascii() { "values come without the blanks around them" } else { "rules see values of plain ASCII alone" };
            (format!("no header `{name}` has a value like `{word}`"), hint.into())
        }
        Condition::Label(name, _) => {
            let hint = match word.contains(',') {
                true => "a comma ends a label's value",
                false if word.is_ascii() => "values come without the blanks around them",
                false => "labels are plain ASCII",
            };
            (format!("no label `{name}` has a value like `{word}`"), hint.into())
        }
        _ => {
            let hint = match word.strip_prefix("auto/") {
                Some(task) if !has_blank && !task.contains('*') => {
                    format!("who asks for `{word}` asks for `auto` and names a task: write `task: {task}`")
                }
                Some(_) if !has_blank => "who asks for `auto/…` asks for `auto` and names a task: write `model: auto`, or the tasks".into(),
                _ => "a model's name has no blanks".into(),
            };
            (format!("no request asks for a model like `{word}`"), hint)
        }
    }
}

/// What is said of a pattern that others of its list hold. A whole name may stand beside its pattern: for models it says what is
/// listed to clients.
fn redundant(condition: &Condition, words: &[&str], values: &[FixedBitSet], at: usize) -> Option<String> {
    let is_name = |condition: &Condition| match condition {
        Condition::Model(any) => !matches!(&any[at], Model::Known) && !words[at].contains('*'),
        _ => false,
    };
    if is_name(condition) || words[..at].contains(&words[at]) {
        return None;
    }
    let others = || (0..words.len()).filter(|other| *other != at && words[*other] != words[at]);
    // Of two that hold the same, the later one is told.
    let is_within = |other: &usize| values[at].is_subset(&values[*other]) && (*other < at || values[*other] != values[at]);
    if let Some(wider) = others().find(is_within) {
        return Some(format!("`{}` holds for all that `{}` holds for", words[wider], words[at]));
    }
    let mut rest = values[at].clone();
    others().filter(|other| values[*other] != values[at]).for_each(|other| rest.difference_with(&values[other]));
    rest.is_clear().then(|| format!("the rest of this list holds for all that `{}` holds for", words[at]))
}

/// The values of a list as they are written.
fn words(condition: &Condition) -> Vec<&str> {
    match condition {
        Condition::Endpoint(any) => any.iter().map(|word| word.as_str()).collect(),
        Condition::Effort(any) => any.iter().map(|word| word.as_str()).collect(),
        Condition::Needs(any) => any.iter().map(|word| word.as_str()).collect(),
        Condition::Task(any) => any.iter().map(TaskName::as_str).collect(),
        Condition::Model(any) => any.iter().map(Model::as_str).collect(),
        Condition::Caller(any) => any.iter().map(CallerName::as_str).collect(),
        Condition::Tag(_, any) | Condition::Label(_, any) | Condition::Header(_, any) => any.iter().map(Glob::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Where the key of a condition stands (0), or one of its values (from 1 on).
fn place(rule: &Rule, condition: &Condition, places: &ConditionPlaces, at: usize) -> Place {
    places.get(&path(condition)).and_then(|places| places.get(at)).copied().unwrap_or(rule.place)
}
