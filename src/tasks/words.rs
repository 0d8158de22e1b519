//! Many words and phrases, found in one pass.

/// Words that each say something.
#[derive(Debug)]
pub(super) struct Words<T> {
    /// By the sort of their beginnings.
    all: Vec<Word<T>>,
    /// Their beginnings of eight bytes, or all that they have: what tells nearly all words from the text at a place.
    beginnings: Vec<Beginning>,
    /// Where the words of each sort begin, and where the last end.
    sorts: Box<[u16]>,
    /// By a byte: what may stand where it does.
    places: [u8; 256],
}

#[derive(Debug)]
struct Word<T> {
    text: String,
    says: T,
    /// Whether a letter may stand before it, and behind it.
    is_open_before: bool,
    is_open_behind: bool,
}

/// A few bytes as a number, and which bits of it count.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    bytes: u64,
    mask: u64,
}

/// The byte is a letter of ASCII.
const LETTER: u8 = 1;
/// Some words begin with it, though not behind a letter.
const APART: u8 = 2;
/// Some begin with it anywhere.
const OPEN: u8 = 4;
/// Some are nothing but it.
const ALONE: u8 = 8;

/// A word is of a sort by its first five bytes, or by two or one where it has no more.
const LENGTHS: [usize; 3] = [5, 2, 1];
const MASKS: [u64; 3] = [(1 << 40) - 1, (1 << 16) - 1, (1 << 8) - 1];
/// How many sorts are told apart by each of the lengths, as a power of two.
const SORT_BITS: u32 = 11;
const SORTS: usize = LENGTHS.len() << SORT_BITS;

impl<T: Copy> Words<T> {
    /// In lower case; a `*` at an end lets letters touch it there. Absent where there are none, or far too many.
    pub(super) fn new<S: AsRef<str>>(words: impl IntoIterator<Item = (T, S)>) -> Option<Self> {
        let mut all: Vec<Word<T>> = words.into_iter().map(|(says, word)| Word::of(says, word.as_ref())).collect();
        all.retain(|word| !word.text.is_empty());
        all.sort_by_key(Word::sort);
        let mut sorts = vec![u16::try_from(all.len()).ok()?; SORTS + 1].into_boxed_slice();
        let mut places = [0; 256];
        for letter in (b'a'..=b'z').chain(b'A'..=b'Z') {
            places[usize::from(letter)] = LETTER;
        }
        let mut begun = 0;
        for (at, word) in (0..).zip(&all) {
            let sort = word.sort();
            sorts[begun..=sort].fill(at);
            begun = sort + 1;
            let place = &mut places[usize::from(word.text.as_bytes()[0])];
            *place |= if word.is_open_before { OPEN } else { APART };
            *place |= if word.text.len() == 1 { ALONE } else { 0 };
        }
        let beginnings = all.iter().map(|word| Beginning::of(word.text.as_bytes())).collect();
        (!all.is_empty()).then_some(Self { all, beginnings, sorts, places })
    }

    /// Tells what the words in `text` say, and where each begins.
    pub(super) fn find(&self, text: &str, mut tell: impl FnMut(T, usize)) {
        let mut may_begin = APART | OPEN;
        for (at, byte) in text.bytes().enumerate() {
            let place = self.places[usize::from(byte)];
            if place & may_begin != 0 {
                self.tell(text, at, place, &mut tell);
            }
            may_begin = if place & LETTER == 0 { APART | OPEN } else { OPEN };
        }
    }

    /// Tells of the words that stand at `at`, where a byte of this place does.
    #[inline]
    fn tell(&self, text: &str, at: usize, place: u8, tell: &mut impl FnMut(T, usize)) {
        let rest = &text.as_bytes()[at..];
        let here = number(rest);
        let sorts = sorts(here);
        for sort in if place & ALONE == 0 { &sorts[..2] } else { &sorts[..] } {
            let (first, end) = (usize::from(self.sorts[*sort]), usize::from(self.sorts[sort + 1]));
            for (number, beginning) in self.beginnings[first..end].iter().enumerate() {
                if here & beginning.mask == beginning.bytes {
                    let word = &self.all[first + number];
                    if word.stands(text, at) {
                        tell(word.says, at);
                    }
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
        let class = LENGTHS.iter().position(|least| *least <= self.text.len()).unwrap_or_default();
        sorts(number(self.text.as_bytes()))[class]
    }

    /// Whether what begins like this word at `at` is this word.
    fn stands(&self, text: &str, at: usize) -> bool {
        let end = at + self.text.len();
        // The first eight bytes are known to be alike.
        text.as_bytes().get(at..end).is_some_and(|here| here.len() <= 8 || here == self.text.as_bytes())
            && (self.is_open_before || !text[..at].chars().next_back().is_some_and(is_letter))
            && (self.is_open_behind || !text[end..].chars().next().is_some_and(is_letter))
    }
}

impl Beginning {
    fn of(text: &[u8]) -> Self {
        Self { bytes: number(text), mask: mask(text.len().min(8)) }
    }
}

/// The first eight bytes as a number; zeros where there are fewer.
#[inline]
pub(super) fn number(text: &[u8]) -> u64 {
    if let Some(first) = text.first_chunk() {
        u64::from_le_bytes(*first)
    } else if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        // They have bytes in common, where they are the same.
        u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * text.len() - 32)
    } else {
        text.iter().rev().fold(0, |few, byte| few << 8 | u64::from(*byte))
    }
}

/// The first one to eight bytes of a number.
#[inline]
pub(super) fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
}

/// The sorts of the words that may stand where eight bytes do, one for each length.
#[inline]
fn sorts(here: u64) -> [usize; 3] {
    // The golden ratio's bits spread whatever comes in.
    let sort = |beginning: u64| (beginning.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - SORT_BITS)) as usize;
    let [five, two, one] = MASKS.map(|mask| sort(here & mask));
    [five, two | 1 << SORT_BITS, one | 2 << SORT_BITS]
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

    #[test]
    fn a_number_is_of_the_first_eight_bytes() {
        for length in 0..12 {
            let text = &b"abcdefghijkl"[..length];
            let mut first = [0; 8];
            first[..length.min(8)].copy_from_slice(&text[..length.min(8)]);
            assert_eq!(number(text), u64::from_le_bytes(first));
        }
    }

    const WORDS: [&str; 14] =
        ["a", "ab", "abc", "b*", "*bc", "bca b", "bca bb", "abc abc", "abc abcé*", "*一二 abc ab", "(a", "é", "一二", "c⏎"];

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

    #[test]
    fn no_word_stands_where_the_text_is_over() {
        let words = Words::new([((), "a\0")]).unwrap();
        words.find("a", |(), at| panic!("found at {at}"));
    }

    proptest! {
        #[test]
        fn every_word_is_found_wherever_it_stands(
            pieces in prop::collection::vec(prop_oneof![prop::sample::select(&WORDS[..]).prop_map(str::to_owned), "[abc (\n\u{e9}\u{4e00}\u{4e8c}]{1,3}"], 0..12),
        ) {
            let text = pieces.concat().replace('*', "").replace('⏎', "\n");
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
