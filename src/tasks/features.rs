//! What the learned table looks up: words, pairs of words, beginnings and ends of words, and signs, each as the number of a bucket.

use std::cell::Cell;

use memchr::{memchr_iter, memrchr};

use super::seen::{Seen, Zone};
use super::signs::Signs;
use super::words::is_dense;

/// Buckets of the table.
pub(super) const BUCKETS: usize = 1 << 16;
/// Above this many bytes all messages are as long as each other.
const LONGEST_TOLD: usize = 2_048;
/// Longest word that is taken whole, in bytes.
const LONGEST_WORD: usize = 32;
/// So many words at a beginning count by themselves.
const EDGE: usize = 3;

/// The buckets of one request, each once, in the order in which they were met.
#[derive(Debug)]
pub(super) struct Features {
    buckets: Vec<u16>,
    /// Lent until this is dropped.
    met: Option<Box<Met>>,
}

/// One bit for each bucket.
type Met = [u64; BUCKETS / 64];

thread_local! {
    /// Bits that are all unset again, for the next request.
    static UNMET: Cell<Option<Box<Met>>> = const { Cell::new(None) };
}

impl Features {
    pub(super) fn of(seen: &Seen, signs: Signs) -> Self {
        let met = Some(UNMET.take().unwrap_or_else(|| Box::new([0; _])));
        let mut features = Self { buckets: Vec::with_capacity(seen.user.len() + seen.system.len() + 64), met };
        features.add(b'1', 0);
        for code in signs.codes() {
            features.add(b'S', code.into());
        }
        features.shape(seen);
        features.system(&seen.system);
        features.user(seen);
        features
    }

    pub(super) fn buckets(&self) -> &[u16] {
        &self.buckets
    }

    /// By what a sum over the buckets is multiplied, so that long texts do not outweigh short ones.
    pub(super) fn weight(&self) -> f32 {
        1.0 / f32::from(u16::try_from(self.buckets.len()).unwrap_or(u16::MAX)).sqrt()
    }

    fn add(&mut self, kind: u8, what: u64) {
        let bucket = bucket(kind, what);
        let Some(met) = &mut self.met else { return };
        let (word, bit) = (&mut met[usize::from(bucket) / 64], 1_u64 << (bucket % 64));
        if *word & bit == 0 {
            *word |= bit;
            self.buckets.push(bucket);
        }
    }

    fn shape(&mut self, seen: &Seen) {
        self.add(b'L', seen.length.min(LONGEST_TOLD).checked_ilog2().unwrap_or(0).into());
        self.add(b'N', memchr_iter(b'\n', seen.user.as_bytes()).count().min(8) as u64);
        if !seen.system.is_empty() {
            self.add(b'Y', 0);
        }
    }

    fn system(&mut self, text: &str) {
        let mut before = 0;
        for (_, word) in words(text) {
            let this = digest(word.as_bytes());
            self.add(b's', this);
            self.word(word, this, before);
            before = this;
        }
    }

    /// The words of the message, without those that are left out: what stands in the middle of it, or in quotation marks, is what a
    /// request is about and not what it wants. The first words of the message and of its last line count by themselves, and all near its
    /// end.
    fn user(&mut self, seen: &Seen) {
        let last_line = memrchr(b'\n', seen.user.as_bytes()).map_or(usize::MAX, |at| at + 1);
        let back = if seen.zone(seen.back) == Zone::Back { seen.back } else { usize::MAX };
        let (mut number, mut of_last_line, mut before) = (0, 0, 0);
        for (at, word) in words(&seen.user) {
            let this = digest(word.as_bytes());
            if number < EDGE {
                self.add(if number == 0 { b'f' } else { b'g' }, this);
            }
            number += 1;
            if at >= last_line && of_last_line < EDGE {
                self.add(b'l', this);
                of_last_line += 1;
            }
            if at >= back {
                self.add(b't', this);
            }
            if seen.zone(at) == Zone::Inside {
                before = 0;
                continue;
            }
            self.word(word, this, before);
            before = this;
        }
    }

    /// A word, the pair that it makes with the one before it, how it begins and how it ends.
    fn word(&mut self, word: &str, this: u64, before: u64) {
        self.add(b'w', this);
        self.add(b'b', before.rotate_left(1) ^ this);
        let is_ascii = word.is_ascii();
        let beginning = if is_ascii { (word.len() > 4).then_some(4) } else { word.char_indices().nth(4).map(|(at, _)| at) };
        let Some(beginning) = beginning else { return };
        self.add(b'p', digest(&word.as_bytes()[..beginning]));
        if is_ascii {
            self.add(b'e', digest(&word.as_bytes()[word.len() - 3..]));
        }
    }
}

impl Drop for Features {
    fn drop(&mut self) {
        let Some(mut met) = self.met.take() else { return };
        for bucket in &self.buckets {
            met[usize::from(*bucket) / 64] = 0;
        }
        UNMET.set(Some(met));
    }
}

fn bucket(kind: u8, what: u64) -> u16 {
    let [.., a, b] = mixed(u64::from(kind), what).to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// A number for a word, the same on every machine.
fn digest(bytes: &[u8]) -> u64 {
    let start = bytes.len() as u64;
    let half = |half: &[u8; 4]| u64::from(u32::from_le_bytes(*half));
    if let Some(last) = bytes.last_chunk() {
        let whole = bytes.as_chunks().0.iter().fold(start, |hash, piece| mixed(hash, u64::from_le_bytes(*piece)));
        mixed(whole, u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        mixed(start, half(first) << 32 | half(last))
    } else {
        mixed(start, bytes.iter().fold(0, |few, byte| few << 8 | u64::from(*byte)))
    }
}

/// A product by the golden ratio's bits, and its upper half upon its lower.
fn mixed(hash: u64, piece: u64) -> u64 {
    let product = (hash ^ piece.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// Runs of letters and digits with their places; a character of a script without blanks is a word of its own.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let wide = |at: usize| text[at..].chars().next().filter(|character| character.is_alphanumeric());
        loop {
            match SORTS[usize::from(*bytes.get(at)?)] {
                Sort::Letter => break,
                Sort::Wide if wide(at).is_some() => break,
                Sort::Wide => at = text.ceil_char_boundary(at + 1),
                Sort::Apostrophe | Sort::Other => at += 1,
            }
        }
        let start = at;
        while let Some(byte) = bytes.get(at) {
            at += match SORTS[usize::from(*byte)] {
                Sort::Letter | Sort::Apostrophe => 1,
                Sort::Wide => match wide(at) {
                    Some(dense) if is_dense(dense) && at == start => {
                        at += dense.len_utf8();
                        break;
                    }
                    Some(letter) if !is_dense(letter) => letter.len_utf8(),
                    _ => break,
                },
                Sort::Other => break,
            };
        }
        let word = &text[start..at];
        Some((start, &word[..word.floor_char_boundary(LONGEST_WORD)]))
    })
}

/// What a byte is of.
#[derive(Clone, Copy)]
enum Sort {
    /// A letter or digit of ASCII.
    Letter,
    Apostrophe,
    /// A part of a character beyond ASCII.
    Wide,
    Other,
}

const SORTS: [Sort; 256] = {
    let mut sorts = [Sort::Wide; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        sorts[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => Sort::Letter,
            b'\'' => Sort::Apostrophe,
            _ => Sort::Other,
        };
        byte += 1;
    }
    sorts
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What [`words`] says, said plainly.
    fn plainly(text: &str) -> Vec<(usize, &str)> {
        let mut found: Vec<(usize, &str)> = Vec::new();
        let mut within = false;
        for (at, character) in text.char_indices() {
            let behind = at + character.len_utf8();
            let goes_on = (character.is_alphanumeric() || character == '\'') && !is_dense(character);
            match found.last_mut() {
                Some((start, word)) if within && goes_on => *word = &text[*start..behind],
                _ if character.is_alphanumeric() => found.push((at, &text[at..behind])),
                _ => {}
            }
            within = goes_on && (within || character.is_alphanumeric());
        }
        found.into_iter().map(|(at, word)| (at, &word[..word.floor_char_boundary(LONGEST_WORD)])).collect()
    }

    proptest! {
        #[test]
        fn words_are_told_alike_in_every_script(text in "[a-c0-1' ,.\u{e9}\u{416}\u{4e00}\u{3042}\u{e01}\u{1f600}\u{301}]{0,40}") {
            prop_assert_eq!(words(&text).collect::<Vec<_>>(), plainly(&text));
        }
    }

    #[test]
    fn a_request_leaves_nothing_to_the_next() {
        let features = |text: &str| {
            let seen = Seen::of("", text);
            Features::of(&seen, Signs::default()).buckets().to_vec()
        };
        let first = features("one two three");
        features("four five six, one two");
        assert_eq!(features("one two three"), first);
    }
}
