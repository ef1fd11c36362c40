//! Starting: the initial list in order, a caller's child, a child that is started again.

use std::sync::Arc;
use std::time::Duration;

use super::children::{Ending, Start, State, Why};
use super::{
    Action, Command, Discipline, Incarnation, Machine, Note, Op, Outcome, Phase, Refusal, SlotId, Target,
};
use crate::error::StuckChild;
use crate::machine::ChildState;
use crate::policy::Policy;
use crate::reason::{Cause, ExitReason, StartFailure};

/// The initial start that is under way.
#[derive(Debug)]
pub(super) struct Starting<Tag> {
    /// Those from this slot on are still to come. `None`: nobody is.
    next: Option<SlotId>,
    /// What waits for the end of it.
    pub(super) deferred: Vec<Command<Tag>>,
    pub(super) deadline: Option<Duration>,
    /// Children whose end is to restart their group: when all are up, as in OTP, which looks at exits only then.
    pub(super) early: Vec<SlotId>,
}

impl<Tag> Starting<Tag> {
    pub(super) fn new() -> Self {
        Self { next: Some(SlotId(0)), deferred: Vec::new(), deadline: None, early: Vec::new() }
    }

    /// Whether this child's turn is still to come.
    pub(super) fn awaits(&self, id: SlotId) -> bool {
        self.next.is_some_and(|next| id >= next)
    }
}

impl<Tag> Machine<Tag> {
    pub(super) fn begin(&mut self, now: Duration) {
        if let Phase::Starting(starting) = &mut self.phase {
            starting.deadline = self.options.start_timeout.map(|timeout| now.saturating_add(timeout));
        }
        self.advance_start(now);
    }

    /// The initial start has taken too long: it is rolled back, and the child that was starting is named.
    pub(super) fn initial_start_timed_out(&mut self, now: Duration) {
        // It may be on its way out already, killed for its own start timeout or stopped by somebody.
        let starting = |state: &State<Tag>| match state {
            State::Starting(start) => matches!(start, Start::Initial),
            State::Stopping(ending) | State::Killed(ending) => matches!(ending.start, Some(Start::Initial)),
            _ => false,
        };
        let late = self.children.iter().find(|(_, slot)| starting(&slot.state));
        let cause = match late {
            Some((_, slot)) => Cause::FailedToStart(Arc::new(StartFailure {
                child: slot.policy.id.clone(),
                reason: ExitReason::Killed,
                timed_out: true,
                with_supervisor: true,
            })),
            // The start is over when none is left that is starting, so there is one.
            None => Cause::Requested(None),
        };
        self.begin_stop(now, ExitReason::Shutdown(cause), false);
    }

    /// Starts the next of the initial children; after the last, opens for business.
    pub(super) fn advance_start(&mut self, now: Duration) {
        let Phase::Starting(starting) = &mut self.phase else { return };
        // What is added meanwhile waits for the end of this, so these are the initial ones.
        let next = starting.next.and_then(|next| self.children.from(Some(next)).next());
        if let Some((next, _)) = next {
            starting.next = next.0.checked_add(1).map(SlotId);
            return self.begin_start(now, next, Start::Initial);
        }
        let (deferred, early) = (std::mem::take(&mut starting.deferred), std::mem::take(&mut starting.early));
        self.phase = Phase::Running;
        self.actions.push_back(Action::Started);
        for id in early {
            // Unless somebody stopped it meanwhile.
            if self.children.get(id).is_some_and(|slot| matches!(slot.state, State::Waiting)) {
                self.restart_group_of(now, id);
            }
        }
        for command in deferred {
            self.command(now, command);
        }
    }

    pub(super) fn start_child(
        &mut self,
        now: Duration,
        tag: Option<Tag>,
        caller: Option<SlotId>,
        slot: SlotId,
        policy: Policy,
    ) {
        let standing = self.children.by_id(&policy.id);
        if let Some((id, standing)) = standing.and_then(|id| Some((id, self.children.get(id)?))) {
            let refusal = match standing.state() {
                ChildState::Running => Refusal::AlreadyStarted(id, standing.incarnation),
                ChildState::Undefined | ChildState::Restarting => Refusal::AlreadyPresent(id),
                ChildState::Stuck => Refusal::Stuck(vec![StuckChild(standing.child(id))]),
                ChildState::Starting | ChildState::Stopping => {
                    let command = Command { tag, caller, op: Op::Start(slot, policy) };
                    return self.wait_behind(id, command);
                }
            };
            return self.refuse(Command { tag, caller, op: Op::Start(slot, policy) }, refusal);
        }
        let full = |max: &usize| self.discipline == Discipline::Dynamic && self.children.len() >= *max;
        if let Some(max) = self.options.max_children.filter(full) {
            return self
                .refuse(Command { tag, caller, op: Op::Start(slot, policy) }, Refusal::MaxChildren(max));
        }
        if let Err(error) = self.check(&policy) {
            return self.refuse(Command { tag, caller, op: Op::Start(slot, policy) }, Refusal::Spec(error));
        }
        self.children.insert(slot, policy);
        self.begin_start(now, slot, Start::Call { tag, fresh: true });
    }

    pub(super) fn restart_child(
        &mut self,
        now: Duration,
        tag: Option<Tag>,
        caller: Option<SlotId>,
        target: Target,
    ) {
        let Some((id, slot)) = self.find(&target).and_then(|id| Some((id, self.children.get(id)?))) else {
            return self.reply(tag, Err(Refusal::NotFound));
        };
        let refusal = match slot.state() {
            ChildState::Undefined => return self.begin_start(now, id, Start::Call { tag, fresh: false }),
            ChildState::Running => Refusal::Running,
            ChildState::Restarting => Refusal::Restarting,
            ChildState::Stuck => Refusal::Stuck(vec![StuckChild(slot.child(id))]),
            ChildState::Starting | ChildState::Stopping => {
                return self.wait_behind(id, Command { tag, caller, op: Op::Restart(target) });
            }
        };
        self.reply(tag, Err(refusal));
    }

    pub(super) fn delete_child(&mut self, tag: Option<Tag>, caller: Option<SlotId>, target: Target) {
        let Some((id, slot)) = self.find(&target).and_then(|id| Some((id, self.children.get(id)?))) else {
            return self.reply(tag, Err(Refusal::NotFound));
        };
        let result = match slot.state() {
            ChildState::Undefined => {
                self.forget(id);
                Ok(Outcome::Done)
            }
            ChildState::Running => Err(Refusal::Running),
            ChildState::Restarting => Err(Refusal::Restarting),
            ChildState::Stuck => Err(Refusal::Stuck(vec![StuckChild(slot.child(id))])),
            ChildState::Starting | ChildState::Stopping => {
                return self.wait_behind(id, Command { tag, caller, op: Op::Delete(target) });
            }
        };
        self.reply(tag, result);
    }

    /// Lets a command wait until the operation on this child that is under way has ended.
    fn wait_behind(&mut self, id: SlotId, command: Command<Tag>) {
        if command.caller == Some(id) {
            return self.refuse(command, Refusal::WouldDeadlock);
        }
        match self.children.get_mut(id) {
            Some(slot) => slot.enqueue(command),
            None => self.refuse(command, Refusal::NotFound),
        }
    }

    /// Carries out what waited for the operation on this child to end.
    pub(super) fn replay(&mut self, now: Duration, queue: Vec<Command<Tag>>) {
        for command in queue {
            self.command(now, command);
        }
    }

    pub(super) fn begin_start(&mut self, now: Duration, id: SlotId, start: Start<Tag>) {
        let Some(slot) = self.children.get_mut(id) else { return };
        slot.incarnation.0 += 1;
        slot.restarts += u64::from(matches!(start, Start::Restart | Start::Group));
        let incarnation = slot.incarnation;
        let deadline = slot.policy.start_timeout().map(|timeout| now.saturating_add(timeout));
        self.children.enter(id, State::Starting(start), deadline);
        self.actions.push_back(Action::Start { slot: id, incarnation });
    }

    /// A child's `init` is done.
    pub(super) fn up(&mut self, now: Duration, id: SlotId, incarnation: Incarnation) {
        // A child that was told to stop while this was on its way ends without having been up.
        let Some(slot) = self.children.current(id, incarnation) else { return };
        if !matches!(slot.state, State::Starting(_)) {
            return;
        }
        if let Some(record) = &mut slot.record {
            record.up_since = now;
        }
        let child = slot.child(id);
        let queue = slot.take_queue();
        // Taken to be working until it says otherwise.
        let silent = slot.policy.max_silence().map(|silence| now.saturating_add(silence));
        let before = self.children.enter(id, State::Running, silent);
        self.note(Note::Started(child));
        match before {
            State::Starting(Start::Call { tag, .. }) => {
                self.reply(tag, Ok(Outcome::Started(id, incarnation)))
            }
            State::Starting(Start::Initial) => self.advance_start(now),
            _ => self.advance_group(now),
        }
        self.replay(now, queue);
    }

    /// A start that was under way is over, and the child is not up.
    pub(super) fn start_over(&mut self, now: Duration, id: SlotId, start: Start<Tag>, how: NotUp) {
        let stopping = self.is_stopping();
        let Some(slot) = self.children.get(id) else { return };
        let child = slot.child(id);
        match (start, how) {
            (Start::Call { tag, fresh }, how) => {
                let (result, forget) = match how {
                    NotUp::Declined => (Ok(Outcome::Ignored), false),
                    NotUp::Cancelled => (Err(Refusal::Cancelled), fresh),
                    NotUp::Failed { reason, timed_out } => {
                        let failure =
                            StartFailure { child: child.id, reason, timed_out, with_supervisor: false };
                        (Err(Refusal::Failed(Arc::new(failure))), fresh)
                    }
                };
                // The state first, then the answer: who is told that a start failed finds the id free.
                let queue = self.clear(id, forget);
                self.reply(tag, result);
                self.settled(now, queue);
            }
            (Start::Initial, NotUp::Failed { reason, timed_out }) if !stopping => {
                let queue = self.clear(id, false);
                let failure = StartFailure { child: child.id, reason, timed_out, with_supervisor: false };
                let cause = Cause::FailedToStart(Arc::new(failure));
                self.stop_after_failure(now, ExitReason::Shutdown(cause), queue);
            }
            (Start::Restart | Start::Group, NotUp::Failed { reason, .. }) if !stopping => {
                self.note(Note::RestartFailed(child, reason.clone()));
                self.restart(now, id, reason);
            }
            (Start::Initial, _) => {
                let queue = self.clear(id, false);
                self.advance_start(now);
                self.settled(now, queue);
            }
            (Start::Restart | Start::Group, _) => {
                let queue = self.clear(id, false);
                self.settled(now, queue);
            }
        }
    }

    /// A child's `init` has taken too long.
    pub(super) fn start_timed_out(&mut self, now: Duration, id: SlotId) {
        let before = self.children.enter(id, State::Undefined, None);
        if let State::Starting(start) = before {
            self.kill(now, id, Ending { start: Some(start), why: Why::StartTimedOut });
        }
    }
}

/// How a start ended that did not bring the child up.
pub(super) enum NotUp {
    Declined,
    Cancelled,
    Failed { reason: ExitReason, timed_out: bool },
}
