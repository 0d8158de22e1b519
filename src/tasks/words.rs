//! Many words and phrases, found in one pass.

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

/// Words that each say something.
#[derive(Debug)]
pub(super) struct Words<T> {
    find: AhoCorasick,
    /// What each says, and whether a letter may stand before and behind it.
    all: Vec<(T, bool, bool)>,
}

impl<T: Copy> Words<T> {
    /// In lower case; a `*` at an end lets letters touch it there. Absent where there are none, or far too many.
    pub(super) fn new<S: AsRef<str>>(words: impl IntoIterator<Item = (T, S)>) -> Option<Self> {
        let (mut texts, mut all) = (Vec::new(), Vec::new());
        for (says, word) in words {
            let word = word.as_ref();
            let text = word.trim_matches('*').replace('⏎', "\n").replace('⇥', "\t");
            let is_open = |edge: Option<char>| edge.is_none_or(|edge| !is_letter(edge));
            let is_open_before = word.starts_with('*') || is_open(text.chars().next());
            let is_open_behind = word.ends_with('*') || is_open(text.chars().next_back());
            all.push((says, is_open_before, is_open_behind));
            texts.push(text);
        }
        let kind = Some(AhoCorasickKind::ContiguousNFA);
        let find = AhoCorasick::builder().match_kind(MatchKind::Standard).kind(kind).build(&texts).ok()?;
        (!all.is_empty()).then_some(Self { find, all })
    }

    /// What the words in `text` say, and where each begins.
    pub(super) fn found<'w>(&'w self, text: &'w str) -> impl Iterator<Item = (T, usize)> + 'w {
        self.find.find_overlapping_iter(text).filter_map(move |found| {
            let (says, is_open_before, is_open_behind) = self.all[found.pattern().as_usize()];
            let is_whole = (is_open_before || !text[..found.start()].chars().next_back().is_some_and(is_letter))
                && (is_open_behind || !text[found.end()..].chars().next().is_some_and(is_letter));
            is_whole.then_some((says, found.start()))
        })
    }

    /// Words, and bytes in memory.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.all.len(), self.find.memory_usage())
    }
}

/// A letter of a script that puts blanks between words.
fn is_letter(character: char) -> bool {
    character.is_alphabetic() && !is_dense(character)
}

/// A character of a script without blanks.
pub(super) fn is_dense(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ac00}'..='\u{d7af}' | '\u{e00}'..='\u{e7f}' | '\u{20000}'..='\u{3ffff}')
}
