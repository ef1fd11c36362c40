//! The event store with full durability: appends, reads, and what a pod does with it.

mod bare;
mod ours;
mod sqlite_es;

use std::future::Future;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::tool::{block_on, each, quick, some};

pub use bare::Bare;
pub use ours::Ours;
pub use sqlite_es::{appends as sqlite_es_appends, reads as sqlite_es_reads};

/// Whoever stores events with full durability.
pub trait Store: Clone + Send + Sync + 'static {
    /// A new one in this directory.
    fn open(directory: &Path) -> impl Future<Output = Self> + Send;
    /// Creates the first so many streams.
    fn create(&self, streams: usize) -> impl Future<Output = ()> + Send;
    /// Appends so many events to the n-th stream; returns when they are on disk.
    fn append(&self, stream: usize, events: usize) -> impl Future<Output = ()> + Send;
    /// Reads the n-th stream; how many events it has.
    fn read(&self, stream: usize) -> impl Future<Output = usize> + Send;
    /// The same, with the data of each event as a value, as sqlite-es has it; how many steps that were.
    fn read_decoded(&self, stream: usize) -> impl Future<Output = u64> + Send;
    /// Whether the n-th stream exists.
    fn exists(&self, stream: usize) -> impl Future<Output = bool> + Send;
    /// Starts what keeps the state of the n-th stream, a sum of what is in its events, asks for that, and stops it.
    fn state(&self, stream: usize) -> impl Future<Output = u64> + Send;
    /// Whoever runs pods over this store.
    type Pods: Clone + Send + Sync + 'static;
    fn pods(&self) -> impl Future<Output = Self::Pods> + Send;
    /// Starts the pod of the n-th stream, if that exists, and appends that it has started; returns when that is on disk and all its
    /// children are up.
    fn start(pods: &Self::Pods, stream: usize) -> impl Future<Output = ()> + Send;
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// What is in the data of every event, as far as a state is made of it.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Step {
    pub step: u64,
}

/// The data of every event.
pub const DATA: &str =
    r#"{"step": 12, "by": "worker-3", "note": "the quick brown fox jumps over the lazy dog"}"#;

/// What a step's data says, read as any JSON is.
fn steps(data: &ipa_eventstore::Json) -> u64 {
    let value: serde_json::Value = data.decode().expect("it is JSON");
    value["step"].as_u64().expect("a number")
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

async fn with_streams<S: Store>(directory: &TempDir, streams: usize) -> S {
    let store = S::open(directory.path()).await;
    store.create(streams).await;
    store
}

/// Events a second, by so many appenders, each to a stream of its own, so many events an append, for a while.
async fn append<S: Store>(store: &S, appenders: usize, batch: usize) -> f64 {
    let (all, begun, long_enough) = (store.clone(), Instant::now(), if quick() { SHORT } else { LONG });
    let (_, appended) = each(0..appenders, appenders, move |n| {
        let store = all.clone();
        async move {
            let mut appended = 0;
            while begun.elapsed() < long_enough {
                store.append(n, batch).await;
                appended += batch;
            }
            appended
        }
    })
    .await;
    appended.iter().flatten().sum::<usize>() as f64 / begun.elapsed().as_secs_f64()
}

const LONG: Duration = Duration::from_millis(1_000);
const SHORT: Duration = Duration::from_millis(300);

/// Events a second by 1, 16 and 256 appenders, and by 16 of which each appends a hundred at once.
pub fn appends<S: Store>() -> Vec<f64> {
    /// Events of the warm-up, in thousands: more than what the log holds until it is carried over for the first time. From then on it is
    /// written over, and not made longer.
    const WARM_UP: usize = 400;
    const APPENDERS: usize = 256;
    block_on(async {
        let directory = directory();
        let store: S = with_streams(&directory, APPENDERS).await;
        let all = store.clone();
        let warm_up = move |n| {
            let store = all.clone();
            async move { store.append(n % APPENDERS, 1_000).await }
        };
        each(0..WARM_UP, 16, warm_up).await;
        let mut rates = Vec::new();
        for (appenders, batch) in [(1, 1), (16, 1), (APPENDERS, 1), (16, 100)] {
            rates.push(append(&store, appenders, batch).await);
        }
        store.close().await;
        rates
    })
}

/// Events a second of reading a stream of 100,000, as they are, and decoded; microseconds to learn whether a stream exists, of 1,000; and to start what keeps
/// the state of a stream, over 1,000 events.
pub fn reads<S: Store>() -> Vec<f64> {
    const EVENTS: usize = 100_000;
    let (reads, exists, starts) = (if quick() { 2 } else { 5 }, some(10_000), some(200));
    block_on(async {
        let directory = directory();
        let store: S = with_streams(&directory, 1_000).await;
        for _ in 0..EVENTS / 1_000 {
            store.append(0, 1_000).await;
        }
        assert_eq!(store.read(0).await, EVENTS);
        let begun = Instant::now();
        for _ in 0..reads {
            assert_eq!(store.read(0).await, EVENTS);
        }
        let read = (EVENTS * reads) as f64 / begun.elapsed().as_secs_f64();

        let begun = Instant::now();
        for _ in 0..reads {
            assert_eq!(store.read_decoded(0).await, 12 * EVENTS as u64);
        }
        let decoded = (EVENTS * reads) as f64 / begun.elapsed().as_secs_f64();

        let begun = Instant::now();
        for n in 0..exists {
            assert!(store.exists(n % 1_000).await);
        }
        let exists = begun.elapsed().as_secs_f64() * 1e6 / exists as f64;

        store.append(1, 1_000).await;
        assert_eq!(store.state(1).await, 12_000);
        let begun = Instant::now();
        for _ in 0..starts {
            assert_eq!(store.state(1).await, 12_000);
        }
        let state = begun.elapsed().as_secs_f64() * 1e6 / starts as f64;
        store.close().await;
        vec![read, decoded, exists, state]
    })
}

/// Pods a second, 256 starts at once: each looks whether its task's stream exists, and appends that it has started.
pub fn pods<S: Store>() -> Vec<f64> {
    const WARM_UP: usize = 2_000;
    let count = some(20_000);
    block_on(async {
        let directory = directory();
        let store: S = with_streams(&directory, WARM_UP + count).await;
        let pods = store.pods().await;
        let start = move |n| {
            let pods = pods.clone();
            async move { S::start(&pods, n).await }
        };
        each(0..WARM_UP, 256, start.clone()).await;
        let (micros, _) = each(WARM_UP..WARM_UP + count, 256, start).await;
        for n in [0, WARM_UP + count - 1] {
            assert_eq!(store.read(n).await, 1);
        }
        vec![1e6 / micros]
    })
}

/// The disk itself: how often a second 4 KiB can be overwritten and synced.
pub fn disk() -> Vec<f64> {
    let syncs = some(1_500);
    let directory = directory();
    let mut file = std::fs::File::create(directory.path().join("disk")).expect("a file");
    let page = [7_u8; 4096];
    let mut overwrite = || {
        file.seek(SeekFrom::Start(0)).expect("a seek");
        file.write_all(&page).expect("a write");
        file.sync_data().expect("a sync");
    };
    for _ in 0..50 {
        overwrite();
    }
    let begun = Instant::now();
    for _ in 0..syncs {
        overwrite();
    }
    vec![syncs as f64 / begun.elapsed().as_secs_f64(); 4]
}
