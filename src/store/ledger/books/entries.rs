//! How each kind of entry becomes rows and counters.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::super::dictionary::{Ref, WindowSet, words};
use super::super::error::Trouble;
use super::super::row::{Int, Kind, Named, Row, Text, Word};
use super::{About, Books, Entered, NEAR, Open, OpenDispute, key_of};
use crate::units::{
    AdjustedEntry, DisputeClass, DisputeId, Disputed, EndedEntry, HeldEntry, ResolvedEntry, SettledEntry, Tokens, Usage, Usd, WindowKey,
};

const TOO_MUCH: Entered = Entered::Refused("an amount above 9.2 billion dollars");

impl Books {
    pub(in crate::store::ledger) fn hold(&mut self, held: &HeldEntry, connection: &Connection) -> Result<Entered, Trouble> {
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

    pub(in crate::store::ledger) fn settle(&mut self, settled: &SettledEntry, connection: &Connection) -> Result<Entered, Trouble> {
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
    pub(in crate::store::ledger) fn settle_open(
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
            };
            self.open_dispute(dispute);
        }
        if open.is_written {
            self.batch.released.push(attempt);
        }
        let terms = terms.map(|terms| terms.hash).unwrap_or_default();
        self.add(row, Named { context: open.context.hash, windows: open.windows.named.hash, terms });
        Ok(())
    }

    pub(in crate::store::ledger) fn end(&mut self, ended: &EndedEntry, connection: &Connection) -> Result<Entered, Trouble> {
        let served = ended.served.and_then(key_of);
        let request = &*ended.request.request_id;
        let is_of_it = |row: &Row| match served {
            Some(_) => row.int(Int::Attempt) == served,
            None => ended.attempts > 0 && row.int(Int::Attempt).is_some() && row.text(Text::Request) == Some(request),
        };
        let found = self.batch.rows.iter_mut().rev().take(NEAR).map(|(row, _)| row).find(|row| is_of_it(row));
        if let Some(row) = found.filter(|row| row.text(Text::Outcome).is_none()) {
            set_end(row, ended);
            return Ok(Entered::Yes);
        }
        let context = match served.and_then(|served| self.unended.iter().find_map(|unended| unended.get(&served))) {
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

    pub(in crate::store::ledger) fn resolve(&mut self, resolved: &ResolvedEntry, connection: &Connection) -> Result<Entered, Trouble> {
        let about = match &resolved.id {
            DisputeId::Attempt(id) => key_of(*id).map(About::Attempt),
            DisputeId::Crash(epoch, key) => {
                let window = self.windows.id(key, connection)?;
                i64::try_from(*epoch).ok().map(|epoch| About::Crash { epoch, window })
            }
        };
        let open = match about {
            Some(about) => self.take_dispute(about, connection)?,
            None => None,
        };
        let Some(open) = open else { return Ok(Entered::Ignored) };
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
        let context = open.context.map(|context| context.hash).unwrap_or_default();
        self.add(row, Named { context, windows: open.windows.named.hash, ..Named::default() });
        Ok(Entered::Yes)
    }

    pub(in crate::store::ledger) fn adjust(&mut self, adjusted: &AdjustedEntry, connection: &Connection) -> Result<Entered, Trouble> {
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

    pub(in crate::store::ledger) fn grant(&mut self, grants: &[(WindowKey, Usd)], connection: &Connection) -> Result<Entered, Trouble> {
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
    pub(in crate::store::ledger) fn dispute_crash(
        &mut self,
        window: i64,
        at: i64,
        until: Option<i64>,
        connection: &Connection,
    ) -> Result<(), Trouble> {
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
        });
        self.add(row, named);
        Ok(())
    }

    /// Lowers every grant to what is posted, disputed and held. Answers whether one was higher.
    pub(in crate::store::ledger) fn give_back(&mut self, connection: &Connection) -> Result<bool, Trouble> {
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
    pub(in crate::store::ledger) fn row(&self, kind: Kind, at: i64) -> Row {
        Row::new(self.head.seq + 1, kind, at)
    }

    pub(in crate::store::ledger) fn add(&mut self, row: Row, named: Named) {
        self.head.seq = row.seq;
        self.batch.rows.push_back((row, named));
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
            return Ok(known);
        }
        let ids = keys.iter().map(|key| self.windows.id(key, connection)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.dictionary.set(Arc::clone(keys), ids, connection)?)
    }
}

fn set_usage(row: &mut Row, usage: Option<&Usage>) {
    let Some(usage) = usage else { return };
    let count = |tokens: Tokens| i64::try_from(tokens.count()).unwrap_or(i64::MAX);
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

fn micros(duration: Duration) -> i64 {
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
