use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::config::{self, Diagnostic, Given, SpentWindow};
use crate::rules::{Features, Prompt, RuleSet, Spent, Task};
use crate::units::{Effort, Endpoint, Pairs, Share, Tokens, Usd};
use crate::wire::Call;

use super::{Refusal, classify};

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    given: Option<Box<RawValue>>,
    body: Option<Box<RawValue>>,
}

/// A request as somebody states it: what `explain` and the tests of a file ask about.
#[derive(Clone, Debug, Default)]
pub struct Question {
    pub given: Given,
    /// A request's body. Then the prompt, the model and everything else in it is read from there.
    pub body: Option<Bytes>,
}

impl Question {
    /// What these rules may look at. A question without a body lacks every fact that it does not state.
    pub fn features(&self, rules: &RuleSet) -> Result<Features, Refusal> {
        let given = &self.given;
        let (tags, spent) = (self.tags(rules)?, self.spent(rules)?);
        let endpoint = given.endpoint.unwrap_or(Endpoint::Chat);
        if let Some(body) = &self.body {
            let call = Call::parse(endpoint, body.clone(), u32::MAX);
            let call = call.map_err(|bad| Refusal::bad_request(bad.code, bad.param, bad.message))?;
            let features = classify::features(&Arc::new(call), &Arc::new(self.headers()?))?;
            return Ok(Features { draw: 0, caller: given.caller.clone(), tags, spent, ..features });
        }
        let model = given.model.as_deref().unwrap_or("auto");
        let (model, in_model) = match model.strip_prefix("auto/") {
            Some(task) => ("auto", Some(classify::task(task, "model")?.name)),
            None => (model, None),
        };
        let task = match given.task.clone().or(in_model) {
            Some(name) => Task::declared(name),
            None => Task::unknown(),
        };
        Ok(Features {
            endpoint,
            requested_model: model.into(),
            task,
            max_cost: given.max_cost,
            labels: given.labels.clone().into(),
            headers: Arc::new(given.headers.clone()),
            caller: given.caller.clone(),
            tags,
            spent,
            effort: given.effort,
            stream: given.stream,
            answers: given.n.unwrap_or(1),
            output_limit: given.max_output_tokens,
            prompt: Prompt::Stated { tokens: given.prompt_tokens, needs: given.needs.clone(), turns: given.turns },
            draw: 0,
        })
    }

    /// A question as JSON: `{"given": {…}, "body": {…}}`, the first in the form of `given:` in a file's tests, the second a request's
    /// body. Either may be left out. What is wrong is told in words.
    pub fn from_json(json: &[u8]) -> Result<Self, String> {
        let asked: Asked = serde_json::from_slice(json).map_err(|error| format!("the question cannot be read: {error}"))?;
        let given = match asked.given {
            Some(given) => config::read_given(given.get()).map_err(|findings| told(&findings))?,
            None => Given::default(),
        };
        Ok(Self { given, body: asked.body.map(|body| Bytes::from(Box::<str>::from(body).into_string())) })
    }

    /// The same question for [`from_json`](Self::from_json). Fails where the body is no JSON.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let Given {
            task,
            prompt_tokens,
            max_output_tokens,
            model,
            endpoint,
            labels,
            headers,
            max_cost,
            needs,
            turns,
            effort,
            stream,
            n,
            caller,
            tags,
            spent,
            time,
        } = &self.given;
        let headers: BTreeMap<&str, String> =
            headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
        let given = json!({
            "task": task,
            "prompt_tokens": prompt_tokens.map(Tokens::count),
            "max_output_tokens": max_output_tokens.map(Tokens::count),
            "model": model,
            "endpoint": endpoint.map(Endpoint::as_str),
            "labels": labels,
            "headers": headers,
            "max_cost": max_cost.map(Usd::plain),
            "needs": needs.iter().map(|need| need.as_str()).collect::<Vec<_>>(),
            "turns": turns,
            "effort": effort.map(Effort::as_str),
            "stream": stream,
            "n": n,
            "caller": caller,
            "tags": (!tags.is_empty()).then_some(tags),
            "spent": spent.iter().map(|(window, share)| (window, share.to_string())).collect::<BTreeMap<_, _>>(),
            "time": time.map(|time| time.to_string()),
        });
        let is_said = |value: &Value| {
            !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) && value.as_object().is_none_or(|map| !map.is_empty())
        };
        let given: Map<String, Value> = given
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, value)| is_said(value))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let body = self.body.as_ref().map(|body| serde_json::from_slice::<Box<RawValue>>(body)).transpose()?;
        serde_json::to_vec(&Asked { given: Some(serde_json::value::to_raw_value(&given)?), body })
    }

    /// The tags of the caller that is named, else those that are stated.
    fn tags(&self, rules: &RuleSet) -> Result<Pairs, Refusal> {
        let Some(name) = &self.given.caller else { return Ok(self.given.tags.clone().into()) };
        let caller = rules.callers().iter().find(|caller| caller.name == *name);
        let caller = caller.ok_or_else(|| Refusal::invalid("caller", format!("there is no caller `{name}` in this file")))?;
        if let (Some(expires), Some(time)) = (caller.expires, self.given.time)
            && expires <= time
        {
            return Err(Refusal::invalid("caller", format!("caller `{name}` has expired by {time}")));
        }
        Ok(caller.tags.clone())
    }

    fn spent(&self, rules: &RuleSet) -> Result<Spent, Refusal> {
        let share = |(name, share): (&String, &Share)| {
            let window = SpentWindow::named(name, rules.budgets());
            let window =
                window.ok_or_else(|| Refusal::invalid("spent", format!("there is no budget with a window `{name}` in this file")))?;
            Ok((window, *share))
        };
        self.given.spent.iter().map(share).collect()
    }

    /// The headers with which a client says what is stated here.
    fn headers(&self) -> Result<http::HeaderMap, Refusal> {
        let given = &self.given;
        let mut headers = given.headers.clone();
        let labels = given.labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
        let stated = [
            ("x-tollgate-task", given.task.as_ref().map(ToString::to_string)),
            ("x-tollgate-max-cost", given.max_cost.map(Usd::plain)),
            ("x-tollgate-labels", (!labels.is_empty()).then_some(labels)),
        ];
        for (name, value) in stated {
            let Some(value) = value else { continue };
            let value = HeaderValue::from_str(&value).map_err(|_| Refusal::invalid(name, format!("no header carries `{value}`")))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }
}

/// Findings in one line each, as a program gets them.
fn told(findings: &[Diagnostic]) -> String {
    let one = |finding: &Diagnostic| {
        let hint = finding.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("`given`, column {}: {}{hint}", finding.place.column, finding.message)
    };
    findings.iter().map(one).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_survives_its_way_to_the_daemon() {
        let given = r#"{"task":"coding","prompt_tokens":"32k","model":"gpt-4o","endpoint":"chat","labels":{"team":"search"},
            "headers":{"x-app":"batch"},"max_cost":"$0.002","needs":["tools","vision"],"turns":3,"effort":"high","stream":true,"n":2,
            "caller":"search-team","spent":{"company.month":"85%"},"time":"2026-12-31T18:00:00Z"}"#;
        let asked = format!(r#"{{"given":{given},"body":{{"model":"m","messages":[]}}}}"#);
        let question = Question::from_json(asked.as_bytes()).unwrap();
        let again = Question::from_json(&question.to_json().unwrap()).unwrap();
        assert_eq!(format!("{:?}", again.given), format!("{:?}", question.given));
        assert_eq!((again.body.clone(), again.given.prompt_tokens), (question.body, Some(Tokens::new(32_000))));
        assert_eq!((again.given.max_cost, again.given.turns), (Some(Usd::from_nano(2_000_000)), Some(3)));
    }

    #[test]
    fn a_question_that_cannot_be_read_is_told_in_words() {
        for (asked, part) in [
            ("{", "cannot be read"),
            (r#"{"question":1}"#, "unknown field `question`"),
            (r#"{"given":{"tsak":"coding"}}"#, "did you mean `task`?"),
            (r#"{"given":{"prompt_tokens":"many"}}"#, "found `many`"),
            (r#"{"given":{"no_key":["a"]}}"#, "no state of its own"),
        ] {
            let told = Question::from_json(asked.as_bytes()).unwrap_err();
            assert!(told.contains(part), "{asked}: {told}");
        }
    }
}
