//! What a supervisor says to `tracing`. OTP's levels of reports: an end is worth a line when it is abnormal, or a permanent
//! child's; `normal` and `shutdown` of others are silent.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::child::panic_text;
use crate::machine::{Note, SlotId};
use crate::policy::Restart;

pub(crate) fn note(note: &Note, restart_of: impl Fn(SlotId) -> Option<Restart>) {
    match note {
        Note::Started(child) => tracing::debug!(%child, "child started"),
        Note::Exited { child, reason, restart } => {
            let permanent = restart_of(child.slot) == Some(Restart::Permanent);
            if reason.is_abnormal() || permanent {
                tracing::warn!(%child, %reason, restart, "child ended");
            } else {
                tracing::debug!(%child, %reason, "child ended");
            }
        }
        Note::Restarting { child, .. } => tracing::debug!(%child, "child is being restarted"),
        Note::Stalled(stuck) => {
            tracing::error!(children = stuck.len(), "supervisor cannot end: it waits for stuck children");
        }
        Note::RestartFailed(child, reason) => tracing::warn!(%child, %reason, "restart of child failed"),
        Note::ShutdownError(child, reason) => tracing::warn!(%child, %reason, "child did not stop cleanly"),
        Note::Silent(child) => tracing::warn!(%child, "child has been silent for too long and is killed"),
        Note::Stuck(child) => {
            tracing::error!(%child, "child was killed but has not ended; it keeps its place until it does");
        }
        Note::Reaped(child) => tracing::warn!(%child, "stuck child has ended at last"),
        Note::GaveUp(reason) => tracing::error!(%reason, "supervisor gives up"),
        Note::Finished(reason) => tracing::debug!(%reason, "supervisor stops by itself"),
    }
}

/// Says something, to a subscriber that is foreign: if it panics, nobody is left to be told.
pub(crate) fn said(say: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(say));
}

/// Runs foreign code that has nobody but the log to tell of its panic.
pub(crate) fn caught(what: &str, call: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(call)) {
        said(|| tracing::error!(panic = %panic_text(payload), "panic in {what}"));
    }
}
