//! The event store with full durability: appends, reads, and what a pod does with it.

mod bare;
mod ours;

use std::future::Future;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;

use crate::tool::{block_on, each};

pub use bare::Bare;
pub use ours::Ours;

/// Whoever stores events with full durability.
pub trait Store: Clone + Send + Sync + 'static {
    /// A new one in this directory.
    fn open(directory: &Path) -> impl Future<Output = Self> + Send;
    /// Creates the n-th stream.
    fn create(&self, stream: usize) -> impl Future<Output = ()> + Send;
    /// Appends so many events to the n-th stream; returns when they are on disk.
    fn append(&self, stream: usize, events: usize) -> impl Future<Output = ()> + Send;
    /// Reads the n-th stream; how many events it has.
    fn read(&self, stream: usize) -> impl Future<Output = usize> + Send;
    /// Whether the n-th stream exists.
    fn exists(&self, stream: usize) -> impl Future<Output = bool> + Send;
    fn close(self) -> impl Future<Output = ()> + Send;
}

/// The data of every event.
pub const DATA: &str =
    r#"{"step": 12, "by": "worker-3", "note": "the quick brown fox jumps over the lazy dog"}"#;

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

async fn with_streams<S: Store>(directory: &TempDir, streams: usize) -> S {
    let store = S::open(directory.path()).await;
    for stream in 0..streams {
        store.create(stream).await;
    }
    store
}

/// Events a second, by so many appenders, each to a stream of its own, so many events an append.
fn append<S: Store>(appenders: usize, appends: usize, batch: usize) -> f64 {
    block_on(async {
        let directory = directory();
        let store: S = with_streams(&directory, appenders).await;
        let all = store.clone();
        let micros = each(appends, appenders, move |n| {
            let store = all.clone();
            async move { store.append(n % appenders, batch).await }
        })
        .await;
        store.close().await;
        batch as f64 * 1e6 / micros
    })
}

pub fn append_1<S: Store>() -> f64 {
    append::<S>(1, 1_500, 1)
}

pub fn append_16<S: Store>() -> f64 {
    append::<S>(16, 12_000, 1)
}

pub fn append_256<S: Store>() -> f64 {
    append::<S>(256, 40_000, 1)
}

pub fn append_batches<S: Store>() -> f64 {
    append::<S>(16, 2_000, 100)
}

/// Events a second of reading a stream of 100,000.
pub fn read<S: Store>() -> f64 {
    const EVENTS: usize = 100_000;
    const READS: usize = 5;
    block_on(async {
        let directory = directory();
        let store: S = with_streams(&directory, 1).await;
        for _ in 0..EVENTS / 1_000 {
            store.append(0, 1_000).await;
        }
        assert_eq!(store.read(0).await, EVENTS);
        let begun = Instant::now();
        for _ in 0..READS {
            assert_eq!(store.read(0).await, EVENTS);
        }
        let rate = (EVENTS * READS) as f64 / begun.elapsed().as_secs_f64();
        store.close().await;
        rate
    })
}

/// Microseconds to learn whether a stream exists, of 1,000.
pub fn exists<S: Store>() -> f64 {
    block_on(async {
        let directory = directory();
        let store: S = with_streams(&directory, 1_000).await;
        let begun = Instant::now();
        for n in 0..20_000 {
            assert!(store.exists(n % 1_000).await);
        }
        let micros = begun.elapsed().as_secs_f64() * 1e6 / 20_000.0;
        store.close().await;
        micros
    })
}

/// The disk itself: how often a second 4 KiB can be overwritten and synced.
pub fn disk() -> f64 {
    const SYNCS: usize = 2_000;
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
    for _ in 0..SYNCS {
        overwrite();
    }
    SYNCS as f64 / begun.elapsed().as_secs_f64()
}
