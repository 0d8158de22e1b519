//! What an SDK makes of an answer: readers of their own, so that nothing is proved by itself.

use serde_json::Value;
use tollgate::units::Endpoint;

/// What a client has understood.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) calls: Vec<Called>,
    /// Why the answer ended, in canonical words.
    pub(super) finish: Option<String>,
    pub(super) signatures: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Called {
    pub(super) id: String,
    pub(super) name: String,
    json: String,
}

impl Called {
    pub(super) fn arguments(&self) -> Value {
        serde_json::from_str(if self.json.is_empty() { "{}" } else { &self.json }).unwrap_or_else(|_| panic!("{}", self.json))
    }
}

/// A stream.
pub(super) fn hear(client: Endpoint, sent: &[u8]) -> Heard {
    let mut heard = Heard::default();
    for event in std::str::from_utf8(sent).unwrap().split_terminator("\n\n") {
        let data = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect::<Vec<_>>().join("\n");
        let name = event.lines().find_map(|line| line.strip_prefix("event: "));
        if data == "[DONE]" || data.is_empty() {
            continue;
        }
        let data: Value = serde_json::from_str(&data).unwrap();
        match client {
            Endpoint::Messages => {
                assert_eq!(name, data["type"].as_str(), "an event's name is its type");
                heard.messages(&data);
            }
            _ => heard.chat(&data),
        }
    }
    heard
}

/// A whole answer.
pub(super) fn whole(client: Endpoint, body: &[u8]) -> Heard {
    let body: Value = serde_json::from_slice(body).unwrap();
    let mut heard = Heard::default();
    if client == Endpoint::Messages {
        for (index, block) in body["content"].as_array().unwrap().iter().enumerate() {
            heard.block(index, block);
            if block["type"] == "tool_use" {
                heard.calls.last_mut().unwrap().json = block["input"].to_string();
            }
        }
        heard.stop(&body["stop_reason"]);
    } else {
        let choice = &body["choices"][0];
        heard.delta(&choice["message"]);
        heard.finish = choice["finish_reason"].as_str().map(str::to_owned);
    }
    heard
}

impl Heard {
    fn chat(&mut self, chunk: &Value) {
        let choice = &chunk["choices"][0];
        self.delta(&choice["delta"]);
        self.text.push_str(choice["text"].as_str().unwrap_or_default());
        if let Some(word) = choice["finish_reason"].as_str() {
            self.finish = Some(word.to_owned());
        }
    }

    fn delta(&mut self, delta: &Value) {
        self.text.push_str(delta["content"].as_str().unwrap_or_default());
        let reasoning = delta["reasoning_content"].as_str().or(delta["reasoning"].as_str());
        self.reasoning.push_str(reasoning.unwrap_or_default());
        for (position, call) in delta["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let index = usize::try_from(call["index"].as_u64().unwrap_or(position as u64)).unwrap();
            while self.calls.len() <= index {
                self.calls.push(Called::default());
            }
            let known = &mut self.calls[index];
            if let Some(id) = call["id"].as_str() {
                id.clone_into(&mut known.id);
            }
            known.name.push_str(call["function"]["name"].as_str().unwrap_or_default());
            known.json.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
            self.signatures.extend(call["extra_content"]["google"]["thought_signature"].as_str().map(str::to_owned));
        }
    }

    fn messages(&mut self, event: &Value) {
        let index = usize::try_from(event["index"].as_u64().unwrap_or(0)).unwrap();
        match event["type"].as_str().unwrap() {
            "content_block_start" => self.block(index, &event["content_block"]),
            "content_block_delta" => {
                let delta = &event["delta"];
                self.text.push_str(delta["text"].as_str().unwrap_or_default());
                self.reasoning.push_str(delta["thinking"].as_str().unwrap_or_default());
                self.signatures.extend(delta["signature"].as_str().map(str::to_owned));
                if let Some(json) = delta["partial_json"].as_str() {
                    self.calls.last_mut().unwrap().json.push_str(json);
                }
            }
            "message_delta" => self.stop(&event["delta"]["stop_reason"]),
            _ => {}
        }
    }

    fn block(&mut self, _: usize, block: &Value) {
        self.text.push_str(block["text"].as_str().unwrap_or_default());
        self.reasoning.push_str(block["thinking"].as_str().unwrap_or_default());
        self.signatures.extend(block["data"].as_str().map(str::to_owned));
        if block["type"] == "tool_use" {
            let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
            self.calls.push(Called { id: text("id"), name: text("name"), json: String::new() });
        }
    }

    fn stop(&mut self, reason: &Value) {
        let word = match reason.as_str() {
            Some("end_turn" | "stop_sequence" | "pause_turn") => "stop",
            Some("max_tokens") => "length",
            Some("tool_use") => "tool_calls",
            Some("refusal") => "content_filter",
            _ => return,
        };
        self.finish = Some(word.to_owned());
    }
}
