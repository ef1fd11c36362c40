//! No lock is held while foreign code runs. Each test lets some piece of foreign code use the registry on the very key
//! that is being worked on; a lock that is held then is a deadlock, which `in_time` turns into a failure.

use std::{
    fmt,
    future::Future,
    hash::{Hash, Hasher},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use ipa_registry::{Event, Groups, RecvError, Registry, TryRecvError};

/// Runs the test on a thread of its own, and fails if that does not end.
fn in_time(test: impl FnOnce() + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        test();
        // Nobody listens any more if the time was up.
        done.send(()).ok();
    });
    if is_done.recv_timeout(Duration::from_secs(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("a deadlock: foreign code ran under a lock");
    }
    thread.join().unwrap();
}

/// Uses the registry in every way, on the given key. Whether that key is free is the caller's affair.
fn use_all<V: Clone>(registry: &Registry<Key, V>, id: u32, value: V) {
    let key = Key::plain(id);
    registry.lookup(&key);
    registry.contains(&key);
    registry.count();
    registry.list();
    registry.select(|_, _| true);
    drop(registry.subscribe());
    if let Ok(owner) = registry.register(key, value.clone()) {
        owner.update(value);
    }
}

/// A key that runs a hook when the last of its clones is dropped.
#[derive(Clone)]
struct Key {
    id: u32,
    _hook: Option<Arc<Hook>>,
}

impl Key {
    fn plain(id: u32) -> Self {
        Self { id, _hook: None }
    }

    fn hooked(id: u32, hook: Value) -> Self {
        Self { id, _hook: hook }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

/// A value that runs a hook when the last of its clones is dropped, or does nothing.
type Value = Option<Arc<Hook>>;

struct Hook(Box<dyn Fn() + Send + Sync>);

impl Drop for Hook {
    fn drop(&mut self) {
        (self.0)();
    }
}

type Hooked = Registry<Key, Value>;

/// A hook that uses the registry on this key and counts its runs.
fn hook(registry: &Hooked, id: u32, runs: &Arc<AtomicUsize>) -> Value {
    let (registry, runs) = (registry.clone(), Arc::clone(runs));
    Some(Arc::new(Hook(Box::new(move || {
        use_all(&registry, id, None);
        runs.fetch_add(1, Ordering::SeqCst);
    }))))
}

/// RG-54 the predicate of select registers, unregisters, updates and looks up, on the key that it is asked about too.
#[test]
fn a_predicate_may_use_the_registry() {
    in_time(|| {
        let registry = Registry::new();
        let mut owners: Vec<_> =
            (0..100).map(|id| Some(registry.register(Key::plain(id), id).unwrap())).collect();
        let selected = registry.select(|key, value| {
            owners[key.id as usize].as_ref().unwrap().update(value + 1000);
            drop(owners[key.id as usize].take());
            use_all(&registry, key.id, 0);
            owners[key.id as usize] = Some(registry.register(key.clone(), value + 2000).unwrap());
            value % 2 == 0
        });
        assert_eq!(selected.len(), 50);
        assert!(
            selected.iter().all(|(key, value)| key.id == *value),
            "as they were when they were asked about"
        );
        assert_eq!(registry.count(), 100);
        assert!((0..100).all(|id| registry.lookup(&Key::plain(id)) == Some(id + 2000)));
    });
}

/// RG-54 a predicate that panics is its caller's, and leaves the registry usable.
#[test]
fn a_predicate_may_panic() {
    in_time(|| {
        let registry = Registry::new();
        let _owner = registry.register(Key::plain(1), 1).unwrap();
        let select = || registry.select(|_, _| panic!("as intended"));
        assert!(catch_unwind(AssertUnwindSafe(select)).is_err());
        use_all(&registry, 1, 2);
        assert_eq!(registry.lookup(&Key::plain(1)), Some(1));
    });
}

/// RG-54 the Drop of a removed value, and of a removed key, with a subscriber and without.
#[test]
fn the_drop_of_what_is_removed_may_use_the_registry() {
    in_time(|| {
        let registry = Hooked::new();
        let runs = Arc::new(AtomicUsize::new(0));
        for (subscribers, expected) in [(0, 2), (1, 4), (2, 6)] {
            let subscriptions: Vec<_> = (0..subscribers).map(|_| registry.subscribe()).collect();
            let key = Key::hooked(1, hook(&registry, 1, &runs));
            let owner = registry.register(key, hook(&registry, 1, &runs)).unwrap();
            drop(owner);
            drop(subscriptions);
            assert_eq!(runs.load(Ordering::SeqCst), expected);
            assert!(registry.is_empty());
        }
    });
}

/// RG-54 the Drop of a replaced value: it is the caller's, outside of everything.
#[test]
fn the_drop_of_a_replaced_value_may_use_the_registry() {
    in_time(|| {
        let registry = Hooked::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let owner = registry.register(Key::plain(1), hook(&registry, 1, &runs)).unwrap();
        drop(owner.update(hook(&registry, 1, &runs)));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        drop(owner);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    });
}

/// RG-54 the Drop of an event that a full queue pushed out: by a register, an update and an unregister on its own key.
#[test]
fn the_drop_of_a_lost_event_may_use_the_registry() {
    in_time(|| {
        let registry = Hooked::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let ran = || runs.load(Ordering::SeqCst);
        let mut events = registry.subscribe_with_capacity(1);

        // The queue holds the event with the first value, and is the last to hold that.
        let owner = registry.register(Key::plain(1), hook(&registry, 1, &runs)).unwrap();
        drop(owner.update(None));
        assert_eq!(ran(), 1, "pushed out by an update");

        drop(owner.update(hook(&registry, 1, &runs)));
        drop(owner.update(hook(&registry, 1, &runs)));
        assert_eq!(ran(), 2, "pushed out by an update");
        drop(owner);
        drop(registry.register(Key::plain(1), None).unwrap());
        assert_eq!(ran(), 3, "pushed out by a register");

        // The hooks registered too, so how much was lost is theirs to say; something was.
        assert!(matches!(events.try_recv(), Err(TryRecvError::Lagged(_))));
    });
}

/// RG-54 the Drop of the events that nobody read, when the subscription goes, and when the reader gets them.
#[test]
fn the_drop_of_unread_events_may_use_the_registry() {
    in_time(|| {
        let registry = Hooked::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let mut events = registry.subscribe();
        drop(registry.register(Key::plain(1), hook(&registry, 1, &runs)).unwrap());
        assert_eq!(runs.load(Ordering::SeqCst), 0, "its events have the value still");
        drop(events.try_recv());
        assert_eq!(runs.load(Ordering::SeqCst), 0);
        drop(events.try_recv());
        assert_eq!(runs.load(Ordering::SeqCst), 1);

        drop(registry.register(Key::plain(1), hook(&registry, 1, &runs)).unwrap());
        drop(events);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    });
}

struct Hooker(Box<dyn Fn() + Send + Sync>);

impl Wake for Hooker {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// RG-54 a waker runs after the change, without a lock: for a register, an update and an unregister.
#[test]
fn a_waker_may_use_the_registry() {
    in_time(|| {
        let registry = Registry::<Key, u32>::new();
        let seen = Arc::new(AtomicUsize::new(0));
        let waker = || {
            let (registry, seen) = (registry.clone(), Arc::clone(&seen));
            Waker::from(Arc::new(Hooker(Box::new(move || {
                let now = registry.lookup(&Key::plain(1)).unwrap_or_default();
                assert_eq!(registry.count(), usize::from(now > 0));
                seen.store(now as usize, Ordering::SeqCst);
                drop(registry.register(Key::plain(2), 0).unwrap());
                use_all(&registry, 1, 9);
            }))))
        };
        let woken_by = |change: &mut dyn FnMut()| {
            let mut events = registry.subscribe();
            let mut recv = pin!(events.recv());
            let waker = waker();
            let mut context = Context::from_waker(&waker);
            assert!(recv.as_mut().poll(&mut context).is_pending());
            seen.store(99, Ordering::SeqCst);
            change();
            assert!(matches!(recv.poll(&mut context), Poll::Ready(Ok(_))));
            seen.load(Ordering::SeqCst)
        };

        let mut owner = None;
        assert_eq!(woken_by(&mut || owner = registry.register(Key::plain(1), 1).ok()), 1);
        assert_eq!(woken_by(&mut || assert_eq!(owner.as_ref().map(|owner| owner.update(2)), Some(1))), 2);
        assert_eq!(woken_by(&mut || drop(owner.take())), 0);
    });
}

/// RG-54 a waker that panics panics in the register that woke it, and no entry without an owner is left behind.
#[test]
fn a_waker_may_panic() {
    in_time(|| {
        let registry = Registry::<Key, u32>::new();
        let mut events = registry.subscribe();
        let waker = Waker::from(Arc::new(Hooker(Box::new(|| panic!("as intended")))));
        {
            let mut recv = pin!(events.recv());
            assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            let register = || registry.register(Key::plain(1), 1).is_ok();
            assert!(catch_unwind(AssertUnwindSafe(register)).is_err());
        }
        assert!(registry.is_empty());
        assert!(matches!(events.try_recv(), Ok(Event::Registered { .. })));
        assert!(matches!(events.try_recv(), Ok(Event::Unregistered { .. })));
        use_all(&registry, 1, 1);
    });
}

/// RG-54 and it keeps no other subscriber from being woken: for an event, and at the end.
#[test]
fn a_waker_that_panics_is_not_the_others_loss() {
    in_time(|| {
        let (woken, registry) = (Arc::new(AtomicUsize::new(0)), Registry::<Key, u32>::new());
        let (mut first, mut second) = (registry.subscribe(), registry.subscribe());
        let panics = Waker::from(Arc::new(Hooker(Box::new(|| panic!("as intended")))));
        let counts = {
            let woken = woken.clone();
            Waker::from(Arc::new(Hooker(Box::new(move || {
                let _ = woken.fetch_add(1, Ordering::SeqCst);
            }))))
        };
        let owner = registry.register(Key::plain(1), 1).unwrap();
        while first.try_recv().is_ok() && second.try_recv().is_ok() {}
        let (mut one, mut other) = (pin!(first.recv()), pin!(second.recv()));
        assert!(one.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
        assert!(other.as_mut().poll(&mut Context::from_waker(&counts)).is_pending());
        assert!(catch_unwind(AssertUnwindSafe(|| owner.update(2))).is_err());
        assert_eq!(woken.load(Ordering::SeqCst), 1);
        assert!(other.as_mut().poll(&mut Context::from_waker(&counts)).is_ready());
        drop(owner);
    });
}

/// RG-54 the end of the registry wakes its subscribers, who then drop things of their own.
#[test]
fn the_end_of_the_registry_runs_wakers_without_a_lock() {
    in_time(|| {
        let registry = Registry::<Key, u32>::new();
        let other = Arc::new(std::sync::Mutex::new(Some(registry.subscribe())));
        let mut events = registry.subscribe();
        let mut recv = pin!(events.recv());
        let others = Arc::clone(&other);
        let waker = Waker::from(Arc::new(Hooker(Box::new(move || drop(others.lock().unwrap().take())))));
        let mut context = Context::from_waker(&waker);
        assert!(recv.as_mut().poll(&mut context).is_pending());
        drop(registry);
        assert!(other.lock().unwrap().is_none(), "the waker ran");
        assert!(matches!(recv.poll(&mut context), Poll::Ready(Err(RecvError::Closed))));
    });
}

/// RG-54 the callback of dispatch joins, leaves, updates, reads and dispatches, on the same key; it is called for those
/// who were members when the dispatch began.
#[test]
fn a_callback_may_use_the_groups() {
    in_time(|| {
        let groups = Groups::new();
        let mut members: Vec<_> = (0..4).map(|n| Some(groups.join("a", n))).collect();
        let mut joined = Vec::new();
        let mut called = Vec::new();
        let told = groups.dispatch("a", |value| {
            called.push(*value);
            // The first one takes the second out, and changes the third.
            if *value == 0 {
                drop(members[1].take());
                assert_eq!(members[2].as_ref().unwrap().update(20), 2);
            }
            joined.push(groups.join("a", 100 + value));
            drop(groups.join("a", 1000));
            drop(groups.subscribe());
            let mut inner = Vec::new();
            assert_eq!(groups.dispatch("a", |value| inner.push(*value)), 3 + joined.len());
            assert_eq!(inner, groups.members("a"));
            assert_eq!((groups.count(), groups.count_members("a")), (inner.len(), inner.len()));
            assert_eq!(groups.list().len(), inner.len());
            assert_eq!(groups.select(|_, _| groups.keys() == ["a"]).len(), inner.len());
        });
        assert_eq!((told, called), (4, vec![0, 1, 2, 3]), "as they were when the dispatch began");
        assert_eq!(groups.members("a"), [0, 20, 3, 100, 101, 102, 103]);
    });
}

/// RG-54 the Drop of a member's value and key, when it leaves a group and when it is the last to leave, with a subscriber
/// and without; and of the clones that a dispatch made.
#[test]
fn the_drop_of_a_member_may_use_the_groups() {
    in_time(|| {
        let groups = Groups::<Key, Value>::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let hook = || {
            let (groups, runs) = (groups.clone(), Arc::clone(&runs));
            Some(Arc::new(Hook(Box::new(move || {
                drop(groups.join(Key::plain(1), None));
                groups.dispatch(&Key::plain(1), |_| ());
                runs.fetch_add(1, Ordering::SeqCst);
            }))))
        };
        for (subscribers, expected) in [(0, 4), (1, 8)] {
            let subscriptions: Vec<_> = (0..subscribers).map(|_| groups.subscribe()).collect();
            let first = groups.join(Key::hooked(1, hook()), hook());
            let second = groups.join(Key::hooked(1, hook()), hook());
            drop(first);
            drop(second);
            drop(subscriptions);
            assert_eq!(runs.load(Ordering::SeqCst), expected);
            assert_eq!(groups.keys().len(), 0);
        }

        // Each member leaves while the dispatch has the last clones of its value.
        let mut members: Vec<_> = (0..3).map(|_| groups.join(Key::plain(1), hook())).collect();
        assert_eq!(groups.dispatch(&Key::plain(1), |_| drop(members.pop())), 3);
        assert_eq!(runs.load(Ordering::SeqCst), 8 + 3);
    });
}

/// RG-54 the Drop of the clones that were made before one panicked.
#[test]
fn the_drop_of_clones_before_a_panicking_one_may_use_the_groups() {
    struct Value(Groups<u32, Value>, u32, Arc<AtomicUsize>);
    impl Clone for Value {
        fn clone(&self) -> Self {
            assert_ne!(self.1, 3, "this one cannot be cloned");
            Self(self.0.clone(), self.1 + 10, Arc::clone(&self.2))
        }
    }
    impl Drop for Value {
        fn drop(&mut self) {
            if self.1 > 10 {
                drop(self.0.join(1, Self(self.0.clone(), 0, Arc::clone(&self.2))));
                self.2.fetch_add(1, Ordering::SeqCst);
            }
        }
    }
    in_time(|| {
        let groups = Groups::new();
        let runs = Arc::new(AtomicUsize::new(0));
        let _members = [1, 2, 3].map(|n| groups.join(1, Value(groups.clone(), n, Arc::clone(&runs))));
        let read: [&dyn Fn(); 4] = [
            &|| drop(groups.members(&1)),
            &|| drop(groups.list()),
            &|| drop(groups.select(|_, _| true)),
            &|| assert_eq!(groups.dispatch(&1, |_| unreachable!("not all could be cloned")), 0),
        ];
        for (n, read) in read.into_iter().enumerate() {
            assert!(catch_unwind(AssertUnwindSafe(read)).is_err());
            assert_eq!(runs.load(Ordering::SeqCst), 2 * (n + 1));
            assert_eq!(groups.count_members(&1), 3);
        }
    });
}
