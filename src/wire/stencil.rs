use std::ops::Range;

use super::json::{Str, string_body};

/// An event that was read in full and found ordinary, kept to know others like it by comparing bytes.
///
/// The events of a stream mostly differ in one or two strings. An event that has the same bytes around sound strings is
/// sound JSON and says the same of all else, so it needs no reading.
#[derive(Debug, Default)]
pub(super) struct Stencil {
    event: Vec<u8>,
    holes: Vec<Hole>,
}

/// How an event fits: its length, and the bytes of its strings by kind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) length: usize,
    pub(super) text: u64,
    pub(super) reasoning: u64,
    /// The event's own number, where it has one.
    pub(super) number: Option<u64>,
}

/// A string that differs from event to event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// What stands between the quotes, or a number's digits.
    pub(super) place: Range<usize>,
    pub(super) kind: HoleKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HoleKind {
    Text,
    Reasoning,
    /// Random text against guessing by length.
    Padding,
    /// Digits that count the events.
    Number,
}

/// The first few such strings, in order. More than fit make the event not repeatable.
#[derive(Debug, Default)]
pub(super) struct Holes {
    found: [Option<Hole>; 4],
    count: usize,
}

impl Holes {
    pub(super) fn add(&mut self, string: Str<'_>, kind: HoleKind) {
        self.push(Hole { place: string.inner(), kind });
    }

    /// A whole number that is written in digits alone.
    pub(super) fn add_number(&mut self, place: Range<usize>) {
        self.push(Hole { place, kind: HoleKind::Number });
    }

    fn push(&mut self, hole: Hole) {
        if let Some(slot) = self.found.get_mut(self.count) {
            *slot = Some(hole);
        }
        self.count += 1;
    }

    /// All of them, unless there were too many.
    pub(super) fn all(&self) -> Option<impl Iterator<Item = &Hole>> {
        (self.count <= self.found.len()).then(|| self.found.iter().flatten())
    }
}

impl Stencil {
    /// Keeps an event as it was framed; the places of `holes` count from `offset`.
    pub(super) fn learn(&mut self, event: &[u8], offset: usize, holes: &Holes) {
        self.event.clear();
        self.holes.clear();
        let Some(all) = holes.all() else { return };
        self.event.extend_from_slice(event);
        self.holes.extend(all.map(|hole| Hole { place: hole.place.start + offset..hole.place.end + offset, kind: hole.kind }));
    }

    /// Whether `input` begins with an event like the one kept.
    pub(super) fn fit(&self, input: &[u8]) -> Option<Fit> {
        let mut fit = Fit::default();
        let mut from = 0;
        for hole in &self.holes {
            let literal = &self.event[from..hole.place.start];
            if !input[fit.length..].starts_with(literal) {
                return None;
            }
            fit.length += literal.len();
            let body = &input[fit.length..];
            let length = if hole.kind == HoleKind::Number {
                let (length, number) = digits(body)?;
                fit.number = Some(number);
                length
            } else {
                let (length, _) = string_body(body, false).ok()?;
                std::str::from_utf8(&body[..length]).ok()?;
                length
            };
            match hole.kind {
                HoleKind::Text => fit.text += length as u64,
                HoleKind::Reasoning => fit.reasoning += length as u64,
                HoleKind::Padding | HoleKind::Number => {}
            }
            fit.length += length;
            from = hole.place.end;
        }
        let tail = &self.event[from..];
        // Without holes nothing was learnt, or an event that would be repeated word for word.
        if self.holes.is_empty() || !input[fit.length..].starts_with(tail) {
            return None;
        }
        fit.length += tail.len();
        Some(fit)
    }
}

/// The number that a text begins with, as JSON writes it, and its length.
fn digits(text: &[u8]) -> Option<(usize, u64)> {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let is_sound = length == 1 || (length > 1 && text[0] != b'0');
    let number = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    is_sound.then_some((length, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_are_counted_fit_with_any_sound_number() {
        let event = br#"data: {"n":7,"x":1}"#;
        let mut holes = Holes::default();
        holes.add_number(5..6);
        let mut stencil = Stencil::default();
        stencil.learn(event, 6, &holes);
        for (text, number) in [
            ("12", Some(12)),
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("07", None),
            ("", None),
            ("1e3", None),
            ("-1", None),
            ("18446744073709551616", None),
        ] {
            let found = stencil.fit(format!("data: {{\"n\":{text},\"x\":1}}").as_bytes());
            assert_eq!(found.and_then(|fit| fit.number), number, "{text}");
        }
    }
}
