//! Whatever is answered in one of OpenAI's formats is what its `OpenAPI` description says.

use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::*;

/// A description of an answer, by its name in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Described {
    Chat,
    ChatEvent,
    Completion,
    Embeddings,
    Response,
    ResponseEvent,
    Error,
    Models,
    Model,
}

impl Described {
    fn name(self) -> &'static str {
        match self {
            Self::Chat => "CreateChatCompletionResponse",
            Self::ChatEvent => "CreateChatCompletionStreamResponse",
            Self::Completion => "CreateCompletionResponse",
            Self::Embeddings => "CreateEmbeddingResponse",
            Self::Response => "Response",
            Self::ResponseEvent => "ResponseStreamEvent",
            Self::Error => "ErrorResponse",
            Self::Models => "ListModelsResponse",
            Self::Model => "Model",
        }
    }

    /// What is wrong with a value; nothing where it is as described.
    pub(crate) fn faults(self, value: &Value) -> Vec<String> {
        static VALIDATORS: OnceLock<Mutex<BTreeMap<Described, Validator>>> = OnceLock::new();
        let mut validators = VALIDATORS.get_or_init(Mutex::default).lock().unwrap();
        let validator = validators.entry(self).or_insert_with(|| {
            let mut schema = described().clone();
            schema["$ref"] = format!("#/components/schemas/{}", self.name()).into();
            jsonschema::draft202012::new(&schema).unwrap()
        });
        validator.iter_errors(value).map(|fault| format!("{} at {}", fault, fault.instance_path())).collect()
    }
}

/// Where the live service says null and the description does not: the schema, and the property.
const NULLS: [(&str, &str); 5] = [
    ("CreateChatCompletionResponse", "service_tier"),
    ("CreateChatCompletionResponse", "system_fingerprint"),
    ("CreateCompletionResponse", "usage"),
    ("CreateCompletionResponse/choices", "finish_reason"),
    ("Response", "usage"),
];

/// The schemas as a validator takes them.
fn described() -> &'static Value {
    static SCHEMAS: OnceLock<Value> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let mut root: Value = serde_json::from_str(include_str!("../openapi/schemas.json")).unwrap();
        for (name, schema) in root["components"]["schemas"].as_object_mut().unwrap() {
            readable(schema);
            for (of, property) in NULLS {
                let (of, list) = of.split_once('/').map_or((of, None), |(of, list)| (of, Some(list)));
                if of == name {
                    let place = properties(schema);
                    let place = match list {
                        None => &mut place[property],
                        Some(list) => &mut place[list]["items"]["properties"][property],
                    };
                    *place = json!({ "anyOf": [{ "type": "null" }, place] });
                }
            }
        }
        root
    })
}

/// The properties of a schema that may be a sum of several, of which the last is its own.
fn properties(schema: &mut Value) -> &mut Value {
    if schema.get("properties").is_some() {
        &mut schema["properties"]
    } else {
        &mut schema["allOf"].as_array_mut().unwrap().last_mut().unwrap()["properties"]
    }
}

/// `nullable` is a word of an older version of the language; and of alternatives that a discriminator tells apart several may fit.
fn readable(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(readable),
        Value::Object(own) => {
            own.values_mut().for_each(readable);
            if let Some(one) = own.remove("oneOf") {
                own.insert("anyOf".into(), one);
            }
            own.remove("$recursiveAnchor");
            own.remove("$recursiveRef");
            if own.remove("nullable") == Some(Value::Bool(true)) {
                *schema = json!({ "anyOf": [{ "type": "null" }, schema] });
            }
        }
        _ => {}
    }
}

#[test]
fn the_description_can_refuse() {
    let sound: Value = serde_json::from_str(&completion("Hi.")).unwrap();
    let without = |name: &str| {
        let mut value = sound.clone();
        value.as_object_mut().unwrap().remove(name);
        Described::Chat.faults(&value)
    };
    // The scripted providers are as sparing as many real ones: the description wants more of them.
    assert!(Described::Chat.faults(&sound).iter().all(|fault| fault.contains("logprobs") || fault.contains("refusal")), "{sound}");
    assert!(without("choices").iter().any(|fault| fault.contains("choices")));
    assert!(!Described::Error.faults(&json!({ "error": { "message": "m", "type": "t", "param": null } })).is_empty());
    assert!(
        !Described::ChatEvent
            .faults(&json!({ "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [] }))
            .is_empty()
    );
    for (of, property) in NULLS {
        let name = of.split('/').next().unwrap();
        assert!(
            described()["components"]["schemas"][name].to_string().contains(&format!("\"{property}\":{{\"anyOf\":[{{\"type\":\"null\"}}")),
            "{of}"
        );
    }
}

#[tokio::test]
async fn models_are_as_described() {
    let provider = sound_provider("Hi.", false).await;
    let daemon = Daemon::start(&routes(&[&provider], "")).await;
    let list = daemon.get("/v1/models").await.json();
    assert_eq!(Described::Models.faults(&list), [""; 0], "{list}");
    for model in list["data"].as_array().unwrap() {
        let path = format!("/v1/models/{}", model["id"].as_str().unwrap());
        let alone = daemon.get(&path).await.json();
        assert_eq!((Described::Model.faults(&alone), &alone), (Vec::new(), model), "{path}");
    }
}

#[tokio::test]
async fn refusals_and_failures_are_as_described() {
    let broken = Provider::always(vec![Act::Close]).await;
    let html = Provider::always(vec![send("HTTP/1.1 500 No\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>")]).await;
    let bare = Provider::always(vec![send(json_answer("400 Bad Request", "{\"error\":{\"message\":\"no\"}}"))]).await;
    for provider in [&broken, &html, &bare] {
        let daemon = Daemon::start(&routes(&[provider], "")).await;
        for is_streaming in [false, true] {
            let got = daemon.ask(&chat(is_streaming)).await;
            assert_eq!((got.status >= 400, Described::Error.faults(&got.json())), (true, Vec::new()), "{}", got.body);
        }
    }
    let daemon = Daemon::start(&routes(&[&bare], "").replace("default: {", "default: refuse #")).await;
    let asks = |path: &str, body: &str| post(path, &[], body);
    let named = |model: &str| chat(false).replace("auto", model);
    let texts = |path: &'static str| asks(path, "{\"model\":\"no-such-model\",\"input\":\"x\",\"prompt\":\"x\"}");
    for request in [
        asks("/v1/chat/completions", "{"),
        asks("/v1/chat/completions", &named("no-such-model")),
        asks("/v1/chat/completions", &chat(false).replace("\"stream\":false", "\"n\":99")),
        texts("/v1/embeddings"),
        texts("/v1/completions"),
        asks("/v1/nothing", "{}"),
        "PUT /v1/models HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".into(),
        "GET /v1/models/no-such HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".into(),
    ] {
        let got = crate::support::got(daemon.app.listen(), &request).await;
        assert!(got.status >= 400, "{request}\n{got:?}");
        assert_eq!(Described::Error.faults(&got.json()), [""; 0], "{request}\n{}", got.body);
    }
}
