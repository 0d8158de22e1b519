/// What a target's API takes where targets of one format differ. Only translated calls ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// The limit on output goes under `max_completion_tokens`; else under `max_tokens`, which every server knows.
    pub names_limit_newly: bool,
    pub thinks: Thinks,
    /// An answer can be held to a JSON schema.
    pub structured_outputs: bool,
    /// Marks in the prompt say up to where it is to be cached.
    pub cache_breakpoints: bool,
    /// Earlier tool calls must carry the signature that came with them.
    pub needs_signatures: bool,
    /// An image may be named by its URL.
    pub image_urls: bool,
    /// How many stop sequences a call may have.
    pub most_stops: usize,
}

impl Default for Quirks {
    /// A server that knows the format as most do.
    fn default() -> Self {
        Self {
            names_limit_newly: false,
            thinks: Thinks::No,
            structured_outputs: true,
            cache_breakpoints: false,
            needs_signatures: false,
            image_urls: true,
            most_stops: 4,
        }
    }
}

/// How a provider bills an answer that was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDisconnect {
    /// It stops, and bills what it had written.
    #[default]
    Stops,
    /// It writes on, and bills all of it.
    Finishes,
    Unknown,
}

/// How a target is asked to reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Thinks {
    /// It is not, or how is not known.
    #[default]
    No,
    /// By a word, as `reasoning_effort`.
    Effort,
    /// By a word, and it decides itself how long.
    Adaptive,
    /// By a number of tokens.
    Budget,
    /// By a level, as `thinkingLevel`.
    Level,
}

impl OnDisconnect {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stops => "stops",
            Self::Finishes => "finishes",
            Self::Unknown => "unknown",
        }
    }
}

impl Thinks {
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "no" => Some(Self::No),
            "effort" => Some(Self::Effort),
            "adaptive" => Some(Self::Adaptive),
            "budget" => Some(Self::Budget),
            "level" => Some(Self::Level),
            _ => None,
        }
    }
}
