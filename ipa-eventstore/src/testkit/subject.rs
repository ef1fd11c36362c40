//! What a case is run on: an empty store, and what can be done with it besides using it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::Store;
use crate::{EventStore, Position};

type Reopen = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Store> + Send>> + Send + Sync>;

/// An empty store for one case, and what it can do beyond the port.
///
/// ```
/// use ipa_eventstore::testkit::{Subject, case};
/// use ipa_eventstore::{Position, SqliteEventStore};
///
/// # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
/// let directory = tempfile::tempdir().unwrap(); // alive until the case is over
/// let path = directory.path().join("events.db");
/// let store = SqliteEventStore::open(&path).await.unwrap();
///
/// let closing = store.clone();
/// let subject = Subject::new(store).reopening(move || {
///     let (closing, path) = (closing.clone(), path.clone());
///     async move {
///         closing.close().await.unwrap();
///         SqliteEventStore::open(&path).await.unwrap()
///     }
/// });
/// case("reopen::everything_is_there_after_reopening").run(subject).await;
/// # });
/// ```
#[must_use = "a subject is for a case to be run on"]
pub struct Subject {
    store: Store,
    reopen: Option<Reopen>,
    foreign: Vec<Position>,
}

impl Subject {
    /// A store that is empty and that nobody else writes to. An `Arc<dyn EventStore>` is one, too.
    pub fn new(store: impl EventStore) -> Self {
        Self { store: Arc::new(store), reopen: None, foreign: Vec::new() }
    }

    /// Says how to close the store and open what is left of it. A case calls this once at most.
    ///
    /// Closing means every handle: their subscriptions end with `None` and their calls are answered
    /// with [`Closed`](crate::StoreError::Closed). What is opened is the same store again.
    pub fn reopening<S, F>(mut self, reopen: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        S: EventStore,
        F: Future<Output = S> + Send + 'static,
    {
        self.reopen = Some(Box::new(move || {
            let reopened = reopen();
            Box::pin(async move { Arc::new(reopened.await) as Store })
        }));
        self
    }

    /// Gives positions of the kind that this store never gives, for it to refuse.
    pub fn foreign_positions(mut self, positions: impl IntoIterator<Item = Position>) -> Self {
        self.foreign = positions.into_iter().collect();
        self
    }

    pub(crate) fn store(&self) -> Store {
        self.store.clone()
    }

    pub(crate) async fn reopen(&self) -> Store {
        let reopen = self.reopen.as_ref().expect("checked before the case began");
        reopen().await
    }

    pub(crate) fn foreign(&self) -> &[Position] {
        &self.foreign
    }

    /// Whether it has what the cases of a chapter need; if not, what it lacks.
    pub(crate) fn check(&self, chapter: &str) -> Result<(), &'static str> {
        match chapter {
            "reopen" if self.reopen.is_none() => {
                Err("the subject does not say how to reopen its store; see Subject::reopening")
            }
            "foreign_positions" if self.foreign.is_empty() => {
                Err("the subject gives no foreign positions; see Subject::foreign_positions")
            }
            _ => Ok(()),
        }
    }
}

/// Most cases need no more than the store.
impl From<&Subject> for Store {
    fn from(subject: &Subject) -> Self {
        subject.store()
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("reopens", &self.reopen.is_some())
            .field("foreign", &self.foreign)
            .finish_non_exhaustive()
    }
}
