//! The daemon under test, with everything on: twenty rules with mixed conditions, limits, metrics and a record per request.

use std::net::SocketAddr;

use crate::daemon::Daemon;
use crate::process;

/// What every request of the load asks for.
pub(crate) const MODEL: &str = "bench-model";
/// What every request says of itself.
pub(crate) const LABELS: &str = "feature=bench,run=7";
/// What those that declare a task declare; the first rules ask for others.
pub(crate) const TASK: &str = "qa";

/// Conditions that look at every kind of fact and that no request of the load fulfils: the twentieth rule matches.
const CONDITIONS: [&str; 19] = [
    "{ task: coding }",
    "{ model: \"gpt-*\" }",
    "{ task: [summarization, translation], prompt_tokens: { max: 32k } }",
    "{ prompt_tokens: { min: 300k } }",
    "{ labels: { team: \"search-*\" } }",
    "{ headers: { x-app: batch } }",
    "{ needs: [vision] }",
    "{ turns: { min: 40 } }",
    "{ effort: [high] }",
    "{ endpoint: embeddings }",
    "{ max_cost: { max: $0.002 } }",
    "{ model: [\"claude-*\", \"*-mini\"] }",
    "{ needs: [audio, files] }",
    "{ stream: true, labels: { run: nightly } }",
    "{ labels: { feature: \"import-*\" }, prompt_tokens: { min: 1k } }",
    "{ model: auto }",
    "{ headers: { x-region: \"eu-*\" } }",
    "{ needs: [tools], prompt_tokens: { max: 8k } }",
    "{ endpoint: completions, stream: true }",
];

/// Starts the program of this package before `upstream`, alone on its core.
pub(crate) fn start(upstream: SocketAddr) -> anyhow::Result<Daemon> {
    let program = process::pinned(env!("CARGO_BIN_EXE_tollgate"), process::SERVER_CORE);
    Daemon::start(program, |listen, admin| routes(upstream, listen, admin))
}

fn routes(upstream: SocketAddr, listen: SocketAddr, admin: SocketAddr) -> String {
    let model = "usd_per_mtok: { input: 1, output: 2 }, context: 1M, max_output: 100k, can: [tools]";
    let target = format!("mock/{MODEL}");
    let rule = |(number, conditions): (usize, &&str)| format!("  - {{ name: rule-{number}, match: {conditions}, chain: [{target}] }}\n");
    let rules: String = CONDITIONS.iter().enumerate().map(rule).collect();
    format!(
        "version: 1
server:
  listen: {listen}
  admin: {admin}
providers:
  mock:
    format: openai
    base_url: http://{upstream}/v1
    limits: {{ requests: 100M/min, tokens: 100_000M/min, concurrent: 100000 }}
    budget: $500_000/month
    models:
      {MODEL}: {{ {model}, limits: {{ requests: 100M/min }} }}
budgets:
  company: {{ cap: [$1_000_000/month, $100_000/day] }}
rules:
{rules}  - {{ name: rule-19, match: {{ model: \"bench-*\", prompt_tokens: {{ max: 1M }} }}, chain: [{target}] }}
default: {{ chain: [{target}] }}
"
    )
}
