use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use clap::ValueEnum;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::daemon::Daemon;
use super::super::moment::moment;
use super::{here, told};
use crate::store::{EXPORTED, Exported, Reader};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    daemon: Daemon,
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Rows written from then on: 2026-11-01, 2026-11-01T10:00:00Z, 24h
    #[arg(long, value_name = "T")]
    since: Option<String>,
    /// Rows written before then
    #[arg(long, value_name = "T")]
    until: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Csv,
    /// One JSON object a line
    Jsonl,
}

pub(super) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let now = Timestamp::now();
    let at = |text: &Option<String>, otherwise| text.as_deref().map_or(Ok(otherwise), |text| moment(text, &here(), now));
    let (since, until) = (at(&options.since, Timestamp::MIN)?, at(&options.until, Timestamp::MAX)?);
    let mut out = BufWriter::new(io::stdout().lock());
    let write = |out: &mut BufWriter<_>| -> io::Result<Result<(), crate::store::LedgerError>> {
        let reader = match Reader::open(&options.daemon.state()) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        if options.format == Format::Csv {
            writeln!(out, "{}", EXPORTED.join(","))?;
        }
        let line = |row: &Exported| if options.format == Format::Csv { csv(row) } else { json(row) };
        let written = reader.export(since, until, |row| writeln!(out, "{}", line(&row)));
        match written {
            Ok(written) => written.and_then(|()| out.flush()).map(Ok),
            Err(error) => Ok(Err(error)),
        }
    };
    match write(&mut out) {
        Ok(Ok(())) => Ok(ExitCode::SUCCESS),
        Ok(Err(error)) => Ok(told(&error)),
        // A reader that closed its end early is no error.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error.into()),
    }
}

/// Fields that say nothing are left out.
fn json(row: &Exported) -> String {
    let fields = EXPORTED.iter().zip(row).filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Map<_, _>>()).to_string()
}

fn csv(row: &Exported) -> String {
    row.iter().map(field).collect::<Vec<_>>().join(",")
}

/// One field as RFC 4180 has it; lists and objects as JSON. A text that a spreadsheet would run is defused.
pub(in crate::cli) fn field(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let is_number = text.strip_prefix('-').unwrap_or(&text).bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let text = if text.starts_with(['=', '+', '@', '-']) && !is_number { format!("'{text}") } else { text };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_quoted_where_it_must_be() {
        for (value, text) in [
            (json!(null), ""),
            (json!("plain"), "plain"),
            (json!("a,b"), "\"a,b\""),
            (json!("say \"so\"\n"), "\"say \"\"so\"\"\n\""),
            (json!({"team": "x"}), r#""{""team"":""x""}""#),
            (json!(7), "7"),
            (json!("-0.5"), "-0.5"),
            (json!("=SUM(A1)"), "'=SUM(A1)"),
        ] {
            assert_eq!(field(&value), text);
        }
    }
}
