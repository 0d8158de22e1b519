//! The task classifier: its table, its figures, its command.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tollgate::tasks::Table;

const DATA: [&str; 2] = ["tests/tasks/dev.jsonl", "tests/tasks/natural.jsonl"];

fn root(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn classify(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tollgate")).current_dir(root("")).arg("classify").args(arguments).output().unwrap()
}

fn json(arguments: &[&str]) -> Value {
    let output = classify(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_table_names_the_data_that_it_was_made_from() {
    let mut digest = Sha256::new();
    for file in DATA {
        digest.update(std::fs::read(root(file)).unwrap());
    }
    let digest: [u8; 32] = digest.finalize().into();
    assert_eq!(Table::built_in().digest(), digest, "make the table again: docs/tasks.md says how");
}

#[test]
fn the_table_can_be_made_again_bit_for_bit() {
    let folder = tempdir();
    let made = folder.join("table.bin");
    let output = classify(&["--train", DATA[0], DATA[1], "--write", made.to_str().unwrap()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let (made, shipped) = (std::fs::read(&made).unwrap(), std::fs::read(root("src/tasks/table.bin")).unwrap());
    std::fs::remove_dir_all(folder).unwrap();
    assert!(shipped.len() <= 1 << 20, "{} bytes", shipped.len());
    assert!(made == shipped, "the table in the sources is not what training makes");
}

fn tempdir() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("tollgate-tasks-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Sources that are left out, in three parts; docs/tasks.md has the figures of six.
#[test]
fn sources_left_out_of_training_are_recognised_well_enough() {
    let figures = json(&["--train", DATA[0], DATA[1], "--leave-out", "3", "--json"]);
    let figure = |name: &str| figures[name].as_f64().unwrap();
    for (name, least) in [("accuracy", 0.72), ("macro_f1", 0.70), ("coverage", 0.65), ("precision", 0.85)] {
        assert!(figure(name) >= least, "{name} is {}, below {least}", figure(name));
    }
}

#[test]
fn natural_prompts_are_many_and_in_many_languages() {
    let text = std::fs::read_to_string(root(DATA[1])).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() >= 800, "{}", rows.len());
    let mut ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows.len());
}

#[test]
fn the_command_tells_task_runner_up_and_signs() {
    let folder = tempdir().join("text");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("prompt.txt");
    std::fs::write(&file, "Translate into Spanish: the museum is closed on Mondays").unwrap();
    let told = json(&[file.to_str().unwrap(), "--json"]);
    assert_eq!((&told["task"], &told["source"]), (&"translation".into(), &"structure".into()), "{told}");
    assert!(told["signs"].as_array().unwrap().contains(&"names a language".into()), "{told}");
    std::fs::write(&file, "hm, and then the one with the blue thing").unwrap();
    let told = json(&[file.to_str().unwrap(), "--floor", "100%", "--json"]);
    assert_eq!((&told["task"], &told["source"]), (&"unknown".into(), &"none".into()), "{told}");
    let text = classify(&[file.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("  else "), "{text:?}");
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_evaluation_tells_accuracy_and_confusion_of_any_file() {
    let folder = tempdir().join("eval");
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("rows.jsonl");
    std::fs::write(
        &file,
        "{\"task\":\"chat\",\"prompt\":\"hi\"}\n{\"task\":\"qa\",\"prompt\":\"What is the capital of Peru?\",\"system\":\"Be brief.\"}\n",
    )
    .unwrap();
    let told = json(&["--eval", file.to_str().unwrap(), "--json"]);
    assert_eq!((told["rows"].as_u64(), told["accuracy"].as_f64(), told["macro_f1"].as_f64()), (Some(2), Some(1.0), Some(1.0)), "{told}");
    assert_eq!(told["confusion"][9][9], 1, "{told}");
    let text = String::from_utf8(classify(&["--eval", file.to_str().unwrap()]).stdout).unwrap();
    assert!(text.starts_with("2 texts: accuracy 1.000, macro-F1 1.000\nat the floor 0.70: coverage "), "{text}");
    std::fs::write(&file, "{\"task\":\"poetry\",\"prompt\":\"x\"}\n").unwrap();
    let wrong = classify(&["--eval", file.to_str().unwrap()]);
    assert!(
        !wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("rows.jsonl:1: there is no task `poetry`"),
        "{wrong:?}"
    );
    std::fs::remove_dir_all(folder).unwrap();
}
