//! The decisions that every store takes alike, free of any medium.

use std::collections::HashSet;

use crate::{Appended, EventId, Expected, NewEvent, Position, StoreError, StreamId, id::check_name};

/// How many events a store looks at before it lets go of its lock or its read transaction.
pub(crate) const PAGE: usize = 1000;

/// Whether a filter lets an event type or a stream type through.
pub(crate) fn lets_through<T: AsRef<str>>(filter: Option<&[T]>, name: &str) -> bool {
    filter.is_none_or(|names| names.iter().any(|wanted| wanted.as_ref() == name))
}

/// The one integer of a position that one of this crate's stores gave.
pub(crate) fn place(position: Position) -> Result<u64, StoreError> {
    match position.parts() {
        (0, 0, low) => Ok(low),
        _ => Err(StoreError::invalid(format!("position {position} was not given by this store"))),
    }
}

/// What can be wrong with an append whatever the store holds.
pub(crate) fn check_events(events: &[NewEvent]) -> Result<(), StoreError> {
    let mut ids = HashSet::with_capacity(if events.len() > 1 { events.len() } else { 0 });
    for event in events {
        // The fields are public, so the constructor's check is not the last word.
        check_name("event type", &event.event_type)?;
        if events.len() > 1 && !ids.insert(event.id) {
            return Err(StoreError::invalid(format!("event id {} occurs twice in one append", event.id)));
        }
    }
    Ok(())
}

/// Decides an expectation against the stream's version, `None` if there is no stream. `last` is asked for the position of its last
/// event, if that matters.
pub(crate) fn check_expected<E: From<StoreError>>(
    stream: &StreamId,
    expected: &Expected,
    actual: Option<u64>,
    last: impl FnOnce() -> Result<Option<Position>, E>,
) -> Result<(), E> {
    let expected = match (expected, actual) {
        (Expected::ExactAt { version, position }, Some(actual)) if *version == actual && actual > 0 => {
            return match last()? {
                Some(last) if last == *position => Ok(()),
                _ => Err(StoreError::Conflict { stream: stream.clone(), expected: *version, actual }.into()),
            };
        }
        (Expected::ExactAt { version, .. }, _) => &Expected::Exact(*version),
        (expected, _) => expected,
    };
    Ok(check_version(stream, expected, actual)?)
}

fn check_version(stream: &StreamId, expected: &Expected, actual: Option<u64>) -> Result<(), StoreError> {
    match (expected, actual) {
        (Expected::NoStream(_), Some(version)) => {
            Err(StoreError::AlreadyExists { stream: stream.clone(), version })
        }
        (Expected::NoStream(_), None) => Ok(()),
        (_, None) => Err(StoreError::not_found(stream)),
        (Expected::Exact(expected), Some(actual)) if *expected != actual => {
            Err(StoreError::Conflict { stream: stream.clone(), expected: *expected, actual })
        }
        (_, Some(_)) => Ok(()),
    }
}

/// Where an event id is stored.
pub(crate) struct Stored {
    pub(crate) stream: StreamId,
    pub(crate) version: u64,
    pub(crate) position: Position,
}

/// Decides whether an append is a retry: `Some` answer if it is stored already, `None` if nothing
/// of it is, an error if only a part is, or not in this order, or elsewhere.
pub(crate) fn find_duplicate<E: From<StoreError>>(
    stream: &StreamId,
    events: &[NewEvent],
    mut lookup: impl FnMut(EventId) -> Result<Option<Stored>, E>,
) -> Result<Option<Appended>, E> {
    let mut first: Option<(EventId, Stored)> = None;
    let mut last: Option<(u64, Position)> = None;
    let mut whole = true;
    for event in events {
        let Some(stored) = lookup(event.id)? else {
            whole = false;
            continue;
        };
        // Side by side: each one version above the one before it.
        whole &= stored.stream == *stream && last.is_none_or(|(v, _)| v + 1 == stored.version);
        last = Some((stored.version, stored.position));
        first.get_or_insert((event.id, stored));
    }
    match (first, last) {
        (Some(_), Some((version, position))) if whole => {
            Ok(Some(Appended::new(version, Some(position), true)))
        }
        (Some((id, stored)), _) => Err(StoreError::PartialDuplicate {
            stream: stream.clone(),
            id,
            stored_in: stored.stream,
            version: stored.version,
        }
        .into()),
        (None, _) => Ok(None),
    }
}

/// Decides whether a snapshot may replace the stored one.
pub(crate) fn check_snapshot(
    stream: &StreamId,
    version: u64,
    current: u64,
    stored: Option<u64>,
) -> Result<(), StoreError> {
    if version > current {
        return Err(StoreError::SnapshotAhead { stream: stream.clone(), version, current });
    }
    match stored {
        Some(stored) if version < stored => {
            Err(StoreError::SnapshotStale { stream: stream.clone(), version, stored })
        }
        _ => Ok(()),
    }
}
