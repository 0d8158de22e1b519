//! The binary frames that Bedrock streams in.

use crate::wire::reading::ReplyFault;
use crate::wire::sse::MAX_EVENT;

/// The lengths of the frame and of its headers, and the sum over both.
const PRELUDE: usize = 12;
/// The sum over all of a frame.
const SUM: usize = 4;
/// The kind of a header's value that is a text.
const TEXT: u8 = 7;

/// One event.
#[derive(Debug)]
pub(super) struct Frame {
    headers: Vec<(String, String)>,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// What came, cut into frames. Both sums of each are checked.
#[derive(Debug, Default)]
pub(super) struct Frames {
    pending: Vec<u8>,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next frame; nothing until it is whole.
    pub(super) fn take(&mut self) -> Result<Option<Frame>, ReplyFault> {
        let Some(prelude) = self.pending.first_chunk::<PRELUDE>() else { return Ok(None) };
        if number(prelude, PRELUDE - SUM) != Some(crc32fast::hash(&prelude[..PRELUDE - SUM])) {
            return Err(broken());
        }
        let length = |at| number(prelude, at).and_then(|length| usize::try_from(length).ok()).ok_or_else(broken);
        let (whole, of_headers) = (length(0)?, length(4)?);
        if whole > MAX_EVENT {
            return Err(ReplyFault::TooLarge("an event of the stream is larger than 1 MiB"));
        }
        if whole < PRELUDE + SUM || of_headers > whole - PRELUDE - SUM {
            return Err(broken());
        }
        if self.pending.len() < whole {
            return Ok(None);
        }
        let frame: Vec<u8> = self.pending.drain(..whole).collect();
        let (text, _) = frame.split_at(whole - SUM);
        if number(&frame, whole - SUM) != Some(crc32fast::hash(text)) {
            return Err(broken());
        }
        let (headers, payload) = text[PRELUDE..].split_at(of_headers);
        Ok(Some(Frame { headers: read_headers(headers).ok_or_else(broken)?, payload: payload.to_vec() }))
    }
}

/// Those that are texts; nothing where they cannot be read.
fn read_headers(mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
    let mut headers = Vec::new();
    while let Some((length, rest)) = bytes.split_first() {
        let (name, rest) = rest.split_at_checked(usize::from(*length))?;
        let (kind, rest) = rest.split_first()?;
        let (length, rest) = match *kind {
            0 | 1 => (0, rest),
            2 => (1, rest),
            3 => (2, rest),
            4 => (4, rest),
            5 | 8 => (8, rest),
            9 => (16, rest),
            6 | TEXT => {
                let (length, rest) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_be_bytes(*length)), rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        if *kind == TEXT {
            headers.push((String::from_utf8(name.to_vec()).ok()?, String::from_utf8(value.to_vec()).ok()?));
        }
        bytes = rest;
    }
    Some(headers)
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn broken() -> ReplyFault {
    ReplyFault::Malformed("a frame of the stream does not add up")
}
