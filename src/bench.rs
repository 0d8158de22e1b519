//! Your own evaluation set across targets: cases are read, asked through the engine that serves requests, graded and summed up.
//!
//! Floor 5.

mod ask;
mod case;
mod figures;
mod foreign;
mod grade;
mod rounds;

pub use ask::{Engine, JUDGE_PROMPT};
pub use case::{Case, Cases, Unreadable, example, read};
pub use figures::{Decision, Interval, Placed, Report, Sums, report};
pub use grade::{Check, Grader};
pub use rounds::{Limits, Outcome, Plan, Stopped, run};
