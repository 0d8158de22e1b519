use std::ops::Range;
use std::path::PathBuf;

use rusqlite::{Connection, params};

use super::books::{About, OpenDispute, TARGET, attempt_of, stored};
use super::error::{LedgerError, Trouble};
use super::reader::moment;
use super::schema;
use super::windows::{Windows, usd};
use crate::units::{DisputeId, RememberedDispute, TargetName, WindowKey};

/// Disputes of one page.
const PAGE: usize = 1_000;

/// Open disputes of earlier runs that a start did not wait for. They are read beside the writer, and count all the while: their sums are
/// among what is remembered of their windows.
#[derive(Debug)]
pub struct Unread {
    path: PathBuf,
    connection: Connection,
    /// Names as they were at the start, whatever is renamed meanwhile.
    windows: Windows,
    /// Behind this row, up to that one.
    rows: Range<i64>,
}

impl Unread {
    pub(super) fn open(path: PathBuf, rows: Range<i64>) -> Result<Self, LedgerError> {
        let connection = schema::open_to_read(&path)?;
        let windows = Windows::load(&connection, i64::MAX).map_err(|trouble| trouble.at(&path))?;
        Ok(Self { path, connection, windows, rows })
    }

    /// The next of them, in the order in which they were opened; none where that was all.
    pub fn next_page(&mut self) -> Result<Vec<RememberedDispute>, LedgerError> {
        let read = page(self.rows.clone(), PAGE, &mut self.windows, &self.connection);
        let (page, read) = read.map_err(|trouble| trouble.at(&self.path))?;
        self.rows.start = read;
        Ok(page)
    }
}

/// At most so many of the disputes that the rows behind the first number opened, up to the second; and the row up to which that are all.
pub(super) fn page(
    rows: Range<i64>,
    most: usize,
    windows: &mut Windows,
    connection: &Connection,
) -> Result<(Vec<RememberedDispute>, i64), Trouble> {
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut sql = connection.prepare_cached(&stored("WHERE d.seq > ? AND d.seq <= ? ORDER BY d.seq LIMIT ?"))?;
    let mut found = sql.query(params![rows.start, rows.end, limit])?;
    let (mut page, mut last, mut count) = (Vec::new(), rows.start, 0);
    while let Some(row) = found.next()? {
        let dispute = OpenDispute::read(row)?;
        (last, count) = (dispute.seq, count + 1);
        let keys = dispute.windows.windows.iter().map(|id| windows.key(*id, connection)).collect::<Result<Vec<_>, _>>()?;
        let target = row.get::<_, Option<String>>(TARGET)?.and_then(|name| TargetName::parse(&name).ok());
        let (class, amount, until) = (dispute.class, usd(dispute.amount), dispute.until.map(moment));
        page.extend(id_of(dispute.about, &keys).map(|id| RememberedDispute { id, class, amount, until, windows: keys, target }));
    }
    Ok((page, if count < most { rows.end } else { last }))
}

/// What others know the dispute by that counts in these windows.
pub(super) fn id_of(about: About, windows: &[WindowKey]) -> Option<DisputeId> {
    match about {
        About::Attempt(attempt) => Some(DisputeId::Attempt(attempt_of(attempt))),
        About::Crash { epoch, .. } => Some(DisputeId::Crash(u64::try_from(epoch).unwrap_or_default(), windows.first()?.clone())),
    }
}
