//! Stops: one by one in reverse, asked, killed, stuck.

use super::*;

impl Life {
    pub(super) fn is_stopping(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| matches!(pod.phase, Phase::Stopping { .. } | Phase::Over))
    }

    pub(super) fn begin_stop(&mut self, reason: &'static str) {
        self.enter_stop(reason);
        self.advance_stop();
    }

    /// From here on nothing is started.
    pub(super) fn enter_stop(&mut self, reason: &'static str) {
        let until = Some(self.now + self.plan.shutdown_timeout);
        let Some(pod) = &mut self.pod else { return };
        (pod.reason, pod.phase, pod.group) = (reason, Phase::Stopping { until }, None);
        for kid in &mut pod.kids {
            if matches!(kid.state, State::Pending | State::Waiting { .. }) {
                kid.state = State::Down;
            }
        }
        for waiting in std::mem::take(&mut pod.waiting) {
            self.answer(waiting.who, "closed");
        }
    }

    /// Stops the children one by one, the last first. One that does not end is not waited for any longer.
    pub(super) fn advance_stop(&mut self) {
        let Some(pod) = self.pod.as_mut().filter(|pod| matches!(pod.phase, Phase::Stopping { .. })) else {
            return;
        };
        let open =
            |kid: &&Kid| !matches!(kid.state, State::Down | State::Leaving { how: Leaving::Stuck, .. });
        if let Some(kid) = pod.kids.iter().rev().find(open) {
            if matches!(kid.state, State::Starting { .. } | State::Running { .. }) {
                let slot = kid.slot;
                self.ask(slot);
            }
            return;
        }
        pod.phase = Phase::Stopping { until: None };
        if pod.stuck.is_empty() {
            pod.phase = Phase::Over;
            return;
        }
        if std::mem::replace(&mut pod.stalled, true) {
            return;
        }
        pod.status = Status::Stuck;
        self.stuck_at = Some(self.now);
        self.out.events.push(Event::Stuck(pod.stuck.clone()));
        let answer = pod.stuck_answer();
        let starter = pod.starter.take();
        if !pod.was_active {
            (pod.closed, pod.reason) = (true, "failed");
        }
        self.answer(starter, answer);
    }

    /// Whoever waits for the end of a pod that is stuck sees that.
    pub(super) fn see_stuck(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        let (stoppers, answer) = (std::mem::take(&mut pod.stoppers), pod.stuck_answer());
        for who in stoppers {
            self.answer(who, answer.clone());
        }
        if let Some(successor) = self.successor.take() {
            self.answer(successor.who, format!("old {answer}"));
        }
    }

    /// Everything that is left is killed at once.
    pub(super) fn kill_all(&mut self) {
        let live = |kid: &&Kid| match &kid.state {
            State::Starting { .. } | State::Running { .. } => true,
            State::Leaving { how, .. } => matches!(how, Leaving::Asked { .. }),
            _ => false,
        };
        let Some(pod) = &self.pod else { return };
        let slots: Vec<usize> = pod.kids.iter().filter(live).map(|kid| kid.slot).collect();
        // All of them before anything follows from the end of one.
        let grace = self.now + self.plan.kill_grace;
        for slot in &slots {
            self.leave(*slot, Leaving::Killed { grace }, Why::Wanted);
        }
        for slot in slots {
            self.abort(slot);
        }
    }

    /// Asks a child to stop, as its shutdown policy says.
    pub(super) fn ask(&mut self, slot: usize) {
        let Some(shutdown) = self.kid(slot).map(|kid| kid.plan.shutdown) else { return };
        let kill = match shutdown {
            // Without any time to stop, it is killed before it has heard of it.
            Stop::Brutal | Stop::Within(0) => return self.kill(slot, Why::Wanted),
            Stop::Within(ms) => Some(self.now + ms),
            Stop::Infinity => None,
        };
        self.leave(slot, Leaving::Asked { kill }, Why::Wanted);
        if let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) {
            kid.told = Some(Told::Stop);
        }
    }

    /// A child sees what it was told.
    pub(super) fn sees(&mut self, slot: usize) {
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        let (told, deaf) = (kid.told.take(), kid.plan.deaf);
        match (told, &kid.stage) {
            (_, Some(Stage::Spawned)) => self.never_ran(slot),
            (_, None | Some(Stage::Lingers { .. })) => {}
            (Some(Told::Kill), _) => self.let_go(slot, End::Killed),
            (_, Some(Stage::Init { .. })) => self.let_go(slot, End::Shutdown),
            (_, Some(Stage::Run | Stage::Told(_) | Stage::Hanging)) if !deaf => {
                self.terminate(slot, End::Shutdown, None);
            }
            _ => {}
        }
    }

    /// A child's task is ended before it has run.
    fn never_ran(&mut self, slot: usize) {
        let now = self.now;
        if let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) {
            kid.stage = Some(Stage::Lingers { until: now, end: End::Shutdown });
        }
    }

    pub(super) fn kill(&mut self, slot: usize, why: Why) {
        let grace = self.now + self.plan.kill_grace;
        self.leave(slot, Leaving::Killed { grace }, why);
        self.abort(slot);
    }

    /// A child is on its way out; the start that was under way, if any, goes with it.
    fn leave(&mut self, slot: usize, how: Leaving, why: Why) {
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        kid.state = match std::mem::replace(&mut kid.state, State::Down) {
            State::Starting { on, .. } => State::Leaving { how, why, on: Some(on) },
            State::Leaving { why, on, .. } => State::Leaving { how, why, on },
            _ => State::Leaving { how, why, on: None },
        };
    }

    fn abort(&mut self, slot: usize) {
        if let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) {
            kid.told = Some(Told::Kill);
        }
    }

    /// A child was killed, and its grace is over.
    pub(super) fn does_not_end(&mut self, slot: usize) {
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        let State::Leaving { why, on, .. } = std::mem::replace(&mut kid.state, State::Down) else { return };
        let (id, run, callers) = (kid.plan.id, kid.run, std::mem::take(&mut kid.callers));
        let initial = on == Some(Account::Initial) && self.is_initial_start();
        let (kept, over) = match on {
            Some(Account::Caller { who, fresh }) => (Some(Account::Caller { who: None, fresh }), Some(who)),
            Some(Account::Initial) => (None, None),
            other => (other, None),
        };
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        kid.state = State::Leaving { how: Leaving::Stuck, why, on: kept };
        if let Some(pod) = &mut self.pod {
            pod.stuck.push((id, run));
        }
        for who in callers.into_iter().chain(over) {
            self.answer(who, format!("stuck {}", name(id, run)));
        }
        if initial && why == Why::Late {
            return self.start_fails(format!("child {} timed out", KIDS[id]), "failed to start");
        }
        if initial {
            self.advance_start();
        }
        self.advance_stop();
    }

    fn is_initial_start(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| matches!(pod.phase, Phase::Starting { .. }))
    }
}
