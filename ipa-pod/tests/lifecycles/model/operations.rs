//! What callers ask of the children of a pod, and in which order that is done.

use super::*;

impl Life {
    pub(super) fn child_op(&mut self, who: Who, op: ChildOp) {
        let stopping = self.is_stopping();
        match &mut self.pod {
            None => self.answer(who, "no pod"),
            Some(pod) if matches!(pod.phase, Phase::Reserved | Phase::Admitting { .. }) => {
                pod.knocking.push((who, op));
            }
            Some(_) if stopping => self.answer(who, "closed"),
            Some(pod) => {
                let op = match op {
                    ChildOp::Start(plan, _) => ChildOp::Start(plan, pod.slot()),
                    op => op,
                };
                pod.waiting.push(Waiting { who, op, behind: Behind::Child });
            }
        }
    }

    /// Carries out the operations that wait, as far as they need not wait any longer. Those on one child keep their order.
    pub(super) fn settle(&mut self) {
        let mut at = 0;
        while let Some(Waiting { who, op, behind }) =
            self.pod.as_ref().and_then(|pod| pod.waiting.get(at)).cloned()
        {
            let Some(pod) = &mut self.pod else { return };
            // A stop of a child waits for nobody else's turn.
            let stop = matches!(op, ChildOp::Terminate(_));
            let turn = !pod.waiting[..at].iter().any(|before| before.op.id() == op.id());
            let behind = pod.waits(&op, behind);
            if let (Some(Behind::Group), Some(answer)) = (behind, pod.stuck_of_group()) {
                pod.waiting.remove(at);
                self.answer(who, answer);
                at = 0;
                continue;
            }
            if behind.is_some() || !(turn || stop) {
                pod.waiting[at].behind = behind.unwrap_or(Behind::Child);
                at += 1;
                continue;
            }
            pod.waiting.remove(at);
            self.carry_out(who, op);
            at = 0;
        }
    }

    fn carry_out(&mut self, who: Who, op: ChildOp) {
        let Some(pod) = &mut self.pod else { return };
        let kid = pod.kids.iter().find(|kid| kid.plan.id == op.id());
        let (slot, shown) = match kid {
            Some(kid) => (kid.slot, Some(kid.shown())),
            None => (0, None),
        };
        let stuck = kid.map(|kid| format!("stuck {}", name(kid.plan.id, kid.run))).unwrap_or_default();
        let answer = match (op, shown) {
            (ChildOp::Start(plan, slot), None) => {
                if plan.significant && self.plan.auto_shutdown == AutoShutdown::Never {
                    return self.answer(who, "makes no sense");
                }
                pod.add(slot, plan, State::Down);
                return self.begin_start(slot, Account::Caller { who, fresh: true });
            }
            (ChildOp::Terminate(_), Some(_)) => return self.terminate_child(who, slot),
            (_, None) => "not found",
            (_, Some(ChildState::Stuck)) => return self.answer(who, stuck),
            (ChildOp::Start(..), Some(ChildState::Running)) => "already started",
            (ChildOp::Start(..), Some(_)) => "already present",
            (_, Some(ChildState::Running)) => "running",
            (_, Some(ChildState::Restarting)) => "restarting",
            (ChildOp::Restart(_), Some(_)) => {
                return self.begin_start(slot, Account::Caller { who, fresh: false });
            }
            (ChildOp::Delete(_), Some(_)) => {
                self.clear(slot, true);
                "ok"
            }
        };
        self.answer(who, answer);
    }

    fn terminate_child(&mut self, who: Who, slot: usize) {
        let Some(pod) = &mut self.pod else { return };
        if let Some(group) = pod.group.as_mut().filter(|group| slot >= group.from) {
            group.excluded.push(slot);
        }
        let Some(kid) = pod.kid(slot) else { return };
        match &mut kid.state {
            State::Down | State::Pending => self.answer(who, "ok"),
            State::Waiting { .. } => {
                self.answer(who, "ok");
                self.clear(slot, false);
                self.go_on();
            }
            State::Starting { .. } | State::Running { .. } => {
                kid.callers.push(who);
                self.ask(slot);
            }
            State::Leaving { how, why, on } => {
                // Whatever it was on its way out for, nothing is started in its place.
                if *why != Why::Wanted && !matches!(on, Some(Account::Caller { .. } | Account::Initial)) {
                    (*why, *on) = (Why::Wanted, None);
                }
                if *how == Leaving::Stuck {
                    let answer = format!("stuck {}", name(kid.plan.id, kid.run));
                    return self.answer(who, answer);
                }
                kid.callers.push(who);
            }
        }
    }

    /// Leaves a child that does not run: kept, or forgotten if nothing of such a child is kept.
    pub(super) fn clear(&mut self, slot: usize, forget: bool) {
        let Some(pod) = &mut self.pod else { return };
        pod.kids.retain(|kid| kid.slot != slot || !(forget || kid.plan.restart == Restart::Temporary));
        if let Some(kid) = pod.kid(slot) {
            kid.state = State::Down;
        }
    }

    /// After a child has gone: who waited for that comes first.
    pub(super) fn go_on(&mut self) {
        self.settle();
        if self.is_stopping() { self.advance_stop() } else { self.advance_group() }
    }
}
