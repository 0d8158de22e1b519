//! Money that may have been spent: it counts until somebody knows, or until its time is over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{Book, Freed, PoolId, Tell};
use crate::units::{AdjustedEntry, AttemptId, DisputeClass, DisputeId, Disputed, Entry, ResolvedEntry, Usd, WindowKey};

/// The open disputes, and when each is released by itself.
#[derive(Debug, Default)]
pub(super) struct Disputes {
    open: BTreeMap<DisputeId, Dispute>,
    due: BTreeSet<(Timestamp, DisputeId)>,
}

#[derive(Clone, Debug)]
pub(in crate::admit) struct Dispute {
    pub(in crate::admit) class: DisputeClass,
    pub(in crate::admit) amount: Usd,
    /// Absent: it counts until its windows end.
    pub(in crate::admit) until: Option<Timestamp>,
    pub(super) pools: Arc<[PoolId]>,
}

impl Disputes {
    pub(super) fn open(&mut self, id: AttemptId, part: Disputed, pools: &Arc<[PoolId]>) {
        let Disputed { class, amount, until } = part;
        self.add(DisputeId::Attempt(id), Dispute { class, amount, until, pools: Arc::clone(pools) });
    }

    pub(super) fn add(&mut self, id: DisputeId, dispute: Dispute) {
        if let Some(until) = dispute.until {
            self.due.insert((until, id.clone()));
        }
        self.open.insert(id, dispute);
    }

    fn remove(&mut self, id: &DisputeId) -> Option<Dispute> {
        let dispute = self.open.remove(id)?;
        if let Some(until) = dispute.until {
            self.due.remove(&(until, id.clone()));
        }
        Some(dispute)
    }
}

impl Book {
    /// Releases the disputes whose time is over.
    pub(in crate::admit) fn expire(&mut self, wall: Timestamp) {
        while let Some((until, id)) = self.disputes.due.first()
            && *until <= wall
        {
            let id = id.clone();
            self.resolve(&id, Usd::ZERO, wall, &"time".into());
        }
    }

    /// Ends a dispute: `posted` of it was billed, at most what is disputed; the rest was not. Nothing where it is not open.
    pub(in crate::admit) fn resolve(&mut self, id: &DisputeId, posted: Usd, at: Timestamp, reason: &Arc<str>) -> Option<ResolvedEntry> {
        let dispute = self.disputes.remove(id)?;
        let posted = posted.min(dispute.amount);
        for pool in dispute.pools.iter() {
            if let Some(pool) = self.pools.get_mut(pool) {
                pool.disputed = pool.disputed.minus(dispute.amount);
                pool.posted = pool.posted.plus(posted);
                pool.unwritten = pool.unwritten.plus(dispute.amount.minus(posted));
            }
        }
        self.freed.push_back(Freed { pools: Arc::clone(&dispute.pools), amount: dispute.amount.minus(posted), ticket: None });
        let entry = ResolvedEntry { id: id.clone(), at, posted, released: dispute.amount.minus(posted), reason: Arc::clone(reason) };
        self.told.push(Tell { entry: Entry::Resolved(entry.clone()), raise: None });
        Some(entry)
    }

    /// An operator's correction of what was posted in a window; false where nothing of it is known. A credit ends at zero.
    pub(in crate::admit) fn adjust(&mut self, entry: AdjustedEntry) -> bool {
        let Some(pool) = self.pools.values_mut().find(|pool| pool.key == entry.window) else { return false };
        pool.posted = if entry.is_credit { pool.posted.minus(entry.amount) } else { pool.posted.plus(entry.amount) };
        self.told.push(Tell { entry: Entry::Adjusted(entry), raise: None });
        true
    }

    /// The open disputes.
    pub(in crate::admit) fn disputes(&self) -> impl ExactSizeIterator<Item = (&DisputeId, &Dispute)> {
        self.disputes.open.iter()
    }

    /// The windows that a dispute still counts in.
    pub(in crate::admit) fn windows_of(&self, dispute: &Dispute) -> Vec<WindowKey> {
        dispute.pools.iter().filter_map(|pool| self.pools.get(pool)).map(|pool| pool.key.clone()).collect()
    }

    /// Takes a window out that has ended; disputes that count nowhere any more end with it.
    pub(super) fn leave(&mut self, pool: PoolId, at: Timestamp) {
        self.pools.remove(&pool);
        let ended: Vec<DisputeId> = self
            .disputes
            .open
            .iter()
            .filter(|(_, dispute)| dispute.until.is_none() && dispute.pools.iter().all(|pool| !self.pools.contains_key(pool)))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ended {
            self.resolve(&id, Usd::ZERO, at, &"window".into());
        }
    }
}
