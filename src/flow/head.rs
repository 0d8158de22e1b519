//! The head of an answer in the making.

use std::cell::{Cell, RefCell};
use std::fmt::{Display, Write};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::units::push_digits;

/// Room for what every answer carries and its limits, so that the map grows for nobody.
pub(super) const USUAL: usize = 24;
/// As for the text of all values that are worked out for one answer.
const USUAL_TEXT: usize = 256;
/// So many kinds of heads are kept by each thread.
const MOST_ALIKE: usize = 8;

/// Names of the headers that answers carry, checked once.
pub(super) mod name {
    use http::HeaderName;

    pub(crate) static TYPE: HeaderName = http::header::CONTENT_TYPE;
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

thread_local! {
    /// Heads as they were made lately, by the names of what was added: to copy one is a third of the work of making it.
    static ALIKE: RefCell<Vec<Alike>> = const { RefCell::new(Vec::new()) };
    /// The lists of the head that was made last, empty: the next one needs as much room, and this is in the processor's cache.
    static LISTS: Cell<Lists> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// Names, and their values.
type Lists = (Vec<&'static HeaderName>, Vec<Value>);

/// Headers to be, in order: some on top of what is there already, and with values that are known before or worked out now. The latter are
/// written into one text and cut from it in the end, so that all of them together cost one allocation.
#[derive(Debug, Default)]
pub(super) struct Head {
    headers: HeaderMap,
    names: Vec<&'static HeaderName>,
    values: Vec<Value>,
    text: String,
}

#[derive(Debug)]
enum Value {
    Known(HeaderValue),
    /// In the text, behind the one before, up to here.
    Written(usize),
}

/// What all heads of the same names have in common.
struct Alike {
    names: Vec<&'static HeaderName>,
    /// Those names in that order, without values. Absent where a map does not keep them so, because one comes twice.
    headers: Option<HeaderMap>,
}

impl Head {
    pub(super) fn new() -> Self {
        Self::over(HeaderMap::new())
    }

    /// Adds to headers that are there already.
    pub(super) fn over(headers: HeaderMap) -> Self {
        let (names, values) = LISTS.take();
        Self { headers, names, values, text: String::with_capacity(USUAL_TEXT) }
    }

    /// A value that is known before; it takes the place of an earlier one.
    pub(super) fn set(&mut self, name: &'static HeaderName, value: HeaderValue) {
        self.names.push(name);
        self.values.push(Value::Known(value));
    }

    /// A value that is worked out now; it takes the place of an earlier one.
    pub(super) fn write(&mut self, name: &'static HeaderName, value: impl Display) {
        // Writing to a string does not fail.
        self.with(name, |text| write!(text, "{value}").unwrap_or_default());
    }

    /// A whole number; it takes the place of an earlier value.
    pub(super) fn number(&mut self, name: &'static HeaderName, number: u64) {
        self.with(name, |text| push_digits(text, number));
    }

    /// What `push` writes behind the text that it is given; it takes the place of an earlier value.
    pub(super) fn with(&mut self, name: &'static HeaderName, push: impl FnOnce(&mut String)) {
        push(&mut self.text);
        self.names.push(name);
        self.values.push(Value::Written(self.text.len()));
    }

    /// A text as it is; it takes the place of an earlier value.
    pub(super) fn text(&mut self, name: &'static HeaderName, value: &str) {
        self.with(name, |text| text.push_str(value));
    }

    pub(super) fn finish(self) -> HeaderMap {
        let Self { mut headers, mut names, mut values, text } = self;
        let text = Bytes::from(text);
        let mut from = 0;
        let told = values.drain(..).map(|value| match value {
            Value::Known(value) => value,
            Value::Written(to) => {
                let value = HeaderValue::from_maybe_shared(text.slice(from..to));
                from = to;
                value.unwrap_or_else(|_| HeaderValue::from_static("?"))
            }
        });
        if let Some(copy) = headers.is_empty().then(|| copy_of(&names)).flatten() {
            headers = copy;
            headers.values_mut().zip(told).for_each(|(place, value)| *place = value);
        } else {
            for (name, value) in names.iter().zip(told) {
                headers.insert(*name, value);
            }
        }
        names.clear();
        LISTS.set((names, values));
        headers
    }
}

/// A map of just these names in their order, without values. Absent where no map keeps them so.
fn copy_of(names: &[&'static HeaderName]) -> Option<HeaderMap> {
    ALIKE.with_borrow_mut(|alike| {
        let is_alike =
            |one: &&Alike| one.names.len() == names.len() && one.names.iter().zip(names).all(|(own, name)| std::ptr::eq(*own, *name));
        if let Some(found) = alike.iter().find(is_alike) {
            return found.headers.clone();
        }
        let mut headers = HeaderMap::with_capacity(names.len());
        for name in names {
            headers.insert(*name, HeaderValue::from_static(""));
        }
        let headers = Some(headers).filter(|headers| headers.keys().eq(names.iter().copied()));
        if alike.len() == MOST_ALIKE {
            alike.clear();
        }
        alike.push(Alike { names: names.to_vec(), headers: headers.clone() });
        headers
    })
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
        let mut head = Head::new();
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

    #[test]
    fn heads_of_the_same_names_share_no_values() {
        for number in 0..3 * MOST_ALIKE as u64 {
            let mut head = Head::new();
            head.set(&name::TARGET, HeaderValue::from(number));
            head.number(&name::ATTEMPTS, number + 1);
            // As many kinds as are kept, and one more.
            let other = &name::OF_TOKENS.iter().chain(&name::OF_REQUESTS).collect::<Vec<_>>()[..(number % 7) as usize];
            for name in other {
                head.number(name, number + 2);
            }
            let headers = head.finish();
            assert_eq!((headers[&name::TARGET].clone(), headers[&name::ATTEMPTS].clone()), (number.into(), (number + 1).into()));
            assert_eq!(headers.len(), 2 + other.len());
            assert!(other.iter().all(|name| headers[*name] == HeaderValue::from(number + 2)), "{headers:?}");
        }
    }
}
