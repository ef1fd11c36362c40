//! A store that cannot answer, or whose answer is lost.

use std::time::Duration;

use ipa_eventstore::{EventId, EventStore, ExecuteError, StoreError};
use tokio::time::Instant;

use crate::counter::{Command, create, now, start, stored, stream};
use crate::scripted::{Scripted, Turn};

#[tokio::test(start_paused = true)]
async fn an_unavailable_store_is_answered_at_once_and_nothing_changes() {
    let store = Scripted::default();
    create(&store, &[1]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let watch = counter.watch().await.unwrap();
    store.then(Turn::Unavailable);
    let before = Instant::now();
    let refused = counter.execute(Command::Add(1)).await;
    assert!(matches!(refused, Err(ExecuteError::Store(StoreError::Unavailable(_)))));
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(store.appended().len(), 2, "it is not sent again");
    assert!(!watch.has_changed().unwrap());
    assert_eq!((stored(&store).await, now(&counter).await), (vec![1], (1, 1)));
    assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, 2);
}

#[tokio::test(start_paused = true)]
async fn an_append_of_unknown_fate_is_sent_again_with_the_same_ids_and_stored_once() {
    for lost in [true, false] {
        let store = Scripted::default();
        create(&store, &[1]).await;
        let (_supervisor, counter) = start(store.clone()).await;
        store.then(if lost { Turn::IndeterminateLost } else { Turn::IndeterminateDone });
        store.then(Turn::Unavailable); // says nothing of the first try
        let done = counter.execute(Command::AddAll(vec![2, 3])).await.unwrap();
        assert_eq!((done.version, done.events), (3, 2));
        let sent = store.appended();
        assert_eq!(sent.len(), 4);
        assert!(sent[1] == sent[2] && sent[2] == sent[3] && sent[1].len() == 2);
        assert_eq!((stored(&store).await, now(&counter).await), (vec![1, 2, 3], (3, 6)));
    }
}

#[tokio::test(start_paused = true)]
async fn tries_are_bounded_and_their_end_is_never_called_not_done() {
    for last in [Turn::IndeterminateLost, Turn::Unavailable] {
        let store = Scripted::default();
        create(&store, &[1]).await;
        let (_supervisor, counter) = start(store.clone()).await;
        // The first is done, and nobody learns of it.
        store.then(Turn::IndeterminateDone);
        for _ in 0..3 {
            store.then(Turn::Unavailable);
        }
        store.then(last);
        let before = Instant::now();
        let unknown = counter.execute(Command::Add(2)).await;
        assert!(matches!(unknown, Err(ExecuteError::Indeterminate(_))), "{unknown:?}");
        assert_eq!(before.elapsed(), Duration::from_millis(760));
        assert_eq!(store.appended().len(), 1 + 5);
        assert_eq!(now(&counter).await, (1, 1));
        // The next command is decided on what is stored, even if it has no events; and is not, if that cannot be read.
        store.fail_reads(1);
        let unread = counter.execute(Command::AddAll(vec![])).await;
        assert!(matches!(unread, Err(ExecuteError::Store(StoreError::Unavailable(_)))));
        assert_eq!(counter.execute(Command::AddAll(vec![])).await.unwrap().version, 2);
        assert_eq!(now(&counter).await, (2, 3));
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_after_a_lost_append_says_that_it_is_not_stored() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    store.then(Turn::IndeterminateLost).then(Turn::After(vec![crate::counter::added(5)]));
    assert_eq!(counter.execute(Command::Add(1)).await.unwrap().version, 2);
    assert_eq!((stored(&store).await, now(&counter).await), (vec![5, 1], (2, 6)));
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_events_have_its_ids_can_be_repeated() {
    let store = Scripted::default();
    create(&store, &[]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    let id = EventId::generate();
    assert_eq!(counter.execute(Command::AddOnce(5, id)).await.unwrap().version, 1);
    counter.execute(Command::Add(1)).await.unwrap();
    // Long in the state, and stored with 5: what the repetition says does not count.
    assert_eq!(counter.execute(Command::AddOnce(6, id)).await.unwrap().version, 1);
    assert_eq!((stored(&store).await, now(&counter).await), (vec![5, 1], (2, 6)));

    // The same from another manager that has not seen it: it takes in what is stored.
    let (_other, other) = start(store.clone()).await;
    let id = EventId::generate();
    counter.execute(Command::AddOnce(7, id)).await.unwrap();
    assert_eq!(other.execute(Command::AddOnce(8, id)).await.unwrap().version, 3);
    assert_eq!((stored(&store).await, now(&other).await), (vec![5, 1, 7], (3, 13)));

    // Stored, and not to be read back: not to be called done.
    let id = EventId::generate();
    counter.execute(Command::AddOnce(9, id)).await.unwrap();
    store.fail_reads_after(0, 1);
    let unread = other.execute(Command::AddOnce(9, id)).await;
    assert!(matches!(unread, Err(ExecuteError::Indeterminate(StoreError::Unavailable(_)))), "{unread:?}");
    assert_eq!(other.execute(Command::AddOnce(9, id)).await.unwrap().version, 4);
    assert_eq!(now(&other).await, (4, 22));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_stream_is_an_answer_and_the_state_stays() {
    let store = Scripted::default();
    create(&store, &[1]).await;
    let (_supervisor, counter) = start(store.clone()).await;
    store.delete_stream(&stream()).await.unwrap();
    let missing = counter.execute(Command::Add(1)).await;
    assert!(matches!(missing, Err(ExecuteError::Store(StoreError::StreamNotFound { .. }))));
    assert_eq!(now(&counter).await, (1, 1));
    store.inner.close();
    let closed = counter.execute(Command::Add(1)).await;
    assert!(matches!(closed, Err(ExecuteError::Store(StoreError::Closed))));
}
