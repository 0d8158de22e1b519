//! `tests:` as written.

use super::TARGET;
use super::caller::Moment;
use super::conditions::{EffortWord, EndpointWord, HEADER, Interval, Task, WINDOW};
use super::provider::NeedWord;
use crate::config::collections::{AnyOf, List, Table};
use crate::config::decode::draft;
use crate::config::shapes::{Dollars, Flag, Percent, Text, TokenCount, Whole, words};

draft! {
    /// One request and what must become of it. Tests run in every check, before a file comes into force.
    TestDraft is "a test"
    such as { "name": "code goes to OpenAI", "given": { "task": "coding" }, "expect": { "rule": "coding", "target": "openai/gpt-4o" } } {
        /// What the test is about, in words.
        name(required: "a failing test is told by its name")[such as "code goes to OpenAI"]: Text,
        /// The request and the state it meets: what is not said is not there, every key is, nothing rests.
        given: GivenDraft,
        /// What must come of it: all that is said here.
        expect(required: "write `expect: { rule: … }` or `expect: { target: provider/model }`"): ExpectDraft,
    }
    later []
}

draft! {
    /// The facts of a request, and the state it meets.
    GivenDraft is "`given`" such as { "task": "coding", "prompt_tokens": 900 } {
        /// The declared task.
        task: Task,
        /// How long the prompt is, in tokens.
        prompt_tokens[such as 900]: TokenCount,
        /// The output limit that the client sets, in tokens.
        max_output_tokens[such as "4k"]: TokenCount,
        /// The model that the client names.
        model[such as "gpt-4o"]: Text = "auto",
        /// The kind of call.
        endpoint: EndpointWord = "chat",
        /// What the client says of itself, by label.
        labels[such as { "feature": "search" }]: Table<Text>,
        /// Request headers, by name.
        headers[such as { "x-team": "research" }]: Table<Text>,
        /// The ceiling that the client declares for this request, in US dollars.
        max_cost[such as "$0.002"]: Dollars,
        /// What the request needs from a model.
        needs: AnyOf<NeedWord>,
        /// Messages so far.
        turns: Whole<0, 1_000_000>,
        /// Declared reasoning effort.
        effort: EffortWord,
        /// Whether the client asks for a stream.
        stream: Flag = false,
        /// How many answers the client asks for.
        n[such as 2]: Whole<1, 128> = 1,
        /// Providers whose key is missing.
        no_key[such as "openai"]: AnyOf<Text>,
        /// Targets at rest: `provider/model`, or a provider with all its models.
        resting[such as ["openai/gpt-4o", "house"]]: AnyOf<Text>,
        /// The caller that asks; its tags come along.
        caller[such as "search-team"]: Text,
        /// Tags of a caller that is not named.
        tags[such as { "team": "search" }]: Table<Text>,
        /// The share that is used of budgets' windows, from 0% to 100%; 0% where it is not said.
        spent[such as { "company.month": "85%" }]: Table<Percent>,
        /// When the request comes.
        time[such as "2026-12-31T18:00:00Z"]: Moment,
    }
    later []
    schema {
        "allOf": [{ "properties": {
            "headers": { "propertyNames": { "pattern": HEADER } },
            "spent": { "propertyNames": { "pattern": WINDOW } }
        } }]
    }
}

draft! {
    /// What must come of a request.
    ExpectDraft is "`expect`" such as { "rule": "coding", "target": "openai/gpt-4o" } {
        /// The rule that decides, or `default`.
        rule[such as "coding"]: Text,
        /// The target that is tried first.
        target[such as "openai/gpt-4o"]: Text,
        /// All targets that would be tried, in order.
        chain[such as ["openai/gpt-4o", "house/llama3.2"]]: List<Text>,
        /// Targets that are left out, each with its reason.
        skipped[such as { "openai/gpt-4o": "no_key" }]: Table<SkipWord>,
        /// The code with which the request is refused.
        refusal: RefusalWord,
        /// What the first target can cost at most, in US dollars.
        worst_case[such as { "max": "$0.05" }]: Interval<Dollars>,
    }
    later []
    schema {
        "allOf": [{ "properties": {
            "target": { "pattern": TARGET },
            "chain": { "items": { "pattern": TARGET } },
            "skipped": { "propertyNames": { "pattern": TARGET } }
        } }]
    }
}

words! {
    /// Why a step is left out.
    SkipWord: &'static str {
        "no_key" => "no_key",
        "at_rest" => "at_rest",
        "context" => "context",
        "no_score" => "no_score",
        "below_floor" => "below_floor",
        "needs" => "needs",
        "above_ceiling" => "above_ceiling",
        "sandbox_stands_back" => "sandbox_stands_back",
        "budget" => "budget",
        "not_allowed" => "not_allowed",
    }
    later []
}

words! {
    /// The code of a refusal.
    RefusalWord: &'static str {
        "model_not_found" => "model_not_found",
        "cost_ceiling_exceeded" => "cost_ceiling_exceeded",
        "context_length_exceeded" => "context_length_exceeded",
        "unsupported_parameter" => "unsupported_parameter",
        "server_is_overloaded" => "server_is_overloaded",
        "no_provider" => "no_provider",
        "budget_exceeded" => "budget_exceeded",
        "budget_busy" => "budget_busy",
        "unpriceable_request" => "unpriceable_request",
        "target_forbidden" => "target_forbidden",
        "ledger_unavailable" => "ledger_unavailable",
    }
    later []
}
