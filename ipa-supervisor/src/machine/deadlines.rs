//! Until when which child may stay in its state: the earliest first.
//!
//! The trick: a supervisor that stops its children one after the other has one deadline at a time, for which a node of a tree is not made.

use std::collections::BTreeSet;
use std::time::Duration;

use super::SlotId;

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// The earliest of all: none only if there are no others.
    first: Option<(Duration, SlotId)>,
    others: BTreeSet<(Duration, SlotId)>,
}

impl Deadlines {
    pub(super) fn first(&self) -> Option<(Duration, SlotId)> {
        self.first
    }

    pub(super) fn insert(&mut self, deadline: Duration, id: SlotId) {
        let new = (deadline, id);
        let later = match self.first {
            Some(first) if first < new => new,
            first => {
                self.first = Some(new);
                let Some(first) = first else { return };
                first
            }
        };
        self.others.insert(later);
    }

    pub(super) fn remove(&mut self, deadline: Duration, id: SlotId) {
        let old = (deadline, id);
        if self.first == Some(old) {
            self.first = self.others.pop_first();
        } else {
            self.others.remove(&old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against a set that cannot be wrong: with few and with many, of which several are due at once.
    #[test]
    fn they_are_an_ordered_set() {
        let (mut deadlines, mut set) = (Deadlines::default(), BTreeSet::new());
        let mut random = 1_u64;
        for step in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let some = (Duration::from_secs((random >> 33) % 4), SlotId((random >> 40) % 4));
            // More of them in the second half of each thousand.
            if (random >> 60) < if step % 1_000 < 500 { 4 } else { 12 } {
                if set.insert(some) {
                    deadlines.insert(some.0, some.1);
                }
            } else {
                set.remove(&some);
                deadlines.remove(some.0, some.1);
            }
            assert_eq!(deadlines.first(), set.first().copied());
            assert_eq!(deadlines.others.len(), set.len().saturating_sub(1));
        }
    }
}
