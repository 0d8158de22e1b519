//! Text as it stands between the quotes of a JSON string, counted as what it spells.

use super::kinds::{Counts, State};

/// Enough to count most of it in whole blocks.
const BUFFER: usize = 1024;
/// A run without an escape of at least so many bytes is counted where it stands.
const LONG: usize = 512;

/// Takes in what `text` spells behind `state`.
pub(super) fn read(counts: &mut Counts, text: &[u8], state: State) {
    let mut spelt = Spelt { counts, buffer: [0; BUFFER], filled: 0, state };
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        spelt.run(&rest[..at]);
        let (character, length) = escape(&rest[at + 1..]);
        spelt.run(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + 1 + length..];
    }
    spelt.run(rest);
    spelt.flush();
}

/// What was spelt and is not counted yet: always whole characters.
struct Spelt<'c> {
    counts: &'c mut Counts,
    buffer: [u8; BUFFER],
    filled: usize,
    state: State,
}

impl Spelt<'_> {
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
