//! The name that somebody meant.

/// A known name close to a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Near<'a> {
    pub(super) name: &'a str,
    /// Letters to add, drop, change or swap with their neighbour.
    pub(super) far: usize,
}

impl Near<'_> {
    /// True where hardly anything else can have been meant, so that the rest of the file may be looked at as if it were right.
    pub(super) fn is_sure(self) -> bool {
        self.far <= 1 || self.far == 2 && self.name.len() >= 8
    }
}

/// The name that `wrong` was most likely meant to be.
pub(super) fn nearest<'a>(wrong: &str, known: &[&'a str]) -> Option<&'a str> {
    near(wrong, known).map(|near| near.name)
}

/// The same, with its distance. Two slips are believed from four letters on, a third of the letters in longer names.
pub(super) fn near<'a>(wrong: &str, known: &[&'a str]) -> Option<Near<'a>> {
    let letters = fold(wrong);
    let budget = if letters.len() < 3 { 1 } else { (letters.len() / 3).max(2) };
    let candidates = known.iter().map(|name| (fold(name), *name));
    let measured = candidates.map(|(folded, name)| (distance(&letters, &folded), unlike(&letters, &folded), name));
    let close = measured.filter(|(far, _, name)| *far <= budget && 2 * far <= name.chars().count());
    close.min_by_key(|(far, unlike, _)| (*far, *unlike)).map(|(far, _, name)| Near { name, far })
}

/// How unlike two equally distant texts look: people swap letters, and get the first and last ones right.
fn unlike(wrong: &[char], name: &[char]) -> (bool, usize, usize) {
    let same = |pairs: &mut dyn Iterator<Item = (&char, &char)>| pairs.take_while(|(a, b)| a == b).count();
    let before = same(&mut wrong.iter().zip(name));
    let behind = same(&mut wrong.iter().rev().zip(name.iter().rev()));
    let sorted = |letters: &[char]| {
        let mut letters = letters.to_vec();
        letters.sort_unstable();
        letters
    };
    (sorted(wrong) != sorted(name), name.len().saturating_sub(before + behind), wrong.len().abs_diff(name.len()))
}

/// Letters without case, and `-` as `_`: people mix them up.
fn fold(text: &str) -> Vec<char> {
    text.chars().take(300).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Letters to add, drop, change or swap with their neighbour to come from one to the other.
fn distance(from: &[char], to: &[char]) -> usize {
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (last[j] + usize::from(a != b)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before_last[j - 1] + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_offered_only_when_it_is_near() {
        let known = ["limits", "timeouts", "base_url", "anthropic", "openai", "task", "idle"];
        for (wrong, name) in [
            ("limit", Some("limits")),
            ("base-url", Some("base_url")),
            ("antropic", Some("anthropic")),
            ("OpenAI", Some("openai")),
            ("opneai", Some("openai")),
            ("tsak", Some("task")),
            ("ilde", Some("idle")),
            ("tassk", Some("task")),
            ("colour", None),
            ("port", None),
            ("x", None),
        ] {
            assert_eq!(nearest(wrong, &known), name, "{wrong:?}");
        }
    }

    #[test]
    fn of_two_equally_near_the_one_that_looks_alike_is_offered() {
        for (wrong, known, name) in [
            ("cache_wead", ["cache_write", "cache_read"], "cache_read"),
            ("maxx", ["mix", "max"], "max"),
            ("taks", ["tags", "task"], "task"),
            ("gpt-4p", ["gpt-5", "gpt-4o"], "gpt-4o"),
        ] {
            assert_eq!(nearest(wrong, &known), Some(name), "{wrong:?}");
        }
    }
}
