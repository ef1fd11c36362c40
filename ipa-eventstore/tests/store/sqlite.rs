//! The suite on the durable store, and what only it does.

use std::sync::Arc;

use ipa_eventstore::SqliteEventStore;

use crate::conformance::{Store, conformance};

async fn run(case: impl AsyncFnOnce(Store)) {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(directory.path().join("events.db")).await.unwrap();
    case(Arc::new(store.clone())).await;
    store.close().await.unwrap();
}

mod suite {
    super::conformance! { #[tokio::test(flavor = "multi_thread", worker_threads = 2)] super::super::run }
}
