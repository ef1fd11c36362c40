//! A repeated append.

use super::fixtures::{
    Store, all_of, assert_silent, event, events, everything, id, kind, stream, take, types,
};
use crate::{Appended, Expected, ReadAll, StoreError, Subscribe};

/// ES-07 the same ids, whole and in order, get the first answer, marked as a duplicate.
pub async fn a_retry_gets_the_first_answer(store: Store) {
    let a = stream(&store, "a", 1).await;
    let batch = events(3);
    let first = store.append(&a, Expected::Exact(1), batch.clone()).await.unwrap();
    store.append(&a, Expected::Any, events(2)).await.unwrap();
    let before = store.stream_info(&a).await.unwrap();
    for expected in [Expected::Exact(1), Expected::Any, Expected::Exists] {
        let again = store.append(&a, expected, batch.clone()).await.unwrap();
        assert!(again.duplicate);
        assert_eq!((again.version, again.position), (first.version, first.position));
    }
    assert_eq!(store.stream_info(&a).await.unwrap(), before);
    assert_eq!(store.read_all(ReadAll::new()).await.unwrap().len(), 6);
}

/// ES-07 ids are looked at before existence and expected version.
pub async fn ids_come_before_existence_and_version(store: Store) {
    let a = id("a");
    let batch = events(2);
    let create = Expected::NoStream(kind("task"));
    let first = store.append(&a, create.clone(), batch.clone()).await.unwrap();
    // The stream stands and is at another version, yet neither is what the retry is told.
    for expected in [create, Expected::Exact(0), Expected::Exact(77)] {
        let again = store.append(&a, expected, batch.clone()).await.unwrap();
        assert_eq!((again.version, again.duplicate), (first.version, true));
    }
    // A missing stream and ids that are stored elsewhere: the ids speak first.
    let error = store.append(&id("b"), Expected::Any, batch).await.unwrap_err();
    assert!(matches!(error, StoreError::PartialDuplicate { .. }), "{error:?}");
}

/// ES-07 a partial overlap is an error that names what is stored, and writes nothing.
pub async fn a_partial_overlap_is_refused(store: Store) {
    let a = stream(&store, "a", 0).await;
    let stored = events(2);
    store.append(&a, Expected::Any, stored.clone()).await.unwrap();
    let new = event("new");
    let overlaps = [
        (vec![stored[1].clone(), new.clone()], 1),
        (vec![new.clone(), stored[0].clone()], 0),
        (vec![stored[0].clone(), new.clone(), stored[1].clone()], 0),
    ];
    for (overlap, named) in overlaps {
        for expected in [Expected::Any, Expected::Exact(2), Expected::Exact(9)] {
            match store.append(&a, expected, overlap.clone()).await.unwrap_err() {
                StoreError::PartialDuplicate { stream, id, stored_in, version } => {
                    assert_eq!((&stream, &stored_in), (&a, &a));
                    assert_eq!((id, version), (stored[named].id, named as u64 + 1));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(store.stream_version(&a).await.unwrap(), 2);
    // What was refused with them can still be stored without them.
    let appended = store.append(&a, Expected::Exact(2), vec![new]).await.unwrap();
    assert_eq!((appended.version, appended.duplicate), (3, false));
}

/// ES-07 ids that are stored in another stream are no duplicate of this one's.
pub async fn ids_in_another_stream_are_refused(store: Store) {
    let (a, b) = (stream(&store, "a", 0).await, stream(&store, "b", 0).await);
    let batch = events(2);
    store.append(&a, Expected::Any, batch.clone()).await.unwrap();
    let create = Expected::NoStream(kind("task"));
    for (target, expected) in [(&b, Expected::Any), (&id("c"), create)] {
        let error = store.append(target, expected, batch.clone()).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::PartialDuplicate { stored_in, .. } if *stored_in == a),
            "{error:?}"
        );
    }
    assert_eq!(store.stream_version(&b).await.unwrap(), 0);
    assert!(!store.stream_exists(&id("c")).await.unwrap(), "the creation is undone with it");
}

/// ES-07 stored ids in another order, or not side by side, are not the same append.
pub async fn ids_in_another_order_are_refused(store: Store) {
    let a = stream(&store, "a", 0).await;
    let batch = events(3);
    store.append(&a, Expected::Any, batch.clone()).await.unwrap();
    let reversed: Vec<_> = batch.iter().rev().cloned().collect();
    let with_a_gap = vec![batch[0].clone(), batch[2].clone()];
    for wrong in [reversed, with_a_gap] {
        let error = store.append(&a, Expected::Any, wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::PartialDuplicate { .. }), "{error:?}");
    }
}

/// ES-31 the ids of deleted events are not remembered.
pub async fn deleted_ids_are_free_again(store: Store) {
    let a = id("a");
    let batch = events(2);
    let create = Expected::NoStream(kind("task"));
    store.append(&a, create.clone(), batch.clone()).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    let error = store.append(&a, Expected::Any, batch.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    let again = store.append(&a, create, batch).await.unwrap();
    assert_eq!((again.version, again.duplicate), (2, false));
}

/// ES-07 a run of stored ids within a batch, or across two, is stored already: answered with its own end.
pub async fn a_stored_run_is_a_duplicate(store: Store) {
    let a = stream(&store, "a", 1).await;
    let (first, second) = (events(3), events(2));
    store.append(&a, Expected::Any, first.clone()).await.unwrap();
    store.append(&a, Expected::Any, second.clone()).await.unwrap();
    let stored = all_of(&store, &a).await;
    let runs = [
        (vec![first[0].clone()], 2),
        (vec![first[1].clone(), first[2].clone()], 4),
        (vec![first[2].clone(), second[0].clone()], 5),
        ([first, second].concat(), 6),
    ];
    for (run, version) in runs {
        let again = store.append(&a, Expected::Exact(1), run).await.unwrap();
        let position = Some(stored[version - 1].position);
        assert_eq!(again, Appended::new(version as u64, position, true));
    }
    assert_eq!(all_of(&store, &a).await, stored);
}

/// ES-07 it is the ids that count: a retry with other contents changes nothing of what is stored.
pub async fn a_retry_does_not_rewrite(store: Store) {
    let a = stream(&store, "a", 0).await;
    let first = event("first").actor("ann");
    store.append(&a, Expected::Any, vec![first.clone()]).await.unwrap();
    let stored = all_of(&store, &a).await;
    let other = event("other").id(first.id).actor("ben").schema_version(9);
    assert!(store.append(&a, Expected::Any, vec![other]).await.unwrap().duplicate);
    assert_eq!(all_of(&store, &a).await, stored);
}

/// ES-07 a creation is repeated like any append, with its events; without events there is no id to know it by.
pub async fn a_creation_may_be_repeated(store: Store) {
    let (a, first) = (id("a"), events(2));
    for _ in 0..3 {
        let started = store.start_stream(&kind("task"), Some(a.clone()), first.clone()).await;
        assert_eq!(started.unwrap(), a);
    }
    // Another type does not change the stream's either.
    store.start_stream(&kind("other"), Some(a.clone()), first).await.unwrap();
    let info = store.stream_info(&a).await.unwrap();
    assert_eq!((info.version, info.stream_type), (2, kind("task")));
    let error = store.start_stream(&kind("task"), Some(a), vec![]).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { version: 2, .. }), "{error:?}");
}

/// ES-07 a retry notifies nobody and leaves the stream's times alone.
pub async fn a_retry_is_no_append(store: Store) {
    let a = stream(&store, "a", 0).await;
    let batch = events(2);
    let mut of_a = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    store.append(&a, Expected::Any, batch.clone()).await.unwrap();
    let before = (store.stream_info(&a).await.unwrap(), everything(&store).await);
    for _ in 0..20 {
        assert!(store.append(&a, Expected::Any, batch.clone()).await.unwrap().duplicate);
    }
    assert_eq!((store.stream_info(&a).await.unwrap(), everything(&store).await), before);
    store.append(&a, Expected::Any, vec![event("last")]).await.unwrap();
    assert_eq!(types(&take(&mut of_a, 3).await), ["e1", "e2", "last"]);
    assert_silent(&mut of_a).await;
}
