//! Unique keys: what registering, looking up, listing and updating answer.

use std::{
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use ipa_registry::{Registration, Registry, Subscription, TryRecvError};
use tokio::sync::Barrier;

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// RG-04 register is visible at once to every reader, through every handle and from every thread.
#[test]
fn register_is_visible_at_once() {
    let registry = Registry::new();
    let other_handle = registry.clone();
    let owner = registry.register("a".to_owned(), 1).unwrap();

    assert_eq!(owner.key(), "a");
    assert_eq!(owner.value(), 1);
    assert_eq!(other_handle.lookup("a"), Some(1));
    assert!(other_handle.contains("a"));
    assert_eq!(thread::spawn(move || other_handle.list()).join().unwrap(), [("a".to_owned(), 1)]);
}

/// RG-05 register of a key that stands is refused, with everything that its caller needs to go on.
#[test]
fn a_taken_key_is_refused() {
    let registry = Registry::new();
    let owner = registry.register("a".to_owned(), Arc::new(1)).unwrap();
    let mut events = registry.subscribe();

    let offered = Arc::new(2);
    let refused = registry.register("a".to_owned(), Arc::clone(&offered)).unwrap_err();
    assert_eq!(refused.key, "a");
    assert!(Arc::ptr_eq(&refused.refused, &offered), "the refused value itself comes back");
    assert!(Arc::ptr_eq(&refused.standing, &owner.value()));
    assert_eq!(refused.to_string(), r#"the key "a" is already registered"#);

    assert_eq!(registry.list(), [("a".to_owned(), Arc::new(1))]);
    assert_eq!(registry.count(), 1);
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));

    // A refusal leaves nothing behind that would keep the key.
    drop(owner);
    assert!(registry.is_empty());
    let _next = registry.register("a".to_owned(), offered).unwrap();
}

/// RG-05 whoever asks, another thread as well as the owner's.
#[test]
fn a_taken_key_is_refused_to_every_thread() {
    let registry = Registry::new();
    let _owner = registry.register("a", 1).unwrap();
    let theirs = registry.clone();
    let refused = thread::spawn(move || theirs.register("a", 2).unwrap_err()).join().unwrap();
    assert_eq!((refused.standing, refused.refused), (1, 2));
    assert_eq!(registry.register("a", 3).unwrap_err().standing, 1);
}

/// RG-12 100 tasks register one key at once: exactly one has it, and 99 are told who.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_gets_the_key() {
    for _ in 0..20 {
        let registry = Registry::new();
        let barrier = Arc::new(Barrier::new(100));
        let tasks: Vec<_> = (0..100)
            .map(|task| {
                let (registry, barrier) = (registry.clone(), Arc::clone(&barrier));
                tokio::spawn(async move {
                    barrier.wait().await;
                    registry.register("a", task)
                })
            })
            .collect();

        let (mut owners, mut refusals) = (Vec::new(), Vec::new());
        for task in tasks {
            match task.await.unwrap() {
                Ok(owner) => owners.push(owner),
                Err(refused) => refusals.push(refused),
            }
        }
        assert_eq!((owners.len(), refusals.len()), (1, 99));
        let winner = owners[0].value();
        assert!(refusals.iter().all(|refused| refused.standing == winner && refused.refused != winner));
        assert_eq!(registry.count(), 1);
        assert_eq!(registry.lookup("a"), Some(winner));
    }
}

/// RG-13 keys are compared by Eq, nothing is coerced.
#[test]
fn keys_are_compared_by_eq() {
    #[derive(Clone, PartialEq, Eq, Hash, Debug)]
    enum Key {
        Number(i64),
        Text(&'static str),
    }
    let registry = Registry::new();
    let keys = [Key::Number(1), Key::Text("1"), Key::Text("1 "), Key::Text("01"), Key::Text("")];
    let owners: Vec<_> = keys.iter().map(|key| registry.register(key.clone(), ()).unwrap()).collect();
    assert_eq!(registry.count(), 5);
    assert!(!registry.contains(&Key::Number(0)));
    assert!(!registry.contains(&Key::Text(" 1")));
    drop(owners);

    // And by nothing else: these two are equal, though they look different.
    #[derive(Clone, Debug)]
    struct AnyCase(&'static str);
    impl PartialEq for AnyCase {
        fn eq(&self, other: &Self) -> bool {
            self.0.eq_ignore_ascii_case(other.0)
        }
    }
    impl Eq for AnyCase {}
    impl Hash for AnyCase {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.to_ascii_lowercase().hash(state);
        }
    }
    let registry = Registry::new();
    let _owner = registry.register(AnyCase("Key"), 1).unwrap();
    assert_eq!(registry.lookup(&AnyCase("kEY")), Some(1));
    assert_eq!(registry.register(AnyCase("KEY"), 2).unwrap_err().standing, 1);
}

/// RG-13 keys whose hashes are all the same are still told apart.
#[test]
fn keys_with_one_hash_are_told_apart() {
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Colliding(u32);
    impl Hash for Colliding {
        fn hash<H: Hasher>(&self, state: &mut H) {
            0.hash(state);
        }
    }
    let registry = Registry::new();
    let mut owners: Vec<_> = (0..50).map(|n| registry.register(Colliding(n), n).unwrap()).collect();
    drop(owners.swap_remove(20));
    for n in 0..50 {
        assert_eq!(registry.lookup(&Colliding(n)), (n != 20).then_some(n));
    }
    assert_eq!(registry.count(), 49);
}

/// RG-15 lookup: nothing, or the value.
#[test]
fn lookup_gives_the_value_or_nothing() {
    let registry: Registry<String, Arc<str>> = Registry::new();
    assert_eq!(registry.lookup("a"), None);
    let owner = registry.register("a".to_owned(), "value".into()).unwrap();
    assert_eq!(registry.lookup("a").as_deref(), Some("value"));
    assert_eq!(registry.lookup(&"a".to_owned()).as_deref(), Some("value"), "by the key's own type too");
    assert_eq!(registry.lookup("b"), None);
    drop(owner);
    assert_eq!(registry.lookup("a"), None);
    assert!(!registry.contains("a"));
}

/// RG-16 a reader never sees the entry of an owner that has ended.
#[test]
fn no_reader_sees_an_ended_owner() {
    const OWNERS: u64 = 20_000;
    let registry = Registry::new();
    let ended = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for owner in 1..=OWNERS {
                drop(registry.register("a", owner).unwrap());
                ended.store(owner, Ordering::Release);
            }
        });
        loop {
            let known_to_have_ended = ended.load(Ordering::Acquire);
            if let Some(owner) = registry.lookup("a") {
                assert!(
                    owner > known_to_have_ended,
                    "{owner} was seen after {known_to_have_ended} had ended"
                );
            }
            if let [(_, owner)] = registry.list()[..] {
                assert!(
                    owner > known_to_have_ended,
                    "{owner} was listed after {known_to_have_ended} had ended"
                );
            }
            if known_to_have_ended == OWNERS {
                break;
            }
        }
    });
    assert!(registry.is_empty());
}

/// RG-19 count is the number of entries, and 0 when empty.
#[test]
fn count_is_the_number_of_entries() {
    let registry = Registry::default();
    assert_eq!(registry.count(), 0);
    assert!(registry.is_empty());
    let mut owners = Vec::new();
    for n in 0..1000 {
        owners.push(registry.register(n, ()).unwrap());
        assert_eq!(registry.count(), owners.len());
    }
    assert!(registry.register(3, ()).is_err());
    owners[5].update(());
    assert_eq!(registry.count(), 1000);
    assert_eq!(registry.keys().len(), 1000);
    while let Some(owner) = owners.pop() {
        drop(owner);
        assert_eq!(registry.count(), owners.len());
    }
    assert!(registry.is_empty());
    assert_eq!(registry.list(), []);
}

/// RG-20 select asks the predicate about every entry, once, and gives those that it accepts.
#[test]
fn select_asks_about_every_entry_once() {
    let registry = Registry::new();
    let owners: Vec<_> = (0..500).map(|n| registry.register(n, n * 2).unwrap()).collect();
    let mut asked = Vec::new();
    let selected = registry.select(|key, value| {
        asked.push((*key, *value));
        key % 100 == 0
    });
    assert_eq!(sorted(asked), (0..500).map(|n| (n, n * 2)).collect::<Vec<_>>());
    assert_eq!(sorted(selected), [(0, 0), (100, 200), (200, 400), (300, 600), (400, 800)]);
    assert_eq!(registry.select(|_, _| false), []);
    assert_eq!(sorted(registry.list()), sorted(registry.select(|_, _| true)));
    assert_eq!(sorted(registry.keys()), (0..500).collect::<Vec<_>>());
    drop(owners);
    assert_eq!(registry.select(|_, _| unreachable!("there is no entry")), []);
}

/// RG-22 update is visible at once, and hands back what stood.
#[test]
fn update_is_visible_at_once() {
    let registry = Registry::new();
    let owner = registry.register("a", Arc::new(1)).unwrap();
    let first = registry.lookup("a").unwrap();
    assert!(Arc::ptr_eq(&owner.update(Arc::new(2)), &first));
    assert_eq!(registry.lookup("a").as_deref(), Some(&2));
    assert_eq!(*owner.value(), 2);
    assert_eq!(*registry.register("a", Arc::new(9)).unwrap_err().standing, 2);
    assert_eq!(*owner.update(Arc::new(3)), 2);
    assert_eq!(registry.list(), [("a", Arc::new(3))]);
    assert_eq!(registry.count(), 1);
}

/// RG-23 a value that a reader holds is a clone: what the reader does with it changes no entry.
#[test]
fn readers_get_clones() {
    let registry = Registry::new();
    let owner = registry.register("a", vec![1]).unwrap();
    registry.lookup("a").unwrap().push(2);
    registry.list()[0].1.push(2);
    registry.register("a", Vec::new()).unwrap_err().standing.clear();
    owner.value().clear();
    assert_eq!(registry.lookup("a"), Some(vec![1]));
}

/// RG-26 dropping a registration removes exactly its entry, in whatever order the owners of a key come and go.
#[test]
fn a_drop_removes_its_own_entry_alone() {
    let registry = Registry::new();
    let first = registry.register("a", 1).unwrap();
    let neighbour = registry.register("b", 1).unwrap();
    drop(first);
    let second = registry.register("a", 2).unwrap();
    drop(registry.register("a", 3));
    assert_eq!(registry.lookup("a"), Some(2), "a refused registration owns nothing");
    drop(neighbour);
    assert_eq!(registry.list(), [("a", 2)]);
    assert_eq!(second.value(), 2);
}

/// A registration keeps its entry without any handle, and a leaked one keeps it for good.
#[test]
fn an_entry_lives_as_long_as_its_registration() {
    let registry = Registry::new();
    let owner = registry.register("a", 1).unwrap();
    let mut events = registry.subscribe();
    drop(registry);
    assert_eq!(owner.update(2), 1);
    assert_eq!(owner.value(), 2);
    drop(owner);
    assert!(events.try_recv().is_ok() && events.try_recv().is_ok());
    assert_eq!(events.try_recv(), Err(TryRecvError::Closed));

    let registry = Registry::new();
    std::mem::forget(registry.register("a", 1).unwrap());
    assert_eq!(registry.lookup("a"), Some(1));
    assert_eq!(registry.count(), 1);
}

/// Two registries know nothing of each other.
#[test]
fn registries_are_apart() {
    let (one, two) = (Registry::new(), Registry::new());
    let _one = one.register("a", 1).unwrap();
    let mut events = one.subscribe();
    let _two = two.register("a", 2).unwrap();
    assert_eq!((one.lookup("a"), two.lookup("a")), (Some(1), Some(2)));
    assert_eq!((one.count(), two.count()), (1, 1));
    assert_eq!(events.try_recv(), Err(TryRecvError::Empty));
}

/// A clone that panics leaves the registry as it was: nothing is registered, nothing is locked.
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
    let registry = Registry::new();
    let mut events = registry.subscribe();
    let register = || registry.register("a", Value(false)).is_ok();
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(register)).is_err());
    assert_eq!(registry.count(), 0);
    assert!(!registry.contains("a"));

    let owner = registry.register("a", Value(true)).unwrap();
    let update = || owner.update(Value(false));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(update)).is_err());
    assert_eq!(owner.value(), Value(true));
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
    let registry: Registry<&str, Arc<Opaque>> = Registry::new();
    let owner: Registration<_, _> = registry.register("a", Arc::new(Opaque)).unwrap();
    let events: Subscription<_, _> = registry.subscribe();
    assert_eq!(shared(&registry), "Registry { count: 1, .. }");
    assert_eq!(shared(&owner), r#"Registration { key: "a", .. }"#);
    assert_eq!(shared(&events), "Subscription { capacity: 1024, .. }");
    let refused = registry.register("a", Arc::new(Opaque)).unwrap_err();
    assert_eq!(shared(&refused), r#"AlreadyRegistered { key: "a", .. }"#);
}
