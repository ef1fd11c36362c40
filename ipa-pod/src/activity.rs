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

    /// Waits until there has been no activity for this long, and lets `end` follow from it in the same step: whoever is busy before that has
    /// prevented it, and whoever is after finds it done. Cancel safe.
    pub(crate) async fn idle_for(&self, time: Duration, end: impl FnOnce()) {
        loop {
            let due = {
                let state = self.state.lock();
                let due = (state.busy == 0).then(|| state.last.checked_add(time));
                if let Some(Some(due)) = due
                    && due <= Instant::now()
                {
                    end();
                    return;
                }
                due
            };
            match due {
                // The permit that is left when the last is done before this waits is seen by the wait.
                None => self.done.notified().await,
                Some(Some(due)) => sleep_until(due).await,
                // Longer than the clock goes: for ever.
                Some(None) => std::future::pending().await,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// That nobody is busy and what follows from it are one step: who comes to be busy has done so before it, or finds it done.
    #[tokio::test(start_paused = true)]
    async fn nobody_is_busy_between_the_look_and_the_end() {
        let second = Duration::from_secs(1);
        let activity = Activity::new();
        let begun = Instant::now();
        let busy = activity.busy();
        let (mut ends, mut within) = (0, false);
        let idle = activity.idle_for(second, || {
            ends += 1;
            within = activity.state.try_lock().is_none();
        });
        let done = async {
            tokio::time::sleep(3 * second).await;
            drop(busy);
        };
        tokio::join!(idle, done);
        assert_eq!((ends, within, begun.elapsed()), (1, true, 4 * second));
    }
}
