//! A request as a client sent it.

mod edit;
mod foreign;
mod form;
mod lacking;
mod prompt;
mod read;

use std::fmt;
use std::ops::Range;
use std::sync::OnceLock;

use bytes::Bytes;
use http::HeaderValue;

use crate::tokens::{Counts, Vocabulary};
use crate::units::{Effort, Endpoint, Need, Tokenizer, Tokens};

use super::canonical::Conversation;
use super::json::{self, Fault};
use super::{anthropic, openai, responses};
use prompt::Prompt;

pub use edit::Edits;
pub use lacking::{Gaps, is_lacking};
pub use prompt::{Said, least_prompt};

/// The effort that a number of tokens for thinking comes to.
pub(super) fn effort_of(budget: u64) -> Effort {
    read::effort_of(budget)
}

/// A request body that cannot be served. Always status 400.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadCall {
    pub code: &'static str,
    pub param: Option<String>,
    pub message: String,
}

impl BadCall {
    pub(super) fn parameter(param: &str, message: String) -> Self {
        Self { code: "invalid_parameter", param: Some(param.into()), message }
    }
}

impl From<Fault> for BadCall {
    fn from(fault: Fault) -> Self {
        let message = format!("the body is not valid JSON: {} at byte {}", fault.what, fault.at);
        Self { code: "invalid_json", param: None, message }
    }
}

/// A request body, read as far as routing, limits and money need it.
pub struct Call {
    endpoint: Endpoint,
    body: Bytes,
    fields: Vec<Field>,
    facts: Facts,
    needs: Vec<Need>,
    counts: OnceLock<Counts>,
    o200k: OnceLock<Option<Tokens>>,
    cl100k: OnceLock<Option<Tokens>>,
    /// Read when a target speaks another format.
    conversation: OnceLock<Result<Box<Conversation>, BadCall>>,
}

/// Shows nothing of what the client wrote.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("endpoint", &self.endpoint).field("bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// One field at the top of the body.
#[derive(Debug)]
struct Field {
    /// The place of the key with its quotes.
    key: Range<usize>,
    value: Range<usize>,
    /// The key, where it is written with escapes.
    escaped: Option<String>,
}

/// What `stream_options` says of usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum UsageOption {
    /// The field is absent.
    #[default]
    Absent,
    /// The field is null.
    Null,
    /// An object without the word; where it opens, and whether it has other fields.
    Silent {
        open: usize,
        is_empty: bool,
    },
    /// The word is there, as something else than true.
    Off(Range<usize>),
    On,
}

#[derive(Debug, Default)]
struct Facts {
    model: Option<String>,
    is_streaming: bool,
    usage_option: UsageOption,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: u32,
    best_of: u32,
    /// Prompts in a list of texts; 0 where there is none.
    prompts: u32,
    task: Option<String>,
    effort: Option<Effort>,
    wants_schema: bool,
    unpriced: Option<&'static str>,
    /// The path of a call that passes through.
    path: Option<&'static str>,
    /// Where the model stands in a form.
    form_model: Option<Range<usize>>,
    prompt: Prompt,
}

impl Call {
    /// Checks and reads a body. `max_n` is the largest `n` and `best_of`.
    pub fn parse(endpoint: Endpoint, body: Bytes, max_n: u32) -> Result<Self, BadCall> {
        let body = if body.starts_with("\u{feff}".as_bytes()) { body.slice(3..) } else { body };
        let text = json::utf8(&body).map_err(|at| Fault { at, what: "the text is not UTF-8" })?;
        let (fields, facts) = read::read(endpoint, text, max_n)?;
        let own_needs = [(facts.wants_schema, Need::JsonSchema), (facts.effort.is_some_and(|e| e != Effort::None), Need::Reasoning)];
        let needs = facts.prompt.needs().chain(own_needs.into_iter().filter_map(|(is_needed, need)| is_needed.then_some(need))).collect();
        let (counts, o200k, cl100k, conversation) = <(OnceLock<_>, OnceLock<_>, OnceLock<_>, OnceLock<_>)>::default();
        Ok(Self { endpoint, body, fields, facts, needs, counts, o200k, cl100k, conversation })
    }

    /// Takes a body that passes through as it came: JSON, or a form, of which only the model is read. `path`: below `/v1`.
    pub fn pass(endpoint: Endpoint, path: &'static str, content_type: Option<&HeaderValue>, body: Bytes) -> Result<Self, BadCall> {
        let content_type = content_type.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let Some(boundary) = form::boundary(content_type) else {
            let mut call = Self::parse(endpoint, body, u32::MAX)?;
            // Its answer is read by nobody here, streamed or not.
            (call.facts.path, call.facts.is_streaming) = (Some(path), false);
            return Ok(call);
        };
        let mut facts = Facts { path: Some(path), ..Facts::default() };
        if let Some((model, place)) = form::model(&body, boundary)? {
            (facts.model, facts.form_model) = (Some(model), Some(place));
        }
        let (counts, o200k, cl100k, conversation) = <(OnceLock<_>, OnceLock<_>, OnceLock<_>, OnceLock<_>)>::default();
        Ok(Self { endpoint, body, fields: Vec::new(), facts, needs: Vec::new(), counts, o200k, cl100k, conversation })
    }

    /// The path below the provider's address of a call that passes through as it came.
    #[must_use]
    pub fn passed_path(&self) -> Option<&'static str> {
        self.facts.path
    }

    #[must_use]
    pub fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The body as the client wrote it, without a byte order mark.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The model as the client wrote it.
    #[must_use]
    pub fn model(&self) -> &str {
        self.facts.model.as_deref().unwrap_or_default()
    }

    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.facts.is_streaming
    }

    /// The client wants the usage at the end of its stream; some formats always tell it.
    #[must_use]
    pub fn asks_for_usage(&self) -> bool {
        self.endpoint == Endpoint::Responses || self.facts.usage_option == UsageOption::On
    }

    /// The largest of the limits on output that the client set.
    #[must_use]
    pub fn output_limit(&self) -> Option<Tokens> {
        self.facts.max_tokens.max(self.facts.max_completion_tokens).map(Tokens::new)
    }

    /// Both limits on output are set, and whoever reads them chooses.
    #[must_use]
    pub fn has_two_limits(&self) -> bool {
        self.facts.max_tokens.is_some() && self.facts.max_completion_tokens.is_some()
    }

    /// How many answers are paid for: the larger of `n` and `best_of`, at least 1, for each prompt of a list.
    #[must_use]
    pub fn answers(&self) -> u32 {
        self.facts.n.max(self.facts.best_of).max(1).saturating_mul(self.facts.prompts.max(1))
    }

    /// How many answers come back: `n`, at least 1, for each prompt of a list.
    #[must_use]
    pub fn choices(&self) -> u32 {
        self.facts.n.max(1).saturating_mul(self.facts.prompts.max(1))
    }

    /// `metadata.task`, when it is a string.
    #[must_use]
    pub fn declared_task(&self) -> Option<&str> {
        self.facts.task.as_deref()
    }

    #[must_use]
    pub fn effort(&self) -> Option<Effort> {
        self.facts.effort
    }

    /// About how many tokens the prompt is, by the tokenizer that is taken where none is known; counted when first asked.
    #[must_use]
    pub fn prompt_tokens(&self) -> Tokens {
        self.prompt_tokens_for(Tokenizer::default())
    }

    /// The same by any tokenizer; counted once for all of them.
    #[must_use]
    pub fn prompt_tokens_for(&self, tokenizer: Tokenizer) -> Tokens {
        self.facts.prompt.tokens(self.counts.get_or_init(|| self.facts.prompt.counts(&self.body)), tokenizer)
    }

    /// The same, where it was counted already.
    #[must_use]
    pub fn counted_prompt_tokens(&self, tokenizer: Tokenizer) -> Option<Tokens> {
        self.counts.get().map(|counts| self.facts.prompt.tokens(counts, tokenizer))
    }

    /// What it says, as far as its task is looked for in it. Of a long message only its ends are taken.
    #[must_use]
    pub fn said(&self) -> Said<'_> {
        self.facts.prompt.said(&self.body)
    }

    /// How many images the prompt has.
    #[must_use]
    pub fn images(&self) -> u64 {
        self.facts.prompt.images
    }

    /// What of the call has a price that nobody told: a tool that the provider runs itself, or a dearer tier of service.
    #[must_use]
    pub fn unpriced(&self) -> Option<&'static str> {
        const UNSEEN: &str = "it names what the provider has or fetches, whose length nobody knows here";
        self.facts.unpriced.or(self.facts.prompt.names_unseen.then_some(UNSEEN))
    }

    /// A bound on the prompt's tokens that costs nothing to know.
    #[must_use]
    pub fn prompt_tokens_at_most(&self) -> Tokens {
        self.facts.prompt.tokens_at_most()
    }

    /// How many tokens the prompt is by a vocabulary, and never fewer; counted once for each. Absent: `is_over` said so before the
    /// end, and it is not tried again.
    #[must_use]
    pub fn prompt_tokens_by(&self, vocabulary: Vocabulary, is_over: &dyn Fn() -> bool) -> Option<Tokens> {
        let counted = match vocabulary {
            Vocabulary::O200k => &self.o200k,
            Vocabulary::Cl100k => &self.cl100k,
        };
        *counted.get_or_init(|| self.facts.prompt.tokens_by(&self.body, vocabulary, is_over))
    }

    /// What the call needs from a model.
    #[must_use]
    pub fn needs(&self) -> &[Need] {
        &self.needs
    }

    /// How many messages a chat has so far; 1 elsewhere.
    #[must_use]
    pub fn turns(&self) -> u64 {
        if self.endpoint.is_conversation() { self.facts.prompt.messages } else { 1 }
    }

    /// The call in no format's words. Fails where its own format's rules are broken.
    pub(super) fn conversation(&self) -> Result<&Conversation, &BadCall> {
        let read = || match self.endpoint {
            Endpoint::Messages => anthropic::read_request(self),
            Endpoint::Responses => responses::read_request(self),
            _ => openai::read_request(self),
        };
        self.conversation.get_or_init(|| read().map(Box::new)).as_deref()
    }

    /// The fields at the top of the body: their names, and their values as they are written.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        // The whole body was UTF-8, and fields begin and end at characters.
        let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
        self.fields.iter().map(move |field| (text(field.name(&self.body)), text(&self.body[field.value.clone()])))
    }

    fn usage_option(&self) -> &UsageOption {
        &self.facts.usage_option
    }

    /// The place of a field, by its index.
    fn find(&self, name: &str) -> Option<usize> {
        self.fields.iter().position(|field| field.name(&self.body) == name.as_bytes())
    }

    fn sets_limit(&self, name: &str) -> bool {
        if name == "max_tokens" { self.facts.max_tokens.is_some() } else { self.facts.max_completion_tokens.is_some() }
    }
}

impl Field {
    fn name<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        self.escaped.as_ref().map_or_else(|| &body[self.key.start + 1..self.key.end - 1], String::as_bytes)
    }
}

#[cfg(test)]
mod tests;
