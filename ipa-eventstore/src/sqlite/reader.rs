//! The read connections, and where reads run.
//!
//! Reads wait in a queue, and run on tokio's blocking pool with connections of ours. The trick: a thread of the pool that has made one
//! read takes the next one from the queue, and goes when there is none. So no thread waits for reads that do not come, a bounded number runs at
//! once, many reads do not cost a change of threads each, and a paused clock does not jump while one runs.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::errors::Finding;
use super::{SqliteOptions, open};
use crate::StoreError;

pub(super) struct Readers {
    path: PathBuf,
    options: SqliteOptions,
    pool: Mutex<Pool>,
    returned: Condvar,
}

/// A read that waits for a connection, or to hear why there is none.
type Read = Box<dyn FnOnce(Result<&Connection, StoreError>) + Send>;

#[derive(Default)]
struct Pool {
    waiting: VecDeque<Read>,
    /// Threads that make reads, or are about to.
    threads: usize,
    idle: Vec<Connection>,
    lent: usize,
    closed: bool,
}

impl Readers {
    pub(super) fn new(path: PathBuf, options: SqliteOptions) -> Self {
        Self { path, options, pool: Mutex::default(), returned: Condvar::new() }
    }

    /// Runs a read on a connection, after those that were asked for before. Dropping the future lets a read that runs finish; one
    /// that still waits is not made.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.queue(Box::new(move |connection| {
            if !answer.is_closed() {
                let _ = answer.send(connection.and_then(read));
            }
        }))?;
        answered.await.unwrap_or_else(|_| {
            let lost = "the read has panicked, or the runtime that it ran on is shutting down";
            Err(StoreError::Unavailable(Arc::new(Finding(lost.to_owned()))))
        })
    }

    fn queue(self: &Arc<Self>, read: Read) -> Result<(), StoreError> {
        let mut pool = self.pool.lock();
        if pool.closed {
            return Err(StoreError::Closed);
        }
        pool.waiting.push_back(read);
        if pool.threads < self.options.readers {
            pool.threads += 1;
            drop(pool);
            let thread = Thread { readers: self.clone(), ended: false };
            tokio::task::spawn_blocking(move || thread.run());
        }
        Ok(())
    }

    /// Opens the first connection, and looks through it whether the store is ours.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let lent = Lent::take(self)?;
        open::check_for_reading(lent.connection(), &self.path)?;
        lent.give_back();
        Ok(())
    }

    pub(super) fn is_closed(&self) -> bool {
        self.pool.lock().closed
    }

    /// Refuses reads that have not begun, and closes what is idle.
    pub(super) fn close(&self) {
        let (waiting, idle) = {
            let mut pool = self.pool.lock();
            pool.closed = true;
            let idle = std::mem::take(&mut pool.idle);
            // Lent until they are closed: the writer, on its own thread, waits to be the last, and two
            // that close at once both find that they are not.
            pool.lent += idle.len();
            (std::mem::take(&mut pool.waiting), idle)
        };
        for read in waiting {
            read(Err(StoreError::Closed));
        }
        let closing = idle.len();
        drop(idle);
        self.pool.lock().lent -= closing;
        self.returned.notify_all();
    }

    /// Waits (blocking) until the reads that run have given their connections back.
    pub(super) fn wait(&self, at_most: Duration) {
        let mut pool = self.pool.lock();
        let some_lent = |pool: &mut Pool| pool.lent > 0;
        let _ = self.returned.wait_while_for(&mut pool, some_lent, at_most);
    }
}

/// A thread of the blocking pool, for as long as there are reads.
struct Thread {
    readers: Arc<Readers>,
    ended: bool,
}

impl Thread {
    fn run(mut self) {
        while let Some(read) = self.next() {
            let lent = match Lent::take(&self.readers) {
                Ok(lent) => lent,
                Err(error) => {
                    read(Err(error));
                    continue;
                }
            };
            // After a panic the connection is closed, and whoever asked finds that there is no answer.
            if catch_unwind(AssertUnwindSafe(|| read(Ok(lent.connection())))).is_ok() {
                lent.give_back();
            }
        }
    }

    fn next(&mut self) -> Option<Read> {
        let mut pool = self.readers.pool.lock();
        let next = pool.waiting.pop_front();
        if next.is_none() {
            // Under the same lock: whoever queues a read from here on makes a thread for it.
            pool.threads -= 1;
            self.ended = true;
        }
        next
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // The runtime was shut down before this ran.
        let mut pool = self.readers.pool.lock();
        pool.threads -= 1;
        if pool.threads == 0 {
            // Nobody else would make them.
            let waiting = std::mem::take(&mut pool.waiting);
            drop(pool);
            drop(waiting);
        }
    }
}

/// A connection on its way through one read. Dropped without being given back (after a panic) it is
/// closed.
struct Lent<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl<'a> Lent<'a> {
    fn take(readers: &'a Readers) -> Result<Self, StoreError> {
        let mut lent = {
            let mut pool = readers.pool.lock();
            if pool.closed {
                return Err(StoreError::Closed);
            }
            pool.lent += 1;
            Self { readers, connection: pool.idle.pop() }
        };
        if lent.connection.is_none() {
            lent.connection = Some(open::connect_reader(&readers.path, &readers.options)?);
        }
        Ok(lent)
    }

    fn connection(&self) -> &Connection {
        self.connection.as_ref().expect("taken with a connection and given back once")
    }

    fn give_back(mut self) {
        // One that is still in a transaction would hold the log back for ever.
        if let Some(connection) = self.connection.take()
            && connection.is_autocommit()
        {
            let mut pool = self.readers.pool.lock();
            if !pool.closed {
                pool.idle.push(connection);
            } else {
                drop(pool);
                drop(connection);
            }
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        drop(self.connection.take());
        self.readers.pool.lock().lent -= 1;
        self.readers.returned.notify_all();
    }
}

#[cfg(test)]
mod tests;
