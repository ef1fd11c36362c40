//! How a child says that it is alive: the latest word, and at most one message on its way to the supervisor.
//!
//! A child may say so in a tight loop; what that costs the supervisor's queue is one place.
//!
//! The trick: the word, whether a message is on its way, and whether the run is over are bits of one atomic, so each step of either side
//! finds those of the other whole. Of several atomics the processor may show the loop the old word after the new one was said
//! without a message, and a word of another thread could slip in between a look at the end and the end.

use std::sync::atomic::Ordering;

use crate::sync::AtomicU8;

const WORKING: u8 = 1;
/// A message is on its way that the loop has not read.
const QUEUED: u8 = 2;
/// The run is over.
const OVER: u8 = 4;

/// Shared by an incarnation and its supervisor's loop.
#[derive(Debug, Default)]
pub(crate) struct Pulse(AtomicU8);

impl Pulse {
    /// Takes the child's word. Answers whether a message is to be sent.
    pub(crate) fn beat(&self, working: bool) -> bool {
        let word = if working { WORKING } else { 0 };
        let said = |before| (before & OVER == 0).then_some(word | QUEUED);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, said)
            .is_ok_and(|before| before & QUEUED == 0)
    }

    /// From here on the child waits, whatever it says. Answers whether a message is to be sent.
    pub(crate) fn end(&self) -> bool {
        self.0.swap(OVER | QUEUED, Ordering::AcqRel) & QUEUED == 0
    }

    /// The latest word, for the loop that has read the message. A word that comes after this sends a message of its own.
    pub(crate) fn read(&self) -> bool {
        self.0.fetch_and(!QUEUED, Ordering::AcqRel) & WORKING != 0
    }
}
