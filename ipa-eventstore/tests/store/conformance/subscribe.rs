//! Subscriptions.

use std::time::Duration;

use ipa_eventstore::{Expected, Position, ReadAll, ReadStream, StoreError, Subscribe, Subscription};

use super::{Store, event, events, id, kind, next, stream, take, versions};

/// ES-35 a subscriber gets each event after its append, equal to what a read returns.
pub async fn a_subscriber_gets_what_reads_give(store: Store) {
    let (a, b) = (stream(&store, "a", 0).await, stream(&store, "b", 0).await);
    let mut of_a = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    let mut of_all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    for stream in [&b, &a, &b, &a] {
        store.append(stream, Expected::Any, events(1)).await.unwrap();
    }
    let read = store.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(take(&mut of_a, 2).await, read);
    let read = store.read_all(ReadAll::new()).await.unwrap();
    assert_eq!(take(&mut of_all, 4).await, read);
}

/// ES-36 a batch => one event each, in the order of versions.
pub async fn a_batch_is_one_event_each(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut subscription = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    store.append(&a, Expected::Any, events(4)).await.unwrap();
    store.append(&a, Expected::Any, vec![]).await.unwrap();
    store.append(&a, Expected::Any, events(1)).await.unwrap();
    assert_eq!(versions(&take(&mut subscription, 5).await), [1, 2, 3, 4, 5]);
}

/// ES-38 published only after commit: whoever reads on receipt finds the event.
pub async fn published_means_readable(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut subscription = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let (writer, to) = (store.clone(), a.clone());
    let writing = tokio::spawn(async move {
        for _ in 0..50 {
            writer.append(&to, Expected::Any, events(1)).await.unwrap();
        }
    });
    for version in 1..=50 {
        let received = next(&mut subscription).await;
        assert_eq!(received.version, version);
        let after = ReadStream::new().after(version - 1).max_count(1);
        assert_eq!(store.read_stream(&a, after).await.unwrap(), [received]);
    }
    writing.await.unwrap();
}

/// ES-38 a refused, a repeated and an empty append publish nothing.
pub async fn refused_appends_publish_nothing(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut of_a = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    let mut of_all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let first = vec![event("first")];
    store.append(&a, Expected::Any, first.clone()).await.unwrap();
    store.append(&a, Expected::Exact(9), vec![event("conflict")]).await.unwrap_err();
    store.append(&a, Expected::Any, vec![]).await.unwrap();
    assert!(store.append(&a, Expected::Any, first.clone()).await.unwrap().duplicate);
    let overlap = vec![event("overlap"), first[0].clone()];
    store.append(&a, Expected::Any, overlap).await.unwrap_err();
    store.append(&id("missing"), Expected::Any, events(1)).await.unwrap_err();
    store.append(&a, Expected::Any, vec![event("last")]).await.unwrap();
    for subscription in [&mut of_a, &mut of_all] {
        let got = take(subscription, 2).await;
        let types: Vec<_> = got.iter().map(|event| &*event.event_type).collect();
        assert_eq!(types, ["first", "last"]);
    }
}

/// ES-39 events are published in commit order, whoever appends and however many at once.
pub async fn publication_is_in_commit_order(store: Store) {
    const WRITERS: usize = 8;
    const EACH: usize = 40;
    let mut subscriptions = Vec::new();
    for _ in 0..3 {
        let from_the_start = Subscribe::all(Position::START);
        subscriptions.push(store.subscribe(from_the_start).await.unwrap());
    }
    let mut writing = Vec::new();
    for writer in 0..WRITERS {
        // Two writers share a stream.
        let store = store.clone();
        writing.push(tokio::spawn(async move {
            let a = id(&format!("s{}", writer / 2));
            let _ = store.append(&a, Expected::NoStream(kind("task")), vec![]).await;
            for _ in 0..EACH {
                store.append(&a, Expected::Any, events(2)).await.unwrap();
            }
        }));
    }
    let mut all = Vec::new();
    for subscription in &mut subscriptions {
        all.push(take(subscription, WRITERS * EACH * 2).await);
    }
    for writing in writing {
        writing.await.unwrap();
    }
    let stored = store.read_all(ReadAll::new()).await.unwrap();
    assert!(stored.is_sorted_by(|a, b| a.position < b.position));
    for got in all {
        assert_eq!(got, stored);
    }
    for n in 0..WRITERS / 2 {
        let of_one = stored.iter().filter(|event| event.stream == id(&format!("s{n}")));
        let got: Vec<u64> = of_one.map(|event| event.version).collect();
        assert_eq!(got, (1..=(EACH * 4) as u64).collect::<Vec<_>>());
    }
}

/// ES-42 history and live meet without a gap or a repetition, from any place, while appends go on.
pub async fn catch_up_crosses_into_live_without_a_seam(store: Store) {
    let a = stream(&store, "a", 0).await;
    // More than a page of history.
    for _ in 0..3 {
        store.append(&a, Expected::Any, events(600)).await.unwrap();
    }
    let middle = store.read_all(ReadAll::new().max_count(700)).await.unwrap()[699].position;
    let (writer, to) = (store.clone(), a.clone());
    let writing = tokio::spawn(async move {
        for _ in 0..200 {
            writer.append(&to, Expected::Any, events(1)).await.unwrap();
        }
    });
    let subscriptions = [
        (Subscribe::stream(&a, 0), 0),
        (Subscribe::stream(&a, 1799), 1799),
        (Subscribe::stream(&a, 1990), 1990),
        (Subscribe::all(Position::START), 0),
        (Subscribe::all(middle), 700),
    ];
    let following: Vec<_> = subscriptions
        .into_iter()
        .map(|(subscribe, after)| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut subscription = store.subscribe(subscribe).await.unwrap();
                let got = take(&mut subscription, 2000 - after).await;
                assert_eq!(versions(&got), (after as u64 + 1..=2000).collect::<Vec<_>>());
            })
        })
        .collect();
    for following in following {
        following.await.unwrap();
    }
    writing.await.unwrap();
}

/// ES-23 a subscription's filters hold for history and live, and skip whole pages.
pub async fn filters_hold_for_history_and_live(store: Store) {
    let a = stream(&store, "a", 0).await;
    let b = id("b");
    store.append(&b, Expected::NoStream(kind("other")), vec![]).await.unwrap();
    store.append(&a, Expected::Any, vec![event("wanted")]).await.unwrap();
    for _ in 0..3 {
        let noise = (0..500).map(|_| event("noise")).collect();
        store.append(&a, Expected::Any, noise).await.unwrap();
    }
    store.append(&b, Expected::Any, vec![event("wanted"), event("noise")]).await.unwrap();
    let wanted = |subscribe: Subscribe| store.subscribe(subscribe.event_types(["wanted"]));
    let mut of_a = wanted(Subscribe::stream(&a, 0)).await.unwrap();
    let mut of_all = wanted(Subscribe::all(Position::START)).await.unwrap();
    let other = Subscribe::stream_types(Position::START, [kind("other")]);
    let mut of_other = wanted(other).await.unwrap();
    for stream in [&a, &b] {
        let batch = vec![event("noise"), event("wanted")];
        store.append(stream, Expected::Any, batch).await.unwrap();
    }
    assert_eq!(versions(&take(&mut of_a, 2).await), [1, 1503]);
    assert_eq!(versions(&take(&mut of_all, 4).await), [1, 1, 1503, 4]);
    assert_eq!(versions(&take(&mut of_other, 2).await), [1, 4]);
}

/// ES-42 a subscriber that does not read slows no append and loses no event.
pub async fn a_slow_subscriber_misses_nothing(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut slow = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    store.append(&a, Expected::Any, events(1)).await.unwrap();
    assert_eq!(next(&mut slow).await.version, 1);
    for _ in 0..30 {
        store.append(&a, Expected::Any, events(100)).await.unwrap();
    }
    assert_eq!(versions(&take(&mut slow, 3000).await), (2..=3001).collect::<Vec<_>>());
}

/// ES-42 `next` is cancel safe: a call that is dropped, wherever it was, loses no event.
pub async fn a_dropped_next_loses_nothing(store: Store) {
    let a = stream(&store, "a", 3).await;
    let mut subscription = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    let mut got = Vec::new();
    let (writer, to) = (store.clone(), a.clone());
    let writing = tokio::spawn(async move {
        for _ in 0..100 {
            writer.append(&to, Expected::Any, events(1)).await.unwrap();
        }
    });
    while got.len() < 103 {
        tokio::select! {
            biased;
            event = next(&mut subscription) => got.push(event),
            // Ready at its second poll, so `next` is dropped wherever its first one left it.
            () = tokio::task::yield_now() => {}
        }
    }
    writing.await.unwrap();
    assert_eq!(versions(&got), (1..=103).collect::<Vec<_>>());
}

/// ES-10 subscribing to a missing stream => stream_not_found; to one beyond its end => waits.
pub async fn subscribing_to_a_missing_stream(store: Store) {
    let error = store.subscribe(Subscribe::stream(&id("a"), 0)).await.unwrap_err();
    assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    let a = stream(&store, "a", 1).await;
    let mut beyond = store.subscribe(Subscribe::stream(&a, 2)).await.unwrap();
    store.append(&a, Expected::Any, events(2)).await.unwrap();
    assert_eq!(next(&mut beyond).await.version, 3);
}

async fn assert_deleted(subscription: &mut Subscription) {
    let ended = tokio::time::timeout(Duration::from_secs(60), subscription.next());
    match ended.await.expect("an end within a minute") {
        Some(Err(StoreError::StreamNotFound { .. })) => {}
        other => panic!("{other:?}"),
    }
    assert!(subscription.next().await.is_none());
    assert!(subscription.next().await.is_none());
}

/// ES-31 deleting a stream ends its subscriptions, told why: those that wait and those that lag.
pub async fn deletion_ends_a_subscription_to_its_stream(store: Store) {
    let a = stream(&store, "a", 2).await;
    let mut waiting = store.subscribe(Subscribe::stream(&a, 2)).await.unwrap();
    let waiting = tokio::spawn(async move {
        assert_deleted(&mut waiting).await;
    });
    let mut lagging = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    tokio::task::yield_now().await;
    store.delete_stream(&a).await.unwrap();
    waiting.await.unwrap();
    assert_deleted(&mut lagging).await;
}

/// ES-31 a new stream of a deleted one's name is not taken for it.
pub async fn a_new_stream_of_the_name_is_another(store: Store) {
    let a = stream(&store, "a", 1).await;
    let mut old = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    assert_eq!(next(&mut old).await.version, 1);
    store.delete_stream(&a).await.unwrap();
    stream(&store, "a", 5).await;
    assert_deleted(&mut old).await;
    let mut new = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    assert_eq!(versions(&take(&mut new, 5).await), [1, 2, 3, 4, 5]);
}

/// ES-31 a subscription to the whole store goes on past what is deleted.
pub async fn the_whole_store_goes_on_past_a_deletion(store: Store) {
    let (a, b) = (stream(&store, "a", 2).await, stream(&store, "b", 1).await);
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    assert_eq!(next(&mut all).await.stream, b);
    store.delete_stream(&b).await.unwrap();
    let c = stream(&store, "c", 1).await;
    assert_eq!(next(&mut all).await.stream, c);
}

/// ES-45 a dropped append is stored whole or not at all, and published if stored; others go on.
pub async fn a_dropped_append_is_whole_or_absent(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    for _ in 0..50 {
        let append = store.append(&a, Expected::Any, events(3));
        tokio::select! {
            biased;
            appended = append => { appended.unwrap(); }
            () = std::future::ready(()) => {}
        }
    }
    let appended = store.append(&a, Expected::Any, vec![event("last")]).await.unwrap();
    assert_eq!(appended.version % 3, 1, "whole batches before it");
    let got = take(&mut all, usize::try_from(appended.version).unwrap()).await;
    assert_eq!(got, store.read_stream(&a, ReadStream::new()).await.unwrap());
    assert_eq!(&*got.last().unwrap().event_type, "last");
}
