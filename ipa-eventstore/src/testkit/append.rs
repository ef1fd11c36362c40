//! Appending: versions, batches, expectations, and what comes back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use uuid::Uuid;

use super::fixtures::{Store, all_of, create, event, events, everything, id, kind, stream, take, versions};
use crate::{
    Appended, EventId, Expected, Json, ListStreams, NewEvent, Position, ReadAll, ReadStream, StoreError,
    Subscribe,
};

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

/// ES-07 ES-08 ExactAt is Exact, and the position of the last event beside it: it tells a stream from a later one of its name that is as
/// long. On a mismatch nothing is written; a retry is known before all that.
pub async fn exact_version_at_a_position(store: Store) {
    let a = stream(&store, "a", 2).await;
    let last = async || store.read_stream(&a, ReadStream::new().after(1)).await.unwrap()[0].position;
    let old = last().await;
    let at = |version, position| Expected::ExactAt { version, position };
    store.delete_stream(&a).await.unwrap();
    let missing = store.append(&a, at(2, old), events(1)).await.unwrap_err();
    assert!(matches!(missing, StoreError::StreamNotFound { .. }), "{missing:?}");
    stream(&store, "a", 2).await;
    let new = last().await;
    for (version, position) in [(2, old), (1, new), (3, new), (0, new)] {
        let error = store.append(&a, at(version, position), events(1)).await.unwrap_err();
        let conflict = StoreError::Conflict { stream: a.clone(), expected: version, actual: 2 };
        assert_eq!(error.to_string(), conflict.to_string());
    }
    assert_eq!(store.read_all(ReadAll::new()).await.unwrap().len(), 2);
    let batch = events(2);
    let stored = store.append(&a, at(2, new), batch.clone()).await.unwrap();
    assert_eq!((stored.version, stored.duplicate), (4, false));
    let again = store.append(&a, at(2, new), batch).await.unwrap();
    assert_eq!((again.version, again.position, again.duplicate), (4, stored.position, true));
    // Without an event there is no position.
    let empty = stream(&store, "empty", 0).await;
    assert_eq!(store.append(&empty, at(0, new), events(1)).await.unwrap().version, 1);
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
    let mut after = before.clone();
    for _ in 0..1000 {
        store.append(&a, Expected::Any, events(1)).await.unwrap();
        after = store.stream_info(&a).await.unwrap();
        if after.updated_at != before.updated_at {
            break;
        }
    }
    assert_ne!(after.updated_at, before.updated_at);
    assert_eq!(after.created_at, before.created_at);
    let last = store.read_stream(&a, ReadStream::new().backward().max_count(1)).await.unwrap();
    assert_eq!(after.updated_at, last[0].recorded_at);
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

/// ES-06 ids, names and numbers from the edge of what is valid come back as they were.
pub async fn odd_ids_names_and_numbers_come_back(store: Store) {
    let ids = [Uuid::nil(), Uuid::max(), Uuid::from_u128(1), Uuid::new_v4()];
    let names = ["é", "e\u{301}", "É", "a b", " padded ", "%_'\"\\;--", "\u{202e}rtl", "🦀", "\u{feff}x"];
    let mut written = Vec::new();
    for (n, name) in names.into_iter().enumerate() {
        let event = event(name).actor(name).correlation(name).causation(name);
        let event = event.schema_version(if n % 2 == 0 { 0 } else { u32::MAX });
        written.push(match ids.get(n) {
            Some(id) => event.id(EventId::from_uuid(*id)),
            None => event,
        });
    }
    let long = "n".repeat(4000);
    written.push(event(&long).actor(&*long));
    for (n, name) in names.into_iter().chain([&*long]).enumerate() {
        let stream = id(name);
        let expected = Expected::NoStream(kind(name));
        store.append(&stream, expected, vec![written[n].clone()]).await.unwrap();
    }
    for (n, name) in names.into_iter().chain([&*long]).enumerate() {
        let read = all_of(&store, &id(name)).await;
        assert_eq!(read.len(), 1, "{name:?} is no other name");
        let (read, written) = (&read[0], &written[n]);
        assert_eq!(
            (&*read.event_type, read.id, read.schema_version),
            (name, written.id, written.schema_version)
        );
        assert_eq!(
            [&read.actor, &read.correlation, &read.causation],
            [&written.actor, &written.correlation, &written.causation]
        );
        let info = store.stream_info(&id(name)).await.unwrap();
        assert_eq!((info.id, info.stream_type), (id(name), kind(name)));
        // A filter compares names as they are, too.
        let same_type = store.read_all(ReadAll::new().event_types([name])).await.unwrap();
        assert_eq!(same_type, std::slice::from_ref(read));
        let same_kind = store.read_all(ReadAll::new().stream_types([kind(name)])).await.unwrap();
        assert_eq!(same_kind, std::slice::from_ref(read));
    }
}

/// ES-06 an event of megabytes, and JSON of great depth, come back to the byte, from each way to read.
pub async fn large_events_come_back(store: Store) {
    let a = stream(&store, "a", 0).await;
    let wide = format!("\"{}\"", "ü\\u0000".repeat(700_000));
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let written: Vec<_> = [&wide, &deep]
        .map(|text| NewEvent::new("large", Json::parse(&**text).unwrap()).unwrap())
        .into_iter()
        .collect();
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    store.append(&a, Expected::Any, written).await.unwrap();
    let read = all_of(&store, &a).await;
    assert!(read[0].data.get() == wide, "{} bytes of {}", read[0].data.get().len(), wide.len());
    assert!(read[1].data.get() == deep, "{} bytes of {}", read[1].data.get().len(), deep.len());
    assert!(everything(&store).await == read);
    assert!(take(&mut all, 2).await == read);
}

/// ES-15 the times are the wall clock's, in whole microseconds, the same however they are read.
pub async fn times_are_the_wall_clocks(store: Store) {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let now = SystemTime::now();
    let a = stream(&store, "a", 1).await;
    let (info, read) = (store.stream_info(&a).await.unwrap(), all_of(&store, &a).await);
    for time in [info.created_at, info.updated_at, read[0].recorded_at] {
        // Clocks are set now and then, but not by days.
        assert!(now - DAY < time && time < now + DAY, "{time:?} at {now:?}");
        let since = time.duration_since(UNIX_EPOCH).unwrap();
        assert_eq!(since.subsec_nanos() % 1000, 0, "{time:?}");
    }
    assert_eq!(info.updated_at, read[0].recorded_at);
    assert_eq!(everything(&store).await, read);
    assert_eq!(store.list_streams(ListStreams::new()).await.unwrap(), [info]);
}

/// ES-15 a batch of thousands is one append: whole, in order, of one time.
pub async fn a_batch_of_thousands_is_whole(store: Store) {
    let a = stream(&store, "a", 1).await;
    let batch = events(3000);
    let appended = store.append(&a, Expected::Exact(1), batch.clone()).await.unwrap();
    let read = all_of(&store, &a).await;
    assert_eq!(versions(&read), (1..=3001).collect::<Vec<_>>());
    assert!(read[1..].iter().map(|event| event.id).eq(batch.iter().map(|event| event.id)));
    assert!(read[1..].iter().all(|event| event.recorded_at == read[1].recorded_at));
    assert_eq!((appended.version, appended.position), (3001, Some(read[3000].position)));
}

/// ES-15 a batch that is refused, wherever in it the fault is, leaves nothing, and nothing is published.
pub async fn a_refused_batch_leaves_nothing(store: Store) {
    let (a, other) = (stream(&store, "a", 2).await, stream(&store, "other", 0).await);
    let taken = events(2);
    store.append(&other, Expected::Any, taken.clone()).await.unwrap();
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    take(&mut all, 4).await;
    let before = (store.list_streams(ListStreams::new()).await.unwrap(), everything(&store).await);
    let mut blank = event("x");
    blank.event_type = " ".into();

    let good = events(6);
    let mut refused = Vec::new();
    for fault in [&taken[0], &blank, &good[0]] {
        for at in [1, 3, 6] {
            let mut batch = good.clone();
            batch.insert(at, fault.clone());
            refused.push(batch);
        }
    }
    for batch in refused {
        for (stream, expected) in [(&a, Expected::Any), (&a, Expected::Exact(2)), (&id("new"), create())] {
            let error = store.append(stream, expected, batch.clone()).await.unwrap_err();
            let told = matches!(error, StoreError::PartialDuplicate { .. } | StoreError::Invalid { .. });
            assert!(told, "{error:?}");
            let after = (store.list_streams(ListStreams::new()).await.unwrap(), everything(&store).await);
            assert_eq!(after, before);
        }
    }
    // Nothing remembers them: the next versions and ids are as if they had never been.
    let appended = store.append(&a, Expected::Exact(2), good.clone()).await.unwrap();
    assert_eq!((appended.version, appended.duplicate), (8, false));
    let got = take(&mut all, 6).await;
    assert!(got.iter().map(|event| event.id).eq(good.iter().map(|event| event.id)));
}

/// ES-10 ES-19 an empty append looks at the stream like any other, creates it with NoStream, and stores nothing.
pub async fn an_empty_append_creates_with_no_stream_only(store: Store) {
    let a = id("a");
    for expected in [Expected::Any, Expected::Exists, Expected::Exact(0)] {
        let error = store.append(&a, expected, vec![]).await.unwrap_err();
        assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    }
    assert!(!store.stream_exists(&a).await.unwrap());
    let created = store.append(&a, create(), vec![]).await.unwrap();
    assert_eq!(created, Appended::new(0, None, false));
    let error = store.append(&a, create(), vec![]).await.unwrap_err();
    assert!(matches!(error, StoreError::AlreadyExists { version: 0, .. }), "{error:?}");
    assert_eq!(store.append_batch(&a, Expected::Exact(0), vec![]).await.unwrap(), 0);
    assert_eq!(everything(&store).await, []);
}

/// ES-04 what can never be right is invalid whatever the store holds: on a missing stream, at a wrong version.
pub async fn invalid_is_told_first(store: Store) {
    let a = stream(&store, "a", 1).await;
    let twice = event("twice");
    let wrong = vec![twice.clone(), twice];
    let appends = [(&id("missing"), Expected::Any), (&a, Expected::Exact(9)), (&a, create())];
    for (stream, expected) in appends {
        let error = store.append(stream, expected, wrong.clone()).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{error:?}");
    }
    assert!(!store.stream_exists(&id("missing")).await.unwrap());
}
