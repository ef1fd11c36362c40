//! Power loss: a process works while the shim writes down what it does to its files; then the disk is built as it may have
//! been at many a moment, and each of these stores is examined.
//!
//! The trick: one process gives hundreds of losses of power, since the trace can be replayed up to any moment, and what
//! arrives on the disk be drawn anew. `disk` knows nothing of SQLite.

mod disk;
mod trace;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use ipa_eventstore::{Durability, SqliteOptions};

use self::{disk::Disk, trace::Record};
use crate::{
    door::{self, Fault, Often},
    examine::{STORE, examine},
    folder::{copy, empty},
    history::{Found, History, Note, Promise},
    process,
    trouble::{Trouble, tool, unexpected},
    work::{self, Marks, Notes, Plan},
};

/// What is done in a round.
#[derive(Debug, Clone, Copy)]
pub struct Round {
    /// What everything random follows from.
    pub seed: u64,
    /// What the store promises.
    pub durability: Durability,
    /// How many losses of power are tried.
    pub images: u32,
    /// Whether syncs and writes fail now and then while the process works.
    pub faults: bool,
}

/// What a round came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    /// Losses of power.
    pub images: u64,
    /// Events that were acknowledged when the power went, over all of them.
    pub acknowledged: u64,
    /// The slowest opening.
    pub slowest_open: Duration,
}

/// One loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Loss {
    /// How many records of the trace had happened.
    pub moment: usize,
    /// What the drawing of what arrived follows from.
    pub seed: u64,
}

/// Runs a round in an empty folder; it then holds the trace, and after a broken promise the directory as the loss of power
/// left it.
///
/// # Errors
///
/// When a promise is broken, or the round cannot be run.
pub async fn round(program: &Path, folder: &Path, round: Round) -> Result<Tally, Trouble> {
    let mut random = Rng::with_seed(round.seed);
    let mut tally = Tally::default();
    // The work, and once more from a disk that has lost its power.
    let mut start = Start::default();
    let mut losses = Vec::new();
    for generation in 0..2 {
        let here = folder.join(format!("generation-{generation}"));
        let work = here.join("work");
        fs::create_dir_all(&work).map_err(tool("making a folder"))?;
        if let Some(loss) = losses.last() {
            let before = folder.join(format!("generation-{}", generation - 1));
            rebuild(&before, round.seed, *loss, &work)?;
        }
        record(program, &here, &work, round, generation).await?;
        let records = trace::read(&here.join("trace")).map_err(tool("reading the trace"))?;
        losses = choose(&records, round.images / (1 + 2 * generation), &mut random);
        start = losing(&here, &start, &records, &losses, round, &mut tally).await?;
    }
    Ok(tally)
}

/// What a generation starts from: what its predecessor's last loss of power left.
#[derive(Default)]
struct Start {
    found: Found,
}

/// Lets the power go at each of these moments, in order; says what is in the store after the last.
async fn losing(
    here: &Path,
    start: &Start,
    records: &[Record],
    losses: &[Loss],
    round: Round,
    tally: &mut Tally,
) -> Result<Start, Trouble> {
    let promise = match round.durability {
        Durability::Full => Promise::Everything,
        Durability::ProcessCrash => Promise::Beginning,
    };
    let mut replay = Replay::new(here, round.seed)?;
    let mut history = History::of(start.found.streams.clone());
    let mut last = Start::default();
    for loss in losses {
        let from = replay.at;
        replay.to(records, loss.moment);
        for (at, record) in records.iter().enumerate().take(loss.moment).skip(from) {
            if let Record::Mark(text) = record {
                let note: Note = serde_json::from_str(text).map_err(|error| tool("a mark")(error.into()))?;
                history.take(at, note)?;
            }
        }
        let image = here.join("image");
        empty(&image)?;
        replay.disk.lose_power(&mut Rng::with_seed(loss.seed), &image).map_err(tool("writing an image"))?;
        match examine(&image, round.durability, &history, promise).await {
            Ok(examined) => {
                tally.images += 1;
                tally.acknowledged += history.acknowledged();
                tally.slowest_open = tally.slowest_open.max(examined.opening);
                last = Start { found: examined.found };
            }
            Err(trouble) => {
                // As it was before it was opened.
                empty(&image)?;
                rebuild(here, round.seed, *loss, &image)?;
                return Err(trouble.at(format!(
                    "power lost after record {} of {here}/trace, which left {}; the same again: store-faults lose \
                     --trace {here} --seed {} --moment {} --loss {} --into FOLDER",
                    loss.moment,
                    image.display(),
                    round.seed,
                    loss.moment,
                    loss.seed,
                    here = here.display(),
                )));
            }
        }
    }
    Ok(last)
}

/// Rounds of nothing but losses of power.
#[derive(Debug, clap::Args)]
pub struct Rounds {
    /// How many rounds
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u64,
    /// The seed of the first round; each further one has the next [default: another one each time]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// How many losses of power a round has
    #[arg(long, value_name = "N", default_value_t = 150)]
    images: u32,
    /// Durability::ProcessCrash instead of Full
    #[arg(long)]
    process_crash: bool,
    /// Let syncs and writes fail now and then
    #[arg(long)]
    faults: bool,
}

/// Runs rounds and prints a line each.
///
/// # Errors
///
/// At the first broken promise, whose round is then left in a folder.
pub async fn rounds(program: &Path, options: &Rounds) -> Result<(), Trouble> {
    let first = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    for seed in (0..options.rounds).map(|number| first.wrapping_add(number)) {
        let durability = if options.process_crash { Durability::ProcessCrash } else { Durability::Full };
        let folder = tempfile::tempdir().map_err(tool("making a folder"))?;
        let one = Round { seed, durability, images: options.images, faults: options.faults };
        match round(program, folder.path(), one).await {
            Ok(Tally { images, slowest_open, .. }) => {
                println!("seed {seed}: {images} losses of power, the slowest opening {slowest_open:.1?}");
            }
            Err(trouble) => {
                let _ = folder.keep();
                return Err(trouble.at(format!("seed {seed}")));
            }
        }
    }
    Ok(())
}

/// One loss of power once more, from its trace.
#[derive(Debug, clap::Args)]
pub struct Again {
    /// The folder that has the trace
    #[arg(long)]
    trace: PathBuf,
    /// The seed of the round
    #[arg(long)]
    seed: u64,
    /// How many records had happened
    #[arg(long)]
    moment: usize,
    /// What the drawing follows from
    #[arg(long)]
    loss: u64,
    /// Where to put what the loss of power leaves; an empty folder
    #[arg(long)]
    into: PathBuf,
}

/// Builds what a loss of power left once more.
///
/// # Errors
///
/// When there is no trace, or the folder cannot be written.
pub fn again(options: &Again) -> Result<(), Trouble> {
    let loss = Loss { moment: options.moment, seed: options.loss };
    empty(&options.into)?;
    rebuild(&options.trace, options.seed, loss, &options.into)
}

/// The directory that this loss of power left, built again from the trace in `here`.
///
/// # Errors
///
/// When there is no trace, or the directory cannot be written.
pub fn rebuild(here: &Path, seed: u64, loss: Loss, into: &Path) -> Result<(), Trouble> {
    let records = trace::read(&here.join("trace")).map_err(tool("reading the trace"))?;
    let mut replay = Replay::new(here, seed)?;
    replay.to(&records, loss.moment);
    replay.disk.lose_power(&mut Rng::with_seed(loss.seed), into).map_err(tool("writing an image"))
}

/// The moments at which the power goes: mostly right after an answer, or right before a sync, when the most is on its way.
fn choose(records: &[Record], count: u32, random: &mut Rng) -> Vec<Loss> {
    let after = |what: fn(&Record) -> bool| -> Vec<usize> {
        records.iter().enumerate().filter(|(_, record)| what(record)).map(|(at, _)| at).collect()
    };
    let marks = after(|record| matches!(record, Record::Mark(text) if text.contains("done")));
    let syncs = after(|record| matches!(record, Record::Sync { .. }));
    let mut losses: Vec<_> = (0..count)
        .map(|number| {
            let moment = match number % 4 {
                0 | 1 if !marks.is_empty() => marks[random.usize(..marks.len())] + 1,
                2 if !syncs.is_empty() => syncs[random.usize(..syncs.len())],
                _ => random.usize(..=records.len()),
            };
            Loss { moment, seed: random.u64(..) }
        })
        .collect();
    losses.sort_unstable();
    losses
}

/// A trace on its way.
struct Replay {
    disk: Disk,
    random: Rng,
    at: usize,
}

impl Replay {
    fn new(here: &Path, seed: u64) -> Result<Self, Trouble> {
        let disk = Disk::of(&here.join("before")).map_err(tool("reading what was there before"))?;
        Ok(Self { disk, random: Rng::with_seed(seed), at: 0 })
    }

    fn to(&mut self, records: &[Record], moment: usize) {
        for record in &records[self.at..moment] {
            self.disk.apply(record, &mut self.random);
        }
        self.at = moment;
    }
}

/// Runs the working process; `here` then has what was there `before`, and the `trace`.
async fn record(
    program: &Path,
    here: &Path,
    work: &Path,
    round: Round,
    generation: u32,
) -> Result<(), Trouble> {
    let before = here.join("before");
    empty(&before)?;
    copy(work, &before, &[])?;
    let seed = round.seed.wrapping_add(u64::from(generation)).to_string();
    let options = [
        ("--directory", work.into()),
        ("--seed", seed.into()),
        ("--first", (u64::from(generation) << 40).to_string().into()),
    ];
    let switches = [
        (round.durability == Durability::ProcessCrash).then(|| "--process-crash".into()),
        round.faults.then(|| "--faults".into()),
    ];
    let arguments = process::arguments("work", options).chain(switches.into_iter().flatten());
    process::run(program, work, Some(&here.join("trace")), arguments).await?;
    Ok(())
}

/// What the working process is told.
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
    /// Let syncs and writes fail now and then
    #[arg(long)]
    faults: bool,
}

/// The working process: it opens the store, works with pauses, closes it, and does that a few times.
///
/// # Errors
///
/// When the store breaks a promise by its answers, or there is no shim.
pub async fn work(options: Work) -> Result<(), Trouble> {
    let durability = if options.process_crash { Durability::ProcessCrash } else { Durability::Full };
    let mut random = Rng::with_seed(options.seed);
    let notes = Arc::new(Marks);
    let taking = |note: Note| notes.note(&note).map_err(tool("taking a note"));
    let mut first = options.first;
    for _ in 0..3 {
        // A small log, so that it is carried over and begun again many times.
        let idle = Duration::from_millis(3);
        let pages = random.u32(4..60);
        let sqlite =
            SqliteOptions::new().durability(durability).checkpoint_pages(pages).idle_checkpoint(idle);
        taking(Note::Opening)?;
        let store =
            sqlite.open(options.directory.join(STORE)).await.map_err(unexpected("opening the store"))?;
        taking(Note::Opened)?;
        for _ in 0..2 {
            if options.faults {
                let (what, fault) = *random
                    .choice(&[
                        ("sync", Fault::Eio),
                        ("write", Fault::Eio),
                        ("write", Fault::Torn),
                        ("truncate", Fault::Eio),
                    ])
                    .unwrap_or(&("sync", Fault::Eio));
                // Often early: the first operations of a log are of another kind.
                let nth = if random.bool() { random.u64(1..4) } else { random.u64(4..60) };
                door::arm(what, nth, Often::Once, fault).map_err(tool("arming"))?;
            }
            let plan = Plan { seed: random.u64(..), senders: 3, operations: Some(12), batch: 12, first };
            work::run(&store, notes.clone(), &plan).await?;
            first += 1 << 20;
            // Idle for long enough to have the log carried over.
            tokio::time::sleep(2 * idle).await;
        }
        taking(Note::Closing)?;
        let closed = store.close().await;
        door::disarm().map_err(tool("disarming"))?;
        match closed {
            Ok(()) => taking(Note::Closed)?,
            // The fault may have befallen it.
            Err(_) if options.faults => {}
            Err(error) => return Err(unexpected("closing the store")(error)),
        }
    }
    Ok(())
}
