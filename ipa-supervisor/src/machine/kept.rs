//! A policy as the table of children keeps it: there is one for each child, and most say little.
//!
//! The trick: what most children leave as it is by default is behind a pointer, which is there for those that do not.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::policy::{Kind, Policy, Restart, Shutdown, StopMode};
use crate::spec::ChildId;

#[derive(Debug)]
pub(crate) struct KeptPolicy {
    pub(crate) id: ChildId,
    pub(crate) restart: Restart,
    pub(crate) kind: Kind,
    pub(crate) stop_mode: StopMode,
    pub(crate) terminate_after_panic: bool,
    pub(crate) significant: bool,
    /// `None`: as by default for its kind.
    times: Option<Box<Times>>,
}

#[derive(Debug)]
struct Times {
    shutdown: Shutdown,
    start_timeout: Option<Duration>,
    backoff: Option<Backoff>,
    max_silence: Option<Duration>,
}

impl KeptPolicy {
    pub(crate) fn shutdown(&self) -> Shutdown {
        self.times.as_ref().map_or(self.kind.shutdown(), |times| times.shutdown)
    }

    pub(crate) fn start_timeout(&self) -> Option<Duration> {
        self.times.as_ref()?.start_timeout
    }

    pub(crate) fn backoff(&self) -> Option<&Backoff> {
        self.times.as_ref()?.backoff.as_ref()
    }

    pub(crate) fn max_silence(&self) -> Option<Duration> {
        self.times.as_ref()?.max_silence
    }

    /// The policy that it was.
    pub(super) fn whole(&self) -> Policy {
        Policy {
            id: self.id.clone(),
            restart: self.restart,
            shutdown: self.shutdown(),
            stop_mode: self.stop_mode,
            start_timeout: self.start_timeout(),
            kind: self.kind,
            terminate_after_panic: self.terminate_after_panic,
            significant: self.significant,
            backoff: self.backoff().copied().map(Box::new),
            max_silence: self.max_silence(),
        }
    }
}

impl From<Policy> for KeptPolicy {
    fn from(policy: Policy) -> Self {
        let Policy {
            id,
            restart,
            shutdown,
            stop_mode,
            start_timeout,
            kind,
            terminate_after_panic,
            significant,
            backoff,
            max_silence,
        } = policy;
        let usual =
            shutdown == kind.shutdown() && (start_timeout, &backoff, max_silence) == (None, &None, None);
        let backoff = backoff.map(|backoff| *backoff);
        let times = (!usual).then(|| Box::new(Times { shutdown, start_timeout, backoff, max_silence }));
        Self { id, restart, kind, stop_mode, terminate_after_panic, significant, times }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing of a policy is lost, and what is as by default takes no memory of its own.
    #[test]
    fn a_policy_comes_out_as_it_went_in() {
        let usual = Policy::new("a");
        let supervisor = Policy { kind: Kind::Supervisor, shutdown: Shutdown::Infinity, ..usual.clone() };
        let second = Duration::from_secs(1);
        let unusual = [
            Policy { shutdown: Shutdown::Infinity, ..usual.clone() },
            Policy { shutdown: usual.shutdown, ..supervisor.clone() },
            Policy { start_timeout: Some(second), ..usual.clone() },
            Policy { backoff: Some(Box::default()), ..usual.clone() },
            Policy { max_silence: Some(second), ..usual.clone() },
        ];
        for (policies, own) in [(&[usual, supervisor][..], 0), (&unusual[..], 1)] {
            for policy in policies {
                let kept = KeptPolicy::from(policy.clone());
                assert_eq!((&kept.whole(), kept.times.iter().count()), (policy, own));
            }
        }
    }
}
