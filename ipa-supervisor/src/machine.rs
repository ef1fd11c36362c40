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
//! The files: `children` keeps the table, `kept` a child's policy in it, `deadlines` what is due; `start`, `exit`, `group` and `stop` hold one group of rules each.
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
mod deadlines;
mod exit;
mod group;
mod kept;
mod start;
mod stop;
#[cfg(test)]
mod tests;
mod vocabulary;

use std::collections::VecDeque;
use std::time::Duration;

use self::children::{Children, Slot, Start, State};
use self::group::{Behind, Group};
pub(crate) use self::kept::KeptPolicy;
use self::start::Starting;
use self::stop::Stopping;
pub use self::vocabulary::{
    Action, ChildCounts, ChildInfo, ChildRef, ChildState, Command, Event, Incarnation, MachineOptions, Note,
    Op, Outcome, Refusal, SlotId, Target,
};
use crate::backoff::Jitter;
use crate::error::SpecError;
use crate::intensity::RestartWindow;
use crate::policy::{AutoShutdown, Policy, Restart};
use crate::spec::ChildId;

/// See the [module](self).
#[derive(Debug)]
pub struct Machine<Tag> {
    options: MachineOptions,
    discipline: Discipline,
    phase: Phase<Tag>,
    children: Children<Tag>,
    /// The group restart that is under way.
    group: Option<Box<Group<Tag>>>,
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
    /// The initial children are being started. Boxed, as the stop is: there is a machine for each pod, and most of them run.
    Starting(Box<Starting<Tag>>),
    Running,
    Stopping(Box<Stopping<Tag>>),
    Done,
}

impl<Tag> Machine<Tag> {
    /// A machine of ordered children with unique ids, which start in the order of their slots.
    ///
    /// # Errors
    ///
    /// [`SpecError`] for options or children that make no sense: a zero window, two children of one id.
    pub fn ordered(
        options: MachineOptions,
        initial: impl IntoIterator<Item = (SlotId, Policy)>,
    ) -> Result<Self, SpecError> {
        let mut machine = Self::new(options, Discipline::Ordered)?;
        let initial = initial.into_iter();
        machine.children = Children::named(initial.size_hint().0);
        for (slot, policy) in initial {
            if machine.children.by_id(&policy.id).is_some() {
                return Err(SpecError::DuplicateChild(policy.id));
            }
            machine.check(&policy)?;
            machine.children.insert(slot, policy);
        }
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
            phase: Phase::Starting(Box::new(Starting::new())),
            children: Children::unnamed(),
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
        let action = self.actions.pop_front();
        // There is a machine for each pod, and most of them have nothing to do most of the time: they keep no room for it.
        if action.is_none() && self.discipline == Discipline::Ordered && matches!(self.phase, Phase::Running)
        {
            self.actions = VecDeque::new();
        }
        action
    }

    /// When to call [`handle`](Self::handle) with [`Event::Tick`], unless something happens before.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let whole = match &self.phase {
            Phase::Starting(starting) => starting.deadline,
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
    pub fn policy(&self, target: &Target) -> Option<Policy> {
        self.kept_policy(self.find(target)?).map(KeptPolicy::whole)
    }

    pub(crate) fn kept_policy(&self, id: SlotId) -> Option<&KeptPolicy> {
        self.children.get(id).map(|slot| &slot.policy)
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
        if policy.max_silence.is_some_and(|silence| silence.is_zero()) {
            return Err(SpecError::ZeroSilence(policy.id.clone()));
        }
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

    /// Whether an operation on a child is under way that others on it wait for.
    fn is_under_way(&self, id: SlotId) -> bool {
        let state = self.children.get(id).map(Slot::state);
        matches!(state, Some(ChildState::Starting | ChildState::Stopping))
    }

    /// The id of the child that an operation is about.
    fn name<'a>(&'a self, op: &'a Op) -> Option<&'a ChildId> {
        match op {
            Op::Start(_, policy) => Some(&policy.id),
            Op::Restart(target) | Op::Terminate(target) | Op::Delete(target) => match target {
                Target::Id(id) => Some(id),
                Target::Slot(slot) => self.children.get(*slot).map(|slot| &slot.policy.id),
            },
        }
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
                Some(behind) => self.defer(now, command, behind),
            },
            Phase::Starting(starting) => {
                let waits = match &command.op {
                    Op::Start(..) | Op::Restart(_) | Op::Delete(_) => true,
                    // A child that is up, or coming up, can be stopped at once; one whose turn has not come cannot.
                    Op::Terminate(Target::Slot(slot)) => {
                        starting.awaits(*slot) && self.children.get(*slot).is_some()
                    }
                    Op::Terminate(Target::Id(id)) => {
                        self.children.by_id(id).is_some_and(|slot| starting.awaits(slot))
                    }
                };
                let inside = command.caller.and_then(|slot| self.children.get(slot));
                if !waits {
                    self.execute(now, command);
                } else if inside.is_some_and(|slot| matches!(slot.state, State::Starting(Start::Initial))) {
                    self.refuse(command, Refusal::WouldDeadlock);
                } else {
                    starting.deferred.push(command);
                }
            }
        }
    }

    /// What a command queues behind while a group restart is under way, if anything.
    fn waits_for_group(&self, command: &Command<Tag>) -> Option<Behind> {
        let group = self.group.as_ref()?;
        match &command.op {
            // Unless it waits for something else first: for the child of that id to be up, or gone.
            Op::Start(_, policy) => {
                let waits_first = self.children.by_id(&policy.id).is_some_and(|id| self.is_under_way(id));
                (!waits_first).then_some(Behind::Group)
            }
            Op::Restart(target) | Op::Delete(target) => {
                let slot = self.find(target).and_then(|id| Some((id, self.children.get(id)?)));
                match slot.is_some_and(|(id, slot)| group.holds(id) && matches!(slot.state, State::Undefined))
                {
                    true => Some(Behind::Group),
                    false => self.is_behind_another(command).then_some(Behind::Another),
                }
            }
            Op::Terminate(_) => None,
        }
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

    /// Says something of a child.
    fn note_of(&mut self, id: SlotId, note: impl FnOnce(ChildRef) -> Note) {
        if let Some(slot) = self.children.get(id) {
            let child = slot.child(id);
            self.note(note(child));
        }
    }
}
