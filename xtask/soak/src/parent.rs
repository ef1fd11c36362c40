//! The parent: it starts a worker, kills it, starts the next, and keeps what they say.
//!
//! Two parts of the time: in the first, workers are killed with SIGKILL at moments that follow from the seed, most of them while they
//! work, some while they are still reading the store. Then one is left alone to the end, and told to end by closing its standard input.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use crate::acks::Acks;
use crate::plot;
use crate::random::Random;
use crate::show::Show;
use crate::summary::{Point, Summary};
use crate::wire::{self, Line, Sample};

/// The variable by which a soak's processes are known; what they start inherits it.
const MARK: &str = "IPA_SOAK";

/// The part of the time in which workers are killed.
const KILLING: f64 = 0.4;

/// How long a worker lives until it is killed, on average: a part of the whole, within bounds.
const LIFE: f64 = 0.04;
const SHORTEST_LIFE: Duration = Duration::from_millis(1500);
const LONGEST_LIFE: Duration = Duration::from_secs(45);

/// How long a worker may take to end in good order.
const PATIENCE: Duration = Duration::from_secs(240);

/// Samples that there are in a soak, about.
const SAMPLES: u32 = 600;

/// Quiet moments that there are in a soak, about: each costs a few seconds, until everybody stands still.
const QUIETS: u32 = 60;

/// What a soak is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Options {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = minutes)]
    pub minutes: f64,
    /// How many tasks, and so pods at once, at most
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    pub pods: u32,
    /// What happens follows from it, as far as the scheduler lets it [default: another one each time, printed]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Print the summary as one JSON object on stdout
    #[arg(long)]
    pub json: bool,
    /// Where the plot and the summary go, and the store while the soak runs
    #[arg(long, value_name = "DIR", default_value = "target/soak")]
    pub out: PathBuf,
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if (0.1..=100_000.0).contains(&minutes) { Ok(minutes) } else { Err("0.1 minutes at least".into()) }
}

/// Runs a soak; answers whether every check held.
///
/// # Errors
///
/// When it could not be run at all.
pub fn run(options: &Options) -> Result<bool, Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let summary = runtime.block_on(soak(options))?;
    let plot = options.out.join("soak.svg");
    fs::write(&plot, plot::draw(&summary))?;
    let json = serde_json::to_string_pretty(&summary)?;
    fs::write(options.out.join("soak.json"), &json)?;
    if options.json {
        println!("{json}");
    } else {
        println!("{}", summary.text(&plot));
    }
    Ok(summary.held())
}

async fn soak(options: &Options) -> Result<Summary, Box<dyn Error>> {
    fs::create_dir_all(&options.out)?;
    let scratch = tempfile::Builder::new().prefix("store-").tempdir_in(&options.out)?;
    let seed = options.seed.unwrap_or_else(Random::seed);
    let whole = Duration::from_secs_f64(options.minutes * 60.0);
    let mut soak = Soak {
        options,
        whole,
        begun: Instant::now(),
        random: Random::of(seed, u64::MAX),
        interrupts: signal(SignalKind::interrupt())?,
        terminates: signal(SignalKind::terminate())?,
        interrupted: false,
        mark: format!("{}-{}", std::process::id(), scratch.path().display()),
        summary: Summary::new(options.minutes, options.pods, seed),
        acks: Acks::default(),
        show: Show::new(whole, options.json),
        scratch,
    };
    soak.show.note(&format!("soak: {} pods for {} minutes, seed {seed}", options.pods, options.minutes));
    let mut life = 0;
    loop {
        life += 1;
        if soak.life(life).await? == Over::ForGood {
            break;
        }
    }
    Ok(soak.finish())
}

struct Soak<'a> {
    options: &'a Options,
    whole: Duration,
    begun: Instant,
    random: Random,
    interrupts: Signal,
    terminates: Signal,
    interrupted: bool,
    mark: String,
    summary: Summary,
    acks: Acks,
    show: Show,
    scratch: TempDir,
}

/// How a life is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    /// There is another.
    Killed,
    ForGood,
}

/// What is to be done to a worker at a moment.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// So long after it has read the store, or after its start if it takes longer than that to read it.
    Kill,
    TellToEnd,
    /// It was told to end, and does not.
    GiveUp,
}

impl Soak<'_> {
    /// One worker, from its start to its end.
    async fn life(&mut self, life: u64) -> Result<Over, Box<dyn Error>> {
        let mut worker = self.start(life)?;
        let mut input = worker.stdin.take();
        let stdout = worker.stdout.take().ok_or("the worker has no output")?;
        let mut lines: Lines<BufReader<ChildStdout>> = BufReader::new(stdout).lines();
        let begun = self.begun.elapsed();
        let end = self.begun + self.whole;
        let (mut next, mut when) = match self.lifetime() {
            Some(lifetime) => (Next::Kill, Instant::now() + lifetime),
            None => (Next::TellToEnd, end),
        };
        // Most are killed while they work: their time begins when they have read the store.
        let while_reading = self.random.once_in(4);
        let (mut last, mut ended, mut killed) = (Sample::default(), false, false);
        loop {
            tokio::select! {
                biased;
                _ = self.interrupts.recv() => (next, when) = self.interrupted(next),
                _ = self.terminates.recv() => (next, when) = self.interrupted(next),
                () = sleep_until(when), if !killed => match next {
                    Next::Kill => {
                        worker.start_kill()?;
                        killed = true;
                    }
                    Next::TellToEnd => {
                        input = None;
                        (next, when) = (Next::GiveUp, Instant::now() + PATIENCE);
                    }
                    Next::GiveUp => {
                        self.wrong("the worker ends when it is told to", &format!("it did not within {PATIENCE:?}"));
                        worker.start_kill()?;
                        killed = true;
                    }
                },
                line = lines.next_line() => {
                    // The pipe's end: the worker has ended, and all that it said was read.
                    let Some(line) = line? else { break };
                    match Line::read(&line) {
                        Some(Line::Sample(sample)) => {
                            self.summary.points.push(Point::of(life, begun, &sample));
                            self.show.sample(self.begun.elapsed(), life, &sample, &self.summary);
                            last = sample;
                        }
                        Some(Line::Wrong { check, what }) => self.wrong(&check, &what),
                        Some(line) => {
                            if line == Line::Read && next == Next::Kill && !while_reading {
                                when = when.max(Instant::now() + (when - (self.begun + begun)));
                            }
                            ended |= line == Line::Ended;
                            for lost in self.acks.take_in(&line) {
                                self.wrong("no acknowledged event is lost", &lost);
                            }
                        }
                        None => {}
                    }
                }
            }
        }
        drop(input);
        let status = worker.wait().await?;
        self.summary.add(&last);
        self.summary.lives = life;
        if killed && next == Next::Kill {
            self.summary.kill(self.begun.elapsed());
        } else if !(ended || killed) {
            self.wrong(
                "the worker ends in good order",
                &format!("life {life} ended by itself ({status}): {}", self.last_words(life)),
            );
        }
        let orphans = end_marked(&self.mark);
        if ended {
            let what = format!("{orphans} live on after an end in good order");
            self.check("no process is left", orphans == 0, &what);
        } else {
            *self
                .summary
                .counts
                .entry("processes that outlived a killed worker, ended".into())
                .or_default() += orphans;
        }
        Ok(if killed && next == Next::Kill && !self.interrupted { Over::Killed } else { Over::ForGood })
    }

    /// How long the next worker lives; `None` if it is left alone to the end.
    fn lifetime(&mut self) -> Option<Duration> {
        let passed = self.begun.elapsed().as_secs_f64() / self.whole.as_secs_f64();
        let mean = self.whole.mul_f64(LIFE).clamp(SHORTEST_LIFE, LONGEST_LIFE);
        (passed < KILLING).then(|| self.random.between(mean / 4, mean * 7 / 4))
    }

    /// The first time, the worker ends in good order; the second, at once.
    fn interrupted(&mut self, next: Next) -> (Next, Instant) {
        self.show.note(if self.interrupted {
            "interrupted again: ended at once"
        } else {
            "interrupted: ends now"
        });
        let again = std::mem::replace(&mut self.interrupted, true);
        self.summary.interrupted = true;
        if again || next == Next::GiveUp {
            (Next::Kill, Instant::now())
        } else {
            (Next::TellToEnd, Instant::now())
        }
    }

    fn start(&self, life: u64) -> Result<Child, Box<dyn Error>> {
        let every = |part: u32, least: u128| (self.whole / part).as_millis().clamp(least, 10_000).to_string();
        Ok(Command::new(std::env::current_exe()?)
            .arg("worker")
            .arg("--store")
            .arg(self.scratch.path().join("store.db"))
            .args(["--life", &life.to_string()])
            .args(["--seed", &self.random.clone().below(u64::MAX).to_string()])
            .args(["--pods", &self.options.pods.to_string()])
            .args(["--sample-ms", &every(SAMPLES, 100)])
            .args(["--quiet-ms", &every(QUIETS, 1000)])
            .env(MARK, &self.mark)
            // With an arena for each of its many threads, glibc's allocator spreads out for minutes before it is even, which would hide
            // a leak as it would look like one. Others do not know the variable.
            .env("MALLOC_ARENA_MAX", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(self.log(life))?)
            // Of its own, so that Ctrl-C reaches the parent alone.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?)
    }

    fn log(&self, life: u64) -> PathBuf {
        self.scratch.path().join(format!("life-{life}.log"))
    }

    /// The end of what a worker wrote to its standard error.
    fn last_words(&self, life: u64) -> String {
        let text = fs::read_to_string(self.log(life)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    fn check(&mut self, check: &str, holds: bool, what: &str) {
        *self.summary.checks.entry(check.into()).or_default() += 1;
        if !holds {
            self.wrong(check, what);
        }
    }

    fn wrong(&mut self, check: &str, what: &str) {
        self.show.note(&format!("WRONG: {check}: {what}"));
        self.summary.wrong(check, what);
    }

    fn finish(mut self) -> Summary {
        let Soak { ref acks, ref mut summary, .. } = self;
        wire::add(&mut summary.checks, &[("no acknowledged event is lost".to_owned(), acks.compared)].into());
        summary.acknowledged = acks.acknowledged;
        summary.seconds = self.begun.elapsed().as_secs_f64();
        summary.judge();
        self.show.finish();
        if !self.summary.held() {
            self.summary.kept = Some(self.scratch.keep());
        }
        self.summary
    }
}

/// Ends the processes that carry a mark (not this one, which does not); answers how many there were. What a killed worker had started lives
/// on, as every process does whose parent is killed.
fn end_marked(mark: &str) -> u64 {
    let entry = format!("{MARK}={mark}");
    let mut ended = 0;
    for process in fs::read_dir(Path::new("/proc")).into_iter().flatten().flatten() {
        let pid = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        let variables = fs::read(process.path().join("environ")).unwrap_or_default();
        if let Some(pid) = pid
            && variables.split(|byte| *byte == 0).any(|variable| variable == entry.as_bytes())
        {
            // One that has ended meanwhile cannot be another process of the mark by now: nobody is left to start one.
            let killed: io::Result<()> =
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).map_err(io::Error::from);
            ended += u64::from(killed.is_ok());
        }
    }
    ended
}
