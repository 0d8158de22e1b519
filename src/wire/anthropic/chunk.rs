use crate::wire::json::{Fault, Kind, Scan, Str};
use crate::wire::stencil::{HoleKind, Holes};

/// What one event of a stream, or one whole answer, says. Read in one pass.
#[derive(Debug, Default)]
pub(in crate::wire) struct Chunk<'a> {
    /// The `type` at the top.
    pub(in crate::wire) kind: Option<Str<'a>>,
    pub(in crate::wire) id: Option<Str<'a>>,
    pub(in crate::wire) model: Option<Str<'a>>,
    /// The texts of `usage`, of the message and beside it.
    pub(in crate::wire) usage: [Option<&'a str>; 2],
    pub(in crate::wire) stop_reason: Option<Str<'a>>,
    pub(in crate::wire) has_error: bool,
    /// `content` is there, as an array.
    pub(in crate::wire) has_list: bool,
    /// Bytes of text and tool calls, as they are written.
    pub(in crate::wire) text: u64,
    pub(in crate::wire) reasoning: u64,
    pub(in crate::wire) has_tool: bool,
    pub(in crate::wire) holes: Holes,
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

    pub(in crate::wire) fn has_content(&self) -> bool {
        self.text > 0 || self.reasoning > 0 || self.has_tool
    }

    fn top(&mut self, scan: &mut Scan<'a>, key: Str<'a>) -> Result<(), Fault> {
        match key.raw() {
            "type" => self.kind = scan.value()?.string(),
            "message" | "delta" if scan.peek()? == Kind::Object => scan.object(|scan, key| self.inner(scan, key))?,
            "content_block" if scan.peek()? == Kind::Object => self.block(scan)?,
            "usage" => self.usage[1] = scan.value()?.present(),
            "error" => self.has_error = !scan.value()?.is_null(),
            _ => self.inner(scan, key)?,
        }
        Ok(())
    }

    /// A message, or what is added to a block or to the message.
    fn inner(&mut self, scan: &mut Scan<'a>, key: Str<'a>) -> Result<(), Fault> {
        match key.raw() {
            "id" => self.id = scan.value()?.string(),
            "model" => self.model = scan.value()?.string(),
            "usage" => self.usage[0] = scan.value()?.present(),
            "stop_reason" => self.stop_reason = scan.value()?.string(),
            "content" if scan.peek()? == Kind::Array => {
                self.has_list = true;
                scan.array(|scan| if scan.peek()? == Kind::Object { self.block(scan) } else { scan.skip() })?;
            }
            "text" | "partial_json" => self.text += self.hole(scan, HoleKind::Text)?,
            "thinking" => self.reasoning += self.hole(scan, HoleKind::Reasoning)?,
            _ => scan.skip()?,
        }
        Ok(())
    }

    fn block(&mut self, scan: &mut Scan<'a>) -> Result<(), Fault> {
        scan.object(|scan, key| {
            match key.raw() {
                "name" => {
                    self.has_tool = true;
                    self.text += scan.value()?.string_bytes();
                }
                "text" => self.text += scan.value()?.string_bytes(),
                "thinking" => self.reasoning += scan.value()?.string_bytes(),
                "data" => self.reasoning += u64::from(scan.value()?.string_bytes() > 0),
                // An empty object is a call's beginning.
                "input" => self.text += Some(scan.value()?.len() as u64).filter(|&length| length > 2).unwrap_or(0),
                _ => scan.skip()?,
            }
            Ok::<(), Fault>(())
        })
    }

    fn hole(&mut self, scan: &mut Scan<'a>, kind: HoleKind) -> Result<u64, Fault> {
        let Some(string) = scan.value()?.string() else { return Ok(0) };
        self.holes.add(string, kind);
        Ok(string.raw().len() as u64)
    }
}
