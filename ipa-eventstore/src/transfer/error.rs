//! What can go wrong between a store and its lines.

use std::io;

use crate::StoreError;

/// An export that did not get to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),

    /// What was read cannot be written.
    #[error("cannot write the export")]
    Write(#[from] io::Error),
}

/// An import that did not get to its end. Lines are counted from 1.
///
/// What was imported before stays: the same import, run again, skips it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The line is not of the format.
    #[error("line {line}, column {column}: {problem}: {remedy}")]
    Malformed {
        /// The line.
        line: u64,
        /// The byte in it, from 1.
        column: u64,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },

    /// The line does not go with what the store holds or with the lines before it.
    #[error("line {line}: {problem}: {remedy}")]
    Conflict {
        /// The line.
        line: u64,
        /// What does not go together.
        problem: String,
        /// What to do.
        remedy: &'static str,
    },

    /// The store cannot be read or written.
    #[error("line {line}: the store cannot take it")]
    Store {
        /// The first of the lines that were being imported.
        line: u64,
        /// What the store said.
        #[source]
        source: StoreError,
    },

    /// The input cannot be read.
    #[error("line {line}: cannot read on")]
    Read {
        /// The line that was being read.
        line: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ImportError {
    /// The line it is about.
    pub fn line(&self) -> u64 {
        match self {
            Self::Malformed { line, .. }
            | Self::Conflict { line, .. }
            | Self::Store { line, .. }
            | Self::Read { line, .. } => *line,
        }
    }
}
