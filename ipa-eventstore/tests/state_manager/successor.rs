//! An old process and its successor: the old one is stopped in the middle of its work (it is not dead, and may go on),
//! then killed. Nobody takes over before that, and whoever does has all of it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command as Program, Stdio};
use std::sync::Arc;

use ipa_eventstore::{
    EventStore, ReadStream, SqliteEventStore, StateHandle, StateManager, StoreError, StreamType,
};
use ipa_supervisor::Supervisor;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::task::JoinSet;

use crate::counter::stream;
use crate::faulty::Dice;
use crate::journal::{Command, Journal, Told, Truth};

const PATH: &str = "IPA_EVENTSTORE_OLD_PROCESS";
const ROUND: &str = "IPA_EVENTSTORE_OLD_PROCESS_ROUND";
const CALLERS: u64 = 6;
const ROUNDS: u64 = 5;

async fn start(store: &SqliteEventStore) -> (Supervisor, StateHandle<Journal>) {
    let manager = StateManager::<Journal>::new(Arc::new(store.clone()), stream()).snapshot_every(10);
    let (spec, journal) = manager.child("state");
    (Supervisor::builder().child(spec).start().await.unwrap(), journal)
}

/// Commands without end; an answer is told when it is there, and not before.
async fn work(journal: StateHandle<Journal>, round: u64, caller: u64) {
    for n in 1.. {
        let id = round << 40 | caller << 32 | n;
        let command = Command::Write { id, events: 1 + n % 3, repeatable: true };
        let done = journal.execute(command).await.unwrap();
        println!("acknowledged {id} {} {}", done.version, done.events);
    }
}

/// What the old process runs: a test that does nothing unless it is told where.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_process() {
    let (Some(path), Ok(round)) = (std::env::var_os(PATH), std::env::var(ROUND)) else {
        return;
    };
    let store = SqliteEventStore::open(path).await.unwrap();
    let (_supervisor, journal) = start(&store).await;
    let mut working = JoinSet::new();
    for caller in 1..=CALLERS {
        working.spawn(work(journal.clone(), round.parse().unwrap(), caller));
    }
    panic!("{:?}", working.join_next().await);
}

/// The old process, seen from here. Killed when dropped, so that a failed test leaves nothing behind.
struct Old {
    child: Child,
    pid: Pid,
    output: Lines<BufReader<ChildStdout>>,
}

impl Old {
    fn start(path: &Path, round: u64) -> Self {
        let mut child = Program::new(std::env::current_exe().unwrap())
            .args(["successor::old_process", "--exact", "--nocapture"])
            .env(PATH, path)
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        let pid = Pid::from_child(&child);
        Self { child, pid, output }
    }

    /// The next acknowledgements, all of them if it ends before.
    fn read(&mut self, count: usize, told: &mut BTreeMap<u64, Told>) -> usize {
        let mut read = 0;
        while read < count
            && let Some(line) = self.output.next()
        {
            let line = line.unwrap();
            let Some((_, answer)) = line.split_once("acknowledged ") else { continue };
            let answer: Vec<u64> = answer.split(' ').map(|number| number.parse().unwrap()).collect();
            let [id, version, events] = answer[..] else { panic!("{line}") };
            assert!(told.insert(id, Told::Done { version, events }).is_none());
            read += 1;
        }
        read
    }

    /// Stops it where it is. It has stopped when this returns.
    fn stop(&self) {
        kill_process(self.pid, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(self.pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped(), "{status:?}");
    }

    fn go_on(&self) {
        kill_process(self.pid, Signal::CONT).unwrap();
    }
}

impl Drop for Old {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn read(store: &dyn EventStore) -> Truth {
    Truth::of(&store.read_stream(&stream(), ReadStream::new()).await.unwrap())
}

/// As long as it is merely stopped, nobody takes its place; and readers beside it read what it has acknowledged.
async fn is_locked(path: &Path, old: &Old, told: &BTreeMap<u64, Told>) {
    match SqliteEventStore::open(path).await {
        Err(StoreError::LockedByAnother { holder, .. }) => {
            assert_eq!(holder, format!("process {}", old.child.id()));
        }
        other => panic!("expected LockedByAnother, got {other:?}"),
    }
    let beside = SqliteEventStore::open_read_only(path).await.unwrap();
    let truth = read(&beside).await;
    assert!(told.iter().all(|(command, told)| truth.bears_out(*command, *told)));
    beside.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_process_and_its_successor_lose_and_double_nothing() {
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    println!("seed {seed}");
    let mut dice = Dice::new(seed);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.db");
    let store = SqliteEventStore::open(&path).await.unwrap();
    store.start_stream(&StreamType::new("journal").unwrap(), Some(stream()), vec![]).await.unwrap();
    store.close().await.unwrap();

    let mut told = BTreeMap::new();
    for round in 1..=ROUNDS {
        let mut old = Old::start(&path, round);
        let until = 1 + dice.below(150) as usize;
        assert_eq!(old.read(until, &mut told), until, "the old process ended by itself");
        old.stop();
        is_locked(&path, &old, &told).await;
        // It goes on as if nothing had been, then its time has come.
        old.go_on();
        let until = 1 + dice.below(50) as usize;
        assert_eq!(old.read(until, &mut told), until, "the old process ended by itself");
        old.stop();
        is_locked(&path, &old, &told).await;
        old.child.kill().unwrap();
        // What it had written before it was stopped was acknowledged, too.
        old.read(usize::MAX, &mut told);
        assert!(!old.child.wait().unwrap().success());

        let store = SqliteEventStore::open(&path).await.unwrap();
        let (supervisor, journal) = start(&store).await;
        let truth = read(&store).await;
        for (command, told) in &told {
            assert!(truth.bears_out(*command, *told), "round {round}: {command} was told {told:?}");
        }
        // Each caller may have had one under way.
        let of_this_round =
            |commands: &mut dyn Iterator<Item = &u64>| commands.filter(|id| **id >> 40 == round).count();
        let stored = of_this_round(&mut truth.commands.keys());
        let acknowledged = of_this_round(&mut told.keys());
        assert!(
            (acknowledged..=acknowledged + CALLERS as usize).contains(&stored),
            "{acknowledged}, {stored}"
        );
        assert!(truth.commands.values().all(|(.., sound)| *sound), "decided on what stands before it");
        assert_eq!(journal.state().await.unwrap().state, truth.state());

        // What was under way can be given again, whatever became of it; and it goes on.
        let last = |caller: u64| told.keys().filter(|id| **id >> 32 == round << 8 | caller).count() as u64;
        for (caller, n) in (1..=CALLERS).map(|caller| (caller, last(caller) + 1)).collect::<Vec<_>>() {
            let id = round << 40 | caller << 32 | n;
            let command = Command::Write { id, events: 1 + n % 3, repeatable: true };
            let done = journal.execute(command).await.unwrap();
            told.insert(id, Told::Done { version: done.version, events: done.events as u64 });
        }
        let truth = read(&store).await;
        truth.has_only(&told);
        assert_eq!(truth.commands.len(), told.len());
        assert!(told.iter().all(|(command, told)| truth.bears_out(*command, *told)));
        assert_eq!(journal.state().await.unwrap().state, truth.state());
        supervisor.shutdown().await.unwrap();
        store.close().await.unwrap();
    }
}
