//! The paths that a Rust source names, read from its tokens.

/// One path as written, with use trees spread out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) segments: Vec<String>,
    /// The inline modules (`mod tests { … }`) around it, outermost first.
    pub(super) inline: Vec<String>,
    pub(super) is_use: bool,
    /// 1-based.
    pub(super) line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    PathSeparator,
    Sign(char),
}

/// Every path of two segments or more, and every `use`, outside comments and literals.
pub(super) fn named_paths(text: &str) -> Vec<Named> {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, at: 0, found: Vec::new(), open: Vec::new() };
    reader.read();
    reader.found
}

struct Reader<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    found: Vec<Named>,
    /// Open braces; an inline module's carries its name.
    open: Vec<Option<String>>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while self.at < self.tokens.len() {
            match self.peek(0) {
                Some(Token::Sign('{')) => {
                    let name = self.name_of_inline_module();
                    self.open.push(name);
                    self.at += 1;
                }
                Some(Token::Sign('}')) => {
                    self.open.pop();
                    self.at += 1;
                }
                Some(Token::Word(word)) if word == "use" && self.peek(1) != Some(&Token::Sign('<')) => {
                    self.at += 1;
                    self.tree(&[]);
                }
                Some(Token::Word(_)) => self.path(),
                _ => self.at += 1,
            }
        }
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }

    fn name_of_inline_module(&self) -> Option<String> {
        let before = |back: usize| self.at.checked_sub(back).map(|at| &self.tokens[at].0);
        match (before(2), before(1)) {
            (Some(Token::Word(keyword)), Some(Token::Word(name))) if keyword == "mod" => Some(name.clone()),
            _ => None,
        }
    }

    fn push(&mut self, segments: Vec<String>, is_use: bool, line: usize) {
        self.found.push(Named { segments, inline: self.open.iter().flatten().cloned().collect(), is_use, line });
    }

    /// A path in an expression, a type, an attribute or a macro call. Single words are no paths.
    fn path(&mut self) {
        let line = self.tokens[self.at].1;
        let mut segments = Vec::new();
        while let Some(Token::Word(word)) = self.peek(0) {
            segments.push(word.clone());
            self.at += 1;
            if self.peek(0) != Some(&Token::PathSeparator) || !matches!(self.peek(1), Some(Token::Word(_))) {
                break;
            }
            self.at += 1;
        }
        if segments.len() > 1 {
            self.push(segments, false, line);
        }
    }

    /// One branch of a use tree, spread out below `prefix`; stops after the branch.
    fn tree(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        loop {
            match self.peek(0).cloned() {
                Some(Token::PathSeparator | Token::Sign('*')) => self.at += 1,
                Some(Token::Word(word)) if word == "as" => self.at += 2,
                Some(Token::Word(word)) => {
                    // `a::{self}` names `a` itself.
                    if word != "self" || segments.is_empty() {
                        segments.push(word);
                    }
                    self.at += 1;
                }
                Some(Token::Sign('{')) => return self.branches(&segments),
                _ => break,
            }
        }
        self.push(segments, true, line);
    }

    fn branches(&mut self, prefix: &[String]) {
        self.at += 1;
        loop {
            match self.peek(0) {
                Some(Token::Sign('}')) => {
                    self.at += 1;
                    return;
                }
                Some(Token::Sign(',')) => self.at += 1,
                Some(Token::Word(_) | Token::PathSeparator | Token::Sign('{' | '*')) => self.tree(prefix),
                _ => return,
            }
        }
    }
}

/// Words, `::` and single signs, each with its line; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut at, mut line) = (0, 1);
    let mut found = Vec::new();
    while at < chars.len() {
        let rest = &chars[at..];
        let taken = match rest {
            ['/', '/', ..] => rest.iter().position(|c| *c == '\n').unwrap_or(rest.len()),
            ['/', '*', ..] => block_comment(rest),
            ['"', ..] => string(rest),
            ['\'', ..] => character_or_lifetime(rest),
            [':', ':', ..] => {
                found.push((Token::PathSeparator, line));
                2
            }
            [first, ..] if first.is_alphanumeric() || *first == '_' || *first == '$' => {
                let length = 1 + rest[1..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                let word: String = rest[..length].iter().collect();
                match (word.as_str(), raw_string(&rest[length..])) {
                    ("r" | "br" | "cr", Some(raw)) => length + raw,
                    // `r#type` is the word `type`.
                    ("r", None) if rest.get(length) == Some(&'#') => length + 1,
                    _ => {
                        found.push((Token::Word(word), line));
                        length
                    }
                }
            }
            [first, ..] => {
                if !first.is_whitespace() {
                    found.push((Token::Sign(*first), line));
                }
                1
            }
            [] => break,
        };
        line += chars[at..at + taken].iter().filter(|c| **c == '\n').count();
        at += taken;
    }
    found
}

fn block_comment(rest: &[char]) -> usize {
    let (mut at, mut depth) = (2, 1);
    while at < rest.len() && depth > 0 {
        match rest[at..] {
            ['/', '*', ..] => (at, depth) = (at + 2, depth + 1),
            ['*', '/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

fn string(rest: &[char]) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != '"' {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// The length of `#…#"…"#…#` where one follows.
fn raw_string(rest: &[char]) -> Option<usize> {
    let marks = rest.iter().take_while(|c| **c == '#').count();
    if rest.get(marks) != Some(&'"') {
        return None;
    }
    let mut at = marks + 1;
    while at < rest.len() {
        if rest[at] == '"' && rest[at + 1..].iter().take(marks).filter(|c| **c == '#').count() == marks {
            return Some(at + 1 + marks);
        }
        at += 1;
    }
    Some(rest.len())
}

fn character_or_lifetime(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, tail @ ..] => 3 + tail.iter().position(|c| *c == '\'').map_or(0, |end| end + 1),
        ['\'', _, '\'', ..] => 3,
        _ => 1 + rest[1..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count(),
    }
}

#[test]
fn trees_are_spread_out_and_literals_left_alone() {
    let text = "use a::{self, b::{C, d as e}, f::*}; // use x::y;\nlet s = \"m::n\"; mod t { fn g() { p::q::<r::S>(); } }";
    let named: Vec<(String, Vec<String>, usize)> =
        named_paths(text).into_iter().map(|named| (named.segments.join("::"), named.inline, named.line)).collect();
    let wanted = [("a", "", 1), ("a::b::C", "", 1), ("a::b::d", "", 1), ("a::f", "", 1), ("p::q", "t", 2), ("r::S", "t", 2)];
    assert_eq!(named.len(), wanted.len(), "{named:?}");
    for (got, (path, inline, line)) in named.iter().zip(wanted) {
        assert_eq!((got.0.as_str(), got.1.join("::").as_str(), got.2), (path, inline, line));
    }
}
