//! Whether the file is whole: every row follows from the one before, and the counters are the sums of the rows.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Row as SqlRow};

use super::books::{Head, attempt_of};
use super::chain::Chain;
use super::dictionary::{CONTEXTS, SETS, TERMS, Table, hash_of, unlisted};
use super::error::{LedgerError, Trouble};
use super::reader::Reader;
use super::row::{self, Hash, Int, Kind, Row, Text};
use super::windows::Window;

/// So many findings are told in words.
const TOLD: usize = 20;

/// What became of a proof.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub rows: u64,
    /// The last row's SHA-256, in hex: together with the number of rows it stands for all of them.
    pub hash: String,
    pub windows: u64,
    pub open_disputes: u64,
    pub holds: u64,
    /// The first things that are wrong.
    pub findings: Vec<String>,
    /// How many more there are.
    pub more: u64,
}

impl Verified {
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, what: String) {
        if self.findings.len() < TOLD { self.findings.push(what) } else { self.more += 1 }
    }
}

/// The sums of the rows so far.
#[derive(Debug, Default)]
struct Sums {
    /// Window → posted and disputed.
    windows: HashMap<i64, (i64, i64)>,
    sets: HashMap<i64, Vec<i64>>,
    /// Row that opened it → amount.
    disputes: BTreeMap<i64, i64>,
    /// One bit for each attempt of each run.
    attempts: HashMap<i64, Vec<u64>>,
}

impl Reader {
    /// Proves all rows and counters. `progress` is told how many rows of how many are proved.
    pub fn verify(&self, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, LedgerError> {
        self.read(|reader| {
            let connection = &reader.connection;
            let mut verified = Verified::default();
            check_pages(connection, &mut verified)?;
            for table in [&CONTEXTS, &TERMS, &SETS] {
                check_dictionary(table, connection, &mut verified)?;
            }
            let sums = check_rows(connection, &mut verified, progress)?;
            check_windows(&sums, connection, &mut verified)?;
            check_disputes(&sums, connection, &mut verified)?;
            check_holds(&sums, connection, &mut verified)?;
            Ok(verified)
        })
    }
}

fn check_pages(connection: &Connection, verified: &mut Verified) -> Result<(), Trouble> {
    let mut sql = connection.prepare(&format!("PRAGMA quick_check({TOLD})"))?;
    for told in sql.query_map([], |row| row.get::<_, String>(0))? {
        match told {
            Ok(told) if told == "ok" => {}
            Ok(told) => verified.find(told),
            Err(error) => verified.find(error.to_string()),
        }
    }
    Ok(())
}

fn check_dictionary(table: &Table, connection: &Connection, verified: &mut Verified) -> Result<(), Trouble> {
    let mut sql = connection.prepare(table.all)?;
    let mut rows = sql.query([])?;
    while let Some(row) = rows.next()? {
        if !is_sound(table, row)? {
            verified.find(format!("{} {}: it is not what was written", table.name, row.get::<_, i64>(0)?));
        }
    }
    Ok(())
}

/// Whether a dictionary's row is what its hash says.
pub(super) fn is_sound(table: &Table, row: &SqlRow<'_>) -> rusqlite::Result<bool> {
    let texts = (0..table.texts).map(|at| row.get(2 + at)).collect::<rusqlite::Result<Vec<Option<String>>>>()?;
    let borrowed: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
    Ok(hash_of(&borrowed) == row.get::<_, Hash>(1)?)
}

fn check_rows(connection: &Connection, verified: &mut Verified, progress: &mut dyn FnMut(u64, u64)) -> Result<Sums, Trouble> {
    let head = Head::read(connection)?;
    let all = u64::try_from(head.seq).unwrap_or_default();
    let mut sums = Sums::default();
    let mut chain = Chain::behind(0, Hash::default(), connection);
    let mut sql = connection.prepare(&row::select("seq > 0"))?;
    let mut rows = sql.query([])?;
    while let Some(read) = rows.next()? {
        let (row, stored) = Row::read(read)?;
        if !chain.follows(&row, &stored)? {
            verified.find(format!("row {}: it does not follow from the one before", row.seq));
            chain = chain.again_at(row.seq, stored);
        }
        sums.add(&row, connection, verified)?;
        verified.rows += 1;
        if verified.rows.is_multiple_of(10_000) {
            progress(verified.rows, all);
        }
    }
    if (chain.seq, chain.hash) != (head.seq, head.hash) {
        verified.find(format!("row {} is the last, and should be row {}", chain.seq, head.seq));
    }
    verified.hash = super::hex(&chain.hash);
    Ok(sums)
}

impl Sums {
    fn add(&mut self, row: &Row, connection: &Connection, verified: &mut Verified) -> Result<(), Trouble> {
        let (posted, disputed) = (row.sum(Int::Posted), row.sum(Int::Disputed));
        if let Some(set) = row.int(Int::Windows) {
            for window in self.windows_of(set, connection)? {
                let sums = self.windows.entry(window).or_default();
                *sums = (sums.0.saturating_add(posted), sums.1.saturating_add(disputed));
            }
        }
        let kind = row.int(Int::Kind);
        let is = |wanted: Kind| kind == Some(wanted as i64);
        if is(Kind::Attempt) && row.int(Int::Attempt).is_some_and(|attempt| !self.is_first(attempt)) {
            verified.find(format!("row {}: the attempt has ended before", row.seq));
        }
        if row.text(Text::Class).is_some() && !is(Kind::Resolved) {
            self.disputes.insert(row.seq, disputed);
        }
        if is(Kind::Resolved) && row.int(Int::About).and_then(|about| self.disputes.remove(&about)) != Some(-disputed) {
            verified.find(format!("row {}: it resolves what was not disputed", row.seq));
        }
        Ok(())
    }

    fn windows_of(&mut self, set: i64, connection: &Connection) -> Result<Vec<i64>, Trouble> {
        if let Some(known) = self.sets.get(&set) {
            return Ok(known.clone());
        }
        let listed: String =
            connection.prepare_cached("SELECT windows FROM window_sets WHERE id = ?")?.query_row([set], |row| row.get(0))?;
        let windows = unlisted(&listed).unwrap_or_default();
        self.sets.insert(set, windows.clone());
        Ok(windows)
    }

    /// Whether this is the first time that the attempt is met.
    fn is_first(&mut self, attempt: i64) -> bool {
        let id = attempt_of(attempt);
        let (Ok(epoch), Ok(word)) = (i64::try_from(id.epoch), usize::try_from(id.number / 64)) else { return true };
        let bits = self.attempts.entry(epoch).or_default();
        if bits.len() <= word {
            bits.resize(word + 1, 0);
        }
        let bit = 1 << (id.number % 64);
        let is_first = bits[word] & bit == 0;
        bits[word] |= bit;
        is_first
    }
}

fn check_windows(sums: &Sums, connection: &Connection, verified: &mut Verified) -> Result<(), Trouble> {
    let mut sql = connection.prepare("SELECT id, budget, period, starts, ends, granted, posted, disputed, seal FROM windows")?;
    let mut rows = sql.query([])?;
    while let Some(row) = rows.next()? {
        verified.windows += 1;
        match Window::read(row) {
            Ok(window) => {
                let told = (window.posted, window.disputed);
                let summed = sums.windows.get(&window.id).copied().unwrap_or_default();
                if told != summed {
                    verified.find(format!("window {}: posted and disputed are {told:?}, and its rows say {summed:?}", window.id));
                }
            }
            Err(Trouble::Damaged(what)) => verified.find(what),
            Err(trouble) => return Err(trouble),
        }
    }
    Ok(())
}

fn check_disputes(sums: &Sums, connection: &Connection, verified: &mut Verified) -> Result<(), Trouble> {
    let mut sql = connection.prepare("SELECT seq, amount FROM disputes ORDER BY seq")?;
    let open: BTreeMap<i64, i64> = sql.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    verified.open_disputes = open.len() as u64;
    let differ = open.iter().filter(|(seq, amount)| sums.disputes.get(seq) != Some(amount)).map(|(seq, _)| seq);
    let lost = sums.disputes.keys().filter(|seq| !open.contains_key(seq));
    for seq in differ.chain(lost) {
        verified.find(format!("the dispute of row {seq} is not what its row says"));
    }
    Ok(())
}

fn check_holds(sums: &Sums, connection: &Connection, verified: &mut Verified) -> Result<(), Trouble> {
    let mut sql = connection.prepare("SELECT attempt FROM holds")?;
    for attempt in sql.query_map([], |row| row.get::<_, i64>(0))? {
        verified.holds += 1;
        let id = attempt_of(attempt?);
        let word = usize::try_from(id.number / 64).unwrap_or(usize::MAX);
        let bits = i64::try_from(id.epoch).ok().and_then(|epoch| sums.attempts.get(&epoch));
        if bits.and_then(|bits| bits.get(word)).is_some_and(|bits| bits & 1 << (id.number % 64) != 0) {
            verified.find(format!("attempt {id} has ended, and is held"));
        }
    }
    Ok(())
}
