use crate::wire::json::{Fault, Kind, Scan, Str};
use crate::wire::stencil::{HoleKind, Holes};

/// What one event of a stream, or one whole answer, says. Read in one pass.
#[derive(Debug, Default)]
pub(in crate::wire) struct Chunk<'a> {
    /// The `type` at the top; a whole answer has none.
    pub(in crate::wire) kind: Option<Str<'a>>,
    pub(in crate::wire) sequence: Option<u64>,
    pub(in crate::wire) id: Option<Str<'a>>,
    pub(in crate::wire) model: Option<Str<'a>>,
    pub(in crate::wire) created: Option<u64>,
    pub(in crate::wire) status: Option<Str<'a>>,
    /// Why it is incomplete.
    pub(in crate::wire) reason: Option<Str<'a>>,
    pub(in crate::wire) error: Option<&'a str>,
    pub(in crate::wire) usage: Option<&'a str>,
    /// `output` is there, as an array.
    pub(in crate::wire) has_list: bool,
    /// What all of `output` holds.
    pub(in crate::wire) output: Weight,
    pub(in crate::wire) holes: Holes,
    delta: Option<Str<'a>>,
    item: Weight,
}

/// How much something says: bytes as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::wire) struct Weight {
    /// Text and tool calls.
    pub(in crate::wire) text: u64,
    pub(in crate::wire) reasoning: u64,
    /// The client is to run a tool.
    pub(in crate::wire) has_call: bool,
    /// A step of the provider's own, such as a search.
    pub(in crate::wire) has_step: bool,
}

impl Weight {
    pub(in crate::wire) fn has_content(self) -> bool {
        self.text > 0 || self.reasoning > 0 || self.has_call || self.has_step
    }

    fn add(&mut self, other: Self) {
        self.text += other.text;
        self.reasoning += other.reasoning;
        self.has_call |= other.has_call;
        self.has_step |= other.has_step;
    }
}

impl<'a> Chunk<'a> {
    /// Reads one JSON object.
    pub(in crate::wire) fn read(text: &'a str) -> Result<Self, Fault> {
        let mut chunk = Self::default();
        Scan::read_object(text, |scan, key| chunk.top(scan, key))?;
        Ok(chunk)
    }

    pub(in crate::wire) fn is(&self, kind: &str) -> bool {
        self.kind.is_some_and(|own| own.raw() == kind)
    }

    /// What this event adds to the answer; of an item, what is known when it begins, because its deltas follow.
    pub(in crate::wire) fn said(&self) -> Weight {
        let kind = self.kind.map_or("", |kind| kind.raw());
        match (kind, self.delta) {
            ("response.output_item.added", _) => self.item,
            // Encrypted reasoning comes at the end of its item, and there alone.
            ("response.output_item.done", _) => Weight { reasoning: u64::from(self.item.reasoning > 0), ..Weight::default() },
            (kind, Some(delta)) if kind.rsplit('.').next() == Some("delta") => {
                let bytes = delta.raw().len() as u64;
                if kind.contains("reasoning") {
                    Weight { reasoning: bytes, ..Weight::default() }
                } else {
                    Weight { text: bytes, ..Weight::default() }
                }
            }
            _ => Weight::default(),
        }
    }

    fn top(&mut self, scan: &mut Scan<'a>, key: Str<'a>) -> Result<(), Fault> {
        match key.raw() {
            "type" => self.kind = scan.value()?.string(),
            "sequence_number" => {
                let value = scan.value()?;
                self.sequence = value.digits();
                if self.sequence.is_some() {
                    self.holes.add_number(value.range());
                }
            }
            "response" if scan.peek()? == Kind::Object => scan.object(|scan, key| self.response(scan, key))?,
            "item" if scan.peek()? == Kind::Object => self.item = item(scan)?,
            "delta" => self.delta = self.hole(scan, HoleKind::Text)?,
            "obfuscation" => drop(self.hole(scan, HoleKind::Padding)?),
            _ => self.response(scan, key)?,
        }
        Ok(())
    }

    fn response(&mut self, scan: &mut Scan<'a>, key: Str<'a>) -> Result<(), Fault> {
        match key.raw() {
            "id" => self.id = scan.value()?.string(),
            "model" => self.model = scan.value()?.string(),
            "created_at" => self.created = scan.value()?.digits(),
            "status" => self.status = scan.value()?.string(),
            "usage" => self.usage = scan.value()?.present(),
            "error" => self.error = scan.value()?.present(),
            "incomplete_details" if scan.peek()? == Kind::Object => scan.object(|scan, key| {
                let value = scan.value()?;
                if key.raw() == "reason" {
                    self.reason = value.string();
                }
                Ok::<(), Fault>(())
            })?,
            "output" if scan.peek()? == Kind::Array => {
                self.has_list = true;
                scan.array(|scan| {
                    if scan.peek()? == Kind::Object {
                        self.output.add(item(scan)?);
                        return Ok(());
                    }
                    scan.skip()
                })?;
            }
            _ => scan.skip()?,
        }
        Ok(())
    }

    fn hole(&mut self, scan: &mut Scan<'a>, kind: HoleKind) -> Result<Option<Str<'a>>, Fault> {
        let string = scan.value()?.string();
        if let Some(string) = string {
            self.holes.add(string, kind);
        }
        Ok(string)
    }
}

/// Reads one item of an output.
fn item(scan: &mut Scan<'_>) -> Result<Weight, Fault> {
    let (mut kind, mut parts, mut called, mut thought) = (None, 0, 0, 0);
    scan.object(|scan, key| {
        match key.raw() {
            "type" => kind = scan.value()?.string(),
            "content" => parts += texts(scan)?,
            "summary" => thought += texts(scan)?,
            "encrypted_content" => thought += u64::from(scan.value()?.string_bytes() > 0),
            "name" | "arguments" | "input" => called += scan.value()?.string_bytes(),
            _ => scan.skip()?,
        }
        Ok::<(), Fault>(())
    })?;
    Ok(match kind.as_ref().map(Str::raw) {
        Some("message") => Weight { text: parts, ..Weight::default() },
        Some("reasoning") => Weight { reasoning: parts + thought, ..Weight::default() },
        Some("function_call" | "custom_tool_call") => Weight { text: called, has_call: true, ..Weight::default() },
        _ => Weight { has_step: true, ..Weight::default() },
    })
}

/// The bytes of the texts in a list of parts.
fn texts(scan: &mut Scan<'_>) -> Result<u64, Fault> {
    let mut sum = 0;
    if scan.peek()? != Kind::Array {
        scan.skip()?;
        return Ok(0);
    }
    scan.array(|scan| {
        if scan.peek()? != Kind::Object {
            return scan.skip();
        }
        scan.object(|scan, key| {
            let value = scan.value()?;
            if matches!(key.raw(), "text" | "refusal") {
                sum += value.string_bytes();
            }
            Ok(())
        })
    })?;
    Ok(sum)
}
