//! What of a request can be seen without having learned anything: the words that name a task, code, choices, formulas.

use std::sync::LazyLock;

use memchr::memchr;
use memchr::memmem::Finder;

use super::label::Label;
use super::seen::{Seen, Zone};
use super::words::{Words, is_dense};

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

static PHRASES: LazyLock<Option<Words<Sign>>> = LazyLock::new(|| Words::new(written()?));

/// How many phrases there are.
#[cfg(test)]
pub(super) fn phrases() -> Option<usize> {
    PHRASES.as_ref().map(Words::count)
}

/// The phrases as they are written, each with its sign. Absent where they cannot be read, which a test rules out.
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

impl Signs {
    pub(super) fn of(seen: &Seen) -> Self {
        let mut signs = Self::default();
        if let Some(phrases) = &*PHRASES {
            // One loop for both: two copies of it are more memory to fetch.
            for (text, all) in [(&seen.system, Some(Zone::System)), (&seen.user, None)] {
                signs.words(phrases, text, |at| all.unwrap_or_else(|| seen.zone(at)));
            }
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
        bits(self.zones[0] | self.zones[1] | self.zones[2]).map(|bit| Sign::ALL[usize::from(bit)])
    }

    /// Signs of one zone after another, as numbers below 256.
    pub(super) fn codes(self) -> impl Iterator<Item = u8> {
        (0..4_u8).flat_map(move |zone| bits(self.zones[usize::from(zone)]).map(move |bit| zone * 64 + bit))
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

    fn words(&mut self, phrases: &Words<Sign>, text: &str, zone: impl Fn(usize) -> Zone) {
        phrases.find(text, |sign, at| {
            let zone = match sign {
                Sign::Fence | Sign::Diff | Sign::Trace | Sign::Formula => Zone::Front,
                _ => zone(at),
            };
            self.marks += u32::from(sign == Sign::CodeMark);
            self.set(zone, sign);
            if at == 0 && matches!(sign, Sign::Greet | Sign::Thanks) && zone == Zone::Front {
                self.set(Zone::Front, Sign::Opens);
            }
        });
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
            (Sign::Choices, has_choices(text, counts.marks > 0)),
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

/// The numbers of the bits that are set.
fn bits(mut of: u64) -> impl Iterator<Item = u8> {
    (0..of.count_ones()).map(move |_| {
        let [bit, ..] = of.trailing_zeros().to_le_bytes();
        of &= of - 1;
        bit
    })
}

struct Counts {
    brackets: usize,
    dollars: usize,
    /// Runs of digits.
    numbers: usize,
    /// What stands beside the letter of a choice.
    marks: usize,
    characters: usize,
}

impl Counts {
    fn of(text: &str) -> Self {
        let sum = text.bytes().fold(0, |sum, byte| sum + KINDS[usize::from(byte)]);
        let count = |kind: u64| usize::from(u16::try_from(sum / kind % (1 << 16)).unwrap_or(u16::MAX));
        let characters =
            if text.is_ascii() { text.len() } else { text.chars().map(|character| 1 + usize::from(is_dense(character))).sum() };
        let numbers = if count(DIGIT) > 0 { numbers(text) } else { 0 };
        Self { brackets: count(BRACKET), dollars: count(DOLLAR), numbers, marks: count(MARK), characters }
    }
}

/// Runs of digits; points and commas may stand within.
fn numbers(text: &str) -> usize {
    let mut was_digit = false;
    let begins = |byte: u8| {
        let is_first = byte.is_ascii_digit() && !was_digit;
        was_digit = byte.is_ascii_digit() || was_digit && matches!(byte, b'.' | b',');
        is_first
    };
    text.bytes().map(begins).filter(|begins| *begins).count()
}

/// What a byte is of: each kind counts in sixteen bits of its own, more than there are bytes to look at.
const KINDS: [u64; 256] = {
    let mut kinds = [0; 256];
    let mut byte = 0_u8;
    while byte.is_ascii() {
        kinds[byte as usize] = match byte {
            b'(' | b')' => BRACKET + MARK,
            b'{' | b'}' | b';' | b'[' | b']' | b'=' | b'<' | b'>' | b'_' | b'|' => BRACKET,
            b'0'..=b'9' => DIGIT,
            b'$' => DOLLAR,
            b'.' | b':' | b'\n' => MARK,
            _ => 0,
        };
        byte += 1;
    }
    kinds[WIDE as usize] = MARK;
    kinds
};
/// What `①` begins with.
const WIDE: u8 = 0xe2;
const BRACKET: u64 = 1;
const DIGIT: u64 = 1 << 16;
const DOLLAR: u64 = 1 << 32;
const MARK: u64 = 1 << 48;

/// How many bytes follow the first colon of the first line.
fn after_colon(text: &str) -> usize {
    let at = if text.is_ascii() { memchr(b':', text.as_bytes()) } else { text.find([':', '：']) };
    at.filter(|at| *at < 160).map_or(0, |at| text.len() - at)
}

/// Whether a list of lettered or numbered choices follows: two neighbours of one of the usual spellings.
fn has_choices(text: &str, has_marks: bool) -> bool {
    /// In front of each a mark that both have, and most texts have not.
    const PAIRS: [(Option<u8>, &str, &str); 20] = [
        (Some(b'.'), "\na.", "\nb."),
        (Some(b')'), "\na)", "\nb)"),
        (Some(b'('), "\n(a)", "\n(b)"),
        (Some(b'('), " (a)", " (b)"),
        (Some(b'('), "(a) ", "(b) "),
        (Some(b')'), " a) ", " b) "),
        (Some(b'.'), " a. ", " b. "),
        (Some(b':'), "\na:", "\nb:"),
        (Some(b':'), "- a:", "- b:"),
        (Some(b'\n'), "\na ", "\nb "),
        (Some(b')'), " b) ", " c) "),
        (Some(b'.'), "\nb.", "\nc."),
        (Some(b')'), "\nb)", "\nc)"),
        (Some(b'('), "(b)", "(c)"),
        (Some(b')'), "\n1)", "\n2)"),
        (Some(WIDE), "①", "②"),
        (Some(b'\n'), "\na、", "\nb、"),
        (Some(b'.'), "\nc.", "\nd."),
        (Some(b')'), "\nc)", "\nd)"),
        (None, "option a", "option b"),
    ];
    // Made once: a search of a text this short costs less than making ready for it.
    static FINDERS: LazyLock<[[Finder<'static>; 2]; 20]> =
        LazyLock::new(|| PAIRS.map(|(_, first, second)| [first, second].map(Finder::new)));
    let text = text.as_bytes();
    let pairs = PAIRS.iter().zip(&*FINDERS).skip(if has_marks { 0 } else { PAIRS.len() - 1 });
    let [point, open, close, colon, line, wide] =
        [b'.', b'(', b')', b':', b'\n', WIDE].map(|byte| has_marks && memchr(byte, text).is_some());
    let may_be = |mark: Option<u8>| match mark {
        Some(b'.') => point,
        Some(b'(') => open,
        Some(b')') => close,
        Some(b':') => colon,
        Some(WIDE) => wide,
        Some(_) => line,
        None => true,
    };
    pairs
        .filter(|((mark, ..), _)| may_be(*mark))
        .any(|(_, [first, second])| first.find(text).is_some_and(|at| second.find(&text[at..]).is_some()))
}
