//! `include:`, and the files that it brings, as written.

use super::{
    BudgetDraft, CallerDraft, CallersDraft, ChainDraft, Each, Evals, FileDraft, NAME, PriceListDraft, Providers, RuleDraft, ScoreDraft,
    TestDraft, Version,
};
use crate::config::codes::Code;
use crate::config::collections::{Row, Rows, Table};
use crate::config::decode::{At, Field, Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::scalar_schema;
use crate::config::tree::{Node, Value};

draft! {
    /// A part of the configuration in a file of its own, named under `include` of the main file.
    IncludedDraft is "an included file" {
        /// Version of this file format; an included file may leave it out.
        version: Version,
        /// API endpoints by name, beside those of the other files.
        providers: Providers,
        /// Caps on spend, beside those of the other files.
        budgets: Table<BudgetDraft>,
        /// Who may ask, beside those of the other files.
        callers: CallersDraft,
        /// Named chains, beside those of the other files.
        chains: Table<ChainDraft>,
        /// Rules that are looked at after those of the main file and of the files included before this one.
        rules: Each<RuleDraft>,
        /// Tests beside those of the other files.
        tests: Each<TestDraft>,
        /// An imported price list, as `tollgate prices import` writes it. Of two lists the first one that knows a model counts.
        prices: PriceListDraft,
        /// How good each target's answers are, by task, beside what the other files say.
        evals[such as { "coding": { "openai/gpt-4o": { "score": 9.4, "n": 164, "date": "2026-06-01" } } }]: Evals,
    }
    later []
    schema { "properties": { "evals": { "propertyNames": { "pattern": NAME } } } }
}

/// What is said once, in the main file.
const MAIN_FILE_ONLY: [&str; 10] = ["default", "server", "defaults", "include", "publish", "classify", "alerts", "otlp", "log", "ledger"];

impl IncludedDraft {
    /// The draft of a whole included file, or nothing once a finding says why. `main` is the name of the main file.
    pub(in crate::config) fn read_file(node: &Node, main: &str, findings: &mut Findings) -> Option<Self> {
        let entries = match &node.value {
            // A file whose rules are all commented out, for one.
            Value::Nothing => &[],
            Value::Map(entries) => entries.as_slice(),
            _ => return Self::read(node, findings),
        };
        let (misplaced, own): (Vec<_>, Vec<_>) = entries.iter().cloned().partition(|entry| MAIN_FILE_ONLY.contains(&entry.key.as_str()));
        for entry in &misplaced {
            let finding = Diagnostic::error(Code::MAIN_FILE_ONLY, entry.value.label, format!("`{}` belongs in the main file", entry.key));
            findings.push(match entry.key.as_str() {
                "default" => finding.hint(format!("what holds where no rule matches is said once, in `{main}`")),
                "include" => finding.hint(format!("included files include nothing: name the file under `include` of `{main}`")),
                _ => finding.hint(format!("move it to `{main}`")),
            });
        }
        Self::read(&Node { value: Value::Map(own), ..node.clone() }, findings)
    }
}

impl FileDraft {
    /// Puts what an included file says behind what is there; a name that is there already is told.
    pub(in crate::config) fn join(&mut self, included: IncludedDraft, findings: &mut Findings) {
        join_rows("provider", &mut self.providers, included.providers, findings);
        join_rows("budget", &mut self.budgets, included.budgets, findings);
        self.join_callers(included.callers, findings);
        join_rows("chain", &mut self.chains, included.chains, findings);
        join(&mut self.rules, included.rules);
        join(&mut self.tests, included.tests);
        match (&mut self.prices, included.prices) {
            (Field::Given { at, .. }, Field::Given { at: more, .. }) => join(&mut at.value.models, more.value.models),
            (own @ Field::Absent, more) => *own = more,
            _ => {}
        }
        self.join_evals(included.evals, findings);
    }
}

impl FileDraft {
    /// Scores for one task may stand in several files, but each target's in one.
    fn join_evals(&mut self, mut included: Field<Rows<Rows<ScoreDraft>>>, findings: &mut Findings) {
        if let (Field::Given { at: own, .. }, Field::Given { at: more, .. }) = (&mut self.evals, &mut included) {
            more.value.retain_mut(|task| {
                let Some(known) = own.value.iter_mut().find(|known| known.name == task.name) else { return true };
                let (Some(known), Some(rows)) = (&mut known.value, task.value.take()) else { return false };
                for row in rows {
                    if let Some(first) = known.iter().find(|first| first.name == row.name) {
                        let first = findings.pointed(first.key, row.key);
                        let message = format!("`{}` has two scores for `{}`, the first in {first}", row.name, task.name);
                        findings.push(Diagnostic::error(Code::DUPLICATE_NAME, row.key, message).hint("keep one of them"));
                    } else {
                        known.push(row);
                    }
                }
                false
            });
        }
        join(&mut self.evals, included);
    }

    /// Who is served by name is told beside `open` by nobody.
    fn join_callers(&mut self, included: Field<CallersDraft>, findings: &mut Findings) {
        let is_open = |callers: &Field<CallersDraft>| matches!(callers.get(), Some(CallersDraft::Open));
        if let (Some(own), Some(more)) = (self.callers.key(), included.key())
            && is_open(&self.callers) != is_open(&included)
        {
            let message = format!("`callers` is `open` in one file and names callers in another, {}", findings.pointed(own, more));
            findings.push(Diagnostic::error(Code::CONFLICTING_KEYS, more, message).hint("keep one of the two"));
            self.callers = Field::Wrong;
            return;
        }
        if is_open(&included) {
            self.callers = if self.callers.is_absent() { included } else { std::mem::replace(&mut self.callers, Field::Wrong) };
            return;
        }
        let mut own = rows(std::mem::replace(&mut self.callers, Field::Wrong));
        join_rows("caller", &mut own, rows(included), findings);
        self.callers = match own {
            Field::Absent => Field::Absent,
            Field::Wrong => Field::Wrong,
            Field::Given { key, at } => Field::Given { key, at: At { place: at.place, value: CallersDraft::Entries(at.value) } },
        };
    }
}

/// The entries of `callers`.
fn rows(callers: Field<CallersDraft>) -> Field<Vec<Row<CallerDraft>>> {
    match callers {
        Field::Absent => Field::Absent,
        Field::Given { key, at: At { place, value: CallersDraft::Entries(value) } } => Field::Given { key, at: At { place, value } },
        Field::Given { .. } | Field::Wrong => Field::Wrong,
    }
}

fn join_rows<T>(noun: &str, own: &mut Field<Vec<Row<T>>>, mut more: Field<Vec<Row<T>>>, findings: &mut Findings) {
    if let (Some(own), Field::Given { at, .. }) = (own.get(), &mut more) {
        at.value.retain(|row| {
            let Some(first) = own.iter().find(|first| first.name == row.name) else { return true };
            let message = format!("two {noun}s are named `{}`, the first in {}", row.name, findings.pointed(first.key, row.key));
            findings.push(Diagnostic::error(Code::DUPLICATE_NAME, row.key, message).hint("give one of them another name"));
            false
        });
    }
    join(own, more);
}

/// One wrong part makes the whole wrong, so that no name is judged by half of them.
fn join<T>(own: &mut Field<Vec<T>>, more: Field<Vec<T>>) {
    *own = match (std::mem::replace(own, Field::Wrong), more) {
        (own, Field::Absent) => own,
        (Field::Absent, more) => more,
        (Field::Given { key, mut at }, Field::Given { at: more, .. }) => {
            at.value.extend(more.value);
            Field::Given { key, at }
        }
        _ => Field::Wrong,
    };
}

/// One entry of `include:`.
#[derive(Debug)]
pub(in crate::config) struct IncludePath;

scalar_schema!(IncludePath: {
    "type": "string",
    "pattern": r"^(\./)*[^./][^/]*(/[^./][^/]*)*$"
});

impl Shape for IncludePath {
    type Value = String;

    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        let scalar = scalar(node, "a path or a pattern such as `rules/*.yaml`", findings)?;
        include_path(&scalar.text)
            .map_err(|(message, hint)| findings.push(Diagnostic::error(Code::BAD_INCLUDE, node.place, message).hint(hint)))
            .ok()
    }

    fn spelling() -> String {
        "A path below this file's folder, or a pattern in which `*` stands for any characters but `/`.".into()
    }

    fn example() -> serde_json::Value {
        "rules/*.yaml".into()
    }
}

/// The path or pattern without `./`, or what is wrong with it and what to write instead.
pub(in crate::config) fn include_path(text: &str) -> Result<String, (String, &'static str)> {
    let mut path = text;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    let below = "included files stand below this file's folder: write the path from there, as in `rules/team-a.yaml`";
    if path.starts_with('/') {
        return Err((format!("`{text}` is an absolute path"), below));
    }
    if path.is_empty() || path == "." || path.split('/').any(str::is_empty) {
        return Err((format!("`{text}` names no file"), "name files, as in `rules/*.yaml`"));
    }
    for part in path.split('/') {
        if part == ".." {
            return Err((format!("`{text}` leaves the folder of this file"), below));
        }
        if part.starts_with('.') {
            return Err((format!("`{text}` leads to a hidden file"), "included files and their folders have names that begin with no dot"));
        }
        if part.contains("**") {
            return Err((
                format!("`{text}` searches every folder below"),
                "name the folders one by one: `rules/*.yaml`, `teams/*/rules.yaml`",
            ));
        }
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::include_path;

    #[test]
    fn includes_stay_below_the_folder() {
        for (text, path) in [
            ("rules/*.yaml", Some("rules/*.yaml")),
            ("././a.yaml", Some("a.yaml")),
            ("a..b.yaml", Some("a..b.yaml")),
            ("[a-c].yaml", Some("[a-c].yaml")),
            ("", None),
            (".", None),
            ("rules/", None),
            ("rules//a.yaml", None),
            ("/etc/a.yaml", None),
            ("../a.yaml", None),
            ("rules/../../a.yaml", None),
            (".hidden.yaml", None),
            ("..data/a.yaml", None),
            ("**/a.yaml", None),
        ] {
            assert_eq!(include_path(text).ok().as_deref(), path, "{text:?}");
        }
    }
}
