//! What a relay allocates: the body that it reads and a constant, whatever the body's length. A program of its own, because its
//! allocator counts every byte.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on ends here, helper functions included")]

use std::alloc::System;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tollgate::app::{App, Options};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The lengths of the bodies that are compared. What connections read at once grows to some 400 KiB and no further: both are above.
const SIZES: [usize; 2] = [1 << 20, 4 << 20];
/// What is allocated for every hundred bytes of a body that is read and not copied. Buffers that end within a read make it more or less;
/// a copy would make it two hundred.
const ONE_COPY: Range<usize> = 30..150;
/// The models that answer, each of a provider of its own.
const MODELS: [&str; 2] = ["small/m", "large/m"];
/// The largest message, request or answer, with its head.
const ROOM: usize = 16 << 20;
const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One format in front and behind.
struct Format {
    name: &'static str,
    path: &'static str,
    /// What its provider's entry says beside address and models.
    entry: &'static str,
    /// A request around the messages.
    request: fn(&str, bool) -> String,
    /// One message that says a text.
    message: fn(&str) -> String,
    /// A whole answer that says a text.
    answer: fn(&str) -> String,
    /// The events of a stream before, of and after its texts.
    begin: &'static str,
    delta: fn(&str) -> String,
    end: &'static str,
}

const FORMATS: [Format; 3] = [
    Format {
        name: "chat",
        path: "/v1/chat/completions",
        entry: "format: openai",
        request: |messages, stream| format!(r#"{{"model":"MODEL","stream":{stream},"messages":[{messages}]}}"#),
        message: |text| format!(r#"{{"role":"user","content":"{text}"}}"#),
        answer: |text| {
            format!(
                r#"{{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":900000,"total_tokens":900009}}}}"#
            )
        },
        begin: "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n",
        delta: |text| {
            format!(
                "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}]}}\n\n"
            )
        },
        end: "data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
              data: {\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":900000,\"total_tokens\":900009}}\n\n\
              data: [DONE]\n\n",
    },
    Format {
        name: "messages",
        path: "/v1/messages",
        entry: "format: anthropic",
        request: |messages, stream| format!(r#"{{"model":"MODEL","max_tokens":900000,"stream":{stream},"messages":[{messages}]}}"#),
        message: |text| format!(r#"{{"role":"user","content":[{{"type":"text","text":"{text}"}}]}}"#),
        answer: |text| {
            format!(
                r#"{{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn","stop_sequence":null,"usage":{{"input_tokens":9,"output_tokens":900000}}}}"#
            )
        },
        begin: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n\
                event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        delta: |text| {
            format!(
                "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\n\n"
            )
        },
        end: "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
              event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":900000}}\n\n\
              event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    },
    Format {
        name: "responses",
        path: "/v1/responses",
        entry: "format: openai, speaks: [responses]",
        request: |messages, stream| format!(r#"{{"model":"MODEL","stream":{stream},"input":[{messages}]}}"#),
        message: |text| format!(r#"{{"role":"user","content":"{text}"}}"#),
        answer: |text| {
            format!(
                r#"{{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"m","output":[{{"type":"message","id":"msg_1","role":"assistant","status":"completed","content":[{{"type":"output_text","text":"{text}","annotations":[]}}]}}],"usage":{{"input_tokens":9,"output_tokens":900000,"total_tokens":900009}}}}"#
            )
        },
        begin: "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"in_progress\",\"model\":\"m\",\"output\":[]}}\n\n",
        delta: |text| {
            format!(
                "event: response.output_text.delta\ndata: {{\"type\":\"response.output_text.delta\",\"sequence_number\":1,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"{text}\"}}\n\n"
            )
        },
        end: "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":1,\"status\":\"completed\",\"model\":\"m\",\"output\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":900000,\"total_tokens\":900009}}}\n\n",
    },
];

impl Format {
    /// A request of about `size` bytes for `model`, its text in one message or in many.
    fn asked(&self, model: &str, size: usize, piece: usize, stream: bool) -> Vec<u8> {
        let messages: Vec<String> = texts(size, piece).map(|text| (self.message)(text)).collect();
        let body = (self.request)(&messages.join(","), stream).replace("MODEL", model);
        let path = self.path;
        let length = body.len();
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
            .into()
    }

    /// The whole answer of about `size` bytes, as it goes over the wire.
    fn whole(&self, size: usize) -> Vec<u8> {
        let body = (self.answer)(&TEXT.repeat(size / TEXT.len()));
        format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into()
    }

    /// The stream of about `size` bytes, its text in pieces.
    fn streamed(&self, size: usize, piece: usize) -> Vec<u8> {
        let mut text = STREAM.to_owned();
        let deltas = texts(size, piece).map(|text| (self.delta)(text));
        for event in std::iter::once(self.begin.to_owned()).chain(deltas).chain([self.end.to_owned()]) {
            write!(text, "{:x}\r\n{event}\r\n", event.len()).unwrap();
        }
        text.push_str("0\r\n\r\n");
        text.into()
    }
}

const TEXT: &str = "It is a truth universally acknowledged; caf\u{e9}s and \\\"quotes\\\" included. \\n";

fn texts(size: usize, piece: usize) -> impl Iterator<Item = &'static str> {
    static LONG: LazyLock<String> = LazyLock::new(|| TEXT.repeat(SIZES[1] / TEXT.len()));
    let each = (piece / TEXT.len()).max(1) * TEXT.len();
    std::iter::repeat_n(&LONG[..each], (size / each).max(1))
}

/// A provider that answers every request with the same bytes and allocates nothing while it does.
fn provider(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || serve(stream, &answer));
        }
    });
    address
}

fn serve(mut stream: TcpStream, answer: &[u8]) {
    stream.set_nodelay(true).unwrap();
    let mut room = vec![0; ROOM];
    loop {
        let (mut filled, mut wanted) = (0, usize::MAX);
        while filled < wanted {
            match stream.read(&mut room[filled..]) {
                Ok(read) if read > 0 => filled += read,
                _ => return,
            }
            if wanted == usize::MAX {
                wanted = length_of(&room[..filled]).unwrap_or(usize::MAX);
            }
        }
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

/// How long a message with a declared length is, once its head is there.
fn length_of(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    Some(end + length.parse::<usize>().unwrap())
}

/// Held by the one test that counts: the counter sees the whole process.
static COUNTS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// What one exchange took.
#[derive(Clone, Copy, Debug)]
struct Took {
    /// Bytes allocated in all.
    allocated: usize,
    /// The most that was held at once, as far as the client saw.
    held: usize,
}

/// A client that keeps its connection, and allocates nothing while it asks.
struct Client {
    stream: TcpStream,
    room: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, room: vec![0; ROOM] }
    }

    /// Sends a request and reads its answer to the end.
    fn ask(&mut self, request: &[u8]) -> Took {
        let region = Region::new(ALLOCATOR);
        self.stream.write_all(request).unwrap();
        let (mut filled, mut held) = (0, 0);
        loop {
            let read = self.stream.read(&mut self.room[filled..]).unwrap();
            assert!(read > 0, "the connection ended");
            filled += read;
            let now = region.change();
            held = held.max(now.bytes_allocated.saturating_sub(now.bytes_deallocated));
            let so_far = &self.room[..filled];
            let is_whole = length_of(so_far).map_or_else(|| so_far.ends_with(b"\r\n0\r\n\r\n"), |length| filled == length);
            if is_whole {
                break;
            }
        }
        assert!(self.room.starts_with(b"HTTP/1.1 200 OK"), "{}", String::from_utf8_lossy(&self.room[..filled.min(2_000)]));
        Took { allocated: region.change().bytes_allocated, held }
    }

    /// Some exchanges, once the connections know how much comes.
    fn asks(&mut self, request: &[u8]) -> Vec<Took> {
        (0..6).map(|_| self.ask(request)).skip(2).collect()
    }
}

/// What is asked of a provider that answers what.
struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
}

/// For every hundred bytes that a body is longer.
#[derive(Debug)]
struct Growth {
    allocated: usize,
    held: usize,
}

/// How much more the second exchange takes than the first. Where figures differ from one
/// time to the next, by buffers that are there already or not, those of the least growth count.
async fn growth(format: &Format, exchanges: [Exchange; 2]) -> Growth {
    let folder = std::env::temp_dir().join(format!("tollgate-allocations-{}", std::process::id()));
    let [small, large] = exchanges;
    let length = |exchange: &Exchange| exchange.request.len() + exchange.answer.len();
    let longer = length(&large) - length(&small);
    let app = start(format, &folder, [small.answer, large.answer]).await;
    let address = app.listen();
    let asked = tokio::task::spawn_blocking(move || [small.request, large.request].map(|request| Client::new(address).asks(&request)));
    let [small, large] = asked.await.unwrap();
    app.stop(std::future::pending()).await;
    std::fs::remove_dir_all(&folder).ok();
    let growth = |of: fn(&Took) -> usize| {
        let (most, least) = (small.iter().map(of).max().unwrap(), large.iter().map(of).min().unwrap());
        least.saturating_sub(most) * 100 / longer
    };
    Growth { allocated: growth(|took| took.allocated), held: growth(|took| took.held) }
}

/// A daemon with a provider `small` and a provider `large`.
async fn start(format: &Format, folder: &Path, answers: [Vec<u8>; 2]) -> Arc<App> {
    let mut routes = "version: 1\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0, early_head: off }\nproviders:\n".to_owned();
    for (name, answer) in ["small", "large"].into_iter().zip(answers) {
        let (entry, address) = (format.entry, provider(answer));
        writeln!(routes, "  {name}: {{ {entry}, base_url: \"http://{address}/v1\", models: {{ m: {{ context: 9M }} }} }}").unwrap();
    }
    routes.push_str("default: { chain: [requested] }\n");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("routes.yaml"), routes).unwrap();
    let options = Options::new(folder.join("routes.yaml"), folder.join("state"), Box::new(std::io::sink()));
    App::start(options).await.unwrap_or_else(|error| panic!("{error:#}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_allocates_the_body_and_nothing_that_grows_with_it() {
    let _alone = COUNTS.lock().await;
    for format in &FORMATS {
        // Of many small messages the places are kept, too.
        for (piece, is_streaming) in [(usize::MAX, false), (usize::MAX, true), (1_000, true), (75, false)] {
            let answer = if is_streaming { format.streamed(1, 1) } else { format.whole(1) };
            let exchange = |at: usize| Exchange {
                request: format.asked(MODELS[at], SIZES[at], piece.min(SIZES[at]), is_streaming),
                answer: answer.clone(),
            };
            let growth = growth(format, [exchange(0), exchange(1)]).await;
            assert!(ONE_COPY.contains(&growth.allocated), "{}, request in pieces of {piece}: {growth:?}", format.name);
        }
        let exchange = |at: usize| Exchange { request: format.asked(MODELS[at], 1, 1, false), answer: format.whole(SIZES[at]) };
        let growth = growth(format, [exchange(0), exchange(1)]).await;
        assert!(ONE_COPY.contains(&growth.allocated), "{}, whole answer: {growth:?}", format.name);
    }
}

/// A stream is passed on in pieces, each gone when it is written: a long one takes no more room than a short one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_streams_relay_holds_nothing_that_grows_with_it() {
    let _alone = COUNTS.lock().await;
    for format in &FORMATS {
        for piece in [75, 20_000] {
            let exchange =
                |at: usize| Exchange { request: format.asked(MODELS[at], 1, 1, true), answer: format.streamed(SIZES[at], piece) };
            let growth = growth(format, [exchange(0), exchange(1)]).await;
            // What is allocated on the way depends on where the reads cut the events, each of which is put together and gone at once.
            assert!(growth.held < 20 && growth.allocated < 800, "{}, stream in pieces of {piece}: {growth:?}", format.name);
        }
    }
}
