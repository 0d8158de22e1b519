use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::*;
use crate::units::Lacks;
use crate::wire::Edits;

fn parse(endpoint: Endpoint, body: impl Into<String>) -> Result<Call, BadCall> {
    Call::parse(endpoint, Bytes::from(body.into()), 4)
}

fn chat(body: impl Into<String>) -> Call {
    parse(Endpoint::Chat, body).unwrap()
}

fn written(call: &Call, edits: &Edits<'_>) -> String {
    String::from_utf8(call.write(edits).concat()).unwrap()
}

/// Edits that set a model and, of the rest, what the pairs say.
fn write(body: &str, model: &str, include_usage: bool, limit: Option<u64>, set: &[(&str, &str)]) -> String {
    let raw = |value: &str| RawValue::from_string(value.into()).unwrap();
    let set: BTreeMap<String, Box<RawValue>> = set.iter().map(|&(name, value)| (name.into(), raw(value))).collect();
    written(
        &chat(body),
        &Edits {
            model,
            include_usage,
            output_limit: limit.map(Tokens::new),
            assumed_limit: Tokens::new(1),
            set: &set,
            lacks: Lacks::default(),
        },
    )
}

fn said(endpoint: Endpoint, body: &str) -> (String, String, bool) {
    let call = parse(endpoint, body).unwrap();
    let said = call.said();
    (said.system.into_owned(), said.user.into_owned(), said.is_tool_turn)
}

#[test]
fn what_is_said_is_the_system_message_and_the_users_last() {
    let told = |system: &str, user: &str, is_tool_turn| (system.to_owned(), user.to_owned(), is_tool_turn);
    let chat = r#"{"model":"m","messages":[{"content":"be brief","role":"system"},{"role":"user","content":"one"},{"role":"assistant","content":"two"},
        {"role":"user","content":[{"type":"text","text":"caf\u00e9\nline"},{"type":"image_url","image_url":{"url":"u"}},{"type":"text","text":"end"}]}]}"#;
    assert_eq!(said(Endpoint::Chat, chat), told("be brief", "caf\u{e9}\nline\nend", false));
    let tools = r#"{"model":"m","messages":[{"role":"user","content":"go"},{"role":"assistant","tool_calls":[]},{"role":"tool","tool_call_id":"1","content":"4"}],
        "tools":[{"type":"function","function":{"name":"f"}}]}"#;
    assert_eq!(said(Endpoint::Chat, tools), told("", "go", true));
    let messages = r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"S"}],"tools":[{"name":"f"}],
        "messages":[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":"4"}]}]}"#;
    let (system, _, is_tool_turn) = said(Endpoint::Messages, messages);
    assert_eq!((system.as_str(), is_tool_turn), ("S", true));
    let items = r#"{"model":"m","instructions":"S","input":[{"role":"user","content":[{"type":"input_text","text":"go"}]},
        {"type":"function_call","call_id":"1","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":"4"}],
        "tools":[{"type":"function","name":"f"}]}"#;
    assert_eq!(said(Endpoint::Responses, items), told("S", "go", true));
    assert_eq!(said(Endpoint::Responses, r#"{"model":"m","input":"hi"}"#), told("", "hi", false));
    assert_eq!(said(Endpoint::Completions, r#"{"model":"m","prompt":"once upon"}"#), told("", "once upon", false));
    assert_eq!(said(Endpoint::Chat, r#"{"model":"m","messages":[]}"#), told("", "", false));
}

#[test]
fn of_a_long_message_only_the_ends_are_said() {
    let long = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"first {}middle{} last"}}]}}"#,
        "\\u4e2d".repeat(2_000),
        "\u{1f600}".repeat(2_000)
    );
    let (_, user, _) = said(Endpoint::Chat, &long);
    assert!(user.starts_with("first \u{4e2d}") && user.ends_with("\u{1f600} last") && !user.contains("middle"));
    assert!(user.len() < 4_000, "{}", user.len());
}

#[test]
fn what_is_not_edited_survives_byte_for_byte() {
    let rest = concat!(
        ", \"messages\" : [ {\"role\":\"user\",\"content\":\"caf\\u00e9 \\ud83d\\ude00 \\/ \u{6f6e}\"} ],\r\n\t\"seed\": 12345678901234567890,",
        "\"temperature\": 1.0, \"top_p\":1E-1, \"x_unknown\":{\"b\":1,\"a\":[1.50,null]},\"z\":-0.0 }\n"
    );
    let body = format!("{{ \"stream\" :false,\"model\":\"gpt-4o\"{rest}");
    assert_eq!(write(&body, "gpt-4o", true, None, &[]), body);
    assert_eq!(write(&body, "other/\"m", false, None, &[]), body.replace("\"gpt-4o\"", "\"other/\\\"m\""));
    let large = body.replace("caf", &"x".repeat(20_000));
    let call = chat(large.clone());
    let none = BTreeMap::new();
    let pieces = call.write(&Edits {
        model: "m",
        include_usage: false,
        output_limit: None,
        assumed_limit: Tokens::new(1),
        set: &none,
        lacks: Lacks::default(),
    });
    assert_eq!(pieces.concat(), large.replace("\"gpt-4o\"", "\"m\"").into_bytes());
    assert_eq!(pieces.len(), 3);
    // The long pieces share the client's bytes.
    assert_eq!(pieces[2].as_ptr(), call.body()[large.len() - pieces[2].len()..].as_ptr());
}

#[test]
fn usage_is_asked_for_once() {
    let cases = [
        (r#"{"model":"a","stream":true}"#, r#"{"model":"a","stream_options":{"include_usage":true},"stream":true}"#),
        (r#"{"stream_options":null,"stream":true,"model":"a"}"#, r#"{"stream_options":{"include_usage":true},"stream":true,"model":"a"}"#),
        (r#"{"model":"a","stream":true,"stream_options":{}}"#, r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#),
        (
            r#"{"model":"a","stream":true,"stream_options":{ "x":1}}"#,
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":true, "x":1}}"#,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"model":"a","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"a","stream":true,"stream_options":{"include_usage": true }}"#,
            r#"{"model":"a","stream":true,"stream_options":{"include_usage": true }}"#,
        ),
        (r#"{"model":"a","stream":false}"#, r#"{"model":"a","stream":false}"#),
        (r#"{"model":"a"}"#, r#"{"model":"a"}"#),
    ];
    for (body, sent) in cases {
        assert_eq!(write(body, "a", true, None, &[]), sent);
    }
}

#[test]
fn exactly_one_limit_is_forwarded() {
    let cases = [
        (r#"{"model":"a"}"#, r#"{"model":"a","max_completion_tokens":50}"#),
        (r#"{"model":"a","max_tokens":90}"#, r#"{"model":"a","max_tokens":50}"#),
        (r#"{"model":"a","max_tokens":null}"#, r#"{"model":"a","max_tokens":50}"#),
        (r#"{"max_completion_tokens":90,"model":"a"}"#, r#"{"max_completion_tokens":50,"model":"a"}"#),
        (r#"{"model":"a","max_tokens":90,"max_completion_tokens":80}"#, r#"{"model":"a","max_completion_tokens":50}"#),
        (r#"{"model":"a","max_completion_tokens":80 , "max_tokens":90}"#, r#"{"model":"a","max_completion_tokens":50}"#),
        (r#"{"max_tokens":90,"model":"a","max_completion_tokens":null}"#, r#"{"max_tokens":50,"model":"a"}"#),
        (r#"{"max_completion_tokens":9, "model":"a", "max_tokens":90 }"#, r#"{"max_completion_tokens":50, "model":"a" }"#),
    ];
    for (body, sent) in cases {
        assert_eq!(write(body, "a", false, Some(50), &[]), sent);
    }
    let body = r#"{"max_completion_tokens":9,"model":"a","max_tokens":90}"#;
    assert_eq!(write(body, "b", false, None, &[]), body.replace("\"a\"", "\"b\""));
    assert_eq!(
        write(body, "b", true, Some(5), &[("top_k", "1")]),
        r#"{"max_completion_tokens":5,"model":"b","top_k":1}"#,
        "an insertion behind the model stands before the removal of what follows it"
    );
    let none = BTreeMap::new();
    let edits = Edits {
        model: "a",
        include_usage: false,
        output_limit: Some(Tokens::new(5)),
        assumed_limit: Tokens::new(1),
        set: &none,
        lacks: Lacks::default(),
    };
    assert_eq!(written(&parse(Endpoint::Completions, r#"{"model":"a"}"#).unwrap(), &edits), r#"{"model":"a","max_tokens":5}"#);
    assert_eq!(written(&parse(Endpoint::Embeddings, r#"{"model":"a"}"#).unwrap(), &edits), r#"{"model":"a"}"#);
}

#[test]
fn set_fields_replace_or_join() {
    let body = r#"{"model":"a","temperature":1.0,"tools":[]}"#;
    let sent = write(body, "a", false, None, &[("temperature", "0"), ("top_p", "0.5"), ("model", "\"x\""), ("stream", "true")]);
    assert_eq!(sent, r#"{"model":"a","top_p":0.5,"temperature":0,"tools":[]}"#);
    assert_eq!(write(r#"{"model":"a","top\u005fp":1}"#, "a", false, None, &[("top_p", "0")]), r#"{"model":"a","top\u005fp":0}"#);
    assert_eq!(write(body, "a", false, Some(7), &[("max_tokens", "9")]), body.replace("\"a\"", "\"a\",\"max_completion_tokens\":7"));
}

#[test]
fn k21_two_equal_keys_are_found_among_few_fields_and_many() {
    for count in [2, 3, 15, 16, 17, 40] {
        let fields = (0..count).fold(String::new(), |fields, number| fields + &format!(",\"x{number}\":1"));
        assert!(parse(Endpoint::Chat, format!("{{\"model\":\"a\"{fields}}}")).is_ok(), "{count}");
        for number in 0..count {
            let bad = parse(Endpoint::Chat, format!("{{\"model\":\"a\"{fields},\"x{number}\":1}}")).unwrap_err();
            assert_eq!((bad.code, bad.param), ("duplicate_key", Some(format!("x{number}"))), "{count}");
        }
    }
}

#[test]
fn k21_bodies_that_mean_nothing_or_two_things_are_refused() {
    let deep = format!("{{\"model\":\"a\",\"x\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let cases = [
        (r#"{"model":"a","model":"b"}"#, "duplicate_key"),
        (r#"{"model":"a","\u006dodel":"b"}"#, "duplicate_key"),
        (r#"{"model":"a","x":1,"x":1}"#, "duplicate_key"),
        (r#"{"model":"a","stream_options":{"include_usage":true,"include_usage":false}}"#, "duplicate_key"),
        (r#"{"model":"a","metadata":{"task":"x","task":"y"}}"#, "duplicate_key"),
        (&*deep, "invalid_json"),
        (r#"{"model":"a","x":1e400}"#, "invalid_json"),
        (r#"{"model":"a","x":"\ud83d"}"#, "invalid_json"),
        (r#"{"model":"a"} x"#, "invalid_json"),
        (r#"{"model":"a""#, "invalid_json"),
        ("", "invalid_json"),
        ("[]", "invalid_json"),
        ("null", "invalid_json"),
    ];
    for (body, code) in cases {
        assert_eq!(parse(Endpoint::Chat, body).unwrap_err().code, code, "{}", &body[..body.len().min(60)]);
    }
    assert_eq!(Call::parse(Endpoint::Chat, Bytes::from_static(b"{\"model\":\"\xff\"}"), 4).unwrap_err().code, "invalid_json");
    let with_mark = chat("\u{feff}{\"model\":\"a\"}");
    assert_eq!(with_mark.body(), "{\"model\":\"a\"}");
    let message = r#"{"role":"user","content":"hi"}"#;
    let many = format!("{{\"model\":\"a\",\"messages\":[{}]}}", vec![message; 100_000].join(","));
    assert_eq!(chat(many).turns(), 100_000);
    let long = chat(format!("{{\"model\":\"a\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}", "x".repeat(10 << 20)));
    assert!(long.prompt_tokens() > Tokens::ZERO);
}

#[test]
fn k23_k25_wrong_values_are_refused_with_their_field() {
    let long = format!("\"{}\"", "x".repeat(10 << 10));
    let cases = [
        ("stream", r#""true""#),
        ("stream", "1"),
        ("max_tokens", "-1"),
        ("max_tokens", "0"),
        ("max_tokens", "1.5"),
        ("max_tokens", r#""10""#),
        ("max_tokens", "1e9"),
        ("max_tokens", "1000000000"),
        ("max_completion_tokens", "99999999999999999999999"),
        ("n", "0"),
        ("n", "5"),
        ("n", "1000000"),
        ("best_of", "[]"),
        ("stream_options", "true"),
        ("messages", r#""hi""#),
        ("user", &*long),
        ("user", r#""a\r\nb""#),
    ];
    for (param, value) in cases {
        let bad = parse(Endpoint::Chat, format!("{{\"model\":\"a\",\"{param}\":{value}}}")).unwrap_err();
        assert_eq!((bad.code, bad.param.as_deref()), ("invalid_parameter", Some(param)), "{param} {}", &value[..value.len().min(30)]);
    }
    for model in ["\"\"", "null", "7", r#""a\u001b[31m""#, r#""a b""#, &*long] {
        let bad = parse(Endpoint::Chat, format!("{{\"model\":{model}}}")).unwrap_err();
        assert_eq!((bad.code, bad.param.as_deref()), ("invalid_parameter", Some("model")), "{}", &model[..model.len().min(30)]);
    }
    assert_eq!(parse(Endpoint::Chat, "{}").unwrap_err().param.as_deref(), Some("model"));
    for (endpoint, field) in [(Endpoint::Completions, "prompt"), (Endpoint::Embeddings, "input")] {
        let bad = parse(endpoint, format!("{{\"model\":\"a\",\"{field}\":7}}")).unwrap_err();
        assert_eq!(bad.param.as_deref(), Some(field));
    }
}

#[test]
fn a_responses_call_may_leave_the_model_to_the_rules() {
    for (body, sent) in [
        ("{}", r#"{"model":"m"}"#),
        (r#" { "input":"x" }"#, r#" {"model":"m", "input":"x" }"#),
        (r#"{"input":"x","max_output_tokens":9}"#, r#"{"model":"m","input":"x","max_output_tokens":9}"#),
    ] {
        let call = parse(Endpoint::Responses, body).unwrap();
        let edits = Edits {
            model: "m",
            include_usage: false,
            output_limit: None,
            assumed_limit: Tokens::ZERO,
            set: &BTreeMap::new(),
            lacks: Lacks::default(),
        };
        assert_eq!((call.model(), &*call.write(&edits).concat()), ("auto", sent.as_bytes()));
    }
}

#[test]
fn nothing_is_no_limit_in_the_newer_field_and_no_count() {
    let limit = |fields: &str| chat(format!("{{\"model\":\"a\",{fields}}}")).output_limit();
    for (fields, wanted) in [
        (r#""max_completion_tokens":0"#, None),
        (r#""max_completion_tokens":0,"max_tokens":0"#, None),
        (r#""max_tokens":90,"max_completion_tokens":0"#, None),
        (r#""max_tokens":0,"max_completion_tokens":90"#, Some(Tokens::new(90))),
    ] {
        assert_eq!(limit(fields), wanted, "{fields}");
    }
    let call = parse(Endpoint::Completions, r#"{"model":"a","prompt":"x","best_of":0}"#).unwrap();
    assert_eq!((call.answers(), call.choices()), (1, 1));
}

#[test]
fn facts_are_read() {
    let call = chat(
        r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"hi"}],"model":"auto/coding","stream":true,
            "stream_options":{"include_usage":true},"max_tokens":10,"max_completion_tokens":20,"n":3,"metadata":{"task":"coding"},
            "reasoning_effort":"high"}"#,
    );
    assert_eq!((call.model(), call.turns(), call.answers(), call.choices()), ("auto/coding", 2, 3, 3));
    assert!(call.is_streaming() && call.asks_for_usage());
    assert_eq!((call.output_limit(), call.declared_task(), call.effort()), (Some(Tokens::new(20)), Some("coding"), Some(Effort::High)));
    assert_eq!(call.needs(), [Need::Reasoning]);

    let call = chat(r#"{"model":"a","stream":null,"max_tokens":null,"n":null,"metadata":{"task":7},"reasoning_effort":"wild"}"#);
    assert!(!call.is_streaming() && !call.asks_for_usage());
    assert_eq!((call.output_limit(), call.declared_task(), call.effort(), call.answers()), (None, None, None, 1));

    let call = parse(Endpoint::Completions, r#"{"model":"a","prompt":["x","y"],"n":2,"best_of":3}"#).unwrap();
    assert_eq!((call.answers(), call.choices(), call.turns()), (6, 4, 1));
}

#[test]
fn needs_are_read_from_what_the_call_holds() {
    let part = |part: &str| format!(r#"{{"model":"a","messages":[{{"role":"user","content":[{{"type":"text","text":"x"}},{part}]}}]}}"#);
    let cases = [
        (r#"{"model":"a","tools":[]}"#.into(), vec![]),
        (r#"{"model":"a","tools":[ ]}"#.into(), vec![]),
        (r#"{"model":"a","tools":[{"type":"function"}]}"#.into(), vec![Need::Tools]),
        (part(r#"{"type":"image_url","image_url":{"url":"data:x"}}"#), vec![Need::Vision]),
        (part(r#"{"type":"input_audio","input_audio":{"data":"AA","format":"wav"}}"#), vec![Need::Audio]),
        (part(r#"{"type":"file","file":{"file_id":"f"}}"#), vec![Need::Files]),
        (r#"{"model":"a","messages":[{"role":"user","content":"an \"image_url\" in words"}]}"#.into(), vec![]),
        (r#"{"model":"a","response_format":{"type":"json_schema","json_schema":{}}}"#.into(), vec![Need::JsonSchema]),
        (r#"{"model":"a","response_format":{"type":"json_object"}}"#.into(), vec![]),
        (r#"{"model":"a","reasoning_effort":"none"}"#.into(), vec![]),
        (r#"{"model":"a","reasoning":{"effort":"low"}}"#.into(), vec![Need::Reasoning]),
    ];
    for (body, needs) in cases {
        assert_eq!(chat(body.clone()).needs(), needs, "{body}");
    }
}

#[test]
fn the_prompt_is_counted_within_its_bound() {
    let message = |text: &str| format!(r#"{{"model":"a","messages":[{{"role":"user","content":"{text}"}}]}}"#);
    let small = chat(message("four"));
    assert_eq!(small.prompt_tokens_at_most(), Tokens::new(15));
    assert!((8..=9).contains(&small.prompt_tokens().count()), "a word, a message, a request");
    assert!(!format!("{small:?}").contains("four"));
    let large = chat(message(&"four \\n".repeat(100_000)));
    assert!(large.prompt_tokens() <= large.prompt_tokens_at_most());
    assert!(large.prompt_tokens() >= Tokens::new(100_000));
    let mixed = chat(message(&"\u{6f6e}\u{4f4d}".repeat(5_000)));
    assert!(mixed.prompt_tokens() > Tokens::new(5_000));
    let image = format!(r#"{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}"#, "A".repeat(1 << 20));
    let picture = chat(format!(r#"{{"model":"a","messages":[{{"role":"user","content":[{image}]}}]}}"#));
    assert!(picture.prompt_tokens_at_most() < Tokens::new(10_000), "an image is not its base64");
    let given = parse(Endpoint::Embeddings, r#"{"model":"a","input":[[1,2,3],[4,5]]}"#).unwrap();
    assert_eq!((given.prompt_tokens(), given.choices()), (Tokens::new(8), 2));
    let one = parse(Endpoint::Completions, r#"{"model":"a","prompt":[1,2,3]}"#).unwrap();
    assert_eq!((one.prompt_tokens(), one.choices()), (Tokens::new(6), 1));
}

#[test]
fn a_call_of_the_responses_api_is_read_by_its_own_fields() {
    let call = |body: &str| parse(Endpoint::Responses, body).unwrap();
    let body = r#"{"model":"a","max_tokens":7,"n":9,"max_output_tokens":300,"reasoning":{"effort":"low"},"metadata":{"task":"coding"},
        "text":{"format":{"type":"json_schema","name":"x","schema":{"type":"object"}}},"tools":[{"type":"function","name":"f"}],
        "input":[{"role":"user","content":[{"type":"input_text","text":"Hi"},{"type":"input_image","image_url":"https://a/b.png"},
        {"type":"input_file","file_data":"data:application/pdf;base64,QUJD"}]},{"type":"reasoning","summary":[],"encrypted_content":"QUJD"}]}"#;
    let read = call(body);
    assert_eq!((read.output_limit(), read.answers(), read.turns()), (Some(Tokens::new(300)), 1, 2));
    assert_eq!((read.effort(), read.declared_task(), read.images()), (Some(Effort::Low), Some("coding"), 1));
    let needs = [Need::Tools, Need::Vision, Need::Files, Need::JsonSchema, Need::Reasoning];
    assert!(needs.iter().all(|need| read.needs().contains(need)) && read.needs().len() == needs.len(), "{:?}", read.needs());
    assert!(read.prompt_tokens() <= read.prompt_tokens_at_most() && read.asks_for_usage() && read.unpriced().is_none());
    for hidden in [r#""background":true"#, r#""conversation":"c""#, r#""previous_response_id":"r""#, r#""tools":[{"type":"file_search"}]"#]
    {
        assert!(call(&format!("{{\"model\":\"a\",\"input\":\"x\",{hidden}}}")).unpriced().is_some(), "{hidden}");
    }
    for hidden in [r#"{"type":"item_reference","id":"rs_1"}"#, r#"{"content":[{"type":"input_file","file_id":"f"}]}"#] {
        assert!(call(&format!("{{\"model\":\"a\",\"input\":[{hidden}]}}")).unpriced().is_some(), "{hidden}");
    }
    let messages = |endpoint, part: &str| parse(endpoint, format!(r#"{{"model":"a","messages":[{{"content":[{part}]}}]}}"#)).unwrap();
    for (endpoint, part, is_hidden) in [
        (Endpoint::Chat, r#"{"type":"file","file":{"file_id":"f"}}"#, true),
        (Endpoint::Chat, r#"{"type":"file","file":{"file_data":"QUJD"}}"#, false),
        (Endpoint::Messages, r#"{"type":"document","source":{"type":"url","url":"https://a/b.pdf"}}"#, true),
        (Endpoint::Messages, r#"{"type":"document","source":{"type":"base64","data":"QUJD"}}"#, false),
        (Endpoint::Messages, r#"{"type":"image","source":{"type":"url","url":"https://a/b.png"}}"#, false),
    ] {
        assert_eq!(messages(endpoint, part).unpriced().is_some(), is_hidden, "{part}");
    }
    for open in [r#""background":false"#, r#""conversation":null"#, r#""tools":[{"type":"custom","name":"p"}]"#] {
        assert_eq!(call(&format!("{{\"model\":\"a\",\"input\":\"x\",{open}}}")).unpriced(), None, "{open}");
    }
    assert_eq!(parse(Endpoint::Responses, r#"{"model":"a","input":7}"#).unwrap_err().param.as_deref(), Some("input"));
    let none = BTreeMap::new();
    let edits = Edits {
        model: "a",
        include_usage: true,
        output_limit: Some(Tokens::new(5)),
        assumed_limit: Tokens::new(1),
        set: &none,
        lacks: Lacks::default(),
    };
    assert_eq!(written(&call(body), &edits), body.replace(":300", ":5"));
    let streamed = r#"{"model":"a","stream":true,"input":"x"}"#;
    assert_eq!(written(&call(streamed), &edits), streamed.replace("\"a\",", "\"a\",\"max_output_tokens\":5,"));
}
