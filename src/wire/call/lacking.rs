//! What a target of the call's own format is known to lack.

use std::ops::Range;

use memchr::memmem;
use serde::de::IgnoredAny;

use super::Call;
use crate::units::{Endpoint, Lack, Lacks, Quirks};
use crate::wire::json::{Fault, Kind, Scan};

/// What becomes of a call on its way to a target of its own format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Fields without which the answer would be wrong.
    pub unmet: Vec<String>,
    /// Fields that are left out.
    pub dropped: Vec<String>,
    /// What is said otherwise.
    pub adjusted: Vec<String>,
}

/// Whether a call cannot do without a field that a target with these quirks is known to lack. `value`: as it is written.
#[must_use]
pub fn is_lacking(quirks: &Quirks, field: &str, value: &str) -> bool {
    match field {
        "n" | "best_of" => quirks.lacks.has(Lack::N) && !matches!(value, "0" | "1" | "null"),
        "logprobs" => quirks.lacks.has(Lack::Logprobs) && !matches!(value, "false" | "null"),
        "top_logprobs" => quirks.lacks.has(Lack::Logprobs) && !matches!(value, "0" | "null"),
        "include" => quirks.lacks.has(Lack::Logprobs) && value.contains("output_text.logprobs"),
        "stop" if quirks.most_stops_is_known && value.starts_with('[') => {
            serde_json::from_str::<Vec<IgnoredAny>>(value).is_ok_and(|stops| stops.len() > quirks.most_stops)
        }
        _ => false,
    }
}

impl Call {
    /// What a target of the call's own format lacks of it, in order of the names.
    #[must_use]
    pub fn gaps(&self, quirks: &Quirks) -> Gaps {
        let is_known = matches!(self.endpoint(), Endpoint::Chat | Endpoint::Completions | Endpoint::Responses);
        if !is_known || (quirks.lacks.is_empty() && !quirks.most_stops_is_known) {
            return Gaps::default();
        }
        let mut unmet: Vec<String> =
            self.fields().filter(|(name, value)| is_lacking(quirks, name, value)).map(|(name, _)| name.to_owned()).collect();
        unmet.sort();
        let has_parallel = quirks.lacks.has(Lack::ParallelTools) && self.find("parallel_tool_calls").is_some();
        let dropped = has_parallel.then(|| "parallel_tool_calls".to_owned()).into_iter().collect();
        let adjusted = self.developers(quirks.lacks).into_iter().map(|(index, _)| format!("messages[{index}].role")).collect();
        Gaps { unmet, dropped, adjusted }
    }

    /// The fields that go to no target which lacks so much.
    pub(super) fn left_out(&self, lacks: Lacks) -> impl Iterator<Item = usize> {
        let fields = [(Lack::ParallelTools, "parallel_tool_calls"), (Lack::StreamUsage, "stream_options")];
        fields.into_iter().filter(move |(lack, _)| lacks.has(*lack)).filter_map(|(_, name)| self.find(name))
    }

    /// The developer's messages, by their indexes and the places of their roles, where the target knows none such.
    pub(super) fn developers(&self, lacks: Lacks) -> Vec<(usize, Range<usize>)> {
        let mut found = Vec::new();
        if !lacks.has(Lack::DeveloperRole) || self.endpoint() != Endpoint::Chat || memmem::find(self.body(), b"developer").is_none() {
            return found;
        }
        let Some(place) = self.find("messages").map(|index| self.fields[index].value.clone()) else { return found };
        let text = std::str::from_utf8(&self.body()[place.clone()]).unwrap_or_default();
        let mut index = 0;
        // The body was read before, so that it can be read again.
        let read = Scan::strict(text).array(|scan| {
            if scan.peek()? == Kind::Object {
                scan.object(|scan, key| {
                    let value = scan.value()?;
                    if &*key.text() == "role" && value.string().is_some_and(|role| &*role.text() == "developer") {
                        let range = value.range();
                        found.push((index, range.start + place.start..range.end + place.start));
                    }
                    Ok::<(), Fault>(())
                })?;
            } else {
                scan.value()?;
            }
            index += 1;
            Ok::<(), Fault>(())
        });
        if read.is_err() {
            found.clear();
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::units::Tokens;
    use crate::wire::Edits;

    fn lacking(lacks: &[Lack], most_stops: Option<usize>) -> Quirks {
        let general = Quirks { lacks: lacks.iter().copied().collect(), ..Quirks::default() };
        Quirks { most_stops: most_stops.unwrap_or(general.most_stops), most_stops_is_known: most_stops.is_some(), ..general }
    }

    fn call(endpoint: Endpoint, body: &str) -> Call {
        Call::parse(endpoint, body.to_owned().into(), 4).unwrap()
    }

    #[test]
    fn what_an_answer_cannot_do_without_is_named_where_the_target_is_known_to_lack_it() {
        let all = lacking(&Lack::ALL, Some(2));
        let none = lacking(&[], None);
        for (endpoint, field, is_lacking) in [
            (Endpoint::Chat, r#""n":2"#, true),
            (Endpoint::Chat, r#""n":1"#, false),
            (Endpoint::Chat, r#""n":null"#, false),
            (Endpoint::Chat, r#""logprobs":true"#, true),
            (Endpoint::Chat, r#""logprobs":false"#, false),
            (Endpoint::Chat, r#""top_logprobs":3"#, true),
            (Endpoint::Chat, r#""top_logprobs":0"#, false),
            (Endpoint::Chat, r#""stop":["a","b","c"]"#, true),
            (Endpoint::Chat, r#""stop":["a","b"]"#, false),
            (Endpoint::Chat, r#""stop":"a""#, false),
            (Endpoint::Completions, r#""logprobs":0"#, true),
            (Endpoint::Completions, r#""best_of":2"#, true),
            (Endpoint::Responses, r#""include":["message.output_text.logprobs"]"#, true),
            (Endpoint::Responses, r#""include":["reasoning.encrypted_content"]"#, false),
        ] {
            let call = call(endpoint, &format!(r#"{{"model":"m",{field}}}"#));
            let name = field.split('"').nth(1).unwrap();
            assert_eq!(call.gaps(&all).unmet, if is_lacking { vec![name] } else { vec![] }, "{field}");
            assert_eq!(call.gaps(&none), Gaps::default(), "{field}");
        }
        let stops = call(Endpoint::Chat, r#"{"model":"m","stop":["a","b","c","d","e"]}"#);
        assert_eq!(stops.gaps(&lacking(&[Lack::N], None)), Gaps::default(), "how many a target takes is not known of each");
        assert_eq!(call(Endpoint::Messages, r#"{"model":"m","n":2,"max_tokens":1}"#).gaps(&all), Gaps::default());
    }

    #[test]
    fn the_rest_is_left_out_and_nothing_else_changes() {
        let none = BTreeMap::new();
        let sent = |body: &str, lacks: &[Lack], limit: Option<u64>| {
            let lacks = lacks.iter().copied().collect();
            let edits = Edits {
                model: "m",
                include_usage: !Lacks::has(lacks, Lack::StreamUsage),
                output_limit: limit.map(Tokens::new),
                assumed_limit: Tokens::new(1),
                set: &none,
                lacks,
            };
            String::from_utf8(call(Endpoint::Chat, body).write(&edits).concat()).unwrap()
        };
        for (lacks, limit, body, wanted) in [
            (&[Lack::ParallelTools][..], None, r#"{"model":"m", "parallel_tool_calls" : false,"x":1.0}"#, r#"{"model":"m", "x":1.0}"#),
            (&[Lack::ParallelTools], None, r#"{"model":"m","x":1.0, "parallel_tool_calls":true }"#, r#"{"model":"m","x":1.0 }"#),
            (&[Lack::ParallelTools], None, r#"{"parallel_tool_calls":true,"model":"m"}"#, r#"{"model":"m"}"#),
            (&[Lack::StreamUsage], None, r#"{"model":"m","stream":true}"#, r#"{"model":"m","stream":true}"#),
            (
                &[Lack::StreamUsage],
                None,
                r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#,
                r#"{"model":"m","stream":true}"#,
            ),
            (
                &[Lack::StreamUsage, Lack::ParallelTools],
                Some(5),
                r#"{"model":"m","max_completion_tokens":9,"max_tokens":9,"parallel_tool_calls":true,"stream_options":{},"stream":true}"#,
                r#"{"model":"m","max_completion_tokens":5,"stream":true}"#,
            ),
            (
                &[Lack::StreamUsage, Lack::ParallelTools],
                Some(5),
                r#"{"model":"a","stream":true,"max_completion_tokens":9,"parallel_tool_calls":true,"stream_options":{},"max_tokens":9}"#,
                r#"{"model":"m","stream":true,"max_completion_tokens":5}"#,
            ),
            (
                &[Lack::DeveloperRole],
                None,
                r#"{"model":"m","messages":[{"role":"developer","content":"the developer"},{"content":[],"role" : "devel\u006fper"},{"role":"user"}, 1]}"#,
                r#"{"model":"m","messages":[{"role":"system","content":"the developer"},{"content":[],"role" : "system"},{"role":"user"}, 1]}"#,
            ),
        ] {
            assert_eq!(sent(body, lacks, limit), wanted, "{body}");
        }
        let told = call(Endpoint::Chat, r#"{"model":"m","parallel_tool_calls":true,"messages":[{"role":"user"},{"role":"developer"}]}"#);
        let gaps = told.gaps(&lacking(&[Lack::ParallelTools, Lack::DeveloperRole, Lack::StreamUsage], None));
        assert_eq!((gaps.dropped, gaps.adjusted), (vec!["parallel_tool_calls".into()], vec!["messages[1].role".into()]));
    }
}
