mod items;

use std::borrow::Cow;
use std::ops::Range;

use crate::tokens::{Counts, Spelt, Vocabulary};
use crate::units::{Need, Tokenizer, Tokens};
use crate::wire::json::{Fault, Kind, Scan, Str, Value, utf8};

/// Prompts up to this size are counted whole; of larger ones as much is sampled.
const SAMPLE: u64 = 8 << 10;
const WINDOWS: u64 = 32;
/// Bytes of one.
const WINDOW: usize = 256;
const PER_REQUEST: u64 = 3;
/// Bytes, as they are written, of a message's beginning and end that are looked at for its task: enough for what the classifier takes of
/// them, were each character an escape.
const SAID_FIRST: usize = 2_400;
const SAID_LAST: usize = 1_440;
/// Tokens of a message's own frame: usually, and at most.
const PER_MESSAGE: u64 = 4;
const PER_MESSAGE_AT_MOST: u64 = 8;

/// What the parts of a prompt cost that are no text, in tokens: usually, and at most.
#[derive(Clone, Copy, Debug)]
struct Attachment {
    usual: u64,
    most: u64,
}

/// Each for so many bytes of JSON.
impl Attachment {
    fn image(_: u64) -> Self {
        Self { usual: 1_000, most: 3_000 }
    }

    /// Ten tokens a second, of sound between 5 and 64 kB a second as base64.
    fn audio(bytes: u64) -> Self {
        Self { usual: bytes / 2_000 + 10, most: bytes / 200 + 100 }
    }

    fn file(bytes: u64) -> Self {
        Self { usual: bytes / 16 + 100, most: bytes + 3_000 }
    }
}

impl Role {
    /// By a message's `role`, or the type of an item.
    fn of(value: Value<'_>) -> Self {
        match value.string().map(|word| word.raw()) {
            Some("system" | "developer") => Self::System,
            Some("user") => Self::User,
            Some("tool" | "function" | "function_call_output" | "custom_tool_call_output") => Self::Tool,
            _ => Self::Other,
        }
    }
}

/// What a call says, as far as its task is looked for in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said<'b> {
    pub system: Cow<'b, str>,
    /// The last message of the user.
    pub user: Cow<'b, str>,
    /// The call has tools, and the answer of one stands last.
    pub is_tool_turn: bool,
}

/// The fewest tokens that a prompt of so many messages is ever taken for, when it needs all of `needs`.
#[must_use]
pub fn least_prompt(messages: u64, needs: &[Need]) -> Tokens {
    let attached = needs.iter().map(|need| match need {
        Need::Vision => Attachment::image(0).usual,
        Need::Audio => Attachment::audio(0).usual,
        Need::Files => Attachment::file(0).usual,
        Need::Tools | Need::JsonSchema | Need::Reasoning => 0,
    });
    Tokens::new(PER_REQUEST + messages.saturating_mul(PER_MESSAGE) + attached.sum::<u64>())
}

/// The parts of a call that the model reads: where the texts stand, and what else there is.
#[derive(Debug, Default)]
pub(super) struct Prompt {
    /// Places of text in the body: the inside of strings, or whole JSON values such as tools.
    texts: Vec<Range<usize>>,
    /// Without it, no backslash stands in any text.
    has_escapes: bool,
    /// Their length together.
    bytes: u64,
    pub(super) messages: u64,
    /// Tokens that the client gave as numbers.
    given: u64,
    attached_usually: u64,
    attached_at_most: u64,
    pub(super) images: u64,
    has_audio: bool,
    has_file: bool,
    has_tools: bool,
    /// Something is named that the provider has or fetches, however long that is.
    pub(super) names_unseen: bool,
    /// Which of the texts are the system message's, and the last message's of the user.
    system: Range<usize>,
    user: Range<usize>,
    /// A tool's answer stands last.
    is_tool_turn: bool,
}

/// Whose message it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    System,
    User,
    Tool,
    Other,
}

impl Prompt {
    /// Reads the array under `messages`.
    pub(super) fn messages(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        scan.array(|scan| {
            self.messages += 1;
            self.is_tool_turn = false;
            let (start, mut role) = (self.texts.len(), Role::Other);
            match scan.peek()? {
                Kind::Object => scan.object(|scan, key| self.message(scan, key, &mut role)),
                _ => self.whole(scan),
            }?;
            let has_result = self.is_tool_turn;
            self.end_message(start, role);
            self.is_tool_turn |= has_result;
            Ok::<(), Fault>(())
        })
    }

    /// Remembers whose message it was whose texts begin at `start`.
    fn end_message(&mut self, start: usize, role: Role) {
        let texts = start..self.texts.len();
        self.is_tool_turn = role == Role::Tool;
        match role {
            Role::System if self.system.is_empty() => self.system = texts,
            Role::User => self.user = texts,
            Role::System | Role::Tool | Role::Other => {}
        }
    }

    /// Reads a system message that stands by itself.
    pub(super) fn system(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        let start = self.texts.len();
        self.content(scan)?;
        self.system = start..self.texts.len();
        Ok(())
    }

    /// Reads `prompt` or `input`: texts, or tokens as numbers, in lists or not.
    pub(super) fn input(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        match scan.peek()? {
            Kind::Array => scan.array(|scan| self.input(scan)),
            Kind::Number => {
                self.given += 1;
                scan.value().map(|_| ())
            }
            _ => self.whole(scan),
        }
    }

    /// Takes in tools, schemas and the like, which the model reads as JSON.
    pub(super) fn add_value(&mut self, value: Value<'_>) {
        if !value.is_null() {
            self.add(value.range(), true);
        }
    }

    pub(super) fn add_tools(&mut self, value: Value<'_>) {
        let is_list = value.kind == Kind::Array && value.text()[1..].trim_ascii_start() != "]";
        self.has_tools |= is_list;
        self.add_value(value);
    }

    /// What the prompt asks of a model.
    pub(super) fn needs(&self) -> impl Iterator<Item = Need> {
        let needs =
            [(self.has_tools, Need::Tools), (self.images > 0, Need::Vision), (self.has_audio, Need::Audio), (self.has_file, Need::Files)];
        needs.into_iter().filter_map(|(is_needed, need)| is_needed.then_some(need))
    }

    /// More than this no byte-level tokenizer makes of the prompt.
    pub(super) fn tokens_at_most(&self) -> Tokens {
        let frame = self.messages * PER_MESSAGE_AT_MOST + PER_REQUEST;
        Tokens::new(self.bytes + self.given + self.attached_at_most + frame)
    }

    /// About how many tokens a tokenizer makes of the prompt, whose texts are made of `counts`.
    pub(super) fn tokens(&self, counts: &Counts, tokenizer: Tokenizer) -> Tokens {
        let frame = self.messages * PER_MESSAGE + PER_REQUEST;
        let counted = Tokens::new(self.given + self.attached_usually + frame).plus(counts.tokens(tokenizer));
        counted.min(self.tokens_at_most())
    }

    /// What the texts are made of. Whole up to 8 KiB; of more, windows at even distances stand for the rest.
    pub(super) fn counts(&self, body: &[u8]) -> Counts {
        let mut spelt = Spelt::default();
        if self.bytes <= SAMPLE {
            for text in &self.texts {
                spelt.add(&body[text.clone()], self.has_escapes);
            }
            return spelt.counts();
        }
        let stride = self.bytes / WINDOWS;
        let (mut next, mut passed) = (0, 0);
        for place in &self.texts {
            let end = passed + place.len() as u64;
            while next < end {
                let from = place.start + usize::try_from(next - passed).unwrap_or(0);
                let window = whole_characters(body, from, place.end.min(from + WINDOW));
                spelt.add_part(&body[..place.end], window);
                next += stride;
            }
            passed = end;
        }
        spelt.counts().scaled_to(self.bytes)
    }

    /// How many tokens the prompt is by a vocabulary, and never fewer: its texts are counted, and what is no text is what it can
    /// be at most. What a provider makes of tools and the like is its own affair: they count their bytes. Absent where time is over.
    pub(super) fn tokens_by(&self, body: &[u8], vocabulary: Vocabulary, is_over: &dyn Fn() -> bool) -> Option<Tokens> {
        let frame = Tokens::new(self.given + self.attached_at_most + self.messages * PER_MESSAGE_AT_MOST + PER_REQUEST);
        let counted = self.texts.iter().try_fold(frame, |sum, text| {
            let tokens = match string_at(body, text, self.has_escapes) {
                Some(string) => vocabulary.count(&string, is_over)?,
                None => Tokens::new(text.len() as u64),
            };
            Some(sum.plus(tokens))
        });
        counted.map(|counted| counted.min(self.tokens_at_most()))
    }

    /// The system message and the last message of the user, as far as a task is looked for in them.
    pub(super) fn said<'b>(&self, body: &'b [u8]) -> Said<'b> {
        let text = |texts: &[Range<usize>]| match texts {
            [text] if !self.has_escapes && text.len() <= SAID_FIRST + SAID_LAST => {
                Cow::Borrowed(utf8(&body[text.clone()]).unwrap_or_default())
            }
            texts => Cow::Owned(joined(texts, body)),
        };
        // A prompt without messages is all the user's.
        let user = if self.messages == 0 { &self.texts[..] } else { &self.texts[self.user.clone()] };
        Said { system: text(&self.texts[self.system.clone()]), user: text(user), is_tool_turn: self.is_tool_turn && self.has_tools }
    }

    fn message(&mut self, scan: &mut Scan<'_>, key: Str<'_>, role: &mut Role) -> Result<(), Fault> {
        match key.raw() {
            "role" => {
                *role = Role::of(scan.value()?);
                Ok(())
            }
            "content" => self.content(scan),
            _ => self.whole(scan),
        }
    }

    /// Reads a text, or a list of parts.
    pub(super) fn content(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        if scan.peek()? != Kind::Array {
            return self.whole(scan);
        }
        scan.array(|scan| match scan.peek()? {
            Kind::Object => self.part(scan),
            _ => self.whole(scan),
        })
    }

    fn part(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        let mut is_document = false;
        let (mut sources, mut is_elsewhere) = (0, false);
        scan.object(|scan, key| match key.raw() {
            "type" => {
                let kind = scan.value()?;
                let is = |name: &str| kind.string().is_some_and(|kind| kind.raw() == name);
                is_document = is("document");
                self.is_tool_turn |= is("tool_result");
                Ok(())
            }
            // What a tool gave back may have parts of its own.
            "content" => self.content(scan),
            "source" if scan.peek()? == Kind::Object => {
                let value = scan.value()?;
                sources = value.len() as u64;
                is_elsewhere = names(value, "url") || names(value, "file_id");
                Ok(())
            }
            "image_url" => {
                self.images += 1;
                self.attach(scan, Attachment::image)
            }
            "input_audio" => {
                self.has_audio = true;
                self.attach(scan, Attachment::audio)
            }
            "file" => {
                let value = scan.value()?;
                self.has_file = true;
                self.names_unseen |= names(value, "file_id");
                self.weigh(Attachment::file(value.len() as u64));
                Ok(())
            }
            _ => self.whole(scan),
        })?;
        // A picture or a document, and which of them may be said behind it.
        if sources > 0 {
            self.images += u64::from(!is_document);
            self.has_file |= is_document;
            self.names_unseen |= is_document && is_elsewhere;
            self.weigh(if is_document { Attachment::file(sources) } else { Attachment::image(sources) });
        }
        Ok(())
    }

    fn attach(&mut self, scan: &mut Scan<'_>, weigh: fn(u64) -> Attachment) -> Result<(), Fault> {
        let weight = weigh(scan.value()?.len() as u64);
        self.weigh(weight);
        Ok(())
    }

    fn weigh(&mut self, weight: Attachment) {
        self.attached_usually += weight.usual;
        self.attached_at_most += weight.most;
    }

    /// Takes a value as text: a string's inside, anything else as it is written.
    fn whole(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        let value = scan.value()?;
        match value.string() {
            Some(string) => self.add(string.inner(), string.has_escapes()),
            None => self.add_value(value),
        }
        Ok(())
    }

    fn add(&mut self, text: Range<usize>, has_escapes: bool) {
        if !text.is_empty() {
            self.bytes += text.len() as u64;
            self.texts.push(text);
            self.has_escapes |= has_escapes;
        }
    }
}

/// Whether an object has a key.
fn names(value: Value<'_>, key: &str) -> bool {
    let mut has_key = false;
    let read = Scan::lenient(value.text()).object(|scan, own| {
        has_key |= own.raw() == key;
        scan.value().map(|_| ())
    });
    read.is_ok() && has_key
}

/// Texts with line breaks between them, as far as they are looked at.
fn joined(texts: &[Range<usize>], body: &[u8]) -> String {
    let mut said = Vec::new();
    for text in texts {
        if !said.is_empty() {
            said.push(b'\n');
        }
        unescape_ends(&body[text.clone()], &mut said);
        if said.len() > 4 * (SAID_FIRST + SAID_LAST) {
            break;
        }
    }
    String::from_utf8(said).unwrap_or_else(|broken| String::from_utf8_lossy(broken.as_bytes()).into_owned())
}

/// A text without its usual escapes; of a long one its beginning and its end, with a line break between them.
fn unescape_ends(text: &[u8], out: &mut Vec<u8>) {
    if text.len() <= SAID_FIRST + SAID_LAST {
        return unescape(text, out);
    }
    unescape(&text[whole_characters(text, 0, SAID_FIRST)], out);
    out.push(b'\n');
    unescape(&text[whole_characters(text, text.len() - SAID_LAST, text.len())], out);
}

/// The part of `body` between two offsets, both moved on to the next character where they stand within one.
fn whole_characters(body: &[u8], from: usize, to: usize) -> Range<usize> {
    let next = |at: usize| at + body[at..].iter().take(3).take_while(|&&b| b & 0xC0 == 0x80).count();
    next(from)..next(to)
}

/// The string that stands inside the quotes around this place, as it is meant; absent where there are none, or it has no meaning.
fn string_at<'b>(body: &'b [u8], place: &Range<usize>, has_escapes: bool) -> Option<Cow<'b, str>> {
    let quoted = body.get(place.start.checked_sub(1)?..=place.end).filter(|quoted| quoted.starts_with(b"\"") && quoted.ends_with(b"\""))?;
    if !has_escapes {
        return utf8(&body[place.clone()]).ok().map(Cow::Borrowed);
    }
    serde_json::from_slice(quoted).ok().map(Cow::Owned)
}

/// Appends a text without its usual escapes. What a window cut in two stays as it is.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        let plain = match rest.get(at + 1) {
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(&b @ (b'"' | b'\\' | b'/')) => b,
            Some(b'u') => {
                let unit = rest.get(at + 2..at + 6).and_then(|hex| std::str::from_utf8(hex).ok());
                let character = unit.and_then(|hex| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
                // Half of a pair counts as one character too; which one does not matter to a task.
                out.extend_from_slice(character.unwrap_or('\u{1f600}').encode_utf8(&mut [0; 4]).as_bytes());
                rest = rest.get(at + 6..).unwrap_or_default();
                continue;
            }
            _ => b' ',
        };
        out.push(plain);
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
