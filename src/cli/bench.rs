use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::Instant;

use super::daemon::Daemon;
use super::{exit, print, print_json};
use crate::app::{self, OwnEngine, Unstarted};
use crate::bench::{self, Cases, Engine, Grader, JUDGE_PROMPT, Limits, Outcome, Plan, Report, Stopped};
use crate::config::Checked;
use crate::units::{TaskName, Tokens, Usd, parse_count, parse_duration};

mod scores;
mod told;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    daemon: Daemon,
    /// The cases: JSON Lines, OpenAI-evals rows, or a promptfoo configuration with plain tests. Without it the small set that comes
    /// along, which shows the form and ranks nothing
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,
    /// Whom to ask, as `provider/model`
    #[arg(long, value_delimiter = ',', required = true, value_name = "A/M,B/M")]
    targets: Vec<String>,
    /// Ask at most so often
    #[arg(long, value_name = "N", value_parser = parse_count)]
    max_requests: u64,
    /// Spend at most so much: nothing is sent whose worst case could cost more
    #[arg(long, value_name = "USD")]
    max_cost: Usd,
    /// Take at most so long, such as `10m`
    #[arg(long, value_name = "TIME", value_parser = |text: &str| parse_duration(text))]
    max_time: Duration,
    /// The output limit of each answer
    #[arg(long, value_name = "N", default_value = "1k", value_parser = |text: &str| parse_count(text).map(Tokens::new))]
    max_output_tokens: Tokens,
    /// The task of cases that name none
    #[arg(long, default_value = "qa", value_parser = |text: &str| TaskName::parse(text))]
    task: TaskName,
    /// A target that judges answers to cases with a rubric; without it those are not graded
    #[arg(long, value_name = "A/M")]
    judge: Option<String>,
    /// Run the programs that cases name as their graders
    #[arg(long)]
    allow_commands: bool,
    /// Of the order in which cases are asked
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    parallel: usize,
    /// Keep what came of each case in this file; what stands there already is not asked again
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
    /// Write the scores into this file, which `include` names; `evals.yaml` beside the main file where none is named
    #[arg(long, value_name = "FILE")]
    #[expect(clippy::option_option, reason = "clap's way to say that the flag may stand without its value")]
    write: Option<Option<PathBuf>>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let text = match &options.cases {
        Some(path) => fs::read_to_string(path).with_context(|| path.display().to_string())?,
        None => bench::example().to_owned(),
    };
    let cases = bench::read(&text, &options.task)
        .with_context(|| options.cases.as_ref().map_or_else(|| "the example".to_owned(), |path| path.display().to_string()))?;
    for left_out in &cases.left_out {
        anstream::eprintln!("left out: {left_out}");
    }
    let checking = match app::check_file(options.daemon.config()) {
        Ok(checking) => checking,
        Err(refused) => {
            anstream::eprint!("{}", refused.text);
            return Ok(ExitCode::from(exit::CONFIG));
        }
    };
    let Some(checked) = checking.checked.clone() else {
        anstream::eprint!("{}", checking.render(app::style_for_people()));
        return Ok(ExitCode::from(exit::CONFIG));
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measured(options, &cases, checked))
}

async fn measured(options: &Options, cases: &Cases, checked: Checked) -> anyhow::Result<ExitCode> {
    let own = match OwnEngine::open(checked, &options.daemon.state(), options.max_output_tokens) {
        Ok(own) => own,
        Err(Unstarted::Busy { state, .. }) => {
            anstream::eprintln!(
                "error: the state folder {} is in use by a daemon, whose budgets would not see what this spends",
                state.display()
            );
            anstream::eprintln!(" hint: stop it, or keep the books of this run elsewhere: `--state FOLDER`");
            return Ok(ExitCode::from(exit::BUSY));
        }
        Err(error) => bail!("{error}"),
    };
    let done = asked(options, cases, &own.engine).await;
    own.close().await;
    let (report, outcomes) = done?;
    if options.daemon.json() {
        print_json(&json!({ "report": report, "outcomes": outcomes }))?;
    } else {
        print(&told::text(&report, options.cases.is_none()))?;
    }
    match &options.write {
        Some(path) => scores::write(options.daemon.config(), path.as_deref(), &report),
        None => Ok(ExitCode::from(if report.stopped.is_some() { exit::FINDINGS } else { exit::OK })),
    }
}

async fn asked(options: &Options, cases: &Cases, engine: &Engine) -> anyhow::Result<(Report, Vec<Outcome>)> {
    let plan = plan(options, cases, engine)?;
    let known = match &options.resume {
        Some(path) => known(path)?,
        None => BTreeMap::new(),
    };
    let mut kept = options.resume.as_ref().map(|path| kept(path)).transpose()?;
    let bar = ProgressBar::new((plan.cases.len() * plan.targets.len()) as u64)
        .with_style(ProgressStyle::with_template("{bar:30} {pos} of {len} answers, {msg}, {elapsed} of at most {prefix}")?)
        .with_prefix(format!("{} s", options.max_time.as_secs()));
    let mut spent = Usd::ZERO;
    let tell = |outcome: &Outcome, left: usize| {
        spent = spent.plus(Usd::from_nano(outcome.cost_nano_usd));
        bar.set_position(bar.length().unwrap_or_default().saturating_sub(left as u64));
        bar.set_message(spent.to_string());
        if let Some(file) = &mut kept {
            keep(file, outcome);
        }
    };
    let limits = Limits { requests: options.max_requests, cost: options.max_cost, until: Instant::now() + options.max_time };
    let (outcomes, stopped) = bench::run(engine, &plan, limits, &known, tell).await;
    bar.finish_and_clear();
    let judge = plan.judge.map(|_| (options.judge.as_deref().unwrap_or_default(), judge_hash(&plan)));
    let judge = judge.as_ref().map(|(name, hash)| (*name, hash.as_str()));
    Ok((bench::report(&outcomes, &options.targets, judge, stopped), outcomes))
}

fn plan(options: &Options, cases: &Cases, engine: &Engine) -> anyhow::Result<Plan> {
    let target = |name: &String| {
        let index = engine.target(name).with_context(|| {
            format!("`{name}` is no target of {}: a provider there has to list the model", options.daemon.config().display())
        })?;
        let spec = &engine.running.rules().targets()[index];
        if spec.prices.is_none() && spec.flat_usd.is_none() {
            bail!("`{name}` has no price, so nobody can keep `--max-cost`: give it `usd_per_mtok`, zero where it is free");
        }
        Ok(index)
    };
    let targets = options.targets.iter().map(target).collect::<anyhow::Result<Vec<usize>>>()?;
    let judge = options.judge.as_ref().map(target).transpose()?;
    let needs = |is_it: fn(&Grader) -> bool| cases.all.iter().filter(|case| case.checks.iter().any(|check| is_it(&check.grader))).count();
    let (judged, programs) = (needs(|grader| matches!(grader, Grader::Judge(_))), needs(|grader| matches!(grader, Grader::Command(_))));
    if judged > 0 && judge.is_none() {
        anstream::eprintln!("{judged} cases have a rubric and no judge: they are asked and not graded; `--judge provider/model` names one");
    }
    if programs > 0 && !options.allow_commands {
        anstream::eprintln!("{programs} cases name a program as their grader: they are not graded without `--allow-commands`");
    }
    Ok(Plan {
        cases: cases.all.iter().cloned().map(Arc::new).collect(),
        targets,
        judge,
        runs_commands: options.allow_commands,
        seed: options.seed,
        parallel: options.parallel,
    })
}

/// The hash of all that a judge is told besides questions and answers.
fn judge_hash(plan: &Plan) -> String {
    use sha2::{Digest, Sha256};
    use std::fmt::Write as _;
    let mut hasher = Sha256::new_with_prefix(JUDGE_PROMPT);
    for check in plan.cases.iter().flat_map(|case| &case.checks) {
        if let Grader::Judge(rubric) = &check.grader {
            hasher.update(rubric);
        }
    }
    hasher.finalize().iter().take(8).fold(String::new(), |mut hex, byte| {
        _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The outcomes of an earlier run. A last line that was cut is asked again.
fn known(path: &PathBuf) -> anyhow::Result<BTreeMap<String, Outcome>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| path.display().to_string())?,
    };
    let outcome = |line: &str| serde_json::from_str::<Outcome>(line).ok();
    // What failed for the provider's sake is worth another try.
    let outcomes = text.lines().filter_map(outcome).filter(|outcome| outcome.right.is_some());
    Ok(outcomes.map(|outcome| (outcome.key.clone(), outcome)).collect::<BTreeMap<_, _>>())
}

/// The file of `--resume`, to be written on. What a run that was killed left half written stays a line of its own.
fn kept(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn keep(file: &mut File, outcome: &Outcome) {
    let line = serde_json::to_string(outcome).unwrap_or_default() + "\n";
    if let Err(error) = file.write_all(line.as_bytes()) {
        anstream::eprintln!("warning: the file of `--resume` cannot be written: {error}");
    }
}

/// Why the run ended early, in words.
fn why(stopped: Stopped) -> &'static str {
    match stopped {
        Stopped::MaxRequests => "`--max-requests` was reached",
        Stopped::MaxCost => "another answer could have exceeded `--max-cost`",
        Stopped::MaxTime => "`--max-time` was over",
    }
}

/// By task, then by target.
type Scores = BTreeMap<String, BTreeMap<String, serde_json::Value>>;
