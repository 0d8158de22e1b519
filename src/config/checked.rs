//! What a sound file says, typed: every name resolved, every unit read, nothing left to refuse.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::value::RawValue;

use super::decode::At;
use super::diagnostic::Place;
use crate::units::{
    BudgetName, CallerName, Confidence, Effort, Endpoint, Format, ModelName, Need, OnDisconnect, Pairs, Prices, ProviderName, Quirks, Rate,
    RuleName, Score, Secret, Share, Speaks, TargetName, TaskName, Tokenizer, Tokens, Usd, Window,
};

/// A whole configuration. `targets` holds every model of every provider, in file order; rules name them by index.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The files that it is made of, as the user would name them: the main one, then the included ones. [`Place::file`] is an index.
    pub files: Vec<String>,
    pub server: Server,
    pub providers: Vec<Provider>,
    pub targets: Vec<Target>,
    pub rules: Vec<Rule>,
    pub default: DefaultRule,
    pub tests: Vec<Test>,
    /// Those of providers and callers among them, in this order: `budgets:`, providers, callers.
    pub budgets: Vec<Budget>,
    pub callers: Vec<Caller>,
    pub classify: Classify,
    pub ledger: LedgerSettings,
    pub alerts: Alerts,
    pub evals: Vec<Eval>,
}

/// How good a target's answers to one task are: one entry of `evals:`.
#[derive(Clone, Debug)]
pub struct Eval {
    pub task: TaskName,
    /// Index into [`Checked::targets`].
    pub target: usize,
    pub score: Score,
    /// How many answers were looked at.
    pub n: Option<u64>,
    /// When that was.
    pub date: Option<Date>,
    /// Where the target's name stands.
    pub place: Place,
}

/// A cap on spend per window, over all that it covers.
#[derive(Clone, Debug)]
pub struct Budget {
    pub name: BudgetName,
    /// Where its name, or the key of its provider or caller, stands.
    pub place: Place,
    pub covers: Covers,
    /// In file order, no period twice. Empty where there is only a pace.
    pub caps: Vec<Cap>,
    /// Micro-dollars per time: smooths spending, and is never the cap.
    pub pace: Option<Rate>,
    /// Default: hard.
    pub mode: BudgetMode,
    /// In rising order.
    pub warn_at: Vec<Share>,
    /// Default: clamp.
    pub on_low: OnLow,
    /// The least that a clamp leaves. Default 256.
    pub min_output_tokens: Tokens,
    /// How long a request may wait where only other requests' holds stand in the way. Default 10 s.
    pub wait: Duration,
    /// The name that it had; its spend goes on under the new one.
    pub was: Option<BudgetName>,
    /// Default: auto.
    pub estimate: EstimateBy,
}

impl Budget {
    /// Whether the next step of a chain may escape it: it is about a provider or model.
    #[must_use]
    pub fn is_skippable(&self) -> bool {
        self.covers.providers.is_some() || self.covers.models.is_some()
    }
}

impl SpentWindow {
    /// The window by its name, such as `company.month`; nothing where no budget has it.
    #[must_use]
    pub fn named(text: &str, budgets: &[Budget]) -> Option<Self> {
        let (name, period) = text.rsplit_once('.')?;
        let budget = budgets.iter().position(|budget| budget.name.as_str() == name)?;
        let cap = budgets.get(budget)?.caps.iter().position(|cap| cap.window.period.as_str() == period)?;
        Some(Self { budget, cap })
    }

    /// Its name: `company.month`.
    #[must_use]
    pub fn name(self, budgets: &[Budget]) -> String {
        let budget = budgets.get(self.budget);
        budget.and_then(|budget| Some(format!("{}.{}", budget.name, budget.caps.get(self.cap)?.window.period))).unwrap_or_default()
    }
}

/// What a budget covers: all that holds of what is there. Nothing there: every request.
#[derive(Clone, Debug, Default)]
pub struct Covers {
    /// Indices into [`Checked::providers`].
    pub providers: Option<Vec<usize>>,
    /// Globs on the target's model.
    pub models: Option<Vec<String>>,
    /// Indices into [`Checked::callers`].
    pub callers: Option<Vec<usize>>,
    /// Tag → globs, any of which may match the value.
    pub tags: BTreeMap<String, Vec<String>>,
    pub rules: Option<Vec<RuleName>>,
    /// Label → globs; only with `trust_client`.
    pub labels: BTreeMap<String, Vec<String>>,
}

/// `$300/month`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cap {
    pub amount: Usd,
    pub window: Window,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BudgetMode {
    /// Nothing is sent whose worst case does not fit.
    #[default]
    Hard,
    /// Counted and warned about; refuses once the cap is spent, without holding worst cases against it.
    Soft,
    /// Counted and warned about; refuses nothing.
    Observe,
}

/// What happens where a hold does not fit any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLow {
    /// The output limit is lowered to what the rest affords.
    #[default]
    Clamp,
    Reject,
}

/// What bounds the input of a hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EstimateBy {
    #[default]
    Auto,
    Bytes,
    Exact,
    Calibrated,
}

/// One entry of `callers:`.
#[derive(Clone, Debug)]
pub struct Caller {
    pub name: CallerName,
    pub place: Place,
    /// At least one; two while a key is exchanged.
    pub keys: Vec<CallerKey>,
    pub tags: Pairs,
    pub limits: Limits,
    /// Globs on targets that this caller may use, whatever a rule says. Absent: all.
    pub allow: Option<Vec<String>>,
    /// No key of it works from then on.
    pub expires: Option<Timestamp>,
    /// What it says of itself in labels counts for budgets.
    pub trust_client: bool,
}

/// A caller's key, known by its hash alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerKey {
    pub sha256: [u8; 32],
    pub expires: Option<Timestamp>,
}

impl CallerKey {
    /// The beginning of its hash: enough to tell it from others, for logs.
    #[must_use]
    pub fn short(&self) -> String {
        let [first, second, third, fourth, ..] = self.sha256;
        format!("{:08x}", u32::from_be_bytes([first, second, third, fourth]))
    }
}

/// `classify:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classify {
    pub when: ClassifyWhen,
    /// From here on a guess counts. Default 0.7.
    pub floor: Confidence,
    /// In file order: the first of which a word is there counts.
    pub labels: Vec<OwnLabel>,
}

impl Default for Classify {
    fn default() -> Self {
        Self { when: ClassifyWhen::Needed, floor: Confidence::FLOOR, labels: Vec::new() }
    }
}

/// When the words of a request are looked at that declares no task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClassifyWhen {
    Never,
    /// Where some rule asks for a task.
    #[default]
    Needed,
    Always,
}

/// A task of the file's own, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnLabel {
    pub name: TaskName,
    /// In lower case; a `*` at an end stands for more letters.
    pub words: Vec<String>,
}

/// `ledger:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerSettings {
    /// The longest wait for the disk before a request is refused. Default 2 s.
    pub timeout: Duration,
    pub durability: Durability,
    /// How long a dispute counts. Default 24 h.
    pub hold_for: HoldFor,
    /// What may be spent without a row under budgets that are not hard while the disk cannot be written. Default $10.
    pub max_unrecorded: Usd,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(2),
            durability: Durability::Grant,
            hold_for: HoldFor::For(Duration::from_hours(24)),
            max_unrecorded: Usd::from_nano(10_000_000_000),
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A request is sent under a grant that is on disk already.
    #[default]
    Grant,
    /// Each request waits until its own hold is on disk.
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldFor {
    For(Duration),
    /// Until the end of its window.
    Window,
}

/// `alerts:`: who is told of crossings, refusals, forecasts, disputes and overruns, beside the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alerts {
    pub webhook: Option<Webhook>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    pub url: http::Uri,
    /// Signs each message (HMAC-SHA-256) where it is there.
    pub secret: Option<Secret>,
}

/// Whose figure counts where a provider tells its own cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CostSource {
    #[default]
    Ours,
    Provider,
}

/// `server:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub listen: SocketAddr,
    pub admin: SocketAddr,
    /// `callers: open`: the listener serves whoever reaches it.
    pub open: bool,
    /// The whole of a call that is not streamed. Default 10 min.
    pub deadline: Duration,
    /// The whole of a streamed call. Default 30 min.
    pub stream_deadline: Duration,
    /// Most client connections at once. Default 10,000.
    pub connections: NonZeroU32,
    /// Largest request body, in bytes. Default 32 MiB.
    pub body_limit: u64,
    /// How long open requests may run on after a stop. Default 300 s.
    pub drain: Duration,
    /// How long a streamed call may go without content before its status 200 is sent. Default 10 s.
    pub early_head: Option<Duration>,
    /// The state folder, when the file names one.
    pub state: Option<PathBuf>,
    /// Most answers that one call may ask for (`n`). Default 4.
    pub max_n: u32,
    /// What happens to a provider's answer when the client hangs up. Default: cancel.
    pub on_client_disconnect: OnClientDisconnect,
}

/// The built-in settings.
impl Default for Server {
    fn default() -> Self {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Self {
            listen: local(8080),
            admin: local(8081),
            open: false,
            deadline: Duration::from_mins(10),
            stream_deadline: Duration::from_mins(30),
            connections: NonZeroU32::MIN.saturating_add(9_999),
            body_limit: 32 << 20,
            drain: Duration::from_mins(5),
            early_head: Some(Duration::from_secs(10)),
            state: None,
            max_n: 4,
            on_client_disconnect: OnClientDisconnect::Cancel,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnClientDisconnect {
    Cancel,
    Finish,
}

/// One entry of `providers:`.
#[derive(Clone, Debug)]
pub struct Provider {
    pub name: ProviderName,
    pub format: Format,
    /// `http` or `https`, host and optional path; no trailing slash. Absent for the sandbox.
    pub base_url: Option<Uri>,
    pub key: Key,
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Absent: failures never rest this provider's targets (`cooldown: off`).
    pub cooldown: Option<CooldownPolicy>,
    pub proxy: Proxy,
    pub http1_only: bool,
    /// Default: stops.
    pub on_disconnect: OnDisconnect,
    /// Default: ours.
    pub cost_source: CostSource,
    /// How the offline provider behaves; present exactly when `format` is the sandbox.
    pub sandbox: Option<Sandbox>,
}

/// Hosts of Azure's models.
const AZURE: [&str; 3] = [".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com"];

impl Provider {
    /// Whether Azure serves it, whose keys go under a name of their own: by its host, or because its address names a version of the API,
    /// as nobody else's does.
    #[must_use]
    pub fn is_azure(&self) -> bool {
        let is_at_azure = |url: &Uri| url.query().is_some() || url.host().is_some_and(|host| AZURE.iter().any(|end| host.ends_with(end)));
        self.base_url.as_ref().is_some_and(is_at_azure)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// The provider asks for none.
    NotNeeded,
    Present(Secret),
    /// `${VAR}?` and nothing there; what would have been read, for messages: `OPENAI_API_KEY`.
    Missing(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proxy {
    None,
    /// From `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY`.
    Env,
    Url(http::Uri),
}

/// `limits:` of a provider or a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub requests: Option<Rate>,
    pub tokens: Option<Rate>,
    /// Calls at once.
    pub concurrent: Option<NonZeroU32>,
    /// How long a request may wait for its turn where no other step is left. Default: not at all.
    pub wait: Duration,
}

/// Four bounds on waiting; total time is the deadline's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// TCP connect. Default 2 s.
    pub connect: Duration,
    /// From sending to the first content of a stream. Default 60 s, 10 min for models that reason.
    pub first_content: Duration,
    /// Between two reads of a stream. Default 120 s.
    pub idle: Duration,
}

/// When a target rests, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CooldownPolicy {
    /// Failures within 30 s. Default 5.
    pub after: NonZeroU32,
    /// The first rest; each further one is twice as long, up to 5 min. Default 20 s.
    pub rest: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Before the first word. Default 20 ms.
    pub latency: Duration,
    /// Default 200.
    pub tokens_per_second: NonZeroU32,
    /// How many answers fail. Default none.
    pub failure: Share,
    /// Of the chance that decides which answers fail. Default 1.
    pub seed: u64,
}

/// One provider and one of its models: what a chain's step names.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: TargetName,
    /// Index into [`Checked::providers`].
    pub provider: usize,
    pub model: ModelName,
    /// Absent: unknown, never free.
    pub prices: Option<Arc<Prices>>,
    /// Dollars per call, beside the token prices.
    pub usd_per_call: Option<Usd>,
    /// What a whole call costs, in place of token prices.
    pub flat_usd: Option<Usd>,
    /// The most that one image counts as input. Absent: unknown, which no hard budget lets through.
    pub image_tokens: Option<Tokens>,
    /// The fastest that the model writes, in tokens per second: bounds what a cut answer can have cost. Default 300.
    pub max_output_tps: NonZeroU32,
    /// Input and output together. Absent: unknown.
    pub context: Option<Tokens>,
    /// The most the model writes in one answer. Absent: unknown.
    pub max_output: Option<Tokens>,
    /// What the model can do. Absent: not said, so nothing is ruled out.
    pub can: Option<Vec<Need>>,
    /// Output limit assumed where the call names none. Default 16k, 32k for models that reason.
    pub default_max_output_tokens: Tokens,
    /// Output limit that no call may exceed here.
    pub max_output_tokens: Option<Tokens>,
    /// Limits of this model alone, beside the provider's.
    pub limits: Limits,
    pub timeouts: Timeouts,
    /// Which of its format's APIs for conversations it has.
    pub speaks: Speaks,
    /// How it takes a call that was made for another format.
    pub quirks: Quirks,
    /// How it divides a prompt into tokens, as far as its name tells.
    pub tokenizer: Tokenizer,
}

impl Target {
    #[must_use]
    pub fn reasons(&self) -> bool {
        self.can.as_ref().is_some_and(|can| can.contains(&Need::Reasoning))
    }
}

/// One entry of `rules:`.
#[derive(Clone, Debug)]
pub struct Rule {
    pub name: RuleName,
    /// Where its name stands in the file.
    pub place: Place,
    /// 1-based line of the entry in its file.
    pub line: usize,
    pub matches: Conditions,
    pub unless: Option<Conditions>,
    pub route: Route,
}

/// `default:`, which holds when no rule matched.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a file has one of it")]
pub enum DefaultRule {
    Refuse,
    Route(Route),
}

/// What a rule decides: a chain and its settings.
#[derive(Clone, Debug)]
pub struct Route {
    pub chain: Chain,
    pub deadline: Option<Duration>,
    pub max_output_tokens: Option<Tokens>,
    pub on_ceiling: OnCeiling,
    /// Classes that may fall back beside those that always do.
    pub fallback_on: Vec<FallbackOn>,
    pub timeouts: TimeoutChanges,
    /// Whether the same target may be tried again where docs/errors.md says *once*. Default true.
    pub retry: bool,
    pub unsupported_params: UnsupportedParams,
    /// Whether a session stays on the target that served it.
    pub sticky: bool,
}

/// What becomes of a target whose format lacks fields that an answer can do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnsupportedParams {
    /// They are left out or adjusted, and the answer names them.
    #[default]
    Warn,
    /// They are left out or adjusted.
    Drop,
    /// The target is left out.
    Reject,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnCeiling {
    #[default]
    NextRule,
    Clamp,
    Refuse,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FallbackOn {
    ContentPolicy,
    InvalidRequest,
}

/// What a rule or a step says about waiting; the rest is the target's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeoutChanges {
    pub first_content: Option<Duration>,
    pub idle: Option<Duration>,
}

/// The members of a chain in order; never empty.
#[derive(Clone, Debug)]
pub struct Chain {
    pub first: Member,
    pub rest: Vec<Member>,
}

impl Chain {
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

#[derive(Clone, Debug)]
pub enum Member {
    Target(Use),
    /// The target that the client named.
    Requested,
    Pool(Pool),
}

impl Member {
    /// The targets that it names.
    #[must_use]
    pub fn uses(&self) -> &[Use] {
        match self {
            Self::Target(one) => std::slice::from_ref(one),
            Self::Requested => &[],
            Self::Pool(pool) => &pool.of,
        }
    }
}

/// Several targets that are put in order for each request.
#[derive(Clone, Debug)]
pub struct Pool {
    pub pick: Pick,
    /// Never empty.
    pub of: Vec<Use>,
}

/// How a pool puts its members in order; the rest follow the first as fallbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pick {
    /// By the worst case of the request.
    Cheapest,
    /// By the time to first content seen lately.
    Fastest,
    /// One drawn by weight.
    Split,
    /// By score. Members without a score, and those below the floor, are left out.
    Best {
        /// Whose scores count; absent: those for the request's task.
        task: Option<TaskName>,
        /// With a floor the cheapest of those that reach it is first, without one the best.
        min_score: Option<Score>,
    },
}

impl Pick {
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Cheapest => "cheapest",
            Self::Fastest => "fastest",
            Self::Split => "split",
            Self::Best { .. } => "best",
        }
    }
}

/// A target as one chain uses it.
#[derive(Clone, Debug)]
pub struct Use {
    /// Index into [`Checked::targets`].
    pub target: usize,
    /// Where the step names it.
    pub place: Place,
    /// Share of a `split`, in parts; 1 where none is said.
    pub weight: NonZeroU32,
    pub timeouts: TimeoutChanges,
    pub max_output_tokens: Option<Tokens>,
    /// Top-level request fields that this step sets, each a JSON text.
    pub set: BTreeMap<String, Box<RawValue>>,
}

/// `match:` or `unless:`. An absent condition asks nothing; a present one must hold.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pub task: Option<Vec<TaskName>>,
    pub prompt_tokens: Option<Bounds<Tokens>>,
    pub cost_ceiling: Option<Usd>,
    pub max_cost: Option<Bounds<Usd>>,
    /// Globs, `known` or `auto`.
    pub model: Option<Vec<ModelPattern>>,
    /// Name → globs, any of which may match the value.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Lower-case header name → globs, any of which may match the value.
    pub headers: BTreeMap<String, Vec<String>>,
    pub needs: Option<Vec<Need>>,
    pub turns: Option<Bounds<u64>>,
    pub effort: Option<Vec<Effort>>,
    pub endpoint: Option<Vec<Endpoint>>,
    pub stream: Option<bool>,
    /// Names of callers.
    pub caller: Option<Vec<CallerName>>,
    /// Tag → globs, any of which may match the value.
    pub tags: BTreeMap<String, Vec<String>>,
    /// Shares of budgets' windows that are used; all must hold.
    pub spent: Vec<(SpentWindow, Bounds<Share>)>,
    pub places: ConditionPlaces,
}

/// One window of one budget: indices into [`Checked::budgets`] and [`Budget::caps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpentWindow {
    pub budget: usize,
    pub cap: usize,
}

/// Where conditions stand, by their keys (`task`, `labels.feature`): first the key, then each value of a list.
pub type ConditionPlaces = BTreeMap<String, Vec<Place>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPattern {
    /// Resolves to a target of the file.
    Known,
    /// The client left the choice to the rules.
    Auto,
    /// `*` matches any characters, `/` too.
    Glob(String),
}

/// One entry of `tests:`: a request, the state it meets, and what must come of it.
#[derive(Clone, Debug)]
pub struct Test {
    pub name: String,
    /// Where its name stands in the file.
    pub place: Place,
    pub given: Given,
    /// Indices into [`Checked::providers`]: those whose key is missing.
    pub no_key: Vec<usize>,
    /// Indices into [`Checked::targets`]: those at rest.
    pub resting: Vec<usize>,
    pub expect: Expect,
}

/// The facts of a request as somebody states them; an absent one is a fact that the request lacks.
#[derive(Clone, Debug, Default)]
pub struct Given {
    pub task: Option<TaskName>,
    pub prompt_tokens: Option<Tokens>,
    /// The output limit that the client sets.
    pub max_output_tokens: Option<Tokens>,
    /// The model that the client names; absent: `auto`.
    pub model: Option<String>,
    /// Absent: chat.
    pub endpoint: Option<Endpoint>,
    pub labels: BTreeMap<String, String>,
    pub headers: http::HeaderMap,
    pub max_cost: Option<Usd>,
    pub needs: Vec<Need>,
    pub turns: Option<u64>,
    pub effort: Option<Effort>,
    pub stream: bool,
    /// How many answers the client asks for; absent: one.
    pub n: Option<u32>,
    pub caller: Option<CallerName>,
    /// Tags of a caller that is not named.
    pub tags: BTreeMap<String, String>,
    /// Shares that are used, by window: `company.month`. Those not stated are 0 %.
    pub spent: BTreeMap<String, Share>,
    pub time: Option<Timestamp>,
}

/// What must come of a test's request: all that is there.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// The rule that decides; `default` is one.
    pub rule: Option<At<RuleName>>,
    /// The target that is tried first, by index.
    pub target: Option<At<usize>>,
    /// All targets that would be tried, in order.
    pub chain: Option<At<Vec<usize>>>,
    /// Targets that are left out, each with the word for its reason.
    pub skipped: Vec<At<(usize, &'static str)>>,
    /// The code of the refusal.
    pub refusal: Option<At<&'static str>>,
    /// What the first target can cost at most.
    pub worst_case: Option<At<Bounds<Usd>>>,
}

/// Inclusive on both ends; at least one is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds<T> {
    pub min: Option<T>,
    pub max: Option<T>,
}

impl<T: PartialOrd + Copy> Bounds<T> {
    #[must_use]
    pub fn hold(&self, value: T) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}
