//! Whether rows still say what they said when they were written.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension};

use super::books::Head;
use super::dictionary::{CONTEXTS, SETS, TERMS, Table};
use super::error::Trouble;
use super::row::{self, Hash, Int, Named, Row};

/// How many of the last rows are proved at a start.
const TAIL: i64 = 64;

/// Walks along rows, each of which must follow from the one before.
#[derive(Debug)]
pub(super) struct Chain<'c> {
    pub(super) seq: i64,
    pub(super) hash: Hash,
    connection: &'c Connection,
    named: [HashMap<i64, Hash>; 3],
    hashed: Vec<u8>,
}

impl<'c> Chain<'c> {
    /// Begins behind the row of that number and hash; both zero: at the first row.
    pub(super) fn behind(seq: i64, hash: Hash, connection: &'c Connection) -> Self {
        Self { seq, hash, connection, named: Default::default(), hashed: Vec::with_capacity(512) }
    }

    /// Whether the row follows; if it does, it is the one that the next must follow from.
    pub(super) fn follows(&mut self, row: &Row, stored: &Hash) -> Result<bool, Trouble> {
        let named = Named {
            context: self.named(&CONTEXTS, 0, row.int(Int::Context))?,
            windows: self.named(&SETS, 1, row.int(Int::Windows))?,
            terms: self.named(&TERMS, 2, row.int(Int::Terms))?,
        };
        let holds = row.seq == self.seq + 1 && row.hash(&self.hash, &named, &mut self.hashed) == *stored;
        if holds {
            (self.seq, self.hash) = (row.seq, *stored);
        }
        Ok(holds)
    }

    /// Goes on behind a row that did not follow.
    pub(super) fn again_at(mut self, seq: i64, hash: Hash) -> Self {
        (self.seq, self.hash) = (seq, hash);
        self
    }

    fn named(&mut self, table: &Table, at: usize, id: Option<i64>) -> Result<Hash, Trouble> {
        let Some(id) = id else { return Ok(Hash::default()) };
        if let Some(hash) = self.named[at].get(&id) {
            return Ok(*hash);
        }
        let sql = format!("SELECT hash FROM {} WHERE id = ?", table.name);
        // What is not there hashes as nothing, which no row was written with.
        let hash = self.connection.prepare_cached(&sql)?.query_row([id], |row| row.get(0)).optional()?.unwrap_or_default();
        self.named[at].insert(id, hash);
        Ok(hash)
    }
}

/// Proves the last rows, and that the head is the last of them.
pub(super) fn check_tail(head: &Head, connection: &Connection) -> Result<(), Trouble> {
    let damaged = |what: String| Err(Trouble::Damaged(what));
    let last: i64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM entries", [], |row| row.get(0))?;
    if last != head.seq {
        return damaged(format!("its last row is {last} and should be {}", head.seq));
    }
    let before = (head.seq - TAIL).max(0);
    let hash = match before {
        0 => Hash::default(),
        seq => connection.query_row("SELECT hash FROM entries WHERE seq = ?", [seq], |row| row.get(0))?,
    };
    let mut chain = Chain::behind(before, hash, connection);
    let mut sql = connection.prepare(&row::select("seq > ?"))?;
    let mut rows = sql.query([before])?;
    while let Some(read) = rows.next()? {
        let (row, stored) = Row::read(read)?;
        if !chain.follows(&row, &stored)? {
            return damaged(format!("row {} does not follow from the one before", row.seq));
        }
    }
    if chain.hash == head.hash { Ok(()) } else { damaged(format!("row {} is not the last that was written", head.seq)) }
}
