use std::collections::{BTreeMap, BTreeSet};

use super::Conversation;

/// The names of tools as a target takes them, and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::wire) struct Names {
    /// Only those that had to be changed: the client's name by the target's.
    changed: BTreeMap<String, String>,
    /// The client's names of tools that take a text.
    free: BTreeSet<String>,
}

/// Which names a format takes.
#[derive(Clone, Copy, Debug)]
pub(in crate::wire) struct NameRule {
    pub(in crate::wire) longest: usize,
    /// Characters beside ASCII letters, digits and `_`.
    pub(in crate::wire) extra: &'static str,
    /// The first character is a letter or `_`.
    pub(in crate::wire) begins_with_letter: bool,
}

impl NameRule {
    fn takes(self, name: &str) -> bool {
        let first = name.chars().next().unwrap_or('-');
        let is_start = !self.begins_with_letter || first.is_ascii_alphabetic() || first == '_';
        !name.is_empty() && name.len() <= self.longest && is_start && name.chars().all(|c| self.has(c))
    }

    fn has(self, c: char) -> bool {
        c.is_ascii_alphanumeric() || c == '_' || self.extra.contains(c)
    }

    /// The name as it is taken, told apart from others by a number.
    fn fitted(self, name: &str, number: usize) -> String {
        let suffix = format!("_{number}");
        let mut fitted: String = if self.begins_with_letter { "t_".into() } else { String::new() };
        fitted.extend(name.chars().map(|c| if self.has(c) { c } else { '_' }).take(self.longest - suffix.len() - fitted.len()));
        fitted + &suffix
    }
}

impl Names {
    /// Makes every tool's name fit.
    pub(in crate::wire) fn fit(asked: &Conversation, rule: NameRule) -> Self {
        let names: Vec<&str> = asked.tools.iter().map(|tool| tool.name.as_str()).collect();
        let mut changed = BTreeMap::new();
        let mut number = 0;
        for name in names.iter().filter(|name| !rule.takes(name)) {
            let fitted = loop {
                number += 1;
                let fitted = rule.fitted(name, number);
                if !names.contains(&fitted.as_str()) {
                    break fitted;
                }
            };
            changed.insert(fitted, (*name).to_owned());
        }
        let free = asked.tools.iter().filter(|tool| tool.is_free).map(|tool| tool.name.clone()).collect();
        Self { changed, free }
    }

    /// Whether a tool, by the client's name, takes a text.
    pub(in crate::wire) fn is_free(&self, own: &str) -> bool {
        self.free.contains(own)
    }

    /// The target's name of a tool.
    pub(in crate::wire) fn told<'a>(&'a self, name: &'a str) -> &'a str {
        self.changed.iter().find(|(_, own)| *own == name).map_or(name, |(told, _)| told)
    }

    /// The client's name of a tool.
    pub(in crate::wire) fn own<'a>(&'a self, told: &'a str) -> &'a str {
        self.changed.get(told).map_or(told, String::as_str)
    }
}
