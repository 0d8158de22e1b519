use std::ops::Range;

use super::{Form, Mend, Repair};
use crate::wire::json::{Fault, Kind, Scan, Str, Value};
use crate::wire::reading::Finish;

/// A field that has to be there.
#[derive(Debug, Default)]
pub(super) enum Place {
    #[default]
    Missing,
    /// Something else than a text stands there.
    Bad(Range<usize>),
    Sound,
}

impl Place {
    fn of(value: Value<'_>) -> Self {
        if value.string().is_some() { Self::Sound } else { Self::Bad(value.range()) }
    }
}

#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) open: usize,
    pub(super) is_empty: bool,
    pub(super) id: Place,
    pub(super) object: Place,
    pub(super) model: Place,
}

/// One choice, as far as it has been read.
#[derive(Debug, Default)]
struct Choice<'a> {
    index: Option<u64>,
    finish: Option<Str<'a>>,
    message: Option<Message<'a>>,
}

#[derive(Debug, Default)]
struct Message<'a> {
    open: usize,
    is_empty: bool,
    role: Place,
    /// Where the content is a list.
    parts: Option<Value<'a>>,
    reasoning: Option<Value<'a>>,
    has_call: bool,
    calls: Vec<Call<'a>>,
}

#[derive(Debug, Default)]
struct Call<'a> {
    open: usize,
    is_empty: bool,
    index: Option<u64>,
    /// Where `index` stands and is no number.
    bad_index: Option<Range<usize>>,
    id: Option<Str<'a>>,
    has_name: bool,
}

/// One way through a text.
pub(super) struct Pass<'r, 'a> {
    repair: &'r mut Repair,
    finished: u128,
    form: Form,
    pub(super) top: Fields,
    pub(super) has_usage: bool,
    /// A usage where no client looks for it.
    pub(super) hidden: Option<&'a str>,
    choices: u64,
    pub(super) mends: Vec<Mend>,
}

impl<'r, 'a> Pass<'r, 'a> {
    /// Reads a text from front to back; nothing where it is no JSON object.
    pub(super) fn over(text: &'a str, repair: &'r mut Repair, finished: u128, form: Form) -> Option<Self> {
        let (top, mends) = (Fields::default(), Vec::new());
        let mut pass = Self { repair, finished, form, top, has_usage: false, hidden: None, choices: 0, mends };
        pass.top(&mut Scan::lenient(text)).ok()?;
        Some(pass)
    }

    fn top(&mut self, scan: &mut Scan<'a>) -> Result<(), Fault> {
        scan.peek()?;
        (self.top.open, self.top.is_empty) = (scan.position(), true);
        scan.object(|scan, key| {
            self.top.is_empty = false;
            match key.raw() {
                "id" => self.top.id = Place::of(scan.value()?),
                "object" => self.top.object = Place::of(scan.value()?),
                "model" => self.top.model = Place::of(scan.value()?),
                "usage" => self.has_usage = !scan.value()?.is_null(),
                "x_groq" if scan.peek()? == Kind::Object => scan.object(|scan, key| self.hidden_usage(scan, key))?,
                "choices" if scan.peek()? == Kind::Array => scan.array(|scan| self.choice(scan))?,
                _ => drop(scan.value()?),
            }
            Ok(())
        })
    }

    fn hidden_usage(&mut self, scan: &mut Scan<'a>, key: Str<'a>) -> Result<(), Fault> {
        let value = scan.value()?;
        if key.raw() == "usage" && value.kind == Kind::Object {
            self.hidden = Some(value.text());
        }
        Ok(())
    }

    fn choice(&mut self, scan: &mut Scan<'a>) -> Result<(), Fault> {
        if scan.peek()? != Kind::Object {
            return scan.value().map(drop);
        }
        let mut choice = Choice::default();
        scan.object(|scan, key| {
            match key.raw() {
                "index" => choice.index = scan.value()?.digits(),
                "finish_reason" => choice.finish = scan.value()?.string(),
                "usage" => self.hidden_usage(scan, key)?,
                "delta" | "message" if scan.peek()? == Kind::Object => choice.message = Some(message(scan)?),
                _ => drop(scan.value()?),
            }
            Ok::<(), Fault>(())
        })?;
        let index = choice.index.unwrap_or(self.choices);
        self.choices += 1;
        self.mend(index, choice);
        Ok(())
    }

    fn mend(&mut self, index: u64, choice: Choice<'_>) {
        let bit = 1_u128 << index.min(127);
        if let Some(message) = choice.message {
            if message.has_call {
                self.repair.tools |= bit;
            }
            self.mend_message(index, self.repair.spoken & bit == 0, message);
        }
        let Some(word) = choice.finish else { return };
        let finish = match (word.raw(), Finish::read(&word.text())) {
            ("", _) if self.finished & bit == 0 => None,
            ("stop", _) | (_, Finish::Stop) if self.repair.tools & bit != 0 => Some("tool_calls"),
            ("function_call", _) => Some("function_call"),
            (_, finish) => Some(finish.as_str()),
        };
        if finish != Some(word.raw()) {
            self.mends.push((word.range(), finish.map_or_else(|| "null".into(), quoted)));
        }
    }

    fn mend_message(&mut self, choice: u64, is_first: bool, message: Message<'_>) {
        let mut missing = Vec::new();
        match message.role {
            Place::Missing if is_first => missing.push("\"role\":\"assistant\"".to_owned()),
            Place::Bad(place) if is_first => self.mends.push((place, quoted("assistant"))),
            _ => {}
        }
        if let Some(parts) = message.parts {
            // The list was read once already.
            let (text, thinking) = joined(parts.text()).unwrap_or_default();
            self.mends.push((parts.range(), format!("\"{text}\"")));
            match message.reasoning.filter(|_| !thinking.is_empty()) {
                Some(null) if null.is_null() => self.mends.push((null.range(), format!("\"{thinking}\""))),
                Some(_) => {}
                None if thinking.is_empty() => {}
                None => missing.push(format!("\"reasoning_content\":\"{thinking}\"")),
            }
        }
        for call in message.calls.into_iter().filter(|_| self.form.is_stream) {
            let id = call.id.map(|id| id.text().into_owned()).filter(|id| !id.is_empty());
            let index = call.index.unwrap_or_else(|| self.repair.index_of(choice, id.as_deref(), call.has_name));
            match (call.index, call.bad_index) {
                (Some(_), _) => {}
                (None, Some(place)) => self.mends.push((place, index.to_string())),
                (None, None) => insert(call.open, call.is_empty, &[format!("\"index\":{index}")], &mut self.mends),
            }
            self.repair.note(choice, index, id);
        }
        insert(message.open, message.is_empty, &missing, &mut self.mends);
    }
}

fn message<'a>(scan: &mut Scan<'a>) -> Result<Message<'a>, Fault> {
    let mut message = Message { open: scan.position(), is_empty: true, ..Message::default() };
    scan.object(|scan, key| {
        message.is_empty = false;
        match key.raw() {
            "role" => {
                let role = scan.value()?;
                let is_empty = role.string().is_some_and(|role| role.raw().is_empty());
                message.role = if is_empty { Place::Bad(role.range()) } else { Place::of(role) };
            }
            "content" => message.parts = Some(scan.value()?).filter(|content| content.kind == Kind::Array),
            "reasoning_content" => message.reasoning = Some(scan.value()?),
            "tool_calls" if scan.peek()? == Kind::Array => scan.array(|scan| {
                message.has_call = true;
                if scan.peek()? == Kind::Object {
                    message.calls.push(call(scan)?);
                    return Ok(());
                }
                scan.value().map(drop)
            })?,
            _ => drop(scan.value()?),
        }
        Ok::<(), Fault>(())
    })?;
    Ok(message)
}

fn call<'a>(scan: &mut Scan<'a>) -> Result<Call<'a>, Fault> {
    let mut call = Call { open: scan.position(), is_empty: true, ..Call::default() };
    scan.object(|scan, key| {
        call.is_empty = false;
        match key.raw() {
            "index" => {
                let index = scan.value()?;
                call.index = index.digits();
                call.bad_index = call.index.is_none().then(|| index.range());
            }
            "id" => call.id = scan.value()?.string(),
            "function" if scan.peek()? == Kind::Object => scan.object(|scan, key| {
                let value = scan.value()?;
                call.has_name |= key.raw() == "name" && value.string().is_some_and(|name| !name.raw().is_empty());
                Ok::<(), Fault>(())
            })?,
            _ => drop(scan.value()?),
        }
        Ok::<(), Fault>(())
    })?;
    Ok(call)
}

/// The text of a list of parts, and the reasoning in it, escaped as they were.
fn joined(parts: &str) -> Result<(String, String), Fault> {
    let (mut text, mut thinking) = (String::new(), String::new());
    Scan::lenient(parts).array(|scan| match scan.peek()? {
        Kind::Object => scan.object(|scan, key| match (key.raw(), scan.peek()?) {
            ("text", Kind::String) => raw(scan, &mut text),
            ("thinking", Kind::String) => raw(scan, &mut thinking),
            ("thinking", Kind::Array) => scan.array(|scan| match scan.peek()? {
                Kind::Object => scan.object(|scan, key| match (key.raw(), scan.peek()?) {
                    ("text", Kind::String) => raw(scan, &mut thinking),
                    _ => scan.value().map(drop),
                }),
                _ => scan.value().map(drop),
            }),
            _ => scan.value().map(drop),
        }),
        Kind::String => raw(scan, &mut text),
        _ => scan.value().map(drop),
    })?;
    Ok((text, thinking))
}

fn raw(scan: &mut Scan<'_>, into: &mut String) -> Result<(), Fault> {
    into.push_str(scan.value()?.string().map_or("", |string| string.raw()));
    Ok(())
}

/// Puts fields at the beginning of an object.
pub(super) fn insert(open: usize, is_empty: bool, fields: &[String], mends: &mut Vec<Mend>) {
    if !fields.is_empty() {
        let comma = if is_empty { "" } else { "," };
        mends.push((open + 1..open + 1, fields.join(",") + comma));
    }
}

pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
