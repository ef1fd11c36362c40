//! Streams: created, listed, deleted.

use ipa_eventstore::{
    EventStore, Expected, ListStreams, ReadAll, ReadStream, Snapshot, StoreError, StreamId, StreamType,
};

use super::{Store, event, events, id, kind, stream, versions};

/// ES-01 start_stream(type) => a generated id that exists; two calls differ.
pub async fn start_stream_makes_ids(store: Store) {
    let first = store.start_stream(&kind("task"), None, vec![]).await.unwrap();
    let second = store.start_stream(&kind("task"), None, vec![]).await.unwrap();
    assert_ne!(first, second);
    for id in [first, second] {
        assert!(store.stream_exists(&id).await.unwrap());
        assert_eq!(id.as_str().parse::<ipa_eventstore::EventId>().unwrap().to_string(), id.as_str());
    }
}

/// ES-02 start_stream(type, id) => Ok(id); a duplicate => already_exists, the original unchanged.
pub async fn start_stream_refuses_what_stands(store: Store) {
    let a = id("a");
    assert_eq!(store.start_stream(&kind("task"), Some(a.clone()), vec![]).await.unwrap(), a);
    let before = store.stream_info(&a).await.unwrap();
    for first in [vec![], events(2)] {
        let error = store.start_stream(&kind("other"), Some(a.clone()), first).await.unwrap_err();
        assert!(error.is_conflict());
        assert!(matches!(error, StoreError::AlreadyExists { version: 0, .. }), "{error:?}");
    }
    assert_eq!(store.stream_info(&a).await.unwrap(), before);
    assert_eq!(before.stream_type, kind("task"));
}

/// ES-02 stream and first events in one transaction.
pub async fn a_stream_starts_with_its_first_events(store: Store) {
    let a = store.start_stream(&kind("task"), Some(id("a")), events(3)).await.unwrap();
    let read = store.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(versions(&read), [1, 2, 3]);
    let info = store.stream_info(&a).await.unwrap();
    assert_eq!((info.version, info.created_at), (3, info.updated_at));
    // An event that cannot be stored takes the stream with it.
    let stored_elsewhere = vec![event("new"), events_of(&store, &a).await];
    let error = store.start_stream(&kind("task"), Some(id("b")), stored_elsewhere).await;
    assert!(matches!(error, Err(StoreError::PartialDuplicate { .. })), "{error:?}");
    assert!(!store.stream_exists(&id("b")).await.unwrap());
}

/// An event with an id that a stream has.
async fn events_of(store: &Store, stream: &StreamId) -> ipa_eventstore::NewEvent {
    let read = store.read_stream(stream, ReadStream::new().max_count(1)).await.unwrap();
    event("again").id(read[0].id)
}

/// ES-04 a blank id or type => invalid; created_at == updated_at at first.
pub async fn blank_names_are_invalid(store: Store) {
    for blank in ["", " ", "\t\n", "a\0b"] {
        assert!(matches!(StreamId::new(blank), Err(StoreError::Invalid { .. })));
        assert!(matches!(StreamType::new(blank), Err(StoreError::Invalid { .. })));
        assert!(serde_json::from_value::<StreamId>(blank.into()).is_err());
    }
    let odd = id(" 'ünï\"cödé'; -- ");
    store.start_stream(&kind("task"), Some(odd.clone()), vec![]).await.unwrap();
    let info = store.stream_info(&odd).await.unwrap();
    assert_eq!(info.id, odd);
    assert_eq!(info.created_at, info.updated_at);
    assert_eq!(info.version, 0);
}

/// ES-27 exists true and false.
pub async fn exists_true_and_false(store: Store) {
    let a = stream(&store, "a", 0).await;
    assert!(store.stream_exists(&a).await.unwrap());
    for other in ["b", "A", "a ", "aa"] {
        assert!(!store.stream_exists(&id(other)).await.unwrap(), "{other:?}");
    }
    // A handle of a handle is the same store.
    let twice = std::sync::Arc::new(store.clone());
    assert_eq!(twice.stream_info(&a).await.unwrap(), store.stream_info(&a).await.unwrap());
}

/// ES-31 delete_stream => ok; stream, events and snapshot all gone; a second => not_found.
pub async fn deleted_is_gone(store: Store) {
    let (a, b) = (stream(&store, "a", 3).await, stream(&store, "b", 2).await);
    store.save_snapshot(&a, Snapshot::json(2, 1, &()).unwrap()).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    assert!(!store.stream_exists(&a).await.unwrap());
    let all = store.read_all(ReadAll::new()).await.unwrap();
    assert!(all.len() == 2 && all.iter().all(|event| event.stream == b));
    for _ in 0..2 {
        let error = store.delete_stream(&a).await.unwrap_err();
        assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    }
    // Its name is free, and what takes it begins anew.
    stream(&store, "a", 1).await;
    assert_eq!(store.stream_version(&a).await.unwrap(), 1);
    assert_eq!(store.load_snapshot(&a).await.unwrap(), None);
}

/// ES-34 list_streams: all, only of a type, none of an unknown one; a stable order, in pages.
pub async fn list_streams_by_type_in_pages(store: Store) {
    let names = ["b", "a", "ä", "B", "a10", "a2"];
    for (n, name) in names.into_iter().enumerate() {
        let kind = kind(if n % 2 == 0 { "even" } else { "odd" });
        store.append(&id(name), Expected::NoStream(kind), events(n)).await.unwrap();
    }
    let list = async |list: ListStreams| {
        let streams = store.list_streams(list).await.unwrap();
        streams.into_iter().map(|info| info.id.to_string()).collect::<Vec<_>>()
    };
    let all = ListStreams::new();
    assert_eq!(list(all.clone()).await, ["B", "a", "a10", "a2", "b", "ä"]);
    assert_eq!(list(all.clone().max_count(2)).await, ["B", "a"]);
    assert_eq!(list(all.clone().after(id("a")).max_count(2)).await, ["a10", "a2"]);
    assert_eq!(list(all.clone().after(id("a1"))).await, ["a10", "a2", "b", "ä"], "it need not exist");
    assert_eq!(list(all.clone().max_count(0)).await, [""; 0]);
    let even = all.clone().stream_type(kind("even"));
    assert_eq!(list(even.clone()).await, ["a10", "b", "ä"]);
    assert_eq!(list(even.after(id("b"))).await, ["ä"]);
    assert_eq!(list(all.stream_type(kind("none"))).await, [""; 0]);
    let info = store.list_streams(ListStreams::new().after(id("b"))).await.unwrap();
    assert_eq!(info, [store.stream_info(&id("ä")).await.unwrap()]);
    assert_eq!((info[0].version, &info[0].stream_type), (2, &kind("even")));
}
