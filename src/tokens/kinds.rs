//! The kinds of which a text's tokens are made, counted in one pass without memory of its own.

use std::ops::Range;

use super::classes::{CLASSES, Class, Script, character, is_inner, mixed};
use super::pieces::Piece;
use super::weights::weights;
use crate::units::{Tokenizer, Tokens};

/// What is counted. A run of one kind counts once, and each of its characters.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// Runs of Latin letters.
    Word,
    Letter,
    /// A capital behind a small letter: where names are joined, and in what is no language.
    Case,
    /// A capital behind another.
    Capital,
    /// A Latin letter beyond ASCII.
    Accent,
    Number,
    Digit,
    /// Runs of marks.
    Marks,
    Mark,
    /// A mark behind a blank.
    MarkAlone,
    Newline,
    /// Blanks, two or more together.
    Indent,
    CyrillicPiece,
    Cyrillic,
    HanPiece,
    Han,
    /// A character that the vocabulary does not have.
    HanRare,
    /// Kana and hangul.
    KanaPiece,
    Kana,
    Other,
}

pub(super) const KINDS: usize = Kind::Other as usize + 1;

/// What a text is made of, as far as its tokens depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    kinds: [u64; KINDS],
    /// Of the text as it is written.
    bytes: u64,
}

impl Counts {
    /// Of a whole text, however long. Bytes that are no UTF-8 count as letters of some other script.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        Self::of_part(text, 0..text.len())
    }

    /// Of a part of `text`, which begins and ends at characters. A word that the part's beginning cuts is no new one.
    #[must_use]
    pub fn of_part(text: &[u8], part: Range<usize>) -> Self {
        let mut counts = Self { bytes: part.len() as u64, ..Self::default() };
        counts.read(&text[part.clone()], state_before(text, part.start));
        counts
    }

    /// Takes in what another part of the same prompt is made of.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.kinds.iter_mut().zip(other.kinds) {
            *sum += count;
        }
        self.bytes += other.bytes;
    }

    /// What a text of so many bytes is made of, of which this was seen.
    #[must_use]
    pub fn scaled_to(self, bytes: u64) -> Self {
        let scaled = |count: u64| {
            let scaled = u128::from(count) * u128::from(bytes) / u128::from(self.bytes.max(1));
            u64::try_from(scaled).unwrap_or(u64::MAX)
        };
        Self { kinds: self.kinds.map(scaled), bytes }
    }

    /// About how many tokens a tokenizer makes of it: never more than it has bytes, as no byte-level one does.
    #[must_use]
    pub fn tokens(&self, tokenizer: Tokenizer) -> Tokens {
        // No text is so long that this overflows: no kind is counted more often than the text has bytes.
        let weighed: u64 = self.kinds.iter().zip(weights(tokenizer)).map(|(count, weight)| count * u64::from(*weight)).sum();
        Tokens::new(((weighed + 500) / 1_000).max(1).min(self.bytes))
    }

    /// Takes in the length of a text as it is written.
    pub(super) fn add_bytes(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Takes out line breaks that stood in no text.
    pub(super) fn remove_newlines(&mut self, newlines: usize) {
        self.kinds[Kind::Newline as usize] -= newlines as u64;
    }

    #[cfg(test)]
    pub(super) fn kinds(&self) -> [u64; KINDS] {
        self.kinds
    }
}

/// What was just read, as far as the next character's weight depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Start,
    /// A word that goes on, behind a small letter or a capital.
    Lower,
    Upper,
    Digit,
    Mark,
    In(Script, Piece),
    /// One blank.
    Gap,
    /// Two blanks or more, already counted.
    Indent,
}

/// Bytes that are counted together where all of them are plain ASCII.
const BLOCK: usize = 64;
/// Fewer than this are counted one by one.
const FEW: usize = 10;
/// Bytes that stand before a block. Two of them count; so many make it whole vectors.
const BEFORE: usize = 16;

/// What the character in front of `place` leaves behind.
pub(super) fn state_before(text: &[u8], place: usize) -> State {
    let start = (place.saturating_sub(4)..place).rev().find(|at| !is_inner(text[*at])).unwrap_or(place);
    Counts::default().read(&text[start..place], State::Start)
}

impl Counts {
    /// Takes in `text` that follows `state`; answers the state behind it.
    pub(super) fn read(&mut self, text: &[u8], mut state: State) -> State {
        let mut rest = text;
        while !rest.is_empty() {
            let length = rest.len().min(BLOCK);
            let is_plain = length >= FEW && rest[..length].is_ascii();
            state = if is_plain { self.read_block(&rest[..length], state) } else { self.read_singly(rest, length, state) };
            rest = &rest[length..];
        }
        state
    }

    /// Takes in the characters that begin in the first `length` bytes, one by one.
    pub(super) fn read_singly(&mut self, text: &[u8], length: usize, mut state: State) -> State {
        for at in 0..length {
            let rest = &text[at..];
            let class = CLASSES[usize::from(rest[0])];
            state = if let Class::Mixed = class {
                self.step(state, mixed(rest[0], rest.get(1).copied().unwrap_or_default()), || character(rest))
            } else {
                self.step(state, class, || character(rest))
            };
        }
        state
    }

    /// The same for at most a block of plain ASCII. What a byte counts as depends on two bytes before it and on no result, so many are
    /// counted at once.
    fn read_block(&mut self, text: &[u8], state: State) -> State {
        let before = match state {
            State::Start | State::In(..) => [b'\n', b'\n'],
            State::Lower => [b'\n', b'a'],
            State::Upper => [b'\n', b'A'],
            State::Digit => [b'\n', b'0'],
            State::Mark => [b'\n', b'.'],
            State::Gap => [b'\n', b' '],
            State::Indent => [b' ', b' '],
        };
        // Line breaks stand where there is no text.
        let mut bytes = [b'\n'; BEFORE + BLOCK];
        bytes[BEFORE - 2..BEFORE].copy_from_slice(&before);
        bytes[BEFORE..BEFORE + text.len()].copy_from_slice(text);
        self.add_block(&bytes);
        self.remove_newlines(BLOCK - text.len());
        match [bytes[BEFORE + text.len() - 2], bytes[BEFORE + text.len() - 1]] {
            [_, b'a'..=b'z'] => State::Lower,
            [_, b'A'..=b'Z'] => State::Upper,
            [_, b'0'..=b'9'] => State::Digit,
            [b' ' | b'\t' | b'\r', b' ' | b'\t' | b'\r'] => State::Indent,
            [_, b' ' | b'\t' | b'\r'] => State::Gap,
            [_, b'\n'] => State::Start,
            _ => State::Mark,
        }
    }

    /// Takes in all bytes but those before the block.
    fn add_block(&mut self, bytes: &[u8; BEFORE + BLOCK]) {
        // What each byte is: 1 or 0.
        let [mut letter, mut upper, mut digit, mut blank, mut mark] = [[0_u8; BEFORE + BLOCK]; 5];
        for (at, &byte) in bytes.iter().enumerate() {
            letter[at] = u8::from((byte | 0x20).wrapping_sub(b'a') < 26);
            upper[at] = u8::from(byte.wrapping_sub(b'A') < 26);
            digit[at] = u8::from(byte.wrapping_sub(b'0') < 10);
            blank[at] = u8::from(byte == b' ') | u8::from(byte == b'\t') | u8::from(byte == b'\r');
            mark[at] = 1 ^ (letter[at] | digit[at] | blank[at] | u8::from(byte == b'\n'));
        }
        // Sums in single bytes, which a block does not overflow.
        let [mut letters, mut words, mut cases, mut capitals, mut digits, mut numbers] = [0_u8; 6];
        let [mut single, mut marks, mut alone, mut newlines, mut indents] = [0_u8; 5];
        for at in BEFORE..BEFORE + BLOCK {
            letters += letter[at];
            words += letter[at] & !letter[at - 1];
            cases += upper[at] & letter[at - 1] & !upper[at - 1];
            capitals += upper[at] & upper[at - 1];
            digits += digit[at];
            numbers += digit[at] & !digit[at - 1];
            single += mark[at];
            marks += mark[at] & !mark[at - 1];
            alone += mark[at] & blank[at - 1];
            newlines += u8::from(bytes[at] == b'\n');
            indents += blank[at] & blank[at - 1] & !blank[at - 2];
        }
        let sums = [
            (Kind::Word, words),
            (Kind::Letter, letters),
            (Kind::Case, cases),
            (Kind::Capital, capitals),
            (Kind::Number, numbers),
            (Kind::Digit, digits),
            (Kind::Marks, marks),
            (Kind::Mark, single),
            (Kind::MarkAlone, alone),
            (Kind::Newline, newlines),
            (Kind::Indent, indents),
        ];
        for (kind, sum) in sums {
            self.kinds[kind as usize] += u64::from(sum);
        }
    }

    #[inline]
    fn step(&mut self, state: State, class: Class, character: impl FnOnce() -> u32) -> State {
        let is_word = matches!(state, State::Lower | State::Upper);
        match class {
            Class::Lower => {
                self.run(is_word, Kind::Word, Kind::Letter);
                State::Lower
            }
            Class::Upper => {
                self.run(is_word, Kind::Word, Kind::Letter);
                self.kinds[Kind::Case as usize] += u64::from(state == State::Lower);
                self.kinds[Kind::Capital as usize] += u64::from(state == State::Upper);
                State::Upper
            }
            Class::Accented => {
                self.run(is_word, Kind::Word, Kind::Letter);
                self.kinds[Kind::Accent as usize] += 1;
                State::Lower
            }
            Class::Blank => match state {
                State::Gap => {
                    self.kinds[Kind::Indent as usize] += 1;
                    State::Indent
                }
                State::Indent => State::Indent,
                _ => State::Gap,
            },
            Class::Digit => {
                self.run(state == State::Digit, Kind::Number, Kind::Digit);
                State::Digit
            }
            Class::Mark => {
                self.run(state == State::Mark, Kind::Marks, Kind::Mark);
                self.kinds[Kind::MarkAlone as usize] += u64::from(matches!(state, State::Gap | State::Indent));
                State::Mark
            }
            Class::Newline => {
                self.kinds[Kind::Newline as usize] += 1;
                State::Start
            }
            Class::Of(script) => self.look_up(state, script, character()),
            Class::Other | Class::Mixed => {
                self.kinds[Kind::Other as usize] += 1;
                State::Start
            }
            Class::Inner => state,
        }
    }

    #[inline]
    fn run(&mut self, goes_on: bool, run: Kind, single: Kind) {
        self.kinds[run as usize] += u64::from(!goes_on);
        self.kinds[single as usize] += 1;
    }

    /// Goes on with a piece as long as the vocabulary has one that begins so.
    fn look_up(&mut self, state: State, script: Script, character: u32) -> State {
        let (pieces, single) = match script {
            Script::Cyrillic => (Kind::CyrillicPiece, Kind::Cyrillic),
            Script::Han => (Kind::HanPiece, Kind::Han),
            Script::Kana => (Kind::KanaPiece, Kind::Kana),
        };
        self.kinds[single as usize] += 1;
        if let State::In(before, piece) = state
            && before == script
            && piece.with(character).is_known()
        {
            return State::In(script, piece.with(character));
        }
        self.kinds[pieces as usize] += 1;
        let behind_blank = Piece::begin(character, true);
        if state == State::Gap && behind_blank.is_known() {
            return State::In(script, behind_blank);
        }
        let piece = Piece::begin(character, false);
        self.kinds[Kind::HanRare as usize] += u64::from(script == Script::Han && !piece.is_known());
        State::In(script, piece)
    }
}
