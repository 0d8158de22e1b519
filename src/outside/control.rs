use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use thiserror::Error;

/// A daemon that takes longer is stuck.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why the daemon could not be asked.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ControlError {
    #[error("no daemon listens on {0}")]
    NobodyListens(String),
    #[error("{0}")]
    Forbidden(String),
    #[error("{0}")]
    BadQuestion(String),
    #[error("the daemon's answer cannot be used: {0}")]
    Unusable(String),
}

/// The commands' side of the control socket.
#[derive(Clone, Debug)]
pub struct ControlClient {
    client: Client,
    socket: String,
}

impl ControlClient {
    /// Connects with the first question, not here.
    pub fn new(socket: &Path) -> Result<Self, ControlError> {
        let client = super::base().no_proxy().unix_socket(socket).timeout(PATIENCE).build();
        let client = client.map_err(|error| ControlError::Unusable(error.to_string()))?;
        Ok(Self { client, socket: socket.display().to_string() })
    }

    /// `GET /status`.
    pub async fn get_status(&self) -> Result<Value, ControlError> {
        self.ask(self.client.get("http://tollgate/status")).await
    }

    /// `POST /reload`; a refused file is an answer with `ok: false`, not an error.
    pub async fn post_reload(&self) -> Result<Value, ControlError> {
        self.ask(self.client.post("http://tollgate/reload")).await
    }

    /// `POST /explain` with a question as JSON.
    pub async fn post_explain(&self, question: Vec<u8>) -> Result<Value, ControlError> {
        self.ask(self.client.post("http://tollgate/explain").header("content-type", "application/json").body(question)).await
    }

    /// `POST /ledger/resolve`, `adjust` or `clock` with a question as JSON.
    pub async fn post_ledger(&self, word: &str, question: Vec<u8>) -> Result<Value, ControlError> {
        let url = format!("http://tollgate/ledger/{word}");
        self.ask(self.client.post(url).header("content-type", "application/json").body(question)).await
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Value, ControlError> {
        let response = request.send().await.map_err(|error| self.unsent(error))?;
        let status = response.status();
        let unusable = |what: String| ControlError::Unusable(what);
        let body = response.bytes().await.map_err(|error| unusable(error.without_url().to_string()))?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| unusable(error.to_string()))?;
        let told = || value["error"].as_str().map_or_else(|| format!("status {}", status.as_u16()), ToOwned::to_owned);
        match status {
            StatusCode::FORBIDDEN => Err(ControlError::Forbidden(told())),
            StatusCode::BAD_REQUEST => Err(ControlError::BadQuestion(told())),
            StatusCode::OK | StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY => Ok(value),
            _ => Err(unusable(told())),
        }
    }

    fn unsent(&self, error: reqwest::Error) -> ControlError {
        match io_kind(&error) {
            Some(io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => ControlError::NobodyListens(self.socket.clone()),
            Some(io::ErrorKind::PermissionDenied) => {
                ControlError::Forbidden(format!("{} may be used by its group alone: permission denied", self.socket))
            }
            _ if error.is_timeout() => ControlError::Unusable(format!("none within {} s", PATIENCE.as_secs())),
            _ => ControlError::Unusable(super::describe(error)),
        }
    }
}

fn io_kind(error: &reqwest::Error) -> Option<io::ErrorKind> {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
