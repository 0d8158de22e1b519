//! Many words and phrases, found in one pass.

use std::ops::Range;

/// Words that each say something.
#[derive(Debug)]
pub(super) struct Words<T> {
    /// By the sort of their beginnings.
    all: Vec<Word<T>>,
    /// Their first eight bytes, and which of them there are: what tells nearly all words from the text at a place.
    heads: Vec<(u64, u64)>,
    /// Where the words of each sort begin, and where the last end.
    sorts: Vec<u16>,
    /// By the first byte: where words may begin with it.
    places: [Places; 256],
}

#[derive(Debug)]
struct Word<T> {
    text: String,
    says: T,
    /// Whether a letter may stand before it, and behind it.
    is_open_before: bool,
    is_open_behind: bool,
}

/// Where words that begin with a certain byte may stand. Nearly everywhere in a text none does.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    /// Some not behind a letter.
    apart: bool,
    /// Some anywhere.
    open: bool,
    /// Some that are shorter than a beginning.
    short: bool,
}

/// Bytes of a beginning.
const BEGINNING: usize = 3;
/// How many sorts of beginnings are told apart, as a power of two. So many for words that stand apart, as many for the others, and
/// behind them the words that are too short, by their first byte.
const SORTS: u32 = 12;
const OPEN: usize = 1 << SORTS;
const SHORT: usize = 2 << SORTS;

impl<T: Copy> Words<T> {
    /// In lower case; a `*` at an end lets letters touch it there. Absent where there are none, or far too many.
    pub(super) fn new<S: AsRef<str>>(words: impl IntoIterator<Item = (T, S)>) -> Option<Self> {
        let mut all: Vec<Word<T>> = words.into_iter().map(|(says, word)| Word::of(says, word.as_ref())).collect();
        all.retain(|word| !word.text.is_empty());
        all.sort_by_key(Word::sort);
        let end_of = |sort: usize| u16::try_from(all.partition_point(|word| word.sort() < sort)).ok();
        let sorts = (0..=SHORT + 256).map(end_of).collect::<Option<Vec<u16>>>()?;
        let mut places = [Places::default(); 256];
        for word in &all {
            let place = &mut places[usize::from(word.text.as_bytes()[0])];
            place.short |= word.sort() >= SHORT;
            place.open |= word.sort() < SHORT && word.is_open_before;
            place.apart |= word.sort() < SHORT && !word.is_open_before;
        }
        let heads = all.iter().map(|word| (head(word.text.as_bytes()), head(&vec![u8::MAX; word.text.len()]))).collect();
        (!all.is_empty()).then_some(Self { all, heads, sorts, places })
    }

    /// Tells what the words in `text` say, and where each begins.
    pub(super) fn find(&self, text: &str, mut tell: impl FnMut(T, usize)) {
        let bytes = text.as_bytes();
        let mut is_behind_letter = false;
        for (at, byte) in bytes.iter().enumerate() {
            let place = self.places[usize::from(*byte)];
            if (place.apart && !is_behind_letter || place.open)
                && let Some(beginning) = bytes[at..].first_chunk()
            {
                let sort = sort(*beginning);
                if place.open {
                    self.tell(self.of(sort + OPEN), text, at, &mut tell);
                }
                if place.apart && !is_behind_letter {
                    self.tell(self.of(sort), text, at, &mut tell);
                }
            }
            if place.short {
                self.tell(self.of(SHORT + usize::from(*byte)), text, at, &mut tell);
            }
            is_behind_letter = byte.is_ascii_alphabetic();
        }
    }

    /// The words of one sort.
    #[inline]
    fn of(&self, sort: usize) -> Range<usize> {
        usize::from(self.sorts[sort])..usize::from(self.sorts[sort + 1])
    }

    /// Tells of those of some words that stand at `at`.
    #[inline]
    fn tell(&self, some: Range<usize>, text: &str, at: usize, tell: &mut impl FnMut(T, usize)) {
        if some.is_empty() {
            return;
        }
        let rest = &text.as_bytes()[at..];
        let here = head(rest);
        for (index, (head, mask)) in some.clone().zip(&self.heads[some]) {
            if here & mask == *head {
                let word = &self.all[index];
                if rest.starts_with(word.text.as_bytes()) && word.stands(text, at) {
                    tell(word.says, at);
                }
            }
        }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.all.len()
    }
}

impl<T> Word<T> {
    fn of(says: T, word: &str) -> Self {
        let text = word.trim_matches('*').replace('⏎', "\n").replace('⇥', "\t");
        let is_open = |edge: Option<char>| edge.is_none_or(|edge| !is_letter(edge));
        let is_open_before = word.starts_with('*') || is_open(text.chars().next());
        let is_open_behind = word.ends_with('*') || is_open(text.chars().next_back());
        Self { text, says, is_open_before, is_open_behind }
    }

    fn sort(&self) -> usize {
        let text = self.text.as_bytes();
        match text.first_chunk() {
            Some(beginning) => sort(*beginning) + if self.is_open_before { OPEN } else { 0 },
            None => SHORT + text.first().copied().map_or(0, usize::from),
        }
    }

    /// Whether what is spelt like this word at `at` is a word there.
    fn stands(&self, text: &str, at: usize) -> bool {
        (self.is_open_before || !text[..at].chars().next_back().is_some_and(is_letter))
            && (self.is_open_behind || !text[at + self.text.len()..].chars().next().is_some_and(is_letter))
    }
}

/// The first eight bytes as a number; zeros where there are fewer.
fn head(text: &[u8]) -> u64 {
    u64::from_le_bytes(text.first_chunk().copied().unwrap_or_else(|| std::array::from_fn(|at| text.get(at).copied().unwrap_or(0))))
}

fn sort([a, b, c]: [u8; BEGINNING]) -> usize {
    // The golden ratio's bits spread whatever comes in.
    (u32::from_le_bytes([a, b, c, 0]).wrapping_mul(0x9e37_79b1) >> (u32::BITS - SORTS)) as usize
}

/// A letter of a script that puts blanks between words.
fn is_letter(character: char) -> bool {
    character.is_alphabetic() && !is_dense(character)
}

/// A character of a script without blanks.
pub(super) fn is_dense(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ac00}'..='\u{d7af}' | '\u{e00}'..='\u{e7f}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WORDS: [&str; 10] = ["a", "ab", "abc", "b*", "*bc", "bca b", "(a", "é", "一二", "c⏎"];

    /// What [`Words::find`] says, said plainly.
    fn plainly(text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for at in text.char_indices().map(|(at, _)| at) {
            for (says, word) in WORDS.iter().enumerate() {
                let plain = word.trim_matches('*').replace('⏎', "\n");
                let Some(rest) = text[at..].strip_prefix(&plain) else { continue };
                let is_open = |star: bool, edge: Option<char>, next: Option<char>| {
                    star || !edge.is_some_and(is_letter) || !next.is_some_and(is_letter)
                };
                let before = is_open(word.starts_with('*'), plain.chars().next(), text[..at].chars().next_back());
                let behind = is_open(word.ends_with('*'), plain.chars().next_back(), rest.chars().next());
                if before && behind {
                    found.push((says, at));
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn every_word_is_found_wherever_it_stands(text in "[abc (\n\u{e9}\u{4e00}\u{4e8c}]{0,24}") {
            let words = Words::new(WORDS.into_iter().enumerate()).unwrap();
            let mut found = Vec::new();
            words.find(&text, |says, at| found.push((says, at)));
            let mut plain = plainly(&text);
            found.sort_unstable();
            plain.sort_unstable();
            prop_assert_eq!(found, plain);
        }
    }
}
