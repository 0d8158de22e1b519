//! The files that one configuration is made of, and which further ones its main file asks for.

use std::path::Path;
use std::sync::Arc;

use super::decode::Findings;
use super::diagnostic::{Diagnostic, Place};
use super::draft::include_path;
use super::tree::{self, Value};

/// The files of one configuration in the order in which they count: the main one, then what its `include` brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The main file as the user named it.
    name: String,
    files: Vec<SourceFile>,
    faults: Vec<Diagnostic>,
}

/// One file of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Below the main file's folder, with `/` between its parts; of the main file its name alone.
    pub path: String,
    pub text: String,
}

/// One entry of `include:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Include {
    /// Below the main file's folder: `rules/*.yaml`.
    pub pattern: String,
    /// Where it stands in the main file.
    pub place: Place,
}

impl Sources {
    /// A main file without included ones.
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let name = name.into();
        let path = Path::new(&name).file_name().map_or_else(|| name.clone(), |name| name.to_string_lossy().into_owned());
        Self { name, files: vec![SourceFile { path, text: text.into() }], faults: Vec::new() }
    }

    /// Adds the next included file.
    pub fn add(&mut self, file: SourceFile) {
        self.files.push(file);
    }

    /// Adds what is wrong with an `include` itself, which [`read`](super::read) tells among all other findings.
    pub fn add_fault(&mut self, finding: Diagnostic) {
        self.faults.push(finding);
    }

    /// The same files, one of them with another text.
    #[must_use]
    pub fn with_text(mut self, file: usize, text: &str) -> Self {
        if let Some(file) = self.files.get_mut(file) {
            text.clone_into(&mut file.text);
        }
        self
    }

    /// The same files, the main one under another name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Every file, the main one first.
    #[must_use]
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The main file's text.
    #[must_use]
    pub fn main(&self) -> &str {
        self.text(0)
    }

    /// The text of a file; nothing where there is no such file.
    #[must_use]
    pub fn text(&self, file: usize) -> &str {
        self.files.get(file).map(|file| file.text.as_str()).unwrap_or_default()
    }

    /// A file as the user would name it: an included one with the main file's folder before it.
    #[must_use]
    pub fn name(&self, file: usize) -> String {
        match self.files.get(file) {
            Some(included) if file > 0 => Path::new(&self.name).with_file_name(&included.path).to_string_lossy().into_owned(),
            _ => self.name.clone(),
        }
    }

    /// Every file as the user would name it, the main one first.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        (0..self.files.len()).map(|file| self.name(file)).collect()
    }

    /// A place that a message in another one points to: `line 12`, or `rules/team-a.yaml:12` where that is another file.
    #[must_use]
    pub fn pointed(&self, to: Place, from: Place) -> String {
        if to.file == from.file { format!("line {}", to.line) } else { format!("{}:{}", self.name(to.file), to.line) }
    }

    /// Writes into each finding which file it is about.
    pub fn name_in(&self, findings: &mut [Diagnostic]) {
        let names: Vec<Arc<String>> = self.names().into_iter().map(Arc::new).collect();
        for finding in findings {
            finding.file = names.get(finding.place.file).or(names.first()).cloned();
        }
    }

    pub(super) fn faults(&self) -> &[Diagnostic] {
        &self.faults
    }
}

/// What the main file's text says under `include`, as far as it is a path or pattern; the rest is told when the file is read.
/// Nothing where the text is no YAML.
#[must_use]
pub fn includes(text: &str) -> Option<Vec<Include>> {
    // Most files include nothing, and a large one takes its time to read.
    if !text.contains("include") {
        return Some(Vec::new());
    }
    let root = tree::parse(text, 0, &mut Findings::default())?;
    let Value::Map(entries) = &root.value else { return Some(Vec::new()) };
    let Some(Value::List(items)) = entries.iter().find(|entry| entry.key == "include").map(|entry| &entry.value.value) else {
        return Some(Vec::new());
    };
    let include = |item: &tree::Node| match &item.value {
        Value::Scalar(scalar) => include_path(&scalar.text).ok().map(|pattern| Include { pattern, place: item.place }),
        _ => None,
    };
    Some(items.iter().filter_map(include).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn included_files_are_named_from_where_the_main_one_is() {
        for (main, included) in [
            ("routes.yaml", "rules/a.yaml"),
            ("./routes.yaml", "./rules/a.yaml"),
            ("../etc/routes.yaml", "../etc/rules/a.yaml"),
            ("/etc/tollgate/routes.yaml", "/etc/tollgate/rules/a.yaml"),
        ] {
            let mut sources = Sources::new(main, "");
            sources.add(SourceFile { path: "rules/a.yaml".into(), text: "rules: []\n".into() });
            assert_eq!(sources.names(), [main, included]);
            assert_eq!(sources.files()[0].path, "routes.yaml");
        }
    }

    #[test]
    fn what_is_included_is_read_leniently() {
        let patterns = |text: &str| {
            includes(text).map(|all| all.iter().map(|one| format!("{}:{}", one.place.line, one.pattern)).collect::<Vec<_>>().join(" "))
        };
        for (text, found) in [
            ("version: 1\n", Some("")),
            ("include: [rules/*.yaml, ./evals.yaml]\n", Some("1:rules/*.yaml 1:evals.yaml")),
            ("include:\n  - /etc/a.yaml\n  - ../b.yaml\n  - [c]\n  - d.yaml\n", Some("5:d.yaml")),
            ("include: rules/a.yaml\n", Some("")),
            ("rules: include\n", Some("")),
            ("include: [rules/a.yaml\n", None),
        ] {
            assert_eq!(patterns(text).as_deref(), found, "{text}");
        }
    }
}
