//! A concurrent registry: unique keys, groups, typed values, entries that go when their owner goes.
//!
//! A [`Registry`] answers "who is *this*, right now?" for things that live for a while and then end: the pod of a task,
//! the child of a pod, the connection of a device. Whoever owns such a thing registers it under a key and keeps the
//! [`Registration`] it gets; everybody else looks the key up. [`Groups`] are the same for keys that many share: who
//! listens to *this*, right now?
//!
//! ```
//! use ipa_registry::Registry;
//!
//! let rooms: Registry<String, u16> = Registry::new();
//!
//! // The owner keeps the guard; the key is taken as long as the guard lives.
//! let lobby = rooms.register("lobby".to_owned(), 4001)?;
//! assert_eq!(rooms.lookup("lobby"), Some(4001));
//!
//! // There is one owner. A second one is refused and told what stands there.
//! let refused = rooms.register("lobby".to_owned(), 4002).unwrap_err();
//! assert_eq!(refused.standing, 4001);
//!
//! // No one but the owner changes an entry, or ends it.
//! assert_eq!(lobby.update(4003), 4001);
//! drop(lobby);
//! assert_eq!(rooms.lookup("lobby"), None);
//! # Ok::<(), ipa_registry::AlreadyRegistered<String, u16>>(())
//! ```
//!
//! # Entries are guards
//!
//! An entry is there exactly as long as its [`Registration`]. Move the registration into whatever the key names: into
//! the task's future, the struct, the thread. When that ends, in whatever way (it returned, it failed, it panicked, it
//! was aborted, even before its first poll, its runtime was shut down), Rust drops the registration and the entry is
//! gone *before* the end can be observed: before a `join` returns, before a supervisor restarts it. There is no monitor
//! and no cleaner, so there is no moment at which a lookup finds the dead, and no key that is still taken when its next
//! owner starts.
//!
//! Two things follow. A registration that is leaked ([`std::mem::forget`], a cycle of `Arc`s, a value that owns its own
//! registration) keeps its entry for as long as the registry exists, and keeps the registry. And `let _ = ...` drops the
//! guard on the spot; write `let _owner = ...`.
//!
//! # What runs under a lock
//!
//! No foreign code does, so everything may call back into the same registry, on the same key too: the predicate of
//! [`select`](Registry::select), the `Drop` of a value that was replaced or removed or of an event that was never read,
//! the wakers of subscribers, the callback of [`dispatch`](Groups::dispatch). Excepted are the `Eq` and `Clone` of keys
//! and values, which run under the lock of a shard: they must be plain, and must not use the registry (a key's `Hash` runs
//! before the lock is taken). Make values cheap to clone: an `Arc`, an address, a number.
//!
//! Every method is short and synchronous; none but [`Subscription::recv`] waits for anything but another thread's short
//! critical section. All of them may be called within and without a tokio runtime.
//!
//! # Events
//!
//! [`subscribe`](Registry::subscribe) gives a stream of what is registered, updated and unregistered, in order per key.
//! A subscriber never slows an owner down: its queue is bounded, and if it does not keep up it loses the oldest events,
//! is told how many ([`RecvError::Lagged`]) and can list the registry again. To follow a registry, subscribe first and
//! list then; nothing falls between. An event that is already in the list may come again, and the last event of a key is
//! always right:
//!
//! ```
//! use std::collections::HashMap;
//! use ipa_registry::{Event, Registry, TryRecvError};
//!
//! let registry = Registry::new();
//! let a = registry.register("a", 1)?;
//!
//! let mut events = registry.subscribe();
//! let mut known: HashMap<_, _> = registry.list().into_iter().collect();
//!
//! let b = registry.register("b", 2)?;
//! b.update(3);
//! drop(a);
//! loop {
//!     match events.try_recv() {
//!         Ok(Event::Registered { key, value } | Event::Updated { key, value }) => known.insert(key, value),
//!         Ok(Event::Unregistered { key, .. }) => known.remove(key),
//!         Ok(_) => None,
//!         Err(TryRecvError::Lagged(_)) => {
//!             known = registry.list().into_iter().collect();
//!             None
//!         }
//!         Err(_) => break,
//!     };
//! }
//! assert_eq!(known, HashMap::from([("b", 3)]));
//! # Ok::<(), ipa_registry::AlreadyRegistered<&str, i32>>(())
//! ```
//!
//! # Groups
//!
//! In [`Groups`] a key has members instead of one owner. [`join`](Groups::join) is never refused, and its guard is a
//! [`Membership`], of which all that is said above of a registration is true: the member is out before its end can be
//! seen. [`members`](Groups::members) reads a group in the order of joining, and [`dispatch`](Groups::dispatch) calls
//! for each member once:
//!
//! ```
//! use std::sync::mpsc;
//! use ipa_registry::Groups;
//!
//! let listeners = Groups::new();
//! let (inbox, received) = mpsc::channel();
//! let one = listeners.join("news", (1, inbox.clone()));
//! let two = listeners.join("news", (2, inbox.clone()));
//! let _three = listeners.join("weather", (3, inbox));
//!
//! let told = listeners.dispatch("news", |(id, inbox)| inbox.send(*id).unwrap());
//! assert_eq!(told, 2);
//! assert_eq!(received.try_iter().collect::<Vec<_>>(), [1, 2]);
//!
//! drop((one, two));
//! assert_eq!(listeners.count_members("news"), 0);
//! assert_eq!(listeners.keys(), ["weather"]);
//! ```
//!
//! Subscribers get an event for each member that joins, updates or leaves, in order per key. Members may have equal
//! values, and an [`Updated`](Event::Updated) has the new one only, so the events alone do not say which members a
//! group has. They say that it changed: read its members again for each, and the last reading of a key is always right.
//!
//! ```
//! use std::collections::HashMap;
//! use ipa_registry::{Groups, TryRecvError};
//!
//! let groups = Groups::new();
//! let mut events = groups.subscribe();
//! let mut known: HashMap<_, Vec<_>> = HashMap::new();
//!
//! let first = groups.join("a", 1);
//! let _second = groups.join("a", 1);
//! first.update(2);
//! loop {
//!     match events.try_recv() {
//!         Ok(event) => known.insert(*event.key(), groups.members(event.key())),
//!         Err(TryRecvError::Lagged(_)) => {
//!             known = groups.keys().into_iter().map(|key| (key, groups.members(key))).collect();
//!             None
//!         }
//!         Err(_) => break,
//!     };
//! }
//! assert_eq!(known, HashMap::from([("a", vec![2, 1])]));
//! ```
//!
//! # Parts
//!
//! Where keys come in families, and whoever looks for one knows the family's head, as a child of a pod is looked for by its pod, the entries of a
//! family need not be scattered over a table of all: [`Parts`] are a registry of which each family keeps a [`Part`] of its own, beside what it
//! has anyway. Count and events are of the whole; what stands under a key is asked of the part.
//!
//! # Compared with Elixir's `Registry`
//!
//! | | Elixir | here |
//! |---|---|---|
//! | an owner is | a process | whoever holds the [`Registration`]: a task, a thread, a struct |
//! | an entry ends | when the registry's partition has handled the owner's exit signal, some time after the exit; a lookup must check that the process is alive | in the owner's drop, before its end can be seen |
//! | `register/3` of a taken key | `{:error, {:already_registered, pid}}` | [`AlreadyRegistered`], with the standing value, and key and value handed back |
//! | `unregister/2`, `update_value/3` | for the calling process | on the guard, so for its holder alone, by type |
//! | keys | of any type, compared with `===` | `Eq`, of one type |
//! | `select/2` | a match specification | a closure |
//! | listeners | a named process each; messages pile up without bound | [`Subscription`]s; bounded, and a slow one is told what it lost |
//! | `count/1` | O(partitions) | O(1) |
//!
//! And [`Groups`] with a registry of `keys: :duplicate`:
//!
//! | | Elixir | here |
//! |---|---|---|
//! | the members of a key | in no particular order; those of several partitions are read one after the other | in the order of joining, as they were at one moment |
//! | a process that registers twice | has two entries, and `unregister/2` removes both | has two [`Membership`]s, and leaves with each |
//! | `update_value/3` | not for duplicate keys | [`Membership::update`]; the member keeps its place |
//! | `dispatch/3` | in the caller (or, if asked to, in a task for each partition), with a list of entries for each partition | in the caller, with one member after the other |
//! | nobody is there | the callback is not called | the callback is not called, and the answer is 0 |
//! | the callback fails | the caller has the exception, and the rest of the entries get nothing | the caller has the panic, and the rest of the members get nothing |
//! | to leave a group of n | a scan of all its entries, in Elixir up to 1.19 | O(log n) |
//!
//! # Compared with a `DashMap`
//!
//! Both are sharded maps and lookups cost about the same. A `DashMap` hands out references that hold a shard's lock, so
//! holding one while touching the map again can deadlock; here values are cloned out, and nothing the caller holds is a
//! lock. A `DashMap` lets everyone insert, overwrite and remove, so an owner that ends must remember to remove its entry,
//! and may remove its successor's; here only the guard can, and removes its own entry alone. And a `DashMap` has no events.
//!
//! # Cost
//!
//! A lookup hashes the key once, takes one of 64 read locks and clones the value: as fast as one `RwLock<HashMap>` when
//! one thread looks up, and some three times as fast when two do (`cargo bench -p ipa-registry` measures it against
//! that map). To register and to drop costs about as much as an insertion and a removal. A registry without subscribers pays one load per change for events. An empty registry
//! takes about 9 KB; like a `HashMap`, it keeps the room of its largest size.
//!
//! To join and to leave a group of n costs O(log n). To read it or dispatch over it costs a clone and a drop of each
//! member's value: with an `Arc` some eight times as much as a walk under the lock, which is the price of callbacks that
//! may do what they like. Each member keeps the key; where members are many and keys long, let the key be an `Arc<str>`.
//!
//! The hash function is `rustc-hash`: fast, and not hardened against keys that somebody chose so that they collide. If
//! strangers may choose keys, register under a number or a keyed digest of theirs.

mod buckets;
mod error;
mod groups;
mod guard;
mod hub;
mod membership;
mod part;
mod registration;
mod registry;
#[cfg(doctest)]
mod shape;
mod shard;
mod shards;
mod slot;
mod subscription;
mod sync;

pub use error::{AlreadyRegistered, RecvError, TryRecvError};
pub use groups::Groups;
pub use hub::Event;
pub use membership::Membership;
pub use part::{HasPart, Part, PartRegistration, Parts};
pub use registration::Registration;
pub use registry::Registry;
pub use subscription::{DEFAULT_SUBSCRIPTION_CAPACITY, Subscription};
