//! What of a request can be seen without having learned anything: the words that name a task, code, choices, formulas.

use std::sync::LazyLock;

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

/// Phrases, and bytes in memory.
#[cfg(test)]
pub(super) fn scanner_size() -> Option<(usize, usize)> {
    PHRASES.as_ref().map(Words::size)
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
            signs.words(phrases, &seen.system, |_| Zone::System);
            signs.words(phrases, &seen.user, |at| seen.zone(at));
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

    fn words(&mut self, phrases: &Words<Sign>, text: &str, zone: impl Fn(usize) -> Zone) {
        for (sign, at) in phrases.found(text) {
            let zone = match sign {
                Sign::Fence | Sign::Diff | Sign::Trace | Sign::Formula => Zone::Front,
                _ => zone(at),
            };
            self.marks += u32::from(sign == Sign::CodeMark);
            self.set(zone, sign);
            if at == 0 && matches!(sign, Sign::Greet | Sign::Thanks) && zone == Zone::Front {
                self.set(Zone::Front, Sign::Opens);
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
