//! What can go wrong with a command, and with making a state from its stream.

use thiserror::Error;

use ipa_supervisor::BoxError;

use crate::{Cause, StoreError, StreamId, UpcastError};

/// Why a command was not executed.
///
/// | variant | were its events stored? | next |
/// |---|---|---|
/// | `Rejected`, `Encode` | no | another command |
/// | `Conflict`, `Gone` | no | the same command, later |
/// | `Store` | no | as the error in it says |
/// | `Indeterminate`, `Lost` | unknown; all or none | see below |
/// | `Replay` | unknown; all or none | as the error in it says; then see below |
///
/// Where it is unknown, look at the state; or give the command's events [ids of its own](crate::Aggregate::encode)
/// and execute it once more. It is decided again then, on a state that contains its events if they were stored: where that may refuse it, or
/// decide otherwise, the state must say that the command is done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExecuteError<R: std::error::Error + 'static> {
    /// The aggregate refuses it.
    #[error(transparent)]
    Rejected(R),
    /// Each time it was decided, somebody else had appended to the stream before its events were.
    #[error("stream {stream} changed each of the {attempts} times that the command was decided; try again")]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// How often the command was decided.
        attempts: u64,
    },
    /// One of its events has no stored form.
    #[error("an event of the command cannot be encoded, nothing was stored")]
    Encode(#[source] BoxError),
    /// The store refused, and did nothing.
    #[error(transparent)]
    Store(StoreError),
    /// Its events were sent to the store, and it could not be learnt whether they are stored, or not be read back.
    /// The state is as it was; with the next command it will contain what is stored.
    #[error("the events of the command may or may not be stored")]
    Indeterminate(#[source] StoreError),
    /// Somebody else appended to the stream, and that cannot be read. The state manager ends with the same error.
    #[error(transparent)]
    Replay(ReplayError),
    /// There is no state manager now: not yet, between two incarnations, not any more. It was not decided.
    #[error("the state manager is not up, the command was not decided")]
    Gone,
    /// The state manager ended before it answered: it crashed or was killed.
    #[error("the state manager ended before it answered; the command's events may or may not be stored")]
    Lost,
}

/// Why a stream's events could not be made into a state. No event is ever skipped.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The aggregate does not understand an event.
    #[error(
        "{event_type} event {version} of stream {stream}, of schema version {schema_version}, cannot be decoded: \
         run a program that knows events of this form"
    )]
    Decode {
        /// The stream.
        stream: StreamId,
        /// The event's version.
        version: u64,
        /// The event's type, as it is stored.
        event_type: String,
        /// The event's schema version, as it is stored.
        schema_version: u32,
        /// What [`Aggregate::decode`](crate::Aggregate::decode) said.
        #[source]
        source: Cause,
    },
    /// An event cannot be brought into the form that the aggregate knows.
    #[error(transparent)]
    Upcast(#[from] UpcastError),
    /// The store left out an event.
    #[error("stream {stream} has no event {expected}, but an event {found}: check the store")]
    Gap {
        /// The stream.
        stream: StreamId,
        /// The version that should have come.
        expected: u64,
        /// The version that came.
        found: u64,
    },
    /// Each time it was read, the stream was deleted and created again before its end was reached.
    #[error(
        "stream {stream} is deleted and created again faster than it can be read; try again when that is over"
    )]
    Recreated {
        /// The stream.
        stream: StreamId,
    },
}

/// There is no state manager now: not yet, between two incarnations, not any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the state manager is not up")]
pub struct StateGone;
