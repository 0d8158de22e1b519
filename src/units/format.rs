use std::fmt;

/// The wire format that a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    OpenAi,
    Anthropic,
    Gemini,
    Sandbox,
}

impl Format {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Sandbox => "sandbox",
        }
    }

    /// What a provider of this format is spoken to for a call that came in at `endpoint`; nothing where it has no such API. `speaks`
    /// matters where the format has two APIs for conversations.
    #[must_use]
    pub fn wire(self, endpoint: Endpoint, speaks: Speaks) -> Option<Wire> {
        match (self, endpoint) {
            (Self::OpenAi | Self::Sandbox, Endpoint::Chat | Endpoint::Messages | Endpoint::Responses) => Some(speaks.wire(endpoint)),
            (Self::OpenAi | Self::Sandbox, Endpoint::Completions) => Some(Wire::Completions),
            (Self::OpenAi | Self::Sandbox, Endpoint::Embeddings) => Some(Wire::Embeddings),
            (Self::Anthropic, Endpoint::Chat | Endpoint::Messages | Endpoint::Responses) => Some(Wire::Messages),
            (Self::Gemini, Endpoint::Chat | Endpoint::Messages | Endpoint::Responses) => Some(Wire::Generate),
            (Self::Gemini, Endpoint::Embeddings) => Some(Wire::Embed),
            (Self::OpenAi, endpoint) if endpoint.is_passed() => Some(Wire::Passed),
            (Self::Anthropic, Endpoint::Embeddings)
            | (Self::Anthropic | Self::Gemini, Endpoint::Completions)
            | (_, Endpoint::Images | Endpoint::Audio | Endpoint::Moderations | Endpoint::Rerank) => None,
        }
    }
}

/// Which of its two APIs for conversations a model of the `openai` format is reached by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    #[default]
    Chat,
    Responses,
    Both,
}

impl Speaks {
    /// The words in a file's `speaks`.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Both => "chat, responses",
        }
    }

    /// Both, where each is said.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self == other { self } else { Self::Both }
    }

    fn wire(self, endpoint: Endpoint) -> Wire {
        match (self, endpoint) {
            (Self::Responses, _) | (Self::Both, Endpoint::Responses) => Wire::Responses,
            _ => Wire::Chat,
        }
    }
}

/// What one API speaks: the shape of its requests, answers and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wire {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
    /// Gemini's own; nobody asks for it here.
    Generate,
    /// The same of embeddings.
    Embed,
    /// Whatever it is: it goes through as it came.
    Passed,
}

impl Wire {
    pub const ALL: [Self; 6] = [Self::Chat, Self::Completions, Self::Embeddings, Self::Responses, Self::Messages, Self::Generate];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "openai.chat",
            Self::Completions => "openai.completions",
            Self::Embeddings => "openai.embeddings",
            Self::Responses => "openai.responses",
            Self::Messages => "anthropic.messages",
            Self::Generate => "gemini.generate",
            Self::Embed => "gemini.embed",
            Self::Passed => "passed",
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a call asks for, told by its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    Chat,
    Completions,
    Embeddings,
    Messages,
    Responses,
    Images,
    Audio,
    Moderations,
    Rerank,
}

/// The paths below `/v1` whose calls pass through unread, and what they are about.
const PASSED: [(&str, Endpoint); 8] = [
    ("/images/generations", Endpoint::Images),
    ("/images/edits", Endpoint::Images),
    ("/images/variations", Endpoint::Images),
    ("/audio/speech", Endpoint::Audio),
    ("/audio/transcriptions", Endpoint::Audio),
    ("/audio/translations", Endpoint::Audio),
    ("/moderations", Endpoint::Moderations),
    ("/rerank", Endpoint::Rerank),
];

/// The paths whose calls are read.
const READ: [(&str, Endpoint); 5] = [
    ("/chat/completions", Endpoint::Chat),
    ("/completions", Endpoint::Completions),
    ("/embeddings", Endpoint::Embeddings),
    ("/messages", Endpoint::Messages),
    ("/responses", Endpoint::Responses),
];

impl Endpoint {
    pub const ALL: [Self; 9] = [
        Self::Chat,
        Self::Completions,
        Self::Embeddings,
        Self::Messages,
        Self::Responses,
        Self::Images,
        Self::Audio,
        Self::Moderations,
        Self::Rerank,
    ];

    /// What a call to this path below our own `/v1` asks for, and that path for as long as it is needed.
    #[must_use]
    pub fn at(path: &str) -> Option<(Self, &'static str)> {
        READ.into_iter().chain(PASSED).find(|(own, _)| *own == path).map(|(own, endpoint)| (endpoint, own))
    }

    /// Whether its calls go through as they came, of which only the model is read.
    #[must_use]
    pub fn is_passed(self) -> bool {
        matches!(self, Self::Images | Self::Audio | Self::Moderations | Self::Rerank)
    }

    /// The word in `match: { endpoint: … }`, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::Images => "images",
            Self::Audio => "audio",
            Self::Moderations => "moderations",
            Self::Rerank => "rerank",
        }
    }

    /// What a client of this endpoint speaks.
    #[must_use]
    pub fn wire(self) -> Wire {
        match self {
            Self::Chat => Wire::Chat,
            Self::Completions => Wire::Completions,
            Self::Embeddings => Wire::Embeddings,
            Self::Messages => Wire::Messages,
            Self::Responses => Wire::Responses,
            Self::Images | Self::Audio | Self::Moderations | Self::Rerank => Wire::Passed,
        }
    }

    /// Whether a limit on output means something to its calls.
    #[must_use]
    pub fn writes_tokens(self) -> bool {
        self != Self::Embeddings && !self.is_passed()
    }

    /// Whether the call is a conversation, with turns, tools and all that belongs to them.
    #[must_use]
    pub fn is_conversation(self) -> bool {
        matches!(self, Self::Chat | Self::Messages | Self::Responses)
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.as_str() == word)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something a call needs from the model that serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Need {
    Tools,
    Vision,
    Audio,
    Files,
    JsonSchema,
    Reasoning,
}

impl Need {
    pub const ALL: [Self; 6] = [Self::Tools, Self::Vision, Self::Audio, Self::Files, Self::JsonSchema, Self::Reasoning];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Vision => "vision",
            Self::Audio => "audio",
            Self::Files => "files",
            Self::JsonSchema => "json_schema",
            Self::Reasoning => "reasoning",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|need| need.as_str() == word)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How hard the client asked the model to think, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

impl Effort {
    pub const ALL: [Self; 7] = [Self::None, Self::Minimal, Self::Low, Self::Medium, Self::High, Self::Xhigh, Self::Max];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Xhigh => "xhigh",
            Self::Max => "max",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effort| effort.as_str() == word)
    }
}
