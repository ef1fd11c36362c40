//! The file: opened again, not ours, newer, damaged, locked.

use ipa_eventstore::{
    Durability, EventStore, Expected, ReadAll, ReadStream, Snapshot, SqliteEventStore, SqliteOptions,
    StoreError,
};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::{Place, shared};
use crate::conformance::{event, events, id, stream, versions};

/// ES-42 opening the file again => all data, and positions and duplicates go on where they were.
#[tokio::test]
async fn opened_again_everything_is_there() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 2).await;
    let batch = vec![event("x").actor("ann").metadata(&7).unwrap()];
    let first = store.append(&a, Expected::Exact(2), batch.clone()).await.unwrap();
    store.save_snapshot(&a, Snapshot::json(3, 1, "state").unwrap()).await.unwrap();
    let doomed = stream(&shared(&store), "doomed", 3).await;
    let all = store.read_all(ReadAll::new()).await.unwrap();
    let last = all.last().unwrap().position;
    store.delete_stream(&doomed).await.unwrap();
    let info = store.stream_info(&a).await.unwrap();
    store.close().await.unwrap();

    let store = place.open().await;
    assert_eq!(store.stream_info(&a).await.unwrap(), info);
    assert_eq!(store.read_all(ReadAll::new()).await.unwrap(), all[..3]);
    let snapshot = store.load_snapshot(&a).await.unwrap().unwrap();
    assert_eq!(snapshot, Snapshot::json(3, 1, "state").unwrap());
    let again = store.append(&a, Expected::Exact(2), batch).await.unwrap();
    assert!(again.duplicate && again.position == first.position);
    let next = store.append(&a, Expected::Exact(3), events(1)).await.unwrap();
    assert!(next.position.unwrap() > last, "not even those deleted before the close are used again");
    store.close().await.unwrap();
}

/// A file of two names could have two writers, each with a log of its own: it is refused, and nothing of it is changed.
#[tokio::test]
async fn a_file_of_two_names_has_no_writer() {
    let place = Place::new();
    let store = place.open().await;
    stream(&shared(&store), "a", 2).await;
    store.close().await.unwrap();
    let other = place.path().with_file_name("other.db");
    std::fs::hard_link(place.path(), &other).unwrap();
    for path in [place.path(), other.clone()] {
        let error = SqliteEventStore::open(path).await.unwrap_err();
        let StoreError::CannotOpen { source, .. } = &error else { panic!("{error}") };
        assert_eq!(source.to_string(), "the file has 2 names");
        assert!(error.to_string().contains("hard links"), "{error}");
    }
    assert!(!place.path().with_file_name("other.db.lock").exists());
    std::fs::remove_file(&other).unwrap();
    let store = place.open().await;
    assert_eq!(store.read_all(ReadAll::new()).await.unwrap().len(), 2);
    store.close().await.unwrap();
}

/// Options that say "no limit" are taken for as much as can be counted.
#[tokio::test]
async fn options_may_be_endless() {
    let place = Place::new();
    let forever = std::time::Duration::MAX;
    let options = SqliteOptions::new().busy_timeout(forever).idle_checkpoint(forever).queue(usize::MAX);
    let store = options.open(place.path()).await.unwrap();
    stream(&shared(&store), "a", 2).await;
    store.close().await.unwrap();
}

/// ES-31 ES-32 a deleted stream leaves no row behind, whichever connection deletes.
#[tokio::test]
async fn deletion_leaves_no_orphans() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 3).await;
    store.save_snapshot(&a, Snapshot::json(1, 1, &()).unwrap()).await.unwrap();
    store.delete_stream(&a).await.unwrap();
    for table in ["streams", "events", "snapshots"] {
        assert_eq!(place.count(table), 0, "{table}");
    }
    store.close().await.unwrap();
}

/// ES-43 an event that cannot be decoded is an error that names its stream and version.
#[tokio::test]
async fn a_damaged_event_is_named_and_never_skipped() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 5).await;
    let damages = [
        "UPDATE events SET data = '{' WHERE version = 3",
        "UPDATE events SET data = CAST(x'22ff22' AS TEXT) WHERE version = 3",
        "UPDATE events SET metadata = 'no json' WHERE version = 3",
        "UPDATE events SET event_id = x'00' WHERE version = 3",
        "UPDATE events SET schema_version = -1 WHERE version = 3",
        "UPDATE events SET type = ' ' WHERE version = 3",
        "DELETE FROM events WHERE version = 3",
    ];
    for damage in damages {
        place.raw().execute_batch(damage).unwrap();
        for read in [ReadStream::new(), ReadStream::new().backward()] {
            let error = store.read_stream(&a, read).await.unwrap_err();
            assert!(
                matches!(&error, StoreError::Damaged { stream: Some(stream), version: Some(3), .. } if *stream == a),
                "{damage}: {error:?}"
            );
            assert!(error.to_string().contains("events.db is damaged at stream a, version 3"), "{error}");
        }
        // What is sound stays readable.
        let before = store.read_stream(&a, ReadStream::new().before(3)).await.unwrap();
        let after = store.read_stream(&a, ReadStream::new().after(3)).await.unwrap();
        assert_eq!((versions(&before), versions(&after)), (vec![1, 2], vec![4, 5]));
    }
    store.close().await.unwrap();
}

/// A stream whose version cannot be is damaged: it is neither read as an empty one nor appended to.
#[tokio::test]
async fn versions_that_cannot_be_are_damage() {
    for version in [-1, i64::MIN, i64::MAX] {
        let place = Place::new();
        let store = place.open().await;
        let a = stream(&shared(&store), "a", 2).await;
        let b = stream(&shared(&store), "b", 2).await;
        place.raw().execute("UPDATE streams SET version = ?1 WHERE name = 'a'", [version]).unwrap();
        let read = store.read_stream(&a, ReadStream::new()).await.unwrap_err();
        let append = store.append(&a, Expected::Any, events(1)).await.unwrap_err();
        for error in [read, append] {
            assert!(matches!(error, StoreError::Damaged { .. }), "{version}: {error:?}");
            assert!(error.to_string().contains("events.db"), "{error}");
        }
        store.append(&b, Expected::Exact(2), events(1)).await.unwrap();
        assert_eq!(place.count("events"), 5, "nothing was written to the damaged one");
        store.close().await.unwrap();
    }
}

/// A table that is missing, or that lacks a column, is damage, found before anything is written; no retry will bring it back.
#[tokio::test]
async fn missing_tables_and_columns_are_damage() {
    let damages = [
        "DROP TABLE snapshots",
        "DROP TABLE events",
        "ALTER TABLE events RENAME COLUMN data TO other",
        "DROP TABLE store",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = -1",
    ];
    for (damage, killed) in damages.iter().flat_map(|damage| [(damage, false), (damage, true)]) {
        let place = Place::new();
        let store = place.open().await;
        let a = stream(&shared(&store), "a", 2).await;
        store.close().await.unwrap();
        let raw = place.raw();
        raw.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, killed).unwrap();
        raw.execute_batch(damage).unwrap();
        drop(raw);
        let files = || ["events.db", "events.db-wal"].map(|name| std::fs::read(place.beside(name)).ok());
        let before = files();
        let error = place.open_err().await;
        assert!(matches!(error, StoreError::Damaged { .. }), "{damage}: {error:?}");
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("events.db is damaged"), "{text}");
        assert!(text.contains("no such") || text.contains("schema number"), "{text}");
        if killed {
            assert_eq!(files(), before, "{damage}");
        } else {
            assert_eq!(files()[0], before[0], "{damage}");
        }

        // Beside a writer it may show later; it is the same damage.
        let read_only = match SqliteEventStore::open_read_only(place.path()).await {
            Err(error) => error,
            Ok(store) => {
                let events = store.read_stream(&a, ReadStream::new()).await.err();
                let snapshot = store.load_snapshot(&a).await.err();
                store.close().await.unwrap();
                match events.or(snapshot) {
                    Some(error) => error,
                    None => {
                        assert_eq!(*damage, "DROP TABLE store", "no read needs it");
                        continue;
                    }
                }
            }
        };
        assert!(matches!(read_only, StoreError::Damaged { .. }), "{damage}: {read_only:?}");
    }
}

/// ES-44 ":memory:" would be another database for each connection; it is refused.
#[tokio::test]
async fn a_store_is_a_file() {
    for path in [":memory:", "", "/", ".."] {
        let error = SqliteEventStore::open(path).await.unwrap_err();
        assert!(matches!(error, StoreError::Invalid { .. }), "{path:?}: {error:?}");
    }
    let place = Place::new();
    let error = SqliteEventStore::open(place.beside("missing/events.db")).await.unwrap_err();
    assert!(matches!(error, StoreError::CannotOpen { .. }), "{error:?}");
    assert!(error.to_string().contains("missing"), "{error}");
    std::fs::create_dir(place.path()).unwrap();
    let error = place.open_err().await;
    assert!(matches!(error, StoreError::CannotOpen { .. }), "{error:?}");
}

/// Paths with what means something in a URI, and an empty file, are fine.
#[tokio::test]
async fn odd_paths_and_empty_files() {
    let place = Place::new();
    let odd = place.beside("a b?c#d%20é&mode=rw.db");
    std::fs::write(&odd, "").unwrap();
    for _ in 0..2 {
        let store = SqliteEventStore::open(&odd).await.unwrap();
        assert_eq!(store.path(), odd.canonicalize().unwrap());
        store.close().await.unwrap();
    }
}

/// Another program's file is refused and left as it is, to the byte, with nothing beside it.
#[tokio::test]
async fn a_foreign_file_is_not_touched() {
    let text = Place::new();
    std::fs::write(text.path(), "dear diary, ".repeat(1000)).unwrap();
    let short = Place::new();
    std::fs::write(short.path(), "x").unwrap();
    let database = Place::new();
    let connection = Connection::open(database.path()).unwrap();
    connection.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t (a)").unwrap();
    connection.close().unwrap();
    let named = Place::new();
    let connection = Connection::open(named.path()).unwrap();
    connection.execute_batch("PRAGMA application_id=77; CREATE TABLE t (a)").unwrap();
    connection.close().unwrap();
    for place in [text, short, database, named] {
        let before = std::fs::read(place.path()).unwrap();
        let read_only = SqliteEventStore::open_read_only(place.path()).await.unwrap_err();
        for error in [place.open_err().await, read_only] {
            assert!(matches!(error, StoreError::NotOurs { .. }), "{error:?}");
            assert!(error.to_string().contains("events.db"), "{error}");
        }
        assert_eq!(std::fs::read(place.path()).unwrap(), before);
        assert_eq!(place.files(), ["events.db"]);
    }
}

/// A store of a newer schema is refused and left as it is.
#[tokio::test]
async fn a_newer_schema_is_not_touched() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    place.raw().pragma_update(None, "user_version", 999).unwrap();
    let before = std::fs::read(place.path()).unwrap();
    let error = place.open_err().await;
    assert!(matches!(error, StoreError::NewerSchema { found: 999, supported: 1, .. }), "{error:?}");
    assert!(error.to_string().contains("events.db"), "{error}");
    assert_eq!(std::fs::read(place.path()).unwrap(), before);
}

/// The same where the newer program was killed, and its schema number is in the log alone.
#[tokio::test]
async fn a_newer_schema_in_the_log_is_not_touched() {
    let place = Place::new();
    place.open().await.close().await.unwrap();
    let raw = place.raw();
    raw.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).unwrap();
    raw.pragma_update(None, "user_version", 999).unwrap();
    drop(raw);
    let files = || ["events.db", "events.db-wal"].map(|name| std::fs::read(place.beside(name)).unwrap());
    let before = files();
    let read_only = SqliteEventStore::open_read_only(place.path()).await.unwrap_err();
    for error in [place.open_err().await, read_only] {
        assert!(matches!(error, StoreError::NewerSchema { found: 999, .. }), "{error:?}");
    }
    assert_eq!(files(), before);
}

/// A second writer is refused while the first has the store, also by another name of the file.
#[tokio::test]
async fn one_writer_at_a_time() {
    let place = Place::new();
    let first = place.open().await;
    let link = place.beside("link.db");
    std::os::unix::fs::symlink(place.path(), &link).unwrap();
    for path in [place.path(), link] {
        let error = SqliteEventStore::open(path).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StoreError::LockedByAnother { .. }), "{error:?}");
        assert!(text.contains("events.db.lock"), "{text}");
        assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        assert!(text.contains("open_read_only"), "{text}");
    }
    stream(&shared(&first), "a", 1).await;
    first.close().await.unwrap();
    let second = place.open().await;
    assert!(second.stream_exists(&id("a")).await.unwrap());
    second.close().await.unwrap();
}

/// Dropping the last handle closes the store in the background and gives the lock back.
#[tokio::test]
async fn dropping_the_last_handle_closes() {
    let place = Place::new();
    let store = place.open().await;
    let other = store.clone();
    let a = stream(&shared(&store), "a", 3).await;
    let following = store.subscribe(ipa_eventstore::Subscribe::stream(&a, 0)).await.unwrap();
    drop((store, following));
    assert_eq!(other.stream_version(&a).await.unwrap(), 3, "one handle is left");
    drop(other);
    let lock = std::fs::File::open(place.beside("events.db.lock")).unwrap();
    // Waits until the writer has ended.
    tokio::task::spawn_blocking(move || lock.lock().unwrap()).await.unwrap();
    assert_eq!(place.files(), ["events.db", "events.db.lock"]);
    let store = place.open().await;
    assert_eq!(store.stream_version(&a).await.unwrap(), 3);
    store.close().await.unwrap();
}

/// The files of a store that was not closed are taken up; a damaged page in them is found.
#[tokio::test]
async fn after_an_unclean_end_the_file_is_checked() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 500).await;
    store.close().await.unwrap();
    let store = place.open().await;
    store.append(&a, Expected::Any, events(1)).await.unwrap();

    // As the files stand now, a kill would leave them.
    let copy = |damage: bool| {
        let crashed = Place::new();
        std::fs::copy(place.beside("events.db-wal"), crashed.beside("events.db-wal")).unwrap();
        let mut bytes = std::fs::read(place.path()).unwrap();
        if damage {
            for page in (4096 * 2..bytes.len()).step_by(4096) {
                bytes[page..page + 64].fill(0xAA);
            }
        }
        std::fs::write(crashed.path(), bytes).unwrap();
        crashed
    };
    let crashed = copy(false);
    let reopened = crashed.open().await;
    let read = reopened.read_stream(&a, ReadStream::new()).await.unwrap();
    assert_eq!(versions(&read), (1..=501).collect::<Vec<_>>());
    reopened.close().await.unwrap();

    let crashed = copy(true);
    let files = || ["events.db", "events.db-wal"].map(|name| std::fs::read(crashed.beside(name)).unwrap());
    let before = files();
    let error = crashed.open_err().await;
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("restore a backup"), "{error}");
    assert_eq!(files(), before, "the log is not carried over into a file that is refused");
    store.close().await.unwrap();
}

/// A process that ends in the middle of a checkpoint leaves a header that is ahead of the file's length: no damage, the log has the
/// pages that are missing.
#[tokio::test]
async fn an_end_in_the_middle_of_a_checkpoint_is_no_damage() {
    let place = Place::new();
    let store = place.open().await;
    let a = stream(&shared(&store), "a", 500).await;
    let mut file = std::fs::read(place.path()).unwrap();
    let log = std::fs::read(place.beside("events.db-wal")).unwrap();
    // A frame: the number of its page first, the page after 24 bytes. A checkpoint begins with page 1, the header's.
    let frames = log[32..].chunks_exact(24 + 4096);
    let header = frames.rev().find(|frame| frame[..4] == [0, 0, 0, 1]).unwrap();
    file[..4096].copy_from_slice(&header[24..]);
    let pages = u32::from_be_bytes(file[28..32].try_into().unwrap());
    assert!(file.len() < pages as usize * 4096, "{} bytes, {pages} pages", file.len());

    let crashed = Place::new();
    std::fs::write(crashed.path(), file).unwrap();
    std::fs::write(crashed.beside("events.db-wal"), log).unwrap();
    let beside = SqliteEventStore::open_read_only(crashed.path()).await.unwrap();
    assert_eq!(beside.stream_version(&a).await.unwrap(), 500);
    beside.close().await.unwrap();
    let reopened = crashed.open().await;
    assert_eq!(reopened.stream_version(&a).await.unwrap(), 500);
    reopened.close().await.unwrap();
    store.close().await.unwrap();
}

/// A log without its store is not taken for a new store's.
#[tokio::test]
async fn a_log_without_its_store_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    stream(&shared(&store), "a", 3).await;
    let orphan = Place::new();
    std::fs::copy(place.beside("events.db-wal"), orphan.beside("events.db-wal")).unwrap();
    let error = orphan.open_err().await;
    assert!(matches!(error, StoreError::CannotOpen { .. }), "{error:?}");
    assert!(error.to_string().contains("events.db-wal"), "{error}");
    assert!(!orphan.path().exists());
    store.close().await.unwrap();
}

/// What a creation that was cut short left behind is cleared away.
#[tokio::test]
async fn a_creation_that_was_cut_short_is_begun_again() {
    let place = Place::new();
    std::fs::write(place.beside("events.db.ipa-draft"), "half a store").unwrap();
    std::fs::write(place.beside("events.db.ipa-draft-journal"), "and its journal").unwrap();
    let store = place.open().await;
    store.close().await.unwrap();
    assert_eq!(place.files(), ["events.db", "events.db.lock"]);
}

/// The durability mode is recorded in the store, whenever it changes.
#[tokio::test]
async fn the_durability_mode_is_recorded() {
    let place = Place::new();
    let modes =
        [(Durability::Full, "full"), (Durability::ProcessCrash, "process-crash"), (Durability::Full, "full")];
    for (count, (mode, recorded)) in (1..).zip(modes) {
        let store = SqliteOptions::new().durability(mode).open(place.path()).await.unwrap();
        let name = format!("s{count}");
        stream(&shared(&store), &name, 1).await;
        let sql = "SELECT value FROM store WHERE key = 'durability'";
        let found: String = place.raw().query_row(sql, [], |row| row.get(0)).unwrap();
        assert_eq!(found, recorded);
        assert_eq!(store.read_all(ReadAll::new()).await.unwrap().len(), count);
        store.close().await.unwrap();
    }
}

/// A file that was cut off is refused as damaged, however much of it is left, and left as it is.
#[tokio::test]
async fn a_file_that_was_cut_off_is_refused() {
    let place = Place::new();
    let store = place.open().await;
    stream(&shared(&store), "a", 500).await;
    store.close().await.unwrap();
    let whole = std::fs::read(place.path()).unwrap();
    for length in [whole.len() - 1, whole.len() - 4096, whole.len() / 2, 8192, 4096, 4095, 700, 0] {
        std::fs::write(place.path(), &whole[..length]).unwrap();
        let error = place.open_err().await;
        assert!(matches!(error, StoreError::Damaged { .. }), "{length}: {error:?}");
        assert!(error.to_string().contains("events.db"), "{error}");
        assert_eq!(std::fs::read(place.path()).unwrap(), whole[..length]);
        let read_only = SqliteEventStore::open_read_only(place.path()).await.unwrap_err();
        assert!(
            matches!(read_only, StoreError::Damaged { .. } | StoreError::CannotOpen { .. }),
            "{read_only:?}"
        );
        assert_eq!(place.files(), ["events.db", "events.db.lock"]);
    }
    std::fs::write(place.path(), &whole).unwrap();
    place.open().await.close().await.unwrap();
}
