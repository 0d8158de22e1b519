//! Counting with OpenAI's own vocabularies, which are in the binary and loaded when they are first asked for.

use std::sync::OnceLock;

use tiktoken_rs::CoreBPE;
use tiktoken_rs::tokenizer::{Tokenizer, get_tokenizer};

use super::as_u64;
use crate::units::Tokens;

/// The longest piece of text that a tokenizer gets at once, in bytes: what it does not divide costs it more than its length.
const PIECE: usize = 2 << 10;

static O200K: OnceLock<Option<CoreBPE>> = OnceLock::new();
static CL100K: OnceLock<Option<CoreBPE>> = OnceLock::new();

/// A vocabulary that is public and in the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vocabulary {
    /// Of `gpt-4o` and later, and of `gpt-oss`.
    O200k,
    /// Of `gpt-4`, `gpt-3.5` and their embeddings.
    Cl100k,
}

impl Vocabulary {
    /// The one that a model of this name counts with; what stands in front of a `/` is no part of the name. Absent: not known.
    #[must_use]
    pub fn of_model(name: &str) -> Option<Self> {
        match get_tokenizer(name.rsplit('/').next()?)? {
            Tokenizer::O200kBase | Tokenizer::O200kHarmony => Some(Self::O200k),
            Tokenizer::Cl100kBase => Some(Self::Cl100k),
            Tokenizer::P50kBase | Tokenizer::P50kEdit | Tokenizer::R50kBase | Tokenizer::Gpt2 => None,
        }
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::O200k => "o200k",
            Self::Cl100k => "cl100k",
        }
    }

    /// Takes half a second and some 60 MB of memory, the first time; to be called where that may wait. False: it cannot be.
    #[must_use]
    pub fn load(self) -> bool {
        self.tokenizer().is_some()
    }

    /// How many tokens `text` is, and never fewer. A run of more than 2 KB without a place to divide it counts its bytes.
    /// Absent where `is_over` says that there is no more time, asked every 2 KB.
    #[must_use]
    pub fn count(self, text: &str, is_over: &dyn Fn() -> bool) -> Option<Tokens> {
        let tokenizer = self.tokenizer()?;
        let (mut tokens, mut rest) = (0, text);
        while !rest.is_empty() {
            if is_over() {
                return None;
            }
            let (piece, behind) = rest.split_at(seam(rest, PIECE));
            // Divided anywhere else, two parts can be fewer tokens than the whole.
            tokens += if piece.len() <= PIECE { tokenizer.count_ordinary(piece) } else { piece.len() };
            rest = behind;
        }
        Some(Tokens::new(as_u64(tokens)))
    }

    /// The bytes of each of its tokens.
    #[cfg(test)]
    pub(super) fn tokens(self) -> impl Iterator<Item = Vec<u8>> {
        let tokenizer = self.tokenizer();
        (0..200_000).map_while(move |id| tokenizer?.decode_bytes(&[id]).ok())
    }

    fn tokenizer(self) -> Option<&'static CoreBPE> {
        let loaded = match self {
            Self::O200k => O200K.get_or_init(|| tiktoken_rs::o200k_base().ok()),
            Self::Cl100k => CL100K.get_or_init(|| tiktoken_rs::cl100k_base().ok()),
        };
        loaded.as_ref()
    }
}

/// Where to divide a text: at the last seam within `longest` bytes, else at the first one behind them, else at its end. At a
/// seam both vocabularies end one word and begin another, so that the parts are as many tokens as the whole.
fn seam(text: &str, longest: usize) -> usize {
    if text.len() <= longest {
        return text.len();
    }
    let is_seam = |at: &usize| {
        let (before, behind) = (text[..*at].chars().next_back(), text[*at..].chars().next());
        before.is_some_and(ends_a_word) && behind.is_some_and(begins_another)
    };
    let near = text.floor_char_boundary(longest);
    let within = (1..=near).rev().filter(|at| text.is_char_boundary(*at)).find(is_seam);
    let beyond = || (near + 1..text.len()).filter(|at| text.is_char_boundary(*at)).find(is_seam);
    within.or_else(beyond).unwrap_or(text.len())
}

/// Letters and digits of which it is certain in which class both vocabularies have them.
fn ends_a_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, 'ぁ'..='ゖ' | 'ァ'..='ヺ' | '一'..='\u{9fff}' | '가'..='힣')
}

/// What neither is part of a word nor makes one longer, as an apostrophe does.
fn begins_another(c: char) -> bool {
    (c.is_ascii_punctuation() && c != '\'')
        || matches!(c, ' ' | '\t' | '\n' | '\r' | '、' | '。' | '「' | '」' | '！' | '（' | '）' | '，' | '：' | '；' | '？')
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    const BOTH: [Vocabulary; 2] = [Vocabulary::O200k, Vocabulary::Cl100k];

    #[test]
    fn models_have_the_vocabulary_that_they_count_with() {
        for (name, vocabulary) in [
            ("gpt-4o", Some(Vocabulary::O200k)),
            ("gpt-4o-mini-2024-07-18", Some(Vocabulary::O200k)),
            ("gpt-5-nano", Some(Vocabulary::O200k)),
            ("o3", Some(Vocabulary::O200k)),
            ("openai/gpt-4.1-mini", Some(Vocabulary::O200k)),
            ("gpt-oss-20b", Some(Vocabulary::O200k)),
            ("gpt-4-turbo", Some(Vocabulary::Cl100k)),
            ("gpt-3.5-turbo", Some(Vocabulary::Cl100k)),
            ("text-embedding-3-small", Some(Vocabulary::Cl100k)),
            ("gpt2", None),
            ("claude-sonnet-4-6", None),
            ("deepseek-v4-flash", None),
            ("llama3.2", None),
            ("", None),
        ] {
            assert_eq!(Vocabulary::of_model(name), vocabulary, "{name}");
        }
    }

    #[test]
    fn the_counts_are_those_of_openai() {
        for (text, o200k, cl100k) in [
            ("", 0, 0),
            ("hello world", 2, 2),
            (include_str!("../../tests/tokens/english.txt"), 355, 356),
            (include_str!("../../tests/tokens/chinese.txt"), 435, 636),
            ("<|endoftext|>", 7, 7),
        ] {
            let counts = BOTH.map(|vocabulary| vocabulary.count(text, &|| false).map(Tokens::count));
            assert_eq!(counts, [Some(o200k), Some(cl100k)], "{:?}", text.chars().take(20).collect::<String>());
        }
    }

    /// What cannot be divided costs no more than a look, and never counts for less than it is.
    #[test]
    fn long_runs_count_their_bytes() {
        for run in ["a", " ", "-", "我", "\n", "'", "ab'"] {
            let text = run.repeat(200_000 / run.len());
            let asked = Cell::new(0);
            let is_over = || {
                asked.set(asked.get() + 1);
                false
            };
            let counted = Vocabulary::O200k.count(&text, &is_over).unwrap();
            assert_eq!((counted.count(), asked.get()), (as_u64(text.len()), 1), "{run:?}");
        }
    }

    #[test]
    fn a_count_ends_when_its_time_does() {
        let left = Cell::new(3);
        let is_over = || {
            left.set(left.get() - 1);
            left.get() == 0
        };
        assert_eq!(Vocabulary::O200k.count(&"word ".repeat(100_000), &is_over), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn parts_are_as_many_tokens_as_the_whole(
            text in "([a-zA-Z]{1,9}|[0-9]{1,7}|[ \\t\\r\\n]{1,4}|[!-/:-@\\[-`{-~]{1,5}|'s|'LL|[ぁ-ゖァ-ヺー・]{1,4}|[一-龥]{1,5}|[가-힣]{1,3}|[、。「」！（），：；？]|[é\u{301}ßЖжع๑½²]{1,4}|[ \u{a0}\u{3000}]){0,60}",
            longest in 4..40_usize,
        ) {
            for vocabulary in BOTH {
                let tokenizer = vocabulary.tokenizer().unwrap();
                let (mut sum, mut rest) = (0, &*text);
                while !rest.is_empty() {
                    let (piece, behind) = rest.split_at(seam(rest, longest));
                    sum += tokenizer.count_ordinary(piece);
                    rest = behind;
                }
                prop_assert_eq!(sum, tokenizer.count_ordinary(&text));
            }
        }
    }
}
