//! Random lives of pods: the whole stack, driven by programs, compared step by step with a model.
//!
//! `cargo xtask test --cases N --seed S` runs so many programs from that seed, alone; `IPA_CASES` and `IPA_SEED` do the same to this
//! target. A program that fails is shrunk and printed as a script (`script.rs`). Put into a file in `regressions/`, it is run again
//! with every test from then on.
//!
//! `program` is what a program consists of, `generate` makes them up, `model` says what has to become of them, `puppet` and
//! `stack` do it to the real thing, `compare` looks at both.

mod compare;
mod generate;
mod model;
mod program;
mod puppet;
mod script;
mod stack;

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use compare::Tally;
use program::Program;

/// How many programs are run unless somebody says otherwise.
const CASES: u32 = 8000;
/// The programs are run in so many rows, each from a seed of its own, so that what is run does not depend on how many threads do.
const ROWS: u32 = 16;
/// What a run of some length must not be without.
const MUST_HAPPEN: [&str; 35] = [
    "advance",
    "calls dropped",
    "calls together",
    "crashes by error",
    "crashes by panic",
    "crashes by silence",
    "delete_child",
    "edge",
    "ends by a crash in drop or terminate",
    "ends by drain",
    "ends by drop",
    "ends by shutdown",
    "group restarts",
    "next",
    "next_pod",
    "orders left open",
    "pods",
    "pods ended by significant children",
    "pods given up",
    "pods stuck",
    "restart",
    "restart_child",
    "restarts",
    "revoke",
    "start",
    "start_child",
    "starts cancelled",
    "starts failed",
    "starts timed out",
    "stop",
    "store",
    "stream",
    "stuck children",
    "terminate_child",
    "programs",
];

/// RI-04 RI-05 CR-02 CR-04 CR-07 PL-33 PL-34 random programs over three tasks: the stack does what the model says.
#[test]
fn pods_live_as_the_model_says() {
    let cases = number("IPA_CASES").map_or(CASES, |cases| u32::try_from(cases).unwrap());
    let seed = number("IPA_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        u64::from(now.subsec_micros())
    });
    let begun = Instant::now();
    let (next, tally, failure) = (AtomicUsize::new(0), Mutex::new(Tally::new()), Mutex::new(None));
    let work = |running: &Running| {
        loop {
            let row = next.fetch_add(1, Ordering::Relaxed) as u32;
            if row >= ROWS || failure.lock().unwrap().is_some() {
                return;
            }
            let share = cases / ROWS + u32::from(row < cases % ROWS);
            let (of_row, result) = run_row(seed, row, share, running);
            for (what, count) in of_row {
                *tally.lock().unwrap().entry(what).or_default() += count;
            }
            if let Err(error) = result {
                failure.lock().unwrap().get_or_insert(error);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let running: Vec<Running> = (0..threads).map(|_| Running::default()).collect();
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let running = &running;
        scope.spawn(move || watch(running, is_done));
        for running in running {
            let done = done.clone();
            let work = &work;
            scope.spawn(move || {
                work(running);
                drop(done);
            });
        }
        drop(done);
    });
    let (tally, failure) = (tally.into_inner().unwrap(), failure.into_inner().unwrap());
    report(&summary(seed, &tally, begun.elapsed()));
    if let Some(failure) = failure {
        panic!("seed {seed}: {failure}");
    }
    // An empty run proves nothing.
    for what in MUST_HAPPEN.into_iter().filter(|_| cases >= 2000) {
        let count = tally.get(what).copied().unwrap_or_default();
        assert!(count >= u64::from(cases / 400), "of {cases} programs, {count} {what}: that is too few");
    }
}

/// The program that a thread runs, and since when.
type Running = Mutex<Option<(Instant, Program)>>;

/// Ends it all, loudly, if a program does not come to an end: a stack that turns in circles at one moment can be stopped by
/// nobody else.
fn watch(running: &[Running], is_done: mpsc::Receiver<()>) {
    while is_done.recv_timeout(Duration::from_secs(5)) == Err(mpsc::RecvTimeoutError::Timeout) {
        for running in running {
            if let Some((since, program)) = &*running.lock().unwrap()
                && since.elapsed() > Duration::from_secs(60)
            {
                eprintln!("This program has not come to an end within a minute:\n\n{program}");
                std::process::abort();
            }
        }
    }
}

/// Programs that once failed.
#[test]
fn regressions_stay_away() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lifecycles/regressions");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "no regressions in {folder}");
    let mut failed = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let result = text.parse().and_then(|program| compare::run(&program, &mut Tally::new()));
        failed.extend(result.err().map(|error| format!("{}: {error}", file.display())));
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

/// Runs a row's share of the programs; says what it ran, and how the first that failed did.
fn run_row(seed: u64, row: u32, cases: u32, running: &Running) -> (Tally, Result<(), String>) {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..12].copy_from_slice(&row.to_le_bytes());
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 20_000,
        max_shrink_time: 20_000,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let (tally, failed) = (RefCell::new(Tally::new()), RefCell::new(false));
    let result = runner.run(&generate::program(), |program| {
        let mut of_program = Tally::new();
        *running.lock().unwrap() = Some((Instant::now(), program.clone()));
        let result = compare::run(&program, &mut of_program);
        *running.lock().unwrap() = None;
        // What is run to shrink one that failed does not count.
        if !failed.replace(*failed.borrow() || result.is_err()) {
            for (what, count) in of_program {
                *tally.borrow_mut().entry(what).or_default() += count;
            }
        }
        result.map_err(TestCaseError::fail)
    });
    let result = match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(reason, program)) => Err(explained(&program, reason.message())),
        Err(TestError::Abort(reason)) => Err(reason.to_string()),
    };
    (tally.into_inner(), result)
}

/// What differed, and the program as a script that really is that program.
fn explained(program: &Program, error: &str) -> String {
    let script = program.to_string();
    let read = script.parse::<Program>();
    let faithful = read.as_ref() == Ok(program);
    let note = if faithful { "" } else { "\n(the script does not read as the program that failed)" };
    format!("{error}\nThe program, to be kept in ipa-pod/tests/lifecycles/regressions/:{note}\n\n{script}")
}

/// Scripts are programs as they are written.
#[test]
fn scripts_read_as_they_are_written() {
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&generate::program(), |program| {
        let script = program.to_string();
        match script.parse::<Program>() {
            Ok(read) if read == program => Ok(()),
            read => Err(TestCaseError::fail(format!("{script}\nreads as {read:?}"))),
        }
    });
    result.unwrap();
    let error = "pod ada\n\nstop ada now".parse::<Program>().unwrap_err();
    assert_eq!(error, "line 3: what is `now`?");
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: `{text}`")))
}

fn summary(seed: u64, tally: &Tally, time: Duration) -> String {
    let count = |what: &str| tally.get(what).copied().unwrap_or_default();
    let crashes: u64 = tally.iter().filter(|(what, _)| what.starts_with("crashes")).map(|(_, n)| n).sum();
    let first = format!(
        "lifecycles: {} programs, {} steps, {crashes} crashes, {} restarts from seed {seed} in {:.1} s",
        count("programs"),
        count("steps"),
        count("restarts"),
        time.as_secs_f64()
    );
    let rest = tally.iter().filter(|(what, _)| !["programs", "steps", "restarts"].contains(what));
    let rest: Vec<String> = rest.map(|(what, count)| format!("{count} {what}")).collect();
    format!("{first}\n  {}", rest.join(", "))
}

/// To whoever asked for it in `IPA_SUMMARY`, or to the test's own output.
fn report(summary: &str) {
    match std::env::var_os("IPA_SUMMARY") {
        Some(file) => std::fs::write(&file, summary).unwrap(),
        None => println!("{summary}"),
    }
}
