//! Which pieces of words the o200k vocabulary has in Cyrillic, Han, kana and hangul, as one bit each.
//!
//! The number of characters says little of how many tokens such a word is: a common one is one token, a rare one several. A piece is
//! read as long as what was read begins something that the vocabulary has. Six bits of a hundred are set by chance as well.

/// The logarithm of the number of bits.
const BITS: u32 = 19;

/// One bit for each beginning of each piece, at the place that its hash names. A test makes it again from the vocabulary.
static TABLE: &[u8; 1 << (BITS - 3)] = include_bytes!("pieces.bin");

/// What was read of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece(u32);

impl Piece {
    /// A piece of one character, behind a blank or not: those are other pieces.
    pub(super) fn begin(character: u32, is_behind_blank: bool) -> Self {
        Self(if is_behind_blank { 0x2C1B_3C6D } else { 0 }).with(character)
    }

    /// The same with one character more.
    pub(super) fn with(self, character: u32) -> Self {
        let hash = (self.0 ^ character).wrapping_mul(0x9E37_79B1);
        Self(hash ^ (hash >> 15))
    }

    /// Whether something in the vocabulary begins so.
    pub(super) fn is_known(self) -> bool {
        let (byte, bit) = self.place();
        TABLE[byte] & bit != 0
    }

    fn place(self) -> (usize, u8) {
        let place = self.0.wrapping_mul(0x85EB_CA6B) >> (32 - BITS);
        // Nineteen bits fit everywhere.
        (place as usize / 8, 1 << (place % 8))
    }
}

#[cfg(test)]
mod tests {
    use super::super::Vocabulary;
    use super::super::classes::{Script, script_of};
    use super::*;

    /// `UPDATE_GOLDEN=1` makes the table again.
    #[test]
    fn the_table_is_that_of_the_vocabulary() {
        let mut table = vec![0_u8; TABLE.len()];
        let mut pieces = 0;
        for token in Vocabulary::O200k.tokens() {
            let Ok(text) = String::from_utf8(token) else { continue };
            let word = text.strip_prefix(' ').unwrap_or(&text);
            let scripts: Vec<Option<Script>> = word.chars().map(script_of).collect();
            if scripts.first().is_none_or(Option::is_none) || scripts.iter().any(|script| *script != scripts[0]) {
                continue;
            }
            pieces += 1;
            let mut piece: Option<Piece> = None;
            for character in word.chars().map(u32::from) {
                let longer = piece.map_or_else(|| Piece::begin(character, word.len() < text.len()), |piece| piece.with(character));
                let (byte, bit) = longer.place();
                table[byte] |= bit;
                piece = Some(longer);
            }
        }
        assert!((20_000..30_000).contains(&pieces), "{pieces}");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tokens/pieces.bin"), &table).unwrap();
        } else {
            assert!(table == TABLE, "src/tokens/pieces.bin is not that of the vocabulary: UPDATE_GOLDEN=1 makes it again");
        }
    }
}
