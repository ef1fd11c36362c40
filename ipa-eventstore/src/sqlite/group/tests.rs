//! One transaction, without the thread around it.

use super::*;
use crate::StreamType;
use crate::sqlite::SqliteOptions;
use crate::sqlite::open::{Opened, open_writer};

fn opened() -> (tempfile::TempDir, Opened) {
    let directory = tempfile::tempdir().unwrap();
    let opened = open_writer(&directory.path().join("events.db"), &SqliteOptions::new()).unwrap();
    (directory, opened)
}

fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|_| NewEvent::json("x", &()).unwrap()).collect()
}

fn append(stream: &str, expected: Expected, events: Vec<NewEvent>) -> Write {
    Write { stream: StreamId::new(stream).unwrap(), what: What::Append { expected, events } }
}

fn create() -> Expected {
    Expected::NoStream(StreamType::new("task").unwrap())
}

fn write(opened: &Opened, writes: &[Write]) -> Vec<Outcome> {
    let writes: Vec<_> = writes.iter().collect();
    commit(&opened.connection, &opened.path, &writes).unwrap()
}

/// The versions answered, and how often something is to be published.
fn summary(outcomes: &[Outcome]) -> (Vec<Option<u64>>, usize) {
    let versions = outcomes.iter().map(|o| o.answer.as_ref().ok().map(|a| a.version)).collect();
    (versions, outcomes.iter().filter(|outcome| outcome.publish).count())
}

fn versions(opened: &Opened) -> Vec<(String, u64, u64)> {
    opened
        .connection
        .prepare(
            "SELECT s.name, s.version, count(e.version)
             FROM streams s LEFT JOIN events e ON e.stream = s.id GROUP BY s.id ORDER BY s.name",
        )
        .unwrap()
        .query_map([], |row| {
            let (version, count): (i64, i64) = (row.get(1)?, row.get(2)?);
            Ok((row.get(0)?, version.unsigned_abs(), count.unsigned_abs()))
        })
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// ES-08 a conflict in the middle of a group undoes only its own.
#[test]
fn a_refusal_undoes_itself_alone() {
    let (_directory, opened) = opened();
    let outcomes = write(
        &opened,
        &[
            append("a", create(), events(1)),
            append("a", Expected::Exact(1), events(2)),
            append("a", Expected::Exact(1), events(2)),
            append("a", Expected::Exact(3), events(1)),
            append("b", Expected::Any, events(1)),
            append("c", create(), events(1)),
        ],
    );
    let answered = vec![Some(1), Some(3), None, Some(4), None, Some(1)];
    assert_eq!(summary(&outcomes), (answered, 4));
    assert!(matches!(outcomes[2].answer, Err(StoreError::Conflict { expected: 1, actual: 3, .. })));
    assert_eq!(versions(&opened), [("a".into(), 4, 4), ("c".into(), 1, 1)]);
}

/// ES-02 what an append has written before its own end is refused goes with it, the stream included.
#[test]
fn an_append_refused_half_way_leaves_nothing() {
    let (_directory, opened) = opened();
    let stored = events(1);
    let half_stored = || [events(2), stored.clone()].concat();
    let outcomes = write(
        &opened,
        &[
            append("a", create(), stored.clone()),
            append("b", create(), half_stored()),
            append("b", create(), events(1)),
            append("b", Expected::Exact(1), half_stored()),
            append("b", Expected::Exact(1), events(1)),
            // Two statements each, of which the second is refused.
            append("b", Expected::Exact(2), [events(1), stored.clone()].concat()),
            append("c", create(), stored.clone()),
        ],
    );
    assert_eq!(summary(&outcomes), (vec![Some(1), None, Some(1), None, Some(2), None, None], 3));
    assert_eq!(versions(&opened), [("a".into(), 1, 1), ("b".into(), 2, 2)]);
}

/// ES-02 ES-08 one statement that is refused needs no savepoint to leave nothing: an id that another stream has, a conflict, a stream
/// that is not there.
#[test]
fn an_append_of_one_event_refused_leaves_nothing() {
    let (_directory, opened) = opened();
    let stored = events(1);
    let outcomes = write(
        &opened,
        &[
            append("a", create(), stored.clone()),
            append("b", create(), events(1)),
            append("b", Expected::Any, stored.clone()),
            append("b", Expected::Exact(1), events(1)),
            append("b", Expected::Exact(1), events(1)),
            append("c", Expected::Any, events(1)),
            append("a", Expected::Any, stored),
            append("a", Expected::Exact(1), events(1)),
        ],
    );
    let answered = vec![Some(1), Some(1), None, Some(2), None, None, Some(1), Some(2)];
    assert_eq!(summary(&outcomes), (answered, 4));
    assert!(outcomes[6].answer.as_ref().is_ok_and(|appended| appended.duplicate));
    assert_eq!(versions(&opened), [("a".into(), 2, 2), ("b".into(), 2, 2)]);
}

/// ES-07 a retry in the same group as its first attempt is a duplicate of it.
#[test]
fn a_retry_in_the_same_group() {
    let (_directory, opened) = opened();
    let batch = events(2);
    let outcomes = write(
        &opened,
        &[
            append("a", create(), batch.clone()),
            append("a", create(), batch.clone()),
            append("a", Expected::Exact(0), batch),
        ],
    );
    assert_eq!(summary(&outcomes), (vec![Some(2); 3], 1));
    let duplicate: Vec<_> =
        outcomes.iter().map(|outcome| outcome.answer.as_ref().unwrap().duplicate).collect();
    assert_eq!(duplicate, [false, true, true]);
    assert_eq!(versions(&opened), [("a".into(), 2, 2)]);
}

/// ES-31 a stream deleted and created again in one group is the new one.
#[test]
fn deleted_and_created_in_one_group() {
    let (_directory, opened) = opened();
    let delete = || Write { stream: StreamId::new("a").unwrap(), what: What::Delete };
    let outcomes = write(
        &opened,
        &[
            append("a", create(), events(3)),
            append("a", Expected::Any, events(1)),
            delete(),
            delete(),
            append("a", create(), events(1)),
            append("a", Expected::Exact(1), events(1)),
        ],
    );
    let answered = vec![Some(3), Some(4), Some(4), None, Some(1), Some(2)];
    assert_eq!(summary(&outcomes), (answered, 5));
    assert_eq!(versions(&opened), [("a".into(), 2, 2)]);
}

/// ES-13 while another process has the file locked nothing is done, and nothing left open.
#[test]
fn a_busy_file() {
    let (_directory, opened) = opened();
    opened.connection.busy_timeout(std::time::Duration::ZERO).unwrap();
    let other = Connection::open(&opened.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let created = append("a", create(), events(1));
    let failed = commit(&opened.connection, &opened.path, &[&created]);
    assert!(matches!(failed, Err(Failure::Busy(_))));
    assert!(opened.connection.is_autocommit());
    other.execute_batch("COMMIT").unwrap();
    assert_eq!(summary(&write(&opened, &[created])), (vec![Some(1)], 1));
}
