//! The door of the file: what loads, what is refused, and how it is told.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tollgate::config::{self, Checked, Diagnostic, Severity, Style};

/// Secrets of the tests: what is not listed is missing.
fn variable(name: &str) -> Option<String> {
    match name {
        "PRESENT" => Some("sk-present".into()),
        "EMPTY" => Some(String::new()),
        "SPACES" => Some("  ".into()),
        "BROKEN" => Some("sk-\u{7}bell".into()),
        "TWO_WORDS" => Some("sk one".into()),
        _ => None,
    }
}

fn file(path: &str) -> io::Result<String> {
    match path {
        "/etc/tollgate/house.key" => Ok("sk-house\n".into()),
        "/etc/tollgate/locked.key" => Err(io::ErrorKind::PermissionDenied.into()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn credential(_: &str) -> io::Result<String> {
    Err(io::ErrorKind::NotFound.into())
}

fn read(text: &str) -> (Option<Checked>, Vec<Diagnostic>) {
    config::read(text, &config::Env { variable: &variable, file: &file, credential: &credential })
}

fn read_bytes(bytes: &[u8]) -> (Option<Checked>, Vec<Diagnostic>) {
    config::read_bytes(bytes, &config::Env { variable: &variable, file: &file, credential: &credential })
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config").join(name)
}

fn yaml_files(name: &str) -> BTreeMap<String, String> {
    fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap()))
        .collect()
}

#[test]
fn good_files_load_without_a_finding() {
    for (name, text) in yaml_files("good") {
        let (checked, findings) = read(&text);
        assert_eq!(config::render(&format!("{name}.yaml"), &text, &findings, Style::Plain), "", "{name}");
        assert!(checked.is_some(), "{name}");
    }
}

#[test]
fn bad_files_are_told_in_exactly_these_words() {
    let rewrite = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    for (name, text) in yaml_files("bad") {
        let (_, findings) = read(&text);
        assert!(!findings.is_empty(), "{name} has no finding");
        let told = config::render("routes.yaml", &text, &findings, Style::Plain);
        let path = folder("bad").join(format!("{name}.txt"));
        if rewrite {
            fs::write(&path, &told).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != told {
            wrong.push(format!("{name}:\n{told}"));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 writes what is told now\n{}", wrong.join("\n"));
}

#[test]
fn every_code_has_a_golden_file() {
    let told: String =
        yaml_files("bad").keys().map(|name| fs::read_to_string(folder("bad").join(format!("{name}.txt"))).unwrap()).collect();
    let elsewhere = ["bad-encoding", "file-too-large"];
    let missing: Vec<&str> = config::CODES
        .iter()
        .map(|(code, _)| *code)
        .filter(|code| !elsewhere.contains(code) && !told.contains(&format!("[{code}]")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
