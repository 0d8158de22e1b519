//! How often the classifier is right.

use crate::units::Confidence;

use super::label::Label;
use super::table::Table;
use super::train::{Example, train};

/// Guesses beside what was right.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// By what was right, then by what was guessed.
    pub confusion: [[u32; 10]; 10],
    /// The floor that the next two are about.
    pub floor: Confidence,
    /// Guesses that reach the floor.
    pub sure: u32,
    /// Those of them that are right.
    pub sure_and_right: u32,
}

/// Of one label, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measures {
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    /// Rows that have the label.
    pub rows: u32,
}

impl Evaluation {
    /// `table` on `examples`.
    #[must_use]
    pub fn of<'e>(table: &Table, examples: impl IntoIterator<Item = &'e Example>, floor: Confidence) -> Self {
        let mut evaluation = Self { confusion: [[0; 10]; 10], floor, sure: 0, sure_and_right: 0 };
        evaluation.add(table, examples);
        evaluation
    }

    fn add<'e>(&mut self, table: &Table, examples: impl IntoIterator<Item = &'e Example>) {
        for example in examples {
            let guess = table.classify(&example.system, &example.prompt);
            self.confusion[example.label.index()][guess.label.index()] += 1;
            if guess.confidence >= self.floor {
                self.sure += 1;
                self.sure_and_right += u32::from(guess.label == example.label);
            }
        }
    }

    #[must_use]
    pub fn rows(&self) -> u32 {
        self.confusion.iter().flatten().sum()
    }

    /// Share of right guesses, whatever their confidence.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        let right = (0..10).map(|label| self.confusion[label][label]).sum();
        share(right, self.rows())
    }

    /// Mean of the labels' F1; labels that neither occur nor are guessed are left out.
    #[must_use]
    pub fn macro_f1(&self) -> f64 {
        let met: Vec<f64> = Label::ALL
            .into_iter()
            .filter(|label| self.measures(*label).rows > 0 || self.guessed(*label) > 0)
            .map(|label| self.measures(label).f1)
            .collect();
        if met.is_empty() { 0.0 } else { met.iter().sum::<f64>() / f64::from(u32::try_from(met.len()).unwrap_or(1)) }
    }

    /// Share of guesses that reach the floor.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        share(self.sure, self.rows())
    }

    /// Share of right ones among them.
    #[must_use]
    pub fn precision(&self) -> f64 {
        share(self.sure_and_right, self.sure)
    }

    #[must_use]
    pub fn measures(&self, label: Label) -> Measures {
        let right = self.confusion[label.index()][label.index()];
        let rows = self.confusion[label.index()].iter().sum();
        let guessed = self.guessed(label);
        Measures { precision: share(right, guessed), recall: share(right, rows), f1: share(2 * right, rows + guessed), rows }
    }

    fn guessed(&self, label: Label) -> u32 {
        self.confusion.iter().map(|row| row[label.index()]).sum()
    }
}

fn share(part: u32, whole: u32) -> f64 {
    if whole == 0 { 0.0 } else { f64::from(part) / f64::from(whole) }
}

/// What a table can be expected to do on sources that it was not made from: the sources are dealt into `parts`, and each part is guessed
/// by a table made from the others.
#[must_use]
pub fn leave_out(examples: &[Example], parts: usize, floor: Confidence) -> Evaluation {
    let mut sources: Vec<(usize, &str)> = Vec::new();
    for example in examples {
        match sources.iter_mut().find(|(_, source)| *source == example.source) {
            Some((size, _)) => *size += 1,
            None => sources.push((1, &example.source)),
        }
    }
    sources.sort_by(|a, b| b.cmp(a));
    // There and back again, so that no part gets all of the large ones.
    let part_of = |source: &str| {
        let place = sources.iter().position(|(_, other)| *other == source).unwrap_or(0);
        let (round, at) = (place / parts, place % parts);
        if round % 2 == 0 { at } else { parts - 1 - at }
    };
    let dealt: Vec<usize> = examples.iter().map(|example| part_of(&example.source)).collect();
    let mut evaluation = Evaluation { confusion: [[0; 10]; 10], floor, sure: 0, sure_and_right: 0 };
    for part in 0..parts {
        let of = |is_in: bool| examples.iter().zip(&dealt).filter(move |(_, dealt)| (**dealt == part) == is_in).map(|(example, _)| example);
        let others: Vec<Example> = of(false).cloned().collect();
        evaluation.add(&train(&others, [0; 32]), of(true));
    }
    evaluation
}
