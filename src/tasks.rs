//! What a request asks for, seen from its own words: by the signs that it carries, and by a small learned table.
//!
//! Floor 2. Nothing here waits, and nothing is kept of a text. What is looked at has a fixed largest size, so that a prompt of any
//! length costs the same.

mod evaluation;
mod features;
mod label;
mod recognizer;
mod scores;
mod seen;
mod signs;
mod table;
#[cfg(test)]
mod tests;
mod train;
mod words;

pub use evaluation::{Evaluation, leave_out};
pub use label::Label;
pub use recognizer::{Recognised, Recognizer};
pub use signs::{Sign, Signs};
pub use table::Table;
pub use train::{Example, train};

use crate::units::Confidence;

use features::Features;
use scores::of_signs;
use seen::Seen;

/// How sure one strong sign is by itself.
const STRONG: u16 = 950;

/// What a text was recognised as.
#[derive(Clone, Copy, Debug)]
pub struct Guess {
    pub label: Label,
    pub confidence: Confidence,
    /// What it would be else, and how sure that is.
    pub runner_up: (Label, Confidence),
    /// One strong sign decided alone; the table was not asked.
    pub by_structure: bool,
    /// What was seen.
    pub signs: Signs,
}

/// What `user`, the last message of a request with the system message `system`, asks for.
#[must_use]
pub fn classify(system: &str, user: &str) -> Guess {
    Table::built_in().classify(system, user)
}

impl Table {
    /// The same by this table.
    #[must_use]
    pub fn classify(&self, system: &str, user: &str) -> Guess {
        let seen = Seen::of(system, user);
        let signs = Signs::of(&seen);
        if seen.says_nothing() {
            // A picture alone, say: that it is short makes it no small talk.
            let none = Confidence::from_thousandths(0);
            return Guess { label: Label::Chat, confidence: none, runner_up: (Label::Qa, none), by_structure: false, signs };
        }
        let mut scores = of_signs(&seen, signs);
        if let Some(label) = signs.strong(&seen) {
            let other = scores.best_two(self.temperature()).map(|(label, _)| label).into_iter().find(|other| *other != label);
            let rest = Confidence::from_thousandths(1_000 - STRONG);
            let runner_up = (other.unwrap_or(label), rest);
            return Guess { label, confidence: Confidence::from_thousandths(STRONG), runner_up, by_structure: true, signs };
        }
        scores.add(&self.scores(&Features::of(&seen, signs)));
        let [(label, confidence), runner_up] = scores.best_two(self.temperature());
        Guess { label, confidence, runner_up, by_structure: false, signs }
    }
}
