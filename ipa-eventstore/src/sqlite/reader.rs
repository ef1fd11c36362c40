//! The read connections, and where reads run.
//!
//! A read runs on tokio's blocking pool with a connection of ours. So no thread waits for reads that
//! do not come, a fair semaphore bounds how many run at once, a panic stays in the read, and a
//! paused clock does not jump while one runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{SqliteOptions, open};
use crate::StoreError;

pub(super) struct Readers {
    path: PathBuf,
    options: SqliteOptions,
    slots: Arc<Semaphore>,
    pool: Mutex<Pool>,
    returned: Condvar,
}

#[derive(Default)]
struct Pool {
    idle: Vec<Connection>,
    lent: usize,
    closed: bool,
}

impl Readers {
    pub(super) fn new(path: PathBuf, options: SqliteOptions) -> Self {
        Self {
            path,
            slots: Arc::new(Semaphore::new(options.readers)),
            options,
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Runs a read on a connection. Dropping the future lets a read that runs finish; its
    /// connection comes back all the same.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = self.slots.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let readers = self.clone();
        let running = tokio::task::spawn_blocking(move || {
            let lent = Lent::take(&readers)?;
            let result = read(lent.connection());
            lent.give_back();
            drop(slot);
            result
        });
        // A panic of the read, or a runtime that shuts down.
        running.await.unwrap_or_else(|error| Err(StoreError::Unavailable(Arc::new(error))))
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

    /// Refuses further reads and closes what is idle.
    pub(super) fn close(&self) {
        self.slots.close();
        let idle = {
            let mut pool = self.pool.lock();
            pool.closed = true;
            let idle = std::mem::take(&mut pool.idle);
            // Lent until they are closed: the writer, on its own thread, waits to be the last, and two
            // that close at once both find that they are not.
            pool.lent += idle.len();
            idle
        };
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
