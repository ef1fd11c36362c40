//! Children that end by themselves, and what is restarted because of it: by restart type, intensity, strategy and backoff.

use super::*;

impl Life {
    /// A child that runs is told to end by itself.
    pub(super) fn end(&mut self, id: KidId, how: How) {
        let kid = self.pod.as_mut().and_then(|pod| pod.kids.iter_mut().find(|kid| kid.plan.id == id));
        if let Some(kid) = kid.filter(|kid| kid.stage == Some(Stage::Run)) {
            kid.stage = Some(Stage::Told(how));
        }
    }

    /// It ends as it was told.
    pub(super) fn ends(&mut self, slot: usize, how: How) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        let end = match how {
            How::Hang => {
                kid.stage = Some(Stage::Hanging);
                if let State::Running { silent } = &mut kid.state {
                    *silent = kid.plan.silence.map(|silence| now + silence);
                }
                return;
            }
            How::Normal => End::Normal,
            How::Shutdown => End::Shutdown,
            How::Error => End::Failed,
            How::Panic => End::Panicked,
        };
        let bound = match kid.plan.shutdown {
            _ if matches!(kid.state, State::Leaving { .. }) => None,
            Stop::Infinity => None,
            Stop::Within(ms) => Some(ms),
            Stop::Brutal => Some(5000),
        };
        self.terminate(slot, end, bound);
    }

    /// `run` is over: the child cleans up, for so long at most.
    pub(super) fn terminate(&mut self, slot: usize, end: End, bound: Option<u64>) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        self.out.log.push(Line::Terminate(kid.plan.id, kid.run));
        let whole = bound.is_none_or(|bound| kid.plan.terminate <= bound);
        let end = if whole && kid.plan.fault == Some(Fault::TerminatePanics) { End::Panicked } else { end };
        let wait = kid.plan.terminate.min(bound.unwrap_or(u64::MAX));
        kid.stage = Some(Stage::Terminate { until: now + wait, end });
    }

    /// The child's value goes; the incarnation has ended when its lease does.
    pub(super) fn let_go(&mut self, slot: usize, end: End) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        self.out.log.push(Line::Gone(kid.plan.id, kid.run));
        let panics = kid.plan.fault == Some(Fault::DropPanics) && !end.is_abnormal();
        let end = if panics { End::Panicked } else { end };
        kid.stage = Some(Stage::Lingers { until: now + kid.plan.linger, end });
    }

    /// The last of an incarnation has gone, and its supervisor is told.
    pub(super) fn gone(&mut self, slot: usize) {
        if self.kid(slot).is_some_and(|kid| kid.unheard) {
            self.up(slot);
        }
        let Some(pod) = &mut self.pod else { return };
        let closed = pod.closed;
        let Some(kid) = pod.kid(slot) else { return };
        let Some(Stage::Lingers { end, .. }) = kid.stage.take() else { return };
        kid.told = None;
        let (id, run) = (kid.plan.id, kid.run);
        let (callers, state) =
            (std::mem::take(&mut kid.callers), std::mem::replace(&mut kid.state, State::Down));
        if closed {
            if pod.kids.iter().all(|kid| kid.stage.is_none()) {
                pod.phase = Phase::Over;
            }
            return;
        }
        pod.stuck.retain(|stuck| *stuck != (id, run));
        for who in callers {
            self.answer(who, "ok");
        }
        match state {
            State::Starting { on, .. } if end == End::Declined => self.not_up(slot, on, NotUp::Declined),
            State::Starting { on, .. } => self.not_up(slot, on, NotUp::Failed { end, late: false }),
            State::Running { .. } => self.exited(slot, end),
            State::Leaving { on: Some(on), why: Why::Late, .. } => {
                self.not_up(slot, on, NotUp::Failed { end: End::Killed, late: true });
            }
            State::Leaving { on: Some(on), .. } => self.not_up(slot, on, NotUp::Cancelled),
            State::Leaving { why: Why::Silent, .. } => self.exited(slot, End::Killed),
            State::Leaving { .. } => {
                self.clear(slot, false);
                self.go_on();
            }
            State::Down | State::Pending | State::Waiting { .. } => {}
        }
    }

    /// A child that was up has ended by itself.
    fn exited(&mut self, slot: usize, end: End) {
        let (now, stopping) = (self.now, self.is_stopping());
        let Some(pod) = &mut self.pod else { return };
        let group_stops =
            pod.group.as_ref().is_some_and(|group| group.pending.is_none() && slot >= group.from);
        let Some(kid) = pod.kid(slot) else { return };
        if now - kid.up_since >= HEALTHY {
            kid.failures = 0;
        }
        let significant = kid.plan.significant;
        let wanted = match kid.plan.restart {
            Restart::Permanent => true,
            Restart::Transient => end.is_abnormal(),
            Restart::Temporary => false,
        };
        // One that is about to be stopped for its group is started again with it, and not counted.
        if wanted && !stopping && !group_stops {
            return self.restart(slot, end);
        }
        self.clear(slot, false);
        self.go_on();
        if significant && !group_stops && !self.is_stopping() && self.shuts_down() {
            self.stopping("significant");
            self.begin_stop("significant");
        }
    }

    /// Whether the end of a significant child is the end of the pod.
    fn shuts_down(&self) -> bool {
        // One that somebody stops is as good as down, unless it is its group, which starts it again.
        let comes_back = |pod: &Pod, kid: &Kid| {
            let restarts = |group: &Group| kid.slot >= group.from && !group.excluded.contains(&kid.slot);
            let kept = kid.plan.restart != Restart::Temporary;
            kept && pod.group.as_ref().is_some_and(|group| group.pending.is_none() && restarts(group))
        };
        let active = |pod: &Pod, kid: &Kid| match kid.state {
            State::Down => false,
            State::Leaving { why: Why::Wanted, .. } => comes_back(pod, kid),
            _ => true,
        };
        let left = |pod: &Pod| pod.kids.iter().any(|kid| kid.plan.significant && active(pod, kid));
        match self.plan.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self.pod.as_ref().is_some_and(left),
        }
    }

    /// A child is to be started again, and whoever its strategy says with it, unless that is once too often.
    pub(super) fn restart(&mut self, slot: usize, end: End) {
        let (now, within, max) = (self.now, self.plan.within, self.plan.max_restarts as usize);
        let Some(pod) = &mut self.pod else { return };
        pod.window.push(now);
        pod.window.retain(|at| at + within >= now);
        if pod.window.len() > max {
            self.stopping("too many restarts");
            // The offender goes first, then the others in reverse.
            self.clear(slot, true);
            return self.begin_stop("too many restarts");
        }
        pod.restarts += 1;
        let starting = matches!(pod.phase, Phase::Starting { .. });
        let Some(kid) = pod.kid(slot) else { return };
        self.out.events.push(Event::ChildRestarted(kid.plan.id, kid.run, end));
        match self.plan.strategy {
            Strategy::OneForOne => match kid.backoff() {
                0 => self.begin_start(slot, Account::Restart),
                wait => kid.state = State::Waiting { until: Some(now + wait) },
            },
            _ if starting => {
                kid.state = State::Waiting { until: None };
                pod.early.push(slot);
            }
            _ => self.restart_group(slot),
        }
    }

    /// A group is restarted because of this child. One that is under way is widened, or begins anew from here.
    pub(super) fn restart_group(&mut self, slot: usize) {
        let from = if self.plan.strategy == Strategy::OneForAll { 0 } else { slot };
        let now = self.now;
        let Some(pod) = &mut self.pod else { return };
        let Some(kid) = pod.kid(slot) else { return };
        kid.state = State::Waiting { until: None };
        let not_before = now + kid.backoff();
        let new = Group { from, pending: None, starting: None, excluded: Vec::new(), not_before };
        let group = pod.group.get_or_insert(new);
        group.from = if group.pending.take().is_some() { from } else { group.from.min(from) };
        group.starting = None;
        group.not_before = group.not_before.max(not_before);
        self.advance_group();
    }

    /// Stops the members of the group one by one, the last first; when all are down, starts them one by one, in order.
    pub(super) fn advance_group(&mut self) {
        let now = self.now;
        let Some(pod) = &mut self.pod else { return };
        let Some(group) = &mut pod.group else { return };
        if group.pending.is_none() {
            let from = group.from;
            let members = || pod.kids.iter().filter(|kid| kid.slot >= from);
            let last = members().rev().find(|kid| !matches!(kid.state, State::Down | State::Waiting { .. }));
            if let Some(kid) = last {
                if matches!(kid.state, State::Starting { .. } | State::Running { .. }) {
                    let slot = kid.slot;
                    self.ask(slot);
                }
                return;
            }
            let kept: VecDeque<usize> =
                members().map(|kid| kid.slot).filter(|slot| !group.excluded.contains(slot)).collect();
            for kid in pod.kids.iter_mut().filter(|kid| kept.contains(&kid.slot)) {
                kid.state = State::Waiting { until: None };
            }
            group.pending = Some(kept);
        }
        // Nobody is started while the one before may still run.
        let state = |slot: usize| pod.kids.iter().find(|kid| kid.slot == slot).map(|kid| &kid.state);
        let open = |state: &State| matches!(state, State::Starting { .. } | State::Leaving { .. });
        if group.starting.and_then(state).is_some_and(open) {
            return;
        }
        while let Some(next) = group.pending.as_mut().and_then(VecDeque::pop_front) {
            let Some(kid) = pod.kids.iter_mut().find(|kid| kid.slot == next) else { continue };
            if !matches!(kid.state, State::Waiting { .. }) {
                continue;
            }
            if group.not_before > now {
                kid.state = State::Waiting { until: Some(group.not_before) };
                group.pending.get_or_insert_default().push_front(next);
                return;
            }
            group.starting = Some(next);
            return self.begin_start(next, Account::Group);
        }
        pod.group = None;
    }
}
