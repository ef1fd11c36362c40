//! How the pods of a pod supervisor are doing, in numbers.

use serde::{Deserialize, Serialize};

/// Counts of pods by what they do now, and totals since the pod supervisor's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PodStats {
    /// Pods that are starting.
    pub starting: usize,
    /// Pods that are active.
    pub active: usize,
    /// Pods that are stopping.
    pub stopping: usize,
    /// Pods that were to stop and have not ended.
    pub stuck: usize,
    /// Starts that made a pod active, in total.
    pub started_total: u64,
    /// Starts that failed after the key was reserved, in total.
    pub start_failures_total: u64,
    /// Pods that were active and have ended, in total.
    pub ended_total: u64,
    /// Restarts of pods' children, in total.
    pub child_restarts_total: u64,
    /// Pods that were found stuck, in total.
    pub stuck_total: u64,
}
