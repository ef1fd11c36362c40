//! Random operations against a plain `HashMap`, and the events replayed.

use std::collections::HashMap;

use ipa_registry::{Event, Registration, Registry, Subscription, TryRecvError};
use proptest::{collection::vec, prelude::*};

type Key = u8;
type Value = u32;
type Map = HashMap<Key, Value>;

const KEYS: Key = 12;

#[derive(Debug, Clone)]
enum Operation {
    Register(Key, Value),
    Update(usize, Value),
    Drop(usize),
    Read(usize),
    Subscribe(usize),
    Unsubscribe(usize),
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..KEYS, any::<Value>()).prop_map(|(key, value)| Operation::Register(key, value)),
        3 => (any::<usize>(), any::<Value>()).prop_map(|(index, value)| Operation::Update(index, value)),
        4 => any::<usize>().prop_map(Operation::Drop),
        3 => (0..8_usize).prop_map(Operation::Read),
        1 => (1..6_usize).prop_map(Operation::Subscribe),
        1 => any::<usize>().prop_map(Operation::Unsubscribe),
    ]
}

/// A subscriber that lists again whenever it lost something.
struct Follower {
    events: Subscription<Key, Value>,
    known: Map,
    /// How many events wait for it, and how many it lost, by the model.
    waiting: usize,
    lost: u64,
}

impl Follower {
    fn new(registry: &Registry<Key, Value>, capacity: usize) -> Self {
        Self {
            events: registry.subscribe_with_capacity(capacity),
            known: registry.list().into_iter().collect(),
            waiting: 0,
            lost: 0,
        }
    }

    /// By the model, a change is made.
    fn expect_event(&mut self) {
        if self.waiting == self.events.capacity() {
            self.lost += 1;
        } else {
            self.waiting += 1;
        }
    }

    /// Reads once, and answers whether there was something.
    fn read(&mut self, registry: &Registry<Key, Value>) -> bool {
        match self.events.try_recv() {
            Ok(Event::Registered { key, value } | Event::Updated { key, value }) => {
                self.known.insert(key, value);
                self.took_one()
            }
            Ok(Event::Unregistered { key, .. }) => {
                self.known.remove(&key);
                self.took_one()
            }
            Err(TryRecvError::Lagged(lost)) => {
                assert_eq!(lost, self.lost);
                self.lost = 0;
                self.known = registry.list().into_iter().collect();
                true
            }
            Err(TryRecvError::Empty) => {
                assert_eq!((self.waiting, self.lost), (0, 0));
                false
            }
            other => panic!("unexpected: {other:?}"),
        }
    }

    fn took_one(&mut self) -> bool {
        assert_eq!(self.lost, 0, "a loss is told before anything that came after it");
        self.waiting = self.waiting.checked_sub(1).expect("no more events than changes");
        true
    }
}

fn pick<T>(index: usize, from: &[T]) -> Option<usize> {
    (!from.is_empty()).then(|| index % from.len())
}

fn check(registry: &Registry<Key, Value>, model: &Map) {
    assert_eq!(registry.count(), model.len());
    assert_eq!(registry.is_empty(), model.is_empty());
    for key in 0..KEYS {
        assert_eq!(registry.lookup(&key), model.get(&key).copied());
        assert_eq!(registry.contains(&key), model.contains_key(&key));
    }
    let list = registry.list();
    assert_eq!(list.len(), model.len(), "no key is listed twice");
    assert_eq!(&list.into_iter().collect::<Map>(), model);
    let mut keys = registry.keys();
    keys.sort_unstable();
    let mut expected: Vec<_> = model.keys().copied().collect();
    expected.sort_unstable();
    assert_eq!(keys, expected);
    let odd = registry.select(|_, value| value % 2 == 1);
    assert_eq!(odd.len(), model.values().filter(|value| *value % 2 == 1).count());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// RG-05 RG-15 RG-19 RG-20 RG-22 RG-26 RG-47 any sequence of operations leaves what a plain map would hold, and the
    /// events alone are enough to rebuild it.
    #[test]
    fn the_registry_is_a_map_and_its_events_rebuild_it(operations in vec(operation(), 1..200)) {
        let registry = Registry::new();
        let mut everything = registry.subscribe_with_capacity(2 * operations.len());
        let mut expected = Vec::new();
        let mut followers: Vec<Follower> = Vec::new();
        let mut model = Map::new();
        let mut owners: Vec<Registration<Key, Value>> = Vec::new();

        for operation in operations {
            let events_before = expected.len();
            match operation {
                Operation::Register(key, value) => match registry.register(key, value) {
                    Ok(owner) => {
                        prop_assert_eq!(model.insert(key, value), None);
                        expected.push(Event::Registered { key, value });
                        owners.push(owner);
                    }
                    Err(refused) => {
                        prop_assert_eq!(model.get(&key), Some(&refused.standing));
                        prop_assert_eq!((refused.key, refused.refused), (key, value));
                    }
                },
                Operation::Update(index, value) => {
                    if let Some(index) = pick(index, &owners) {
                        let key = owners[index].key();
                        prop_assert_eq!(model.insert(key, value), Some(owners[index].update(value)));
                        prop_assert_eq!(owners[index].value(), value);
                        expected.push(Event::Updated { key, value });
                    }
                }
                Operation::Drop(index) => {
                    if let Some(index) = pick(index, &owners) {
                        let owner = owners.swap_remove(index);
                        let key = owner.key();
                        drop(owner);
                        let value = model.remove(&key).expect("what is owned stands");
                        expected.push(Event::Unregistered { key, value });
                    }
                }
                Operation::Read(count) => {
                    for follower in &mut followers {
                        for _ in 0..count {
                            follower.read(&registry);
                        }
                    }
                }
                Operation::Subscribe(capacity) => followers.push(Follower::new(&registry, capacity)),
                Operation::Unsubscribe(index) => {
                    if let Some(index) = pick(index, &followers) {
                        drop(followers.swap_remove(index));
                    }
                }
            }
            if expected.len() > events_before {
                followers.iter_mut().for_each(Follower::expect_event);
            }
            check(&registry, &model);
        }

        for mut follower in followers {
            while follower.read(&registry) {}
            prop_assert_eq!(&follower.known, &model);
        }
        drop(owners);
        drop(registry);
        let mut received = Vec::new();
        let end = loop {
            match everything.try_recv() {
                Ok(event) => received.push(event),
                Err(end) => break end,
            }
        };
        // The owners that were left until the end add one each.
        prop_assert_eq!(received.len(), expected.len() + model.len());
        prop_assert_eq!(&received[..expected.len()], &expected[..]);
        let rebuilt = received.iter().fold(Map::new(), |mut map, event| {
            match event {
                Event::Unregistered { key, .. } => map.remove(key),
                other => map.insert(*other.key(), *other.value()),
            };
            map
        });
        prop_assert_eq!(rebuilt, Map::new());
        prop_assert_eq!(end, TryRecvError::Closed);
    }
}
