use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::admit::{BudgetLevel, Level};
use crate::config::Key;
use crate::control::{
    BudgetStatus, CallerStatus, LastReload, LedgerStatus, LimitStatus, ProviderStatus, Status, TargetStatus, TokenRatioStatus, TtftStatus,
};
use crate::record::{BudgetSums, Kept, Remaining};
use crate::store::LedgerState;
use crate::units::{Clock, LimitOwner, Moment, Usd};
use crate::upstream::Standing;

use super::App;

/// The daemon as `tollgate status --json` tells it.
pub(super) fn status(app: &App) -> Value {
    let running = app.live.current();
    let rules = running.rules();
    let last = app.reloader.status();
    let levels = app.parts.meters.levels();
    let providers = rules.providers().iter().enumerate().map(|(index, provider)| ProviderStatus {
        name: provider.name.to_string(),
        targets: rules
            .targets()
            .iter()
            .enumerate()
            .filter(|(_, target)| target.provider == index)
            .map(|(index, target)| target_status(app, index, target.name.to_string()))
            .collect(),
        limits: levels.iter().filter(|level| level.whose.is_of(&provider.name)).map(limit_status).collect(),
    });
    let callers = rules.callers().iter().map(|caller| {
        let whose = LimitOwner::Caller(caller.name.clone());
        let limits = levels.iter().filter(|level| level.whose == whose).map(limit_status).collect();
        CallerStatus { name: caller.name.to_string(), limits }
    });
    let status = Status {
        // Both as they were told together: the rule set may be swapped between two looks.
        revision: last.revision,
        file_hash: last.file_hash,
        config_path: app.config.display().to_string(),
        listen: app.listen,
        admin: app.admin,
        last_reload: LastReload { at: last.at, ok: last.ok, cause: last.cause.as_str(), findings: last.findings, text: last.text },
        providers: providers.collect(),
        callers: callers.collect(),
        budgets: running.purse().levels().iter().map(|level| budget_status(level, app.parts.clock.wall())).collect(),
        ledger: ledger_status(app),
        connections: u64::try_from(app.load.connections()).unwrap_or_default(),
        open_streams: u64::try_from(app.open_streams()).unwrap_or_default(),
        started_at: app.started,
        degraded: app.reloader.degraded(),
        version: env!("CARGO_PKG_VERSION"),
    };
    serde_json::to_value(status).unwrap_or_default()
}

fn target_status(app: &App, index: usize, name: String) -> TargetStatus {
    let running = app.live.current();
    let provider = &running.rules().providers()[running.rules().targets()[index].provider];
    let (state, until) = match running.rests().standing(index) {
        _ if matches!(provider.key, Key::Missing(_)) => ("no_key".to_owned(), None),
        Standing::Ready => ("ready".to_owned(), None),
        Standing::Resting { until, .. } => ("resting".to_owned(), Some(wall(&app.parts.clock, until))),
        Standing::Down { why } => (why.to_owned(), None),
    };
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let ttft_ms = running.rests().ttft(index).map(|(p50, p99)| TtftStatus { p50: millis(p50), p99: millis(p99) });
    let share = |thousandths: u32| f64::from(thousandths) / 1_000.0;
    let learned = running.gate().learned(index);
    let token_ratio = learned.map(|ratios| TokenRatioStatus { usual: share(ratios.usual), largest: share(ratios.largest) });
    TargetStatus { name, state, cooldown_until: until, ttft_ms, token_ratio }
}

fn budget_status(level: &BudgetLevel, now: Timestamp) -> BudgetStatus {
    let BudgetLevel { key, cap, posted, held, disputed, .. } = level;
    BudgetStatus {
        name: key.budget.to_string(),
        window: key.period.as_str(),
        starts: key.starts,
        ends: key.ends,
        cap_usd: cap.plain(),
        spent_usd: posted.plain(),
        held_usd: held.plain(),
        disputed_usd: disputed.plain(),
        forecast_usd: forecast(level, now).map(Usd::plain),
    }
}

/// What is spent by the window's end at the mean rate so far; nothing before a hundredth of it is over, and for windows without end.
pub(super) fn forecast(level: &BudgetLevel, now: Timestamp) -> Option<Usd> {
    let whole = level.key.ends?.duration_since(level.key.starts).as_secs();
    let passed = now.duration_since(level.key.starts).as_secs();
    if passed <= 0 || passed < whole / 100 {
        return None;
    }
    let nano = u128::from(level.posted.nano()) * u128::try_from(whole).ok()? / u128::try_from(passed).ok()?;
    Some(Usd::from_nano(u64::try_from(nano).unwrap_or(u64::MAX)))
}

fn ledger_status(app: &App) -> LedgerStatus {
    LedgerStatus {
        queue: app.parts.budgets.waiting(),
        last_commit_ms: u64::try_from(app.written.last_commit().as_millis()).unwrap_or(u64::MAX),
        failing: match app.written.state() {
            LedgerState::Writing => None,
            LedgerState::Failing(what) | LedgerState::Damaged(what) => Some(what),
            LedgerState::Ended => Some("its writer has ended".into()),
        },
        disputes: app.parts.budgets.open_disputes(),
        overrun_usd: app.parts.budgets.overrun().plain(),
    }
}

fn limit_status(level: &Level) -> LimitStatus {
    LimitStatus { name: level.name.to_string(), level: level.capacity.saturating_sub(level.remaining), remaining: level.remaining }
}

/// Prometheus text: counters as they are, limits and rests as they stand now.
pub(super) fn metrics(app: &App) -> String {
    let running = app.live.current();
    let remaining: Vec<Remaining> = app
        .parts
        .meters
        .levels()
        .into_iter()
        .map(|level| Remaining { whose: level.whose, limit: level.limit.as_str(), remaining: level.remaining })
        .collect();
    let targets = running.rules().targets().iter().enumerate();
    let resting: Vec<_> =
        targets.map(|(index, target)| (target.name.clone(), running.rests().standing(index) != Standing::Ready)).collect();
    app.parts.metrics.encode(&Kept {
        remaining,
        resting,
        budgets: running
            .purse()
            .levels()
            .into_iter()
            .map(|level| BudgetSums {
                budget: level.key.budget,
                window: level.key.period.as_str(),
                sums: [("cap", level.cap), ("posted", level.posted), ("held", level.held), ("disputed", level.disputed)],
            })
            .collect(),
        overrun: app.parts.budgets.overrun(),
        ledger_waiting: app.parts.budgets.waiting(),
        records_dropped: app.parts.sink.dropped(),
        connections: app.load.connections(),
        open_streams: app.open_streams(),
    })
}

/// A moment to come as people read it.
fn wall(clock: &Clock, moment: Moment) -> Timestamp {
    let ahead = SignedDuration::try_from(moment.since(clock.now())).unwrap_or(SignedDuration::ZERO);
    clock.wall().saturating_add(ahead).unwrap_or(Timestamp::MAX)
}
