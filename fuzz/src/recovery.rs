//! The walk against SQLite itself: what the walk says that SQLite takes up of a log is what it does take up.
//!
//! The same edits as those of [`log`](crate::log), written to files that SQLite opens: some thousand times slower.

use rusqlite::{Connection, OpenFlags};

use crate::input::Input;
use crate::log::edit::Edit;
use crate::log::{edited, walked};

/// The file that the log belongs to.
const FILE: &[u8] = include_bytes!("../seeds/pages.db");

/// Where SQLite's index of the log has the number of the last frame that it took up; in the machine's own byte order.
const LAST_FRAME: std::ops::Range<usize> = 16..20;

/// Panics if the walk and SQLite disagree.
pub fn check(input: &[u8]) {
    let edits = Edit::all(Input::new(input));
    let log = edited(&edits);
    let (_, frames) = walked(&log);

    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("pages.db");
    std::fs::write(&path, FILE).expect("a temporary file");
    std::fs::write(directory.path().join("pages.db-wal"), &log).expect("a temporary file");
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags).expect("opening reads nothing yet");
    // What the pages hold may make no sense; the log is taken up before they are looked at.
    let _ = connection.pragma_query_value(None, "schema_version", |row| row.get::<_, i64>(0));
    let index = std::fs::read(directory.path().join("pages.db-shm")).unwrap_or_default();
    let last = index.get(LAST_FRAME).and_then(|word| word.try_into().ok()).map_or(0, u32::from_ne_bytes);
    assert_eq!(u64::from(last), frames, "what SQLite takes up: {edits:?}");

    let counts = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    if let Ok((0, in_log)) = counts
        && in_log >= 0
    {
        assert_eq!(in_log.unsigned_abs(), frames, "what SQLite carries over: {edits:?}");
    }
}
