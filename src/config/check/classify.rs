//! `classify:`.

use crate::config::checked::{Classify, ClassifyWhen, OwnLabel};
use crate::config::codes::Code;
use crate::config::decode::{At, Findings};
use crate::config::diagnostic::Diagnostic;
use crate::config::draft::{ClassifyDraft, FileDraft};
use crate::units::{Confidence, TaskName};

/// How tasks are recognised; what is not said has its default.
pub(super) fn check(draft: &FileDraft, findings: &mut Findings) -> Classify {
    let built_in = Classify::default();
    match draft.classify.get() {
        None => built_in,
        Some(None) => Classify { when: ClassifyWhen::Never, ..built_in },
        Some(Some(draft)) => Classify {
            when: draft.when.get().copied().unwrap_or(built_in.when),
            floor: draft.floor.get().map_or(built_in.floor, |share| Confidence::of(*share)),
            labels: labels(draft, findings),
        },
    }
}

fn labels(draft: &ClassifyDraft, findings: &mut Findings) -> Vec<OwnLabel> {
    let mut all = Vec::new();
    for row in draft.labels.get().into_iter().flatten() {
        let name = match TaskName::parse(&row.name) {
            Ok(name) if name == TaskName::unknown() => {
                let message = "`unknown` is the task of a request that shows none";
                findings.push(Diagnostic::error(Code::RESERVED_NAME, row.key, message).hint("give the label another name"));
                continue;
            }
            Ok(name) => name,
            Err(error) => {
                let finding = Diagnostic::error(Code::BAD_NAME, row.key, format!("`{}` is no task: {error}", row.name));
                findings.push(finding.hint_name(&row.name));
                continue;
            }
        };
        let words: Vec<String> = row.value.iter().flatten().filter_map(|word| keyword(word, findings)).collect();
        all.push(OwnLabel { name, words });
    }
    all
}

fn keyword(word: &At<String>, findings: &mut Findings) -> Option<String> {
    if word.value.trim().trim_matches('*').is_empty() {
        let finding = Diagnostic::error(Code::EMPTY_VALUE, word.place, "a keyword with no letter in it would show nothing");
        findings.push(finding.hint("write a word or a phrase, such as `contract*`"));
        return None;
    }
    Some(word.value.trim().to_lowercase())
}
