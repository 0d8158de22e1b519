//! What the learned table looks up: words, pairs of words, beginnings and ends of words, and signs, each as the number of a bucket.

use super::seen::{Seen, Zone};
use super::signs::Signs;
use super::words::is_dense;

/// Buckets of the table.
pub(super) const BUCKETS: usize = 1 << 16;
/// Above this many bytes all messages are as long as each other.
const LONGEST_TOLD: usize = 2_048;
/// Longest word that is taken whole, in bytes.
const LONGEST_WORD: usize = 32;

/// The buckets of one request, each once, in the order in which they were met.
#[derive(Debug)]
pub(super) struct Features {
    buckets: Vec<u16>,
    met: Box<[u64; BUCKETS / 64]>,
}

impl Features {
    pub(super) fn of(seen: &Seen, signs: Signs) -> Self {
        let mut features = Self { buckets: Vec::with_capacity(1_024), met: Box::new([0; BUCKETS / 64]) };
        features.add(b'1', &[]);
        for code in signs.codes() {
            features.add(b'S', &[&[code]]);
        }
        features.shape(seen);
        features.text(&seen.system, |_| false, true);
        features.text(&seen.user, |at| seen.zone(at) == Zone::Inside, false);
        features.edges(seen);
        features
    }

    pub(super) fn buckets(&self) -> &[u16] {
        &self.buckets
    }

    /// By what a sum over the buckets is multiplied, so that long texts do not outweigh short ones.
    pub(super) fn weight(&self) -> f32 {
        1.0 / f32::from(u16::try_from(self.buckets.len()).unwrap_or(u16::MAX)).sqrt()
    }

    fn add(&mut self, kind: u8, parts: &[&[u8]]) {
        let bucket = hash(kind, parts);
        let (word, bit) = (usize::from(bucket) / 64, 1_u64 << (bucket % 64));
        if self.met[word] & bit == 0 {
            self.met[word] |= bit;
            self.buckets.push(bucket);
        }
    }

    fn shape(&mut self, seen: &Seen) {
        let length = seen.length.min(LONGEST_TOLD).checked_ilog2().unwrap_or(0);
        self.add(b'L', &[&[u8::try_from(length).unwrap_or(u8::MAX)]]);
        let lines = seen.user.bytes().filter(|byte| *byte == b'\n').count().min(8);
        self.add(b'N', &[&[u8::try_from(lines).unwrap_or(u8::MAX)]]);
        if !seen.system.is_empty() {
            self.add(b'Y', &[]);
        }
    }

    /// The words of a text, without those at places that are left out: what stands in the middle of a message, or in quotation marks,
    /// is what a request is about and not what it wants.
    fn text(&mut self, text: &str, is_left_out: impl Fn(usize) -> bool, is_system: bool) {
        let mut before = "";
        for (at, word) in words(text) {
            if is_left_out(at) {
                before = "";
                continue;
            }
            if is_system {
                self.add(b's', &[word.as_bytes()]);
            }
            self.add(b'w', &[word.as_bytes()]);
            self.add(b'b', &[before.as_bytes(), word.as_bytes()]);
            self.affixes(word);
            before = word;
        }
    }

    fn affixes(&mut self, word: &str) {
        let Some((beginning, _)) = word.char_indices().nth(4) else { return };
        self.add(b'p', &[&word.as_bytes()[..beginning]]);
        if word.is_ascii() {
            self.add(b'e', &[&word.as_bytes()[word.len() - 3..]]);
        }
    }

    /// The first words of the message and of its last line, and all words near its end.
    fn edges(&mut self, seen: &Seen) {
        for (place, (_, word)) in (0_u8..).zip(words(&seen.user).take(3)) {
            self.add(b'f', &[&[place.min(1)], word.as_bytes()]);
        }
        let last = seen.user.rfind('\n').map_or("", |at| &seen.user[at + 1..]);
        for (_, word) in words(last).take(3) {
            self.add(b'l', &[word.as_bytes()]);
        }
        if seen.zone(seen.back) == Zone::Back {
            for (_, word) in words(&seen.user[seen.user.ceil_char_boundary(seen.back)..]) {
                self.add(b't', &[word.as_bytes()]);
            }
        }
    }
}

/// FNV-1a, folded to 16 bits.
fn hash(kind: u8, parts: &[&[u8]]) -> u16 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    let mut hash = step(0x811c_9dc5, kind);
    for part in parts {
        hash = step(part.iter().fold(hash, |hash, byte| step(hash, *byte)), 0xff);
    }
    let [a, b, c, d] = hash.to_le_bytes();
    u16::from_le_bytes([a ^ c, b ^ d])
}

/// Runs of letters and digits with their places; a character of a script without blanks is a word of its own.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].find(char::is_alphanumeric)?;
        let (start, rest) = (at, &text[at..]);
        let first = rest.chars().next()?;
        let length = if is_dense(first) {
            first.len_utf8()
        } else {
            rest.find(|character: char| !(character.is_alphanumeric() || character == '\'') || is_dense(character)).unwrap_or(rest.len())
        };
        at += length;
        Some((start, &rest[..rest.floor_char_boundary(length.min(LONGEST_WORD))]))
    })
}
