//! The exact count of a prompt, where a budget has no room for its bound in bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::admit::{OverBudget, OverBudgetWhy};
use crate::config::EstimateBy;
use crate::tokens::Vocabulary;
use crate::units::Tokens;
use crate::wire::Call;

use super::Running;
use super::plan::Step;

/// How long a request waits for its count: for others', for the vocabulary to be loaded, and for its own.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long one count may take: enough for about a megabyte. What takes longer counts its bytes.
const LONGEST: Duration = Duration::from_millis(250);
/// Counts at once. Refusals are cheap for whoever provokes them, so they must not take every core.
static AT_ONCE: Semaphore = Semaphore::const_new(1);

/// What the prompt can be counted with for this step, should its bound in bytes not fit a budget.
pub(super) fn vocabulary(running: &Running, step: &Step<'_>) -> Option<Vocabulary> {
    let is_wanted = step.cover.is_hard() && matches!(step.cover.estimate(), EstimateBy::Auto | EstimateBy::Exact);
    is_wanted.then(|| running.vocabulary(step.target)).flatten()
}

/// What counts at the last, in the words of `explain`.
pub(super) fn counted_by(running: &Running, step: &Step<'_>) -> &'static str {
    match (vocabulary(running, step), step.cover.estimate()) {
        (Some(vocabulary), _) => vocabulary.as_str(),
        (None, EstimateBy::Calibrated) => "estimate",
        (None, EstimateBy::Auto | EstimateBy::Bytes | EstimateBy::Exact) => "bytes",
    }
}

/// Whether fewer tokens could help.
pub(super) fn is_too_dear(over: &OverBudget) -> bool {
    matches!(over.why, OverBudgetWhy::Exceeded | OverBudgetWhy::Busy)
}

/// Counts the prompt where it holds nobody up. Absent: it took too long.
pub(super) async fn count(call: &Arc<Call>, vocabulary: Vocabulary) -> Option<Tokens> {
    let call = Arc::clone(call);
    let counted = async {
        let _place = AT_ONCE.acquire().await.ok()?;
        tokio::task::spawn_blocking(move || count_now(&call, vocabulary)).await.ok()?
    };
    tokio::time::timeout(PATIENCE, counted).await.ok()?
}

/// The same for a question, which waits for nobody.
pub(super) fn count_here(call: &Call, vocabulary: Vocabulary) -> Option<Tokens> {
    let has_others = Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    let count = || count_now(call, vocabulary);
    // What else this thread would do goes on on another one.
    if has_others { tokio::task::block_in_place(count) } else { count() }
}

fn count_now(call: &Call, vocabulary: Vocabulary) -> Option<Tokens> {
    if !vocabulary.load() {
        return None;
    }
    let began = Instant::now();
    call.prompt_tokens_by(vocabulary, &|| began.elapsed() > LONGEST)
}
