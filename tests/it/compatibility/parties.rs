//! The fronts and the backs: which of the formats each speaks, and how.

use serde_json::{Value, json};

use super::story::{Answer, Asked, Case, Streamed, string};
use super::{chat, generate, messages, plain, responses};
use crate::openapi::Described;
use crate::support::*;

/// What a provider says of a bad request.
pub(super) const COMPLAINT: &str = "the temperature is beyond what the model takes";

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Chat,
    Completions,
    Embeddings,
    Messages,
    Responses,
}

/// An error as a client reads it.
pub(super) struct Told {
    pub(super) kind: String,
    pub(super) message: String,
}

impl Front {
    pub(super) const ALL: [Self; 5] = [Self::Chat, Self::Completions, Self::Embeddings, Self::Messages, Self::Responses];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Chat => "OpenAI chat completions",
            Self::Completions => "OpenAI completions",
            Self::Embeddings => "OpenAI embeddings",
            Self::Messages => "Anthropic messages",
            Self::Responses => "OpenAI responses",
        }
    }

    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
            Self::Messages => "/v1/messages",
            Self::Responses => "/v1/responses",
        }
    }

    pub(super) fn streams(self) -> bool {
        self != Self::Embeddings
    }

    /// Whether the format has words for it.
    pub(super) fn says(self, case: Case) -> bool {
        match self {
            Self::Chat | Self::Messages | Self::Responses => true,
            Self::Completions => case.is_plain(),
            Self::Embeddings => matches!(case, Case::Text | Case::Error | Case::Disconnect),
        }
    }

    /// What OpenAI's description calls an answer, or an event of one.
    pub(super) fn described(self, is_streaming: bool) -> Option<Described> {
        match self {
            Self::Chat if is_streaming => Some(Described::ChatEvent),
            Self::Chat => Some(Described::Chat),
            Self::Completions => Some(Described::Completion),
            Self::Embeddings => Some(Described::Embeddings),
            Self::Messages => None,
            Self::Responses if is_streaming => Some(Described::ResponseEvent),
            Self::Responses => Some(Described::Response),
        }
    }

    pub(super) fn ask(self, asked: &Asked, model: &str) -> Value {
        match self {
            Self::Chat => chat::ask(asked, model),
            Self::Completions => plain::ask_completion(asked, model),
            Self::Embeddings => plain::ask_embedding(asked, model),
            Self::Messages => messages::ask(asked, model),
            Self::Responses => responses::ask(asked, model),
        }
    }

    pub(super) fn answered(self, got: &Got) -> Answer {
        match self {
            Self::Chat => chat::answered(got),
            Self::Completions => plain::completed(got),
            Self::Embeddings => plain::embedded(got),
            Self::Messages => messages::answered(got),
            Self::Responses => responses::answered(got),
        }
    }

    pub(super) fn streamed(self, got: &Got) -> Streamed {
        match self {
            Self::Chat => chat::streamed(got),
            Self::Completions => plain::streamed_completion(got),
            Self::Embeddings => Streamed::default(),
            Self::Messages => messages::streamed(got),
            Self::Responses => responses::streamed(got),
        }
    }

    /// The error that an answer is, if it has the format's shape.
    pub(super) fn error(self, got: &Got) -> Option<Told> {
        let body = got.json();
        let error = body["error"].as_object()?;
        let has = |names: &[&str]| names.iter().all(|name| error.contains_key(*name));
        let is_of_shape = match self {
            Self::Messages => body["type"] == "error" && has(&["type", "message"]),
            _ => has(&["message", "type", "param", "code"]),
        };
        is_of_shape.then(|| Told { kind: string(&error["type"]), message: string(&error["message"]) })
    }
}

/// What a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    OpenAi,
    Responses,
    Azure,
    Anthropic,
    Gemini,
    Sandbox,
}

/// What one of a provider's APIs speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    Chat,
    Completions,
    Embeddings,
    Messages,
    Generate,
    /// Embeddings of Gemini's.
    Embed,
    Responses,
}

impl Back {
    pub(super) const ALL: [Self; 6] = [Self::OpenAi, Self::Responses, Self::Azure, Self::Anthropic, Self::Gemini, Self::Sandbox];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Responses => "openai (responses)",
            Self::Azure => "azure",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Sandbox => "sandbox",
        }
    }

    pub(super) fn model(self) -> &'static str {
        match self {
            Self::OpenAi | Self::Responses | Self::Azure => "m",
            Self::Anthropic => "claude-sonnet-4-6",
            Self::Gemini => "gemini-3.5-flash",
            Self::Sandbox => "echo",
        }
    }

    /// Its entry in the file.
    pub(super) fn settings(self, address: &str, case: Case) -> String {
        let key = "api_key: \"a-key-of-the-provider-s-own\"";
        let able = "can: [tools, vision, json_schema, reasoning]";
        let models = format!("models: {{ {}: {{ {able} }} }}", self.model());
        match self {
            Self::OpenAi => format!("format: openai, base_url: \"http://{address}/v1\", {key}, {models}"),
            Self::Responses => format!("format: openai, base_url: \"http://{address}/v1\", speaks: [responses], {key}, {models}"),
            Self::Azure => format!("format: openai, base_url: \"http://{address}?api-version=2024-10-21\", {key}, {models}"),
            Self::Anthropic => format!("like: anthropic, base_url: \"http://{address}\", {key}, {models}"),
            Self::Gemini => format!("format: gemini, base_url: \"http://{address}/v1beta\", {key}, {models}"),
            Self::Sandbox => {
                let pace = if case == Case::Disconnect {
                    ", tokens_per_second: 1, limits: { concurrent: 5 }"
                } else {
                    ", tokens_per_second: 100000"
                };
                format!("format: sandbox, models: {{ echo: {{}} }}, latency: 1ms{pace}")
            }
        }
    }

    /// What it is spoken to for a front's calls; nothing where it has no such API.
    pub(super) fn spoken(self, front: Front) -> Option<Spoken> {
        match (self, front) {
            (Self::Responses, Front::Chat | Front::Messages | Front::Responses) => Some(Spoken::Responses),
            (Self::OpenAi | Self::Azure, Front::Chat | Front::Messages | Front::Responses) => Some(Spoken::Chat),
            (Self::OpenAi | Self::Azure | Self::Responses, Front::Completions) => Some(Spoken::Completions),
            (Self::OpenAi | Self::Azure | Self::Responses, Front::Embeddings) => Some(Spoken::Embeddings),
            (Self::Anthropic, Front::Chat | Front::Messages | Front::Responses) => Some(Spoken::Messages),
            (Self::Gemini, Front::Chat | Front::Messages | Front::Responses) => Some(Spoken::Generate),
            (Self::Gemini, Front::Embeddings) => Some(Spoken::Embed),
            _ => None,
        }
    }

    /// What it does for the requests of a case, one after the other.
    pub(super) fn scripts(self, front: Front, case: Case) -> Vec<Vec<Act>> {
        let Some(spoken) = self.spoken(front) else { return vec![vec![Act::Close]] };
        let answer = given(front, case);
        match case {
            Case::Error => vec![spoken.refusal(400), spoken.refusal(429)],
            Case::Cut => vec![vec![send(stream(&spoken.events(&answer)[0]) + "0\r\n\r\n")]],
            Case::Disconnect if front.streams() => vec![vec![send(stream(&spoken.events(&answer)[0])), Act::Hang]],
            Case::Disconnect => vec![vec![Act::Hang]],
            _ => case.ways().iter().map(|&is_streaming| vec![spoken.answer(&answer, is_streaming)]).collect(),
        }
    }

    /// The request as the provider is to get it.
    pub(super) fn hears(self, front: Front, asked: Asked, case: Case) -> Asked {
        match front {
            Front::Completions => Asked { system: String::new(), ..asked },
            Front::Embeddings if case == Case::Disconnect && self == Self::Sandbox => Asked { said: "hang:10s".into(), ..Asked::default() },
            Front::Embeddings => Asked { system: String::new(), is_streaming: false, ..asked },
            Front::Chat | Front::Messages | Front::Responses => asked,
        }
    }

    /// The request as it came, read as what it should be.
    pub(super) fn read(self, front: Front, seen: &Seen) -> Option<Asked> {
        let (spoken, body) = (self.spoken(front)?, seen.json());
        let path = seen.head.split(' ').nth(1).unwrap_or_default();
        let model = self.model();
        // A deployment of Azure's stands in the path.
        let own = |end: &str| {
            if self == Self::Azure { format!("/openai/deployments/{model}/{end}?api-version=2024-10-21") } else { format!("/v1/{end}") }
        };
        let (wanted, read) = match spoken {
            Spoken::Chat => (own("chat/completions"), chat::read(&body)),
            Spoken::Completions => (own("completions"), plain::read_completion(&body)),
            Spoken::Embeddings => (own("embeddings"), plain::read_embedding(&body)),
            Spoken::Responses => (own("responses"), responses::read(&body)),
            Spoken::Messages => (own("messages"), messages::read(&body)),
            Spoken::Embed => (format!("/v1beta/models/{model}:batchEmbedContents"), plain::read_batch(&body)),
            Spoken::Generate => {
                let is_streaming = path.contains(":streamGenerateContent");
                let method = if is_streaming { "streamGenerateContent?alt=sse" } else { "generateContent" };
                (format!("/v1beta/models/{model}:{method}"), generate::read(&body, is_streaming))
            }
        };
        let is_named = matches!(spoken, Spoken::Generate | Spoken::Embed) || body["model"] == model;
        (path == wanted && is_named).then_some(read)
    }

    /// What the client is to read of the answer; `told` is what it did read.
    pub(super) fn says(self, front: Front, case: Case, told: &Answer) -> Answer {
        let given = given(front, case);
        if self != Self::Sandbox {
            return given;
        }
        // It says what it likes, in its own words, and counts them itself.
        let is_its_own = match (front, case) {
            (Front::Embeddings, _) => told.text.starts_with('['),
            (_, Case::Schema) => serde_json::from_str::<Value>(&told.text).is_ok_and(|value| value["port"].is_string()),
            _ => told.text.starts_with("[tollgate sandbox]"),
        };
        let text = if is_its_own { told.text.clone() } else { "an answer of the sandbox".into() };
        Answer { text, input: told.input.max(1), output: told.output, finish: "stop", ..Answer::default() }
    }

    /// What is to be said of an answer that came.
    pub(super) fn note(self, case: Case) -> &'static str {
        match (self, case) {
            (Self::Sandbox, Case::Tool | Case::Tools) => "calls none",
            (Self::Sandbox, Case::Reasoning) => "thinks nothing",
            _ => "",
        }
    }
}

fn given(front: Front, case: Case) -> Answer {
    let answer = case.answer();
    if front == Front::Embeddings { Answer { text: plain::VECTOR.into(), output: 0, ..answer } } else { answer }
}

impl Spoken {
    fn answer(self, answer: &Answer, is_streaming: bool) -> Act {
        if is_streaming {
            return send(stream(&self.events(answer).concat()) + "0\r\n\r\n");
        }
        let whole = match self {
            Self::Chat => chat::whole(answer),
            Self::Completions => plain::whole_completion(answer),
            Self::Embeddings => plain::whole_embedding(answer),
            Self::Messages => messages::whole(answer),
            Self::Embed => plain::whole_batch(answer),
            Self::Generate => generate::whole(answer),
            Self::Responses => responses::whole(answer),
        };
        send(json_answer("200 OK", &whole.to_string()))
    }

    /// The events up to the last content, and those that end the stream.
    fn events(self, answer: &Answer) -> [Vec<String>; 2] {
        match self {
            Self::Chat => chat::events(answer),
            Self::Completions => plain::completion_events(answer),
            Self::Embeddings | Self::Embed => [vec![], vec![]],
            Self::Messages => messages::events(answer),
            Self::Generate => generate::events(answer),
            Self::Responses => responses::events(answer),
        }
    }

    fn refusal(self, status: u16) -> Vec<Act> {
        let (message, kind, word) = match status {
            400 => (COMPLAINT, "invalid_request_error", "INVALID_ARGUMENT"),
            _ => ("slow down", "rate_limit_error", "RESOURCE_EXHAUSTED"),
        };
        let body = match self {
            Self::Messages => json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_1" }),
            Self::Generate | Self::Embed => json!({ "error": { "code": status, "message": message, "status": word } }),
            _ => json!({ "error": { "message": message, "type": kind, "param": null, "code": null } }),
        };
        vec![send(json_answer(&format!("{status} No\r\nretry-after: 7"), &body.to_string()))]
    }
}

fn stream(events: &[String]) -> String {
    let chunks: String = events.iter().map(|event| chunk(event)).collect();
    format!("{STREAM_HEAD}{chunks}")
}
