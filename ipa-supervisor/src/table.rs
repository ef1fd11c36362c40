//! Rows by slot id, in order: for ids that rise, as a supervisor's do.
//!
//! The trick: rows lie side by side, in pieces that are so many ids [wide](WIDE). A supervisor of four children, whose ids begin where a piece
//! does, has one piece, of four rows; one of a hundred thousand moves no more than a piece of them at once, whoever comes and goes.

mod rows;

use crate::machine::SlotId;

use rows::Rows;

/// How many ids a piece is wide. The first id of a table is best a multiple of it.
pub(crate) const WIDE: u64 = 1 << WIDTH;

/// As a power of two. With half of it the stops of pods by two callers took three times as long, in what glibc does with the blocks.
const WIDTH: u32 = if cfg!(test) { 4 } else { 6 };

/// The piece that a row belongs to: its id without the lower bits.
fn piece(id: SlotId) -> u64 {
    id.0 >> WIDTH
}

#[derive(Debug)]
pub(crate) struct Table<T> {
    /// The first piece, which is all of most tables. With whatever is below it.
    near: Rows<T>,
    /// The others, if there are any.
    far: Option<Box<Far<T>>>,
}

#[derive(Debug)]
struct Far<T> {
    /// None of them is empty but the last, which is yet to be filled, and keeps its room.
    pieces: Rows<Rows<T>>,
    /// How many rows they have.
    len: usize,
}

impl<T> Far<T> {
    /// The rows of this piece, made if it is not there: whole, as to grow it bit by bit would be to move rows of which the caches of another
    /// core have the most. If the last one is empty, of that, so that children who come and go one at a time take no new memory.
    fn piece(&mut self, piece: u64) -> &mut Rows<T> {
        let last = self.pieces.last().filter(|last| *last < piece);
        let mut room = None;
        if let Some(rows) = last.and_then(|last| self.pieces.get_mut(last)) {
            if rows.len() == 0 {
                room = last.and_then(|last| self.pieces.remove(last));
            } else {
                rows.fit();
            }
        }
        self.pieces.get_or_insert_with(piece, || room.unwrap_or_else(|| Rows::with_capacity(WIDE as usize)))
    }

    fn remove(&mut self, id: SlotId) -> Option<T> {
        let is_last = self.pieces.last() == Some(piece(id));
        let rows = self.pieces.get_mut(piece(id))?;
        let row = if is_last { rows.take(id.0)? } else { rows.remove(id.0)? };
        self.len -= 1;
        match (is_last, rows.len()) {
            (true, 0) => rows.clear(),
            (true, _) => {}
            (false, 0) => drop(self.pieces.remove(piece(id))),
            (false, _) => rows.fit(),
        }
        Some(row)
    }
}

impl<T> Table<T> {
    /// With room for so many in the first piece.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { near: Rows::with_capacity(capacity.min(WIDE as usize)), far: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.near.len() + self.far.as_ref().map_or(0, |far| far.len)
    }

    /// Puts a row in its place; answers the one that was there.
    pub(crate) fn insert(&mut self, id: SlotId, row: T) -> Option<T> {
        if self.is_near(id) {
            return self.near.insert(id.0, row);
        }
        let far = self.far.get_or_insert_with(|| Box::new(Far { pieces: Rows::default(), len: 0 }));
        let before = far.piece(piece(id)).insert(id.0, row);
        far.len += usize::from(before.is_none());
        before
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<T> {
        if self.is_near(id) {
            let row = self.near.remove(id.0)?;
            if self.near.len() == 0 {
                self.near.empty();
            }
            return Some(row);
        }
        self.far.as_mut()?.remove(id)
    }

    #[inline]
    pub(crate) fn get(&self, id: SlotId) -> Option<&T> {
        match self.near.counted(id.0) {
            Some(place) => self.near.row(place),
            None => self.search(id),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: SlotId) -> Option<&mut T> {
        match self.near.counted(id.0) {
            Some(place) => self.near.row_mut(place),
            None => self.search_mut(id),
        }
    }

    fn search(&self, id: SlotId) -> Option<&T> {
        match &self.far {
            Some(far) if !self.is_near(id) => far.pieces.get(piece(id))?.get(id.0),
            _ => self.near.get(id.0),
        }
    }

    fn search_mut(&mut self, id: SlotId) -> Option<&mut T> {
        let near = self.is_near(id);
        match &mut self.far {
            Some(far) if !near => far.pieces.get_mut(piece(id))?.get_mut(id.0),
            _ => self.near.get_mut(id.0),
        }
    }

    /// Whether a row of this id belongs to the first piece, and not to one after that.
    #[inline]
    fn is_near(&self, id: SlotId) -> bool {
        match self.near.last() {
            Some(last) => piece(id) <= piece(SlotId(last)),
            None => self.far.is_none(),
        }
    }

    /// The rows from `from` on, in order.
    pub(crate) fn from(&self, from: SlotId) -> impl DoubleEndedIterator<Item = (SlotId, &T)> {
        let far = self.far.iter().flat_map(move |far| far.pieces.from(piece(from)));
        let far = far.flat_map(move |(_, rows)| rows.from(from.0));
        self.near.from(from.0).chain(far).map(|(id, row)| (SlotId(id), row))
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (SlotId, &T)> {
        self.from(SlotId(0))
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let far = self.far.iter_mut().flat_map(|far| far.pieces.values_mut());
        self.near.values_mut().chain(far.flat_map(Rows::values_mut))
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = T> {
        let far = self.far.into_iter().flat_map(|far| far.pieces.into_values());
        self.near.into_values().chain(far.flat_map(Rows::into_values))
    }

    /// The last row below `bound`, or the last of all.
    pub(crate) fn last_below(&self, bound: Option<SlotId>) -> Option<SlotId> {
        let far = self.far.iter().flat_map(|far| far.pieces.upto(bound.map(piece)).rev());
        let mut pieces = far.map(|(_, rows)| rows).chain([&self.near]);
        pieces.find_map(|rows| rows.last_below(bound.map(|bound| bound.0))).map(SlotId)
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
        let (mut most, mut emptied) = (0, 0);
        for step in 0..40_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let some = SlotId((random >> 33) % (next + 2));
            // Now it grows, now it dwindles, to nothing at times.
            match (random >> 59) % 8 + step / 2000 % 2 * 2 {
                0..=2 => {
                    assert_eq!(table.insert(SlotId(next), step), map.insert(SlotId(next), step));
                    next += 1;
                }
                3 => assert_eq!(table.insert(some, step), map.insert(some, step)),
                4 | 5 => assert_eq!(table.remove(some), map.remove(&some)),
                _ => {
                    let some = map.range(some..).next().map_or(some, |(id, _)| *id);
                    assert_eq!(table.remove(some), map.remove(&some));
                    emptied += usize::from(map.is_empty());
                }
            }
            most = most.max(map.len());
            assert_eq!(table.len(), map.len());
            assert_eq!(table.get(some), map.get(&some));
            assert_eq!(table.get_mut(some), map.get_mut(&some));
            assert_eq!(table.last_below(None), map.keys().next_back().copied());
            assert_eq!(table.last_below(Some(some)), map.range(..some).next_back().map(|(id, _)| *id));
            if step % 64 == 0 {
                assert!(table.iter().eq(map.iter().map(|(id, row)| (*id, row))));
                assert!(table.iter().rev().eq(map.iter().rev().map(|(id, row)| (*id, row))));
                assert!(table.from(some).rev().eq(map.range(some..).rev().map(|(id, row)| (*id, row))));
                assert!(table.values_mut().eq(map.values_mut()));
            }
        }
        assert!(most > 20 * WIDE as usize && emptied > 10, "{most} {emptied}");
        assert!(table.into_values().eq(map.into_values()));
    }

    /// What a supervisor of few children has is one block, and no more than its rows are long.
    #[test]
    fn a_few_rows_are_one_piece() {
        let mut table = Table::with_capacity(4);
        // Wherever it begins.
        let first = 100 * WIDE;
        (first..first + 4).for_each(|id| assert_eq!(table.insert(SlotId(id), ()), None));
        assert!(table.far.is_none());
        assert_eq!(table.near.capacity(), 4);
        // Of which those who come after them make use.
        (first..first + 4).for_each(|id| assert_eq!(table.remove(SlotId(id)), Some(())));
        assert_eq!((table.len(), table.near.capacity()), (0, 4));
        assert_eq!(table.insert(SlotId(first + 9 * WIDE), ()), None);
        assert!(table.far.is_none());
    }

    /// The room of each of the far pieces.
    fn rooms(table: &Table<u64>) -> Vec<usize> {
        let far = table.far.iter().flat_map(|far| far.pieces.upto(None));
        far.map(|(_, rows)| rows.capacity()).collect()
    }

    fn filled(ids: std::ops::Range<u64>) -> Table<u64> {
        let mut table = Table::default();
        ids.for_each(|id| assert_eq!(table.insert(SlotId(id), id), None));
        table
    }

    /// Nothing is kept of what is gone, wherever it was, but the room of the piece that is yet to be filled.
    #[test]
    fn an_empty_piece_takes_no_memory() {
        let mut table = filled(5..5 * WIDE);
        assert_eq!(rooms(&table), [WIDE as usize; 4]);
        (5..2 * WIDE).for_each(|id| assert_eq!(table.remove(SlotId(id)), Some(id)));
        assert_eq!((table.near.capacity(), rooms(&table)), (0, vec![WIDE as usize; 3]));
        (2 * WIDE..5 * WIDE).for_each(|id| assert_eq!(table.remove(SlotId(id)), Some(id)));
        assert_eq!((table.len(), rooms(&table)), (0, vec![WIDE as usize]));
        // Children who come and go one at a time have that.
        (10 * WIDE..20 * WIDE).for_each(|id| {
            assert_eq!(table.insert(SlotId(id), id), None);
            assert_eq!((table.remove(SlotId(id)), rooms(&table)), (Some(id), vec![WIDE as usize]));
        });
    }

    /// One that stays of many keeps no room for those.
    #[test]
    fn a_piece_of_few_rows_takes_little_memory() {
        // One of the piece that is being filled is not moved for those that go.
        let mut table = filled(0..5 * WIDE);
        (0..5 * WIDE)
            .filter(|id| id % WIDE != 7)
            .for_each(|id| assert_eq!(table.remove(SlotId(id)), Some(id)));
        let whole = WIDE as usize;
        assert!(rooms(&table)[..3].iter().all(|room| *room < 4) && rooms(&table)[3] >= 4);
        assert_eq!(table.insert(SlotId(5 * WIDE), 0), None);
        assert!(rooms(&table)[..4].iter().all(|room| *room < 4) && rooms(&table)[4] == whole);
        assert!(table.iter().map(|(id, _)| id.0).eq((0..5).map(|n| n * WIDE + 7).chain([5 * WIDE])));
    }
}
