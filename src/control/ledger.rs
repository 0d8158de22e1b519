use serde::Deserialize;
use serde_json::{Map, Value};

use crate::units::{BudgetName, Period, Usd};

/// What an operator tells the running daemon about its money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerAsk {
    /// `POST /ledger/resolve`
    Resolve(Resolution),
    /// `POST /ledger/adjust`
    Adjust(Adjustment),
    /// `POST /ledger/clock`: the time that the machine tells now is right.
    AcceptClock,
}

/// How disputes end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// As `ledger disputes` names them.
    pub ids: Vec<String>,
    pub billed: Billed,
    pub reason: String,
}

/// What the provider turned out to have billed of a dispute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Billed {
    All,
    Nothing,
    /// That much, at most what is disputed.
    Amount(Usd),
}

impl Billed {
    /// `billed`, `not-billed`, or an amount.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "billed" => Ok(Self::All),
            "not-billed" => Ok(Self::Nothing),
            _ => text
                .parse()
                .map(Self::Amount)
                .map_err(|_| format!("`{text}` is none of `billed`, `not-billed` and an amount such as $0.12")),
        }
    }

    /// As [`Self::parse`] takes it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::All => "billed".into(),
            Self::Nothing => "not-billed".into(),
            Self::Amount(amount) => amount.to_string(),
        }
    }

    /// What is posted of a dispute of that size. The rest is released.
    #[must_use]
    pub fn of(&self, disputed: Usd) -> Usd {
        match self {
            Self::All => disputed,
            Self::Nothing => Usd::ZERO,
            Self::Amount(amount) => (*amount).min(disputed),
        }
    }
}

/// A correction of what was posted in the present window of a budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    pub budget: BudgetName,
    pub period: Period,
    pub amount: Usd,
    /// Less was spent than the ledger says.
    pub is_credit: bool,
    pub reason: String,
}

impl Adjustment {
    /// `company.month` and `$3` or `-$3`.
    pub fn parse(window: &str, amount: &str, reason: &str) -> Result<Self, String> {
        let named = window.rsplit_once('.').and_then(|(budget, period)| Some((BudgetName::parse(budget).ok()?, Period::parse(period)?)));
        let (budget, period) = named.ok_or_else(|| format!("`{window}` is no window of a budget, such as company.month"))?;
        let (is_credit, digits) = amount.strip_prefix('-').map_or((false, amount), |rest| (true, rest));
        let amount = digits.parse().map_err(|_| format!("`{amount}` is no amount, such as $3 or -$3"))?;
        Ok(Self { budget, period, amount, is_credit, reason: reason.to_owned() })
    }
}

/// A question's body as it comes.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    ids: Vec<String>,
    #[serde(default, rename = "as")]
    billed: String,
    #[serde(default)]
    window: String,
    #[serde(default)]
    amount: String,
    #[serde(default)]
    reason: String,
}

impl LedgerAsk {
    /// The last part of the path.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Resolve(_) => "resolve",
            Self::Adjust(_) => "adjust",
            Self::AcceptClock => "clock",
        }
    }

    pub(super) fn read(word: &str, body: &[u8]) -> Result<Self, String> {
        if word == "clock" {
            return Ok(Self::AcceptClock);
        }
        let asked: Asked = serde_json::from_slice(body).map_err(|error| format!("the question is no JSON: {error}"))?;
        if word == "resolve" {
            let billed = Billed::parse(&asked.billed)?;
            return Ok(Self::Resolve(Resolution { ids: asked.ids, billed, reason: asked.reason }));
        }
        Adjustment::parse(&asked.window, &asked.amount, &asked.reason).map(Self::Adjust)
    }

    /// The body of the question.
    #[must_use]
    pub fn json(&self) -> Value {
        let mut body = Map::new();
        let mut say = |name: &str, value: Value| body.insert(name.to_owned(), value);
        match self {
            Self::Resolve(resolution) => {
                say("ids", resolution.ids.clone().into());
                say("as", resolution.billed.text().into());
                say("reason", resolution.reason.clone().into());
            }
            Self::Adjust(adjustment) => {
                let sign = if adjustment.is_credit { "-" } else { "" };
                say("window", format!("{}.{}", adjustment.budget, adjustment.period).into());
                say("amount", format!("{sign}{}", adjustment.amount).into());
                say("reason", adjustment.reason.clone().into());
            }
            Self::AcceptClock => {}
        }
        body.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_comes_through() {
        let resolve = |billed| LedgerAsk::Resolve(Resolution { ids: vec!["3.14".into(), "2.7".into()], billed, reason: "invoice".into() });
        for ask in [
            resolve(Billed::All),
            resolve(Billed::Nothing),
            resolve(Billed::Amount(Usd::from_nano(120_000_000))),
            LedgerAsk::Adjust(Adjustment::parse("provider.openai.day", "$3", "invoice").unwrap()),
            LedgerAsk::Adjust(Adjustment::parse("company.month", "-$3.5", "credit").unwrap()),
            LedgerAsk::AcceptClock,
        ] {
            assert_eq!(LedgerAsk::read(ask.word(), ask.json().to_string().as_bytes()), Ok(ask));
        }
        for (word, body) in [
            ("resolve", "{"),
            ("resolve", r#"{"ids":[],"as":"perhaps"}"#),
            ("adjust", r#"{"window":"company","amount":"$3"}"#),
            ("adjust", r#"{"window":"company.month","amount":"--3"}"#),
        ] {
            assert!(LedgerAsk::read(word, body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn no_more_is_posted_than_was_disputed() {
        let usd = Usd::from_nano;
        for (billed, posted) in [(Billed::All, 10), (Billed::Nothing, 0), (Billed::Amount(usd(4)), 4), (Billed::Amount(usd(40)), 10)] {
            assert_eq!(billed.of(usd(10)), usd(posted), "{billed:?}");
        }
    }
}
