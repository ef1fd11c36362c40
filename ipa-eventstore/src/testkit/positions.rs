//! Positions: ordered tokens that are never used twice.

use std::collections::BTreeSet;

use super::fixtures::{
    Store, all_of, assert_silent, event, events, everything, id, kind, next, stream, take,
};
use crate::{Expected, Position, ReadAll, RecordedEvent, Subscribe};

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

/// ES-21 a position is a token: kept as bytes, as text or in JSON it is the same place, and compares the same.
pub async fn positions_are_tokens(store: Store) {
    let (a, b) = (stream(&store, "a", 0).await, stream(&store, "b", 0).await);
    for n in 0..20 {
        let stream = if n % 3 == 0 { &a } else { &b };
        store.append(stream, Expected::Any, events(1 + n % 2)).await.unwrap();
    }
    let all = everything(&store).await;
    let mut kept = BTreeSet::new();
    for pair in all.windows(2) {
        let [earlier, later] = [pair[0].position, pair[1].position];
        assert!(Position::START < earlier && earlier < later);
        assert!(earlier.to_bytes() < later.to_bytes(), "bytes are ordered as positions are");
        assert!(earlier.to_string() < later.to_string(), "text too");
    }
    for (n, event) in all.iter().enumerate() {
        let position = event.position;
        let text = position.to_string();
        let json = serde_json::to_string(&position).unwrap();
        let back: [Position; 3] = [
            Position::from_bytes(position.to_bytes()),
            text.parse().unwrap(),
            serde_json::from_str(&json).unwrap(),
        ];
        for back in back {
            assert_eq!(back, position);
            assert_eq!(store.read_all(ReadAll::new().after(back)).await.unwrap(), all[n + 1..]);
            assert_eq!(store.read_all(ReadAll::new().before(back)).await.unwrap(), all[..n]);
        }
        assert!(kept.insert(text), "used twice: {event:?}");
    }
}

/// ES-15 an append's position is that of its last event, wherever that is read.
pub async fn an_append_tells_its_position(store: Store) {
    let (a, b) = (stream(&store, "a", 0).await, stream(&store, "b", 0).await);
    let mut told = Vec::new();
    for (stream, count) in [(&a, 1), (&b, 3), (&a, 2), (&b, 1)] {
        let appended = store.append(stream, Expected::Any, events(count)).await.unwrap();
        told.push((stream.clone(), appended.version, appended.position.unwrap()));
    }
    let place = |event: &RecordedEvent| (event.stream.clone(), event.version, event.position);
    let of_all: BTreeSet<_> = everything(&store).await.iter().map(place).collect();
    let of_each = [all_of(&store, &a).await, all_of(&store, &b).await].concat();
    assert_eq!(of_each.iter().map(place).collect::<BTreeSet<_>>(), of_all);
    assert!(told.is_sorted_by_key(|told| told.2));
    for told in told {
        assert!(of_all.contains(&told), "{told:?}");
    }
}

/// ES-31 the newest event is deleted, again and again: what comes next has a position above all that ever were.
pub async fn the_newest_event_s_position_stays_used(store: Store) {
    stream(&store, "kept", 1).await;
    let mut used = BTreeSet::new();
    let mut last = everything(&store).await[0].position;
    for round in 0..5 {
        let name = format!("doomed {round}");
        let doomed = stream(&store, &name, 0).await;
        for _ in 0..2 {
            let appended = store.append(&doomed, Expected::Any, events(2)).await.unwrap();
            let position = appended.position.unwrap();
            assert!(position > last, "{position:?} after {last:?}");
            last = position;
        }
        for event in all_of(&store, &doomed).await {
            assert!(used.insert(event.position), "used twice: {event:?}");
        }
        store.delete_stream(&doomed).await.unwrap();
        // Under the deleted one's name, or another's.
        let name = if round % 2 == 0 { name } else { format!("other {round}") };
        let again = stream(&store, &name, 0).await;
        let appended = store.append(&again, Expected::Any, vec![event("x")]).await.unwrap();
        last = appended.position.unwrap();
        assert!(used.insert(last), "used twice: {last:?}");
        assert!(used.iter().next_back() == Some(&last));
        store.delete_stream(&again).await.unwrap();
    }
}

/// ES-31 the position of a deleted event is still a place: reads and subscriptions go on from there.
pub async fn a_deleted_event_s_position_is_still_a_place(store: Store) {
    stream(&store, "a", 2).await;
    let doomed = stream(&store, "doomed", 3).await;
    let places: Vec<_> = all_of(&store, &doomed).await.iter().map(|event| event.position).collect();
    let b = stream(&store, "b", 1).await;
    store.delete_stream(&doomed).await.unwrap();
    let all = everything(&store).await;
    for place in &places {
        assert_eq!(store.read_all(ReadAll::new().after(*place)).await.unwrap(), all[2..]);
        assert_eq!(store.read_all(ReadAll::new().before(*place)).await.unwrap(), all[..2]);
        assert_eq!(
            store.read_all(ReadAll::new().before(*place).backward().max_count(1)).await.unwrap(),
            all[1..2]
        );
        let mut from_there = store.subscribe(Subscribe::all(*place)).await.unwrap();
        assert_eq!(next(&mut from_there).await, all[2]);
    }
    // At the very end there is nothing, until something comes.
    store.delete_stream(&b).await.unwrap();
    for place in [places[2], all[2].position] {
        assert_eq!(store.read_all(ReadAll::new().after(place)).await.unwrap(), []);
        let mut from_there = store.subscribe(Subscribe::all(place)).await.unwrap();
        let created = Expected::NoStream(kind("task"));
        let new = id(&format!("new {place}"));
        assert_silent(&mut from_there).await;
        store.append(&new, created, events(2)).await.unwrap();
        let got: Vec<_> = take(&mut from_there, 2).await;
        assert_eq!(got, all_of(&store, &new).await);
        store.delete_stream(&new).await.unwrap();
    }
}

/// ES-31 refused, repeated and empty appends in between use no position of anybody else's.
pub async fn refused_appends_take_no_position_from_others(store: Store) {
    let (a, b) = (stream(&store, "a", 0).await, stream(&store, "b", 0).await);
    let first = events(1);
    store.append(&a, Expected::Any, first.clone()).await.unwrap();
    for n in 0..5 {
        store.append(&a, Expected::Exact(99), events(2)).await.unwrap_err();
        store.append(&b, Expected::Any, vec![event("new"), first[0].clone()]).await.unwrap_err();
        assert!(store.append(&a, Expected::Any, first.clone()).await.unwrap().duplicate);
        store.append(&a, Expected::Any, vec![]).await.unwrap();
        let stream = if n % 2 == 0 { &b } else { &a };
        store.append(stream, Expected::Any, events(1)).await.unwrap();
    }
    let all = everything(&store).await;
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted_by(|a, b| a.position < b.position));
}
