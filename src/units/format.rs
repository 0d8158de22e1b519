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

    /// What a provider of this format is spoken to for a call that came in at `endpoint`; nothing where it has no such API.
    #[must_use]
    pub fn wire(self, endpoint: Endpoint) -> Option<Wire> {
        match (self, endpoint) {
            (Self::OpenAi | Self::Sandbox, Endpoint::Chat | Endpoint::Messages) => Some(Wire::Chat),
            (Self::OpenAi | Self::Sandbox, Endpoint::Completions) => Some(Wire::Completions),
            (Self::OpenAi | Self::Sandbox, Endpoint::Embeddings) => Some(Wire::Embeddings),
            (Self::Anthropic, Endpoint::Chat | Endpoint::Messages) => Some(Wire::Messages),
            (Self::Gemini, Endpoint::Chat | Endpoint::Messages) => Some(Wire::Generate),
            (Self::Anthropic | Self::Gemini, Endpoint::Completions | Endpoint::Embeddings) => None,
        }
    }
}

/// What one API speaks: the shape of its requests, answers and streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wire {
    Chat,
    Completions,
    Embeddings,
    Messages,
    /// Gemini's own; nobody asks for it here.
    Generate,
}

impl Wire {
    pub const ALL: [Self; 5] = [Self::Chat, Self::Completions, Self::Embeddings, Self::Messages, Self::Generate];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "openai.chat",
            Self::Completions => "openai.completions",
            Self::Embeddings => "openai.embeddings",
            Self::Messages => "anthropic.messages",
            Self::Generate => "gemini.generate",
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
}

impl Endpoint {
    pub const ALL: [Self; 4] = [Self::Chat, Self::Completions, Self::Embeddings, Self::Messages];

    /// The word in `match: { endpoint: … }`, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
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
        }
    }

    /// Whether the call is a conversation, with turns, tools and all that belongs to them.
    #[must_use]
    pub fn is_conversation(self) -> bool {
        matches!(self, Self::Chat | Self::Messages)
    }

    /// The path below our own `/v1`.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/chat/completions",
            Self::Completions => "/completions",
            Self::Embeddings => "/embeddings",
            Self::Messages => "/messages",
        }
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
