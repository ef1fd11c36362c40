//! What the worker tells its parent: one line each, on the worker's standard output.
//!
//! The trick is that a line which is written is in the pipe, and the parent reads it whatever becomes of the worker: what the worker
//! said before it was killed is known. So an acknowledgement that was said can be asked for in the next life.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

/// How much of something there was, by its name.
pub type Counts = BTreeMap<String, u64>;

/// A line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Line {
    /// In the store there is this stream: its last version, and the last command in it. Said of each, at the start of a life and at
    /// its end.
    #[serde(rename = "s")]
    Stream { task: usize, generation: u64, version: u64, seq: u64 },
    /// All streams were said.
    #[serde(rename = "r")]
    Read,
    /// A stream was created, and that was acknowledged.
    #[serde(rename = "c")]
    Created { task: usize, generation: u64 },
    /// A stream is about to be deleted.
    #[serde(rename = "d")]
    Deleting { task: usize, generation: u64 },
    /// A command was acknowledged.
    #[serde(rename = "a")]
    Acked { task: usize, generation: u64, seq: u64 },
    /// How things stand.
    #[serde(rename = "t")]
    Sample(Sample),
    /// A check did not hold.
    #[serde(rename = "w")]
    Wrong { check: String, what: String },
    /// The worker has ended in good order.
    #[serde(rename = "e")]
    Ended,
}

/// How things stand at a moment of a life. Counts are of the life so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Since the life began.
    pub ms: u64,
    /// Resident memory in bytes.
    pub resident: u64,
    /// Tasks of the runtime that are alive.
    pub tasks: u64,
    /// Pods, whatever their status.
    pub pods: u64,
    /// Children restarted by their supervisors, and pods by us.
    pub restarts: u64,
    /// What happened.
    pub counts: Counts,
    /// How often each check was made.
    pub checks: Counts,
    /// The slowest of each kind of call, in microseconds.
    pub slowest: Counts,
}

impl Line {
    /// Writes the line, in one call.
    ///
    /// # Errors
    ///
    /// When the parent is gone.
    pub fn write(&self, mut to: impl Write) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        to.write_all(&text)?;
        to.flush()
    }

    /// The line that a text is; `None` for a text that is none (the last of a worker that was killed may be cut off).
    pub fn read(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Adds up, name by name.
pub fn add(sum: &mut Counts, counts: &Counts) {
    for (name, count) in counts {
        *sum.entry(name.clone()).or_default() += count;
    }
}

/// Keeps the greatest, name by name.
pub fn keep_greatest(greatest: &mut Counts, counts: &Counts) {
    for (name, count) in counts {
        let kept = greatest.entry(name.clone()).or_default();
        *kept = (*kept).max(*count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_comes_back_and_half_a_line_does_not() {
        let line = Line::Acked { task: 7, generation: 3, seq: 9 };
        let mut text = Vec::new();
        line.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text, "{\"a\":{\"task\":7,\"generation\":3,\"seq\":9}}\n");
        assert_eq!(Line::read(&text), Some(line));
        assert_eq!(Line::read(&text[..text.len() - 3]), None);
    }
}
