//! The rules of supervision as a pure state machine: no task, no clock, no I/O.
//!
//! Ordered start with rollback, restarts and their intensity, reverse stop with deadlines, kills and what survives them:
//! all of it is decided here. The shape is that of a sans-I/O protocol: [`Machine::handle`] takes an [`Event`] and the present
//! time, [`Machine::poll_action`] says what to do, [`Machine::poll_timeout`] when to call again with [`Event::Tick`]. Starting,
//! stopping and restarting are *states* of a child, not calls, so whoever drives the machine never waits for a child.
//!
//! Time is a `Duration` since any fixed moment. A driver that sleeps too long is harmless: deadlines are compared, not counted.
//!
//! It does not know factories, tasks, leases, addresses: children are slots, and a slot's [`Policy`] is all there is to a child.
//! Two disciplines share it: an ordered supervisor (ids are unique, children start one after the other and stop in reverse)
//! and a dynamic one (ids are labels, all start and stop side by side, nothing is kept of a child that ended).
//!
//! The files: `children` keeps the table; `start`, `exit`, `group` and `stop` hold one group of rules each.
//!
//! ```
//! use std::time::Duration;
//! use ipa_supervisor::Policy;
//! use ipa_supervisor::machine::{Action, Event, Machine, MachineOptions, SlotId};
//!
//! let mut machine: Machine<()> =
//!     Machine::ordered(MachineOptions::default(), [(SlotId(0), Policy::new("a"))]).unwrap();
//! machine.handle(Duration::ZERO, Event::Begin);
//! let Some(Action::Start { slot, incarnation }) = machine.poll_action() else { panic!() };
//! machine.handle(Duration::ZERO, Event::Up { slot, incarnation });
//! assert!(matches!(machine.poll_action(), Some(Action::Note(_))));
//! assert!(matches!(machine.poll_action(), Some(Action::Started)));
//! assert!(machine.poll_action().is_none());
//! ```

mod children;
mod exit;
mod group;
mod start;
mod stop;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::children::{Children, Slot, Start, State};
use self::group::Group;
use self::stop::Stopping;
use crate::backoff::Jitter;
use crate::child::End;
use crate::error::{SpecError, StuckChild};
use crate::intensity::{RestartIntensity, RestartWindow};
use crate::millis;
use crate::reason::{Cause, ExitReason, StartFailure};
use crate::spec::{AutoShutdown, ChildId, Kind, Policy, Restart, Strategy};

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
}

/// One child: its id, its place, and which run of it.
///
/// The place ([`slot`](Self::slot)) stays the same across restarts and is never given to another child; the incarnation
/// tells the runs apart. Where a call takes a `ChildRef`, it means the child, whatever its incarnation is by then.
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

/// See the [module](self).
#[derive(Debug)]
pub struct Machine<Tag> {
    options: MachineOptions,
    discipline: Discipline,
    phase: Phase<Tag>,
    children: Children<Tag>,
    /// The group restart that is under way.
    group: Option<Group<Tag>>,
    window: RestartWindow,
    jitter: Jitter,
    actions: VecDeque<Action<Tag>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Discipline {
    Ordered,
    Dynamic,
}

#[derive(Debug)]
enum Phase<Tag> {
    /// The initial children are being started: these are still to come, and these commands wait for the end of it.
    Starting {
        pending: VecDeque<SlotId>,
        deferred: Vec<Command<Tag>>,
        deadline: Option<Duration>,
    },
    Running,
    Stopping(Stopping<Tag>),
    Done,
}

impl<Tag> Machine<Tag> {
    /// A machine of ordered children with unique ids.
    ///
    /// # Errors
    ///
    /// [`SpecError`] for options or children that make no sense: a zero window, two children of one id.
    pub fn ordered(
        options: MachineOptions,
        initial: impl IntoIterator<Item = (SlotId, Policy)>,
    ) -> Result<Self, SpecError> {
        let mut machine = Self::new(options, Discipline::Ordered)?;
        let mut pending = VecDeque::new();
        for (slot, policy) in initial {
            if machine.children.by_id(&policy.id).is_some() {
                return Err(SpecError::DuplicateChild(policy.id));
            }
            machine.check(&policy)?;
            machine.children.insert(slot, policy, true);
            pending.push_back(slot);
        }
        machine.phase = Phase::Starting { pending, deferred: Vec::new(), deadline: None };
        Ok(machine)
    }

    /// A machine of children that are added one by one.
    ///
    /// # Errors
    ///
    /// [`SpecError`] for options that make no sense: a zero window.
    pub fn dynamic(options: MachineOptions) -> Result<Self, SpecError> {
        Self::new(options, Discipline::Dynamic)
    }

    fn new(options: MachineOptions, discipline: Discipline) -> Result<Self, SpecError> {
        if options.intensity.within.is_zero() {
            return Err(SpecError::ZeroWindow);
        }
        Ok(Self {
            options,
            discipline,
            phase: Phase::Starting { pending: VecDeque::new(), deferred: Vec::new(), deadline: None },
            children: Children::default(),
            group: None,
            window: RestartWindow::default(),
            jitter: Jitter::new(options.seed),
            actions: VecDeque::new(),
        })
    }

    /// Takes in what happened at `now`. What follows from it is then to be had from [`poll_action`](Self::poll_action).
    pub fn handle(&mut self, now: Duration, event: Event<Tag>) {
        match event {
            Event::Begin => self.begin(now),
            Event::Command(command) => self.command(now, command),
            Event::Shutdown { tag, caller, cause } => self.shutdown(now, tag, caller, cause),
            Event::Kill { cause } => self.kill_all(now, cause),
            Event::Up { slot, incarnation } => self.up(now, slot, incarnation),
            Event::Alive { slot, incarnation, working } => self.alive(now, slot, incarnation, working),
            Event::Lingers { slot, incarnation } => self.lingers(now, slot, incarnation),
            Event::Ended { slot, incarnation, end } => self.ended(now, slot, incarnation, end),
            Event::Tick => self.tick(now),
        }
    }

    /// The next thing to do. To be called until it answers `None`, after each [`handle`](Self::handle).
    pub fn poll_action(&mut self) -> Option<Action<Tag>> {
        self.actions.pop_front()
    }

    /// When to call [`handle`](Self::handle) with [`Event::Tick`], unless something happens before.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let whole = match &self.phase {
            Phase::Starting { deadline, .. } => *deadline,
            Phase::Stopping(stopping) => stopping.deadline,
            Phase::Running | Phase::Done => None,
        };
        [whole, self.children.next_deadline()].into_iter().flatten().min()
    }

    /// All children, in order of start.
    pub fn which_children(&self) -> impl Iterator<Item = ChildInfo> {
        self.children.iter().map(|(id, slot)| slot.info(id))
    }

    /// One child.
    pub fn which_child(&self, target: &Target) -> Option<ChildInfo> {
        let id = self.find(target)?;
        Some(self.children.get(id)?.info(id))
    }

    /// One child's policy.
    pub fn policy(&self, target: &Target) -> Option<&Policy> {
        Some(&self.children.get(self.find(target)?)?.policy)
    }

    /// How many children there are.
    pub fn count_children(&self) -> ChildCounts {
        self.children.count()
    }

    /// Whether a stop is under way or done.
    pub fn is_stopping(&self) -> bool {
        matches!(self.phase, Phase::Stopping(_) | Phase::Done)
    }

    /// Whether a child makes sense in this supervisor.
    fn check(&self, policy: &Policy) -> Result<(), SpecError> {
        if !policy.significant {
            return Ok(());
        }
        if policy.restart == Restart::Permanent {
            return Err(SpecError::PermanentSignificant(policy.id.clone()));
        }
        if self.options.auto_shutdown == AutoShutdown::Never || self.discipline == Discipline::Dynamic {
            return Err(SpecError::UselessSignificant(policy.id.clone()));
        }
        Ok(())
    }

    fn find(&self, target: &Target) -> Option<SlotId> {
        match target {
            Target::Id(id) => self.children.by_id(id),
            Target::Slot(slot) => self.children.get(*slot).map(|_| *slot),
        }
    }

    fn command(&mut self, now: Duration, command: Command<Tag>) {
        match &mut self.phase {
            Phase::Stopping(_) | Phase::Done => self.refuse(command, Refusal::ShuttingDown),
            Phase::Running => match self.waits_for_group(&command) {
                None => self.execute(now, command),
                Some(Err(())) => self.refuse(command, Refusal::WouldDeadlock),
                Some(Ok(())) => {
                    if let Some(group) = &mut self.group {
                        group.deferred.push(command);
                    }
                }
            },
            Phase::Starting { pending, deferred, .. } => {
                let waits = match &command.op {
                    Op::Start(..) | Op::Restart(_) | Op::Delete(_) => true,
                    // A child that is up, or coming up, can be stopped at once; one whose turn has not come cannot.
                    Op::Terminate(Target::Slot(slot)) => pending.contains(slot),
                    Op::Terminate(Target::Id(id)) => {
                        self.children.by_id(id).is_some_and(|slot| pending.contains(&slot))
                    }
                };
                let inside = command.caller.and_then(|slot| self.children.get(slot));
                if !waits {
                    self.execute(now, command);
                } else if inside.is_some_and(|slot| matches!(slot.state, State::Starting(Start::Initial))) {
                    self.refuse(command, Refusal::WouldDeadlock);
                } else {
                    deferred.push(command);
                }
            }
        }
    }

    /// Whether a command queues behind the group restart that is under way, and if so, whether its caller may: a child whose
    /// start is part of that may not.
    fn waits_for_group(&self, command: &Command<Tag>) -> Option<Result<(), ()>> {
        let group = self.group.as_ref()?;
        let waits = match &command.op {
            Op::Start(..) => true,
            Op::Restart(target) | Op::Delete(target) => {
                let slot = self.find(target).and_then(|id| Some((id, self.children.get(id)?)));
                slot.is_some_and(|(id, slot)| group.holds(id) && matches!(slot.state, State::Undefined))
            }
            Op::Terminate(_) => false,
        };
        let inside = command.caller.and_then(|slot| self.children.get(slot));
        waits.then(|| if inside.is_some_and(Slot::is_group_start) { Err(()) } else { Ok(()) })
    }

    fn execute(&mut self, now: Duration, command: Command<Tag>) {
        let Command { tag, caller, op } = command;
        match op {
            Op::Start(slot, policy) => self.start_child(now, tag, caller, slot, policy),
            Op::Restart(target) => self.restart_child(now, tag, caller, target),
            Op::Terminate(target) => self.terminate_child(now, tag, caller, target),
            Op::Delete(target) => self.delete_child(tag, caller, target),
        }
    }

    /// Answers no to a command, and lets go of what it brought.
    fn refuse(&mut self, command: Command<Tag>, refusal: Refusal) {
        if let Op::Start(slot, _) = command.op {
            self.actions.push_back(Action::Forget { slot });
        }
        self.reply(command.tag, Err(refusal));
    }

    fn reply(&mut self, tag: Option<Tag>, result: Result<Outcome, Refusal>) {
        if let Some(tag) = tag {
            self.actions.push_back(Action::Reply(tag, result));
        }
    }

    fn note(&mut self, note: Note) {
        self.actions.push_back(Action::Note(note));
    }
}
