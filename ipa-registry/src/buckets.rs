//! The buckets behind one lock: a few lie side by side, many in a hash table.
//!
//! A registry has 64 locks, and each pod one of its own: what most of them hold is a handful, which is found sooner by looking at the hashes
//! in turn, and takes a third of the memory.

use std::mem;

use hashbrown::{
    HashTable,
    hash_table::{Entry, VacantEntry},
};

use crate::slot::Bucket;

/// So many at most are looked at in turn.
const FEW: usize = 8;

pub(crate) enum Buckets<S> {
    Few(Vec<Bucket<S>>),
    /// For good: there were more than a few of them.
    Many(HashTable<Bucket<S>>),
}

impl<S> Buckets<S> {
    pub(crate) fn new() -> Self {
        Self::Few(Vec::new())
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Few(few) => few.len(),
            Self::Many(many) => many.len(),
        }
    }

    /// The one of this hash that `is` accepts.
    #[inline]
    pub(crate) fn find(&self, hash: u64, is: impl Fn(&Bucket<S>) -> bool) -> Option<&Bucket<S>> {
        match self {
            Self::Few(few) => few.iter().find(|bucket| bucket.hash == hash && is(bucket)),
            Self::Many(many) => many.find(hash, is),
        }
    }

    pub(crate) fn find_mut(&mut self, hash: u64, is: impl Fn(&Bucket<S>) -> bool) -> Option<&mut Bucket<S>> {
        match self {
            Self::Few(few) => few.iter_mut().find(|bucket| bucket.hash == hash && is(bucket)),
            Self::Many(many) => many.find_mut(hash, is),
        }
    }

    /// The one of this hash that `is` accepts, or else the place for it.
    #[inline]
    pub(crate) fn place(
        &mut self,
        hash: u64,
        is: impl Fn(&Bucket<S>) -> bool,
    ) -> Result<&mut Bucket<S>, Free<'_, S>> {
        match self {
            Self::Many(many) => match many.entry(hash, is, |bucket| bucket.hash) {
                Entry::Occupied(taken) => Ok(taken.into_mut()),
                Entry::Vacant(free) => Err(Free::Many(free)),
            },
            few => match (few.place_among_few(hash, is), few) {
                (Some(place), Self::Few(few)) => Ok(&mut few[place]),
                (_, few) => Err(Free::Few(few)),
            },
        }
    }

    #[inline]
    pub(crate) fn remove(&mut self, hash: u64, is: impl Fn(&Bucket<S>) -> bool) -> Option<Bucket<S>> {
        match self {
            Self::Few(few) => {
                let place = few.iter().position(|bucket| bucket.hash == hash && is(bucket))?;
                Some(few.swap_remove(place))
            }
            Self::Many(many) => many.find_entry(hash, is).ok().map(|bucket| bucket.remove().0),
        }
    }

    /// Calls for each, in no order.
    pub(crate) fn each(&self, mut call: impl FnMut(&Bucket<S>)) {
        match self {
            Self::Few(few) => few.iter().for_each(&mut call),
            Self::Many(many) => many.iter().for_each(call),
        }
    }
}

/// Where a bucket is to be put of which there is none yet.
pub(crate) enum Free<'a, S> {
    Few(&'a mut Buckets<S>),
    Many(VacantEntry<'a, Bucket<S>>),
}

impl<S> Free<'_, S> {
    #[inline]
    pub(crate) fn insert(self, bucket: Bucket<S>) {
        match self {
            Self::Many(free) => drop(free.insert(bucket)),
            Self::Few(buckets) => buckets.insert(bucket),
        }
    }
}

impl<S> Buckets<S> {
    fn place_among_few(&self, hash: u64, is: impl Fn(&Bucket<S>) -> bool) -> Option<usize> {
        match self {
            Self::Few(few) => few.iter().position(|bucket| bucket.hash == hash && is(bucket)),
            Self::Many(_) => None,
        }
    }

    fn insert(&mut self, bucket: Bucket<S>) {
        match self {
            Self::Few(few) if few.len() < FEW => few.push(bucket),
            Self::Few(few) => *self = Self::many(mem::take(few).into_iter().chain([bucket])),
            Self::Many(many) => drop(many.insert_unique(bucket.hash, bucket, |bucket| bucket.hash)),
        }
    }

    #[cold]
    fn many(buckets: impl Iterator<Item = Bucket<S>>) -> Self {
        let mut many = HashTable::with_capacity(2 * FEW);
        for bucket in buckets {
            many.insert_unique(bucket.hash, bucket, |bucket| bucket.hash);
        }
        Self::Many(many)
    }
}
