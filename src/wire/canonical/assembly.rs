use super::{Event, ToolCall};

/// An answer put together from its events.
#[derive(Debug, Default)]
pub(in crate::wire) struct Assembly {
    pub(in crate::wire) parts: Vec<Said>,
    pub(in crate::wire) sequence: Option<String>,
}

/// One part of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Said {
    Text(String),
    Refusal(String),
    Reasoning { text: String, signature: Option<String> },
    Redacted(String),
    Call { slot: usize, call: ToolCall },
}

impl Assembly {
    pub(in crate::wire) fn of(events: Vec<Event>) -> Self {
        let mut assembly = Self::default();
        for event in events {
            assembly.add(event);
        }
        assembly
    }

    fn add(&mut self, event: Event) {
        match (event, self.parts.last_mut()) {
            (Event::Text(more), Some(Said::Text(text)))
            | (Event::Refusal(more), Some(Said::Refusal(text)))
            | (Event::Reasoning(more), Some(Said::Reasoning { text, signature: None })) => text.push_str(&more),
            (Event::Signature(more), Some(Said::Reasoning { signature, .. })) => signature.get_or_insert_default().push_str(&more),
            (Event::Text(text), _) => self.parts.push(Said::Text(text)),
            (Event::Refusal(text), _) => self.parts.push(Said::Refusal(text)),
            (Event::Reasoning(text), _) => self.parts.push(Said::Reasoning { text, signature: None }),
            (Event::Signature(signature), _) => {
                self.parts.push(Said::Reasoning { text: String::new(), signature: Some(signature) });
            }
            (Event::Redacted(data), _) => self.parts.push(Said::Redacted(data)),
            (Event::Call { slot, id, name, signature }, _) => {
                let call = ToolCall { id: id.unwrap_or_default(), name, arguments: String::new(), signature };
                self.parts.push(Said::Call { slot, call });
            }
            (Event::Arguments { slot, json }, _) => {
                let is_it = |part: &&mut Said| matches!(part, Said::Call { slot: own, .. } if *own == slot);
                if let Some(Said::Call { call, .. }) = self.parts.iter_mut().rev().find(is_it) {
                    call.arguments.push_str(&json);
                }
            }
            (Event::CallEnd { .. }, _) => {}
            (Event::Sequence(sequence), _) => self.sequence = Some(sequence),
        }
    }

    /// All text, in order.
    pub(in crate::wire) fn text(&self) -> String {
        self.joined(|part| if let Said::Text(text) = part { Some(text) } else { None })
    }

    pub(in crate::wire) fn refusal(&self) -> String {
        self.joined(|part| if let Said::Refusal(text) = part { Some(text) } else { None })
    }

    pub(in crate::wire) fn reasoning(&self) -> String {
        self.joined(|part| if let Said::Reasoning { text, .. } = part { Some(text) } else { None })
    }

    pub(in crate::wire) fn calls(&self) -> impl Iterator<Item = &ToolCall> {
        self.parts.iter().filter_map(|part| if let Said::Call { call, .. } = part { Some(call) } else { None })
    }

    fn joined(&self, pick: impl Fn(&Said) -> Option<&String>) -> String {
        self.parts.iter().filter_map(pick).map(String::as_str).collect()
    }
}
