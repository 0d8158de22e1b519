use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::units::Usd;

/// `max_budget` with its `budget_duration`, as caps are written here; or why it stays behind. Nothing where no budget is said.
pub(super) fn cap(of: &Map<String, Value>, amount: &str, duration: &str) -> Option<Result<String, String>> {
    let said = of.get(amount)?;
    let digits = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
    let Some(usd) = digits.parse::<Usd>().ok().filter(|usd| *usd > Usd::default()) else {
        return Some(Err(format!("`{digits}` is no cap: it is dollars above zero, with nine decimals at most")));
    };
    let window = match of.get(duration).map(|duration| duration.as_str().unwrap_or_default()) {
        None => "total",
        Some("1h" | "60m" | "3600s") => "hour",
        Some("1d" | "24h" | "daily") => "day",
        Some("7d" | "weekly") => "week",
        Some("30d" | "31d" | "1mo" | "monthly") => "month",
        Some(other) => return Some(Err(format!("a window of `{other}`: here they are hour, day, week, month and total"))),
    };
    Some(Ok(format!("{usd}/{window}")))
}

/// Budgets of the new file. There they are counted after a call, so that they come over as `mode: soft`.
#[derive(Default)]
pub(super) struct Budgets {
    /// Name and settings, in flow form.
    named: Vec<(String, String)>,
    used: BTreeSet<String>,
}

impl Budgets {
    /// One over everything.
    pub(super) fn add_all(&mut self, cap: &str) {
        self.add("all", &format!("cap: {cap}, mode: soft"));
    }

    pub(super) fn add_model(&mut self, provider: &str, model: &str, cap: &str) {
        let name = super::rule_name(&format!("{provider} {model}"), &mut self.used);
        self.add(&name, &format!("match: {{ provider: {provider}, model: {} }}, cap: {cap}, mode: soft", super::quoted(model)));
    }

    fn add(&mut self, name: &str, settings: &str) {
        if !self.named.iter().any(|(known, _)| known == name) {
            self.named.push((name.to_owned(), settings.to_owned()));
        }
    }

    /// The block of the file; nothing where there are none.
    pub(super) fn written(&self) -> String {
        let entries: Vec<String> = self.named.iter().map(|(name, settings)| format!("  {name}: {{ {settings} }}\n")).collect();
        if entries.is_empty() {
            return String::new();
        }
        format!(
            "# `soft` refuses once a cap is spent, as LiteLLM does; `hard` holds it before money is spent.\nbudgets:\n{}",
            entries.concat()
        )
    }
}
