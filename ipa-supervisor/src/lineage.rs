//! Within whom a call is made: the chain of incarnations that the current task belongs to.
//!
//! A call that would wait for its own caller (a child that stops itself, or its supervisor) must be refused rather than left
//! to hang, and the supervisor can only see that if the call says where it comes from. The chain is a task-local value, set
//! around each child's task; a nested supervisor's children have it as their parent. A task that a child spawns by bare
//! `tokio::spawn` is nobody's, and its calls wait like anybody's.

use std::sync::Arc;

use crate::control::Control;
use crate::machine::SlotId;
use crate::message::Port;
use crate::sync::task_local;

task_local! {
    pub(crate) static CURRENT: Arc<Control>;
}

/// The child of the supervisor behind `port` within which the current task runs, at whatever depth.
pub(crate) fn caller(port: &Arc<Port>) -> Option<SlotId> {
    CURRENT
        .try_with(|control| {
            let mut control = control.clone();
            while !Arc::ptr_eq(&control.port, port) {
                control = control.parent()?;
            }
            Some(control.child.slot)
        })
        .ok()
        .flatten()
}
