//! Rows by number, in order, in one piece: for numbers that rise.
//!
//! The trick: a row that is removed leaves its place behind, and the places are swept when more are empty than not. So a row is appended and
//! removed in constant time, and mostly found so, too.

use std::ops::Range;

/// Fewer places than this are not worth a sweep.
const SWEEP: usize = 16;

/// The room that a first row makes by itself.
const SMALL: usize = 4;

#[derive(Debug)]
pub(super) struct Rows<T> {
    places: Vec<(u64, Option<T>)>,
    len: usize,
}

impl<T> Rows<T> {
    /// With room for so many, and no more.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self { places: Vec::with_capacity(capacity), len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The number of the last place, whether its row is there or not.
    #[inline]
    pub(super) fn last(&self) -> Option<u64> {
        self.places.last().map(|(id, _)| *id)
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.places.capacity()
    }

    /// Puts a row in its place; answers the one that was there.
    pub(super) fn insert(&mut self, id: u64, row: T) -> Option<T> {
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

    /// Removes a row, and leaves its place as it is.
    pub(super) fn take(&mut self, id: u64) -> Option<T> {
        let place = self.find(id).ok()?;
        let row = self.places[place].1.take()?;
        self.len -= 1;
        Some(row)
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<T> {
        let row = self.take(id)?;
        if self.places.len() >= SWEEP && self.len < self.places.len() / 2 {
            self.places.retain(|(_, row)| row.is_some());
            self.places.shrink_to(2 * self.len);
        }
        Some(row)
    }

    /// Removes all, and keeps their room.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.len = 0;
    }

    /// Removes all, and keeps their room if it is that of a few.
    pub(super) fn empty(&mut self) {
        self.clear();
        if self.places.capacity() > SMALL {
            self.places = Vec::new();
        }
    }

    /// Gives back what room there is for others, if that is most of it.
    pub(super) fn fit(&mut self) {
        if 4 * self.len <= self.places.capacity() {
            self.places.retain(|(_, row)| row.is_some());
            self.places.shrink_to_fit();
        }
    }

    /// The row of this number, made if it is not there.
    pub(super) fn get_or_insert_with(&mut self, id: u64, new: impl FnOnce() -> T) -> &mut T {
        let place = match self.find(id) {
            Ok(place) => place,
            Err(place) => {
                self.places.insert(place, (id, None));
                place
            }
        };
        let row = &mut self.places[place].1;
        self.len += usize::from(row.is_none());
        row.get_or_insert_with(new)
    }

    pub(super) fn get(&self, id: u64) -> Option<&T> {
        self.row(self.find(id).ok()?)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut T> {
        self.row_mut(self.find(id).ok()?)
    }

    #[inline]
    pub(super) fn row(&self, place: usize) -> Option<&T> {
        self.places[place].1.as_ref()
    }

    #[inline]
    pub(super) fn row_mut(&mut self, place: usize) -> Option<&mut T> {
        self.places[place].1.as_mut()
    }

    /// The rows from `from` on, in order.
    pub(super) fn from(&self, from: u64) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let first = self.find(from).unwrap_or_else(|place| place);
        self.places[first..].iter().filter_map(there)
    }

    /// The rows up to this one, or all, in order.
    pub(super) fn upto(&self, last: Option<u64>) -> impl DoubleEndedIterator<Item = (u64, &T)> {
        let end = last
            .map_or(self.places.len(), |last| self.find(last).map_or_else(|place| place, |place| place + 1));
        self.places[..end].iter().filter_map(there)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|(_, row)| row.as_mut())
    }

    pub(super) fn into_values(self) -> impl Iterator<Item = T> {
        self.places.into_iter().filter_map(|(_, row)| row)
    }

    /// The last row below `bound`, or the last of all.
    pub(super) fn last_below(&self, bound: Option<u64>) -> Option<u64> {
        let end = bound.map_or(self.places.len(), |bound| self.find(bound).unwrap_or_else(|place| place));
        self.places[..end].iter().filter_map(there).next_back().map(|(id, _)| id)
    }

    /// The place of a row, or where it would be.
    #[inline]
    fn find(&self, id: u64) -> Result<usize, usize> {
        match self.counted(id) {
            Some(place) => Ok(place),
            None => self.search(id),
        }
    }

    /// The place that the id says, if it is the row's: where no place is gone it is.
    #[inline]
    pub(super) fn counted(&self, id: u64) -> Option<usize> {
        let first = self.places.first()?.0;
        let place = usize::try_from(id.checked_sub(first)?).ok()?;
        (self.places.get(place)?.0 == id).then_some(place)
    }

    fn search(&self, id: u64) -> Result<usize, usize> {
        let within = self.bounds(id);
        let from = within.start;
        let found = self.places[within].binary_search_by_key(&id, |(id, _)| *id);
        found.map(|place| from + place).map_err(|place| from + place)
    }

    /// Between which places it is. Ids differ by one at least, so the distances to the first and to the last bound them.
    fn bounds(&self, id: u64) -> Range<usize> {
        let places = self.places.len();
        let (Some((first, _)), Some((last, _))) = (self.places.first(), self.places.last()) else {
            return 0..0;
        };
        if id > *last {
            return places..places;
        }
        let back = usize::try_from(last - id).unwrap_or(usize::MAX);
        let from = places.saturating_sub(back).saturating_sub(1);
        let ahead = usize::try_from(id.saturating_sub(*first)).unwrap_or(usize::MAX);
        from..ahead.saturating_add(1).min(places)
    }
}

fn there<T>((id, row): &(u64, Option<T>)) -> Option<(u64, &T)> {
    row.as_ref().map(|row| (*id, row))
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_row_is_gone_a_row_is_found_without_a_search() {
        let mut rows = Rows::default();
        (10..110).for_each(|id| assert_eq!(rows.insert(id, ()), None));
        for id in 10..110 {
            let place = (id - 10) as usize;
            assert_eq!((rows.counted(id), rows.bounds(id)), (Some(place), place..place + 1));
        }
        assert_eq!([9, 110].map(|id| rows.counted(id)), [None; 2]);
        // And then from whichever end is nearer.
        (40..60).for_each(|id| assert_eq!(rows.remove(id), Some(())));
        (0..11).for_each(|id| assert_eq!(rows.remove(109 - id), Some(())));
        assert_eq!((rows.bounds(15), rows.bounds(9)), (5..6, 0..1));
        assert_eq!((rows.bounds(110), rows.bounds(109)), (100..100, 99..100));
    }

    #[test]
    fn empty_places_are_swept_when_they_are_more_than_the_rows() {
        let full = |count: u64| {
            let mut rows = Rows::default();
            (0..count).for_each(|id| assert_eq!(rows.insert(id, ()), None));
            rows
        };
        let mut rows = full(100);
        (0..50).for_each(|id| assert_eq!(rows.remove(id), Some(())));
        assert_eq!((rows.len(), rows.places.len()), (50, 100), "as many as there are rows");
        rows.remove(50);
        assert_eq!((rows.len(), rows.places.len()), (49, 49));
        assert!((98..100).contains(&rows.places.capacity()), "with room for as many again");

        let mut few = full(SWEEP as u64 - 1);
        (1..SWEEP as u64 - 1).for_each(|id| assert_eq!(few.remove(id), Some(())));
        assert_eq!((few.len(), few.places.len()), (1, SWEEP - 1), "too few to be worth it");
        let mut enough = full(SWEEP as u64);
        (0..SWEEP as u64 / 2 + 1).for_each(|id| assert_eq!(enough.remove(id), Some(())));
        assert_eq!(enough.places.len(), SWEEP / 2 - 1);
    }
}
