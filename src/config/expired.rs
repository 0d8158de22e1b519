//! Keys of callers that work no longer: told beside the file, since the file alone does not know the time.

use jiff::Timestamp;

use super::checked::Checked;
use super::codes::Code;
use super::diagnostic::Diagnostic;

/// A warning for each caller of whose keys one or all have expired by `now`.
#[must_use]
pub fn expired(file: &Checked, now: Timestamp) -> Vec<Diagnostic> {
    let is_past = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment <= now);
    let mut findings = Vec::new();
    for caller in &file.callers {
        let gone = if is_past(caller.expires) { caller.keys.len() } else { caller.keys.iter().filter(|key| is_past(key.expires)).count() };
        if gone == 0 {
            continue;
        }
        let (message, hint) = if gone == caller.keys.len() {
            let message = format!("caller `{}` has expired, and is served no more", caller.name);
            (message, format!("`tollgate key new {}` makes another key; or take the caller out", caller.name))
        } else {
            let message = format!("{gone} of {} keys of caller `{}` expired, and work no more", caller.keys.len(), caller.name);
            (message, "take them out".to_owned())
        };
        findings.push(Diagnostic::warning(Code::EXPIRED_KEY, caller.place, message).hint(hint));
    }
    findings
}
