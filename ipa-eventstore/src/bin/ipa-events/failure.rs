//! How the tool ends when it does not get to its end: an exit code and one sentence.
//!
//! Apart, because the library's errors name functions to call, and here they must name what to type.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use ipa_eventstore::StoreError;
use ipa_eventstore::transfer::{ExportError, ImportError};

use crate::input::BrokenOff;
use crate::text::plain;

pub const DAMAGE: u8 = 1;
pub const USAGE: u8 = 2;
pub const STORE: u8 = 3;
pub const NOT_FOUND: u8 = 4;
pub const FILE: u8 = 5;
pub const INTERRUPTED: u8 = 130;

/// An end before the end.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    /// `None` if there is nothing to say.
    message: Option<String>,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// Says what went wrong, and gives the exit code.
    pub fn report(self) -> ExitCode {
        if let Some(message) = self.message {
            // It may quote what is in a file. On one line as it is.
            let message = plain(&message);
            // Nobody is left to be told if this cannot be written.
            let _ = io::Write::write_fmt(&mut io::stderr(), format_args!("error: {message}\n"));
        }
        ExitCode::from(self.code)
    }

    /// An error of the store in this file, in terms of this tool.
    pub fn of_store(store: &Path, error: &StoreError) -> Self {
        let path = store.display();
        match error {
            StoreError::StreamNotFound { stream } => {
                let message =
                    format!("{path} has no stream {stream}: `ipa-events ls {path}` lists those it has");
                Self::new(NOT_FOUND, message)
            }
            StoreError::LockedByAnother { holder, .. } => Self::new(
                STORE,
                format!(
                    "{path} is being written to by another program ({holder}): stop it and try again, \
                     or import into another store"
                ),
            ),
            StoreError::CannotOpen { path: at, doing: "read", source, .. } => Self::new(
                STORE,
                format!(
                    "there is no event store at {}: check the path; `ipa-events import` makes one: {}",
                    at.display(),
                    chain(&**source)
                ),
            ),
            StoreError::CannotOpen { path: at, doing: "lock", source, .. } => Self::new(
                STORE,
                format!(
                    "cannot lock {}: check that its directory exists and may be written: {}",
                    at.display(),
                    chain(&**source)
                ),
            ),
            StoreError::Damaged { .. } => {
                let message = format!("{}; `ipa-events check {path}` lists what is damaged", chain(error));
                Self::new(DAMAGE, message)
            }
            StoreError::Invalid { .. } => Self::new(USAGE, chain(error)),
            error => Self::new(STORE, chain(error)),
        }
    }

    /// An error of an export from this store to this file.
    pub fn of_export(store: &Path, file: &Path, error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => Self::of_store(store, &error),
            ExportError::Write(error) if is_stdio(file) => Self::from(error),
            error => Self::new(FILE, format!("{}: {}", file.display(), chain(&error))),
        }
    }

    /// An error of an import from this file into this store.
    pub fn of_import(store: &Path, file: &Path, error: &ImportError) -> Self {
        let file = if is_stdio(file) { "standard input".to_owned() } else { file.display().to_string() };
        match error {
            ImportError::Store { line, source } => {
                let inner = Self::of_store(store, source);
                let message = inner.message.unwrap_or_default();
                Self::new(inner.code, format!("{file}: line {line}: the store cannot take it: {message}"))
            }
            ImportError::Read { source, .. } if BrokenOff::is(source) => Self::interrupted_import(),
            error => Self::new(FILE, format!("{file}: {}", chain(error))),
        }
    }

    pub fn interrupted_import() -> Self {
        Self::new(INTERRUPTED, "interrupted: run the import again to go on")
    }
}

/// Of writing to standard output: whoever read it may have seen enough.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { code: 0, message: None };
        }
        Self::new(FILE, format!("cannot write to standard output: {error}"))
    }
}

/// Whether a file's name stands for standard input or output.
pub fn is_stdio(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// An error with all that is behind it, on one line.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        // Some errors say in their own text what is behind them.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
