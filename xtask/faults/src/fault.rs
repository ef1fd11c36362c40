//! The fault loop: a subject is done with its n-th operation on files failing, for n = 1, 2, 3 ... until none is hit.
//!
//! Each time from the same store. What is answered has to be true: for whoever goes on with the same handle, and for
//! whoever opens the files as they were left at that moment, as after a kill. The process that does this runs with the shim.

mod subject;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use ipa_eventstore::{EventStore, ReadStream, SqliteEventStore, StoreError, StreamId};
use serde::{Deserialize, Serialize};

pub use self::subject::Subject;
use self::subject::{Setting, Templates};
use crate::{
    door::{self, Fault, Often},
    examine::{self, STORE, check_pages, examine},
    folder::{copy, empty},
    history::{Found, History, Promise},
    process,
    trouble::{Trouble, broken, tool, unexpected, whole},
    work::{Memory, settle},
};

/// The first number of the operations that try a store out after a fault.
const AFTERWARDS: u64 = 1 << 50;

/// How often an operation is sent again once nothing fails any more.
const RETRIES: u32 = 3;

/// An n that no subject gets to, unless it never passes.
const FAR: u64 = 3_000;

/// What fails, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind {
    operations: &'static str,
    often: Often,
    fault: Fault,
}

/// Every kind of fault. Any operation once, each class for ever, a disk that is full, and writes that are cut short.
pub const KINDS: [Kind; 12] = {
    use Fault::{Eio, Enospc, Short, Torn};
    use Often::{Ever, Once};
    [
        Kind { operations: "any", often: Once, fault: Eio },
        Kind { operations: "any", often: Ever, fault: Eio },
        Kind { operations: "write+truncate+open", often: Once, fault: Enospc },
        Kind { operations: "write+truncate+open", often: Ever, fault: Enospc },
        Kind { operations: "write", often: Ever, fault: Eio },
        Kind { operations: "write", often: Once, fault: Torn },
        Kind { operations: "write", often: Once, fault: Short },
        Kind { operations: "sync", often: Ever, fault: Eio },
        Kind { operations: "truncate", often: Ever, fault: Eio },
        Kind { operations: "open", often: Ever, fault: Eio },
        Kind { operations: "unlink", often: Ever, fault: Eio },
        Kind { operations: "rename", often: Ever, fault: Eio },
    ]
};

/// What the loops came to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Rounds: a subject done once with one operation failing.
    pub rounds: u64,
    /// Rounds in which an operation was answered with an error.
    pub errors: u64,
    /// The operations that each subject needs, and can fail at.
    pub operations: BTreeMap<String, u64>,
    /// Promises that were broken.
    pub broken: Vec<String>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.operations, self.often, self.fault)
    }
}

/// Runs loops in a process with the shim, in an empty folder.
///
/// # Errors
///
/// When the process cannot be run. Broken promises are in the tally.
pub async fn run(
    program: &Path,
    folder: &Path,
    subjects: &[Subject],
    kinds: &[usize],
) -> Result<Tally, Trouble> {
    let watched = folder.join("store");
    empty(&watched)?;
    let list = |list: Vec<String>| list.join(",").into();
    let options = [
        ("--folder", folder.into()),
        ("--subjects", list(subjects.iter().map(|subject| subject.to_string()).collect())),
        ("--kinds", list(kinds.iter().map(usize::to_string).collect())),
    ];
    let tally = process::run(program, &watched, None, process::arguments("loop", options)).await?;
    serde_json::from_slice(&tally).map_err(|error| tool("the tally of the loops")(error.into()))
}

/// What the looping process is told.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to work; the shim watches the folder `store` in it
    #[arg(long)]
    folder: PathBuf,
    /// What is done
    #[arg(long, value_delimiter = ',')]
    subjects: Vec<Subject>,
    /// What fails, by number
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<usize>,
}

/// The looping process.
///
/// # Errors
///
/// When there is no shim, or the folder cannot be written. Broken promises are in the tally.
pub async fn work(options: Options) -> Result<Tally, Trouble> {
    let templates = Templates::build(&options.folder).await?;
    let mut tally = Tally::default();
    for subject in options.subjects {
        for kind in options.kinds.iter().filter_map(|number| KINDS.get(*number)) {
            for nth in 1.. {
                let round =
                    Round { folder: &options.folder, templates: &templates, subject, kind: *kind, nth };
                tally.rounds += 1;
                let hit = match round.run(&mut tally).await {
                    Ok(hit) => hit,
                    Err(Trouble::Broken(what)) => {
                        door::disarm().map_err(tool("disarming"))?;
                        tally.broken.push(format!("{subject}, {kind} at {nth}: {what}"));
                        // One subject that is broken throughout says it often enough.
                        tally.broken.len() < 20
                    }
                    Err(trouble) => return Err(trouble),
                };
                if !hit {
                    tally.operations.insert(format!("{subject}, {kind}"), nth - 1);
                    break;
                }
                if nth == FAR {
                    tally.broken.push(format!("{subject}, {kind}: does not pass"));
                    break;
                }
            }
        }
    }
    Ok(tally)
}

/// A subject done once with one operation failing.
struct Round<'a> {
    folder: &'a Path,
    templates: &'a Templates,
    subject: Subject,
    kind: Kind,
    nth: u64,
}

impl Round<'_> {
    /// Whether the fault was hit.
    async fn run(&self, tally: &mut Tally) -> Result<bool, Trouble> {
        let at = self.folder.join("store");
        empty(&at)?;
        let mut history = History::of(self.templates.put(self.subject, &at)?);
        let notes = Memory::default();
        let setting = Setting { path: at.join(STORE), notes: &notes };

        let store = self.subject.prepare(&setting).await?;
        if let Some(store) = &store
            && self.nth.is_multiple_of(2)
        {
            // A reader that is open keeps the log and the shared memory in use, and goes on reading whatever fails.
            read(store).await?;
        }
        door::arm(self.kind.operations, self.nth, self.kind.often, self.kind.fault)
            .map_err(tool("arming"))?;
        let (store, error) = self.subject.run(&setting, store).await?;
        if let Some(error) = &error {
            allowed(error)?;
        }
        if let Some(store) = &store {
            self.read_on(store).await?;
        }
        door::disarm().map_err(tool("disarming"))?;
        let hit = door::counts().map_err(tool("counting"))?.hits > 0;
        if !hit && let Some(error) = &error {
            return broken(format!("failed though nothing was hit: {}", whole(error)));
        }
        for (moment, note) in notes.notes().into_iter().enumerate() {
            history.take(moment, note)?;
        }
        tally.errors += u64::from(error.is_some() || history.open_ends().next().is_some());

        self.after_a_kill(&at, &history).await.map_err(|trouble| trouble.at("killed then"))?;
        self.going_on(&setting, store, history).await.map_err(|trouble| trouble.at("going on"))?;
        Ok(hit)
    }

    /// Reads go on, unless files cannot be opened.
    async fn read_on(&self, store: &SqliteEventStore) -> Result<(), Trouble> {
        let reader_is_open = self.nth.is_multiple_of(2) && !self.subject.opens();
        match (read(store).await, self.kind.operations) {
            (Ok(()), _) => Ok(()),
            // A new connection opens files, and may have to set up the shared memory.
            (Err(_), _) if !reader_is_open => Ok(()),
            (Err(trouble), _) => Err(trouble.at("reading on")),
        }
    }

    /// Whoever opens the files as they are now.
    async fn after_a_kill(&self, at: &Path, history: &History) -> Result<(), Trouble> {
        let left = self.folder.join("left");
        empty(&left)?;
        // Copying drops the locks that this process has on the files; no other process is there to ask for them.
        copy(at, &left, &["-shm"])?;
        examine(&left, self.subject.durability(), history, Promise::Everything).await.map(drop)
    }

    /// Whoever has the handle, and whoever opens the store after that.
    async fn going_on(
        &self,
        setting: &Setting<'_>,
        store: Option<SqliteEventStore>,
        mut history: History,
    ) -> Result<(), Trouble> {
        let store = match store {
            Some(store) => store,
            None => self.subject.open(setting).await.map_err(unexpected("opening again"))?,
        };
        let notes = Memory::default();
        for op in self.subject.operations() {
            // Sent as it was: whatever became of it, it is there once after that.
            if history.is_to_do(op.id)
                && let Some(error) = settle(&store, &notes, &op, RETRIES).await?.error()
            {
                return Err(unexpected(format!("sending operation {} again", op.id))(error));
            }
        }
        for note in notes.notes() {
            history.take(usize::MAX, note)?;
        }
        let used = examine::try_out(&store, history, AFTERWARDS).await?;
        store.close().await.map_err(unexpected("closing the store"))?;
        check_pages(&setting.path)?;

        let store = self.subject.open(setting).await.map_err(unexpected("opening once more"))?;
        let found = Found::read(&store).await?;
        History::of(used.streams).judge(&found, Promise::Everything)?;
        store.close().await.map_err(unexpected("closing the store"))
    }
}

async fn read(store: &SqliteEventStore) -> Result<(), Trouble> {
    let stream = StreamId::new("b").map_err(unexpected("a stream's name"))?;
    store.read_stream(&stream, ReadStream::new()).await.map(drop).map_err(unexpected("reading"))
}

/// What files that cannot be written or read may be answered with. Anything else says what is not so: that the store is
/// damaged, or another's.
fn allowed(error: &StoreError) -> Result<(), Trouble> {
    match error {
        StoreError::Unavailable(_)
        | StoreError::Indeterminate(_)
        | StoreError::CannotOpen { .. }
        | StoreError::LogLeft { .. } => Ok(()),
        other => broken(format!("answered with {}", whole(other))),
    }
}
