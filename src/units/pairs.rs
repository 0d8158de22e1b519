use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Names with their values, in the order of the names, shared by all who keep them: a caller's tags, a request's labels. Most requests
/// have none, and none takes no room. Few and kept for long, they stand side by side: a tree would hold ten times their room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pairs(Option<Arc<[Pair]>>);

/// A name and its value.
type Pair = (Box<str>, Box<str>);

impl Pairs {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|pairs| pairs.iter()).map(|(name, value)| (&**name, &**value))
    }
}

impl From<BTreeMap<String, String>> for Pairs {
    fn from(pairs: BTreeMap<String, String>) -> Self {
        let pairs = (!pairs.is_empty()).then(|| pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect());
        Self(pairs)
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pairs_are_the_same_however_they_came() {
        assert_eq!(Pairs::default(), Pairs::from(BTreeMap::new()));
        let pairs = Pairs::from(BTreeMap::from([("team".to_owned(), "search".to_owned())]));
        assert_eq!((pairs.get("team"), pairs.get("run"), Pairs::default().get("team")), (Some("search"), None, None));
        assert_eq!(serde_json::to_string(&pairs).unwrap(), r#"{"team":"search"}"#);
        assert_eq!(serde_json::to_string(&Pairs::default()).unwrap(), "{}");
    }
}
