//! The ledger: every attempt and what it cost, in one SQLite file, `ledger.sqlite` in the state folder.
//!
//! ```text
//! admit, flow ── Entry ──▶ LedgerQueue ──▶ LedgerInbox ──▶ the one writer thread ──▶ a synced commit ──▶ Then
//! ```
//!
//! How a daemon uses it: [`Ledger::open`] under the state folder's lock begins another run and answers what is remembered of the earlier
//! ones; [`Ledger::run`] hands the file to its thread; [`LedgerThread::watch`] tells how the writing goes; when nothing is sent any more,
//! [`LedgerThread::finish`] writes what waits, gives back what was granted and not used, and closes the file. Where no daemon runs, a command opens the file so
//! too, and writes with [`Ledger::put`]. Whoever only reads uses [`Reader`], whether or not somebody writes.
//!
//! What the tables mean stands in docs/ledger.md.

mod books;
mod chain;
mod dictionary;
mod error;
mod export;
mod reader;
mod recover;
mod row;
mod schema;
mod seen;
mod start;
mod unread;
mod verify;
mod wal;
mod windows;
mod writer;

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::config::HoldFor;
use crate::units::{Entry, LedgerInbox, Remembered};
use books::{Books, Entered, Head};
use error::Trouble;
use seen::Seen;

pub use error::LedgerError;
pub use export::{EXPORTED, Exported};
pub use reader::{ContextFacts, DisputeRow, Reader, Sum, WindowRow};
pub use recover::{Recovered, recover};
pub use unread::Unread;
pub use verify::Verified;
pub use writer::{LedgerState, LedgerThread, LedgerWatch};

/// The file's name in the state folder.
const NAME: &str = "ledger.sqlite";
/// About so many pages may gather in the write-ahead log before they are moved into the file.
const CHECKPOINT: u64 = 4_000;
/// Bytes of a page.
const PAGE: u64 = 4_096;

/// The file, open for its one writer.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Connection,
    books: Books,
    /// What the transaction that was tried last makes of the head, and of its entries.
    intended: (Head, Vec<Entered>),
    /// Changes that other connections make are known up to this number.
    data_version: i64,
    /// Pages that have gone to the write-ahead log since the last checkpoint, about.
    logged: u64,
    /// Disputes up to this row were told of at the start.
    told: i64,
    /// Something failed: nothing may be synced through this connection any more.
    is_poisoned: bool,
}

impl Ledger {
    /// Opens the file below the state folder, or makes it, and begins another run of the daemon: what a run that did not end well left
    /// behind becomes disputes that count until `hold_for` is over. The state folder's lock must be held.
    pub fn open(state: &Path, now: Timestamp, hold_for: HoldFor) -> Result<(Self, Remembered), LedgerError> {
        let path = state.join(NAME);
        let connection = schema::open(&path)?;
        let (books, remembered, told) = start::start(&connection, now, hold_for).map_err(|trouble| trouble.at(&path))?;
        let data_version = data_version(&connection).map_err(|error| LedgerError::of(&path, &error))?;
        let logged = std::fs::metadata(wal::beside(&path)).map_or(0, |wal| wal.len() / PAGE);
        let intended = (books.head, Vec::new());
        Ok((Self { path, connection, books, intended, data_version, logged, told, is_poisoned: false }, remembered))
    }

    /// The disputes of earlier runs that [`Self::open`] did not wait for; nothing where it told of all. To be asked before anything is
    /// written.
    pub fn unread(&self) -> Result<Option<Unread>, LedgerError> {
        let rows = self.told..self.books.head.seq;
        if rows.is_empty() { Ok(None) } else { Unread::open(self.path.clone(), rows).map(Some) }
    }

    /// Hands the file to its writer.
    #[must_use]
    pub fn run(self, inbox: LedgerInbox) -> LedgerThread {
        LedgerThread::start(self, inbox)
    }

    /// Writes entries in one commit that is safe on disk when this returns. Answers how many of them were ignored, because they were there
    /// already or are about nothing that is known.
    pub fn put(&mut self, entries: &[Entry]) -> Result<usize, LedgerError> {
        let entered = self.write(entries.iter())?;
        if let Some(Entered::Refused(why)) = entered.iter().find(|entered| matches!(entered, Entered::Refused(_))) {
            return Err(LedgerError::Unwritable { file: self.path.display().to_string(), what: (*why).to_owned() });
        }
        Ok(entered.iter().filter(|entered| **entered == Entered::Ignored).count())
    }

    /// Gives back what was granted and is not used, moves everything into the one file and closes it. Nothing may be sent under these
    /// grants any more.
    pub fn close(mut self) -> Result<(), LedgerError> {
        if self.is_poisoned {
            return Err(LedgerError::Unwritable { file: self.path.display().to_string(), what: "the last write failed".into() });
        }
        self.give_back().map_err(|trouble| trouble.at(&self.path))?;
        let of = |error: rusqlite::Error| LedgerError::of(&self.path, &error);
        checkpoint(&self.connection, "TRUNCATE").map_err(of)?;
        self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false).map_err(of)?;
        self.connection.close().map_err(|(_, error)| of(error))
    }

    fn give_back(&mut self) -> Result<(), Trouble> {
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        if self.books.give_back(&tx)? {
            self.books.write(&tx)?;
            tx.commit()?;
        }
        Ok(())
    }

    /// As [`Self::put`], with the fate of each entry.
    fn write<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) -> Result<Vec<Entered>, LedgerError> {
        if let Err(trouble) = self.commit(entries) {
            self.is_poisoned = true;
            return Err(trouble.at(&self.path));
        }
        self.books.seen.keep();
        self.checkpoint_where_due();
        Ok(std::mem::take(&mut self.intended.1))
    }

    fn commit<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) -> Result<(), Trouble> {
        let tx = Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate)?;
        let version = data_version(&tx)?;
        if version != self.data_version {
            if Head::read(&tx)? != self.books.head {
                return Err(Trouble::Damaged("another process has written to it".into()));
            }
            tracing::warn!(file = %self.path.display(), "another process has changed the ledger: `tollgate ledger verify` says whether it is whole");
            self.data_version = version;
        }
        let entered = entries.map(|entry| self.books.enter(entry, &tx)).collect::<Result<Vec<_>, _>>()?;
        self.books.write(&tx)?;
        // A row takes about a twelfth of a page, and some pages change with every commit.
        self.logged += 8 + entered.len() as u64 / 12;
        self.intended = (self.books.head, entered);
        tx.commit()?;
        Ok(())
    }

    /// Writes entries whose first try failed. The file is opened anew, since what could not be synced through one descriptor may be lost
    /// to it for good; what stands there is proved; and they are written unless the first try turns out to have come through.
    fn resume<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>) -> Result<Vec<Entered>, LedgerError> {
        let path = self.path.clone();
        let of = |error: rusqlite::Error| LedgerError::of(&path, &error);
        // The old connection goes first, or SQLite would use its descriptors again.
        self.connection = Connection::open_in_memory().map_err(of)?;
        self.connection = schema::open(&path)?;
        let now = Timestamp::now().as_microsecond();
        let mut books = Books::load(&self.connection, now, Seen::new(0)).map_err(|trouble| trouble.at(&path))?;
        chain::check_tail(&books.head, &self.connection).map_err(|trouble| trouble.at(&path))?;
        if books.head.epoch != self.intended.0.epoch {
            return Err(LedgerError::corrupt(&path, "another daemon has begun to write it"));
        }
        // What the log holds may have reached memory alone: now it goes to disk through new descriptors, or nothing goes on.
        if !checkpoint(&self.connection, "TRUNCATE").map_err(of)? {
            return Err(LedgerError::Busy { file: path.display().to_string() });
        }
        self.data_version = data_version(&self.connection).map_err(of)?;
        (self.logged, self.is_poisoned) = (0, false);
        std::mem::swap(&mut books.seen, &mut self.books.seen);
        self.books = books;
        if self.books.head == self.intended.0 && !self.intended.1.is_empty() {
            self.books.seen.keep();
            return Ok(std::mem::take(&mut self.intended.1));
        }
        self.books.seen.forget();
        self.write(entries)
    }

    /// A checkpoint that fails does not concern what is committed, but nothing more goes through its descriptors.
    fn checkpoint_where_due(&mut self) {
        if self.logged < CHECKPOINT {
            return;
        }
        match checkpoint(&self.connection, "PASSIVE") {
            Ok(is_whole) => self.logged = if is_whole { 0 } else { CHECKPOINT / 2 },
            Err(error) => {
                tracing::error!(%error, alert = "ledger_poisoned", "the ledger's log cannot be moved into its file");
                self.is_poisoned = true;
            }
        }
    }
}

/// Moves the write-ahead log into the file, both synced. False where a reader still needs some of it.
fn checkpoint(connection: &Connection, mode: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?))
}

fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Bytes in lower-case hex.
fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

#[cfg(test)]
mod tests;
