//! A disk that is full for a while.

use std::path::{Path, PathBuf};

use ipa_eventstore::{EventStore, ReadAll, SqliteOptions, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    door::{self, Fault, Often},
    examine::STORE,
    history::{Op, What},
    process,
    trouble::{Trouble, tool, unexpected, whole},
    work::{Answer, Memory, send},
};

/// What the process on the full disk is told.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where the store is
    #[arg(long)]
    directory: PathBuf,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The errors, with their causes, that appends were answered with while the disk was full.
    pub refused: Vec<String>,
    /// The events that could be read meanwhile.
    pub readable: usize,
    /// The error of opening a new store on the full disk.
    pub create: String,
    /// The events after there was room again, and one more append.
    pub afterwards: usize,
}

/// Runs the process in this empty folder.
///
/// # Errors
///
/// When the store does what it must not, or the process cannot be run.
pub async fn run(program: &Path, folder: &Path) -> Result<Seen, Trouble> {
    let arguments = process::arguments("full", [("--directory", folder.into())]);
    let seen = process::run(program, folder, None, arguments).await?;
    serde_json::from_slice(&seen).map_err(|error| tool("what was seen")(error.into()))
}

/// The process.
///
/// # Errors
///
/// When the store does what it must not, or there is no shim.
pub async fn work(options: Options) -> Result<Seen, Trouble> {
    let store = SqliteOptions::new().open(options.directory.join(STORE)).await;
    let store = store.map_err(unexpected("opening"))?;
    let notes = Memory::default();
    let op = |id, what| Op { id, stream: "a".to_owned(), what };
    let append = What::Append { events: 1, size: 100 };
    if let Some(error) = send(&store, &notes, &op(1, What::Start { events: 3, size: 100 })).await?.error() {
        return Err(unexpected("before the disk is full")(error));
    }

    // The connection that goes on reading.
    store.read_all(ReadAll::new()).await.map_err(unexpected("reading"))?;
    door::arm("write+truncate+open", 1, Often::Ever, Fault::Enospc).map_err(tool("arming"))?;
    let mut refused = Vec::new();
    for id in 2..5 {
        match send(&store, &notes, &op(id, append)).await? {
            Answer::Done => {}
            Answer::NotDone(error) | Answer::Unknown(error) => refused.push(whole(&error)),
        }
    }
    let create = SqliteOptions::new().open(options.directory.join("other.db")).await.err();
    let create = create.map_or(String::new(), |error: StoreError| whole(&error));
    let readable = store.read_all(ReadAll::new()).await.map_err(unexpected("reading"))?.len();
    door::disarm().map_err(tool("disarming"))?;

    if let Some(error) = send(&store, &notes, &op(9, append)).await?.error() {
        return Err(unexpected("with room again")(error));
    }
    let afterwards = store.read_all(ReadAll::new()).await.map_err(unexpected("reading"))?.len();
    store.close().await.map_err(unexpected("closing"))?;
    Ok(Seen { refused, readable, create, afterwards })
}
