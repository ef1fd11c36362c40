//! Ending long work on the blocking pool when nobody waits for it any more.

use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, InterruptHandle};

/// The worker's side.
#[derive(Clone, Default)]
pub(super) struct Stop(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stopped: bool,
    running: Option<InterruptHandle>,
}

impl Stop {
    /// A guard: when it is dropped, the work is to stop.
    pub(super) fn guard(&self) -> StopGuard {
        StopGuard(self.clone())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }

    /// Interrupts this connection's statement, too, and no longer any other's. Whoever runs a
    /// statement asks [`is_stopped`](Self::is_stopped) first: an interrupt ends what runs, not what comes.
    pub(super) fn interrupts(&self, connection: &Connection) {
        self.0.lock().running = Some(connection.get_interrupt_handle());
    }
}

#[must_use = "the work stops when this is dropped"]
pub(super) struct StopGuard(Stop);

impl Drop for StopGuard {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.stopped = true;
        if let Some(running) = &state.running {
            running.interrupt();
        }
    }
}
