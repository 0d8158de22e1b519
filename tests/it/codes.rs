//! The long text of each code says the truth: what it shows as wrong is found, and what it shows as right is not.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tollgate::config::{self, Code, Diagnostic, Severity};

use crate::config::read;

/// Told of the file itself, of several files or beside a running daemon, so that no snippet can show them.
const WITHOUT_EXAMPLE: [&str; 15] = [
    "bad-encoding",
    "bad-include",
    "duplicate-include",
    "file-too-large",
    "half-written",
    "main-file-only",
    "missing-include",
    "needs-restart",
    "not-a-file",
    "too-many-files",
    "unformattable",
    "unmatched-include",
    "unreadable",
    "unsettled",
    "yaml-too-much",
];

/// The examples of a code: before, after.
fn examples(code: Code) -> Vec<&'static str> {
    let parts: Vec<&str> = code.text().split("```").collect();
    assert!(parts.len() % 2 == 1, "{code}: a fence is open");
    parts.into_iter().skip(1).step_by(2).map(|part| part.strip_prefix("yaml\n").unwrap()).collect()
}

/// A snippet with what a whole file needs around it.
fn whole(snippet: &str) -> String {
    let says = |key: &str| snippet.lines().any(|line| line.starts_with(&format!("{key}:")));
    let mut text = String::new();
    for (key, block) in [
        ("version", "version: 1\n"),
        (
            "providers",
            "providers:\n  openai:\n    format: openai\n    base_url: https://api.openai.com/v1\n    api_key: ${OPENAI_API_KEY}?\n    \
             usd_per_mtok: { input: 1, output: 2 }\n    max_output: 16k\n    models: { gpt-4o: {}, gpt-4o-mini: {} }\n",
        ),
    ] {
        text.push_str(if says(key) { "" } else { block });
    }
    text.push_str(match (says("default"), says("providers")) {
        (true, _) => "",
        (false, true) => "default: refuse\n",
        (false, false) => "default: { chain: [openai/gpt-4o] }\n",
    });
    text + snippet
}

fn told(findings: &[Diagnostic]) -> Vec<String> {
    findings.iter().map(|finding| format!("{}[{}]: {}", finding.severity, finding.code, finding.message)).collect()
}

#[test]
fn every_code_shows_a_mistake_and_its_cure() {
    for (code, _) in Code::ALL {
        let examples = examples(*code);
        if WITHOUT_EXAMPLE.contains(&code.as_str()) {
            assert_eq!(examples, Vec::<&str>::new(), "{code}");
            continue;
        }
        let [before, after] = examples[..] else { panic!("{code} has {} examples", examples.len()) };
        let (_, findings) = read(&whole(before));
        assert!(findings.iter().any(|finding| finding.code == *code), "{code} is not found in\n{before}\n{:?}", told(&findings));
        let others = findings.iter().filter(|finding| finding.code != *code && finding.severity == Severity::Error);
        assert_eq!(others.collect::<Vec<_>>(), Vec::<&Diagnostic>::new(), "{code}\n{before}");
        let (checked, findings) = read(&whole(after));
        assert!(checked.is_some() && findings.iter().all(|finding| finding.code != *code), "{code}\n{after}\n{:?}", told(&findings));
    }
}

#[test]
fn every_long_text_reads_well_on_a_terminal() {
    for (code, meaning) in Code::ALL {
        assert!(code.text().split("```").next().is_some_and(|words| words.split_whitespace().count() >= 20), "{code} says too little");
        let text = config::explain(*code);
        assert!(text.replace('\n', " ").starts_with(&format!("{code}: {meaning}")), "{text}");
        for mark in ["```", "**", "](", "\n#", "\n\n\n"] {
            assert!(!text.contains(mark), "{mark:?} in\n{text}");
        }
        assert!(code.text().matches('`').count() % 2 == 0, "{code}: a backtick is open");
        let is_prose = |line: &&str| !line.starts_with("    ");
        assert!(text.lines().filter(is_prose).all(|line| line.chars().count() <= 80), "{text}");
    }
}

#[test]
fn the_page_of_diagnostics_is_the_one_of_the_codes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnostics.md");
    let now = config::diagnostics_page();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, &now).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), now, "UPDATE_GOLDEN=1 writes it");
}

fn check(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("check")
        .args(arguments)
        .env_remove("TOLLGATE_CONFIG")
        .env("PRESENT", "sk-present")
        .output()
        .unwrap()
}

#[test]
fn check_explains_a_code_as_people_type_it() {
    for name in ["unknown-provider", "error[unknown-provider]", "[unknown-provider]:", "Unknown_Provider"] {
        let output = check(&["--explain", name]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && text == config::explain(Code::UNKNOWN_PROVIDER), "{name}: {text}");
    }
    let output = check(&["--explain", "unknown-providr"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && said.contains("did you mean `unknown-provider`?"), "{said}");
}

#[test]
fn check_says_once_where_more_is_told() {
    let bad = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config/bad");
    for (name, code) in [("many", Some("unsupported-version")), ("warn-unused", Some("unused-provider")), ("../good/minimal", None)] {
        let output = check(&[bad.join(format!("{name}.yaml")).to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        let foot = said.lines().filter(|line| line.contains("--explain")).collect::<Vec<_>>();
        let wanted = code.map(|code| format!("`tollgate check --explain {code}` says more"));
        assert_eq!(foot, wanted.as_deref().into_iter().collect::<Vec<_>>(), "{said}");
    }
}
