//! What an answer's head tells of its request: which step answered, what it cost, how long it took.

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

use super::Account;
use crate::admit::LimitKind;
use crate::flow::attempt::Lost;
use crate::flow::head::{Head, USUAL, name};
use crate::flow::plan::{OutputLimit, Step};
use crate::rules::TaskSource;
use crate::units::{Moment, Usd, Wire, push_digits};
use crate::upstream::Phase;

impl Account {
    /// The headers of a whole answer of `length` bytes, which took so long and is told now.
    pub(super) fn whole_headers(
        &self,
        step: &Step<'_>,
        upstream: &HeaderMap,
        lost: Option<&Lost>,
        rest: Option<Usd>,
        length: usize,
        (took, now): (Duration, Moment),
    ) -> HeaderMap {
        let mut head = Head::new();
        // What passes through may be a picture or a sound.
        let kind = upstream.get(CONTENT_TYPE).filter(|_| step.wire == Wire::Passed);
        head.set(&name::TYPE, kind.cloned().unwrap_or_else(|| HeaderValue::from_static("application/json")));
        head.number(&name::LENGTH, length as u64);
        self.describe_step(&mut head, step, upstream, rest, now);
        describe_lost(&mut head, lost);
        if let Some(model) = &self.record.served_model {
            head.text(&name::SERVED_MODEL, model);
        }
        if let Some(cost) = self.record.cost_nano_usd {
            head.with(&name::COST, |text| cost.write_plain(text));
        }
        head.set(&name::USAGE_SOURCE, HeaderValue::from_static(self.record.usage_source.as_str()));
        self.tell_times(&mut head, took, None, now);
        self.describe(&mut head);
        head.finish()
    }

    /// The headers of a stream whose first content is there.
    pub(in crate::flow) fn stream_headers(
        &mut self,
        step: &Step<'_>,
        upstream: &HeaderMap,
        lost: Option<&Lost>,
        served: Option<&str>,
        rest: Option<Usd>,
        ttft: Duration,
    ) -> HeaderMap {
        if let Some((_, phase, _)) = &mut self.under_way {
            *phase = Phase::P3;
        }
        let mut head = Head::over(event_stream_headers());
        let now = self.now();
        self.describe_step(&mut head, step, upstream, rest, now);
        describe_lost(&mut head, lost);
        if let Some(model) = served {
            head.text(&name::SERVED_MODEL, model);
        }
        self.tell_times(&mut head, ttft, Some(ttft), now);
        self.describe(&mut head);
        head.finish()
    }

    /// The headers that every answer carries.
    pub(super) fn describe(&self, head: &mut Head) {
        head.text(&name::REQUEST_ID, &self.request_id);
        head.text(&name::REQUEST_ID_SHORT, &self.request_id);
        head.set(&name::REVISION, self.running.revision_value().clone());
        if let Some(rule) = &self.rule_header {
            head.set(&name::RULE, rule.clone());
        }
        head.number(&name::ATTEMPTS, self.sent as u64);
        let record = &self.record;
        if record.task_source != TaskSource::None.as_str() {
            head.with(&name::TASK, |text| {
                for part in [record.task.as_str(), ";source=", record.task_source] {
                    text.push_str(part);
                }
                if let Some(confidence) = record.task_confidence {
                    text.push_str(";confidence=");
                    confidence.push(text);
                }
            });
        }
    }

    /// The headers that tell which step answered.
    fn describe_step(&self, head: &mut Head, step: &Step<'_>, upstream: &HeaderMap, rest: Option<Usd>, now: Moment) {
        head.set(&name::TARGET, self.running.target_value(step.target).clone());
        head.number(&name::FALLBACK_INDEX, self.fallback_index as u64);
        let theirs = [&name::REQUEST_ID, &name::REQUEST_ID_SHORT, &name::AZURE_REQUEST_ID];
        if let Some(id) = theirs.into_iter().find_map(|name| upstream.get(name)) {
            head.set(&name::UPSTREAM_REQUEST_ID, id.clone());
        }
        if let Some(rest) = rest {
            head.with(&name::BUDGET_REMAINING, |text| rest.write_plain(text));
        }
        match step.limit {
            OutputLimit::AsSent => {}
            OutputLimit::Injected(limit) => head.write(&name::INJECTED, format_args!("max_tokens={limit}")),
            OutputLimit::Clamped(limit) => head.write(&name::CLAMPED, format_args!("max_tokens={limit}")),
        }
        for (kind, [limit, remaining, reset]) in [(LimitKind::Requests, &name::OF_REQUESTS), (LimitKind::Tokens, &name::OF_TOKENS)] {
            if let Some(room) = self.running.gate().room(step.target, kind, now) {
                head.number(limit, room.capacity);
                head.number(remaining, room.remaining);
                head.with(reset, |text| {
                    push_digits(text, whole_millis(room.reset));
                    text.push_str("ms");
                });
            }
        }
    }

    fn tell_times(&self, head: &mut Head, upstream: Duration, ttft: Option<Duration>, now: Moment) {
        let own = now.since(self.accepted).saturating_sub(self.away.max(upstream));
        head.with(&name::SERVER_TIMING, |text| {
            push_timing(text, "tollgate;dur=", own);
            push_timing(text, ", upstream;dur=", upstream);
            if let Some(ttft) = ttft {
                push_timing(text, ", ttft;dur=", ttft);
            }
        });
    }
}

/// Names the client's fields that the target's format does not have.
fn describe_lost(head: &mut Head, lost: Option<&Lost>) {
    let Some(Lost { dropped, adjusted }) = lost else { return };
    for (name, fields) in [(&name::DROPPED, dropped), (&name::ADJUSTED, adjusted)] {
        if !fields.is_empty() {
            head.text(name, &fields.join(", "));
        }
    }
}

/// What an event stream's head says, early or late.
pub(in crate::flow) fn event_stream_headers() -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(USUAL);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(&name::NO_BUFFERING, HeaderValue::from_static("no"));
    headers
}

/// Milliseconds with two decimals, cut off, behind their name.
fn push_timing(text: &mut String, name: &str, took: Duration) {
    text.push_str(name);
    push_digits(text, whole_millis(took));
    text.push('.');
    let hundredths = took.subsec_micros() % 1_000 / 10;
    if hundredths < 10 {
        text.push('0');
    }
    push_digits(text, u64::from(hundredths));
}

fn whole_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
