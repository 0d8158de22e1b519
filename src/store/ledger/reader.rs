//! The file as those see it who only read: whether or not a daemon writes it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::books::{OpenDispute, stored};
use super::error::{LedgerError, Trouble};
use super::unread::id_of;
use super::windows::{Windows, usd};
use super::{NAME, schema};
use crate::units::{DisputeClass, DisputeId, Usd, WindowKey};

/// An open dispute, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisputeRow {
    pub id: DisputeId,
    pub class: DisputeClass,
    pub amount: Usd,
    /// When the attempt was held, or the crash was found.
    pub at: Timestamp,
    /// When it is released by itself. Absent: with its window's end.
    pub until: Option<Timestamp>,
    /// Where it counts.
    pub windows: Vec<WindowKey>,
    /// Absent for a crash, as the two below.
    pub target: Option<String>,
    pub rule: Option<String>,
    pub caller: Option<String>,
}

/// A window's counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowRow {
    pub key: WindowKey,
    pub granted: Usd,
    pub posted: Usd,
    pub disputed: Usd,
}

/// What requests had in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContextFacts {
    pub endpoint: String,
    pub rule: Option<String>,
    pub caller: Option<String>,
    pub tags: BTreeMap<String, String>,
    pub task: String,
    pub target: Option<String>,
}

/// What all rows of one context in a quarter of an hour come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Absent for corrections and for what a crash left, which are about no request.
    pub context: Option<Arc<ContextFacts>>,
    /// True for what a crash left; false, without a context: corrections.
    pub is_crash: bool,
    pub labels: BTreeMap<String, String>,
    /// Seconds since 1970 at which the quarter of an hour begins.
    pub quarter: i64,
    /// Nano-dollars; negative where more was credited than spent.
    pub posted: i64,
    pub disputed: i64,
    pub attempts: u64,
    /// Attempts in which the provider let us down.
    pub faults: u64,
    pub input: u64,
    pub cache_read: u64,
    pub cache_write: u64,
    pub output: u64,
    pub reasoning: u64,
    pub requests: u64,
    /// Requests without a whole answer: failed, refused or cut off.
    pub failures: u64,
    pub fallbacks: u64,
}

/// Reads the ledger of a state folder.
#[derive(Debug)]
pub struct Reader {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
}

impl Reader {
    /// Opens the file beside whoever writes it.
    pub fn open(state: &Path) -> Result<Self, LedgerError> {
        let path = state.join(NAME);
        let connection = schema::open_to_read(&path)?;
        Ok(Self { path, connection })
    }

    /// All open disputes, those that count longest last.
    pub fn disputes(&self) -> Result<Vec<DisputeRow>, LedgerError> {
        self.read(Self::read_disputes)
    }

    fn read_disputes(&self) -> Result<Vec<DisputeRow>, Trouble> {
        let contexts = self.contexts()?;
        let mut known = Windows::load(&self.connection, i64::MAX)?;
        let mut sql = self.connection.prepare(&stored(""))?;
        let mut open = sql.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = open.next()? {
            let dispute = OpenDispute::read(row)?;
            let keys = dispute.windows.windows.iter().map(|id| known.key(*id, &self.connection));
            let windows = keys.collect::<Result<Vec<_>, _>>()?;
            let Some(id) = id_of(dispute.about, &windows) else { continue };
            let facts = dispute.context.and_then(|context| contexts.get(&context.id));
            rows.push(DisputeRow {
                id,
                class: dispute.class,
                amount: usd(dispute.amount),
                at: moment(dispute.counts_at),
                until: dispute.until.map(moment),
                windows,
                target: facts.and_then(|facts| facts.target.clone()),
                rule: facts.and_then(|facts| facts.rule.clone()),
                caller: facts.and_then(|facts| facts.caller.clone()),
            });
        }
        rows.sort_unstable_by(|one, other| (one.until, &one.id).cmp(&(other.until, &other.id)));
        Ok(rows)
    }

    /// The windows of budgets that have not ended by `now`.
    pub fn windows(&self, now: Timestamp) -> Result<Vec<WindowRow>, LedgerError> {
        self.read(|reader| {
            let mut windows = Windows::load(&reader.connection, now.as_microsecond())?;
            let mut rows = Vec::new();
            for id in windows.ids() {
                let (key, window) = (windows.key(id, &reader.connection)?, windows.get(id, &reader.connection)?);
                rows.push(WindowRow { key, granted: usd(window.granted), posted: usd(window.posted), disputed: usd(window.disputed) });
            }
            rows.sort_unstable_by(|one, other| one.key.cmp(&other.key));
            Ok(rows)
        })
    }

    /// What counts from `since` up to, not including, `until`, summed by context and quarter of an hour, and by labels where they are asked
    /// for.
    pub fn sums(&self, since: Timestamp, until: Timestamp, by_labels: bool) -> Result<Vec<Sum>, LedgerError> {
        self.read(|reader| reader.read_sums(since, until, by_labels))
    }

    fn read_sums(&self, since: Timestamp, until: Timestamp, by_labels: bool) -> Result<Vec<Sum>, Trouble> {
        let contexts = self.contexts()?;
        let labels = if by_labels { "labels" } else { "NULL" };
        let mut sql = self.connection.prepare(&format!(
            "SELECT context, iif(context IS NULL, kind, 0), counts_at / 900000000, {labels},
               sum(posted), sum(disputed), sum(kind = 1), sum(fault IS NOT NULL),
               sum(input_uncached), sum(cache_read), sum(cache_write), sum(output), sum(reasoning),
               sum(outcome IS NOT NULL), sum(outcome IN ('failed', 'refused', 'cut_off')), sum(outcome = 'fell_back')
             FROM entries WHERE counts_at >= ? AND counts_at < ? GROUP BY 1, 2, 3, 4"
        ))?;
        let mut rows = sql.query(params![since.as_microsecond(), until.as_microsecond()])?;
        let mut sums = Vec::new();
        while let Some(row) = rows.next()? {
            let signed = |at: usize| row.get::<_, Option<i64>>(at).map(Option::unwrap_or_default);
            let count = |at: usize| signed(at).map(|sum| u64::try_from(sum).unwrap_or_default());
            let context: Option<i64> = row.get(0)?;
            let labels: Option<String> = row.get(3)?;
            sums.push(Sum {
                context: context.and_then(|id| contexts.get(&id).cloned()),
                is_crash: row.get::<_, i64>(1)? == super::row::Kind::Crash as i64 || is_resolved_crash(context, row.get(1)?),
                labels: labels.map(|text| words_of(&text)).unwrap_or_default(),
                quarter: row.get::<_, i64>(2)? * 900,
                posted: signed(4)?,
                disputed: signed(5)?,
                attempts: count(6)?,
                faults: count(7)?,
                input: count(8)?,
                cache_read: count(9)?,
                cache_write: count(10)?,
                output: count(11)?,
                reasoning: count(12)?,
                requests: count(13)?,
                failures: count(14)?,
                fallbacks: count(15)?,
            });
        }
        Ok(sums)
    }

    pub(super) fn contexts(&self) -> Result<HashMap<i64, Arc<ContextFacts>>, Trouble> {
        let mut sql = self.connection.prepare("SELECT id, endpoint, rule, caller, tags, task, target FROM contexts")?;
        let mut rows = sql.query([])?;
        let mut contexts = HashMap::new();
        while let Some(row) = rows.next()? {
            let tags: Option<String> = row.get(4)?;
            let facts = ContextFacts {
                endpoint: row.get(1)?,
                rule: row.get(2)?,
                caller: row.get(3)?,
                tags: tags.map(|text| words_of(&text)).unwrap_or_default(),
                task: row.get(5)?,
                target: row.get(6)?,
            };
            contexts.insert(row.get(0)?, Arc::new(facts));
        }
        Ok(contexts)
    }

    /// Reads within one state of the file, whatever is written meanwhile.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Self) -> Result<T, Trouble>) -> Result<T, LedgerError> {
        let tx = self.connection.unchecked_transaction().map_err(|error| LedgerError::of(&self.path, &error))?;
        let answer = read(self).map_err(|trouble| trouble.at(&self.path));
        drop(tx);
        answer
    }
}

/// The end of a dispute over what a crash left has no context either.
fn is_resolved_crash(context: Option<i64>, kind: i64) -> bool {
    context.is_none() && kind == super::row::Kind::Resolved as i64
}

/// A moment as the file counts it.
pub(super) fn moment(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// Tags or labels, from a JSON object.
pub(super) fn words_of(text: &str) -> BTreeMap<String, String> {
    serde_json::from_str(text).unwrap_or_default()
}
