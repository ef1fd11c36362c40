//! Ends: of a child that was up, of one that was starting, of one that was told to go; and what follows from them.

use std::sync::Arc;
use std::time::Duration;

use super::children::{Slot, Start, State, Why};
use super::kept::KeptPolicy;
use super::start::NotUp;
use super::{Action, Command, Discipline, Incarnation, Machine, Note, Phase, SlotId};
use crate::child::End;
use crate::policy::{AutoShutdown, Restart, Shutdown, Strategy};
use crate::reason::{Cause, ExitReason, LastCrash};

impl<Tag> Machine<Tag> {
    /// The incarnation is gone for good: its lease has ended.
    pub(super) fn ended(&mut self, now: Duration, id: SlotId, incarnation: Incarnation, end: End) {
        let Some(slot) = self.children.current(id, incarnation) else { return };
        let leaving = slot.take_leaving();
        let brutal = slot.policy.shutdown() == Shutdown::BrutalKill;
        let before = self.children.enter(id, State::Undefined, None);
        // Actions are carried out when all of this is done, so these answers find the child gone.
        for tag in leaving {
            self.reply(Some(tag), Ok(super::Outcome::Done));
        }
        if matches!(before, State::Stuck(_)) {
            self.note_of(id, Note::Reaped);
        }
        match before {
            // Nothing of it was running: a report that comes twice, say.
            State::Undefined | State::Waiting => {}
            State::Starting(start) => {
                let how = match end {
                    End::Declined => NotUp::Declined,
                    End::Exited(reason) => NotUp::Failed { reason, timed_out: false },
                };
                self.start_over(now, id, start, how);
            }
            State::Running => {
                let reason = match end {
                    End::Declined => ExitReason::Normal,
                    End::Exited(reason) => reason,
                };
                self.exited(now, id, reason);
            }
            State::Stopping(ending) | State::Killed(ending) | State::Stuck(ending)
                if ending.start.is_some() =>
            {
                let how = match ending.why {
                    Why::StartTimedOut => NotUp::Failed { reason: ExitReason::Killed, timed_out: true },
                    Why::Asked | Why::Silent => NotUp::Cancelled,
                };
                if let Some(start) = ending.start {
                    self.start_over(now, id, start, how);
                }
            }
            // Killed for its silence: as if it had crashed.
            State::Killed(ending) | State::Stuck(ending) if ending.why == Why::Silent => {
                self.exited(now, id, ExitReason::Killed);
            }
            State::Stopping(_) => {
                if let End::Exited(reason) = end
                    && reason.is_abnormal()
                {
                    self.note_of(id, |child| Note::ShutdownError(child, reason));
                }
                self.gone(now, id);
            }
            State::Killed(_) => {
                // It was we who killed it, whatever it managed to say of its end.
                if !brutal {
                    self.note_of(id, |child| Note::ShutdownError(child, ExitReason::Killed));
                }
                self.gone(now, id);
            }
            State::Stuck(_) => self.gone(now, id),
        }
    }

    /// A child that was up has ended by itself, or by a third party's hand.
    fn exited(&mut self, now: Duration, id: SlotId, reason: ExitReason) {
        let Some(slot) = self.children.get_mut(id) else { return };
        if let (Some(backoff), Some(record)) = (slot.policy.backoff(), &mut slot.record)
            && now.saturating_sub(record.up_since) >= backoff.reset_after
        {
            record.failures = 0;
        }
        // Of a temporary child nothing is known any more when it is gone.
        let significant = slot.policy.significant.then(|| slot.policy.id.clone());
        // One that is about to be stopped for its group is started again with the group.
        if self.is_group_stopping(id) {
            self.note_of(id, |child| Note::Exited { child, reason, restart: false });
            return self.gone(now, id);
        }
        let Some(slot) = self.children.get(id) else { return };
        let restart = !self.is_stopping() && wants_restart(&slot.policy, &reason);
        self.note_of(id, |child| Note::Exited { child, reason: reason.clone(), restart });
        if restart {
            return self.restart(now, id, reason);
        }
        self.gone(now, id);
        if let Some(child) = significant
            && !self.is_stopping()
            && self.shuts_down()
        {
            let reason = ExitReason::Shutdown(Cause::Significant { child });
            self.note(Note::Finished(reason.clone()));
            self.begin_stop(now, reason, false);
        }
    }

    /// Starts a child again, if that is not once too often.
    pub(super) fn restart(&mut self, now: Duration, id: SlotId, reason: ExitReason) {
        let Some(slot) = self.children.get(id) else { return };
        if self.window.admit(now, self.options.intensity) {
            self.note_of(id, |child| Note::Restarting { child, reason });
            return self.restart_group_of(now, id);
        }
        let cause = Cause::Intensity(Arc::new(LastCrash::new(slot.policy.id.clone(), reason)));
        let reason = ExitReason::Shutdown(cause);
        self.note(Note::GaveUp(reason.clone()));
        // The offender goes first, then the others in reverse.
        let queue = self.clear(id, true);
        self.stop_after_failure(now, reason, queue);
    }

    /// Starts a child again, and whoever its strategy says with it.
    pub(super) fn restart_group_of(&mut self, now: Duration, id: SlotId) {
        let from = match self.options.strategy {
            Strategy::OneForOne => return self.restart_one(now, id),
            Strategy::RestForOne => Some(id),
            Strategy::OneForAll => None,
        };
        if let Phase::Starting(starting) = &mut self.phase {
            starting.early.push(id);
            self.children.enter(id, State::Waiting, None);
        } else {
            self.restart_group(now, id, from);
        }
    }

    /// Starts one child again, after its backoff.
    fn restart_one(&mut self, now: Duration, id: SlotId) {
        match self.backoff(id) {
            None => self.begin_start(now, id, Start::Restart),
            Some(wait) => {
                self.children.enter(id, State::Waiting, Some(now.saturating_add(wait)));
            }
        }
    }

    /// How long a child is to wait before this restart.
    pub(super) fn backoff(&mut self, id: SlotId) -> Option<Duration> {
        let slot = self.children.get_mut(id)?;
        let (backoff, record) = (slot.policy.backoff()?, slot.record.as_mut()?);
        let failures = record.failures;
        record.failures = failures.saturating_add(1);
        Some(backoff.wait(failures, self.jitter.next()))
    }

    /// Whether the supervisor shuts down, now that a significant child has ended by itself.
    fn shuts_down(&self) -> bool {
        let coming = |id| matches!(&self.phase, Phase::Starting(starting) if starting.awaits(id));
        let active = || {
            let mut significant = self.children.iter().filter(|(_, slot)| slot.policy.significant);
            // One that somebody wants gone is as good as gone: in OTP, where that stop is one step, this end comes after it.
            let up =
                |id, slot: &Slot<Tag>| !matches!(slot.state, State::Undefined) && !self.is_leaving(id, slot);
            significant.any(|(id, slot)| up(id, slot) || coming(id))
        };
        match self.options.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !active(),
        }
    }

    /// Whether a child is on its way out because somebody wants it gone, and not to be started again with its group.
    fn is_leaving(&self, id: SlotId, slot: &Slot<Tag>) -> bool {
        let (State::Stopping(ending) | State::Killed(ending) | State::Stuck(ending)) = &slot.state else {
            return false;
        };
        let comes_back = slot.policy.restart != Restart::Temporary
            && self.group.as_ref().is_some_and(|group| group.stops() && group.restarts(id));
        ending.why == Why::Asked && !comes_back
    }

    /// A child is not running any more and not to be restarted.
    fn gone(&mut self, now: Duration, id: SlotId) {
        let queue = self.clear(id, false);
        self.settled(now, queue);
    }

    /// Leaves a slot without a run of its child: kept as `undefined`, or forgotten if nothing of such a child is kept.
    /// Answers the commands that waited for this.
    pub(super) fn clear(&mut self, id: SlotId, forget: bool) -> Vec<Command<Tag>> {
        let Some(slot) = self.children.get_mut(id) else { return Vec::new() };
        let queue = slot.take_queue();
        let kept = slot.policy.restart != Restart::Temporary && self.discipline == Discipline::Ordered;
        if forget || !kept {
            self.forget(id);
        } else {
            self.children.enter(id, State::Undefined, None);
        }
        queue
    }

    pub(super) fn forget(&mut self, id: SlotId) {
        if self.children.remove(id).is_some() {
            self.actions.push_back(Action::Forget { slot: id });
        }
    }

    /// After a child is gone: whoever waited for that goes on, a stop takes its next step.
    pub(super) fn settled(&mut self, now: Duration, queue: Vec<Command<Tag>>) {
        self.replay(now, queue);
        if matches!(self.phase, Phase::Stopping(_)) {
            self.advance_stop(now);
        } else {
            self.advance_group(now);
        }
    }
}

fn wants_restart(policy: &KeptPolicy, reason: &ExitReason) -> bool {
    match policy.restart {
        Restart::Permanent => true,
        Restart::Transient => reason.is_abnormal(),
        Restart::Temporary => false,
    }
}
