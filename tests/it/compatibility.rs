//! Every front with every back: what is asked reaches the provider, and what it answers reaches the client, or it is said what does not.
//!
//! Each cell of `docs/compatibility.md` is a request through a tollgate to a provider that speaks the format and reads the request with a
//! reader of its own. A client of the front's format reads the answer. Neither knows what tollgate makes of either.

mod chat;
mod generate;
mod messages;
mod parties;
mod plain;
mod responses;
mod story;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::openapi::Described;
use crate::support::*;
use parties::{Back, Front};
use story::{Asked, Case};

/// What one front's client gets of one back in one case.
#[derive(Debug)]
enum Cell {
    /// What was asked for came, but for what is named in the headers that say so.
    Works { dropped: String, adjusted: String, note: &'static str },
    /// Nothing was sent, and the client was told why.
    Skipped(String),
    /// The front's format has no words for it.
    Unsaid,
    /// Neither: a fault.
    Fails(String),
}

impl Cell {
    fn noted(note: &'static str) -> Self {
        Self::Works { dropped: String::new(), adjusted: String::new(), note }
    }

    fn text(&self) -> String {
        match self {
            Self::Works { dropped, adjusted, note } => {
                let lost = if dropped.is_empty() { String::new() } else { format!("dropped: {}", named(dropped)) };
                let changed = if adjusted.is_empty() { String::new() } else { format!("adjusted: {}", named(adjusted)) };
                let said: Vec<&str> = [note, lost.as_str(), changed.as_str()].into_iter().filter(|text| !text.is_empty()).collect();
                if said.is_empty() { "works".into() } else { format!("works; {}", said.join("; ")) }
            }
            Self::Skipped(why) => format!("skipped: {why}"),
            Self::Unsaid => "–".into(),
            Self::Fails(why) => format!("FAILS: {why}"),
        }
    }
}

/// The names of a header's list.
fn named(list: &str) -> String {
    let names: BTreeSet<&str> = list.split(", ").collect();
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_front_with_every_back_is_as_the_document_says() {
    let mut pairs = JoinSet::new();
    for front in Front::ALL {
        for back in Back::ALL {
            pairs.spawn(async move { (front, back, column(front, back).await) });
        }
    }
    let columns = pairs.join_all().await;
    let cell = |front: Front, back: Back, row: usize| {
        let (.., cells) = columns.iter().find(|(of, to, _)| (*of, *to) == (front, back)).unwrap();
        cells[row].text()
    };
    let wrong: Vec<String> = columns
        .iter()
        .flat_map(|(front, back, cells)| Case::ALL.iter().zip(cells).map(move |(case, cell)| (front, back, case, cell)))
        .filter(|(.., cell)| matches!(cell, Cell::Fails(_)))
        .map(|(front, back, case, cell)| format!("{} → {}, {}: {}", front.name(), back.name(), case.as_str(), cell.text()))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let now = page(cell);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/compatibility.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), now, "UPDATE_GOLDEN=1 writes it");
}

const PREFACE: &str = "# Compatibility

Every front with every back ([formats](formats.md)), as a test finds it: each cell is a request sent through tollgate to a provider that speaks
the format, reads what reaches it, and answers; a client of the front's format reads the answer. Written by
`UPDATE_GOLDEN=1 cargo test --test it compatibility`, and never by hand.

- **works**: the request arrived with all that it asked for, and the answer with all that it said, its usage and its end.
- **works; dropped** or **adjusted**: so it did, but for the fields that `x-tollgate-dropped-params` or `-adjusted-params` named.
- **skipped**: the step was left out, nothing was sent, and the answer to a chain without another step says why: 400 `unsupported_parameter`.
- **–**: the front's format has no words for it.

What the rows ask: *text* and *stream* a plain answer; *one tool* and *two parallel tools* that tools are called; *tool result turn* a conversation with two
calls and their results; *image* a picture in the request; *json_schema* an answer held to a schema; *reasoning* that the model thinks, and that its thoughts
are told; these six both whole and streamed. *Error*: a provider's 400 keeps its message, and its 429 its status and `retry-after`, in the front's own format.
*Cut stream*: a stream that breaks off is told as an error and never looks complete. *Disconnect*: a client that leaves closes the provider's
connection, and what was written is accounted for. Answers in OpenAI's formats are held to its OpenAPI description, too.

*openai (responses)* is a model that says `speaks: [responses]`, and *azure* the `openai` format at a deployment's address. The embeddings of a back
stand under the front that asks for them. The sandbox answers in text, whatever is asked, but for schemas.
";

fn page(cell: impl Fn(Front, Back, usize) -> String) -> String {
    let mut text = PREFACE.to_owned();
    for front in Front::ALL {
        let heads: Vec<&str> = Back::ALL.iter().map(|back| back.name()).collect();
        write!(text, "\n## {} (`{}`)\n\n| | {} |\n|---|{}\n", front.name(), front.path(), heads.join(" | "), "---|".repeat(heads.len()))
            .unwrap();
        for (row, case) in Case::ALL.iter().enumerate() {
            let cells: Vec<String> = Back::ALL.iter().map(|back| cell(front, *back, row)).collect();
            writeln!(text, "| {} | {} |", case.as_str(), cells.join(" | ")).unwrap();
        }
    }
    text
}

/// All cases of one front and one back, on a tollgate of their own.
async fn column(front: Front, back: Back) -> Vec<Cell> {
    let mut providers = Vec::new();
    let mut file = "version: 1\nproviders:\n".to_owned();
    for (index, case) in Case::ALL.into_iter().enumerate() {
        let provider = Provider::start(back.scripts(front, case)).await;
        writeln!(file, "  c{index}: {{ {} }}", back.settings(&provider.address.to_string(), case)).unwrap();
        providers.push(provider);
    }
    file += "rules:\n  - { name: named, match: { model: known }, chain: [requested] }\ndefault: refuse\n";
    let daemon = Daemon::start(&file).await;
    let mut cells = Vec::new();
    for (index, case) in Case::ALL.into_iter().enumerate() {
        let exchange =
            Exchange { daemon: &daemon, provider: &providers[index], model: format!("c{index}/{}", back.model()), front, back, case };
        cells.push(if front.says(case) { exchange.cell().await } else { Cell::Unsaid });
    }
    cells
}

/// One cell's requests.
struct Exchange<'a> {
    daemon: &'a Daemon,
    provider: &'a Provider,
    model: String,
    front: Front,
    back: Back,
    case: Case,
}

impl Exchange<'_> {
    async fn cell(&self) -> Cell {
        let found = match self.case {
            Case::Error => self.errors().await,
            Case::Cut => self.cut().await,
            Case::Disconnect => self.disconnect().await,
            _ => self.conversation().await,
        };
        found.unwrap_or_else(|told| told)
    }

    fn asked(&self, is_streaming: bool) -> Asked {
        self.back.hears(self.front, self.case.asked(is_streaming), self.case)
    }

    async fn post(&self, asked: &Asked) -> Result<Got, Cell> {
        let got = self.daemon.post(self.front.path(), &[], &self.front.ask(asked, &self.model).to_string()).await;
        self.skipped(&got).map_or(Ok(got), Err)
    }

    /// A refusal before anything was sent, with the reason that the client is told.
    fn skipped(&self, got: &Got) -> Option<Cell> {
        let is_refused = got.status == 400 && self.provider.count() == 0 && self.back != Back::Sandbox;
        let message = is_refused.then(|| got.json()["error"]["message"].as_str().unwrap_or_default().to_owned())?;
        let why = message
            .split_once(&format!("{}: ", self.model))
            .map_or(message.clone(), |(_, why)| why.trim_end_matches([')', '.']).to_owned());
        Some(Cell::Skipped(why))
    }

    /// The request as it came at the provider is the one that was sent.
    fn arrived(&self, asked: &Asked) -> Result<(), Cell> {
        if self.back == Back::Sandbox {
            return Ok(());
        }
        let seen = self.provider.seen().pop().ok_or_else(|| fails("no request came"))?;
        let read = self.back.read(self.front, &seen);
        if read.as_ref() == Some(asked) { Ok(()) } else { Err(fails(&format!("sent {asked:?}, arrived {read:?} in {}", seen.body))) }
    }

    async fn conversation(&self) -> Result<Cell, Cell> {
        let (mut dropped, mut adjusted) = (BTreeSet::new(), BTreeSet::new());
        for &is_streaming in self.case.ways() {
            let asked = self.asked(is_streaming);
            let got = self.post(&asked).await?;
            if got.status != 200 {
                return Err(fails(&format!("{} {}", got.status, got.body)));
            }
            self.arrived(&asked)?;
            self.told(&got, is_streaming)?;
            dropped.extend(got.header("x-tollgate-dropped-params").map(str::to_owned));
            adjusted.extend(got.header("x-tollgate-adjusted-params").map(str::to_owned));
        }
        let joined = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
        Ok(Cell::Works { dropped: joined(dropped), adjusted: joined(adjusted), note: self.back.note(self.case) })
    }

    /// The answer as it came at the client is the one that was given.
    fn told(&self, got: &Got, is_streaming: bool) -> Result<(), Cell> {
        self.described(got, is_streaming)?;
        let answer = if is_streaming {
            let streamed = self.front.streamed(got);
            if !streamed.is_complete || streamed.has_error || !got.is_whole {
                return Err(fails(&format!("not complete: {}", got.body)));
            }
            streamed.answer
        } else {
            self.front.answered(got)
        };
        let ids: BTreeSet<&str> = answer.calls.iter().map(|call| call.id.as_str()).collect();
        let has_ids = ids.len() == answer.calls.len() && !ids.contains("");
        let wanted = self.back.says(self.front, self.case, &answer);
        let is_same = answer.clone().without_ids() == wanted.clone().without_ids();
        if is_same && has_ids { Ok(()) } else { Err(fails(&format!("{wanted:?} was answered and {answer:?} told by {}", got.body))) }
    }

    /// What came in one of OpenAI's formats is what its description says.
    fn described(&self, got: &Got, is_streaming: bool) -> Result<(), Cell> {
        let Some(described) = self.front.described(is_streaming) else { return Ok(()) };
        let values = if is_streaming { got.events() } else { vec![got.json()] };
        let faults: Vec<String> = values
            .iter()
            .flat_map(|value| if value.get("error").is_some_and(Value::is_object) { Described::Error } else { described }.faults(value))
            .collect();
        if faults.is_empty() { Ok(()) } else { Err(fails(&format!("{} in {}", faults.join("; "), got.body))) }
    }

    /// A provider's 400 and its 429.
    async fn errors(&self) -> Result<Cell, Cell> {
        for status in [400, 429] {
            let mut asked = self.asked(false);
            if self.back == Back::Sandbox {
                asked.said = format!("fail:{status}");
            }
            let got = self.post(&asked).await?;
            self.described(&got, false)?;
            let said = self.front.error(&got).ok_or_else(|| fails(&format!("no error of the format: {}", got.body)))?;
            let (kind, retried) = if status == 400 { ("invalid_request_error", "false") } else { ("rate_limit_error", "true") };
            // The sandbox's own word for what went wrong stays.
            let is_kind = said.kind == kind || said.kind == "sandbox_error";
            let mut is_told = (got.status, is_kind, got.header("x-should-retry")) == (status, true, Some(retried));
            if self.back != Back::Sandbox {
                is_told &= if status == 400 { said.message.contains(parties::COMPLAINT) } else { got.header("retry-after") == Some("7") };
            }
            if !is_told {
                return Err(fails(&format!("{status} was told as {} {:?} {}", got.status, got.headers, got.body)));
            }
        }
        Ok(Cell::noted(""))
    }

    async fn cut(&self) -> Result<Cell, Cell> {
        let got = self.post(&self.asked(true)).await?;
        self.described(&got, true)?;
        let streamed = self.front.streamed(&got);
        if self.back == Back::Sandbox {
            return if streamed.is_complete { Ok(Cell::noted("never breaks off")) } else { Err(fails(&got.body)) };
        }
        let wanted = self.case.answer().text;
        let is_told = streamed.has_error && !streamed.is_complete && streamed.answer.text == wanted && got.status == 200;
        if is_told { Ok(Cell::noted("")) } else { Err(fails(&format!("{} {}", got.status, got.body))) }
    }

    async fn disconnect(&self) -> Result<Cell, Cell> {
        let asked = self.asked(self.front.streams());
        let body = self.front.ask(&asked, &self.model).to_string();
        let mut line = Line::send(self.daemon.app.listen(), &post(self.front.path(), &[], &body)).await;
        if self.front.streams() {
            let begun = if self.back == Back::Sandbox { "[tollgate" } else { "Low" };
            while !line.text().contains(begun) {
                if line.read().await == 0 {
                    let got = line.rest().await;
                    return Err(self.skipped(&got).unwrap_or_else(|| fails(&got.body)));
                }
            }
        } else if self.back == Back::Sandbox {
            // Nothing comes while the call is under way, but it counts.
            let taken = || self.daemon.status().to_string().contains("\"remaining\":4").then_some(());
            eventually(taken).await;
        } else if self.back.spoken(self.front).is_some() {
            self.provider.wait_for_requests(1).await;
        } else {
            let got = line.rest().await;
            return Err(self.skipped(&got).unwrap_or_else(|| fails(&got.body)));
        }
        drop(line);
        if self.back != Back::Sandbox {
            self.provider.wait_for_closed(1).await;
        }
        let is_ours = |record: &&Value| record["requested_model"] == self.model;
        let record = eventually(|| self.daemon.records.all().iter().find(is_ours).cloned()).await;
        if record["outcome"] == "hung_up" { Ok(Cell::noted("")) } else { Err(fails(&record.to_string())) }
    }
}

fn fails(why: &str) -> Cell {
    Cell::Fails(why.to_owned())
}
