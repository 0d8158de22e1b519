use std::fmt;

use super::{CallerName, ProviderName, TargetName};

/// Whose a limit is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitOwner {
    Provider(ProviderName),
    Target(TargetName),
    Caller(CallerName),
}

impl LimitOwner {
    /// Whether it is this provider, or a target of it.
    #[must_use]
    pub fn is_of(&self, provider: &ProviderName) -> bool {
        match self {
            Self::Provider(name) => name == provider,
            Self::Target(name) => name.provider() == provider.as_str(),
            Self::Caller(_) => false,
        }
    }
}

/// As names of limits begin: `openai`, `openai/gpt-4o`, `caller.search`.
impl fmt::Display for LimitOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(name) => name.fmt(f),
            Self::Target(name) => name.fmt(f),
            Self::Caller(name) => write!(f, "caller.{name}"),
        }
    }
}
