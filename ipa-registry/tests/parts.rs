//! Parts: what is told and counted of the whole, and what each part answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ipa_registry::{Event, HasPart, Part, PartRegistration, Parts, RecvError, TryRecvError};

type Key = (&'static str, u64);

struct Family(Part<Key, u64>);

#[derive(Clone)]
struct Head(Arc<Family>);

impl HasPart for Head {
    type Key = Key;
    type Value = u64;

    fn part(&self) -> &Part<Key, u64> {
        &self.0.0
    }
}

fn head(parts: &Parts<Key, u64>) -> Head {
    Head(Arc::new(Family(parts.part())))
}

fn sorted(head: &Head) -> Vec<(Key, u64)> {
    let mut all = head.part().list();
    all.sort_unstable();
    all
}

/// RG-04 RG-05 RG-23 RG-26 an entry is its owner's, in its own part, and the whole counts all.
#[test]
fn an_entry_is_found_in_its_part_and_counted_in_the_whole() {
    let parts = Parts::new();
    let (one, two) = (head(&parts), head(&parts));
    let first = Part::register(one.clone(), ("a", 1), 10).unwrap();
    let second = Part::register(two.clone(), ("b", 1), 20).unwrap();
    assert_eq!((one.part().lookup(&("a", 1)), one.part().lookup(&("b", 1))), (Some(10), None));
    assert!(two.part().contains(&("b", 1)) && !two.part().contains(&("a", 1)));
    assert_eq!((parts.count(), parts.is_empty()), (2, false));

    let refused = Part::register(one.clone(), ("a", 1), 11).unwrap_err();
    assert_eq!((refused.key, refused.refused, refused.standing), (("a", 1), 11, 10));
    assert_eq!(parts.count(), 2);

    assert_eq!((first.update(12), first.value(), first.key()), (10, 12, ("a", 1)));
    assert_eq!(one.part().lookup(&("a", 1)), Some(12));
    drop(first);
    assert_eq!((one.part().lookup(&("a", 1)), parts.count()), (None, 1));
    // Free again, and another's.
    let again = Part::register(one.clone(), ("a", 1), 13).unwrap();
    assert_eq!(one.part().list(), [(("a", 1), 13)]);
    drop((again, second));
    assert!(parts.is_empty());
}

/// Of a few entries and of many, whichever goes: against a map that cannot be wrong.
#[test]
fn a_part_is_a_map_however_many_there_are() {
    let parts = Parts::new();
    let part = head(&parts);
    let mut owners: BTreeMap<Key, PartRegistration<Head>> = BTreeMap::new();
    let mut random = 1_u64;
    let mut most = 0;
    for step in 0..4000_u64 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Six keys at first, then a hundred.
        let key = ("k", (random >> 33) % if step < 1000 { 6 } else { 100 });
        match Part::register(part.clone(), key, step) {
            Ok(owner) => assert!(owners.insert(key, owner).is_none(), "{key:?} was taken"),
            Err(refused) if random >> 63 == 0 => assert_eq!(owners[&key].update(step), refused.standing),
            Err(_) => drop(owners.remove(&key).expect("it is taken by somebody")),
        }
        most = most.max(owners.len());
        assert_eq!(parts.count(), owners.len());
        assert_eq!(part.part().lookup(&key), owners.get(&key).map(PartRegistration::value));
        if step % 16 == 0 {
            let known: Vec<_> = owners.iter().map(|(key, owner)| (*key, owner.value())).collect();
            assert_eq!(sorted(&part), known);
        }
    }
    assert!(most > 40, "{most}");
    drop(owners);
    assert!(sorted(&part).is_empty());
}

/// RG-47 the events are those of all parts, in order, and end with the last of them.
#[tokio::test]
async fn the_whole_tells_of_all_parts() {
    let parts = Parts::new();
    let mut events = parts.subscribe();
    let (one, two) = (head(&parts), head(&parts));
    let first = Part::register(one, ("a", 1), 10).unwrap();
    let second = Part::register(two, ("b", 1), 20).unwrap();
    first.update(11);
    drop(first);
    drop(parts);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event);
    }
    let (a, b) = (("a", 1), ("b", 1));
    assert_eq!(
        told,
        [
            Event::Registered { key: a, value: 10 },
            Event::Registered { key: b, value: 20 },
            Event::Updated { key: a, value: 11 },
            Event::Unregistered { key: a, value: 11 },
        ]
    );
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty), "an entry stands");
    drop(second);
    assert_eq!(events.recv().await, Ok(Event::Unregistered { key: b, value: 20 }));
    assert_eq!(events.recv().await, Err(RecvError::Closed));
}

/// An entry keeps whoever has its part.
#[test]
fn a_registration_keeps_its_owner() {
    let parts = Parts::new();
    let one = head(&parts);
    let weak = Arc::downgrade(&one.0);
    let owner = Part::register(one, ("a", 1), 10).unwrap();
    assert_eq!(owner.owner().part().lookup(&("a", 1)), Some(10));
    assert_eq!(
        format!("{owner:?} {parts:?}"),
        "PartRegistration { key: (\"a\", 1), .. } Parts { count: 1, .. }"
    );
    drop(owner);
    assert!(weak.upgrade().is_none() && parts.is_empty());
}

/// Of what an entry keeps nothing is dropped under the lock of its part: the owner, which goes last, may ask the part and the whole.
#[test]
fn an_owner_that_goes_may_ask() {
    struct Asks(Parts<Key, u64>, Arc<Part<Key, u64>>, Arc<AtomicUsize>);
    impl Drop for Asks {
        fn drop(&mut self) {
            assert_eq!((self.0.count(), self.1.lookup(&("a", 1)), self.1.list().len()), (0, None, 0));
            self.2.fetch_add(1, Ordering::Relaxed);
        }
    }
    impl HasPart for Asks {
        type Key = Key;
        type Value = u64;

        fn part(&self) -> &Part<Key, u64> {
            &self.1
        }
    }
    let (parts, asked) = (Parts::default(), Arc::new(AtomicUsize::new(0)));
    let part = Arc::new(parts.part());
    let asks = || Asks(parts.clone(), part.clone(), asked.clone());
    drop(Part::register(asks(), ("a", 1), 1).unwrap());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn parts_go_from_thread_to_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<Parts<Key, u64>>();
    shared::<Part<Key, u64>>();
    shared::<PartRegistration<Head>>();
}
