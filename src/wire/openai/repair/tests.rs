use std::sync::Arc;

use bytes::Bytes;

use crate::units::{Endpoint, ModelName, Wire};
use crate::wire::{Tap, mend_reply, read_reply};

const NAMES: &str = r#""id":"i","object":"o","model":"m""#;

fn model() -> ModelName {
    ModelName::parse("asked").unwrap()
}

/// What a client that did not ask for usage gets of `events`.
fn streamed(endpoint: Endpoint, events: &[String]) -> Vec<String> {
    let mut tap = Tap::new(endpoint, false, None).naming(Arc::from("0192-ab"), model());
    let mut out = Vec::new();
    for event in events {
        tap.push(Bytes::from(format!("data: {event}\n\n")), &mut out).unwrap();
    }
    let text = String::from_utf8(out.concat()).unwrap();
    text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
}

/// Chunks of one choice, with a delta and a reason to end in each.
fn chunks(choices: &[(&str, &str)]) -> Vec<String> {
    let chunk = |(delta, finish): &(&str, &str)| format!(r#"{{{NAMES},"choices":[{{"delta":{delta},"finish_reason":{finish}}}],"z":1.0}}"#);
    choices.iter().map(chunk).collect()
}

fn whole(endpoint: Endpoint, body: &str) -> String {
    let body = Bytes::from(body.to_owned());
    let told = read_reply(if endpoint == Endpoint::Chat { Wire::Chat } else { Wire::Completions }, &body).unwrap();
    String::from_utf8(mend_reply(endpoint, body, &told, &Arc::from("0192-ab"), &model()).to_vec()).unwrap()
}

#[test]
fn only_what_is_faulty_changes_in_a_stream() {
    const ROLE: (&str, &str) = (r#"{"role":"assistant","content":""}"#, "null");
    const END: (&str, &str) = ("{}", r#""stop""#);
    type Chunks<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Chunks<'_>, Chunks<'_>); 13] = [
        ("nothing", &[ROLE, (r#"{"content":"a"}"#, "null"), END], &[ROLE, (r#"{"content":"a"}"#, "null"), END]),
        (
            "no role",
            &[(r#"{"content":"a"}"#, "null"), (r#"{ "content":"b"}"#, "null"), END],
            &[(r#"{"role":"assistant","content":"a"}"#, "null"), (r#"{ "content":"b"}"#, "null"), END],
        ),
        ("no role in an empty delta", &[("{ }", "null"), END], &[(r#"{"role":"assistant" }"#, "null"), END]),
        ("an empty role", &[(r#"{"role":"","content":"a"}"#, "null")], &[(r#"{"role":"assistant","content":"a"}"#, "null")]),
        ("a null role", &[(r#"{"content":"a","role":null}"#, "null")], &[(r#"{"content":"a","role":"assistant"}"#, "null")]),
        (
            "parts",
            &[ROLE, (r#"{"content":[{"type":"text","text":"\ud83d"},{"type":"text","text":"b"}]}"#, "null")],
            &[ROLE, (r#"{"content":"\ud83db"}"#, "null")],
        ),
        (
            "parts with thinking",
            &[ROLE, (r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},"c"]}"#, "null")],
            &[ROLE, (r#"{"reasoning_content":"hm","content":"c"}"#, "null")],
        ),
        (
            "calls without index",
            &[
                ROLE,
                (r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":""}}]}"#, "null"),
                (r#"{"tool_calls":[{"function":{"arguments":"{}"}}]}"#, "null"),
                (r#"{"tool_calls":[{"index":null,"id":"b","function":{"name":"f"}},{"id":"a","function":{"arguments":" "}}]}"#, "null"),
            ],
            &[
                ROLE,
                (r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#, "null"),
                (r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#, "null"),
                (
                    r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"f"}},{"index":0,"id":"a","function":{"arguments":" "}}]}"#,
                    "null",
                ),
            ],
        ),
        (
            "some calls with an index",
            &[
                ROLE,
                (r#"{"tool_calls":[{"index":4,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#, "null"),
                (r#"{"tool_calls":[{"function":{"name":"f","arguments":"{}"}}]}"#, "null"),
            ],
            &[
                ROLE,
                (r#"{"tool_calls":[{"index":4,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#, "null"),
                (r#"{"tool_calls":[{"index":5,"function":{"name":"f","arguments":"{}"}}]}"#, "null"),
            ],
        ),
        (
            "stop with a call",
            &[ROLE, (r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#, "null"), END],
            &[
                ROLE,
                (r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#, "null"),
                ("{}", r#""tool_calls""#),
            ],
        ),
        (
            "an empty list of calls",
            &[ROLE, (r#"{"content":"a","tool_calls":[]}"#, "null"), END],
            &[ROLE, (r#"{"content":"a","tool_calls":[]}"#, "null"), END],
        ),
        (
            "words of others",
            &[ROLE, (r#"{"content":"a"}"#, r#""""#), ("{}", r#""model_length""#)],
            &[ROLE, (r#"{"content":"a"}"#, "null"), ("{}", r#""length""#)],
        ),
        (
            "an empty word at the end",
            &[ROLE, (r#"{"content":"a"}"#, "null"), ("{}", r#""""#)],
            &[ROLE, (r#"{"content":"a"}"#, "null"), END],
        ),
    ];
    for (what, sent, wanted) in cases {
        assert_eq!(streamed(Endpoint::Chat, &chunks(sent)), chunks(wanted), "{what}");
    }
}

#[test]
fn choices_are_told_apart() {
    let sent = r#"{"choices":[{"index":1,"delta":{"content":"a"}},{"index":0,"delta":{"role":"assistant","tool_calls":[{"id":"x"}]}}]}"#;
    let end = r#"{"choices":[{"delta":{},"finish_reason":"stop","index":1},{"delta":{},"finish_reason":"stop","index":0}]}"#;
    let named = |text: &str| text.replacen('{', &format!("{{{NAMES},"), 1);
    assert_eq!(
        streamed(Endpoint::Chat, &[named(sent), named(end)]),
        [
            named(sent).replace(r#"{"content""#, r#"{"role":"assistant","content""#).replace(r#"{"id":"x"#, r#"{"index":0,"id":"x"#),
            named(end).replace(r#""stop","index":0"#, r#""tool_calls","index":0"#),
        ]
    );
}

#[test]
fn an_answer_without_names_gets_some() {
    let choices = r#""choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]"#;
    let own = r#""id":"chatcmpl-tg0192ab","object":"chat.completion.chunk","model":"asked""#;
    assert_eq!(
        streamed(Endpoint::Chat, &[format!("{{{choices}}}"), format!("{{{choices}, \"x\":1}}")]),
        [format!("{{{own},{choices}}}"), format!("{{{own},{choices}, \"x\":1}}"),]
    );
    // What one chunk says holds for all.
    let first = format!("{{{NAMES},{choices}}}");
    let second = streamed(Endpoint::Chat, &[first.clone(), format!("{{\"id\":null,{choices}}}")]);
    assert_eq!(second, [first, format!("{{\"object\":\"chat.completion.chunk\",\"model\":\"m\",\"id\":\"i\",{choices}}}")]);
    // What is no chunk is nobody's to mend.
    assert_eq!(streamed(Endpoint::Chat, &[r#"{"type":"new"}"#.into()]), [r#"{"type":"new"}"#]);
    let text = r#"{"choices":[{"index":0,"text":"a","finish_reason":null}]}"#;
    let made = r#"{"id":"cmpl-tg0192ab","object":"text_completion","model":"asked","choices":"#;
    assert_eq!(streamed(Endpoint::Completions, &[text.into()]), [text.replacen(r#"{"choices":"#, made, 1)]);
}

#[test]
fn only_what_is_faulty_changes_in_a_whole_answer() {
    let answer = |message: &str, finish: &str| format!("\n{{{NAMES} ,\"choices\":[{{\"message\":{message},\"finish_reason\":{finish}}}]}}");
    let called = r#"{"role":"assistant","content":null,"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}"#;
    let parts =
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}],"reasoning_content":null}"#;
    let joined = r#"{"role":"assistant","content":"a","reasoning_content":"hm"}"#;
    for (sent, wanted) in [
        (answer(called, r#""tool_calls""#), answer(called, r#""tool_calls""#)),
        (answer(called, r#""stop""#), answer(called, r#""tool_calls""#)),
        (answer(parts, r#""eos""#), answer(joined, r#""stop""#)),
        (answer(r#"{"content":"a"}"#, r#""stop""#), answer(r#"{"role":"assistant","content":"a"}"#, r#""stop""#)),
    ] {
        assert_eq!(whole(Endpoint::Chat, &sent), wanted);
    }
    let bare = r#"{"choices":[{"text":"a","finish_reason":"stop"}]}"#;
    let made = r#"{"id":"cmpl-tg0192ab","object":"text_completion","model":"asked","choices":"#;
    assert_eq!(whole(Endpoint::Completions, bare), bare.replacen(r#"{"choices":"#, made, 1));
    let hidden = answer(r#"{"role":"assistant","content":"a"}"#, r#""stop","usage":{"prompt_tokens":1,"completion_tokens":1,"x":1.0}"#);
    let shown = hidden.replacen('{', r#"{"usage":{"prompt_tokens":1,"completion_tokens":1,"x":1.0},"#, 1);
    assert_eq!(whole(Endpoint::Chat, &hidden), shown);
}
