//! A task: its pod begins, is told to stop, is restarted, loses its permit, ends.

use super::*;

impl Life {
    pub fn new(plan: PodPlan) -> Self {
        Self {
            plan: Rc::new(plan),
            now: 0,
            stream: false,
            store: Store::Answers,
            next: Vec::new(),
            next_pod: None,
            draining: false,
            pod: None,
            successor: None,
            stuck_at: None,
            out: Out::default(),
        }
    }

    pub fn seen(&self) -> Seen {
        let Some(pod) = &self.pod else { return Seen::default() };
        let kids = pod.kids.iter().map(|kid| (kid.plan.id, kid.run, kid.shown(), kid.restarts)).collect();
        let here = |kid: &&Kid| !matches!(kid.stage, None | Some(Stage::Spawned | Stage::Lingers { .. }));
        let mut registered: Vec<_> = pod.kids.iter().filter(here).map(|kid| (kid.plan.id, kid.run)).collect();
        registered.sort_unstable();
        let kids = (!pod.closed).then_some(kids);
        let pod_seen = PodSeen { status: pod.status.into(), restarts: pod.restarts, kids };
        Seen { pod: Some(pod_seen), registered, permits: usize::from(pod.permit) }
    }

    /// Whether its pod was found stuck in this very moment, though it may have ended in it as well.
    pub fn is_stuck_now(&self) -> bool {
        self.stuck_at == Some(self.now)
    }

    /// When the oldest restart was that counts.
    pub fn oldest_restart(&self) -> Option<u64> {
        self.pod.as_ref()?.window.first().map(|at| at + self.plan.within)
    }

    pub fn now(&self) -> u64 {
        self.now
    }

    /// The moment at which something happens next by itself.
    pub fn next_moment(&self) -> Option<u64> {
        self.timers().into_iter().map(|(at, _)| at).min()
    }

    /// Somebody makes a call.
    pub fn call(&mut self, who: Who, op: &Op) {
        match op {
            Op::Stream(_) => self.stream = true,
            Op::NoStream(_) => self.stream = false,
            Op::Store(store) => self.store = *store,
            Op::Next(_, kid, init, times) => {
                self.next.retain(|(of, ..)| of != kid);
                self.next.push((*kid, *init, *times));
            }
            Op::NextPod(_, how, times) => self.next_pod = Some((*how, *times)),
            Op::Start(_) => self.start(who),
            Op::Stop(_) => self.stop(who, "-"),
            Op::StopWith(_) => self.stop(who, "because"),
            Op::Restart(_) => self.restart_pod(who),
            Op::Revoke(_) => self.revoke(),
            Op::StartChild(_, plan) => self.child_op(who, ChildOp::Start(Rc::new(plan.clone()), 0)),
            Op::TerminateChild(_, kid) => self.child_op(who, ChildOp::Terminate(*kid)),
            Op::RestartChild(_, kid) => self.child_op(who, ChildOp::Restart(*kid)),
            Op::DeleteChild(_, kid) => self.child_op(who, ChildOp::Delete(*kid)),
            Op::End(_, kid, how) => self.end(*kid, *how),
            Op::Advance(_) | Op::Edge(..) => {}
        }
        self.settle();
    }

    /// The moment has come for what is due then.
    pub(super) fn happen(&mut self, moment: u64, timer: Timer) {
        self.now = moment;
        self.fire(timer);
        self.settle();
    }

    /// All pods are to stop, and none is to start any more.
    pub fn close(&mut self, finale: Finale) {
        self.draining = true;
        if finale != Finale::Drain
            && let Some(successor) = self.successor.take()
        {
            self.answer(successor.who, "ended");
        }
        if let Some(pod) = &mut self.pod {
            if finale != Finale::Drain {
                // Whatever it was about to fail with is in the reason of its end.
                pod.failure = "ended".into();
            }
            self.stop(None, if finale == Finale::Drain { "drain" } else { "-" });
        }
    }

    pub(super) fn answer(&mut self, who: Who, answer: impl Into<String>) {
        self.out.answers.extend(who.map(|who| (who, answer.into())));
    }

    fn start(&mut self, who: Who) {
        match &self.pod {
            _ if self.draining => self.answer(who, "draining"),
            Some(pod) => {
                let answer = format!("already started, {}", PodStatus::from(pod.status));
                self.answer(who, answer);
            }
            None => self.reserve(who),
        }
    }

    /// From here on the task has a pod.
    fn reserve(&mut self, who: Who) {
        self.pod = Some(Pod::new(who));
    }

    /// The pod begins, by asking the store.
    pub(super) fn pod_begins(&mut self) {
        let wait = if let Store::Slow(ms) = self.store { ms } else { 0 };
        if let Some(pod) = &mut self.pod {
            pod.phase = Phase::Admitting { until: self.now + wait };
            pod.announced = true;
            self.out.events.push(Event::Starting);
        }
    }

    /// The store has answered.
    pub(super) fn admitted(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        let failure = match self.store {
            Store::Down | Store::Panics => "unavailable",
            _ if !self.stream => "stream not found",
            _ => {
                pod.permit = true;
                self.out.log.push(Line::Permit);
                match &mut self.next_pod {
                    Some((_, times)) if *times > 0 => {
                        *times -= 1;
                        "factory"
                    }
                    _ => "",
                }
            }
        };
        if !failure.is_empty() {
            (pod.failure, pod.reason) = (failure.into(), "failed");
            pod.phase = Phase::Over;
            return;
        }
        for plan in &self.plan.kids {
            let slot = pod.slot();
            pod.add(slot, Rc::new(plan.clone()), State::Pending);
        }
        pod.phase = Phase::Starting { until: self.now + self.plan.start_timeout };
        self.advance_start();
    }

    fn stop(&mut self, who: Who, said: &'static str) {
        match &mut self.pod {
            None => self.answer(who, "not running"),
            Some(pod) => {
                pod.stoppers.push(who);
                self.stop_pod(said);
            }
        }
    }

    /// Shows at once; the pod itself does the rest.
    fn stop_pod(&mut self, said: &'static str) {
        let Some(pod) = self.pod.as_mut().filter(|pod| pod.status != Status::Stuck) else { return };
        pod.status = Status::Stopping;
        if !pod.stop_seen {
            pod.stop_wanted.get_or_insert(said);
        }
    }

    /// The pod sees that it is to stop.
    pub(super) fn stop_seen(&mut self) {
        let Some(pod) = &mut self.pod else { return };
        let Some(said) = pod.stop_wanted.take() else { return };
        pod.stop_seen = true;
        match pod.phase {
            Phase::Reserved | Phase::Admitting { .. } => {
                if pod.phase != Phase::Reserved {
                    self.stopping(said);
                }
                self.over("requested");
            }
            Phase::Starting { .. } | Phase::Up => {
                self.stopping(said);
                self.begin_stop("requested");
            }
            Phase::Stopping { .. } => self.stopping(said),
            Phase::Over => {}
        }
    }

    fn over(&mut self, reason: &'static str) {
        if let Some(pod) = &mut self.pod {
            (pod.phase, pod.reason) = (Phase::Over, reason);
        }
    }

    /// The pod says, once, that it is to stop.
    pub(super) fn stopping(&mut self, said: &'static str) {
        let Some(pod) = &mut self.pod else { return };
        if pod.status != Status::Stuck {
            pod.status = Status::Stopping;
        }
        if !std::mem::replace(&mut pod.stop_said, true) {
            self.out.events.push(Event::Stopping(said));
        }
    }

    fn restart_pod(&mut self, who: Who) {
        match &self.pod {
            _ if self.draining => self.answer(who, "draining"),
            None => self.reserve(who),
            Some(pod) if self.successor.is_some() => {
                let answer = format!("already started, {}", PodStatus::from(pod.status));
                self.answer(who, answer);
            }
            Some(_) => {
                self.successor = Some(Successor { who, told: false });
            }
        }
    }

    /// A restart begins with the end of the old pod.
    pub(super) fn successor_begins(&mut self) {
        let Some(successor) = &mut self.successor else { return };
        successor.told = true;
        self.stop_pod("restart");
    }

    /// The right to run is lost: all of the pod is killed at once.
    fn revoke(&mut self) {
        let lost = |pod: &&mut Pod| pod.permit && !pod.closed && pod.phase != Phase::Over;
        let Some(pod) = self.pod.as_mut().filter(lost) else { return };
        (pod.reason, pod.failure) = ("revoked", "ended".into());
        self.stopping("revoked");
        if !self.is_stopping() {
            self.enter_stop("revoked");
        }
        self.kill_all();
        self.advance_stop();
    }

    /// The last of the pod has gone, and the key is free, or its successor's.
    pub(super) fn pod_ends(&mut self) {
        let Some(pod) = self.pod.take() else { return };
        if pod.permit {
            self.out.log.push(Line::PermitBack);
        }
        if pod.announced {
            self.out.events.push(Event::Ended { reason: pod.reason, was_active: pod.was_active });
        }
        self.answer(pod.starter, pod.failure);
        for who in pod.stoppers {
            self.answer(who, "ok");
        }
        for (who, _) in pod.knocking {
            self.answer(who, "closed");
        }
        match self.successor.take() {
            Some(successor) if self.draining => self.answer(successor.who, "draining"),
            Some(successor) => {
                self.reserve(successor.who);
                // Its task has run already, up to here.
                self.pod_begins();
            }
            None => {}
        }
    }
}
