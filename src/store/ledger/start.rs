//! What a start makes of what the last run left.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::books::Books;
use super::chain::check_tail;
use super::error::Trouble;
use super::row::{Int, Kind, Named, Text, Word};
use super::seen::Seen;
use super::unread::page;
use super::windows::usd;
use crate::config::HoldFor;
use crate::units::{Basis, DisputeClass, Disputed, Remembered};

/// So many disputes are read before anything is served.
const AT_ONCE: usize = 256;

/// Begins another run: holds of earlier ones become disputes, and so does what was granted and cannot be explained.
/// Answers up to which row the disputes are read: no start waits for them all, since their sums stand in the windows.
pub(super) fn start(connection: &Connection, now: Timestamp, hold_for: HoldFor) -> Result<(Books, Remembered, i64), Trouble> {
    let at = now.as_microsecond();
    let tx = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    let mut books = Books::load(&tx, at, Seen::new(0))?;
    check_tail(&books.head, &tx)?;
    let until = match hold_for {
        HoldFor::For(long) => {
            Some(now.saturating_add(SignedDuration::try_from(long).unwrap_or(SignedDuration::MAX)).unwrap_or(Timestamp::MAX))
        }
        HoldFor::Window => None,
    };
    dispute_holds(&mut books, at, until, &tx)?;
    let until = until.map(Timestamp::as_microsecond);
    for window in books.windows.ids() {
        if books.windows.get(window, &tx)?.unexplained() > 0 {
            books.dispute_crash(window, at, until, &tx)?;
        }
    }
    books.head.epoch += 1;
    books.seen = Seen::new(u64::try_from(books.head.epoch).unwrap_or_default());
    let mut row = books.row(Kind::Started, at);
    row.set(Int::Epoch, books.head.epoch);
    row.say(Text::Note, Word::Fixed(concat!("tollgate ", env!("CARGO_PKG_VERSION"))));
    books.add(row, Named::default());
    books.write(&tx)?;
    let windows = books.windows.remembered(&tx)?;
    let (disputes, read) = page(0..books.head.seq, AT_ONCE, &mut books.windows, &tx)?;
    tx.commit()?;
    let epoch = u64::try_from(books.head.epoch).unwrap_or_default();
    Ok((books, Remembered { epoch, windows, disputes }, read))
}

fn dispute_holds(books: &mut Books, at: i64, until: Option<Timestamp>, connection: &Connection) -> Result<(), Trouble> {
    let mut open: Vec<_> = books.open.drain().collect();
    open.sort_unstable_by_key(|(attempt, _)| *attempt);
    for (attempt, open) in open {
        let mut row = books.row(Kind::Attempt, at);
        row.say(Text::Basis, Word::Fixed(Basis::Unknown.as_str()));
        row.say(Text::Note, Word::Fixed("its daemon ended before it did"));
        let disputed = Disputed { class: DisputeClass::Ambiguous, amount: usd(open.hold), until };
        books.settle_open(attempt, &open, row, None, 0, Some(disputed), connection)?;
    }
    Ok(())
}
