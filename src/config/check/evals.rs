//! `evals:`, and the pools whose members no score lets in.

use jiff::Timestamp;
use jiff::civil::Date;

use super::providers::Providers;
use crate::config::checked::{Checked, DefaultRule, Eval, Member, Pick, Pool, Route, Rule};
use crate::config::codes::Code;
use crate::config::decode::Findings;
use crate::config::diagnostic::{Diagnostic, Place};
use crate::config::draft::FileDraft;
use crate::units::{Score, TargetName, TaskName};

/// A score that is older than so many days is warned about.
const OLD: i32 = 180;

/// Every score of a target that the file has. A score of any other is a warning: what is measured may leave the file again.
pub(super) fn check(draft: &FileDraft, listed: &Providers, findings: &mut Findings) -> Vec<Eval> {
    let mut evals = Vec::new();
    for task in draft.evals.get().into_iter().flatten() {
        let name = match TaskName::parse(&task.name) {
            Ok(name) => name,
            Err(error) => {
                let finding = Diagnostic::error(Code::BAD_NAME, task.key, format!("`{}` is no task: {error}", task.name));
                findings.push(finding.hint_name(&task.name));
                continue;
            }
        };
        for row in task.value.iter().flatten() {
            if let Err(error) = TargetName::parse(&row.name) {
                let finding = Diagnostic::error(Code::BAD_NAME, row.key, format!("`{}` is no target: {error}", row.name));
                findings.push(match listed.directory.with_model(&row.name) {
                    Some(target) => finding.hint(format!("write `{target}`")),
                    None => finding,
                });
                continue;
            }
            let Some(target) = listed.directory.quietly(&row.name) else {
                if listed.directory.is_whole() {
                    let message = format!("nothing uses the score of `{}` for `{name}`: no provider of this file lists it", row.name);
                    let finding = Diagnostic::warning(Code::UNUSED_SCORE, row.key, message);
                    findings.push(finding.hint("name the target as its provider lists it, `provider/model`, or take the score out"));
                }
                continue;
            };
            let Some(value) = &row.value else { continue };
            let Some(score) = value.score.get().copied() else { continue };
            evals.push(Eval {
                task: name.clone(),
                target,
                score,
                n: value.n.get().copied(),
                date: value.date.get().copied(),
                place: row.key,
            });
        }
    }
    evals
}

/// Members of `best` pools that no score lets in, whatever the request.
pub(super) fn warn_never_picked(rules: &[Rule], default: &DefaultRule, evals: &[Eval], listed: &Providers, findings: &mut Findings) {
    for rule in rules {
        of_route(&format!("rule `{}`", rule.name), &rule.route, rule.matches.task.as_deref(), evals, listed, findings);
    }
    if let DefaultRule::Route(route) = default {
        of_route("`default`", route, None, evals, listed, findings);
    }
}

/// `matched`: the tasks that the route's requests have, where its rule says them.
fn of_route(about: &str, route: &Route, matched: Option<&[TaskName]>, evals: &[Eval], listed: &Providers, findings: &mut Findings) {
    for member in route.chain.members() {
        let Member::Pool(Pool { pick: Pick::Best { task, min_score }, of }) = member else { continue };
        let tasks = task.as_ref().map_or(matched, |task| Some(std::slice::from_ref(task)));
        let counts = |eval: &&Eval| tasks.is_none_or(|tasks| tasks.contains(&eval.task));
        for one in of {
            let best = evals.iter().filter(counts).filter(|eval| eval.target == one.target).map(|eval| eval.score).max();
            let Some(target) = listed.targets.get(one.target).and_then(Option::as_ref) else { continue };
            if let Some(finding) = never_picked(about, target.name.as_str(), one.place, tasks, best, *min_score) {
                findings.push(finding);
            }
        }
    }
}

fn never_picked(
    about: &str,
    target: &str,
    place: Place,
    tasks: Option<&[TaskName]>,
    best: Option<Score>,
    floor: Option<Score>,
) -> Option<Diagnostic> {
    let task = tasks.and_then(<[TaskName]>::first).map_or_else(|| "coding".to_owned(), ToString::to_string);
    let of_task = match tasks {
        Some([one]) => format!(" for `{one}`"),
        _ => String::new(),
    };
    let (why, hint) = match (best, floor) {
        (None, _) => (
            format!("has no score{of_task}"),
            format!("measure it with `tollgate bench`, or write `evals: {{ {task}: {{ {target}: {{ score: … }} }} }}`"),
        ),
        (Some(best), Some(floor)) if best < floor => {
            (format!("has a score of {best}{of_task}, below {floor}"), "lower `min_score`, or take the member out".to_owned())
        }
        _ => return None,
    };
    Some(Diagnostic::warning(Code::NEVER_PICKED, place, format!("{about} never picks `{target}`: it {why}")).hint(hint))
}

/// A warning for each score that is old by `now`.
#[must_use]
pub fn old_scores(file: &Checked, now: Timestamp) -> Vec<Diagnostic> {
    let today = now.to_zoned(jiff::tz::TimeZone::UTC).date();
    let is_old = |date: Date| date.until(today).is_ok_and(|span| span.get_days() > OLD);
    let told = |eval: &Eval| {
        let date = eval.date.filter(|date| is_old(*date))?;
        let target = &file.targets.get(eval.target)?.name;
        let message = format!("the score of `{target}` for `{}` is of {date}, more than {OLD} days ago", eval.task);
        Some(Diagnostic::warning(Code::OLD_SCORE, eval.place, message).hint("models change: measure it again with `tollgate bench`"))
    };
    file.evals.iter().filter_map(told).collect()
}
