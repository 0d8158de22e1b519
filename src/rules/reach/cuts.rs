use std::collections::BTreeSet;

use fixedbitset::FixedBitSet;

/// Numbers cut into runs that no bound of a rule tells apart.
#[derive(Debug)]
pub(super) struct Cuts {
    /// The least number of each run, in rising order.
    starts: Vec<u64>,
    /// Whether a request can lack the fact: then that is one more atom, the last.
    may_lack: bool,
}

impl Cuts {
    /// `bounds` are inclusive; no request has less than `least`.
    pub(super) fn new(least: u64, bounds: impl IntoIterator<Item = (Option<u64>, Option<u64>)>, may_lack: bool) -> Self {
        let mut starts = BTreeSet::from([least]);
        for (min, max) in bounds {
            starts.extend(min);
            starts.extend(max.and_then(|max| max.checked_add(1)));
        }
        Self { starts: starts.into_iter().filter(|start| *start >= least).collect(), may_lack }
    }

    pub(super) fn atoms(&self) -> usize {
        self.starts.len() + usize::from(self.may_lack)
    }

    /// The least number of each run.
    pub(super) fn starts(&self) -> &[u64] {
        &self.starts
    }

    pub(super) fn within(&self, (min, max): (Option<u64>, Option<u64>)) -> FixedBitSet {
        self.which(|start| min.is_none_or(|min| start >= min) && max.is_none_or(|max| start <= max))
    }

    /// The runs that have no number of `least` or more.
    pub(super) fn below(&self, least: u64) -> FixedBitSet {
        let ends = self.starts.iter().skip(1).map(|next| next - 1);
        let mut set = FixedBitSet::with_capacity(self.atoms());
        set.extend(ends.take_while(|end| *end < least).enumerate().map(|(atom, _)| atom));
        set
    }

    fn which(&self, holds: impl Fn(u64) -> bool) -> FixedBitSet {
        let mut set = FixedBitSet::with_capacity(self.atoms());
        set.extend(self.starts.iter().enumerate().filter(|(_, start)| holds(**start)).map(|(atom, _)| atom));
        set
    }
}
