//! What the writer knows of the file, and how entries become rows.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::dictionary::{Dictionary, Ref, WindowSet, unlisted, words};
use super::error::Trouble;
use super::row::{self, Hash, Int, Kind, Named, Row, Text, Word};
use super::seen::Seen;
use super::windows::Windows;
use crate::units::{
    AdjustedEntry, AttemptId, DisputeClass, DisputeId, Disputed, EndedEntry, Entry, HeldEntry, ResolvedEntry, SettledEntry, Usage, Usd,
    WindowKey,
};

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

/// What a dispute is about, by the file's ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    Attempt(i64),
    Crash { epoch: i64, window: i64 },
}

#[derive(Clone, Debug)]
pub(super) struct OpenDispute {
    pub(super) seq: i64,
    pub(super) about: About,
    pub(super) context: Option<Ref>,
    pub(super) windows: WindowSet,
    pub(super) class: DisputeClass,
    pub(super) amount: i64,
    pub(super) counts_at: i64,
    pub(super) until: Option<i64>,
    labels: Option<Arc<str>>,
    is_written: bool,
}

#[derive(Debug)]
pub(super) struct Books {
    pub(super) head: Head,
    pub(super) windows: Windows,
    pub(super) open: HashMap<i64, Open>,
    pub(super) disputes: HashMap<About, OpenDispute>,
    pub(super) seen: Seen,
    dictionary: Dictionary,
    /// Contexts of attempts that ended lately, for the ends of their requests; and of those that ended before.
    recent: [HashMap<i64, Ref>; 2],
    batch: Batch,
}

/// What the present transaction has to write.
#[derive(Debug, Default)]
struct Batch {
    rows: Vec<(Row, Named)>,
    by_attempt: HashMap<i64, usize>,
    held: Vec<i64>,
    released: Vec<i64>,
    disputed: Vec<About>,
    undisputed: Vec<i64>,
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

const TOO_MUCH: Entered = Entered::Refused("an amount above 9.2 billion dollars");
/// How many rows back the last attempt of a request that failed is looked for.
const NEAR: usize = 64;
const RECENT: usize = 8_192;

impl Books {
    /// Reads what a writer must know: head, live windows, holds, open disputes.
    pub(super) fn load(connection: &Connection, now: i64, seen: Seen) -> Result<Self, Trouble> {
        let head = Head::read(connection)?;
        let windows = Windows::load(connection, now)?;
        let empty = || [HashMap::new(), HashMap::new()];
        let (open, disputes, dictionary, batch) = (HashMap::new(), HashMap::new(), Dictionary::default(), Batch::default());
        let mut books = Self { head, windows, open, disputes, seen, dictionary, recent: empty(), batch };
        books.load_holds(connection)?;
        books.load_disputes(connection)?;
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

    fn load_disputes(&mut self, connection: &Connection) -> Result<(), Trouble> {
        let mut sql = connection.prepare(
            "SELECT d.seq, d.attempt, d.epoch, d.context, c.hash, d.windows, s.hash, s.windows, d.class, d.amount, d.counts_at, d.until, d.labels
             FROM disputes d LEFT JOIN contexts c ON c.id = d.context LEFT JOIN window_sets s ON s.id = d.windows",
        )?;
        let mut rows = sql.query([])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(0)?;
            let windows = set_of(row.get(5)?, row.get(6)?, row.get(7)?)?;
            let damaged = || Trouble::Damaged(format!("the dispute of row {seq} is about nothing"));
            let about = match (row.get(1)?, windows.windows.first()) {
                (Some(attempt), _) => About::Attempt(attempt),
                (None, Some(window)) => About::Crash { epoch: row.get(2)?, window: *window },
                (None, None) => return Err(damaged()),
            };
            let context: Option<i64> = row.get(3)?;
            let class: String = row.get(8)?;
            let dispute = OpenDispute {
                seq,
                about,
                context: context.map(|id| Ok::<_, Trouble>(Ref { id, hash: row.get(4)? })).transpose()?,
                windows,
                class: class_of(&class).ok_or_else(damaged)?,
                amount: row.get(9)?,
                counts_at: row.get(10)?,
                until: row.get(11)?,
                labels: row.get(12)?,
                is_written: true,
            };
            self.disputes.insert(about, dispute);
        }
        Ok(())
    }

    /// Takes an entry into the present transaction. Rows stand in memory until [`Self::write`].
    pub(super) fn enter(&mut self, entry: &Entry, connection: &Connection) -> Result<Entered, Trouble> {
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
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.write_rows(connection)?;
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

    fn write_rows(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.batch.rows.is_empty() {
            return Ok(());
        }
        let mut insert = row::insert(connection)?;
        for (row, named) in self.batch.rows.drain(..) {
            self.head.hash = row.hash(&self.head.hash, &named, &mut self.batch.hashed);
            row.write(&self.head.hash, &mut insert)?;
        }
        self.batch.by_attempt.clear();
        Ok(())
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
            let mut delete = connection.prepare_cached("DELETE FROM holds WHERE attempt = ?")?;
            for attempt in self.batch.released.drain(..) {
                delete.execute([attempt])?;
            }
        }
        Ok(())
    }

    fn write_disputes(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for about in self.batch.disputed.drain(..) {
            let Some(open) = self.disputes.get_mut(&about) else { continue };
            open.is_written = true;
            let (attempt, epoch) = match about {
                About::Attempt(attempt) => (Some(attempt), attempt >> NUMBER_BITS),
                About::Crash { epoch, .. } => (None, epoch),
            };
            let mut insert = connection.prepare_cached(
                "INSERT INTO disputes (seq, attempt, epoch, context, windows, class, amount, counts_at, until, labels)
                 VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )?;
            let (context, windows) = (open.context.map(|context| context.id), open.windows.named.id);
            insert.execute(params![
                open.seq,
                attempt,
                epoch,
                context,
                windows,
                open.class.as_str(),
                open.amount,
                open.counts_at,
                open.until,
                open.labels
            ])?;
        }
        for seq in self.batch.undisputed.drain(..) {
            connection.prepare_cached("DELETE FROM disputes WHERE seq = ?")?.execute([seq])?;
        }
        Ok(())
    }

    fn hold(&mut self, held: &HeldEntry, connection: &Connection) -> Result<Entered, Trouble> {
        let (Some(attempt), Some(amount)) = (key_of(held.id), nano(held.hold)) else { return Ok(TOO_MUCH) };
        if !self.seen.mark(held.id) {
            return Ok(Entered::Ignored);
        }
        let facts = &*held.request;
        let open = Open {
            at: held.at.as_microsecond(),
            request: Arc::clone(&facts.request_id),
            context: self.dictionary.context(facts, Some(&held.target), connection)?,
            windows: self.set(&held.windows, connection)?,
            nth: i64::from(held.attempt),
            hold: amount,
            labels: words(&facts.labels).map(Into::into),
            is_written: false,
        };
        self.open.insert(attempt, open);
        self.batch.held.push(attempt);
        Ok(Entered::Yes)
    }

    fn settle(&mut self, settled: &SettledEntry, connection: &Connection) -> Result<Entered, Trouble> {
        let Some((attempt, open)) = key_of(settled.id).and_then(|key| Some((key, self.open.remove(&key)?))) else {
            return Ok(Entered::Ignored);
        };
        let mut row = self.row(Kind::Attempt, settled.at.as_microsecond());
        let terms = self.dictionary.terms(settled.served_model.as_ref(), settled.prices.as_ref(), connection)?;
        row.set(Int::Terms, terms.map(|terms| terms.id));
        row.set(Int::ProviderCost, settled.provider_cost.map(capped));
        row.set(Int::UpstreamStatus, settled.upstream_status.map(i64::from));
        row.set(Int::TtftUs, settled.ttft.map(micros));
        row.set(Int::DurationUs, micros(settled.duration));
        row.say(Text::Basis, Word::Fixed(settled.basis.as_str()));
        row.say(Text::Phase, Word::Fixed(settled.phase));
        row.say(Text::Fault, settled.fault.map(Word::Fixed));
        set_usage(&mut row, settled.usage.as_ref());
        self.settle_open(attempt, &open, row, terms, capped(settled.posted), settled.disputed, connection)?;
        Ok(Entered::Yes)
    }

    /// Ends an attempt: its money moves, its row is told, its hold goes.
    #[expect(clippy::too_many_arguments, reason = "a row and the parts of it that are counted elsewhere too")]
    pub(super) fn settle_open(
        &mut self,
        attempt: i64,
        open: &Open,
        mut row: Row,
        terms: Option<Ref>,
        posted: i64,
        disputed: Option<Disputed>,
        connection: &Connection,
    ) -> Result<(), Trouble> {
        let amount = disputed.map(|disputed| capped(disputed.amount)).unwrap_or_default();
        self.count(&open.windows, posted, amount, connection)?;
        row.set(Int::Context, open.context.id);
        row.set(Int::Windows, open.windows.named.id);
        row.set(Int::Attempt, attempt);
        row.set(Int::Nth, open.nth);
        row.set(Int::CountsAt, open.at);
        row.set(Int::Hold, open.hold);
        row.set(Int::Posted, posted);
        row.say(Text::Request, Word::Own(Arc::clone(&open.request)));
        row.say(Text::Labels, open.labels.clone().map(Word::Own));
        if let Some(disputed) = disputed {
            let until = disputed.until.map(jiff::Timestamp::as_microsecond);
            row.set(Int::Disputed, amount);
            row.set(Int::Until, until);
            row.say(Text::Class, Word::Fixed(disputed.class.as_str()));
            let dispute = OpenDispute {
                seq: row.seq,
                about: About::Attempt(attempt),
                context: Some(open.context),
                windows: open.windows.clone(),
                class: disputed.class,
                amount,
                counts_at: open.at,
                until,
                labels: open.labels.clone(),
                is_written: false,
            };
            self.open_dispute(dispute);
        }
        if open.is_written {
            self.batch.released.push(attempt);
        }
        self.remember(attempt, open.context);
        self.batch.by_attempt.insert(attempt, self.batch.rows.len());
        let terms = terms.map(|terms| terms.hash).unwrap_or_default();
        self.add(row, Named { context: open.context.hash, windows: open.windows.named.hash, terms });
        Ok(())
    }

    fn end(&mut self, ended: &EndedEntry, connection: &Connection) -> Result<Entered, Trouble> {
        let served = ended.served.and_then(key_of);
        let near = || {
            let is_of_it =
                |(row, _): &(Row, Named)| row.text(Text::Request) == Some(&*ended.request.request_id) && row.int(Int::Attempt).is_some();
            let rows = &self.batch.rows;
            rows.iter().rev().take(NEAR).position(is_of_it).map(|back| rows.len() - 1 - back)
        };
        let found = match served {
            Some(served) => self.batch.by_attempt.get(&served).copied(),
            None if ended.attempts > 0 => near(),
            None => None,
        };
        if let Some((row, _)) = found.and_then(|at| self.batch.rows.get_mut(at)).filter(|(row, _)| row.text(Text::Outcome).is_none()) {
            set_end(row, ended);
            return Ok(Entered::Yes);
        }
        let context = match served.and_then(|served| self.recent.iter().find_map(|recent| recent.get(&served))) {
            Some(context) => *context,
            None => self.dictionary.context(&ended.request, None, connection)?,
        };
        let mut row = self.row(Kind::Ended, ended.at.as_microsecond());
        row.set(Int::Context, context.id);
        row.set(Int::Attempt, served);
        row.set(Int::CountsAt, ended.request.accepted.as_microsecond());
        row.say(Text::Request, Word::Own(Arc::clone(&ended.request.request_id)));
        row.say(Text::Labels, words(&ended.request.labels).map(|labels| Word::Own(labels.into())));
        set_end(&mut row, ended);
        self.add(row, Named { context: context.hash, ..Named::default() });
        Ok(Entered::Yes)
    }

    fn resolve(&mut self, resolved: &ResolvedEntry, connection: &Connection) -> Result<Entered, Trouble> {
        let about = match &resolved.id {
            DisputeId::Attempt(id) => key_of(*id).map(About::Attempt),
            DisputeId::Crash(epoch, key) => {
                let window = self.windows.id(key, connection)?;
                i64::try_from(*epoch).ok().map(|epoch| About::Crash { epoch, window })
            }
        };
        let Some(open) = about.and_then(|about| self.disputes.remove(&about)) else { return Ok(Entered::Ignored) };
        let posted = capped(resolved.posted);
        self.count(&open.windows, posted, -open.amount, connection)?;
        let mut row = self.row(Kind::Resolved, resolved.at.as_microsecond());
        row.set(Int::Context, open.context.map(|context| context.id));
        row.set(Int::Windows, open.windows.named.id);
        row.set(Int::CountsAt, open.counts_at);
        row.set(Int::Posted, posted);
        row.set(Int::Disputed, -open.amount);
        row.set(Int::About, open.seq);
        if let About::Attempt(attempt) = open.about {
            row.set(Int::Attempt, attempt);
        }
        row.say(Text::Class, Word::Fixed(open.class.as_str()));
        row.say(Text::Labels, open.labels.clone().map(Word::Own));
        row.say(Text::Note, Word::Own(Arc::clone(&resolved.reason)));
        if open.is_written {
            self.batch.undisputed.push(open.seq);
        }
        let context = open.context.map(|context| context.hash).unwrap_or_default();
        self.add(row, Named { context, windows: open.windows.named.hash, ..Named::default() });
        Ok(Entered::Yes)
    }

    fn adjust(&mut self, adjusted: &AdjustedEntry, connection: &Connection) -> Result<Entered, Trouble> {
        let Some(amount) = nano(adjusted.amount) else { return Ok(TOO_MUCH) };
        let id = self.windows.id(&adjusted.window, connection)?;
        let window = self.windows.get(id, connection)?;
        let posted = if adjusted.is_credit { -amount.min(window.posted) } else { amount.min(i64::MAX - window.posted) };
        let at = adjusted.at.as_microsecond();
        let set = self.set(&[adjusted.window.clone()].into(), connection)?;
        self.count(&set, posted, 0, connection)?;
        let mut row = self.row(Kind::Adjusted, at);
        row.set(Int::Windows, set.named.id);
        row.set(Int::CountsAt, within(at, window.starts, window.ends));
        row.set(Int::Posted, posted);
        row.say(Text::Note, Word::Own(Arc::clone(&adjusted.reason)));
        self.add(row, Named { windows: set.named.hash, ..Named::default() });
        Ok(Entered::Yes)
    }

    fn grant(&mut self, grants: &[(WindowKey, Usd)], connection: &Connection) -> Result<Entered, Trouble> {
        if grants.iter().any(|(_, amount)| nano(*amount).is_none()) {
            return Ok(TOO_MUCH);
        }
        for (key, amount) in grants {
            let id = self.windows.id(key, connection)?;
            self.windows.change(id, connection, |window| window.granted = capped(*amount))?;
        }
        Ok(Entered::Yes)
    }

    /// A window's unexplained grant becomes a dispute of its own.
    pub(super) fn dispute_crash(&mut self, window: i64, at: i64, until: Option<i64>, connection: &Connection) -> Result<(), Trouble> {
        let counters = self.windows.get(window, connection)?;
        let (amount, epoch) = (counters.unexplained(), self.head.epoch);
        let key = self.windows.key(window, connection)?;
        let set = self.set(&[key].into(), connection)?;
        self.count(&set, 0, amount, connection)?;
        let counts_at = within(at, counters.starts, counters.ends);
        let mut row = self.row(Kind::Crash, at);
        row.set(Int::Windows, set.named.id);
        row.set(Int::CountsAt, counts_at);
        row.set(Int::Disputed, amount);
        row.set(Int::Until, until);
        row.set(Int::Epoch, epoch);
        row.say(Text::Class, Word::Fixed(DisputeClass::Crash.as_str()));
        let named = Named { windows: set.named.hash, ..Named::default() };
        self.open_dispute(OpenDispute {
            seq: row.seq,
            about: About::Crash { epoch, window },
            context: None,
            windows: set,
            class: DisputeClass::Crash,
            amount,
            counts_at,
            until,
            labels: None,
            is_written: false,
        });
        self.add(row, named);
        Ok(())
    }

    /// Lowers every grant to what is posted, disputed and held. Answers whether one was higher.
    pub(super) fn give_back(&mut self, connection: &Connection) -> Result<bool, Trouble> {
        let mut held: HashMap<i64, i64> = HashMap::new();
        for open in self.open.values() {
            for window in &*open.windows.windows {
                let sum = held.entry(*window).or_default();
                *sum = sum.saturating_add(open.hold);
            }
        }
        let mut is_lower = false;
        for id in self.windows.ids() {
            let surplus = self.windows.get(id, connection)?.unexplained() - held.get(&id).copied().unwrap_or_default();
            if surplus > 0 {
                is_lower = true;
                self.windows.change(id, connection, |window| window.granted -= surplus)?;
            }
        }
        Ok(is_lower)
    }

    /// The next row, without what it tells.
    pub(super) fn row(&self, kind: Kind, at: i64) -> Row {
        Row::new(self.head.seq + 1, kind, at)
    }

    pub(super) fn add(&mut self, row: Row, named: Named) {
        self.head.seq = row.seq;
        self.batch.rows.push((row, named));
    }

    fn open_dispute(&mut self, dispute: OpenDispute) {
        self.batch.disputed.push(dispute.about);
        self.disputes.insert(dispute.about, dispute);
    }

    fn count(&mut self, windows: &WindowSet, posted: i64, disputed: i64, connection: &Connection) -> Result<(), Trouble> {
        for id in &*windows.windows {
            self.windows.change(*id, connection, |window| {
                window.post(posted);
                window.dispute(disputed);
            })?;
        }
        Ok(())
    }

    fn set(&mut self, keys: &Arc<[WindowKey]>, connection: &Connection) -> Result<WindowSet, Trouble> {
        if let Some(known) = self.dictionary.known_set(keys) {
            return Ok(known.clone());
        }
        let ids = keys.iter().map(|key| self.windows.id(key, connection)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.dictionary.set(Arc::clone(keys), ids, connection)?)
    }

    fn remember(&mut self, attempt: i64, context: Ref) {
        if self.recent[0].len() >= RECENT {
            self.recent.swap(0, 1);
            self.recent[0].clear();
        }
        self.recent[0].insert(attempt, context);
    }
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

pub(super) fn class_of(word: &str) -> Option<DisputeClass> {
    [DisputeClass::Ambiguous, DisputeClass::Cancelled, DisputeClass::Crash].into_iter().find(|class| class.as_str() == word)
}

fn set_of(id: i64, hash: Option<Hash>, windows: Option<String>) -> Result<WindowSet, Trouble> {
    let damaged = || Trouble::Damaged(format!("there is no window set {id}"));
    let windows = unlisted(&windows.ok_or_else(damaged)?).ok_or_else(damaged)?;
    Ok(WindowSet { named: Ref { id, hash: hash.ok_or_else(damaged)? }, windows: windows.into() })
}

fn set_usage(row: &mut Row, usage: Option<&Usage>) {
    let Some(usage) = usage else { return };
    let count = |tokens: crate::units::Tokens| i64::try_from(tokens.count()).unwrap_or(i64::MAX);
    row.set(Int::InputUncached, count(usage.input_uncached));
    row.set(Int::CacheRead, count(usage.cache_read));
    row.set(Int::CacheWrite, count(usage.cache_write));
    row.set(Int::CacheWrite1h, count(usage.cache_write_1h));
    row.set(Int::Output, count(usage.output));
    row.set(Int::Reasoning, count(usage.reasoning));
    row.set(Int::AudioInput, count(usage.audio_input));
    row.set(Int::AudioOutput, count(usage.audio_output));
}

fn set_end(row: &mut Row, ended: &EndedEntry) {
    row.set(Int::Status, i64::from(ended.status));
    row.set(Int::Attempts, i64::from(ended.attempts));
    row.set(Int::TotalUs, micros(ended.duration));
    row.say(Text::Outcome, Word::Fixed(ended.outcome));
    row.say(Text::Code, ended.code.clone().map(Word::Own));
}

/// The moment itself, or the nearest that the window holds.
fn within(at: i64, starts: i64, ends: Option<i64>) -> i64 {
    at.clamp(starts, ends.map_or(i64::MAX, |ends| (ends - 1).max(starts)))
}

fn micros(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Nano-dollars as the file counts them; nothing above its largest number.
fn nano(amount: Usd) -> Option<i64> {
    i64::try_from(amount.nano()).ok()
}

/// Nano-dollars of what must be counted, whatever it is.
fn capped(amount: Usd) -> i64 {
    nano(amount).unwrap_or(i64::MAX)
}
