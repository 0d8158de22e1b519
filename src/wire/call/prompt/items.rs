//! The input of the Responses API.

use super::{Attachment, Prompt, Role};
use crate::wire::json::{Fault, Kind, Scan, Str, Value};

impl Attachment {
    /// What a model thought before, encrypted: longer than the text, and no text to a tokenizer.
    fn encrypted(bytes: u64) -> Self {
        Self { usual: bytes / 6, most: bytes }
    }
}

impl Prompt {
    /// Reads `input`: a text, or a list of items.
    pub(in crate::wire::call) fn items(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        if scan.peek()? != Kind::Array {
            self.messages += 1;
            let start = self.texts.len();
            self.whole(scan)?;
            self.user = start..self.texts.len();
            return Ok(());
        }
        scan.array(|scan| {
            self.messages += 1;
            let (start, mut role) = (self.texts.len(), Role::Other);
            match scan.peek()? {
                Kind::Object => scan.object(|scan, key| self.item(scan, key, &mut role)),
                _ => self.whole(scan),
            }?;
            self.end_message(start, role);
            Ok::<(), Fault>(())
        })
    }

    fn item(&mut self, scan: &mut Scan<'_>, key: Str<'_>, role: &mut Role) -> Result<(), Fault> {
        match key.raw() {
            "role" | "type" => {
                let value = scan.value()?;
                self.names_unseen |= key.raw() == "type" && value.string().is_some_and(|kind| kind.raw() == "item_reference");
                let told = Role::of(value);
                *role = if told == Role::Other { *role } else { told };
                Ok(())
            }
            "id" | "call_id" | "status" | "phase" => skip(scan),
            "content" | "output" | "summary" => self.parts(scan),
            "encrypted_content" => self.attach(scan, Attachment::encrypted),
            _ => self.whole(scan),
        }
    }

    /// Reads a text, or a list of parts.
    fn parts(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        if scan.peek()? != Kind::Array {
            return self.whole(scan);
        }
        scan.array(|scan| match scan.peek()? {
            Kind::Object => self.item_part(scan),
            _ => self.whole(scan),
        })
    }

    fn item_part(&mut self, scan: &mut Scan<'_>) -> Result<(), Fault> {
        let (mut is_image, mut is_file, mut is_elsewhere, mut bytes) = (false, false, false, 0);
        scan.object(|scan, key| {
            match key.raw() {
                "type" => {
                    let kind = scan.value()?.string();
                    let is = |word: &str| kind.is_some_and(|kind| kind.raw() == word);
                    (is_image, is_file) = (is("input_image"), is("input_file"));
                }
                "image_url" | "file_data" => bytes += value_bytes(scan.value()?),
                "file_id" | "file_url" => is_elsewhere |= !scan.value()?.is_null(),
                "filename" | "detail" | "annotations" | "logprobs" => skip(scan)?,
                "input_audio" => {
                    self.has_audio = true;
                    self.attach(scan, Attachment::audio)?;
                }
                _ => self.whole(scan)?,
            }
            Ok(())
        })?;
        if is_image {
            self.images += 1;
            self.weigh(Attachment::image(bytes));
        } else if is_file {
            self.has_file = true;
            self.names_unseen |= is_elsewhere;
            self.weigh(Attachment::file(bytes));
        }
        Ok(())
    }
}

fn skip(scan: &mut Scan<'_>) -> Result<(), Fault> {
    scan.value().map(|_| ())
}

fn value_bytes(value: Value<'_>) -> u64 {
    value.len() as u64
}
