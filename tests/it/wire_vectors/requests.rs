//! What a target of another format gets of a client's request.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::Value;
use tollgate::units::{Endpoint, Lacks, Quirks, Thinks, Tokens, Wire};
use tollgate::wire::{Call, Edits};

use super::{ELSEWHERE, lines};

/// A target as the vectors describe it.
fn quirks(target: &Value, to: Wire) -> Quirks {
    let thinks = target["reasoning"].as_str().map_or(Thinks::No, |word| match word {
        "none" => Thinks::No,
        word => Thinks::parse(word).unwrap(),
    });
    Quirks {
        names_limit_newly: target["max_tokens_field"] == "max_completion_tokens",
        thinks,
        structured_outputs: target["structured_outputs"] == true || to == Wire::Chat,
        image_urls: to != Wire::Generate,
        cache_breakpoints: target["cache_breakpoints"].as_bool().unwrap_or(true),
        needs_signatures: target["thought_signatures"] == "required",
        most_stops: if to == Wire::Messages { usize::MAX } else { 4 },
        ..Quirks::default()
    }
}

fn names(list: &Value) -> BTreeSet<String> {
    list.as_array().into_iter().flatten().map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_request_is_translated() {
    let mut run = 0;
    for vector in lines("translate-requests.jsonl") {
        let id = &vector["id"];
        let wire = |key: &str| {
            let name = vector[key].as_str().unwrap();
            let wire = Wire::ALL.into_iter().find(|wire| wire.as_str() == name);
            assert!(wire.is_some() || ELSEWHERE.contains(&name), "{id} names {name}, which is not known");
            wire
        };
        let (Some(from), Some(to)) = (wire("from"), wire("to")) else { continue };
        run += 1;
        let endpoint = Endpoint::ALL.into_iter().find(|endpoint| endpoint.wire() == from).unwrap();
        let call = Call::parse(endpoint, Bytes::from(vector["in"].to_string()), 4).unwrap();
        let target = &vector["target"];
        let quirks = quirks(target, to);
        assert_eq!(call.unmet(to, &quirks).unwrap().into_iter().collect::<BTreeSet<_>>(), names(&vector["skip_target"]), "{id}");
        if vector["skip_target"].is_array() {
            continue;
        }
        let edits = Edits {
            model: target["model"].as_str().unwrap(),
            include_usage: true,
            output_limit: None,
            assumed_limit: Tokens::new(target["default_max_tokens"].as_u64().unwrap_or(1)),
            set: &BTreeMap::new(),
            lacks: Lacks::default(),
        };
        let translated = call.translate(to, &edits, &quirks).unwrap();
        let body: Value = serde_json::from_slice(&translated.body).unwrap();
        assert_eq!(body, vector["out"], "{id}\n{body:#}");
        assert_eq!(translated.dropped.into_iter().collect::<BTreeSet<_>>(), names(&vector["dropped"]), "{id}");
        assert_eq!(translated.adjusted.into_iter().collect::<BTreeSet<_>>(), names(&vector["adjusted"]), "{id}");
    }
    assert!(run >= 7, "only {run} requests were translated");
}
