use std::fmt::Write;
use std::io::Read;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::app;
use crate::flow::{self, Explained, ExplainedStep};
use crate::rules::{Features, Prompt, Task, TaskSource};
use crate::units::{Endpoint, Need, TaskName, Tokens, Usd, parse_count};
use crate::wire::Call;

use super::{Config, exit, print, print_json};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: Config,
    /// The task that the request declares
    #[arg(long)]
    task: Option<String>,
    /// How long the prompt is, such as `900` or `32k`
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_count(text).map(Tokens::new))]
    prompt_tokens: Option<Tokens>,
    /// The output limit that the client sets
    #[arg(long, value_name = "N", value_parser = |text: &str| parse_count(text).map(Tokens::new))]
    max_output_tokens: Option<Tokens>,
    /// The model that the client names
    #[arg(long, default_value = "auto")]
    model: String,
    #[arg(long, default_value = "chat", value_parser = endpoint)]
    endpoint: Endpoint,
    /// A label of the client, `name=value`
    #[arg(long, value_name = "K=V", value_parser = pair)]
    label: Vec<(String, String)>,
    /// A header of the client, `name=value`
    #[arg(long, value_name = "K=V", value_parser = pair)]
    header: Vec<(String, String)>,
    /// The ceiling for this request that the client declares, in dollars
    #[arg(long, value_name = "USD")]
    max_cost: Option<Usd>,
    /// What the request needs: tools, vision, audio, files, `json_schema`, reasoning
    #[arg(long, value_delimiter = ',', value_parser = need)]
    needs: Vec<Need>,
    /// How many messages there are
    #[arg(long, value_name = "N")]
    turns: Option<u64>,
    /// The request is streamed
    #[arg(long)]
    stream: bool,
    /// A request's body, from a file or `-` for standard input; what it says stands before the flags
    #[arg(long, value_name = "FILE")]
    body: Option<String>,
    /// Print JSON by `tollgate schema explain`
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let Some(running) = app::offline(&options.config.config)? else {
        return Ok(ExitCode::from(exit::CONFIG));
    };
    let explained = flow::explain(&running, &features(options)?);
    if options.json {
        print_json(&explained)?;
    } else {
        print(&told(&explained))?;
    }
    Ok(if explained.refusal.is_some() { ExitCode::from(exit::FINDINGS) } else { ExitCode::SUCCESS })
}

fn features(options: &Options) -> anyhow::Result<Features> {
    let mut headers = HeaderMap::new();
    for (name, value) in &options.header {
        let name: HeaderName = name.parse().with_context(|| format!("`{name}` is no header name"))?;
        headers.append(name, HeaderValue::from_str(value).with_context(|| format!("`{value}` is no header value"))?);
    }
    let mut stated = |name: &'static str, value: Option<String>| -> anyhow::Result<()> {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value)?);
        }
        Ok(())
    };
    stated("x-tollgate-task", options.task.clone())?;
    stated("x-tollgate-max-cost", options.max_cost.map(Usd::plain))?;
    let labels = options.label.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
    stated("x-tollgate-labels", (!labels.is_empty()).then_some(labels))?;
    if let Some(path) = &options.body {
        let call = Call::parse(options.endpoint, body(path)?, u32::MAX).map_err(|bad| anyhow::anyhow!("{path}: {}", bad.message))?;
        return flow::features(&Arc::new(call), &Arc::new(headers)).map_err(|refusal| anyhow::anyhow!(refusal.message));
    }
    let (model, task) = match options.model.strip_prefix("auto/") {
        Some(task) => ("auto", options.task.as_deref().or(Some(task))),
        None => (options.model.as_str(), options.task.as_deref()),
    };
    let task = match task {
        Some(task) => Task { name: TaskName::parse(task).with_context(|| format!("`{task}` is no task"))?, source: TaskSource::Declared },
        None => Task { name: TaskName::unknown(), source: TaskSource::None },
    };
    Ok(Features {
        endpoint: options.endpoint,
        requested_model: model.into(),
        task,
        max_cost: options.max_cost,
        labels: Arc::new(options.label.iter().cloned().collect()),
        headers: Arc::new(headers),
        effort: None,
        stream: options.stream,
        answers: 1,
        output_limit: options.max_output_tokens,
        prompt: Prompt::Stated { tokens: options.prompt_tokens, needs: options.needs.clone(), turns: options.turns },
    })
}

fn body(path: &str) -> anyhow::Result<Bytes> {
    let mut bytes = Vec::new();
    if path == "-" {
        std::io::stdin().read_to_end(&mut bytes).context("standard input")?;
    } else {
        bytes = std::fs::read(path).with_context(|| path.to_owned())?;
    }
    Ok(bytes.into())
}

/// The explanation as text that reads from the request down to the target.
fn told(explained: &Explained) -> String {
    let mut text = String::new();
    let features = &explained.features;
    let or_unknown = |value: Option<u64>| value.map_or_else(|| "unknown".into(), |value| value.to_string());
    let mut line = |words: String| writeln!(text, "{words}").unwrap_or_default();
    line(format!(
        "a {} request for model `{}`, task {} ({}), prompt of {} tokens{}",
        features.endpoint,
        features.model,
        features.task,
        features.task_source,
        or_unknown(features.prompt_tokens),
        if features.stream { ", streamed" } else { "" }
    ));
    line(format!("by revision {}:", explained.revision));
    for rule in &explained.rules {
        let place = match (&rule.file, rule.line) {
            (Some(file), Some(line)) => format!(" ({file}:{line})"),
            (None, Some(line)) => format!(" (line {line})"),
            (_, None) => String::new(),
        };
        match (&rule.condition, &rule.wanted, &rule.actual) {
            (Some(condition), Some(wanted), Some(actual)) => {
                line(format!("  rule `{}`{place} does not match on {condition}: wanted {wanted}, found {actual}", rule.name));
            }
            _ => line(format!("  rule `{}`{place} matches", rule.name)),
        }
    }
    for (number, step) in explained.steps.iter().enumerate() {
        line(format!("  {}. {}", number + 1, told_step(step)));
    }
    match &explained.refusal {
        Some(refusal) => line(format!("the request would be refused: {refusal}")),
        None => line(format!("it would go to {}", explained.order.join(", then "))),
    }
    text
}

fn told_step(step: &ExplainedStep) -> String {
    let cost = step.worst_case_usd.as_ref().map_or_else(|| "no price known".into(), |usd| format!("at most ${usd}"));
    let assumed = if step.output_is_assumed { ", assumed" } else { "" };
    let limit = step.sets_max_tokens.map(|limit| format!(", sets max_tokens to {limit}")).unwrap_or_default();
    let verdict = match &step.reason {
        Some(reason) => format!("left out: {reason}"),
        None => step.state.clone(),
    };
    format!("{}: {verdict}; output up to {} tokens{assumed}, {cost}{limit}", step.target, step.output_tokens)
}

fn endpoint(word: &str) -> Result<Endpoint, String> {
    Endpoint::parse(word).ok_or_else(|| format!("expected one of {}", Endpoint::ALL.map(Endpoint::as_str).join(", ")))
}

fn need(word: &str) -> Result<Need, String> {
    Need::parse(word).ok_or_else(|| format!("expected one of {}", Need::ALL.map(Need::as_str).join(", ")))
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| format!("`{text}` has no `=`"))
}
