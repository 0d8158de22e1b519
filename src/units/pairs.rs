use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use serde::{Serialize, Serializer};

/// Names with their values, shared by all who keep them: a caller's tags, a request's labels. Most requests have none, and none takes
/// no room.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Pairs(Option<Arc<BTreeMap<String, String>>>);

impl Pairs {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

static NONE: BTreeMap<String, String> = BTreeMap::new();

impl From<BTreeMap<String, String>> for Pairs {
    fn from(pairs: BTreeMap<String, String>) -> Self {
        Self((!pairs.is_empty()).then(|| Arc::new(pairs)))
    }
}

impl Deref for Pairs {
    type Target = BTreeMap<String, String>;

    fn deref(&self) -> &Self::Target {
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pairs_are_the_same_however_they_came() {
        assert_eq!(Pairs::default(), Pairs::from(BTreeMap::new()));
        let pairs = Pairs::from(BTreeMap::from([("team".to_owned(), "search".to_owned())]));
        assert_eq!((pairs.len(), Pairs::default().len()), (1, 0));
        assert_eq!(serde_json::to_string(&pairs).unwrap(), r#"{"team":"search"}"#);
        assert_eq!(serde_json::to_string(&Pairs::default()).unwrap(), "{}");
    }
}
