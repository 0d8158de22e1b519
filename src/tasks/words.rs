//! Many words and phrases, found in one pass.

/// Words that each say something.
#[derive(Debug)]
pub(super) struct Words<T> {
    /// By their sort.
    all: Vec<Word<T>>,
    /// Where the words of each sort begin, and where the last end.
    sorts: Box<[u16]>,
    /// A bit for each of many finer sorts: whether there is a word of it. At most places of a text there is none, and these few bytes
    /// show that.
    finer: [u64; 1 << (FINER_BITS - 6)],
    /// By a byte: whether a word begins with it, and whether it is a letter that none begins behind.
    places: [u8; 256],
    /// By four bytes: the classes that have a word which begins with them.
    by_four: [u8; 1 << BY_FOUR],
    /// The same of words that have fewer than four, by two.
    by_two: [u8; 1 << BY_TWO],
}

#[derive(Debug)]
struct Word<T> {
    text: Box<str>,
    /// The first eight bytes, or all that it has, as the upper bytes of a number; and how many bits that leaves free.
    beginning: u64,
    free: u8,
    says: T,
    /// Whether a letter may stand before it, and behind it.
    is_open_before: bool,
    is_open_behind: bool,
}

/// A word's class is the first of these lengths that it has: so many of its first bytes make its sort.
const CLASSES: [usize; 6] = [8, 5, 4, 3, 2, 1];
/// The bytes that make a sort.
const MASKS: [u64; CLASSES.len()] = [mask(8), mask(5), mask(4), mask(3), mask(2), mask(1)];
/// Of a place: a word begins with the byte.
const BEGINS: u8 = 1;
/// Of a place: the byte is a letter, and no word begins behind it.
const LETTER: u8 = 2;
/// The golden ratio's bits, which spread whatever is multiplied with them.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// How many sorts of each class are told apart, and how many finer ones, as powers of two.
const SORT_BITS: u32 = 11;
const FINER_BITS: u32 = 14;
const BY_FOUR: u32 = 12;
const BY_TWO: u32 = 9;

impl<T: Copy> Words<T> {
    /// In lower case; a `*` at an end lets letters touch it there. Absent where there are none, or far too many.
    pub(super) fn new<S: AsRef<str>>(words: impl IntoIterator<Item = (T, S)>) -> Option<Self> {
        let mut all: Vec<Word<T>> = words.into_iter().map(|(says, word)| Word::of(says, word.as_ref())).collect();
        all.retain(|word| !word.text.is_empty());
        all.sort_by_key(|word| word.sort().number);
        let mut sorts = vec![u16::try_from(all.len()).ok()?; (CLASSES.len() << SORT_BITS) + 1].into_boxed_slice();
        let (mut finer, mut places, mut by_four, mut by_two) = ([0; _], [0; 256], [0; _], [0; _]);
        let mut begun = 0;
        for (at, word) in (0..).zip(&all) {
            let sort = word.sort();
            sorts[begun..=sort.number].fill(at);
            begun = sort.number + 1;
            finer[sort.finer / 64] |= 1 << (sort.finer % 64);
            let text = word.text.as_bytes();
            places[usize::from(text[0])] |= BEGINS;
            match text {
                [_, _, _, _, ..] => by_four[beginning::<4, BY_FOUR>(number(text))] |= 1 << word.class(),
                [_, _, ..] => by_two[beginning::<2, BY_TWO>(number(text))] |= 1 << word.class(),
                _ => by_two.iter_mut().for_each(|classes: &mut u8| *classes |= 1 << word.class()),
            }
        }
        if !all.iter().any(|word| word.is_open_before && word.text.as_bytes()[0].is_ascii_lowercase()) {
            places[usize::from(b'a')..=usize::from(b'z')].iter_mut().for_each(|place| *place |= LETTER);
        }
        (!all.is_empty()).then_some(Self { all, sorts, finer, places, by_four, by_two })
    }

    /// Tells what the words in `text`, in lower case, say, and where each begins.
    pub(super) fn find(&self, text: &str, mut tell: impl FnMut(T, usize)) {
        let mut at = 0;
        while let Some(byte) = text.as_bytes().get(at) {
            let place = self.places[usize::from(*byte)];
            if place == 0 {
                at += 1;
                continue;
            }
            let here = number(&text.as_bytes()[at..]);
            let mut classes = self.by_four[beginning::<4, BY_FOUR>(here)] | self.by_two[beginning::<2, BY_TWO>(here)];
            while classes != 0 {
                let sort = Sort::of(classes.trailing_zeros() as usize, here);
                if self.finer[sort.finer / 64] & 1 << (sort.finer % 64) != 0 {
                    self.tell(text, at, here, sort.number, &mut tell);
                }
                classes &= classes - 1;
            }
            at += if place & LETTER == 0 { 1 } else { letters(here) };
        }
    }

    /// Tells of the words of a sort that stand at `at`, where `here` does. Not inlined, so that what `find` does everywhere stays small.
    #[inline(never)]
    fn tell(&self, text: &str, at: usize, here: u64, sort: usize, tell: &mut impl FnMut(T, usize)) {
        for word in &self.all[usize::from(self.sorts[sort])..usize::from(self.sorts[sort + 1])] {
            if here << word.free == word.beginning && word.stands(text, at) {
                tell(word.says, at);
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
        let free = u8::try_from(64 - 8 * text.len().clamp(1, 8)).unwrap_or_default();
        Self { beginning: number(text.as_bytes()) << free, free, text: text.into(), says, is_open_before, is_open_behind }
    }

    fn class(&self) -> usize {
        CLASSES.iter().position(|least| *least <= self.text.len()).unwrap_or_default()
    }

    fn sort(&self) -> Sort {
        Sort::of(self.class(), number(self.text.as_bytes()))
    }

    /// Whether what begins like this word at `at` is this word.
    fn stands(&self, text: &str, at: usize) -> bool {
        let (end, word) = (at + self.text.len(), self.text.as_bytes());
        // The first eight bytes are known to be alike. The last eight tell most others apart, and may be all that is left.
        let is_same = |here: &[u8]| here.last_chunk::<8>() == word.last_chunk() && (here.len() <= 16 || here == word);
        text.as_bytes().get(at..end).is_some_and(|here| here.len() <= 8 || is_same(here))
            && (self.is_open_before || !text[..at].chars().next_back().is_some_and(is_letter))
            && (self.is_open_behind || !text[end..].chars().next().is_some_and(is_letter))
    }
}

/// The sort of the words of a class that may stand where eight bytes do.
struct Sort {
    number: usize,
    finer: usize,
}

impl Sort {
    #[inline]
    fn of(class: usize, here: u64) -> Self {
        let spread = (here & MASKS[class]).wrapping_mul(GOLDEN);
        Self { number: class << SORT_BITS | (spread >> (64 - SORT_BITS)) as usize, finer: (spread >> (64 - FINER_BITS)) as usize }
    }
}

/// The first bytes as a number of some bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a few bits are left")]
fn beginning<const BYTES: usize, const BITS: u32>(here: u64) -> usize {
    ((here & mask(BYTES)).wrapping_mul(GOLDEN) >> (64 - BITS)) as usize
}

/// How many of eight bytes are letters of ASCII in lower case, from the first on.
#[inline]
pub(super) fn letters(here: u64) -> usize {
    let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
    let low = here & each(0x7f);
    // The highest bit of each byte says that it is no letter.
    let others = (!(low + each(0x80 - b'a')) | (low + each(0x7f - b'z')) | here) & each(0x80);
    (others.trailing_zeros() / 8) as usize
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
pub(super) const fn mask(bytes: usize) -> u64 {
    u64::MAX >> (64 - 8 * bytes)
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

    /// The last two are alike but for one byte in the middle.
    const WORDS: [&str; 16] = [
        "a",
        "ab",
        "abc",
        "b*",
        "*bc",
        "bca b",
        "bca bb",
        "abc abc",
        "abc abcé*",
        "*一二 abc ab",
        "(a",
        "é",
        "一二",
        "c⏎",
        "abc abc a abc abc",
        "abc abc b abc abc",
    ];

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
            // Without the word that may begin within another, letters behind letters are passed over.
            is_apart in any::<bool>(),
        ) {
            let text = pieces.concat().replace('*', "").replace('⏎', "\n");
            let counts = |says: usize| !(is_apart && WORDS[says] == "*bc");
            let words = Words::new(WORDS.into_iter().enumerate().filter(|(says, _)| counts(*says))).unwrap();
            let mut found = Vec::new();
            words.find(&text, |says, at| found.push((says, at)));
            let mut plain = plainly(&text);
            plain.retain(|(says, _)| counts(*says));
            found.sort_unstable();
            plain.sort_unstable();
            prop_assert_eq!(found, plain);
        }
    }
}
