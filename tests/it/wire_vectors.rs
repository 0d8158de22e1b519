//! What providers send, and what is made of it: every vector, whole and cut.
//!
//! `WIRE_VECTORS` names another folder of vectors than `tests/wire`.

mod bedrock;
pub(crate) mod clients;
mod requests;

use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate::units::{Endpoint, Price, Prices, Tokens, Usage, Usd, Wire};
use tollgate::wire::{Finish, ReplyFault, Retelling, Tap, Told, Translated, read_error, read_reply};

use clients::{Heard, hear};

/// Formats that no target speaks: of Bedrock's own only the streams and their cost are read, in `bedrock`.
const ELSEWHERE: [&str; 2] = ["bedrock.converse", "bedrock.invoke.anthropic"];

/// The formats in which clients are told answers that come in others.
const CLIENTS: [Endpoint; 3] = [Endpoint::Chat, Endpoint::Messages, Endpoint::Responses];

fn folder() -> PathBuf {
    let named = std::env::var_os("WIRE_VECTORS").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire"))
}

/// The lines of one file.
fn lines(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder().join(file)).unwrap();
    text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One answer of a provider, and what it must come to.
struct Vector {
    id: String,
    json: Value,
    wire: Wire,
    body: Bytes,
}

impl Vector {
    fn all() -> Vec<Self> {
        let vectors: Vec<Self> = lines("vectors.jsonl").into_iter().filter_map(Self::read).collect();
        assert!(vectors.len() >= 24, "only {} vectors were read", vectors.len());
        vectors
    }

    fn read(json: Value) -> Option<Self> {
        let (id, name) = (json["id"].as_str().unwrap().to_owned(), json["wire"].as_str().unwrap());
        let Some(wire) = Wire::ALL.into_iter().find(|wire| wire.as_str() == name) else {
            assert!(ELSEWHERE.contains(&name), "{id} speaks {name}, which is not known");
            return None;
        };
        let body = std::fs::read(folder().join(json["file"].as_str().unwrap())).unwrap().into();
        Some(Self { id, json, wire, body })
    }

    fn of(transport: &'static str) -> impl Iterator<Item = Self> {
        Self::all().into_iter().filter(move |vector| vector.json["transport"] == transport)
    }

    fn expect(&self) -> &Value {
        &self.json["expect"]
    }

    fn outcome(&self) -> &str {
        self.expect()["outcome"].as_str().unwrap()
    }

    /// The endpoint whose clients speak what the provider does.
    fn own(&self) -> Option<Endpoint> {
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.wire() == self.wire)
    }

    /// Every endpoint at which a client may be told this answer.
    fn clients(&self) -> Vec<Endpoint> {
        let is_conversation = self.own().is_none_or(Endpoint::is_conversation);
        let others = CLIENTS.into_iter().filter(|other| is_conversation && Some(*other) != self.own());
        self.own().into_iter().chain(others).collect()
    }

    fn tap(&self, client: Endpoint, asks_for_usage: bool) -> Tap {
        let tap = Tap::new(client, asks_for_usage, None);
        if client.wire() == self.wire { tap } else { tap.retelling(self.wire, retelling(client, self.wire)) }
    }

    fn check_told(&self, told: &Told) {
        let (id, expect) = (&self.id, self.expect());
        assert_eq!(told.finish.map(Finish::as_str), expect["finish"].as_str(), "{id}");
        assert_eq!(told.usage.map_or(Value::Null, |usage| counts(&usage, &expect["usage"])), expect["usage"], "{id}");
        assert!(!told.usage_flagged, "{id}");
        assert_eq!(told.provider_cost.map(Usd::plain).as_deref(), expect["provider_cost_usd"].as_str(), "{id}");
        if let Some(table) = self.json["cost"]["price"].as_str() {
            assert_eq!(Some(&*prices(table).cost(&told.usage.unwrap()).plain()), self.json["cost"]["usd"].as_str(), "{id}");
        }
    }

    /// What a client was told is what the provider said.
    fn check_heard(&self, heard: &Heard, client: Endpoint) {
        let (id, expect) = (format!("{} to {client}", self.id), self.expect());
        assert_eq!(heard.text, expect["text"].as_str().unwrap_or_default(), "{id}");
        assert_eq!(heard.reasoning, expect["reasoning"].as_str().unwrap_or_default(), "{id}");
        let wanted = expect["tool_calls"].as_array().unwrap();
        assert_eq!(heard.calls.len(), wanted.len(), "{id}");
        for (call, wanted) in heard.calls.iter().zip(wanted) {
            assert_eq!(call.name, wanted["name"].as_str().unwrap(), "{id}");
            let arguments: Value = serde_json::from_str(wanted["arguments"].as_str().unwrap()).unwrap();
            assert_eq!(call.arguments(), arguments, "{id}");
            assert!(!call.id.is_empty(), "{id}");
            if let (Endpoint::Chat, Some(signature)) = (client, wanted["signature"].as_str()) {
                assert!(heard.signatures.iter().any(|heard| heard == signature), "{id}");
            }
            if let Some(own) = wanted["id"].as_str() {
                assert_eq!(call.id, own, "{id}");
            }
        }
        if Some(client) == self.own() {
            for signature in expect["signatures"].as_array().into_iter().flatten() {
                assert!(heard.signatures.contains(&signature.as_str().unwrap().to_owned()), "{id}");
            }
        } else if self.outcome() == "complete" {
            assert_eq!(heard.finish.as_deref(), expect["finish"].as_str(), "{id}");
        }
    }
}

fn retelling(client: Endpoint, wire: Wire) -> Retelling {
    Retelling::new(client, wire, &Translated::default(), "0192-ab", "asked-for", 1_790_000_000, Tokens::new(9))
}

/// A usage in the form of `expected`.
fn counts(usage: &Usage, expected: &Value) -> Value {
    let mut found = json!({
        "input_total": usage.input_total().count(), "input_uncached": usage.input_uncached.count(),
        "cache_read": usage.cache_read.count(), "cache_write": usage.cache_write.count(),
        "output": usage.output.count(), "reasoning": usage.reasoning.count(),
    });
    let more = [
        ("audio_input", usage.audio_input),
        ("audio_output", usage.audio_output),
        ("cache_write_1h", usage.cache_write_1h),
        ("cache_write_5m", usage.cache_write.minus(usage.cache_write_1h)),
    ];
    for (name, count) in more.iter().filter(|(name, _)| expected[name].is_u64()) {
        found[name] = count.count().into();
    }
    found
}

fn prices(table: &str) -> Prices {
    let tables: Value = serde_json::from_str(&std::fs::read_to_string(folder().join("prices.json")).unwrap()).unwrap();
    let price = |kind: &str| tables["tables"][table][kind].as_str().map(|text| text.parse::<Price>().unwrap());
    Prices {
        input: price("input").unwrap(),
        output: price("output").unwrap(),
        cache_read: price("cache_read"),
        cache_write: price("cache_write").or(price("cache_write_5m")),
        cache_write_1h: price("cache_write_1h"),
        audio_input: price("audio_input"),
        audio_output: price("audio_output"),
        tiers: Vec::new(),
    }
}

/// A stream's way through a tap: what the client got, and how it ended.
struct Run {
    tap: Tap,
    sent: Vec<u8>,
    /// What had been sent when the first content showed.
    had_content: bool,
    end: Result<(), ReplyFault>,
}

fn run(mut tap: Tap, reads: impl IntoIterator<Item = Bytes>) -> Run {
    let mut out = Vec::new();
    let mut end = Ok(());
    for read in reads {
        end = tap.push(read, &mut out);
        if end.is_err() {
            break;
        }
    }
    let end = end.and_then(|()| tap.end(&mut out));
    Run { had_content: tap.has_content(), tap, sent: out.concat(), end }
}

/// Every way in which a stream may come: as it is, cut in two anywhere, a byte at a time, and with other line ends.
fn splits(body: &Bytes) -> Vec<(String, Vec<Bytes>)> {
    let single = |body: &Bytes| (0..body.len()).map(|at| body.slice(at..=at)).collect::<Vec<_>>();
    let crlf = Bytes::from(String::from_utf8(body.to_vec()).unwrap().replace('\n', "\r\n"));
    let cr = Bytes::from(String::from_utf8(body.to_vec()).unwrap().replace('\n', "\r"));
    let mut all: Vec<_> = (0..body.len()).map(|cut| (format!("cut at {cut}"), vec![body.slice(..cut), body.slice(cut..)])).collect();
    all.push(("one byte a read".into(), single(body)));
    all.push(("crlf, one byte a read".into(), single(&crlf)));
    all.push(("crlf".into(), vec![crlf]));
    all.push(("cr".into(), vec![cr]));
    all
}

#[test]
fn every_whole_body_tells_what_it_must() {
    for vector in Vector::of("json") {
        let told = read_reply(vector.wire, &vector.body).unwrap();
        vector.check_told(&told);
        for client in vector.clients().into_iter().filter(|client| client.is_conversation()) {
            let heard = if Some(client) == vector.own() {
                clients::whole(client, &vector.body)
            } else {
                clients::whole(client, &retelling(client, vector.wire).whole(&vector.body, &told, None))
            };
            vector.check_heard(&heard, client);
        }
    }
}

#[test]
fn every_stream_tells_and_relays_what_it_must() {
    for vector in Vector::of("sse") {
        let id = &vector.id;
        for client in vector.clients() {
            let run = run(vector.tap(client, true), [vector.body.clone()]);
            match vector.outcome() {
                "complete" => {
                    assert_eq!(run.end, Ok(()), "{id} to {client}");
                    vector.check_told(run.tap.told());
                }
                outcome => {
                    let Err(ReplyFault::Error(told)) = &run.end else { panic!("{id}: {:?}", run.end) };
                    assert_eq!(Some(told.class.as_str()), vector.expect()["error"]["class"].as_str(), "{id}");
                    assert_eq!(run.had_content, outcome == "error_after_content", "{id} {outcome}");
                }
            }
            vector.check_heard(&hear(client, &run.sent), client);
        }
    }
}

#[test]
fn a_relay_changes_nothing_of_what_it_passes_on() {
    for vector in Vector::of("sse") {
        let id = &vector.id;
        let Some(own) = vector.own() else { continue };
        let run = run(vector.tap(own, true), [vector.body.clone()]);
        let original = std::str::from_utf8(&vector.body).unwrap();
        let is_end = |data: &&str| *data != "[DONE]";
        let mut wanted: Vec<&str> = original.lines().filter_map(|line| line.strip_prefix("data: ")).filter(is_end).collect();
        let sent = String::from_utf8(run.sent).unwrap();
        let mut found: Vec<&str> = sent.lines().filter_map(|line| line.strip_prefix("data: ")).filter(is_end).collect();
        if vector.outcome() != "complete" {
            wanted.pop();
        }
        // These two hide their usage where no client of the format looks.
        if ["groq-01", "ms-01"].contains(&id.as_str()) {
            let usage: Value = serde_json::from_str(found.pop().unwrap()).unwrap();
            assert_eq!(usage["usage"]["completion_tokens"], vector.expect()["usage"]["output"], "{id}");
        }
        // This one ends in a word of the format, but the wrong one.
        let mended = wanted.last().map(|last| last.replace("\"stop\"", "\"tool_calls\"")).filter(|_| id == "gem-04");
        if let (Some(mended), Some(last)) = (&mended, wanted.last_mut()) {
            *last = mended;
        }
        assert_eq!(found, wanted, "{id}");
        let ends_in_done = !matches!(own, Endpoint::Messages | Endpoint::Responses) && vector.outcome() == "complete";
        assert_eq!(sent.matches("data: [DONE]\n\n").count(), usize::from(ends_in_done), "{id}");
    }
}

#[test]
fn a_split_changes_nothing() {
    for vector in Vector::of("sse") {
        for client in vector.clients() {
            let expected = run(vector.tap(client, false), [vector.body.clone()]);
            for (how, reads) in splits(&vector.body) {
                let found = run(vector.tap(client, false), reads);
                let id = format!("{} to {client}, {how}", vector.id);
                assert_eq!(String::from_utf8(found.sent), String::from_utf8(expected.sent.clone()), "{id}");
                assert_eq!((found.tap.told(), &found.end), (expected.tap.told(), &expected.end), "{id}");
                assert_eq!(found.tap.output_seen(), expected.tap.output_seen(), "{id}");
            }
        }
    }
}

#[test]
fn u20_a_stream_without_its_tail_is_never_complete_too_early() {
    for vector in Vector::of("sse") {
        let text = std::str::from_utf8(&vector.body).unwrap();
        let is_terminal = |line: &&str| match vector.wire {
            Wire::Messages => line.starts_with("data: ") && line.contains("\"message_stop\""),
            Wire::Responses => line.starts_with("data: {\"type\":\"response.completed\""),
            Wire::Generate => line.contains("\"finishReason\":\"") || line.contains("\"blockReason\":\""),
            _ => line.contains("\"finish_reason\":\""),
        };
        let terminal = text.lines().find(is_terminal).map(|line| text.find(line).unwrap() + line.len());
        for client in vector.clients() {
            for cut in 0..vector.body.len() {
                let id = format!("{} to {client}, cut at {cut}", vector.id);
                let run = run(vector.tap(client, false), [vector.body.slice(..cut)]);
                let is_finished = terminal.is_some_and(|terminal| cut >= terminal);
                assert_eq!(run.end.is_ok(), is_finished, "{id}: {:?}", run.end);
                let sent = String::from_utf8(run.sent).unwrap();
                assert!(sent.is_empty() || sent.ends_with("\n\n"), "{id}: {sent:?}");
                let marks: &[&str] = match client {
                    Endpoint::Messages => &["event: message_stop\n"],
                    Endpoint::Responses => &["event: response.completed\n", "event: response.incomplete\n"],
                    _ => &["data: [DONE]\n"],
                };
                assert_eq!(marks.iter().any(|mark| sent.contains(mark)), is_finished, "{id}");
            }
        }
    }
}

#[test]
fn every_error_is_classified() {
    use tollgate::wire::{Mark, Next};
    let errors = lines("errors.jsonl");
    assert!(errors.len() >= 33);
    for vector in errors {
        let id = &vector["id"];
        let headers = vector["headers"].as_object().unwrap().iter();
        let headers = headers.map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), value.as_str().unwrap().parse().unwrap()));
        let status = vector["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let told = read_error(status, &headers.collect(), vector["body"].as_str().unwrap().as_bytes());
        let next = match told.class.next() {
            Next::No => "none",
            Next::Yes => "next",
            Next::LargerContext => "larger_context",
            Next::OptIn => "opt_in",
        };
        let mark = match told.class.mark() {
            // What only counts leaves no mark of its own.
            Mark::None | Mark::Count => "none",
            Mark::Rest => "target_cooldown",
            Mark::TargetDown => "target_down",
            Mark::KeyDown => "key_down",
            Mark::AccountDown => "account_down",
        };
        let expect = &vector["expect"];
        let wait = told.retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap());
        let found = json!({
            "class": told.class.as_str(), "retry_same": told.class.retries_same(), "fallback": next, "mark": mark,
            "cooldown_ms": wait, "alert": told.class.alerts(),
        });
        for key in ["class", "retry_same", "fallback", "mark", "cooldown_ms", "alert"] {
            assert_eq!(found[key], expect[key], "{id} {key}");
        }
        assert_eq!((told.limit, told.requested), (expect["limit"].as_u64(), expect["requested"].as_u64()), "{id}");
        if let Some(param) = expect["param"].as_str() {
            assert_eq!(told.param.as_deref(), Some(param), "{id} param");
        }
    }
}

#[test]
fn every_stream_is_retold_event_by_event() {
    for vector in lines("translate-streams.jsonl") {
        let (id, to) = (vector["id"].as_str().unwrap(), vector["to"].as_str().unwrap());
        let source = lines("vectors.jsonl").into_iter().find(|source| source["id"] == vector["vector"]).unwrap();
        let Some(source) = Vector::read(source) else { continue };
        let client = Endpoint::ALL.into_iter().find(|endpoint| endpoint.wire().as_str() == to).unwrap();
        let asks = vector["client"]["stream_options"]["include_usage"] == true;
        let run = run(source.tap(client, asks), [source.body.clone()]);
        let sent = String::from_utf8(run.sent.clone()).unwrap();
        if let Some(wanted) = vector["events"].as_array() {
            let found: Vec<Value> = sent
                .lines()
                .filter_map(|line| line.strip_prefix("data: "))
                .map(|data| serde_json::from_str(data).unwrap_or_else(|_| data.into()))
                .collect();
            assert_eq!(found.len(), wanted.len(), "{id}: {sent}");
            for (found, wanted) in found.iter().zip(wanted) {
                assert!(is_like(found, wanted), "{id}: {found}\nis not {wanted}");
            }
            if client == Endpoint::Chat {
                let chunks: Vec<&Value> = found.iter().filter(|event| event.is_object()).collect();
                assert!(chunks.iter().all(|chunk| ["id", "created", "model"].iter().all(|key| chunk[key] == chunks[0][key])), "{id}");
                let others = &chunks[..chunks.len() - 1];
                assert!(others.iter().all(|chunk| chunk["usage"].is_null()), "{id}");
            }
        }
        let assembled = &vector["assembled"];
        if assembled.is_object() {
            let heard = hear(client, &run.sent);
            assert_eq!(heard.text, assembled["text"].as_str().unwrap(), "{id}");
            if let Some(finish) = assembled["finish_reason"].as_str() {
                assert_eq!(heard.finish.as_deref(), Some(finish), "{id}");
            }
            assert_eq!(run.end.is_err(), assembled["error"].is_object(), "{id}");
        }
    }
}

/// Whether all that is wanted is there; `*` stands for anything, and what else there is must be null.
fn is_like(found: &Value, wanted: &Value) -> bool {
    match (found, wanted) {
        (_, Value::String(any)) if any == "*" => !found.is_null(),
        (Value::Object(found), Value::Object(wanted)) => {
            let loose = ["id", "object", "created", "model"];
            let has_all = wanted.iter().all(|(key, value)| found.get(key).is_some_and(|found| is_like(found, value)));
            has_all && found.iter().all(|(key, value)| wanted.contains_key(key) || value.is_null() || loose.contains(&key.as_str()))
        }
        (Value::Array(found), Value::Array(wanted)) => {
            found.len() == wanted.len() && found.iter().zip(wanted).all(|(found, wanted)| is_like(found, wanted))
        }
        _ => found == wanted,
    }
}
