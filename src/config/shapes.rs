//! Single values as people write them: text, words, addresses; numbers with units below.

mod misread;
mod money;
mod quantities;

use std::net::SocketAddr;

use super::codes::Code;
use super::decode::{Findings, Shape, not_yet, scalar};
use super::diagnostic::Diagnostic;
use super::tree::Node;

pub(super) use misread::quantity_finding;
pub(super) use money::{CapText, Pace};
pub(super) use quantities::{DAY, Dollars, HOUR, MINUTE, PerMtok, Percent, SECOND, Size, Time, TokenCount, Whole, spelled};

/// A shape that stands where it is used in the schema, under its own name.
macro_rules! scalar_schema {
    ($name:ident: $schema:tt) => {
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    };
}
pub(super) use scalar_schema;

/// Any text.
#[derive(Debug)]
pub(super) struct Text;

scalar_schema!(Text: { "type": ["string", "number"], "minLength": 1 });

impl Shape for Text {
    type Value = String;

    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        scalar(node, "a text", findings).map(|scalar| scalar.text.clone())
    }
}

/// `true` or `false`.
#[derive(Debug)]
pub(super) struct Flag;

scalar_schema!(Flag: { "type": "boolean" });

impl Shape for Flag {
    type Value = bool;

    fn read(node: &Node, findings: &mut Findings) -> Option<bool> {
        let scalar = scalar(node, "`true` or `false`", findings)?;
        let finding = |text: &str| Diagnostic::error(Code::BAD_FLAG, node.place, format!("expected `true` or `false`, found `{text}`"));
        match (scalar.text.as_str(), scalar.is_quoted) {
            ("true", false) => return Some(true),
            ("false", false) => return Some(false),
            (text @ ("true" | "false"), true) => {
                findings.push(finding(&format!("\"{text}\"")).hint(format!("write `{text}` without quotes")));
            }
            (text, _) => {
                let meant = match text.to_ascii_lowercase().as_str() {
                    "yes" | "on" | "y" | "true" | "always" => Some("true"),
                    "no" | "off" | "n" | "false" | "never" | "none" => Some("false"),
                    _ => None,
                };
                let finding = finding(text);
                findings.push(match meant {
                    Some(meant) => finding.hint(format!("write `{meant}`: YAML 1.2 has no other word for it")),
                    None => match super::diagnostic::nearest(text, &["true", "false"]) {
                        Some(name) => finding.hint(format!("did you mean `{name}`?")),
                        None => finding,
                    },
                });
            }
        }
        None
    }

    fn spelling() -> String {
        "`true` or `false`.".into()
    }

    fn example() -> serde_json::Value {
        true.into()
    }
}

/// `host:port`, the host an IP address.
#[derive(Debug)]
pub(super) struct Address;

scalar_schema!(Address: { "type": "string", "pattern": r"^(\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}$" });

impl Shape for Address {
    type Value = SocketAddr;

    fn read(node: &Node, findings: &mut Findings) -> Option<SocketAddr> {
        let scalar = scalar(node, "an address such as `127.0.0.1:8080`", findings)?;
        let text = scalar.text.as_str();
        if let Ok(address) = text.parse() {
            return Some(address);
        }
        let message = format!("expected an address such as `127.0.0.1:8080`, found `{text}`");
        let finding = Diagnostic::error(Code::BAD_ADDRESS, node.place, message);
        let port = text.rsplit(':').next().filter(|port| port.parse::<u16>().is_ok());
        findings.push(match (port, text.rsplit_once(':')) {
            (Some(port), None | Some(("" | "localhost", _))) => finding.hint(format!("write `127.0.0.1:{port}`")),
            (Some(port), Some(("*", _))) => finding.hint(format!("write `0.0.0.0:{port}`, or `[::]:{port}` for both IP versions")),
            (Some(_), Some(_)) => finding.hint("the host is an IP address, not a name"),
            (None, _) => finding.hint("write an IP address, a colon and a port"),
        });
        None
    }

    fn spelling() -> String {
        "An IP address, a colon and a port.".into()
    }

    fn example() -> serde_json::Value {
        "127.0.0.1:8080".into()
    }
}

/// An IANA time zone.
#[derive(Debug)]
pub(super) struct Zone;

scalar_schema!(Zone: { "type": "string", "pattern": "^[A-Za-z]+([/_+-][A-Za-z0-9]+)*$" });

impl Shape for Zone {
    type Value = String;

    fn read(node: &Node, findings: &mut Findings) -> Option<String> {
        let scalar = scalar(node, "a time zone such as `Europe/Berlin`", findings)?;
        let zones = jiff::tz::TimeZoneDatabase::bundled();
        if zones.get(&scalar.text).is_ok() {
            return Some(scalar.text.clone());
        }
        let names: Vec<String> = zones.available().map(|name| name.to_string()).collect();
        let finding = Diagnostic::error(Code::BAD_TIMEZONE, node.place, format!("`{}` is no time zone", scalar.text));
        let known: Vec<&str> = names.iter().map(String::as_str).collect();
        findings.push(match super::diagnostic::nearest(&scalar.text, &known) {
            Some(name) => finding.hint(format!("did you mean `{name}`?")),
            None => finding.hint("zones are named as in `UTC` or `Europe/Berlin`"),
        });
        None
    }

    fn example() -> serde_json::Value {
        "Europe/Berlin".into()
    }
}

/// A setting whose only value in this version is `false`.
#[derive(Debug)]
pub(super) struct FalseYet;

scalar_schema!(FalseYet: { "const": false });

impl Shape for FalseYet {
    type Value = ();

    fn read(node: &Node, findings: &mut Findings) -> Option<()> {
        if Flag::read(node, findings)? {
            findings.push(not_yet(node.label, "anything but `false` here"));
            return None;
        }
        Some(())
    }

    fn example() -> serde_json::Value {
        false.into()
    }
}

/// A word of a closed list, and what it stands for.
macro_rules! words {
    ($(#[doc = $about:literal])* $name:ident: $type:ty { $($word:literal => $value:expr,)* } later [$($later:literal),*]) => {
        $(#[doc = $about])*
        #[derive(Debug)]
        pub(in crate::config) struct $name;

        $crate::config::shapes::scalar_schema!($name: { "enum": [$($word),*] });

        impl $crate::config::decode::Shape for $name {
            type Value = $type;

            fn read(node: &$crate::config::tree::Node, findings: &mut $crate::config::decode::Findings) -> Option<$type> {
                match $crate::config::shapes::word(node, &[$($word),*], &[$($later),*], findings)? {
                    $($word => Some($value),)*
                    _ => None,
                }
            }

            fn spelling() -> String {
                $crate::config::shapes::word_list(&[$($word),*])
            }

            fn example() -> serde_json::Value {
                [$($word),*][0].into()
            }
        }
    };
}
pub(super) use words;

/// The words of a closed list, for the schema.
pub(super) fn word_list(known: &[&str]) -> String {
    match known {
        [one] => format!("Only `{one}`."),
        _ => format!("One of {}.", super::diagnostic::listed(known)),
    }
}

/// The word at a node when it is one of `known`; a finding with the nearest one otherwise.
pub(super) fn word<'a>(node: &'a Node, known: &[&str], later: &[&str], findings: &mut Findings) -> Option<&'a str> {
    let expected = super::diagnostic::listed(known);
    let expected = if known.len() == 1 { expected } else { format!("one of {expected}") };
    let text = scalar(node, &expected, findings)?.text.as_str();
    if known.contains(&text) {
        return Some(text);
    }
    if later.contains(&text) {
        findings.push(not_yet(node.place, &format!("`{text}`")).hint(format!("this version knows {}", super::diagnostic::listed(known))));
        return None;
    }
    let finding = Diagnostic::error(Code::UNKNOWN_WORD, node.place, format!("expected {expected}, found `{text}`"));
    let meant = other_word(text).filter(|name| known.contains(name)).or_else(|| super::diagnostic::nearest(text, known));
    findings.push(match meant {
        Some(name) => finding.hint(format!("did you mean `{name}`?")),
        None => finding,
    });
    None
}

/// The word of this file for one that is common elsewhere.
fn other_word(text: &str) -> Option<&'static str> {
    Some(match text {
        "image" | "images" | "image_input" => "vision",
        "function" | "functions" | "function_calling" | "tool_calls" => "tools",
        "json" | "json_mode" | "structured_output" | "structured_outputs" => "json_schema",
        "thinking" | "reason" => "reasoning",
        "pdf" | "documents" => "files",
        "openai_compatible" | "openai-compatible" | "vllm" | "ollama" | "llama.cpp" => "openai",
        "mock" | "fake" | "dummy" => "sandbox",
        "random" | "weighted" | "weights" | "round-robin" | "simple-shuffle" => "split",
        "/v1/chat/completions" | "chat/completions" | "chat_completions" => "chat",
        "/v1/completions" | "text_completion" => "completions",
        "/v1/embeddings" | "embedding" => "embeddings",
        "maximum" | "very high" => "max",
        "off" | "no" | "disabled" => "none",
        "abort" | "stop" | "kill" => "cancel",
        "continue" | "complete" => "finish",
        _ => return None,
    })
}
