use std::fs;
use std::path::Path;

use super::*;
use crate::app;
use crate::config::{Env, Severity, Sources};

/// What is printed for a file of another gateway, and what is told to be missing.
fn told(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import");
    let theirs = fs::read_to_string(folder.join(format!("{name}.yaml"))).unwrap();
    let imported = import(&serde_json::from_str(&config::yaml_as_json(&theirs).unwrap()).unwrap());
    let none = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let env = Env { variable: &|_| None, file: &none, credential: &none };
    let checking = app::check(Sources::new("routes.yaml", imported.text.as_str()), &env);
    let errors: Vec<_> = checking.findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{}\n{errors:#?}", imported.text);
    assert!(!imported.text.contains("sk-"), "{}", imported.text);
    format!("{}\n# not carried over\n{}\n", imported.text, imported.left.join("\n"))
}

#[test]
fn configs_after_the_documented_forms_come_over() {
    for name in ["litellm-groups", "litellm-keys"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/import").join(format!("{name}.txt"));
        let told = told(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &told).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap_or_default(), told, "UPDATE_GOLDEN=1 writes what is told now");
    }
}

#[test]
fn prices_per_token_keep_every_digit() {
    for (theirs, ours) in [
        ("0.0000025", "2.5"),
        ("2.5e-06", "2.5"),
        ("2.8e-07", "0.28"),
        ("1.4e-7", "0.14"),
        ("3e-05", "30"),
        ("0.00001", "10"),
        ("0", "0"),
        ("0.000000000123", "0.000123"),
        ("1", "1000000"),
    ] {
        assert_eq!(per_million(&serde_json::from_str(theirs).unwrap()).as_deref(), Some(ours), "{theirs}");
    }
}

#[test]
fn rule_names_are_names_and_there_once() {
    let mut used = BTreeSet::new();
    let names: Vec<String> = ["GPT 4o", "gpt-4o", "gpt/4o", "default", "***"].map(|group| rule_name(group, &mut used)).to_vec();
    assert_eq!(names, ["gpt-4o", "gpt-4o-2", "gpt-4o-3", "model-default", "model"]);
}
