//! The conformance suite: what an [`EventStore`] promises, as cases that any store can be put through.
//!
//! It is here, behind the feature `testkit`, and not in this crate's tests, so that a store of
//! somebody else's can be held to the same contract as the two of this crate. A case knows nothing
//! but the port: it is given an empty store, uses it, and asserts. **Its way to fail is to panic**,
//! which is what a test harness understands; so this module, unlike the rest of the crate, unwraps.
//!
//! # Running it
//!
//! In the tests of the crate that has the store, with `ipa-eventstore = { .., features = ["testkit"] }`
//! and tokio (`macros`, `rt`) among its dev-dependencies:
//!
//! ```
//! mod conformance {
//!     use ipa_eventstore::InMemoryEventStore;
//!     use ipa_eventstore::testkit::{Case, Subject};
//!
//!     /// Called by each test, with its case.
//!     async fn run(case: Case) {
//!         let store = InMemoryEventStore::new(); // your store: a new one for each case, and empty
//!         case.run(Subject::new(store)).await;
//!     }
//!
//!     ipa_eventstore::conformance! { #[tokio::test] run }
//! }
//! ```
//!
//! [`conformance!`](crate::conformance!) makes one test of each case, in a module for each chapter. What the tests are,
//! how they are set up and cleaned away is `run`'s affair, so there is nothing to configure.
//!
//! With another harness, walk [`CASES`], or call [`run_all`], which tells what failed instead of panicking:
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use ipa_eventstore::InMemoryEventStore;
//! use ipa_eventstore::testkit::{self, Subject};
//!
//! let outcomes = testkit::run_all(async || Subject::new(InMemoryEventStore::new())).await;
//! for outcome in &outcomes {
//!     assert!(outcome.failure.is_none(), "{outcome}");
//! }
//! # });
//! ```
//!
//! Here a store wraps another one and is wrong in one thing: it takes the lower bound of a read as
//! inclusive. Where that does not matter it passes, and the case that is about it says so.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! # use std::sync::Arc;
//! # use async_trait::async_trait;
//! use ipa_eventstore::testkit::{self, Subject};
//! # use ipa_eventstore::{
//! #     Appended, EventStore, Expected, InMemoryEventStore, ListStreams, NewEvent, ReadAll, ReadStream,
//! #     RecordedEvent, Snapshot, StoreError, StreamId, StreamInfo, Subscribe, Subscription,
//! # };
//!
//! struct OffByOne(InMemoryEventStore);
//!
//! #[async_trait]
//! impl EventStore for OffByOne {
//!     async fn read_stream(&self, stream: &StreamId, mut read: ReadStream) -> Result<Vec<RecordedEvent>, StoreError> {
//!         read.after = read.after.saturating_sub(1);
//!         self.0.read_stream(stream, read).await
//!     }
//!     // and all else as the store within does it
//! #   async fn append(&self, s: &StreamId, e: Expected, n: Vec<NewEvent>) -> Result<Appended, StoreError> {
//! #       self.0.append(s, e, n).await
//! #   }
//! #   async fn read_all(&self, read: ReadAll) -> Result<Vec<RecordedEvent>, StoreError> { self.0.read_all(read).await }
//! #   async fn subscribe(&self, from: Subscribe) -> Result<Subscription, StoreError> { self.0.subscribe(from).await }
//! #   async fn stream_info(&self, stream: &StreamId) -> Result<StreamInfo, StoreError> { self.0.stream_info(stream).await }
//! #   async fn list_streams(&self, list: ListStreams) -> Result<Vec<StreamInfo>, StoreError> { self.0.list_streams(list).await }
//! #   async fn delete_stream(&self, stream: &StreamId) -> Result<(), StoreError> { self.0.delete_stream(stream).await }
//! #   async fn save_snapshot(&self, s: &StreamId, snapshot: Snapshot) -> Result<(), StoreError> { self.0.save_snapshot(s, snapshot).await }
//! #   async fn load_snapshot(&self, stream: &StreamId) -> Result<Option<Snapshot>, StoreError> { self.0.load_snapshot(stream).await }
//! }
//!
//! let new = || Subject::new(OffByOne(InMemoryEventStore::new()));
//! assert!(testkit::case("read::reads_are_ascending").outcome(new()).await.failure.is_none());
//! let outcome = testkit::case("read::after_is_exclusive").outcome(new()).await;
//! assert!(outcome.failure.unwrap().contains("left == right"));
//! # });
//! ```
//!
//! # What a case is given
//!
//! A [`Subject`]: **an empty store**, of which nobody else has a handle that writes, deletes or
//! closes. Cases may run at the same time, each with a store of its own. What a case leaves behind in
//! its store is no concern of the next one. Cases that race clone the store's `Arc` and spawn tasks;
//! all of them have ended when the case has.
//!
//! | ability | chapter | the subject is to say | without it |
//! |---|---|---|---|
//! | everything that the port asks for | all others | | there is nothing to leave out: it is the contract |
//! | it survives its process | [`reopen`] | how to close and open it: [`Subject::reopening`] | leave `with reopen` out of the macro |
//! | it knows positions that it did not give | [`foreign_positions`] | some: [`Subject::foreign_positions`] | leave `with foreign_positions` out |
//!
//! [`run_all`] leaves a chapter out by itself if its subject cannot do it, and says so. A store that
//! is still being written can look at [`Case::chapter`] in `run` and return early; that is visible
//! where it stands, which a list of exceptions far away is not.
//!
//! # Which runtime
//!
//! Any flavour of tokio's with time enabled. Run it on those that your store is used on: on
//! several threads races are races, on one thread a store that blocks hangs. A store that lives in memory
//! and has no thread may be run under a paused clock (`#[tokio::test(start_paused = true)]`), where a wait that
//! fails takes no time; with threads or files behind the store a paused clock would jump while they
//! work, and the waits below would be over at once.
//!
//! Nothing here sleeps or polls in order to wait. A case that should wait for ever fails instead: after
//! [`PATIENCE`](fixtures::PATIENCE) for one event, after [`LIMIT`] as a whole.
//!
//! # The cases
//!
//! A chapter is a module, a case is a function, and the first line of its documentation is what it pins. The ids that
//! it begins with are those of this project's own list of cases.
//!
//! | chapter | the promise |
//! |---|---|
//! | [`append`] | versions are dense, a batch is whole or absent, the expected version decides, what is read is what was written |
//! | [`retry`] | an append may be repeated |
//! | [`read`] | bounds, directions, filters, counts, pages |
//! | [`positions`] | ordered tokens that are never used twice |
//! | [`streams`] | creating, deleting, listing |
//! | [`snapshots`] | forward only |
//! | [`subscribe`] | every event once, in the order of commit, across history and live |
//! | [`races`] | the same with many at once |
//! | [`dropped`] | the same with futures that are dropped wherever they are |
//! | [`reopen`] | acknowledged is durable |
//! | [`foreign_positions`] | another store's token is refused |
//!
//! What it cannot see from here is durability against anything worse than a proper close: kill the process, cut the
//! power and fill the disk in tests of your own.

pub mod append;
pub mod dropped;
pub mod fixtures;
pub mod foreign_positions;
mod list;
pub mod positions;
pub mod races;
pub mod read;
pub mod reopen;
pub mod retry;
pub mod snapshots;
pub mod streams;
mod subject;
pub mod subscribe;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::EventStore;

pub use list::CASES;
pub use subject::Subject;

/// The store as cases use it. Clones are handles to the same store.
pub type Store = Arc<dyn EventStore>;

/// How long a case may take as a whole: five minutes. The longest takes seconds; this is for a store
/// that never answers.
pub const LIMIT: Duration = Duration::from_secs(300);

/// One case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    pub(crate) chapter: &'static str,
    pub(crate) name: &'static str,
    pub(crate) body: fn(Subject) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Case {
    /// The module that it is in, "append".
    pub fn chapter(self) -> &'static str {
        self.chapter
    }

    /// The function that it is, "exact_zero_is_a_real_check".
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Runs the case on a subject, and returns if its store passes. All of the case's tasks have
    /// ended then, and all its handles to the store are dropped.
    ///
    /// # Panics
    ///
    /// If the store fails: with the assertion that did not hold, or because the case took longer than
    /// [`LIMIT`]. And if the subject lacks what the case needs, see [`Subject`].
    pub async fn run(self, subject: Subject) {
        if let Err(lacking) = subject.check(self.chapter) {
            panic!("{self} cannot run: {lacking}");
        }
        let body = (self.body)(subject);
        if tokio::time::timeout(LIMIT, body).await.is_err() {
            panic!("{self} took longer than {LIMIT:?}: some call is never answered");
        }
    }

    /// As [`run`](Self::run), on a task of its own, where a panic is caught.
    pub async fn outcome(self, subject: Subject) -> Outcome {
        if let Err(lacking) = subject.check(self.chapter) {
            return Outcome { case: self, failure: None, left_out: Some(lacking) };
        }
        let failure = match tokio::spawn(self.run(subject)).await {
            Ok(()) => None,
            Err(error) => Some(match error.try_into_panic() {
                Ok(panic) => message(&*panic),
                Err(error) => error.to_string(),
            }),
        };
        Outcome { case: self, failure, left_out: None }
    }
}

/// What `panic!` was given, text in all but odd cases.
fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".to_owned())
}

/// Chapter and name, as in "append::exact_zero_is_a_real_check".
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{}", self.chapter, self.name)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What became of a case.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use = "an outcome may be a failure"]
pub struct Outcome {
    /// The case.
    pub case: Case,
    /// The message that it failed with; `None` if the store passed, or the case was left out.
    pub failure: Option<String>,
    /// Why the case did not run, if it did not: what its subject lacks.
    pub left_out: Option<&'static str>,
}

/// One line: the case, and what became of it.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = self.case;
        match (&self.failure, self.left_out) {
            (Some(failure), _) => write!(f, "{case} failed: {failure}"),
            (None, Some(lacking)) => write!(f, "{case} left out: {lacking}"),
            (None, None) => write!(f, "{case} passed"),
        }
    }
}

/// The case of this chapter and name, `"append::exact_zero_is_a_real_check"`.
///
/// # Panics
///
/// If there is none of that name.
pub fn case(name: &str) -> Case {
    let found = CASES.iter().find(|case| name.split_once("::") == Some((case.chapter, case.name)));
    *found.unwrap_or_else(|| panic!("the suite has no case {name}; testkit::CASES has them all"))
}

/// Runs every case, one after the other, each on a new subject, and tells what became of each. A
/// panic of a case is caught (and printed, as the program's panic hook will have it).
///
/// Call it on a tokio runtime with time enabled.
pub async fn run_all(new: impl AsyncFn() -> Subject) -> Vec<Outcome> {
    let mut outcomes = Vec::with_capacity(CASES.len());
    for case in CASES {
        outcomes.push(case.outcome(new().await).await);
    }
    outcomes
}
