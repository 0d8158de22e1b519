//! Reasoning that another provider's model wrote, in a conversation that goes on with a provider of the client's format.

use std::ops::Range;

use memchr::memmem;

use super::Call;
use crate::units::Endpoint;
use crate::wire::json::{Fault, Kind, Scan, Str};
use crate::wire::retell::SIGNED_BY_US;

/// One element of a list: its place, and whether only the gateway can have written it.
type Element = (Range<usize>, bool);

impl Call {
    /// The places of the reasoning that was told in the format's words because its own provider signs or encrypts none. No provider
    /// takes back what it did not sign.
    pub(super) fn stand_ins(&self) -> Vec<Range<usize>> {
        let list = match self.endpoint() {
            Endpoint::Messages => "messages",
            Endpoint::Responses => "input",
            _ => return Vec::new(),
        };
        // Most bodies have none, and are not read once more.
        if memmem::find(self.body(), SIGNED_BY_US.as_bytes()).is_none() {
            return Vec::new();
        }
        let Some(place) = self.find(list).map(|index| self.fields[index].value.clone()) else { return Vec::new() };
        let text = std::str::from_utf8(&self.body()[place.clone()]).unwrap_or_default();
        let mut found = Vec::new();
        let mut elements = Vec::new();
        // The body was read before, so that it can be read again.
        let read = Scan::strict(text).array(|scan| {
            scan.peek()?;
            let start = scan.position();
            let is_own = element(scan, self.endpoint(), &mut found)?;
            elements.push((start..scan.position(), is_own));
            Ok::<(), Fault>(())
        });
        if read.is_err() {
            return Vec::new();
        }
        let whole = cuts(&elements);
        // What lies in an element that goes as a whole goes with it.
        found.retain(|inner: &Range<usize>| !whole.iter().any(|outer| outer.start <= inner.start && inner.end <= outer.end));
        found.into_iter().chain(whole).map(|cut| cut.start + place.start..cut.end + place.start).collect()
    }
}

/// Reads an item or a message. Of a message, the blocks to be cut are put into `found`, unless all of them are.
fn element(scan: &mut Scan<'_>, endpoint: Endpoint, found: &mut Vec<Range<usize>>) -> Result<bool, Fault> {
    if scan.peek()? != Kind::Object {
        return scan.value().map(|_| false);
    }
    let mut is_own = false;
    scan.object(|scan, key| {
        if endpoint == Endpoint::Messages && key.raw() == "content" && scan.peek()? == Kind::Array {
            let mut blocks = Vec::new();
            scan.array(|scan| {
                scan.peek()?;
                let start = scan.position();
                let value = scan.value()?;
                let mut inner = Scan::strict(value.text());
                let mut is_own = false;
                if value.kind == Kind::Object {
                    inner.object(|scan, key| {
                        is_own |= is_mark(scan, key, "signature")?;
                        Ok::<(), Fault>(())
                    })?;
                }
                blocks.push((start..scan.position(), is_own));
                Ok::<(), Fault>(())
            })?;
            is_own = !blocks.is_empty() && blocks.iter().all(|(_, is_own)| *is_own);
            if !is_own {
                found.extend(cuts(&blocks));
            }
            return Ok(());
        }
        is_own |= is_mark(scan, key, if endpoint == Endpoint::Responses { "encrypted_content" } else { "" })?;
        Ok::<(), Fault>(())
    })?;
    Ok(is_own)
}

fn is_mark(scan: &mut Scan<'_>, key: Str<'_>, name: &str) -> Result<bool, Fault> {
    let value = scan.value()?;
    Ok(key.raw() == name && value.string().is_some_and(|text| text.raw().starts_with(SIGNED_BY_US)))
}

/// The places to cut out of a list so that its own elements are gone and the commas are right.
fn cuts(elements: &[Element]) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    let mut at = 0;
    while let Some(first) = elements[at..].iter().position(|(_, is_own)| *is_own).map(|offset| at + offset) {
        let behind = elements[first..].iter().position(|(_, is_own)| !is_own).map_or(elements.len(), |offset| first + offset);
        let cut = match (first.checked_sub(1), elements.get(behind)) {
            (Some(before), _) => elements[before].0.end..elements[behind - 1].0.end,
            (None, Some((next, _))) => elements[0].0.start..next.start,
            (None, None) => elements[0].0.start..elements[behind - 1].0.end,
        };
        cuts.push(cut);
        at = behind;
    }
    cuts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::units::{Lacks, Tokens};
    use crate::wire::Edits;

    fn sent(endpoint: Endpoint, body: &str) -> String {
        let none = BTreeMap::new();
        let edits = Edits {
            model: "m",
            include_usage: false,
            output_limit: None,
            assumed_limit: Tokens::new(1),
            set: &none,
            lacks: Lacks::default(),
        };
        let call = Call::parse(endpoint, body.to_owned().into(), 1).unwrap();
        String::from_utf8(call.write(&edits).concat()).unwrap()
    }

    #[test]
    fn what_another_provider_thought_is_not_sent_on() {
        let ours = r#"{"type":"thinking","thinking":"hm","signature":"tg1:2"}"#;
        let theirs = r#"{ "type":"thinking","thinking":"hm","signature":"U0lH"}"#;
        let text = r#"{"type":"text","text":"about \"tg1: and more"}"#.to_owned();
        let body = |blocks: &[&str]| {
            let content = blocks.join(" , ");
            format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}, {{"role":"assistant","content":[{content}]}},{{"role":"user","content":"y"}}]}}"#
            )
        };
        for (blocks, kept) in [
            (vec![ours, &text], vec![text.as_str()]),
            (vec![&text, ours], vec![&text]),
            (vec![theirs, ours, ours, &text, ours], vec![theirs, &text]),
            (vec![theirs, &text], vec![theirs, &text]),
        ] {
            assert_eq!(sent(Endpoint::Messages, &body(&blocks)), body(&kept), "{blocks:?}");
        }
        let alone = body(&[ours, ours]);
        let json: serde_json::Value = serde_json::from_str(&sent(Endpoint::Messages, &alone)).unwrap();
        assert_eq!(json["messages"].as_array().unwrap().len(), 2, "a message of nothing else goes as a whole");
        let item = r#"{"type":"reasoning","id":"rs_tg1_0","summary":[],"encrypted_content":"tg1:7"}"#;
        let body = format!(r#"{{"model":"m","input":[{item}, {{"role":"user","content":"x"}},{item}]}}"#);
        assert_eq!(sent(Endpoint::Responses, &body), r#"{"model":"m","input":[{"role":"user","content":"x"}]}"#);
        assert_eq!(sent(Endpoint::Chat, &alone), alone);
    }
}
