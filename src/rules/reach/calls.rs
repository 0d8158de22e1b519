use std::collections::BTreeSet;

use fixedbitset::FixedBitSet;

use super::block::Block;
use super::cuts::Cuts;
use super::space::{CALL, PROMPT_TOKENS, TURNS};
use crate::units::{Effort, Endpoint, Need};
use crate::wire::least_prompt;

/// What a call is, how hard it thinks and what it needs: facts that depend on one another, so that they are one dimension.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) endpoint: Endpoint,
    pub(super) effort: Option<Effort>,
    pub(super) needs: Vec<Need>,
}

/// Every such call that there can be.
pub(super) fn all() -> Vec<Call> {
    let efforts = || std::iter::once(None).chain(Effort::ALL.into_iter().map(Some));
    let needs = |set: usize| Need::ALL.into_iter().enumerate().filter(move |(bit, _)| set >> bit & 1 == 1).map(|(_, need)| need);
    Endpoint::ALL
        .into_iter()
        .flat_map(|endpoint| efforts().map(move |effort| (endpoint, effort)))
        .flat_map(|(endpoint, effort)| (0..1 << Need::ALL.len()).map(move |set| Call { endpoint, effort, needs: needs(set).collect() }))
        .filter(Call::is_possible)
        .collect()
}

impl Call {
    /// An effort is a need to reason, and only a message brings an image, a sound or a file.
    fn is_possible(&self) -> bool {
        let reasons = self.effort.is_some_and(|effort| effort != Effort::None);
        reasons == self.needs.contains(&Need::Reasoning) && (self.has_messages() || !self.brings_attachments())
    }

    fn has_messages(&self) -> bool {
        self.endpoint.is_conversation()
    }

    fn brings_attachments(&self) -> bool {
        self.least_prompt(0) > least_prompt(0, &[]).count()
    }

    /// The fewest tokens of its prompt.
    fn least_prompt(&self, messages: u64) -> u64 {
        least_prompt(messages, &self.needs).count()
    }
}

/// The calls for which something holds.
pub(super) fn which(calls: &[Call], holds: impl Fn(&Call) -> bool) -> FixedBitSet {
    let mut set = FixedBitSet::with_capacity(calls.len());
    set.extend(calls.iter().enumerate().filter(|(_, call)| holds(call)).map(|(atom, _)| atom));
    set
}

/// How many messages and tokens no call has.
pub(super) fn impossible(calls: &[Call], turns: &Cuts, prompt_tokens: &Cuts) -> Vec<Block> {
    let mut impossible = Vec::new();
    if turns.atoms() > 1 {
        let mut other_than_one = turns.within((Some(1), Some(1)));
        other_than_one.toggle_range(..);
        impossible.push(Block::of([(CALL, which(calls, |call| !call.has_messages())), (TURNS, other_than_one)]));
        impossible.push(Block::of([(CALL, which(calls, Call::brings_attachments)), (TURNS, turns.below(1))]));
    }
    let weights: BTreeSet<u64> = calls.iter().map(|call| call.least_prompt(0)).collect();
    for weight in weights {
        let mut told = 0;
        let chats = which(calls, |call| call.has_messages() && call.least_prompt(0) >= weight);
        let Some(lightest) = calls.iter().find(|call| call.least_prompt(0) == weight) else { continue };
        for (atom, messages) in turns.starts().iter().enumerate() {
            let least = lightest.least_prompt((*messages).max(u64::from(lightest.brings_attachments())));
            let too_few = prompt_tokens.below(least);
            if too_few.count_ones(..) > told {
                told = too_few.count_ones(..);
                let mut from_here = FixedBitSet::with_capacity(turns.atoms());
                from_here.insert_range(atom..);
                impossible.push(Block::of([(CALL, chats.clone()), (TURNS, from_here), (PROMPT_TOKENS, too_few)]));
            }
        }
    }
    impossible
}
