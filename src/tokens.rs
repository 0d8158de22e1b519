//! How many tokens a text is: an estimate without a tokenizer, and the exact count where a vocabulary is public.
//!
//! Floor 1. One pass sorts characters into classes; each class has a weight, fitted by least squares on the relative
//! error against the o200k vocabulary. Other vocabularies differ among themselves by more than this errs.

mod exact;

pub use exact::Vocabulary;

use crate::units::Tokens;

/// Texts up to this many bytes are counted whole.
const WHOLE: usize = 8 * 1024;
/// Longer ones are sampled: so many windows, one in each of as many equal parts of the text.
const WINDOWS: usize = 32;
/// Bytes of one window.
const WINDOW: usize = 256;

/// About how many tokens `text` is. Whole up to 8 KiB; above that 32 windows of 256 bytes stand for the rest, so that a
/// prompt of any size costs the same. Equal texts have equal estimates. Never fails: bytes that are no UTF-8 count as letters of
/// some other script.
#[must_use]
pub fn estimate(text: &[u8]) -> Tokens {
    estimate_as::<false>(text)
}

/// The same for text as it stands between the quotes of a JSON string: `\n` is a line break, `\u4e2d` is one character.
#[must_use]
pub fn estimate_escaped(text: &[u8]) -> Tokens {
    estimate_as::<true>(text)
}

fn estimate_as<const ESCAPED: bool>(text: &[u8]) -> Tokens {
    let milli = if text.len() <= WHOLE { count::<ESCAPED>(text, State::Start).0 } else { sample::<ESCAPED>(text) };
    // A byte-level vocabulary never needs more tokens than bytes.
    Tokens::new(milli.div_ceil(1_000).min(as_u64(text.len())))
}

/// Thousandths of a token in the whole text, as far as the windows tell.
fn sample<const ESCAPED: bool>(text: &[u8]) -> u64 {
    let (mut milli, mut seen) = (0, 0);
    for part in 0..WINDOWS {
        let from = text.len() * part / WINDOWS;
        let room = text.len() * (part + 1) / WINDOWS - from - WINDOW;
        // Windows at equal distances would fall in step with a text that repeats itself.
        let start = character_at(text, from + part.wrapping_mul(0x9E37_79B1) % (room + 1));
        let end = character_at(text, start + WINDOW);
        milli += count::<ESCAPED>(&text[start..end], state_before(text, start)).0;
        seen += as_u64(end - start);
    }
    milli.saturating_mul(as_u64(text.len())) / seen.max(1)
}

/// The first place at or behind `place` where a character begins.
fn character_at(text: &[u8], place: usize) -> usize {
    (place..text.len()).find(|at| !is_inner(text[*at])).unwrap_or(text.len())
}

/// What the character in front of `place` leaves behind, so that a word cut by a window's edge is not counted as a new one.
fn state_before(text: &[u8], place: usize) -> State {
    let start = (place.saturating_sub(4)..place).rev().find(|at| !is_inner(text[*at])).unwrap_or(place);
    count::<false>(&text[start..place], State::Start).1
}

fn is_inner(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// What a byte, or the character that it begins, counts as.
#[derive(Clone, Copy)]
enum Class {
    Lower,
    Upper,
    /// A Latin letter beyond ASCII.
    Accented,
    Digit,
    Punctuation,
    Newline,
    Blank,
    Cyrillic,
    /// Han and its punctuation.
    Han,
    /// Kana and hangul.
    Kana,
    Other,
    /// A byte inside a character.
    Inner,
    /// The first byte of a character whose class its second byte decides.
    Mixed,
}

/// What was just read, as far as the next character's weight depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    /// A word that goes on, behind a small letter or a capital.
    Lower,
    Upper,
    Digit,
    Punctuation,
    Cyrillic,
    /// One blank.
    Gap,
    /// Two blanks or more, already counted.
    Indent,
}

/// Thousandths of a token. A run of one kind costs once, each of its characters a little more. Fitted by least squares on the relative
/// error, each kind of text with a weight of its own.
const LETTER_RUN: u64 = 858;
const LETTER: u64 = 51;
/// A capital behind a small letter: where names are joined, and in what is no language.
const CASE: u64 = 1_607;
/// More than a plain letter.
const ACCENT: u64 = 150;
const DIGIT_RUN: u64 = 1_496;
const DIGIT: u64 = 200;
const PUNCTUATION_RUN: u64 = 510;
const PUNCTUATION: u64 = 122;
const CYRILLIC_RUN: u64 = 627;
const CYRILLIC: u64 = 189;
const NEWLINE: u64 = 691;
const INDENT: u64 = 806;
const HAN: u64 = 800;
const KANA: u64 = 780;
const OTHER: u64 = 425;

/// Bytes that are counted together where all of them are plain ASCII.
const BLOCK: usize = 64;

const CLASSES: [Class; 256] = classes();

const fn classes() -> [Class; 256] {
    let mut table = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte {
            0x41..=0x5A => Class::Upper,
            0x61..=0x7A => Class::Lower,
            0x30..=0x39 => Class::Digit,
            0x0A => Class::Newline,
            0x09 | 0x0D | 0x20 => Class::Blank,
            0x00..=0x7F => Class::Punctuation,
            0x80..=0xBF => Class::Inner,
            0xC3..=0xC9 => Class::Accented,
            0xD0..=0xD3 => Class::Cyrillic,
            0xE4..=0xE9 => Class::Han,
            0xEB | 0xEC => Class::Kana,
            0xE1 | 0xE3 | 0xEA | 0xED | 0xEF | 0xF0 => Class::Mixed,
            _ => Class::Other,
        };
        byte += 1;
    }
    table
}

/// The class of a character by its first two bytes, where the first alone does not tell.
fn mixed(first: u8, second: u8) -> Class {
    match (first, second) {
        (0xE1, 0xB8..=0xBB) => Class::Accented,
        (0xE3, 0x80 | 0x90..) | (0xEF, 0xA4..=0xAB | 0xBC..=0xBE) | (0xF0, 0xA0..) => Class::Han,
        (0xE3, 0x81..=0x83) | (0xEA, 0xB0..) | (0xED, ..=0x9E) => Class::Kana,
        _ => Class::Other,
    }
}

/// Thousandths of a token in `text` that follows `state`, and the state behind it.
fn count<const ESCAPED: bool>(text: &[u8], mut state: State) -> (u64, State) {
    let (mut milli, mut at) = (0, 0);
    while at < text.len() {
        let block = text[at..].first_chunk::<BLOCK>().filter(|block| block.is_ascii() && !(ESCAPED && block.contains(&b'\\')));
        let (weight, next) = if let Some(block) = block {
            at += BLOCK;
            count_block(block, state)
        } else {
            count_singly::<ESCAPED>(text, &mut at, state)
        };
        milli += weight;
        state = next;
    }
    (milli, state)
}

/// Counts one block's length from `at` on, character by character.
fn count_singly<const ESCAPED: bool>(text: &[u8], at: &mut usize, mut state: State) -> (u64, State) {
    let (mut milli, end) = (0, text.len().min(*at + BLOCK));
    while *at < end {
        let byte = text[*at];
        let mut class = CLASSES[usize::from(byte)];
        *at += 1;
        if ESCAPED && byte == b'\\' {
            let (told, length) = escape(&text[*at..]);
            class = told;
            *at += length;
        } else if let Class::Mixed = class {
            class = mixed(byte, text.get(*at).copied().unwrap_or_default());
        }
        let (weight, next) = step(state, class);
        milli += weight;
        state = next;
    }
    (milli, state)
}

/// The same for plain ASCII. What a byte weighs depends on two bytes before it and on no result, so many are counted at once.
fn count_block(block: &[u8; BLOCK], state: State) -> (u64, State) {
    let before = match state {
        State::Start | State::Cyrillic => [b'\n', b'\n'],
        State::Lower => [b'\n', b'a'],
        State::Upper => [b'\n', b'A'],
        State::Digit => [b'\n', b'0'],
        State::Punctuation => [b'\n', b'.'],
        State::Gap => [b'\n', b' '],
        State::Indent => [b' ', b' '],
    };
    let mut bytes = [0; BLOCK + 2];
    bytes[..2].copy_from_slice(&before);
    bytes[2..].copy_from_slice(block);
    let is_lower = |byte: u8| byte.wrapping_sub(b'a') < 26;
    let is_upper = |byte: u8| byte.wrapping_sub(b'A') < 26;
    let is_letter = |byte: u8| (byte | 0x20).wrapping_sub(b'a') < 26;
    let is_digit = |byte: u8| byte.wrapping_sub(b'0') < 10;
    let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r');
    let is_mark = |byte: u8| !is_letter(byte) & !is_digit(byte) & !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    // Sums in single bytes, which a block does not overflow.
    let [mut letters, mut runs, mut cases, mut digits, mut numbers, mut marks, mut groups, mut newlines, mut indents] = [0_u8; 9];
    for at in 0..BLOCK {
        let [first, second, byte] = [bytes[at], bytes[at + 1], bytes[at + 2]];
        letters += u8::from(is_letter(byte));
        runs += u8::from(is_letter(byte) & !is_letter(second));
        cases += u8::from(is_upper(byte) & is_lower(second));
        digits += u8::from(is_digit(byte));
        numbers += u8::from(is_digit(byte) & !is_digit(second));
        marks += u8::from(is_mark(byte));
        groups += u8::from(is_mark(byte) & !is_mark(second));
        newlines += u8::from(byte == b'\n');
        indents += u8::from(is_blank(byte) & is_blank(second) & !is_blank(first));
    }
    let weigh = |count: u8, weight: u64| u64::from(count) * weight;
    let words = weigh(letters, LETTER) + weigh(runs, LETTER_RUN) + weigh(cases, CASE);
    let numbers = weigh(digits, DIGIT) + weigh(numbers, DIGIT_RUN);
    let marks = weigh(marks, PUNCTUATION) + weigh(groups, PUNCTUATION_RUN);
    let milli = words + numbers + marks + weigh(newlines, NEWLINE) + weigh(indents, INDENT);
    let behind = match [bytes[BLOCK], bytes[BLOCK + 1]] {
        [_, last] if is_lower(last) => State::Lower,
        [_, last] if is_upper(last) => State::Upper,
        [_, last] if is_digit(last) => State::Digit,
        [first, last] if is_blank(last) && is_blank(first) => State::Indent,
        [_, last] if is_blank(last) => State::Gap,
        [_, b'\n'] => State::Start,
        _ => State::Punctuation,
    };
    (milli, behind)
}

#[inline]
fn step(state: State, class: Class) -> (u64, State) {
    let word = if let State::Lower | State::Upper = state { 0 } else { LETTER_RUN };
    let once = |goes_on: State, run: u64| if state == goes_on { 0 } else { run };
    match class {
        Class::Lower => (word + LETTER, State::Lower),
        Class::Upper => (word + LETTER + if state == State::Lower { CASE } else { 0 }, State::Upper),
        Class::Accented => (word + LETTER + ACCENT, State::Lower),
        Class::Cyrillic => (once(State::Cyrillic, CYRILLIC_RUN) + CYRILLIC, State::Cyrillic),
        Class::Blank => match state {
            State::Gap => (INDENT, State::Indent),
            State::Indent => (0, State::Indent),
            _ => (0, State::Gap),
        },
        Class::Digit => (once(State::Digit, DIGIT_RUN) + DIGIT, State::Digit),
        Class::Punctuation => (once(State::Punctuation, PUNCTUATION_RUN) + PUNCTUATION, State::Punctuation),
        Class::Newline => (NEWLINE, State::Start),
        Class::Han => (HAN, State::Start),
        Class::Kana => (KANA, State::Start),
        Class::Other | Class::Mixed => (OTHER, State::Start),
        Class::Inner => (0, state),
    }
}

/// The class of an escaped character and the bytes behind the backslash that spell it.
fn escape(rest: &[u8]) -> (Class, usize) {
    match rest {
        [b'n', ..] => (Class::Newline, 1),
        [b'r' | b't' | b'b' | b'f', ..] => (Class::Blank, 1),
        [b'u', digits @ ..] => match digits.get(..4).and_then(|digits| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()) {
            // The second half of a pair belongs to the first.
            Some(0xDC00..=0xDFFF) => (Class::Inner, 5),
            Some(unit) => (class_of(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)), 5),
            None => (Class::Punctuation, 0),
        },
        [_, ..] => (Class::Punctuation, 1),
        [] => (Class::Punctuation, 0),
    }
}

fn class_of(character: char) -> Class {
    let mut bytes = [0; 4];
    let bytes = character.encode_utf8(&mut bytes).as_bytes();
    match CLASSES[usize::from(bytes[0])] {
        Class::Mixed => mixed(bytes[0], bytes[1]),
        class => class,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENGLISH: &str = include_str!("../tests/tokens/english.txt");
    const CHINESE: &str = include_str!("../tests/tokens/chinese.txt");
    const RUST: &str = include_str!("../tests/tokens/rust.txt");
    const JSON: &str = include_str!("../tests/tokens/json.txt");

    fn error_permille(estimated: Tokens, exact: u64) -> i64 {
        (i64::try_from(estimated.count()).unwrap() - i64::try_from(exact).unwrap()) * 1_000 / i64::try_from(exact).unwrap()
    }

    /// The exact counts are those of the o200k vocabulary; the errors, per mille, are stated so that a change of them is seen.
    #[test]
    fn the_estimate_is_near_the_exact_count() {
        for (name, text, exact, expected) in
            [("english", ENGLISH, 355, 16), ("chinese", CHINESE, 435, -9), ("rust", RUST, 1_995, 70), ("json", JSON, 540, -88)]
        {
            let error = error_permille(estimate(text.as_bytes()), exact);
            assert!((error - expected).abs() <= 2, "{name}: off by {error} per mille, stated {expected}");
        }
    }

    #[test]
    fn escaped_text_counts_as_what_it_spells() {
        for text in [ENGLISH, CHINESE, RUST, JSON] {
            let quoted = serde_json::to_string(text).unwrap();
            let inner = &quoted[1..quoted.len() - 1];
            assert_eq!(estimate_escaped(&inner.as_bytes()[..inner.len().min(8_000)]).count(), {
                let plain: String = serde_json::from_str(&format!("\"{}\"", &inner[..inner.floor_char_boundary(8_000)])).unwrap();
                estimate(plain.as_bytes()).count()
            });
        }
        for (escaped, plain) in
            [("\\u4e2d\\u6587", "中文"), ("a\\u00e9b", "aéb"), ("\\ud83d\\ude00", "😀"), ("\\\"x\\\"", "\"x\""), ("\\u12", "\\u12")]
        {
            assert_eq!(estimate_escaped(escaped.as_bytes()), estimate(plain.as_bytes()), "{escaped}");
        }
    }

    /// Texts of 100 KB to 1 MB whose parts differ by half in tokens per byte: three per cent on average, ten at most.
    #[test]
    fn a_sample_stands_for_the_whole() {
        let kinds = [ENGLISH, CHINESE, RUST, JSON];
        let mut sum = 0;
        for seed in 0..24 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut text = String::new();
            while text.len() < 100_000 * (1 + usize::try_from(seed).unwrap() % 10) {
                let kind = kinds[random.usize(..4)];
                let from = kind.floor_char_boundary(random.usize(..kind.len()));
                text.push_str(&kind[from..]);
            }
            let whole = count::<false>(text.as_bytes(), State::Start).0.div_ceil(1_000);
            let error = error_permille(estimate(text.as_bytes()), whole);
            sum += error.abs();
            assert!(error.abs() <= 100, "seed {seed}: off by {error} per mille");
        }
        assert!(sum / 24 <= 30, "off by {} per mille on average", sum / 24);
    }

    #[test]
    fn an_empty_text_has_no_tokens() {
        assert_eq!(estimate(b""), Tokens::ZERO);
        assert_eq!(estimate(b"a"), Tokens::new(1));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_block_counts_as_its_characters_do(text in "([a-zA-Z0-9 \\t\\r\\n.{\\[`\\x00@]|  |\u{e9}|\u{4e2d}){0,400}") {
            let singly = text.as_bytes().chunks(1).fold((0, State::Start), |(milli, state), byte| {
                let (weight, next) = count::<false>(byte, state);
                (milli + weight, next)
            });
            let whole = count::<false>(text.as_bytes(), State::Start);
            if text.is_ascii() {
                prop_assert_eq!(whole.0, singly.0);
                prop_assert!(whole.1 == singly.1);
            }
        }

        #[test]
        fn no_text_fails_or_exceeds_its_bytes(text in proptest::collection::vec(any::<u8>(), 0..20_000)) {
            for tokens in [estimate(&text), estimate_escaped(&text)] {
                prop_assert!(tokens.count() <= as_u64(text.len()));
            }
        }
    }
}
