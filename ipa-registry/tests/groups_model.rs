//! Random operations on groups against plain vectors, and a subscriber that reads again what its events name.

use std::collections::BTreeMap;

use ipa_registry::{Event, Groups, Membership, TryRecvError};
use proptest::{collection::vec, prelude::*};

type Key = u8;
type Value = u8;
/// The members of each key, in order of joining: which membership it is, and its value.
type Model = BTreeMap<Key, Vec<(usize, Value)>>;

const KEYS: Key = 5;

#[derive(Debug, Clone)]
enum Operation {
    Join(Key, Value),
    Update(usize, Value),
    Leave(usize),
    Follow,
}

/// Few keys and few values, so that equal members meet often.
fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => (0..KEYS, 0..4_u8).prop_map(|(key, value)| Operation::Join(key, value)),
        3 => (any::<usize>(), 0..4_u8).prop_map(|(index, value)| Operation::Update(index, value)),
        4 => any::<usize>().prop_map(Operation::Leave),
        1 => Just(Operation::Follow),
    ]
}

fn pick<T>(index: usize, from: &[T]) -> Option<usize> {
    (!from.is_empty()).then(|| index % from.len())
}

fn values(members: &[(usize, Value)]) -> Vec<Value> {
    members.iter().map(|(_, value)| *value).collect()
}

fn check(groups: &Groups<Key, Value>, model: &Model) {
    let all: Vec<_> =
        model.iter().flat_map(|(key, members)| members.iter().map(|(_, value)| (*key, *value))).collect();
    assert_eq!(groups.count(), all.len());
    assert_eq!(groups.is_empty(), all.is_empty());
    for key in 0..KEYS {
        let expected = model.get(&key).map(|members| values(members)).unwrap_or_default();
        let mut called = Vec::new();
        assert_eq!(groups.dispatch(&key, |value| called.push(*value)), expected.len());
        assert_eq!(called, expected);
        assert_eq!(groups.members(&key), expected);
        assert_eq!(groups.count_members(&key), expected.len());
    }
    let mut keys = groups.keys();
    keys.sort_unstable();
    assert_eq!(keys, model.keys().copied().collect::<Vec<_>>());
    // A stable sort by key alone: the members of one key must be in order already.
    let mut list = groups.list();
    list.sort_by_key(|(key, _)| *key);
    assert_eq!(list, all);
    let mut odd = groups.select(|_, value| value % 2 == 1);
    odd.sort_by_key(|(key, _)| *key);
    assert_eq!(odd, all.into_iter().filter(|(_, value)| value % 2 == 1).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// RG-15 RG-19 RG-20 RG-22 RG-26 RG-37 RG-47 any sequence of operations leaves what plain vectors would hold, and
    /// a subscriber that reads the members of each event's key knows the groups.
    #[test]
    fn groups_are_vectors_and_their_events_lead_to_them(
        operations in vec(operation(), 1..200),
        capacity in 1..50_usize,
    ) {
        let groups = Groups::new();
        let mut everything = groups.subscribe_with_capacity(operations.len());
        let mut expected = Vec::new();
        let mut follower = groups.subscribe_with_capacity(capacity);
        let mut known: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
        let mut model = Model::new();
        let mut memberships: Vec<(usize, Membership<Key, Value>)> = Vec::new();

        // The last one, so that the follower is asked for what it knows at the end.
        for (id, operation) in operations.into_iter().chain([Operation::Follow]).enumerate() {
            match operation {
                Operation::Join(key, value) => {
                    memberships.push((id, groups.join(key, value)));
                    model.entry(key).or_default().push((id, value));
                    expected.push(Event::Registered { key, value });
                }
                Operation::Update(index, value) => {
                    if let Some(index) = pick(index, &memberships) {
                        let (id, member) = &memberships[index];
                        let key = member.key();
                        let entry = model.get_mut(&key).unwrap().iter_mut().find(|entry| entry.0 == *id).unwrap();
                        prop_assert_eq!(member.update(value), entry.1);
                        prop_assert_eq!(member.value(), value);
                        entry.1 = value;
                        expected.push(Event::Updated { key, value });
                    }
                }
                Operation::Leave(index) => {
                    if let Some(index) = pick(index, &memberships) {
                        let (id, member) = memberships.swap_remove(index);
                        let key = member.key();
                        drop(member);
                        let members = model.get_mut(&key).unwrap();
                        let place = members.iter().position(|entry| entry.0 == id).unwrap();
                        let (_, value) = members.remove(place);
                        if members.is_empty() {
                            model.remove(&key);
                        }
                        expected.push(Event::Unregistered { key, value });
                    }
                }
                Operation::Follow => {
                    loop {
                        match follower.try_recv() {
                            Ok(event) => {
                                known.insert(*event.key(), groups.members(event.key()));
                            }
                            Err(TryRecvError::Lagged(_)) => {
                                known = groups.keys().into_iter().map(|key| (key, groups.members(&key))).collect();
                            }
                            Err(error) => {
                                prop_assert_eq!(error, TryRecvError::Empty);
                                break;
                            }
                        }
                    }
                    known.retain(|_, members| !members.is_empty());
                    let modelled = model.iter().map(|(key, members)| (*key, values(members)));
                    prop_assert_eq!(&known, &modelled.collect());
                }
            }
            check(&groups, &model);
        }
        let received: Vec<_> = std::iter::from_fn(|| everything.try_recv().ok()).collect();
        prop_assert_eq!(received, expected);
    }
}
