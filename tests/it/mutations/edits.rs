//! Single edits of a text.

use fastrand::Rng;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    DeletedLine,
    CommentedLine,
    DeletedBlock,
    DeletedItem,
    DuplicatedLine,
    SwappedLines,
    SwappedKeys,
    ChangedIndent,
    WrongUnit,
    Typo,
    Cut,
    DeletedBytes,
}

impl Kind {
    pub(super) const ALL: [Self; 12] = [
        Self::DeletedLine,
        Self::CommentedLine,
        Self::DeletedBlock,
        Self::DeletedItem,
        Self::DuplicatedLine,
        Self::SwappedLines,
        Self::SwappedKeys,
        Self::ChangedIndent,
        Self::WrongUnit,
        Self::Typo,
        Self::Cut,
        Self::DeletedBytes,
    ];

    /// The text after one edit of this kind, at a place that chance picks.
    pub(super) fn apply(self, text: &str, chance: &mut Rng) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let line = chance.usize(..lines.len());
        match self {
            Self::DeletedLine => drop(lines.remove(line)),
            Self::CommentedLine => lines[line].insert(0, '#'),
            Self::DeletedBlock => drop(lines.drain(line..end_of_block(&lines, line))),
            Self::DuplicatedLine => lines.insert(line, lines[line].clone()),
            Self::SwappedLines => {
                let other = chance.usize(..lines.len());
                lines.swap(line, other);
            }
            Self::ChangedIndent => {
                let spaces = lines[line].len() - lines[line].trim_start().len();
                let wanted = [0, spaces + 1, spaces + 2, spaces + 4, spaces.saturating_sub(1), spaces.saturating_sub(2)];
                lines[line] = " ".repeat(wanted[chance.usize(..wanted.len())]) + lines[line].trim_start();
            }
            Self::DeletedItem => return without_item(text, chance),
            Self::SwappedKeys => return swapped_keys(text, chance),
            Self::WrongUnit => return with_wrong_unit(text, chance),
            Self::Typo => return with_typo(text, chance),
            Self::Cut => return text[..boundary(text, chance)].to_owned(),
            Self::DeletedBytes => {
                let (one, other) = (boundary(text, chance), boundary(text, chance));
                let (from, to) = (one.min(other), one.max(other).min(one.min(other) + 40));
                return format!("{}{}", &text[..from], &text[text.ceil_char_boundary(to)..]);
            }
        }
        lines.join("\n") + "\n"
    }
}

fn boundary(text: &str, chance: &mut Rng) -> usize {
    text.floor_char_boundary(chance.usize(..text.len()))
}

/// Behind the last line that is deeper than the one at `start`.
fn end_of_block(lines: &[String], start: usize) -> usize {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let is_deeper = |line: &&String| line.trim().is_empty() || indent(line) > indent(&lines[start]);
    start + 1 + lines[start + 1..].iter().take_while(is_deeper).count()
}

/// One item less in a `{…}` or `[…]`.
fn without_item(text: &str, chance: &mut Rng) -> String {
    let commas: Vec<usize> = text.match_indices(", ").map(|(at, _)| at).collect();
    let Some(at) = chance.choice(commas) else { return text.to_owned() };
    let rest = &text[at + 2..];
    let mut depth = 0_i32;
    let end = rest.find(|c: char| {
        depth += i32::from("{[".contains(c)) - i32::from("}]".contains(c));
        depth < 0 || depth == 0 && (c == ',' || c == '\n')
    });
    format!("{}{}", &text[..at], &rest[end.unwrap_or(rest.len())..])
}

/// Two keys in each other's place, their values where they were.
fn swapped_keys(text: &str, chance: &mut Rng) -> String {
    let keys: Vec<(usize, &str)> = words(text).filter(|(at, word)| text[at + word.len()..].starts_with(':')).collect();
    let (one, other) = (keys[chance.usize(..keys.len())], keys[chance.usize(..keys.len())]);
    let (first, second) = if one.0 < other.0 { (one, other) } else { (other, one) };
    if first.0 == second.0 {
        return text.to_owned();
    }
    let between = &text[first.0 + first.1.len()..second.0];
    format!("{}{}{between}{}{}", &text[..first.0], second.1, first.1, &text[second.0 + second.1.len()..])
}

/// A number whose unit is another one, or none.
fn with_wrong_unit(text: &str, chance: &mut Rng) -> String {
    let quantities: Vec<(usize, &str)> = words(text).filter(|(_, word)| word.starts_with(|c: char| c.is_ascii_digit())).collect();
    let Some((at, word)) = chance.choice(quantities) else { return text.to_owned() };
    let digits = word.find(|c: char| !c.is_ascii_digit() && c != '_' && c != '.').unwrap_or(word.len());
    let rest = &text[at + word.len()..];
    let period = rest.strip_prefix('/').map_or(0, |behind| 1 + behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len()));
    let units = ["", "s", "ms", "m", "h", "min", "k", "K", "M", "MB", "MiB", "%", "/min", "/s", "/hour", "/minute", " USD", "€"];
    format!("{}{}{}{}", &text[..at], &word[..digits], units[chance.usize(..units.len())], &rest[period..])
}

fn with_typo(text: &str, chance: &mut Rng) -> String {
    let names: Vec<(usize, &str)> = words(text).filter(|(_, word)| word.len() >= 4 && word.is_ascii()).collect();
    let Some((at, word)) = chance.choice(names) else { return text.to_owned() };
    let typo = super::typos::misspell(word, chance).unwrap_or_default();
    format!("{}{typo}{}", &text[..at], &text[at + word.len()..])
}

/// Each word outside comments and where it begins.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.split_inclusive('\n')
        .scan(0, |start, line| {
            let at = *start;
            *start += line.len();
            Some((at, line.split_once(" #").map_or(line, |(before, _)| before)))
        })
        .filter(|(_, line)| !line.trim_start().starts_with('#'))
        .flat_map(move |(start, line)| {
            line.split(move |c| !is_of_word(c))
                .filter(|word| !word.is_empty())
                .map(move |word| (start + word.as_ptr().addr() - line.as_ptr().addr(), word.trim_matches(['-', '.'])))
        })
        .filter(|(_, word)| !word.is_empty())
        .map(move |(at, word)| (at + text[at..].find(word).unwrap_or(0), word))
}

/// The lines that differ.
pub(super) fn difference(before: &str, after: &str) -> String {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let behind = before[same..].iter().rev().zip(after[same..].iter().rev()).take_while(|(a, b)| a == b).count();
    let part = |mark: &str, lines: &[String]| lines.iter().take(12).map(|line| format!("{mark}{line}")).collect::<Vec<_>>().join("\n");
    format!("line {}\n{}\n{}", same + 1, part("-", &before[same..before.len() - behind]), part("+", &after[same..after.len() - behind]))
}
