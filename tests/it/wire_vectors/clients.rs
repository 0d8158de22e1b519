//! What an SDK makes of an answer: readers of their own, so that nothing is proved by itself.

use serde_json::Value;
use tollgate::units::Endpoint;

/// What a client has understood.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) text: String,
    pub(crate) reasoning: String,
    pub(crate) calls: Vec<Called>,
    /// Why the answer ended, in canonical words.
    pub(crate) finish: Option<String>,
    pub(crate) signatures: Vec<String>,
    /// How many numbered events came.
    events: u64,
    /// Which call each item is, if any.
    items: Vec<Option<usize>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Called {
    pub(crate) id: String,
    pub(crate) name: String,
    json: String,
}

impl Called {
    pub(crate) fn arguments(&self) -> Value {
        serde_json::from_str(if self.json.is_empty() { "{}" } else { &self.json }).unwrap_or_else(|_| panic!("{}", self.json))
    }
}

/// A stream.
pub(crate) fn hear(client: Endpoint, sent: &[u8]) -> Heard {
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
            Endpoint::Responses => {
                assert_eq!(name, data["type"].as_str(), "an event's name is its type");
                heard.responses(&data);
            }
            _ => heard.chat(&data),
        }
    }
    heard
}

/// A whole answer.
pub(crate) fn whole(client: Endpoint, body: &[u8]) -> Heard {
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
    } else if client == Endpoint::Responses {
        heard.response(&body);
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

    /// As an SDK does that puts the answer together from its deltas; the last event has to tell the same.
    fn responses(&mut self, event: &Value) {
        let number = event["sequence_number"].as_u64().unwrap();
        assert_eq!(number, self.events, "events are numbered in order");
        self.events += 1;
        let index = event["output_index"].as_u64();
        let delta = event["delta"].as_str().unwrap_or_default();
        match event["type"].as_str().unwrap() {
            "response.output_item.added" => {
                assert_eq!(index, Some(self.items.len() as u64), "items begin in order");
                let is_call = event["item"]["type"] == "function_call";
                if is_call {
                    let text = |key: &str| event["item"][key].as_str().unwrap().to_owned();
                    self.calls.push(Called { id: text("call_id"), name: text("name"), json: text("arguments") });
                }
                self.items.push(is_call.then(|| self.calls.len() - 1));
            }
            "response.output_text.delta" => self.text.push_str(delta),
            "response.reasoning_summary_text.delta" => self.reasoning.push_str(delta),
            "response.function_call_arguments.delta" => {
                let call = self.items[usize::try_from(index.unwrap()).unwrap()].unwrap();
                self.calls[call].json.push_str(delta);
            }
            "response.completed" | "response.incomplete" => {
                let mut whole = Self::default();
                whole.response(&event["response"]);
                assert_eq!((&whole.text, &whole.reasoning, &whole.calls), (&self.text, &self.reasoning, &self.calls));
                self.finish = whole.finish;
            }
            _ => {}
        }
    }

    fn response(&mut self, body: &Value) {
        for item in body["output"].as_array().unwrap() {
            let text = |key: &str| item[key].as_str().unwrap().to_owned();
            match item["type"].as_str().unwrap() {
                "message" => {
                    let parts = item["content"].as_array().unwrap();
                    self.text.extend(parts.iter().map(|part| part["text"].as_str().or(part["refusal"].as_str()).unwrap()));
                }
                "reasoning" => self.reasoning.extend(item["summary"].as_array().unwrap().iter().map(|part| part["text"].as_str().unwrap())),
                "function_call" => self.calls.push(Called { id: text("call_id"), name: text("name"), json: text("arguments") }),
                kind => panic!("{kind}"),
            }
        }
        let word = match (body["status"].as_str(), body["incomplete_details"]["reason"].as_str()) {
            (Some("completed"), None) if self.calls.is_empty() => "stop",
            (Some("completed"), None) => "tool_calls",
            (Some("incomplete"), Some("max_output_tokens")) => "length",
            (Some("incomplete"), Some("content_filter")) => "content_filter",
            other => panic!("{other:?}"),
        };
        self.finish = Some(word.to_owned());
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
