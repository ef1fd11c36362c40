//! What is done while something fails, and the stores it begins from.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use ipa_eventstore::{Durability, SqliteEventStore, SqliteOptions, StoreError};

use crate::{
    examine::STORE,
    folder::{copy, empty},
    history::{Found, Op, Stored, What},
    trouble::{Trouble, unexpected},
    work::{Answer, Memory, send},
};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Subject {
    /// The first append after opening, which begins the log.
    First,
    /// An append of one event.
    Append,
    /// An append of many events, some of them large.
    Batch,
    /// A stream is created.
    Start,
    /// Several appends at once.
    Several,
    /// A snapshot is saved.
    Snapshot,
    /// A stream is deleted.
    Delete,
    /// An append whose commit carries the log over.
    Checkpoint,
    /// The log is carried over after a while without writes; then an append.
    Idle,
    /// The store is closed.
    Close,
    /// The store is opened where there is none.
    Create,
    /// The store is opened that was closed.
    Open,
    /// The store is opened that was not closed.
    Unclean,
    /// The store is opened with another durability.
    Switch,
}

impl Subject {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::First,
        Self::Append,
        Self::Batch,
        Self::Start,
        Self::Several,
        Self::Snapshot,
        Self::Delete,
        Self::Checkpoint,
        Self::Idle,
        Self::Close,
        Self::Create,
        Self::Open,
        Self::Unclean,
        Self::Switch,
    ];
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

/// Where it is done, and who takes the notes.
pub(super) struct Setting<'a> {
    pub(super) path: PathBuf,
    pub(super) notes: &'a Memory,
}

impl Subject {
    /// Whether the fault befalls an opening.
    pub(super) fn opens(self) -> bool {
        matches!(self, Self::Create | Self::Open | Self::Unclean | Self::Switch)
    }

    pub(super) fn durability(self) -> Durability {
        if self == Self::Switch { Durability::ProcessCrash } else { Durability::Full }
    }

    /// What is sent while something fails.
    pub(super) fn operations(self) -> Vec<Op> {
        let op = |id, stream: &str, what| Op { id: 1_000 + id, stream: stream.to_owned(), what };
        let small = What::Append { events: 1, size: 50 };
        match self {
            Self::First | Self::Append | Self::Checkpoint | Self::Idle => vec![op(0, "a", small)],
            Self::Batch => vec![op(0, "a", What::Append { events: 12, size: 3_000 })],
            Self::Start => vec![op(0, "new", What::Start { events: 2, size: 50 })],
            Self::Several => {
                let append = |n: u64| op(n, ["a", "b", "c", "d"][n as usize % 4], small);
                (0..4).map(append).collect()
            }
            Self::Snapshot => vec![op(0, "a", What::Snapshot { version: 3 })],
            Self::Delete => vec![op(0, "a", What::Delete)],
            Self::Close | Self::Create | Self::Open | Self::Unclean | Self::Switch => vec![],
        }
    }

    pub(super) async fn open(self, setting: &Setting<'_>) -> Result<SqliteEventStore, StoreError> {
        let options = SqliteOptions::new()
            .durability(self.durability())
            .readers(1)
            .busy_timeout(Duration::from_millis(200));
        match self {
            Self::Checkpoint => options.checkpoint_pages(1),
            Self::Idle => options.idle_checkpoint(Duration::from_millis(2)),
            _ => options.idle_checkpoint(Duration::from_secs(3600)),
        }
        .open(&setting.path)
        .await
    }

    /// What goes before.
    pub(super) async fn prepare(self, setting: &Setting<'_>) -> Result<Option<SqliteEventStore>, Trouble> {
        if self.opens() {
            return Ok(None);
        }
        let store = self.open(setting).await.map_err(unexpected("opening the store"))?;
        if self != Self::First {
            let what = What::Append { events: 2, size: 100 };
            let op = Op { id: 900, stream: "b".to_owned(), what };
            if let Some(error) = send(&store, setting.notes, &op).await?.error() {
                return Err(unexpected("preparing")(error));
            }
        }
        Ok(Some(store))
    }

    /// Does it: the store, if it is open after that, and the error, if it was an opening or a closing.
    pub(super) async fn run(
        self,
        setting: &Setting<'_>,
        store: Option<SqliteEventStore>,
    ) -> Result<(Option<SqliteEventStore>, Option<StoreError>), Trouble> {
        let Some(store) = store else {
            return Ok(match self.open(setting).await {
                Ok(store) => (Some(store), None),
                Err(error) => (None, Some(error)),
            });
        };
        if self == Self::Close {
            return Ok((None, store.close().await.err()));
        }
        if self == Self::Idle {
            // Idle it is; the append comes after the checkpoint, since one thread does both.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let operations = self.operations();
        let answers = side_by_side(operations.iter().map(|op| send(&store, setting.notes, op))).await;
        for answer in answers {
            answer?;
        }
        Ok((Some(store), None))
    }
}

/// Runs them side by side on this task.
async fn side_by_side<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut all = true;
        for (future, output) in &mut running {
            if output.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(ready) => *output = Some(ready),
                    std::task::Poll::Pending => all = false,
                }
            }
        }
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, output)| output).collect()
}

/// The stores that subjects begin from, each built once.
pub(super) struct Templates {
    folder: PathBuf,
    streams: BTreeMap<String, Stored>,
}

impl Templates {
    /// Builds them, in a folder of their own that the shim does not watch.
    pub(super) async fn build(folder: &Path) -> Result<Self, Trouble> {
        let folder = folder.join("templates");
        let [work, clean, unclean] = ["work", "clean", "unclean"].map(|name| folder.join(name));
        for folder in [&work, &clean, &unclean] {
            empty(folder)?;
        }
        let options = SqliteOptions::new().idle_checkpoint(Duration::from_secs(3600));
        let open = || async {
            options.clone().open(work.join(STORE)).await.map_err(unexpected("building a template"))
        };
        let store = open().await?;
        let notes = Memory::default();
        let some = [
            ("a", What::Start { events: 3, size: 200 }),
            ("b", What::Start { events: 2, size: 6_000 }),
            ("c", What::Start { events: 1, size: 10 }),
            ("d", What::Start { events: 40, size: 500 }),
            ("a", What::Snapshot { version: 2 }),
        ];
        let mut number = 1;
        let mut do_some = async |store: &SqliteEventStore, some: &[(&str, What)]| {
            for (stream, what) in some {
                let op = Op { id: number, stream: (*stream).to_owned(), what: *what };
                number += 1;
                if let Answer::NotDone(error) | Answer::Unknown(error) = send(store, &notes, &op).await? {
                    return Err(unexpected("building a template")(error));
                }
            }
            Ok(())
        };
        do_some(&store, &some).await?;
        store.close().await.map_err(unexpected("building a template"))?;
        copy(&work, &clean, &[".lock"])?;
        let store = open().await?;
        let more = [("e", What::Start { events: 20, size: 900 }), ("e", What::Append { events: 1, size: 9 })];
        do_some(&store, &more).await?;
        copy(&work, &unclean, &[".lock", "-shm"])?;
        let streams = Found::read(&store).await?.streams;
        store.close().await.map_err(unexpected("building a template"))?;
        Ok(Self { folder, streams })
    }

    /// Puts a subject's store into an empty folder; says what is in it.
    pub(super) fn put(&self, subject: Subject, into: &Path) -> Result<BTreeMap<String, Stored>, Trouble> {
        let (name, late) = match subject {
            Subject::Create => return Ok(BTreeMap::new()),
            Subject::Unclean | Subject::Switch => ("unclean", true),
            _ => ("clean", false),
        };
        copy(&self.folder.join(name), into, &[])?;
        let mut streams = self.streams.clone();
        if !late {
            streams.remove("e");
        }
        Ok(streams)
    }
}
