//! Within whom a call is made: the chain of incarnations that the current task belongs to.
//!
//! A call that would wait for its own caller (a child that stops itself, or its supervisor) must be refused rather than left
//! to hang, and the supervisor can only see that if the call says where it comes from. The chain is a task-local value, set
//! around each child's task and whatever works for it elsewhere, and a nested supervisor knows its own. A task that a child spawns by bare
//! `tokio::spawn` is nobody's, and its calls wait like anybody's.

use std::sync::Arc;

use crate::machine::SlotId;
use crate::message::Port;
use crate::sync::task_local;

task_local! {
    pub(crate) static CURRENT: Within;
}

/// A child, whichever incarnation of it.
#[derive(Clone)]
pub(crate) struct Within {
    /// Its supervisor's.
    pub(crate) port: Arc<Port>,
    pub(crate) slot: SlotId,
}

/// The child of the supervisor behind `port` within which the current task runs, at whatever depth.
pub(crate) fn caller(port: &Arc<Port>) -> Option<SlotId> {
    CURRENT
        .try_with(|within| {
            let mut within = within;
            while !Arc::ptr_eq(&within.port, port) {
                within = within.port.within.get()?;
            }
            Some(within.slot)
        })
        .ok()
        .flatten()
}
