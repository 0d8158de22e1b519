//! Price lists that are brought in, and projections, as the program prints them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use serde_json::Value;
use tollgate::catalog::catalog;
use tollgate::config::HoldFor;
use tollgate::store::Ledger;
use tollgate::units::{
    AttemptId, Basis, EndedEntry, Endpoint, Entry, HeldEntry, Pairs, RequestFacts, SettledEntry, TargetName, TaskName, Tokens, Usage,
};

use crate::support::*;

const ROUTES: &str = "version: 1\nproviders:\n  openai: { models: { gpt-4o: {}, gpt-5-nano: { usd_per_mtok: { input: 0.04, output: 0.3 } } } }\n\
                      default: { chain: [openai/gpt-4o, openai/gpt-5-nano] }\n";

const LIST: &str = r#"{
  "openai": { "models": {
    "gpt-4o": { "tool_call": true, "cost": { "input": 3, "output": 12 }, "limit": { "context": 100000, "output": 8000 } },
    "gpt-6": { "tool_call": true, "cost": { "input": 7, "output": 70 }, "limit": { "context": 2000000, "output": 100000 } },
    "half": { "cost": { "input": 1 } } } },
  "somebody-else": { "models": { "x": { "cost": { "input": 1, "output": 2 } } } }
}"#;

fn run(folder: &Folder, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(arguments).current_dir(folder.path()).env_clear().output().unwrap()
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn in_force(folder: &Folder) -> Vec<String> {
    let told: Value = serde_json::from_str(&said(&run(folder, &["prices", "--json"]))).unwrap();
    let row = |row: &Value| {
        format!("{} {} {}", row["target"].as_str().unwrap(), row["in_force"].as_str().unwrap(), row["from"].as_str().unwrap())
    };
    told["prices"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn a_list_is_brought_in_and_counts_between_the_file_and_the_catalogue() {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), ROUTES).unwrap();
    std::fs::write(folder.file("api.json"), LIST).unwrap();
    assert_eq!(in_force(&folder), ["openai/gpt-4o 2.5/10… built in", "openai/gpt-5-nano 0.04/0.3 file"]);

    let told = said(&run(&folder, &["prices", "import", "api.json"]));
    for line in [
        "api.json: a list in models.dev's format, 4 rows",
        "taken: 2: openai 2",
        "left out: 1 of providers that the routing file does not list",
        "skipped: 1",
        "  openai/half: it has no `output` price",
        "hint: it counts once routes.yaml names it: `include: [prices.yaml]`",
    ] {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }
    // A model that the catalogue does not know can be named as soon as the list is included.
    let included = ROUTES.replace("version: 1\n", "version: 1\ninclude: [prices.yaml]\n").replace("gpt-4o, ", "gpt-4o, openai/gpt-6, ");
    std::fs::write(folder.file("routes.yaml"), &included).unwrap();
    let checked = run(&folder, &["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert_eq!(in_force(&folder), ["openai/gpt-4o 3/12 imported", "openai/gpt-5-nano 0.04/0.3 file", "openai/gpt-6 7/70 imported"]);
    assert!(!said(&run(&folder, &["prices", "import", "api.json"])).contains("hint:"));

    let table = said(&run(&folder, &["prices", "--check"]));
    assert!(table.contains("openai/gpt-4o") && table.contains("0 days old") && table.contains("built in"), "{table}");
}

#[test]
fn one_wrong_row_keeps_no_file_from_loading() {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), ROUTES.replace("version: 1\n", "version: 1\ninclude: [prices.yaml]\n")).unwrap();
    std::fs::write(folder.file("prices.yaml"), "prices:\n  models:\n    openai/gpt-4o: { usd_per_mtok: { input: 3, output: cheap } }\n    openai/gpt-5-nano: { usd_per_mtok: { input: 1, output: 1 } }\n").unwrap();
    let checked = run(&folder, &["check"]);
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(checked.status.success() && told.contains("warning[bad-price-row]: the price of `openai/gpt-4o` is left out"), "{told}");
    assert_eq!(in_force(&folder)[0], "openai/gpt-4o 2.5/10… built in");
}

#[test]
fn a_list_comes_from_an_address_that_the_user_gives() {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), ROUTES).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api.json", listener.local_addr().unwrap());
    let answers = [
        format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{LIST}", LIST.len()),
        "HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into(),
    ];
    let server = std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(stream.read(&mut [0; 2048]).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let printed = said(&run(&folder, &["prices", "import", &url, "--print"]));
    assert!(printed.contains("\"openai/gpt-6\": { usd_per_mtok: { input: 7, output: 70 }, context: 2000000"), "{printed}");
    for wrong in ["redirects are not followed", "status 404"] {
        let output = run(&folder, &["prices", "import", &url]);
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(wrong));
    }
    server.join().unwrap();
}

#[test]
fn the_published_table_stands_in_the_readme_as_it_prints() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, behind) = readme.split_once("tollgate cost --requests").unwrap();
    let (line, rest) = behind.split_once('\n').unwrap();
    let shown = rest.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let arguments: Vec<&str> = ["cost", "--requests"].into_iter().chain(line.split_whitespace()).collect();
    let folder = Folder::new();
    assert_eq!(said(&run(&folder, &arguments)), shown);
    for (model, figures) in [
        ("DeepSeek V4 Flash", ["0.14", "0.28", "$140", "$1,680"]),
        ("Qwen3-32B", ["0.10", "0.35", "$175", "$2,100"]),
        ("GPT-4o", ["2.50", "10.00", "$5,000", "$60,000"]),
        ("Kimi K2.5", ["0.50", "1.00", "$500", "$6,000"]),
    ] {
        let row = shown.lines().find_map(|line| line.strip_prefix(model)).unwrap();
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), figures, "{model}");
    }
    assert!(shown.contains("Input is left out."));
}

#[test]
fn a_projection_is_printed_in_every_form() {
    let folder = Folder::new();
    std::fs::write(folder.file("routes.yaml"), ROUTES).unwrap();
    let workload = ["cost", "--requests", "1M", "--input-tokens", "1k", "--output-tokens", "500", "--cached-share", "50%"];
    let with = |more: &[&str]| said(&run(&folder, &[&workload, more].concat()));
    // The file's own price counts before the catalogue's.
    let csv = with(&["--model", "openai/gpt-5-nano", "--model", "A, B=1/2", "--baseline", "openai/gpt-4o", "--csv"]);
    assert_eq!(
        csv,
        "model,input_usd_per_mtok,output_usd_per_mtok,usd_per_month,usd_per_year,saved_usd_per_month\n\
         openai/gpt-5-nano,0.04,0.3,190,2280,6685\n\"A, B\",1,2,2000,24000,4875\nopenai/gpt-4o,2.5,10,6875,82500,0\n"
    );
    let json: Value = serde_json::from_str(&with(&["--targets", "--json"])).unwrap();
    assert_eq!(json["models"][0]["usd_per_month"], "6875");
    assert_eq!(json["workload"]["cached_share"], "0.5");
    assert!(with(&["--model", "GPT-4o=2.50/10", "--md"]).contains("| GPT-4o | 2.50 | 10.00 | $7,500 | $90,000 |\n"));
    let unknown = run(&folder, &["cost", "--preset", "rag", "--model", "gpt-99"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no price is known for `gpt-99`"));
}

/// A month of two tasks: coding on Claude with a warm cache, chat on GPT.
fn recorded(folder: &Folder) {
    let state = folder.file("state");
    std::fs::create_dir(&state).unwrap();
    let now = Timestamp::now();
    let day_ago = now.checked_sub(24.hours()).unwrap();
    let (mut ledger, _) = Ledger::open(&state, day_ago, HoldFor::Window).unwrap();
    let tokens = Tokens::new;
    let coding = Usage { input_uncached: tokens(2_000), cache_read: tokens(4_000), output: tokens(900), ..Usage::default() };
    let chat = Usage { input_uncached: tokens(700), output: tokens(250), ..Usage::default() };
    let mut number = 0;
    for (task, target, count, usage) in [("coding", "anthropic/claude-sonnet-4-6", 600, coding), ("chat", "openai/gpt-4o", 2_400, chat)] {
        let known = catalog().named(target)[0].1;
        for _ in 0..count {
            number += 1;
            let id = AttemptId { epoch: 1, number };
            let request = Arc::new(RequestFacts {
                request_id: format!("{number}").into(),
                accepted: day_ago,
                endpoint: Endpoint::Chat,
                rule: None,
                caller: None,
                tags: Pairs::default(),
                labels: Pairs::default(),
                task: TaskName::parse(task).unwrap(),
                revision: "1-abc".into(),
            });
            let posted = known.prices.cost(&usage);
            let held = HeldEntry {
                id,
                at: day_ago,
                request: request.clone(),
                attempt: 1,
                target: TargetName::parse(target).unwrap(),
                hold: posted,
                windows: Arc::new([]),
            };
            let settled = SettledEntry {
                id,
                at: day_ago,
                basis: Basis::Usage,
                posted,
                disputed: None,
                usage: Some(usage),
                prices: None,
                provider_cost: None,
                fault: None,
                phase: "P4",
                upstream_status: Some(200),
                ttft: None,
                duration: Duration::from_secs(1),
                served_model: None,
            };
            let ended = EndedEntry {
                at: day_ago,
                request,
                outcome: "ok",
                status: 200,
                code: None,
                served: Some(id),
                attempts: 1,
                duration: Duration::from_secs(1),
            };
            ledger.put(&[Entry::Held(held), Entry::Settled(settled), Entry::Ended(ended)]).unwrap();
        }
    }
    ledger.close().unwrap();
}

#[test]
fn a_recorded_workload_stands_in_the_readme_as_it_prints() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, behind) = readme.split_once("tollgate cost --from-ledger").unwrap();
    let (line, rest) = behind.split_once('\n').unwrap();
    let shown = rest.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = Folder::new();
    recorded(&folder);
    let arguments: Vec<&str> = ["cost", "--from-ledger"].into_iter().chain(line.split_whitespace()).collect();
    assert_eq!(said(&run(&folder, &arguments)), shown);
    // Twice the requests cost twice as much, and without a model the targets that served are compared.
    let json: Value = serde_json::from_str(&said(&run(&folder, &["cost", "--from-ledger", "--requests", "6k", "--json"]))).unwrap();
    let names: Vec<&str> = json["models"].as_array().unwrap().iter().map(|row| row["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["openai/gpt-4o", "anthropic/claude-sonnet-4-6"]);
    // 2 × (600 × (2,000 × 2.50 + 4,000 × 1.25 + 900 × 10.00) + 2,400 × (700 × 2.50 + 250 × 10.00)) / 10^6
    assert_eq!(json["models"][0]["usd_per_month"], "43.2");
    let empty = Folder::new();
    assert!(!run(&empty, &["cost", "--from-ledger"]).status.success());
}
