use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::app;
use crate::config::Given;
use crate::flow::{self, Explained, ExplainedAllowance, ExplainedStep, ExplainedTask, Question};
use crate::outside::{ControlClient, ControlError};
use crate::units::{CallerName, Effort, Endpoint, Need, Share, TaskName, Tokens, Usd, parse_count, parse_share};

use super::daemon::{Daemon, tell_failure};
use super::{exit, print, print_json};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    daemon: Daemon,
    /// Ask the running daemon: by its revision, with the cooldowns and limits of this moment
    #[arg(long)]
    live: bool,
    /// The task that the request declares
    #[arg(long, value_parser = |text: &str| TaskName::parse(text))]
    task: Option<TaskName>,
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
    /// The reasoning effort that the request declares
    #[arg(long, value_parser = effort)]
    effort: Option<Effort>,
    /// How many answers the request asks for
    #[arg(long, value_name = "N")]
    n: Option<u32>,
    /// The request is streamed
    #[arg(long)]
    stream: bool,
    /// The caller that asks, by its name under `callers`; its tags come along
    #[arg(long, value_name = "NAME", value_parser = |text: &str| CallerName::parse(text))]
    caller: Option<CallerName>,
    /// A tag of a caller that is not named, `name=value`
    #[arg(long, value_name = "K=V", value_parser = pair, conflicts_with = "caller")]
    tag: Vec<(String, String)>,
    /// How much of a budget's window is used, such as `company.month=85%`
    #[arg(long, value_name = "WINDOW=SHARE", value_parser = share)]
    spent: Vec<(String, Share)>,
    /// A request's body, from a file or `-` for standard input; what it says stands before the flags
    #[arg(long, value_name = "FILE")]
    body: Option<String>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let question = question(options)?;
    if options.live {
        let question = question.to_json().context("the body is no JSON")?;
        return options
            .daemon
            .ask(async |socket, json| ask(socket, question, json, &mut anstream::stdout(), &mut anstream::stderr()).await);
    }
    let Some(running) = app::offline(options.daemon.config())? else {
        return Ok(ExitCode::from(exit::CONFIG));
    };
    let features = question.features(running.rules()).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    features.spent.all().for_each(|(window, share)| running.purse().assume(window, share));
    let explained = flow::explain(&running, &running.recognised(features));
    if options.daemon.json() {
        print_json(&explained)?;
    } else {
        print(&told(&explained, false))?;
    }
    Ok(ExitCode::from(code(&explained)))
}

/// Prints what the running daemon would do. Answers the exit code.
async fn ask(socket: &Path, question: Vec<u8>, json: bool, out: &mut impl io::Write, err: &mut impl io::Write) -> io::Result<u8> {
    let answer = match ControlClient::new(socket) {
        Ok(client) => client.post_explain(question).await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return tell_failure(&error, json, out, err),
    };
    let explained: Explained = match serde_json::from_value(answer.clone()) {
        Ok(explained) => explained,
        Err(error) => return tell_failure(&ControlError::Unusable(error.to_string()), json, out, err),
    };
    if json {
        writeln!(out, "{answer:#}")?;
    } else {
        out.write_all(told(&explained, true).as_bytes())?;
    }
    Ok(code(&explained))
}

fn code(explained: &Explained) -> u8 {
    if explained.refusal.is_some() { exit::FINDINGS } else { exit::OK }
}

/// The flags as a question.
fn question(options: &Options) -> anyhow::Result<Question> {
    let mut headers = HeaderMap::new();
    for (name, value) in &options.header {
        let name: HeaderName = name.parse().with_context(|| format!("`{name}` is no header name"))?;
        headers.append(name, HeaderValue::from_str(value).with_context(|| format!("`{value}` is no header value"))?);
    }
    Ok(Question {
        given: Given {
            task: options.task.clone(),
            prompt_tokens: options.prompt_tokens,
            max_output_tokens: options.max_output_tokens,
            model: Some(options.model.clone()),
            endpoint: Some(options.endpoint),
            labels: options.label.iter().cloned().collect(),
            headers,
            max_cost: options.max_cost,
            needs: options.needs.clone(),
            turns: options.turns,
            effort: options.effort,
            stream: options.stream,
            n: options.n,
            caller: options.caller.clone(),
            tags: options.tag.iter().cloned().collect(),
            spent: options.spent.iter().cloned().collect(),
            time: None,
        },
        body: options.body.as_deref().map(body).transpose()?,
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
fn told(explained: &Explained, is_live: bool) -> String {
    let mut text = String::new();
    let features = &explained.features;
    let or_unknown = |value: Option<u64>| value.map_or_else(|| "unknown".into(), |value| value.to_string());
    let mut line = |words: String| writeln!(text, "{words}").unwrap_or_default();
    line(format!(
        "a {} request{} for model `{}`, task {}{}, prompt of {} tokens{}",
        features.endpoint,
        features.caller.as_ref().map(|caller| format!(" of caller `{caller}`")).unwrap_or_default(),
        features.model,
        features.task,
        if features.task_source == "none" { String::new() } else { format!(" ({})", features.task_source) },
        or_unknown(features.prompt_tokens),
        if features.stream { ", streamed" } else { "" }
    ));
    match &features.task_shown {
        Some(shown) => line(told_task(shown)),
        None if features.task_source == "none" && features.prompt_source == "body" && features.endpoint != "embeddings" => {
            line("nobody declared a task, and the words are not looked at: `classify` is off".into());
        }
        None => {}
    }
    if let Some(allowance) = &explained.allowance {
        line(told_allowance(allowance, is_live));
    }
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
    match (&explained.session, explained.sticky.as_deref()) {
        (Some(target), _) => line(format!("  the session stays on {target}, so it comes first")),
        (None, Some("begins")) => line("  the session is not known yet: it will stay with whoever answers".into()),
        (None, Some("moves")) => line("  the session's own target may not be tried now: it goes on with whoever answers".into()),
        (None, Some("unnamed")) => line("  the rule keeps sessions on one target, but the request names none".into()),
        (None, _) => {}
    }
    match &explained.refusal {
        Some(refusal) => line(format!("it would be refused with {} `{}`: {}", refusal.status, refusal.code, refusal.message)),
        None => line(format!("it would go to {}", explained.order.join(", then "))),
    }
    text
}

/// What the words of the request show.
fn told_task(shown: &ExplainedTask) -> String {
    if shown.confidence <= 0.0 {
        return "nothing is said that could show a task".into();
    }
    let other = match (&shown.runner_up, shown.runner_up_confidence) {
        (Some(name), Some(confidence)) => format!(", else {name} with {confidence:.2}"),
        _ => String::new(),
    };
    let signs = if shown.signs.is_empty() { String::new() } else { format!("; seen: {}", shown.signs.join(", ")) };
    let verdict = if shown.confidence < shown.floor { format!(", below the floor of {:.2}", shown.floor) } else { String::new() };
    format!("the words show {} with confidence {:.2}{verdict}{other}{signs}", shown.likeliest, shown.confidence)
}

/// What the caller may still use.
fn told_allowance(allowance: &ExplainedAllowance, is_live: bool) -> String {
    let limits = allowance.limits.iter().map(|limit| format!("{} of {} {}", limit.remaining, limit.capacity, limit.limit));
    let budgets = allowance.budgets.iter().map(|budget| format!("${} of ${} of {}", budget.left_usd, budget.cap_usd, budget.window));
    let left: Vec<String> = limits.chain(budgets).collect();
    match (left.is_empty(), is_live) {
        (true, _) => "the caller has no limits or budgets of its own".into(),
        (false, true) => format!("the caller has left: {}", left.join(", ")),
        (false, false) => format!("the caller may use, were nothing used yet: {}", left.join(", ")),
    }
}

fn told_step(step: &ExplainedStep) -> String {
    let cost = match &step.worst_case_usd {
        Some(usd) => format!("at most ${usd}"),
        None if step.input_tokens.is_none() => "cost not known without the prompt's length".into(),
        None => "no price known".into(),
    };
    let assumed = if step.output_is_assumed { ", assumed" } else { "" };
    let limit = step.sets_max_tokens.map(|limit| format!(", sets max_tokens to {limit}")).unwrap_or_default();
    let verdict = match &step.reason {
        Some(reason) => format!("left out: {reason}"),
        None => step.state.clone(),
    };
    let pool = step.pick.as_ref().zip(step.why.as_ref()).map(|(pick, why)| format!(" (pool `{pick}`: {why})")).unwrap_or_default();
    format!("{}{pool}: {verdict}; output up to {} tokens{assumed}, {cost}{limit}", step.target, step.output_tokens)
}

fn endpoint(word: &str) -> Result<Endpoint, String> {
    Endpoint::parse(word).ok_or_else(|| format!("expected one of {}", Endpoint::ALL.map(Endpoint::as_str).join(", ")))
}

fn effort(word: &str) -> Result<Effort, String> {
    Effort::parse(word).ok_or_else(|| "expected one of none, minimal, low, medium, high, xhigh, max".to_owned())
}

fn need(word: &str) -> Result<Need, String> {
    Need::parse(word).ok_or_else(|| format!("expected one of {}", Need::ALL.map(Need::as_str).join(", ")))
}

fn share(text: &str) -> Result<(String, Share), String> {
    let (window, share) = pair(text)?;
    parse_share(&share).map(|share| (window, share)).map_err(|error| error.to_string())
}

fn pair(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| format!("`{text}` has no `=`"))
}
