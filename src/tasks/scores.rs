//! How much speaks for each label, in natural logarithms of odds; and what signs alone say.

use crate::units::Confidence;

use super::label::Label;
use super::seen::{Seen, Zone};
use super::signs::{Sign, Signs};

/// One number a label, in the order of `Label::ALL`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Scores(pub(super) [f32; 10]);

impl Scores {
    pub(super) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    fn plus(&mut self, label: Label, odds: f32) {
        self.0[label.index()] += odds;
    }

    /// Chances that add up to 1.
    pub(super) fn chances(&self, temperature: f32) -> [f32; 10] {
        let most = self.0.iter().copied().fold(f32::MIN, f32::max);
        let powers = exp(self.0.map(|score| (score - most) / temperature));
        let sum: f32 = powers.iter().sum();
        powers.map(|power| power / sum)
    }

    /// The two likeliest labels, each with its chance.
    pub(super) fn best_two(&self, temperature: f32) -> [(Label, Confidence); 2] {
        let chances = self.chances(temperature);
        let mut order = [Label::ALL[0]; 2];
        let is_above = |label: Label, other: Label| chances[label.index()] > chances[other.index()];
        for label in Label::ALL.into_iter().skip(1) {
            if is_above(label, order[0]) {
                order = [label, order[0]];
            } else if order[1] == order[0] || is_above(label, order[1]) {
                order[1] = label;
            }
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a chance lies between 0 and 1")]
        let confidence = |label: Label| Confidence::from_thousandths((chances[label.index()] * 1_000.0) as u16);
        [(order[0], confidence(order[0])), (order[1], confidence(order[1]))]
    }
}

/// The exponential function of numbers that are not above 0, by nothing but sums and products, so that every machine makes the same
/// of it. Exact to a millionth. Each step is made for all of them at once, which processors do side by side.
pub(super) fn exp<const N: usize>(x: [f32; N]) -> [f32; N] {
    // e^x = (e^(x/64))^64
    let small = x.map(|x| x / 64.0);
    let mut sums = small.map(|small| 1.0 + small * (1.0 + small / 2.0 * (1.0 + small / 3.0 * (1.0 + small / 4.0 * (1.0 + small / 5.0)))));
    for _ in 0..6 {
        sums = sums.map(|sum| sum * sum);
    }
    std::array::from_fn(|at| if x[at] < -60.0 { 0.0 } else { sums[at] })
}

/// What the signs say.
pub(super) fn of_signs(seen: &Seen, signs: Signs) -> Scores {
    use Label::{Chat, Classification, Coding, Extraction, Math, Qa, Rewriting, Summarization, Translation, Writing};
    use Sign as S;
    let asked = |sign| signs.asked(sign);
    let front = |sign| signs.has(Zone::Front, sign) || signs.has(Zone::System, sign);
    let mut scores = Scores::default();
    let mut plus = |label, odds: f32, holds: bool| {
        if holds {
            scores.plus(label, odds);
        }
    };
    let has_text = asked(S::HasText) || asked(S::Quoted) || asked(S::TextMark);
    let code_shape = asked(S::CodeShape);
    let is_code = asked(S::Fence) || asked(S::Diff) || asked(S::Trace) || code_shape;

    plus(Coding, 2.0, asked(S::Fence));
    plus(Coding, 4.0, asked(S::Diff));
    plus(Coding, 3.0, asked(S::Trace));
    plus(Coding, 1.5, code_shape && !asked(S::Formula));
    plus(Coding, 1.5, asked(S::Code) && !asked(S::Extract));
    plus(Coding, 0.7, signs.has(Zone::Inside, S::Code) && !has_text);

    plus(Math, 2.0, asked(S::Formula) && !is_code);
    plus(Math, 1.2, asked(S::Math) && !is_code);
    plus(Math, 0.8, asked(S::Numbers));
    plus(Math, 1.0, (asked(S::Numbers) || asked(S::Math)) && asked(S::Tiny));
    plus(Math, 1.2, asked(S::Numbers) && (asked(S::Math) || asked(S::Asks)) && !is_code);
    plus(Math, 2.0, asked(S::Numbers) && asked(S::HowMany) && !is_code);

    plus(Translation, 2.5, asked(S::Translate) && !code_shape);
    plus(Translation, 1.5, asked(S::Translate) && asked(S::Language));
    plus(Translation, 0.6, asked(S::Language) && !asked(S::Translate));

    plus(Summarization, 3.0, asked(S::Summarize) && has_text);
    plus(Summarization, 1.2, asked(S::Summarize) && !has_text);
    plus(Summarization, 1.5, asked(S::Title) && has_text);

    let compares = asked(S::Classify) && asked(S::Asks);
    plus(Rewriting, 2.5, asked(S::Rewrite) && !is_code && !asked(S::Choices) && !compares);
    plus(Rewriting, 2.5, asked(S::Correct) && !is_code && !asked(S::Choices) && !asked(S::Choose));

    plus(Classification, 2.0, asked(S::Classify));
    plus(Classification, 1.0, asked(S::LabelOnly) && !asked(S::Choices));
    plus(Classification, 0.8, compares && has_text);

    plus(Extraction, 2.0, asked(S::Extract) && (has_text || seen.length >= 200));
    plus(Extraction, 0.7, asked(S::Extract));
    plus(Extraction, 2.0, asked(S::FromText) && !asked(S::Choices));
    plus(Extraction, 2.0, asked(S::TextMark) && asked(S::QuestionMark) && seen.length >= 150 && !asked(S::Choices) && !asked(S::Choose));

    let is_list = front(S::Advice);
    plus(Writing, 1.2, front(S::Write) && !asked(S::Code) && !is_code && !is_list);
    plus(Writing, 1.5, front(S::Genre) && !is_code);
    plus(Writing, 1.0, front(S::Write) && front(S::Genre));

    plus(Qa, 1.0, asked(S::Ask));
    plus(Qa, 1.0, asked(S::Advice));
    plus(Qa, 1.0, is_list && front(S::Write));
    plus(Qa, 2.0, asked(S::Choices) && !(asked(S::Numbers) && asked(S::Math)));
    plus(Qa, 1.5, asked(S::Choose) && !asked(S::Numbers));
    plus(Qa, 0.5, asked(S::Asks));

    let is_small = asked(S::Short);
    let wants = [S::Write, S::Genre, S::Advice, S::Ask, S::Math, S::Code, S::Translate, S::Language].iter().any(|sign| asked(*sign));
    plus(Chat, 3.0, asked(S::Opens) && asked(S::Tiny) && !wants);
    plus(Chat, 2.0, asked(S::Opens) && is_small && !wants);
    plus(Chat, 2.0, asked(S::Talk) && !has_text && !asked(S::Advice));
    plus(Chat, 0.8, asked(S::Tiny) && !wants && !asked(S::Numbers));
    scores
}
