//! What else may stand where a store is to be, and beside it.

use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

use ipa_eventstore::{EventStore, SqliteEventStore, StoreError};

use super::{Place, shared};
use crate::conformance::stream;

/// A pipe or a socket is nobody's store, and is not replaced by one.
#[tokio::test]
async fn what_is_no_file_is_left_as_it_is() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.path()).status().unwrap().success());
    let kind = |place: &Place| place.path().symlink_metadata().unwrap().file_type();
    let both = async |place: &Place| {
        [place.open_err().await, SqliteEventStore::open_read_only(place.path()).await.unwrap_err()]
    };
    for error in both(&place).await {
        assert!(
            matches!(&error, StoreError::NotOurs { found, .. } if found == "no regular file"),
            "{error:?}"
        );
    }
    assert!(kind(&place).is_fifo());
    // Nor by a name that cannot be that of a file.
    let odd = place.beside("events.db/.");
    assert!(matches!(SqliteEventStore::open(odd).await, Err(StoreError::NotOurs { .. })));
    assert!(kind(&place).is_fifo());
    assert_eq!(place.files(), ["events.db"]);

    let place = Place::new();
    let _socket = UnixListener::bind(place.path()).unwrap();
    for error in both(&place).await {
        assert!(matches!(error, StoreError::NotOurs { .. }), "{error:?}");
    }
    assert!(kind(&place).is_socket());
}

/// A link to a file that is not there, on a volume that is not mounted, say, does not become another store.
#[tokio::test]
async fn a_link_that_leads_nowhere_is_refused() {
    let place = Place::new();
    symlink(place.beside("volume/real.db"), place.path()).unwrap();
    let error = place.open_err().await;
    assert!(matches!(error, StoreError::CannotOpen { doing: "follow", .. }), "{error:?}");
    assert!(place.path().symlink_metadata().unwrap().is_symlink());
    // Once it leads somewhere it is followed.
    std::fs::create_dir(place.beside("volume")).unwrap();
    SqliteEventStore::open(place.beside("volume/real.db")).await.unwrap().close().await.unwrap();
    let store = place.open().await;
    stream(&shared(&store), "a", 1).await;
    store.close().await.unwrap();
    assert!(place.path().symlink_metadata().unwrap().is_symlink());
    assert_eq!(place.files(), ["events.db", "volume"]);
}

/// What others have put beside the path of a new store is theirs.
#[tokio::test]
async fn a_new_store_leaves_its_neighbours_alone() {
    let place = Place::new();
    let staged = place.beside("events.db.new");
    std::fs::write(&staged, "a backup that is to take its place").unwrap();
    place.open().await.close().await.unwrap();
    assert_eq!(std::fs::read_to_string(staged).unwrap(), "a backup that is to take its place");
    assert_eq!(place.files(), ["events.db", "events.db.lock", "events.db.new"]);
}

/// Where somebody has prepared an empty file, so that others may not read it, the store is as private.
#[tokio::test]
async fn an_empty_file_keeps_its_permissions() {
    let place = Place::new();
    std::fs::write(place.path(), "").unwrap();
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let store = place.open().await;
    stream(&shared(&store), "a", 1).await;
    for name in place.files().iter().filter(|name| !name.ends_with(".lock")) {
        let mode = place.beside(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close().await.unwrap();
}

/// A close that could not carry the log over says so: whoever copies the file alone would lose what is in the log.
#[tokio::test]
async fn a_close_beside_an_open_read_says_that_the_log_is_needed() {
    let place = Place::new();
    let options = ipa_eventstore::SqliteOptions::new().busy_timeout(std::time::Duration::from_millis(1));
    let store = options.open(place.path()).await.unwrap();
    let a = stream(&shared(&store), "a", 2).await;
    let other = place.raw();
    other.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    stream(&shared(&store), "b", 1).await;
    let error = store.close().await.unwrap_err();
    assert!(matches!(&error, StoreError::LogLeft { log } if log.ends_with("events.db-wal")), "{error:?}");
    assert!(matches!(store.stream_version(&a).await, Err(StoreError::Closed)));
    assert!(place.beside("events.db-wal").metadata().unwrap().len() > 0);
    drop(other);
    let store = place.open().await;
    assert_eq!(store.stream_version(&a).await.unwrap(), 2);
    // A read of the latest state keeps the log from being emptied, but not from being in the file.
    let other = place.raw();
    other.execute_batch("BEGIN; SELECT count(*) FROM events").unwrap();
    store.close().await.unwrap();
    drop(other);
    place.open().await.close().await.unwrap();
    assert_eq!(place.files(), ["events.db", "events.db.lock"]);
}
