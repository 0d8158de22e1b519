//! What the documents show works as shown.

use std::path::Path;

use tollgate::config::{self, Env, Sources};

use crate::support::Folder;

/// The blocks of a language in a Markdown text.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let fence = format!("```{language}\n");
    text.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The findings in a text, as people read them, with no secret set.
fn findings(text: &str) -> String {
    let missing = |_: &str| Err(std::io::ErrorKind::NotFound.into());
    let env = Env { variable: &|_| None, file: &missing, credential: &missing };
    let sources = Sources::new("routes.yaml", text);
    let (_, findings) = config::read(&sources, &env);
    config::render(&sources, &findings, config::Style::Plain)
}

#[test]
fn every_whole_file_in_the_readme_is_sound() {
    let readme = read("README.md");
    let files: Vec<&str> = blocks(&readme, "yaml").into_iter().filter(|block| block.starts_with("version:")).collect();
    assert!(!files.is_empty());
    for file in files {
        assert_eq!(findings(file), "", "{file}");
    }
}

#[test]
fn the_readmes_rule_and_its_mistake_are_told_as_shown() {
    let readme = read("README.md");
    let yaml = blocks(&readme, "yaml");
    let rule = yaml.iter().find(|block| block.contains("short-questions")).unwrap();
    let edited = read("routes.yaml").replacen("rules:\n", &format!("rules:\n{rule}\n"), 1);
    assert_eq!(findings(&edited), "");
    let mistaken = edited.replacen("chain: thrifty", "chain: [opnai/gpt-4o]", 1);
    let shown = blocks(&readme, "text").into_iter().find(|block| block.contains("unknown-provider")).unwrap();
    let told = findings(&mistaken);
    assert!(told.starts_with(shown), "the README shows:\n{shown}\nand this is told:\n{told}");
}

/// Commands that the README shows, each with what it prints in a folder with the worked example, every key there.
#[test]
fn what_commands_print_stands_in_the_readme() {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), read("routes.yaml")).unwrap();
    let mut readme = read("README.md");
    let mut revision = None;
    for name in ["explain", "models"] {
        let (before, behind) = readme.split_once(&format!("```sh\ntollgate {name} ")).unwrap();
        let (line, rest) = behind.split_once("\n```\n\n```text\n").unwrap();
        let (shown, after) = rest.split_once("```\n").unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let command = command.arg(name).args(line.split_whitespace()).current_dir(folder.path()).env_clear();
        let output = command.env("OPENAI_API_KEY", "sk-there").env("DEEPSEEK_API_KEY", "sk-there").output().unwrap();
        let told: String = String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .filter(|line| !line.contains("days old"))
            .fold(String::new(), |text, line| text + line + "\n");
        revision = revision.or_else(|| told.split_once("by revision 0-").map(|(_, rest)| rest[..12].to_owned()));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            readme = format!("{before}```sh\ntollgate {name} {line}\n```\n\n```text\n{told}```\n{after}");
        } else {
            assert_eq!(shown, told, "UPDATE_GOLDEN=1 writes it");
        }
    }
    // The first answer names the revision of the worked example.
    let (before, rest) = readme.split_once("x-tollgate-revision: 1-").unwrap();
    let told = revision.unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let readme = format!("{before}x-tollgate-revision: 1-{told}{}", &rest[12..]);
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"), readme).unwrap();
    } else {
        assert_eq!(rest[..12], told, "UPDATE_GOLDEN=1 writes it");
    }
}

#[test]
fn every_row_of_faults_has_its_test() {
    let mut names = String::new();
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut names);
    read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it"), &mut names);
    let faults = read("docs/faults.md");
    let rows: Vec<String> = faults.lines().filter_map(|line| line.strip_prefix("| ")?.split(' ').next()).map(str::to_lowercase).collect();
    let rows: Vec<&String> = rows.iter().filter(|row| row.len() > 2 && row[1..3].bytes().all(|byte| byte.is_ascii_digit())).collect();
    assert!(rows.len() > 60, "{rows:?}");
    let missing: Vec<_> =
        rows.iter().filter(|row| !names.contains(&format!("fn {row}_")) && !names.contains(&format!("_{row}_"))).collect();
    assert!(missing.is_empty(), "rows of docs/faults.md without a test of their name: {missing:?}");
}

#[test]
fn every_promise_names_tests_that_exist() {
    let mut names = String::new();
    for folder in ["src", "tests/it"] {
        read_sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut names);
    }
    let page = read("docs/promises.md");
    for row in page.lines().filter(|line| line.starts_with("| ") && line.as_bytes()[2].is_ascii_digit()) {
        let tests: Vec<&str> = row.rsplit('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            assert!(names.contains(&format!("fn {test}(")), "there is no test `{test}`");
        }
    }
}

/// The text of every Rust file below `folder`.
fn read_sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
