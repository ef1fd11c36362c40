//! The limit: rusqlite with the same schema and the same grouping, written by hand.
//!
//! It does: one writer thread that drains its queue into one transaction, answers after the commit, with the same pragmas but for the
//! size of the log's file; the stream's version read and written once a group; reads on four connections of their own, on tokio's
//! blocking pool, into a struct of the same fields. It does not: ids that are looked at for retries, expected versions, refusals within a
//! group, subscriptions, checks of what is read, opening after a crash.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipa_eventstore::{Json, SqliteEventStore};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::{DATA, Step, Store, steps};
use crate::pods::{self, Pods};
use crate::tool::name;

struct Request {
    stream: String,
    events: Vec<(Uuid, Json)>,
    stored: oneshot::Sender<()>,
}

#[derive(Clone)]
pub struct Bare {
    path: PathBuf,
    queue: mpsc::Sender<Request>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
    data: Json,
    /// As many at a time as there are connections.
    slots: Arc<Semaphore>,
    readers: Arc<Mutex<Vec<Connection>>>,
}

/// How many connections read, as in ours.
const READERS: usize = 4;

/// An event as it is read.
#[expect(dead_code, reason = "what is read is handed on, and not looked at here")]
pub struct Event {
    pub version: i64,
    pub position: i64,
    pub id: Uuid,
    pub kind: Arc<str>,
    pub schema: i64,
    pub recorded: SystemTime,
    pub actor: Option<Arc<str>>,
    pub causation: Option<Arc<str>>,
    pub correlation: Option<Arc<str>>,
    pub metadata: Option<Json>,
    pub data: Json,
}

fn connect(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("the file opens");
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA wal_autocheckpoint=20000;")
        .expect("pragmas are set");
    connection.set_prepared_statement_cache_capacity(32);
    connection
}

/// Runs a statement that is prepared once.
fn run(connection: &Connection, statement: &str) {
    let done = connection.prepare_cached(statement).and_then(|mut statement| statement.execute([]));
    done.expect("it is done");
}

fn write(connection: Connection, requests: &mpsc::Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut group = vec![first];
        while group.len() < 512 {
            let Ok(request) = requests.try_recv() else { break };
            group.push(request);
        }
        // A stream's requests next to each other.
        let mut order: HashMap<&str, usize> = HashMap::new();
        for request in &group {
            let next = order.len();
            order.entry(&request.stream).or_insert(next);
        }
        let order: Vec<usize> = group.iter().map(|request| order[request.stream.as_str()]).collect();
        let mut group: Vec<_> = order.into_iter().zip(group).collect();
        group.sort_by_key(|(order, _)| *order);

        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64;
        run(&connection, "BEGIN IMMEDIATE");
        let mut at = 0;
        while at < group.len() {
            let stream = group[at].1.stream.clone();
            let (key, mut version): (i64, i64) = connection
                .prepare_cached("SELECT id, version FROM streams WHERE name = ?1")
                .and_then(|mut select| select.query_row([&stream], |row| Ok((row.get(0)?, row.get(1)?))))
                .expect("the stream exists");
            let mut insert = connection
                .prepare_cached(
                    "INSERT INTO events (stream, version, event_id, type, schema_version, recorded_at, data)
                     VALUES (?1, ?2, ?3, 'stepped', 1, ?4, ?5)",
                )
                .expect("it is SQL");
            while at < group.len() && group[at].1.stream == stream {
                for (id, data) in &group[at].1.events {
                    version += 1;
                    insert
                        .execute(params![key, version, id.as_bytes().as_slice(), now, data.get()])
                        .expect("it is inserted");
                }
                at += 1;
            }
            connection
                .prepare_cached("UPDATE streams SET version = ?2, updated_at = ?3 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![key, version, now]))
                .expect("it is updated");
        }
        run(&connection, "COMMIT");
        for (_, request) in group {
            let _ = request.stored.send(());
        }
    }
}

impl Bare {
    async fn with_reader<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> T {
        let slot = self.slots.clone().acquire_owned().await.expect("nobody closes it");
        let readers = self.readers.clone();
        tokio::task::spawn_blocking(move || {
            let connection = readers.lock().pop().expect("as many as slots");
            let result = read(&connection);
            readers.lock().push(connection);
            drop(slot);
            result
        })
        .await
        .expect("the read does not panic")
    }
}

impl Bare {
    /// All events of a stream.
    async fn all(&self, n: usize) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        loop {
            let after = events.last().map_or(0, |event| event.version);
            let page = self.with_reader(move |connection| page(connection, &name(n), after)).await;
            let at_end = page.len() < 1_000;
            events.extend(page);
            if at_end {
                return events;
            }
        }
    }
}

impl Store for Bare {
    async fn open(directory: &Path) -> Self {
        let path = directory.join("bare.db");
        // For its schema.
        SqliteEventStore::open(&path)
            .await
            .expect("the store opens")
            .close()
            .await
            .expect("the store closes");
        let (queue, requests) = mpsc::channel();
        let connection = connect(&path);
        let writer = std::thread::spawn(move || write(connection, &requests));
        let readers = (0..READERS).map(|_| connect(&path)).collect();
        let data = Json::parse(DATA).expect("it is JSON");
        Self {
            path,
            queue,
            writer: Arc::new(Mutex::new(Some(writer))),
            data,
            slots: Arc::new(Semaphore::new(READERS)),
            readers: Arc::new(Mutex::new(readers)),
        }
    }

    async fn create(&self, streams: usize) {
        let mut connection = connect(&self.path);
        let transaction = connection.transaction().expect("it begins");
        for n in 0..streams {
            transaction
                .execute("INSERT INTO streams (name, type, version, created_at, updated_at) VALUES (?1, 'task', 0, 0, 0)", [name(n)])
                .expect("the stream is new");
        }
        transaction.commit().expect("it is committed");
    }

    async fn append(&self, n: usize, events: usize) {
        let (stored, is_stored) = oneshot::channel();
        let events = (0..events).map(|_| (Uuid::now_v7(), self.data.clone())).collect();
        self.queue.send(Request { stream: name(n), events, stored }).expect("the writer lives");
        is_stored.await.expect("the events are stored");
    }

    async fn read(&self, n: usize) -> usize {
        self.all(n).await.len()
    }

    async fn read_decoded(&self, n: usize) -> u64 {
        self.all(n).await.iter().map(|event| steps(&event.data)).sum()
    }

    async fn exists(&self, n: usize) -> bool {
        self.with_reader(move |connection| {
            let mut select =
                connection.prepare_cached("SELECT id FROM streams WHERE name = ?1").expect("it is SQL");
            select
                .query_row([name(n)], |row| row.get::<_, i64>(0))
                .optional()
                .expect("it is answered")
                .is_some()
        })
        .await
    }

    /// A task that reads the stream, makes the state of it, says that it is up, and answers until it is stopped.
    async fn state(&self, n: usize) -> u64 {
        let (up, is_up) = oneshot::channel();
        let (ask, mut asked) = tokio::sync::mpsc::channel::<oneshot::Sender<u64>>(16);
        let store = self.clone();
        let task = tokio::spawn(async move {
            let mut sum = 0;
            let mut after = 0;
            loop {
                let page = store.with_reader(move |connection| page(connection, &name(n), after)).await;
                for event in &page {
                    sum += event.data.decode::<Step>().expect("it is a step").step;
                    after = event.version;
                }
                if page.len() < 1_000 {
                    break;
                }
            }
            let _ = up.send(());
            while let Some(reply) = asked.recv().await {
                let _ = reply.send(sum);
            }
        });
        is_up.await.expect("it comes up");
        let (reply, answer) = oneshot::channel();
        ask.send(reply).await.expect("it runs");
        let sum = answer.await.expect("an answer");
        drop(ask);
        task.await.expect("it stops");
        sum
    }

    type Pods = (Self, pods::Bare);

    async fn pods(&self) -> Self::Pods {
        (self.clone(), pods::Bare::new().await)
    }

    async fn start((store, pods): &Self::Pods, n: usize) {
        let first = async {
            assert!(store.exists(n).await);
            store.append(n, 1).await;
        };
        pods.start_after(name(n), first).await;
    }

    /// By the last handle: the writer ends when there is no other.
    async fn close(self) {
        let writer = self.writer.lock().take().expect("it is closed once");
        drop(self);
        let closed = tokio::task::spawn_blocking(|| writer.join()).await.expect("nobody aborts it");
        closed.expect("the writer does not panic");
    }
}

/// The next 1,000 events of a stream at most.
fn page(connection: &Connection, stream: &str, after: i64) -> Vec<Event> {
    let mut select = connection
        .prepare_cached(
            "SELECT e.version, e.position, e.event_id, e.type, e.schema_version, e.recorded_at, e.actor, e.causation,
                    e.correlation, e.metadata, e.data
             FROM events e JOIN streams s ON s.id = e.stream
             WHERE s.name = ?1 AND e.version > ?2 ORDER BY e.version LIMIT 1000",
        )
        .expect("it is SQL");
    let text = |row: &rusqlite::Row<'_>, at: usize| -> rusqlite::Result<Option<Arc<str>>> {
        Ok(row.get_ref(at)?.as_str_or_null()?.map(Arc::from))
    };
    let json = |text: &str| Json::parse(text).expect("it is JSON");
    // Mostly the one before, so that events share it.
    let mut last: Arc<str> = Arc::from("");
    let mut kind = |kind: &str| {
        if *last != *kind {
            last = kind.into();
        }
        last.clone()
    };
    let rows = select.query_map(params![stream, after], |row| {
        Ok(Event {
            version: row.get(0)?,
            position: row.get(1)?,
            id: Uuid::from_slice(row.get_ref(2)?.as_blob()?).expect("a UUID"),
            kind: kind(row.get_ref(3)?.as_str()?),
            schema: row.get(4)?,
            recorded: UNIX_EPOCH + Duration::from_micros(row.get::<_, i64>(5)? as u64),
            actor: text(row, 6)?,
            causation: text(row, 7)?,
            correlation: text(row, 8)?,
            metadata: row.get_ref(9)?.as_str_or_null()?.map(json),
            data: json(row.get_ref(10)?.as_str()?),
        })
    });
    rows.expect("it is read").collect::<rusqlite::Result<_>>().expect("every row has its columns")
}
