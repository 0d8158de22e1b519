//! What each kind weighs, by tokenizer.

use super::kinds::KINDS;
use crate::units::Tokenizer;

/// Thousandths of a token, in the order of `Kind`. Fitted by least absolute relative error, each sort of text with a weight of its
/// own, on texts of which none is measured: tests/tokens/README.md says which, and how.
pub(super) type Weights = [u32; KINDS];

pub(super) fn weights(tokenizer: Tokenizer) -> &'static Weights {
    match tokenizer {
        Tokenizer::O200k => &O200K,
        Tokenizer::Cl100k => &CL100K,
        Tokenizer::Claude => &CLAUDE,
        Tokenizer::DeepSeek => &DEEPSEEK,
        Tokenizer::Gemini => &GEMINI,
        Tokenizer::Llama => &LLAMA,
        Tokenizer::Mistral => &MISTRAL,
        Tokenizer::Qwen => &QWEN,
    }
}

#[rustfmt::skip]
mod fitted {
    use super::Weights;

    // word, letter, case, capital, accent, number, digit, marks, mark, mark alone, newline, indent, Cyrillic piece, character,
    // Han piece, character, rare one, kana piece, character, other
    pub(super) static O200K:    Weights = [ 814,  69, 1364,  19,  323, 1681,  223, 279, 180, 524, 531, 589, 1112,   0,  896, 128, 1250, 1016,  31,  383];
    pub(super) static CL100K:   Weights = [ 840,  74, 1481,   7, 1252, 1785,  208, 249, 144, 643, 366, 704, 1311, 159, 1241, 168, 1610,  933, 405, 1044];
    pub(super) static CLAUDE:   Weights = [1060,  19, 1702,  58, 2099, 1258,  240, 908,  25, 133, 752,   0, 1037, 304, 1305,   0, 1596,  671, 555, 1302];
    pub(super) static DEEPSEEK: Weights = [ 731,  95, 1352, 139,  931, 1581,  206, 538, 141, 380, 398, 460, 1215,   5,  712, 118, 1208,  754, 193,  517];
    pub(super) static GEMINI:   Weights = [ 926,  37, 1484,  57,  152,  499, 1017, 872,  67, 243, 654, 901,  918,  24,  858,  48,  886,  556,  66,  411];
    pub(super) static LLAMA:    Weights = [ 701, 113, 1372,   0,  436, 1871,  190, 224, 128, 671, 358, 690, 1138,  39,  912, 143, 1218,  643, 237,  406];
    pub(super) static MISTRAL:  Weights = [ 786,  85, 1451, 210,  292, 1001,  976, 315, 200, 393, 525, 604, 1224,   0,  476, 631, 1311,  750, 141,  407];
    pub(super) static QWEN:     Weights = [ 705, 111, 1359,   0,  390, 1234,  911, 248, 122, 669, 349, 672, 1193,  55,  824, 111,  739, 1022,   0, 1017];
}
use fitted::{CL100K, CLAUDE, DEEPSEEK, GEMINI, LLAMA, MISTRAL, O200K, QWEN};
