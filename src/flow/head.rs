//! The head of an answer in the making.

use std::fmt::{Display, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::units::push_digits;

/// Room for what every answer carries and its limits, so that the map grows for nobody.
pub(super) const USUAL: usize = 24;
/// As for the text of all values that are worked out for one answer.
const USUAL_TEXT: usize = 256;

/// Names of the headers that answers carry, checked once.
pub(super) mod name {
    use http::HeaderName;

    pub(crate) static LENGTH: HeaderName = http::header::CONTENT_LENGTH;
    pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
    pub(crate) static REQUEST_ID_SHORT: HeaderName = HeaderName::from_static("request-id");
    pub(crate) static UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-tollgate-upstream-request-id");
    pub(crate) static AZURE_REQUEST_ID: HeaderName = HeaderName::from_static("apim-request-id");
    pub(crate) static RULE: HeaderName = HeaderName::from_static("x-tollgate-rule");
    pub(crate) static TARGET: HeaderName = HeaderName::from_static("x-tollgate-target");
    pub(crate) static REVISION: HeaderName = HeaderName::from_static("x-tollgate-revision");
    pub(crate) static ATTEMPTS: HeaderName = HeaderName::from_static("x-tollgate-attempts");
    pub(crate) static FALLBACK_INDEX: HeaderName = HeaderName::from_static("x-tollgate-fallback-index");
    pub(crate) static TASK: HeaderName = HeaderName::from_static("x-tollgate-task");
    pub(crate) static SERVED_MODEL: HeaderName = HeaderName::from_static("x-tollgate-served-model");
    pub(crate) static COST: HeaderName = HeaderName::from_static("x-tollgate-cost-usd");
    pub(crate) static BUDGET_REMAINING: HeaderName = HeaderName::from_static("x-tollgate-budget-remaining-usd");
    pub(crate) static USAGE_SOURCE: HeaderName = HeaderName::from_static("x-tollgate-usage-source");
    pub(crate) static INJECTED: HeaderName = HeaderName::from_static("x-tollgate-injected");
    pub(crate) static CLAMPED: HeaderName = HeaderName::from_static("x-tollgate-clamped");
    pub(crate) static DROPPED: HeaderName = HeaderName::from_static("x-tollgate-dropped-params");
    pub(crate) static ADJUSTED: HeaderName = HeaderName::from_static("x-tollgate-adjusted-params");
    pub(crate) static SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
    pub(crate) static NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
    /// The limit, what remains of it, and when it is full again.
    pub(crate) static OF_REQUESTS: [HeaderName; 3] = [
        HeaderName::from_static("x-ratelimit-limit-requests"),
        HeaderName::from_static("x-ratelimit-remaining-requests"),
        HeaderName::from_static("x-ratelimit-reset-requests"),
    ];
    pub(crate) static OF_TOKENS: [HeaderName; 3] = [
        HeaderName::from_static("x-ratelimit-limit-tokens"),
        HeaderName::from_static("x-ratelimit-remaining-tokens"),
        HeaderName::from_static("x-ratelimit-reset-tokens"),
    ];
}

/// Headers, and beside them the values that are worked out: they are written into one text and cut from it in the end, so that all of
/// them together cost one allocation.
#[derive(Debug)]
pub(super) struct Head {
    headers: HeaderMap,
    text: String,
    /// Which header a part of the text is for, and where it ends.
    written: Vec<(&'static HeaderName, usize)>,
}

impl Default for Head {
    fn default() -> Self {
        Self::over(HeaderMap::with_capacity(USUAL))
    }
}

impl Head {
    /// Adds to headers that are there already.
    pub(super) fn over(headers: HeaderMap) -> Self {
        Self { headers, text: String::with_capacity(USUAL_TEXT), written: Vec::with_capacity(USUAL) }
    }

    /// A value that is known before; it takes the place of an earlier one.
    pub(super) fn set(&mut self, name: impl http::header::IntoHeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }

    /// A value that is worked out now; it takes the place of an earlier one.
    pub(super) fn write(&mut self, name: &'static HeaderName, value: impl Display) {
        // Writing to a string does not fail.
        if write!(self.text, "{value}").is_ok() {
            self.written.push((name, self.text.len()));
        }
    }

    /// A whole number; it takes the place of an earlier value.
    pub(super) fn number(&mut self, name: &'static HeaderName, number: u64) {
        self.with(name, |text| push_digits(text, number));
    }

    /// What `push` writes behind the text that it is given; it takes the place of an earlier value.
    pub(super) fn with(&mut self, name: &'static HeaderName, push: impl FnOnce(&mut String)) {
        push(&mut self.text);
        self.written.push((name, self.text.len()));
    }

    /// A text as it is; it takes the place of an earlier value.
    pub(super) fn text(&mut self, name: &'static HeaderName, value: &str) {
        self.with(name, |text| text.push_str(value));
    }

    pub(super) fn finish(self) -> HeaderMap {
        let Self { mut headers, text, written } = self;
        let text = Bytes::from(text);
        let mut from = 0;
        for (name, to) in written {
            let value = HeaderValue::from_maybe_shared(text.slice(from..to));
            headers.insert(name, value.unwrap_or_else(|_| HeaderValue::from_static("?")));
            from = to;
        }
        headers
    }
}

/// A header value of a text of ours; what a header cannot carry is told as `?`.
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_where_they_were_written() {
        let mut head = Head::default();
        head.set(&name::RULE, HeaderValue::from_static("first"));
        head.write(&name::ATTEMPTS, 12);
        head.write(&name::RULE, "second");
        head.text(&name::TASK, "");
        head.write(&name::SERVED_MODEL, "line\nbreak");
        let headers = head.finish();
        for (name, value) in [(&name::RULE, "second"), (&name::ATTEMPTS, "12"), (&name::TASK, ""), (&name::SERVED_MODEL, "?")] {
            assert_eq!(headers.get(name).unwrap(), value, "{name}");
        }
        assert_eq!(headers.len(), 4);
    }
}
