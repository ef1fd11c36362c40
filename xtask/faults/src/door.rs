//! The door: how a process that runs with the shim steers it. Each call opens a path that the shim takes for a command.

use std::{fmt, fs, io};

/// What befalls an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails with an I/O error and has done nothing.
    Eio,
    /// It fails for want of room and has done nothing.
    Enospc,
    /// A write does half of its work, up to the end of a sector, and then fails with an I/O error.
    Torn,
    /// A write does half of its work and says so; who called has to write the rest.
    Short,
    /// It waits for [`release`], then is done.
    Hold,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Often {
    /// The n-th operation alone.
    Once,
    /// The n-th and all that follow.
    Ever,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Torn => "TORN",
            Self::Short => "SHORT",
            Self::Hold => "HOLD",
        })
    }
}

impl fmt::Display for Often {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Once => "once",
            Self::Ever => "ever",
        })
    }
}

/// What was done since the shim was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Files opened.
    pub opens: u64,
    /// Writes to files.
    pub writes: u64,
    /// Syncs of files and of the directory.
    pub syncs: u64,
    /// Truncates.
    pub truncates: u64,
    /// Operations that a fault befell.
    pub hits: u64,
}

/// Counts from here on, and lets the n-th (from 1) of these operations fail: `open`, `write`, `sync`, `truncate`, `rename`,
/// `unlink`, several joined by `+`, or `any`.
///
/// # Errors
///
/// When the process runs without the shim, or the operations are unknown.
pub fn arm(operations: &str, nth: u64, often: Often, fault: Fault) -> io::Result<()> {
    command(&format!("arm/{operations}/{nth}/{often}/{fault}")).map(drop)
}

/// Counts from here on, and lets nothing fail.
///
/// # Errors
///
/// When the process runs without the shim.
pub fn count_from_here() -> io::Result<()> {
    // Nobody gets as far as that.
    arm("any", u64::MAX, Often::Once, Fault::Eio)
}

/// Lets nothing fail any more.
///
/// # Errors
///
/// When the process runs without the shim.
pub fn disarm() -> io::Result<()> {
    command("disarm").map(drop)
}

/// What was done since the shim was armed.
///
/// # Errors
///
/// When the process runs without the shim.
pub fn counts() -> io::Result<Counts> {
    let text = command("counts")?;
    let mut counts = Counts::default();
    for (name, count) in text.lines().filter_map(|line| line.split_once(' ')) {
        let count = count.parse().unwrap_or(0);
        match name {
            "open" => counts.opens = count,
            "write" => counts.writes = count,
            "sync" => counts.syncs = count,
            "truncate" => counts.truncates = count,
            "hits" => counts.hits = count,
            _ => {}
        }
    }
    Ok(counts)
}

/// Waits (blocking) until an operation is held.
///
/// # Errors
///
/// When none is within 10 s, or the process runs without the shim.
pub fn held() -> io::Result<()> {
    command("held").map(drop)
}

/// Lets the operation that is held go on, and holds none any more.
///
/// # Errors
///
/// When the process runs without the shim.
pub fn release() -> io::Result<()> {
    command("release").map(drop)
}

/// Puts a text into the trace. It has to fit into a path: some 4,000 bytes.
///
/// # Errors
///
/// When the process runs without the shim, or the text is too long.
pub fn mark(text: &str) -> io::Result<()> {
    command(&format!("mark/{text}")).map(drop)
}

fn command(command: &str) -> io::Result<String> {
    fs::read_to_string(format!("/ipa-faults/{command}")).map_err(|error| {
        let hint = if error.kind() == io::ErrorKind::NotFound { " (no shim is preloaded)" } else { "" };
        io::Error::new(error.kind(), format!("the shim refuses {command:?}: {error}{hint}"))
    })
}
