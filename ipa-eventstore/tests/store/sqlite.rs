//! The suite on the durable store, and what only it does.

mod files;
mod fixtures;
mod log;
mod paths;
mod read_only;
mod telemetry;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use ipa_eventstore::testkit::{Case, Subject};
use ipa_eventstore::{EventStore, Position, ReadAll, SqliteEventStore, StoreError};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::conformance::{Store, stream};

async fn run(case: Case) {
    let place = Place::new();
    let open = Arc::new(Mutex::new(place.open().await));
    let subject = Subject::new(open.lock().await.clone());
    let foreign = [Position::from_parts(1, 0, 0), Position::from_parts(0, 1, 0)];
    let (path, current) = (place.path(), open.clone());
    let subject = subject.foreign_positions(foreign).reopening(move || {
        let (path, current) = (path.clone(), current.clone());
        async move {
            let mut current = current.lock().await;
            current.close().await.unwrap();
            *current = SqliteEventStore::open(path).await.unwrap();
            current.clone()
        }
    });
    case.run(subject).await;
    open.lock().await.close().await.unwrap();
    assert_eq!(place.files(), ["events.db", "events.db.lock"], "a clean close leaves no log");
}

mod suite {
    use super::run;

    ipa_eventstore::conformance! {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)] run, with reopen, foreign_positions
    }
}

mod suite_on_one_thread {
    use super::run;

    ipa_eventstore::conformance! { #[tokio::test] run, with reopen, foreign_positions }
}

/// A directory for one store.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("events.db")
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn open(&self) -> SqliteEventStore {
        SqliteEventStore::open(self.path()).await.unwrap()
    }

    async fn open_err(&self) -> StoreError {
        SqliteEventStore::open(self.path()).await.unwrap_err()
    }

    /// Another program's connection to the store's file.
    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn count(&self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        self.raw().query_row(&sql, [], |row| row.get(0)).unwrap()
    }

    /// The names of the directory's files, sorted.
    fn files(&self) -> Vec<String> {
        let entries = self.directory.path().read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn shared(store: &SqliteEventStore) -> Store {
    Arc::new(store.clone())
}

/// ES-42 the writer is the last to close, whatever readers there were, and so the log is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_close_with_idle_readers_leaves_no_log() {
    let mut stores = JoinSet::new();
    // Many at once, so that threads are held up at odd places.
    for _ in 0..16 {
        stores.spawn(async {
            let place = Place::new();
            for round in 0..10 {
                let store = place.open().await;
                stream(&shared(&store), &format!("s{round}"), 1).await;
                let read = async || store.read_all(ReadAll::new()).await.unwrap().len();
                assert_eq!(tokio::join!(read(), read(), read()), (round + 1, round + 1, round + 1));
                store.close().await.unwrap();
                assert_eq!(place.files(), ["events.db", "events.db.lock"], "round {round}");
            }
        });
    }
    stores.join_all().await;
}
