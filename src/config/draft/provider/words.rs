//! The words that entries of `providers:` are written with.

use crate::config::checked::CostSource;
use crate::config::shapes::words;
use crate::units::{Format, Lack, Need, OnDisconnect, Replay, Speaks};

words! {
    /// The wire format of a provider.
    FormatWord: Format {
        "openai" => Format::OpenAi,
        "anthropic" => Format::Anthropic,
        "gemini" => Format::Gemini,
        "sandbox" => Format::Sandbox,
    }
    later []
}

words! {
    /// An API for conversations.
    SpeaksWord: Speaks {
        "chat" => Speaks::Chat,
        "responses" => Speaks::Responses,
    }
    later []
}

words! {
    /// Something that OpenAI's format has and others' APIs that are like it may not have.
    LackWord: Option<Lack> {
        "nothing" => None,
        "n" => Some(Lack::N),
        "logprobs" => Some(Lack::Logprobs),
        "parallel_tools" => Some(Lack::ParallelTools),
        "stream_usage" => Some(Lack::StreamUsage),
        "strict_tools" => Some(Lack::StrictTools),
        "developer_role" => Some(Lack::DeveloperRole),
    }
    later []
}

words! {
    /// Whether a model gets back what it thought earlier.
    ReplayWord: Replay {
        "off" => Replay::Off,
        "tools" => Replay::Tools,
        "always" => Replay::Always,
    }
    later []
}

words! {
    /// How a provider bills an answer that was cut.
    OnDisconnectWord: OnDisconnect {
        "stops" => OnDisconnect::Stops,
        "finishes" => OnDisconnect::Finishes,
        "unknown" => OnDisconnect::Unknown,
    }
    later []
}

words! {
    /// Whose figure of a cost counts.
    CostSourceWord: CostSource {
        "ours" => CostSource::Ours,
        "provider" => CostSource::Provider,
    }
    later []
}

words! {
    /// Something a call needs from the model that serves it.
    NeedWord: Need {
        "tools" => Need::Tools,
        "vision" => Need::Vision,
        "audio" => Need::Audio,
        "files" => Need::Files,
        "json_schema" => Need::JsonSchema,
        "reasoning" => Need::Reasoning,
    }
    later []
}
