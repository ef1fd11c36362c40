//! How many restarts in how long are too many.
//!
//! The arithmetic is OTP's `add_restart`, with exact instants where the BEAM floors to whole seconds: on each attempt the
//! present time is pushed, entries older than the window are dropped (an entry exactly as old as the window stays), and the
//! supervisor gives up when more than `max_restarts` are left.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::millis;

/// The bound on restarts: more than `max_restarts` within `within` and the supervisor gives up.
///
/// Default: 3 restarts in 5 seconds, at every layer. One count is shared by all children of a supervisor, as in OTP.
/// `max_restarts: 0` means that the first restart is one too many.
///
/// ```
/// use std::time::Duration;
/// use ipa_supervisor::RestartIntensity;
///
/// assert_eq!(RestartIntensity::default(), RestartIntensity::new(3, Duration::from_secs(5)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartIntensity {
    /// How many restarts are allowed within the window. Default: 3.
    pub max_restarts: u32,
    /// The length of the window. Zero is refused when the supervisor starts. Milliseconds in serde. Default: 5 seconds.
    #[serde(rename = "within_ms", with = "millis")]
    pub within: Duration,
}

impl RestartIntensity {
    /// At most `max_restarts` restarts within `within`.
    pub const fn new(max_restarts: u32, within: Duration) -> Self {
        Self { max_restarts, within }
    }
}

impl Default for RestartIntensity {
    fn default() -> Self {
        Self::new(3, Duration::from_secs(5))
    }
}

/// The restarts that still count. Holds `max_restarts + 1` entries at most.
#[derive(Debug, Default)]
pub(crate) struct RestartWindow {
    /// Boxed, as it is there for every supervisor, and most restart nothing.
    #[expect(clippy::box_collection)]
    restarts: Option<Box<VecDeque<Duration>>>,
}

impl RestartWindow {
    /// Counts a restart that is decided at `now`; answers whether it is within the bound.
    pub(crate) fn admit(&mut self, now: Duration, intensity: RestartIntensity) -> bool {
        let restarts = self.restarts.get_or_insert_default();
        restarts.push_back(now);
        while let Some(&oldest) = restarts.front() {
            if oldest.saturating_add(intensity.within) >= now {
                break;
            }
            restarts.pop_front();
        }
        restarts.len() <= intensity.max_restarts as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admitted(intensity: RestartIntensity, times_ms: &[u64]) -> Vec<bool> {
        let mut window = RestartWindow::default();
        times_ms.iter().map(|&ms| window.admit(Duration::from_millis(ms), intensity)).collect()
    }

    /// RI-04 RI-05 an entry exactly as old as the window still counts, one a millisecond older does not.
    #[test]
    fn window_is_inclusive_and_exact() {
        let one_in_a_second = RestartIntensity::new(1, Duration::from_secs(1));
        assert_eq!(admitted(one_in_a_second, &[0, 1000]), [true, false]);
        assert_eq!(admitted(one_in_a_second, &[0, 1001]), [true, true]);
    }

    /// RI-12 only ageing forgets a restart: N=1, P=1 s with deaths every 2.1 s lives for ever.
    #[test]
    fn only_ageing_forgets() {
        let one_in_a_second = RestartIntensity::new(1, Duration::from_secs(1));
        let times: Vec<u64> = (0..1000).map(|n| n * 2100).collect();
        assert!(admitted(one_in_a_second, &times).into_iter().all(|admitted| admitted));
    }

    /// RI-18 the history holds N + 1 entries at most while the supervisor lives.
    #[test]
    fn history_is_bounded() {
        let intensity = RestartIntensity::new(5, Duration::from_secs(1));
        let mut window = RestartWindow::default();
        for n in 0..10_000 {
            assert!(window.admit(Duration::from_millis(n * 200 + n / 5), intensity));
            assert!(window.restarts.as_ref().is_some_and(|restarts| restarts.len() <= 6));
        }
    }
}
