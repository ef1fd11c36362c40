//! kill -9: a process works on a store until it is killed, at any moment, opening and closing included; then what it had
//! acknowledged is looked for.
//!
//! The trick: the process says everything through a pipe before and after it does it, and what it has said is there even
//! though it is not, so the pipe's end is the whole truth.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use ipa_eventstore::{Durability, SqliteOptions};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::Command,
    time::Instant,
};

use crate::{
    examine::{Examined, STORE, examine},
    folder::{copy, empty},
    history::{History, Note, Promise, Stored},
    trouble::{Trouble, broken, tool, unexpected},
    work::{self, Lines, Notes, Plan},
};

/// How many kills a store sees before the next one is begun, since each is read as a whole.
const KILLS_PER_STORE: u64 = 20;

/// How long a process may say nothing and not end.
const PATIENCE: Duration = Duration::from_secs(60);

/// What kills came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Kills.
    pub kills: u64,
    /// Those of them while the store was being opened.
    pub opening: u64,
    /// Those of them while it was being closed.
    pub closing: u64,
    /// Events that were acknowledged.
    pub acknowledged: u64,
    /// How often a store was opened, by whom it was killed or examined.
    pub opens: u64,
    /// The slowest opening after a kill.
    pub slowest_open: Duration,
}

/// A store that is killed again and again.
#[derive(Debug)]
pub struct Kills {
    folder: PathBuf,
    random: Rng,
    durability: Durability,
    base: BTreeMap<String, Stored>,
    kills: u64,
}

/// When the process is killed.
#[derive(Debug, Clone, Copy)]
enum When {
    /// So long after it was started.
    After(Duration),
    /// So long after the n-th note of a kind, or of any.
    Note { nth: u32, is: fn(&Note) -> bool, after: Duration },
}

impl Kills {
    /// Kills in this folder.
    pub fn new(folder: &Path, seed: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            random: Rng::with_seed(seed),
            durability: Durability::Full,
            base: BTreeMap::new(),
            kills: 0,
        }
    }

    /// Lets a process work, kills it, and examines the store.
    ///
    /// # Errors
    ///
    /// When a promise is broken (the store is then left in the folder), or the process cannot be run.
    pub async fn kill(&mut self, program: &Path, tally: &mut Tally) -> Result<(), Trouble> {
        let store = self.folder.join("store");
        if self.kills.is_multiple_of(KILLS_PER_STORE) {
            empty(&store)?;
            self.base.clear();
            self.durability =
                if self.random.u32(..4) == 0 { Durability::ProcessCrash } else { Durability::Full };
        }
        self.kills += 1;
        let notes = self.run(program, &store).await?;
        let mut history = History::of(self.base.clone());
        let mut state = Note::Closed;
        for (at, note) in notes.into_iter().enumerate() {
            match &note {
                Note::Opening => tally.opens += 1,
                Note::Opened | Note::Closing | Note::Closed => {}
                _ => {
                    history.take(at, note)?;
                    continue;
                }
            }
            state = note;
        }
        tally.kills += 1;
        tally.opening += u64::from(state == Note::Opening);
        tally.closing += u64::from(state == Note::Closing);
        tally.acknowledged += history.acknowledged();
        // Often a copy is examined, so that the next process finds the store as the killed one left it.
        let examined = if self.random.bool() {
            store
        } else {
            let to = self.folder.join("copy");
            empty(&to)?;
            // The next owner of the store begins its shared memory anew in any case.
            copy(&store, &to, &["-shm"])?;
            to
        };
        let Examined { found, used, opening } =
            examine(&examined, self.durability, &history, Promise::Everything).await?;
        self.base = if examined.ends_with("store") { used.streams } else { found.streams };
        tally.opens += 1;
        tally.slowest_open = tally.slowest_open.max(opening);
        Ok(())
    }

    fn when(&mut self) -> When {
        let short = Duration::from_micros(self.random.u64(..3_000));
        let some = self.random.u32(1..4);
        match self.random.u32(..8) {
            // Starting takes a few milliseconds.
            0 => When::After(Duration::from_micros(self.random.u64(..15_000))),
            1 => When::Note { nth: some, is: |note| matches!(note, Note::Opening), after: short },
            2 => When::Note { nth: some, is: |note| matches!(note, Note::Closing), after: short / 3 },
            _ => When::Note { nth: self.random.u32(1..400), is: |_| true, after: short / 10 },
        }
    }

    /// Runs the process until it is killed; what it noted.
    async fn run(&mut self, program: &Path, store: &Path) -> Result<Vec<Note>, Trouble> {
        let mut command = Command::new(program);
        command
            .arg("work-until-killed")
            .args(["--directory".as_ref(), store.as_os_str()])
            .args(["--seed", &self.random.u64(..).to_string()])
            .args(["--first", &(self.kills << 32).to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for us alone.
            .process_group(0)
            .kill_on_drop(true);
        if self.durability == Durability::ProcessCrash {
            command.arg("--process-crash");
        }
        let when = self.when();
        let running = || tool(format!("running {}", program.display()));
        let mut child = command.spawn().map_err(running())?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return broken("a process without the pipes that it was given");
        };
        let mut lines = BufReader::new(stdout).lines();
        let mut notes = Vec::new();
        let mut left = match when {
            When::After(_) => 0,
            When::Note { nth, .. } => nth,
        };
        let mut end = Instant::now()
            + match when {
                When::After(after) => after,
                When::Note { .. } => PATIENCE,
            };
        let mut killed = false;
        loop {
            tokio::select! {
                line = lines.next_line() => {
                    // A line is written at once, so it comes whole or not at all.
                    let Some(line) = line.map_err(running())? else { break };
                    let note: Note = serde_json::from_str(&line).map_err(|error| tool(line)(error.into()))?;
                    if let When::Note { is, after, .. } = when && left > 0 && is(&note) {
                        left -= 1;
                        if left == 0 {
                            end = Instant::now() + after;
                        }
                    }
                    notes.push(note);
                }
                () = tokio::time::sleep_until(end), if !killed => {
                    if left > 0 {
                        return broken(format!("the process said nothing for {} s", PATIENCE.as_secs()));
                    }
                    child.start_kill().map_err(running())?;
                    killed = true;
                }
            }
        }
        let mut said = String::new();
        // It may be no text; then it is nothing to go by.
        let _ = stderr.read_to_string(&mut said).await;
        let status = child.wait().await.map_err(running())?;
        if !killed {
            return broken(format!("the process ended by itself, with {status}: {}", said.trim()));
        }
        Ok(notes)
    }
}

/// What the process to be killed is told.
#[derive(Debug, clap::Args)]
pub struct Work {
    /// Where the store is
    #[arg(long)]
    directory: PathBuf,
    /// What everything random follows from
    #[arg(long)]
    seed: u64,
    /// The first number of an operation
    #[arg(long)]
    first: u64,
    /// Durability::ProcessCrash instead of Full
    #[arg(long)]
    process_crash: bool,
}

/// The process to be killed: it opens the store, works, closes it, and begins again.
///
/// # Errors
///
/// When the store breaks a promise by its answers, or nobody reads what is said.
pub async fn work(options: Work) -> Result<(), Trouble> {
    let durability = if options.process_crash { Durability::ProcessCrash } else { Durability::Full };
    let mut random = Rng::with_seed(options.seed);
    let notes = Arc::new(Lines);
    let taking = |note: Note| notes.note(&note).map_err(tool("taking a note"));
    let mut first = options.first;
    loop {
        let sqlite = SqliteOptions::new()
            .durability(durability)
            .checkpoint_pages(random.u32(1..80))
            .idle_checkpoint(Duration::from_micros(random.u64(200..3_000)));
        taking(Note::Opening)?;
        let store =
            sqlite.open(options.directory.join(STORE)).await.map_err(unexpected("opening the store"))?;
        taking(Note::Opened)?;
        let plan =
            Plan { seed: random.u64(..), senders: 4, operations: Some(random.u32(1..40)), batch: 30, first };
        work::run(&store, notes.clone(), &plan).await?;
        first += 1 << 20;
        taking(Note::Closing)?;
        store.close().await.map_err(unexpected("closing the store"))?;
        taking(Note::Closed)?;
    }
}
