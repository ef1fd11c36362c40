//! The registry under loom: every interleaving of a few threads, within the bounds that each test states.
//!
//! Only built by `cargo xtask interleavings`. What is loom's and what is the real code: see `src/sync.rs`. Loom has no `Arc` with weak
//! counts, so those of the registry are the standard library's.
#![cfg(ipa_interleavings)]

use std::sync::Arc;

use ipa_registry::{Event, Groups, RecvError, Registration, Registry, Subscription, TryRecvError};
use loom::{future::block_on, model::Builder, thread};

/// Runs the scenario through all interleavings, and says how many there were.
fn all(scenario: impl Fn() + Send + Sync + 'static) {
    explore(None, scenario);
}

/// Runs the scenario through all interleavings in which a thread is interrupted at most so many times where it could have gone on.
fn within(preemptions: usize, scenario: impl Fn() + Send + Sync + 'static) {
    explore(Some(preemptions), scenario);
}

fn explore(preemptions: Option<usize>, scenario: impl Fn() + Send + Sync + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    let runs = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    builder.check({
        let runs = runs.clone();
        move || {
            runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            scenario();
        }
    });
    let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    match preemptions {
        None => println!("{name}: all {runs} interleavings"),
        Some(bound) => println!("{name}: all {runs} interleavings of at most {bound} preemptions"),
    }
    assert!(runs > 1, "nothing interleaved");
}

type Register = Result<Registration<&'static str, u32>, u32>;

/// Registers, or says what stands.
fn register(registry: &Registry<&'static str, u32>, value: u32) -> Register {
    registry.register("key", value).map_err(|refused| {
        assert_eq!(refused.refused, value, "the refused value comes back");
        refused.standing
    })
}

/// What is queued for the subscriber, in order; the losses it is told of add up.
fn drain(events: &mut Subscription<&'static str, u32>) -> (Vec<Event<&'static str, u32>>, u64) {
    let (mut read, mut lost) = (Vec::new(), 0);
    loop {
        match events.try_recv() {
            Ok(event) => read.push(event),
            Err(TryRecvError::Lagged(more)) => lost += more,
            Err(_) => return (read, lost),
        }
    }
}

fn one_wins(registry: &Registry<&'static str, u32>, attempts: Vec<Register>) {
    let winners: Vec<u32> = attempts.iter().flatten().map(Registration::value).collect();
    assert_eq!(winners.len(), 1, "exactly one has the key");
    for standing in attempts.iter().filter_map(|attempt| attempt.as_ref().err()) {
        assert_eq!(*standing, winners[0], "the loser is told what stands");
    }
    assert_eq!(registry.lookup("key"), Some(winners[0]));
    assert_eq!(registry.count(), 1);
    drop(attempts);
    assert_eq!(registry.lookup("key"), None);
    assert_eq!(registry.count(), 0);
}

/// Of two threads that register a key one wins.
#[test]
fn of_two_that_register_one_wins() {
    all(|| {
        let registry = Registry::new();
        let other = thread::spawn({
            let registry = registry.clone();
            move || register(&registry, 1)
        });
        let own = register(&registry, 2);
        one_wins(&registry, vec![own, other.join().unwrap()]);
    });
}

/// Of three threads that register a key one wins.
#[test]
fn of_three_that_register_one_wins() {
    all(|| {
        let registry = Registry::new();
        let others: Vec<_> = [1, 2]
            .into_iter()
            .map(|value| {
                let registry = registry.clone();
                thread::spawn(move || register(&registry, value))
            })
            .collect();
        let mut attempts = vec![register(&registry, 3)];
        attempts.extend(others.into_iter().map(|other| other.join().unwrap()));
        one_wins(&registry, attempts);
    });
}

/// A key changes hands while others look: they see the old owner, none, the new owner, in this order, and count accordingly.
#[test]
fn register_drop_and_lookup() {
    all(|| {
        let registry = Registry::new();
        let old = register(&registry, 1).unwrap();
        let dropper = thread::spawn(move || drop(old));
        let next = thread::spawn({
            let registry = registry.clone();
            move || register(&registry, 2)
        });
        let seen: Vec<u32> = (0..2).map(|_| registry.lookup("key").unwrap_or(0)).collect();
        let order = |value| [1, 0, 2].iter().position(|at| *at == value).unwrap();
        // Back from nobody to the old owner, or from the new one to anybody, there is no way.
        assert!(order(seen[0]) <= order(seen[1]), "{seen:?}");
        dropper.join().unwrap();
        match next.join().unwrap() {
            Ok(_owner) => {
                assert_eq!(registry.lookup("key"), Some(2));
                assert_eq!(registry.count(), 1);
            }
            Err(standing) => {
                assert_eq!(standing, 1);
                assert_eq!(registry.lookup("key"), None);
                assert_eq!(registry.count(), 0);
            }
        }
    });
}

/// A drop removes its own entry, whoever has the key by then.
#[test]
fn a_drop_never_removes_a_later_entry() {
    all(|| {
        let registry = Registry::new();
        let first = register(&registry, 1).unwrap();
        let others: Vec<_> = [2, 3]
            .into_iter()
            .map(|value| {
                let registry = registry.clone();
                thread::spawn(move || register(&registry, value))
            })
            .collect();
        drop(first);
        let mut others: Vec<Register> = others.into_iter().map(|other| other.join().unwrap()).collect();
        let winners: Vec<u32> = others.iter().flatten().map(Registration::value).collect();
        assert!(winners.len() <= 1);
        assert_eq!(registry.lookup("key"), winners.first().copied());
        assert_eq!(registry.count(), winners.len());
        others.clear();
        assert_eq!(registry.count(), 0);
    });
}

/// Two owners in a row, each with a short life, at the same time as a third: nobody's drop takes another's entry.
#[test]
fn short_lives_do_not_meet() {
    all(|| {
        let registry = Registry::new();
        let other = thread::spawn({
            let registry = registry.clone();
            move || {
                let owner = register(&registry, 1);
                if owner.is_ok() {
                    assert_eq!(registry.lookup("key"), Some(1), "it stands while its guard lives");
                }
            }
        });
        for value in [2, 3] {
            let owner = register(&registry, value);
            if owner.is_ok() {
                assert_eq!(registry.lookup("key"), Some(value), "it stands while its guard lives");
            }
        }
        other.join().unwrap();
        assert_eq!(registry.count(), 0);
    });
}

/// An update is never seen after the end, and the event of the end carries the last value.
#[test]
fn update_and_unregister() {
    all(|| {
        let registry = Registry::new();
        let mut events = registry.subscribe();
        let owner = Arc::new(register(&registry, 1).unwrap());
        let updater = thread::spawn({
            let owner = owner.clone();
            move || assert_eq!(owner.update(2), 1)
        });
        let seen = registry.lookup("key").unwrap_or(0);
        drop(owner); // The last one of the two unregisters.
        updater.join().unwrap();
        assert!([1, 2].contains(&seen));
        assert_eq!(registry.lookup("key"), None);
        let (read, lost) = drain(&mut events);
        assert_eq!(
            (read, lost),
            (
                vec![
                    Event::Registered { key: "key", value: 1 },
                    Event::Updated { key: "key", value: 2 },
                    Event::Unregistered { key: "key", value: 2 },
                ],
                0
            )
        );
    });
}

/// Two updates at once: each is handed what the other, or the registration, put there.
#[test]
fn two_updates() {
    all(|| {
        let registry = Registry::new();
        let owner = Arc::new(register(&registry, 1).unwrap());
        let other = thread::spawn({
            let owner = owner.clone();
            move || owner.update(2)
        });
        let mine = owner.update(3);
        let theirs = other.join().unwrap();
        match registry.lookup("key") {
            Some(2) => assert_eq!((theirs, mine), (3, 1)),
            Some(3) => assert_eq!((mine, theirs), (2, 1)),
            other => panic!("{other:?}"),
        }
    });
}

/// A subscriber that waits is woken by each event, and by the end of the registry; per key it sees the order of changes.
#[test]
fn a_waiting_subscriber_is_woken() {
    within(4, || {
        let registry = Registry::new();
        let mut events = registry.subscribe();
        let owner = thread::spawn(move || {
            let owner = register(&registry, 1).unwrap();
            drop(registry);
            drop(owner);
        });
        assert_eq!(block_on(events.recv()), Ok(Event::Registered { key: "key", value: 1 }));
        assert_eq!(block_on(events.recv()), Ok(Event::Unregistered { key: "key", value: 1 }));
        assert_eq!(block_on(events.recv()), Err(RecvError::Closed));
        owner.join().unwrap();
    });
}

/// Owners follow each other under one key while another key changes: the events of each key are in the order of its changes.
#[test]
fn events_are_in_order_per_key() {
    within(3, || {
        let registry = Registry::new();
        let mut events = registry.subscribe();
        let others: Vec<_> = [1, 2]
            .into_iter()
            .map(|value| {
                let registry = registry.clone();
                thread::spawn(move || drop(register(&registry, value)))
            })
            .collect();
        drop(registry.register("other", 3).unwrap());
        for other in others {
            other.join().unwrap();
        }
        let (read, lost) = drain(&mut events);
        assert_eq!(lost, 0);
        for key in ["key", "other"] {
            let of_key: Vec<_> = read.iter().filter(|event| *event.key() == key).collect();
            assert!(!of_key.is_empty());
            for life in of_key.chunks(2) {
                let [Event::Registered { value: first, .. }, Event::Unregistered { value: last, .. }] = life
                else {
                    panic!("{of_key:?}")
                };
                assert_eq!(first, last, "{of_key:?}");
            }
        }
    });
}

/// A subscriber that lags is told how many events it lost, and the last one of a key is never among them.
#[test]
fn a_lag_is_told() {
    within(4, || {
        let registry = Registry::new();
        let mut events = registry.subscribe_with_capacity(1);
        let owner = thread::spawn({
            let registry = registry.clone();
            move || {
                let owner = register(&registry, 1).unwrap();
                owner.update(2);
                drop(owner);
            }
        });
        let (mut read, mut lost) = (Vec::new(), 0);
        while read.last() != Some(&Event::Unregistered { key: "key", value: 2 }) {
            match block_on(events.recv()) {
                Ok(event) => read.push(event),
                Err(RecvError::Lagged(more)) => lost += more,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(read.len() as u64 + lost, 3, "{read:?} and {lost} lost");
        owner.join().unwrap();
    });
}

/// To subscribe and then to list finds every change: in the list, or as an event.
#[test]
fn nothing_falls_between_subscribe_and_list() {
    all(|| {
        let registry = Registry::new();
        let owner = thread::spawn({
            let registry = registry.clone();
            move || register(&registry, 1).unwrap()
        });
        let mut events = registry.subscribe();
        let listed = registry.lookup("key");
        let _owner = owner.join().unwrap();
        let (read, _) = drain(&mut events);
        assert!(listed == Some(1) || read == [Event::Registered { key: "key", value: 1 }]);
    });
}

/// When an event can be received, its change is visible, to those who take no lock as well.
#[test]
fn an_event_comes_after_its_change_is_visible() {
    all(|| {
        let registry = Registry::new();
        let mut events = registry.subscribe();
        let owner = thread::spawn({
            let registry = registry.clone();
            move || register(&registry, 1).unwrap()
        });
        assert_eq!(block_on(events.recv()), Ok(Event::Registered { key: "key", value: 1 }));
        assert_eq!(registry.count(), 1);
        assert_eq!(registry.lookup("key"), Some(1));
        drop(owner.join().unwrap());
    });
}

/// Whoever has seen an entry finds it counted, and whoever has seen it gone does not.
#[test]
fn the_count_agrees_with_what_was_seen() {
    all(|| {
        let registry = Registry::new();
        let owner = thread::spawn({
            let registry = registry.clone();
            move || register(&registry, 1).unwrap()
        });
        if registry.contains("key") {
            assert_eq!(registry.count(), 1);
        }
        let owner = owner.join().unwrap();
        let dropper = thread::spawn(move || drop(owner));
        if !registry.contains("key") {
            assert_eq!(registry.count(), 0);
        }
        dropper.join().unwrap();
    });
}

/// One subscriber leaves while events are published: the other one misses none.
#[test]
fn a_subscriber_that_leaves_takes_nothing_from_the_others() {
    all(|| {
        let registry = Registry::new();
        let leaves = registry.subscribe();
        let mut stays = registry.subscribe();
        let owner = thread::spawn({
            let registry = registry.clone();
            move || drop(register(&registry, 1))
        });
        drop(leaves);
        owner.join().unwrap();
        assert_eq!(drain(&mut stays).0.len(), 2);
    });
}

/// One leaves as another comes: the one who came gets what follows, and so does one who was there all the time.
#[test]
fn one_subscriber_leaves_as_another_comes() {
    all(|| {
        let registry = Registry::new();
        let mut stays = registry.subscribe();
        let leaves = registry.subscribe();
        let leaver = thread::spawn(move || drop(leaves));
        let mut comes = registry.subscribe();
        leaver.join().unwrap();
        drop(register(&registry, 1));
        assert_eq!(drain(&mut comes).0.len(), 2);
        assert_eq!(drain(&mut stays).0.len(), 2);
    });
}

/// Members join and leave while a message is dispatched: each member is called once at most, in the order of joining, and never after
/// its leaving was done.
#[test]
fn join_leave_and_dispatch() {
    all(|| {
        let groups = Groups::new();
        let _stays = groups.join("key", 0);
        let leaves = groups.join("key", 1);
        let leaver = thread::spawn(move || drop(leaves));
        let joiner = thread::spawn({
            let groups = groups.clone();
            move || groups.join("key", 2)
        });
        let mut called = Vec::new();
        let told = groups.dispatch("key", |member| called.push(*member));
        assert_eq!(told, called.len());
        assert!([&[0][..], &[0, 1], &[0, 2], &[0, 1, 2]].contains(&called.as_slice()), "{called:?}");
        leaver.join().unwrap();
        let joined = joiner.join().unwrap();
        assert_eq!(groups.members("key"), [0, 2]);
        assert_eq!(groups.count(), 2);
        drop(joined);
        assert_eq!(groups.members("key"), [0]);
    });
}

/// The last member leaves as another joins: the group is not lost with the one, nor the other with the group.
#[test]
fn the_last_leaves_as_another_joins() {
    all(|| {
        let groups = Groups::new();
        let last = groups.join("key", 1);
        let joiner = thread::spawn({
            let groups = groups.clone();
            move || {
                let member = groups.join("key", 2);
                assert!(groups.members("key").contains(&2), "it is there while its guard lives");
                member
            }
        });
        drop(last);
        let member = joiner.join().unwrap();
        assert_eq!(groups.members("key"), [2]);
        assert_eq!(member.update(3), 2);
        assert_eq!(groups.members("key"), [3]);
        assert_eq!(groups.count(), 1);
    });
}
