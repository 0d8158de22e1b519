//! The part of a request that is looked at, in lower case.

use std::ops::Range;

use memchr::{memchr, memchr3, memrchr};

/// Bytes of the system message, of the user message's beginning and of its end that are looked at.
const SYSTEM: usize = 400;
const HEAD: usize = 400;
const TAIL: usize = 240;
/// How far an instruction reaches from either end of a message.
const EDGE: usize = 160;

/// What is looked at. At most about a thousand bytes, whatever the request.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) system: String,
    /// The message, or its beginning and its end with a line break between them.
    pub(super) user: String,
    /// Bytes of the whole message.
    pub(super) length: usize,
    /// Where the message's beginning and its end are, as far as an instruction is expected there.
    pub(super) front: usize,
    pub(super) back: usize,
    /// Spans in quotation marks.
    pub(super) quotes: Vec<Range<usize>>,
}

/// Where in a request something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    System,
    Front,
    Back,
    /// In the middle, or in quotation marks.
    Inside,
}

impl Seen {
    pub(super) fn of(system: &str, user: &str) -> Self {
        let user = user.trim();
        let mut text = String::with_capacity(HEAD + TAIL + 64);
        if user.len() <= HEAD + TAIL {
            lower(user, &mut text);
        } else {
            lower(&user[..boundary(user, HEAD)], &mut text);
            text.push('\n');
            lower(&user[boundary(user, user.len() - TAIL)..], &mut text);
        }
        let mut told = String::with_capacity(SYSTEM + 32);
        lower(&system[..boundary(system, SYSTEM)], &mut told);
        let first_line = memchr(b'\n', text.as_bytes()).unwrap_or(text.len());
        let last_line = memrchr(b'\n', text.as_bytes()).map_or(0, |at| at + 1);
        let front = first_line.clamp(EDGE.min(text.len()), (EDGE * 3 / 2).min(text.len()));
        let back = last_line.clamp(text.len().saturating_sub(EDGE * 3 / 2), text.len().saturating_sub(EDGE));
        let quotes = quotes(&text);
        Self { system: told, length: user.len(), front, back, quotes, user: text }
    }

    /// Neither message has a word.
    pub(super) fn says_nothing(&self) -> bool {
        self.user.is_empty() && self.system.trim().is_empty()
    }

    /// Where the byte of the user's message at `at` stands.
    pub(super) fn zone(&self, at: usize) -> Zone {
        if self.quotes.iter().any(|quote| quote.contains(&at)) {
            Zone::Inside
        } else if at < self.front {
            Zone::Front
        } else if at >= self.back {
            Zone::Back
        } else {
            Zone::Inside
        }
    }

    /// The longest quotation's bytes.
    pub(super) fn longest_quote(&self) -> usize {
        self.quotes.iter().map(ExactSizeIterator::len).max().unwrap_or(0)
    }
}

/// The nearest end of a character at or before `at`.
fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

fn lower(text: &str, into: &mut String) {
    if text.is_ascii() {
        let from = into.len();
        into.push_str(text);
        return into[from..].make_ascii_lowercase();
    }
    for character in text.chars() {
        if character.is_ascii() {
            into.push(character.to_ascii_lowercase());
        } else {
            into.extend(character.to_lowercase());
        }
    }
}

/// Spans of 12 bytes and more in quotation marks that close, on one paragraph.
fn quotes(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    // These bytes begin every mark below.
    if memchr3(b'"', 0xc2, 0xe2, text.as_bytes()).or_else(|| memchr(0xe3, text.as_bytes())).is_none() {
        return found;
    }
    let mut open: Option<(usize, char)> = None;
    for (at, character) in text.char_indices() {
        match open {
            Some((from, end)) if character == end => {
                if at - from >= 12 {
                    found.push(from..at);
                }
                open = None;
            }
            Some(_) => {}
            None => {
                let end = match character {
                    '"' => '"',
                    '“' => '”',
                    '„' => '“',
                    '«' => '»',
                    '「' => '」',
                    '『' => '』',
                    _ => continue,
                };
                open = Some((at + character.len_utf8(), end));
            }
        }
    }
    found
}
