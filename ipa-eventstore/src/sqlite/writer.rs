//! The writer: one thread that owns the one write connection.
//!
//! Group commit: it takes all that waits, writes it in one transaction (one sync to disk for all),
//! and only then answers and wakes subscribers. Under load a commit carries many appends; a lone
//! append waits for nobody.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Instant;

use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tracing::{Span, debug, debug_span, warn};

use super::SqliteOptions;
use super::errors::{AtPath, Finding, running};
use super::group::{self, Failure, Outcome, What, Write};
use super::lock::{WriterLock, beside};
use super::open::{self, Opened};
use super::reader::Readers;
use crate::stats::Counts;
use crate::wakeups::Wakeups;
use crate::{Appended, StoreError, StreamId};

type Answer = oneshot::Sender<Result<Appended, StoreError>>;

struct Request {
    write: Write,
    answer: Answer,
    /// A place in the queue, free again when the writer takes the request out.
    place: OwnedSemaphorePermit,
    /// The caller's; the commit's span follows from it.
    span: Span,
}

/// The store's end of the queue to the writer.
///
/// The queue itself is a `std` channel, whose receiver can wait with a timeout on a plain thread;
/// the semaphore bounds it, and lets senders wait without a thread.
pub(super) struct Writer {
    places: Arc<Semaphore>,
    /// `None` once closed. When the sender is gone the writer finishes what waits and ends.
    queue: Mutex<Option<mpsc::Sender<Request>>>,
    ended: watch::Receiver<Option<Result<(), StoreError>>>,
}

impl Writer {
    /// Starts the writer of an opened store.
    pub(super) fn start(
        opened: Opened,
        options: SqliteOptions,
        (readers, wakeups, counts): (Arc<Readers>, Wakeups, Arc<Counts>),
    ) -> Result<Self, StoreError> {
        let (queue, requests) = mpsc::channel();
        let (end, ended) = watch::channel(None);
        let places = Arc::new(Semaphore::new(options.queue));
        let path = opened.path.clone();
        let thread = Thread {
            path: opened.path,
            connection: Some(opened.connection),
            _lock: opened.lock,
            options,
            requests,
            readers,
            wakeups,
            counts,
        };
        thread::Builder::new()
            .name("ipa-eventstore".to_owned())
            .spawn(move || {
                let result = thread.run();
                end.send_replace(Some(result));
            })
            .map_err(|source| StoreError::CannotOpen {
                path,
                doing: "start the writer thread of",
                remedy: "check the limits on threads and memory",
                source: Arc::new(source),
            })?;
        Ok(Self { places, queue: Mutex::new(Some(queue)), ended })
    }

    /// Has something written. Dropped before it is queued, it is not done; after that it is.
    pub(super) async fn write(&self, stream: &StreamId, what: What) -> Result<Appended, StoreError> {
        let place = self.places.clone().acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let (answer, answered) = oneshot::channel();
        let write = Write { stream: stream.clone(), what };
        let request = Request { write, answer, place, span: Span::current() };
        {
            // Sent under the lock, so that nothing comes after the sender was taken away: all that
            // is in the queue is answered. Sending to an unbounded channel does not wait.
            let queue = self.queue.lock();
            let Some(queue) = queue.as_ref() else {
                return Err(StoreError::Closed);
            };
            if queue.send(request).is_err() {
                return Err(StoreError::Unavailable(Arc::new(writer_is_gone())));
            }
        }
        answered.await.unwrap_or_else(|_| Err(StoreError::Indeterminate(Arc::new(writer_is_gone()))))
    }

    /// Lets nothing more in; what waits is still written.
    pub(super) fn close(&self) {
        self.places.close();
        let queue = self.queue.lock().take();
        drop(queue);
    }

    /// Waits until the writer has ended, with its connection closed and its lock given back.
    pub(super) async fn ended(&self) -> Result<(), StoreError> {
        let mut ended = self.ended.clone();
        match ended.wait_for(Option::is_some).await {
            Ok(result) => result.clone().unwrap_or(Ok(())),
            Err(_) => Err(StoreError::Unavailable(Arc::new(writer_is_gone()))),
        }
    }
}

fn writer_is_gone() -> Finding {
    Finding("the writer thread has panicked; open the store again".to_owned())
}

/// The writer's own end.
struct Thread {
    path: PathBuf,
    /// `None` after a failure, until it can be opened again.
    connection: Option<Connection>,
    options: SqliteOptions,
    requests: mpsc::Receiver<Request>,
    readers: Arc<Readers>,
    wakeups: Wakeups,
    counts: Arc<Counts>,
    /// The last field: given back when the connection is closed, also if this thread panics.
    _lock: WriterLock,
}

impl Thread {
    fn run(mut self) -> Result<(), StoreError> {
        let mut carried_over = true;
        loop {
            let first = if carried_over {
                self.requests.recv().map_err(RecvTimeoutError::from)
            } else {
                self.requests.recv_timeout(self.options.idle_checkpoint)
            };
            match first {
                Ok(first) => {
                    let group = self.gather(first);
                    self.write(group);
                    carried_over = false;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.checkpoint();
                    carried_over = true;
                }
                Err(RecvTimeoutError::Disconnected) => return self.finish(),
            }
        }
    }

    /// The first request and what waits behind it, the requests of a stream next to each other.
    fn gather(&self, first: Request) -> Vec<Request> {
        let events = |request: &Request| match &request.write.what {
            What::Append { events, .. } => events.len(),
            What::Delete | What::SaveSnapshot(_) => 1,
        };
        let mut count = events(&first);
        let mut group = vec![first];
        while group.len() < self.options.group_requests && count < self.options.group_events {
            let Ok(request) = self.requests.try_recv() else {
                break;
            };
            count += events(&request);
            group.push(request);
        }
        // Streams in the order of their first request, a stream's requests in theirs.
        let mut order: HashMap<StreamId, usize> = HashMap::new();
        for request in &group {
            let next = order.len();
            order.entry(request.write.stream.clone()).or_insert(next);
        }
        group.sort_by_key(|request| order.get(&request.write.stream).copied());
        group
    }

    fn write(&mut self, group: Vec<Request>) {
        let span = debug_span!("commit", path = %self.path.display(), writes = group.len());
        group.iter().for_each(|request| {
            span.follows_from(&request.span);
        });
        let _entered = span.enter();
        let (writes, answers): (Vec<Write>, Vec<Answer>) = group
            .into_iter()
            .map(|request| {
                drop(request.place);
                (request.write, request.answer)
            })
            .unzip();
        let connection = match connected(&mut self.connection, &self.path, &self.options) {
            Ok(connection) => connection,
            Err(error) => {
                // Nothing was written.
                warn!(path = %self.path.display(), %error, writes = writes.len(), "the event store cannot be written to");
                self.counts.unavailable.add(answers.len() as u64);
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
                return;
            }
        };
        let references: Vec<&Write> = writes.iter().collect();
        let begun = Instant::now();
        match group::commit(connection, &self.path, &references) {
            Ok(outcomes) => {
                self.counts.commit_time.time(begun.elapsed());
                count(&self.counts, &writes, &outcomes);
                // Committed, so published, also if nobody waits for the answer any more.
                let published = writes.iter().zip(&outcomes).filter(|(_, o)| o.publish);
                self.wakeups.wake(published.map(|(write, _)| &write.stream));
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    let _ = answer.send(outcome.answer);
                }
            }
            Err(failure) => {
                warn!(path = %self.path.display(), ?failure, writes = writes.len(), "a commit failed");
                if !matches!(failure, Failure::Busy(_)) {
                    // What SQLite holds in memory may not be what is on disk any more: closing drops
                    // it (and rolls back), and opening again reads the log as it is.
                    self.connection = None;
                }
                self.counts.failed_commits.add(1);
                let unanswered = match failure {
                    Failure::AtCommit(_) => &self.counts.indeterminate,
                    Failure::Busy(_) | Failure::BeforeCommit(_) => &self.counts.unavailable,
                };
                unanswered.add(answers.len() as u64);
                for answer in answers {
                    let _ = answer.send(Err(failure.answer(&self.path)));
                }
            }
        }
    }

    /// Carries the log over as far as readers allow, without waiting for them.
    fn checkpoint(&self) {
        if let Some(connection) = &self.connection {
            match open::checkpoint(connection, "PASSIVE") {
                Ok(checkpoint) => {
                    self.counts.idle_checkpoints.add(1);
                    debug!(path = %self.path.display(), ?checkpoint, "idle checkpoint");
                }
                Err(error) => {
                    warn!(path = %self.path.display(), %error, "an idle checkpoint failed");
                }
            }
        }
    }

    /// After the last request: carries the log over and closes everything. The readers first, so
    /// that the writer is the last to close, which removes the log's file.
    fn finish(mut self) -> Result<(), StoreError> {
        self.wakeups.close();
        self.readers.close();
        self.readers.wait(self.options.busy_timeout);
        let Some(connection) = self.connection.take() else {
            // A commit has failed, and the store could not be opened again.
            return self.log_left();
        };
        let at_path = |error| StoreError::Unavailable(Arc::new(AtPath::new(&self.path, Arc::new(error))));
        let checkpoint = open::checkpoint(&connection, "TRUNCATE").map_err(at_path)?;
        connection.close().map_err(|(_, error)| at_path(error))?;
        debug!(path = %self.path.display(), ?checkpoint, "closed an event store");
        // Whoever reads may have kept SQLite from emptying the log, and all of it is in the file.
        if checkpoint.is_whole() { Ok(()) } else { self.log_left() }
    }

    /// Whether there is a log still, which SQLite removes when the last connection has carried it over and closes.
    fn log_left(&self) -> Result<(), StoreError> {
        let log = beside(&self.path, "-wal");
        match log.metadata() {
            Ok(found) if found.len() > 0 => Err(StoreError::LogLeft { log }),
            _ => Ok(()),
        }
    }
}

/// Counts what a commit did.
fn count(counts: &Counts, writes: &[Write], outcomes: &[Outcome]) {
    let mut events = 0;
    for (write, outcome) in writes.iter().zip(outcomes) {
        match (&outcome.answer, &write.what) {
            (Ok(appended), _) if appended.duplicate => counts.duplicates.add(1),
            (Ok(_), What::Append { events: stored, .. }) if outcome.publish => {
                counts.appends.add(1);
                events += stored.len() as u64;
            }
            (Ok(_), _) => {}
            (Err(error), _) if error.is_conflict() => counts.conflicts.add(1),
            (Err(_), _) => counts.refused.add(1),
        }
    }
    counts.events.add(events);
    counts.commits.add(1);
    counts.group_size.record(writes.len() as u64);
    counts.group_events.record(events);
}

/// The connection, opened again if the last one failed.
fn connected<'a>(
    connection: &'a mut Option<Connection>,
    path: &Path,
    options: &SqliteOptions,
) -> Result<&'a Connection, StoreError> {
    let open = match connection.take() {
        Some(open) => open,
        None => {
            let failed = |error| StoreError::Unavailable(Arc::new(error));
            let open = open::connect_writer(path, options).map_err(failed)?;
            // What the failed commit left in the log may be in the system's memory and not on disk, and a sync that failed is not
            // tried again by the next one: nothing may be written behind it.
            open::empty_log(&open, path)?;
            open::carry_over_at_close(&open, true).map_err(|error| running(path, error))?;
            open
        }
    };
    Ok(connection.insert(open))
}

impl Drop for Thread {
    fn drop(&mut self) {
        // After a panic too: nobody waits for commits that will not come.
        self.wakeups.close();
    }
}
