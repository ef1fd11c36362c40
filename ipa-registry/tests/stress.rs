//! Many threads on few keys and in few groups, with checks that hold at every moment.

use std::{
    collections::{HashMap, HashSet},
    future::pending,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use ipa_registry::{Event, Groups, Membership, Registration, Registry, Subscription, TryRecvError};
use tokio::task::JoinSet;

const THREADS: usize = 4;
const KEYS: usize = 6;
const ROUNDS: usize = 4_000;

/// A value says who put it there, and when in that thread's life.
type Value = (usize, usize);

/// Xorshift, so that a thread's choices are its own and the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Registers, updates and drops, one entry at a time.
fn owner(thread: usize, registry: &Registry<usize, Value>, owners: &[AtomicUsize; KEYS]) -> usize {
    let mut random = Random(0x9e37_79b9 + thread as u64);
    let mut had = 0;
    for round in 0..ROUNDS {
        let key = random.below(KEYS);
        let registration: Registration<_, _> = match registry.register(key, (thread, round)) {
            Ok(registration) => registration,
            Err(refused) => {
                assert_ne!(refused.standing.0, thread, "this thread owns nothing now");
                assert_eq!(refused.refused, (thread, round));
                continue;
            }
        };
        had += 1;
        let other = owners[key].swap(thread + 1, Ordering::SeqCst);
        assert_eq!(other, 0, "one owner at a time");
        assert_eq!(registry.lookup(&key), Some((thread, round)));
        assert!(registry.list().contains(&(key, (thread, round))));
        if random.below(2) == 0 {
            assert_eq!(registration.update((thread, round + ROUNDS)), (thread, round));
            assert_eq!(registry.lookup(&key), Some((thread, round + ROUNDS)));
        }
        let count = registry.count();
        assert!((1..=THREADS).contains(&count), "{count} entries of {THREADS} threads with one each");
        assert_eq!(owners[key].swap(0, Ordering::SeqCst), thread + 1, "still the owner");
        drop(registration);
        assert!(registry.lookup(&key).is_none_or(|(owner, _)| owner != thread));
    }
    had
}

/// Applies an event that must fit what is known.
fn apply(known: &mut HashMap<usize, Value>, event: Event<usize, Value>) {
    match event {
        Event::Registered { key, value } => assert_eq!(known.insert(key, value), None, "{key} was free"),
        Event::Updated { key, value } => {
            let replaced = known.insert(key, value).expect("what is updated stands");
            assert_eq!(replaced.0, value.0, "by its owner");
        }
        Event::Unregistered { key, value } => {
            assert_eq!(known.remove(&key), Some(value), "it stood, with this value")
        }
        _ => unreachable!("there are three kinds"),
    }
}

/// Follows by events alone; they must fit each other, per key, without a gap.
fn strict_follower(mut events: Subscription<usize, Value>, done: &AtomicBool) -> usize {
    let mut known = HashMap::new();
    let mut registered = 0;
    loop {
        // Read before the queue is, so that an empty queue afterwards is the last.
        let all_done = done.load(Ordering::SeqCst);
        match events.try_recv() {
            Ok(event) => {
                registered += usize::from(matches!(event, Event::Registered { .. }));
                apply(&mut known, event);
            }
            Err(TryRecvError::Empty) if all_done => break,
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(known, HashMap::new());
    registered
}

/// Loses events and lists again; at the end it must know what stands.
fn lagging_follower(registry: &Registry<usize, Value>, done: &AtomicBool) {
    let mut events = registry.subscribe_with_capacity(3);
    let mut known: HashMap<_, _> = registry.list().into_iter().collect();
    loop {
        let all_done = done.load(Ordering::SeqCst);
        match events.try_recv() {
            Ok(Event::Registered { key, value } | Event::Updated { key, value }) => {
                known.insert(key, value);
            }
            Ok(Event::Unregistered { key, .. }) => {
                known.remove(&key);
            }
            Ok(_) => unreachable!("there are three kinds"),
            Err(TryRecvError::Lagged(_)) => known = registry.list().into_iter().collect(),
            Err(TryRecvError::Empty) if all_done => break,
            Err(TryRecvError::Empty) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(known, HashMap::new());
}

/// RG-12 RG-16 RG-19 RG-26 RG-47 under contention: one owner a key, an exact count, events that fit.
#[test]
fn many_threads_on_few_keys() {
    let registry = Registry::new();
    let owners = [const { AtomicUsize::new(0) }; KEYS];
    let done = AtomicBool::new(false);
    let events = registry.subscribe_with_capacity(3 * THREADS * ROUNDS);
    thread::scope(|scope| {
        let (registry, owners, done) = (&registry, &owners, &done);
        let strict = scope.spawn(move || strict_follower(events, done));
        let lagging = scope.spawn(move || lagging_follower(registry, done));
        let threads: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || owner(thread, registry, owners))).collect();
        let results: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        // Before the followers are joined, and whatever came of the owners: they end only when this is set.
        done.store(true, Ordering::SeqCst);
        let had: usize = results.into_iter().map(|result| result.expect("an owner's check failed")).sum();
        assert_eq!(strict.join().expect("a check of the events failed"), had);
        lagging.join().expect("the lagging follower's state was wrong");
    });
    assert!(registry.is_empty());
    assert_eq!(registry.list(), []);
}

/// RG-47 whoever subscribes and then lists misses nothing, however many changes run meanwhile.
#[test]
fn subscribe_then_list_has_no_gap() {
    let registry = Registry::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let churn = scope.spawn(|| {
            let mut random = Random(7);
            let mut owners: [Option<Registration<usize, usize>>; KEYS] = Default::default();
            let mut value = 0;
            while !done.load(Ordering::SeqCst) {
                value += 1;
                let key = random.below(KEYS);
                match owners[key].take() {
                    Some(owner) if random.below(2) == 0 => {
                        owner.update(value);
                        owners[key] = Some(owner);
                    }
                    Some(owner) => drop(owner),
                    None => owners[key] = Some(registry.register(key, value).expect("nobody else registers")),
                }
            }
            owners
        });
        let followers: Vec<_> = (0..300)
            .map(|_| {
                let events = registry.subscribe_with_capacity(1 << 20);
                (events, registry.list().into_iter().collect::<HashMap<_, _>>())
            })
            .collect();
        done.store(true, Ordering::SeqCst);
        let owners = churn.join().unwrap();
        let standing: HashMap<_, _> = registry.list().into_iter().collect();
        assert_eq!(standing.len(), owners.iter().flatten().count());
        for (mut events, mut known) in followers {
            loop {
                match events.try_recv() {
                    Ok(Event::Registered { key, value } | Event::Updated { key, value }) => {
                        known.insert(key, value);
                    }
                    Ok(Event::Unregistered { key, .. }) => {
                        known.remove(&key);
                    }
                    Ok(_) => unreachable!("there are three kinds"),
                    Err(TryRecvError::Empty) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            assert_eq!(known, standing);
        }
    });
}

/// RG-22 RG-47 updates from several threads at once: each hands back what the one before it put there, and the events
/// come in that order.
#[test]
fn updates_and_their_events_have_one_order() {
    const UPDATES: usize = 10_000;
    let registry = Registry::new();
    let owner = registry.register("a", (THREADS, 0)).unwrap();
    let mut events = registry.subscribe_with_capacity(THREADS * UPDATES);
    let replaced_by: HashMap<Value, Value> = thread::scope(|scope| {
        let update = |thread| {
            let owner = &owner;
            move || (0..UPDATES).map(|n| (owner.update((thread, n)), (thread, n))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(update(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(replaced_by.len(), THREADS * UPDATES, "each value was handed back once");
    let mut last = (THREADS, 0);
    while let Ok(event) = events.try_recv() {
        assert_eq!(replaced_by.get(&last), Some(event.value()));
        last = *event.value();
    }
    assert_eq!(owner.value(), last);
}

/// RG-15 RG-19 RG-26 RG-37 RG-47 many threads join, update and leave the same groups: each finds itself where it must,
/// and nowhere else, and the events fit each other.
#[test]
fn many_threads_in_few_groups() {
    const GROUPS: usize = 2;
    let groups = Groups::new();
    let mut events = groups.subscribe_with_capacity(3 * THREADS * ROUNDS);
    let mine = |thread, members: Vec<Value>| -> Vec<usize> {
        members.into_iter().filter(|(owner, _)| *owner == thread).map(|(_, round)| round).collect()
    };
    let member = |thread: usize| {
        let mut random = Random(0x9e37_79b9 + thread as u64);
        // What this thread is in each group with, in order of joining.
        let mut memberships: [Vec<Membership<usize, Value>>; GROUPS] = Default::default();
        for round in 0..ROUNDS {
            let key = random.below(GROUPS);
            match (random.below(3), memberships[key].len()) {
                (0, _) | (_, 0) => memberships[key].push(groups.join(key, (thread, round))),
                (1, length) => drop(memberships[key].remove(random.below(length))),
                (_, length) => {
                    memberships[key][random.below(length)].update((thread, round));
                }
            }
            let expected: Vec<_> = memberships[key].iter().map(|membership| membership.value().1).collect();
            assert_eq!(mine(thread, groups.members(&key)), expected);
            let mut called = Vec::new();
            groups.dispatch(&key, |value| called.push(*value));
            assert_eq!(mine(thread, called), expected);
            assert!(groups.count() >= memberships.iter().map(Vec::len).sum());
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || member(thread))).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("a member's check failed"));
    });
    assert!(groups.is_empty());
    assert_eq!((groups.keys(), groups.list()), (vec![], vec![]));

    // By owner, not by value: an update does not say what it replaced.
    let mut present = HashMap::new();
    loop {
        match events.try_recv() {
            Ok(Event::Registered { key, value }) => *present.entry((key, value.0)).or_insert(0) += 1,
            Ok(Event::Updated { key, value }) => assert!(present[&(key, value.0)] > 0, "who updates is in"),
            Ok(Event::Unregistered { key, value }) => {
                let left = present.get_mut(&(key, value.0)).expect("who leaves has joined");
                assert!(*left > 0, "nobody leaves twice");
                *left -= 1;
            }
            Ok(_) => unreachable!("there are three kinds"),
            Err(TryRecvError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(present.values().all(|left| *left == 0), "{present:?}");
}

/// RG-37 dispatch while others come and go, before, between and after those that stay: whoever is in throughout gets it
/// exactly once, in order; everybody else once at most, and never after the drop of its membership.
#[test]
fn dispatch_during_churn() {
    const STAYING: usize = 20;
    let groups = Groups::new();
    let churning = |thread: usize| groups.join("a", (thread + 1, 0));
    let early: Vec<_> = (0..2).map(churning).collect();
    let mut between = Vec::new();
    let staying: Vec<_> = (0..STAYING)
        .map(|n| {
            between.push(churning(2));
            groups.join("a", (0, n))
        })
        .collect();
    // Of each churning thread, the round whose member is known to have left.
    let left = [const { AtomicUsize::new(0) }; 2];
    thread::scope(|scope| {
        let (groups, left) = (&groups, &left);
        scope.spawn(move || drop((early, between)));
        let churn = [0, 1].map(|thread| {
            scope.spawn(move || {
                for round in 1..=5 * ROUNDS {
                    drop(groups.join("a", (10 + thread, round)));
                    left[thread].store(round, Ordering::SeqCst);
                }
            })
        });
        while !churn.iter().all(|thread| thread.is_finished()) {
            let known_to_have_left = left.each_ref().map(|round| round.load(Ordering::SeqCst));
            let mut stayed = Vec::new();
            let mut others = HashSet::new();
            let told = groups.dispatch("a", |(owner, n)| match owner {
                0 => stayed.push(*n),
                1..10 => (),
                churner => {
                    assert!(*n > known_to_have_left[churner - 10], "{n} had left before");
                    assert!(others.insert((*churner, *n)), "called for once");
                }
            });
            assert_eq!(stayed, (0..STAYING).collect::<Vec<_>>());
            assert!(told >= STAYING + others.len());
        }
    });
    assert_eq!(groups.count_members("a"), staying.len());
}

/// RG-30 100 tasks are in one group, and all are aborted at once, half of them before their first poll.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_group_of_aborted_tasks_is_empty() {
    for _ in 0..20 {
        let groups = Groups::new();
        let mut tasks = JoinSet::new();
        for n in 0..100 {
            let member = groups.join("a", n);
            tasks.spawn(async move {
                let _member = member;
                pending::<()>().await
            });
            if n == 50 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(groups.members("a"), (0..100).collect::<Vec<_>>());
        tasks.abort_all();
        let mut left = 100;
        while let Some(ended) = tasks.join_next().await {
            assert!(ended.unwrap_err().is_cancelled());
            left -= 1;
            assert!(groups.count_members("a") <= left, "who was joined has left the group");
        }
        assert!(groups.is_empty());
    }
}
