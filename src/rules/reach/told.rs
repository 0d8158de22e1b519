use super::block::Block;
use super::cover::Cover;
use super::space::Space;
use super::values;
use super::written::{joined, path, written};
use crate::config::{Code, ConditionPlaces, Diagnostic, Place, Sources};
use crate::rules::Rule;
use crate::rules::matcher::Condition;
use crate::units::Need;
use crate::wire::least_prompt;

/// Rules that are named one by one, at most.
const NAMED: usize = 4;

/// Of a rule that matches no request, whatever the others are.
pub(super) fn never_matches(rule: &Rule, space: &Space) -> Option<Diagnostic> {
    let (conditions, is_unless) = conflict(rule, space);
    // Such a value, or such a ceiling, is told by itself.
    let is_told = |condition: &Condition| matches!(condition, Condition::CostCeiling(_)) || values::is_impossible(condition, space);
    if !is_unless && matches!(conditions.as_slice(), [only] if is_told(only)) {
        return None;
    }
    let said: Vec<String> = conditions.iter().map(|condition| format!("`{}`", written(condition))).collect();
    let place = if is_unless {
        first_place(rule.matcher.unless().unwrap_or_default(), rule.matcher.unless_places())
    } else {
        conditions.last().and_then(|condition| place_of(condition, rule.matcher.places()))
    };
    let (why, hint) = match (said.len(), is_unless) {
        (0, _) => ("its `unless` holds for every request".to_owned(), LOOSE_UNLESS.to_owned()),
        (_, true) => (format!("its `unless` holds for every request with {}", joined(&said)), LOOSE_UNLESS.to_owned()),
        (1, false) => (format!("no request has {}", joined(&said)), reason(&conditions)),
        (_, false) => (format!("no request has {} at once", joined(&said)), reason(&conditions)),
    };
    let message = format!("rule `{}` can never match: {why}", rule.name);
    Some(Diagnostic::warning(Code::NEVER_MATCHES, place.unwrap_or(rule.place), message).hint(hint))
}

const LOOSE_UNLESS: &str = "take `unless` out, or ask for more in it";

/// Why no request has these conditions together.
fn reason(conditions: &[&Condition]) -> String {
    let has = |key| conditions.iter().any(|condition| condition.key() == key);
    let least = |messages, needs: &[Need]| least_prompt(messages, needs).count();
    match (has("prompt_tokens"), has("needs"), has("turns"), has("effort"), has("endpoint")) {
        (true, true, ..) => {
            let of = |need| least(0, &[need]) - least(0, &[]);
            let [image, file, sound] = [Need::Vision, Need::Files, Need::Audio].map(of);
            format!("an image counts as at least {image} tokens, a file as {file}, a sound as {sound}")
        }
        (true, _, true, ..) => format!("each message of a chat counts as at least {} tokens", least(1, &[]) - least(0, &[])),
        (true, ..) => format!("every prompt counts as at least {} tokens", least(0, &[])),
        _ if has("caller") && has("tags") => "the tags of a caller are those of its entry under `callers`".into(),
        (_, true, true, ..) => "images, files and sounds come in a message".into(),
        (_, true, _, true, _) => "a call needs `reasoning` when its effort is another than `none`, and only then".into(),
        (_, true, _, _, true) => "only a chat has images, files and sounds".into(),
        (_, _, true, _, true) => "only a chat has turns; any other call counts as one".into(),
        _ if conditions.len() == 1 => "take the condition out, or the rule".into(),
        _ => "take one of them out, or make two rules of them".into(),
    }
}

/// The conditions that exclude each other, as few as can be, and whether `unless` is among them.
fn conflict<'r>(rule: &'r Rule, space: &Space) -> (Vec<&'r Condition>, bool) {
    let is_never = |conditions: &[&Condition], unless: Option<&[Condition]>| {
        let Some(matched) = space.block(conditions.iter().copied(), &rule.route) else { return false };
        let parts = match unless {
            None => vec![matched],
            Some(unless) => match space.block(unless, &rule.route) {
                Some(excluded) => matched.without(&excluded),
                None => return false,
            },
        };
        parts.iter().all(|part| space.is_empty(part))
    };
    let mut conditions: Vec<&Condition> = rule.matcher.all().iter().collect();
    let unless = rule.matcher.unless().filter(|_| !is_never(&conditions, None));
    for condition in rule.matcher.all() {
        let others: Vec<&Condition> = conditions.iter().copied().filter(|other| !std::ptr::eq(*other, condition)).collect();
        if is_never(&others, unless) {
            conditions = others;
        }
    }
    (conditions, unless.is_some())
}

/// Of a rule that earlier rules leave nothing.
pub(super) fn unreachable(rule: &Rule, covers: &[&Rule], is_same: bool, space: &Space, sources: &Sources) -> Diagnostic {
    let shown = if covers.len() > NAMED { NAMED - 1 } else { covers.len() };
    let with_place = |cover: &&Rule| {
        let place = sources.pointed(Place { line: cover.line, ..cover.place }, rule.place);
        format!("`{}` ({place})", cover.name)
    };
    let mut names: Vec<String> = covers.iter().take(shown).map(with_place).collect();
    if covers.len() > shown {
        names.push(format!("{} more", covers.len() - shown));
    }
    let take = if covers.len() == 1 { "rule {} takes" } else { "rules {} take" }.replace("{}", &joined(&names));
    let message = format!("rule `{}` can never match: {take} all of it first", rule.name);
    let hint = match covers {
        [cover] if is_same => format!("`{}` and `{}` take the same requests: take one of them out", cover.name, rule.name),
        [cover] => format!("{}; put `{}` above `{}`, or take it out", why_one(rule, cover, space), rule.name, cover.name),
        _ if covers.len() <= NAMED => format!("{}; put `{}` above them, or take it out", why_many(rule, covers, space), rule.name),
        _ => format!("put `{}` above them, or take it out", rule.name),
    };
    Diagnostic::warning(Code::UNREACHABLE_RULE, rule.place, message).hint(hint)
}

/// Why one rule takes all that the other would.
fn why_one(rule: &Rule, cover: &Rule, space: &Space) -> String {
    let conditions = cover.matcher.all();
    if conditions.is_empty() {
        return format!("`{}` takes every request but those of its `unless`", cover.name);
    }
    let wider: Vec<String> = conditions
        .iter()
        .filter_map(|condition| {
            let own = rule.matcher.all().iter().find(|own| path(own) == path(condition));
            match own {
                Some(own) if written(own) == written(condition) => None,
                Some(own) => Some(format!("`{}` of `{}` holds for `{}` too", written(condition), cover.name, written(own))),
                None if holds_always(condition, cover, space) => {
                    Some(format!("`{}` of `{}` holds for every request", written(condition), cover.name))
                }
                None => Some(format!("`{}` of `{}` holds for all that `{}` asks for", written(condition), cover.name, rule.name)),
            }
        })
        .collect();
    if wider.is_empty() { format!("`{}` asks for less", cover.name) } else { joined(&wider) }
}

/// What each of some rules takes of another one, as far as that one does not ask for it itself.
fn why_many(rule: &Rule, covers: &[&Rule], space: &Space) -> String {
    let taken = space.block(rule.matcher.all(), &rule.route).unwrap_or_default();
    let parts: Vec<String> = covers
        .iter()
        .map(|cover| {
            let dividing = cover.matcher.all().iter().filter(|condition| !is_given(condition, cover, &taken, space));
            let said: Vec<String> = dividing.map(|condition| format!("`{}`", written(condition))).collect();
            match (said.is_empty(), cover.matcher.unless()) {
                (true, _) => format!("`{}` takes all but its `unless`", cover.name),
                (false, None) => format!("`{}` takes {}", cover.name, joined(&said)),
                (false, Some(_)) => format!("`{}` takes {} but its `unless`", cover.name, joined(&said)),
            }
        })
        .collect();
    joined(&parts)
}

fn holds_always(condition: &Condition, of: &Rule, space: &Space) -> bool {
    is_given(condition, of, &Block::default(), space)
}

/// Whether a condition holds for all of a block.
fn is_given(condition: &Condition, of: &Rule, block: &Block, space: &Space) -> bool {
    let Some(holding) = space.block([condition], &of.route) else { return false };
    matches!(space.cover(block, [&holding]), Cover::By(_))
}

pub(super) fn place_of(condition: &Condition, places: &ConditionPlaces) -> Option<Place> {
    places.get(&path(condition))?.first().copied()
}

fn first_place(conditions: &[Condition], places: &ConditionPlaces) -> Option<Place> {
    conditions.iter().filter_map(|condition| place_of(condition, places)).min()
}
