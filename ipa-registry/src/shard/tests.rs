//! That keys spread evenly, and what identity an entry has.

use super::*;

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
    let first = shard.register(hash, "a", 1).unwrap();
    let first_id = first.id;
    drop(first);
    let second = shard.register(hash, "a", 2).unwrap();
    assert_ne!(second.id, first_id);

    shard.unregister(hash, first_id);
    assert_eq!(second.value(), 2);
    assert_eq!(shard.common.count(), 1);
}
