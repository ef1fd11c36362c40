//! The rounds of a run: each contender once, in turns, each time in a process of its own.
//!
//! A process of its own, because what one leaves behind (memory that the allocator keeps, threads of a runtime, a warm cache) would be
//! the next one's to bear, and because resident memory is a process's. In turns, because a machine drifts; from another beginning each
//! round, and every other round backwards, so that nobody always follows the same one.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::numbers::Measured;
use crate::report::{Absent, Result as RowResult};
use crate::row::{Numbers, Run};

/// What a process is told that is to measure: then the run's name and the contender's.
pub const MEASURE: &str = "--measure";

/// What it is told besides where it is to be quick.
pub const QUICK: &str = "--quick";

/// What such a process prints before the reason for which there is nothing to measure.
const ABSENT: &str = "absent:";

/// What a process prints where its contender cannot do it.
const CANNOT: &str = "-";

/// Runs all rows of a run; `done` is called after each measurement. Temporary files go to `scratch`. Who is `left_out` is told of as
/// absent, with the reason. The processes are told to be `quick`, or not.
///
/// # Errors
///
/// A measurement that failed, with its run, its contender, and what the process said.
pub fn run(
    run: &Run,
    rounds: usize,
    scratch: &Path,
    left_out: Option<(&str, &str)>,
    quick: bool,
    mut done: impl FnMut(),
) -> Result<Vec<RowResult>, String> {
    let contenders = run.contenders;
    let mut absent: Vec<Absent> = Vec::new();
    for contender in contenders {
        if let Some((name, why)) = left_out
            && contender.name == name
        {
            absent.push(Absent { name: contender.name, why: why.to_owned() });
        }
    }
    // By contender, then by round.
    let mut measured: Vec<Vec<Vec<f64>>> = vec![Vec::new(); contenders.len()];
    for round in 0..rounds {
        for at in turns(round, contenders.len()) {
            let name = contenders[at].name;
            if !absent.iter().any(|absent| absent.name == name) {
                match measure(run, name, scratch, quick)? {
                    Ok(numbers) => measured[at].push(numbers),
                    Err(why) => absent.push(Absent { name, why }),
                }
            }
            done();
        }
    }
    let row = |n: usize| {
        let of = |(contender, rounds): (&crate::row::Contender, &Vec<Vec<f64>>)| {
            let rounds: Vec<f64> = rounds.iter().map(|numbers| numbers[n]).collect();
            let can = rounds.iter().all(|number| number.is_finite());
            Measured {
                name: contender.name,
                peer: contender.peer,
                rounds: if can { rounds } else { Vec::new() },
            }
        };
        let measured: Vec<Measured> = contenders.iter().zip(&measured).map(of).collect();
        RowResult::new(run.group, &run.rows[n], &measured, &absent)
    };
    Ok((0..run.rows.len()).map(row).collect())
}

/// Whose turn it is in a round of so many, one after the other.
fn turns(round: usize, contenders: usize) -> impl Iterator<Item = usize> {
    (0..contenders).map(move |turn| match round % 2 {
        0 => (turn + round) % contenders,
        _ => (contenders - turn + round) % contenders,
    })
}

/// What a process prints that has measured.
pub fn printed(numbers: &Numbers) -> String {
    match numbers {
        Ok(numbers) => {
            let each = numbers.iter().map(|number| match number.is_finite() {
                true => number.to_string(),
                false => CANNOT.to_owned(),
            });
            each.collect::<Vec<_>>().join(" ")
        }
        Err(why) => format!("{ABSENT} {why}"),
    }
}

/// Reads what a process printed that was to measure so many rows; `None` if that is not what it should be.
pub fn parsed(text: &str, rows: usize) -> Option<Numbers> {
    let text = text.trim();
    if let Some(why) = text.strip_prefix(ABSENT) {
        return Some(Err(why.trim().to_owned()));
    }
    let numbers = text.split_whitespace().map(|word| match word {
        CANNOT => Some(f64::NAN),
        word => word.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0),
    });
    let numbers: Vec<f64> = numbers.collect::<Option<_>>()?;
    (numbers.len() == rows).then_some(Ok(numbers))
}

fn measure(run: &Run, contender: &str, scratch: &Path, quick: bool) -> Result<Numbers, String> {
    let failed = |why: String| format!("{} of {contender}: {why}", run.name);
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .args([MEASURE, run.name, contender])
        .args(quick.then_some(QUICK))
        .env("TMPDIR", scratch)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = output.status.success().then(|| parsed(&text, run.rows.len())).flatten();
    numbers.ok_or_else(|| {
        let said = String::from_utf8_lossy(&output.stderr);
        failed(format!("{}, printed {:?}\n{}", output.status, text.trim(), said.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_a_turn_and_follows_one_and_another() {
        let rounds: Vec<Vec<usize>> = (0..4).map(|round| turns(round, 3).collect()).collect();
        assert_eq!(rounds, [[0, 1, 2], [1, 0, 2], [2, 0, 1], [0, 2, 1]]);
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let text = printed(&Ok(vec![1.5, f64::NAN, 200.0]));
        assert_eq!(text, "1.5 - 200");
        let numbers = parsed(&text, 3).unwrap().unwrap();
        assert!(numbers[0] == 1.5 && numbers[1].is_nan() && numbers[2] == 200.0, "{numbers:?}");
        assert_eq!(parsed(&printed(&Err("not here".into())), 3), Some(Err("not here".into())));
    }

    #[test]
    fn too_few_numbers_and_numbers_that_cannot_be_are_refused() {
        assert_eq!(parsed("1 2", 3), None);
        assert_eq!(parsed("1 0 2", 3), None);
        assert_eq!(parsed("1 two 3", 3), None);
    }
}
