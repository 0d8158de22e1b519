use std::fmt;

/// Which accepted file this is: a number that grows with every accepted change, and the content's hash.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    pub number: u64,
    /// SHA-256 of the file's bytes, in lower-case hex.
    pub hash: String,
}

impl Revision {
    /// The first twelve digits of the hash, as people see it.
    #[must_use]
    pub fn short_hash(&self) -> &str {
        self.hash.get(..12).unwrap_or(&self.hash)
    }
}

/// `7-3f2a9c1b04de`.
impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.number, self.short_hash())
    }
}
