//! sqlite-es, measured as ipa-bench measures stores: `bench-sqlite-es appends|reads` prints a number for each row, `-` where it cannot.
//!
//! Its repository is called as it is, without the framework above it, which would read the whole stream before each append. Its pool is
//! the one that it makes by default: WAL, `synchronous=NORMAL`, ten connections. An append whose transaction finds the file busy is
//! tried again.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cqrs_es::event_sink::EventSink;
use cqrs_es::persist::{PersistedEventRepository, SerializedEvent};
use cqrs_es::{Aggregate, DomainEvent};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlite_es::{SqliteEventRepository, default_sqlite_pool};
use sqlx::{Pool, Sqlite};
use tempfile::TempDir;

/// The data of every event.
const DATA: &str = r#"{"step": 12, "by": "worker-3", "note": "the quick brown fox jumps over the lazy dog"}"#;

/// As in the crate's own migration.
const SCHEMA: &str = "CREATE TABLE events (
  aggregate_type text NOT NULL, aggregate_id text NOT NULL, sequence integer CHECK (sequence >= 0) NOT NULL,
  event_type text NOT NULL, event_version text NOT NULL, payload text NOT NULL, metadata text NOT NULL,
  PRIMARY KEY (aggregate_type, aggregate_id, sequence)) STRICT";

/// Makes a long stream of its first event, in a tenth of the time that appends would take.
const COPIES: &str = "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
  INSERT INTO events SELECT aggregate_type, aggregate_id, i, event_type, event_version, payload, metadata
  FROM n, events WHERE sequence = 1";

/// What the repository wants for the name of its type; nothing of it runs.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
struct Task;

impl DomainEvent for Task {
    fn event_type(&self) -> String {
        "stepped".to_owned()
    }
    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

impl Aggregate for Task {
    const TYPE: &'static str = "task";
    type Command = ();
    type Event = Task;
    type Error = std::io::Error;
    type Services = ();

    async fn handle(&mut self, (): (), (): &(), _: &EventSink<Self>) -> Result<(), std::io::Error> {
        Ok(())
    }
    fn apply(&mut self, _: Task) {}
}

#[derive(Clone)]
struct Store {
    pool: Pool<Sqlite>,
    repository: Arc<SqliteEventRepository>,
    /// How many events each stream has.
    versions: Arc<[AtomicUsize]>,
}

fn name(n: usize) -> String {
    format!("{n:08x}-7c1b-4e7e-9f0e-8d3a7c1b4e7e")
}

impl Store {
    async fn open(directory: &TempDir, streams: usize) -> Self {
        let file = directory.path().join("events.db");
        let pool = default_sqlite_pool(&format!("sqlite://{}", file.display())).await;
        sqlx::query(SCHEMA).execute(&pool).await.expect("the table is made");
        let versions = (0..streams).map(|_| AtomicUsize::new(0)).collect();
        Self { repository: Arc::new(SqliteEventRepository::new(pool.clone())), pool, versions }
    }

    async fn append(&self, stream: usize, count: usize) {
        let first = self.versions[stream].fetch_add(count, Ordering::Relaxed);
        let data: Value = serde_json::from_str(DATA).expect("it is JSON");
        let event = |n: usize| {
            let kind = "stepped".to_owned();
            let metadata = Value::Object(serde_json::Map::new());
            SerializedEvent::new(
                name(stream),
                first + n,
                "task".to_owned(),
                kind,
                "1".to_owned(),
                data.clone(),
                metadata,
            )
        };
        let events: Vec<SerializedEvent> = (1..=count).map(event).collect();
        while let Err(error) = self.repository.persist::<Task>(&events, None).await {
            assert!(error.to_string().contains("locked"), "{error}");
        }
    }

    async fn read(&self, stream: usize) -> usize {
        self.repository.get_events::<Task>(&name(stream)).await.expect("the stream is read").len()
    }
}

/// Does `count` of something, so many at a time; seconds.
async fn each<F>(count: usize, in_flight: usize, make: impl Fn(usize) -> F + Clone + Send + 'static) -> f64
where
    F: Future<Output = ()> + Send,
{
    let begun = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..in_flight {
        let make = make.clone();
        callers.spawn(async move {
            for n in (caller..count).step_by(in_flight) {
                make(n).await;
            }
        });
    }
    while let Some(joined) = callers.join_next().await {
        joined.expect("a caller does not panic");
    }
    begun.elapsed().as_secs_f64()
}

/// Events a second.
async fn append(appenders: usize, appends: usize, batch: usize) -> f64 {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&directory, appenders).await;
    let seconds = each(appends, appenders, move |n| {
        let store = store.clone();
        async move { store.append(n % appenders, batch).await }
    })
    .await;
    (appends * batch) as f64 / seconds
}

/// Events a second of reading a stream of 100,000.
async fn read() -> f64 {
    const EVENTS: usize = 100_000;
    const READS: usize = 1;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let store = Store::open(&directory, 1).await;
    store.append(0, 1).await;
    sqlx::query(COPIES).bind(EVENTS as i64).execute(&store.pool).await.expect("the event is copied");
    assert_eq!(store.read(0).await, EVENTS);
    let begun = Instant::now();
    for _ in 0..READS {
        assert_eq!(store.read(0).await, EVENTS);
    }
    (EVENTS * READS) as f64 / begun.elapsed().as_secs_f64()
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built");
    let what = std::env::args().nth(1).unwrap_or_default();
    runtime.block_on(async {
        match what.as_str() {
            "appends" => {
                let (one, some) = (append(1, 1_000, 1).await, append(16, 3_000, 1).await);
                let (many, batches) = (append(256, 4_000, 1).await, append(16, 300, 100).await);
                println!("{one} {some} {many} {batches}");
            }
            // Its events are decoded as they are read. It has no question for a stream alone, and no state manager.
            "reads" => {
                let read = read().await;
                println!("{read} {read} - -");
            }
            _ => {
                eprintln!("usage: bench-sqlite-es appends|reads");
                std::process::exit(2);
            }
        }
    });
}
