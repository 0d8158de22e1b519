//! What the ledger says of each attempt: the Ledger column of the faults, row by row.

use rusqlite::{Connection, OpenFlags};

use crate::support::*;

/// A token of input costs a tenth of a cent, and one of output a dollar: where output is counted, it is seen at once.
const INPUT: i64 = 1_000_000;
const OUTPUT: i64 = 1_000_000_000;
/// What the usage of a sound answer costs, streamed or not.
const SOUND: [i64; 2] = [9 * INPUT + 3 * OUTPUT, 9 * INPUT + 2 * OUTPUT];

/// How an attempt ends for money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Nothing was billed.
    Void,
    /// The provider's own count, priced.
    Usage,
    /// Complete, and nobody told the usage.
    Estimated,
    /// What was seen is posted, and nothing more is possible.
    Observed,
    /// What was seen is posted; the rest is disputed as cancelled.
    ObservedAndDisputed,
    /// Nobody knows: all that can have been written is disputed as ambiguous.
    Disputed,
    /// The same of an answer that no model wrote: its input alone.
    InputDisputed,
}

/// One attempt's row.
#[derive(Clone, Debug)]
pub(crate) struct Charge {
    basis: String,
    class: Option<String>,
    pub(crate) posted: i64,
    pub(crate) disputed: i64,
    hold: i64,
}

/// The file with prices for every model, under a hard budget that is never in the way. Providers may write on whatever happens, so that
/// what is disputed does not depend on time.
pub(crate) fn charged(file: &str) -> String {
    let priced = "m: { usd_per_mtok: { input: 1000, output: 1000000 }, context: 128k, max_output: 1k }";
    file.replace("models: { m: {} }", &format!("on_disconnect: unknown, models: {{ {priced} }}"))
        + "budgets:\n  company: { cap: $1000000/month }\n"
}

/// The attempts of a daemon in their order, once so many requests have ended.
pub(crate) async fn charges(daemon: &Daemon, requests: i64) -> Vec<Charge> {
    charges_in(&daemon.folder, requests).await
}

/// The same by the daemon's folder.
pub(crate) async fn charges_in(folder: &Folder, requests: i64) -> Vec<Charge> {
    let file = folder.file("state/ledger.sqlite");
    let ledger = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let is_settled = "SELECT count(outcome) >= ?1 AND NOT EXISTS (SELECT 1 FROM holds) FROM entries";
    eventually(|| ledger.query_row(is_settled, [requests], |row| row.get(0)).unwrap_or(false).then_some(())).await;
    let attempts = "SELECT basis, class, coalesce(posted, 0), coalesce(disputed, 0), hold FROM entries WHERE kind = 1 ORDER BY attempt";
    let mut attempts = ledger.prepare(attempts).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Charge { basis: row.get(0)?, class: row.get(1)?, posted: row.get(2)?, disputed: row.get(3)?, hold: row.get(4)? })
    };
    attempts.query_map([], read).unwrap().map(Result::unwrap).collect()
}

impl Charge {
    #[track_caller]
    pub(crate) fn is(&self, ending: Ending) {
        let (basis, class) = match ending {
            Ending::Void => ("void", None),
            Ending::Usage => ("usage", None),
            Ending::Estimated => ("estimated", None),
            Ending::Observed => ("observed", None),
            Ending::ObservedAndDisputed => ("observed", Some("cancelled")),
            Ending::Disputed | Ending::InputDisputed => ("unknown", Some("ambiguous")),
        };
        assert_eq!((self.basis.as_str(), self.class.as_deref()), (basis, class), "{self:?} is not {ending:?}");
        let is_right = match ending {
            Ending::Void => self.posted == 0 && self.disputed == 0,
            Ending::Usage => SOUND.contains(&self.posted) && self.disputed == 0,
            Ending::Estimated | Ending::Observed => self.posted > OUTPUT && self.disputed == 0,
            Ending::ObservedAndDisputed => self.posted > OUTPUT && self.disputed > 0 && self.posted + self.disputed <= self.hold,
            Ending::Disputed => self.posted == 0 && self.disputed > OUTPUT && self.disputed <= self.hold,
            Ending::InputDisputed => self.posted == 0 && self.disputed > 0 && self.disputed < OUTPUT,
        };
        assert!(is_right, "{self:?} is not {ending:?}");
    }
}

/// Whether the attempts ended so, all of them, in this order.
#[track_caller]
pub(crate) fn end_as(charges: &[Charge], endings: &[Ending]) {
    assert_eq!(charges.len(), endings.len(), "{charges:?}");
    for (charge, ending) in charges.iter().zip(endings) {
        charge.is(*ending);
    }
}
