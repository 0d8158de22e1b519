//! What of a request can be seen without having learned anything: the words that name a task, code, choices, formulas.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use super::label::Label;
use super::seen::{Seen, Zone};

/// What a word or the shape of a request says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Summarize,
    Title,
    Translate,
    Language,
    Rewrite,
    Correct,
    Classify,
    LabelOnly,
    Extract,
    FromText,
    TextMark,
    Write,
    Genre,
    Code,
    Math,
    HowMany,
    Ask,
    Advice,
    Greet,
    Thanks,
    Talk,
    /// The very first words greet or thank.
    Opens,
    Choose,
    AnswerMark,
    QuestionMark,
    Fence,
    Diff,
    Trace,
    CodeMark,
    CodeShape,
    Formula,
    Numbers,
    Choices,
    HasText,
    Quoted,
    Short,
    Tiny,
    Asks,
    EndsOpen,
}

impl Sign {
    const ALL: [Self; 39] = [
        Self::Summarize,
        Self::Title,
        Self::Translate,
        Self::Language,
        Self::Rewrite,
        Self::Correct,
        Self::Classify,
        Self::LabelOnly,
        Self::Extract,
        Self::FromText,
        Self::TextMark,
        Self::Write,
        Self::Genre,
        Self::Code,
        Self::Math,
        Self::HowMany,
        Self::Ask,
        Self::Advice,
        Self::Greet,
        Self::Thanks,
        Self::Talk,
        Self::Opens,
        Self::Choose,
        Self::AnswerMark,
        Self::QuestionMark,
        Self::Fence,
        Self::Diff,
        Self::Trace,
        Self::CodeMark,
        Self::CodeShape,
        Self::Formula,
        Self::Numbers,
        Self::Choices,
        Self::HasText,
        Self::Quoted,
        Self::Short,
        Self::Tiny,
        Self::Asks,
        Self::EndsOpen,
    ];

    /// What it says, in words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Summarize => "words for summarizing",
            Self::Title => "asks for a title",
            Self::Translate => "words for translating",
            Self::Language => "names a language",
            Self::Rewrite => "words for rewriting",
            Self::Correct => "words for correcting",
            Self::Classify => "words for classifying",
            Self::LabelOnly => "asks for a label only",
            Self::Extract => "words for extracting",
            Self::FromText => "asks about a given text",
            Self::TextMark => "a mark before a text",
            Self::Write => "words for writing",
            Self::Genre => "names a kind of text",
            Self::Code => "words of programming",
            Self::Math => "words of mathematics",
            Self::HowMany => "asks how many",
            Self::Ask => "asks what, why or how",
            Self::Advice => "asks for advice or ideas",
            Self::Greet => "greets",
            Self::Thanks => "thanks or agrees",
            Self::Talk => "talks",
            Self::Opens => "begins with a greeting or thanks",
            Self::Choose => "asks to choose an answer",
            Self::AnswerMark => "a mark for an answer",
            Self::QuestionMark => "a mark before a question",
            Self::Fence => "a code fence",
            Self::Diff => "a diff",
            Self::Trace => "a stack trace",
            Self::CodeMark => "a piece of code",
            Self::CodeShape => "looks like code",
            Self::Formula => "a formula",
            Self::Numbers => "numbers",
            Self::Choices => "a list of choices",
            Self::HasText => "a text comes along",
            Self::Quoted => "a quotation",
            Self::Short => "short",
            Self::Tiny => "a few words",
            Self::Asks => "ends with a question",
            Self::EndsOpen => "ends open",
        }
    }

    fn bit(self) -> u64 {
        1 << (self as u8)
    }
}

/// The signs of one request, by where they stand. Those of the shape stand in front.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs {
    zones: [u64; 4],
    /// How many different pieces of code there are.
    marks: u32,
}

/// Each phrase once, with the signs of it and whether a letter may touch it.
struct Scanner {
    find: AhoCorasick,
    phrases: Vec<(Sign, bool, bool)>,
}

static SCANNER: LazyLock<Option<Scanner>> = LazyLock::new(scanner);

/// Phrases, and bytes in memory.
#[cfg(test)]
pub(super) fn scanner_size() -> Option<(usize, usize)> {
    SCANNER.as_ref().map(|scanner| (scanner.phrases.len(), scanner.find.memory_usage()))
}

/// Absent where the phrases cannot be read, which a test rules out.
fn scanner() -> Option<Scanner> {
    let mut texts = Vec::new();
    let mut phrases = Vec::new();
    for (sign, word) in written()? {
        let text = word.trim_matches('*').replace('⏎', "\n").replace('⇥', "\t");
        let is_open = |at: Option<char>| at.is_none_or(|edge| !is_letter(edge));
        let is_open_before = word.starts_with('*') || is_open(text.chars().next());
        let is_open_behind = word.ends_with('*') || is_open(text.chars().next_back());
        phrases.push((sign, is_open_before, is_open_behind));
        texts.push(text);
    }
    let find = AhoCorasick::builder().match_kind(MatchKind::Standard).kind(Some(AhoCorasickKind::ContiguousNFA)).build(texts).ok()?;
    Some(Scanner { find, phrases })
}

/// The phrases as they are written, each with its sign.
fn written() -> Option<Vec<(Sign, &'static str)>> {
    let mut sign = None;
    let mut all = Vec::new();
    for line in include_str!("phrases.txt").lines().skip_while(|line| !line.starts_with('[')).filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            sign = Some(Sign::ALL.into_iter().find(|sign| format!("{sign:?}") == name)?);
        } else {
            all.extend(line.split(" | ").map(|phrase| Some((sign?, phrase))).collect::<Option<Vec<_>>>()?);
        }
    }
    Some(all)
}

/// A letter of a script that puts blanks between words.
pub(super) fn is_letter(character: char) -> bool {
    character.is_alphabetic() && !is_dense(character)
}

/// A character of a script without blanks.
pub(super) fn is_dense(character: char) -> bool {
    matches!(character, '\u{2e80}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ac00}'..='\u{d7af}' | '\u{e00}'..='\u{e7f}' | '\u{20000}'..='\u{3ffff}')
}

impl Signs {
    pub(super) fn of(seen: &Seen) -> Self {
        let mut signs = Self::default();
        if let Some(scanner) = &*SCANNER {
            signs.words(scanner, &seen.system, |_| Zone::System);
            signs.words(scanner, &seen.user, |at| seen.zone(at));
        }
        signs.shape(seen);
        signs
    }

    pub(super) fn has(self, zone: Zone, sign: Sign) -> bool {
        self.zones[zone as usize] & sign.bit() != 0
    }

    /// Where an instruction stands: in front, at the back or in the system message.
    pub(super) fn asked(self, sign: Sign) -> bool {
        (self.zones[0] | self.zones[1] | self.zones[2]) & sign.bit() != 0
    }

    /// Those that stand where an instruction does.
    pub fn all(self) -> impl Iterator<Item = Sign> {
        Sign::ALL.into_iter().filter(move |sign| self.asked(*sign))
    }

    /// Signs of one zone after another, as numbers below 256.
    pub(super) fn codes(self) -> impl Iterator<Item = u8> {
        (0..4_u8).flat_map(move |zone| {
            Sign::ALL
                .into_iter()
                .filter(move |sign| self.zones[usize::from(zone)] & sign.bit() != 0)
                .map(move |sign| zone * 64 + sign as u8)
        })
    }

    /// The label that one strong sign decides alone: nothing else speaks for another.
    pub(super) fn strong(self, seen: &Seen) -> Option<Label> {
        let front = |sign| self.has(Zone::Front, sign) || self.has(Zone::System, sign);
        let any = |some: &[Sign]| some.iter().any(|sign| self.asked(*sign));
        let has_text = any(&[Sign::HasText, Sign::Quoted, Sign::TextMark]);
        if any(&[Sign::Diff, Sign::Trace]) && !any(&[Sign::Summarize, Sign::Translate, Sign::Classify, Sign::Formula]) {
            return Some(Label::Coding);
        }
        if any(&[Sign::Fence, Sign::Diff, Sign::Trace, Sign::CodeShape, Sign::Choices, Sign::Choose, Sign::Code, Sign::Genre]) {
            return None;
        }
        let tasks = [Sign::Summarize, Sign::Translate, Sign::Rewrite, Sign::Correct, Sign::Classify, Sign::Extract, Sign::Talk];
        let is_alone = |sign: Sign| tasks.iter().all(|other| *other == sign || !self.asked(*other));
        if front(Sign::Translate) && self.asked(Sign::Language) && is_alone(Sign::Translate) {
            return Some(Label::Translation);
        }
        let summarizes = front(Sign::Summarize) && has_text && seen.length >= 200 && is_alone(Sign::Summarize);
        summarizes.then_some(Label::Summarization)
    }

    fn set(&mut self, zone: Zone, sign: Sign) {
        self.zones[zone as usize] |= sign.bit();
    }

    fn words(&mut self, scanner: &Scanner, text: &str, zone: impl Fn(usize) -> Zone) {
        for found in scanner.find.find_overlapping_iter(text) {
            let (sign, is_open_before, is_open_behind) = scanner.phrases[found.pattern().as_usize()];
            let is_whole = (is_open_before || !text[..found.start()].chars().next_back().is_some_and(is_letter))
                && (is_open_behind || !text[found.end()..].chars().next().is_some_and(is_letter));
            if is_whole {
                let zone = match sign {
                    Sign::Fence | Sign::Diff | Sign::Trace | Sign::Formula => Zone::Front,
                    _ => zone(found.start()),
                };
                self.marks += u32::from(sign == Sign::CodeMark);
                self.set(zone, sign);
                if found.start() == 0 && matches!(sign, Sign::Greet | Sign::Thanks) && zone == Zone::Front {
                    self.set(Zone::Front, Sign::Opens);
                }
            }
        }
    }

    fn shape(&mut self, seen: &Seen) {
        let text = seen.user.as_str();
        let counts = Counts::of(text);
        let marks = self.marks;
        let shapes = [
            (
                Sign::CodeShape,
                (marks >= 2 && counts.brackets >= 4)
                    || (marks >= 1 && counts.brackets * 14 >= text.len().max(1))
                    || counts.brackets * 9 >= text.len().max(60),
            ),
            (Sign::Formula, counts.dollars >= 2 && text.contains(['\\', '^', '_', '='])),
            (Sign::Numbers, counts.numbers >= 2 && counts.numbers * 60 >= text.len().min(600)),
            (Sign::Choices, has_choices(text)),
            (Sign::HasText, seen.length >= 300 && text.contains('\n') || seen.longest_quote() >= 60 || after_colon(text) >= 60),
            (Sign::Quoted, !seen.quotes.is_empty()),
            (Sign::Short, counts.characters <= 60),
            (Sign::Tiny, counts.characters <= 18),
            (Sign::Asks, text.trim_end_matches(['"', ')', ' ']).ends_with(['?', '？', '؟'])),
            (Sign::EndsOpen, text.ends_with([':', '：', '='])),
        ];
        for (sign, is_seen) in shapes {
            if is_seen {
                self.set(Zone::Front, sign);
            }
        }
    }
}

struct Counts {
    brackets: usize,
    dollars: usize,
    /// Runs of digits.
    numbers: usize,
    characters: usize,
}

impl Counts {
    fn of(text: &str) -> Self {
        let mut counts = Self { brackets: 0, dollars: 0, numbers: 0, characters: 0 };
        let mut was_digit = false;
        for character in text.chars() {
            counts.brackets += usize::from(matches!(character, '{' | '}' | ';' | '(' | ')' | '[' | ']' | '=' | '<' | '>' | '_' | '|'));
            counts.dollars += usize::from(character == '$');
            counts.numbers += usize::from(character.is_ascii_digit() && !was_digit);
            was_digit = character.is_ascii_digit() || was_digit && matches!(character, '.' | ',');
            counts.characters += 1 + usize::from(is_dense(character));
        }
        counts
    }
}

/// How many bytes follow the first colon of the first line.
fn after_colon(text: &str) -> usize {
    text.find([':', '：']).filter(|at| *at < 160).map_or(0, |at| text.len() - at)
}

/// Whether a list of lettered or numbered choices follows: two neighbours of one of the usual spellings.
fn has_choices(text: &str) -> bool {
    const PAIRS: [(&str, &str); 20] = [
        ("\na.", "\nb."),
        ("\na)", "\nb)"),
        ("\n(a)", "\n(b)"),
        (" (a)", " (b)"),
        ("(a) ", "(b) "),
        (" a) ", " b) "),
        (" a. ", " b. "),
        ("\na:", "\nb:"),
        ("- a:", "- b:"),
        ("\na ", "\nb "),
        (" b) ", " c) "),
        ("\nb.", "\nc."),
        ("\nb)", "\nc)"),
        ("(b)", "(c)"),
        ("\n1)", "\n2)"),
        ("①", "②"),
        ("\na、", "\nb、"),
        ("\nc.", "\nd."),
        ("\nc)", "\nd)"),
        ("option a", "option b"),
    ];
    PAIRS.iter().any(|(first, second)| text.find(first).is_some_and(|at| text[at..].contains(second)))
}
