//! Chains: names resolve, named chains unfold, cycles are told.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use super::server::nonzero;
use crate::config::checked::{Member, Pick, Pool, TimeoutChanges, Use};
use crate::config::codes::Code;
use crate::config::collections::Row;
use crate::config::decode::{At, Field, Findings};
use crate::config::diagnostic::{Diagnostic, Place, nearest};
use crate::config::draft::{ChainDraft, MemberDraft, PickBy, PoolDraft, StepDraft, WaitsDraft};
use crate::config::references::Directory;
use crate::units::{ChainName, NameError};

/// The named chains of a file, and which of them and of the providers were reached so far.
pub(in crate::config) struct Chains<'a> {
    named: &'a [Row<ChainDraft>],
    directory: &'a Directory,
    used: BTreeSet<String>,
    reached: BTreeSet<String>,
    reaches_all: bool,
    /// True once a chain could not be read, so that nobody knows what it would have reached.
    is_broken: bool,
}

/// The steps of a chain in order, named chains unfolded.
pub(super) struct Unfolded {
    pub(super) members: Vec<At<Member>>,
    /// Waits of single steps, to be held against the rule's deadline.
    pub(super) waits: Vec<WaitsDraft>,
    /// False when a step is missing because a finding says what is wrong with it.
    pub(super) is_whole: bool,
}

impl<'a> Chains<'a> {
    pub(super) fn new(named: &'a [Row<ChainDraft>], directory: &'a Directory) -> Self {
        let is_broken = named.iter().any(|row| row.value.is_none());
        Self { named, directory, used: BTreeSet::new(), reached: BTreeSet::new(), reaches_all: false, is_broken }
    }

    /// Looks at every named chain, used or not.
    pub(super) fn check_all(&mut self, findings: &mut Findings) {
        let named = self.named;
        for row in named {
            match ChainName::parse(&row.name) {
                Err(error) => {
                    let finding = Diagnostic::error(Code::BAD_NAME, row.key, format!("`{}` is no chain name: {error}", row.name));
                    findings.push(finding.hint_name(&row.name));
                }
                Ok(_) if matches!(row.name.as_str(), "requested" | "auto") => {
                    let message = format!("`{}` is no chain name: in a chain it has a meaning of its own", row.name);
                    findings.push(Diagnostic::error(Code::RESERVED_NAME, row.key, message).hint("give the chain another name"));
                }
                Ok(_) => {}
            }
            if let Some(chain) = &row.value {
                let mut out = Unfolded { members: Vec::new(), waits: Vec::new(), is_whole: true };
                self.walk(&format!("chain `{}`", row.name), chain, &mut vec![row.name.as_str()], &mut out, findings);
            }
        }
        // Only what rules reach counts as used.
        self.used.clear();
        self.reached.clear();
        self.reaches_all = false;
    }

    /// The steps of a rule's chain.
    pub(super) fn unfold(&mut self, about: &str, chain: &Field<ChainDraft>, findings: &mut Findings) -> Unfolded {
        let mut out = Unfolded { members: Vec::new(), waits: Vec::new(), is_whole: true };
        if let Some(chain) = chain.get() {
            self.walk(about, chain, &mut Vec::new(), &mut out, findings);
        } else {
            out.is_whole = false;
            self.is_broken = true;
        }
        out
    }

    pub(in crate::config) fn is_whole(&self) -> bool {
        !self.is_broken
    }

    pub(in crate::config) fn is_used(&self, chain: &str) -> bool {
        self.used.contains(chain)
    }

    pub(in crate::config) fn reaches(&self, provider: &str) -> bool {
        self.reaches_all || self.reached.contains(provider)
    }

    fn walk<'n>(&mut self, about: &str, chain: &'n ChainDraft, path: &mut Vec<&'n str>, out: &mut Unfolded, findings: &mut Findings)
    where
        'a: 'n,
    {
        match chain {
            ChainDraft::Named(name) => self.walk_named(about, &name.value, name.place, path, out, findings),
            ChainDraft::Steps(members) => {
                for member in members {
                    self.walk_member(about, member, path, out, findings);
                }
            }
        }
    }

    fn walk_named<'n>(
        &mut self,
        about: &str,
        name: &str,
        place: Place,
        path: &mut Vec<&'n str>,
        out: &mut Unfolded,
        findings: &mut Findings,
    ) where
        'a: 'n,
    {
        let named = self.named;
        let Some(row) = named.iter().find(|row| row.name == name) else {
            out.is_whole = false;
            self.is_broken = true;
            findings.push(self.unknown_chain(about, name, place));
            return;
        };
        self.used.insert(row.name.clone());
        if let Some(start) = path.iter().position(|known| *known == row.name) {
            out.is_whole = false;
            // Each cycle is told once, from its first chain in the file.
            let first = named.iter().find(|other| path[start..].contains(&other.name.as_str()));
            if start == 0 && first.is_some_and(|first| first.name == row.name) {
                let cycle: Vec<&str> = path[start..].iter().copied().chain([row.name.as_str()]).collect();
                let finding =
                    Diagnostic::error(Code::CHAIN_CYCLE, place, format!("these chains lead into each other: {}", cycle.join(" → ")));
                findings.push(finding.hint("take one of these names out of its chain"));
            }
            return;
        }
        let Some(chain) = &row.value else {
            out.is_whole = false;
            return;
        };
        path.push(&row.name);
        self.walk(&format!("chain `{}`", row.name), chain, path, out, findings);
        path.pop();
    }

    fn walk_member<'n>(
        &mut self,
        about: &str,
        member: &'n At<MemberDraft>,
        path: &mut Vec<&'n str>,
        out: &mut Unfolded,
        findings: &mut Findings,
    ) where
        'a: 'n,
    {
        let found = match &member.value {
            MemberDraft::Name(name) if name == "requested" => {
                self.reaches_all = true;
                Some(Member::Requested)
            }
            MemberDraft::Name(name) if !name.contains('/') => {
                return self.walk_named(about, name, member.place, path, out, findings);
            }
            MemberDraft::Name(name) => {
                self.target(about, name, member.place, findings).map(|target| Member::Target(bare(target, member.place)))
            }
            MemberDraft::Step(step) => {
                if let Some(place) = step.weight.key() {
                    let finding =
                        Diagnostic::error(Code::KEY_DOES_NOT_APPLY, place, "`weight` is a share of a `split`, and this step is in none");
                    findings.push(finding.hint("take it out, or write `{ pick: split, of: [ … ] }`"));
                }
                self.step(about, step, out, findings).map(Member::Target)
            }
            MemberDraft::Pool(pool) => self.pool(about, pool, out, findings),
        };
        if let Some(value) = found {
            out.members.push(At { place: member.place, value });
        } else {
            out.is_whole = false;
            self.is_broken = true;
        }
    }

    fn pool(&mut self, about: &str, pool: &PoolDraft, out: &mut Unfolded, findings: &mut Findings) -> Option<Member> {
        let by = *pool.pick.get()?;
        let pick = pick(by, pool, findings);
        let members = pool.of.get().map(Vec::as_slice).unwrap_or_default();
        for member in members.iter().filter(|_| by != PickBy::Split) {
            if let MemberDraft::Step(step) = &member.value
                && let Some(place) = step.weight.key()
            {
                let finding = Diagnostic::error(Code::KEY_DOES_NOT_APPLY, place, "`weight` is a share of a `split`, and this pool is none");
                findings.push(finding.hint("take it out, or write `pick: split`"));
            }
        }
        let uses: Vec<Option<Use>> = members
            .iter()
            .map(|member| match &member.value {
                MemberDraft::Name(name) if name.contains('/') => {
                    self.target(about, name, member.place, findings).map(|target| bare(target, member.place))
                }
                MemberDraft::Step(step) => self.step(about, step, out, findings),
                MemberDraft::Name(name) => {
                    let message = format!("a pool takes targets, found `{name}`");
                    findings.push(Diagnostic::error(Code::WRONG_TYPE, member.place, message).hint("write `provider/model`"));
                    None
                }
                MemberDraft::Pool(_) => {
                    let finding = Diagnostic::error(Code::WRONG_TYPE, member.place, "a pool takes targets, found another pool");
                    findings.push(finding.hint("write the targets of the inner one here"));
                    None
                }
            })
            .collect();
        let of = uses.into_iter().collect::<Option<Vec<Use>>>()?;
        Some(Member::Pool(Pool { pick: pick?, of }))
    }

    fn step(&mut self, about: &str, step: &StepDraft, out: &mut Unfolded, findings: &mut Findings) -> Option<Use> {
        let name = step.target.at()?;
        if let Some(waits) = step.timeouts.get() {
            out.waits.push(waits.clone());
        }
        if !name.value.contains('/') {
            let message = match name.value.as_str() {
                "requested" => "`requested` takes no settings".into(),
                text if self.named.iter().any(|row| row.name == text) => format!("`{text}` is a chain, and a chain takes no settings here"),
                text => format!("expected `provider/model`, found `{text}`"),
            };
            findings.push(
                Diagnostic::error(Code::WRONG_TYPE, name.place, message).hint("settings belong to a target, written `provider/model`"),
            );
            return None;
        }
        let target = self.target(about, &name.value, name.place, findings)?;
        Some(Use {
            target,
            place: name.place,
            weight: nonzero(step.weight.get().copied()).unwrap_or(NonZeroU32::MIN),
            timeouts: step.timeouts.get().map(changes).unwrap_or_default(),
            max_output_tokens: step.max_output_tokens.get().copied(),
            set: step.set.get().cloned().unwrap_or_else(BTreeMap::new),
        })
    }

    fn target(&mut self, about: &str, name: &str, place: Place, findings: &mut Findings) -> Option<usize> {
        if let Some((provider, _)) = name.split_once('/') {
            self.reached.insert(provider.into());
        }
        self.directory.find(about, name, place, findings)
    }

    fn unknown_chain(&self, about: &str, name: &str, place: Place) -> Diagnostic {
        let finding =
            Diagnostic::error(Code::UNKNOWN_CHAIN, place, format!("{about} names `{name}`, which is no target and no chain of this file"));
        let names: Vec<&str> = self.named.iter().map(|row| row.name.as_str()).collect();
        if name == "auto" {
            finding.hint("`auto` is a model that clients ask for; a chain names targets, or `requested`")
        } else if let Some(target) = self.directory.with_model(name) {
            finding.hint(format!("a target is written with its provider: `{target}`"))
        } else if let Some(target) = self.directory.example(name) {
            finding.hint(format!("a target is written with its model: `{target}`"))
        } else if let Some(name) = nearest(name, &names).or_else(|| nearest(name, &["requested"])) {
            finding.hint(format!("did you mean `{name}`?"))
        } else {
            finding.hint(NameError::Target.to_string())
        }
    }
}

/// How a pool chooses. `for` and `min_score` say something of `best` alone.
fn pick(by: PickBy, pool: &PoolDraft, findings: &mut Findings) -> Option<Pick> {
    let misplaced = [("for", pool.r#for.key()), ("min_score", pool.min_score.key())];
    for (key, place) in misplaced.into_iter().filter(|_| by != PickBy::Best) {
        if let Some(place) = place {
            let message = format!("`{key}` is about scores, and only `best` goes by them");
            findings.push(Diagnostic::error(Code::KEY_DOES_NOT_APPLY, place, message).hint("take it out, or write `pick: best`"));
        }
    }
    Some(match by {
        PickBy::Cheapest => Pick::Cheapest,
        PickBy::Fastest => Pick::Fastest,
        PickBy::Split => Pick::Split,
        // What could not be read is told, and asks for more than nothing.
        PickBy::Best if matches!(pool.r#for, Field::Wrong) || matches!(pool.min_score, Field::Wrong) => return None,
        PickBy::Best => Pick::Best { task: pool.r#for.get().cloned(), min_score: pool.min_score.get().copied() },
    })
}

/// A target without settings of its own.
fn bare(target: usize, place: Place) -> Use {
    Use { target, place, weight: NonZeroU32::MIN, timeouts: TimeoutChanges::default(), max_output_tokens: None, set: BTreeMap::new() }
}

pub(super) fn changes(draft: &WaitsDraft) -> TimeoutChanges {
    TimeoutChanges { first_content: draft.first_content.get().copied(), idle: draft.idle.get().copied() }
}
