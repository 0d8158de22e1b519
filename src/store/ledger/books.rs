//! What the writer knows of the file, and what it has to write.

mod disputes;
mod entries;

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::dictionary::{Dictionary, Ref, WindowSet, unlisted};
use super::error::Trouble;
use super::row::{self, Hash, Int, Kind, Named, Row, Text, Word};
use super::seen::Seen;
use super::windows::Windows;
use crate::units::{AttemptId, Entry, QuickMap};

pub(super) use disputes::{About, OpenDispute, TARGET, stored};

/// How many rows back the last attempt of a request that ends is looked for.
const NEAR: usize = 64;
/// Of so many written attempts, and as many before them, the context is known until their requests end.
const UNENDED: usize = 8_192;
/// Attempts that are at most so many apart are looked through for those between them.
const NEARBY: i64 = 64;
/// How many bits of an attempt's key count attempts of one run; those above count runs.
const NUMBER_BITS: u32 = 40;

/// The last row, and how often the file was changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) seq: i64,
    pub(super) hash: Hash,
    pub(super) commits: i64,
    pub(super) epoch: i64,
}

impl Head {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let read = |row: &rusqlite::Row<'_>| Ok(Self { seq: row.get(0)?, hash: row.get(1)?, commits: row.get(2)?, epoch: row.get(3)? });
        connection.query_row("SELECT seq, hash, commits, epoch FROM head", [], read)
    }
}

/// An attempt that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) at: i64,
    pub(super) request: Arc<str>,
    pub(super) context: Ref,
    pub(super) windows: WindowSet,
    pub(super) nth: i64,
    pub(super) hold: i64,
    pub(super) labels: Option<Arc<str>>,
    /// Whether its row stands in `holds`.
    is_written: bool,
}

#[derive(Debug)]
pub(super) struct Books {
    pub(super) head: Head,
    pub(super) windows: Windows,
    pub(super) open: QuickMap<i64, Open>,
    pub(super) seen: Seen,
    dictionary: Dictionary,
    /// Contexts of attempts whose rows are written and whose requests were not over then; and of such before them.
    unended: [QuickMap<i64, Ref>; 2],
    batch: Batch,
}

/// What the present transaction has to write.
#[derive(Debug, Default)]
struct Batch {
    /// The last rows, kept back because the end of a request is told soon after its last attempt, and stands in the same row.
    rows: VecDeque<(Row, Named)>,
    held: Vec<i64>,
    released: Vec<i64>,
    /// Disputes that this transaction opens, and has not ended.
    disputed: QuickMap<About, OpenDispute>,
    hashed: Vec<u8>,
}

/// Why an entry has no row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entered {
    Yes,
    /// It was there already, or what it is about is not.
    Ignored,
    /// It cannot be written as a number of the file.
    Refused(&'static str),
}

impl Books {
    /// Reads what a writer must know: head, live windows, holds.
    pub(super) fn load(connection: &Connection, now: i64, seen: Seen) -> Result<Self, Trouble> {
        let head = Head::read(connection)?;
        let windows = Windows::load(connection, now)?;
        let empty = || [QuickMap::default(), QuickMap::default()];
        let (open, dictionary, batch) = (QuickMap::default(), Dictionary::default(), Batch::default());
        let mut books = Self { head, windows, open, seen, dictionary, unended: empty(), batch };
        books.load_holds(connection)?;
        Ok(books)
    }

    fn load_holds(&mut self, connection: &Connection) -> Result<(), Trouble> {
        let mut sql = connection.prepare(
            "SELECT h.attempt, h.at, h.request, h.context, c.hash, h.windows, s.hash, s.windows, h.nth, h.hold, h.labels
             FROM holds h LEFT JOIN contexts c ON c.id = h.context LEFT JOIN window_sets s ON s.id = h.windows",
        )?;
        let mut rows = sql.query([])?;
        while let Some(row) = rows.next()? {
            let open = Open {
                at: row.get(1)?,
                request: row.get(2)?,
                context: Ref { id: row.get(3)?, hash: row.get(4)? },
                windows: set_of(row.get(5)?, row.get(6)?, row.get(7)?)?,
                nth: row.get(8)?,
                hold: row.get(9)?,
                labels: row.get(10)?,
                is_written: true,
            };
            self.open.insert(row.get(0)?, open);
        }
        Ok(())
    }

    /// Takes an entry into the present transaction, which [`Self::write`] makes whole.
    pub(super) fn enter(&mut self, entry: &Entry, connection: &Connection) -> Result<Entered, Trouble> {
        if self.batch.rows.len() >= 2 * NEAR {
            self.write_rows(NEAR, connection)?;
        }
        match entry {
            Entry::Held(held) => self.hold(held, connection),
            Entry::Settled(settled) => self.settle(settled, connection),
            Entry::Ended(ended) => self.end(ended, connection),
            Entry::Resolved(resolved) => self.resolve(resolved, connection),
            Entry::Adjusted(adjusted) => self.adjust(adjusted, connection),
            Entry::Granted(grants) => self.grant(grants, connection),
            Entry::Renamed { was, name } => {
                if !self.windows.rename(was, name, connection)? {
                    return Ok(Entered::Ignored);
                }
                self.dictionary.forget_sets();
                let mut row = self.row(Kind::Renamed, jiff::Timestamp::now().as_microsecond());
                row.say(Text::Note, Word::Own(format!("{was} is now {name}").into()));
                self.add(row, Named::default());
                Ok(Entered::Yes)
            }
        }
    }

    /// Writes everything that was entered since the last call, with the new head.
    pub(super) fn write(&mut self, connection: &Connection) -> Result<(), Trouble> {
        self.write_rows(0, connection)?;
        self.write_holds(connection)?;
        self.write_disputes(connection)?;
        self.windows.write(connection)?;
        self.head.commits += 1;
        let Head { seq, hash, commits, epoch } = self.head;
        connection.prepare_cached("UPDATE head SET seq = ?, hash = ?, commits = ?, epoch = ?")?.execute(params![
            seq,
            &hash[..],
            commits,
            epoch
        ])?;
        Ok(())
    }

    /// Writes all rows but the last `kept`.
    fn write_rows(&mut self, kept: usize, connection: &Connection) -> Result<(), Trouble> {
        let count = self.batch.rows.len().saturating_sub(kept);
        if count == 0 {
            return Ok(());
        }
        let (mut insert, mut before) = (row::insert(connection)?, Row::nothing());
        for (row, named) in self.batch.rows.drain(..count) {
            self.head.hash = row.hash(&self.head.hash, &named, &mut self.batch.hashed);
            row.write(&self.head.hash, &before, &mut insert)?;
            if let (Some(attempt), None) = (row.int(Int::Attempt), row.text(Text::Outcome)) {
                remember(&mut self.unended, attempt, Ref { id: row.sum(Int::Context), hash: named.context });
            }
            before = row;
        }
        match connection.last_insert_rowid() {
            last if last == before.seq => Ok(()),
            last => Err(Trouble::Damaged(format!("its row {} became row {last}", before.seq))),
        }
    }

    fn write_holds(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if !self.batch.held.is_empty() {
            let mut insert = connection.prepare_cached(
                "INSERT INTO holds (attempt, at, request, context, windows, nth, hold, labels) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            for attempt in self.batch.held.drain(..) {
                // Those that ended in the same transaction are gone already.
                let Some(open) = self.open.get_mut(&attempt) else { continue };
                open.is_written = true;
                let (context, windows) = (open.context.id, open.windows.named.id);
                let labels = open.labels.as_deref();
                insert.execute(params![attempt, open.at, &*open.request, context, windows, open.nth, open.hold, labels])?;
            }
        }
        if !self.batch.released.is_empty() {
            let mut delete = connection.prepare_cached("DELETE FROM holds WHERE attempt BETWEEN ? AND ?")?;
            self.batch.released.sort_unstable();
            // Mostly neighbours: who lies between them and is not open has no row.
            let is_next = |a: &i64, b: &i64| b - a <= NEARBY && (a + 1..*b).all(|between| !self.open.contains_key(&between));
            for run in self.batch.released.chunk_by(is_next) {
                delete.execute([run.first(), run.last()])?;
            }
            self.batch.released.clear();
        }
        Ok(())
    }
}

fn remember(unended: &mut [QuickMap<i64, Ref>; 2], attempt: i64, context: Ref) {
    if unended[0].len() >= UNENDED {
        unended.swap(0, 1);
        unended[0].clear();
    }
    unended[0].insert(attempt, context);
}

/// An attempt's number in the file; nothing beyond a trillion attempts of one run.
pub(super) fn key_of(id: AttemptId) -> Option<i64> {
    let epoch = i64::try_from(id.epoch).ok().filter(|epoch| *epoch < 1 << (63 - NUMBER_BITS))?;
    let number = i64::try_from(id.number).ok().filter(|number| *number < 1 << NUMBER_BITS)?;
    Some(epoch << NUMBER_BITS | number)
}

pub(super) fn attempt_of(key: i64) -> AttemptId {
    let unsigned = |part: i64| u64::try_from(part).unwrap_or_default();
    AttemptId { epoch: unsigned(key >> NUMBER_BITS), number: unsigned(key & ((1 << NUMBER_BITS) - 1)) }
}

fn set_of(id: i64, hash: Option<Hash>, windows: Option<String>) -> Result<WindowSet, Trouble> {
    let damaged = || Trouble::Damaged(format!("there is no window set {id}"));
    let windows = unlisted(&windows.ok_or_else(damaged)?).ok_or_else(damaged)?;
    Ok(WindowSet { named: Ref { id, hash: hash.ok_or_else(damaged)? }, windows: windows.into() })
}
