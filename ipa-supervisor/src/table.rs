//! Rows by slot id, in order: for ids that rise, as a supervisor's do.
//!
//! The trick: a row that is removed leaves its place behind, and the places are swept when more are empty than not. So a row is
//! appended and removed in constant time however many there are, and mostly found so, too; and a supervisor of four children has a
//! vector of four. A tree's node has room for eleven, and there is one supervisor for each pod.

use std::ops::Range;

use crate::machine::SlotId;

/// Fewer places than this are not worth a sweep.
const SWEEP: usize = 16;

#[derive(Debug)]
pub(crate) struct Table<T> {
    places: Vec<(SlotId, Option<T>)>,
    len: usize,
}

impl<T> Table<T> {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Puts a row in its place; answers the one that was there.
    pub(crate) fn insert(&mut self, id: SlotId, row: T) -> Option<T> {
        let before = match self.find(id) {
            Ok(place) => self.places[place].1.replace(row),
            Err(place) => {
                self.places.insert(place, (id, Some(row)));
                None
            }
        };
        self.len += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<T> {
        let place = self.find(id).ok()?;
        let row = self.places[place].1.take()?;
        self.len -= 1;
        if self.places.len() >= SWEEP && self.len < self.places.len() / 2 {
            self.places.retain(|(_, row)| row.is_some());
            self.places.shrink_to(2 * self.len);
        }
        Some(row)
    }

    #[inline]
    pub(crate) fn get(&self, id: SlotId) -> Option<&T> {
        self.places[self.find(id).ok()?].1.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        let place = self.find(id).ok()?;
        self.places[place].1.as_mut()
    }

    /// The rows from `from` on, in order.
    pub(crate) fn from(&self, from: SlotId) -> impl DoubleEndedIterator<Item = (SlotId, &T)> {
        let first = self.find(from).unwrap_or_else(|place| place);
        self.places[first..].iter().filter_map(row)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (SlotId, &T)> {
        self.places.iter().filter_map(row)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|(_, row)| row.as_mut())
    }

    /// The last row below `bound`, or the last of all.
    pub(crate) fn last_below(&self, bound: Option<SlotId>) -> Option<SlotId> {
        let end = bound.map_or(self.places.len(), |bound| self.find(bound).unwrap_or_else(|place| place));
        self.places[..end].iter().filter_map(row).next_back().map(|(id, _)| id)
    }

    /// The place of a row, or where it would be.
    #[inline]
    fn find(&self, id: SlotId) -> Result<usize, usize> {
        match self.counted(id) {
            Some(place) => Ok(place),
            None => self.search(id),
        }
    }

    /// The place that the id says, if it is the row's: where no place is gone it is.
    #[inline]
    fn counted(&self, id: SlotId) -> Option<usize> {
        let first = self.places.first()?.0;
        let place = usize::try_from(id.0.checked_sub(first.0)?).ok()?;
        (self.places.get(place)?.0 == id).then_some(place)
    }

    fn search(&self, id: SlotId) -> Result<usize, usize> {
        let within = self.bounds(id);
        let from = within.start;
        let found = self.places[within].binary_search_by_key(&id, |(id, _)| *id);
        found.map(|place| from + place).map_err(|place| from + place)
    }

    /// Between which places it is. Ids differ by one at least, so the distances to the first and to the last bound them.
    fn bounds(&self, id: SlotId) -> Range<usize> {
        let places = self.places.len();
        let (Some((first, _)), Some((last, _))) = (self.places.first(), self.places.last()) else {
            return 0..0;
        };
        if id > *last {
            return places..places;
        }
        let back = usize::try_from(last.0 - id.0).unwrap_or(usize::MAX);
        let from = places.saturating_sub(back).saturating_sub(1);
        let ahead = usize::try_from(id.0.saturating_sub(first.0)).unwrap_or(usize::MAX);
        from..ahead.saturating_add(1).min(places)
    }
}

fn row<T>((id, row): &(SlotId, Option<T>)) -> Option<(SlotId, &T)> {
    row.as_ref().map(|row| (*id, row))
}

impl<T> IntoIterator for Table<T> {
    type Item = T;
    type IntoIter =
        std::iter::FilterMap<std::vec::IntoIter<(SlotId, Option<T>)>, fn((SlotId, Option<T>)) -> Option<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.places.into_iter().filter_map(|(_, row)| row)
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Against a map that cannot be wrong: every kind of use, with many more removals than rows that stay.
    #[test]
    fn it_is_an_ordered_map() {
        let (mut table, mut map) = (Table::default(), BTreeMap::new());
        let mut random = 1_u64;
        let mut next = 0;
        for step in 0..20_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let some = SlotId((random >> 33) % (next + 2));
            match (random >> 59) % 8 {
                0..=2 => {
                    assert_eq!(table.insert(SlotId(next), step), map.insert(SlotId(next), step));
                    next += 1;
                }
                3 => assert_eq!(table.insert(some, step), map.insert(some, step)),
                _ => assert_eq!(table.remove(some), map.remove(&some)),
            }
            assert_eq!(table.len(), map.len());
            assert_eq!(table.get(some), map.get(&some));
            assert_eq!(table.get_mut(some), map.get_mut(&some));
            assert_eq!(table.last_below(None), map.keys().next_back().copied());
            assert_eq!(table.last_below(Some(some)), map.range(..some).next_back().map(|(id, _)| *id));
            if step % 64 == 0 {
                assert!(table.iter().eq(map.iter().map(|(id, row)| (*id, row))));
                assert!(table.from(some).rev().eq(map.range(some..).rev().map(|(id, row)| (*id, row))));
                assert!(table.values_mut().eq(map.values_mut()));
            }
        }
        assert!(table.places.len() <= SWEEP.max(2 * table.len() + 1), "empty places are swept");
        assert!(table.into_iter().eq(map.into_values()));
    }

    #[test]
    fn where_no_row_is_gone_a_row_is_found_without_a_search() {
        let mut table = Table::default();
        (10..110).for_each(|id| assert_eq!(table.insert(SlotId(id), ()), None));
        for id in 10..110 {
            let place = (id - 10) as usize;
            assert_eq!(
                (table.counted(SlotId(id)), table.bounds(SlotId(id))),
                (Some(place), place..place + 1)
            );
        }
        assert_eq!([9, 110].map(|id| table.counted(SlotId(id))), [None; 2]);
        // And then from whichever end is nearer.
        (40..60).for_each(|id| assert_eq!(table.remove(SlotId(id)), Some(())));
        (0..11).for_each(|id| assert_eq!(table.remove(SlotId(109 - id)), Some(())));
        assert_eq!((table.bounds(SlotId(15)), table.bounds(SlotId(9))), (5..6, 0..1));
        assert_eq!((table.bounds(SlotId(110)), table.bounds(SlotId(109))), (100..100, 99..100));
    }

    #[test]
    fn empty_places_are_swept_when_they_are_more_than_the_rows() {
        let full = |rows: u64| {
            let mut table = Table::default();
            (0..rows).for_each(|id| assert_eq!(table.insert(SlotId(id), ()), None));
            table
        };
        let mut table = full(100);
        (0..50).for_each(|id| assert_eq!(table.remove(SlotId(id)), Some(())));
        assert_eq!((table.len(), table.places.len()), (50, 100), "as many as there are rows");
        table.remove(SlotId(50));
        assert_eq!((table.len(), table.places.len()), (49, 49));
        assert!((98..100).contains(&table.places.capacity()), "with room for as many again");

        let mut few = full(SWEEP as u64 - 1);
        (1..SWEEP as u64 - 1).for_each(|id| assert_eq!(few.remove(SlotId(id)), Some(())));
        assert_eq!((few.len(), few.places.len()), (1, SWEEP - 1), "too few to be worth it");
        let mut enough = full(SWEEP as u64);
        (0..SWEEP as u64 / 2 + 1).for_each(|id| assert_eq!(enough.remove(SlotId(id)), Some(())));
        assert_eq!(enough.places.len(), SWEEP / 2 - 1);
    }
}
