//! What a supervisor's loop is sent, and in which order of priority.

use std::sync::{Arc, OnceLock};

use crate::inbox::Inbox;
use crate::lineage::Within;
use crate::machine::{ChildCounts, ChildInfo, Command, Incarnation, Outcome, Refusal, SlotId, Target};
use crate::policy::{Kept, Policy};
use crate::ports::Directory;
use crate::reason::{Cause, ExitReason};
use crate::seat::Seat;
use crate::spec::{ChildId, Factory};
use crate::sync::{SetOnce, oneshot};

/// The lane of stops: a stop that is queued is seen before the exits that are, so that nothing is restarted in vain.
pub(crate) const STOPS: usize = 0;
/// The lane of reports: what children say of themselves. Never waits.
pub(crate) const REPORTS: usize = 1;
/// The lane of everything else that callers ask, the same one: a command finds every exit handled that was reported before it,
/// and none that is reported after it can overtake it. With a lane below the reports, children that crash in a circle would keep
/// callers waiting for ever.
pub(crate) const COMMANDS: usize = REPORTS;
/// How many lanes that makes.
const LANES: usize = 2;

/// How many callers' requests may be queued at once; further callers wait.
const PLACES: usize = 64;

/// How a caller is answered.
pub(crate) type Reply = oneshot::Sender<Result<Outcome, Refusal>>;

/// Small, as the queue of every supervisor keeps room for a few.
pub(crate) enum Message {
    /// What a caller asks.
    Request(Box<Request>),
    /// What a caller asks as well. Apart, as the room that a spec takes would otherwise be taken by every request.
    StartChild(Box<StartChild>),
    Up {
        slot: SlotId,
        incarnation: Incarnation,
    },
    Alive {
        slot: SlotId,
        incarnation: Incarnation,
    },
    Lingers {
        slot: SlotId,
        incarnation: Incarnation,
    },
    /// How it has ended is to be read of its [`Control`](crate::control::Control).
    Ended {
        slot: SlotId,
        incarnation: Incarnation,
    },
}

/// With the settings packed: a block that is made by one thread and given back by another is to be a small one, which glibc's threads keep for
/// themselves; for a larger one they would wait for each other, which was a third of a start.
pub(crate) struct StartChild {
    pub(crate) tag: Reply,
    pub(crate) caller: Option<SlotId>,
    pub(crate) id: ChildId,
    pub(crate) factory: Factory,
    pub(crate) settings: Kept,
}

pub(crate) enum Request {
    /// Restart or delete.
    Command(Command<Reply>),
    /// `again`: it found nothing to stop, and was put behind the commands that were queued before it.
    Terminate {
        tag: Option<Reply>,
        caller: Option<SlotId>,
        target: Target,
        again: bool,
    },
    Shutdown {
        tag: Option<Reply>,
        caller: Option<SlotId>,
        cause: Cause,
    },
    Kill {
        cause: Cause,
    },
    WhichChildren(oneshot::Sender<Vec<ChildInfo>>),
    WhichChild(Target, oneshot::Sender<Option<ChildInfo>>),
    CountChildren(oneshot::Sender<ChildCounts>),
    GetChildSpec(Target, oneshot::Sender<Option<Policy>>),
}

impl From<StartChild> for Message {
    fn from(start: StartChild) -> Self {
        Self::StartChild(Box::new(start))
    }
}

impl From<Request> for Message {
    fn from(request: Request) -> Self {
        Self::Request(Box::new(request))
    }
}

/// What a supervisor's loop shares with its handles and its children. One for each run of a supervisor.
pub(crate) struct Port {
    /// With the seat in which the loop lies.
    pub(crate) inbox: Inbox<Message, LANES, Seat>,
    /// As whose child the supervisor runs, if it is nested: set before it starts its own.
    pub(crate) within: OnceLock<Within>,
    /// Set when the supervisor's lease has ended, after the reason.
    ended: SetOnce<()>,
    /// What the loop ended with. Here, as the loop and the lease's guard both hold the port.
    reason: OnceLock<ExitReason>,
    /// Where its children are listed. Here, so that each of them need not hold it.
    pub(crate) directory: Option<Arc<dyn Directory>>,
}

impl Port {
    pub(crate) fn new(directory: Option<Arc<dyn Directory>>) -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::new(PLACES),
            within: OnceLock::new(),
            ended: SetOnce::new(),
            reason: OnceLock::new(),
            directory,
        })
    }

    /// The loop has ended. The first word on why stands.
    pub(crate) fn set_reason(&self, reason: ExitReason) {
        let _ = self.reason.set(reason);
    }

    /// What the loop has ended with.
    pub(crate) fn reason(&self) -> Option<&ExitReason> {
        self.reason.get()
    }

    /// The supervisor has ended, with its lease. One that could not say why was killed.
    pub(crate) fn set_ended(&self) {
        self.set_reason(ExitReason::Killed);
        // Set once: there is one lease, or none.
        let _ = self.ended.set(());
    }

    /// Waits until the supervisor and all under it have ended; answers why it has.
    pub(crate) async fn ended(&self) -> ExitReason {
        self.ended.wait().await;
        self.reason().cloned().unwrap_or(ExitReason::Killed)
    }
}
