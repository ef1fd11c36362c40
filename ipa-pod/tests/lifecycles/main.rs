//! Random lives of pods: the whole stack, driven by programs, compared step by step with a model.

mod compare;
mod generate;
mod model;
mod program;
mod puppet;
mod script;
mod stack;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use compare::Tally;
use program::Program;

/// How many programs are run unless `IPA_CASES` says otherwise.
const CASES: u32 = 4000;
/// The programs are run in so many rows, each from a seed of its own; so what is run does not depend on how many threads do.
const ROWS: u32 = 16;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: `{text}`")))
}

/// RI-04 RI-05 CR-02 CR-04 CR-07 PL-33 PL-34 random programs over three tasks: the stack does what the model says.
#[test]
fn pods_live_as_the_model_says() {
    let cases = number("IPA_CASES").map_or(CASES, |cases| cases as u32);
    let seed = number("IPA_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_nanos() as u64 % 1_000_000
    });
    let begun = Instant::now();
    let (next, tally, failure) = (AtomicUsize::new(0), Mutex::new(Tally::new()), Mutex::new(None));
    let work = || {
        loop {
            let row = next.fetch_add(1, Ordering::Relaxed) as u32;
            if row >= ROWS || failure.lock().unwrap().is_some() {
                return;
            }
            let share = cases / ROWS + u32::from(row < cases % ROWS);
            let mut of_row = Tally::new();
            let result = run_row(seed, row, share, &mut of_row);
            for (what, count) in of_row {
                *tally.lock().unwrap().entry(what).or_default() += count;
            }
            if let Err(error) = result {
                *failure.lock().unwrap() = Some(error);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let tally = tally.into_inner().unwrap();
    println!("lifecycles: seed {seed}, {} in {:.1} s", shown(&tally), begun.elapsed().as_secs_f64());
    if let Some(failure) = failure.into_inner().unwrap() {
        panic!("seed {seed}: {failure}");
    }
}

fn run_row(seed: u64, row: u32, cases: u32, tally: &mut Tally) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..12].copy_from_slice(&row.to_le_bytes());
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let tally = std::cell::RefCell::new(tally);
    let result = runner.run(&generate::program(), |program| {
        compare::run(&program, &mut tally.borrow_mut()).map_err(TestCaseError::fail)
    });
    match result {
        Ok(()) => Ok(()),
        Err(TestError::Fail(_, program)) => Err(explained(&program)),
        Err(TestError::Abort(reason)) => Err(reason.to_string()),
    }
}

fn explained(program: &Program) -> String {
    let error = compare::run(program, &mut Tally::new()).err().unwrap_or("(it passed when run again)".into());
    format!("{error}\n\n{program}")
}

fn shown(tally: &Tally) -> String {
    tally.iter().map(|(what, count)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}
