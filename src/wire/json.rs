//! A scanner that checks JSON text and finds the places of values; it builds nothing.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr2;

/// Deepest nesting that is read. Bodies that are meant seriously stay far below.
const MAX_DEPTH: u16 = 256;

/// Where the text stopped being JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Offset in bytes.
    pub(super) at: usize,
    pub(super) what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool,
    Number,
    String,
    Array,
    Object,
}

/// One value as it is written, with its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value<'a> {
    pub(super) kind: Kind,
    /// The place; of a string, with its quotes.
    quoted: Str<'a>,
}

impl<'a> Value<'a> {
    /// The text of the value; of a string, its quotes too.
    pub(super) fn text(&self) -> &'a str {
        &self.quoted.whole[self.range()]
    }

    /// How many bytes the text has.
    pub(super) fn len(&self) -> usize {
        self.quoted.end - self.quoted.start
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.quoted.range()
    }

    pub(super) fn is_null(&self) -> bool {
        self.kind == Kind::Null
    }

    pub(super) fn is_true(&self) -> bool {
        self.bytes() == b"true"
    }

    /// The value as a string, when it is one.
    pub(super) fn string(&self) -> Option<Str<'a>> {
        (self.kind == Kind::String).then_some(self.quoted)
    }

    /// The text of what is not null.
    pub(super) fn present(&self) -> Option<&'a str> {
        (!self.is_null()).then(|| self.text())
    }

    /// How many bytes a string has between its quotes, as it is written; 0 for anything else.
    pub(super) fn string_bytes(&self) -> u64 {
        self.string().map_or(0, |string| string.inner().len() as u64)
    }

    /// The value as a whole number written in digits alone, when it is one.
    pub(super) fn digits(&self) -> Option<u64> {
        let digits = (self.kind == Kind::Number).then(|| self.bytes())?;
        digits.iter().try_fold(0_u64, |number, byte| match byte {
            b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
            _ => None,
        })
    }

    fn bytes(&self) -> &'a [u8] {
        &self.quoted.whole.as_bytes()[self.range()]
    }
}

/// One string as it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Str<'a> {
    /// The text that it stands in.
    whole: &'a str,
    /// Its place, with the quotes.
    start: usize,
    end: usize,
    has_escapes: bool,
}

impl<'a> Str<'a> {
    /// What stands between the quotes, escapes as they are written.
    pub(super) fn raw(&self) -> &'a str {
        &self.whole[self.inner()]
    }

    /// The place of [`Str::raw`].
    pub(super) fn inner(&self) -> Range<usize> {
        self.start + 1..self.end - 1
    }

    /// The place with the quotes.
    pub(super) fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Whether some of it is written with escapes.
    pub(super) fn has_escapes(&self) -> bool {
        self.has_escapes
    }

    /// The text meant. Half of a surrogate pair, which has no meaning, leaves the text as it is written.
    pub(super) fn text(&self) -> Cow<'a, str> {
        if !self.has_escapes {
            return Cow::Borrowed(self.raw());
        }
        serde_json::from_str(&self.whole[self.range()]).map_or_else(|_| Cow::Borrowed(self.raw()), Cow::Owned)
    }
}

/// Reads a text from front to back.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
    depth: u16,
    is_strict: bool,
}

impl<'a> Scan<'a> {
    /// For what clients send: numbers must have a value and surrogates must come in pairs.
    pub(super) fn strict(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, is_strict: true }
    }

    /// For what providers send: streams cut characters in halves, each half escaped in an event of its own.
    pub(super) fn lenient(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0, is_strict: false }
    }

    /// The offset of the next byte.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// What kind of value comes next; white space before it is passed.
    #[inline]
    pub(super) fn peek(&mut self) -> Result<Kind, Fault> {
        match self.next() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::String),
            Some(b'n') => Ok(Kind::Null),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(_) => Err(self.fault("a value was expected")),
            None => Err(self.fault("the text ends too early")),
        }
    }

    /// Reads any value to its end.
    pub(super) fn value(&mut self) -> Result<Value<'a>, Fault> {
        let kind = self.peek()?;
        let start = self.at;
        match kind {
            Kind::String => return Ok(Value { kind, quoted: self.string()? }),
            Kind::Object => self.object(|scan, _| scan.skip())?,
            Kind::Array => self.array(Self::skip)?,
            Kind::Number => self.number()?,
            Kind::Null => self.word(b"null")?,
            Kind::Bool if self.byte() == Some(b't') => self.word(b"true")?,
            Kind::Bool => self.word(b"false")?,
        }
        Ok(Value { kind, quoted: Str { whole: self.text, start, end: self.at, has_escapes: false } })
    }

    /// Reads a text that is one object, as providers send them; `each` as in [`Scan::object`].
    pub(super) fn read_object(text: &'a str, each: impl FnMut(&mut Self, Str<'a>) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut scan = Self::lenient(text);
        scan.object(each)?;
        scan.end()
    }

    /// Steps over a value.
    pub(super) fn skip(&mut self) -> Result<(), Fault> {
        self.value().map(|_| ())
    }

    /// Reads an object; `each` gets every key and must read the value behind it.
    pub(super) fn object<E: From<Fault>>(&mut self, mut each: impl FnMut(&mut Self, Str<'a>) -> Result<(), E>) -> Result<(), E> {
        self.open(b'{', "an object was expected")?;
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            self.next();
            let key = self.string()?;
            self.expect(b':', "a colon was expected")?;
            each(self, key)?;
            if !self.goes_on(b'}', "a comma or a brace was expected")? {
                return Ok(());
            }
        }
    }

    /// Reads an array; `each` must read one element.
    pub(super) fn array<E: From<Fault>>(&mut self, mut each: impl FnMut(&mut Self) -> Result<(), E>) -> Result<(), E> {
        self.open(b'[', "an array was expected")?;
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            each(self)?;
            if !self.goes_on(b']', "a comma or a bracket was expected")? {
                return Ok(());
            }
        }
    }

    /// Nothing but white space may be left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.next().map_or(Ok(()), |_| Err(self.fault("something stands behind the value")))
    }

    #[inline]
    fn string(&mut self) -> Result<Str<'a>, Fault> {
        let start = self.at;
        if !matches!(self.byte(), Some(b'"')) {
            return Err(self.fault("a string was expected"));
        }
        match string_body(&self.text.as_bytes()[start + 1..], self.is_strict) {
            Ok((length, has_escapes)) => {
                self.at = start + length + 2;
                Ok(Str { whole: self.text, start, end: self.at, has_escapes })
            }
            Err((at, what)) => Err(Fault { at: start + 1 + at, what }),
        }
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        let mut has_exponent = false;
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.byte(), Some(b'e' | b'E')) {
            has_exponent = true;
            self.at += 1;
            if matches!(self.byte(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = start..self.at;
        // Only these can be beyond what a double holds.
        if self.is_strict && (has_exponent || text.len() > 300) && !self.text[text].parse::<f64>().is_ok_and(f64::is_finite) {
            return Err(Fault { at: start, what: "a number is too large" });
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.byte(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault("a digit was expected")) } else { Ok(()) }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Fault> {
        if self.text.as_bytes()[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(())
        } else {
            Err(self.fault("a value was expected"))
        }
    }

    #[inline]
    fn open(&mut self, bracket: u8, what: &'static str) -> Result<(), Fault> {
        self.expect(bracket, what)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(self.fault("the nesting is too deep")) } else { Ok(()) }
    }

    /// Passes the bracket, if it comes next.
    #[inline]
    fn closes(&mut self, bracket: u8) -> bool {
        let is_closed = self.next() == Some(bracket);
        if is_closed {
            self.at += 1;
            self.depth -= 1;
        }
        is_closed
    }

    /// Passes the comma behind a member, or the bracket behind the last one.
    #[inline]
    fn goes_on(&mut self, bracket: u8, what: &'static str) -> Result<bool, Fault> {
        match self.next() {
            Some(b',') => self.at += 1,
            Some(byte) if byte == bracket => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            _ => return Err(self.fault(what)),
        }
        Ok(true)
    }

    #[inline]
    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Fault> {
        if self.next() != Some(byte) {
            return Err(self.fault(what));
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte that is no white space; it is not passed.
    #[inline]
    fn next(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn fault(&self, what: &'static str) -> Fault {
        Fault { at: self.at, what }
    }
}

/// The text of these bytes; else how many of them are UTF-8. Several times as fast as the standard library's own where they are many.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, usize> {
    simdutf8::basic::from_utf8(bytes).map_err(|_| std::str::from_utf8(bytes).map_or_else(|error| error.valid_up_to(), str::len))
}

/// The length of a string's body, and whether there are escapes in it: `bytes` begins behind the opening quote, the answer is where the
/// closing one stands. Whether the body is UTF-8 is not looked at.
pub(super) fn string_body(bytes: &[u8], is_strict: bool) -> Result<(usize, bool), (usize, &'static str)> {
    let (mut at, mut has_escapes) = (0, false);
    loop {
        at += plain_run(&bytes[at..]);
        match bytes.get(at) {
            Some(b'"') => return Ok((at, has_escapes)),
            Some(b'\\') => (at, has_escapes) = (escape(bytes, at, is_strict)?, true),
            Some(_) => return Err((at, "a control character stands in a string")),
            None => return Err((at, "the text ends in a string")),
        }
    }
}

/// Where the escape at `at` ends.
fn escape(bytes: &[u8], at: usize, is_strict: bool) -> Result<usize, (usize, &'static str)> {
    match bytes.get(at + 1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => return Ok(at + 2),
        Some(b'u') => {}
        _ => return Err((at, "an escape is unknown")),
    }
    let unit = |from: usize| {
        let digits = bytes.get(from..from + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    match unit(at + 2) {
        None => Err((at, "an escape is unknown")),
        Some(0xD800..=0xDBFF) if is_strict => match (bytes.get(at + 6..at + 8), unit(at + 8)) {
            (Some(b"\\u"), Some(0xDC00..=0xDFFF)) => Ok(at + 12),
            _ => Err((at, "a surrogate stands alone")),
        },
        Some(0xDC00..=0xDFFF) if is_strict => Err((at, "a surrogate stands alone")),
        Some(_) => Ok(at + 6),
    }
}

/// How many bytes stand before the first quote, backslash or control character.
#[inline]
fn plain_run(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    /// From here on a string is long.
    const LONG: usize = 64;
    let mut at = 0;
    while at < LONG
        && let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk)
    {
        let word = u64::from_le_bytes(*word);
        let quote = word ^ (ONES * u64::from(b'"'));
        let slash = word ^ (ONES * u64::from(b'\\'));
        // Each part sets the high bit of a byte that fits it; the lowest such bit is always right.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let hits = ((quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash) | control) & HIGHS;
        if hits != 0 {
            return at + hits.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + long_run(&bytes[at..])
}

/// The same for what is left of a text, or of a long string.
fn long_run(bytes: &[u8]) -> usize {
    /// So much is still in the nearest cache when it is looked at again.
    const PIECE: usize = 4 << 10;
    let mut at = 0;
    for piece in bytes.chunks(PIECE) {
        // Both looks are made of vector instructions, and each goes no further than the nearest quote or backslash.
        let run = &piece[..memchr2(b'"', b'\\', piece).unwrap_or(piece.len())];
        let has_control = run.iter().fold(u8::MAX, |least, &b| least.min(b)) < 0x20;
        let plain = if has_control { run.iter().position(|&b| b < 0x20).unwrap_or(run.len()) } else { run.len() };
        at += plain;
        if plain < piece.len() {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, is_strict: bool) -> Result<(), Fault> {
        let mut scan = if is_strict { Scan::strict(text) } else { Scan::lenient(text) };
        scan.value().and_then(|_| scan.end())
    }

    #[test]
    fn json_is_told_from_what_is_not() {
        for text in ["null", " [1, -0.5e+3 ,\"a\\n\\u00e9\"]\n", "{}", "[]", "{\"a\":{\"b\":[[],{}]}}", "\"\\ud83d\\ude00\"", "1e308"] {
            assert_eq!(check(text, true), Ok(()), "{text}");
        }
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        let bad = [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            "+1",
            "nul",
            "\"a",
            "\"\\x\"",
            "\"\u{1}\"",
            "{a:1}",
            "1 2",
            "1e400",
            "\"\\ud83d\"",
            &deep,
        ];
        for text in bad {
            assert!(check(text, true).is_err(), "{text}");
        }
        assert_eq!(check("[\"\\ud83d\",1e400]", false), Ok(()));
    }

    #[test]
    fn a_string_ends_where_it_ends_at_any_length() {
        for length in 0..300 {
            let text = format!("\"{}\"", "x".repeat(length));
            assert_eq!(Scan::strict(&text).value().unwrap().text(), text);
            let escaped = format!("\"{}\\\"é\"", "x".repeat(length));
            assert_eq!(Scan::strict(&escaped).value().unwrap().text(), escaped);
        }
    }

    /// Of short strings, and of such that are looked through in several pieces.
    fn sizes() -> impl Strategy<Value = usize> {
        prop_oneof![0_usize..400, 4_000_usize..9_000]
    }

    proptest! {
        #[test]
        fn a_stop_is_found_wherever_it_stands(length in sizes(), at in sizes(), stop in proptest::sample::select(vec![0_u8, 9, 0x1f, b'"', b'\\'])) {
            let mut bytes = vec![b'~'; length];
            if let Some(byte) = bytes.get_mut(at) {
                *byte = stop;
            }
            prop_assert_eq!(plain_run(&bytes), at.min(length));
        }

        #[test]
        fn utf8_is_told_as_the_standard_library_tells_it(mut bytes in "[a-z\u{e9}\u{1f600}]{0,200}".prop_map(String::into_bytes), at in 0_usize..200, byte: u8) {
            if let Some(there) = bytes.get_mut(at) {
                *there = byte;
            }
            prop_assert_eq!(utf8(&bytes), std::str::from_utf8(&bytes).map_err(|error| error.valid_up_to()));
        }

        #[test]
        fn it_agrees_with_serde(text in "[\\[\\]{}:,\"\\\\ a-cnulltrefs0-9.eE+\u{e9}\u{1f600}-]{0,24}") {
            prop_assert_eq!(check(&text, false).is_ok(), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn what_serde_writes_is_read(words in proptest::collection::vec(any::<String>(), 0..6)) {
            let text = serde_json::to_string(&words).unwrap();
            let mut read = Vec::new();
            let mut scan = Scan::strict(&text);
            scan.array::<Fault>(|scan| { read.push(scan.value()?.string().unwrap().text().into_owned()); Ok(()) }).unwrap();
            prop_assert_eq!(read, words);
        }
    }
}
