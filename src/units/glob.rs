/// A pattern in which `*` stands for any characters, `/` too; everything else is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    pattern: Box<str>,
    /// What stands before the first star.
    head: Box<str>,
    /// What stands behind the last star; absent where there is no star.
    tail: Option<Box<str>>,
    /// What stands between stars.
    middle: Box<[Box<str>]>,
}

impl Glob {
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        let mut parts = pattern.split('*').map(Box::from);
        let head = parts.next().unwrap_or_default();
        let tail = parts.next_back();
        Self { pattern: pattern.into(), head, tail, middle: parts.collect() }
    }

    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some(rest) = text.strip_prefix(&*self.head) else { return false };
        let Some(tail) = &self.tail else { return rest.is_empty() };
        let mut rest = rest;
        for part in &self.middle {
            match rest.find(&**part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.ends_with(&**tail)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        for (pattern, text, matches) in [
            ("gpt-4o", "gpt-4o", true),
            ("gpt-4o", "gpt-4o-mini", false),
            ("gpt-*", "gpt-4o/mini", true),
            ("*-mini", "gpt-4o-mini", true),
            ("*-mini", "-mini", true),
            ("*-mini", "mini", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("a*a", "a", false),
            ("*", "", true),
            ("**", "x", true),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matches, "{pattern:?} on {text:?}");
        }
    }
}
