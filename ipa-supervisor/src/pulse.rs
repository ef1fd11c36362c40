//! How a child says that it is alive: the latest word, and at most one message on its way to the supervisor.
//!
//! A child may say so in a tight loop; what that costs the supervisor's queue is one place.

use std::sync::atomic::Ordering;

use crate::sync::AtomicBool;

/// Shared by an incarnation and its supervisor's loop.
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    working: AtomicBool,
    /// Whether a message is on its way that the loop has not read.
    queued: AtomicBool,
    over: AtomicBool,
}

impl Pulse {
    /// Takes the child's word. Answers whether a message is to be sent.
    pub(crate) fn beat(&self, working: bool) -> bool {
        if self.over.load(Ordering::Acquire) {
            return false;
        }
        self.working.store(working, Ordering::Release);
        // After the word: whoever reads the message finds this word or a later one.
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// From here on the child waits, whatever it says. Answers whether a message is to be sent.
    pub(crate) fn end(&self) -> bool {
        self.over.store(true, Ordering::Release);
        self.working.store(false, Ordering::Release);
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// The latest word, for the loop that has read the message.
    pub(crate) fn read(&self) -> bool {
        // Before the word is read: a word that comes after this sends a message of its own.
        self.queued.store(false, Ordering::Release);
        self.working.load(Ordering::Acquire)
    }
}
