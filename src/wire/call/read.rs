mod responses;

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::{BadCall, Facts, Field, UsageOption};
use crate::units::{Effort, Endpoint, ModelName};
use crate::wire::json::{Fault, Kind, Scan, Str, Value};

/// No model writes more; a larger limit is a slip.
const MOST_OUTPUT: u64 = 99_999_999;
/// No API has so many fields at the top of a body.
const MOST_FIELDS: usize = 1_000;
/// So few are compared each with each; more are sorted.
const FEW_FIELDS: usize = 16;
/// The longest `user`, in bytes.
const LONGEST_USER: usize = 1 << 10;

/// Reads a body in one pass: the places of its fields, and the facts in them.
pub(super) fn read(endpoint: Endpoint, text: &str, max_n: u32) -> Result<(Vec<Field>, Facts), BadCall> {
    let mut reader = Reader { endpoint, max_n, fields: Vec::with_capacity(16), facts: Facts::default() };
    let mut scan = Scan::strict(text);
    scan.object(|scan, key| reader.field(scan, key))?;
    scan.end()?;
    let Reader { fields, mut facts, .. } = reader;
    refuse_duplicates(text.as_bytes(), &fields)?;
    refuse_nothing(&mut facts)?;
    if facts.model.is_none() && endpoint == Endpoint::Responses {
        // This API may leave it to its provider; here to the rules.
        facts.model = Some("auto".into());
    } else if facts.model.is_none() && !endpoint.is_passed() {
        return Err(BadCall::parameter("model", "the field `model` is missing".into()));
    }
    Ok((fields, facts))
}

/// A body must not mean two things: what one reader takes from the first of two equal keys, another takes from the last.
fn refuse_duplicates(body: &[u8], fields: &[Field]) -> Result<(), BadCall> {
    let twice = if fields.len() <= FEW_FIELDS {
        let stands_before = |at: &usize| fields[..*at].iter().any(|before| before.name(body) == fields[*at].name(body));
        (1..fields.len()).find(stands_before).map(|at| fields[at].name(body))
    } else {
        let mut names: Vec<&[u8]> = fields.iter().map(|field| field.name(body)).collect();
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    };
    twice.map_or(Ok(()), |name| Err(duplicate(&String::from_utf8_lossy(name))))
}

/// A limit of 0 is a slip. In the newer field, as the API's own examples have it, nothing is limited by it: all that the model can
/// write is held, and the provider judges.
fn refuse_nothing(facts: &mut Facts) -> Result<(), BadCall> {
    match (facts.max_tokens, facts.max_completion_tokens) {
        (_, Some(0)) => (facts.max_tokens, facts.max_completion_tokens) = (None, None),
        (Some(0), None) => return Err(not_whole("max_tokens", &(1..=MOST_OUTPUT), "`0`")),
        _ => {}
    }
    Ok(())
}

fn duplicate(name: &str) -> BadCall {
    let name: String = name.chars().take(64).collect();
    BadCall { code: "duplicate_key", param: Some(name.clone()), message: format!("the key `{}` stands twice", name.escape_debug()) }
}

struct Reader {
    endpoint: Endpoint,
    max_n: u32,
    fields: Vec<Field>,
    facts: Facts,
}

impl Reader {
    fn field(&mut self, scan: &mut Scan<'_>, key: Str<'_>) -> Result<(), BadCall> {
        let name = key.text();
        let kind = scan.peek()?;
        let start = scan.position();
        match &*name {
            _ if self.endpoint == Endpoint::Responses && responses::FIELDS.contains(&&*name) => self.of_responses(scan, &name, kind)?,
            "model" => self.model(scan.value()?)?,
            "stream" => self.facts.is_streaming = flag("stream", scan.value()?)?,
            "stream_options" => self.stream_options(scan, kind)?,
            "max_tokens" => self.facts.max_tokens = whole("max_tokens", scan.value()?, 0..=MOST_OUTPUT)?,
            "max_completion_tokens" => {
                self.facts.max_completion_tokens = whole("max_completion_tokens", scan.value()?, 0..=MOST_OUTPUT)?;
            }
            "n" => self.facts.n = self.count("n", scan.value()?, 1)?,
            "best_of" => self.facts.best_of = self.count("best_of", scan.value()?, 0)?,
            "metadata" if kind == Kind::Object => self.metadata(scan)?,
            "thinking" | "output_config" | "system" if self.endpoint == Endpoint::Messages => self.of_messages(scan, &name, kind)?,
            "reasoning_effort" => self.facts.effort = effort(scan.value()?).or(self.facts.effort),
            "reasoning" if kind == Kind::Object => self.reasoning(scan)?,
            "user" | "safety_identifier" => user(&name, scan.value()?)?,
            "response_format" if kind == Kind::Object => self.response_format(scan)?,
            "tools" | "functions" => {
                let value = scan.value()?;
                self.facts.prompt.add_tools(value);
                if has_tool_of_the_provider(value) {
                    self.facts.unpriced = Some("it asks for a tool that the provider runs itself, whose price nobody told");
                }
            }
            "web_search_options" if kind == Kind::Object => {
                scan.value()?;
                self.facts.unpriced = Some("it asks for web search, whose price nobody told");
            }
            "context_management" => {
                if scan.value()?.text().contains("\"compact") {
                    self.facts.unpriced =
                        Some("it lets the provider write summaries of it, each a call of its own that nobody counts before");
                }
            }
            "service_tier" => {
                let tier = scan.value()?;
                if tier.string().is_some_and(|tier| tier.text() == "priority") {
                    self.facts.unpriced = Some("it asks for a dearer tier of service, whose price nobody told");
                }
            }
            _ => self.prompt(scan, &name, kind)?,
        }
        if self.fields.len() == MOST_FIELDS {
            let message = format!("the body has more than {MOST_FIELDS} fields");
            return Err(BadCall { code: "invalid_parameter", param: None, message });
        }
        let escaped = matches!(name, Cow::Owned(_)).then(|| name.into_owned());
        self.fields.push(Field { key: key.range(), value: start..scan.position(), escaped });
        Ok(())
    }

    fn count(&self, param: &str, value: Value<'_>, least: u64) -> Result<u32, BadCall> {
        let count = whole(param, value, least..=u64::from(self.max_n.max(1)))?.unwrap_or(1);
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// The fields that hold what the model reads; any other is stepped over.
    fn prompt(&mut self, scan: &mut Scan<'_>, name: &str, kind: Kind) -> Result<(), BadCall> {
        let is_text = matches!(kind, Kind::String | Kind::Array);
        match (self.endpoint, name) {
            (Endpoint::Chat | Endpoint::Messages, "messages") if kind == Kind::Array => self.facts.prompt.messages(scan)?,
            (Endpoint::Chat | Endpoint::Messages, "messages") => {
                return Err(BadCall::parameter("messages", "`messages` must be a list".into()));
            }
            (Endpoint::Completions, "prompt") if kind == Kind::Null => scan.value().map(|_| ())?,
            (Endpoint::Completions, "prompt") | (Endpoint::Embeddings, "input") if !is_text => {
                return Err(BadCall::parameter(name, format!("`{name}` must be a text or a list")));
            }
            (Endpoint::Completions, "prompt") | (Endpoint::Embeddings, "input") => self.input(scan, kind)?,
            (Endpoint::Completions, "suffix") => self.facts.prompt.input(scan)?,
            _ => scan.value().map(|_| ())?,
        }
        Ok(())
    }

    fn input(&mut self, scan: &mut Scan<'_>, kind: Kind) -> Result<(), Fault> {
        if kind != Kind::Array {
            return self.facts.prompt.input(scan);
        }
        scan.array(|scan| {
            // A list of numbers is one prompt, given as tokens.
            if scan.peek()? != Kind::Number {
                self.facts.prompts = self.facts.prompts.saturating_add(1);
            }
            self.facts.prompt.input(scan)
        })
    }

    fn model(&mut self, value: Value<'_>) -> Result<(), BadCall> {
        let Some(name) = value.string() else {
            return Err(BadCall::parameter("model", "`model` must be a text".into()));
        };
        let name = name.text();
        ModelName::parse(&name).map_err(|error| BadCall::parameter("model", error.to_string()))?;
        self.facts.model = Some(name.into_owned());
        Ok(())
    }

    fn stream_options(&mut self, scan: &mut Scan<'_>, kind: Kind) -> Result<(), BadCall> {
        if kind != Kind::Object {
            let value = scan.value()?;
            self.facts.usage_option = UsageOption::Null;
            return if value.is_null() {
                Ok(())
            } else {
                Err(BadCall::parameter("stream_options", "`stream_options` must be an object".into()))
            };
        }
        let open = scan.position();
        let mut is_empty = true;
        let mut found = None;
        scan.object(|scan, key| {
            is_empty = false;
            let value = scan.value()?;
            if key.text() != "include_usage" {
                return Ok(());
            }
            let is_on = flag("stream_options.include_usage", value)?;
            let option = if is_on { UsageOption::On } else { UsageOption::Off(value.range()) };
            if found.replace(option).is_some() { Err(duplicate("stream_options.include_usage")) } else { Ok(()) }
        })?;
        self.facts.usage_option = found.unwrap_or(UsageOption::Silent { open, is_empty });
        Ok(())
    }

    fn metadata(&mut self, scan: &mut Scan<'_>) -> Result<(), BadCall> {
        let mut has_task = false;
        scan.object(|scan, key| {
            let value = scan.value()?;
            if key.text() == "task" {
                self.facts.task = value.string().map(|task| task.text().into_owned());
                if std::mem::replace(&mut has_task, true) {
                    return Err(duplicate("metadata.task"));
                }
            }
            Ok(())
        })
    }

    fn reasoning(&mut self, scan: &mut Scan<'_>) -> Result<(), BadCall> {
        let mut has_effort = false;
        scan.object(|scan, key| {
            let value = scan.value()?;
            if key.text() == "effort" {
                self.facts.effort = self.facts.effort.or(effort(value));
                if std::mem::replace(&mut has_effort, true) {
                    return Err(duplicate("reasoning.effort"));
                }
            }
            Ok(())
        })
    }

    /// What only Anthropic's format has.
    fn of_messages(&mut self, scan: &mut Scan<'_>, name: &str, kind: Kind) -> Result<(), BadCall> {
        match name {
            "system" => self.facts.prompt.system(scan)?,
            "thinking" if kind == Kind::Object => scan.object(|scan, key| {
                let value = scan.value()?;
                match (&*key.text(), value.string(), value.digits()) {
                    ("type", Some(word), _) if word.text() == "disabled" => self.facts.effort = self.facts.effort.or(Some(Effort::None)),
                    ("type", Some(word), _) if word.text() == "adaptive" => self.facts.effort = self.facts.effort.or(Some(Effort::High)),
                    ("budget_tokens", _, Some(budget)) => self.facts.effort = self.facts.effort.or(Some(effort_of(budget))),
                    _ => {}
                }
                Ok::<(), Fault>(())
            })?,
            "output_config" if kind == Kind::Object => scan.object(|scan, key| {
                let value = scan.value()?;
                match &*key.text() {
                    "effort" => self.facts.effort = effort(value).or(self.facts.effort),
                    "format" if value.kind == Kind::Object => {
                        self.facts.wants_schema = true;
                        self.facts.prompt.add_value(value);
                    }
                    _ => {}
                }
                Ok::<(), Fault>(())
            })?,
            _ => scan.value().map(|_| ())?,
        }
        Ok(())
    }

    fn response_format(&mut self, scan: &mut Scan<'_>) -> Result<(), BadCall> {
        scan.object(|scan, key| {
            let value = scan.value()?;
            match &*key.text() {
                "type" => self.facts.wants_schema |= value.string().is_some_and(|kind| kind.text() == "json_schema"),
                "json_schema" | "schema" => self.facts.prompt.add_value(value),
                _ => {}
            }
            Ok(())
        })
    }
}

/// Whether a list of tools has one that is no function of the client's own.
fn has_tool_of_the_provider(tools: Value<'_>) -> bool {
    let mut has_one = false;
    let read = Scan::strict(tools.text()).array(|scan| match scan.peek()? {
        Kind::Object => scan.object(|scan, key| {
            let value = scan.value()?;
            let is_kind = &*key.text() == "type";
            has_one |= is_kind && value.string().is_some_and(|kind| !is_tool_of_the_client(&kind.text()));
            Ok(())
        }),
        _ => scan.value().map(|_| ()),
    });
    read.is_ok() && has_one
}

/// Tools that the client runs: its own, and those that a format names but leaves to it.
fn is_tool_of_the_client(kind: &str) -> bool {
    let left_to_it = ["bash_", "text_editor_", "computer_", "memory_", "web_fetch_"];
    matches!(kind, "function" | "custom" | "local_shell" | "apply_patch") || left_to_it.iter().any(|start| kind.starts_with(start))
}

/// The effort that a number of tokens for thinking comes to.
pub(super) fn effort_of(budget: u64) -> Effort {
    match budget {
        ..4_096 => Effort::Low,
        4_096..16_384 => Effort::Medium,
        _ => Effort::High,
    }
}

fn flag(param: &str, value: Value<'_>) -> Result<bool, BadCall> {
    match value.kind {
        Kind::Bool => Ok(value.is_true()),
        Kind::Null => Ok(false),
        _ => Err(BadCall::parameter(param, format!("`{param}` must be true or false, not {}", shown(value)))),
    }
}

/// A whole number in the range, written in digits; nothing when it is null.
fn whole(param: &str, value: Value<'_>, range: RangeInclusive<u64>) -> Result<Option<u64>, BadCall> {
    if value.is_null() {
        return Ok(None);
    }
    value.digits().filter(|number| range.contains(number)).map(Some).ok_or_else(|| not_whole(param, &range, &shown(value)))
}

fn not_whole(param: &str, range: &RangeInclusive<u64>, shown: &str) -> BadCall {
    let (least, most) = (range.start(), range.end());
    BadCall::parameter(param, format!("`{param}` must be a whole number from {least} to {most}, not {shown}"))
}

fn user(param: &str, value: Value<'_>) -> Result<(), BadCall> {
    let Some(text) = value.string().map(|string| string.text()) else { return Ok(()) };
    if text.len() > LONGEST_USER || text.chars().any(char::is_control) {
        return Err(BadCall::parameter(param, format!("`{param}` must have at most {LONGEST_USER} bytes and no control characters")));
    }
    Ok(())
}

fn effort(value: Value<'_>) -> Option<Effort> {
    Effort::parse(&value.string()?.text())
}

/// The value as a message shows it: what is long, or may hold content, by its kind alone.
fn shown(value: Value<'_>) -> String {
    match value.kind {
        Kind::Number | Kind::Bool if value.len() <= 32 => format!("`{}`", value.text()),
        Kind::Number | Kind::Bool => "a number".into(),
        Kind::Null => "null".into(),
        Kind::String => "a text".into(),
        Kind::Array => "a list".into(),
        Kind::Object => "an object".into(),
    }
}
