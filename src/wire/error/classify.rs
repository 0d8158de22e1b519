use http::HeaderMap;
use serde_json::Value;

use super::{Class, ErrorTold, Shape};
use crate::wire::openai::usage_of_value;

/// Words that decide wherever they stand as a code, type, status or reason.
const WORDS: &[(&str, Class)] = &[
    ("insufficient_quota", Class::QuotaExhausted),
    ("credit_balance_exhausted", Class::QuotaExhausted),
    ("organization_spend_limit_exceeded", Class::QuotaExhausted),
    ("project_spend_limit_exceeded", Class::QuotaExhausted),
    ("organization_usage_limit_exceeded", Class::QuotaExhausted),
    ("enforced_spend_limit_reached", Class::QuotaExhausted),
    ("exceeded_current_quota_error", Class::QuotaExhausted),
    ("billing_error", Class::QuotaExhausted),
    ("Arrearage", Class::QuotaExhausted),
    ("context_length_exceeded", Class::ContextLength),
    ("exceed_context_size_error", Class::ContextLength),
    ("content_filter", Class::ContentPolicy),
    ("content_policy_violation", Class::ContentPolicy),
    ("ResponsibleAIPolicyViolation", Class::ContentPolicy),
    ("invalid_prompt", Class::ContentPolicy),
    ("data_inspection_failed", Class::ContentPolicy),
    ("DataInspectionFailed", Class::ContentPolicy),
    ("invalid_api_key", Class::Auth),
    ("API_KEY_INVALID", Class::Auth),
    ("authentication_error", Class::Auth),
    ("UNAUTHENTICATED", Class::Auth),
    ("model_not_found", Class::ModelNotFound),
    ("DeploymentNotFound", Class::ModelNotFound),
    ("unsupported_value", Class::CapabilityMismatch),
    ("unsupported_parameter", Class::CapabilityMismatch),
    ("request_too_large", Class::TooLarge),
    ("FAILED_PRECONDITION", Class::Permission),
    ("PERMISSION_DENIED", Class::Permission),
    ("permission_error", Class::Permission),
    ("unsupported_country_region_territory", Class::Permission),
    ("overloaded_error", Class::Overloaded),
    ("server_is_overloaded", Class::Overloaded),
    ("engine_overloaded_error", Class::Overloaded),
    ("ServiceQuotaExceededException", Class::RateLimited),
    ("rate_limit_exceeded", Class::RateLimited),
    ("rate_limit_error", Class::RateLimited),
    ("DEADLINE_EXCEEDED", Class::Timeout),
];

/// Words that decide only where no status does: inside a 200.
const WEAK_WORDS: &[(&str, Class)] = &[
    ("invalid_request_error", Class::InvalidRequest),
    ("INVALID_ARGUMENT", Class::InvalidRequest),
    ("BadRequestError", Class::InvalidRequest),
    ("not_found_error", Class::ModelNotFound),
    ("NOT_FOUND", Class::ModelNotFound),
    ("RESOURCE_EXHAUSTED", Class::RateLimited),
    ("UNAVAILABLE", Class::Overloaded),
    ("service_unavailable_error", Class::Overloaded),
    ("capacity_exceeded", Class::Overloaded),
    ("timeout_error", Class::Timeout),
    ("upstream_timeout", Class::Timeout),
    // Bedrock tells these in the middle of a stream, where there is no status.
    ("ServiceUnavailableException", Class::Overloaded),
    ("ModelTimeoutException", Class::Timeout),
    ("ValidationException", Class::InvalidRequest),
    ("AccessDeniedException", Class::Permission),
    ("ResourceNotFoundException", Class::ModelNotFound),
];

pub(super) fn read(status: Option<u16>, headers: &HeaderMap, json: &Value) -> ErrorTold {
    let body = Told::of(json);
    let mut words = Vec::new();
    if let Some(error_type) = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()) {
        words.push(error_type.split(':').next().unwrap_or_default());
    }
    collect_words(json, 0, &mut words);
    let context = body.message.and_then(context_length);
    let (class, implied) = class(status, headers, &words, &body, context.is_some());
    let (limit, requested) = match class {
        Class::ContextLength => {
            let (limit, requested) = context.unwrap_or_default();
            (limit.or(body.number("n_ctx")), requested.or(body.number("n_prompt_tokens")))
        }
        _ => (None, None),
    };
    ErrorTold {
        class,
        message: body.message.map(str::to_owned),
        kind: body.kind.map(str::to_owned),
        code: body.code,
        param: body.param.map(str::to_owned).or(implied),
        limit,
        requested,
        retry_after: None,
        shape: shape(json),
        usage: json.get("usage").and_then(usage_of_value),
    }
}

/// Codes and types first, then messages, then the status. The second part is the field that a message names as the culprit.
fn class(status: Option<u16>, headers: &HeaderMap, words: &[&str], body: &Told<'_>, is_context_length: bool) -> (Class, Option<String>) {
    if let Some((_, class)) = WORDS.iter().find(|(word, _)| words.contains(word)) {
        return (*class, None);
    }
    if words.iter().any(|word| word.starts_with("Throttling")) {
        return (Class::RateLimited, None);
    }
    if is_context_length {
        return (Class::ContextLength, None);
    }
    let message = body.message.unwrap_or_default();
    if let Some(param) = unsupported(message) {
        return (Class::CapabilityMismatch, Some(param).filter(|param| !param.is_empty()).map(str::to_owned));
    }
    let status = status.or(body.status);
    if let Some(class) = by_message(status, message) {
        return (class, None);
    }
    if status == Some(402) && headers.contains_key("retry-after") {
        return (Class::RateLimited, None);
    }
    if status == Some(403) && body.has_reasons {
        return (Class::ContentPolicy, None);
    }
    let class = match status {
        Some(status) => by_status(status),
        None => WEAK_WORDS.iter().find(|(word, _)| words.contains(word)).map_or(Class::ServerError, |(_, class)| *class),
    };
    (class, None)
}

fn by_status(status: u16) -> Class {
    match status {
        401 => Class::Auth,
        402 => Class::QuotaExhausted,
        403 => Class::Permission,
        404 => Class::ModelNotFound,
        408 | 504 => Class::Timeout,
        409 | 425 => Class::Conflict,
        413 => Class::TooLarge,
        429 => Class::RateLimited,
        498 | 503 | 529 => Class::Overloaded,
        400..=499 => Class::InvalidRequest,
        500.. => Class::ServerError,
        _ => Class::BadModelOutput,
    }
}

/// The field that a model cannot honour, when the message says that there is one; empty where it is not named.
fn unsupported(message: &str) -> Option<&str> {
    if message.contains("invalid beta flag") {
        return Some("anthropic_beta");
    }
    if message.contains("Invalid reasoning_effort") {
        return Some("reasoning_effort");
    }
    if let Some((before, _)) = message.split_once(": Extra inputs are not permitted") {
        return before.rsplit(char::is_whitespace).next();
    }
    (message.contains("Extra inputs are not permitted") || message.contains("No endpoints found that support")).then_some("")
}

fn by_message(status: Option<u16>, message: &str) -> Option<Class> {
    let text = message.to_lowercase();
    if text.contains("credit balance is too low") || (text.contains("reached your specified") && text.contains("usage limits")) {
        return Some(Class::QuotaExhausted);
    }
    let is_about_the_key = ["expired", "leaked", "not valid", "incorrect"].iter().any(|word| text.contains(word));
    (matches!(status, Some(400 | 403) | None) && text.contains("api key") && is_about_the_key).then_some(Class::Auth)
}

/// The window and what was asked for, when the message says that a prompt does not fit.
fn context_length(message: &str) -> Option<(Option<u64>, Option<u64>)> {
    let text = message.to_lowercase();
    let after = |phrase: &str| text.find(phrase).and_then(|at| first_number(&text[at + phrase.len()..]));
    let before = |phrase: &str| text.find(phrase).and_then(|at| last_number(&text[..at]));
    let has = |phrase: &str| text.contains(phrase);
    if has("prompt is too long") {
        return Some((after(">"), after("too long")));
    }
    if has("exceed context limit") {
        let sum = after("context limit:").map(|input| input.saturating_add(after("+").unwrap_or(0)));
        return Some((after(">"), sum));
    }
    if has("maximum number of tokens allowed") {
        return Some((after("maximum number of tokens allowed"), after("token count")));
    }
    if has("exceeds the available context size") {
        return Some((after("available context size"), before("tokens) exceeds")));
    }
    if has("too large for model with") {
        return Some((after("too large for model with"), after("contains")));
    }
    if has("maximum context length is") {
        let requested = ["resulted in", "requested about", "requested", "contains"].into_iter().find_map(after);
        return Some((after("maximum context length is"), requested));
    }
    if has("maximum prompt length is") {
        return Some((after("maximum prompt length is"), after("contains")));
    }
    if has("exceeds the limit of") && has("token") {
        return Some((after("exceeds the limit of"), before("exceeds the limit of")));
    }
    (has("longer than the model's context length") || has("input is too long for requested model")).then_some((None, None))
}

/// The first number within a few words; digits may be grouped with commas.
fn first_number(text: &str) -> Option<u64> {
    let start = text.find(|c: char| c.is_ascii_digit()).filter(|&at| at <= 24)?;
    let digits = text[start..].split(|c: char| !c.is_ascii_digit() && c != ',').next()?;
    digits.replace(',', "").parse().ok()
}

/// The last number of the text.
fn last_number(text: &str) -> Option<u64> {
    let end = text.rfind(|c: char| c.is_ascii_digit())? + 1;
    let digits = text[..end].rsplit(|c: char| !c.is_ascii_digit() && c != ',').next()?;
    digits.replace(',', "").parse().ok()
}

/// The parts of an error body, from any of its shapes.
#[derive(Default)]
struct Told<'a> {
    message: Option<&'a str>,
    kind: Option<&'a str>,
    code: Option<String>,
    param: Option<&'a str>,
    /// A code that is an HTTP status: `{"code":502}`.
    status: Option<u16>,
    has_reasons: bool,
    inner: Option<&'a Value>,
}

impl<'a> Told<'a> {
    fn of(json: &'a Value) -> Self {
        // Gemini's endpoint for this format puts the object into an array.
        let json = json.as_array().and_then(|list| list.first()).unwrap_or(json);
        let error = json.get("error").filter(|error| !error.is_null());
        let inner = match error {
            Some(error) if error.is_object() => error,
            _ => json,
        };
        let text = |key: &str| inner.get(key).and_then(Value::as_str);
        let detail = inner.get("detail");
        let first_detail = || detail.and_then(|list| list.get(0)).and_then(|item| item.get("msg")).and_then(Value::as_str);
        let code = inner.get("code").and_then(|code| match code {
            Value::String(code) => Some(code.clone()),
            Value::Number(code) => Some(code.to_string()),
            _ => None,
        });
        Self {
            message: error
                .and_then(Value::as_str)
                .or_else(|| text("message"))
                .or_else(|| detail.and_then(Value::as_str))
                .or_else(first_detail),
            kind: text("type"),
            status: code.as_deref().and_then(|code| code.parse().ok()).filter(|status| (400..600).contains(status)),
            code,
            param: text("param"),
            has_reasons: inner.get("metadata").and_then(|metadata| metadata.get("reasons")).is_some(),
            inner: Some(inner),
        }
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.inner?.get(key)?.as_u64()
    }
}

/// Every string that stands as a code, type, status or reason, at any depth.
fn collect_words<'a>(json: &'a Value, depth: u8, words: &mut Vec<&'a str>) {
    if depth > 8 || words.len() > 64 {
        return;
    }
    match json {
        Value::Array(list) => list.iter().for_each(|item| collect_words(item, depth + 1, words)),
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(word) if matches!(key.as_str(), "code" | "type" | "status" | "reason") => words.push(word),
                    _ => collect_words(value, depth + 1, words),
                }
            }
        }
        _ => {}
    }
}

/// The format whose way of writing errors this is.
fn shape(json: &Value) -> Option<Shape> {
    let error = json.get("error").and_then(Value::as_object)?;
    let is_text_or_null = |key: &str| error.get(key).is_none_or(|value| value.is_string() || value.is_null());
    let has_message = error.get("message").is_some_and(Value::is_string) && error.contains_key("type");
    match json.get("type").and_then(Value::as_str) {
        None => (json.get("type").is_none() && has_message && ["type", "param", "code"].into_iter().all(is_text_or_null))
            .then_some(Shape::OpenAi),
        Some("error") => (has_message && is_text_or_null("type")).then_some(Shape::Anthropic),
        Some(_) => None,
    }
}
