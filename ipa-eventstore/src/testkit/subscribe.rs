//! Subscriptions: every event once and in order, from any place, until they end.

use super::fixtures::{
    Store, all_of, assert_deleted, assert_silent, event, events, everything, id, kind, next, stream, take,
    types, versions,
};
use crate::{Expected, Position, ReadAll, ReadStream, StoreError, Subscribe};

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
    assert_silent(&mut subscription).await;
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
        assert_eq!(types(&take(subscription, 2).await), ["first", "last"]);
        assert_silent(subscription).await;
    }
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

/// ES-10 subscribing to a missing stream => stream_not_found; to one beyond its end => waits.
pub async fn subscribing_to_a_missing_stream(store: Store) {
    let error = store.subscribe(Subscribe::stream(&id("a"), 0)).await.unwrap_err();
    assert!(matches!(error, StoreError::StreamNotFound { .. }), "{error:?}");
    let a = stream(&store, "a", 1).await;
    let mut beyond = store.subscribe(Subscribe::stream(&a, 2)).await.unwrap();
    store.append(&a, Expected::Any, events(2)).await.unwrap();
    assert_eq!(next(&mut beyond).await.version, 3);
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

/// ES-42 from every version and every position there is: what comes after it, and nothing else.
pub async fn from_every_place(store: Store) {
    let (a, b) = (stream(&store, "a", 2).await, stream(&store, "b", 2).await);
    store.append(&a, Expected::Any, events(3)).await.unwrap();
    store.append(&b, Expected::Any, events(1)).await.unwrap();
    let (of_a, all) = (all_of(&store, &a).await, everything(&store).await);
    let mut following = Vec::new();
    for after in 0..=7 {
        let subscription = store.subscribe(Subscribe::stream(&a, after)).await.unwrap();
        let known = usize::try_from(after).unwrap().min(of_a.len());
        following.push((subscription, of_a[known..].to_vec()));
    }
    let places = std::iter::once(Position::START).chain(all.iter().map(|event| event.position));
    for (known, place) in places.enumerate() {
        let subscription = store.subscribe(Subscribe::all(place)).await.unwrap();
        following.push((subscription, all[known..].to_vec()));
    }
    // Now history, then live.
    for (subscription, due) in &mut following {
        assert_eq!(take(subscription, due.len()).await, *due);
        assert_silent(subscription).await;
    }
    store.append(&a, Expected::Any, vec![event("six"), event("seven")]).await.unwrap();
    store.append(&a, Expected::Any, vec![event("eight")]).await.unwrap();
    let of_a = all_of(&store, &a).await;
    for (after, (subscription, _)) in following.iter_mut().enumerate() {
        // The first eight follow the stream, two of them from beyond its end.
        let first = if after == 6 || after == 7 { after } else { 5 };
        assert_eq!(take(subscription, 8 - first).await, of_a[first..]);
    }
    let mut never = store.subscribe(Subscribe::stream(&a, u64::MAX)).await.unwrap();
    assert_silent(&mut never).await;
}

/// ES-23 an empty list lets nothing through, in history or live; a deletion ends it all the same.
pub async fn empty_filters_let_nothing_through(store: Store) {
    let a = stream(&store, "a", 3).await;
    let mut control = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    let nothing: [&str; 0] = [];
    let mut of_a = store.subscribe(Subscribe::stream(&a, 0).event_types(nothing)).await.unwrap();
    let mut of_all = store.subscribe(Subscribe::all(Position::START).event_types(nothing)).await.unwrap();
    let no_kinds = Subscribe::stream_types(Position::START, []);
    let mut of_no_kind = store.subscribe(no_kinds).await.unwrap();
    let mut unknown = store.subscribe(Subscribe::stream(&a, 0).event_types(["E1", "e1 "])).await.unwrap();
    for (live, seen) in [(0, 3), (2, 2)] {
        store.append(&a, Expected::Any, events(live)).await.unwrap();
        take(&mut control, seen).await;
        for silent in [&mut of_a, &mut of_all, &mut of_no_kind, &mut unknown] {
            assert_silent(silent).await;
        }
    }
    store.delete_stream(&a).await.unwrap();
    assert_deleted(&mut of_a).await;
    assert_deleted(&mut unknown).await;
}

/// ES-23 each subscription has its own filter and its own place, whoever else follows the same.
pub async fn subscriptions_are_independent(store: Store) {
    let a = stream(&store, "a", 0).await;
    let from_the_start = || Subscribe::stream(&a, 0);
    let mut all = store.subscribe(from_the_start()).await.unwrap();
    let mut again = store.subscribe(from_the_start()).await.unwrap();
    let mut odd = store.subscribe(from_the_start().event_types(["odd"])).await.unwrap();
    for _ in 0..3 {
        store.append(&a, Expected::Any, vec![event("odd"), event("even")]).await.unwrap();
        assert_eq!(types(&take(&mut all, 2).await), ["odd", "even"]);
        assert_eq!(types(&take(&mut odd, 1).await), ["odd"]);
    }
    drop(all);
    assert_eq!(take(&mut again, 6).await, all_of(&store, &a).await);
    assert_silent(&mut odd).await;
}

/// ES-10 ES-31 a deleted stream cannot be followed; the whole store can, from before it and after it.
pub async fn subscribing_after_a_deletion(store: Store) {
    let (a, b) = (stream(&store, "a", 2).await, stream(&store, "b", 2).await);
    let all = everything(&store).await;
    store.delete_stream(&a).await.unwrap();
    for after in [0, 1, 2, u64::MAX] {
        let error = store.subscribe(Subscribe::stream(&a, after)).await.unwrap_err();
        assert!(matches!(&error, StoreError::StreamNotFound { stream } if *stream == a), "{error:?}");
    }
    for after in [Position::START, all[0].position, all[1].position] {
        let mut following = store.subscribe(Subscribe::all(after)).await.unwrap();
        assert_eq!(take(&mut following, 2).await, all_of(&store, &b).await);
    }
    // With its last stream the store is as empty as a new one, and goes on.
    store.delete_stream(&b).await.unwrap();
    let mut following = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let c = stream(&store, "c", 1).await;
    assert_eq!(next(&mut following).await.stream, c);
}

/// ES-41 subscribers that are dropped, or whose tasks are aborted while they wait, are no loss to anybody.
pub async fn dropped_subscribers_are_forgotten(store: Store) {
    let a = stream(&store, "a", 1).await;
    let mut stays = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    let mut waiting = Vec::new();
    for n in 0..50 {
        let from = if n % 2 == 0 { Subscribe::stream(&a, 0) } else { Subscribe::all(Position::START) };
        let mut subscription = store.subscribe(from).await.unwrap();
        waiting.push(tokio::spawn(async move { while subscription.next().await.is_some() {} }));
    }
    tokio::task::yield_now().await;
    for waiting in waiting {
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
    }
    for version in 1..=3 {
        assert_eq!(next(&mut stays).await.version, version);
        store.append(&a, Expected::Exact(version), events(1)).await.unwrap();
    }
    let mut new = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    assert_eq!(versions(&take(&mut new, 4).await), [1, 2, 3, 4]);
}

/// ES-31 a subscription that is in the middle of a stream when that goes ends, and does not go on with the next one.
pub async fn deletion_in_the_middle_of_history(store: Store) {
    let a = stream(&store, "a", 0).await;
    for _ in 0..3 {
        store.append(&a, Expected::Any, events(1000)).await.unwrap();
    }
    let mut subscription = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    assert_eq!(versions(&take(&mut subscription, 1500).await), (1..=1500).collect::<Vec<_>>());
    store.delete_stream(&a).await.unwrap();
    stream(&store, "a", 0).await;
    store.append(&a, Expected::Any, events(3000)).await.unwrap();
    // What it had at hand it may still give, in order; nothing of the new stream.
    let mut last = 1500;
    loop {
        match subscription.next().await {
            Some(Ok(event)) => {
                assert_eq!(event.version, last + 1);
                last = event.version;
                assert!(last < 3000, "it went on with the new stream");
            }
            Some(Err(StoreError::StreamNotFound { .. })) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(subscription.next().await.is_none());
}
