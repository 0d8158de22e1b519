use std::collections::HashMap;
use std::sync::LazyLock;

use crate::config::{Checked, DefaultRule, Member, Pick, Pool, Route, prints};
use crate::units::{RuleName, Score, TaskName};

use super::index::Index;
use super::spellings::Spellings;
use super::{Matcher, Revision, Rule, RuleSet};

/// Total: a checked file leaves nothing to refuse.
impl From<(Checked, Revision)> for RuleSet {
    fn from((checked, revision): (Checked, Revision)) -> Self {
        let prints = if keeps_sessions(&checked) { prints(&checked) } else { Vec::new() };
        let Checked { files, server, providers, targets, rules, default, tests: _, budgets, callers, classify, ledger, alerts, evals } =
            checked;
        let mut scores: HashMap<TaskName, Vec<Option<Score>>> = HashMap::new();
        for eval in evals {
            let of_task = scores.entry(eval.task).or_insert_with(|| vec![None; targets.len()]);
            if let Some(score) = of_task.get_mut(eval.target) {
                *score = Some(eval.score);
            }
        }
        let by_name = targets.iter().enumerate().map(|(index, target)| (target.name.clone(), index)).collect();
        let spellings = Spellings::new(&providers, &targets);
        let rules: Vec<Rule> = rules
            .into_iter()
            .map(|rule| Rule {
                name: rule.name,
                place: rule.place,
                line: rule.line,
                matcher: Matcher::new(rule.matches, rule.unless, rule.route.on_ceiling, &budgets),
                route: rule.route,
            })
            .collect();
        let asks_spent = rules.iter().any(|rule| rule.matcher.asks_spent());
        let asks_task = rules.iter().any(|rule| rule.matcher.asks_task() || goes_by_task(&rule.route))
            || matches!(&default, DefaultRule::Route(route) if goes_by_task(route));
        let index = Index::new(&rules);
        Self {
            revision,
            files,
            server,
            providers,
            targets,
            rules,
            default,
            budgets,
            callers,
            classify,
            ledger,
            alerts,
            asks_spent,
            scores,
            prints,
            asks_task,
            by_name,
            spellings,
            index,
        }
    }
}

/// Whether some rule keeps sessions on a target: only then is it asked whether a rule stayed as it was.
fn keeps_sessions(checked: &Checked) -> bool {
    let by_default = matches!(&checked.default, DefaultRule::Route(route) if route.sticky);
    by_default || checked.rules.iter().any(|rule| rule.route.sticky)
}

/// Whether a pool of the chain goes by the scores of the request's own task.
fn goes_by_task(route: &Route) -> bool {
    route.chain.members().any(|member| matches!(member, Member::Pool(Pool { pick: Pick::Best { task: None, .. }, .. })))
}

/// The name under which `default` is told, in answers, records and metrics.
pub(super) fn default_name() -> &'static RuleName {
    static NAME: LazyLock<RuleName> = LazyLock::new(RuleName::default_rule);
    &NAME
}
