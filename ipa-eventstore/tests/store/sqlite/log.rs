//! What an unclean end leaves in the write-ahead log: taken up, torn, or damaged.

use ipa_eventstore::{
    CheckArea, Durability, EventStore, Expected, ReadStream, SqliteEventStore, SqliteOptions, StoreError,
};
use rusqlite::{Connection, OpenFlags};

use super::{Place, shared};
use crate::conformance::{events, id, stream, versions};

const HEADER: usize = 32;
const FRAME: usize = 24 + 4096;

/// The files of a store with so many commits in its log, as a kill would leave them.
async fn killed(durability: Durability, commits: u64) -> Place {
    let place = Place::new();
    let store = SqliteOptions::new().durability(durability).open(place.path()).await.unwrap();
    let a = stream(&shared(&store), "a", 1).await;
    for version in 1..commits {
        store.append(&a, Expected::Exact(version), events(1)).await.unwrap();
    }
    let copy = copied(&place);
    store.close().await.unwrap();
    copy
}

fn copied(place: &Place) -> Place {
    let copy = Place::new();
    for name in ["events.db", "events.db-wal"] {
        std::fs::copy(place.beside(name), copy.beside(name)).unwrap();
    }
    copy
}

impl Place {
    fn log(&self) -> Vec<u8> {
        std::fs::read(self.beside("events.db-wal")).unwrap()
    }

    fn damaged(&self, at: usize) -> Place {
        let copy = copied(self);
        let mut log = self.log();
        log[at] ^= 0x55;
        std::fs::write(copy.beside("events.db-wal"), log).unwrap();
        copy
    }

    /// Where the frame is behind which so many commits are whole.
    fn frame_after(&self, commits: usize) -> usize {
        let log = self.log();
        let frames = log[HEADER..].chunks_exact(FRAME).enumerate();
        let mut marks = frames.filter(|(_, frame)| frame[4..8] != [0; 4]).map(|(n, _)| n);
        HEADER + (marks.nth(commits - 1).unwrap() + 1) * FRAME
    }
}

/// A damaged frame with later commits behind it is refused, at every class of offset, before anything is written. SQLite would leave
/// out all that is behind it. What is before it can be read.
#[tokio::test]
async fn a_damaged_log_is_refused_and_left_as_it_is() {
    let place = killed(Durability::Full, 20).await;
    let frame = place.frame_after(10);
    for class in [0, 3, 7, 8, 13, 16, 20, 24, 2000, FRAME - 1] {
        let damaged = place.damaged(frame + class);
        let before = (std::fs::read(damaged.path()).unwrap(), damaged.log());
        let error = damaged.open_err().await;
        assert!(matches!(error, StoreError::Damaged { .. }), "{class}: {error:?}");
        let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
        assert!(text.contains("events.db is damaged") && text.contains("restore a backup"), "{text}");
        assert!(text.contains("events.db-wal") && text.contains(&format!("at byte {frame}")), "{text}");
        assert!(text.contains("10 commits before it are sound"), "{text}");
        assert_eq!((std::fs::read(damaged.path()).unwrap(), damaged.log()), before);

        let read_only = SqliteEventStore::open_read_only(damaged.path()).await.unwrap();
        let read = read_only.read_stream(&id("a"), ReadStream::new()).await.unwrap();
        assert_eq!(versions(&read), (1..=10).collect::<Vec<_>>());
        read_only.close().await.unwrap();
        let report = SqliteEventStore::check(damaged.path()).await.unwrap();
        let [finding] = &report.findings[..] else { panic!("{report:?}") };
        assert!(finding.area == CheckArea::Log && finding.message.contains(&format!("at byte {frame}")));
    }
    let error = place.damaged(5).open_err().await;
    let text = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, StoreError::Damaged { .. }) && text.contains("header"), "{error:?}");
}

/// The last commit may have got to disk in part: then nobody was told that it is stored.
#[tokio::test]
async fn a_torn_last_commit_is_left_out() {
    let place = killed(Durability::Full, 20).await;
    let torn = place.damaged(place.frame_after(19) + 1000);
    let store = torn.open().await;
    assert_eq!(store.stream_version(&id("a")).await.unwrap(), 19);
    let next = store.append(&id("a"), Expected::Exact(19), events(1)).await.unwrap();
    assert_eq!(next.version, 20);
    store.close().await.unwrap();
}

/// Under the mode that is not synced at each commit a power loss may leave a gap, and with it a prefix.
#[tokio::test]
async fn a_gap_in_an_unsynced_log_loses_a_suffix() {
    let place = killed(Durability::ProcessCrash, 20).await;
    let gap = place.damaged(place.frame_after(10) + 1000);
    let store = gap.open().await;
    let read = store.read_stream(&id("a"), ReadStream::new()).await.unwrap();
    assert_eq!(versions(&read), (1..=10).collect::<Vec<_>>());
    store.close().await.unwrap();
    assert!(matches!(place.damaged(5).open_err().await, StoreError::Damaged { .. }), "the header is synced");
}

/// A log of another program's database, put beside the store by mistake, is not carried over into it.
#[tokio::test]
async fn a_log_of_another_database_is_refused() {
    let place = killed(Durability::Full, 3).await;
    let other = Place::new();
    let connection = Connection::open(other.path()).unwrap();
    connection
        .execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        .unwrap();
    std::fs::copy(other.beside("events.db-wal"), place.beside("events.db-wal")).unwrap();
    let before = (std::fs::read(place.path()).unwrap(), place.log());
    let read_only = SqliteEventStore::open_read_only(place.path()).await.unwrap_err();
    for error in [place.open_err().await, read_only] {
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains("events.db-wal is not its own"), "{text}");
    }
    assert_eq!((std::fs::read(place.path()).unwrap(), place.log()), before);
}

/// What was taken up after an unclean end is carried over before anything is written behind it.
#[tokio::test]
async fn the_log_of_an_unclean_end_is_begun_anew() {
    let place = killed(Durability::Full, 5).await;
    let store = place.open().await;
    assert_eq!(place.log().len(), 0);
    assert_eq!(store.stream_version(&id("a")).await.unwrap(), 5);
    store.append(&id("a"), Expected::Exact(5), events(1)).await.unwrap();
    let again = copied(&place);
    store.close().await.unwrap();
    let store = again.open().await;
    assert_eq!(store.stream_version(&id("a")).await.unwrap(), 6);
    store.close().await.unwrap();
}

/// The mode is recorded in the file itself before anything is written under it: the log is judged by that record, without the log.
#[tokio::test]
async fn the_mode_is_on_record_before_the_log_is_written() {
    let recorded = |place: &Place| -> String {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
        let uri = format!("file:{}?immutable=1", place.path().display());
        let file = Connection::open_with_flags(uri, flags).unwrap();
        file.query_row("SELECT value FROM store WHERE key = 'durability'", [], |row| row.get(0)).unwrap()
    };
    let place = Place::new();
    for (mode, name) in
        [(Durability::Full, "full"), (Durability::ProcessCrash, "process-crash"), (Durability::Full, "full")]
    {
        let store = SqliteOptions::new().durability(mode).open(place.path()).await.unwrap();
        assert_eq!(recorded(&place), name);
        store.close().await.unwrap();
    }
}
