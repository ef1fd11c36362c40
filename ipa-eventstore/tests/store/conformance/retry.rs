//! A repeated append.

use ipa_eventstore::{Expected, ReadAll, StoreError};

use super::{Store, event, events, id, kind, stream};

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
