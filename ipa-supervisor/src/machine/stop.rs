//! Stopping: one child, or all of them; deadlines, kills, and children that survive a kill.

use std::sync::Arc;
use std::time::Duration;

use super::children::{Ending, Start, State, Why};
use super::{
    Action, Command, Discipline, Incarnation, Machine, Note, Outcome, Phase, Refusal, SlotId, Target,
};
use crate::error::StuckChild;
use crate::policy::Shutdown;
use crate::reason::{Cause, ExitReason, StartFailure};

/// The stop of the whole supervisor.
#[derive(Debug)]
pub(super) struct Stopping<Tag> {
    reason: ExitReason,
    waiting: Vec<Tag>,
    /// When all that are left are killed side by side.
    pub(super) deadline: Option<Duration>,
    /// Ordered: all from this slot on have ended, or are stuck.
    reached: Option<SlotId>,
    /// Whether it was reported that it cannot be finished for now.
    stalled: bool,
}

impl<Tag> Machine<Tag> {
    pub(super) fn terminate_child(
        &mut self,
        now: Duration,
        tag: Option<Tag>,
        caller: Option<SlotId>,
        target: Target,
    ) {
        let Some((id, slot)) = self.find(&target).and_then(|id| Some((id, self.children.get_mut(id)?)))
        else {
            return self.reply(tag, Err(Refusal::NotFound));
        };
        if let Some(group) = self.group.as_mut().filter(|group| group.holds(id)) {
            group.exclude(id);
        }
        match &mut slot.state {
            State::Waiting => {
                let queue = self.clear(id, false);
                self.reply(tag, Ok(Outcome::Done));
                self.settled(now, queue);
            }
            State::Undefined => self.reply(tag, Ok(Outcome::Done)),
            State::Stuck(ending) => {
                // Not gone, but not wanted any more either: when it ends at last, nothing is started in its place.
                if ending.will_retry() {
                    *ending = Ending::asked(None);
                }
                let stuck = StuckChild(slot.child(id));
                self.reply(tag, Err(Refusal::Stuck(vec![stuck])));
            }
            // A child that asks without waiting may well ask for itself.
            _ if tag.is_some() && caller == Some(id) => self.reply(tag, Err(Refusal::WouldDeadlock)),
            State::Stopping(ending) | State::Killed(ending) => {
                // A restart that timed out would be tried again; not any more.
                if ending.will_retry() {
                    *ending = Ending::asked(None);
                }
                slot.await_end(tag);
            }
            State::Starting(_) | State::Running => {
                slot.await_end(tag);
                self.ask_to_stop(now, id, &Cause::Requested(None));
            }
        }
    }

    pub(super) fn shutdown(&mut self, now: Duration, tag: Option<Tag>, caller: Option<SlotId>, cause: Cause) {
        if tag.is_some() && caller.is_some() {
            return self.reply(tag, Err(Refusal::WouldDeadlock));
        }
        match &mut self.phase {
            Phase::Done => return self.reply(tag, Ok(Outcome::Done)),
            Phase::Stopping(stopping) if stopping.stalled => {
                let stuck = self.stuck();
                return self.reply(tag, Err(Refusal::Stuck(stuck)));
            }
            Phase::Stopping(stopping) => return stopping.waiting.extend(tag),
            Phase::Starting(_) | Phase::Running => {}
        }
        self.enter_stop(now, ExitReason::Shutdown(cause));
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.waiting.extend(tag);
        }
        self.proceed(now, false);
    }

    pub(super) fn kill_all(&mut self, now: Duration, cause: Cause) {
        let reason = ExitReason::Shutdown(cause);
        // A stop that is cut short by a kill does not end as it began: whoever is told must not take it for a clean one.
        if let Phase::Stopping(stopping) = &mut self.phase {
            stopping.reason = reason.clone();
        }
        self.begin_stop(now, reason, true);
    }

    /// Stops everything, then exits for this reason; a stop that is under way keeps its own.
    pub(super) fn begin_stop(&mut self, now: Duration, reason: ExitReason, kill: bool) {
        if matches!(self.phase, Phase::Done) {
            return;
        }
        if !matches!(self.phase, Phase::Stopping(_)) {
            self.enter_stop(now, reason);
        }
        self.proceed(now, kill);
    }

    /// Stops everything because of a child that is gone; `queue` is what waited for it, refused now.
    pub(super) fn stop_after_failure(&mut self, now: Duration, reason: ExitReason, queue: Vec<Command<Tag>>) {
        self.enter_stop(now, reason);
        self.replay(now, queue);
        self.proceed(now, false);
    }

    /// From here on nothing is started; what waits for a start is refused.
    fn enter_stop(&mut self, now: Duration, reason: ExitReason) {
        let stopping = Stopping {
            reason,
            waiting: Vec::new(),
            deadline: self.options.shutdown_timeout.map(|timeout| now.saturating_add(timeout)),
            reached: None,
            stalled: false,
        };
        let before = std::mem::replace(&mut self.phase, Phase::Stopping(Box::new(stopping)));
        let mut refused = self.group.take().map(|group| group.into_deferred()).unwrap_or_default();
        if let Phase::Starting(starting) = before {
            refused.extend(starting.deferred);
        }
        // Whoever waits for a child's stop to be over is not left to wait for it.
        refused.extend(self.children.take_queues());
        let waiting: Vec<SlotId> = self
            .children
            .iter()
            .filter(|(_, slot)| matches!(slot.state, State::Waiting))
            .map(|(id, _)| id)
            .collect();
        for id in waiting {
            self.children.enter(id, State::Undefined, None);
        }
        self.replay(now, refused);
    }

    fn proceed(&mut self, now: Duration, kill: bool) {
        if kill {
            for id in self.live() {
                self.kill_now(now, id);
            }
        } else if self.discipline == Discipline::Dynamic {
            let cause = self.stop_cause();
            for id in self.live() {
                self.ask_to_stop(now, id, &cause);
            }
        }
        self.advance_stop(now);
    }

    /// Takes the stop as far as it goes now: ordered children one at a time, from the last; then the exit.
    pub(super) fn advance_stop(&mut self, now: Duration) {
        let Phase::Stopping(stopping) = &self.phase else { return };
        let mut reached = stopping.reached;
        let cause = self.stop_cause();
        let left = loop {
            let Some(id) = self.children.last_below(reached) else { break false };
            match self.children.get(id).map(|slot| &slot.state) {
                Some(State::Starting(_) | State::Running) => {
                    self.ask_to_stop(now, id, &cause);
                    break true;
                }
                Some(State::Stopping(_) | State::Killed(_)) => break true,
                Some(State::Undefined | State::Waiting | State::Stuck(_)) | None => reached = Some(id),
            }
        };
        let stuck = if left { Vec::new() } else { self.stuck() };
        let Phase::Stopping(stopping) = &mut self.phase else { return };
        stopping.reached = reached;
        if left {
            return;
        }
        stopping.deadline = None;
        if stuck.is_empty() {
            let waiting = std::mem::take(&mut stopping.waiting);
            let reason = stopping.reason.clone();
            self.phase = Phase::Done;
            for tag in waiting {
                self.reply(Some(tag), Ok(Outcome::Done));
            }
            self.actions.push_back(Action::Exit(reason));
        } else if !stopping.stalled {
            stopping.stalled = true;
            for tag in std::mem::take(&mut stopping.waiting) {
                self.reply(Some(tag), Err(Refusal::Stuck(stuck.clone())));
            }
            self.note(Note::Stalled(stuck.clone()));
            self.actions.push_back(Action::Stalled(stuck));
        }
    }

    fn stop_cause(&self) -> Cause {
        if let Phase::Stopping(stopping) = &self.phase
            && let ExitReason::Shutdown(cause) = &stopping.reason
        {
            return cause.clone();
        }
        Cause::Requested(None)
    }

    fn live(&self) -> Vec<SlotId> {
        let live =
            |state: &State<Tag>| matches!(state, State::Starting(_) | State::Running | State::Stopping(_));
        self.children.iter().filter(|(_, slot)| live(&slot.state)).map(|(id, _)| id).collect()
    }

    fn stuck(&self) -> Vec<StuckChild> {
        let stuck = |state: &State<Tag>| matches!(state, State::Stuck(_));
        let stuck = self.children.iter().filter(|(_, slot)| stuck(&slot.state));
        stuck.map(|(id, slot)| StuckChild(slot.child(id))).collect()
    }

    /// Tells a child to stop, as its shutdown policy says; one that is already going is left to it.
    pub(super) fn ask_to_stop(&mut self, now: Duration, id: SlotId, cause: &Cause) {
        let Some(slot) = self.children.get(id) else { return };
        if !matches!(slot.state, State::Starting(_) | State::Running) {
            return;
        }
        let incarnation = slot.incarnation;
        let at_once = slot.policy.shutdown() == Shutdown::Timeout(Duration::ZERO);
        let deadline = match slot.policy.shutdown() {
            Shutdown::BrutalKill => return self.kill_now(now, id),
            Shutdown::Timeout(timeout) => Some(now.saturating_add(timeout)),
            Shutdown::Infinity => None,
        };
        let before = self.children.enter(id, State::Undefined, None);
        self.children.enter(id, State::Stopping(Ending::asked(start_of(before))), deadline);
        self.actions.push_back(Action::Stop { slot: id, incarnation, cause: cause.clone() });
        if at_once {
            // Not at the next tick, before which a driver may let the child go on.
            self.kill_now(now, id);
        }
    }

    fn kill_now(&mut self, now: Duration, id: SlotId) {
        let ending = match self.children.enter(id, State::Undefined, None) {
            State::Stopping(ending) => ending,
            other => Ending::asked(start_of(other)),
        };
        self.kill(now, id, ending);
    }

    pub(super) fn kill(&mut self, now: Duration, id: SlotId, ending: Ending<Tag>) {
        let Some(slot) = self.children.get(id) else { return };
        let incarnation = slot.incarnation;
        self.children.enter(id, State::Killed(ending), Some(now.saturating_add(self.options.kill_grace)));
        self.actions.push_back(Action::Kill { slot: id, incarnation });
    }

    /// Handles every deadline that has come.
    pub(super) fn tick(&mut self, now: Duration) {
        while let Some(id) = self.children.overdue(now) {
            match self.children.get(id).map(|slot| &slot.state) {
                Some(State::Starting(_)) => self.start_timed_out(now, id),
                Some(State::Stopping(_)) => self.kill_now(now, id),
                Some(State::Killed(_)) => self.call_stuck(now, id),
                Some(State::Running) => self.silent(now, id),
                Some(State::Waiting) if self.group.is_some() => {
                    self.children.clear_deadline(id);
                    self.advance_group(now);
                }
                Some(State::Waiting) => self.begin_start(now, id, Start::Restart),
                // The other states have no deadline.
                _ => self.children.clear_deadline(id),
            }
        }
        match &mut self.phase {
            Phase::Starting(starting) if starting.deadline.is_some_and(|deadline| deadline <= now) => {
                self.initial_start_timed_out(now);
            }
            Phase::Stopping(stopping) if stopping.deadline.is_some_and(|deadline| deadline <= now) => {
                stopping.deadline = None;
                self.proceed(now, true);
            }
            _ => {}
        }
    }

    /// A child says that it is alive, and whether it works or waits.
    pub(super) fn alive(&mut self, now: Duration, id: SlotId, incarnation: Incarnation, working: bool) {
        let Some(slot) = self.children.current(id, incarnation) else { return };
        if matches!(slot.state, State::Running) {
            let silent =
                slot.policy.max_silence().filter(|_| working).map(|silence| now.saturating_add(silence));
            self.children.enter(id, State::Running, silent);
        }
    }

    /// A child that works has been silent for too long.
    fn silent(&mut self, now: Duration, id: SlotId) {
        let Some(slot) = self.children.get(id) else { return };
        let child = slot.child(id);
        self.note(Note::Silent(child));
        self.kill(now, id, Ending { start: None, why: Why::Silent });
    }

    /// A child says of itself that it will not end soon.
    pub(super) fn lingers(&mut self, now: Duration, id: SlotId, incarnation: Incarnation) {
        let Some(slot) = self.children.current(id, incarnation) else { return };
        match &slot.state {
            State::Stopping(_) | State::Killed(_) => self.call_stuck(now, id),
            // Its start has failed, and what it had started cannot be rolled back for now.
            State::Starting(_) => {
                if let State::Starting(start) = self.children.enter(id, State::Undefined, None) {
                    let ending = Ending { start: Some(start), why: Why::StartTimedOut };
                    self.children.enter(id, State::Killed(ending), None);
                }
                self.call_stuck(now, id);
            }
            State::Undefined | State::Waiting | State::Running | State::Stuck(_) => {}
        }
    }

    /// The grace after a kill is over and the child's lease is still held: an error to all who wait for its end. It keeps its
    /// slot and its id, so that nothing is started in its place.
    fn call_stuck(&mut self, now: Duration, id: SlotId) {
        let mut ending = match self.children.enter(id, State::Undefined, None) {
            State::Stopping(ending) | State::Killed(ending) => ending,
            other => Ending::asked(start_of(other)),
        };
        let Some(slot) = self.children.get_mut(id) else { return };
        let child = slot.child(id);
        let leaving = slot.take_leaving();
        let queue = slot.take_queue();
        let stuck = || Err(Refusal::Stuck(vec![StuckChild(child.clone())]));
        let mut initial = None;
        match &mut ending.start {
            Some(Start::Call { tag, .. }) => {
                let tag = tag.take();
                self.reply(tag, stuck());
            }
            Some(Start::Initial) => initial = ending.start.take(),
            Some(Start::Restart | Start::Group) | None => {}
        }
        let timed_out = ending.why == Why::StartTimedOut;
        self.children.enter(id, State::Stuck(ending), None);
        self.note(Note::Stuck(child.clone()));
        for tag in leaving {
            self.reply(Some(tag), stuck());
        }
        self.replay(now, queue);
        match &self.phase {
            // The initial start has failed with it, and the rollback does not wait for it.
            Phase::Starting(_) if initial.is_some() && timed_out => {
                let reason = ExitReason::Killed;
                let failure = StartFailure { child: child.id, reason, timed_out, with_supervisor: false };
                let cause = Cause::FailedToStart(Arc::new(failure));
                self.begin_stop(now, ExitReason::Shutdown(cause), false);
            }
            // Somebody wanted it gone, and the initial start goes on without it.
            Phase::Starting(_) if initial.is_some() => self.advance_start(now),
            Phase::Stopping(_) => self.advance_stop(now),
            // Its group, if one is being restarted, is waited for in vain.
            _ => self.look_at_deferred(now),
        }
    }
}

/// The start that was under way in this state.
fn start_of<Tag>(state: State<Tag>) -> Option<Start<Tag>> {
    match state {
        State::Starting(start) => Some(start),
        _ => None,
    }
}
