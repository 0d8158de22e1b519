use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::{Serialize, Serializer};
use thiserror::Error;

/// Why a text is no name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    #[error("a name is written with a-z, 0-9, `.`, `_` and `-`, begins with a letter or digit, and has at most 64 characters")]
    Name,
    #[error("a model name is printable text without spaces, at most 256 characters")]
    Model,
    #[error("`auto` is no provider name: it is the model that lets the rules decide")]
    Auto,
    #[error("a target is written `provider/model`")]
    Target,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the text and keeps it.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let check: fn(&str) -> Result<(), NameError> = $parse;
                check(text).map(|()| Self(text.into()))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// The name of one API endpoint with one key.
    ProviderName,
    |text| if text == "auto" { Err(NameError::Auto) } else { plain(text) }
);
name!(
    /// A provider's own name for a model.
    ModelName,
    model
);
name!(
    /// The name of one rule. `default` is the name of the last one.
    RuleName,
    plain
);
name!(
    /// The name of a chain under `chains:`.
    ChainName,
    plain
);
name!(
    /// Who sends us requests: one entry of `callers:`.
    CallerName,
    plain
);
name!(
    /// A cap on spend: an entry of `budgets:`, `provider.<name>` or `caller.<name>`.
    BudgetName,
    |text| plain(text.strip_prefix("provider.").or_else(|| text.strip_prefix("caller.")).unwrap_or(text))
);
name!(
    /// What a request is about, such as `coding`; `unknown` when nobody said.
    TaskName,
    plain
);
name!(
    /// One provider and one model, written `provider/model`.
    TargetName,
    |text| match text.split_once('/') {
        Some((provider, name)) => plain(provider).and_then(|()| model(name)),
        None => Err(NameError::Target),
    }
);

impl TaskName {
    /// The task of a request that names none and shows none.
    #[must_use]
    pub fn unknown() -> Self {
        // Most requests ask for it, so it is made once.
        static UNKNOWN: LazyLock<TaskName> = LazyLock::new(|| TaskName("unknown".into()));
        UNKNOWN.clone()
    }
}

impl RuleName {
    /// The name under which the file's `default` is told.
    #[must_use]
    pub fn default_rule() -> Self {
        Self("default".into())
    }
}

impl TargetName {
    #[must_use]
    pub fn new(provider: &ProviderName, model: &ModelName) -> Self {
        Self(format!("{provider}/{model}").into())
    }

    /// The part before the first `/`.
    #[must_use]
    pub fn provider(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(provider, _)| provider)
    }

    /// The part behind the first `/`.
    #[must_use]
    pub fn model(&self) -> &str {
        self.0.split_once('/').map_or("", |(_, model)| model)
    }
}

fn plain(text: &str) -> Result<(), NameError> {
    let letter_or_digit = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let sound = matches!(text.as_bytes(), [first, rest @ ..]
        if letter_or_digit(*first) && rest.len() < 64 && rest.iter().all(|b| letter_or_digit(*b) || b"._-".contains(b)));
    if sound { Ok(()) } else { Err(NameError::Name) }
}

fn model(text: &str) -> Result<(), NameError> {
    let sound = !text.is_empty() && text.len() <= 256 && text.chars().all(|c| !c.is_whitespace() && !c.is_control());
    if sound { Ok(()) } else { Err(NameError::Model) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for text in ["a", "openai-eu", "0", "late.in_the-month"] {
            assert!(RuleName::parse(text).is_ok(), "{text:?}");
        }
        for text in ["", "-a", "OpenAI", "a b", "ä", &"x".repeat(65)] {
            assert!(RuleName::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(ProviderName::parse("auto"), Err(NameError::Auto));
    }

    #[test]
    fn a_target_is_split_at_its_first_slash() {
        let target = TargetName::parse("house/meta-llama/Llama-3.2").unwrap();
        assert_eq!((target.provider(), target.model()), ("house", "meta-llama/Llama-3.2"));
        for text in ["house", "house/", "/m", "House/m", "house/a b"] {
            assert!(TargetName::parse(text).is_err(), "{text:?}");
        }
    }
}
