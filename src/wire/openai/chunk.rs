use crate::wire::json::{Fault, Kind, Scan, Str};
use crate::wire::stencil::{HoleKind, Holes};

/// What one event of a stream, or one whole answer, says. Read in one pass; places are offsets into the text.
#[derive(Debug, Default)]
pub(in crate::wire) struct Chunk<'a> {
    pub(in crate::wire) id: Option<Str<'a>>,
    pub(in crate::wire) model: Option<Str<'a>>,
    pub(in crate::wire) created: Option<u64>,
    /// The text of `usage` at the top.
    pub(in crate::wire) usage: Option<&'a str>,
    /// The text of `usage` where some hide it: in a choice, or under `x_groq`.
    pub(in crate::wire) hidden_usage: Option<&'a str>,
    pub(in crate::wire) error: Option<&'a str>,
    /// `choices` or `data` is there, as an array.
    pub(in crate::wire) has_list: bool,
    /// How many choices there are, and which, by index, each a bit.
    pub(in crate::wire) choices: u32,
    pub(in crate::wire) seen: u128,
    /// Those with a finish reason. An empty word counts here only under `maybe_finished`.
    pub(in crate::wire) finished: u128,
    pub(in crate::wire) maybe_finished: u128,
    pub(in crate::wire) finish: Option<Str<'a>>,
    /// Bytes of content, refusal and tool calls, as they are written.
    pub(in crate::wire) text: u64,
    pub(in crate::wire) reasoning: u64,
    pub(in crate::wire) has_tool: bool,
    /// A tool call stands there, if only its frame.
    pub(in crate::wire) mentions_tool: bool,
    pub(in crate::wire) has_audio: bool,
    /// Choices that name their role, each a bit.
    pub(in crate::wire) roles: u128,
    /// Something in it is not as the format has it, beside roles and reasons that only what came before shows to be wrong.
    pub(in crate::wire) is_odd: bool,
    pub(in crate::wire) says_stop: bool,
    pub(in crate::wire) holes: Holes,
    has_choices: bool,
    has_object: bool,
}

/// Why a choice may end, in the format's own words.
const FINISHES: [&str; 5] = ["stop", "length", "tool_calls", "content_filter", "function_call"];

impl<'a> Chunk<'a> {
    /// Reads one JSON object.
    pub(in crate::wire) fn read(text: &'a str) -> Result<Self, Fault> {
        let mut chunk = Self::default();
        Scan::read_object(text, |scan, key| chunk.top(scan, key))?;
        chunk.is_odd |= chunk.has_choices && !(chunk.has_object && chunk.id.is_some() && chunk.model.is_some());
        Ok(chunk)
    }

    /// Whether a choice says something: content of any kind, or why it ends.
    pub(in crate::wire) fn has_content(&self) -> bool {
        self.text > 0 || self.reasoning > 0 || self.has_tool || self.has_audio
    }

    fn top(&mut self, scan: &mut Scan<'a>, key: Str<'a>) -> Result<(), Fault> {
        match key.raw() {
            "choices" if scan.peek()? == Kind::Array => {
                (self.has_list, self.has_choices) = (true, true);
                scan.array(|scan| self.choice(scan))?;
            }
            "object" => self.has_object = scan.value()?.string().is_some(),
            "id" => self.id = scan.value()?.string(),
            "model" => self.model = scan.value()?.string(),
            "created" => self.created = scan.value()?.digits(),
            "usage" => self.usage = scan.value()?.present(),
            "error" => self.error = scan.value()?.present(),
            "data" => self.has_list |= scan.value()?.kind == Kind::Array,
            "x_groq" if scan.peek()? == Kind::Object => scan.object(|scan, key| self.groq(scan, key))?,
            "obfuscation" | "p" => self.padding(scan)?,
            _ => scan.skip()?,
        }
        Ok(())
    }

    fn groq(&mut self, scan: &mut Scan<'a>, key: Str<'a>) -> Result<(), Fault> {
        let value = scan.value()?;
        if key.raw() == "usage" {
            self.hidden_usage = value.present().or(self.hidden_usage);
        }
        Ok(())
    }

    fn choice(&mut self, scan: &mut Scan<'a>) -> Result<(), Fault> {
        if scan.peek()? != Kind::Object {
            return scan.skip();
        }
        let mut index = u64::from(self.choices);
        let (mut finish, mut has_role) = (None, false);
        scan.object(|scan, key| {
            match key.raw() {
                "index" => index = scan.value()?.digits().unwrap_or(index),
                "finish_reason" => finish = scan.value()?.string(),
                "delta" | "message" if scan.peek()? == Kind::Object => {
                    let is_delta = key.raw() == "delta";
                    scan.object(|scan, key| match key.raw() {
                        "role" => {
                            has_role = scan.value()?.string().is_some_and(|role| !role.raw().is_empty());
                            Ok(())
                        }
                        _ => self.delta(scan, key, is_delta),
                    })?;
                }
                "text" => self.text += self.weigh(scan, Some(HoleKind::Text))?,
                "usage" => self.hidden_usage = scan.value()?.present().or(self.hidden_usage),
                _ => scan.skip()?,
            }
            Ok::<(), Fault>(())
        })?;
        // Choices beyond the last bit share it; no provider sends so many.
        let bit = 1_u128 << index.min(127);
        self.choices += 1;
        self.seen |= bit;
        self.roles |= if has_role { bit } else { 0 };
        if let Some(word) = finish {
            self.is_odd |= !FINISHES.contains(&word.raw());
            self.says_stop |= word.raw() == "stop";
            *(if word.raw().is_empty() { &mut self.maybe_finished } else { &mut self.finished }) |= bit;
            self.finish = Some(word);
        }
        Ok(())
    }

    fn delta(&mut self, scan: &mut Scan<'a>, key: Str<'a>, is_delta: bool) -> Result<(), Fault> {
        match key.raw() {
            "content" | "refusal" => {
                self.is_odd |= scan.peek()? == Kind::Array;
                self.text += self.weigh(scan, Some(HoleKind::Text))?;
            }
            "reasoning_content" | "reasoning" => self.reasoning += self.weigh(scan, Some(HoleKind::Reasoning))?,
            // The same words as in `reasoning`, or encrypted ones.
            "reasoning_details" => self.reasoning += u64::from(self.weigh(scan, None)? > 0),
            "tool_calls" | "function_call" => {
                let kind = scan.peek()?;
                self.mentions_tool |= kind != Kind::Null;
                let bytes = if is_delta && kind == Kind::Array { self.calls(scan)? } else { self.weigh(scan, Some(HoleKind::Text))? };
                self.has_tool |= bytes > 0;
                self.text += bytes;
            }
            "audio" => self.has_audio |= self.weigh(scan, None)? > 0,
            _ => scan.skip()?,
        }
        Ok(())
    }

    /// The same as [`Self::weigh`] of tool calls, each of which must say which one it is.
    fn calls(&mut self, scan: &mut Scan<'a>) -> Result<u64, Fault> {
        let mut sum = 0;
        scan.array(|scan| {
            if scan.peek()? != Kind::Object {
                sum += self.weigh(scan, Some(HoleKind::Text))?;
                return Ok(());
            }
            let mut has_index = false;
            scan.object(|scan, key| {
                match key.raw() {
                    "index" => has_index = scan.value()?.digits().is_some(),
                    "type" | "id" | "extra_content" => scan.skip()?,
                    _ => sum += self.weigh(scan, Some(HoleKind::Text))?,
                }
                Ok::<(), Fault>(())
            })?;
            self.is_odd |= !has_index;
            Ok::<(), Fault>(())
        })?;
        Ok(sum)
    }

    /// The bytes of all strings in a value, without those that only label others.
    fn weigh(&mut self, scan: &mut Scan<'a>, kind: Option<HoleKind>) -> Result<u64, Fault> {
        let mut sum = 0;
        match scan.peek()? {
            Kind::Array => scan.array(|scan| self.weigh(scan, kind).map(|bytes| sum += bytes))?,
            Kind::Object => scan.object(|scan, key| {
                match key.raw() {
                    "type" | "id" | "index" | "format" | "extra_content" | "signature" => scan.skip()?,
                    _ => sum += self.weigh(scan, kind)?,
                }
                Ok::<(), Fault>(())
            })?,
            _ => {
                if let Some(string) = scan.value()?.string() {
                    sum = string.raw().len() as u64;
                    if let Some(kind) = kind {
                        self.holes.add(string, kind);
                    }
                }
            }
        }
        Ok(sum)
    }

    fn padding(&mut self, scan: &mut Scan<'a>) -> Result<(), Fault> {
        if let Some(string) = scan.value()?.string() {
            self.holes.add(string, HoleKind::Padding);
        }
        Ok(())
    }
}
