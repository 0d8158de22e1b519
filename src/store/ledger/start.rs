//! What a start makes of what the last run left.

use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::books::{About, Books, attempt_of};
use super::chain::check_tail;
use super::error::Trouble;
use super::row::{Int, Kind, Named, Text, Word};
use super::seen::Seen;
use super::windows::usd;
use crate::config::HoldFor;
use crate::units::{Basis, DisputeClass, DisputeId, Disputed, Remembered, RememberedDispute, TargetName};

/// Begins another run: holds of earlier ones become disputes, and so does what was granted and cannot be explained.
pub(super) fn start(connection: &Connection, now: Timestamp, hold_for: HoldFor) -> Result<(Books, Remembered), Trouble> {
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
    let remembered = remembered(&mut books, &tx)?;
    tx.commit()?;
    Ok((books, remembered))
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

fn remembered(books: &mut Books, connection: &Connection) -> Result<Remembered, Trouble> {
    let mut target_of = connection.prepare_cached("SELECT target FROM contexts WHERE id = ?")?;
    let mut disputes = Vec::with_capacity(books.disputes.len());
    for dispute in books.disputes.values() {
        let windows = dispute.windows.windows.iter().map(|id| books.windows.key(*id, connection)).collect::<Result<Vec<_>, _>>()?;
        let id = match (dispute.about, windows.first()) {
            (About::Attempt(attempt), _) => DisputeId::Attempt(attempt_of(attempt)),
            (About::Crash { epoch, .. }, Some(key)) => DisputeId::Crash(u64::try_from(epoch).unwrap_or_default(), key.clone()),
            (About::Crash { .. }, None) => continue,
        };
        let target = match dispute.context {
            Some(context) => target_of.query_row([context.id], |row| row.get::<_, Option<String>>(0))?,
            None => None,
        };
        disputes.push(RememberedDispute {
            id,
            class: dispute.class,
            amount: usd(dispute.amount),
            until: dispute.until.and_then(|until| Timestamp::from_microsecond(until).ok()),
            windows,
            target: target.and_then(|target| TargetName::parse(&target).ok()),
        });
    }
    disputes.sort_unstable_by(|one, other| one.id.cmp(&other.id));
    let epoch = u64::try_from(books.head.epoch).unwrap_or_default();
    // The disputes' windows have been read by now.
    Ok(Remembered { epoch, windows: books.windows.remembered(connection)?, disputes })
}
