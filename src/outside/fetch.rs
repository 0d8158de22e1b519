//! A text from an address that the user gives.

use std::time::Duration;

use super::{base, describe};

/// Fetches a text of at most `limit` bytes, within `timeout`. The message says what went wrong.
pub async fn fetch(url: &str, limit: usize, timeout: Duration) -> Result<String, String> {
    match tokio::time::timeout(timeout, get(url, limit)).await {
        Ok(fetched) => fetched,
        Err(_) => Err(format!("no whole answer within {} s", timeout.as_secs())),
    }
}

async fn get(url: &str, limit: usize) -> Result<String, String> {
    let client = base().connect_timeout(Duration::from_secs(10)).build().map_err(describe)?;
    let mut response = client.get(url).send().await.map_err(describe)?;
    let status = response.status();
    if status.is_redirection() {
        let to = response.headers().get(http::header::LOCATION).and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        return Err(format!("redirects are not followed, and it leads to {to}"));
    }
    if !status.is_success() {
        return Err(format!("status {}", status.as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(describe)? {
        if body.len() + chunk.len() > limit {
            return Err(format!("it is longer than {} MiB", limit >> 20));
        }
        body.extend_from_slice(&chunk);
    }
    String::from_utf8(body).map_err(|_| "it is no UTF-8 text".into())
}
