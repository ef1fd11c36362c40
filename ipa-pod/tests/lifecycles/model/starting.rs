//! Starts: of the pod, its initial children in order, and of each child.

use super::*;

impl Life {
    /// Starts the next of the initial children; after the last the pod is active.
    pub(super) fn advance_start(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        if !matches!(pod.phase, Phase::Starting { .. }) {
            return;
        }
        if let Some(slot) = pod.kids.iter().find(|kid| kid.state == State::Pending).map(|kid| kid.slot) {
            return self.begin_start(slot, Account::Initial);
        }
        (pod.phase, pod.status, pod.was_active) = (Phase::Up, Status::Active, true);
        let (starter, early) = (pod.starter.take(), std::mem::take(&mut pod.early));
        self.out.events.push(Event::Active);
        self.answer(starter, "ok");
        for slot in early {
            if self.kid(slot).is_some_and(|kid| matches!(kid.state, State::Waiting { .. })) {
                self.restart_group(slot);
            }
        }
    }

    pub(super) fn begin_start(&mut self, slot: usize, on: Account) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        kid.run += 1;
        kid.restarts += u64::from(matches!(on, Account::Restart | Account::Group));
        kid.state = State::Starting { on, late: kid.plan.start_timeout.map(|timeout| now + timeout) };
        kid.stage = Some(Stage::Spawned);
    }

    /// The child's own task begins.
    pub(super) fn init(&mut self, slot: usize) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        let next = self.next.iter_mut().find(|(of, _, times)| *of == kid.plan.id && *times > 0);
        let init = next.map_or(Init::Slow(kid.plan.init), |(_, init, times)| {
            *times -= 1;
            *init
        });
        let (wait, then) = match init {
            Init::FactoryPanic => {
                kid.stage = Some(Stage::Lingers { until: now, end: End::Panicked });
                return;
            }
            Init::Slow(ms) => (ms, None),
            Init::Ignore => (0, Some(End::Declined)),
            Init::Error(ms) => (ms, Some(End::Failed)),
            Init::Panic(ms) => (ms, Some(End::Panicked)),
        };
        kid.stage = Some(Stage::Init { until: now + wait, then });
        self.out.log.push(Line::Init(kid.plan.id, kid.run));
        if wait == 0 {
            self.init_done(slot, then);
        }
    }

    pub(super) fn init_done(&mut self, slot: usize, then: Option<End>) {
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        match then {
            None => {
                (kid.stage, kid.unheard) = (Some(Stage::Run), true);
                self.out.log.push(Line::Up(kid.plan.id, kid.run));
            }
            Some(end) => self.let_go(slot, end),
        }
    }

    /// The supervisor hears that a child is up.
    pub(super) fn up(&mut self, slot: usize) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        kid.unheard = false;
        // One that was told to stop meanwhile ends without having been up.
        let State::Starting { on, .. } = &kid.state else { return };
        let on = on.clone();
        kid.up_since = now;
        let silent = kid.plan.silence.filter(|_| kid.stage == Some(Stage::Hanging)).map(|ms| now + ms);
        kid.state = State::Running { silent };
        match on {
            Account::Caller { who, .. } => self.answer(who, "ok"),
            Account::Initial => self.advance_start(),
            Account::Restart | Account::Group => self.advance_group(),
        }
    }

    /// A start is over, and the child is not up.
    pub(super) fn not_up(&mut self, slot: usize, on: Account, how: NotUp) {
        let stopping = self.is_stopping();
        let Some(id) = self.kid(slot).map(|kid| kid.plan.id) else { return };
        match (on, how) {
            (Account::Caller { who, fresh }, how) => {
                let (answer, forget) = match how {
                    NotUp::Declined => ("ignored", false),
                    NotUp::Cancelled => ("cancelled", fresh),
                    NotUp::Failed { late: true, .. } => ("timed out", fresh),
                    NotUp::Failed { .. } => ("failed", fresh),
                };
                self.answer(who, answer);
                self.clear(slot, forget);
            }
            (Account::Initial, NotUp::Failed { late, .. }) if !stopping => {
                self.clear(slot, false);
                let how = if late { "timed out" } else { "failed" };
                return self.start_fails(format!("child {} {how}", KIDS[id]), "failed to start");
            }
            (Account::Restart | Account::Group, NotUp::Failed { end, .. }) if !stopping => {
                return self.restart(slot, end);
            }
            (Account::Initial, _) => {
                self.clear(slot, false);
                self.advance_start();
            }
            (Account::Restart | Account::Group, _) => self.clear(slot, false),
        }
        self.go_on();
    }

    /// The initial start has failed: what has been started is stopped again, in reverse.
    pub(super) fn start_fails(&mut self, failure: String, reason: &'static str) {
        if let Some(pod) = &mut self.pod {
            pod.failure = failure;
        }
        self.begin_stop(reason);
    }
}
