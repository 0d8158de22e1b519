//! Event streams, read line by line from any split of their bytes.

use std::ops::Range;

/// The largest line or event.
pub(super) const MAX_EVENT: usize = 1 << 20;

/// Why the bytes are no event stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A line holds NUL or is not UTF-8.
    Text,
    /// A line or event is larger than [`MAX_EVENT`].
    TooLarge,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: Option<String>,
    /// The `data` lines, joined with line feeds.
    pub(super) data: String,
}

/// Puts lines and events together across reads.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// The line that has begun.
    line: Vec<u8>,
    name: Option<String>,
    data: Option<String>,
    /// The last line ended in CR: an LF that follows belongs to it.
    skips_lf: bool,
    has_begun: bool,
}

/// A whole event written a plain way: an `event: …` line or none, one `data: …` line, and an empty line, all with LF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) length: usize,
    pub(super) name: Option<Range<usize>>,
    pub(super) data: Range<usize>,
}

/// The event that `input` begins with, where it is written a plain way. Other ways are read line by line.
pub(super) fn plain_event(input: &[u8]) -> Option<Plain> {
    let (name, start) = match input.strip_prefix(b"event: ") {
        None => (None, 0),
        Some(rest) => {
            let end = 7 + memchr::memchr2(b'\r', b'\n', rest)?;
            (input[end] == b'\n' && end > 7).then_some((Some(7..end), end + 1))?
        }
    };
    let line = &input[start..];
    if !line.starts_with(b"data: ") {
        return None;
    }
    let end = memchr::memchr2(b'\r', b'\n', line)?;
    let is_plain = line[end] == b'\n' && line.get(end + 1) == Some(&b'\n') && end > 6 && end <= MAX_EVENT;
    is_plain.then(|| Plain { length: start + end + 2, name, data: start + 6..start + end })
}

impl Lines {
    /// Whether the next byte begins an event.
    pub(super) fn is_between_events(&self) -> bool {
        self.line.is_empty() && self.data.is_none() && self.name.is_none() && !self.skips_lf
    }

    /// Says that an event was taken from the stream by other means.
    pub(super) fn pass(&mut self) {
        self.has_begun = true;
    }

    /// Takes at most one line; answers how many bytes it took, and the event if that line ended one.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<(usize, Option<Event>), Broken> {
        if self.skips_lf && !input.is_empty() {
            self.skips_lf = false;
            if input[0] == b'\n' {
                return Ok((1, None));
            }
        }
        let Some(end) = memchr::memchr2(b'\r', b'\n', input) else {
            self.grow(input)?;
            return Ok((input.len(), None));
        };
        self.grow(&input[..end])?;
        self.skips_lf = input[end] == b'\r';
        Ok((end + 1, self.end_line()?))
    }

    /// At the end of input: the event that was not ended by an empty line.
    pub(super) fn finish(&mut self) -> Result<Option<Event>, Broken> {
        if !self.line.is_empty() {
            self.end_line()?;
        }
        Ok(self.end_event())
    }

    fn grow(&mut self, more: &[u8]) -> Result<(), Broken> {
        let held = self.line.len() + self.data.as_ref().map_or(0, String::len);
        if held + more.len() > MAX_EVENT {
            return Err(Broken::TooLarge);
        }
        self.line.extend_from_slice(more);
        Ok(())
    }

    fn end_line(&mut self) -> Result<Option<Event>, Broken> {
        if !self.has_begun {
            self.has_begun = true;
            if self.line.starts_with("\u{feff}".as_bytes()) {
                self.line.drain(..3);
            }
        }
        if self.line.is_empty() {
            return Ok(self.end_event());
        }
        let line = std::str::from_utf8(&self.line).ok().filter(|line| !line.contains('\0')).ok_or(Broken::Text)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            "event" => self.name = Some(value.to_owned()),
            // A comment has no field; `id` and `retry` are for browsers; what else there may be is nothing to us.
            _ => {}
        }
        self.line.clear();
        Ok(None)
    }

    /// Gives out what has gathered; an event without data is none, and its name does not carry over.
    fn end_event(&mut self) -> Option<Event> {
        let name = self.name.take();
        self.data.take().filter(|data| !data.is_empty()).map(|data| Event { name, data })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn events(reads: &[&[u8]]) -> Vec<Event> {
        let mut lines = Lines::default();
        let mut events = Vec::new();
        for mut read in reads.iter().copied() {
            while !read.is_empty() {
                let (used, event) = lines.take(read).unwrap();
                events.extend(event);
                read = &read[used..];
            }
        }
        events.extend(lines.finish().unwrap());
        events
    }

    fn unbase64(text: &str) -> Vec<u8> {
        const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bits: Vec<u32> = text.bytes().filter_map(|b| (0..).zip(LETTERS).find(|(_, letter)| **letter == b)).map(|(v, _)| v).collect();
        let group = |four: &[u32]| {
            let word = four.iter().enumerate().fold(0, |word, (i, v)| word | v << (18 - 6 * i));
            word.to_be_bytes()[1..four.len()].to_vec()
        };
        bits.chunks(4).flat_map(group).collect()
    }

    #[test]
    fn every_framing_vector_gives_its_events() {
        for line in include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/framing.jsonl")).lines() {
            let vector: Value = serde_json::from_str(line).unwrap();
            let reads: Vec<_> = vector["chunks_b64"].as_array().unwrap().iter().map(|read| unbase64(read.as_str().unwrap())).collect();
            let expected: Vec<_> = vector["expect_events"]
                .as_array()
                .unwrap()
                .iter()
                .map(|event| Event { name: event["event"].as_str().map(str::to_owned), data: event["data"].as_str().unwrap().to_owned() })
                .collect();
            let borrowed: Vec<&[u8]> = reads.iter().map(Vec::as_slice).collect();
            assert_eq!(events(&borrowed), expected, "{}", vector["id"]);
            let whole = reads.concat();
            for cut in 0..whole.len() {
                assert_eq!(events(&[&whole[..cut], &whole[cut..]]), expected, "{} cut at {cut}", vector["id"]);
            }
            let single: Vec<&[u8]> = whole.chunks(1).collect();
            assert_eq!(events(&single), expected, "{} one byte a read", vector["id"]);
        }
    }

    #[test]
    fn lone_carriage_returns_end_lines() {
        let expected = vec![Event { name: None, data: "1".into() }, Event { name: None, data: "2\n3".into() }];
        assert_eq!(events(&[b"data: 1\r\rdata:2\rdata: 3\r\r"]), expected);
    }

    #[test]
    fn u22_u23_bad_and_endless_lines_are_told() {
        assert_eq!(Lines::default().take(b"data: \xff\n"), Err(Broken::Text));
        assert_eq!(Lines::default().take(b": a\0\n"), Err(Broken::Text));
        let mut lines = Lines::default();
        let chunk = vec![b'x'; MAX_EVENT / 4];
        let taken: Vec<_> = (0..5).map(|_| lines.take(&chunk)).collect();
        assert_eq!(taken[4], Err(Broken::TooLarge));
        assert!(taken[3].is_ok());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_events(
            text in "(data: ?[a-c\u{e9}\u{6f6e}]{0,3}|event: ?[ab]|: x|id: 1|)((\r\n|\n|\r)(data: ?[a-c\u{e9}]{0,3}|event: ?[ab]|: x|id: 1|)){0,12}",
            cuts in proptest::collection::vec(0_usize..200, 0..6),
        ) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut from = 0;
            let reads: Vec<&[u8]> = cuts.iter().map(|&cut| { let read = &bytes[from..cut]; from = cut; read }).collect();
            prop_assert_eq!(events(&reads), events(&[bytes]));
        }
    }
}
