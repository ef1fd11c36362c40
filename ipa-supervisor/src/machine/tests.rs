//! The rules, without a runtime: a rig that plays the driver and the children, and says what the machine did in plain lines.

mod dynamic;
mod group;
mod operations;
mod restart;
mod significance;
mod start;
mod stop;
mod strategies;
mod waiting;
mod walk;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::*;
use crate::child::End;
use crate::error::StuckChild;
use crate::intensity::RestartIntensity;
use crate::policy::Kind;
use crate::policy::{Restart, Shutdown};
use crate::reason::{Cause, ExitReason};
use crate::spec::ChildId;

/// A machine under test. Callers are told apart by a word each.
struct Rig {
    machine: Machine<&'static str>,
    now: Duration,
    /// What each slot is called.
    names: BTreeMap<SlotId, ChildId>,
    /// The incarnations that have been started and have not said that they ended.
    live: BTreeMap<SlotId, Incarnation>,
    next_slot: u64,
    notes: Vec<String>,
    exit: Option<ExitReason>,
}

impl Rig {
    fn ordered<const N: usize>(options: MachineOptions, children: [Policy; N]) -> Self {
        let children: Vec<_> = (0..).map(SlotId).zip(children).collect();
        let machine = Machine::ordered(options, children.clone()).unwrap();
        let names = children.into_iter().map(|(slot, policy)| (slot, policy.id)).collect();
        Self::new(machine, names, N as u64)
    }

    /// An ordered machine whose children are all up.
    fn running<const N: usize>(options: MachineOptions, children: [Policy; N]) -> Self {
        let ids = children.each_ref().map(|policy| policy.id.clone());
        let mut rig = Self::ordered(options, children);
        rig.begin();
        for id in ids {
            rig.up(id.as_str());
        }
        rig.notes.clear();
        rig
    }

    /// A dynamic machine, begun, with these children up.
    fn dynamic<const N: usize>(options: MachineOptions, children: [Policy; N]) -> Self {
        let mut rig = Self::new(Machine::dynamic(options).unwrap(), BTreeMap::new(), 0);
        assert_eq!(rig.begin(), ["started"]);
        for policy in children {
            let id = policy.id.clone();
            rig.start("-", policy);
            rig.up(id.as_str());
        }
        rig.notes.clear();
        rig
    }

    fn new(machine: Machine<&'static str>, names: BTreeMap<SlotId, ChildId>, next_slot: u64) -> Self {
        let (now, live) = (Duration::ZERO, BTreeMap::new());
        Self { machine, now, names, live, next_slot, notes: Vec::new(), exit: None }
    }

    // What happens.

    fn begin(&mut self) -> Vec<String> {
        self.handle(Event::Begin)
    }

    fn up(&mut self, id: &str) -> Vec<String> {
        let (slot, incarnation) = self.of(id);
        self.handle(Event::Up { slot, incarnation })
    }

    fn lingers(&mut self, id: &str) -> Vec<String> {
        let (slot, incarnation) = self.of(id);
        self.handle(Event::Lingers { slot, incarnation })
    }

    fn ended(&mut self, id: &str, end: End) -> Vec<String> {
        let (slot, incarnation) = self.of(id);
        self.live.remove(&slot);
        self.handle(Event::Ended { slot, incarnation, end })
    }

    fn declines(&mut self, id: &str) -> Vec<String> {
        self.ended(id, End::Declined)
    }

    fn ends(&mut self, id: &str, reason: ExitReason) -> Vec<String> {
        self.ended(id, End::Exited(reason))
    }

    fn crashes(&mut self, id: &str) -> Vec<String> {
        self.ends(id, ExitReason::failed("crash"))
    }

    /// The child ends as it was asked to.
    fn stops(&mut self, id: &str) -> Vec<String> {
        self.ends(id, ExitReason::Shutdown(Cause::Requested(None)))
    }

    /// Time passes, and the driver's sleep ends as often as the machine asks for.
    fn pass(&mut self, ms: u64) -> Vec<String> {
        let until = self.now + Duration::from_millis(ms);
        let mut lines = Vec::new();
        while let Some(next) = self.machine.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            lines.extend(self.handle(Event::Tick));
        }
        self.now = until;
        lines
    }

    // What callers ask for.

    fn command(&mut self, tag: Option<&'static str>, caller: Option<&str>, op: Op) -> Vec<String> {
        let caller = caller.map(|id| self.slot(id));
        self.handle(Event::Command(Command { tag, caller, op }))
    }

    fn start(&mut self, tag: &'static str, policy: Policy) -> Vec<String> {
        self.start_from(None, tag, policy)
    }

    fn start_from(&mut self, caller: Option<&str>, tag: &'static str, policy: Policy) -> Vec<String> {
        let caller = caller.map(|id| self.slot(id));
        let slot = SlotId(self.next_slot);
        self.next_slot += 1;
        self.names.insert(slot, policy.id.clone());
        self.handle(Event::Command(Command { tag: Some(tag), caller, op: Op::Start(slot, policy) }))
    }

    fn restart(&mut self, tag: &'static str, id: &str) -> Vec<String> {
        self.command(Some(tag), None, Op::Restart(Target::Id(id.into())))
    }

    fn terminate(&mut self, tag: &'static str, id: &str) -> Vec<String> {
        self.command(Some(tag), None, Op::Terminate(Target::Id(id.into())))
    }

    /// As [`terminate`](Self::terminate), by slot: the only way in a dynamic machine.
    fn terminate_slot(&mut self, tag: &'static str, id: &str) -> Vec<String> {
        let slot = self.slot(id);
        self.command(Some(tag), None, Op::Terminate(Target::Slot(slot)))
    }

    fn delete(&mut self, tag: &'static str, id: &str) -> Vec<String> {
        self.command(Some(tag), None, Op::Delete(Target::Id(id.into())))
    }

    fn shutdown(&mut self, tag: &'static str) -> Vec<String> {
        self.handle(Event::Shutdown { tag: Some(tag), caller: None, cause: Cause::Requested(None) })
    }

    fn kill(&mut self) -> Vec<String> {
        self.handle(Event::Kill { cause: Cause::Revoked })
    }

    // What can be seen.

    fn state(&self, id: &str) -> Option<ChildState> {
        self.machine.which_child(&Target::Slot(self.slot(id))).map(|info| info.state)
    }

    /// All children and their states, in order.
    fn states(&self) -> Vec<String> {
        self.machine.which_children().map(|info| format!("{} {:?}", info.child, info.state)).collect()
    }

    /// {specs, active, supervisors, workers}
    fn counts(&self) -> (usize, usize, usize, usize) {
        let counts = self.machine.count_children();
        (counts.specs, counts.active, counts.supervisors, counts.workers)
    }

    fn notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The slot of that name that the machine knows, else the latest.
    fn slot(&self, id: &str) -> SlotId {
        let named = || self.names.iter().rev().filter(|(_, name)| name.as_str() == id).map(|(slot, _)| *slot);
        let known = named().find(|slot| self.machine.which_child(&Target::Slot(*slot)).is_some());
        known.or_else(|| named().next()).unwrap_or_else(|| panic!("no `{id}`"))
    }

    /// The live incarnation of that name.
    fn of(&self, id: &str) -> (SlotId, Incarnation) {
        let mut live = self.live.iter().rev().filter(|(slot, _)| self.names[slot].as_str() == id);
        live.next()
            .map(|(slot, incarnation)| (*slot, *incarnation))
            .unwrap_or_else(|| panic!("`{id}` is not live"))
    }

    fn handle(&mut self, event: Event<&'static str>) -> Vec<String> {
        self.machine.handle(self.now, event);
        let mut actions: VecDeque<_> = std::iter::from_fn(|| self.machine.poll_action()).collect();
        let mut lines = Vec::new();
        while let Some(action) = actions.pop_front() {
            lines.extend(self.perform(action));
        }
        lines
    }

    fn perform(&mut self, action: Action<&'static str>) -> Option<String> {
        assert!(self.exit.is_none(), "after the exit: {action:?}");
        let name = |rig: &Self, slot: SlotId| rig.names[&slot].clone();
        Some(match action {
            Action::Start { slot, incarnation } => {
                let before = self.live.insert(slot, incarnation);
                assert!(before.is_none(), "two incarnations of a child at once");
                format!("start {}{incarnation}", name(self, slot))
            }
            Action::Stop { slot, incarnation, .. } => {
                assert_eq!(self.live.get(&slot), Some(&incarnation));
                format!("stop {}{incarnation}", name(self, slot))
            }
            Action::Kill { slot, incarnation } => {
                assert_eq!(self.live.get(&slot), Some(&incarnation));
                format!("kill {}{incarnation}", name(self, slot))
            }
            Action::Forget { slot } => format!("forget {}", name(self, slot)),
            Action::Reply(tag, result) => format!("{tag}: {}", self.answer(result)),
            Action::Started => "started".into(),
            Action::Stalled(stuck) => format!("stalled {stuck:?}"),
            Action::Note(note) => {
                self.notes.push(said(&note));
                return None;
            }
            Action::Exit(reason) => {
                assert!(self.live.is_empty(), "children outlive the exit: {:?}", self.live);
                self.exit = Some(reason.clone());
                format!("exit {reason}")
            }
        })
    }

    fn answer(&self, result: Result<Outcome, Refusal>) -> String {
        match result {
            Ok(Outcome::Started(slot, incarnation)) => format!("up {}{incarnation}", self.names[&slot]),
            Ok(Outcome::Ignored) => "ignored".into(),
            Ok(Outcome::Done) => "done".into(),
            Err(Refusal::AlreadyStarted(slot, incarnation)) => {
                format!("already started {}{incarnation}", self.names[&slot])
            }
            Err(Refusal::AlreadyPresent(_)) => "already present".into(),
            Err(Refusal::MaxChildren(max)) => format!("max children {max}"),
            Err(Refusal::Failed(failure)) => failure.to_string(),
            Err(Refusal::Stuck(stuck)) => format!("stuck {}", join(&stuck)),
            Err(other) => format!("{other:?}"),
        }
    }
}

fn join(stuck: &[StuckChild]) -> String {
    stuck.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn said(note: &Note) -> String {
    match note {
        Note::Started(child) => format!("started {child}"),
        Note::Exited { child, reason, restart } => format!("exited {child} {reason} restart={restart}"),
        Note::Restarting { child, .. } => format!("restarting {child}"),
        Note::RestartFailed(child, _) => format!("restart failed {child}"),
        Note::ShutdownError(child, reason) => format!("shutdown error {child} {reason}"),
        Note::Stuck(child) => format!("stuck {child}"),
        Note::Reaped(child) => format!("reaped {child}"),
        Note::Stalled(stuck) => format!("stalled {}", join(stuck)),
        Note::GaveUp(_) => "gave up".into(),
        Note::Finished(_) => "finished".into(),
        other => format!("{other:?}"),
    }
}

fn permanent(id: &str) -> Policy {
    Policy::new(id)
}

fn transient(id: &str) -> Policy {
    Policy { restart: Restart::Transient, ..Policy::new(id) }
}

fn temporary(id: &str) -> Policy {
    Policy { restart: Restart::Temporary, ..Policy::new(id) }
}

fn stops_in(policy: Policy, shutdown: Shutdown) -> Policy {
    Policy { shutdown, ..policy }
}

fn brutal(policy: Policy) -> Policy {
    stops_in(policy, Shutdown::BrutalKill)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn options() -> MachineOptions {
    MachineOptions::default()
}

/// At most `max_restarts` in `within` milliseconds.
fn intensity(max_restarts: u32, within: u64) -> MachineOptions {
    MachineOptions { intensity: RestartIntensity::new(max_restarts, ms(within)), ..options() }
}

/// An end for each way a child can end by itself, with what OTP calls it.
fn all_ends() -> [(ExitReason, &'static str); 6] {
    [
        (ExitReason::Normal, "normal"),
        (ExitReason::Shutdown(Cause::Own(None)), "shutdown"),
        (ExitReason::Shutdown(Cause::Own(Some("x".into()))), "{shutdown, x}"),
        (ExitReason::failed("error"), "an error"),
        (ExitReason::Panicked("panic".into()), "a panic"),
        (ExitReason::Killed, "killed"),
    ]
}
