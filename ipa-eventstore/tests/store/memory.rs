//! The suite on the store in memory, under a paused clock; and what is its own.

use std::sync::Arc;

use ipa_eventstore::{EventStore, Expected, InMemoryEventStore, Position, ReadAll, StoreError, Subscribe};

use ipa_eventstore::testkit::{Case, Subject};

use crate::conformance::{Store, events, next, stream};

async fn run(case: Case) {
    let foreign = [Position::from_parts(1, 0, 0), Position::from_parts(0, 1, 0)];
    case.run(Subject::new(InMemoryEventStore::new()).foreign_positions(foreign)).await;
}

mod suite {
    use super::run;

    ipa_eventstore::conformance! { #[tokio::test(start_paused = true)] run, with foreign_positions }
}

/// ES-41 closing ends subscriptions and refuses what comes after.
#[tokio::test]
async fn closing() {
    let memory = InMemoryEventStore::new();
    let store: Store = Arc::new(memory.clone());
    let a = stream(&store, "a", 1).await;
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    next(&mut all).await;
    let waiting = tokio::spawn(async move { all.next().await.is_none() });
    tokio::task::yield_now().await;
    memory.close();
    assert!(waiting.await.unwrap());
    let refused = [
        store.append(&a, Expected::Any, events(1)).await.err(),
        store.read_all(ReadAll::new()).await.err(),
        store.subscribe(Subscribe::stream(&a, 0)).await.err(),
    ];
    for error in refused {
        assert!(matches!(error, Some(StoreError::Closed)), "{error:?}");
    }
}
