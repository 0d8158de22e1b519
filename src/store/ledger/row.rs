//! One row of `entries`: its columns, its hash, and how it is written and read.

use std::sync::{Arc, LazyLock};

use rusqlite::{CachedStatement, Connection, Row as SqlRow};
use sha2::{Digest, Sha256};

/// SHA-256.
pub(super) type Hash = [u8; 32];

/// The columns that hold numbers, in the order in which they are hashed. A column that is added later stands at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Int {
    /// See [`Kind`].
    Kind,
    /// Microseconds since 1970.
    At,
    Context,
    Windows,
    Terms,
    Attempt,
    Nth,
    /// The moment whose windows it counts in, in microseconds since 1970: when an attempt was held, when a request was accepted.
    CountsAt,
    Hold,
    Posted,
    Disputed,
    Until,
    InputUncached,
    CacheRead,
    CacheWrite,
    CacheWrite1h,
    Output,
    Reasoning,
    AudioInput,
    AudioOutput,
    ProviderCost,
    UpstreamStatus,
    TtftUs,
    DurationUs,
    Status,
    Attempts,
    TotalUs,
    About,
    Epoch,
}

pub(super) const INTS: [&str; 29] = [
    "kind",
    "at",
    "context",
    "windows",
    "terms",
    "attempt",
    "nth",
    "counts_at",
    "hold",
    "posted",
    "disputed",
    "until",
    "input_uncached",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "provider_cost",
    "upstream_status",
    "ttft_us",
    "duration_us",
    "status",
    "attempts",
    "total_us",
    "about",
    "epoch",
];

/// The columns that hold text, in the order in which they are hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Text {
    Request,
    Basis,
    Class,
    Phase,
    Fault,
    Outcome,
    Code,
    Labels,
    Note,
}

/// Where the numbers and texts begin: among the columns that are read, behind the row's number and its hash, and among the places of
/// what is written, which count from 1 and have no number.
const FIRST_INT: usize = 2;
const FIRST_TEXT: usize = FIRST_INT + INTS.len();

pub(super) const TEXTS: [&str; 9] = ["request", "basis", "class", "phase", "fault", "outcome", "code", "labels", "note"];

/// What a row tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An attempt, settled; and the end of its request, where `outcome` is there.
    Attempt = 1,
    /// The end of a request whose attempts have rows of their own, or that had none.
    Ended = 2,
    /// The end of the dispute that the row `about` opened.
    Resolved = 3,
    /// An operator's correction.
    Adjusted = 4,
    /// A grant that a crash left unexplained.
    Crash = 5,
    /// A budget's new name.
    Renamed = 6,
    /// The ledger was opened to be written.
    Started = 7,
}

/// A text that is the same for many rows, or of this one alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Word {
    Fixed(&'static str),
    Own(Arc<str>),
}

impl Word {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Fixed(text) => text,
            Self::Own(text) => text,
        }
    }
}

/// Hashes of what a row names by id: its context, windows and terms. Zeros where it names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) context: Hash,
    pub(super) windows: Hash,
    pub(super) terms: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) seq: i64,
    /// Which of the numbers are there, one bit each; the others are zero.
    has: u32,
    ints: [i64; INTS.len()],
    texts: [Option<Word>; TEXTS.len()],
}

impl Row {
    /// A row without anything.
    pub(super) fn nothing() -> Self {
        Self { seq: 0, has: 0, ints: [0; INTS.len()], texts: [const { None }; TEXTS.len()] }
    }

    pub(super) fn new(seq: i64, kind: Kind, at: i64) -> Self {
        let mut row = Self { seq, ..Self::nothing() };
        row.set(Int::Kind, kind as i64);
        row.set(Int::At, at);
        row
    }

    pub(super) fn set(&mut self, column: Int, value: impl Into<Option<i64>>) {
        self.put(column as usize, value.into());
    }

    pub(super) fn say(&mut self, column: Text, text: impl Into<Option<Word>>) {
        self.texts[column as usize] = text.into();
    }

    pub(super) fn int(&self, column: Int) -> Option<i64> {
        self.number(column as usize)
    }

    /// Zero where there is none.
    pub(super) fn sum(&self, column: Int) -> i64 {
        self.ints[column as usize]
    }

    pub(super) fn text(&self, column: Text) -> Option<&str> {
        self.texts[column as usize].as_ref().map(Word::as_str)
    }

    /// What this row is proved by: a hash of all of it, and of the row before.
    pub(super) fn hash(&self, before: &Hash, named: &Named, buffer: &mut Vec<u8>) -> Hash {
        buffer.clear();
        for hash in [before, &named.context, &named.windows, &named.terms] {
            buffer.extend_from_slice(hash);
        }
        buffer.extend_from_slice(&self.seq.to_le_bytes());
        buffer.extend_from_slice(&u64::from(self.has).to_le_bytes());
        buffer.extend_from_slice(&u64::from(self.says()).to_le_bytes());
        for at in bits(self.has) {
            buffer.extend_from_slice(&self.ints[at].to_le_bytes());
        }
        for text in self.texts.iter().flatten() {
            let bytes = text.as_str().as_bytes();
            buffer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            buffer.extend_from_slice(bytes);
        }
        Sha256::digest(buffer).into()
    }

    /// Writes it through a statement of [`insert`], which still holds what the row before it has: much is the same in row after row.
    /// Before the first row that is nothing.
    pub(super) fn write(&self, hash: &Hash, before: &Self, into: &mut CachedStatement<'_>) -> rusqlite::Result<()> {
        into.raw_bind_parameter(FIRST_INT - 1, &hash[..])?;
        for at in bits(self.differs(before)) {
            into.raw_bind_parameter(FIRST_INT + at, self.number(at))?;
        }
        for at in (0..TEXTS.len()).filter(|at| self.texts[*at] != before.texts[*at]) {
            into.raw_bind_parameter(FIRST_TEXT + at, self.texts[at].as_ref().map(Word::as_str))?;
        }
        into.raw_execute().map(|_| ())
    }

    /// A row as [`select`] gives it, and the hash that stands with it.
    pub(super) fn read(row: &SqlRow<'_>) -> rusqlite::Result<(Self, Hash)> {
        let mut read = Self { seq: row.get(0)?, ..Self::nothing() };
        for at in 0..INTS.len() {
            read.put(at, row.get(FIRST_INT + at)?);
        }
        for (at, text) in read.texts.iter_mut().enumerate() {
            *text = row.get::<_, Option<Arc<str>>>(FIRST_TEXT + at)?.map(Word::Own);
        }
        Ok((read, row.get(1)?))
    }

    fn number(&self, at: usize) -> Option<i64> {
        (self.has & 1 << at != 0).then_some(self.ints[at])
    }

    /// Which of the numbers are others than there, one bit each.
    fn differs(&self, other: &Self) -> u32 {
        let pairs = self.ints.iter().zip(&other.ints).enumerate();
        pairs.fold(self.has ^ other.has, |differs, (at, (own, other))| differs | u32::from(own != other) << at)
    }

    fn put(&mut self, at: usize, value: Option<i64>) {
        self.has = self.has & !(1 << at) | u32::from(value.is_some()) << at;
        self.ints[at] = value.unwrap_or_default();
    }

    /// Which of the texts are there, one bit each.
    fn says(&self) -> u32 {
        self.texts.iter().enumerate().fold(0, |says, (at, text)| says | u32::from(text.is_some()) << at)
    }
}

/// The places of those that are set, from the lowest.
fn bits(mut mask: u32) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let at = mask.trailing_zeros();
        mask &= mask.wrapping_sub(1);
        (at < u32::BITS).then_some(at as usize)
    })
}

/// All but the row's number.
fn columns() -> String {
    let names: Vec<&str> = std::iter::once("hash").chain(INTS).chain(TEXTS).collect();
    names.join(", ")
}

/// Makes the table.
pub(super) fn table() -> String {
    let must = |name: &&str| ["kind", "at"].contains(name);
    let number = |name: &str| format!(",\n  {name} INTEGER{}", if must(&name) { " NOT NULL" } else { "" });
    let ours = INTS.into_iter().map(number).chain(TEXTS.into_iter().map(|name| format!(",\n  {name} TEXT")));
    format!("CREATE TABLE entries (\n  seq INTEGER PRIMARY KEY,\n  hash BLOB NOT NULL{}\n) STRICT;", ours.collect::<Vec<_>>().concat())
}

/// The file gives each row the number after the last one's, which is the row's own: given by us it would be looked for first.
pub(super) fn insert(connection: &Connection) -> rusqlite::Result<CachedStatement<'_>> {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let places = vec!["?"; 1 + INTS.len() + TEXTS.len()].join(", ");
        format!("INSERT INTO entries ({}) VALUES ({places})", columns())
    });
    connection.prepare_cached(&SQL)
}

/// All columns of the rows of which `which` holds, as [`Row::read`] takes them.
pub(super) fn select(which: &str) -> String {
    format!("SELECT seq, {} FROM entries WHERE {which} ORDER BY seq", columns())
}
