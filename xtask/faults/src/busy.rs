//! Another process that writes to a store's file, past the store: it holds SQLite's own lock for writing.

use std::{
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
};

use rusqlite::Connection;
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdin, Command},
};

use crate::trouble::{Trouble, broken, tool};

/// What the process is told.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The store's file
    #[arg(long)]
    store: PathBuf,
}

/// A lock for writing, held by a process of its own.
#[derive(Debug)]
pub struct Held {
    child: Child,
    stdin: ChildStdin,
}

impl Held {
    /// Starts the process; returns when it has the lock.
    ///
    /// # Errors
    ///
    /// When it does not get it.
    pub async fn take(program: &Path, store: &Path) -> Result<Self, Trouble> {
        let mut child = Command::new(program)
            .arg("hold")
            .args(["--store".as_ref(), store.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(tool("starting the process that holds the lock"))?;
        let (Some(stdin), Some(mut stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return broken("a process without the pipes that it was given");
        };
        stdout.read_u8().await.map_err(tool("waiting for the lock"))?;
        Ok(Self { child, stdin })
    }

    /// Gives the lock back; returns when the process has ended.
    ///
    /// # Errors
    ///
    /// When it cannot be waited for.
    pub async fn release(mut self) -> Result<(), Trouble> {
        drop(self.stdin);
        self.child.wait().await.map(drop).map_err(tool("waiting for a process"))
    }
}

/// The process: it says one byte when it has the lock, and holds it until its stdin ends.
///
/// # Errors
///
/// When it does not get the lock.
pub fn hold(options: Options) -> Result<(), Trouble> {
    let hold = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(&options.store)?;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        Ok(connection)
    };
    let connection = match hold() {
        Ok(connection) => connection,
        Err(error) => return broken(format!("taking the lock: {error}")),
    };
    let wait = || -> io::Result<()> {
        io::stdout().write_all(b"!")?;
        io::stdout().flush()?;
        io::stdin().read_to_end(&mut Vec::new()).map(drop)
    };
    wait().map_err(tool("holding the lock"))?;
    drop(connection);
    Ok(())
}
