//! What everything in a worker shares: the tasks, the counts, and the way to say that a check did not hold.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use ipa_eventstore::{SqliteEventStore, StreamId};
use ipa_pod::{PodRegistry, TaskId};
use parking_lot::Mutex;

use super::witness::Witness;
use crate::wire::{Counts, Line};

/// What a check is told when it does not hold.
pub type Wrong = String;

/// See the module.
pub struct World {
    pub tasks: Vec<Task>,
    /// The store without its faults.
    pub store: SqliteEventStore,
    /// The pods', from before there is a pod.
    pub registry: PodRegistry,
    pub tally: Arc<Tally>,
    /// Pods that are admitted and have not ended.
    pub pods_alive: AtomicI64,
    /// Children of nested supervisors, which no registry lists.
    pub leaves_alive: AtomicI64,
    /// Children that block a thread now, on our order.
    pub blocking: AtomicI64,
    /// The last number that was given to a pod or a child.
    serial: AtomicU64,
    /// The last generation that was given to a stream; above those of all lives before.
    generation: AtomicU64,
}

/// One task, and what is to be known of it.
pub struct Task {
    pub index: usize,
    pub id: TaskId,
    pub stream: StreamId,
    pub witness: Witness,
    /// Held for reading by whoever starts or stops its pod, for writing while its stream comes or goes.
    pub stream_stands: tokio::sync::RwLock<Stands>,
    /// Held while a command is executed.
    pub issuer: tokio::sync::Mutex<Issuer>,
}

/// The generation of the task's stream; `None` if there is none.
pub type Stands = Option<u64>;

/// Who numbers a stream's commands.
#[derive(Clone, Copy, Debug, Default)]
pub struct Issuer {
    /// The last command that was acknowledged. The next has this number and one, until it is.
    pub acked: u64,
    /// The last version that was acknowledged.
    pub version: u64,
}

impl World {
    pub fn new(
        store: SqliteEventStore,
        tasks: usize,
        life: u64,
        tally: Arc<Tally>,
    ) -> Result<Self, ipa_eventstore::StoreError> {
        let tasks = (0..tasks).map(Task::new).collect::<Result<_, _>>()?;
        Ok(Self {
            tasks,
            store,
            registry: PodRegistry::new(),
            tally,
            pods_alive: AtomicI64::new(0),
            leaves_alive: AtomicI64::new(0),
            blocking: AtomicI64::new(0),
            serial: AtomicU64::new(0),
            generation: AtomicU64::new(life << 20),
        })
    }

    pub fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Tells the parent. A parent that is gone ends the worker by closing its standard input.
    pub fn say(&self, line: &Line) {
        say(line);
    }

    /// Counts a check, and says so if it does not hold.
    pub fn check(&self, name: &'static str, holds: bool, otherwise: impl FnOnce() -> Wrong) {
        self.tally.check(name, holds, otherwise);
    }
}

fn say(line: &Line) {
    let _ = line.write(io::stdout().lock());
}

impl Task {
    fn new(index: usize) -> Result<Self, ipa_eventstore::StoreError> {
        let name = name(index);
        Ok(Self {
            index,
            id: TaskId::new(name.as_str())
                .map_err(|error| ipa_eventstore::StoreError::Invalid { reason: error.to_string() })?,
            stream: StreamId::new(name)?,
            witness: Witness::default(),
            stream_stands: tokio::sync::RwLock::new(None),
            issuer: tokio::sync::Mutex::default(),
        })
    }
}

fn name(index: usize) -> String {
    format!("task-{index}")
}

/// The index of the task that has this name.
pub fn index_of(name: &str) -> Option<usize> {
    name.strip_prefix("task-")?.parse().ok()
}

/// What happened, how often each check was made, and how long the slowest calls took.
#[derive(Default)]
pub struct Tally {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    checks: Mutex<BTreeMap<&'static str, u64>>,
    slowest: Mutex<BTreeMap<&'static str, u64>>,
}

impl Tally {
    pub fn count(&self, name: &'static str) {
        self.count_many(name, 1);
    }

    pub fn count_many(&self, name: &'static str, many: u64) {
        *self.counts.lock().entry(name).or_default() += many;
    }

    pub fn check(&self, name: &'static str, holds: bool, otherwise: impl FnOnce() -> Wrong) {
        *self.checks.lock().entry(name).or_default() += 1;
        if !holds {
            self.wrong(name, otherwise());
        }
    }

    pub fn wrong(&self, name: &'static str, what: Wrong) {
        say(&Line::Wrong { check: name.into(), what });
    }

    pub fn took(&self, name: &'static str, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut slowest = self.slowest.lock();
        let kept = slowest.entry(name).or_default();
        *kept = (*kept).max(micros);
    }

    /// Counts, checks, and the slowest.
    pub fn now(&self) -> (Counts, Counts, Counts) {
        let copy = |counts: &Mutex<BTreeMap<&'static str, u64>>| {
            counts.lock().iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
        };
        (copy(&self.counts), copy(&self.checks), copy(&self.slowest))
    }
}
