//! What an incarnation is to those around it, whether it lives or not: who it is, where it belongs, how it is asked to stop, what
//! tasks it has spawned.
//!
//! Apart from the [lease](crate::Lease), since the supervisor's loop holds this, and must not keep an incarnation from ending. One for
//! each incarnation, so that all of its parts are one allocation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::log;
use crate::machine::ChildRef;
use crate::message::{Message, Port, REPORTS};
use crate::ports::Entry;
use crate::pulse::Pulse;
use crate::scope::Tasks;
use crate::stop_request::StopRequest;
use crate::sync::Mutex;

pub(crate) struct Control {
    pub(crate) child: ChildRef,
    /// The supervisor's.
    pub(crate) port: Arc<Port>,
    /// The child as which that supervisor runs, if it is nested.
    pub(crate) parent: Option<Arc<Control>>,
    pub(crate) stop: StopRequest,
    pub(crate) tasks: Tasks,
    /// Its entry in the supervisor's directory, until its task ends.
    entry: Mutex<Option<Arc<dyn Entry>>>,
    /// Whether its `run` is over and has awaited anything; nobody knows it of one that was aborted.
    has_waited: AtomicBool,
    /// Where it is said that the child is alive, if anybody wants to know.
    pub(crate) pulse: Option<Box<Pulse>>,
}

impl Control {
    pub(crate) fn new(child: ChildRef, port: Arc<Port>, parent: Option<Arc<Control>>, watched: bool) -> Self {
        let pulse = watched.then(Box::default);
        Self {
            child,
            port,
            parent,
            stop: StopRequest::new(),
            tasks: Tasks::default(),
            entry: Mutex::new(None),
            has_waited: AtomicBool::new(false),
            pulse,
        }
    }

    /// An incarnation is entered once, before its factory is called.
    pub(crate) fn set_entry(&self, entry: Arc<dyn Entry>) {
        *self.entry.lock() = Some(entry);
    }

    pub(crate) fn entry(&self) -> Option<Arc<dyn Entry>> {
        self.entry.lock().clone()
    }

    /// Its `run` is over, and has awaited something.
    pub(crate) fn set_has_waited(&self) {
        // Read when the incarnation has ended, of which the supervisor is told through its inbox: that orders the two.
        self.has_waited.store(true, Ordering::Relaxed);
    }

    pub(crate) fn has_waited(&self) -> bool {
        self.has_waited.load(Ordering::Relaxed)
    }

    /// The task has ended: what it has spawned is aborted, its entry goes.
    pub(crate) fn task_ended(&self) {
        self.tasks.abort();
        let entry = self.entry.lock().take();
        // Foreign, and so is its Drop.
        log::caught("a directory's entry, when dropped", || drop(entry));
    }

    /// Tells the supervisor's loop something of this incarnation.
    pub(crate) fn report(&self, message: Message) {
        // Refused only when the loop is gone, and then nobody is left to be told.
        let _ = self.port.inbox.push(REPORTS, message);
    }
}
