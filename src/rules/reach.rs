//! Which rules can never match, told from the rules alone.
//!
//! Every fact that a rule may look at is cut into atoms: the smallest kinds of it that some condition tells apart. A rule is then a
//! few blocks of atoms, and it never matches when what no request can be and the blocks of earlier rules leave nothing of its own.

mod before;
mod block;
mod calls;
mod ceilings;
mod costs;
mod cover;
mod cuts;
mod sandbox;
mod space;
mod steps;
mod texts;
mod told;
mod values;
mod whose;
mod written;

use before::{Before, Standing};
use space::Space;

use super::{Rule, RuleSet};
use crate::config::{Diagnostic, Sources};

/// What about the rules cannot be meant, as warnings. What would take too long to tell is not told.
#[must_use]
pub fn analyze(rules: &RuleSet, sources: &Sources) -> Vec<Diagnostic> {
    let space = Space::new(rules);
    let mut before = Before::new(&space);
    let mut findings = Vec::new();
    for rule in rules.rules() {
        findings.extend(values::told(rule, &space));
        findings.extend(steps::never_used(rule, rules, &space));
        findings.extend(ceilings::too_low(rule, rules));
        let Some(taken) = space.taken(&rule.matcher, &rule.route) else { continue };
        match before.standing(&taken) {
            Standing::Open | Standing::Unknown => before.add(rule, taken),
            Standing::Never => findings.extend(told::never_matches(rule, &space)),
            Standing::Behind(covers) => {
                let is_same = matches!(covers.as_slice(), [only] if before.is_within(only, &taken));
                findings.push(told::unreachable(rule, &covers, is_same, &space, sources));
            }
        }
    }
    findings.extend(sandbox::never_used(rules));
    findings
}

#[cfg(test)]
mod tests;
