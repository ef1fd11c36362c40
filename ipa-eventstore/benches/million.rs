//! A million events in ten thousand streams: how soon the store is open, how fast a stream is read, and whether a subscriber that
//! begins at the first position gets every one of them in order while 16 writers append.
//!
//! `cargo bench -p ipa-eventstore --bench million [-- --check]`; with `--check` it fails if a limit is not met. The store is written
//! with full durability to a temporary directory (`TMPDIR`).

use std::collections::HashMap;
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ipa_eventstore::{
    EventStore, Expected, Json, NewEvent, Position, ReadStream, SqliteEventStore, StoreError, StreamId,
    StreamType, Subscribe,
};
use tokio::task::JoinSet;

const STREAMS: usize = 10_000;
const EVENTS: usize = 100;
const BATCH: usize = 10;
const WRITERS: usize = 16;
const READS: usize = 2_000;

/// The limits that are stated for a store of this size.
const OPEN: Duration = Duration::from_millis(50);
const READ: Duration = Duration::from_millis(1);

fn main() -> ExitCode {
    let check = std::env::args().any(|argument| argument == "--check");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run()));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(u8::from(check)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<bool, String> {
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = directory.path().join("million.db");
    let said = |error: StoreError| error.to_string();
    let store = SqliteEventStore::open(&path).await.map_err(said)?;
    let (written, followed) = write(&store).await?;
    let stats = store.stats();
    store.close().await.map_err(said)?;

    let size = path.metadata().map_err(|error| error.to_string())?.len();
    let mut opens = Vec::new();
    for _ in 0..7 {
        let begun = Instant::now();
        let store = SqliteEventStore::open(&path).await.map_err(said)?;
        opens.push(begun.elapsed());
        store.close().await.map_err(said)?;
    }
    let store = SqliteEventStore::open(&path).await.map_err(said)?;
    let mut reads = Vec::new();
    for n in 0..READS {
        // A stride that is prime to the number of streams: every read is of another stream.
        let stream = name(n * 7_919 % STREAMS)?;
        let begun = Instant::now();
        let events = store.read_stream(&stream, ReadStream::new()).await.map_err(said)?;
        reads.push(begun.elapsed());
        if events.len() != EVENTS {
            return Err(format!("{stream} has {} events, not {EVENTS}", events.len()));
        }
    }
    store.close().await.map_err(said)?;

    let (open, slowest_open) = median_and_max(&mut opens);
    let (read, slowest_read) = median_and_max(&mut reads);
    println!("{} events in {STREAMS} streams, {} MB, full durability", STREAMS * EVENTS, size / 1_000_000);
    println!(
        "  appended by {WRITERS} writers in batches of {BATCH}   {:.1} s, {:.0} events/s, {:.1} appends a commit",
        written.as_secs_f64(),
        (STREAMS * EVENTS) as f64 / written.as_secs_f64(),
        stats.group_size.mean().unwrap_or(0.0),
    );
    println!(
        "  a subscriber from the first position         all of them, in order, {:.1} s after the first append",
        followed.as_secs_f64()
    );
    let met = |ok: bool| if ok { "met" } else { "NOT met" };
    let ok = (open < OPEN, read < READ);
    println!(
        "  open after a clean close, median of 7        {open:.1?} (slowest {slowest_open:.1?}); under {OPEN:?}: {}",
        met(ok.0)
    );
    println!(
        "  read of a stream of {EVENTS}, median of {READS}       {read:.1?} (slowest {slowest_read:.1?}); under {READ:?}: {}",
        met(ok.1)
    );
    Ok(ok.0 && ok.1)
}

/// Appends everything while a subscriber follows; how long each took.
async fn write(store: &SqliteEventStore) -> Result<(Duration, Duration), String> {
    let bar = ProgressBar::new((STREAMS * EVENTS) as u64);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos}/{len} events, {eta} left") {
        bar.set_style(style);
    }
    let begun = Instant::now();
    let follower = tokio::spawn(follow(store.clone(), bar.clone()));
    let store: Arc<dyn EventStore> = Arc::new(store.clone());
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move { append(&*store, (writer..STREAMS).step_by(WRITERS)).await });
    }
    while let Some(joined) = writers.join_next().await {
        joined.map_err(|error| error.to_string())??;
    }
    let written = begun.elapsed();
    follower.await.map_err(|error| error.to_string())??;
    bar.finish_and_clear();
    Ok((written, begun.elapsed()))
}

async fn append(store: &dyn EventStore, streams: impl Iterator<Item = usize>) -> Result<(), String> {
    let said = |error: StoreError| error.to_string();
    let data = Json::parse(format!(r#"{{"step": 12, "note": "{}"}}"#, "x".repeat(80))).map_err(said)?;
    for n in streams {
        let stream = name(n)?;
        let mut expected = Expected::NoStream(StreamType::new("task").map_err(said)?);
        for _ in 0..EVENTS / BATCH {
            let events: Result<Vec<_>, _> =
                (0..BATCH).map(|_| NewEvent::new("stepped", data.clone())).collect();
            let appended = store.append(&stream, expected, events.map_err(said)?).await.map_err(said)?;
            expected = Expected::Exact(appended.version);
        }
    }
    Ok(())
}

/// Follows the whole store from its first position until it has seen everything, and checks each event's place.
async fn follow(store: SqliteEventStore, bar: ProgressBar) -> Result<(), String> {
    let mut subscription =
        store.subscribe(Subscribe::all(Position::START)).await.map_err(|error| error.to_string())?;
    let mut last = Position::START;
    let mut versions: HashMap<StreamId, u64> = HashMap::new();
    for seen in 0..STREAMS * EVENTS {
        let event = match subscription.next().await {
            Some(event) => event.map_err(|error| error.to_string())?,
            None => return Err(format!("the subscription ended after {seen} events")),
        };
        if event.position <= last {
            return Err(format!("position {:?} came after {last:?}", event.position));
        }
        last = event.position;
        let version = versions.entry(event.stream.clone()).or_default();
        if event.version != *version + 1 {
            return Err(format!("{}: version {} came after {version}", event.stream, event.version));
        }
        *version = event.version;
        if seen % 1_000 == 0 {
            bar.set_position(seen as u64);
        }
    }
    Ok(())
}

fn name(n: usize) -> Result<StreamId, String> {
    StreamId::new(format!("task-{n:05}-5f0e8d3a-7c1b-4e7e")).map_err(|error| error.to_string())
}

fn median_and_max(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() - 1])
}
