//! How many tokens a prompt is: asked of a provider that tells it for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};

use crate::units::{Lacks, Tokens, Wire};
use crate::upstream::{Ask, Outgoing};
use crate::wire::{Edits, Shape};

use super::answer::{Addressee, Answer, Refusal};
use super::attempt::Deadline;
use super::head::name;
use super::plan::{Plan, Step};
use super::{Asked, Parts, Running, Story, classify, plan};

/// The largest answer that is read.
const LARGEST_REPLY: u64 = 64 << 10;

impl Parts {
    /// Asks the first target of the chain that can tell. It costs nothing, so nothing is held for it and no budget knows of it.
    /// Boxed here: asked rarely, it would be carried along by every request.
    pub fn count_tokens(self: Arc<Self>, running: Arc<Running>, asked: Asked) -> Story {
        Box::pin(self.counted(running, asked))
    }

    async fn counted(self: Arc<Self>, running: Arc<Running>, asked: Asked) -> Answer {
        let to = Addressee { shape: Shape::Anthropic, request_id: &asked.request_id };
        let features = match classify::features(&asked.call, &asked.headers) {
            Ok(features) => running.known(features, asked.caller),
            Err(refusal) => return refusal.answer(to),
        };
        let Some(found) = running.rules().find(&features) else { return Refusal::no_rule(&features).answer(to) };
        let plan = plan::plan(&running, found, &features);
        let deadline = Deadline::of(found.route, running.rules().server(), false);
        for step in can_tell(&running, &plan) {
            if let Ok(Some(answer)) = deadline.bound(ask(&running, &asked, step)).await {
                return answer;
            }
        }
        let message = format!("no target of rule `{}` counts tokens: estimate them", found.name);
        Refusal::bad_request("not_found", None, message).with_status(StatusCode::NOT_FOUND).answer(to)
    }
}

/// The steps whose providers count tokens, and that are ready.
fn can_tell<'p, 'r>(running: &'p Running, plan: &'p Plan<'r>) -> impl Iterator<Item = &'p Step<'r>> {
    let is_ready = |step: &&Step<'r>| step.skip.is_none() && running.rests().allows(step.target, false).is_ok();
    plan.steps.iter().filter(|step| step.wire == Wire::Messages).filter(is_ready)
}

async fn ask(running: &Running, asked: &Asked, step: &Step<'_>) -> Option<Answer> {
    let model = &running.rules().targets()[step.target].model;
    let edits = Edits {
        model: model.as_str(),
        include_usage: false,
        output_limit: None,
        assumed_limit: Tokens::ZERO,
        set: &BTreeMap::new(),
        lacks: Lacks::default(),
    };
    let outgoing = Outgoing {
        ask: Ask::CountTokens,
        client_headers: Arc::clone(&asked.headers),
        body: asked.call.write(&edits),
        is_streaming: false,
        path: None,
        model: model.clone(),
        on_fresh_connection: false,
        sent: asked.accepted,
    };
    let reply = running.upstream(step.target).send(&outgoing).await.ok()?;
    let body = reply.body.read_whole(LARGEST_REPLY).await.ok()?;
    let mut headers = http::HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(&name::TARGET, running.target_value(step.target).clone());
    Some(Answer::whole(StatusCode::OK, headers, body))
}
