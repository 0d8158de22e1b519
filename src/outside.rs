//! Calls out that relay no request: probes of providers, messages to a webhook, and the daemon's control socket.
//!
//! Floor 3, the one home of reqwest. Nothing here follows a redirect, retries or takes a proxy unasked.

mod control;
mod fetch;
mod webhook;

use std::error::Error;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Response, StatusCode, retry};
use serde::Deserialize;

pub use control::{ControlClient, ControlError};
pub use fetch::fetch;
pub use webhook::post_signed;

use crate::config::{Key, Provider, Proxy};
use crate::units::{Clock, Format};

/// The longest list of models that is read, in bytes.
const LIST_LIMIT: usize = 4 << 20;

/// What a provider said when asked for its models. Carries no key and no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Something answered.
    pub reachable: bool,
    /// Absent: not known, or no key is needed.
    pub key_works: Option<bool>,
    /// Absent: the provider names none.
    pub models: Option<Vec<String>>,
    /// Absent: no answer.
    pub status: Option<u16>,
    pub took: Duration,
    /// What is wrong: lower case, no full stop.
    pub problem: Option<String>,
}

impl Probe {
    /// The provider answered with success, so a target that was down for its key or account may be tried again.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Asks a provider for its models (`GET {base_url}/models`): free, and it shows whether the key works. Ends within `timeout`.
pub async fn probe(provider: &Provider, timeout: Duration, clock: &Clock) -> Probe {
    let begin = clock.now();
    let Some(base_url) = &provider.base_url else {
        return Probe { reachable: true, key_works: None, models: None, status: None, took: Duration::ZERO, problem: None };
    };
    let whole = base_url.to_string();
    let (base, version) = whole.split_once('?').map_or((whole.as_str(), String::new()), |(base, query)| (base, format!("?{query}")));
    let base = base.trim_end_matches('/');
    let is_anthropic = provider.format == Format::Anthropic;
    // Where Azure's address names a version of its API and no path, its models are below `/openai`.
    let between = match () {
        () if is_anthropic && !base.ends_with("/v1") => "/v1",
        () if !version.is_empty() && !base.contains("/openai") => "/openai",
        () => "",
    };
    let url = format!("{base}{between}/models{version}");
    let mut probe = match tokio::time::timeout(timeout, ask(provider, &url)).await {
        Ok(Ok((status, list))) => read(&provider.key, status, &list),
        Ok(Err(error)) => unanswered(describe(error)),
        Err(_) => unanswered(format!("no answer within {timeout:?}")),
    };
    if let (true, Key::Missing(what)) = (probe.reachable, &provider.key) {
        probe.problem = Some(format!("no key: {what} is not set"));
    }
    probe.took = clock.now().since(begin);
    probe
}

async fn ask(provider: &Provider, url: &str) -> reqwest::Result<(StatusCode, Vec<u8>)> {
    let mut builder = base().connect_timeout(provider.timeouts.connect);
    builder = match &provider.proxy {
        Proxy::None => builder.no_proxy(),
        // The client reads the variables by itself unless told not to.
        Proxy::Env => builder,
        Proxy::Url(url) => builder.no_proxy().proxy(reqwest::Proxy::all(url.to_string())?),
    };
    if provider.http1_only {
        builder = builder.http1_only();
    }
    let mut request = builder.build()?.get(url);
    if let Key::Present(key) = &provider.key {
        request = match provider.format {
            Format::Anthropic => request.header("x-api-key", key.expose()).header("anthropic-version", "2023-06-01"),
            Format::Gemini => request.header("x-goog-api-key", key.expose()),
            Format::OpenAi if provider.is_azure() => request.header("api-key", key.expose()),
            Format::OpenAi | Format::Sandbox => request.bearer_auth(key.expose()),
        };
    }
    let response = request.send().await?;
    let status = response.status();
    Ok((status, if status.is_success() { body(response).await? } else { Vec::new() }))
}

/// What every client here has in common.
fn base() -> ClientBuilder {
    Client::builder().redirect(Policy::none()).retry(retry::never()).user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
}

/// The body, cut off where it grows beyond any list of models.
async fn body(mut response: Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > LIST_LIMIT {
            break;
        }
    }
    Ok(body)
}

fn read(key: &Key, status: StatusCode, list: &[u8]) -> Probe {
    #[derive(Deserialize)]
    struct List {
        #[serde(alias = "models")]
        data: Vec<Model>,
    }
    #[derive(Deserialize)]
    struct Model {
        #[serde(alias = "name")]
        id: String,
    }
    let has_key = matches!(key, Key::Present(_));
    let mut probe =
        Probe { reachable: true, key_works: None, models: None, status: Some(status.as_u16()), took: Duration::ZERO, problem: None };
    match status.as_u16() {
        200..=299 => {
            probe.key_works = has_key.then_some(true);
            match serde_json::from_slice::<List>(list) {
                Ok(list) => {
                    let name = |model: Model| model.id.trim_start_matches("models/").to_owned();
                    probe.models = Some(list.data.into_iter().map(name).collect());
                }
                Err(_) => probe.problem = Some("the answer is no list of models".into()),
            }
        }
        401 | 403 if has_key => {
            probe.key_works = Some(false);
            probe.problem = Some(format!("the key is refused (status {})", status.as_u16()));
        }
        401 | 403 => probe.problem = Some(format!("a key is asked for (status {})", status.as_u16())),
        404 | 405 => probe.problem = Some(format!("no list of models there (status {})", status.as_u16())),
        300..=399 => probe.problem = Some(format!("redirects are not followed (status {})", status.as_u16())),
        other => probe.problem = Some(format!("status {other}")),
    }
    probe
}

fn unanswered(problem: String) -> Probe {
    Probe { reachable: false, key_works: None, models: None, status: None, took: Duration::ZERO, problem: Some(problem) }
}

/// The innermost cause, which names what went wrong and neither the address nor a key.
fn describe(error: reqwest::Error) -> String {
    let what = if error.is_connect() {
        "cannot connect"
    } else if error.is_builder() {
        "cannot ask"
    } else {
        "the answer broke off"
    };
    let error = error.without_url();
    let mut innermost: &dyn Error = &error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("{what}: {innermost}")
}

#[cfg(test)]
mod tests;
