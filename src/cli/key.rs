mod new;

use std::fmt::Write as _;
use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::status::{plain, push};
use super::{Config, exit, print, print_json};
use crate::app::{as_written, style_for_people};
use crate::config::{self, Caller, Limits};
use crate::reload::read_file;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a key for a caller: the key goes to standard output, this once, with the entry to paste
    New(new::Options),
    /// Print what stands for a key in the file
    Hash {
        /// The key; without it, what standard input says
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
    /// List the callers of a file
    List(List),
}

#[derive(Debug, clap::Args)]
struct List {
    #[command(flatten)]
    config: Config,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    match &options.what {
        What::New(options) => new::run(options),
        What::Hash { key } => hash(key.as_deref()),
        What::List(options) => list(options),
    }
}

/// `sha256:` and 64 hexadecimal digits.
fn hashed(key: &str) -> String {
    Sha256::digest(key).iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing to a String cannot fail.
        _ = write!(text, "{byte:02x}");
        text
    })
}

fn hash(key: Option<&str>) -> anyhow::Result<ExitCode> {
    let key = if let Some(key) = key {
        key.to_owned()
    } else {
        if std::io::stdin().is_terminal() {
            anstream::eprintln!("type or paste the key, then Enter and Ctrl-D:");
        }
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        text
    };
    let key = key.trim();
    if key.is_empty() || key.contains(char::is_whitespace) {
        anstream::eprintln!("error: a key is one word, and this is {}", if key.is_empty() { "none" } else { "several" });
        return Ok(ExitCode::from(exit::FINDINGS));
    }
    print(&(hashed(key) + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Row {
    caller: String,
    keys: Vec<KeyRow>,
    /// None of its keys works from then on.
    expires: Option<Timestamp>,
    tags: std::collections::BTreeMap<String, String>,
    limits: Vec<String>,
    /// Patterns on the targets that it may use; absent: all.
    allow: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct KeyRow {
    /// The beginning of its hash.
    begins: String,
    expires: Option<Timestamp>,
}

impl Row {
    fn of(caller: &Caller) -> Self {
        Self {
            caller: caller.name.to_string(),
            keys: caller.keys.iter().map(|key| KeyRow { begins: key.short(), expires: key.expires }).collect(),
            expires: caller.expires,
            tags: caller.tags.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            limits: limits(&caller.limits),
            allow: caller.allow.clone(),
        }
    }

    /// When its keys end, each in turn; `-` for one that does not.
    fn ends(&self) -> String {
        let ends = self.keys.iter().map(|key| [key.expires, self.expires].into_iter().flatten().min());
        ends.map(|end| end.map_or_else(|| "-".into(), |end| format!("{end:.0}"))).collect::<Vec<_>>().join(", ")
    }
}

fn limits(limits: &Limits) -> Vec<String> {
    let rates = [("requests", limits.requests), ("tokens", limits.tokens)];
    let rates = rates.into_iter().filter_map(|(kind, rate)| rate.map(|rate| format!("{kind} {rate}")));
    rates.chain(limits.concurrent.map(|calls| format!("concurrent {calls}"))).collect()
}

fn list(options: &List) -> anyhow::Result<ExitCode> {
    let source = match read_file(&options.config.config) {
        Ok(source) => source,
        Err(refused) => {
            anstream::eprint!("{}", refused.text);
            return Ok(ExitCode::from(exit::NO_INPUT));
        }
    };
    let Some(checked) = as_written(&source.sources) else {
        anstream::eprint!(
            "{}",
            config::render(&source.sources, &crate::app::check_sources(source.sources.clone()).findings, style_for_people())
        );
        return Ok(ExitCode::from(exit::CONFIG));
    };
    let rows: Vec<Row> = checked.callers.iter().map(Row::of).collect();
    if options.json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    if rows.is_empty() {
        let who = if checked.server.open {
            "it says `callers: open`, so everybody is served"
        } else {
            "only programs on this machine are served"
        };
        anstream::eprintln!("{} names no callers: {who}", options.config.config.display());
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = plain();
    table.set_header(["caller", "keys", "end", "tags", "limits", "allow"]);
    for row in &rows {
        let or_none = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        let begins: Vec<&str> = row.keys.iter().map(|key| key.begins.as_str()).collect();
        let tags: Vec<String> = row.tags.iter().map(|(tag, value)| format!("{tag}={value}")).collect();
        let allow = row.allow.as_ref().map_or_else(|| "all".into(), |allow| allow.join(", "));
        table.add_row([row.caller.clone(), begins.join(", "), row.ends(), or_none(tags.join(", ")), or_none(row.limits.join(", ")), allow]);
    }
    let mut text = String::new();
    push(&mut text, &table);
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}
