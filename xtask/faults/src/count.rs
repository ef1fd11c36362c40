//! How many syncs appends cost, counted at the shim.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipa_eventstore::{EventStore, Expected, NewEvent, SqliteEventStore, SqliteOptions, StreamId, StreamType};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{
    door::{self, Fault, Often},
    examine::STORE,
    process,
    trouble::{Trouble, broken, tool, unexpected},
};

/// How many appends share.
pub const SHARING: usize = 256;

/// What the counting process is told.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the store is
    #[arg(long)]
    directory: PathBuf,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The syncs of each of some appends that were alone.
    pub alone: Vec<u64>,
    /// The syncs of the first append after the log was carried over.
    pub after_checkpoint: u64,
    /// The syncs of [`SHARING`] appends to as many streams that all waited when a commit ended.
    pub shared: u64,
    /// The streams by their version, after all that.
    pub versions: BTreeMap<u64, usize>,
}

/// Runs the counting process on a new store in this folder.
///
/// # Errors
///
/// When the store does not answer, or the process cannot be run.
pub async fn run(program: &Path, folder: &Path) -> Result<Counted, Trouble> {
    let arguments = process::arguments("count", [("--directory", folder.into())]);
    let counted = process::run(program, folder, None, arguments).await?;
    serde_json::from_slice(&counted).map_err(|error| tool("what was counted")(error.into()))
}

/// The counting process.
///
/// # Errors
///
/// When the store does not answer, or there is no shim.
pub async fn count(options: Options) -> Result<Counted, Trouble> {
    // Nothing but appends syncs: the log is carried over neither when idle nor when large.
    let sqlite = SqliteOptions::new().idle_checkpoint(Duration::from_secs(3600));
    let path = options.directory.join(STORE);
    let open = || async { sqlite.clone().open(&path).await.map_err(unexpected("opening the store")) };
    let store = open().await?;
    let kind = StreamType::new("counted").map_err(unexpected("a type"))?;
    let mut streams = Vec::new();
    for number in 0..SHARING {
        let id = StreamId::new(format!("s{number}")).map_err(unexpected("an id"))?;
        streams.push(store.start_stream(&kind, Some(id), vec![]).await.map_err(unexpected("starting"))?);
    }
    let streams = Arc::new(streams);

    let mut alone = Vec::new();
    for stream in streams.iter().take(10) {
        alone.push(syncs_of(append(&store, stream)).await?);
    }

    // Closed and opened again, the log begins anew.
    store.close().await.map_err(unexpected("closing"))?;
    let store = open().await?;
    let after_checkpoint = syncs_of(append(&store, &streams[10])).await?;

    // One commit is held at its sync; what is sent meanwhile waits for the next.
    let door = |result: std::io::Result<()>| result.map_err(tool("the door"));
    door(door::arm("sync", 1, Often::Once, Fault::Hold))?;
    let held = tokio::spawn({
        let (store, streams) = (store.clone(), streams.clone());
        async move { append(&store, &streams[0]).await }
    });
    tokio::task::spawn_blocking(door::held).await.map_err(|e| tool("waiting")(e.into())).and_then(door)?;
    let mut sharing = JoinSet::new();
    let barrier = Arc::new(tokio::sync::Semaphore::new(0));
    for number in 0..SHARING {
        let (store, streams, barrier) = (store.clone(), streams.clone(), barrier.clone());
        sharing.spawn(async move {
            let mut appending = Box::pin(append(&store, &streams[number]));
            // Polled once it is in the queue: there is room, and nobody is in its way.
            let first = poll_once(appending.as_mut()).await;
            barrier.add_permits(1);
            match first {
                Some(result) => result,
                None => appending.await,
            }
        });
    }
    let all = u32::try_from(SHARING).unwrap_or(u32::MAX);
    drop(barrier.acquire_many(all).await);
    let before = door::counts().map_err(tool("counting"))?.syncs;
    door(door::release())?;
    match held.await {
        Ok(result) => result?,
        Err(error) => return broken(format!("the held append panicked: {error}")),
    }
    while let Some(result) = sharing.join_next().await {
        match result {
            Ok(result) => result?,
            Err(error) => return broken(format!("an append panicked: {error}")),
        }
    }
    let shared = door::counts().map_err(tool("counting"))?.syncs - before;

    let mut versions = BTreeMap::new();
    for stream in streams.iter() {
        let version = store.stream_version(stream).await.map_err(unexpected("a version"))?;
        *versions.entry(version).or_default() += 1;
    }
    store.close().await.map_err(unexpected("closing"))?;
    Ok(Counted { alone, after_checkpoint, shared, versions })
}

async fn syncs_of(work: impl Future<Output = Result<(), Trouble>>) -> Result<u64, Trouble> {
    door::count_from_here().map_err(tool("counting"))?;
    work.await?;
    Ok(door::counts().map_err(tool("counting"))?.syncs)
}

async fn append(store: &SqliteEventStore, stream: &StreamId) -> Result<(), Trouble> {
    let event = NewEvent::json("counted", &()).map_err(unexpected("an event"))?;
    let appended = store.append(stream, Expected::Exists, vec![event]).await;
    appended.map(drop).map_err(unexpected("appending"))
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match std::pin::Pin::new(&mut future).poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
