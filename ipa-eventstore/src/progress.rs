//! How far a piece of work has come that takes as long as a store is large.

/// How far a long piece of work has come, for a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being counted now, such as "pages" or "events".
    pub step: &'static str,
    /// How many of them are done.
    pub done: u64,
    /// How many there are; 0 if that is not known.
    pub total: u64,
}

impl Progress {
    pub(crate) fn new(step: &'static str, done: u64, total: u64) -> Self {
        Self { step, done, total }
    }
}
