//! The rounds of a row: each contender once, in turns, each time in a process of its own.
//!
//! A process of its own, because what one leaves behind (memory that the allocator keeps, threads of a runtime, a warm cache) would be
//! the next one's to bear, and because resident memory is a process's. In turns, and from another beginning each round, because a
//! machine drifts.

use std::process::{Command, Stdio};

use crate::numbers::Measured;
use crate::row::Row;

/// What a process is told that is to measure: then the row's name and the contender's.
pub const MEASURE: &str = "--measure";

/// Runs a row; `done` is called after each measurement.
///
/// # Errors
///
/// A measurement that failed, with its row, its contender, and what the process said.
pub fn run(row: &Row, rounds: usize, mut done: impl FnMut()) -> Result<Vec<Measured>, String> {
    let contenders = row.contenders;
    let mut measured: Vec<Measured> = contenders
        .iter()
        .map(|contender| Measured { name: contender.name, peer: contender.peer, rounds: Vec::new() })
        .collect();
    for round in 0..rounds {
        for turn in 0..contenders.len() {
            let at = (turn + round) % contenders.len();
            let number = measure(row.name, contenders[at].name)?;
            measured[at].rounds.push(number);
            done();
        }
    }
    Ok(measured)
}

fn measure(row: &str, contender: &str) -> Result<f64, String> {
    let failed = |why: String| format!("{row} of {contender}: {why}");
    let program = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
    let output = Command::new(program)
        .args([MEASURE, row, contender])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.trim().parse::<f64>() {
        Ok(number) if output.status.success() && number.is_finite() && number > 0.0 => Ok(number),
        _ => Err(failed(format!(
            "{}, printed {:?}\n{}",
            output.status,
            text.trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        ))),
    }
}
