use std::sync::LazyLock;

use crate::config::{Classify, ClassifyWhen};
use crate::units::{Confidence, TaskName};

use super::label::Label;
use super::seen::Seen;
use super::table::Table;
use super::words::Words;

/// How a file wants tasks recognised.
#[derive(Debug)]
pub struct Recognizer {
    when: ClassifyWhen,
    floor: Confidence,
    /// The file's own labels, and their words.
    own: Option<(Vec<TaskName>, Words<usize>)>,
}

/// What the words of a request show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// Below the floor nothing counts.
    pub counts: bool,
    pub name: TaskName,
    pub confidence: Confidence,
    /// What it would be else; absent where a word of the file's own decided.
    pub runner_up: Option<(TaskName, Confidence)>,
    /// One sign decided alone.
    pub by_structure: bool,
    /// What was seen, in words.
    pub signs: Vec<&'static str>,
}

impl Recognizer {
    #[must_use]
    pub fn new(settings: &Classify) -> Self {
        let names = settings.labels.iter().map(|label| label.name.clone()).collect();
        let words = settings.labels.iter().enumerate().flat_map(|(at, label)| label.words.iter().map(move |word| (at, word)));
        Self { when: settings.when, floor: settings.floor, own: Words::new(words).map(|words| (names, words)) }
    }

    /// Whether to look at a request of which some rule asks for a task, or none does.
    #[must_use]
    pub fn looks(&self, is_asked: bool) -> bool {
        self.when == ClassifyWhen::Always || self.when == ClassifyWhen::Needed && is_asked
    }

    /// Whether tasks are recognised at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.when != ClassifyWhen::Never
    }

    /// What the last message and the system message show.
    #[must_use]
    pub fn recognise(&self, system: &str, user: &str) -> Recognised {
        if let Some(name) = self.own(system, user) {
            let signs = vec!["a keyword of the file"];
            return Recognised { counts: true, name, confidence: Confidence::CERTAIN, runner_up: None, by_structure: true, signs };
        }
        let guess = Table::built_in().classify(system, user);
        Recognised {
            counts: guess.confidence >= self.floor && guess.confidence > Confidence::from_thousandths(0),
            name: name_of(guess.label),
            confidence: guess.confidence,
            runner_up: Some((name_of(guess.runner_up.0), guess.runner_up.1)),
            by_structure: guess.by_structure,
            signs: guess.signs.all().map(super::Sign::as_str).collect(),
        }
    }

    /// The first of the file's own labels of which a word is there.
    fn own(&self, system: &str, user: &str) -> Option<TaskName> {
        let (names, words) = self.own.as_ref()?;
        let seen = Seen::of(system, user);
        let mut first = usize::MAX;
        for text in [&seen.user, &seen.system] {
            words.find(text, |label, _| first = first.min(label));
        }
        names.get(first).cloned()
    }
}

fn name_of(label: Label) -> TaskName {
    static NAMES: LazyLock<[TaskName; 10]> =
        LazyLock::new(|| Label::ALL.map(|label| TaskName::parse(label.as_str()).unwrap_or_else(|_| TaskName::unknown())));
    NAMES[label.index()].clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::OwnLabel;

    fn label(name: &str, words: &[&str]) -> OwnLabel {
        OwnLabel { name: TaskName::parse(name).unwrap(), words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    #[test]
    fn own_labels_stand_before_all_else_in_the_order_of_the_file() {
        let settings =
            Classify { labels: vec![label("legal", &["contract*", "non-disclosure"]), label("art", &["paint"])], ..Classify::default() };
        let recognizer = Recognizer::new(&settings);
        for (text, name) in [
            ("Translate this to German: the Contractor shall pay", "legal"),
            ("may I paint over a contract?", "legal"),
            ("how do I paint a door", "art"),
            ("my painting is dry", "qa"),
            ("Translate this to German: the shop is shut", "translation"),
        ] {
            let told = recognizer.recognise("", text);
            assert!(told.name.as_str() == name || name == "qa" && told.runner_up.is_some(), "{text}: {told:?}");
        }
    }

    #[test]
    fn the_floor_decides_what_counts() {
        let at = |thousandths| Recognizer::new(&Classify { floor: Confidence::from_thousandths(thousandths), ..Classify::default() });
        assert!(at(0).recognise("", "hm, the blue thing over there").counts);
        assert!(!at(1_000).recognise("", "hm, the blue thing over there").counts);
    }

    #[test]
    fn it_looks_when_it_is_told_to() {
        for (when, [asked, not_asked]) in
            [(ClassifyWhen::Never, [false, false]), (ClassifyWhen::Needed, [true, false]), (ClassifyWhen::Always, [true, true])]
        {
            let recognizer = Recognizer::new(&Classify { when, ..Classify::default() });
            assert_eq!([recognizer.looks(true), recognizer.looks(false)], [asked, not_asked]);
        }
    }
}
