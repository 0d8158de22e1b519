//! A daemon on ports of its own, providers that answer by script, and a client that sees every byte.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use http::HeaderName;
use http_body::Body as _;
use tollgate::app::{App, Options, Unstarted};
use tollgate::flow::{Asked, Explained, Parts, Running};
use tollgate::record::{Sink, SinkThread};
use tollgate::rules::{Revision, RuleSet};
use tollgate::units::{Clock, Endpoint};
use tollgate::wire::Call;

/// Long enough for anything on loopback; a test that needs it all has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of its own, gone when dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let path = std::env::temp_dir().join(format!("tollgate-it-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The daemon, in this process, on ports that the system chose.
pub(crate) struct Daemon {
    pub(crate) app: Arc<App>,
    pub(crate) folder: Folder,
    pub(crate) records: Records,
}

/// What the daemon recorded, line by line.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<u8>>>);

impl Records {
    pub(crate) fn all(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records so far, once there are `count`.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<serde_json::Value> {
        eventually(|| Some(self.all()).filter(|all| all.len() >= count)).await
    }
}

impl std::io::Write for Records {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let due = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(tokio::time::Instant::now() < due, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Daemon {
    /// Starts on a file. `server:` with free ports is put before it unless it has one.
    pub(crate) async fn start(routes: &str) -> Self {
        Self::start_with(routes, |_| {}).await
    }

    pub(crate) async fn start_with(routes: &str, change: impl FnOnce(&mut Options)) -> Self {
        let folder = Folder::new();
        std::fs::write(folder.file("routes.yaml"), with_server(routes)).unwrap();
        Self::start_in(folder, change).await.unwrap_or_else(|(_, error)| panic!("the daemon did not start: {error:#}"))
    }

    /// Starts on the `routes.yaml` and the state that a folder holds.
    pub(crate) async fn start_in(folder: Folder, change: impl FnOnce(&mut Options)) -> Result<Self, (Folder, Unstarted)> {
        let records = Records::default();
        let mut options = Options::new(folder.file("routes.yaml"), folder.path().join("state"), Box::new(records.clone()));
        change(&mut options);
        match App::start(options).await {
            Ok(app) => Ok(Self { app, folder, records }),
            Err(error) => Err((folder, error)),
        }
    }

    /// Stops, and leaves the folder for another.
    pub(crate) async fn stop(self) -> Folder {
        self.app.stop(std::future::pending()).await;
        self.folder
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.file("routes.yaml")
    }

    /// Writes the file as an editor does: whole, under another name, then renamed.
    pub(crate) fn write(&self, routes: &str) {
        let new = self.folder.file("routes.yaml.new");
        std::fs::write(&new, with_server(routes)).unwrap();
        std::fs::rename(new, self.file()).unwrap();
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        self.app.status()
    }

    pub(crate) fn revision(&self) -> String {
        self.status()["revision"].as_str().unwrap().to_owned()
    }

    /// The last reload, once there is one that `is_wanted`.
    pub(crate) async fn wait_for_reload(&self, is_wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
        eventually(|| Some(self.status()["last_reload"].clone()).filter(&is_wanted)).await
    }

    /// Waits until a file is refused, and answers what was said of it.
    pub(crate) async fn wait_for_refusal(&self) -> String {
        self.wait_for_reload(|last| last["ok"] == false).await["text"].as_str().unwrap().to_owned()
    }

    /// How many reloads were tried so far, and how many were refused.
    pub(crate) async fn reloads(&self) -> (i64, i64) {
        (self.metric("tollgate_config_reloads_total").await, self.metric("tollgate_config_reload_failures_total").await)
    }

    /// Waits until another revision than `old` is in force.
    pub(crate) async fn wait_for_another(&self, old: &str) -> String {
        eventually(|| Some(self.revision()).filter(|revision| revision != old)).await
    }

    /// One chat call for `auto`, not streamed.
    pub(crate) async fn chat(&self) -> Got {
        self.ask(&chat(false)).await
    }

    /// One streamed chat call.
    pub(crate) async fn stream(&self) -> Got {
        self.ask(&chat(true)).await
    }

    /// Posts a body to the chat endpoint.
    pub(crate) async fn ask(&self, body: &str) -> Got {
        self.post("/v1/chat/completions", &[], body).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &str) -> Got {
        got(self.app.listen(), &post(path, headers, body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> Got {
        got(self.app.listen(), &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await
    }

    pub(crate) async fn admin(&self, path: &str) -> Got {
        got(self.app.admin(), &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")).await
    }

    /// The value of one metric line, or zero.
    pub(crate) async fn metric(&self, line: &str) -> i64 {
        let text = self.admin("/metrics").await.body;
        text.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok()).unwrap_or(0)
    }
}

/// A file's text with a `server:` of free ports, unless it brings one.
pub(crate) fn with_server(routes: &str) -> String {
    if routes.contains("server:") {
        return routes.to_owned();
    }
    routes.replacen("version: 1\n", "version: 1\nserver: { listen: 127.0.0.1:0, admin: 127.0.0.1:0, early_head: off }\n", 1)
}

/// A chat call's body.
pub(crate) fn chat(stream: bool) -> String {
    format!(r#"{{"model":"auto","messages":[{{"role":"user","content":"Say hello."}}],"stream":{stream}}}"#)
}

/// A POST as it goes over the wire.
pub(crate) fn post(path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let mut text = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n");
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    write!(text, "content-length: {}\r\n\r\n{body}", body.len()).unwrap();
    text
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// False when the connection ended before the body did.
    pub(crate) is_whole: bool,
}

impl Got {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// `error.code` of an error's body.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn target(&self) -> &str {
        self.header("x-tollgate-target").unwrap_or_default()
    }

    /// The text of the first choice, streamed or not.
    pub(crate) fn text(&self) -> String {
        if !self.body.starts_with("data:") && !self.body.starts_with(':') {
            return self.json()["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned();
        }
        self.events().iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(ToOwned::to_owned)).collect()
    }

    /// The events of a stream that are JSON.
    pub(crate) fn events(&self) -> Vec<serde_json::Value> {
        self.body.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok()).collect()
    }

    /// `error.code` of a stream's last event.
    pub(crate) fn stream_code(&self) -> String {
        self.events().last().and_then(|event| event["error"]["code"].as_str().map(ToOwned::to_owned)).unwrap_or_default()
    }

    pub(crate) fn is_done(&self) -> bool {
        self.body.contains("data: [DONE]")
    }
}

/// Sends `request` on a connection of its own and reads the answer to its end.
pub(crate) async fn got(address: SocketAddr, request: &str) -> Got {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A reset is an end, too: what came before it counts.
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("no end of the answer").ok();
    parse(&bytes)
}

/// A connection whose answer is read as it comes.
pub(crate) struct Line {
    stream: TcpStream,
    pub(crate) bytes: Vec<u8>,
}

impl Line {
    /// Opens a connection and sends `text`.
    pub(crate) async fn send(address: SocketAddr, text: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        Self { stream, bytes: Vec::new() }
    }

    pub(crate) async fn send_more(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Says that nothing more is sent, and listens on.
    pub(crate) async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads until `text` has come.
    pub(crate) async fn until(&mut self, text: &str) {
        while !self.text().contains(text) {
            assert!(self.read().await > 0, "the connection ended before {text:?}: {:?}", self.text());
        }
    }

    /// All that came so far.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Reads some more; 0 at the end, which a reset is, too.
    pub(crate) async fn read(&mut self) -> usize {
        tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.bytes)).await.expect("nothing came").unwrap_or(0)
    }

    /// Reads to the end.
    pub(crate) async fn rest(mut self) -> Got {
        while self.read().await > 0 {}
        parse(&self.bytes)
    }
}

/// Everything between the socket and the provider, without a socket: a rule set with its counters, asked directly.
pub(crate) struct Inside {
    pub(crate) parts: Arc<Parts>,
    pub(crate) running: Arc<Running>,
    pub(crate) records: Records,
    sink: Option<SinkThread>,
}

impl Inside {
    /// Compiles a file in which no variable is set.
    pub(crate) fn of(routes: &str) -> Self {
        Self::at(Clock::manual(), routes)
    }

    /// The same with another clock.
    pub(crate) fn at(clock: Clock, routes: &str) -> Self {
        let records = Records::default();
        let (sink, thread) = Sink::to(records.clone());
        let budgets = tollgate::admit::Budgets::offline(clock.clone());
        let parts = Arc::new(Parts::new(clock, budgets, tollgate::upstream::Resolver::System, sink));
        let running = Arc::new(parts.adopt(compiled(routes)));
        Self { parts, running, records, sink: Some(thread) }
    }

    /// The same parts with another file.
    pub(crate) fn reloaded(self, routes: &str) -> Self {
        Self { running: Arc::new(self.parts.adopt(compiled(routes))), ..self }
    }

    /// A request as the server hands it on.
    pub(crate) fn asked(&self, endpoint: Endpoint, headers: &[(&str, &str)], body: &str) -> Asked {
        let call = Call::parse(endpoint, body.to_owned().into(), 4).unwrap_or_else(|bad| panic!("{bad:?} in {body}"));
        let headers = headers.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect();
        let (accepted, at) = (self.parts.clock.now(), self.parts.clock.wall());
        Asked { request_id: "1".into(), call: Arc::new(call), headers: Arc::new(headers), caller: None, accepted, at }
    }

    pub(crate) fn explain(&self, asked: &Asked) -> Explained {
        let features = tollgate::flow::features(&asked.call, &asked.headers).unwrap();
        tollgate::flow::explain(&self.running, &self.running.recognised(features))
    }

    pub(crate) async fn handle(&self, asked: Asked) -> Got {
        Self::read(Arc::clone(&self.parts).handle(Arc::clone(&self.running), asked).await).await
    }

    /// An answer down to its end.
    pub(crate) async fn read(answer: tollgate::flow::Answer) -> Got {
        let value = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
        let headers = answer.headers.iter().map(|(name, text)| (name.to_string(), value(text))).collect();
        let mut got = Got { status: answer.status.as_u16(), headers, body: String::new(), is_whole: true };
        let mut body = answer.body;
        while let Some(frame) = std::future::poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
            let Ok(frame) = frame else {
                got.is_whole = false;
                break;
            };
            got.body.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        got
    }

    /// The index of a target.
    pub(crate) fn target(&self, name: &str) -> usize {
        self.running.rules().targets().iter().position(|target| target.name.as_str() == name).unwrap()
    }

    /// Every record, once all have been written.
    pub(crate) fn into_records(mut self) -> Vec<serde_json::Value> {
        let thread = self.sink.take().unwrap();
        assert!(thread.finish(PATIENCE));
        self.records.all()
    }
}

/// A file in which no variable is set.
fn compiled(routes: &str) -> RuleSet {
    let nothing = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
    let env = tollgate::config::Env { variable: &|_| None, file: &nothing, credential: &nothing };
    let (checked, findings) = tollgate::config::read(&tollgate::config::Sources::new("routes.yaml", routes), &env);
    let checked = checked.unwrap_or_else(|| panic!("{findings:#?}\n{routes}"));
    RuleSet::from((checked, Revision { number: 1, hash: "0".repeat(64) }))
}

/// Reads an answer's bytes.
pub(crate) fn parse(bytes: &[u8]) -> Got {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head: {:?}", String::from_utf8_lossy(bytes)));
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let find = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let rest = &bytes[end + 4..];
    let (body, is_whole) = if find("transfer-encoding") == Some("chunked") {
        dechunked(rest)
    } else {
        let length: usize = find("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        (rest.to_vec(), rest.len() == length)
    };
    Got { status, headers, body: String::from_utf8(body).unwrap(), is_whole }
}

fn dechunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(line) = rest.windows(2).position(|window| window == b"\r\n") else { return (body, false) };
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        rest = &rest[line + 2..];
        if size == 0 {
            return (body, rest == b"\r\n");
        }
        if rest.len() < size + 2 {
            body.extend_from_slice(&rest[..rest.len().min(size)]);
            return (body, false);
        }
        body.extend_from_slice(&rest[..size]);
        rest = &rest[size + 2..];
    }
}
/// One thing a scripted provider does.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Send(Vec<u8>),
    Wait(Duration),
    /// Nothing, until the test opens the gate.
    Gate(Gate),
    /// Nothing, until the other side closes.
    Hang,
    /// Ends the connection: FIN.
    Close,
    /// Ends the connection: RST.
    Reset,
}

/// Holds up a script until it is opened; each opening lets one through.
#[derive(Clone, Debug)]
pub(crate) struct Gate(Arc<tokio::sync::Semaphore>);

impl Gate {
    pub(crate) fn shut() -> Self {
        Self(Arc::new(tokio::sync::Semaphore::new(0)))
    }

    /// Lets one through.
    pub(crate) fn open(&self) {
        self.0.add_permits(1);
    }

    /// Lets everyone through from now on.
    pub(crate) fn open_wide(&self) {
        self.0.close();
    }

    pub(crate) async fn passed(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}

pub(crate) fn send(text: impl Into<Vec<u8>>) -> Act {
    Act::Send(text.into())
}

/// A request that a provider saw.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: String,
    /// Which connection brought it, counted from 0.
    pub(crate) connection: usize,
}

impl Seen {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

/// A provider on loopback that does, for its n-th request, what the n-th script says; the last script serves all later ones.
pub(crate) struct Provider {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    closed: Arc<AtomicUsize>,
    changed: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Provider {
    pub(crate) async fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, scripts)
    }

    /// Answers every request with the same acts.
    pub(crate) async fn always(acts: Vec<Act>) -> Self {
        Self::start(vec![acts]).await
    }

    pub(crate) fn on(listener: TcpListener, scripts: Vec<Vec<Act>>) -> Self {
        let address = listener.local_addr().unwrap();
        let (seen, closed, changed) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default(), Arc::<Notify>::default());
        let shared = (Arc::clone(&seen), Arc::clone(&closed), Arc::clone(&changed));
        let scripts = Arc::new(scripts);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            for connection in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (seen, closed, changed) = shared.clone();
                let scripts = Arc::clone(&scripts);
                connections.spawn(async move {
                    serve(stream, connection, &scripts, &seen).await;
                    closed.fetch_add(1, Ordering::Relaxed);
                    changed.notify_waiters();
                });
            }
        });
        Self { address, seen, closed, changed, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Waits until it has seen that many requests.
    pub(crate) async fn wait_for_requests(&self, count: usize) -> Vec<Seen> {
        eventually(|| Some(self.seen()).filter(|seen| seen.len() >= count)).await
    }

    /// Waits until that many of its connections have ended.
    pub(crate) async fn wait_for_closed(&self, count: usize) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                if self.closed.load(Ordering::Relaxed) >= count {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("the connection stayed open");
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, connection: usize, scripts: &[Vec<Act>], seen: &Mutex<Vec<Seen>>) {
    stream.set_nodelay(true).unwrap();
    let mut unread = Vec::new();
    while let Some((head, body)) = read_request(&mut stream, &mut unread).await {
        let turn = {
            let mut seen = seen.lock().unwrap();
            seen.push(Seen { head, body, connection });
            seen.len() - 1
        };
        for act in &scripts[turn.min(scripts.len() - 1)] {
            match act {
                Act::Send(bytes) => {
                    if stream.write_all(bytes).await.is_err() {
                        return;
                    }
                }
                Act::Wait(time) => tokio::time::sleep(*time).await,
                Act::Gate(gate) => gate.passed().await,
                Act::Hang => {
                    let mut sink = [0; 64];
                    while stream.read(&mut sink).await.is_ok_and(|read| read > 0) {}
                    return;
                }
                Act::Close => return,
                Act::Reset => {
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                    return;
                }
            }
        }
    }
}

async fn read_request(stream: &mut TcpStream, unread: &mut Vec<u8>) -> Option<(String, String)> {
    let mut chunk = vec![0; 16 << 10];
    loop {
        if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(unread[..end].to_vec()).unwrap();
            let length = head
                .lines()
                .filter_map(|line| line.split_once(':'))
                .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
                .map_or(0, |(_, value)| value.trim().parse::<usize>().unwrap());
            if unread.len() >= end + 4 + length {
                let body = String::from_utf8(unread[end + 4..end + 4 + length].to_vec()).unwrap();
                unread.drain(..end + 4 + length);
                return Some((head, body));
            }
        }
        match stream.read(&mut chunk).await {
            Ok(read) if read > 0 => unread.extend_from_slice(&chunk[..read]),
            _ => return None,
        }
    }
}

/// A whole JSON answer.
pub(crate) fn json_answer(status: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// A chat answer that says `text` and used 9 + 3 tokens.
pub(crate) fn completion(text: &str) -> String {
    format!(
        r#"{{"id":"c1","object":"chat.completion","created":1,"model":"m","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}}}}"#
    )
}

/// The acts of a sound answer, not streamed.
pub(crate) fn answers(text: &str) -> Vec<Act> {
    vec![send(json_answer("200 OK", &completion(text)))]
}

/// The head of an event stream.
pub(crate) const STREAM_HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";

/// One chunk of a chunked body.
pub(crate) fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

/// One event with a role, a text or a finish.
pub(crate) fn delta(json: &str, finish: Option<&str>) -> String {
    let finish = finish.map_or("null".to_owned(), |finish| format!("\"{finish}\""));
    format!(
        "data: {{\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{{\"index\":0,\"delta\":{json},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

pub(crate) fn content(text: &str) -> String {
    delta(&format!("{{\"content\":\"{text}\"}}"), None)
}

/// The acts of a sound stream of two words, with usage.
pub(crate) fn streams(first: &str, second: &str) -> Vec<Act> {
    let usage = r#"data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;
    let events = [
        delta(r#"{"role":"assistant","content":""}"#, None),
        content(first),
        content(second),
        delta("{}", Some("stop")),
        format!("{usage}\n\n"),
        "data: [DONE]\n\n".into(),
    ];
    let chunks: String = events.iter().map(|event| chunk(event)).collect();
    vec![send(format!("{STREAM_HEAD}{chunks}0\r\n\r\n"))]
}

/// Answers streamed calls with a stream and others whole: for a provider that must simply work.
pub(crate) async fn sound_provider(text: &str, streamed: bool) -> Provider {
    Provider::always(if streamed { streams(text, "!") } else { answers(text) }).await
}

/// A file whose default chain is `targets` in order, each provider named `p0`, `p1`, … with a model `m`.
pub(crate) fn routes(providers: &[&Provider], settings: &str) -> String {
    let urls: Vec<String> = providers.iter().map(|provider| provider.url()).collect();
    routes_to(&urls.iter().map(String::as_str).collect::<Vec<_>>(), settings)
}

/// The same for URLs. `settings` go into every provider's entry.
pub(crate) fn routes_to(urls: &[&str], settings: &str) -> String {
    let mut text = "version: 1\nproviders:\n".to_owned();
    for (index, url) in urls.iter().enumerate() {
        let settings = if settings.is_empty() { String::new() } else { format!(", {settings}") };
        writeln!(text, "  p{index}: {{ format: openai, base_url: \"{url}\", models: {{ m: {{}} }}{settings} }}").unwrap();
    }
    let chain: Vec<String> = (0..urls.len()).map(|index| format!("p{index}/m")).collect();
    writeln!(text, "default: {{ chain: [{}] }}", chain.join(", ")).unwrap();
    text
}

/// A request on a connection of its own, whose answer is read step by step.
pub(crate) struct OpenCall {
    stream: TcpStream,
    bytes: Vec<u8>,
}

impl OpenCall {
    pub(crate) async fn send(address: SocketAddr, request: &str) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { stream, bytes: Vec::new() }
    }

    /// Reads on until `text` has come.
    pub(crate) async fn until(&mut self, text: &str) {
        let wait = async {
            while !self.bytes.windows(text.len()).any(|window| window == text.as_bytes()) {
                let read = self.stream.read_buf(&mut self.bytes).await.unwrap();
                assert!(read > 0, "it ended before {text:?}: {:?}", String::from_utf8_lossy(&self.bytes));
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it did not come");
    }

    /// The answer, read to the connection's end.
    pub(crate) async fn rest(mut self) -> Got {
        // A reset is an end, too: what came before it counts.
        tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut self.bytes)).await.expect("no end of the answer").ok();
        parse(&self.bytes)
    }
}

/// The acts of a stream that says `first`, waits for the gate, then says `second` and ends well.
pub(crate) fn streams_in_two(first: &str, gate: &Gate, second: &str) -> Vec<Act> {
    let begin = [delta(r#"{"role":"assistant","content":""}"#, None), content(first)];
    let end = [content(second), delta("{}", Some("stop")), "data: [DONE]\n\n".into()];
    let chunks = |events: &[String]| events.iter().map(|event| chunk(event)).collect::<String>();
    vec![send(format!("{STREAM_HEAD}{}", chunks(&begin))), Act::Gate(gate.clone()), send(format!("{}0\r\n\r\n", chunks(&end)))]
}
