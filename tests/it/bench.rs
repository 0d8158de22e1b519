//! `tollgate bench`: the same figures each time, within its limits, and scores that pools go by.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

struct Place(PathBuf);

impl Place {
    fn new(name: &str, more: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tollgate-bench-{name}-{}", std::process::id()));
        fs::remove_dir_all(&folder).ok();
        fs::create_dir_all(&folder).unwrap();
        let place = Self(folder);
        fs::write(
            place.path("routes.yaml"),
            format!(
                "version: 1\ninclude: [evals.yaml]\nproviders:\n  \
                 quick: {{ format: sandbox, latency: 1ms, tokens_per_second: 100000, failure: 5%, models: {{ a: {{ max_output: 4k, usd_per_mtok: {{ input: 3, output: 9 }} }} }} }}\n  \
                 slow: {{ format: sandbox, latency: 4ms, tokens_per_second: 50000, models: {{ b: {{ max_output: 4k, usd_per_mtok: {{ input: 1, output: 2 }} }} }} }}\n{more}"
            ),
        )
        .unwrap();
        fs::write(place.path("evals.yaml"), "evals: {}\n").unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn tollgate(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(arguments)
            .args(["--config", self.path("routes.yaml").to_str().unwrap()])
            .env_remove("TOLLGATE_CONFIG")
            .env_remove("STATE_DIRECTORY")
            .output()
            .unwrap()
    }

    fn bench(&self, state: &str, more: &[&str]) -> Output {
        let state = self.path(state);
        let arguments = ["bench", "--targets", "quick/a,slow/b", "--max-time", "2m", "--state", state.to_str().unwrap()];
        self.tollgate(&[&arguments[..], more].concat())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// How many of a target's cases were not answered or graded.
fn failures(target: &Value) -> u64 {
    target["all"]["failures"].as_object().unwrap().values().filter_map(Value::as_u64).sum()
}

const PLAIN: &str = "default: { chain: [quick/a, slow/b] }\n";
const AMPLE: [&str; 5] = ["--max-requests", "1000", "--max-cost", "$5", "--json"];

#[test]
fn on_the_sandbox_a_run_is_the_same_byte_for_byte() {
    let place = Place::new("repeat", PLAIN);
    let (one, other) = (place.bench("one", &AMPLE), place.bench("other", &AMPLE));
    assert_eq!(one.status.code(), Some(0), "{one:?}");
    assert!(one.stdout == other.stdout, "two runs differ");
    let told = json(&one);
    let targets = told["report"]["targets"].as_array().unwrap();
    assert_eq!(targets.iter().map(|target| target["target"].as_str().unwrap()).collect::<Vec<_>>(), ["quick/a", "slow/b"]);
    assert_eq!(targets[0]["all"]["ttft_ms"]["p50"], 1.0);
    assert!(failures(&targets[0]) > 0, "{}", targets[0]["all"]);
    assert_eq!(targets[1]["tasks"].as_object().unwrap().len(), 10);
    let metrics: Vec<&str> = told["report"]["decision"].as_array().unwrap().iter().map(|row| row["metric"].as_str().unwrap()).collect();
    assert_eq!(metrics, ["Response Quality", "Cost Efficiency", "Speed (TTFT)", "Coding Accuracy"]);
    assert!(json(&place.bench("third", &[&AMPLE[..], &["--seed", "2"]].concat()))["outcomes"] != told["outcomes"], "the seed orders cases");
    let text = String::from_utf8(place.bench("text", &AMPLE[..4]).stdout).unwrap();
    assert!(text.contains("Runner-up") && text.contains("no judge ran") && text.contains("rank nothing"), "{text}");
}

#[test]
fn limits_end_a_run_and_a_later_one_goes_on_where_it_ended() {
    let place = Place::new("limits", PLAIN);
    let whole = json(&place.bench("whole", &AMPLE));
    let kept = place.path("kept.jsonl");
    let few = place.bench("few", &["--max-requests", "7", "--max-cost", "$5", "--json", "--resume", kept.to_str().unwrap()]);
    assert_eq!((few.status.code(), &json(&few)["report"]["stopped"]), (Some(1), &Value::from("max_requests")));
    assert_eq!(json(&few)["outcomes"].as_array().unwrap().len(), 7);
    assert_eq!(fs::read_to_string(&kept).unwrap().lines().count(), 7);
    // A run that is killed leaves half a line, which costs no answer that comes behind it.
    fs::write(&kept, fs::read_to_string(&kept).unwrap() + "{\"half").unwrap();
    // What was graded is not asked again: fewer requests are enough now.
    let graded = json(&few)["outcomes"].as_array().unwrap().iter().filter(|outcome| !outcome["right"].is_null()).count();
    let rest = (whole["outcomes"].as_array().unwrap().len() - graded).to_string();
    let resumed = place.bench("resumed", &["--max-requests", &rest, "--max-cost", "$5", "--json", "--resume", kept.to_str().unwrap()]);
    assert_eq!((resumed.status.code(), &json(&resumed)["report"]["stopped"]), (Some(0), &Value::Null));
    assert_eq!(json(&resumed)["outcomes"].as_array().unwrap().len(), whole["outcomes"].as_array().unwrap().len());
    let lines = fs::read_to_string(&kept).unwrap();
    assert_eq!(lines.lines().filter(|line| serde_json::from_str::<Value>(line).is_err()).collect::<Vec<_>>(), ["{\"half"]);
    // Not a request whose worst case could cost more than is left.
    let poor = json(&place.bench("poor", &["--max-requests", "1000", "--max-cost", "$0.05", "--json"]));
    assert_eq!(poor["report"]["stopped"], "max_cost");
    let spent: u64 = poor["outcomes"].as_array().unwrap().iter().map(|outcome| outcome["cost_nano_usd"].as_u64().unwrap()).sum();
    assert!((1..=50_000_000).contains(&spent), "{spent}");
}

#[test]
fn a_budget_of_the_file_holds_for_bench_too() {
    let place = Place::new("budget", "budgets:\n  all: { cap: $0.001/total }\ndefault: { chain: [quick/a, slow/b] }\n");
    let told = json(&place.bench("state", &AMPLE));
    let all = &told["report"]["targets"][0]["all"];
    assert!(failures(&told["report"]["targets"][0]) > 90 && all["failures"].to_string().contains("budget"), "{all}");
}

/// Cases that the sandbox, which says back what it was told, gets right; and one that nobody does.
const CASES: &str = r#"{"task":"coding","prompt":"say apple","grader":"contains","expect":"apple"}
{"task":"coding","prompt":"say pear","grader":"contains","expect":"pear"}
{"task":"coding","prompt":"say plum","grader":"contains","expect":"cherry"}
{"task":"coding","prompt":"judge me","grader":"judge","rubric":"anything goes"}
{"task":"coding","prompt":"42","grader":"command","expect":["sh","-c","grep -q 42"]}
"#;

#[test]
fn written_scores_change_what_best_picks() {
    let place = Place::new("write", "default: { chain: [{ pick: best, for: coding, min_score: 5, of: [quick/a, slow/b] }] }\n");
    let explain = |place: &Place| json(&place.tollgate(&["explain", "--json", "--prompt-tokens", "100"]));
    assert_eq!(explain(&place)["order"], Value::from(Vec::<Value>::new()), "nothing is measured yet");
    let cases = place.path("cases.jsonl");
    fs::write(&cases, CASES).unwrap();
    let arguments = ["--cases", cases.to_str().unwrap(), "--max-requests", "50", "--max-cost", "$1", "--write", "--json"];
    let written = place.bench("state", &arguments);
    assert_eq!(written.status.code(), Some(0), "{written:?}");
    let said = String::from_utf8_lossy(&written.stderr);
    assert!(said.contains("1 cases have a rubric and no judge") && said.contains("--allow-commands"), "{said}");
    let evals = fs::read_to_string(place.path("evals.yaml")).unwrap();
    assert!(evals.contains("    slow/b: { score: 6.666, n: 3, date: 20"), "{evals}");
    assert_eq!(explain(&place)["order"][0], "slow/b", "the cheaper of two that reach the floor: {evals}");
    // With its program allowed there is one more to grade.
    let allowed = place.bench("state", &[&arguments[..], &["--allow-commands"]].concat());
    assert_eq!(json(&allowed)["report"]["targets"][1]["all"]["n"], 4, "{allowed:?}");
    assert!(fs::read_to_string(place.path("evals.yaml")).unwrap().contains("slow/b: { score: 7.5, n: 4"));
    assert!(Path::new(&place.path("state")).join("ledger.db").exists() || fs::read_dir(place.path("state")).unwrap().count() > 0);
}
