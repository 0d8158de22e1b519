//! The kinds of findings. A code is stable: scripts and golden files name it.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

use super::diagnostic::nearest;

/// What kind of finding it is: `unknown-provider`. Stable; lower case with dashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Code(&'static str);

macro_rules! codes {
    ($($name:ident = $code:literal: $meaning:literal;)*) => {
        impl Code {
            $(#[doc = $meaning] pub const $name: Self = Self($code);)*
            /// Every code with what it means, in order of the alphabet.
            pub const ALL: &[(Self, &str)] = &[$((Self($code), $meaning)),*];
            /// The long text of each, in the same order: what it means, why it matters, and a mistake with its cure where a snippet
            /// can show one. Markdown of paragraphs and fenced examples alone.
            const TEXTS: &[&str] = &[$(include_str!(concat!("codes/", $code, ".md"))),*];
        }
    };
}

codes! {
    ALLOWS_NOTHING = "allows-nothing": "an `allow` that is no target of the file";
    BAD_ADDRESS = "bad-address": "an address to listen on that is not written `127.0.0.1:8080`";
    BAD_CAP = "bad-cap": "a cap that is not written `$300/month`";
    BAD_COUNT = "bad-count": "a number that cannot be read, such as `1e3` or `010`";
    BAD_DURATION = "bad-duration": "a duration that cannot be read, or has no unit";
    BAD_ENCODING = "bad-encoding": "bytes that are no UTF-8 text";
    BAD_FLAG = "bad-flag": "something other than `true` or `false`";
    BAD_GLOB = "bad-glob": "a pattern that no request can match";
    BAD_HASH = "bad-hash": "a caller's key that is no whole SHA-256";
    BAD_HEADER_NAME = "bad-header-name": "a condition on a header whose name no request can carry";
    BAD_INCLUDE = "bad-include": "an `include` that is no path or pattern below the main file's folder";
    BAD_KEY = "bad-key": "a map key that is no plain text";
    BAD_MONEY = "bad-money": "an amount of dollars that cannot be read";
    BAD_NAME = "bad-name": "a name with letters that names do not have";
    BAD_PRICE_ROW = "bad-price-row": "a row of an imported price list that cannot be read";
    BAD_RATE = "bad-rate": "a rate that is not written `500/min`";
    BAD_SCORE = "bad-score": "a score that cannot be read";
    BAD_SECRET = "bad-secret": "a secret that is empty, has spaces or control characters, or a reference that cannot be read";
    BAD_SHARE = "bad-share": "a share that is not written `80%`";
    BAD_SIZE = "bad-size": "a size in bytes that cannot be read";
    BAD_TIERS = "bad-tiers": "price tiers that do not rise";
    BAD_TIME = "bad-time": "a moment that cannot be read";
    BAD_TIMEZONE = "bad-timezone": "a time zone that the zone database does not know";
    BAD_URL = "bad-url": "a URL that cannot be read or has parts that do not belong there";
    BAD_WARN_AT = "bad-warn-at": "shares to warn at that do not rise";
    CANNOT_SERVE = "cannot-serve": "a step that can serve nothing of what its rule matches";
    CEILING_TOO_LOW = "ceiling-too-low": "a ceiling that no step of the chain can keep";
    CHAIN_CYCLE = "chain-cycle": "named chains that lead back to themselves";
    CONFLICTING_KEYS = "conflicting-keys": "the same thing said in two places";
    COPIED_KEY = "copied-key": "a key that `like` would send to another host";
    COVERS_NOTHING = "covers-nothing": "a budget that no request can touch";
    DUPLICATE_HASH = "duplicate-hash": "one key of two callers";
    DUPLICATE_INCLUDE = "duplicate-include": "a file that is included twice, or the main file itself";
    DUPLICATE_KEY = "duplicate-key": "a map key that is there twice";
    DUPLICATE_MEMBER = "duplicate-member": "a target that a chain names twice";
    DUPLICATE_NAME = "duplicate-name": "a rule name that is there twice, or another name that two files say";
    DUPLICATE_WINDOW = "duplicate-window": "two caps of one budget for the same window";
    EMPTY_LIST = "empty-list": "a list that must not be empty";
    EMPTY_MATCH = "empty-match": "a rule that matches every request";
    EMPTY_RANGE = "empty-range": "bounds that no number fulfils, or no bounds at all";
    EMPTY_VALUE = "empty-value": "a key with nothing after it";
    EXPIRED_KEY = "expired-key": "a caller's key that works no longer";
    EXPOSED_ADMIN = "exposed-admin": "an admin listener that other machines reach";
    FAILING_TEST = "failing-test": "a test of the file that comes out differently";
    FILE_TOO_LARGE = "file-too-large": "a file of more than 1 MiB";
    FORBIDDEN_HOST = "forbidden-host": "a host that no provider has: link-local, metadata, multicast";
    HALF_WRITTEN = "half-written": "a file that ends before the running one does";
    IMPOSSIBLE_VALUE = "impossible-value": "a value that no request can have";
    KEY_DOES_NOT_APPLY = "key-does-not-apply": "a key that has no meaning where it stands";
    LIKE_CYCLE = "like-cycle": "providers that copy each other";
    LONG_CHAIN = "long-chain": "a chain of more than six steps";
    MAIN_FILE_ONLY = "main-file-only": "a setting that only the main file may have";
    MISSING_INCLUDE = "missing-include": "an included file that is not there";
    MISSING_KEY = "missing-key": "a key that must be there";
    MISSING_SECRET = "missing-secret": "a secret that is not where the file says";
    NEEDS_RESTART = "needs-restart": "an address that changes under a running daemon";
    NEVER_MATCHES = "never-matches": "a rule whose conditions exclude each other";
    NEVER_PICKED = "never-picked": "a member of a `best` pool that no score lets in";
    NEVER_UNDER_CEILING = "never-under-ceiling": "a step without a price in a rule about money";
    NOT_A_FILE = "not-a-file": "a path that names a folder, a pipe or a device";
    NOT_YET_SUPPORTED = "not-yet-supported": "a setting that this version does not have";
    OLD_SCORE = "old-score": "a score that was measured long ago";
    OPEN_LISTENER = "open-listener": "a listener that other machines reach, without callers";
    OUT_OF_RANGE = "out-of-range": "a value above or below what makes sense";
    OUTPUT_ABOVE_CONTEXT = "output-above-context": "an output limit above the context window";
    PLAIN_HTTP = "plain-http": "a public host without TLS";
    PLAIN_SECRET = "plain-secret": "a secret in plain text";
    REDUNDANT_VALUE = "redundant-value": "a value that the rest of its list holds already";
    RESERVED_FIELD = "reserved-field": "a request field that `set` may not change";
    RESERVED_NAME = "reserved-name": "a name that has a meaning of its own";
    SAME_ADDRESS = "same-address": "both listeners on one address";
    SANDBOX_NEVER_USED = "sandbox-never-used": "a sandbox beside a provider that has its key";
    TIMEOUT_ABOVE_DEADLINE = "timeout-above-deadline": "a wait that is longer than the whole call may take";
    TOO_MANY_FILES = "too-many-files": "more than 100 included files, or more than 4 MiB in all";
    UNFORMATTABLE = "unformattable": "a file whose layout cannot change without changing what it means";
    UNKNOWN_BUDGET = "unknown-budget": "a budget that is not in the file";
    UNKNOWN_CALLER = "unknown-caller": "a caller that is not under `callers`";
    UNKNOWN_CHAIN = "unknown-chain": "a chain that is not under `chains`";
    UNKNOWN_KEY = "unknown-key": "a key that nothing reads";
    UNKNOWN_MODEL = "unknown-model": "a model that its provider does not list";
    UNKNOWN_PROVIDER = "unknown-provider": "a provider that is not under `providers`";
    UNKNOWN_RULE = "unknown-rule": "a rule that is not under `rules`";
    UNKNOWN_TAG = "unknown-tag": "a tag that no caller has";
    UNKNOWN_WINDOW = "unknown-window": "a window that its budget does not have";
    UNKNOWN_WORD = "unknown-word": "a word that is none of those allowed";
    UNMATCHED_INCLUDE = "unmatched-include": "an `include` pattern that no file matches";
    UNPRICEABLE_TARGET = "unpriceable-target": "a target under a budget whose worst case nobody knows";
    UNREACHABLE_RULE = "unreachable-rule": "a rule to which earlier rules leave nothing";
    UNREADABLE = "unreadable": "a file that is not there or cannot be read";
    UNSETTLED = "unsettled": "a file that keeps changing while it is read";
    UNSUPPORTED_VERSION = "unsupported-version": "a file format of another version";
    UNTRUSTED_LABELS = "untrusted-labels": "a budget that matches by what clients say of themselves";
    UNUSED_CHAIN = "unused-chain": "a chain that nothing uses";
    UNUSED_PROVIDER = "unused-provider": "a provider that no chain can reach";
    UNUSED_SCORE = "unused-score": "a score of a target that is not in the file";
    WAS_IN_USE = "was-in-use": "a former name of a budget that is still one";
    WRONG_TYPE = "wrong-type": "a list where a map belongs, or the like";
    YAML_ALIAS = "yaml-alias": "an alias without its anchor, or one that contains itself";
    YAML_DOCUMENTS = "yaml-documents": "more than one YAML document";
    YAML_SYNTAX = "yaml-syntax": "text that is no YAML";
    YAML_TAG = "yaml-tag": "a YAML tag that means nothing here";
    YAML_TOO_MUCH = "yaml-too-much": "nesting, aliases or values beyond any real file";
}

impl Code {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// What it tells of, in one line.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        Self::ALL.iter().find(|(code, _)| *code == self).map_or("", |(_, meaning)| meaning)
    }

    /// Its long text, as Markdown.
    #[must_use]
    pub fn text(self) -> &'static str {
        Self::ALL.iter().zip(Self::TEXTS).find(|((code, _), _)| *code == self).map_or("", |(_, text)| text)
    }
}

/// There is no such code.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is no code `{wrong}`{}", .nearest.map(|code| format!(", did you mean `{code}`?")).unwrap_or_default())]
pub struct UnknownCode {
    wrong: String,
    nearest: Option<&'static str>,
}

impl FromStr for Code {
    type Err = UnknownCode;

    /// Reads a code by itself or as a finding shows it: `unknown-key`, `error[unknown-key]`.
    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let behind = text.split_once('[').map_or(text, |(_, rest)| rest);
        let name = behind.split(']').next().unwrap_or_default().trim().to_ascii_lowercase().replace('_', "-");
        let known: Vec<&str> = Self::ALL.iter().map(|(code, _)| code.0).collect();
        let found = Self::ALL.iter().find(|(code, _)| code.0 == name).map(|(code, _)| *code);
        found.ok_or_else(|| UnknownCode { nearest: nearest(&name, &known), wrong: name })
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PartialEq<&str> for Code {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn codes_are_sorted_and_there_once() {
        assert!(Code::ALL.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
