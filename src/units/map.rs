use std::collections::HashMap;

/// A table for keys that no client chooses, found by a fraction of the usual work: nothing withstands keys made to collide.
pub type QuickMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;
