//! Rows as other programs read them.

use std::collections::HashMap;

use jiff::Timestamp;
use rusqlite::params;
use serde_json::{Value, json};

use super::books::attempt_of;
use super::dictionary::{SETS, TERMS, unlisted};
use super::error::{LedgerError, Trouble};
use super::hex;
use super::reader::{Reader, moment, words_of};
use super::row::{self, Int, Row, Text};
use super::windows::Windows;

/// The names of a row's fields, in their order.
pub const EXPORTED: [&str; 46] = [
    "seq",
    "at",
    "kind",
    "counts_at",
    "request_id",
    "attempt",
    "nth",
    "endpoint",
    "rule",
    "caller",
    "tags",
    "labels",
    "task",
    "provider",
    "model",
    "served_model",
    "basis",
    "posted_usd",
    "disputed_usd",
    "hold_usd",
    "dispute_class",
    "dispute_until",
    "provider_cost_usd",
    "input_uncached",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "usd_per_mtok",
    "fault",
    "phase",
    "upstream_status",
    "ttft_us",
    "duration_us",
    "outcome",
    "status",
    "code",
    "attempts",
    "total_us",
    "windows",
    "about",
    "note",
    "hash",
];

/// The values of one row, as many as [`EXPORTED`] has names.
pub type Exported = Vec<Value>;

const KINDS: [&str; 8] = ["", "attempt", "request", "resolved", "adjusted", "crash", "renamed", "started"];

impl Reader {
    /// Hands out every row that was written from `since` up to, not including, `until`, in the order of writing, until `each` fails.
    pub fn export<E>(
        &self,
        since: Timestamp,
        until: Timestamp,
        mut each: impl FnMut(Exported) -> Result<(), E>,
    ) -> Result<Result<(), E>, LedgerError> {
        self.read(|reader| {
            let names = Names::load(reader)?;
            let mut sql = reader.connection.prepare(&row::select("at >= ? AND at < ?"))?;
            let mut rows = sql.query(params![since.as_microsecond(), until.as_microsecond()])?;
            while let Some(read) = rows.next()? {
                let (row, hash) = Row::read(read)?;
                if let Err(error) = each(names.exported(&row, &hash)) {
                    return Ok(Err(error));
                }
            }
            Ok(Ok(()))
        })
    }
}

/// What ids stand for.
struct Names {
    contexts: HashMap<i64, std::sync::Arc<super::ContextFacts>>,
    terms: HashMap<i64, (Option<String>, Value)>,
    sets: HashMap<i64, Vec<String>>,
}

impl Names {
    fn load(reader: &Reader) -> Result<Self, Trouble> {
        let connection = &reader.connection;
        let mut terms = HashMap::new();
        let mut sql = connection.prepare(TERMS.all)?;
        let mut rows = sql.query([])?;
        while let Some(row) = rows.next()? {
            let prices: Option<String> = row.get(3)?;
            terms.insert(row.get(0)?, (row.get(2)?, prices.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()));
        }
        let mut windows = Windows::load(connection, i64::MAX)?;
        let mut sets = HashMap::new();
        let mut sql = connection.prepare(SETS.all)?;
        let mut rows = sql.query([])?;
        while let Some(row) = rows.next()? {
            let mut names = Vec::new();
            for id in unlisted(&row.get::<_, String>(2)?).unwrap_or_default() {
                let key = windows.key(id, connection)?;
                names.push(format!("{}.{}@{}", key.budget, key.period, key.starts));
            }
            sets.insert(row.get(0)?, names);
        }
        Ok(Self { contexts: reader.contexts()?, terms, sets })
    }

    fn exported(&self, row: &Row, hash: &[u8]) -> Exported {
        let context = row.int(Int::Context).and_then(|id| self.contexts.get(&id));
        let terms = row.int(Int::Terms).and_then(|id| self.terms.get(&id));
        let int = |column| json!(row.int(column));
        let text = |column| json!(row.text(column));
        let money = |column| json!(row.int(column).map(signed));
        let time = |column| json!(row.int(column).map(|micros| moment(micros).to_string()));
        let target = context.and_then(|facts| facts.target.as_deref()).and_then(|target| target.split_once('/'));
        let kind = row.int(Int::Kind).and_then(|kind| KINDS.get(usize::try_from(kind).ok()?)).copied();
        let words = |words: &std::collections::BTreeMap<String, String>| if words.is_empty() { Value::Null } else { json!(words) };
        vec![
            json!(row.seq),
            time(Int::At),
            json!(kind),
            time(Int::CountsAt),
            text(Text::Request),
            json!(row.int(Int::Attempt).map(|key| attempt_of(key).to_string())),
            int(Int::Nth),
            json!(context.map(|facts| &facts.endpoint)),
            json!(context.and_then(|facts| facts.rule.as_ref())),
            json!(context.and_then(|facts| facts.caller.as_ref())),
            context.map(|facts| words(&facts.tags)).unwrap_or_default(),
            row.text(Text::Labels).map(|text| words(&words_of(text))).unwrap_or_default(),
            json!(context.map(|facts| &facts.task)),
            json!(target.map(|(provider, _)| provider)),
            json!(target.map(|(_, model)| model)),
            json!(terms.and_then(|(served, _)| served.as_ref())),
            text(Text::Basis),
            money(Int::Posted),
            money(Int::Disputed),
            money(Int::Hold),
            text(Text::Class),
            time(Int::Until),
            money(Int::ProviderCost),
            int(Int::InputUncached),
            int(Int::CacheRead),
            int(Int::CacheWrite),
            int(Int::CacheWrite1h),
            int(Int::Output),
            int(Int::Reasoning),
            int(Int::AudioInput),
            int(Int::AudioOutput),
            terms.map(|(_, prices)| prices.clone()).unwrap_or_default(),
            text(Text::Fault),
            text(Text::Phase),
            int(Int::UpstreamStatus),
            int(Int::TtftUs),
            int(Int::DurationUs),
            text(Text::Outcome),
            int(Int::Status),
            text(Text::Code),
            int(Int::Attempts),
            int(Int::TotalUs),
            json!(row.int(Int::Windows).and_then(|set| self.sets.get(&set))),
            int(Int::About),
            text(Text::Note),
            json!(hex(hash)),
        ]
    }
}

/// Nano-dollars as a plain decimal, with a sign where they are below zero.
fn signed(nano: i64) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    format!("{sign}{}", crate::units::Usd::from_nano(nano.unsigned_abs()).plain())
}
