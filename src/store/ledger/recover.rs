//! Saving what can be proved of a damaged file into a new one.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, Transaction, params, params_from_iter};

use super::books::{Head, attempt_of};
use super::chain::Chain;
use super::dictionary::{CONTEXTS, SETS, TERMS, Table, unlisted};
use super::error::{LedgerError, Trouble};
use super::reader::Reader;
use super::row::{self, Hash, Int, Kind, Named, Row, Text};
use super::verify::is_sound;
use super::windows::Window;
use super::{Ledger, NAME, schema, wal};
use crate::config::HoldFor;
use crate::units::Usd;

/// What became of a recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Rows that are in the new file.
    pub rows: u64,
    /// Where the damaged file is now.
    pub aside: PathBuf,
    /// What is disputed from now on for rows that were lost, by window.
    pub disputed: Vec<(String, Usd)>,
    /// Whether every window's counters could be read. Where not, what was spent in it and is in no row that was saved is not known.
    pub is_complete: bool,
}

/// Makes a new ledger of every row whose place in the chain can be proved, and puts the damaged file aside. What was granted or counted and
/// is in no such row becomes disputed. The state folder's lock must be held.
pub fn recover(state: &Path, now: Timestamp, hold_for: HoldFor) -> Result<Recovered, LedgerError> {
    let path = state.join(NAME);
    if !path.exists() {
        return Err(LedgerError::Missing { file: path.display().to_string() });
    }
    let fresh = state.join(format!("{NAME}.new"));
    let io = |error: std::io::Error| LedgerError::io(&path, &error);
    for file in [fresh.clone(), wal::beside(&fresh)] {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    let into = schema::open(&fresh)?;
    let (rows, is_complete) = copy(&path, &into).map_err(|trouble| trouble.at(&fresh))?;
    super::checkpoint(&into, "TRUNCATE").map_err(|error| LedgerError::of(&fresh, &error))?;
    drop(into);
    let aside = state.join(format!("{NAME}.damaged-{}", now.strftime("%Y%m%dT%H%M%SZ")));
    for (from, to) in [(wal::beside(&path), wal::beside(&aside)), (path.clone(), aside.clone())] {
        if from.exists() {
            fs::rename(from, to).map_err(io)?;
        }
    }
    // The old file's shared memory and the new file's empty log belong to nothing any more.
    for file in [state.join(format!("{NAME}-shm")), wal::beside(&fresh), state.join(format!("{NAME}.new-shm"))] {
        fs::remove_file(file).ok();
    }
    fs::rename(&fresh, &path).and_then(|()| fs::File::open(state)?.sync_all()).map_err(io)?;
    let (ledger, remembered) = Ledger::open(state, now, hold_for)?;
    let epoch = remembered.epoch - 1;
    ledger.close()?;
    let lost = Reader::open(state)?.disputes()?.into_iter().filter_map(|dispute| match &dispute.id {
        crate::units::DisputeId::Crash(of, key) if *of == epoch => Some((format!("{}.{}", key.budget, key.period), dispute.amount)),
        _ => None,
    });
    let disputed = lost.collect();
    Ok(Recovered { rows, aside, disputed, is_complete })
}

/// Copies what can be proved: how many rows, and whether all counters could be read.
fn copy(path: &Path, into: &Connection) -> Result<(u64, bool), Trouble> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let tx = into.unchecked_transaction()?;
    let from = Connection::open_with_flags(path, flags)?;
    let mut copy = Copy::new(&from, &tx);
    let names = copy.budgets();
    let dictionaries = [&CONTEXTS, &TERMS, &SETS].map(|table| copy.dictionary(table)).iter().all(|is_whole| *is_whole);
    let windows = copy.windows()?;
    let rows = copy.rows()?;
    copy.holds()?;
    copy.counters()?;
    tx.commit()?;
    Ok((rows, names && dictionaries && windows))
}

struct Copy<'c> {
    from: &'c Connection,
    into: &'c Transaction<'c>,
    /// Window → what was counted or granted in it at the end, and what the saved rows say.
    windows: HashMap<i64, (Window, i64, i64)>,
    sets: HashMap<i64, Vec<i64>>,
    /// Row that opened a dispute → its new number and the dispute.
    disputes: HashMap<i64, (i64, Row)>,
    ended: HashSet<i64>,
    head: Head,
}

impl<'c> Copy<'c> {
    fn new(from: &'c Connection, into: &'c Transaction<'c>) -> Self {
        let (windows, sets, disputes) = (HashMap::new(), HashMap::new(), HashMap::new());
        let epoch = from.query_row("SELECT epoch FROM head", [], |row| row.get(0)).unwrap_or_default();
        let head = Head { epoch, ..Head::default() };
        Self { from, into, windows, sets, disputes, ended: HashSet::new(), head }
    }

    /// Every row of a table that can be read, in the order of its key. False where some could not.
    fn each(&self, sql: &str, mut take: impl FnMut(&rusqlite::Row<'_>) -> Result<(), Trouble>) -> bool {
        let (mut behind, mut skip, mut is_whole) = (i64::MIN, 1_i64, true);
        let highest = 1_i64 << 62;
        while let Ok(mut statement) = self.from.prepare(sql) {
            let Ok(mut rows) = statement.query([behind]) else { return false };
            loop {
                match rows.next() {
                    Ok(None) => return is_whole,
                    Ok(Some(row)) => {
                        let key = row.get::<_, i64>(0);
                        is_whole &= key.is_ok() && take(row).is_ok();
                        (behind, skip) = (key.unwrap_or(behind), 1);
                    }
                    // A page that cannot be read: behind it there may be others that can.
                    Err(_) => break,
                }
            }
            is_whole = false;
            behind = behind.max(0).saturating_add(skip);
            skip = skip.saturating_mul(2);
            if behind > highest {
                return false;
            }
        }
        false
    }

    fn budgets(&self) -> bool {
        self.each("SELECT id, name FROM budgets WHERE id > ? ORDER BY id", |row| {
            self.into.execute("INSERT INTO budgets (id, name) VALUES (?, ?)", params![row.get::<_, i64>(0)?, row.get::<_, String>(1)?])?;
            Ok(())
        })
    }

    fn dictionary(&mut self, table: &Table) -> bool {
        let places = vec!["?"; 2 + table.texts].join(", ");
        let columns = table.all.trim_start_matches("SELECT ").split(" FROM").next().unwrap_or_default();
        let add = format!("INSERT INTO {} ({columns}) VALUES ({places})", table.name);
        let mut sets = HashMap::new();
        let is_whole = self.each(&format!("{} WHERE id > ? ORDER BY id", table.all), |row| {
            if !is_sound(table, row)? {
                return Err(Trouble::Damaged(String::new()));
            }
            if table.name == SETS.name {
                sets.insert(row.get(0)?, unlisted(&row.get::<_, String>(2)?).unwrap_or_default());
            }
            let values = (0..2 + table.texts).map(|at| row.get::<_, Value>(at)).collect::<Result<Vec<_>, _>>()?;
            self.into.prepare_cached(&add)?.execute(params_from_iter(values))?;
            Ok(())
        });
        self.sets.extend(sets);
        is_whole
    }

    fn windows(&mut self) -> Result<bool, Trouble> {
        let mut found = Vec::new();
        let sql = "SELECT id, budget, period, starts, ends, granted, posted, disputed, seal FROM windows WHERE id > ? ORDER BY id";
        let is_whole = self.each(sql, |row| {
            found.push(Window::read(row)?);
            Ok(())
        });
        for window in found {
            let sql = "INSERT INTO windows VALUES (?, ?, ?, ?, ?, 0, 0, 0, zeroblob(16))";
            self.into.execute(sql, params![window.id, window.budget, window.period.as_str(), window.starts, window.ends])?;
            self.windows.insert(window.id, (window, 0, 0));
        }
        Ok(is_whole)
    }

    fn rows(&mut self) -> Result<u64, Trouble> {
        let mut found = Vec::new();
        let mut chain = Chain::behind(0, Hash::default(), self.from);
        let mut saved = 0;
        let mut failed = None;
        let sql = row::select("seq > ?");
        let reading = Self::new(self.from, self.into);
        reading.each(&sql, |read| {
            let (row, stored) = Row::read(read)?;
            if chain.follows(&row, &stored)? {
                found.push(row);
            } else {
                // The next may follow from this one, which itself cannot be proved.
                (chain.seq, chain.hash) = (row.seq, stored);
            }
            if found.len() >= 4_096 {
                saved += found.len() as u64;
                failed = found.drain(..).try_for_each(|row| self.save(row)).err().or(failed.take());
            }
            Ok(())
        });
        saved += found.len() as u64;
        found.into_iter().try_for_each(|row| self.save(row))?;
        failed.map_or(Ok(saved), Err)
    }

    /// Gives a row its place in the new chain.
    fn save(&mut self, mut row: Row) -> Result<(), Trouble> {
        let old = row.seq;
        row.seq = self.head.seq + 1;
        let is_resolution = row.int(Int::Kind) == Some(Kind::Resolved as i64);
        if is_resolution {
            // Where the row that opened the dispute is lost, so is what it disputed.
            let opened = row.int(Int::About).and_then(|about| self.disputes.remove(&about));
            row.set(Int::About, opened.as_ref().map(|(seq, _)| *seq));
            if opened.is_none() {
                row.set(Int::Disputed, 0);
            }
        }
        if let Some(attempt) = row.int(Int::Attempt) {
            self.ended.insert(attempt);
            self.head.epoch = self.head.epoch.max(i64::try_from(attempt_of(attempt).epoch).unwrap_or_default());
        }
        self.head.epoch = self.head.epoch.max(row.sum(Int::Epoch));
        for window in row.int(Int::Windows).and_then(|set| self.sets.get(&set)).into_iter().flatten() {
            if let Some((_, posted, disputed)) = self.windows.get_mut(window) {
                *posted = posted.saturating_add(row.sum(Int::Posted));
                *disputed = disputed.saturating_add(row.sum(Int::Disputed));
            }
        }
        let hash_of = |table: &Table, column| match row.int(column) {
            None => Ok(Hash::default()),
            Some(id) => {
                let sql = format!("SELECT hash FROM {} WHERE id = ?", table.name);
                self.into.prepare_cached(&sql)?.query_row([id], |row| row.get(0))
            }
        };
        let named = Named {
            context: hash_of(&CONTEXTS, Int::Context)?,
            windows: hash_of(&SETS, Int::Windows)?,
            terms: hash_of(&TERMS, Int::Terms)?,
        };
        self.head.hash = row.hash(&self.head.hash, &named, &mut Vec::new());
        self.head.seq = row.seq;
        row.write(&self.head.hash, &Row::nothing(), &mut row::insert(self.into)?)?;
        if row.text(Text::Class).is_some() && !is_resolution {
            self.disputes.insert(old, (row.seq, row));
        }
        Ok(())
    }

    fn holds(&self) -> Result<(), Trouble> {
        let mut found: Vec<Vec<Value>> = Vec::new();
        self.each(
            "SELECT attempt, at, request, context, windows, nth, hold, labels FROM holds WHERE attempt > ? ORDER BY attempt",
            |row| {
                found.push((0..8).map(|at| row.get(at)).collect::<Result<_, _>>()?);
                Ok(())
            },
        );
        let is_known = |table: &str, id: &Value| self.into.prepare_cached(&format!("SELECT 1 FROM {table} WHERE id = ?"))?.exists([id]);
        for hold in found {
            let ended = matches!(hold[0], Value::Integer(attempt) if self.ended.contains(&attempt));
            if !ended && is_known("contexts", &hold[3])? && is_known("window_sets", &hold[4])? {
                self.into.execute("INSERT INTO holds VALUES (?, ?, ?, ?, ?, ?, ?, ?)", params_from_iter(hold))?;
            }
        }
        Ok(())
    }

    /// Writes what follows from the rows: counters, open disputes, the head. The grant of a window becomes all that was ever counted or
    /// granted in it, so that the next start disputes what is missing.
    fn counters(&self) -> Result<(), Trouble> {
        for (window, posted, disputed) in self.windows.values() {
            let granted = window.granted.max(window.posted.saturating_add(window.disputed));
            let mut window = window.clone();
            (window.granted, window.posted, window.disputed) = (granted, (*posted).max(0), (*disputed).max(0));
            window.store(self.into)?;
        }
        for (seq, row) in self.disputes.values() {
            let attempt = row.int(Int::Attempt);
            let epoch = attempt.map_or(row.sum(Int::Epoch), |attempt| i64::try_from(attempt_of(attempt).epoch).unwrap_or_default());
            self.into.execute(
                "INSERT INTO disputes (seq, attempt, epoch, context, windows, class, amount, counts_at, until, labels)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                params![
                    seq,
                    attempt,
                    epoch,
                    row.int(Int::Context),
                    row.int(Int::Windows),
                    row.text(Text::Class),
                    row.sum(Int::Disputed),
                    row.sum(Int::CountsAt),
                    row.int(Int::Until),
                    row.text(Text::Labels)
                ],
            )?;
        }
        let Head { seq, hash, epoch, .. } = self.head;
        self.into.execute("UPDATE head SET seq = ?, hash = ?, epoch = ?", params![seq, &hash[..], epoch])?;
        Ok(())
    }
}
