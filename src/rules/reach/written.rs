use std::fmt::Display;

use crate::config::Bounds;
use crate::rules::matcher::{Condition, Model};
use crate::units::Glob;
use crate::units::{CallerName, Effort, Endpoint, Need, TaskName, Tokens};

/// Values of a list that are shown, at most.
const SHOWN: usize = 4;

/// A condition as a file writes it: `model: [gpt-4o, gpt-*]`.
pub(super) fn written(condition: &Condition) -> String {
    let key = condition.key();
    match condition {
        Condition::Endpoint(any) => format!("{key}: {}", list(any.iter().copied().map(Endpoint::as_str))),
        Condition::Stream(wanted) => format!("{key}: {wanted}"),
        Condition::Task(any) => format!("{key}: {}", list(any.iter().map(TaskName::as_str))),
        Condition::Model(any) => format!("{key}: {}", list(any.iter().map(Model::as_str))),
        Condition::Effort(any) => format!("{key}: {}", list(any.iter().copied().map(Effort::as_str))),
        Condition::MaxCost(bounds) => format!("{key}: {}", range(*bounds, |usd| usd.to_string())),
        Condition::Caller(any) => format!("{key}: {}", list(any.iter().map(CallerName::as_str))),
        Condition::Spent(name, _, bounds) => format!("{key}: {{ {name}: {} }}", range(*bounds, |share| share.to_string())),
        Condition::Tag(name, any) | Condition::Label(name, any) | Condition::Header(name, any) => {
            format!("{key}: {{ {name}: {} }}", list(any.iter().map(Glob::as_str)))
        }
        Condition::PromptTokens(bounds) => format!("{key}: {}", range(*bounds, count)),
        Condition::Turns(bounds) => format!("{key}: {}", range(*bounds, |turns| turns.to_string())),
        Condition::Needs(any) => format!("{key}: {}", list(any.iter().copied().map(Need::as_str))),
        Condition::CostCeiling(ceiling) => format!("{key}: {ceiling}"),
    }
}

/// The key of a condition as it stands under `match`: `labels.feature`.
pub(super) fn path(condition: &Condition) -> String {
    match condition {
        Condition::Tag(name, _) | Condition::Label(name, _) | Condition::Header(name, _) | Condition::Spent(name, ..) => {
            format!("{}.{name}", condition.key())
        }
        _ => condition.key().into(),
    }
}

/// `32k` where that is exact.
pub(super) fn count(tokens: Tokens) -> String {
    match tokens.count() {
        0 => "0".into(),
        count if count % 1_000_000 == 0 => format!("{}M", count / 1_000_000),
        count if count % 1_000 == 0 => format!("{}k", count / 1_000),
        count => count.to_string(),
    }
}

/// `a`, or `[a, b]`.
fn list<'a>(values: impl ExactSizeIterator<Item = &'a str>) -> String {
    let all = values.len();
    let mut shown: Vec<String> = values.take(SHOWN).map(quoted).collect();
    if all == 1 {
        return shown.swap_remove(0);
    }
    if all > SHOWN {
        shown.push("…".into());
    }
    format!("[{}]", shown.join(", "))
}

/// Between quotes where YAML would take it for something else.
fn quoted(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_alphanumeric()) && !text.contains([',', ':', '#', '[', ']', '{', '}', '"', '\\']);
    if is_plain { text.into() } else { format!("{text:?}") }
}

fn range<T: Copy + Display>(bounds: Bounds<T>, spelled: impl Fn(T) -> String) -> String {
    let parts: Vec<String> = [("min", bounds.min), ("max", bounds.max)]
        .into_iter()
        .filter_map(|(key, bound)| Some(format!("{key}: {}", spelled(bound?))))
        .collect();
    format!("{{ {} }}", parts.join(", "))
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn joined(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [all @ .., last] => format!("{} and {last}", all.join(", ")),
    }
}
