use std::fmt;

/// A task that can be recognised from a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Label {
    Coding,
    Math,
    Summarization,
    Extraction,
    Classification,
    Translation,
    Writing,
    Rewriting,
    Qa,
    Chat,
}

impl Label {
    /// In the order of the learned table.
    pub const ALL: [Self; 10] = [
        Self::Coding,
        Self::Math,
        Self::Summarization,
        Self::Extraction,
        Self::Classification,
        Self::Translation,
        Self::Writing,
        Self::Rewriting,
        Self::Qa,
        Self::Chat,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coding => "coding",
            Self::Math => "math",
            Self::Summarization => "summarization",
            Self::Extraction => "extraction",
            Self::Classification => "classification",
            Self::Translation => "translation",
            Self::Writing => "writing",
            Self::Rewriting => "rewriting",
            Self::Qa => "qa",
            Self::Chat => "chat",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|label| label.as_str() == text)
    }

    /// Its place in `ALL`.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
