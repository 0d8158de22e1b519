//! What the learned table looks up: words, pairs of words, beginnings and ends of words, and signs, each as the number of a bucket.

use memchr::{memchr_iter, memrchr};

use super::seen::{Seen, Zone};
use super::signs::Signs;
use super::words::{is_dense, letters, mask, number};

/// Buckets of the table.
pub(super) const BUCKETS: usize = 1 << 16;
/// Above this many bytes all messages are as long as each other.
const LONGEST_TOLD: usize = 2_048;
/// Longest word that is taken whole, in bytes.
const LONGEST_WORD: usize = 32;
/// So many words at a beginning count by themselves.
const EDGE: usize = 3;

/// What every request has.
const ALWAYS: u16 = bucket(b'1', 0);
/// More buckets than a request has beside those of its words.
const WORDLESS: usize = 180;

/// The buckets of one request, each once, in the order in which they were met.
#[derive(Debug)]
pub(super) struct Features {
    buckets: Vec<u16>,
}

impl Features {
    pub(super) fn of(seen: &Seen, signs: Signs) -> Self {
        // Two bytes make three at most: a word of one letter, its pair and its place.
        let most = WORDLESS + (seen.user.len() + seen.system.len()) * 3 / 2;
        let mut found = Found { buckets: Vec::with_capacity(most), met: vec![ALWAYS; most.next_power_of_two()] };
        found.buckets.push(ALWAYS);
        for code in signs.codes() {
            found.add(b'S', code.into());
        }
        found.shape(seen);
        found.words(seen);
        Self { buckets: found.buckets }
    }

    pub(super) fn buckets(&self) -> &[u16] {
        &self.buckets
    }

    /// By what a sum over the buckets is multiplied, so that long texts do not outweigh short ones.
    pub(super) fn weight(&self) -> f32 {
        1.0 / f32::from(u16::try_from(self.buckets.len()).unwrap_or(u16::MAX)).sqrt()
    }
}

/// What is found of a request, while it is looked at.
struct Found {
    buckets: Vec<u16>,
    /// The same, each at the place that its lower bits name or at the next that was free: one that says [`ALWAYS`], which was met before
    /// all others.
    met: Vec<u16>,
}

impl Found {
    #[inline]
    fn add(&mut self, kind: u8, what: u64) {
        let bucket = bucket(kind, what);
        let last = self.met.len() - 1;
        let mut at = usize::from(bucket) & last;
        while self.met[at] != bucket {
            if self.met[at] == ALWAYS {
                self.met[at] = bucket;
                return self.buckets.push(bucket);
            }
            at = (at + 1) & last;
        }
    }

    fn shape(&mut self, seen: &Seen) {
        self.add(b'L', seen.length.min(LONGEST_TOLD).checked_ilog2().unwrap_or(0).into());
        self.add(b'N', memchr_iter(b'\n', seen.user.as_bytes()).take(8).count() as u64);
        if !seen.system.is_empty() {
            self.add(b'Y', 0);
        }
    }

    /// All words of the system message, and those of the message without some: what stands in the middle of it, or in quotation marks, is
    /// what a request is about and not what it wants. The first words of the message and of its last line count by themselves, and all
    /// near its end.
    fn words(&mut self, seen: &Seen) {
        let last_line = memrchr(b'\n', seen.user.as_bytes()).map_or(usize::MAX, |at| at + 1);
        let back = if seen.zone(seen.back) == Zone::Back { seen.back } else { usize::MAX };
        let (mut number, mut of_last_line) = (0, 0);
        for (text, is_system) in [(&seen.system, true), (&seen.user, false)] {
            let mut before = 0;
            words(text, |word| {
                if is_system {
                    self.add(b's', word.digest);
                } else {
                    if number < EDGE {
                        self.add(if number == 0 { b'f' } else { b'g' }, word.digest);
                    }
                    number += 1;
                    if word.at >= last_line && of_last_line < EDGE {
                        self.add(b'l', word.digest);
                        of_last_line += 1;
                    }
                    if word.at >= back {
                        self.add(b't', word.digest);
                    }
                }
                before = if is_system || seen.zone(word.at) != Zone::Inside {
                    self.word(word, before);
                    word.digest
                } else {
                    0
                };
            });
        }
    }

    /// A word, the pair that it makes with the one before it, how it begins and how it ends.
    #[inline]
    fn word(&mut self, word: &Word, before: u64) {
        self.add(b'w', word.digest);
        self.add(b'b', before.rotate_left(1) ^ word.digest);
        let text = word.text;
        if !word.is_ascii {
            if let Some(end) = beginning_of(text) {
                self.add(b'p', digest(&text[..end], number(&text[..end])));
            }
        } else if text.len() > 4
            && let Some(ending) = text.last_chunk()
        {
            self.add(b'p', word.beginning & mask(4));
            self.add(b'e', (u32::from_le_bytes(*ending) >> 8).into());
        }
    }
}

const fn bucket(kind: u8, what: u64) -> u16 {
    let [.., a, b] = mixed(kind as u64, what).to_le_bytes();
    u16::from_le_bytes([a, b])
}

/// A number for a word that begins with the eight bytes of `beginning`, the same on every machine.
fn digest(word: &[u8], beginning: u64) -> u64 {
    let start = mixed(word.len() as u64, beginning);
    if word.len() <= 8 { start } else { word[8..].chunks(8).fold(start, |hash, piece| mixed(hash, number(piece))) }
}

/// A product by the golden ratio's bits, and its upper half upon its lower.
const fn mixed(hash: u64, piece: u64) -> u64 {
    let product = (hash ^ piece.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ product >> 32
}

/// Where a word's first four characters end, if there are more.
fn beginning_of(text: &[u8]) -> Option<usize> {
    let begins = |byte: u8| byte & 0xc0 != 0x80;
    text.iter().enumerate().filter(|(_, byte)| begins(**byte)).nth(4).map(|(at, _)| at)
}

/// A word of a text.
struct Word<'t> {
    at: usize,
    text: &'t [u8],
    is_ascii: bool,
    /// Its first eight bytes.
    beginning: u64,
    digest: u64,
}

impl<'t> Word<'t> {
    /// `here` is the number of what begins at `at`.
    #[inline]
    fn of(text: &'t str, at: usize, end: usize, is_ascii: bool, here: u64) -> Self {
        let end = if end - at > LONGEST_WORD { text.floor_char_boundary(at + LONGEST_WORD) } else { end };
        let (beginning, text) = (here & mask((end - at).min(8)), &text.as_bytes()[at..end]);
        Self { at, text, is_ascii, beginning, digest: digest(text, beginning) }
    }
}

/// Tells, of a text in lower case, runs of letters and digits; a character of a script without blanks is a word of its own.
fn words<'t>(text: &'t str, mut tell: impl FnMut(&Word<'t>)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if KINDS[usize::from(*byte)] & BETWEEN != 0 {
            at += 1;
        } else if !byte.is_ascii() && letter(text, at).is_none() {
            at = text.ceil_char_boundary(at + 1);
        } else {
            let here = number(&bytes[at..]);
            let letters = letters(here);
            let behind = bytes.get(at + letters).map_or(BETWEEN, |byte| KINDS[usize::from(*byte)]);
            let (end, is_ascii) = if behind == BETWEEN { (at + letters, true) } else { end_of_word(text, at) };
            tell(&Word::of(text, at, end, is_ascii, here));
            at = end;
        }
    }
}

/// Where the word that begins at `start` ends, and whether it is of ASCII alone.
fn end_of_word(text: &str, start: usize) -> (usize, bool) {
    let bytes = text.as_bytes();
    let (mut at, mut is_ascii) = (start, true);
    loop {
        while bytes.get(at).is_some_and(|byte| KINDS[usize::from(*byte)] & WITHIN != 0) {
            at += 1;
        }
        if bytes.get(at).is_none_or(u8::is_ascii) {
            return (at, is_ascii);
        }
        match letter(text, at) {
            Some(dense) if is_dense(dense) => return if at == start { (at + dense.len_utf8(), false) } else { (at, is_ascii) },
            Some(letter) => at += letter.len_utf8(),
            None => return (at, is_ascii),
        }
        is_ascii = false;
    }
}

/// The letter or digit at `at`, if there is one.
fn letter(text: &str, at: usize) -> Option<char> {
    text[at..].chars().next().filter(|character| character.is_alphanumeric())
}

/// What stands within a word of ASCII: a letter, a digit or an apostrophe.
const WITHIN: u8 = 1;
/// What of ASCII stands between two words.
const BETWEEN: u8 = 2;

/// What a byte is of; nothing where it is a part of a character beyond ASCII.
const KINDS: [u8; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        kinds[byte as usize] = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => WITHIN,
            b'\'' => WITHIN | BETWEEN,
            _ => BETWEEN,
        };
        byte += 1;
    }
    kinds
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
            let mut told = Vec::new();
            words(&text, |word| told.push((word.at, str::from_utf8(word.text).unwrap())));
            prop_assert_eq!(told, plainly(&text));
        }
    }

    #[test]
    fn each_bucket_is_told_once_and_there_is_room_for_all() {
        let dense: String = ('\u{4e00}'..'\u{5000}').zip(('a'..='z').cycle()).flat_map(|(dense, letter)| [letter, dense]).collect();
        let letters: String = ('a'..='z').cycle().take(400).flat_map(|letter| [letter, ' ']).collect();
        for text in ["", "one two one two", &letters, &dense] {
            let seen = Seen::of(text, text);
            let features = Features::of(&seen, Signs::default());
            let mut once = features.buckets().to_vec();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), features.buckets().len(), "{text}");
            assert!(once.len() < (seen.user.len() + seen.system.len()) * 3 / 2 + WORDLESS / 2, "{text}: {}", once.len());
        }
    }
}
