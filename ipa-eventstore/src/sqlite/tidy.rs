//! Clearing away what reading leaves beside a store that nobody writes to.
//!
//! SQLite makes a log and its index beside a database in WAL mode even for a reader, and a reader's
//! connection cannot remove them. One that may write can: as the last to close, under SQLite's own
//! exclusive lock on the file, which it does not get while any process has a connection. So nothing
//! here deletes a file; it lets SQLite do it, and only when the log is empty: one with frames in it
//! belongs to a writer, also to one that was killed, and is for its next open to check.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use tracing::debug;

use super::lock::beside;

/// Removes an empty log, if nobody has the store open. Best effort: what cannot be removed stays.
pub(super) fn remove_empty_log(path: &Path) {
    if !beside(path, "-wal").metadata().is_ok_and(|log| log.len() == 0) {
        return;
    }
    if let Err(error) = open_and_close(path) {
        debug!(path = %path.display(), %error, "an empty log stays beside the store");
    }
}

fn open_and_close(path: &Path) -> rusqlite::Result<()> {
    // Without CREATE: a store that is gone stays gone.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::ZERO)?;
    // A connection opens the log with its first read.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error)
}
