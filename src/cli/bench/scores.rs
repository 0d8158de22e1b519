use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::Scores;
use crate::app::{self, Staged};
use crate::bench::Report;
use crate::cli::exit;
use crate::config;

const HEAD: &str = "# Written by `tollgate bench --write`: ten times the share of right answers, of n, on that day.\n";

/// Puts the scores into the file of evals, beside those that stand there for other tasks and targets.
pub(super) fn write(config: &Path, file: Option<&Path>, report: &Report) -> anyhow::Result<ExitCode> {
    let folder = config.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path: PathBuf = file.map_or_else(|| folder.join("evals.yaml"), Path::to_owned);
    let before = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.with_context(|| path.display().to_string())?,
    };
    let mut scores = known(&before).with_context(|| path.display().to_string())?;
    let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
    let mut written = 0;
    for target in &report.targets {
        for (task, sums) in &target.tasks {
            let Some(score) = sums.score() else { continue };
            let row = json!({ "score": score.to_string(), "n": sums.n, "date": today });
            scores.entry(task.clone()).or_default().insert(target.target.clone(), row);
            written += 1;
        }
    }
    Staged::new(&path, &told(&scores), config)?.commit()?;
    anstream::eprintln!("{written} scores written to {}", path.display());
    let checking = match app::check_file(config) {
        Ok(checking) => checking,
        Err(refused) => bail!("{}", refused.text),
    };
    if checking.checked.is_none() {
        anstream::eprint!("{}", checking.render(app::style_for_people()));
        return Ok(ExitCode::from(exit::FINDINGS));
    }
    let is_included = checking.checked.is_some_and(|checked| checked.evals.iter().any(|eval| eval.place.file > 0));
    if written > 0 && !is_included {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        anstream::eprintln!(" hint: the main file does not read it yet: write `include: [{name}]` there");
    }
    Ok(ExitCode::from(if report.stopped.is_some() { exit::FINDINGS } else { exit::OK }))
}

/// The scores that a file has. A file with anything else in it is somebody's own, and stays as it is.
fn known(text: &str) -> anyhow::Result<Scores> {
    if text.trim().is_empty() {
        return Ok(Scores::new());
    }
    let Ok(json) = config::yaml_as_json(text) else { bail!("the file is no YAML; take it away, or name another one") };
    let file: Value = serde_json::from_str(&json)?;
    let is_plain = file.as_object().is_some_and(|map| map.keys().all(|key| key == "evals" || key == "version"));
    if !is_plain && !file.is_null() {
        bail!("the file says more than `evals`, and is not written anew: name another one behind `--write`");
    }
    Ok(serde_json::from_value(file["evals"].clone()).unwrap_or_default())
}

fn told(scores: &Scores) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut text = format!("{HEAD}evals:\n");
    // Writing to a String cannot fail.
    for (task, targets) in scores {
        _ = writeln!(text, "  {task}:");
        for (target, row) in targets {
            let fields: Vec<String> = ["score", "n", "date"]
                .iter()
                .filter(|key| !row[**key].is_null())
                .map(|key| format!("{key}: {}", plain(&row[*key])))
                .collect();
            _ = writeln!(text, "    {target}: {{ {} }}", fields.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_of_others_stay_and_a_file_of_somebodys_own_is_left_alone() {
        let text = "evals:\n  math: { a/m: { score: 7.25, n: 8, date: 2026-01-02 } }\n";
        assert_eq!(told(&known(text).unwrap()), format!("{HEAD}evals:\n  math:\n    a/m: {{ score: 7.25, n: 8, date: 2026-01-02 }}\n"));
        assert!(known("evals: {}\nrules: []\n").is_err());
        assert_eq!(known("").unwrap(), Scores::new());
    }
}
