//! Calls whose futures are dropped, before their first poll and after each of their polls: what they
//! ask for takes place whole or not at all, and holds nobody up.

use super::fixtures::{
    Polls, Store, all_of, assert_silent, event, events, everything, next, stream, take, types, versions,
};
use crate::{Expected, NewEvent, Position, ReadAll, ReadStream, Snapshot, StoreError, Subscribe};

/// A call that is dropped after its n-th poll, for n = 0, 1, 2 ..., is through by then at the latest.
const POLLS: usize = 30;

/// ES-42 `next` is cancel safe: a call that is dropped, wherever it was, loses no event.
pub async fn a_dropped_next_loses_nothing(store: Store) {
    let a = stream(&store, "a", 3).await;
    let mut subscription = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    let mut got = Vec::new();
    let (writer, to) = (store.clone(), a.clone());
    let writing = tokio::spawn(async move {
        for _ in 0..100 {
            writer.append(&to, Expected::Any, events(1)).await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    for polls in (1..5).cycle() {
        if got.len() == 103 {
            break;
        }
        if let Some(event) = Polls::new(subscription.next(), polls).await {
            got.push(event.expect("the subscription goes on").expect("an event"));
        }
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
    assert_eq!(versions(&got), (1..=103).collect::<Vec<_>>());
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

/// ES-45 a dropped append, wherever it was: retried, it is stored once, whole, and the answer is true.
pub async fn a_retry_after_a_dropped_append_stores_it_once(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let mut due: Vec<NewEvent> = Vec::new();
    let mut whole = 0;
    for polls in 0..POLLS {
        let batch = events(3);
        let before = due.len() as u64;
        let expected = if polls % 2 == 0 { Expected::Any } else { Expected::Exact(before) };
        let first = Polls::new(store.append(&a, expected.clone(), batch.clone()), polls).await;
        // The first may take place before the retry, after it began, or never.
        let again = store.append(&a, expected, batch.clone()).await.unwrap();
        assert_eq!(again.version, before + 3);
        if let Some(first) = first {
            let first = first.unwrap();
            assert_eq!(
                (first.version, first.position, first.duplicate),
                (again.version, again.position, false)
            );
            assert!(again.duplicate);
            whole += 1;
        }
        assert_eq!(store.stream_version(&a).await.unwrap(), before + 3);
        due.extend(batch);
    }
    assert!(whole > 0, "an append took more than {POLLS} polls");
    let read = all_of(&store, &a).await;
    assert!(read.iter().map(|event| event.id).eq(due.iter().map(|event| event.id)));
    assert_eq!(take(&mut all, due.len()).await, read);
}

/// ES-45 what a dropped append stored is published, though nobody else appends after it.
pub async fn a_dropped_append_that_is_stored_is_published(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut of_a = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    for polls in 0..POLLS {
        let batch = events(2);
        let dropped = Polls::new(store.append(&a, Expected::Any, batch.clone()), polls).await;
        drop(dropped);
        // The retry settles it. If it finds the first one's events, it publishes nothing itself.
        store.append(&a, Expected::Any, batch.clone()).await.unwrap();
        let got = take(&mut of_a, 2).await;
        assert!(
            got.iter().map(|event| event.id).eq(batch.iter().map(|event| event.id)),
            "after {polls} polls"
        );
        assert_silent(&mut of_a).await;
    }
}

/// ES-45 a dropped deletion takes all of its stream with it, or nothing.
pub async fn a_dropped_deletion_is_whole_or_absent(store: Store) {
    let other = stream(&store, "other", 1).await;
    for polls in 0..POLLS {
        // A dropped deletion may come late, so each round has a stream of its own.
        let a = stream(&store, &format!("a{polls}"), 3).await;
        store.save_snapshot(&a, Snapshot::json(3, 1, &()).unwrap()).await.unwrap();
        let dropped = Polls::new(store.delete_stream(&a), polls).await;
        if let Some(deleted) = dropped {
            deleted.unwrap();
        }
        match store.read_stream(&a, ReadStream::new()).await {
            Ok(read) => {
                assert_eq!(versions(&read), [1, 2, 3]);
                match store.delete_stream(&a).await {
                    Ok(()) | Err(StoreError::StreamNotFound { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
            Err(StoreError::StreamNotFound { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
        assert!(!store.stream_exists(&a).await.unwrap());
        assert!(everything(&store).await.iter().all(|event| event.stream == other));
    }
}

/// ES-45 a dropped snapshot is the old one or the new one, and the next is saved as ever.
pub async fn a_dropped_snapshot_is_the_old_or_the_new(store: Store) {
    let a = stream(&store, "a", POLLS * 2).await;
    let snapshot = |version: usize| Snapshot::json(version as u64, 1, &version).unwrap();
    store.save_snapshot(&a, snapshot(0)).await.unwrap();
    for polls in 0..POLLS {
        let (old, new) = (polls * 2, polls * 2 + 1);
        let _dropped = Polls::new(store.save_snapshot(&a, snapshot(new)), polls).await;
        let loaded = store.load_snapshot(&a).await.unwrap().unwrap();
        assert!(loaded == snapshot(old) || loaded == snapshot(new), "{loaded:?} at {new}");
        store.save_snapshot(&a, snapshot(new + 1)).await.unwrap();
        assert_eq!(store.load_snapshot(&a).await.unwrap(), Some(snapshot(new + 1)));
    }
}

/// ES-45 dropped reads and subscriptions leave nothing behind that others would wait for.
pub async fn dropped_reads_hold_nothing_up(store: Store) {
    let a = stream(&store, "a", 0).await;
    store.append(&a, Expected::Any, events(2500)).await.unwrap();
    for polls in 0..POLLS {
        drop(Polls::new(store.read_stream(&a, ReadStream::new()), polls).await);
        drop(Polls::new(store.read_all(ReadAll::new()), polls).await);
        drop(Polls::new(store.subscribe(Subscribe::stream(&a, 0)), polls).await);
        drop(Polls::new(store.stream_info(&a), polls).await);
        drop(Polls::new(store.load_snapshot(&a), polls).await);
    }
    let appended = store.append(&a, Expected::Exact(2500), vec![event("last")]).await.unwrap();
    assert_eq!(appended.version, 2501);
    let last = store.read_stream(&a, ReadStream::new().backward().max_count(1)).await.unwrap();
    assert_eq!(types(&last), ["last"]);
    let mut from_there = store.subscribe(Subscribe::stream(&a, 2500)).await.unwrap();
    assert_eq!(next(&mut from_there).await, last[0]);
}

/// ES-42 `next` is dropped after each of its polls, in history and live: what it would have given comes next.
pub async fn next_may_be_dropped_anywhere(store: Store) {
    let a = stream(&store, "a", 5).await;
    let mut subscription = store.subscribe(Subscribe::stream(&a, 0)).await.unwrap();
    let mut got = Vec::new();
    for round in 0..POLLS {
        store.append(&a, Expected::Any, events(1)).await.unwrap();
        for polls in 0..4 {
            // Only where there is something to come: else it would wait for its second poll for ever.
            if got.len() < 6 + round
                && let Some(event) = Polls::new(subscription.next(), polls).await
            {
                got.push(event.expect("the subscription goes on").expect("an event"));
            }
        }
    }
    let due = all_of(&store, &a).await;
    got.extend(take(&mut subscription, due.len() - got.len()).await);
    assert_eq!(got, due);
    // Nothing is left, and dropped while it waits it waits again.
    for _ in 0..3 {
        assert_silent(&mut subscription).await;
    }
    store.append(&a, Expected::Any, vec![event("last")]).await.unwrap();
    assert_eq!(types(&[next(&mut subscription).await]), ["last"]);
}
