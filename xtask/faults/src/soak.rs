//! The soak: kills, faults and losses of power at random, for as long as one likes.
//!
//! It stops at the first broken promise, and leaves what shows it.

use std::{
    io::{IsTerminal, Write},
    path::Path,
    time::{Duration, Instant},
};

use fastrand::Rng;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ipa_eventstore::Durability;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    fault::{self, KINDS, Subject},
    folder::empty,
    kill::{self, Kills},
    power,
    trouble::{Trouble, broken, tool},
};

/// How many kills come between two rounds of the other kinds.
const KILLS_PER_TURN: u64 = 10;

/// How many losses of power a round has.
const IMAGES: u32 = 40;

/// What is asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Go on for so many minutes; a fraction is fine
    #[arg(long, value_name = "N", required_unless_present = "kills")]
    minutes: Option<f64>,
    /// Go on until so many processes were killed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    kills: Option<u64>,
    /// What everything random follows from, but for the moments of kills, which follow from the machine too [default: another one
    /// each time, printed]
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// What a soak came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Summary {
    /// Whether every promise was kept.
    pub ok: bool,
    /// The promise that was not.
    pub broken: Option<String>,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// What it followed from.
    pub seed: u64,
    /// How long it took.
    pub elapsed_ms: u64,
    /// Processes killed.
    pub kills: u64,
    /// Those of them while the store was being opened.
    pub kills_while_opening: u64,
    /// Those of them while it was being closed.
    pub kills_while_closing: u64,
    /// The events that killed processes had acknowledged.
    pub acknowledged: u64,
    /// How often a store that is killed was opened.
    pub opens: u64,
    /// The slowest opening after a kill.
    pub slowest_open_ms: f64,
    /// Rounds with an operation on files that failed.
    pub faults: u64,
    /// Losses of power.
    pub power_losses: u64,
}

/// Soaks the store; prints the summary to stdout, and how far it is to stderr.
///
/// # Errors
///
/// When a promise is broken, or it cannot be run; an interruption is neither.
pub async fn run(program: &Path, options: Options) -> Result<Summary, Trouble> {
    // Short enough to be typed.
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let folder = tempfile::Builder::new().prefix("store-soak-").tempdir().map_err(tool("making a folder"))?;
    let mut soak = Soak {
        program,
        folder: folder.path(),
        random: Rng::with_seed(seed),
        progress: Progress::new(&options, seed),
        summary: Summary { ok: true, seed, ..Summary::default() },
        tally: kill::Tally::default(),
        started: Instant::now(),
        options,
    };
    let listening = || tool("listening for signals");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(listening())?;
    let mut terminate = signal(SignalKind::terminate()).map_err(listening())?;
    let outcome = tokio::select! {
        outcome = soak.rounds() => Some(outcome),
        _ = interrupt.recv() => None,
        _ = terminate.recv() => None,
    };
    soak.count();
    let Soak { mut summary, progress, started, options, .. } = soak;
    progress.finish();
    summary.elapsed_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    summary.interrupted = outcome.is_none();
    let outcome = outcome.unwrap_or(Ok(()));
    if let Err(trouble) = &outcome {
        summary.ok = false;
        summary.broken = Some(trouble.to_string());
    }
    print(&summary, options.json).map_err(tool("writing to stdout"))?;
    match outcome {
        Ok(()) => Ok(summary),
        Err(trouble) => {
            let kept = folder.keep();
            Err(trouble.at(format!("seed {seed}, what shows it is in {}", kept.display())))
        }
    }
}

struct Soak<'a> {
    program: &'a Path,
    folder: &'a Path,
    random: Rng,
    options: Options,
    progress: Progress,
    summary: Summary,
    tally: kill::Tally,
    started: Instant,
}

impl Soak<'_> {
    async fn rounds(&mut self) -> Result<(), Trouble> {
        let killing = self.folder.join("kill");
        let mut kills = Kills::new(&killing, self.random.u64(..));
        while !self.is_over() {
            kills.kill(self.program, &mut self.tally).await.map_err(|trouble| trouble.at("kill -9"))?;
            self.show();
            if self.tally.kills.is_multiple_of(KILLS_PER_TURN) {
                self.fault().await?;
                self.power().await?;
                self.show();
            }
        }
        Ok(())
    }

    /// One subject, with one kind of fault.
    async fn fault(&mut self) -> Result<(), Trouble> {
        let subject = Subject::ALL[self.random.usize(..Subject::ALL.len())];
        let kind = self.random.usize(..KINDS.len());
        let folder = self.folder.join("fault");
        empty(&folder)?;
        let tally = fault::run(self.program, &folder, &[subject], &[kind]).await?;
        self.summary.faults += tally.rounds;
        match tally.broken.first() {
            None => Ok(()),
            Some(first) => broken(format!("{} broken promises, the first: {first}", tally.broken.len())),
        }
    }

    /// One working process, and losses of its power.
    async fn power(&mut self) -> Result<(), Trouble> {
        let folder = self.folder.join("power");
        empty(&folder)?;
        let (durability, faults) = match self.random.u32(..3) {
            0 => (Durability::ProcessCrash, false),
            1 => (Durability::Full, false),
            _ => (Durability::Full, true),
        };
        let round = power::Round { seed: self.random.u64(..), durability, images: IMAGES, faults };
        let tally = power::round(self.program, &folder, round).await?;
        self.summary.power_losses += tally.images;
        Ok(())
    }

    fn is_over(&self) -> bool {
        let enough = |kills| self.tally.kills >= kills;
        let late = |minutes: f64| self.started.elapsed().as_secs_f64() >= 60.0 * minutes;
        self.options.kills.is_some_and(enough) || self.options.minutes.is_some_and(late)
    }

    /// Takes over into the summary what was tallied elsewhere.
    fn count(&mut self) {
        let (summary, tally) = (&mut self.summary, &self.tally);
        summary.kills = tally.kills;
        summary.kills_while_opening = tally.opening;
        summary.kills_while_closing = tally.closing;
        summary.acknowledged = tally.acknowledged;
        summary.opens = tally.opens;
        summary.slowest_open_ms = tally.slowest_open.as_secs_f64() * 1e3;
    }

    fn show(&mut self) {
        self.count();
        self.progress.show(&self.summary, self.started.elapsed());
    }
}

/// How far it is: a bar on a terminal, a line now and then elsewhere.
struct Progress {
    bar: ProgressBar,
    by_kills: bool,
    /// Whether there is a terminal; and how many kills were told of where there is none.
    terminal: bool,
    told: u64,
}

impl Progress {
    fn new(options: &Options, seed: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let by_kills = options.kills.is_some();
        let length = options.kills.or(options.minutes.map(|minutes| (minutes * 60.0) as u64)).unwrap_or(0);
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        let unit = if by_kills { "kills" } else { "s" };
        let template = format!("{{elapsed_precise}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        if terminal {
            bar.println(format!("soak of the store, seed {seed}"));
        } else {
            eprintln!("soak of the store, seed {seed}");
        }
        Self { bar, by_kills, terminal, told: 0 }
    }

    fn show(&mut self, summary: &Summary, elapsed: Duration) {
        let message = format!(
            "{} events acknowledged, {} faults, {} losses of power",
            summary.acknowledged, summary.faults, summary.power_losses
        );
        self.bar.set_position(if self.by_kills { summary.kills } else { elapsed.as_secs() });
        if !self.terminal && summary.kills >= self.told + 50 {
            self.told = summary.kills;
            eprintln!("{:>6.0} s: {} kills, {message}", elapsed.as_secs_f64(), summary.kills);
        }
        self.bar.set_message(message);
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn print(summary: &Summary, json: bool) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    if json {
        serde_json::to_writer_pretty(&mut stdout, summary)?;
        return writeln!(stdout);
    }
    let Summary { seed, kills, kills_while_opening, kills_while_closing, .. } = summary;
    let Summary { acknowledged, opens, slowest_open_ms, faults, power_losses, .. } = summary;
    let end = match (summary.ok, summary.interrupted) {
        (false, _) => "a promise was broken, see below",
        (true, true) => "interrupted; every promise kept so far",
        (true, false) => "ok, every promise kept",
    };
    writeln!(stdout, "soak of the store: {end}, in {:.1} s", summary.elapsed_ms as f64 / 1e3)?;
    writeln!(
        stdout,
        "  kill -9          {kills} kills ({kills_while_opening} while opening, {kills_while_closing} while closing)"
    )?;
    writeln!(stdout, "  acknowledged     {acknowledged} events")?;
    writeln!(
        stdout,
        "  opened           {opens} times, the slowest after a kill in {slowest_open_ms:.1} ms"
    )?;
    writeln!(stdout, "  failing files    {faults} rounds")?;
    writeln!(stdout, "  losses of power  {power_losses}")?;
    writeln!(stdout, "  seed             {seed}")
}
