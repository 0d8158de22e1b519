use super::Effort;

/// What a target's API takes where targets of one format differ. Of a call of the target's own format only `lacks` and `most_stops` are
/// asked: all else passes as it came.
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
    /// That number is known of this very API, and not what most take.
    pub most_stops_is_known: bool,
    pub lacks: Lacks,
    /// The words for effort that it takes.
    pub efforts: Efforts,
    pub replay: Replay,
    /// It knows how wordy an answer is to be.
    pub takes_verbosity: bool,
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
            most_stops_is_known: false,
            lacks: Lacks::default(),
            efforts: Efforts::default(),
            replay: Replay::Off,
            takes_verbosity: false,
        }
    }
}

/// Something that `OpenAI`'s format has and an API that is like it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Several answers to one call.
    N,
    Logprobs,
    /// A word on whether tools may be called side by side.
    ParallelTools,
    /// A word on whether a stream tells what it used.
    StreamUsage,
    /// A word on whether a tool's arguments keep to its schema.
    StrictTools,
    /// Messages of the developer, beside those of the system.
    DeveloperRole,
}

/// A set of what an API lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lacks(u8);

/// A set of words for effort; without any, all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Efforts(u8);

/// Whether a model gets back what it thought earlier, where that comes without its provider's signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    #[default]
    Off,
    /// With the turns in which it called tools.
    Tools,
    /// With each turn.
    Always,
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

impl Lack {
    pub const ALL: [Self; 6] = [Self::N, Self::Logprobs, Self::ParallelTools, Self::StreamUsage, Self::StrictTools, Self::DeveloperRole];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::N => "n",
            Self::Logprobs => "logprobs",
            Self::ParallelTools => "parallel_tools",
            Self::StreamUsage => "stream_usage",
            Self::StrictTools => "strict_tools",
            Self::DeveloperRole => "developer_role",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|lack| lack.as_str() == word)
    }
}

impl FromIterator<Lack> for Lacks {
    fn from_iter<I: IntoIterator<Item = Lack>>(lacks: I) -> Self {
        Self(lacks.into_iter().fold(0, |set, lack| set | 1 << lack as u8))
    }
}

impl Lacks {
    #[must_use]
    pub fn has(self, lack: Lack) -> bool {
        self.0 & 1 << lack as u8 != 0
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Lack> {
        Lack::ALL.into_iter().filter(move |lack| self.has(*lack))
    }
}

impl FromIterator<Effort> for Efforts {
    fn from_iter<I: IntoIterator<Item = Effort>>(efforts: I) -> Self {
        Self(efforts.into_iter().fold(0, |set, effort| set | 1 << effort as u8))
    }
}

impl Efforts {
    /// The word that comes nearest, and of two that are as near the greater.
    #[must_use]
    pub fn nearest(self, wanted: Effort) -> Effort {
        let distance = |effort: &Effort| (*effort as u8).abs_diff(wanted as u8);
        self.iter().rev().min_by_key(distance).unwrap_or(wanted)
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    #[must_use]
    pub fn iter(self) -> impl DoubleEndedIterator<Item = Effort> {
        Effort::ALL.into_iter().filter(move |effort| self.0 & 1 << *effort as u8 != 0)
    }
}

impl Replay {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Tools => "tools",
            Self::Always => "always",
        }
    }

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Off, Self::Tools, Self::Always].into_iter().find(|replay| replay.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let lacks: Lacks = [Lack::N, Lack::DeveloperRole].into_iter().collect();
        assert_eq!(lacks.iter().collect::<Vec<_>>(), [Lack::N, Lack::DeveloperRole]);
        assert!(Lack::ALL.into_iter().all(|lack| Lack::parse(lack.as_str()) == Some(lack)));
        assert!(Lacks::default().is_empty() && !lacks.is_empty());
    }

    #[test]
    fn the_nearest_effort_is_taken() {
        use Effort::{High, Low, Max, Medium, Minimal, None, Xhigh};
        let three: Efforts = [Low, Medium, High].into_iter().collect();
        for (wanted, taken) in [(None, Low), (Minimal, Low), (Low, Low), (Medium, Medium), (Xhigh, High), (Max, High)] {
            assert_eq!(three.nearest(wanted), taken, "{wanted:?}");
        }
        let ends: Efforts = [None, Medium].into_iter().collect();
        assert_eq!(ends.nearest(Minimal), None);
        assert_eq!([Low, High].into_iter().collect::<Efforts>().nearest(Medium), High);
        assert_eq!(Efforts::default().nearest(Xhigh), Xhigh);
    }
}
