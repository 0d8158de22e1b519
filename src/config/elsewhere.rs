//! What a setting of another program, or of another place of this file, is called here.

/// What to say of a key that is not known where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Elsewhere {
    /// The same thing under another name.
    Called(&'static str),
    /// What to write instead.
    Write(&'static str),
}

impl Elsewhere {
    pub(super) fn hint(self) -> String {
        match self {
            Self::Called(name) => format!("here it is called `{name}`"),
            Self::Write(hint) => hint.into(),
        }
    }
}

const CONDITIONS: [&str; 15] = [
    "task",
    "prompt_tokens",
    "cost_ceiling",
    "max_cost",
    "model",
    "labels",
    "headers",
    "needs",
    "turns",
    "effort",
    "endpoint",
    "stream",
    "caller",
    "tags",
    "spent",
];

/// `about` is the map that the key stands in, as findings name it.
pub(super) fn elsewhere(about: &str, key: &str) -> Option<Elsewhere> {
    match about {
        "the file" => of_the_file(key),
        "`server`" => of_server(key),
        "a provider" => of_a_provider(key),
        "a model" => of_a_model(key),
        "`usd_per_mtok`" | "a price tier" => of_prices(key),
        "`limits`" => of_limits(key),
        "`timeouts`" | "`timeouts` of a rule or step" => of_timeouts(key),
        "`cooldown`" => of_cooldown(key),
        "a budget" | "`budget`" => of_a_budget(key),
        "`match` of a budget" => of_covers(key),
        "a caller" => of_a_caller(key),
        "`ledger`" | "`disputes`" => of_the_ledger(key),
        "a rule" | "`default`" => of_a_route(about, key),
        "a match" => of_a_match(key),
        "a range" => of_a_range(key),
        "a step" | "a pool" => of_a_step(about, key),
        _ => None,
    }
}

fn of_the_file(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "routes" | "route" | "routers" => Elsewhere::Called("rules"),
        "model_list" | "backends" | "upstream" | "upstreams" | "services" => Elsewhere::Called("providers"),
        "fallback" | "fallbacks" => Elsewhere::Called("chains"),
        "budget" | "max_budget" | "spend" | "quotas" => Elsewhere::Called("budgets"),
        "keys" | "virtual_keys" | "clients" | "users" | "teams" | "consumers" | "tenants" => Elsewhere::Called("callers"),
        "listen" | "admin" | "timezone" => Elsewhere::Write("it belongs to `server`: check the indentation"),
        "chain" => Elsewhere::Write("it belongs to a rule or to `default`: check the indentation"),
        "match" | "unless" | "name" => Elsewhere::Write("it belongs to a rule: check the indentation"),
        "litellm_settings" | "router_settings" | "general_settings" => {
            Elsewhere::Write("what holds for everything stands under `server` and `defaults`")
        }
        "apiVersion" | "kind" | "metadata" | "spec" => Elsewhere::Write("the file itself is the routing, with `version: 1` on top"),
        _ => return None,
    })
}

fn of_server(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "port" | "address" | "bind" | "host" | "addr" => Elsewhere::Called("listen"),
        "client_max_body_size" | "max_body_size" | "body_size" => Elsewhere::Called("body_limit"),
        "timeout" | "request_timeout" => Elsewhere::Called("deadline"),
        "max_connections" | "worker_connections" => Elsewhere::Called("connections"),
        "graceful_timeout" | "shutdown_timeout" | "grace" => Elsewhere::Called("drain"),
        "tz" | "time_zone" => Elsewhere::Called("timezone"),
        _ => return None,
    })
}

fn of_a_provider(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "key" | "apikey" | "apiKey" | "api-key" | "token" | "secret" => Elsewhere::Called("api_key"),
        "url" | "endpoint" | "api_base" | "host" | "baseurl" | "baseUrl" | "proxy_pass" => Elsewhere::Called("base_url"),
        "type" | "kind" | "api" => Elsewhere::Called("format"),
        "rate_limit" | "rate_limits" | "quota" | "rpm" | "tpm" => Elsewhere::Called("limits"),
        "price" | "prices" | "pricing" | "cost" => Elsewhere::Called("usd_per_mtok"),
        "model_list" | "deployments" => Elsewhere::Called("models"),
        "max_budget" | "cap" | "spend_limit" => Elsewhere::Called("budget"),
        "requests" | "tokens" | "concurrent" => Elsewhere::Write("it belongs to `limits`: check the indentation"),
        "connect" | "first_content" | "idle" => Elsewhere::Write("it belongs to `timeouts`: check the indentation"),
        "port" => Elsewhere::Write("the port is a part of `base_url`: `https://host:port/path`"),
        "fallback" | "fallbacks" => Elsewhere::Write("which provider follows is what a rule's `chain` says"),
        _ => return None,
    })
}

fn of_a_model(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "price" | "prices" | "pricing" | "cost" => Elsewhere::Called("usd_per_mtok"),
        "input_cost_per_token" | "output_cost_per_token" => {
            Elsewhere::Write("here it is `usd_per_mtok: { input: …, output: … }`, in dollars per million tokens")
        }
        "context_window" | "max_context" | "context_length" | "max_input_tokens" => Elsewhere::Called("context"),
        "max_tokens" | "max_completion_tokens" => Elsewhere::Called("max_output"),
        "capabilities" | "supports" | "features" => Elsewhere::Called("can"),
        "timeouts" | "timeout" => Elsewhere::Write("timeouts are set by the provider, a rule or a step"),
        _ => return None,
    })
}

fn of_prices(key: &str) -> Option<Elsewhere> {
    Some(Elsewhere::Called(match key {
        "prompt" | "in" => "input",
        "completion" | "out" => "output",
        "cached" | "cached_input" | "cache_hit" => "cache_read",
        "threshold" | "over" | "from" => "above",
        _ => return None,
    }))
}

fn of_limits(key: &str) -> Option<Elsewhere> {
    Some(Elsewhere::Called(match key {
        "rpm" | "rps" | "rpd" => "requests",
        "tpm" | "tpd" => "tokens",
        "concurrency" | "parallel" | "max_parallel_requests" | "max_concurrency" => "concurrent",
        _ => return None,
    }))
}

fn of_timeouts(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "connect_timeout" | "proxy_connect_timeout" | "dial" => Elsewhere::Called("connect"),
        "read" | "read_timeout" | "proxy_read_timeout" | "stall" => Elsewhere::Called("idle"),
        "ttft" | "first_token" | "first_byte" => Elsewhere::Called("first_content"),
        "total" | "request" | "deadline" => Elsewhere::Write("the whole call is bounded by `deadline`, of the rule or of `server`"),
        _ => return None,
    })
}

fn of_cooldown(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "failures" | "threshold" | "allowed_fails" | "max_failures" => Elsewhere::Called("after"),
        "time" | "duration" | "cooldown_time" | "for" => Elsewhere::Called("rest"),
        "window" | "interval" => Elsewhere::Write("failures are counted over 30 s, always: take it out"),
        _ => return None,
    })
}

fn of_a_route(about: &str, key: &str) -> Option<Elsewhere> {
    Some(match key {
        "match" | "unless" | "name" if about == "`default`" => {
            Elsewhere::Write("`default` has no conditions: it holds for what no rule matched")
        }
        "return" | "status" | "refuse" | "deny" if about == "`default`" => {
            Elsewhere::Write("to refuse what no rule matched, write `default: refuse`")
        }
        "when" | "if" | "conditions" | "where" if about == "a rule" => Elsewhere::Called("match"),
        "route" | "targets" | "target" | "providers" | "fallbacks" | "use" | "to" | "backendRef" | "backendRefs" | "service" => {
            Elsewhere::Called("chain")
        }
        "timeout" => Elsewhere::Called("deadline"),
        "max_tokens" => Elsewhere::Called("max_output_tokens"),
        "retries" | "num_retries" => Elsewhere::Called("retry"),
        key if CONDITIONS.contains(&key) && about == "a rule" => {
            Elsewhere::Write("it is a condition and belongs to `match`: check the indentation")
        }
        _ => return None,
    })
}

fn of_a_match(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "model_name" | "requested_model" | "models" => Elsewhere::Called("model"),
        "tokens" | "length" | "prompt_length" | "input_tokens" => Elsewhere::Called("prompt_tokens"),
        "messages" => Elsewhere::Called("turns"),
        "callers" | "client" | "user" | "key" => Elsewhere::Called("caller"),
        "tag" => Elsewhere::Called("tags"),
        "budget" | "usage" | "spend" => Elsewhere::Called("spent"),
        "path" | "uri" => Elsewhere::Called("endpoint"),
        "header" => Elsewhere::Called("headers"),
        "any" | "or" => {
            Elsewhere::Write("a list means any of its values, as in `task: [coding, math]`; other cases are rules of their own")
        }
        "all" | "and" => Elsewhere::Write("all conditions of a match must hold: write them side by side"),
        "not" => Elsewhere::Write("what must not hold stands under `unless`, beside `match`"),
        _ => return None,
    })
}

fn of_a_budget(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "caps" | "max_budget" | "limit" | "amount" | "max" | "usd" | "dollars" => Elsewhere::Called("cap"),
        "window" | "period" | "budget_duration" | "duration" | "interval" | "reset" | "per" => {
            Elsewhere::Write("the window is a part of the cap: `cap: $300/month`")
        }
        "soft_budget" | "alert_at" | "warn" | "alerts" | "thresholds" => Elsewhere::Called("warn_at"),
        "tz" | "time_zone" | "zone" => Elsewhere::Called("timezone"),
        "when" | "for" | "covers" | "scope" | "filter" => Elsewhere::Called("match"),
        "caller" | "tags" | "rule" | "provider" | "model" | "labels" => {
            Elsewhere::Write("it says what the budget covers and belongs to its `match`: check the indentation")
        }
        "renamed_from" | "previous_name" | "old_name" => Elsewhere::Called("was"),
        "start" | "starts" | "billing_day" | "anchor" => Elsewhere::Called("starts_on"),
        _ => return None,
    })
}

fn of_covers(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "callers" | "client" | "user" | "key" => Elsewhere::Called("caller"),
        "tag" => Elsewhere::Called("tags"),
        "rules" | "route" => Elsewhere::Called("rule"),
        "providers" => Elsewhere::Called("provider"),
        "models" => Elsewhere::Called("model"),
        "label" => Elsewhere::Called("labels"),
        "task" | "prompt_tokens" | "headers" | "endpoint" => {
            Elsewhere::Write("a budget covers rules: write the condition into a rule, and `rule: its-name` here")
        }
        _ => return None,
    })
}

fn of_a_caller(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "api_key" | "token" | "hash" | "sha256" | "key_hash" | "secret" | "password" => Elsewhere::Called("key"),
        "models" | "allowed_models" | "targets" | "providers" | "access" => Elsewhere::Called("allow"),
        "max_budget" | "cap" => Elsewhere::Called("budget"),
        "rpm" | "tpm" | "rate_limit" | "rpm_limit" | "tpm_limit" | "quota" => Elsewhere::Called("limits"),
        "requests" | "tokens" | "concurrent" => Elsewhere::Write("it belongs to `limits`: check the indentation"),
        "labels" | "metadata" | "team" | "groups" => Elsewhere::Called("tags"),
        "expiry" | "expires_at" | "valid_until" | "duration" => Elsewhere::Called("expires"),
        _ => return None,
    })
}

fn of_the_ledger(key: &str) -> Option<Elsewhere> {
    Some(match key {
        "path" | "file" | "database" | "url" | "folder" => {
            Elsewhere::Write("the ledger stands in the state folder: `server: { state: /path }`")
        }
        "sync" | "fsync" | "mode" => Elsewhere::Called("durability"),
        "hold" | "timeout" | "ttl" | "until" => Elsewhere::Called("hold_for"),
        _ => return None,
    })
}

fn of_a_range(key: &str) -> Option<Elsewhere> {
    Some(Elsewhere::Called(match key {
        "from" | "gte" | "ge" | "gt" | "above" | "over" | "minimum" | "at_least" => "min",
        "to" | "lte" | "le" | "lt" | "below" | "under" | "maximum" | "at_most" => "max",
        _ => return None,
    }))
}

fn of_a_step(about: &str, key: &str) -> Option<Elsewhere> {
    Some(match (about, key) {
        ("a step", "model" | "name" | "provider") => Elsewhere::Called("target"),
        ("a step", "temperature" | "top_p" | "seed" | "stop" | "reasoning_effort" | "user") => {
            Elsewhere::Write("fields of the request stand under `set`, as in `set: { temperature: 0 }`")
        }
        ("a step", "max_tokens") => Elsewhere::Called("max_output_tokens"),
        ("a pool", "strategy") => Elsewhere::Called("pick"),
        ("a pool", "targets" | "members" | "from") => Elsewhere::Called("of"),
        _ => return None,
    })
}
