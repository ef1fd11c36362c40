//! Everything before the first pod: look at what there is, refuse what makes no sense, and only then change anything.
//!
//! The order is the point. Whatever can be refused is refused while nothing has been changed; then what an earlier run left
//! running is ended; then every task gets its stream. From there on no task can be lost, whenever this program is killed.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use ipa_eventstore::{EventStore, Expected, ListStreams, SqliteEventStore, StoreError, StreamId, StreamType};
use ipa_supervisor::BoxError;
use tokio::task::JoinSet;

use crate::args::Args;
use crate::event::{Event, STREAM_TYPE};
use crate::folders::Folders;
use crate::history::History;
use crate::orphans::Identity;
use crate::plan::{Plan, PlanError};

/// What a run begins with.
pub struct Ready {
    /// The store; each task of the plan has its stream.
    pub store: SqliteEventStore,
    /// The folders, made.
    pub folders: Folders,
    /// How far each task had come, in the order of the plan: the version of its last event.
    pub before: Vec<u64>,
}

/// Why there is nothing to begin with. Displayed as one line.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The plan does not go with the store.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store cannot be had: of another program, in use, damaged, not to be written.
    #[error("{}: {}", store.display(), chain(source))]
    Store {
        /// Its file.
        store: PathBuf,
        /// Why.
        source: BoxError,
    },
    /// A file or directory beside it.
    #[error("{0}")]
    Files(#[from] std::io::Error),
}

/// Opens the store for a plan, as the arguments say.
///
/// # Errors
///
/// See [`Refused`].
pub async fn prepare(args: &Args, plan: &Plan) -> Result<Ready, Refused> {
    let refused = |source: BoxError| Refused::Store { store: args.db.clone(), source };
    let folders = Folders::new(args)?;
    folders.check()?;
    let mut opened = None;
    let mut known = HashMap::new();
    if fs::metadata(&args.db).is_ok_and(|file| file.len() > 0) {
        let store = open_existing(args).await.map_err(|error| refused(error.into()))?;
        if let Some(store) = store {
            let looked = look(args, plan, &store).await;
            if looked.is_err() {
                // Closed here, so that it is as it was when this returns; what matters is why it is refused.
                let _ = store.close().await;
            }
            known = looked?;
            end_orphans(&known).await?;
            opened = Some(store);
        }
        if args.fresh {
            if let Some(store) = opened.take() {
                match store.close().await {
                    // It goes as well.
                    Ok(()) | Err(StoreError::LogLeft { .. }) => {}
                    Err(error) => return Err(refused(error.into())),
                }
            }
            forget(&args.db, &folders)?;
            known.clear();
        }
    }
    folders.make(plan)?;
    let store = match opened {
        Some(store) => store,
        None => SqliteEventStore::open(&args.db).await.map_err(|error| refused(error.into()))?,
    };
    create_missing(&store, plan, &known).await.map_err(refused)?;
    let version = |task: &str| known.get(task).map_or(1, History::version);
    let before = plan.tasks.iter().map(|task| version(&task.id)).collect();
    Ok(Ready { store, folders, before })
}

/// Opens a store that is there. `None` if it is damaged and to be forgotten anyway.
async fn open_existing(args: &Args) -> Result<Option<SqliteEventStore>, StoreError> {
    match SqliteEventStore::open(&args.db).await {
        Ok(store) => Ok(Some(store)),
        Err(StoreError::Damaged { .. }) if args.fresh => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads what there is, and refuses what does not go with it.
async fn look(
    args: &Args,
    plan: &Plan,
    store: &SqliteEventStore,
) -> Result<HashMap<String, History>, Refused> {
    let refused = |source: BoxError| Refused::Store { store: args.db.clone(), source };
    let known = histories(store, args.fresh).await.map_err(refused)?;
    if !args.fresh {
        compare(args, plan, store, &known).await?;
    }
    Ok(known)
}

/// All tasks' histories, by id; if they are to be forgotten, only those that can be read.
async fn histories(store: &SqliteEventStore, lenient: bool) -> Result<HashMap<String, History>, BoxError> {
    let tasks = ListStreams::new().stream_type(StreamType::new(STREAM_TYPE)?);
    let mut known = HashMap::new();
    for stream in store.list_streams(tasks).await? {
        match History::load(store, stream.id.as_str()).await {
            Ok(history) => known.extend(history.map(|history| (stream.id.to_string(), history))),
            Err(_) if lenient => {}
            Err(error) => return Err(error),
        }
    }
    Ok(known)
}

/// Refuses a task that stands in the store as another one.
async fn compare(
    args: &Args,
    plan: &Plan,
    store: &SqliteEventStore,
    known: &HashMap<String, History>,
) -> Result<(), Refused> {
    let refused = |source: StoreError| Refused::Store { store: args.db.clone(), source: source.into() };
    for task in &plan.tasks {
        let stands = match known.get(&task.id) {
            Some(history) => history.state.digest() != Some(&task.digest()),
            None => {
                store.stream_exists(&StreamId::new(&*task.id).map_err(refused)?).await.map_err(refused)?
            }
        };
        if stands {
            let what = format!(
                "stands in {} with another definition: give it another id, or begin anew with --fresh",
                args.db.display()
            );
            return Err(plan.fault(task, what).into());
        }
    }
    Ok(())
}

/// Ends what earlier runs left running, of tasks that are not in this plan too.
async fn end_orphans(known: &HashMap<String, History>) -> std::io::Result<()> {
    let running = known.values().flat_map(|history| history.state.running());
    let processes: Vec<Identity> = running.filter_map(|(_, record)| record.process.clone()).collect();
    let ended =
        tokio::task::spawn_blocking(move || processes.iter().try_for_each(|process| process.end().map(drop)));
    ended.await.map_err(std::io::Error::other)?
}

/// Removes the store's files and the results. The store goes first: results without a store are done again, a store without its
/// results would be believed. Its lock file stays, as the next to lock it may have it open already.
fn forget(db: &Path, folders: &Folders) -> std::io::Result<()> {
    let gone = |path: &Path, removed: std::io::Result<()>| match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(std::io::Error::new(error.kind(), format!("cannot remove {}: {error}", path.display())))
        }
        _ => Ok(()),
    };
    // A log without its store would be taken for the rest of a lost one, so the log is removed before the store.
    for ending in ["-wal", "-shm", ""] {
        let mut path = db.as_os_str().to_owned();
        path.push(ending);
        gone(path.as_ref(), fs::remove_file(&path))?;
    }
    gone(folders.results(), fs::remove_dir_all(folders.results()))
}

/// Gives each task that has none its stream, with the event that says what there is to do. Side by side: the store commits those
/// that wait together.
async fn create_missing(
    store: &SqliteEventStore,
    plan: &Plan,
    known: &HashMap<String, History>,
) -> Result<(), BoxError> {
    let mut created = JoinSet::new();
    for task in plan.tasks.iter().filter(|task| !known.contains_key(&task.id)) {
        let (store, stream) = (store.clone(), StreamId::new(&*task.id)?);
        let (first, expected) =
            (Event::created(task).encode()?, Expected::NoStream(StreamType::new(STREAM_TYPE)?));
        created.spawn(async move { store.append(&stream, expected, vec![first]).await });
    }
    while let Some(appended) = created.join_next().await {
        appended??;
    }
    Ok(())
}

/// An error with all that is behind it, on one line.
pub fn chain(error: &BoxError) -> String {
    if let Some(StoreError::LockedByAnother { holder, .. }) = error.downcast_ref() {
        return format!("it is in use by another run ({holder}): let that end, or stop it");
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
