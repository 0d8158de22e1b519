//! The learned table: for each bucket and label a weight in one byte, all with one scale.

use std::borrow::Cow;
use std::sync::LazyLock;

use super::features::{BUCKETS, Features};
use super::scores::Scores;

/// What stands at the beginning of a table; the number is that of the features and of the layout.
const MAGIC: &[u8; 16] = b"tollgate tasks 3";
const LABELS: usize = 10;
/// Magic, the digest of the data, scale, temperature.
const HEADER: usize = 16 + 32 + 4 + 4;

/// Weights learned from labelled prompts.
#[derive(Clone, Debug)]
pub struct Table {
    digest: [u8; 32],
    scale: f32,
    temperature: f32,
    weights: Cow<'static, [u8]>,
}

static BUILT_IN: LazyLock<Table> = LazyLock::new(|| Table::read(Cow::Borrowed(include_bytes!("table.bin"))).unwrap_or_else(Table::empty));

impl Table {
    /// The one in this binary.
    #[must_use]
    pub fn built_in() -> &'static Self {
        &BUILT_IN
    }

    /// Absent where `bytes` are no table of this version.
    #[must_use]
    pub fn read(bytes: Cow<'static, [u8]>) -> Option<Self> {
        let header = bytes.get(..HEADER).filter(|header| header.starts_with(MAGIC) && bytes.len() == HEADER + BUCKETS * LABELS)?;
        let number = |at: usize| header[at..].first_chunk().copied().map(f32::from_le_bytes);
        let (digest, scale, temperature) = (*header[16..].first_chunk()?, number(48)?, number(52)?);
        let weights = match bytes {
            Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[HEADER..]),
            Cow::Owned(bytes) => Cow::Owned(bytes[HEADER..].to_vec()),
        };
        Some(Self { digest, scale, temperature, weights })
    }

    /// `learned` holds the weights of one bucket after another.
    pub(super) fn of(learned: &[f32], digest: [u8; 32], temperature: f32) -> Self {
        let most = learned.iter().fold(0.0_f32, |most, weight| most.max(weight.abs()));
        let scale = if most > 0.0 { most / 127.0 } else { 1.0 };
        #[expect(clippy::cast_possible_truncation, reason = "the scale makes the largest 127")]
        let weights = learned.iter().map(|weight| ((weight / scale).round() as i8).to_le_bytes()[0]).collect();
        Self { digest, scale, temperature, weights: Cow::Owned(weights) }
    }

    fn empty() -> Self {
        Self { digest: [0; 32], scale: 0.0, temperature: 1.0, weights: Cow::Owned(vec![0; BUCKETS * LABELS]) }
    }

    /// As it is written to a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let (scale, temperature) = (self.scale.to_le_bytes(), self.temperature.to_le_bytes());
        [MAGIC, &self.digest[..], &scale, &temperature, &self.weights].concat()
    }

    /// SHA-256 of the data that it was learned from.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }

    pub(super) fn temperature(&self) -> f32 {
        self.temperature
    }

    pub(super) fn scores(&self, features: &Features) -> Scores {
        let (rows, _) = self.weights.as_chunks::<LABELS>();
        let mut sums = [0_i32; LABELS];
        // Few enough weights for a sum of 16 bits: eight of those are added side by side.
        for some in features.buckets().chunks(256) {
            let (mut eight, mut rest) = ([0_i16; 8], [0_i16; LABELS - 8]);
            for row in some.iter().filter_map(|bucket| rows.get(usize::from(*bucket))) {
                for (sum, weight) in eight.iter_mut().zip(row) {
                    *sum += i16::from(i8::from_le_bytes([*weight]));
                }
                for (sum, weight) in rest.iter_mut().zip(&row[8..]) {
                    *sum += i16::from(i8::from_le_bytes([*weight]));
                }
            }
            for (sum, of_some) in sums.iter_mut().zip(eight.into_iter().chain(rest)) {
                *sum += i32::from(of_some);
            }
        }
        let factor = self.scale * features.weight();
        #[expect(clippy::cast_precision_loss, reason = "a few thousand weights of one byte")]
        Scores(sums.map(|sum| sum as f32 * factor))
    }
}
