use crate::config::{Route, Target, Use};
use crate::units::{Need, Tokens, Usd};

use super::Features;

/// The most that one call can take at one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// Upper bound of the input, never above the model's window. Absent where the prompt's length was not stated.
    pub input: Option<Tokens>,
    /// Upper bound of one answer's output.
    pub output: Tokens,
    /// True when the output bound is ours: the client set no limit.
    pub output_is_assumed: bool,
    /// Absent: the target has no price, or the input is not known.
    pub worst_case: Option<Usd>,
}

/// Why a target cannot serve a call at all, whatever its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The prompt's estimate is above the window.
    Context {
        window: Tokens,
        prompt: Tokens,
    },
    Needs(Need),
}

/// The bound of `features` at `target` as this step and route use it.
#[must_use]
pub fn estimate(target: &Target, uses: Option<&Use>, route: &Route, features: &Features) -> Estimate {
    let input = features.prompt_tokens_at_most().map(|bound| target.context.map_or(bound, |window| bound.min(window)));
    let (output, output_is_assumed) = output_limit(target, uses, route, features);
    let worst_case = match target.flat_usd {
        Some(flat) => Some(flat),
        None => target.prices.as_ref().zip(input).map(|(prices, input)| {
            prices.worst_case(input, output.times(u64::from(features.answers))).plus(target.usd_per_call.unwrap_or_default())
        }),
    };
    Estimate { input, output, output_is_assumed, worst_case }
}

/// Whether the target lacks what the call must have.
#[must_use]
pub fn unfit(target: &Target, features: &Features) -> Option<Unfit> {
    if let Some(window) = target.context
        && features.prompt_tokens_at_most().is_some_and(|bound| bound > window)
        && let Some(prompt) = features.prompt_tokens_for(target.tokenizer).filter(|prompt| *prompt > window)
    {
        return Some(Unfit::Context { window, prompt });
    }
    // A target that does not reason still answers: an effort that it cannot follow is not a reason to skip it.
    let can = target.can.as_ref()?;
    features.needs().iter().find(|need| **need != Need::Reasoning && !can.contains(need)).map(|need| Unfit::Needs(*need))
}

/// The largest output the target may be asked for, and whether nobody but us set it.
fn output_limit(target: &Target, uses: Option<&Use>, route: &Route, features: &Features) -> (Tokens, bool) {
    let room = match (target.context, features.prompt_tokens_at_most()) {
        (Some(window), Some(prompt)) => window.minus(prompt).max(Tokens::new(1)),
        _ => Tokens::PLAUSIBLE,
    };
    let (wanted, assumed) = match features.output_limit {
        Some(limit) => (limit, false),
        None => (target.default_max_output_tokens.min(room), true),
    };
    let caps = [target.max_output, target.max_output_tokens, route.max_output_tokens, uses.and_then(|uses| uses.max_output_tokens)];
    (caps.into_iter().flatten().fold(wanted, Tokens::min), assumed)
}
