//! What can go wrong, said so that the caller knows what to do next.
//!
//! Three answers of a write must never be mixed up: [`Conflict`](StoreError::Conflict) (reload and
//! decide again), [`Unavailable`](StoreError::Unavailable) (surely not done) and
//! [`Indeterminate`](StoreError::Indeterminate) (fate unknown: the same event ids again).

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{EventId, StreamId};

/// The cause below a [`StoreError`]: shared, because the requests of one commit fail together.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// An error of an event store.
///
/// | variant | was the write done? | next |
/// |---|---|---|
/// | `StreamNotFound`, `AlreadyExists`, `Invalid`, `PartialDuplicate`, `SnapshotStale`, `SnapshotAhead` | no | a retry gives the same answer |
/// | `Conflict` | no | read on from what you know, decide again |
/// | `Unavailable` | no | retry later |
/// | `Indeterminate` | unknown | retry with the same event ids |
/// | `Closed`, `ReadOnly` | no | use an open (writable) store |
/// | `LogLeft` (of `close`) | yes | keep the log it names beside the store's file |
/// | `Damaged`, `NotOurs`, `NewerSchema`, `LockedByAnother`, `CannotOpen` | no | an operator's work; the message names the file and the remedy |
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The stream does not exist. Only `Expected::NoStream` (and `start_stream`) creates one.
    #[error("stream {stream} does not exist; create it with start_stream")]
    StreamNotFound {
        /// The stream asked for.
        stream: StreamId,
    },

    /// The stream was to be created, and stands already.
    #[error("stream {stream} exists already, at version {version}")]
    AlreadyExists {
        /// The stream.
        stream: StreamId,
        /// Its current version.
        version: u64,
    },

    /// The stream is not at the expected version; nothing was written.
    #[error("stream {stream} is {}: read it again and decide again", place_of_conflict(*expected, *actual))]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The version the caller expected.
        expected: u64,
        /// The version the stream has. The same one, if it is another stream that got the name of the one expected.
        actual: u64,
    },

    /// Some of the append's event ids are stored already, but not the whole append in its order.
    #[error(
        "event id {id} of an append to stream {stream} is stored already (stream {stored_in}, version {version}), \
         but the append as a whole is not: retry the append unchanged, or give new events new ids"
    )]
    PartialDuplicate {
        /// The stream appended to.
        stream: StreamId,
        /// The first id of the append that is stored.
        id: EventId,
        /// The stream it is stored in.
        stored_in: StreamId,
        /// Its version there.
        version: u64,
    },

    /// The arguments can never be right, whatever the store holds.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong with them.
        reason: String,
    },

    /// The write was sent and its fate is unknown: it is stored whole or not at all. Retry with the
    /// same event ids; what was stored is then answered as a duplicate.
    #[error("the write may or may not be stored; retry it with the same event ids")]
    Indeterminate(#[source] Cause),

    /// The store cannot answer now. If this answers a write, the write was surely not done.
    #[error("the event store is unavailable, nothing was written; retry later")]
    Unavailable(#[source] Cause),

    /// The store was closed; nothing was done.
    #[error("the event store is closed; open it again")]
    Closed,

    /// The store is closed, and all that was acknowledged is stored; but its log was not carried over into its file, mostly because
    /// somebody (a backup, another process) was reading an older state. The file alone is not the whole store until it is opened again.
    #[error(
        "the event store is closed and whole, but its log {log} is still part of it: keep that beside its file until it is opened again"
    )]
    LogLeft {
        /// The log.
        log: PathBuf,
    },

    /// The store was opened read-only; nothing was done.
    #[error("{path} was opened read-only; open it with SqliteEventStore::open to write")]
    ReadOnly {
        /// The store's file.
        path: PathBuf,
    },

    /// A snapshot older than the stored one was to be saved; the stored one stays.
    #[error("the snapshot of stream {stream} at version {version} is older than the stored one at {stored}")]
    SnapshotStale {
        /// The stream.
        stream: StreamId,
        /// The version of the refused snapshot.
        version: u64,
        /// The version of the stored snapshot.
        stored: u64,
    },

    /// A snapshot of a version that the stream has not reached was to be saved.
    #[error(
        "the snapshot of stream {stream} at version {version} is ahead of the stream, which is at {current}"
    )]
    SnapshotAhead {
        /// The stream.
        stream: StreamId,
        /// The version of the refused snapshot.
        version: u64,
        /// The stream's version.
        current: u64,
    },

    /// An event's or a snapshot's JSON is not of the type asked for. The stored bytes are sound.
    #[error("the data of {what} is not of the type asked for")]
    Decode {
        /// Which event or snapshot.
        what: String,
        /// What the decoder said.
        #[source]
        source: Cause,
    },

    /// What is stored is damaged. Nothing is skipped; what is readable stays readable.
    #[error(
        "{path} is damaged{}: stop writing to it, keep a copy of it with its -wal file, and restore a backup",
        place(stream, *version)
    )]
    Damaged {
        /// The store's file.
        path: PathBuf,
        /// The stream concerned, where it is known.
        stream: Option<StreamId>,
        /// The version concerned, where it is known.
        version: Option<u64>,
        /// What was found.
        #[source]
        source: Cause,
    },

    /// The file belongs to another program, or is none (a pipe, a socket, a device); it was not touched.
    #[error("{path} is not an event store ({found}); it was left as it is: give another path")]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        found: String,
    },

    /// The store was written by a newer version of this crate; it was not touched.
    #[error("{path} has schema {found}, this program knows up to {supported}: run a newer version")]
    NewerSchema {
        /// The store's file.
        path: PathBuf,
        /// The file's schema number.
        found: i64,
        /// The newest schema number this version of the crate knows.
        supported: i64,
    },

    /// Another writer, in this process or another, has the store open.
    #[error(
        "{path} is locked by another writer ({holder}): stop it, or read beside it with SqliteEventStore::open_read_only"
    )]
    LockedByAnother {
        /// The lock file.
        path: PathBuf,
        /// What the lock file says of its holder.
        holder: String,
    },

    /// The file or a file beside it could not be opened, created or prepared.
    #[error("cannot {doing} {path}: {remedy}")]
    CannotOpen {
        /// The file or directory concerned.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// What to check.
        remedy: &'static str,
        /// What the system said.
        #[source]
        source: Cause,
    },
}

impl StoreError {
    /// Whether the request lost against another writer: somebody else appended or created first.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Conflict { .. } | Self::AlreadyExists { .. })
    }

    /// Whether the same request, with the same event ids, may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Indeterminate(_) | Self::Unavailable(_))
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid { reason: reason.into() }
    }

    pub(crate) fn not_found(stream: &StreamId) -> Self {
        Self::StreamNotFound { stream: stream.clone() }
    }
}

fn place_of_conflict(expected: u64, actual: u64) -> String {
    if expected == actual {
        format!("at version {actual}, but was deleted and created again since it was read")
    } else {
        format!("at version {actual}, not at {expected}")
    }
}

fn place(stream: &Option<StreamId>, version: Option<u64>) -> String {
    match (stream, version) {
        (Some(stream), Some(version)) => format!(" at stream {stream}, version {version}"),
        (Some(stream), None) => format!(" at stream {stream}"),
        _ => String::new(),
    }
}
