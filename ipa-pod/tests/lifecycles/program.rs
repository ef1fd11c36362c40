//! What a program over pods consists of: the pods' plans, and steps of calls that are made at once.
//!
//! Everything is small and plain: a task and a child are a number with a name, all times are milliseconds. Any program makes sense,
//! so that shrinking may take away what it likes: a call that has nothing to act on is answered with an error, or does nothing.

use std::hash::{Hash, Hasher};

use ipa_supervisor::{AutoShutdown, Restart, Strategy};

/// The tasks that programs are about, by number.
pub const TASKS: [&str; 3] = ["ada", "bob", "cyd"];
/// The children: the first ones are in pods' plans, the others are added by `start_child`.
pub const KIDS: [&str; 6] = ["a", "b", "c", "d", "x", "y"];
/// How many of them are in plans.
pub const PLANNED: usize = 4;

/// A task, by number.
pub type Task = usize;
/// A child's id, by number.
pub type KidId = usize;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// One for each task: the task's number is its place.
    pub pods: Vec<PodPlan>,
    /// The calls of one step are made at the same moment.
    pub steps: Vec<Vec<Call>>,
    pub finale: Finale,
}

/// How a pod is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    pub strategy: Strategy,
    pub auto_shutdown: AutoShutdown,
    pub max_restarts: u32,
    pub within: u64,
    pub start_timeout: u64,
    pub shutdown_timeout: u64,
    pub kill_grace: u64,
    pub kids: Vec<KidPlan>,
}

/// How a child is made, and how it behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KidPlan {
    pub id: KidId,
    pub restart: Restart,
    pub shutdown: Stop,
    /// Never taken for permanent.
    pub significant: bool,
    pub start_timeout: Option<u64>,
    /// The first wait before a restart, and the longest.
    pub backoff: Option<(u64, u64)>,
    /// How long it may be silent once it hangs.
    pub silence: Option<u64>,
    /// How long its `init` takes when nothing else is said.
    pub init: u64,
    /// Whether a stop is lost on it: it goes on until it is told to end, or killed.
    pub deaf: bool,
    /// How long its `terminate` takes.
    pub terminate: u64,
    /// How long its lease is held when all else of it has gone.
    pub linger: u64,
    pub fault: Option<Fault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stop {
    Within(u64),
    Infinity,
    Brutal,
}

/// A bug that a child shows whenever it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    TerminatePanics,
    DropPanics,
}

/// A call, and whether its future is dropped after so many looks at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    pub op: Op,
    pub dropped: Option<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    Stream(Task),
    NoStream(Task),
    Store(Store),
    Start(Task),
    Stop(Task),
    /// With a word on why.
    StopWith(Task),
    Restart(Task),
    /// The permit of the task's pod is taken away.
    Revoke(Task),
    StartChild(Task, KidPlan),
    TerminateChild(Task, KidId),
    RestartChild(Task, KidId),
    DeleteChild(Task, KidId),
    /// A child that runs ends by itself.
    End(Task, KidId, How),
    /// What becomes of a child's next starts.
    Next(Task, KidId, Init, u8),
    /// What becomes of the next calls of a pod's factory: an error, or a panic.
    NextPod(Task, How, u8),
    /// Time passes.
    Advance(u64),
    /// Time passes up to the moment at which the pod's oldest restart that counts is this much older than its window.
    Edge(Task, u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum How {
    Normal,
    Shutdown,
    Error,
    Panic,
    /// It works on in silence; if somebody listens for that, it is killed.
    Hang,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Init {
    Slow(u64),
    Ignore,
    Error(u64),
    Panic(u64),
    FactoryPanic,
}

/// What the store does when it is asked whether a task may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Store {
    Answers,
    Slow(u64),
    Down,
    Panics,
}

/// How it all ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finale {
    Drain,
    Shutdown,
    /// The last strong handle is dropped.
    Drop,
}

impl Op {
    /// The task that it is about; `None`: all.
    pub fn task(&self) -> Option<Task> {
        match *self {
            Self::Stream(task)
            | Self::NoStream(task)
            | Self::Start(task)
            | Self::Stop(task)
            | Self::StopWith(task)
            | Self::Restart(task)
            | Self::Revoke(task)
            | Self::StartChild(task, _)
            | Self::TerminateChild(task, _)
            | Self::RestartChild(task, _)
            | Self::DeleteChild(task, _)
            | Self::End(task, ..)
            | Self::Next(task, ..)
            | Self::NextPod(task, ..)
            | Self::Edge(task, _) => Some(task),
            Self::Store(_) | Self::Advance(_) => None,
        }
    }

    /// Whether it makes time pass, and so is made alone.
    pub fn takes_time(&self) -> bool {
        matches!(self, Self::Advance(_) | Self::Edge(..))
    }
}

impl Call {
    /// After how many looks its future is dropped, if it has one.
    pub fn looks(&self) -> Option<u8> {
        self.dropped.filter(|_| self.op.is_async())
    }
}

impl From<Op> for Call {
    fn from(op: Op) -> Self {
        Self { op, dropped: None }
    }
}

impl Default for KidPlan {
    fn default() -> Self {
        Self {
            id: 0,
            restart: Restart::Transient,
            shutdown: Stop::Within(5000),
            significant: false,
            start_timeout: None,
            backoff: None,
            silence: None,
            init: 0,
            deaf: false,
            terminate: 0,
            linger: 0,
            fault: None,
        }
    }
}

impl Default for PodPlan {
    fn default() -> Self {
        Self {
            strategy: Strategy::OneForOne,
            auto_shutdown: AutoShutdown::Never,
            max_restarts: 3,
            within: 5000,
            start_timeout: 30_000,
            shutdown_timeout: 10_000,
            kill_grace: 1000,
            kids: Vec::new(),
        }
    }
}

impl Op {
    /// For counting.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stream(_) | Self::NoStream(_) => "stream",
            Self::Store(_) => "store",
            Self::Start(_) => "start",
            Self::Stop(_) | Self::StopWith(_) => "stop",
            Self::Restart(_) => "restart",
            Self::Revoke(_) => "revoke",
            Self::StartChild(..) => "start_child",
            Self::TerminateChild(..) => "terminate_child",
            Self::RestartChild(..) => "restart_child",
            Self::DeleteChild(..) => "delete_child",
            Self::End(..) => "end",
            Self::Next(..) => "next",
            Self::NextPod(..) => "next_pod",
            Self::Advance(_) => "advance",
            Self::Edge(..) => "edge",
        }
    }

    /// Whether it is a call that is waited for.
    pub fn is_async(&self) -> bool {
        match self {
            Self::Start(_)
            | Self::Stop(_)
            | Self::StopWith(_)
            | Self::Restart(_)
            | Self::StartChild(..)
            | Self::TerminateChild(..)
            | Self::RestartChild(..)
            | Self::DeleteChild(..) => true,
            Self::Stream(_)
            | Self::NoStream(_)
            | Self::Store(_)
            | Self::Revoke(_)
            | Self::End(..)
            | Self::Next(..)
            | Self::NextPod(..)
            | Self::Advance(_)
            | Self::Edge(..) => false,
        }
    }

    /// Whether one look at the call is enough for it to have been made.
    pub fn begins_at_once(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Stop(_) | Self::StopWith(_))
    }
}

// Of plans that are not the same no two are met in one place.
impl Hash for PodPlan {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Hash for KidPlan {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}
