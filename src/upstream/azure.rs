//! Azure's ways of naming what is asked: its own version of the format, or a deployment in the path.

use std::fmt::Write as _;

use http::Uri;
use http::uri::PathAndQuery;

use crate::units::Wire;

/// Where a call goes when the base names a version of the API; nothing where it does not, or for calls that Azure does not know.
///
/// Below `…/v1` the paths are those of everyone. Else the path names a deployment: the base's own, or one with the model's name.
pub(super) fn path(base: &Uri, wire: Wire, passed: Option<&str>, model: &str) -> Option<PathAndQuery> {
    let version = base.query()?;
    let end = match wire {
        Wire::Chat => "/chat/completions",
        Wire::Completions => "/completions",
        Wire::Embeddings => "/embeddings",
        Wire::Responses => "/responses",
        Wire::Passed => passed?,
        Wire::Messages | Wire::Generate | Wire::Embed => return None,
    };
    let own = base.path().trim_end_matches('/');
    let path = if own.ends_with("/v1") || (own.contains("/deployments/") && wire != Wire::Responses) {
        format!("{own}{end}?{version}")
    } else if wire == Wire::Responses {
        // This API alone names the deployment in the body.
        let start = own.split_once("/openai").map_or(own, |(start, _)| start);
        format!("{start}/openai{end}?{version}")
    } else {
        let start = if own.ends_with("/openai") { own.to_owned() } else { format!("{own}/openai") };
        format!("{start}/deployments/{}{end}?{version}", escaped(model))
    };
    PathAndQuery::try_from(path).ok()
}

/// A name as one part of a path.
fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => text.push(char::from(byte)),
            // Writing to a String cannot fail.
            byte => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_leads_to_a_deployment_or_to_azures_own_paths() {
        for (base, wire, path) in [
            ("https://a.openai.azure.com/?api-version=1", Wire::Chat, "/openai/deployments/gpt%2F4o/chat/completions?api-version=1"),
            ("https://a.openai.azure.com/openai?api-version=1", Wire::Embeddings, "/openai/deployments/gpt%2F4o/embeddings?api-version=1"),
            ("https://a/openai/deployments/d?api-version=1", Wire::Completions, "/openai/deployments/d/completions?api-version=1"),
            ("https://a/openai/deployments/d?api-version=1", Wire::Responses, "/openai/responses?api-version=1"),
            ("https://a/?api-version=1", Wire::Responses, "/openai/responses?api-version=1"),
            ("https://a/openai/v1?api-version=preview", Wire::Responses, "/openai/v1/responses?api-version=preview"),
            ("https://a/openai?api-version=1", Wire::Passed, "/openai/deployments/gpt%2F4o/images/edits?api-version=1"),
            ("https://a/openai/v1?api-version=preview", Wire::Chat, "/openai/v1/chat/completions?api-version=preview"),
        ] {
            let found = super::path(&base.parse().unwrap(), wire, Some("/images/edits"), "gpt/4o").unwrap();
            assert_eq!(found.as_str(), path, "{base}");
        }
        assert_eq!(super::path(&"https://a.openai.azure.com/openai/v1".parse().unwrap(), Wire::Chat, None, "m"), None);
    }
}
