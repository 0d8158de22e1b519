use std::sync::Arc;

use http::{HeaderMap, HeaderName};

use crate::rules::{Features, Prompt, Shown, Spent, Task, TaskSource};
use crate::tasks::{Recognised, Recognizer};
use crate::units::{Confidence, Endpoint, Pairs, TaskName, Usd};
use crate::wire::Call;

use super::Refusal;

static TASK: HeaderName = HeaderName::from_static("x-tollgate-task");
static MAX_COST: HeaderName = HeaderName::from_static("x-tollgate-max-cost");
static LABELS: HeaderName = HeaderName::from_static("x-tollgate-labels");
static DRY_RUN: HeaderName = HeaderName::from_static("x-tollgate-dry-run");

/// Labels a request may carry, and the bytes of one name or value.
const MOST_LABELS: usize = 32;
const LONGEST_LABEL: usize = 256;

/// What the rules may look at, from a call and its headers.
pub fn features(call: &Arc<Call>, headers: &Arc<HeaderMap>) -> Result<Features, Refusal> {
    let (requested_model, task_in_model) = match call.model().strip_prefix("auto/") {
        Some(task) => ("auto", Some(task)),
        None => (call.model(), None),
    };
    let stated = match header(headers, &TASK)? {
        Some(task) => Some((task, TASK.as_str())),
        None => task_in_model.map(|task| (task, "model")).or_else(|| call.declared_task().map(|task| (task, "metadata.task"))),
    };
    Ok(Features {
        endpoint: call.endpoint(),
        requested_model: requested_model.into(),
        task: stated.map_or(Ok(Task::unknown()), |(text, param)| task(text, param))?,
        max_cost: header(headers, &MAX_COST)?.map(max_cost).transpose()?,
        labels: header(headers, &LABELS)?.map_or(Ok(Pairs::default()), labels)?,
        headers: Arc::clone(headers),
        caller: None,
        tags: Pairs::default(),
        spent: Spent::default(),
        effort: call.effort(),
        stream: call.is_streaming(),
        answers: call.answers(),
        output_limit: call.output_limit(),
        prompt: Prompt::Of(Arc::clone(call)),
        draw: fastrand::u64(..),
    })
}

/// What the words of a call show of its task; as it is where somebody declared one, or there is nothing to look at.
pub(super) fn recognised(recognizer: &Recognizer, features: Features) -> Features {
    let (Prompt::Of(call), TaskSource::None, None) = (&features.prompt, features.task.source, &features.task.shown) else {
        return features;
    };
    if call.endpoint() == Endpoint::Embeddings {
        return features;
    }
    let said = call.said();
    let task = if said.is_tool_turn { tool_turn() } else { shown(recognizer.recognise(&said.system, &said.user)) };
    Features { task, ..features }
}

fn shown(told: Recognised) -> Task {
    let (name, source) = match (told.counts, told.by_structure) {
        (false, _) => (TaskName::unknown(), TaskSource::None),
        (true, true) => (told.name.clone(), TaskSource::Structure),
        (true, false) => (told.name.clone(), TaskSource::Learned),
    };
    let shown = Shown { likeliest: told.name, confidence: told.confidence, runner_up: told.runner_up, signs: told.signs };
    Task { name, source, shown: Some(Box::new(shown)) }
}

/// A tool has answered, and the model goes on from there.
fn tool_turn() -> Task {
    let Ok(name) = TaskName::parse("tool_use") else { return Task::unknown() };
    let shown =
        Shown { likeliest: name.clone(), confidence: Confidence::CERTAIN, runner_up: None, signs: vec!["a tool's answer stands last"] };
    Task { name, source: TaskSource::Structure, shown: Some(Box::new(shown)) }
}

/// True when the client wants the decision instead of an answer.
pub(super) fn is_dry_run(headers: &HeaderMap) -> bool {
    headers.get(&DRY_RUN).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"))
}

fn header<'h>(headers: &'h HeaderMap, name: &'static HeaderName) -> Result<Option<&'h str>, Refusal> {
    headers
        .get(name)
        .map(|value| {
            value
                .to_str()
                .map(str::trim_ascii)
                .map_err(|_| Refusal::invalid(name.as_str(), format!("`{name}` has characters that are not plain ASCII")))
        })
        .transpose()
}

pub(super) fn task(text: &str, param: &'static str) -> Result<Task, Refusal> {
    TaskName::parse(text)
        .map(Task::declared)
        .map_err(|error| Refusal::invalid(param, format!("`{}` is no task: {error}", text.escape_default())))
}

fn max_cost(text: &str) -> Result<Usd, Refusal> {
    text.parse().map_err(|error| Refusal::invalid("x-tollgate-max-cost", format!("{error}; expected dollars such as `0.002`")))
}

/// `feature=x,run=7`.
fn labels(text: &str) -> Result<Pairs, Refusal> {
    let labels = text.split(',').map(str::trim_ascii).filter(|pair| !pair.is_empty()).map(label).collect::<Result<Pairs, _>>()?;
    if labels.iter().count() > MOST_LABELS {
        return Err(no_labels(&format!("at most {MOST_LABELS} labels are taken")));
    }
    Ok(labels)
}

fn label(pair: &str) -> Result<(&str, &str), Refusal> {
    let (name, value) = pair.split_once('=').ok_or_else(|| no_labels(&format!("`{}` has no `=`", pair.escape_default())))?;
    if name.is_empty() || name.len() > LONGEST_LABEL || value.len() > LONGEST_LABEL {
        return Err(no_labels(&format!("a label's name and value have at most {LONGEST_LABEL} bytes, and the name is not empty")));
    }
    Ok((name.trim_ascii(), value.trim_ascii()))
}

fn no_labels(what: &str) -> Refusal {
    Refusal::invalid("x-tollgate-labels", format!("{what}; expected `name=value,name=value`"))
}
