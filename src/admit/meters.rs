//! Every running counter, by the provider, target or caller that it belongs to. It outlives rule sets.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::error::Error;
use super::limits::{Cell, Limit};
use super::queue::{Queue, Seats};
use super::steps::lock;
use super::{Gate, Level, LimitKind, Room};
use crate::config::{Caller, Limits, Provider, Target};
use crate::units::{Clock, LimitOwner, Moment, Rate, Ratios, TargetName};

/// How long the counters of an owner that left the file are kept, in case it comes back.
const KEPT: Duration = Duration::from_hours(1);

/// All running counters. What they hold survives every change of the file: levels stay, and scale when a rate changes.
#[derive(Debug)]
pub struct Meters {
    clock: Clock,
    owners: Mutex<BTreeMap<LimitOwner, Entry>>,
    /// What an earlier run learned of targets, for when they are adopted.
    learned: Mutex<BTreeMap<TargetName, Ratios>>,
}

#[derive(Debug)]
struct Entry {
    owner: Arc<Owner>,
    /// When a file without this name was adopted; nothing while the name is in the file.
    gone: Option<Moment>,
}

impl Meters {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, owners: Mutex::default(), learned: Mutex::default() }
    }

    /// The gate of a new file. Limits of the same name go on where they stand, whatever the file before said.
    ///
    /// # Panics
    /// When a target's `provider` is no index into `providers`.
    pub fn adopt(&self, providers: &[Provider], targets: &[Target], callers: &[Caller]) -> Gate {
        let mut owners = self.lock();
        let now = self.clock.now();
        for entry in owners.values_mut() {
            entry.gone.get_or_insert(now);
        }
        let provider = |provider: &Provider| self.view(&mut owners, LimitOwner::Provider(provider.name.clone()), &provider.limits);
        let of_providers: Vec<View> = providers.iter().map(provider).collect();
        let of_targets = targets.iter().map(|target| {
            let own = self.view(&mut owners, LimitOwner::Target(target.name.clone()), &target.limits);
            vec![of_providers[target.provider].clone(), own]
        });
        let of_targets: Vec<Vec<View>> = of_targets.collect();
        let caller = |caller: &Caller| vec![self.view(&mut owners, LimitOwner::Caller(caller.name.clone()), &caller.limits)];
        let gate = Gate::new(of_targets, callers.iter().map(caller).collect(), &self.clock);
        owners.retain(|_, entry| entry.gone.is_none_or(|gone| now.since(gone) < KEPT || entry.owner.seats.taken() > 0));
        gate
    }

    /// Takes up what an earlier run learned. Targets that are adopted already are left as they are.
    pub fn remember(&self, learned: BTreeMap<TargetName, Ratios>) {
        *lock(&self.learned) = learned;
    }

    /// How providers of the adopted file's targets count prompts, where that is known from their answers.
    #[must_use]
    pub fn learned(&self) -> BTreeMap<TargetName, Ratios> {
        let unknown = Error::default().ratios();
        let of_target = |entry: &Entry| match &entry.owner.whose {
            LimitOwner::Target(name) => Some((name.clone(), entry.owner.error.ratios())),
            LimitOwner::Provider(_) | LimitOwner::Caller(_) => None,
        };
        self.lock().values().filter_map(of_target).filter(|(_, ratios)| *ratios != unknown).collect()
    }

    /// How full each limit of the adopted file is: providers', targets', callers', each in the order of names.
    #[must_use]
    pub fn levels(&self) -> Vec<Level> {
        let now = self.clock.now();
        let owners: Vec<Arc<Owner>> =
            self.lock().values().filter(|entry| entry.gone.is_none()).map(|entry| Arc::clone(&entry.owner)).collect();
        owners
            .iter()
            .flat_map(|owner| {
                let rates = [(LimitKind::Requests, &owner.requests), (LimitKind::Tokens, &owner.tokens)];
                let rates = rates.into_iter().filter_map(|(kind, meter)| Some(owner.level(kind, meter.present()?.room(now))));
                let seats = owner.seats.room().map(|room| owner.level(LimitKind::Concurrent, room));
                rates.chain(seats).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The counters of one owner as the adopted file sees them.
    fn view(&self, owners: &mut BTreeMap<LimitOwner, Entry>, whose: LimitOwner, limits: &Limits) -> View {
        let new = |whose: &LimitOwner| {
            let known = match whose {
                LimitOwner::Target(name) => lock(&self.learned).get(name).copied(),
                LimitOwner::Provider(_) | LimitOwner::Caller(_) => None,
            };
            Arc::new(Owner::new(whose.clone(), known.map(Error::from).unwrap_or_default()))
        };
        let entry = owners.entry(whose).or_insert_with_key(|whose| Entry { owner: new(whose), gone: None });
        entry.gone = None;
        let owner = Arc::clone(&entry.owner);
        owner.seats.set_limit(limits.concurrent);
        View {
            requests: owner.requests.adopt(limits.requests, &self.clock),
            tokens: owner.tokens.adopt(limits.tokens, &self.clock),
            wait: limits.wait,
            owner,
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<LimitOwner, Entry>> {
        lock(&self.owners)
    }
}

/// A provider, a target or a caller, as far as its limits go.
#[derive(Debug)]
pub(super) struct Owner {
    whose: LimitOwner,
    /// Names of the limits, as levels are told: requests, tokens, concurrent.
    names: [Arc<str>; 3],
    pub(super) seats: Seats,
    pub(super) requests: Meter,
    pub(super) tokens: Meter,
    pub(super) queue: Queue,
    /// How true counts of prompts compared with estimates of late.
    pub(super) error: Error,
}

impl Owner {
    fn new(whose: LimitOwner, error: Error) -> Self {
        Self {
            names: LimitKind::ALL.map(|kind| format!("{whose}.{}", kind.as_str()).into()),
            whose,
            seats: Seats::default(),
            requests: Meter::default(),
            tokens: Meter::default(),
            queue: Queue::default(),
            error,
        }
    }

    /// `limits.requests of provider openai`, for messages.
    pub(super) fn describe(&self, kind: LimitKind) -> String {
        let kind = kind.as_str();
        match &self.whose {
            LimitOwner::Provider(name) => format!("limits.{kind} of provider {name}"),
            LimitOwner::Target(name) => format!("limits.{kind} of target {name}"),
            LimitOwner::Caller(name) => format!("limits.{kind} of caller {name}"),
        }
    }

    pub(super) fn level(&self, kind: LimitKind, room: Room) -> Level {
        let Room { capacity, remaining, reset } = room;
        let name = Arc::clone(&self.names[kind as usize]);
        Level { name, whose: self.whose.clone(), limit: kind, capacity, remaining, reset }
    }
}

/// An owner's counters with the limits that one adopted file puts on them.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) owner: Arc<Owner>,
    pub(super) requests: Option<Arc<Limit>>,
    pub(super) tokens: Option<Arc<Limit>>,
    pub(super) wait: Duration,
}

/// One running counter: its cell, and the rate that holds now.
#[derive(Debug, Default)]
pub(super) struct Meter {
    cell: Arc<Cell>,
    generation: AtomicU64,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    /// The latest rate, kept when the file drops the limit: its return must not refill what it counted.
    limit: Option<Arc<Limit>>,
    is_present: bool,
}

impl Meter {
    /// Puts `rate` in force. The level stays where it is; another rate scales it, so that what was used stays used.
    pub(super) fn adopt(&self, rate: Option<Rate>, clock: &Clock) -> Option<Arc<Limit>> {
        let mut current = self.lock();
        current.is_present = rate.is_some();
        let rate = rate?;
        match &current.limit {
            Some(limit) if limit.rate == rate => Some(Arc::clone(limit)),
            was => {
                let generation = self.generation.load(Ordering::Acquire) + 1;
                let limit = Arc::new(Limit::new(rate, generation, &self.cell, clock));
                // First the number: whoever still holds the old limit then waits here for the new one.
                self.generation.store(generation, Ordering::SeqCst);
                if let Some(was) = was {
                    limit.take_over(was);
                }
                current.limit = Some(Arc::clone(&limit));
                Some(limit)
            }
        }
    }

    /// Runs `act` on the rate in force: `limit` itself, or its successor when a reload has changed the rate meanwhile.
    pub(super) fn with<T>(&self, limit: &Arc<Limit>, act: impl FnOnce(&Limit) -> T) -> T {
        if self.generation.load(Ordering::SeqCst) == limit.generation {
            return act(limit);
        }
        let current = self.lock().limit.clone();
        act(current.as_ref().unwrap_or(limit))
    }

    fn present(&self) -> Option<Arc<Limit>> {
        let current = self.lock();
        current.limit.clone().filter(|_| current.is_present)
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        lock(&self.current)
    }
}
