//! The canonical form of a file: keys in the order of the grammar, quantities in their shortest spelling, an even layout, comments
//! kept, YAML's end mark at the end.

use std::collections::BTreeMap;

use pretty_yaml::config::{FormatOptions, LanguageOptions, LayoutOptions};

use super::codes::Code;
use super::decode::{Findings, Form, Shape};
use super::diagnostic::Diagnostic;
use super::draft::{FileDraft, IncludedDraft};
use super::tree::{Node, Value};
use super::{START, read_node};

/// Columns of a line before a list or map in brackets is broken up.
const WIDTH: usize = 140;
/// YAML's end mark: with it a file that was written in part is told from a whole one.
const END: &str = "...";

/// The text in its canonical form, which means the same. A file that cannot be read is refused with its findings; other mistakes do
/// not matter here.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let text = match text.trim_end().strip_suffix(END) {
        Some(before) if before.is_empty() || before.ends_with('\n') => before.to_owned(),
        _ => text,
    };
    let (_, form) = read(&text)?;
    let spelled = respelled(&text, &form);
    let (node, form) = read(&spelled)?;
    let length = spelled.len();
    let mut arranger = Arranger { text: spelled, form };
    arranger.arrange(&node, length);
    let options = FormatOptions {
        layout: LayoutOptions { print_width: WIDTH, ..LayoutOptions::default() },
        language: LanguageOptions { trailing_comma: false, format_comments: true, ..LanguageOptions::default() },
    };
    let laid_out = pretty_yaml::format_text(&arranger.text, &options).unwrap_or(arranger.text);
    let formatted = format!("{}\n{END}\n", laid_out.trim_end());
    if !read(&formatted).is_ok_and(|(again, _)| meaning(&again) == meaning(&node)) {
        let finding = Diagnostic::error(Code::UNFORMATTABLE, START, "another layout would change what this file means");
        return Err(vec![finding.hint("anchors, aliases and block texts are left to you: write them out, or keep the layout as it is")]);
    }
    Ok(formatted)
}

/// The nodes of a text and its canonical form.
fn read(text: &str) -> Result<(Node, Form), Vec<Diagnostic>> {
    let mut findings = Findings::with_form();
    let Some(node) = read_node(text, 0, &mut findings) else { return Err(findings.sorted()) };
    let says = |key: &str| matches!(&node.value, Value::Map(entries) if entries.iter().any(|entry| entry.key == key));
    // What is wrong beyond its YAML keeps nobody from a tidy file.
    let mut read = Findings::with_form();
    if says("default") || says("server") {
        FileDraft::read(&node, &mut read);
    } else {
        IncludedDraft::read(&node, &mut read);
    }
    Ok((node, read.form()))
}

/// The text with every quantity in its canonical spelling.
fn respelled(text: &str, form: &Form) -> String {
    let mut out = text.to_owned();
    for (place, spelling) in form.spellings.iter().rev() {
        // An alias stands for what is written elsewhere.
        let is_written_here = text.get(place.start..place.end).is_some_and(|word| !word.starts_with(['*', '&', '!']));
        if is_written_here {
            out.replace_range(place.start..place.end, spelling);
        }
    }
    out
}

/// Puts the keys of maps in order, each with the comment above it. Lengths stay, so places stay true from the inside out.
struct Arranger {
    text: String,
    form: Form,
}

impl Arranger {
    /// `end`: where what follows the node begins.
    fn arrange(&mut self, node: &Node, end: usize) {
        if self.text[node.place.start..].starts_with(['{', '[', '*', '&']) {
            return;
        }
        match &node.value {
            Value::Nothing | Value::Scalar(_) => {}
            Value::List(items) => {
                let starts: Vec<usize> = items.iter().map(|item| self.line_start(item.place.start)).collect();
                for (index, item) in items.iter().enumerate() {
                    let next = starts.get(index + 1).map_or(end, |next| self.with_comments(*next, starts[index]));
                    self.arrange(item, next);
                }
            }
            Value::Map(entries) => {
                let keys: Vec<usize> = entries.iter().map(|entry| entry.value.label.start).collect();
                let starts: Vec<usize> = keys
                    .iter()
                    .enumerate()
                    .map(|(index, key)| if index == 0 { *key } else { self.chunk_start(*key, keys[index - 1]) })
                    .collect();
                for (index, entry) in entries.iter().enumerate() {
                    self.arrange(&entry.value, starts.get(index + 1).copied().unwrap_or(end));
                }
                if let Some(ranks) = entries.first().and_then(|first| self.form.ranks.get(&first.value.label)).cloned() {
                    self.reorder(&starts, end, &ranks);
                }
            }
        }
    }

    /// Moves the parts that begin at `starts` into the order of their ranks; what stands between them stays.
    fn reorder(&mut self, starts: &[usize], end: usize, ranks: &[usize]) {
        if ranks.is_sorted() || ranks.len() != starts.len() {
            return;
        }
        let ends = |index: usize| starts.get(index + 1).copied().unwrap_or(end);
        let parts: Vec<&str> = (0..starts.len()).map(|index| self.text[starts[index]..ends(index)].trim_end()).collect();
        let mut order: Vec<usize> = (0..parts.len()).collect();
        order.sort_by_key(|index| ranks[*index]);
        let begins_a_line = self.text[self.line_start(starts[0])..starts[0]].trim().is_empty();
        if !begins_a_line && parts[order[0]].starts_with('#') {
            return;
        }
        let mut out = String::new();
        for (place, index) in order.iter().enumerate() {
            out.push_str(parts[*index]);
            out.push_str(&self.text[starts[place] + parts[place].len()..ends(place)]);
        }
        self.text.replace_range(starts[0]..end, &out);
    }

    /// Where a key begins with the comments right above it that stand in its column.
    fn chunk_start(&self, key: usize, after: usize) -> usize {
        let line = self.line_start(key);
        let indent = key - line;
        let first = self.with_comments_in(line, after, |comment| comment.len() - comment.trim_start().len() == indent);
        if first == line { key } else { first + indent }
    }

    /// Where a line begins with the comments right above it.
    fn with_comments(&self, line: usize, after: usize) -> usize {
        self.with_comments_in(line, after, |_| true)
    }

    fn with_comments_in(&self, line: usize, after: usize, belongs: impl Fn(&str) -> bool) -> usize {
        let mut first = line;
        while first > 0 {
            let above = self.line_start(first - 1);
            let comment = &self.text[above..first - 1];
            if above <= after || !comment.trim_start().starts_with('#') || !belongs(comment) {
                break;
            }
            first = above;
        }
        first
    }

    fn line_start(&self, at: usize) -> usize {
        self.text[..at].rfind('\n').map_or(0, |at| at + 1)
    }
}

/// What a file says, whatever its layout and the order of its keys.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meaning<'n> {
    Nothing,
    Text(&'n str, bool),
    List(Vec<Meaning<'n>>),
    Map(BTreeMap<&'n str, Meaning<'n>>),
}

fn meaning(node: &Node) -> Meaning<'_> {
    match &node.value {
        Value::Nothing => Meaning::Nothing,
        Value::Scalar(scalar) => Meaning::Text(&scalar.text, scalar.is_quoted),
        Value::List(items) => Meaning::List(items.iter().map(meaning).collect()),
        Value::Map(entries) => Meaning::Map(entries.iter().map(|entry| (entry.key.as_str(), meaning(&entry.value))).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(text: &str) -> String {
        format(text).unwrap()
    }

    #[test]
    fn keys_come_in_order_and_bring_their_comments() {
        let text = "# a head\nrules:\n  # why\n  - chain: [a/m] # this one\n    # when\n    match: {task: coding}\n    name: code\n\n# the file\nversion: 1\ndefault: refuse\n";
        let wanted = "# a head\n# the file\nversion: 1\nrules:\n  # why\n  - chain: [a/m] # this one\n";
        let got = formatted(text);
        assert!(got.starts_with("# a head\n# the file\nversion: 1\n"), "{got}\n{wanted}");
        assert!(got.contains("  # why\n  - name: code\n    # when\n    match: { task: coding }\n    chain: [a/m] # this one\n"), "{got}");
        assert!(got.ends_with("default: refuse\n...\n"), "{got}");
    }

    #[test]
    fn quantities_have_one_spelling() {
        let text = "version: 1\nserver: { drain: 300s, connections: 1000, max_n: 4 }\ndefault: { chain: x, deadline: 90000ms, max_output_tokens: 16_384 }\n";
        let got = formatted(text);
        for part in ["drain: 5m", "connections: 1k", "max_n: 4", "deadline: 90s", "max_output_tokens: 16_384"] {
            assert!(got.contains(part), "{part} in {got}");
        }
    }

    #[test]
    fn a_formatted_file_stays_as_it_is() {
        for text in [include_str!("../../routes.yaml"), include_str!("../../tests/config/good/everything.yaml")] {
            let once = formatted(text);
            assert_eq!(formatted(&once), once);
            let comments = |text: &str| text.lines().filter(|line| line.contains('#')).count();
            assert_eq!(comments(&once), comments(text), "{once}");
        }
    }

    #[test]
    fn what_would_change_its_meaning_is_left_alone() {
        let text = "version: 1\ndefault: { chain: &all [a/m] }\nrules:\n  - { name: code, match: { task: coding }, chain: *all }\n";
        assert_eq!(format(text).unwrap_err()[0].code, Code::UNFORMATTABLE);
    }

    #[test]
    fn what_is_no_yaml_is_refused() {
        assert_eq!(format("rules: [\n").unwrap_err().len(), 1);
    }
}
