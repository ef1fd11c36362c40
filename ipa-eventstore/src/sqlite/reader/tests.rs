use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::Poll;

use tempfile::TempDir;

use super::*;

/// Readers of an empty store, and the directory that it is in.
async fn readers(at_once: usize) -> (Arc<Readers>, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("read.db");
    SqliteOptions::new().open(&path).await.unwrap().close().await.unwrap();
    (Arc::new(Readers::new(path, SqliteOptions::new().readers(at_once))), directory)
}

fn one(connection: &Connection) -> Result<i64, StoreError> {
    Ok(connection.query_row("SELECT 1", [], |row| row.get(0)).unwrap())
}

/// A read that runs until it is let go, and how to let it go. Returns when it runs.
async fn held(
    readers: &Arc<Readers>,
) -> (tokio::task::JoinHandle<Result<i64, StoreError>>, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel();
    let (runs, running) = oneshot::channel();
    let readers = readers.clone();
    let read = tokio::spawn(async move {
        readers
            .run(move |connection| {
                runs.send(()).unwrap();
                wait.recv().unwrap();
                one(connection)
            })
            .await
    });
    running.await.unwrap();
    (read, go)
}

fn threads_and_waiting(readers: &Readers) -> (usize, usize) {
    let pool = readers.pool.lock();
    (pool.threads, pool.waiting.len())
}

/// Polls a future once, which has a read queued.
async fn queued(mut read: std::pin::Pin<&mut impl Future>) {
    poll_fn(|cx| {
        assert!(read.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
}

#[tokio::test]
async fn reads_are_made_in_turn() {
    let (readers, _directory) = readers(1).await;
    let (first, go) = held(&readers).await;
    let (made, order) = mpsc::channel();
    let mut reads: Vec<_> = (0..100)
        .map(|n| {
            let (readers, made) = (readers.clone(), made.clone());
            Box::pin(async move {
                readers
                    .run(move |connection| {
                        made.send(n).unwrap();
                        one(connection)
                    })
                    .await
            })
        })
        .collect();
    for read in &mut reads {
        queued(read.as_mut()).await;
    }
    go.send(()).unwrap();
    for read in reads {
        assert_eq!(read.await.unwrap(), 1);
    }
    assert_eq!(order.try_iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert_eq!(first.await.unwrap().unwrap(), 1);
    // The answer comes before the connection does.
    readers.wait(Duration::from_secs(60));
    assert_eq!(readers.pool.lock().idle.len(), 1, "one connection made them all");
}

#[tokio::test]
async fn no_more_run_at_once_than_there_are_connections() {
    let (readers, _directory) = readers(3).await;
    let held = [held(&readers).await, held(&readers).await, held(&readers).await];
    let began = Arc::new(AtomicUsize::new(0));
    let count = began.clone();
    let mut fourth = pin!(readers.run(move |connection| {
        count.fetch_add(1, Ordering::SeqCst);
        one(connection)
    }));
    queued(fourth.as_mut()).await;
    assert_eq!(threads_and_waiting(&readers), (3, 1));
    assert_eq!(began.load(Ordering::SeqCst), 0);
    for (_, go) in &held {
        go.send(()).unwrap();
    }
    assert_eq!(fourth.await.unwrap(), 1);
    for (read, _) in held {
        assert_eq!(read.await.unwrap().unwrap(), 1);
    }
    assert_eq!(began.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_read_that_is_dropped_while_it_waits_is_not_made() {
    let (readers, _directory) = readers(1).await;
    let (first, go) = held(&readers).await;
    let made = Arc::new(AtomicBool::new(false));
    {
        let made = made.clone();
        let mut dropped = pin!(readers.run(move |connection| {
            made.store(true, Ordering::SeqCst);
            one(connection)
        }));
        queued(dropped.as_mut()).await;
    }
    go.send(()).unwrap();
    assert_eq!(readers.run(one).await.unwrap(), 1, "which is made after it");
    assert!(!made.load(Ordering::SeqCst));
    assert_eq!(first.await.unwrap().unwrap(), 1);
}

/// ES-45 the connection does not come back, and the next read has one all the same.
#[tokio::test]
async fn a_panic_stays_in_the_read() {
    let (readers, _directory) = readers(1).await;
    let (first, go) = held(&readers).await;
    let mut panics = pin!(readers.run(|_| -> Result<(), StoreError> { panic!("in a read") }));
    queued(panics.as_mut()).await;
    let mut next = pin!(readers.run(one));
    queued(next.as_mut()).await;
    go.send(()).unwrap();
    let error = panics.await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert_eq!(next.await.unwrap(), 1);
    assert_eq!(first.await.unwrap().unwrap(), 1);
    readers.close();
    readers.wait(Duration::from_secs(60));
    assert_eq!(readers.pool.lock().lent, 0);
}

#[tokio::test]
async fn a_close_refuses_what_waits_and_lets_finish_what_runs() {
    let (readers, _directory) = readers(1).await;
    let (first, go) = held(&readers).await;
    let mut waits = pin!(readers.run(one));
    queued(waits.as_mut()).await;
    readers.close();
    assert!(matches!(waits.await, Err(StoreError::Closed)));
    assert!(matches!(readers.run(one).await, Err(StoreError::Closed)));
    assert_eq!(readers.pool.lock().lent, 1);
    go.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap(), 1);
    readers.wait(Duration::from_secs(60));
    assert_eq!(readers.pool.lock().lent, 0);
}

/// Its blocking pool takes nothing any more; another runtime's reads are not held up by that.
#[test]
fn a_read_on_a_runtime_that_has_been_shut_down_is_answered() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (gone, stays) = (runtime(), runtime());
    let (readers, _directory) = stays.block_on(readers(1));
    let handle = gone.handle().clone();
    gone.shutdown_background();
    let refused = {
        let _entered = handle.enter();
        let mut read = Box::pin(readers.run(one));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        read.as_mut().poll(&mut cx)
    };
    assert!(matches!(refused, Poll::Ready(Err(StoreError::Unavailable(_)))), "{refused:?}");
    assert_eq!(threads_and_waiting(&readers), (0, 0));
    assert_eq!(stays.block_on(readers.run(one)).unwrap(), 1);
}
