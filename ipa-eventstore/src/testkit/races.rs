//! Many at once: appenders, creators, deleters, readers, subscribers.

use std::collections::{BTreeMap, BTreeSet};

use tokio::task::JoinSet;

use super::fixtures::{
    Store, all_of, assert_silent, events, everything, id, kind, next, stream, take, versions,
};
use crate::{
    Expected, NewEvent, Position, ReadAll, ReadStream, RecordedEvent, Snapshot, StoreError, Subscribe,
};

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

/// ES-38 published only after commit: whoever reads on receipt finds the event.
pub async fn published_means_readable(store: Store) {
    let a = stream(&store, "a", 0).await;
    let mut subscription = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let (writer, to) = (store.clone(), a.clone());
    let writing = tokio::spawn(async move {
        for _ in 0..50 {
            writer.append(&to, Expected::Any, events(1)).await.unwrap();
            tokio::task::yield_now().await;
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

/// ES-39 events are published in commit order, whoever appends and however many at once.
pub async fn publication_is_in_commit_order(store: Store) {
    const WRITERS: usize = 8;
    // A multiple of three: batches of one, two and three in turn are two on average.
    const EACH: usize = 39;
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
            for round in 0..EACH {
                store.append(&a, Expected::Any, events(1 + (writer + round) % 3)).await.unwrap();
                // Where a store answers at once, the others would not get their turn.
                tokio::task::yield_now().await;
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
            tokio::task::yield_now().await;
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
                tokio::task::yield_now().await;
                let got = take(&mut subscription, 2000 - after).await;
                assert_eq!(versions(&got), (after as u64 + 1..=2000).collect::<Vec<_>>());
                assert_silent(&mut subscription).await;
            })
        })
        .collect();
    for following in following {
        following.await.unwrap();
    }
    writing.await.unwrap();
}

/// ES-07 of many that send the same append at once, one stores it and all get the same answer.
pub async fn the_same_append_at_once_is_stored_once(store: Store) {
    let a = stream(&store, "a", 1).await;
    for round in 0..5 {
        let batch = events(3);
        let mut appends = JoinSet::new();
        for n in 0..10 {
            let (store, a, batch) = (store.clone(), a.clone(), batch.clone());
            let expected = if n % 2 == 0 { Expected::Any } else { Expected::Exact(1 + round * 3) };
            appends.spawn(async move { store.append(&a, expected, batch).await.unwrap() });
        }
        let answers = appends.join_all().await;
        assert_eq!(answers.iter().filter(|answer| !answer.duplicate).count(), 1, "{answers:?}");
        for answer in &answers {
            assert_eq!((answer.version, answer.position), (4 + round * 3, answers[0].position));
        }
    }
    assert_eq!(versions(&all_of(&store, &a).await), (1..=16).collect::<Vec<_>>());
}

/// ES-02 of many that create a stream at once, one does, with its type and its events.
pub async fn of_many_creators_one_wins(store: Store) {
    for round in 0..5 {
        let a = id(&format!("a{round}"));
        let mut creating = JoinSet::new();
        for n in 0..10 {
            let (store, a) = (store.clone(), a.clone());
            creating.spawn(async move {
                let first: Vec<NewEvent> = events(n % 3 + 1);
                let name = format!("kind {n}");
                let started = store.start_stream(&kind(&name), Some(a), first.clone()).await;
                (name, first, started)
            });
        }
        let mut winner = None;
        for (name, first, started) in creating.join_all().await {
            match started {
                Ok(_) => {
                    assert!(winner.replace((name, first)).is_none(), "two creators were told that they won")
                }
                Err(StoreError::AlreadyExists { .. }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        let (name, first) = winner.expect("one creator wins");
        assert_eq!(store.stream_info(&a).await.unwrap().stream_type, kind(&name));
        let stored = all_of(&store, &a).await;
        assert!(stored.iter().map(|event| event.id).eq(first.iter().map(|event| event.id)));
    }
}

/// ES-38 a batch is seen whole or not at all, by whoever reads, however often, while batches are appended.
pub async fn batches_are_seen_whole(store: Store) {
    let a = stream(&store, "a", 0).await;
    let writing = {
        let (store, a) = (store.clone(), a.clone());
        tokio::spawn(async move {
            for _ in 0..60 {
                store.append(&a, Expected::Any, events(3)).await.unwrap();
                tokio::task::yield_now().await;
            }
        })
    };
    let mut seen = 0;
    while seen < 180 {
        let read = all_of(&store, &a).await;
        let version = store.stream_version(&a).await.unwrap();
        let whole = everything(&store).await;
        for count in [read.len(), usize::try_from(version).unwrap(), whole.len()] {
            assert!(count % 3 == 0 && count >= seen, "{count} after {seen}");
            seen = count;
        }
        assert_eq!(versions(&read), (1..=read.len() as u64).collect::<Vec<_>>());
        tokio::task::yield_now().await;
    }
    writing.await.unwrap();
}

/// ES-13 ES-39 appenders, creators and deleters at work, and subscribers of every kind: each sees what a read gives
/// of what is left.
pub async fn all_views_agree(store: Store) {
    const STREAMS: usize = 6;
    const EACH: usize = 30;
    let kinds = ["even", "odd"];
    let mut of_streams = Vec::new();
    for n in 0..STREAMS {
        let a = id(&format!("s{n}"));
        store.append(&a, Expected::NoStream(kind(kinds[n % 2])), vec![]).await.unwrap();
        of_streams.push((a.clone(), store.subscribe(Subscribe::stream(&a, 0)).await.unwrap()));
    }
    let mut of_all = store.subscribe(Subscribe::all(Position::START)).await.unwrap();
    let odd = Subscribe::stream_types(Position::START, [kind("odd")]);
    let of_odd = store.subscribe(odd).await.unwrap();
    let firsts = Subscribe::all(Position::START).event_types(["e1"]);
    let of_firsts = store.subscribe(firsts).await.unwrap();

    let mut working = JoinSet::new();
    for n in 0..STREAMS * 2 {
        let store = store.clone();
        working.spawn(async move {
            let a = id(&format!("s{}", n % STREAMS));
            for round in 0..EACH {
                store.append(&a, Expected::Any, events(1 + (n + round) % 3)).await.unwrap();
                tokio::task::yield_now().await;
                // Streams that come and go among the others, unseen by those who follow others.
                if round % 10 == n % 10 {
                    let doomed = id(&format!("doomed {n} {round}"));
                    store.append(&doomed, Expected::NoStream(kind("doomed")), events(2)).await.unwrap();
                    store.delete_stream(&doomed).await.unwrap();
                }
            }
        });
    }
    // Late, and in the middle of it all.
    let middle = next(&mut of_all).await;
    let late = store.read_all(ReadAll::new().after(middle.position).max_count(5)).await.unwrap();
    let after = late.last().map_or(middle.position, |event| event.position);
    let of_late = store.subscribe(Subscribe::all(after)).await.unwrap();
    working.join_all().await;

    let stored = everything(&store).await;
    assert!(stored.is_sorted_by(|a, b| a.position < b.position));
    let kept = |event: &RecordedEvent| event.stream.as_str().starts_with('s');
    assert!(stored.iter().all(kept));
    let mut by_stream: BTreeMap<_, Vec<RecordedEvent>> = BTreeMap::new();
    for event in &stored {
        by_stream.entry(event.stream.clone()).or_default().push(event.clone());
    }
    for (a, subscription) in &mut of_streams {
        let due = by_stream.remove(a).unwrap();
        assert_eq!(versions(&due), (1..=due.len() as u64).collect::<Vec<_>>());
        assert_eq!(all_of(&store, a).await, due);
        assert_eq!(take(subscription, due.len()).await, due);
    }
    // Those who follow all may have met a stream that is gone by now; it is no event twice or out of order.
    let due = |wanted: &dyn Fn(&RecordedEvent) -> bool| -> Vec<Position> {
        stored.iter().filter(|event| wanted(event)).map(|event| event.position).collect()
    };
    let is_odd = |event: &RecordedEvent| event.stream.as_str().ends_with(['1', '3', '5']);
    let views = [
        (of_all, vec![middle.clone()], due(&|_| true)),
        (of_late, vec![], due(&|event| event.position > after)),
        (of_odd, vec![], due(&is_odd)),
        (of_firsts, vec![], due(&|event| &*event.event_type == "e1")),
    ];
    for (mut subscription, mut seen, due) in views {
        while seen.last().map(|event| event.position) < due.last().copied() {
            seen.push(next(&mut subscription).await);
        }
        assert!(seen.is_sorted_by(|a, b| a.position < b.position));
        let seen: Vec<_> = seen.iter().filter(|event| kept(event)).map(|event| event.position).collect();
        assert_eq!(seen, due);
    }
}

/// ES-31 appends that race a deletion are stored before it or refused after it; nothing is left either way.
pub async fn appends_race_a_deletion(store: Store) {
    for _ in 0..10 {
        let a = stream(&store, "a", 1).await;
        let mut racing = JoinSet::new();
        for n in 0..6 {
            let (store, a) = (store.clone(), a.clone());
            racing.spawn(async move {
                if n == 3 {
                    return store.delete_stream(&a).await;
                }
                match store.append(&a, Expected::Any, events(2)).await {
                    Ok(_) | Err(StoreError::StreamNotFound { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            });
        }
        for raced in racing.join_all().await {
            raced.unwrap();
        }
        assert!(!store.stream_exists(&a).await.unwrap());
        assert_eq!(everything(&store).await, []);
    }
}

/// ES-29 of many snapshots that are saved at once the newest stays, and each other is told the truth.
pub async fn the_newest_of_many_snapshots_stays(store: Store) {
    let a = stream(&store, "a", 20).await;
    let mut saving = JoinSet::new();
    for n in 0..20 {
        let (store, a) = (store.clone(), a.clone());
        let version = (n * 7) % 20 + 1;
        saving.spawn(async move {
            let saved = store.save_snapshot(&a, Snapshot::json(version, 1, &version).unwrap()).await;
            match saved {
                Ok(()) => {}
                Err(StoreError::SnapshotStale { stored, .. }) => assert!(stored > version),
                Err(error) => panic!("{error:?}"),
            }
            // What is stored is this one or a newer one, from here on.
            let stored = store.load_snapshot(&a).await.unwrap().unwrap();
            assert!(stored.version >= version && stored.state::<u64>().unwrap() == stored.version);
        });
    }
    saving.join_all().await;
    assert_eq!(store.load_snapshot(&a).await.unwrap().unwrap().version, 20);
}
