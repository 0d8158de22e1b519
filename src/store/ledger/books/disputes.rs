//! Open disputes: rows of a table of their own, which nobody keeps in memory.

use std::collections::hash_map::Entry as Place;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::super::dictionary::{Ref, WindowSet};
use super::super::error::Trouble;
use super::{Books, NUMBER_BITS, set_of};
use crate::units::DisputeClass;

/// What a dispute is about, by the file's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::store::ledger) enum About {
    Attempt(i64),
    Crash { epoch: i64, window: i64 },
}

#[derive(Clone, Debug)]
pub(in crate::store::ledger) struct OpenDispute {
    /// The row that opened it.
    pub(in crate::store::ledger) seq: i64,
    pub(in crate::store::ledger) about: About,
    pub(in crate::store::ledger) context: Option<Ref>,
    pub(in crate::store::ledger) windows: WindowSet,
    pub(in crate::store::ledger) class: DisputeClass,
    pub(in crate::store::ledger) amount: i64,
    pub(in crate::store::ledger) counts_at: i64,
    pub(in crate::store::ledger) until: Option<i64>,
    pub(in crate::store::ledger) labels: Option<Arc<str>>,
}

/// The column of [`stored`] that names the target.
pub(in crate::store::ledger) const TARGET: usize = 13;

/// All columns of the open disputes that stand behind `which`, as [`OpenDispute::read`] takes them.
pub(in crate::store::ledger) fn stored(which: &str) -> String {
    format!(
        "SELECT d.seq, d.attempt, d.epoch, d.context, c.hash, d.windows, s.hash, s.windows, d.class, d.amount, d.counts_at, d.until, d.labels,
           c.target
         FROM disputes d LEFT JOIN contexts c ON c.id = d.context LEFT JOIN window_sets s ON s.id = d.windows {which}"
    )
}

impl OpenDispute {
    /// A row of [`stored`].
    pub(in crate::store::ledger) fn read(row: &SqlRow<'_>) -> Result<Self, Trouble> {
        let seq: i64 = row.get(0)?;
        let windows = set_of(row.get(5)?, row.get(6)?, row.get(7)?)?;
        let damaged = || Trouble::Damaged(format!("the dispute of row {seq} is about nothing"));
        let about = match (row.get(1)?, windows.windows.first()) {
            (Some(attempt), _) => About::Attempt(attempt),
            (None, Some(window)) => About::Crash { epoch: row.get(2)?, window: *window },
            (None, None) => return Err(damaged()),
        };
        let context: Option<i64> = row.get(3)?;
        let class: String = row.get(8)?;
        Ok(Self {
            seq,
            about,
            context: context.map(|id| Ok::<_, Trouble>(Ref { id, hash: row.get(4)? })).transpose()?,
            windows,
            class: class_of(&class).ok_or_else(damaged)?,
            amount: row.get(9)?,
            counts_at: row.get(10)?,
            until: row.get(11)?,
            labels: row.get(12)?,
        })
    }
}

impl Books {
    pub(in crate::store::ledger) fn open_dispute(&mut self, dispute: OpenDispute) {
        self.batch.disputed.insert(dispute.about, dispute);
    }

    /// Takes an open dispute out, of the present transaction or of the file.
    pub(super) fn take_dispute(&mut self, about: About, connection: &Connection) -> Result<Option<OpenDispute>, Trouble> {
        if let Place::Occupied(fresh) = self.batch.disputed.entry(about) {
            return Ok(Some(fresh.remove()));
        }
        let (which, epoch, id) = match about {
            About::Attempt(attempt) => ("d.attempt = ?2", attempt >> NUMBER_BITS, attempt),
            About::Crash { epoch, window } => ("d.attempt IS NULL AND s.windows = CAST(?2 AS TEXT)", epoch, window),
        };
        let mut find = connection.prepare_cached(&stored(&format!("WHERE d.epoch = ?1 AND {which}")))?;
        let found = find.query_row(params![epoch, id], |row| Ok(OpenDispute::read(row))).optional()?.transpose()?;
        if let Some(found) = &found {
            connection.prepare_cached("DELETE FROM disputes WHERE seq = ?")?.execute([found.seq])?;
        }
        Ok(found)
    }

    pub(super) fn write_disputes(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for (about, open) in self.batch.disputed.drain() {
            let (attempt, epoch) = match about {
                About::Attempt(attempt) => (Some(attempt), attempt >> NUMBER_BITS),
                About::Crash { epoch, .. } => (None, epoch),
            };
            let mut insert = connection.prepare_cached(
                "INSERT INTO disputes (seq, attempt, epoch, context, windows, class, amount, counts_at, until, labels)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let (context, windows) = (open.context.map(|context| context.id), open.windows.named.id);
            insert.execute(params![
                open.seq,
                attempt,
                epoch,
                context,
                windows,
                open.class.as_str(),
                open.amount,
                open.counts_at,
                open.until,
                open.labels
            ])?;
        }
        Ok(())
    }
}

fn class_of(word: &str) -> Option<DisputeClass> {
    [DisputeClass::Ambiguous, DisputeClass::Cancelled, DisputeClass::Crash].into_iter().find(|class| class.as_str() == word)
}
