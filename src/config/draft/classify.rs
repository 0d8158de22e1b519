//! `classify:` as written.

use crate::config::checked::ClassifyWhen;
use crate::config::collections::{List, Table};
use crate::config::decode::draft;
use crate::config::shapes::{Percent, Text, words};

draft! {
    /// How the task of a request is recognised that declares none.
    ClassifyDraft is "`classify`" such as { "floor": "80%", "labels": { "legal": ["contract", "liability"] } } {
        /// From this confidence on a guess counts; below it the task is `unknown`.
        floor[such as "80%"]: Percent = "70%",
        /// `needed` looks at the words only where some rule asks for a task, `always` at every request, for records and headers.
        when: WhenWord = "needed",
        /// Labels of one's own: each with words and phrases that show it, before anything else does. A `*` at an end stands for more letters.
        labels[such as { "legal": ["contract*", "liability"] }]: Table<List<Text>>,
    }
    later []
}

words! {
    /// `classify.when`.
    WhenWord: ClassifyWhen {
        "needed" => ClassifyWhen::Needed,
        "always" => ClassifyWhen::Always,
    }
    later []
}
