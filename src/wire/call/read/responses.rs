use super::{MOST_OUTPUT, Reader, whole};
use crate::units::Endpoint;
use crate::wire::call::BadCall;
use crate::wire::json::{Fault, Kind, Scan, Value};

/// The fields of the Responses API that have a meaning of their own here, and those that other formats have and this one does not.
pub(super) const FIELDS: [&str; 12] = [
    "background",
    "best_of",
    "conversation",
    "input",
    "instructions",
    "max_completion_tokens",
    "max_output_tokens",
    "max_tokens",
    "n",
    "previous_response_id",
    "prompt",
    "text",
];
const KEPT: &str = "it goes on from what the provider keeps, whose length nobody knows here";
const LATER: &str = "it is answered later, and what that costs is never told here";

impl Reader {
    /// What only the Responses API has.
    pub(super) fn of_responses(&mut self, scan: &mut Scan<'_>, name: &str, kind: Kind) -> Result<(), BadCall> {
        debug_assert_eq!(self.endpoint, Endpoint::Responses);
        match name {
            "max_output_tokens" => self.facts.max_tokens = whole(name, scan.value()?, 1..=MOST_OUTPUT)?,
            "instructions" => self.facts.prompt.system(scan)?,
            "input" if matches!(kind, Kind::String | Kind::Array) => self.facts.prompt.items(scan)?,
            "input" if kind != Kind::Null => return Err(BadCall::parameter("input", "`input` must be a text or a list".into())),
            "text" if kind == Kind::Object => scan.object(|scan, key| match key.raw() {
                "format" if scan.peek()? == Kind::Object => self.format(scan),
                _ => scan.value().map(|_| ()),
            })?,
            "background" => {
                let is_later = scan.value()?.is_true();
                self.facts.unpriced = self.facts.unpriced.or(is_later.then_some(LATER));
            }
            "conversation" | "previous_response_id" | "prompt" => {
                let is_kept = !scan.value()?.is_null();
                self.facts.unpriced = self.facts.unpriced.or(is_kept.then_some(KEPT));
            }
            _ => scan.value().map(|_| ())?,
        }
        Ok(())
    }

    fn format(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        scan.object(|scan, key| {
            let value: Value<'_> = scan.value()?;
            match key.raw() {
                "type" => self.facts.wants_schema |= value.string().is_some_and(|kind| kind.raw() == "json_schema"),
                "schema" => self.facts.prompt.add_value(value),
                _ => {}
            }
            Ok(())
        })
    }
}
