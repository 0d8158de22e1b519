use std::time::Duration;

use tokio::time::Instant;

use super::Cause;
use super::include::Included;
use super::watch::{Look, Secrets, Shape};

/// How long a file must look the same after its last change before it is read.
const QUIET: Duration = Duration::from_millis(150);
/// Between two looks that must be equal.
const APART: Duration = Duration::from_millis(100);
/// How long signals may put a reload off, counted from the first.
const SIGNALS_AT_MOST: Duration = Duration::from_millis(500);

/// Turns many hints into few loads: waits until what is watched has come to rest.
#[derive(Debug)]
pub(super) struct Settle {
    /// How everything looked when it was last read.
    read: Look,
    pending: Option<Pending>,
    /// A changed secret led to a load that did not come about.
    owes_secrets: bool,
}

#[derive(Debug)]
struct Pending {
    cause: Cause,
    look: Look,
    /// Since when everything looks like `look`.
    same_since: Instant,
    last_event: Instant,
    first_signal: Option<Instant>,
}

/// Time to read the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ripe {
    pub(super) cause: Cause,
    pub(super) settled: Settled,
    /// A secret outside the file changed, so that the same text may mean something else.
    pub(super) secrets_changed: bool,
}

/// How the file and what it includes looked when all had come to rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settled {
    pub(super) file: Shape,
    pub(super) included: Included,
}

impl Settle {
    /// `secrets`: as they looked when they were read. The file may have changed since it was, so it is read once more when it has
    /// come to rest.
    pub(super) fn new(look: Look, secrets: Secrets) -> Self {
        let now = Instant::now();
        let pending = Pending { cause: Cause::Poll, look: look.clone(), same_since: now, last_event: now, first_signal: None };
        let mut read = look;
        read.secrets = secrets;
        Self { read, pending: Some(pending), owes_secrets: false }
    }

    /// When the next look is due; nothing is pending otherwise.
    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.as_ref().map(Pending::due)
    }

    /// Takes in which secrets and included files count now. What is new starts as it looked when it was first read; the others keep
    /// what led to the last load, so that a change during a load is seen afterwards and a refused one is not tried without end.
    pub(super) fn learn(&mut self, secrets: Secrets, included: Included) {
        if self.read.included.patterns != included.patterns {
            self.read.included = included;
        }
        let known = std::mem::replace(&mut self.read.secrets, secrets);
        for (path, shape) in &mut self.read.secrets {
            *shape = known.get(path).copied().unwrap_or(*shape);
        }
    }

    /// Takes in how everything looks now. A signal asks for a load even where nothing changed.
    pub(super) fn seen(&mut self, cause: Cause, look: Look, now: Instant) {
        let signal = (cause == Cause::Signal).then_some(now);
        match &mut self.pending {
            Some(pending) => {
                if !look.same(&pending.look) {
                    (pending.same_since, pending.last_event) = (now, now);
                }
                pending.look = look;
                if signal.is_some() {
                    pending.cause = cause;
                    pending.first_signal = pending.first_signal.or(signal);
                    if pending.first_signal.is_some_and(|first| now < first + SIGNALS_AT_MOST) {
                        pending.last_event = now;
                    }
                }
            }
            None if signal.is_some() || !look.same(&self.read) => {
                self.pending = Some(Pending { cause, look, same_since: now, last_event: now, first_signal: signal });
            }
            None => {}
        }
    }

    /// The load that is due, once.
    pub(super) fn ripe(&mut self, now: Instant) -> Option<Ripe> {
        let pending = self.pending.take_if(|pending| now >= pending.due())?;
        let secrets_changed = std::mem::take(&mut self.owes_secrets) || !pending.look.same_secrets(&self.read);
        let settled = Settled { file: pending.look.file, included: pending.look.included.clone() };
        self.read = pending.look;
        Some(Ripe { cause: pending.cause, settled, secrets_changed })
    }

    /// The file moved on before it was read: what was due is due once it has come to rest again.
    pub(super) fn again(&mut self, ripe: &Ripe, now: Instant) {
        let first_signal = (ripe.cause == Cause::Signal).then_some(now);
        self.owes_secrets = ripe.secrets_changed;
        self.pending = Some(Pending { cause: ripe.cause, look: self.read.clone(), same_since: now, last_event: now, first_signal });
    }
}

impl Pending {
    fn due(&self) -> Instant {
        let quiet = self.last_event + QUIET;
        let quiet = self.first_signal.map_or(quiet, |first| quiet.min(first + SIGNALS_AT_MOST));
        quiet.max(self.same_since + APART)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first look is behind it.
    fn rested() -> Settle {
        let mut settle = Settle::new(Look::fake(0, 0), Look::fake(0, 0).secrets);
        let first = settle.ripe(Instant::now() + QUIET);
        assert!(first.is_some_and(|first| first.cause == Cause::Poll && !first.secrets_changed));
        settle
    }

    /// Feeds (milliseconds, cause, look) and answers when loads came, looking once more at each due moment.
    fn loads(events: &[(u64, Cause, u64)]) -> Vec<(u64, Ripe)> {
        let start = Instant::now();
        let ms = |now: Instant| u64::try_from((now - start).as_millis()).unwrap();
        let mut settle = rested();
        let mut out = Vec::new();
        let mut look = 0;
        let mut events = events.iter().peekable();
        loop {
            let next_event = events.peek().map(|(at, ..)| start + Duration::from_millis(*at));
            let Some(now) = settle.due().into_iter().chain(next_event).min() else { return out };
            let cause = if next_event == Some(now) {
                let (_, cause, shape) = events.next().unwrap();
                look = *shape;
                *cause
            } else {
                Cause::Watch
            };
            settle.seen(cause, Look::fake(look, 0), now);
            out.extend(settle.ripe(now).map(|ripe| (ms(now), ripe)));
        }
    }

    fn times(events: &[(u64, Cause, u64)]) -> Vec<u64> {
        loads(events).into_iter().map(|(at, _)| at).collect()
    }

    #[test]
    fn c06_one_change_is_one_load_after_a_quiet_time() {
        assert_eq!(times(&[(0, Cause::Watch, 1)]), [150]);
        assert_eq!(times(&[(0, Cause::Watch, 1), (1, Cause::Watch, 1), (30, Cause::Watch, 2)]), [180]);
    }

    #[test]
    fn noise_in_the_directory_neither_loads_nor_puts_off() {
        assert_eq!(times(&[(0, Cause::Watch, 0), (40, Cause::Poll, 0)]), [0; 0]);
        let noise: Vec<_> = (0..100).map(|i| (i * 20, Cause::Watch, 1)).collect();
        assert_eq!(times(&noise), [150]);
    }

    #[test]
    fn c03_a_file_that_keeps_changing_is_not_read() {
        let writes: Vec<_> = (0..50).map(|i| (i * 100, Cause::Watch, i + 1)).collect();
        assert_eq!(times(&writes), [4_900 + 150]);
    }

    #[test]
    fn c24_a_thousand_signals_in_a_second_are_few_loads() {
        let signals: Vec<_> = (0..1_000).map(|i| (i, Cause::Signal, 0)).collect();
        let times = times(&signals);
        assert!(times.len() <= 5 && *times.last().unwrap() >= 999, "{times:?}");
        assert!(loads(&signals).iter().all(|(_, ripe)| ripe.cause == Cause::Signal));
    }

    #[test]
    fn a_signal_does_not_cut_a_running_write_short() {
        let times = times(&[(0, Cause::Signal, 0), (490, Cause::Watch, 1), (520, Cause::Watch, 2), (600, Cause::Watch, 2)]);
        assert_eq!(times, [150, 670]);
    }

    #[test]
    fn a_changed_secret_is_told_apart() {
        let start = Instant::now();
        let mut settle = rested();
        settle.seen(Cause::Poll, Look::fake(0, 1), start);
        assert_eq!(settle.ripe(start), None);
        let told = |ripe: Option<Ripe>| ripe.map(|ripe| (ripe.cause, ripe.secrets_changed));
        assert_eq!(told(settle.ripe(start + QUIET)), Some((Cause::Poll, true)));
        settle.seen(Cause::Watch, Look::fake(1, 1), start + QUIET);
        assert_eq!(told(settle.ripe(start + QUIET * 2)), Some((Cause::Watch, false)));
    }

    #[test]
    fn c03_what_moved_on_before_it_was_read_is_due_again() {
        let start = Instant::now();
        let mut settle = rested();
        settle.seen(Cause::Signal, Look::fake(1, 1), start);
        let first = settle.ripe(start + QUIET).unwrap();
        assert!(first.secrets_changed);
        settle.again(&first, start + QUIET);
        settle.seen(Cause::Watch, Look::fake(2, 1), start + QUIET + APART);
        assert_eq!(settle.ripe(start + QUIET * 2), None);
        assert_eq!(settle.ripe(start + QUIET * 2 + APART), Some(first));
        assert_eq!(settle.due(), None);
    }
}
