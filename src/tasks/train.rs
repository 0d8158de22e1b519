//! How the table is learned: logistic regression on what the signs leave open. The same data give the same table, bit for bit, on
//! every machine: one thread, one order, and no function but sums, products, quotients and square roots.

use super::features::{BUCKETS, Features};
use super::label::Label;
use super::scores::{Scores, of_signs};
use super::seen::Seen;
use super::signs::Signs;
use super::table::Table;

const LABELS: usize = 10;

/// A labelled prompt.
#[derive(Clone, Debug)]
pub struct Example {
    pub label: Label,
    pub system: String,
    pub prompt: String,
    /// Where it comes from, or the family of sources that share texts or templates: what only one has is not learned.
    pub source: String,
}

/// How often all examples are seen.
const PASSES: usize = 12;
/// The first step's size; steps grow smaller where a weight has moved a lot.
const RATE: f32 = 0.5;
/// What each step takes of a weight.
const DECAY: f32 = 3e-4;
/// By what scores are divided to be chances: found on sources that were left out.
const TEMPERATURE: f32 = 0.7;
/// A bucket that fewer sources have is not learned.
const LEAST_SOURCES: u8 = 2;
/// The seed of the order in which examples are seen.
const SEED: u64 = 0x746f_6c6c_6761_7465;

struct Row {
    buckets: Vec<u16>,
    weight: f32,
    label: usize,
    offset: Scores,
    share: f32,
    source: u32,
}

/// A table learned from `examples`, whose file has the digest `digest`.
#[must_use]
pub fn train(examples: &[Example], digest: [u8; 32]) -> Table {
    let mut rows = rows(examples);
    keep_shared(&mut rows);
    let mut learner = Learner { weights: vec![0.0; BUCKETS * LABELS], squares: vec![1e-3; BUCKETS * LABELS] };
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut random = Random(SEED);
    for _ in 0..PASSES {
        random.shuffle(&mut order);
        for at in &order {
            learner.learn(&rows[*at]);
        }
    }
    Table::of(&learner.weights, digest, TEMPERATURE)
}

/// Weights on their way, with the sum of the squares of the steps that each has taken.
struct Learner {
    weights: Vec<f32>,
    squares: Vec<f32>,
}

impl Learner {
    fn learn(&mut self, row: &Row) {
        let mut sums = [0.0_f32; LABELS];
        for bucket in &row.buckets {
            let from = usize::from(*bucket) * LABELS;
            for (sum, weight) in sums.iter_mut().zip(&self.weights[from..from + LABELS]) {
                *sum += weight;
            }
        }
        let mut scores = row.offset;
        scores.add(&Scores(sums.map(|sum| sum * row.weight)));
        let mut slopes = scores.chances(1.0);
        slopes[row.label] -= 1.0;
        let slopes = slopes.map(|slope| slope * row.share * row.weight);
        for bucket in &row.buckets {
            let from = usize::from(*bucket) * LABELS;
            for (label, slope) in slopes.iter().enumerate() {
                let (weight, square) = (&mut self.weights[from + label], &mut self.squares[from + label]);
                let slope = slope + DECAY * *weight;
                *square += slope * slope;
                *weight -= RATE * slope / square.sqrt();
            }
        }
    }
}

fn rows(examples: &[Example]) -> Vec<Row> {
    let mut sources: Vec<&str> = examples.iter().map(|example| example.source.as_str()).collect();
    sources.sort_unstable();
    sources.dedup();
    let source_of = |example: &Example| sources.binary_search(&example.source.as_str()).unwrap_or(0);
    let mut sizes = vec![0_u16; sources.len()];
    for example in examples {
        let size = &mut sizes[source_of(example)];
        *size = size.saturating_add(1);
    }
    let mut rows: Vec<Row> = examples
        .iter()
        .map(|example| {
            let seen = Seen::of(&example.system, &example.prompt);
            let signs = Signs::of(&seen);
            let features = Features::of(&seen, signs);
            let source = source_of(example);
            Row {
                buckets: features.buckets().to_vec(),
                weight: features.weight(),
                label: example.label.index(),
                offset: of_signs(&seen, signs),
                share: 1.0 / f32::from(sizes[source]).sqrt(),
                source: u32::try_from(source).unwrap_or(0),
            }
        })
        .collect();
    // Each label weighs the same; all together as much as there are examples.
    let mut sums = [0.0_f32; LABELS];
    for row in &rows {
        sums[row.label] += row.share;
    }
    let count = f32::from(u16::try_from(rows.len()).unwrap_or(u16::MAX));
    for row in &mut rows {
        row.share *= count / (10.0 * sums[row.label]);
    }
    rows
}

/// Takes out what is found in one source alone: more often its template than the task.
fn keep_shared(rows: &mut [Row]) {
    let mut last = vec![u32::MAX; BUCKETS];
    let mut counts = vec![0_u8; BUCKETS];
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|at| rows[*at].source);
    for at in order {
        for bucket in &rows[at].buckets {
            let bucket = usize::from(*bucket);
            if last[bucket] != rows[at].source {
                last[bucket] = rows[at].source;
                counts[bucket] = counts[bucket].saturating_add(1);
            }
        }
    }
    for row in rows {
        row.buckets.retain(|bucket| counts[usize::from(*bucket)] >= LEAST_SOURCES);
    }
}

/// `SplitMix64`: a few shifts and products.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn shuffle(&mut self, list: &mut [usize]) {
        for at in (1..list.len()).rev() {
            let other = usize::try_from(self.next() % (u64::try_from(at).unwrap_or(u64::MAX - 1) + 1)).unwrap_or(0);
            list.swap(at, other);
        }
    }
}
