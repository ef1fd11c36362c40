//! What happens by itself, and when.

use super::*;

#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Successor,
    Stuck,
    Wanted,
    Pod,
    Heard(usize),
    Sees(usize),
    Knock(usize),
    State(usize),
    Stage(usize),
}

impl Life {
    pub(super) fn timers(&self) -> Vec<(u64, Timer)> {
        let Some(pod) = &self.pod else { return Vec::new() };
        let mut timers = Vec::new();
        if self.successor.as_ref().is_some_and(|successor| !successor.told) {
            timers.push((self.now, Timer::Successor));
        }
        let told = self.successor.as_ref().is_some_and(|successor| successor.told);
        if pod.status == Status::Stuck && (told || !pod.stoppers.is_empty()) {
            timers.push((self.now, Timer::Stuck));
        }
        if pod.stop_wanted.is_some() {
            timers.push((self.now, Timer::Wanted));
        }
        if !(pod.knocking.is_empty() || matches!(pod.phase, Phase::Reserved | Phase::Admitting { .. })) {
            timers.extend((0..pod.knocking.len()).map(|n| (self.now, Timer::Knock(n))));
        }
        match pod.phase {
            Phase::Reserved | Phase::Over => timers.push((self.now, Timer::Pod)),
            Phase::Admitting { until } | Phase::Starting { until } => timers.push((until, Timer::Pod)),
            Phase::Stopping { until: Some(until) } => timers.push((until, Timer::Pod)),
            Phase::Up | Phase::Stopping { until: None } => {}
        }
        for kid in &pod.kids {
            let state = match &kid.state {
                State::Waiting { until } => *until,
                State::Starting { late, .. } => *late,
                State::Running { silent } => *silent,
                State::Leaving { how: Leaving::Asked { kill }, .. } => *kill,
                State::Leaving { how: Leaving::Killed { grace }, .. } => Some(*grace),
                State::Down | State::Pending | State::Leaving { how: Leaving::Stuck, .. } => None,
            };
            timers.extend(state.map(|at| (at, Timer::State(kid.slot))));
            if kid.unheard {
                timers.push((self.now, Timer::Heard(kid.slot)));
            }
            if kid.told.is_some() {
                timers.push((self.now, Timer::Sees(kid.slot)));
            }
            let stage = match &kid.stage {
                Some(Stage::Spawned | Stage::Told(_)) if kid.told != Some(Told::Kill) => Some(self.now),
                Some(Stage::Init { .. } | Stage::Terminate { .. }) if kid.told == Some(Told::Kill) => None,
                Some(
                    Stage::Init { until, .. } | Stage::Terminate { until, .. } | Stage::Lingers { until, .. },
                ) => Some(*until),
                Some(_) | None => None,
            };
            timers.extend(stage.map(|at| (at, Timer::Stage(kid.slot))));
        }
        timers
    }

    pub(super) fn fire(&mut self, timer: Timer) {
        let Some(pod) = &mut self.pod else { return };
        match timer {
            Timer::Successor => self.successor_begins(),
            Timer::Stuck => self.see_stuck(),
            Timer::Wanted => self.stop_seen(),
            Timer::Heard(slot) => self.up(slot),
            Timer::Sees(slot) => self.sees(slot),
            Timer::Knock(n) => {
                let (who, op) = pod.knocking.remove(n);
                self.child_op(who, op);
            }
            Timer::Pod => match &mut pod.phase {
                Phase::Reserved => self.pod_begins(),
                Phase::Over => self.pod_ends(),
                Phase::Admitting { .. } => self.admitted(),
                Phase::Starting { .. } => {
                    let late = pod.kids.iter().find(|kid| kid.is_initial()).map(|kid| kid.plan.id);
                    let failure = late.map(|id| format!("timed out at {}", KIDS[id])).unwrap_or_default();
                    self.start_fails(failure, "failed");
                }
                Phase::Stopping { until } => {
                    *until = None;
                    self.kill_all();
                    self.advance_stop();
                }
                Phase::Up => {}
            },
            Timer::State(slot) => {
                let group = pod.group.is_some();
                let Some(kid) = pod.kid(slot) else { return };
                match &mut kid.state {
                    State::Waiting { until } if group => {
                        *until = None;
                        self.advance_group();
                    }
                    State::Waiting { .. } => self.begin_start(slot, Account::Restart),
                    State::Starting { .. } => self.kill(slot, Why::Late),
                    State::Running { .. } => self.kill(slot, Why::Silent),
                    State::Leaving { how: Leaving::Asked { .. }, .. } => self.kill(slot, Why::Wanted),
                    State::Leaving { .. } => self.does_not_end(slot),
                    State::Down | State::Pending => {}
                }
            }
            Timer::Stage(slot) => match self.kid(slot).and_then(|kid| kid.stage.clone()) {
                Some(Stage::Spawned) => self.init(slot),
                Some(Stage::Told(how)) => self.ends(slot, how),
                Some(Stage::Init { then, .. }) => self.init_done(slot, then),
                Some(Stage::Terminate { end, .. }) => self.let_go(slot, end),
                Some(Stage::Lingers { .. }) => self.gone(slot),
                Some(Stage::Run | Stage::Hanging) | None => {}
            },
        }
    }

    pub(super) fn kid(&self, slot: usize) -> Option<&Kid> {
        self.pod.as_ref()?.kids.iter().find(|kid| kid.slot == slot)
    }
}
