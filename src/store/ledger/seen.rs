use crate::units::AttemptId;

/// How many attempts back one is recognised. Those before are all taken for seen.
const REACH: u64 = 1 << 20;
const WORDS: usize = (REACH / 64) as usize;

/// Which attempts of this run were told already, so that none is entered twice.
#[derive(Debug)]
pub(super) struct Seen {
    epoch: u64,
    /// One bit for each of the last attempts, at its number modulo their count.
    bits: Vec<u64>,
    highest: u64,
    /// Marked since the last [`Self::keep`].
    fresh: Vec<u64>,
}

impl Seen {
    pub(super) fn new(epoch: u64) -> Self {
        Self { epoch, bits: vec![0; WORDS], highest: 0, fresh: Vec::new() }
    }

    /// True when it was not marked before, and is one of this run.
    pub(super) fn mark(&mut self, id: AttemptId) -> bool {
        if id.epoch != self.epoch || id.number.saturating_add(REACH) <= self.highest {
            return false;
        }
        while self.highest < id.number {
            // A gap longer than the reach needs no more than one round.
            self.highest = (self.highest + 1).max(id.number.saturating_sub(REACH));
            let (word, bit) = place(self.highest);
            self.bits[word] &= !bit;
        }
        let (word, bit) = place(id.number);
        let is_new = self.bits[word] & bit == 0;
        self.bits[word] |= bit;
        if is_new {
            self.fresh.push(id.number);
        }
        is_new
    }

    /// What was marked stays so.
    pub(super) fn keep(&mut self) {
        self.fresh.clear();
    }

    /// What was marked since the last [`Self::keep`] was not: its entries come again.
    pub(super) fn forget(&mut self) {
        for number in self.fresh.drain(..) {
            let (word, bit) = place(number);
            self.bits[word] &= !bit;
        }
    }
}

fn place(number: u64) -> (usize, u64) {
    let at = number % REACH;
    (usize::try_from(at / 64).unwrap_or_default(), 1 << (at % 64))
}
