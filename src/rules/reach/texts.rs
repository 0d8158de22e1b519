use std::collections::{BTreeMap, BTreeSet, HashSet};

use fixedbitset::FixedBitSet;

/// Places in patterns that are looked at before a list of patterns is given up. Lists that people write need a thousandth of it.
const MOST_WORK: usize = 4_000_000;

/// The texts that one fact can be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Domain {
    allows: fn(char) -> bool,
    /// How many characters it allows.
    characters: usize,
    may_be_empty: bool,
    /// Patterns of texts that it does not have.
    never: &'static [&'static str],
}

impl Domain {
    /// A requested model. One that is asked for as `auto/coding` comes as `auto`.
    pub(super) const MODEL: Self =
        Self { allows: |c| !c.is_whitespace() && !c.is_control(), characters: usize::MAX, may_be_empty: false, never: &["auto/*"] };
    /// One value of a header, which comes without the blanks around it.
    pub(super) const HEADER: Self = Self { allows: is_visible, characters: 95, may_be_empty: true, never: &[" *", "* "] };
    /// The value of a label: what stands between a `=` and a comma of one header.
    pub(super) const LABEL: Self = Self { allows: |c| is_visible(c) && c != ',', characters: 94, ..Self::HEADER };
    /// The value of a tag: any text that a file can say.
    pub(super) const TAG: Self = Self { allows: |_| true, characters: usize::MAX, may_be_empty: true, never: &[] };
}

fn is_visible(c: char) -> bool {
    (' '..='~').contains(&c)
}

/// The ways in which a text can match some of `patterns` and not the others; each way is the set of those that it matches. All of
/// them, and no other. Nothing where there are too many to tell.
pub(super) fn kinds(patterns: &[&str], domain: &Domain) -> Option<Vec<FixedBitSet>> {
    let machine = Machine::new(patterns.iter().chain(domain.never).copied());
    let mut found = BTreeSet::new();
    let mut seen = HashSet::new();
    let mut open = vec![(machine.start(), domain.may_be_empty)];
    let mut work = 0;
    while let Some((state, is_text)) = open.pop() {
        let accepted: Vec<usize> = machine.accepted(&state).collect();
        if is_text && accepted.iter().all(|pattern| *pattern < patterns.len()) {
            found.insert(accepted);
        }
        let symbols = machine.symbols(&state, domain);
        work += state.len() * symbols.len() + 1;
        if work > MOST_WORK {
            return None;
        }
        for symbol in symbols {
            let next = machine.step(&state, symbol);
            if !seen.contains(&next) {
                seen.insert(next.clone());
                open.push((next, true));
            }
        }
    }
    let as_set = |accepted: Vec<usize>| {
        let mut set = FixedBitSet::with_capacity(patterns.len());
        set.extend(accepted);
        set
    };
    Some(found.into_iter().map(as_set).collect())
}

/// Every pattern read side by side, one character at a time.
struct Machine {
    places: Vec<Place>,
    /// The pattern that each place belongs to.
    owners: Vec<usize>,
    /// The first place of each pattern.
    starts: Vec<usize>,
}

/// A place in a pattern, and what a text may have there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Character(char),
    Star,
    End,
}

/// How far each pattern was read: its places in rising order.
type State = Vec<usize>;

impl Machine {
    fn new<'p>(patterns: impl Iterator<Item = &'p str>) -> Self {
        let mut machine = Self { places: Vec::new(), owners: Vec::new(), starts: Vec::new() };
        for (owner, pattern) in patterns.enumerate() {
            let start = machine.places.len();
            machine.starts.push(start);
            for character in pattern.chars() {
                let place = if character == '*' { Place::Star } else { Place::Character(character) };
                if place != Place::Star || machine.places.len() == start || machine.places.last() != Some(&Place::Star) {
                    machine.places.push(place);
                }
            }
            machine.places.push(Place::End);
            machine.owners.resize(machine.places.len(), owner);
        }
        machine
    }

    fn start(&self) -> State {
        let mut state = State::new();
        for start in &self.starts {
            self.enter(*start, &mut state);
        }
        self.settled(state)
    }

    fn step(&self, state: &State, symbol: Option<char>) -> State {
        let mut next = State::new();
        for place in state {
            match self.places[*place] {
                Place::Star => self.enter(*place, &mut next),
                Place::Character(wanted) if Some(wanted) == symbol => self.enter(place + 1, &mut next),
                Place::Character(_) | Place::End => {}
            }
        }
        self.settled(next)
    }

    /// A star may stand for nothing, so that one stands behind it too.
    fn enter(&self, place: usize, state: &mut State) {
        state.push(place);
        if self.places[place] == Place::Star {
            state.push(place + 1);
        }
    }

    /// Sorted, each place once. What leads to a star that was reached leads nowhere else.
    fn settled(&self, mut state: State) -> State {
        state.sort_unstable();
        state.dedup();
        let mut past = None;
        let mut kept: State = Vec::with_capacity(state.len());
        for place in state.into_iter().rev() {
            let owner = self.owners[place];
            if past == Some(owner) {
                continue;
            }
            if self.places[place] == Place::Star {
                past = Some(owner);
            }
            kept.push(place);
        }
        kept.reverse();
        kept
    }

    /// The patterns that the text read so far matches.
    fn accepted(&self, state: &State) -> impl Iterator<Item = usize> {
        state.iter().filter(|place| self.places[**place] == Place::End).map(|place| self.owners[*place])
    }

    /// The characters that make a difference here, and none for all the others where there are any.
    fn symbols(&self, state: &State, domain: &Domain) -> Vec<Option<char>> {
        let mut symbols: Vec<Option<char>> = state
            .iter()
            .filter_map(|place| if let Place::Character(wanted) = self.places[*place] { Some(wanted) } else { None })
            .filter(|wanted| (domain.allows)(*wanted))
            .map(Some)
            .collect();
        symbols.sort_unstable();
        symbols.dedup();
        if symbols.len() < domain.characters {
            symbols.push(None);
        }
        symbols
    }
}

/// One fact that is a text, and the patterns that rules have for it.
#[derive(Debug)]
pub(super) struct Texts {
    /// How many kinds of text they tell apart.
    kinds: usize,
    /// The kinds that each pattern matches. Absent where they are too many to tell.
    patterns: Option<BTreeMap<Box<str>, FixedBitSet>>,
}

impl Texts {
    pub(super) fn new(patterns: BTreeSet<Box<str>>, domain: &Domain) -> Self {
        let listed: Vec<&str> = patterns.iter().map(AsRef::as_ref).collect();
        let Some(kinds) = kinds(&listed, domain) else { return Self::untold() };
        let mut matching = vec![FixedBitSet::with_capacity(kinds.len()); patterns.len()];
        for (number, kind) in kinds.iter().enumerate() {
            for pattern in kind.ones() {
                matching[pattern].insert(number);
            }
        }
        Self { kinds: kinds.len(), patterns: Some(patterns.into_iter().zip(matching).collect()) }
    }

    /// Texts of which nothing is known.
    pub(super) fn untold() -> Self {
        Self { kinds: 0, patterns: None }
    }

    /// The kinds of text that match one of some patterns.
    pub(super) fn matching<'p>(&self, any: impl IntoIterator<Item = &'p str>) -> Option<FixedBitSet> {
        let patterns = self.patterns.as_ref()?;
        let mut matching = FixedBitSet::with_capacity(self.kinds);
        for kinds in any.into_iter().filter_map(|pattern| patterns.get(pattern)) {
            matching.union_with(kinds);
        }
        Some(matching)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::units::Glob;

    /// Every text of at most `longest` of these characters.
    fn all_texts(characters: &str, longest: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut begin = 0;
        for _ in 0..longest {
            let end = all.len();
            for at in begin..end {
                all.extend(characters.chars().map(|c| format!("{}{c}", all[at])).collect::<Vec<_>>());
            }
            begin = end;
        }
        all
    }

    fn sorted(kinds: impl IntoIterator<Item = FixedBitSet>) -> Vec<Vec<usize>> {
        kinds.into_iter().map(|kind| kind.ones().collect()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn kinds_of(texts: &[String], patterns: &[&str]) -> Vec<Vec<usize>> {
        let globs: Vec<Glob> = patterns.iter().map(|pattern| Glob::new(pattern)).collect();
        let kind = |text: &String| globs.iter().enumerate().filter(|(_, glob)| glob.matches(text)).map(|(number, _)| number).collect();
        texts.iter().map(kind).collect::<BTreeSet<Vec<usize>>>().into_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_kinds_are_those_of_all_texts(patterns in proptest::collection::vec("[ab*]{1,4}", 1..5)) {
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            let texts = all_texts("abx", 8);
            prop_assert_eq!(sorted(kinds(&patterns, &Domain::HEADER).unwrap()), kinds_of(&texts, &patterns));
            prop_assert_eq!(sorted(kinds(&patterns, &Domain::MODEL).unwrap()), kinds_of(&texts[1..], &patterns));
        }
    }

    #[test]
    fn what_a_fact_cannot_be_is_no_kind() {
        for (domain, pattern, can_match) in [
            (Domain::MODEL, "auto", true),
            (Domain::MODEL, "aut*", true),
            (Domain::MODEL, "auto/coding", false),
            (Domain::MODEL, "auto/*", false),
            (Domain::MODEL, "*/coding", true),
            (Domain::MODEL, "a b", false),
            (Domain::MODEL, "ü*", true),
            (Domain::HEADER, "ü*", false),
            (Domain::HEADER, "a b", true),
            (Domain::HEADER, " *b", false),
            (Domain::HEADER, "a, b", true),
            (Domain::LABEL, "a, b", false),
            (Domain::LABEL, "a ", false),
            (Domain::LABEL, "a=b", true),
        ] {
            let kinds = kinds(&[pattern], &domain).unwrap();
            assert_eq!(kinds.iter().any(|kind| kind.contains(0)), can_match, "{pattern:?}");
        }
    }

    #[test]
    fn a_hundred_patterns_on_the_middle_are_given_up() {
        let patterns: Vec<String> =
            (0..100_u8).map(|n| format!("*{}*", char::from(b'A' + n % 50).to_string().repeat(1 + usize::from(n) / 50))).collect();
        let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
        assert!(kinds(&patterns, &Domain::HEADER).is_none());
    }
}
