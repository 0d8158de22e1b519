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

/// Of a name that comes twice the last value counts.
impl<'p> FromIterator<(&'p str, &'p str)> for Pairs {
    fn from_iter<I: IntoIterator<Item = (&'p str, &'p str)>>(pairs: I) -> Self {
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        pairs.reverse();
        pairs.sort_by_key(|(name, _)| *name);
        pairs.dedup_by_key(|(name, _)| *name);
        Self((!pairs.is_empty()).then(|| pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()))
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

    #[test]
    fn pairs_stand_by_their_names_and_the_last_of_a_name_counts() {
        let pairs: Pairs = [("b", "1"), ("a", "2"), ("b", "3"), ("", "4")].into_iter().collect();
        assert_eq!(pairs.iter().collect::<Vec<_>>(), [("", "4"), ("a", "2"), ("b", "3")]);
        assert_eq!(
            pairs,
            Pairs::from(BTreeMap::from([("b", "3"), ("a", "2"), ("", "4")].map(|(name, value)| (name.into(), value.into()))))
        );
        assert_eq!(Pairs::from_iter([]), Pairs::default());
    }
}
