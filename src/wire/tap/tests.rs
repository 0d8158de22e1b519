use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::wire::Class;

/// A stream's way through a tap: what the client got, and how it ended.
struct Run {
    tap: Tap,
    sent: Vec<u8>,
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
    Run { tap, sent: out.concat(), end }
}

fn whole(text: impl Into<Bytes>) -> Run {
    run(Tap::new(Endpoint::Chat, true, None), [text.into()])
}

/// The data of all events in what the client got.
fn data(sent: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(sent).unwrap();
    assert!(text.is_empty() || text.ends_with("\n\n"), "{text:?}");
    text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
}

fn content(word: &str) -> String {
    format!(
        "data: {NAMES},\"choices\":[{{\"index\":0,\"delta\":{{\"role\":\"assistant\",\"content\":\"{word}\"}},\"finish_reason\":null}}]}}\n\n"
    )
}

/// What every chunk says of itself.
const NAMES: &str = "{\"id\":\"i\",\"object\":\"o\",\"model\":\"m\"";
const STOP: &str =
    "data: {\"id\":\"i\",\"object\":\"o\",\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";

#[test]
fn the_usage_chunk_is_for_those_who_asked() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n";
    let stream = format!("{}{STOP}{usage}data: [DONE]\n\n", content("a"));
    for (asks, sent) in [(true, 4), (false, 3)] {
        let run = run(Tap::new(Endpoint::Chat, asks, None), [Bytes::from(stream.clone())]);
        assert_eq!((data(&run.sent).len(), run.tap.told().usage.is_some(), run.tap.is_done()), (sent, true, true));
    }
    let owed = "data: {\"id\":\"i\",\"model\":\"m\",\"created\":5,\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,\"cached_tokens\":4}}]}\n\n";
    let made = data(&whole(owed).sent).remove(1);
    let made: Value = serde_json::from_str(&made).unwrap();
    assert_eq!((made["id"].as_str(), made["created"].as_u64(), made["choices"].as_array().map(Vec::len)), (Some("i"), Some(5), Some(0)));
    assert_eq!((&made["usage"]["prompt_tokens"], &made["usage"]["prompt_tokens_details"]["cached_tokens"]), (&9.into(), &4.into()));
    let mut tap = Tap::new(Endpoint::Chat, true, None);
    tap.stand_in(Usage { output: Tokens::new(3), ..Usage::default() });
    let run = run(tap, [Bytes::from(content("a") + STOP)]);
    assert!(data(&run.sent)[2].contains("\"completion_tokens\":3"));
    assert_eq!(run.tap.told().usage, None);
}

#[test]
fn ordinary_events_go_out_as_one_slice() {
    let words = ["a", " word", "quo\\\"te", "\\n", "\u{6f6e}\u{4f4d}", "", "\\ud83d", "\\ude00", "x\\\\"];
    let text: String = words.map(content).concat();
    let mut tap = Tap::new(Endpoint::Chat, false, None);
    let mut out = Vec::new();
    tap.push(Bytes::from(content("first")), &mut out).unwrap();
    out.clear();
    let chunk = Bytes::from(text.repeat(3));
    tap.push(chunk.clone(), &mut out).unwrap();
    assert_eq!(out, std::slice::from_ref(&chunk));
    assert_eq!(out[0].as_ptr(), chunk.as_ptr());
    let bytes = 5 + 3 * words.concat().len() as u64;
    assert_eq!(tap.output_seen(), Tokens::new(bytes.div_ceil(4)));
}

#[test]
fn comments_and_browser_fields_stay_behind() {
    let stream = format!(": keep-alive\n\nid: 7\nretry: 3\n{}: x\n\nevent: note\ndata:{{\"note\":[]}}\n\n{STOP}", content("a"));
    let sent = String::from_utf8(whole(stream).sent).unwrap();
    let expected = format!("{}event: note\ndata: {{\"note\":[]}}\n\n{STOP}data: [DONE]\n\n", content("a"));
    assert_eq!(sent, expected);
    let joined = whole(format!("data: {{\"note\":\ndata: []}}\n\n{STOP}"));
    assert!(joined.sent.starts_with(b"data: {\"note\":\ndata: []}\n\n"));
}

#[test]
fn u18_an_error_in_the_first_event_comes_before_content() {
    let cases = [
        ("data: {\"error\":{\"message\":\"m\",\"type\":\"overloaded_error\"}}\n\n", Class::Overloaded),
        ("event: error\ndata: {\"message\":\"m\",\"code\":\"rate_limit_exceeded\"}\n\n", Class::RateLimited),
        ("data: [{\"error\":{\"code\":429,\"message\":\"m\"}}]\n\n", Class::RateLimited),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"error\"}]}\n\n", Class::ServerError),
        ("data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"insufficient_system_resource\"}]}\n\n", Class::Overloaded),
    ];
    for (stream, class) in cases {
        for text in [stream.to_owned(), format!(": ping\n\n{stream}"), stream.trim_end().to_owned()] {
            let run = whole(text.clone());
            let Err(ReplyFault::Error(told)) = run.end else { panic!("{text}") };
            assert_eq!((told.class, run.tap.has_content() && run.tap.told().finish.is_none()), (class, false), "{text}");
            assert!(run.sent.is_empty(), "{text}");
        }
    }
}

#[test]
fn u19_what_came_before_an_error_is_given_out() {
    let run = whole(format!("{}data: {{\"error\":{{\"message\":\"m\"}}}}\n\n{}", content("a"), content("b")));
    assert!(matches!(run.end, Err(ReplyFault::Error(_))));
    assert_eq!(String::from_utf8(run.sent).unwrap(), content("a"));
}

#[test]
fn u22_data_that_is_no_json_is_malformed() {
    for bad in ["data: hello\n\n", "data: {\"choices\":[}\n\n", "data: 7\n\n", "data: {\"a\":\"\u{0}\"}\n\n", "data: {} {}\n\n"] {
        let run = whole(format!("{}{}{bad}", content("a"), content("b")));
        assert!(matches!(run.end, Err(ReplyFault::Malformed(_))), "{bad:?}");
        assert_eq!(String::from_utf8(run.sent).unwrap(), content("a") + &content("b"));
    }
    let broken =
        [content("a").as_bytes(), &content("b").into_bytes().iter().map(|&b| if b == b'b' { 0xff } else { b }).collect::<Vec<_>>()]
            .concat();
    assert!(matches!(whole(broken).end, Err(ReplyFault::Malformed(_))));
}

#[test]
fn u23_u24_what_is_too_large_is_cut() {
    let long = whole(format!("data: {{\"x\":\"{}\"}}\n\n", "x".repeat(MAX_EVENT)));
    assert!(matches!(long.end, Err(ReplyFault::TooLarge(_))));
    let endless = std::iter::repeat_n(Bytes::from(content(&"x".repeat(1_000)).repeat(1_000)), 100);
    assert!(matches!(run(Tap::new(Endpoint::Chat, false, None), endless).end, Err(ReplyFault::TooLarge(_))));
    let limited = |limit, word: &str, count| {
        let words = std::iter::repeat_n(Bytes::from(content(word)), count);
        run(Tap::new(Endpoint::Chat, false, Some(Tokens::new(limit))), words.chain([Bytes::from_static(STOP.as_bytes())])).end
    };
    assert_eq!(limited(100, " longwords", 110), Ok(()));
    assert!(matches!(limited(100, " longwords", 300), Err(ReplyFault::TooLarge(_))));
    assert_eq!(limited(100, "a", 440), Ok(()), "an event for each character is not an event for each token");
}

#[test]
fn u20b_done_is_said_once_and_only_after_success() {
    for tail in ["", "data: [DONE]\n\n", "data: [DONE]", "data: [DO", "data: [DONE]\n\ndata: [DONE]\n\nnoise\0\n"] {
        let run = whole(format!("{}{STOP}{tail}", content("a")));
        assert_eq!((run.end, data(&run.sent).len()), (Ok(()), 3), "{tail}");
    }
    assert_eq!(whole("data: [DONE]\n\n").end, Err(ReplyFault::Truncated));
    assert_eq!(whole(content("a") + "data: [DONE]\n\n").end, Err(ReplyFault::Truncated));
    assert_eq!(whole("").end, Err(ReplyFault::Truncated));
}

#[test]
fn every_choice_must_end() {
    let event =
        |index: u8, finish: &str| format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{{}},\"finish_reason\":{finish}}}]}}\n\n");
    let two = || Tap::new(Endpoint::Chat, false, None).expecting(2);
    let stop = "\"stop\"";
    assert_eq!(run(two(), [Bytes::from(event(0, stop))]).end, Err(ReplyFault::Truncated));
    assert_eq!(run(two(), [Bytes::from(event(0, stop) + "data: [DONE]\n\n")]).end, Ok(()), "the provider sends one and says so");
    assert_eq!(run(two(), [Bytes::from(event(1, "null") + &event(0, stop))]).end, Err(ReplyFault::Truncated));
    assert_eq!(run(two(), [Bytes::from(event(1, stop) + &event(0, stop))]).end, Ok(()));
    let empty_words = content("a").replace("null", "\"\"");
    assert_eq!(whole(empty_words.repeat(2)).end, Err(ReplyFault::Truncated), "an empty word beside content is no end");
    assert_eq!(whole(empty_words + &event(0, "\"\"")).end, Ok(()));
}

#[test]
fn the_commit_point_is_the_first_content() {
    let delta = |delta: &str| format!("data: {{\"choices\":[{{\"delta\":{delta},\"finish_reason\":null}}]}}\n\n");
    let cases = [
        (delta("{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}"), false),
        (delta("{\"content\":null,\"reasoning_content\":\"\",\"tool_calls\":[]}"), false),
        (delta("{}"), false),
        ("data: {\"choices\":[],\"prompt_filter_results\":[{\"a\":\"b\"}]}\n\n".into(), false),
        (": keep-alive\n\n".into(), false),
        (delta("{\"content\":\"x\"}"), true),
        (delta("{\"reasoning\":\"x\"}"), true),
        (delta("{\"refusal\":\"x\"}"), true),
        (
            delta("{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}"),
            true,
        ),
        (delta("{\"content\":[{\"type\":\"text\",\"text\":\"x\"}]}"), true),
        (delta("{\"content\":[{\"type\":\"text\",\"text\":\"\"}]}"), false),
        (STOP.into(), true),
    ];
    for (event, has_content) in cases {
        let mut tap = Tap::new(Endpoint::Chat, false, None);
        tap.push(Bytes::from(event.clone()), &mut Vec::new()).unwrap();
        assert_eq!(tap.has_content(), has_content, "{event}");
    }
}

#[test]
fn u33_usage_below_what_was_streamed_is_not_believed() {
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    let run = whole(content(" longwords").repeat(100) + STOP + usage);
    assert_eq!((run.end, run.tap.told().usage, run.tap.told().usage_flagged), (Ok(()), None, true));
}

proptest! {
    #[test]
    fn any_stream_is_read_the_same_in_any_split(
        words in proptest::collection::vec("[a-z\u{e9}\u{6f6e} ]{0,6}|\\\\n|\\\\u00e9", 1..8),
        noise in proptest::collection::vec(prop_oneof![Just(": ping\n\n"), Just("id: 1\n"), Just("\n"), Just("")], 8),
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        cuts in proptest::collection::vec(0_usize..2_000, 0..8),
    ) {
        let events: String = words.iter().zip(&noise).flat_map(|(word, noise)| [(*noise).to_owned(), content(word)]).collect();
        let bytes = Bytes::from((events + STOP).replace('\n', line_end));
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let mut from = 0;
        let reads: Vec<Bytes> = cuts.into_iter().map(|cut| { let read = bytes.slice(from..cut); from = cut; read }).collect();
        let run = run(Tap::new(Endpoint::Chat, false, None), reads);
        let expected: String = words.iter().map(|word| content(word)).collect::<String>() + STOP + "data: [DONE]\n\n";
        prop_assert_eq!(run.end, Ok(()));
        prop_assert_eq!(String::from_utf8(run.sent).unwrap(), expected);
        prop_assert_eq!(run.tap.output_seen().count(), (words.concat().len() as u64).div_ceil(4));
    }

    #[test]
    fn nothing_crashes_a_tap(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
        let bytes = Bytes::from(bytes);
        let cut = cut.min(bytes.len());
        prop_assert!(run(Tap::new(Endpoint::Chat, true, None), [bytes.slice(..cut), bytes.slice(cut..)]).end.is_err());
    }
}
