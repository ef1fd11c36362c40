//! The reference model: the life of one task, as it has to be.
//!
//! Written from the semantics and to be read by itself; it knows nothing of how the stack does it. A [`Life`] is a value: calls
//! and the passing of time change it, and what could be seen from outside meanwhile is noted in [`Life::out`]. What
//! is to happen waits for its moment, be that the present one. Where the order of things is open, because several are due at the same
//! moment, or several callers call at once, [`Life::run_to`] and [`Life::together`] answer with every life that it may have become.
//!
//! Two things are kept apart: what a child *does* (`Stage`: the puppet's own behaviour, `puppet.rs`) and what its supervisor
//! takes it to be doing (`State`). The supervisor learns of an end when the last of the incarnation is gone, no sooner.
//!
//! Here is what a life consists of. The rules are in `task`, `starting`, `ends`, `stopping` and `operations`, each to be read alone;
//! `time` says what happens by itself, `orders` goes through the orders that are legal, `seen` is what is compared.

mod ends;
mod operations;
mod orders;
mod seen;
mod starting;
mod stopping;
mod task;
mod time;

use std::collections::VecDeque;
use std::rc::Rc;

use ipa_pod::PodStatus;
use ipa_supervisor::{AutoShutdown, ChildState, Restart, Strategy};

use crate::program::*;
pub use seen::*;
use time::Timer;

/// Who waits for an answer: the number of the call. `None`: nobody.
pub type Who = Option<usize>;

/// A restart after a run that was at least this long begins its backoff anew.
pub const HEALTHY: u64 = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    plan: Rc<PodPlan>,
    now: u64,
    stream: bool,
    store: Store,
    /// What becomes of the next starts of these children, and how often.
    next: Vec<(KidId, Init, u8)>,
    next_pod: Option<(How, u8)>,
    draining: bool,
    pod: Option<Pod>,
    successor: Option<Successor>,
    /// When a pod of it was last found stuck.
    stuck_at: Option<u64>,
    pub out: Out,
}

/// A restart that waits for the pod to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Successor {
    who: Who,
    /// Whether it has told the pod to stop.
    told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pod {
    status: Status,
    phase: Phase,
    kids: Vec<Kid>,
    next_slot: usize,
    /// When the restarts were that count.
    window: Vec<u64>,
    restarts: u64,
    group: Option<Group>,
    /// Children whose crash restarts their group when the initial start is over.
    early: Vec<usize>,
    /// Operations on children that wait for others to be over.
    waiting: Vec<Waiting>,
    /// Those that came before there was a supervisor to ask.
    knocking: Vec<(Who, ChildOp)>,
    starter: Who,
    stoppers: Vec<Who>,
    announced: bool,
    was_active: bool,
    permit: bool,
    /// What was said of why it is to stop, and it has not seen yet.
    stop_wanted: Option<&'static str>,
    stop_seen: bool,
    stop_said: bool,
    /// What the start is answered if it fails.
    failure: String,
    reason: &'static str,
    stuck: Vec<(KidId, u64)>,
    /// All that can be stopped has been.
    stalled: bool,
    /// Its start is over, and not all of it has ended: it has no supervisor any more.
    closed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Its key is reserved, and nothing more.
    Reserved,
    Admitting {
        until: u64,
    },
    Starting {
        until: u64,
    },
    Up,
    Stopping {
        until: Option<u64>,
    },
    /// All of it has ended.
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    who: Who,
    op: ChildOp,
    behind: Behind,
}

/// What an operation waits for to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Behind {
    /// Nothing, or what is under way with its child.
    Child,
    InitialStart,
    Group,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ChildOp {
    /// The place in the order is that of the call.
    Start(Rc<KidPlan>, usize),
    Terminate(KidId),
    Restart(KidId),
    Delete(KidId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kid {
    slot: usize,
    plan: Rc<KidPlan>,
    run: u64,
    restarts: u64,
    /// Restarts since the last healthy run.
    failures: u32,
    up_since: u64,
    state: State,
    stage: Option<Stage>,
    /// Whether it is up and its supervisor has not heard of it.
    unheard: bool,
    /// What it was told and has not seen.
    told: Option<Told>,
    /// Who waits for it to be gone.
    callers: Vec<Who>,
}

/// What the supervisor takes a child to be doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Its spec is kept, it does not run.
    Down,
    /// It is one of the initial ones, and its turn has not come.
    Pending,
    /// Its restart is decided, and waits: for its backoff, for its turn in the group.
    Waiting {
        until: Option<u64>,
    },
    Starting {
        on: Account,
        late: Option<u64>,
    },
    Running {
        silent: Option<u64>,
    },
    Leaving {
        how: Leaving,
        why: Why,
        on: Option<Account>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Leaving {
    Asked { kill: Option<u64> },
    Killed { grace: u64 },
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Why {
    /// Somebody wants it gone.
    Wanted,
    /// Its `init` took too long.
    Late,
    /// It was silent for too long.
    Silent,
}

/// On whose account a child is started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Account {
    Initial,
    Caller { who: Who, fresh: bool },
    Restart,
    Group,
}

/// What a child does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// It has a task, which has not run yet.
    Spawned,
    Init {
        until: u64,
        then: Option<End>,
    },
    Run,
    /// It runs, and has been told to end.
    Told(How),
    Hanging,
    Terminate {
        until: u64,
        end: End,
    },
    /// All of it has gone but a lease.
    Lingers {
        until: u64,
        end: End,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    Stop,
    /// Whatever else it was about to do, it does no more.
    Kill,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    /// The slot of its first member.
    from: usize,
    /// Those still to be started, once all of it is down.
    pending: Option<VecDeque<usize>>,
    starting: Option<usize>,
    /// Members that a caller stopped: they stay down.
    excluded: Vec<usize>,
    not_before: u64,
}

/// How a start was over without the child being up.
enum NotUp {
    Declined,
    Cancelled,
    Failed { end: End, late: bool },
}

/// A pod's status, as it can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    Starting,
    Active,
    Stopping,
    Stuck,
}

impl From<Status> for PodStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Starting => Self::Starting,
            Status::Active => Self::Active,
            Status::Stopping => Self::Stopping,
            Status::Stuck => Self::Stuck,
        }
    }
}

impl Pod {
    fn new(starter: Who) -> Self {
        Self {
            status: Status::Starting,
            phase: Phase::Reserved,
            kids: Vec::new(),
            next_slot: 0,
            window: Vec::new(),
            restarts: 0,
            group: None,
            early: Vec::new(),
            waiting: Vec::new(),
            knocking: Vec::new(),
            starter,
            stoppers: Vec::new(),
            announced: false,
            was_active: false,
            permit: false,
            stop_wanted: None,
            stop_seen: false,
            stop_said: false,
            failure: "ended".into(),
            reason: "",
            stuck: Vec::new(),
            stalled: false,
            closed: false,
        }
    }

    /// The next place in the order.
    fn slot(&mut self) -> usize {
        self.next_slot += 1;
        self.next_slot
    }

    fn add(&mut self, slot: usize, plan: Rc<KidPlan>, state: State) {
        let kid = Kid {
            slot,
            plan,
            run: 0,
            restarts: 0,
            failures: 0,
            up_since: 0,
            state,
            stage: None,
            unheard: false,
            told: None,
            callers: Vec::new(),
        };
        let place = self.kids.partition_point(|other| other.slot < slot);
        self.kids.insert(place, kid);
    }

    fn kid(&mut self, slot: usize) -> Option<&mut Kid> {
        self.kids.iter_mut().find(|kid| kid.slot == slot)
    }

    /// What an operation waits for, if anything; `before`: what it has been waiting for.
    fn waits(&self, op: &ChildOp, before: Behind) -> Option<Behind> {
        let kid = self.kids.iter().find(|kid| kid.plan.id == op.id());
        let stop = matches!(op, ChildOp::Terminate(_));
        // All but the stop of a child that is up or coming up.
        if let Phase::Starting { .. } = self.phase {
            let pending = kid.is_some_and(|kid| kid.state == State::Pending);
            return (!stop || pending || before == Behind::InitialStart).then_some(Behind::InitialStart);
        }
        let under_way = |kid: &Kid| matches!(kid.shown(), ChildState::Starting | ChildState::Stopping);
        if !stop && kid.is_some_and(under_way) {
            return Some(Behind::Child);
        }
        let group = self.group.as_ref()?;
        // A new child, and what is asked of a member that is down.
        let down = |kid: &Kid| kid.slot >= group.from && kid.state == State::Down;
        let new = matches!(op, ChildOp::Start(..));
        (before == Behind::Group || new || !stop && kid.is_some_and(down)).then_some(Behind::Group)
    }

    /// The children that a group restart waits for and that do not end, if there are any.
    fn stuck_of_group(&self) -> Option<String> {
        let group = self.group.as_ref()?;
        let awaited = |kid: &&Kid| match group.pending {
            None => kid.slot >= group.from,
            Some(_) => group.starting == Some(kid.slot),
        };
        let stuck = |kid: &&Kid| matches!(kid.state, State::Leaving { how: Leaving::Stuck, .. });
        let kids = self.kids.iter().filter(awaited).filter(stuck);
        let names: Vec<String> = kids.map(|kid| name(kid.plan.id, kid.run)).collect();
        (!names.is_empty()).then(|| format!("stuck {}", names.join(" ")))
    }

    fn stuck_answer(&self) -> String {
        let names: Vec<String> = self.stuck.iter().map(|(id, run)| name(*id, *run)).collect();
        format!("stuck {}", names.join(" "))
    }
}

impl Kid {
    fn shown(&self) -> ChildState {
        let again = |on: &Option<Account>| matches!(on, Some(Account::Restart | Account::Group));
        match &self.state {
            State::Down | State::Pending => ChildState::Undefined,
            State::Waiting { .. } => ChildState::Restarting,
            State::Starting { on: Account::Restart | Account::Group, .. } => ChildState::Restarting,
            State::Starting { .. } => ChildState::Starting,
            State::Running { .. } => ChildState::Running,
            State::Leaving { how: Leaving::Stuck, .. } => ChildState::Stuck,
            State::Leaving { why: Why::Late, on, .. } if again(on) => ChildState::Restarting,
            State::Leaving { why: Why::Silent, .. } if self.plan.restart != Restart::Temporary => {
                ChildState::Restarting
            }
            State::Leaving { .. } => ChildState::Stopping,
        }
    }

    /// Whether it is being started as one of the initial children, or that is being taken back.
    fn is_initial(&self) -> bool {
        match &self.state {
            State::Starting { on, .. } => *on == Account::Initial,
            State::Leaving { how, on, .. } => *how != Leaving::Stuck && *on == Some(Account::Initial),
            _ => false,
        }
    }

    /// How long it waits before this restart.
    fn backoff(&mut self) -> u64 {
        let Some((initial, max)) = self.plan.backoff else { return 0 };
        let wait = (initial << self.failures.min(20)).min(max);
        self.failures += 1;
        wait
    }
}

impl ChildOp {
    fn id(&self) -> KidId {
        match self {
            Self::Start(plan, _) => plan.id,
            Self::Terminate(id) | Self::Restart(id) | Self::Delete(id) => *id,
        }
    }
}
