use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderMap;
use serde::Serialize;

use crate::config::SpentWindow;
use crate::units::{CallerName, Confidence, Effort, Endpoint, Need, Pairs, Share, TaskName, Tokenizer, Tokens, Usd};
use crate::wire::Call;

/// All that a rule may look at. What costs time is worked out when a rule first asks for it.
#[derive(Debug)]
pub struct Features {
    pub endpoint: Endpoint,
    /// What the client wrote; `auto` where it left the choice to the rules.
    pub requested_model: Box<str>,
    pub task: Task,
    /// The ceiling for this one request that the client declared.
    pub max_cost: Option<Usd>,
    pub labels: Pairs,
    pub headers: Arc<HeaderMap>,
    /// Who asks, where there are callers.
    pub caller: Option<CallerName>,
    /// From the caller's entry alone.
    pub tags: Pairs,
    pub spent: Spent,
    pub effort: Option<Effort>,
    pub stream: bool,
    /// How many answers were asked for (`n`), at least 1.
    pub answers: u32,
    /// The output limit that the client set.
    pub output_limit: Option<Tokens>,
    pub prompt: Prompt,
    /// Where this request falls in a `split`: any number; 0 falls to the heaviest member.
    pub draw: u64,
}

/// How much of each window of each budget was used (posted and disputed, never held) when the request came.
#[derive(Clone, Debug, Default)]
pub struct Spent(BTreeMap<SpentWindow, Share>);

impl Spent {
    /// 0 % where nothing is said of the window.
    #[must_use]
    pub fn of(&self, window: SpentWindow) -> Share {
        self.0.get(&window).copied().unwrap_or_default()
    }

    /// Whether nothing is said of any window.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is said.
    pub fn all(&self) -> impl Iterator<Item = (SpentWindow, Share)> {
        self.0.iter().map(|(window, share)| (*window, *share))
    }
}

impl FromIterator<(SpentWindow, Share)> for Spent {
    fn from_iter<I: IntoIterator<Item = (SpentWindow, Share)>>(shares: I) -> Self {
        Self(shares.into_iter().collect())
    }
}

/// What a request is about, and who said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub name: TaskName,
    pub source: TaskSource,
    /// What the words showed, where they were looked at.
    pub shown: Option<Box<Shown>>,
}

/// What the words of a request show of its task, whether it counted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The likeliest task.
    pub likeliest: TaskName,
    pub confidence: Confidence,
    /// What it would be else; absent where one sign decided for good.
    pub runner_up: Option<(TaskName, Confidence)>,
    /// What was seen, in words.
    pub signs: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskSource {
    Declared,
    /// One strong sign showed it, a turn of tools, or a keyword of the file.
    Structure,
    /// Signs and the learned table together.
    Learned,
    /// Nobody said, and nothing showed it well enough: the task is `unknown`.
    None,
}

impl Task {
    #[must_use]
    pub fn declared(name: TaskName) -> Self {
        Self { name, source: TaskSource::Declared, shown: None }
    }

    #[must_use]
    pub fn unknown() -> Self {
        Self { name: TaskName::unknown(), source: TaskSource::None, shown: None }
    }
}

impl TaskSource {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Structure => "structure",
            Self::Learned => "learned",
            Self::None => "none",
        }
    }
}

/// Where facts about the prompt come from.
#[derive(Debug)]
pub enum Prompt {
    /// A call that came in.
    Of(Arc<Call>),
    /// Stated for `explain`; what was not stated is a fact that the request lacks.
    Stated { tokens: Option<Tokens>, needs: Vec<Need>, turns: Option<u64> },
}

impl Prompt {
    /// `body`, or `stated`.
    #[must_use]
    pub fn source(&self) -> &'static str {
        match self {
            Self::Of(_) => "body",
            Self::Stated { .. } => "stated",
        }
    }
}

impl Features {
    /// The estimate of the prompt's length, as rules compare it: by one tokenizer for all, as no target is known yet.
    #[must_use]
    pub fn prompt_tokens(&self) -> Option<Tokens> {
        self.prompt_tokens_for(Tokenizer::default())
    }

    /// The same by the tokenizer of a target. What was stated is taken as it is.
    #[must_use]
    pub fn prompt_tokens_for(&self, tokenizer: Tokenizer) -> Option<Tokens> {
        match &self.prompt {
            Prompt::Of(call) => Some(call.prompt_tokens_for(tokenizer)),
            Prompt::Stated { tokens, .. } => *tokens,
        }
    }

    /// A bound that the prompt's length cannot exceed; cheaper than the estimate.
    #[must_use]
    pub fn prompt_tokens_at_most(&self) -> Option<Tokens> {
        match &self.prompt {
            Prompt::Of(call) => Some(call.prompt_tokens_at_most()),
            Prompt::Stated { tokens, .. } => *tokens,
        }
    }

    #[must_use]
    pub fn needs(&self) -> &[Need] {
        match &self.prompt {
            Prompt::Of(call) => call.needs(),
            Prompt::Stated { needs, .. } => needs,
        }
    }

    /// Messages so far.
    #[must_use]
    pub fn turns(&self) -> Option<u64> {
        match &self.prompt {
            Prompt::Of(call) => Some(call.turns()),
            Prompt::Stated { turns, .. } => *turns,
        }
    }

    #[must_use]
    pub fn is_auto(&self) -> bool {
        &*self.requested_model == "auto"
    }
}
