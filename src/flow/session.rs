use crate::rules::{Features, Found};
use crate::units::TargetName;
use crate::upstream::{Failure, SessionKey};

use super::Running;
use super::attempt::Begun;
use super::plan::{Plan, Step};

/// A client's session under its rule, and the target that it stays on so far.
#[derive(Clone, Debug)]
pub(super) struct Session {
    key: SessionKey,
    pub(super) target: Option<TargetName>,
}

impl Session {
    /// The session of a request; nothing where its rule keeps none, or the client names none.
    pub(super) fn of(running: &Running, found: &Found<'_>, features: &Features) -> Option<Self> {
        if !found.route.sticky {
            return None;
        }
        let key = running.sessions().key(&features.headers, features.caller.as_ref(), running.rules().print(found.index))?;
        Some(Self { key, target: running.sessions().target(key) })
    }

    /// The step that it stays on, where that may still be tried.
    pub(super) fn stays_at(&self, running: &Running, steps: &[Step<'_>]) -> Option<usize> {
        let stays = self.target.as_ref()?;
        steps.iter().position(|step| step.skip.is_none() && running.rules().targets()[step.target].name == *stays)
    }
}

impl Plan<'_> {
    /// What an attempt says of its target: how fast it is, and that the session stays there.
    pub(super) fn learn(&self, running: &Running, position: usize, begun: Result<&Begun, &Failure>) {
        let target = self.steps[position].target;
        let took = match begun {
            Ok(Begun::Whole(whole)) => Some(whole.took),
            Ok(Begun::Stream(stream)) => Some(stream.ttft),
            Err(failure) => failure.silent_for,
        };
        if let Some(took) = took {
            running.took(target, self.features().stream, took);
        }
        if let (Ok(_), Some(session)) = (begun, &self.session) {
            running.sessions().keep(session.key, &running.rules().targets()[target].name);
        }
    }
}
