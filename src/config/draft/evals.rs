//! `evals:` as written: how good a target's answers are, by task.

use jiff::civil::Date;

use super::TARGET;
use crate::config::codes::Code;
use crate::config::collections::Table;
use crate::config::decode::{Findings, Shape, draft, scalar};
use crate::config::diagnostic::Diagnostic;
use crate::config::shapes::{Whole, quantity_finding, scalar_schema};
use crate::config::tree::Node;
use crate::units::{QuantityError, Score};

draft! {
    /// What one target's answers to one task are worth.
    ScoreDraft is "a score" such as { "score": 9.4, "n": 164, "date": "2026-06-01" } {
        /// The higher, the better. `tollgate bench` writes ten times the share of right answers.
        score(required: "write `{ score: 9.4, n: 164, date: 2026-06-01 }`")[such as 9.4]: ScoreNumber,
        /// How many answers were looked at.
        n[such as 164]: Whole<1, { 1 << 32 }>,
        /// When that was. A score of more than 180 days is warned about.
        date: Day,
    }
    later []
}

/// `evals:`: by task, then by `provider/model`.
pub(in crate::config) type Evals = Table<Scores>;

/// The scores for one task, by `provider/model`.
#[derive(Debug)]
pub(in crate::config) struct Scores;

impl Shape for Scores {
    type Value = <Table<ScoreDraft> as Shape>::Value;

    fn read(node: &Node, findings: &mut Findings) -> Option<Self::Value> {
        Table::<ScoreDraft>::read(node, findings)
    }

    fn example() -> serde_json::Value {
        serde_json::json!({ "anthropic/claude-sonnet-4-6": ScoreDraft::example() })
    }

    fn filler() -> String {
        "{}".into()
    }
}

impl schemars::JsonSchema for Scores {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scores".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let score = generator.subschema_for::<ScoreDraft>();
        schemars::json_schema!({ "type": "object", "propertyNames": { "pattern": TARGET }, "additionalProperties": score })
    }
}

/// `9.4`.
#[derive(Debug)]
pub(in crate::config) struct ScoreNumber;

scalar_schema!(ScoreNumber: { "anyOf": [
    { "type": "number", "minimum": 0, "maximum": 100 },
    { "type": "string", "pattern": r"^[0-9]{1,3}(\.[0-9]{1,3})?$" }
] });

impl Shape for ScoreNumber {
    type Value = Score;

    fn read(node: &Node, findings: &mut Findings) -> Option<Score> {
        let scalar = scalar(node, "a score such as `8.5`", findings)?;
        Score::parse(&scalar.text)
            .map_err(|error| {
                let finding = quantity_finding(Code::BAD_SCORE, node, scalar, "a score such as `8.5`", &error);
                let is_too_large = matches!(error, QuantityError::TooLarge(_));
                findings.push(if is_too_large {
                    finding.hint("a score is at most 100, and `tollgate bench` writes 0 to 10")
                } else {
                    finding
                });
            })
            .ok()
    }

    fn spelling() -> String {
        "A number from 0 to 100, with up to three decimals.".into()
    }

    fn example() -> serde_json::Value {
        8.5.into()
    }
}

/// `2026-06-01`.
#[derive(Debug)]
pub(in crate::config) struct Day;

scalar_schema!(Day: { "type": "string", "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$" });

impl Shape for Day {
    type Value = Date;

    fn read(node: &Node, findings: &mut Findings) -> Option<Date> {
        let text = scalar(node, "a day such as `2026-06-01`", findings)?.text.as_str();
        let found = text.parse().ok().filter(|_| text.len() == 10);
        if found.is_none() {
            let finding = Diagnostic::error(Code::BAD_TIME, node.place, format!("`{text}` is no day, expected one such as `2026-06-01`"));
            findings.push(finding.hint("write year, month and day, as in `2026-06-01`"));
        }
        found
    }

    fn spelling() -> String {
        "A day such as `2026-06-01`.".into()
    }

    fn example() -> serde_json::Value {
        "2026-06-01".into()
    }
}
