//! Groups: what joining, leaving, reading and dispatching answer, and what their subscribers are told.

use std::{
    collections::HashMap,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
};

use ipa_registry::{Event, Groups, Membership, RecvError, Subscription, TryRecvError};

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

fn dispatched<V: Clone>(groups: &Groups<&str, V>, key: &str) -> Vec<V> {
    let mut called = Vec::new();
    let told = groups.dispatch(key, |value| called.push(value.clone()));
    assert_eq!(told, called.len(), "it answers how often it called");
    called
}

/// RG-04 join is visible at once to every reader, through every handle and from every thread.
#[test]
fn join_is_visible_at_once() {
    let groups = Groups::new();
    let other_handle = groups.clone();
    let member = groups.join("a".to_owned(), 1);

    assert_eq!((member.key().as_str(), member.value()), ("a", 1));
    assert_eq!(other_handle.members("a"), [1]);
    assert_eq!(other_handle.members(&"a".to_owned()), [1], "by the key's own type too");
    assert_eq!(thread::spawn(move || other_handle.list()).join().unwrap(), [("a".to_owned(), 1)]);
}

/// RG-15 all members of the key, in order of joining, whoever left in between; nothing if there is none.
#[test]
fn members_come_in_order_of_joining() {
    let groups = Groups::new();
    assert_eq!(groups.members("a"), []);
    let mut members: Vec<_> = (0..100).map(|n| groups.join("a", n)).collect();
    let _others = [groups.join("b", 7), groups.join("c", 8)];
    assert_eq!(groups.members("a"), (0..100).collect::<Vec<_>>());
    assert_eq!(groups.members("b"), [7]);
    assert_eq!(groups.members("d"), []);

    members.retain(|member| member.value() % 3 == 0);
    members.push(groups.join("a", 1));
    let expected: Vec<_> = (0..100).filter(|n| n % 3 == 0).chain([1]).collect();
    assert_eq!(groups.members("a"), expected);
    members.clear();
    assert_eq!(groups.members("a"), []);
}

/// RG-15 the same member twice is two entries, and each of them leaves by itself.
#[test]
fn the_same_member_twice_is_two_entries() {
    let groups = Groups::new();
    let value = Arc::new(());
    let first = groups.join("a", Arc::clone(&value));
    let second = groups.join("a", Arc::clone(&value));
    assert_eq!(groups.members("a").len(), 2);
    assert!(groups.members("a").iter().all(|member| Arc::ptr_eq(member, &value)));
    assert_eq!((groups.count_members("a"), groups.count(), groups.keys()), (2, 2, vec!["a"]));
    drop(second);
    assert_eq!(groups.members("a").len(), 1);
    drop(first);
    assert_eq!(groups.members("a").len(), 0);
    assert_eq!(Arc::strong_count(&value), 1, "nothing is kept of what left");
}

/// RG-13 the keys of a group are compared by Eq; each member keeps the one it gave.
#[test]
fn keys_are_compared_by_eq() {
    #[derive(Clone, Debug)]
    struct AnyCase(&'static str);
    impl PartialEq for AnyCase {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(other.0)
        }
    }
    impl Eq for AnyCase {}
    impl std::hash::Hash for AnyCase {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            self.0.to_ascii_lowercase().hash(state);
        }
    }
    let groups = Groups::new();
    let first = groups.join(AnyCase("Key"), 1);
    let second = groups.join(AnyCase("KEY"), 2);
    let _other = groups.join(AnyCase("keys"), 3);
    assert_eq!(groups.members(&AnyCase("key")), [1, 2]);
    assert_eq!((first.key().0, second.key().0), ("Key", "KEY"));
    let keys = |groups: &Groups<AnyCase, _>| sorted(groups.keys().iter().map(|key| key.0).collect());
    assert_eq!(keys(&groups), ["Key", "keys"]);
    drop(first);
    assert_eq!(keys(&groups), ["KEY", "keys"]);
}

/// RG-13 groups whose keys have one hash are still told apart, and leaving finds the right one.
#[test]
fn keys_with_one_hash_are_told_apart() {
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Colliding(u32);
    impl std::hash::Hash for Colliding {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            0.hash(state);
        }
    }
    let groups = Groups::new();
    let mut members: Vec<_> = (0..90).map(|n| groups.join(Colliding(n % 30), n)).collect();
    drop(members.remove(50));
    drop(members.remove(20));
    members[19].update(1000);
    for n in 0..30 {
        let expected = match n {
            19 => vec![1000, 49, 79],
            20 => vec![80],
            _ => vec![n, n + 30, n + 60],
        };
        assert_eq!(groups.members(&Colliding(n)), expected);
    }
}

/// RG-19 count is the number of members of all groups, and 0 when empty.
#[test]
fn count_is_the_number_of_members() {
    let groups = Groups::default();
    assert_eq!((groups.count(), groups.count_members(&0)), (0, 0));
    assert!(groups.is_empty());
    let mut members = Vec::new();
    for n in 0..1000 {
        members.push(groups.join(n % 7, ()));
        assert_eq!(groups.count(), members.len());
        assert_eq!(groups.count_members(&(n % 7)), n / 7 + 1);
    }
    members[5].update(());
    assert_eq!(groups.count(), 1000);
    assert_eq!(sorted(groups.keys()), (0..7).collect::<Vec<_>>(), "each key once");
    while let Some(member) = members.pop() {
        let key = member.key();
        drop(member);
        assert_eq!(groups.count(), members.len());
        assert_eq!(groups.count_members(&key), members.iter().filter(|other| other.key() == key).count());
    }
    assert!(groups.is_empty());
    assert_eq!(groups.keys(), []);
    assert_eq!(groups.list(), []);
}

/// RG-20 select asks the predicate about every member, once; the members of one key come in order.
#[test]
fn select_asks_about_every_member_once() {
    let groups = Groups::new();
    let _members: Vec<_> = (0..500).map(|n| groups.join(n % 5, n)).collect();
    let mut asked = Vec::new();
    let selected = groups.select(|key, value| {
        asked.push(*value);
        *key == 3
    });
    assert_eq!(selected, (0..100).map(|n| (3, n * 5 + 3)).collect::<Vec<_>>());
    assert_eq!(sorted(asked), (0..500).collect::<Vec<_>>());

    let mut listed: HashMap<_, Vec<_>> = HashMap::new();
    let list = groups.list();
    let changes = list.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
    assert_eq!(changes, 4, "the members of one key are next to each other");
    list.into_iter().for_each(|(key, value)| listed.entry(key).or_default().push(value));
    assert!((0..5).all(|key| listed[&key] == groups.members(&key)));
}

/// RG-22 update is visible at once, hands back what stood, and leaves the member its place.
#[test]
fn update_is_visible_at_once() {
    let groups = Groups::new();
    let members = [1, 2, 3].map(|value| groups.join("a", value));
    assert_eq!(members[1].update(20), 2);
    assert_eq!(groups.members("a"), [1, 20, 3]);
    assert_eq!(members[1].value(), 20);
    assert_eq!(members[1].update(21), 20);
    assert_eq!(members.each_ref().map(Membership::value), [1, 21, 3]);
    assert_eq!(dispatched(&groups, "a"), [1, 21, 3]);
    assert_eq!(groups.count(), 3);
}

/// RG-26 dropping a membership takes out exactly that member, never another one with an equal value.
#[test]
fn a_drop_takes_out_its_own_member_alone() {
    let groups = Groups::new();
    let [first, second, third] = [1, 1, 1].map(|value| groups.join("a", value));
    drop(second);
    first.update(10);
    third.update(30);
    assert_eq!(groups.members("a"), [10, 30]);
    drop(first);
    let fourth = groups.join("a", 30);
    drop(third);
    fourth.update(40);
    assert_eq!(groups.members("a"), [40]);
    drop(fourth);

    // A later group of the same key is another one.
    let _later = groups.join("a", 5);
    assert_eq!(groups.members("a"), [5]);
}

/// RG-30 a member's task ends, aborted in the midst or before its first poll, or panicked: it is out when that shows.
#[tokio::test]
async fn a_member_is_out_when_its_task_has_ended() {
    let groups = Groups::new();
    let _stays = groups.join("a", 0);
    for (value, first_poll) in [(1, true), (2, false)] {
        let member = groups.join("a", value);
        let task = tokio::spawn(async move {
            let _member = member;
            pending::<()>().await
        });
        if first_poll {
            tokio::task::yield_now().await;
        }
        assert_eq!(groups.members("a"), [0, value]);
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert_eq!(groups.members("a"), [0]);
    }
    let member = groups.join("a", 3);
    let task = tokio::spawn(async move {
        member.update(4);
        panic!("as intended");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(groups.members("a"), [0]);
}

/// RG-35 dispatch to a key without members does not call the callback: none ever, none left, and another key's.
#[test]
fn dispatch_to_nobody_calls_nothing() {
    let groups = Groups::new();
    assert_eq!(groups.dispatch("a", |_: &u32| unreachable!("nobody ever joined")), 0);
    drop(groups.join("a", 1));
    let _other = groups.join("b", 2);
    assert_eq!(groups.dispatch("a", |_| unreachable!("nobody is left")), 0);
}

/// RG-37 dispatch to a group is every member exactly once, in order of joining, and others not at all.
#[test]
fn dispatch_calls_for_every_member_once() {
    let groups = Groups::new();
    let [_first, second, ..] = &mut [1, 2, 2, 3].map(|value| Some(groups.join("a", value)));
    let _others = [groups.join("b", 8), groups.join("c", 9)];
    assert_eq!(dispatched(&groups, "a"), [1, 2, 2, 3]);
    assert_eq!(dispatched(&groups, "b"), [8]);
    *second = None;
    assert_eq!(dispatched(&groups, "a"), [1, 2, 3]);
}

/// RG-37 in the caller's task and on its thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dispatch_calls_in_the_callers_task() {
    let groups = Groups::new();
    let _members: Vec<_> = (0..10).map(|n| groups.join("a", n)).collect();
    let caller = tokio::spawn(async move {
        let here = (tokio::task::id(), thread::current().id());
        let mut places = Vec::new();
        groups.dispatch("a", |_| places.push((tokio::task::id(), thread::current().id())));
        assert_eq!(places, vec![here; 10]);
    });
    caller.await.unwrap();
}

/// RG-39 a callback's panic is the caller's, as it was thrown; it ends the dispatch, and the groups are unharmed.
#[test]
fn a_callback_may_panic() {
    let groups = Groups::new();
    let members = [1, 2, 3].map(|value| groups.join("a", value));
    let mut events = groups.subscribe();
    let mut called = Vec::new();
    let dispatch = || {
        groups.dispatch("a", |value| {
            called.push(*value);
            if *value == 2 {
                std::panic::panic_any(7_u8);
            }
        })
    };
    let panic = catch_unwind(AssertUnwindSafe(dispatch)).unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&7_u8));
    assert_eq!(called, [1, 2], "the members after it are not called for");

    assert_eq!(dispatched(&groups, "a"), [1, 2, 3]);
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
    members[1].update(20);
    let fourth = groups.join("a", 4);
    assert_eq!(groups.members("a"), [1, 20, 3, 4]);
    drop((members, fourth));
    assert!(groups.is_empty());
}

fn waiting<'a>(events: &mut Subscription<&'a str, u32>) -> Vec<Event<&'a str, u32>> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

/// RG-47 subscribers get each member that joins, updates or leaves, in order, and the end of the groups last.
#[tokio::test]
async fn subscribers_get_every_change_in_order() {
    let groups = Groups::new();
    let mut one = groups.subscribe();
    let mut two = groups.subscribe();
    let first = groups.join("a", 1);
    let second = groups.join("a", 1);
    second.update(2);
    drop(first);
    let crashed = tokio::spawn(async move {
        second.update(3);
        panic!("as intended");
    });
    assert!(crashed.await.is_err());
    drop(groups);

    let key = "a";
    let expected = [
        Event::Registered { key, value: 1 },
        Event::Registered { key, value: 1 },
        Event::Updated { key, value: 2 },
        Event::Unregistered { key, value: 1 },
        Event::Updated { key, value: 3 },
        Event::Unregistered { key, value: 3 },
    ];
    assert_eq!(waiting(&mut one), expected);
    assert_eq!(one.try_recv(), Err(TryRecvError::Closed));
    for event in expected {
        assert_eq!(two.recv().await, Ok(event));
    }
    assert_eq!(two.recv().await, Err(RecvError::Closed));
}

/// RG-47 a slow subscriber hinders no join: it is told what it lost, and can read the members again.
#[test]
fn a_slow_subscriber_is_told_what_it_lost() {
    let groups = Groups::new();
    let mut slow = groups.subscribe_with_capacity(2);
    let mut quick = groups.subscribe();
    drop(groups.subscribe());
    let members: Vec<_> = (0..10).map(|value| groups.join("a", value)).collect();
    assert_eq!(slow.try_recv(), Err(TryRecvError::Lagged(8)));
    assert_eq!(groups.members("a").len(), members.len());
    let left = [8, 9].map(|value| Event::Registered { key: "a", value });
    assert_eq!(waiting(&mut slow), left);
    assert_eq!(waiting(&mut quick).len(), 10, "no other subscriber notices");
}

/// A membership keeps its member without any handle, and a leaked one keeps it for good.
#[test]
fn a_member_is_in_as_long_as_its_membership_lives() {
    let groups = Groups::new();
    let member = groups.join("a", 1);
    let mut events = groups.subscribe();
    drop(groups);
    assert_eq!(member.update(2), 1);
    assert_eq!(member.value(), 2);
    drop(member);
    assert_eq!(waiting(&mut events).len(), 2);
    assert_eq!(events.try_recv(), Err(TryRecvError::Closed));

    let groups = Groups::new();
    std::mem::forget(groups.join("a", 1));
    assert_eq!(groups.members("a"), [1]);
}

/// A clone that panics leaves the groups as they were: nobody joined, no group without a member is left.
#[test]
fn a_panicking_clone_changes_nothing() {
    #[derive(Debug, PartialEq)]
    struct Value(bool);
    impl Clone for Value {
        fn clone(&self) -> Self {
            assert!(self.0, "this one cannot be cloned");
            Self(self.0)
        }
    }
    let groups = Groups::new();
    let mut events = groups.subscribe();
    let join = || groups.join("a", Value(false));
    assert!(catch_unwind(AssertUnwindSafe(join)).is_err());
    assert_eq!((groups.count(), groups.keys()), (0, vec![]));

    let member = groups.join("a", Value(true));
    assert!(catch_unwind(AssertUnwindSafe(join)).is_err());
    assert_eq!(groups.members("a"), [Value(true)]);
    assert!(catch_unwind(AssertUnwindSafe(|| member.update(Value(false)))).is_err());
    assert_eq!(member.value(), Value(true));
    assert!(events.try_recv().is_ok());
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
}

/// Guards and handles cross threads, and print without their values.
#[test]
fn guards_are_send_sync_and_debug() {
    fn shared<T: Send + Sync + std::fmt::Debug>(value: &T) -> String {
        format!("{value:?}")
    }
    struct Opaque;
    let groups: Groups<&str, Arc<Opaque>> = Groups::new();
    let member = groups.join("a", Arc::new(Opaque));
    assert_eq!(shared(&groups), "Groups { count: 1, .. }");
    assert_eq!(shared(&member), r#"Membership { key: "a", .. }"#);
}
