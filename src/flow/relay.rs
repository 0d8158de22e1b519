use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::config::OnClientDisconnect;
use crate::record::Outcome;
use crate::units::{Moment, Tokens, Usage};
use crate::upstream::{Entry, Failure, Phase, ReplyBody};
use crate::wire::{ErrorWords, Shape, Tap};

use super::account::Account;
use super::answer::{Answer, Body, CutShort, FLUSH};
use super::attempt::{Deadline, Stream, next_piece};
use super::plan::Step;
use super::settle::{Booked, Place, Seen, Times};
use super::{Parts, Running};

/// How long a client may see nothing before a comment tells it that the stream lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long the end of a body may take after its last event.
const TAIL: Duration = Duration::from_secs(1);
/// Pieces that are ready are put together up to this size before they are written.
const MOST_AT_ONCE: usize = 64 << 10;

/// A stream on its way to the client: bytes pass through, a tap reads beside, and the end is settled once.
#[derive(Debug)]
pub struct Relay(Option<Box<Stretch>>, Shape);

#[derive(Debug)]
struct Stretch {
    flow: Flow,
    timer: Pin<Box<Sleep>>,
    /// Ready when the daemon's drain is over.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    last_event: Instant,
    last_written: Instant,
    state: State,
}

/// What a relay needs to settle, apart from its timers.
#[derive(Debug)]
struct Flow {
    running: Arc<Running>,
    account: Box<Account>,
    target: usize,
    body: ReplyBody,
    tap: Box<Tap>,
    entry: Option<Entry>,
    /// Present until it is settled.
    booked: Option<Booked>,
    input: Tokens,
    idle: Duration,
    deadline: Deadline,
    ttft: Duration,
    sent: Moment,
    _counted: Counted,
    /// Where to read on when the client hangs up and the file says `finish`.
    on_hang_up: Option<Arc<Parts>>,
}

#[derive(Debug)]
enum State {
    /// Bytes that are ready before the body is asked again.
    Flowing(Vec<Bytes>),
    /// The body has ended; what is left goes out, then nothing.
    Ended(Vec<Bytes>),
    /// The error event goes out next.
    Telling(Bytes),
    /// The error is told; the connection ends when it has left.
    Cutting,
    Done,
}

impl Parts {
    /// Hands over a stream that has begun. No other target is tried from here on.
    pub(super) fn relay(
        self: &Arc<Self>,
        running: &Arc<Running>,
        step: &Step<'_>,
        stream: Box<Stream>,
        deadline: Deadline,
        mut account: Box<Account>,
        Place { entry, booked }: Place,
    ) -> Answer {
        let Stream { headers, body, tap, ready, has_ended, ttft, sent, lost } = *stream;
        let served = tap.told().model.clone().filter(|model| model != running.rules().targets()[step.target].model.as_str());
        let headers = account.stream_headers(step, &headers, lost.as_deref(), served.as_deref(), booked.rest(), ttft);
        account.told(step.target, tap.told(), None, None);
        let on_hang_up = (running.rules().server().on_client_disconnect == OnClientDisconnect::Finish).then(|| Arc::clone(self));
        let now = Instant::now();
        let flow = Flow {
            running: Arc::clone(running),
            account,
            target: step.target,
            body,
            tap,
            entry: Some(entry),
            booked: Some(booked),
            input: step.estimate.input.unwrap_or_default(),
            idle: step.idle,
            deadline,
            ttft,
            sent,
            _counted: Counted::one(&self.open_streams),
            on_hang_up,
        };
        let shape = flow.tap.shape();
        let mut stretch = Stretch {
            timer: Box::pin(tokio::time::sleep_until(now + KEEP_ALIVE.min(flow.idle))),
            // A token of its own, so that asking it at every turn takes no shared lock.
            cut: Box::pin(self.cut.child_token().cancelled_owned()),
            flow,
            last_event: now,
            last_written: now,
            state: State::Flowing(ready),
        };
        if has_ended {
            stretch.complete();
        }
        Answer::new(StatusCode::OK, headers, Body::Relay(Relay(Some(Box::new(stretch)), shape)))
    }
}

impl Relay {
    /// How its client's format writes errors.
    pub(super) fn shape(&self) -> Shape {
        self.1
    }

    /// The next bytes for the client; an error only after one was told in the stream.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        match &mut self.0 {
            Some(stretch) => stretch.poll_next(cx),
            None => Poll::Ready(None),
        }
    }
}

impl Drop for Relay {
    /// The client hung up before the end: the provider's answer is cancelled, or read on where the file says so.
    fn drop(&mut self) {
        let Some(stretch) = self.0.take().filter(|stretch| matches!(stretch.state, State::Flowing(_))) else { return };
        match stretch.flow.on_hang_up.clone() {
            Some(parts) => drop(parts.tracker.spawn(stretch.flow.read_on())),
            None => stretch.flow.hung_up(),
        }
    }
}

impl Stretch {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
        loop {
            match &mut self.state {
                State::Flowing(_) => ready!(self.poll_flow(cx)),
                State::Ended(left) => {
                    let left = std::mem::take(left);
                    self.state = State::Done;
                    if let Some(bytes) = joined(left) {
                        return Poll::Ready(Some(Ok(bytes)));
                    }
                }
                State::Telling(event) => {
                    let event = std::mem::take(event);
                    self.timer.as_mut().reset(Instant::now() + FLUSH);
                    self.state = State::Cutting;
                    return Poll::Ready(Some(Ok(event)));
                }
                State::Cutting => {
                    ready!(self.timer.as_mut().poll(cx));
                    self.state = State::Done;
                    return Poll::Ready(Some(Err(CutShort)));
                }
                State::Done => return Poll::Ready(None),
            }
            if let State::Flowing(pieces) = &mut self.state
                && let Some(bytes) = joined(std::mem::take(pieces))
            {
                self.last_written = Instant::now();
                return Poll::Ready(Some(Ok(bytes)));
            }
        }
    }

    /// Reads what is ready from the provider. Ready when there is something to write or the state has changed.
    fn poll_flow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let State::Flowing(pieces) = &mut self.state else { return Poll::Ready(()) };
        let mut size: usize = pieces.iter().map(Bytes::len).sum();
        let mut fault = None;
        let mut has_ended = false;
        let mut has_read = false;
        while size < MOST_AT_ONCE {
            match Pin::new(&mut self.flow.body).poll_frame(cx) {
                Poll::Pending => break,
                Poll::Ready(None) => {
                    has_ended = true;
                    break;
                }
                Poll::Ready(Some(Err(failure))) => {
                    fault = Some(failure);
                    break;
                }
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    has_read = true;
                    let before = pieces.len();
                    if let Err(reply_fault) = self.flow.tap.push(data, pieces) {
                        fault = Some(Failure::from_fault(reply_fault, Phase::P3));
                        break;
                    }
                    size += pieces[before..].iter().map(Bytes::len).sum::<usize>();
                }
            }
        }
        if has_read {
            self.last_event = Instant::now();
            self.flow.learn_input();
        }
        if let Some(failure) = fault {
            self.fail_or_complete(&failure);
        } else if has_ended {
            self.complete();
        } else if size == 0 {
            return self.poll_timers(cx);
        }
        Poll::Ready(())
    }

    /// Looks at the clock where nothing is ready: deadline, silence of the provider, silence towards the client.
    fn poll_timers(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let idle = if self.flow.tap.is_done() { TAIL } else { self.flow.idle };
            let due = (self.last_event + idle).min(self.flow.deadline.at()).min(self.last_written + KEEP_ALIVE);
            let now = Instant::now();
            if now >= self.flow.deadline.at() {
                self.fail_or_complete(&Failure::timed_out(Phase::P3, "deadline", now - self.last_event));
                return Poll::Ready(());
            }
            if now >= self.last_event + idle {
                self.fail_or_complete(&Failure::timed_out(Phase::P3, "idle", idle));
                return Poll::Ready(());
            }
            if now >= self.last_written + KEEP_ALIVE {
                self.state = State::Flowing(vec![Bytes::from_static(self.flow.tap.shape().keep_alive())]);
                return Poll::Ready(());
            }
            if self.cut.as_mut().poll(cx).is_ready() {
                self.fail_or_complete(&Failure::draining());
                return Poll::Ready(());
            }
            // The timer is only moved when it fires, so that an event costs no timer work.
            if self.timer.deadline() > due || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    /// A fault after every choice has finished changes nothing for the client.
    fn fail_or_complete(&mut self, failure: &Failure) {
        if self.flow.tap.is_complete() { self.complete() } else { self.fail(failure) }
    }

    /// The body is over: a proper end, or one that came too early.
    fn complete(&mut self) {
        let mut left = self.take_pieces();
        let estimated = self.flow.estimated();
        self.flow.tap.stand_in(estimated);
        match self.flow.tap.end(&mut left) {
            Ok(()) => {
                self.flow.settle(None);
                self.state = State::Ended(left);
            }
            Err(fault) => {
                // What came together with the end is told before the error.
                self.state = State::Flowing(left);
                self.fail(&Failure::from_fault(fault, Phase::P3));
            }
        }
    }

    fn fail(&mut self, failure: &Failure) {
        let mut left = self.take_pieces();
        self.flow.settle(Some(failure));
        let provider = self.flow.provider_name();
        let message = format!("provider `{provider}` {}", failure.message);
        let status = failure.answer_status().as_u16();
        let words = ErrorWords { status, message: &message, kind: "server_error", param: None, code: failure.code };
        left.push(self.flow.tap.failure(&words, self.flow.account.request_id()));
        self.state = State::Telling(joined(left).unwrap_or_default());
    }

    fn take_pieces(&mut self) -> Vec<Bytes> {
        match &mut self.state {
            State::Flowing(pieces) => std::mem::take(pieces),
            _ => Vec::new(),
        }
    }
}

impl Flow {
    fn provider_name(&self) -> &crate::units::ProviderName {
        let rules = self.running.rules();
        &rules.providers()[rules.targets()[self.target].provider].name
    }

    /// Once the provider has told what the input is, no more of it is held.
    fn learn_input(&mut self) {
        if let (Some(booked), Some(usage)) = (&mut self.booked, &self.tap.told().usage) {
            booked.learn_input(usage.input_total());
        }
    }

    /// The stream's one end: cooldown, limits, metrics and record.
    fn settle(&mut self, failure: Option<&Failure>) {
        let told = self.tap.told();
        let used = self.used();
        match failure {
            None => self.running.rests().succeeded(self.target, Some(self.ttft)),
            Some(failure) => self.running.rests().failed(self.target, failure.mark, failure.retry_after, failure.silent_for),
        }
        self.entry = None;
        let times = Times { ttft: Some(self.ttft), took: self.account.now().since(self.sent) };
        let seen = Seen { told, output: self.tap.output_seen() };
        let mut end = None;
        if let Some(mut booked) = self.booked.take() {
            let ended = failure.map_or_else(|| booked.bill.complete(seen, times), |failure| booked.bill.cut(seen, failure.fault, times));
            booked.learn_error(told);
            end = Some((ended.basis, ended.posted));
            booked.settle(Some(used), &ended);
        }
        self.account.told(self.target, told, Some(self.ttft), end);
        let took = self.account.now().since(self.sent);
        self.account.attempt_ended(self.target, failure, took);
        let outcome = failure.map(|_| Outcome::CutOff);
        self.account.close(outcome, StatusCode::OK, failure.map(|failure| failure.code));
    }

    /// Reads the rest for the account alone: nobody is there to receive it.
    async fn read_on(mut self) {
        let mut unread = Vec::new();
        let rest = async {
            while let Some(Ok(piece)) = next_piece(&mut self.body).await {
                unread.clear();
                if self.tap.push(piece, &mut unread).is_err() {
                    break;
                }
            }
        };
        self.deadline.bound(rest).await.ok();
        self.hung_up();
    }

    /// Tells what was seen until the client left; dropping the body cancels the provider's answer.
    fn hung_up(mut self) {
        let times = Times { ttft: Some(self.ttft), took: self.account.now().since(self.sent) };
        let seen = Seen { told: self.tap.told(), output: self.tap.output_seen() };
        let mut end = None;
        if let Some(mut booked) = self.booked.take() {
            let is_whole = self.tap.is_complete();
            let ended = if is_whole { booked.bill.complete(seen, times) } else { booked.bill.cut(seen, "client_gone", times) };
            end = Some((ended.basis, ended.posted));
            booked.settle(Some(self.used()), &ended);
        }
        self.account.told(self.target, self.tap.told(), Some(self.ttft), end);
    }

    /// What a client that asked for usage reads where the provider told none: a bound of the input, and the output that was seen.
    fn estimated(&self) -> Usage {
        Usage { input_uncached: self.input, output: self.tap.output_seen(), ..Usage::default() }
    }

    /// Input and output as told, or as seen.
    fn used(&self) -> Tokens {
        self.tap.told().usage.as_ref().map_or_else(|| self.input.plus(self.tap.output_seen()), Usage::total)
    }
}

/// One of the open streams, as long as it lives.
#[derive(Debug)]
struct Counted(Arc<AtomicI64>);

impl Counted {
    fn one(counter: &Arc<AtomicI64>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One piece as it is, several as one: each write costs more than the copy.
fn joined(mut pieces: Vec<Bytes>) -> Option<Bytes> {
    match pieces.len() {
        0 => None,
        1 => pieces.pop(),
        _ => {
            let mut all = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
            for piece in &pieces {
                all.extend_from_slice(piece);
            }
            Some(all.freeze())
        }
    }
    .filter(|bytes| !bytes.is_empty())
}

#[cfg(test)]
mod tests;
