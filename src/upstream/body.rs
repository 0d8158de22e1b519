use std::convert::Infallible;
use std::error::Error as StdError;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::dial::sources;
use super::failure::{Failure, Phase};
use super::pool::Lease;
use super::sandbox::Speech;

/// Bodies above this size may be answered, or stall, before they were sent whole.
const LARGE: u64 = 64 << 10;

/// A connection is given so much at once: what it was given counts as taken, and it holds a whole piece before the first byte leaves.
const LARGEST_PIECE: usize = 256 << 10;

/// A request body in ready pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    rest: std::vec::IntoIter<Bytes>,
    /// What is left of a piece that is given in parts.
    cut: Bytes,
    left: u64,
    /// Set when the last piece was taken; there for large bodies only.
    taken: Option<Arc<AtomicBool>>,
}

impl Pieces {
    pub(super) fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        let taken = (left > LARGE).then(Arc::default);
        Self { rest: pieces.into_iter(), cut: Bytes::new(), left, taken }
    }

    /// The mark of a large body that the connection has taken it whole.
    pub(super) fn taken(&self) -> Option<Arc<AtomicBool>> {
        self.taken.clone()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut piece = match std::mem::take(&mut self.cut) {
            cut if cut.is_empty() => self.rest.find(|piece| !piece.is_empty()),
            cut => Some(cut),
        };
        if let Some(piece) = piece.as_mut().filter(|piece| piece.len() > LARGEST_PIECE) {
            self.cut = piece.split_off(LARGEST_PIECE);
        }
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        if self.left == 0
            && let Some(taken) = &self.taken
        {
            taken.store(true, Ordering::Release);
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The body of a reply: from a provider, or from the sandbox. Dropping it before its end ends the provider's work: HTTP/1.1
/// closes the connection, HTTP/2 resets the stream.
#[derive(Debug)]
pub struct ReplyBody(Source);

#[derive(Debug)]
enum Source {
    Provider {
        incoming: Incoming,
        /// Until the body has ended.
        lease: Option<Lease>,
    },
    Sandbox(Speech),
}

impl ReplyBody {
    pub(super) fn provider(incoming: Incoming, lease: Lease) -> Self {
        Self(Source::Provider { incoming, lease: Some(lease) })
    }

    pub(super) fn sandbox(speech: Speech) -> Self {
        Self(Source::Sandbox(speech))
    }

    /// A body that says each piece after its wait.
    #[cfg(test)]
    pub(crate) fn scripted(pieces: Vec<(Duration, Bytes)>) -> Self {
        Self(Source::Sandbox(Speech::scripted(pieces)))
    }

    /// All of the body, at most `limit` bytes. Fails when it breaks off, is larger, or is empty.
    pub async fn read_whole(mut self, limit: u64) -> Result<Bytes, Failure> {
        let mut first = Bytes::new();
        let mut all = BytesMut::new();
        while let Some(frame) = self.frame().await {
            let Ok(chunk) = frame?.into_data() else { continue };
            let length = (all.len().max(first.len()) + chunk.len()) as u64;
            if length > limit {
                return Err(Failure::too_large(limit));
            }
            if first.is_empty() && all.is_empty() {
                // The usual answer is one chunk: nothing is copied then, and its end needs no turn of its own.
                first = chunk;
                if self.is_end_stream() {
                    break;
                }
                continue;
            }
            if all.is_empty() {
                let expected = self.size_hint().exact().unwrap_or(0).min(limit);
                all.reserve(usize::try_from(expected).unwrap_or(0) + first.len() + chunk.len());
                all.extend_from_slice(&first);
            }
            all.extend_from_slice(&chunk);
        }
        match (all.is_empty(), first.is_empty()) {
            (false, _) => Ok(all.freeze()),
            (true, false) => Ok(first),
            (true, true) => Err(Failure::malformed(Phase::P2, "empty", "answered without content".to_owned())),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        match &mut self.0 {
            Source::Provider { incoming, lease } => {
                let mut next = |context: &mut Context<'_>| Pin::new(&mut *incoming).poll_frame(context);
                let frame = ready!(match lease {
                    Some(lease) => lease.poll(context, next),
                    None => next(context),
                });
                match &frame {
                    Some(Ok(_)) if !incoming.is_end_stream() => {}
                    Some(Err(_)) => drop(lease.take()),
                    Some(Ok(_)) | None => lease.take().into_iter().for_each(Lease::give_back),
                }
                Poll::Ready(frame.map(|frame| frame.map_err(|error| broken(&error))))
            }
            Source::Sandbox(speech) => speech.poll_next(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Provider { incoming, .. } => incoming.is_end_stream(),
            Source::Sandbox(speech) => speech.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Provider { incoming, .. } => incoming.size_hint(),
            Source::Sandbox(speech) => speech.size_hint(),
        }
    }
}

/// An error body: what came within `limit` bytes and `patience`, and whether that was all of it.
pub(super) async fn read_error_body(mut incoming: Incoming, lease: &mut Lease, limit: usize, patience: Duration) -> (Bytes, bool) {
    let deadline = Instant::now() + patience;
    let mut all = BytesMut::new();
    loop {
        let next = poll_fn(|cx| lease.poll(cx, |cx| Pin::new(&mut incoming).poll_frame(cx)));
        let frame = match timeout_at(deadline, next).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return (all.freeze(), true),
            Ok(Some(Err(_))) | Err(_) => return (all.freeze(), false),
        };
        let Ok(chunk) = frame.into_data() else { continue };
        let room = limit - all.len();
        all.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return (all.freeze(), false);
        }
    }
}

fn broken(error: &hyper::Error) -> Failure {
    let is_bad_framing = |source: &(dyn StdError + 'static)| {
        use io::ErrorKind::{InvalidData, InvalidInput};
        source.downcast_ref::<io::Error>().is_some_and(|error| matches!(error.kind(), InvalidData | InvalidInput))
    };
    if sources(error).any(is_bad_framing) {
        return Failure::malformed(Phase::P2, "bad_framing", "sent a body that breaks its own framing".to_owned());
    }
    Failure::truncated(Phase::P2)
}
