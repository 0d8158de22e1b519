//! What each character counts as.

/// Scripts whose words are looked up piece by piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Cyrillic,
    /// Han and its punctuation.
    Han,
    /// Kana and hangul.
    Kana,
}

/// What a byte, or the character that it begins, counts as.
#[derive(Clone, Copy)]
pub(super) enum Class {
    Lower,
    Upper,
    /// A Latin letter beyond ASCII.
    Accented,
    Digit,
    Mark,
    Newline,
    Blank,
    Of(Script),
    Other,
    /// A byte inside a character.
    Inner,
    /// The first byte of a character whose class its second byte decides.
    Mixed,
}

pub(super) const CLASSES: [Class; 256] = classes();

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
            0x00..=0x7F => Class::Mark,
            0x80..=0xBF => Class::Inner,
            0xC3..=0xC9 => Class::Accented,
            0xD0..=0xD3 => Class::Of(Script::Cyrillic),
            0xE4..=0xE9 => Class::Of(Script::Han),
            0xEB | 0xEC => Class::Of(Script::Kana),
            0xE1 | 0xE3 | 0xEA | 0xED | 0xEF | 0xF0 => Class::Mixed,
            _ => Class::Other,
        };
        byte += 1;
    }
    table
}

/// The class of a character by its first two bytes, where the first alone does not tell.
pub(super) fn mixed(first: u8, second: u8) -> Class {
    match (first, second) {
        (0xE1, 0xB8..=0xBB) => Class::Accented,
        (0xE3, 0x80 | 0x90..) | (0xEF, 0xA4..=0xAB | 0xBC..=0xBE) | (0xF0, 0xA0..) => Class::Of(Script::Han),
        (0xE3, 0x81..=0x83) | (0xEA, 0xB0..) | (0xED, ..=0x9E) => Class::Of(Script::Kana),
        _ => Class::Other,
    }
}

/// The character that these bytes begin with; what is missing of it counts as zeros.
pub(super) fn character(text: &[u8]) -> u32 {
    let inner = |at: usize| u32::from(text.get(at).copied().unwrap_or_default() & 0x3F);
    match text.first().copied().map_or(0, u32::from) {
        first @ ..0xE0 => (first & 0x1F) << 6 | inner(1),
        first @ 0xE0..0xF0 => (first & 0x0F) << 12 | inner(1) << 6 | inner(2),
        first => (first & 0x07) << 18 | inner(1) << 12 | inner(2) << 6 | inner(3),
    }
}

/// The script of a character whose words are looked up.
#[cfg(test)]
pub(super) fn script_of(character: char) -> Option<Script> {
    let mut bytes = [0; 4];
    let bytes = character.encode_utf8(&mut bytes).as_bytes();
    match CLASSES[usize::from(bytes[0])] {
        Class::Of(script) => Some(script),
        Class::Mixed => match mixed(bytes[0], bytes[1]) {
            Class::Of(script) => Some(script),
            _ => None,
        },
        _ => None,
    }
}

/// Whether a byte stands inside a character.
pub(super) fn is_inner(byte: u8) -> bool {
    byte & 0xC0 == 0x80
}
