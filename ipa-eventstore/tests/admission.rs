//! Pods are admitted by real stores.

use std::sync::Arc;

use ipa_eventstore::{
    EventStore, InMemoryEventStore, SqliteEventStore, StoreAdmission, StoreError, StreamId, StreamType,
};
use ipa_pod::{Admission, AdmitError, PodSpec, PodSupervisor, StartPodError, TaskId};

async fn create(store: &dyn EventStore, stream: &str) {
    let id = StreamId::new(stream).unwrap();
    store.start_stream(&StreamType::new("task").unwrap(), Some(id), vec![]).await.unwrap();
}

/// What every admission does, on a store that has the stream `there` alone.
async fn admits(admission: impl Admission) {
    let ask = |task: &str| {
        let task = TaskId::new(task).unwrap();
        let admission = &admission;
        async move { admission.admit(&task).await }
    };
    let _permit = ask("there").await.unwrap();
    assert!(matches!(ask("elsewhere").await, Err(AdmitError::StreamNotFound)));
    assert!(matches!(ask("Nul\0inside").await, Err(AdmitError::StreamNotFound)));
    // An empty stream is a stream; a second pod is not for the store to refuse.
    let _second = ask("there").await.unwrap();
}

fn unavailable(answer: Result<ipa_pod::Permit, AdmitError>) {
    match answer {
        Err(AdmitError::Unavailable(source)) => {
            assert!(matches!(source.downcast_ref::<StoreError>(), Some(StoreError::Closed)), "{source:?}");
        }
        other => panic!("expected Unavailable, got {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_memory_store_admits_tasks_whose_stream_exists() {
    let store = InMemoryEventStore::new();
    create(&store, "there").await;
    admits(store.clone()).await;
    admits(StoreAdmission::new(Arc::new(store.clone()))).await;
    store.close();
    unavailable(store.admit(&TaskId::new("there").unwrap()).await);
    unavailable(store.admit(&TaskId::new("elsewhere").unwrap()).await);
}

#[tokio::test]
async fn the_sqlite_store_admits_tasks_whose_stream_exists() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    create(&store, "there").await;
    admits(store.clone()).await;
    admits(StoreAdmission::new(Arc::new(store.clone()))).await;
    store.close().await.unwrap();
    unavailable(store.admit(&TaskId::new("there").unwrap()).await);
    unavailable(store.admit(&TaskId::new("elsewhere").unwrap()).await);

    // Looking is allowed to whoever may only read.
    let reader = SqliteEventStore::open_read_only(&path).await.unwrap();
    let _permit = reader.admit(&TaskId::new("there").unwrap()).await.unwrap();
}

/// PL-03 stream missing: the start says so, and leaves no entry and no child; created, the same start succeeds.
#[tokio::test(start_paused = true)]
async fn a_pod_without_a_stream_does_not_start() {
    let store = InMemoryEventStore::new();
    let pods = PodSupervisor::builder(store.clone(), |_: &_| Ok(PodSpec::new())).start().await.unwrap();
    let missing = pods.start_pod("task").await.unwrap_err();
    assert!(matches!(missing, StartPodError::StreamNotFound(task) if task.as_str() == "task"));
    assert_eq!(pods.count_pods(), 0);
    assert!(pods.registry().children().list().is_empty());

    create(&store, "task").await;
    pods.start_pod("task").await.unwrap();
    pods.shutdown().await.unwrap();
}

/// PL-04 a pod that runs is found before its stream is looked for.
#[tokio::test(start_paused = true)]
async fn a_running_pod_is_already_started_though_its_stream_is_deleted() {
    let store = InMemoryEventStore::new();
    create(&store, "task").await;
    let pods = PodSupervisor::builder(store.clone(), |_: &_| Ok(PodSpec::new())).start().await.unwrap();
    pods.start_pod("task").await.unwrap();
    store.delete_stream(&StreamId::new("task").unwrap()).await.unwrap();
    assert!(matches!(pods.start_pod("task").await, Err(StartPodError::AlreadyStarted { .. })));
    pods.shutdown().await.unwrap();
}

/// PL-05 a store that cannot look is an error of its own, with the store's error as its source.
#[tokio::test]
async fn a_closed_store_is_unavailable_not_a_missing_stream() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(directory.path().join("events.db")).await.unwrap();
    create(&store, "task").await;
    let pods = PodSupervisor::builder(store.clone(), |_: &_| Ok(PodSpec::new())).start().await.unwrap();
    store.close().await.unwrap();
    match pods.start_pod("task").await {
        Err(StartPodError::Unavailable { task, source }) => {
            assert_eq!(task.as_str(), "task");
            assert!(matches!(source.downcast_ref::<StoreError>(), Some(StoreError::Closed)));
        }
        other => panic!("expected Unavailable, got {other:?}"),
    }
    assert_eq!(pods.count_pods(), 0);
    pods.shutdown().await.unwrap();
}
