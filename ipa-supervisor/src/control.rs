//! What an incarnation is to those around it, whether it lives or not: who it is, where it belongs, how it is asked to stop, what
//! goes when its task does, what goes when it has ended.
//!
//! One for each incarnation, so that all of its parts are one allocation. The supervisor's loop holds it and does not keep the incarnation
//! from ending; the [`Hold`](crate::lease::Hold)s, which do, are counted here. What changes in an incarnation's life is under one lock,
//! and nothing foreign is called or dropped under it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use tokio::task::AbortHandle;

use crate::child::End;
use crate::incarnation::{Body, Manner};
use crate::lease::{Guards, Lease};
use crate::lineage::Within;
use crate::log;
use crate::machine::ChildRef;
use crate::message::{Message, Port, REPORTS};
use crate::ports::Entry;
use crate::pulse::Pulse;
use crate::reason::ExitReason;
use crate::scope::Tasks;
use crate::seat;
use crate::stop_request::StopRequest;
use crate::sync::Mutex;

pub(crate) struct Control {
    pub(crate) child: ChildRef,
    /// The supervisor's.
    pub(crate) port: Arc<Port>,
    pub(crate) stop: StopRequest,
    /// How its calls are made. Here, as its own task has no room for it: see [`Body`].
    pub(crate) manner: Manner,
    /// Where it is said that the child is alive, if anybody wants to know.
    pub(crate) pulse: Option<Box<Pulse>>,
    /// How many keep it from having ended. None: it has, or is about to, and nobody can any more.
    pub(crate) holders: AtomicU32,
    /// [`WAITED`], [`FIRST`].
    waits: AtomicU8,
    /// Whether its own task has been told to end at once.
    killed: AtomicBool,
    state: Mutex<State>,
}

/// It has awaited something when it was up; of a `run` that was aborted nobody knows.
const WAITED: u8 = 1;
/// It has waited to be ready to run.
const FIRST: u8 = 1 << 1;

struct State {
    tasks: Tasks,
    /// Its entry in the supervisor's directory, until its task ends.
    entry: Option<Arc<dyn Entry>>,
    /// What is kept until it has ended.
    guards: Guards,
    /// How it ended: from the end of its own task, or that being done with it, until the loop hears of it.
    end: Option<End>,
    /// What it keeps from having ended: its supervisor. Until it has itself.
    parent: Option<Lease>,
}

/// What goes with its task: what that has spawned, and its entry.
struct Left(Vec<AbortHandle>, Option<Arc<dyn Entry>>);

impl State {
    /// Its own task has ended. The first word on how stands; a later one is a kill, in which there is nothing foreign to be dropped.
    fn task_ended(&mut self, end: End) -> Left {
        self.end.get_or_insert(end);
        Left(self.tasks.take(), self.entry.take())
    }
}

impl Left {
    fn goes(self) {
        for task in self.0 {
            task.abort();
        }
        // Foreign, and so is its Drop.
        log::caught("a directory's entry, when dropped", || drop(self.1));
    }
}

impl Control {
    pub(crate) fn new(
        child: ChildRef,
        port: Arc<Port>,
        parent: Lease,
        manner: Manner,
        watched: bool,
    ) -> Self {
        let state = State {
            tasks: Tasks::default(),
            entry: None,
            guards: Guards::default(),
            end: None,
            parent: Some(parent),
        };
        Self {
            child,
            port,
            stop: StopRequest::new(),
            manner,
            pulse: watched.then(Box::default),
            holders: AtomicU32::new(0),
            waits: AtomicU8::new(0),
            killed: AtomicBool::new(false),
            state: Mutex::new(state),
        }
    }

    /// The child whose incarnation it is, for those who work within it.
    pub(crate) fn within(&self) -> Within {
        Within { port: self.port.clone(), slot: self.child.slot }
    }

    /// An incarnation is entered once, before its factory is called.
    pub(crate) fn set_entry(&self, entry: Arc<dyn Entry>) {
        self.state.lock().entry = Some(entry);
    }

    pub(crate) fn entry(&self) -> Option<Arc<dyn Entry>> {
        self.state.lock().entry.clone()
    }

    /// A task that it has spawned is to end with it. Once its own task has ended, that is now.
    pub(crate) fn add_task(&self, task: AbortHandle) {
        {
            let mut state = self.state.lock();
            // Whoever adds one holds the lease, so the loop has not heard of the end yet.
            if state.end.is_none() {
                return state.tasks.add(task);
            }
        }
        task.abort();
    }

    pub(crate) fn guard(&self, guards: Guards) {
        self.state.lock().guards.push_front(guards);
    }

    /// It has waited to be ready to run.
    pub(crate) fn set_waits_first(&self) {
        self.waits.store(FIRST | WAITED, Ordering::Release);
    }

    pub(crate) fn waits_first(&self) -> bool {
        self.waits.load(Ordering::Acquire) & FIRST != 0
    }

    /// Its `run` is over, and has awaited something. Said, as the other, by its own task alone.
    pub(crate) fn set_has_waited(&self) {
        self.waits.store(self.waits.load(Ordering::Relaxed) | WAITED, Ordering::Release);
    }

    pub(crate) fn has_waited(&self) -> bool {
        self.waits.load(Ordering::Acquire) & WAITED != 0
    }

    pub(crate) fn set_killed(&self) {
        self.killed.store(true, Ordering::Release);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// For the supervisor's loop, which has been told that it has ended.
    pub(crate) fn take_end(&self) -> End {
        self.state.lock().end.take().unwrap_or(End::Exited(ExitReason::Killed))
    }

    /// Its own task has ended, like this unless that was said before. It may be held by others.
    pub(crate) fn task_ended(&self, end: End) {
        let left = self.state.lock().task_ended(end);
        left.goes();
    }

    /// Whether its task could go on as the next incarnation, which it would if nobody has the loop: see `Driver::start`.
    fn may_go_on(&self) -> bool {
        self.manner.comes_again() && self.has_waited() && !self.is_killed() && !self.stop.is_made()
    }

    /// Nobody holds it any more: its guards go, then its supervisor is told, and then let go. That order is the guarantee of a lease.
    pub(crate) fn ended(&self) {
        let (guards, parent) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.guards), state.parent.take())
        };
        drop(guards);
        self.report(self.end());
        drop(parent);
    }

    /// Both at once, on the task that it was, which sees to what follows from it. Answers what the task is to go on as, if anything.
    pub(crate) fn ended_here(&self, end: End) -> Option<Body> {
        let (left, guards, parent) = {
            let mut state = self.state.lock();
            let left = state.task_ended(end);
            (left, std::mem::take(&mut state.guards), state.parent.take())
        };
        left.goes();
        drop(guards);
        let ChildRef { slot, incarnation, .. } = self.child;
        let ended = seat::Ended { slot, incarnation, may_go_on: self.may_go_on() };
        let next = seat::report(&self.port, self.end(), Some(ended));
        drop(parent);
        next
    }

    fn end(&self) -> Message {
        let ChildRef { slot, incarnation, .. } = self.child;
        Message::Ended { slot, incarnation }
    }

    /// Tells the supervisor's loop something of this incarnation.
    pub(crate) fn report(&self, message: Message) {
        // Refused only when the loop is gone, and then nobody is left to be told.
        let _ = self.port.inbox.push(REPORTS, message);
    }
}
