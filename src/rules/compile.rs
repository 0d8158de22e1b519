use std::sync::LazyLock;

use crate::config::Checked;
use crate::units::RuleName;

use super::index::Index;
use super::spellings::Spellings;
use super::{Matcher, Revision, Rule, RuleSet};

/// Total: a checked file leaves nothing to refuse.
impl From<(Checked, Revision)> for RuleSet {
    fn from((checked, revision): (Checked, Revision)) -> Self {
        let Checked { files, server, providers, targets, rules, default, tests: _, budgets, callers, ledger, alerts } = checked;
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
            ledger,
            alerts,
            asks_spent,
            by_name,
            spellings,
            index,
        }
    }
}

/// The name under which `default` is told, in answers, records and metrics.
pub(super) fn default_name() -> &'static RuleName {
    static NAME: LazyLock<RuleName> = LazyLock::new(RuleName::default_rule);
    &NAME
}
