//! A store is examined: opened as its next owner would, read, judged, and used.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use ipa_eventstore::{Durability, SqliteEventStore, SqliteOptions};
use rusqlite::{Connection, OpenFlags};

use crate::{
    history::{Found, History, Op, Promise, What},
    trouble::{Trouble, broken, unexpected},
    work::{self, Answer, Memory},
};

/// The name of a store's file in its directory.
pub const STORE: &str = "events.db";

/// The first number of the operations by which a store is tried out. Nobody else gets as far.
const TRYING: u64 = 1 << 60;

/// How often an operation is sent again that must come out at last.
const RETRIES: u32 = 3;

/// What an examination found.
#[derive(Debug)]
pub struct Examined {
    /// What was in the store at first.
    pub found: Found,
    /// What is in it now, after it was tried out.
    pub used: Found,
    /// How long it took to open.
    pub opening: Duration,
}

/// Opens the store in this directory, judges what is in it, and tries it out: whatever has no answer is sent again, an
/// append is made, the pages are checked, the store is closed.
///
/// # Errors
///
/// When anything of that does not come out as it must.
pub async fn examine(
    directory: &Path,
    durability: Durability,
    history: &History,
    promise: Promise,
) -> Result<Examined, Trouble> {
    let path = directory.join(STORE);
    let started = Instant::now();
    let options = SqliteOptions::new().durability(durability).readers(1);
    let store = options.open(&path).await.map_err(unexpected("opening the store"))?;
    let opening = started.elapsed();
    let found = Found::read(&store).await?;
    history.judge(&found, promise)?;
    check_pages(&path)?;
    let history = match promise {
        Promise::Everything => history.clone(),
        // What is lost is lost: from here on all that is found counts.
        Promise::Beginning => History::of(found.streams.clone()),
    };
    let tried = found.streams.keys().filter(|stream| stream.starts_with("tried-")).count() as u64;
    let used = try_out(&store, history, TRYING + (tried << 8)).await?;
    store.close().await.map_err(unexpected("closing the store"))?;
    Ok(Examined { found, used, opening })
}

/// Sends what has no answer again, then something new; all of it must come out, and nothing be there twice.
///
/// # Errors
///
/// When it does not.
pub async fn try_out(store: &SqliteEventStore, mut history: History, number: u64) -> Result<Found, Trouble> {
    let notes = Memory::default();
    let again: Vec<Op> = history.open_ends().cloned().collect();
    for op in &again {
        if let Answer::NotDone(error) | Answer::Unknown(error) =
            work::settle(store, &notes, op, RETRIES).await?
        {
            return Err(unexpected(format!("sending operation {} again", op.id))(error));
        }
    }
    let stream = format!("tried-{number}");
    let new = |id, what| Op { id: number + id, stream: stream.clone(), what };
    let ops = [
        new(0, What::Start { events: 1, size: 10 }),
        new(1, What::Append { events: 3, size: 100 }),
        new(2, What::Snapshot { version: 2 }),
    ];
    for op in &ops {
        if let Answer::NotDone(error) | Answer::Unknown(error) = work::send(store, &notes, op).await? {
            return Err(unexpected("using the store")(error));
        }
    }
    for note in notes.notes() {
        history.take(usize::MAX, note)?;
    }
    let found = Found::read(store).await?;
    history.judge(&found, Promise::Everything)?;
    Ok(found)
}

/// SQLite's own checks of the file.
///
/// # Errors
///
/// When they find something.
pub fn check_pages(path: &Path) -> Result<(), Trouble> {
    let look = || -> rusqlite::Result<(String, bool)> {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let answer = connection.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
        let dangling = connection.prepare("PRAGMA foreign_key_check")?.exists([])?;
        Ok((answer, dangling))
    };
    match look() {
        Ok((answer, false)) if answer == "ok" => Ok(()),
        Ok((answer, dangling)) => broken(format!("integrity_check: {answer}; dangling keys: {dangling}")),
        Err(error) => broken(format!("checking the pages: {error}")),
    }
}
