//! Whether a pod has anything to do, as its children declare it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What a pod's children have declared.
pub(crate) struct Activity {
    state: Mutex<State>,
    /// Told when the last that was busy is done.
    done: Notify,
}

struct State {
    last: Instant,
    busy: usize,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { last: Instant::now(), busy: 0 }), done: Notify::new() })
    }

    pub(crate) fn touch(&self) {
        self.state.lock().last = Instant::now();
    }

    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.state.lock().busy += 1;
        Busy(self.clone())
    }

    /// Waits until there has been no activity for this long. Cancel safe.
    pub(crate) async fn idle_for(&self, time: Duration) {
        loop {
            let since = {
                let state = self.state.lock();
                (state.busy == 0).then_some(state.last)
            };
            match since {
                // The permit that is left when the last is done before this waits is seen by the wait.
                None => self.done.notified().await,
                Some(since) => match since.checked_add(time) {
                    Some(due) if due > Instant::now() => sleep_until(due).await,
                    Some(_) => return,
                    // Longer than the clock goes: for ever.
                    None => std::future::pending().await,
                },
            }
        }
    }
}

/// Keeps a pod from being idle as long as it lives. See [`PodScope::busy`](crate::PodScope::busy).
#[must_use = "dropped, it keeps nothing from being idle"]
pub struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        let none_left = {
            let mut state = self.0.state.lock();
            state.busy -= 1;
            state.last = Instant::now();
            state.busy == 0
        };
        if none_left {
            self.0.done.notify_one();
        }
    }
}

impl std::fmt::Debug for Busy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Busy")
    }
}
