//! How a round ends that does not end well: the store broke a promise, or the tool could not do its work.

use std::{fmt, io};

use ipa_eventstore::StoreError;

/// Why a round did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The store broke a promise: exit code 1.
    #[error("{0}")]
    Broken(String),
    /// The round could not be run: exit code 2.
    #[error("{doing}: {source}")]
    Tool {
        /// What was tried.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Trouble {
    /// The exit code that this stands for.
    pub fn code(&self) -> u8 {
        match self {
            Self::Broken(_) => 1,
            Self::Tool { .. } => 2,
        }
    }

    /// The same, with a word about where it happened in front.
    pub fn at(self, place: impl fmt::Display) -> Self {
        match self {
            Self::Broken(what) => Self::Broken(format!("{place}: {what}")),
            Self::Tool { doing, source } => Self::Tool { doing: format!("{place}: {doing}"), source },
        }
    }
}

/// A broken promise.
pub fn broken<T>(what: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Broken(what.into()))
}

/// For `map_err`: the tool's own trouble, with what it was doing.
pub fn tool(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Trouble {
    move |source| Trouble::Tool { doing: doing.into(), source }
}

/// For `map_err`: an error of the store where there must be none, with its causes.
pub fn unexpected(doing: impl fmt::Display) -> impl FnOnce(StoreError) -> Trouble {
    move |error| Trouble::Broken(format!("{doing}: {}", whole(&error)))
}

/// An error with its causes, in one line.
pub fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" <- {error}");
        cause = error.source();
    }
    text
}
