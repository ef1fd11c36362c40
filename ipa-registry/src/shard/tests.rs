//! That keys spread evenly, and what identity an entry has.

use std::{
    sync::{Barrier, mpsc},
    thread,
};

use super::*;
use crate::subscription::Subscription;

impl<K, V, S: Slot<K, V>> Home for Arc<Shard<K, V, S>> {
    type Key = K;
    type Value = V;
    type Slot = S;

    fn shard(&self) -> &Shard<K, V, S> {
        self
    }
}

fn fullest(keys: impl Iterator<Item = u64>) -> (usize, usize) {
    let mut shards = [0; SHARDS];
    let mut total = 0;
    for hash in keys {
        shards[shard_of(hash)] += 1;
        total += 1;
    }
    let fullest = shards.into_iter().max().unwrap_or_default();
    (fullest, total / SHARDS)
}

/// Numbers in a row, numbers with many trailing zeros, and text: no shard gets more than twice its part.
#[test]
fn keys_of_every_kind_spread_over_the_shards() {
    const KEYS: u64 = 64_000;
    type HashOfNth = fn(u64) -> u64;
    let kinds: [(&str, HashOfNth); 5] = [
        ("in a row", |n| hash_of(&n)),
        ("times 4096", |n| hash_of(&(n << 12))),
        ("in the upper half", |n| hash_of(&(n << 32))),
        ("text", |n| hash_of(&format!("task-{n}"))),
        ("pairs", |n| hash_of(&(n / 10, format!("child-{}", n % 10)))),
    ];
    for (kind, hash) in kinds {
        let (fullest, even) = fullest((0..KEYS).map(hash));
        assert!(fullest <= 2 * even, "{kind}: {fullest} keys in a shard, {even} would be even");
    }
}

/// The keys of one shard differ in the bits that the shard's table chooses the bucket and the tag by.
#[test]
fn a_shard_does_not_correlate_with_its_tables_bits() {
    let hashes: Vec<u64> = (0..64_000_u64).map(|n| hash_of(&n)).filter(|hash| shard_of(*hash) == 0).collect();
    let distinct = |bits: &dyn Fn(u64) -> u64| {
        let mut seen: Vec<u64> = hashes.iter().map(|hash| bits(*hash)).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len()
    };
    assert!(hashes.len() > 500, "{}", hashes.len());
    assert!(distinct(&|hash| hash >> 57) > 100, "of 128 tags");
    assert!(distinct(&|hash| hash & 0xff) > 200, "of 256 buckets");
}

/// RG-26 an id is never used twice, and only the entry that has it is removed by it.
#[test]
fn an_entry_is_removed_by_its_id_and_not_by_its_key() {
    let shard = Arc::new(Shard::new(Arc::new(Common::new())));
    let hash = hash_of("a");
    let first = register(shard.clone(), hash, "a", 1).unwrap();
    let first_id = first.id;
    drop(first);
    let second = register(shard.clone(), hash, "a", 2).unwrap();
    assert_ne!(second.id, first_id);

    shard.unregister(hash, first_id);
    assert_eq!(second.value(), 2);
    assert_eq!(shard.common.count(), 1);
}

/// RG-47 who subscribes while a register waits for the lock gets its event: whether anybody listens is asked under it.
#[test]
fn a_register_that_waited_for_the_lock_knows_its_subscribers() {
    /// Its clone, made under the lock, stops there twice.
    struct Slow(Option<Barrier>);
    impl Clone for Slow {
        fn clone(&self) -> Self {
            for barrier in self.0.iter().cycle().take(2) {
                barrier.wait();
            }
            Self(None)
        }
    }
    let shard = Arc::new(Shard::new(Arc::new(Common::new())));
    let slow = Arc::new(Slow(Some(Barrier::new(2))));
    let _standing = register(shard.clone(), hash_of(&1), 1, Arc::clone(&slow));
    let (about_to, is_about_to) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| shard.copy_into(&mut Vec::new(), |entry| Slow::clone(&entry.value)));
        let barrier = slow.0.as_ref().unwrap();
        barrier.wait();
        // The lock is held from here on.
        let register = scope.spawn(|| {
            about_to.send(()).unwrap();
            register(shard.clone(), hash_of(&2), 2, Arc::new(Slow(None)))
        });
        is_about_to.recv().unwrap();
        // Only so that a wrong order shows: a right one passes however far the other thread is.
        (0..1000).for_each(|_| thread::yield_now());
        let mut events = Subscription::new(&shard.common, 1);
        barrier.wait();
        let _registered = register.join().unwrap();
        assert!(matches!(events.try_recv(), Ok(Event::Registered { key: 2, .. })));
    });
}
