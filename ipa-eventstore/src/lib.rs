//! Durable event streams for pods.
//!
//! Each long-lived task has a *stream*: the events that happened to it, numbered 1, 2, 3 ... A task's
//! state is what its events amount to, so a task that crashed, or whose machine did, goes on from its
//! stream. This crate gives the port, [`EventStore`], and two stores behind it:
//!
//! - [`SqliteEventStore`]: one file, embedded, durable. When an append is acknowledged it
//!   survives `kill -9`, and by default a power loss.
//! - [`InMemoryEventStore`]: the same semantics without durability, for tests, also under a paused
//!   clock.
//!
//! On top of it, for `ipa-pod`: both stores admit the pods of tasks whose stream exists
//! ([`StoreAdmission`] does so for any store), and [`StateManager`] is a child that keeps a
//! stream's state, by the rules of an [`Aggregate`].
//!
//! A store of your own can be held to the same contract: the feature `testkit` has the conformance
//! suite, as cases and as tests.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use ipa_eventstore::{EventStore, Expected, InMemoryEventStore, NewEvent, ReadStream, StreamId, StreamType};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Deposited { amount: u64 }
//!
//! let store = InMemoryEventStore::new();
//! let account = StreamId::new("account-1")?;
//! store.start_stream(&StreamType::new("account")?, Some(account.clone()), vec![]).await?;
//!
//! // Decided on version 0: whoever comes second gets a conflict, reads on and decides again.
//! let deposit = NewEvent::json("deposited", &Deposited { amount: 10 })?.actor("ann");
//! let stored = store.append(&account, Expected::Exact(0), vec![deposit.clone()]).await?;
//! assert_eq!(stored.version, 1);
//!
//! // The answer was lost on the way? The same event again is recognised by its id.
//! let again = store.append(&account, Expected::Exact(0), vec![deposit]).await?;
//! assert!(again.duplicate && again.version == 1);
//!
//! let mut balance = 0;
//! for event in store.read_stream(&account, ReadStream::new()).await? {
//!     balance += event.data::<Deposited>()?.amount;
//! }
//! assert_eq!(balance, 10);
//! # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
//! ```
//!
//! # Features
//!
//! `cli` builds `ipa-events`, the operator's tool for stores in SQLite files (`cargo install
//! ipa-eventstore --features cli`), and the module `transfer`, which is under its export and import.

mod admission;
mod error;
mod event;
mod id;
mod json;
mod memory;
mod position;
mod progress;
mod request;
mod rules;
mod snapshot;
mod sqlite;
mod state_manager;
mod stats;
mod store;
pub mod subscription;
#[cfg(feature = "testkit")]
pub mod testkit;
mod time;
#[cfg(feature = "cli")]
pub mod transfer;
mod wakeups;

/// For implementations of [`EventStore`].
pub use async_trait::async_trait;
/// The crates whose types are among those of this one.
pub use {ipa_pod, serde_json, uuid};

pub use admission::StoreAdmission;
pub use error::{Cause, StoreError};
pub use event::{NewEvent, RecordedEvent};
pub use id::{EventId, StreamId, StreamType};
pub use json::Json;
pub use memory::InMemoryEventStore;
pub use position::Position;
pub use progress::Progress;
pub use request::{Appended, Direction, Expected, ListStreams, ReadAll, ReadStream, StreamInfo};
pub use snapshot::Snapshot;
pub use sqlite::{
    Backup, CheckArea, CheckFinding, CheckReport, Durability, EventTypeCount, SqliteEventStore,
    SqliteOptions, SqliteSurvey, StreamCount, StreamTypeCount,
};
pub use state_manager::{
    Aggregate, EventForm, ExecuteError, Executed, ReplayError, StateGone, StateHandle, StateManager,
    UpcastError, UpcastPlace, Upcasters, Versioned,
};
pub use stats::{Histogram, StoreStats};
pub use store::EventStore;
pub use subscription::{Source, Subscribe, Subscription};

/// The README's code, compiled and run: this crate is the one that sees the whole stack.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
