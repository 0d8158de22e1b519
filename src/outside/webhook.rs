//! Messages to an address that the operator named, signed where there is a secret.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use http::Uri;
use reqwest::StatusCode;
use sha2::Sha256;

use super::{base, describe};
use crate::units::Secret;

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between the tries.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(5)];
const SIGNATURE: &str = "x-tollgate-signature";

/// Posts a JSON text, up to three times. The message says why it was not taken, and names no address: it may hold a key.
pub async fn post_signed(url: &Uri, secret: Option<&Secret>, body: &[u8]) -> Result<(), String> {
    let signature = secret.map(|secret| signature(secret, body));
    let mut pauses = PAUSES.into_iter();
    loop {
        let tried = tokio::time::timeout(PATIENCE, post(url, signature.as_deref(), body)).await;
        let (why, may_help) = match tried {
            Ok(Ok(status)) if status.is_success() => return Ok(()),
            Ok(Ok(status)) => (format!("status {}", status.as_u16()), status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS),
            Ok(Err(error)) => (describe(error), true),
            Err(_) => (format!("no answer within {} s", PATIENCE.as_secs()), true),
        };
        let Some(pause) = pauses.next().filter(|_| may_help) else { return Err(why) };
        tokio::time::sleep(pause).await;
    }
}

async fn post(url: &Uri, signature: Option<&str>, body: &[u8]) -> reqwest::Result<StatusCode> {
    let client = base().connect_timeout(PATIENCE).build()?;
    let mut request = client.post(url.to_string()).header(http::header::CONTENT_TYPE, "application/json").body(body.to_vec());
    if let Some(signature) = signature {
        request = request.header(SIGNATURE, signature);
    }
    Ok(request.send().await?.status())
}

/// `sha256=` and the HMAC of the body under the secret, in hexadecimal.
fn signature(secret: &Secret, body: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256=".to_owned();
    // A key of any length is taken.
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()) {
        mac.update(body);
        for byte in mac.finalize().into_bytes() {
            // Writing to a String cannot fail.
            _ = write!(text, "{byte:02x}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_hmac_that_everybody_computes() {
        // Case 2 of RFC 4231.
        let told = signature(&Secret::new("Jefe".into()), b"what do ya want for nothing?");
        assert_eq!(told, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
