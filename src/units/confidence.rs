use std::fmt;

use super::Share;

/// How sure a guess is, counted in thousandths: 0 is not at all, 1 is certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Confidence(u16);

impl Confidence {
    pub const CERTAIN: Self = Self(1_000);
    /// From here on a guess counts, where a file says nothing else.
    pub const FLOOR: Self = Self(700);

    /// Above 1000 it is certain.
    #[must_use]
    pub fn from_thousandths(thousandths: u16) -> Self {
        Self(thousandths.min(1_000))
    }

    /// `70%`, down to a tenth of a per cent.
    #[must_use]
    pub fn of(share: Share) -> Self {
        Self::from_thousandths(u16::try_from(share.millionths() / 1_000).unwrap_or(u16::MAX))
    }

    #[must_use]
    pub fn thousandths(self) -> u16 {
        self.0
    }

    /// Writes `0.83`, or `0.834` where the third place says something, behind a text.
    pub fn push(self, text: &mut String) {
        text.push_str(if self.0 == 1_000 { "1." } else { "0." });
        let (part, places) = (self.0 % 1_000, if self.0.is_multiple_of(10) { 2 } else { 3 });
        // The one in front keeps the zeros behind it.
        text.push_str(&itoa::Buffer::new().format(1_000 + part)[1..=places]);
    }

    /// `0.7`, `.7`, `1` or `70%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (number, places) = text.strip_suffix('%').map_or((text, 3), |percent| (percent.trim_end(), 1));
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let is_plain = whole.len() <= 3 && part.len() <= places && !number.trim_matches('.').is_empty();
        if !is_plain || !format!("{whole}{part}").bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let digits = format!("{whole}{part:0<places$}").parse::<u32>().ok()?;
        u16::try_from(digits).ok().filter(|thousandths| *thousandths <= 1_000).map(Self)
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.push(&mut text);
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confidences_are_read_and_written() {
        for (text, thousandths, shown) in [
            ("0.7", 700, "0.70"),
            (".7", 700, "0.70"),
            ("70%", 700, "0.70"),
            ("72.5%", 725, "0.725"),
            ("0", 0, "0.00"),
            ("1", 1_000, "1.00"),
            ("100%", 1_000, "1.00"),
            ("0.8349", 0, ""),
            ("1.001", 0, ""),
            ("-0.5", 0, ""),
            ("0.7.1", 0, ""),
            ("%", 0, ""),
            (".", 0, ""),
            ("much", 0, ""),
        ] {
            let read = Confidence::parse(text);
            let expected = (!shown.is_empty()).then_some((thousandths, shown.to_owned()));
            assert_eq!(read.map(|confidence| (confidence.thousandths(), confidence.to_string())), expected, "{text}");
        }
    }
}
