use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::status::{plain, push};
use super::{exit, print, print_json};
use crate::tasks::{Evaluation, Example, Guess, Label, Sign, Table, leave_out, train};
use crate::units::Confidence;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The text; standard input where none is named
    file: Option<PathBuf>,
    /// The system message that goes before the text
    #[arg(long, value_name = "TEXT", default_value = "")]
    system: String,
    /// Say how often the classifier is right on these texts: JSON lines with `task`, `prompt` and, where there is one, `system`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["file", "train"])]
    eval: Option<PathBuf>,
    /// From this confidence on a guess counts; below it the task is `unknown`
    #[arg(long, value_name = "SHARE", default_value = "0.7", value_parser = floor)]
    floor: Confidence,
    /// Make a table of these labelled texts, which may say their `source` and the `family` of sources that share texts
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "file")]
    train: Vec<PathBuf>,
    /// Where the table goes; without it nothing is written
    #[arg(long, value_name = "TABLE", requires = "train")]
    write: Option<PathBuf>,
    /// Guess each source by a table that was made without it, and say how often that is right: in so many parts
    #[arg(long, value_name = "PARTS", requires = "train", value_parser = clap::value_parser!(u8).range(2..=50))]
    leave_out: Option<u8>,
    /// Use this table instead of the one in the program
    #[arg(long, value_name = "TABLE", conflicts_with = "train")]
    table: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line of a file of labelled texts; what else it says is passed over.
#[derive(Deserialize)]
struct Line {
    task: String,
    prompt: String,
    system: Option<String>,
    source: Option<String>,
    family: Option<String>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if !options.train.is_empty() {
        return learn(options);
    }
    let own = options.table.as_deref().map(read_table).transpose()?;
    let table = own.as_ref().unwrap_or(Table::built_in());
    if let Some(file) = &options.eval {
        let (examples, _) = examples(std::slice::from_ref(file))?;
        return tell(&Evaluation::of(table, &examples, options.floor), options.json);
    }
    let guess = table.classify(&options.system, &text(options.file.as_deref())?);
    if options.json {
        print_json(&as_json(&guess, options.floor))?;
    } else {
        print(&told(&guess, options.floor))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn learn(options: &Options) -> anyhow::Result<ExitCode> {
    let (examples, digest) = examples(&options.train)?;
    if let Some(file) = &options.write {
        std::fs::write(file, train(&examples, digest).to_bytes()).with_context(|| file.display().to_string())?;
        anstream::eprintln!("{}: a table of {} texts", file.display(), examples.len());
    }
    match options.leave_out {
        Some(parts) => tell(&leave_out(&examples, usize::from(parts), options.floor), options.json),
        None if options.write.is_none() => bail!("say with `--write` where the table goes, or with `--leave-out` that it is to be tried"),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn floor(text: &str) -> Result<Confidence, String> {
    Confidence::parse(text).ok_or_else(|| "expected a share such as `0.7` or `70%`".to_owned())
}

fn read_table(file: &Path) -> anyhow::Result<Table> {
    let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
    Table::read(Cow::Owned(bytes)).with_context(|| format!("{} is no table of this version", file.display()))
}

fn text(file: Option<&Path>) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    match file.filter(|file| *file != Path::new("-")) {
        Some(file) => bytes = std::fs::read(file).with_context(|| file.display().to_string())?,
        None => _ = std::io::stdin().read_to_end(&mut bytes).context("standard input")?,
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The labelled texts of all files, and the digest of the files one behind the other.
fn examples(files: &[PathBuf]) -> anyhow::Result<(Vec<Example>, [u8; 32])> {
    let (mut examples, mut digest) = (Vec::new(), Sha256::new());
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        digest.update(text.as_bytes());
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{}:{number}", file.display());
            let line: Line = serde_json::from_str(line).with_context(place)?;
            let label = Label::parse(&line.task).with_context(|| format!("{}: there is no task `{}`: {}", place(), line.task, words()))?;
            let source = line.family.or(line.source).unwrap_or_default();
            examples.push(Example { label, system: line.system.unwrap_or_default(), prompt: line.prompt, source });
        }
    }
    if examples.is_empty() {
        bail!("there is no text in it");
    }
    Ok((examples, digest.finalize().into()))
}

fn words() -> String {
    Label::ALL.map(Label::as_str).join(", ")
}

fn as_json(guess: &Guess, floor: Confidence) -> serde_json::Value {
    let share = |confidence: Confidence| f64::from(confidence.thousandths()) / 1_000.0;
    json!({
        "task": name(guess, floor),
        "label": guess.label.as_str(),
        "confidence": share(guess.confidence),
        "source": source(guess, floor),
        "runner_up": { "label": guess.runner_up.0.as_str(), "confidence": share(guess.runner_up.1) },
        "floor": share(floor),
        "signs": guess.signs.all().map(Sign::as_str).collect::<Vec<_>>(),
    })
}

fn told(guess: &Guess, floor: Confidence) -> String {
    let mut text = format!("{}\n", name(guess, floor));
    let (next, chance) = guess.runner_up;
    let mut line = |words: String| writeln!(text, "{words}").unwrap_or_default();
    if guess.confidence == Confidence::from_thousandths(0) {
        line("  nothing is said that could show a task".into());
        return text;
    }
    line(format!("  {} with confidence {}, {} where a guess counts", guess.label, guess.confidence, against(guess, floor)));
    line(format!("  else {next} with confidence {chance}"));
    let signs: Vec<&str> = guess.signs.all().map(Sign::as_str).collect();
    line(format!("  seen: {}", if signs.is_empty() { "nothing that speaks by itself".into() } else { signs.join(", ") }));
    text
}

fn against(guess: &Guess, floor: Confidence) -> String {
    if guess.confidence >= floor { format!("at or above the floor {floor}") } else { format!("below the floor {floor}") }
}

fn name(guess: &Guess, floor: Confidence) -> &'static str {
    if guess.confidence >= floor { guess.label.as_str() } else { "unknown" }
}

fn source(guess: &Guess, floor: Confidence) -> &'static str {
    match (guess.confidence >= floor, guess.by_structure) {
        (false, _) => "none",
        (true, true) => "structure",
        (true, false) => "learned",
    }
}

fn tell(evaluation: &Evaluation, json: bool) -> anyhow::Result<ExitCode> {
    if json {
        print_json(&figures(evaluation))?;
    } else {
        print(&table(evaluation))?;
    }
    Ok(ExitCode::from(exit::OK))
}

fn figures(evaluation: &Evaluation) -> serde_json::Value {
    let by_label: serde_json::Map<String, serde_json::Value> = Label::ALL
        .into_iter()
        .map(|label| {
            let measures = evaluation.measures(label);
            let told = json!({ "rows": measures.rows, "precision": measures.precision, "recall": measures.recall, "f1": measures.f1 });
            (label.to_string(), told)
        })
        .collect();
    json!({
        "rows": evaluation.rows(),
        "accuracy": evaluation.accuracy(),
        "macro_f1": evaluation.macro_f1(),
        "floor": f64::from(evaluation.floor.thousandths()) / 1_000.0,
        "coverage": evaluation.coverage(),
        "precision": evaluation.precision(),
        "by_label": by_label,
        "labels": Label::ALL.map(Label::as_str),
        "confusion": evaluation.confusion,
    })
}

fn table(evaluation: &Evaluation) -> String {
    let mut text = format!(
        "{} texts: accuracy {:.3}, macro-F1 {:.3}\nat the floor {}: coverage {:.3}, precision {:.3}\n\n",
        evaluation.rows(),
        evaluation.accuracy(),
        evaluation.macro_f1(),
        evaluation.floor,
        evaluation.coverage(),
        evaluation.precision(),
    );
    let mut table = plain();
    let short = |label: Label| label.as_str().chars().take(6).collect::<String>();
    table.set_header(
        ["right \\ guessed".to_owned()].into_iter().chain(Label::ALL.map(short)).chain(["precision", "recall", "F1"].map(Into::into)),
    );
    for label in Label::ALL {
        let measures = evaluation.measures(label);
        let counts = evaluation.confusion[label.index()].map(|count| if count == 0 { "·".to_owned() } else { count.to_string() });
        let shares = [measures.precision, measures.recall, measures.f1].map(|share| format!("{share:.2}"));
        table.add_row([label.to_string()].into_iter().chain(counts).chain(shares));
    }
    push(&mut text, &table);
    text
}
