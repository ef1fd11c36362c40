//! The tables, and how a file is known to be ours.

use rusqlite::Connection;

/// SQLite's `application_id` of our files: "ipaE".
pub(super) const APPLICATION_ID: i64 = 0x6970_6145;

/// The schema this version of the crate writes; a file's `user_version`.
pub(super) const SCHEMA: i64 = MIGRATIONS.len() as i64;

/// The n-th leads from schema n to n + 1. Never changed once released, only added to.
const MIGRATIONS: &[&str] = &[
    // AUTOINCREMENT in both: without it a deleted event's position would be used again, and a
    // subscription to a deleted stream would take a new stream for it.
    // Indexes: by name, by type in name's order (list_streams), by stream and version, by event id.
    // Each further index on events would cost about a fifth of the throughput.
    "CREATE TABLE store (
         key    TEXT NOT NULL PRIMARY KEY,
         value  TEXT NOT NULL
     ) STRICT, WITHOUT ROWID;

     CREATE TABLE streams (
         id          INTEGER PRIMARY KEY AUTOINCREMENT,
         name        TEXT NOT NULL UNIQUE,
         type        TEXT NOT NULL,
         version     INTEGER NOT NULL,
         created_at  INTEGER NOT NULL,
         updated_at  INTEGER NOT NULL
     ) STRICT;
     CREATE INDEX streams_by_type ON streams (type, name);

     CREATE TABLE events (
         position        INTEGER PRIMARY KEY AUTOINCREMENT,
         stream          INTEGER NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
         version         INTEGER NOT NULL,
         event_id        BLOB NOT NULL UNIQUE,
         type            TEXT NOT NULL,
         schema_version  INTEGER NOT NULL,
         recorded_at     INTEGER NOT NULL,
         actor           TEXT,
         causation       TEXT,
         correlation     TEXT,
         metadata        TEXT,
         data            TEXT NOT NULL,
         UNIQUE (stream, version)
     ) STRICT;

     CREATE TABLE snapshots (
         stream   INTEGER PRIMARY KEY REFERENCES streams (id) ON DELETE CASCADE,
         version  INTEGER NOT NULL,
         schema   INTEGER NOT NULL,
         data     TEXT NOT NULL
     ) STRICT;",
];

/// What every table of the present schema can be asked for.
const TABLES: [&str; 4] = [
    "SELECT key, value FROM store",
    "SELECT id, name, type, version, created_at, updated_at FROM streams",
    "SELECT position, stream, version, event_id, type, schema_version, recorded_at, actor, causation,
            correlation, metadata, data FROM events",
    "SELECT stream, version, schema, data FROM snapshots",
];

/// Fails if a table or a column is missing. Reads nothing of what they hold.
pub(super) fn check(connection: &Connection) -> rusqlite::Result<()> {
    TABLES.iter().try_for_each(|sql| connection.prepare(sql).map(|_| ()))
}

/// Brings a store from its schema to ours, in one transaction. Foreign keys need no switching off
/// as long as no migration rebuilds a table that others refer to.
pub(super) fn migrate(connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    migrate_by(MIGRATIONS, connection, from)
}

fn migrate_by(migrations: &[&str], connection: &mut Connection, from: i64) -> rusqlite::Result<()> {
    let pending = migrations.get(usize::try_from(from).unwrap_or(0)..).unwrap_or_default();
    if pending.is_empty() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    for sql in pending {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", migrations.len() as i64)?;
    transaction.commit()
}

/// Records a fact about the store itself.
pub(super) fn record(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO store (key, value) VALUES (?1, ?2)
             ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )?
        .execute([key, value])?;
    Ok(())
}

/// A recorded fact about the store itself.
pub(super) fn recorded(connection: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    use rusqlite::OptionalExtension;
    connection
        .prepare_cached("SELECT value FROM store WHERE key = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: &str = "ALTER TABLE events ADD COLUMN extra TEXT; CREATE TABLE more (n INTEGER) STRICT;";
    const THIRD: &str = "INSERT INTO more VALUES (3);";

    fn at_schema_one() -> Connection {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate_by(&MIGRATIONS[..1], &mut connection, 0).unwrap();
        let stream =
            "INSERT INTO streams (name, type, version, created_at, updated_at) VALUES ('a', 't', 0, 0, 0)";
        connection.execute(stream, []).unwrap();
        connection
    }

    fn version(connection: &Connection) -> i64 {
        connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
    }

    fn tables(connection: &Connection) -> i64 {
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn pending_migrations_run_in_order_and_once() {
        let mut connection = at_schema_one();
        let migrations = [MIGRATIONS[0], SECOND, THIRD];
        migrate_by(&migrations, &mut connection, 1).unwrap();
        assert_eq!(version(&connection), 3);
        let count = |sql: &str| -> i64 { connection.query_row(sql, [], |row| row.get(0)).unwrap() };
        assert_eq!((count("SELECT count(*) FROM more"), count("SELECT count(*) FROM streams")), (1, 1));
        migrate_by(&migrations, &mut connection, 3).unwrap();
        let again: i64 = connection.query_row("SELECT count(*) FROM more", [], |row| row.get(0)).unwrap();
        assert_eq!(again, 1);
    }

    /// One that fails takes those before it back: the store stays at the schema it had.
    #[test]
    fn a_failed_migration_leaves_everything_as_it_was() {
        let mut connection = at_schema_one();
        let before = tables(&connection);
        let migrations = [MIGRATIONS[0], SECOND, "INSERT INTO nowhere VALUES (1);"];
        migrate_by(&migrations, &mut connection, 1).unwrap_err();
        assert!(connection.is_autocommit());
        assert_eq!((version(&connection), tables(&connection)), (1, before));
    }
}
