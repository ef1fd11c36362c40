//! Appending.

use std::collections::BTreeSet;
use std::time::UNIX_EPOCH;

use ipa_eventstore::{Appended, Expected, Json, NewEvent, Position, ReadAll, ReadStream, StoreError};
use serde_json::json;

use super::{Store, event, events, id, kind, stream, versions};

/// ES-05 append => version 1, 2, 3, contiguous per stream, independent of other streams.
pub async fn appends_number_their_stream_alone(store: Store) {
    let (a, b) = (stream(&store, "a", 0).await, stream(&store, "b", 0).await);
    for version in 1..=3 {
        for stream in [&a, &b] {
            let appended = store.append(stream, Expected::Any, events(1)).await.unwrap();
            assert_eq!(appended.version, version);
            assert!(!appended.duplicate);
        }
    }
    let read = store.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(versions(&read), [1, 2, 3]);
}

/// ES-06 data, metadata, actor, correlation, causation round-trip to the byte; absent stays absent.
pub async fn events_come_back_to_the_byte(store: Store) {
    let odd = r#"{ "b":1,  "a" : [null, 1.0, 1e400, 12345678901234567890], "ü\u0000\ud83d\ude00": "\/" }"#;
    let large = json!({ "text": "x".repeat(1 << 20), "deep": [[[[[[{"a": {"b": {}}}]]]]]] });
    let full = NewEvent::new("odd ünïcödé", Json::parse(odd).unwrap())
        .unwrap()
        .actor("")
        .causation("cause \0 'quoted\" \u{1F600}")
        .correlation("correlation")
        .metadata(&json!({"null": null}))
        .unwrap()
        .schema_version(u32::MAX);
    let bare = NewEvent::json("bare", &()).unwrap();
    let null_metadata = NewEvent::json("null", &large).unwrap().metadata(&()).unwrap();
    let written = vec![full, bare, null_metadata];

    let a = stream(&store, "a", 0).await;
    store.append(&a, Expected::Any, written.clone()).await.unwrap();
    let read = store.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(read.len(), 3);
    for (read, written) in read.iter().zip(&written) {
        assert_eq!(read.stream, a);
        assert_eq!(read.id, written.id);
        assert_eq!(read.event_type, written.event_type);
        assert_eq!(read.data.get(), written.data.get());
        assert_eq!(read.actor, written.actor);
        assert_eq!(read.causation, written.causation);
        assert_eq!(read.correlation, written.correlation);
        assert_eq!(read.metadata, written.metadata);
        assert_eq!(read.schema_version, written.schema_version);
        assert!(read.recorded_at > UNIX_EPOCH);
    }
    assert_eq!(read[0].actor.as_deref(), Some(""), "empty is not absent");
    assert_eq!(read[1].metadata, None, "absent is not null");
    assert_eq!(read[2].metadata.as_ref().map(Json::get), Some("null"));
    assert_eq!(store.read_all(ReadAll::new()).await.unwrap(), read);
}

/// ES-07 expected version == current => Ok(next).
pub async fn exact_version_that_matches(store: Store) {
    let a = stream(&store, "a", 2).await;
    let appended = store.append(&a, Expected::Exact(2), events(1)).await;
    assert_eq!(appended.unwrap().version, 3);
    let appended = store.append(&a, Expected::Exists, events(2)).await;
    assert_eq!(appended.unwrap().version, 5);
}

/// ES-08 mismatch, lower or higher => conflict; nothing written, version and updated_at unchanged.
pub async fn exact_version_that_does_not_match(store: Store) {
    let a = stream(&store, "a", 2).await;
    let before = store.stream_info(&a).await.unwrap();
    for wrong in [0, 1, 3, u64::MAX] {
        let error = store.append(&a, Expected::Exact(wrong), events(2)).await.unwrap_err();
        assert!(error.is_conflict() && !error.is_retryable());
        match error {
            StoreError::Conflict { stream, expected, actual } => {
                assert_eq!((stream, expected, actual), (a.clone(), wrong, 2));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(store.stream_info(&a).await.unwrap(), before);
    assert_eq!(store.read_all(ReadAll::new()).await.unwrap().len(), 2);
}

/// ES-09 Exact(0) is a real check: ok on an empty stream that exists, conflict on one with events.
pub async fn exact_zero_is_a_real_check(store: Store) {
    let a = stream(&store, "a", 0).await;
    assert_eq!(store.append(&a, Expected::Exact(0), events(1)).await.unwrap().version, 1);
    let error = store.append(&a, Expected::Exact(0), events(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { expected: 0, actual: 1, .. }), "{error:?}");
}

/// ES-10 append (Any, Exists, Exact) on a missing stream => stream_not_found; nothing is created.
pub async fn missing_streams_are_not_created(store: Store) {
    let a = id("a");
    for expected in [Expected::Any, Expected::Exists, Expected::Exact(0), Expected::Exact(1)] {
        for count in [0, 1] {
            let error = store.append(&a, expected.clone(), events(count)).await.unwrap_err();
            assert!(matches!(&error, StoreError::StreamNotFound { stream } if *stream == a), "{error:?}");
        }
    }
    assert!(!store.stream_exists(&a).await.unwrap());
    assert_eq!(store.read_all(ReadAll::new()).await.unwrap(), []);
    // NoStream creates it, and conflicts where it stands.
    let no_stream = Expected::NoStream(kind("task"));
    assert_eq!(store.append(&a, no_stream.clone(), events(2)).await.unwrap().version, 2);
    let error = store.append(&a, no_stream, events(1)).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { version: 2, .. }), "{error:?}");
}

/// ES-11 append updates the stream's updated_at, not created_at.
pub async fn an_append_touches_updated_at_only(store: Store) {
    let a = stream(&store, "a", 0).await;
    let before = store.stream_info(&a).await.unwrap();
    // The wall clock stands still for a microsecond at most, so a few appends are enough to move it.
    let after = loop {
        store.append(&a, Expected::Any, events(1)).await.unwrap();
        let after = store.stream_info(&a).await.unwrap();
        if after.updated_at != before.updated_at {
            break after;
        }
    };
    assert_eq!(after.created_at, before.created_at);
    let last = store.read_stream(&a, ReadStream::new().backward().max_count(1)).await.unwrap();
    assert_eq!(after.updated_at, last[0].recorded_at);
}

/// ES-13 10 concurrent appends without expected version => all Ok, versions 2..11, no gaps.
pub async fn ten_appends_at_once_leave_no_gap(store: Store) {
    let a = stream(&store, "a", 1).await;
    let appends: Vec<_> = (0..10)
        .map(|_| {
            let (store, a) = (store.clone(), a.clone());
            tokio::spawn(async move { store.append(&a, Expected::Any, events(1)).await })
        })
        .collect();
    let mut got = BTreeSet::new();
    for append in appends {
        got.insert(append.await.unwrap().unwrap().version);
    }
    assert_eq!(got, (2..=11).collect());
    let read = store.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(versions(&read), (1..=11).collect::<Vec<_>>());
}

/// ES-08 of many that append at the same exact version, one wins and the others write nothing.
pub async fn a_hundred_appenders_race_for_exact_versions(store: Store) {
    let a = stream(&store, "a", 0).await;
    for version in 0..5 {
        let appends: Vec<_> = (0..20)
            .map(|_| {
                let (store, a) = (store.clone(), a.clone());
                tokio::spawn(async move { store.append(&a, Expected::Exact(version), events(1)).await })
            })
            .collect();
        let mut winners = 0;
        for append in appends {
            match append.await.unwrap() {
                Ok(appended) => {
                    winners += 1;
                    assert_eq!(appended.version, version + 1);
                }
                Err(error) => assert!(error.is_conflict(), "{error:?}"),
            }
        }
        assert_eq!(winners, 1);
    }
    assert_eq!(store.stream_version(&a).await.unwrap(), 5);
}

/// ES-15 a batch => Ok(final version), contiguous, in order, one recorded_at.
pub async fn a_batch_is_one_append(store: Store) {
    let a = stream(&store, "a", 1).await;
    let batch = events(5);
    let version = store.append_batch(&a, Expected::Any, batch.clone()).await.unwrap();
    assert_eq!(version, 6);
    let read = store.read_stream(&a, ReadStream::new().after(1)).await.unwrap();
    assert_eq!(versions(&read), [2, 3, 4, 5, 6]);
    let ids = |events: &[NewEvent]| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(read.iter().map(|event| event.id).collect::<Vec<_>>(), ids(&batch));
    assert!(read.iter().all(|event| event.recorded_at == read[0].recorded_at));
    assert!(read.is_sorted_by(|a, b| a.position < b.position));
}

/// ES-17 a batch's expected version is checked once, against the version before it.
pub async fn a_batch_is_checked_once(store: Store) {
    let a = stream(&store, "a", 2).await;
    assert_eq!(store.append_batch(&a, Expected::Exact(2), events(3)).await.unwrap(), 5);
    let error = store.append_batch(&a, Expected::Exact(2), events(3)).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { actual: 5, .. }), "{error:?}");
    assert_eq!(store.stream_version(&a).await.unwrap(), 5);
}

/// ES-19 an empty batch => the current version, no event, updated_at unchanged.
pub async fn an_empty_batch_does_nothing(store: Store) {
    let a = stream(&store, "a", 2).await;
    let before = store.stream_info(&a).await.unwrap();
    for expected in [Expected::Any, Expected::Exists, Expected::Exact(2)] {
        let appended = store.append(&a, expected, vec![]).await.unwrap();
        assert_eq!(appended, Appended::new(2, None, false));
    }
    let error = store.append(&a, Expected::Exact(1), vec![]).await.unwrap_err();
    assert!(error.is_conflict(), "the expectation counts all the same: {error:?}");
    assert_eq!(store.stream_info(&a).await.unwrap(), before);
}

/// ES-04 what can never be right is invalid, and writes nothing.
pub async fn invalid_appends_are_refused(store: Store) {
    let a = stream(&store, "a", 0).await;
    let twice = event("twice");
    let mut blank = event("x");
    blank.event_type = "  ".into();
    for wrong in [vec![twice.clone(), event("other"), twice], vec![event("good"), blank]] {
        let error = store.append(&a, Expected::Any, wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    }
    assert!(matches!(NewEvent::json("", &()), Err(StoreError::Invalid { .. })));
    assert_eq!(store.stream_version(&a).await.unwrap(), 0);
}

/// ES-31 positions rise strictly over the whole store, and those of a deleted stream stay used.
pub async fn positions_rise_and_are_never_used_twice(store: Store) {
    let a = stream(&store, "a", 3).await;
    let b = stream(&store, "b", 0).await;
    let last = store.append(&b, Expected::Any, events(2)).await.unwrap().position.unwrap();
    let all = store.read_all(ReadAll::new()).await.unwrap();
    assert!(all[0].position > Position::START);
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(all.last().unwrap().position, last);
    // Both the newest and all others go.
    store.delete_stream(&b).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    let c = stream(&store, "c", 0).await;
    let next = store.append(&c, Expected::Any, events(1)).await.unwrap().position.unwrap();
    assert!(next > last, "{next:?} after {last:?}");
}
