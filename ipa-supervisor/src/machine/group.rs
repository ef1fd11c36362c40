//! Group restarts: rest_for_one and one_for_all.
//!
//! All of the group that run are stopped, one at a time, the last first, each as its shutdown policy says; then all of it that
//! are kept are started, one at a time, in order: those too that had not been running. A start that fails counts as a restart
//! and begins the group anew from that child (rest_for_one) or from the first (one_for_all), as in OTP's `supervisor`.
//!
//! A child that does not end is never replaced: the group waits until it does, and whoever waits for the group is told.

use std::collections::VecDeque;
use std::time::Duration;

use super::children::{Slot, Start, State};
use super::{Command, Machine, Refusal, SlotId};
use crate::error::StuckChild;
use crate::reason::Cause;

/// A group restart under way.
#[derive(Debug)]
pub(super) struct Group<Tag> {
    /// The first of the group; `None`: all children.
    from: Option<SlotId>,
    /// Those still to be started; `None` while the group is being stopped.
    pending: Option<VecDeque<SlotId>>,
    /// The one whose start is under way.
    starting: Option<SlotId>,
    /// Those that somebody stopped meanwhile: they stay down.
    excluded: Vec<SlotId>,
    /// Nothing is started before: the backoff of the child that brought this about.
    not_before: Duration,
    /// Commands that wait for the end of it.
    pub(super) deferred: Vec<Deferred<Tag>>,
}

#[derive(Debug)]
pub(super) struct Deferred<Tag> {
    pub(super) command: Command<Tag>,
    behind: Behind,
}

/// What a command waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behind {
    /// The end of the group restart.
    Group,
    /// Another command about the same child, which does.
    Another,
}

impl<Tag> Group<Tag> {
    pub(super) fn holds(&self, id: SlotId) -> bool {
        self.from.is_none_or(|from| from <= id)
    }

    /// Whether it starts this child again when all of it is down, if that is kept.
    pub(super) fn restarts(&self, id: SlotId) -> bool {
        self.holds(id) && !self.excluded.contains(&id)
    }

    /// The commands that wait.
    pub(super) fn into_deferred(self) -> Vec<Command<Tag>> {
        self.deferred.into_iter().map(|deferred| deferred.command).collect()
    }

    /// Whether all of it is still to be down.
    pub(super) fn stops(&self) -> bool {
        self.pending.is_none()
    }

    /// Leaves a child down that somebody stopped while its group is being restarted.
    pub(super) fn exclude(&mut self, id: SlotId) {
        self.excluded.push(id);
    }
}

impl<Tag> Machine<Tag> {
    /// Restarts the group that begins at `from`, because of this child; widens the one that is under way, if any.
    pub(super) fn restart_group(&mut self, now: Duration, id: SlotId, from: Option<SlotId>) {
        let not_before = now.saturating_add(self.backoff(id).unwrap_or_default());
        self.children.enter(id, State::Waiting, None);
        let group = self.group.get_or_insert_with(|| {
            Box::new(Group {
                from,
                pending: None,
                starting: None,
                excluded: Vec::new(),
                not_before,
                deferred: Vec::new(),
            })
        });
        // One that was still being stopped is widened; one that was being started begins anew, from here. Ordered by `Option`:
        // `None`, all children, is the least.
        group.from = if group.pending.take().is_none() { group.from.min(from) } else { from };
        group.starting = None;
        group.not_before = group.not_before.max(not_before);
        self.look_at_deferred(now);
        self.advance_group(now);
    }

    /// Whether this child is one that a group restart is stopping, or is about to.
    pub(super) fn is_group_stopping(&self, id: SlotId) -> bool {
        self.group.as_ref().is_some_and(|group| group.stops() && group.holds(id))
    }

    /// Whether the group restart that is under way waits, or is going to, for this child: to be gone, or to be up.
    pub(super) fn group_waits_for(&self, id: SlotId) -> bool {
        let Some(slot) = self.children.get(id) else { return false };
        slot.is_group_start() || self.is_group_stopping(id) && is_live(&slot.state)
    }

    /// Of those that it waits for, the ones that do not end.
    pub(super) fn stuck_of_group(&self) -> Vec<StuckChild> {
        let Some(group) = &self.group else { return Vec::new() };
        let awaited = |id| match group.pending {
            None => group.holds(id),
            Some(_) => group.starting == Some(id),
        };
        let stuck = |slot: &Slot<Tag>| matches!(slot.state, State::Stuck(_));
        let children = self.children.iter().filter(|(id, slot)| awaited(*id) && stuck(slot));
        children.map(|(id, slot)| StuckChild(slot.child(id))).collect()
    }

    /// Whether a command may wait for the end of the group restart: not if that waits for its caller, or for one that does not end.
    pub(super) fn may_wait_for_group(&self, command: &Command<Tag>) -> Result<(), Refusal> {
        if command.caller.is_some_and(|caller| self.group_waits_for(caller)) {
            return Err(Refusal::WouldDeadlock);
        }
        let stuck = self.stuck_of_group();
        if stuck.is_empty() { Ok(()) } else { Err(Refusal::Stuck(stuck)) }
    }

    /// Whether one of those that wait for the group restart is about the same child: operations on one child keep their order.
    pub(super) fn is_behind_another(&self, command: &Command<Tag>) -> bool {
        let before = self.group.iter().flat_map(|group| &group.deferred);
        before.map(|deferred| self.name(&deferred.command.op)).any(|name| name == self.name(&command.op))
    }

    /// Lets a command wait, if it may.
    pub(super) fn defer(&mut self, now: Duration, command: Command<Tag>, behind: Behind) {
        match (self.may_wait_for_group(&command), &mut self.group) {
            (Err(refusal), _) => self.refuse(command, refusal),
            (Ok(()), Some(group)) => group.deferred.push(Deferred { command, behind }),
            // Nothing to wait for.
            (Ok(()), None) => self.command(now, command),
        }
    }

    /// Looks again at the commands that wait for the group restart, as it has come to wait for others itself.
    pub(super) fn look_at_deferred(&mut self, now: Duration) {
        let Some(group) = &mut self.group else { return };
        for Deferred { command, behind } in std::mem::take(&mut group.deferred) {
            // Its turn, if the one before it was refused just now.
            let has_turn = behind == Behind::Another && !self.is_behind_another(&command);
            if has_turn { self.command(now, command) } else { self.defer(now, command, behind) }
        }
    }

    /// Takes the group restart as far as it goes now.
    pub(super) fn advance_group(&mut self, now: Duration) {
        let Some(group) = &self.group else { return };
        if group.pending.is_none() {
            if self.stop_group(now) {
                return;
            }
            // All of it is down. Whoever is kept is started, whether it had been running or not.
            let from = self.group.as_ref().and_then(|group| group.from);
            let mut members: VecDeque<SlotId> = self.children.from(from).map(|(id, _)| id).collect();
            let Some(group) = &mut self.group else { return };
            members.retain(|id| !group.excluded.contains(id));
            for id in &members {
                self.children.enter(*id, State::Waiting, None);
            }
            group.pending = Some(members);
        }
        self.start_group(now);
    }

    /// Stops the last of the group that runs. Answers whether there is anything to wait for.
    fn stop_group(&mut self, now: Duration) -> bool {
        let from = self.group.as_ref().and_then(|group| group.from);
        let last = self.children.from(from).rev().find(|(_, slot)| is_live(&slot.state));
        let Some((id, slot)) = last else { return false };
        if matches!(slot.state, State::Starting(_) | State::Running) {
            self.ask_to_stop(now, id, &Cause::Requested(None));
        }
        true
    }

    /// Starts the next of the group, when its time has come; after the last, lets in those who waited.
    fn start_group(&mut self, now: Duration) {
        let Some(group) = &mut self.group else { return };
        // Whatever its start has become meanwhile: none of its siblings is started while it may still run.
        let begun = group.starting.and_then(|id| self.children.get(id)).map(|slot| &slot.state);
        if begun.is_some_and(|state| !matches!(state, State::Undefined | State::Waiting | State::Running)) {
            return;
        }
        group.starting = None;
        while let Some(next) = group.pending.as_mut().and_then(VecDeque::pop_front) {
            // Otherwise it was stopped by somebody meanwhile, or is gone.
            if self.children.get(next).is_some_and(|slot| matches!(slot.state, State::Waiting)) {
                if group.not_before > now {
                    group.pending.get_or_insert_default().push_front(next);
                    self.children.enter(next, State::Waiting, Some(group.not_before));
                    return;
                }
                group.starting = Some(next);
                return self.begin_start(now, next, Start::Group);
            }
        }
        if let Some(group) = self.group.take() {
            self.replay(now, group.into_deferred());
        }
    }
}

fn is_live<Tag>(state: &State<Tag>) -> bool {
    !matches!(state, State::Undefined | State::Waiting)
}
