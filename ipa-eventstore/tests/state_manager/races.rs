//! Two managers of one stream, many callers each, in random order and with every failure that a store may have: no
//! event is lost or doubled, each command was decided on what stands before it, and every state that anybody sees is
//! what a beginning of the stream amounts to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipa_eventstore::{
    EventStore, ExecuteError, Expected, InMemoryEventStore, NewEvent, ReadStream, RecordedEvent,
    SqliteEventStore, StateHandle, StateManager, StreamType, Versioned,
};
use ipa_supervisor::{RestartIntensity, StartError, Supervisor};
use proptest::prelude::*;
use tokio::task::JoinSet;

use crate::counter::stream;
use crate::faulty::{Dice, Faults, Faulty};
use crate::journal::{Command, Entry, Journal, Told, Truth};

const MANAGERS: u64 = 2;
const CALLERS: u64 = 4;

#[derive(Clone, Copy, Debug)]
struct Race {
    seed: u64,
    /// By each caller.
    commands: u64,
    faults: Faults,
    /// Of a thousand commands, how many crash the manager.
    crashes: u64,
    /// How often the stream is deleted and made anew meanwhile.
    recreated: u64,
}

/// What is done by all, and what they see.
struct Run<S> {
    race: Race,
    store: Faulty<S>,
    told: Mutex<BTreeMap<u64, Told>>,
    seen: Mutex<Vec<Arc<Versioned<Journal>>>>,
    /// The streams that were deleted, as they were at last.
    past: Mutex<Vec<Vec<RecordedEvent>>>,
}

impl<S: EventStore + Clone> Run<S> {
    async fn call(&self, journal: StateHandle<Journal>, caller: u64) {
        let mut dice = Dice::new(self.race.seed ^ (caller << 32));
        for n in 1..=self.race.commands {
            let id = caller << 32 | n;
            let repeatable = dice.below(2) == 0;
            let command = Command::Write { id, events: dice.below(4), repeatable };
            if dice.below(1000) < self.race.crashes {
                assert!(journal.execute(Command::Crash).await.is_err());
            }
            let told = loop {
                self.store.pause().await;
                match journal.execute(command).await {
                    Ok(done) => break Told::Done { version: done.version, events: done.events as u64 },
                    // Not stored, so to be given again.
                    Err(ExecuteError::Conflict { .. } | ExecuteError::Gone | ExecuteError::Store(_)) => {}
                    Err(ExecuteError::Indeterminate(_) | ExecuteError::Lost)
                        if repeatable && self.race.recreated == 0 => {}
                    Err(ExecuteError::Indeterminate(_) | ExecuteError::Lost) => break Told::Unknown,
                    Err(error) => panic!("{error:?}"),
                }
                // A manager that is being restarted gets its turn.
                tokio::task::yield_now().await;
                if self.race.faults.clock {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            self.told.lock().unwrap().insert(id, told);
        }
    }

    /// Sees all it can of what is published.
    async fn read(self: Arc<Self>, journal: StateHandle<Journal>, slow: bool) {
        let mut watch = journal.watch().await.unwrap();
        let mut last = None;
        loop {
            let state = watch.borrow_and_update().clone();
            if self.race.recreated == 0 {
                assert!(state.position >= last, "a state goes back");
                last = state.position;
            }
            self.seen.lock().unwrap().push(state);
            if slow {
                self.store.pause().await;
            }
            if watch.changed().await.is_err() {
                return;
            }
        }
    }

    async fn recreate(&self) {
        let mut dice = Dice::new(self.race.seed ^ 99);
        for _ in 0..self.race.recreated {
            for _ in 0..dice.below(60) {
                self.store.pause().await;
            }
            // Nothing is awaited that waits, so nothing comes in between: the store is in memory.
            let before = self.stored().await;
            // Most often as many, which is the hardest to notice.
            let events = match dice.below(3) {
                0 => dice.below(6),
                _ => before.len() as u64,
            };
            self.past.lock().unwrap().push(before);
            self.store.inner.delete_stream(&stream()).await.unwrap();
            create(&self.store.inner, events).await;
        }
    }

    async fn stored(&self) -> Vec<RecordedEvent> {
        self.store.inner.read_stream(&stream(), ReadStream::new()).await.unwrap()
    }
}

async fn create(store: &dyn EventStore, events: u64) {
    let events = (0..events).map(|part| Entry::foreign(part, events).stored()).collect::<Vec<NewEvent>>();
    store.start_stream(&StreamType::new("journal").unwrap(), Some(stream()), events).await.unwrap();
}

async fn start(store: impl EventStore) -> Result<(Supervisor, StateHandle<Journal>), StartError> {
    let manager = StateManager::<Journal>::new(Arc::new(store), stream()).snapshot_every(7).max_conflicts(2);
    let (spec, journal) = manager.child("state");
    let ever = RestartIntensity { max_restarts: u32::MAX, ..RestartIntensity::default() };
    Ok((Supervisor::builder().intensity(ever).child(spec).start().await?, journal))
}

/// Races, checks everything, and says how many appends failed.
async fn race<S: EventStore + Clone>(store: S, race: Race) -> u64 {
    create(&store, 0).await;
    let run = Arc::new(Run {
        race,
        store: Faulty::new(store, race.seed, race.faults),
        told: Mutex::default(),
        seen: Mutex::default(),
        past: Mutex::default(),
    });
    let mut managers = Vec::new();
    let mut callers = JoinSet::new();
    let mut readers = JoinSet::new();
    for manager in 0..MANAGERS {
        let (supervisor, journal) = loop {
            if let Ok(started) = start(run.store.clone()).await {
                break started;
            }
        };
        for caller in 1..=CALLERS {
            let (run, journal) = (run.clone(), journal.clone());
            callers.spawn(async move { run.call(journal, manager << 8 | caller).await });
        }
        for slow in [false, true] {
            readers.spawn(run.clone().read(journal.clone(), slow));
        }
        managers.push((supervisor, journal));
    }
    callers.spawn({
        let run = run.clone();
        async move { run.recreate().await }
    });
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
    let failed = run.store.settle().await;

    // Each once more: the second has all, and then the first.
    for (id, (_, journal)) in (1..).zip(managers.iter().chain([&managers[0]])) {
        let command = Command::Write { id, events: 1, repeatable: false };
        let done = loop {
            match journal.execute(command).await {
                Ok(done) => break done,
                Err(ExecuteError::Gone | ExecuteError::Conflict { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error:?}"),
            }
        };
        run.told.lock().unwrap().insert(id, Told::Done { version: done.version, events: 1 });
    }
    let stored = run.stored().await;
    let truth = Truth::of(&stored);
    let told = std::mem::take(&mut *run.told.lock().unwrap());
    assert_eq!(told.len() as u64, MANAGERS * CALLERS * race.commands + MANAGERS + 1);
    assert_eq!(managers[0].1.state().await.unwrap().state, truth.state());
    let (supervisor, fresh) = start(run.store.inner.clone()).await.unwrap();
    assert_eq!(fresh.state().await.unwrap().state, truth.state());
    supervisor.shutdown().await.unwrap();
    for (supervisor, journal) in managers {
        let last = journal.state().await.unwrap();
        run.seen.lock().unwrap().push(last);
        supervisor.shutdown().await.unwrap();
    }
    readers.shutdown().await;

    let mut truths: Vec<_> = run.past.lock().unwrap().iter().map(|stored| Truth::of(stored)).collect();
    truths.push(truth);
    for seen in &*run.seen.lock().unwrap() {
        assert!(truths.iter().any(|truth| truth.is_prefix(seen)), "no beginning of a stream: {seen:?}");
    }
    for (command, told) in &told {
        assert!(truths.iter().any(|truth| truth.bears_out(*command, *told)), "{command} was told {told:?}");
    }
    for truth in &truths {
        truth.has_only(&told);
        if race.recreated == 0 {
            assert!(truth.commands.values().all(|(.., sound)| *sound), "decided on what stands before it");
        }
    }
    failed
}

const CLOCK: Faults = Faults { appends: 0, reads: 0, late: false, clock: true };

#[tokio::test(start_paused = true)]
async fn thousands_of_commands_by_two_managers_in_memory() {
    let faults = Faults { appends: 0, ..CLOCK };
    race(InMemoryEventStore::new(), Race { seed: 1, commands: 400, faults, crashes: 0, recreated: 0 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_commands_by_two_managers_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let store = SqliteEventStore::open(directory.path().join("events.db")).await.unwrap();
    // Each failure costs a retry's pause, in real time.
    let faults = Faults { appends: 4, reads: 2, late: true, clock: false };
    let failed = race(store.clone(), Race { seed: 2, commands: 250, faults, crashes: 2, recreated: 0 }).await;
    assert!(failed > 0);
    store.close().await.unwrap();
}

fn on_a_paused_clock<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_store_does_nothing_is_lost_or_doubled(seed in any::<u64>(), appends in 0..400_u64, crashes in 0..50_u64) {
        let faults = Faults { appends, reads: appends / 8, late: true, clock: true };
        let one = Race { seed, commands: 20, faults, crashes, recreated: 0 };
        on_a_paused_clock(race(InMemoryEventStore::new(), one));
    }

    #[test]
    fn whenever_the_stream_is_made_anew_no_state_is_of_two_streams(seed in any::<u64>(), appends in 0..100_u64) {
        let faults = Faults { appends, reads: appends / 8, late: false, clock: true };
        let one = Race { seed, commands: 20, faults, crashes: 10, recreated: 8 };
        on_a_paused_clock(race(InMemoryEventStore::new(), one));
    }
}

/// The checks themselves notice what they are there for.
#[tokio::test]
#[should_panic(expected = "is there twice")]
async fn an_event_that_is_there_twice_is_noticed() {
    let store = InMemoryEventStore::new();
    create(&store, 0).await;
    let entry = |seen| serde_json::json!({"command": 7, "part": 0, "of": 1, "seen": seen});
    for seen in [0, 1] {
        let event = NewEvent::json("entry", &entry(seen)).unwrap();
        store.append(&stream(), Expected::Any, vec![event]).await.unwrap();
    }
    Truth::of(&store.read_stream(&stream(), ReadStream::new()).await.unwrap());
}
