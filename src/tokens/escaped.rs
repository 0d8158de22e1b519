//! Text as it stands between the quotes of JSON strings, counted as what it spells.

use std::ops::Range;

use super::kinds::{Counts, State, state_before};

/// Enough to count most of it in whole blocks.
const BUFFER: usize = 1024;
/// A run without an escape of at least so many bytes is counted where it stands.
const LONG: usize = 512;

/// Counts texts as they stand between the quotes of JSON strings: `\n` is a line break, `\u4e2d` is one character.
#[derive(Debug)]
pub struct Spelt {
    counts: Counts,
    /// What was spelt and is not counted yet: always whole characters.
    buffer: [u8; BUFFER],
    filled: usize,
    state: State,
    /// Line breaks between texts.
    breaks: usize,
}

impl Default for Spelt {
    fn default() -> Self {
        Self { counts: Counts::default(), buffer: [0; BUFFER], filled: 0, state: State::Start, breaks: 0 }
    }
}

impl Spelt {
    /// Takes in a text. Without `has_escapes`, no backslash stands in it.
    pub fn add(&mut self, text: &[u8], has_escapes: bool) {
        self.counts.add_bytes(text.len());
        if has_escapes {
            self.unescape(text);
        } else {
            self.run(text);
        }
        // What comes next begins anew, as it does on a new line, and can be counted in one block with this.
        self.run(b"\n");
        self.breaks += 1;
    }

    /// Takes in a part of `text`, which begins and ends at characters. A word that the part's beginning cuts is no new one.
    pub fn add_part(&mut self, text: &[u8], part: Range<usize>) {
        self.counts.add_bytes(part.len());
        self.flush();
        self.state = state_before(text, part.start);
        self.unescape(&text[part]);
    }

    /// What all of it is made of.
    #[must_use]
    pub fn counts(mut self) -> Counts {
        self.flush();
        self.counts.remove_newlines(self.breaks);
        self.counts
    }

    fn unescape(&mut self, text: &[u8]) {
        let mut rest = text;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            self.run(&rest[..at]);
            let (character, length) = escape(&rest[at + 1..]);
            self.run(character.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[at + 1 + length..];
        }
        self.run(rest);
    }

    fn run(&mut self, run: &[u8]) {
        if run.len() > BUFFER - self.filled || run.len() >= LONG {
            self.flush();
        }
        if run.len() >= LONG {
            self.state = self.counts.read(run, self.state);
        } else {
            self.buffer[self.filled..self.filled + run.len()].copy_from_slice(run);
            self.filled += run.len();
        }
    }

    fn flush(&mut self) {
        self.state = self.counts.read(&self.buffer[..self.filled], self.state);
        self.filled = 0;
    }
}

/// The character that an escape spells, and the bytes behind the backslash that it takes. What is cut off or wrong is a backslash.
fn escape(rest: &[u8]) -> (char, usize) {
    match rest {
        [b'n', ..] => ('\n', 1),
        [b'r' | b't' | b'b' | b'f', ..] => ('\t', 1),
        [b'u', digits @ ..] => match unit(digits) {
            Some(high @ 0xD800..=0xDBFF) => {
                let low = digits[4..].strip_prefix(b"\\u").and_then(unit).filter(|low| (0xDC00..=0xDFFF).contains(low));
                let pair = low.and_then(|low| char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00)));
                pair.map_or((char::REPLACEMENT_CHARACTER, 5), |pair| (pair, 11))
            }
            Some(unit) => (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 5),
            None => ('\\', 0),
        },
        [byte, ..] if byte.is_ascii() => (char::from(*byte), 1),
        _ => ('\\', 0),
    }
}

fn unit(digits: &[u8]) -> Option<u32> {
    let digits = digits.get(..4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
