//! What a machine is told and what it says: events, commands, actions, and how children are named and shown.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::child::End;
use crate::error::{SpecError, StuckChild};
use crate::intensity::RestartIntensity;
use crate::millis;
use crate::policy::{AutoShutdown, Kind, Policy, Strategy};
use crate::reason::{Cause, ExitReason, StartFailure};
use crate::spec::ChildId;

/// A child's place in its supervisor. Rises with every child that is asked for, so order of slots is order of start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SlotId(pub u64);

/// Which run of a child, from 1. What speaks of an earlier one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a machine is told at its making.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MachineOptions {
    /// Who is restarted when a child ends that is to be. Default: that child alone. A dynamic supervisor knows no other.
    pub strategy: Strategy,
    /// Whether significant children shut the supervisor down. Default: never.
    pub auto_shutdown: AutoShutdown,
    /// How many restarts are too many. Default: more than 3 in 5 seconds.
    pub intensity: RestartIntensity,
    /// How long a killed child may take to be gone before it is called stuck. Default: 1 second.
    #[serde(rename = "kill_grace_ms", with = "millis")]
    pub kill_grace: Duration,
    /// How long the start of all initial children together may take before it is given up and rolled back. Default: no
    /// limit but the children's own.
    #[serde(rename = "start_timeout_ms", with = "millis::option")]
    pub start_timeout: Option<Duration>,
    /// How long the whole stop may take before all that are left are killed side by side. Default: no limit but the
    /// children's own.
    #[serde(rename = "shutdown_timeout_ms", with = "millis::option")]
    pub shutdown_timeout: Option<Duration>,
    /// How many children a dynamic supervisor may have, whatever their state. Default: no limit.
    pub max_children: Option<usize>,
    /// What the jitter of backoffs comes from. Default: 0.
    pub seed: u64,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            auto_shutdown: AutoShutdown::default(),
            intensity: RestartIntensity::default(),
            kill_grace: Duration::from_secs(1),
            start_timeout: None,
            shutdown_timeout: None,
            max_children: None,
            seed: 0,
        }
    }
}

/// Which child a command is about.
#[derive(Clone, Debug)]
pub enum Target {
    /// The one with this id. In a dynamic supervisor ids are no identity, and this finds nothing.
    Id(ChildId),
    /// The one in this slot.
    Slot(SlotId),
}

/// What a caller may ask of a machine.
#[derive(Debug)]
pub struct Command<Tag> {
    /// What the answer is sent with. `None`: nobody waits for one.
    pub tag: Option<Tag>,
    /// The child from within which this is asked, if it is one of this machine's: it must not wait for itself.
    pub caller: Option<SlotId>,
    /// What is asked.
    pub op: Op,
}

/// The operations of a [`Command`].
#[derive(Debug)]
pub enum Op {
    /// Add a child and start it. The slot must be one that was never used, above those of all commands before.
    Start(SlotId, Policy),
    /// Start a child again whose spec is kept and that is not running.
    Restart(Target),
    /// Stop a child; a temporary one, or one of a dynamic supervisor, is forgotten.
    Terminate(Target),
    /// Forget a child that is not running.
    Delete(Target),
}

/// What happened.
#[derive(Debug)]
pub enum Event<Tag> {
    /// Start the initial children. The first event.
    Begin,
    /// A caller asks for something.
    Command(Command<Tag>),
    /// Stop everything, then exit.
    Shutdown {
        /// What the answer is sent with, once all has ended.
        tag: Option<Tag>,
        /// The child from within which this is asked.
        caller: Option<SlotId>,
        /// Why; it becomes the exit reason.
        cause: Cause,
    },
    /// Kill everything at once, then exit. No child's `terminate` runs.
    Kill {
        /// Why; it becomes the exit reason.
        cause: Cause,
    },
    /// The child's `init` is done.
    Up {
        /// The child.
        slot: SlotId,
        /// Which run of it.
        incarnation: Incarnation,
    },
    /// The child says that it is alive.
    Alive {
        /// The child.
        slot: SlotId,
        /// Which run of it.
        incarnation: Incarnation,
        /// Whether it works; otherwise it waits for something to do.
        working: bool,
    },
    /// The child, asked to stop, knows that it cannot: something under it is stuck.
    Lingers {
        /// The child.
        slot: SlotId,
        /// Which run of it.
        incarnation: Incarnation,
    },
    /// The incarnation has ended: its lease is gone.
    Ended {
        /// The child.
        slot: SlotId,
        /// Which run of it.
        incarnation: Incarnation,
        /// How.
        end: End,
    },
    /// Time has passed.
    Tick,
}

/// What the driver is to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum Action<Tag> {
    /// Start this incarnation of the child.
    Start {
        /// The child.
        slot: SlotId,
        /// Which run of it this will be.
        incarnation: Incarnation,
    },
    /// Ask this incarnation to stop.
    Stop {
        /// The child.
        slot: SlotId,
        /// Which run of it.
        incarnation: Incarnation,
        /// Why, for its `terminate`.
        cause: Cause,
    },
    /// Kill this incarnation.
    Kill {
        /// The child.
        slot: SlotId,
        /// Which run of it.
        incarnation: Incarnation,
    },
    /// Drop what is kept for this slot: it will not be started again.
    Forget {
        /// The child.
        slot: SlotId,
    },
    /// Answer a caller.
    Reply(Tag, Result<Outcome, Refusal>),
    /// The initial children are up.
    Started,
    /// The stop has got as far as it can: these children do not end. [`Action::Exit`] follows when they have, if ever.
    Stalled(Vec<StuckChild>),
    /// Something worth a log line or an observer's attention.
    Note(Note),
    /// The supervisor has ended, for this reason. Nothing follows.
    Exit(ExitReason),
}

/// What a command achieved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The child is up.
    Started(SlotId, Incarnation),
    /// The child declined to start.
    Ignored,
    /// Done.
    Done,
}

/// Why a command was refused, or failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Refusal {
    /// A child of this id is running.
    AlreadyStarted(SlotId, Incarnation),
    /// A child of this id is kept, and not running.
    AlreadyPresent(SlotId),
    /// The limit on children is reached.
    MaxChildren(usize),
    /// The spec makes no sense here.
    Spec(SpecError),
    /// There is no such child.
    NotFound,
    /// The child is running.
    Running,
    /// The child is being restarted.
    Restarting,
    /// The supervisor is shutting down.
    ShuttingDown,
    /// The caller would wait for itself.
    WouldDeadlock,
    /// The start failed.
    Failed(Arc<StartFailure>),
    /// The start was cancelled: somebody stopped the child while it was starting.
    Cancelled,
    /// These children were killed and have not ended.
    Stuck(Vec<StuckChild>),
}

/// What an observer may want to hear of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Note {
    /// A child is up.
    Started(ChildRef),
    /// A child that was up has ended, by itself or killed by a third party.
    Exited {
        /// The child.
        child: ChildRef,
        /// How.
        reason: ExitReason,
        /// Whether by policy it is to be restarted.
        restart: bool,
    },
    /// A child that ended is being started again.
    Restarting {
        /// The child, as it ended.
        child: ChildRef,
        /// How it ended.
        reason: ExitReason,
    },
    /// An attempt to restart a child failed; the next one follows, if the intensity allows.
    RestartFailed(ChildRef, ExitReason),
    /// A child was asked to stop and ended otherwise than by a clean shutdown.
    ShutdownError(ChildRef, ExitReason),
    /// A working child was silent for longer than it may, and is killed.
    Silent(ChildRef),
    /// A child was killed, and its grace is over, and it has not ended. It keeps its slot.
    Stuck(ChildRef),
    /// A stuck child has ended after all.
    Reaped(ChildRef),
    /// The stop of the supervisor has got as far as it can: these children do not end.
    Stalled(Vec<StuckChild>),
    /// Too many restarts: the supervisor stops.
    GaveUp(ExitReason),
    /// Its significant children have ended by themselves: the supervisor stops.
    Finished(ExitReason),
}

/// One child: its id, its place, and which run of it.
///
/// The place ([`slot`](Self::slot)) stays the same across restarts and is never given to another child of the supervisor; under a dynamic
/// one, whose children have no other identity, not by another supervisor or another run of it either. The incarnation tells the runs apart. Where a call takes a `ChildRef`, it means the child, whatever its incarnation is by then.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct ChildRef {
    /// The child's id.
    pub id: ChildId,
    /// Its place.
    pub slot: SlotId,
    /// Which run of it.
    pub incarnation: Incarnation,
}

impl fmt::Display for ChildRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.id, self.incarnation)
    }
}

/// What a child is doing, as [`which_children`](crate::SupervisorRef::which_children) shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChildState {
    /// Its spec is kept; it is not running (OTP's `undefined`).
    Undefined,
    /// Its first `init` is under way.
    Starting,
    /// It is up.
    Running,
    /// It ended, and a start of it is under way again.
    Restarting,
    /// It was asked to stop.
    Stopping,
    /// It was killed and has not ended.
    Stuck,
}

/// One row of [`which_children`](crate::SupervisorRef::which_children).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ChildInfo {
    /// The child; its incarnation is the latest that was started.
    pub child: ChildRef,
    /// What it is doing.
    pub state: ChildState,
    /// Worker or supervisor.
    pub kind: Kind,
    /// How often its supervisor restarted it, or tried to.
    pub restarts: u64,
}

/// How many children there are, as OTP counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChildCounts {
    /// All of them, dead or alive.
    pub specs: usize,
    /// Those that are up, or were and have not ended: running, stopping, stuck.
    pub active: usize,
    /// Those that are supervisors, dead or alive.
    pub supervisors: usize,
    /// Those that are workers, dead or alive.
    pub workers: usize,
}
