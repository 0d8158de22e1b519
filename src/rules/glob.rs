/// A pattern in which `*` stands for any characters, `/` too; everything else is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    pattern: Box<str>,
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        Self { pattern: pattern.into() }
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let mut parts = self.pattern.split('*');
        let (Some(head), Some(rest)) = (parts.next(), text.strip_prefix(self.pattern.split('*').next().unwrap_or_default())) else {
            return false;
        };
        if head.len() == self.pattern.len() {
            return rest.is_empty();
        }
        let mut rest = rest;
        let mut parts = parts.peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }

    pub(super) fn as_str(&self) -> &str {
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
