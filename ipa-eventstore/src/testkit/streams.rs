//! Streams: created, listed, deleted.

use std::collections::BTreeSet;

use tokio::task::JoinSet;

use super::fixtures::{
    Store, all_of, assert_silent, create, event, events, everything, id, kind, next, stream, versions,
};
use crate::{
    EventStore, Expected, ListStreams, NewEvent, Position, ReadAll, ReadStream, Snapshot, StoreError,
    StreamId, StreamType, Subscribe,
};

/// ES-01 start_stream(type) => a generated id that exists; two calls differ.
pub async fn start_stream_makes_ids(store: Store) {
    let first = store.start_stream(&kind("task"), None, vec![]).await.unwrap();
    let second = store.start_stream(&kind("task"), None, vec![]).await.unwrap();
    assert_ne!(first, second);
    for id in [first, second] {
        assert!(store.stream_exists(&id).await.unwrap());
        assert_eq!(id.as_str().parse::<crate::EventId>().unwrap().to_string(), id.as_str());
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
async fn events_of(store: &Store, stream: &StreamId) -> NewEvent {
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
    assert_eq!(list(even.clone().max_count(2)).await, ["a10", "b"], "chosen first, then counted");
    assert_eq!(list(even.after(id("b"))).await, ["ä"]);
    assert_eq!(list(all.stream_type(kind("none"))).await, [""; 0]);
    let info = store.list_streams(ListStreams::new().after(id("b"))).await.unwrap();
    assert_eq!(info, [store.stream_info(&id("ä")).await.unwrap()]);
    assert_eq!((info[0].version, &info[0].stream_type), (2, &kind("even")));
}

/// ES-02 a stream that is started without events has no event, and nothing is published.
pub async fn a_stream_without_events_is_quiet(store: Store) {
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let a = store.start_stream(&kind("task"), Some(id("a")), vec![]).await.unwrap();
    assert_eq!(all_of(&store, &a).await, []);
    assert_eq!(everything(&store).await, []);
    assert_silent(&mut all).await;
    store.append(&a, Expected::Exact(0), events(1)).await.unwrap();
    assert_eq!(next(&mut all).await.version, 1);
}

/// ES-34 a store without streams lists none, and has no event.
pub async fn a_new_store_is_empty(store: Store) {
    assert_eq!(store.list_streams(ListStreams::new()).await.unwrap(), []);
    assert_eq!(everything(&store).await, []);
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    assert_silent(&mut all).await;
}

/// ES-31 of a deleted stream nothing speaks any more: not its reads, its lists, its version, its snapshot.
pub async fn a_deleted_stream_is_missing_everywhere(store: Store) {
    let (a, b) = (stream(&store, "a", 2).await, stream(&store, "b", 0).await);
    store.delete_stream(&b).await.unwrap();
    store.save_snapshot(&a, Snapshot::json(1, 1, &()).unwrap()).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    for gone in [&a, &b] {
        let snapshot = Snapshot::json(0, 1, &()).unwrap();
        let errors = [
            store.append(gone, Expected::Any, events(1)).await.err(),
            store.append(gone, Expected::Exact(2), vec![]).await.err(),
            store.read_stream(gone, ReadStream::new()).await.err(),
            store.subscribe(Subscribe::stream(gone, 0)).await.err(),
            store.stream_info(gone).await.err(),
            store.stream_version(gone).await.err(),
            store.save_snapshot(gone, snapshot).await.err(),
            store.load_snapshot(gone).await.err(),
            store.delete_stream(gone).await.err(),
        ];
        for error in errors {
            let missing = matches!(&error, Some(StoreError::StreamNotFound { stream }) if stream == gone);
            assert!(missing, "{error:?}");
        }
        assert!(!store.stream_exists(gone).await.unwrap());
    }
    assert_eq!(store.list_streams(ListStreams::new()).await.unwrap(), []);
    assert_eq!(store.read_all(ReadAll::new().backward()).await.unwrap(), []);
    assert_eq!(store.read_all(ReadAll::new().stream_types([kind("task")])).await.unwrap(), []);
}

/// ES-31 a new stream under a deleted one's name begins anew: type, times, versions, events.
pub async fn a_name_can_be_used_again(store: Store) {
    let mut seen = BTreeSet::new();
    for round in 0..4 {
        let kind = kind(&format!("kind {round}"));
        let written = events(round + 1);
        let a = id("a");
        store.append(&a, Expected::NoStream(kind.clone()), written.clone()).await.unwrap();
        let (info, read) = (store.stream_info(&a).await.unwrap(), all_of(&store, &a).await);
        assert_eq!((info.version, &info.stream_type), (round as u64 + 1, &kind));
        assert_eq!(info.created_at, info.updated_at);
        assert_eq!(versions(&read), (1..=round as u64 + 1).collect::<Vec<_>>());
        assert!(read.iter().map(|event| event.id).eq(written.iter().map(|event| event.id)));
        assert_eq!(everything(&store).await, read);
        assert_eq!(store.read_all(ReadAll::new().stream_types([kind])).await.unwrap(), read);
        assert_eq!(store.list_streams(ListStreams::new()).await.unwrap(), [info]);
        assert!(read.iter().all(|event| seen.insert(event.position)), "a position was used twice");
        store.delete_stream(&a).await.unwrap();
    }
}

async fn page(store: &Store, after: Option<&StreamId>, count: usize) -> Vec<StreamId> {
    let mut list = ListStreams::new().max_count(count);
    list.after = after.cloned();
    store.list_streams(list).await.unwrap().into_iter().map(|info| info.id).collect()
}

/// ES-34 streams that come, go and grow between pages neither hide nor double those that stay.
pub async fn pages_of_a_list_that_changes(store: Store) {
    let name = |n: usize| format!("s{n:02}");
    for n in (0..40).step_by(2) {
        stream(&store, &name(n), 1).await;
    }
    let mut listed: Vec<StreamId> = Vec::new();
    loop {
        assert!(listed.len() < 100, "the pages have no end: {listed:?}");
        let found = page(&store, listed.last(), 3).await;
        let Some(last) = found.last() else { break };
        let at: usize = last.as_str()[1..].parse().unwrap();
        listed.extend(found);
        // Behind the reader and at its place one goes, right after it one comes, and far ahead one goes.
        for gone in [listed[0].clone(), listed[listed.len() - 1].clone(), id(&name(38 - at / 4 * 2))] {
            let _ = store.delete_stream(&gone).await;
        }
        for new in [name((at + 1).min(40)), format!("a{at}")] {
            let _ = store.append(&id(&new), create(), vec![]).await;
        }
        let _ = store.append(&id(&name(20)), Expected::Any, events(1)).await;
    }
    assert!(listed.is_sorted_by(|a, b| a < b), "in order, each once: {listed:?}");
    for stayed in store.list_streams(ListStreams::new()).await.unwrap() {
        // Those that came behind the reader it cannot have seen.
        let came_behind = stayed.id.as_str().starts_with('a');
        assert!(came_behind || listed.contains(&stayed.id), "{} was passed over", stayed.id);
    }
}

/// ES-34 a list of more than a thousand comes whole, in order, by type and page by page.
pub async fn long_lists_are_whole(store: Store) {
    const COUNT: usize = 1200;
    let mut creating = JoinSet::new();
    for n in 0..COUNT {
        let store = store.clone();
        creating.spawn(async move {
            let kind = kind(if n % 3 == 0 { "third" } else { "other" });
            store.append(&id(&format!("s{n:04}")), Expected::NoStream(kind), vec![]).await.unwrap();
        });
    }
    creating.join_all().await;
    let names = |list: ListStreams| async {
        let streams = store.list_streams(list).await.unwrap();
        streams.into_iter().map(|info| info.id.to_string()).collect::<Vec<_>>()
    };
    let due = |step: usize| (0..COUNT).step_by(step).map(|n| format!("s{n:04}")).collect::<Vec<_>>();
    assert_eq!(names(ListStreams::new()).await, due(1));
    assert_eq!(names(ListStreams::new().stream_type(kind("third"))).await, due(3));
    assert_eq!(names(ListStreams::new().max_count(1001)).await, due(1)[..1001]);
    let mut paged: Vec<StreamId> = Vec::new();
    loop {
        assert!(paged.len() <= COUNT, "the pages have no end");
        let found = page(&store, paged.last(), 500).await;
        if found.is_empty() {
            break;
        }
        paged.extend(found);
    }
    assert_eq!(paged.iter().map(StreamId::to_string).collect::<Vec<_>>(), due(1));
}
