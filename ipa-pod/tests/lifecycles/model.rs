//! The reference model: the life of one task, as it has to be.
//!
//! Written from the semantics and to be read by itself; it knows nothing of how the stack does it. A [`Life`] is a value: calls
//! and the passing of time change it, and what could be seen from outside meanwhile is noted in [`Life::out`]. What
//! is to happen waits for its moment, be that the present one. Where the order of things is open, because several are due at the same
//! moment, or several callers call at once, [`Life::run_to`] and [`Life::together`] answer with every life that it may have become.
//!
//! Two things are kept apart: what a child *does* (`Stage`: the puppet's own behaviour, `puppet.rs`) and what its supervisor
//! takes it to be doing (`State`). The supervisor learns of an end when the last of the incarnation is gone, no sooner.

use std::collections::{HashSet, VecDeque};
use std::rc::Rc;

use ipa_pod::PodStatus;
use ipa_supervisor::{AutoShutdown, ChildState, Restart, Strategy};

use crate::program::*;

/// Who waits for an answer: the number of the call. `None`: nobody.
pub type Who = Option<usize>;

/// A restart after a run that was at least this long begins its backoff anew.
pub const HEALTHY: u64 = 1000;

/// What anybody can see happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Out {
    /// What the children and the permits wrote down.
    pub log: Vec<Line>,
    pub events: Vec<Event>,
    pub answers: Vec<(usize, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Line {
    Permit,
    PermitBack,
    /// These are of a child, and which run of it.
    Init(KidId, u64),
    Up(KidId, u64),
    Terminate(KidId, u64),
    /// Its value was dropped.
    Gone(KidId, u64),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Starting,
    Active,
    ChildRestarted(KidId, u64, End),
    Stopping(&'static str),
    Stuck(Vec<(KidId, u64)>),
    Ended { reason: &'static str, was_active: bool },
}

/// How a run of a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Normal,
    Shutdown,
    Failed,
    Panicked,
    Killed,
    Declined,
}

/// What anybody can see there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    pub pod: Option<PodSeen>,
    /// The children that are registered, and which run of them.
    pub registered: Vec<(KidId, u64)>,
    pub permits: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PodSeen {
    pub status: PodStatus,
    pub restarts: u64,
    /// In order of start: id, run, state, restarts. `None`: there is no supervisor to ask any more.
    pub kids: Option<Vec<(KidId, u64, ChildState, u64)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    plan: Rc<PodPlan>,
    now: u64,
    stream: bool,
    store: Store,
    /// What becomes of the next starts of these children, and how often.
    next: Vec<(KidId, Init, u8)>,
    next_pod: Option<(How, u8)>,
    draining: bool,
    pod: Option<Pod>,
    successor: Option<Successor>,
    pub out: Out,
}

/// A restart that waits for the pod to end.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Successor {
    who: Who,
    /// Whether it has told the pod to stop.
    told: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pod {
    status: Status,
    phase: Phase,
    kids: Vec<Kid>,
    next_slot: usize,
    /// When the restarts were that count.
    window: Vec<u64>,
    restarts: u64,
    group: Option<Group>,
    /// Children whose crash restarts their group when the initial start is over.
    early: Vec<usize>,
    /// Operations on children that wait for others to be over.
    waiting: Vec<Waiting>,
    /// Those that came before there was a supervisor to ask.
    knocking: Vec<(Who, ChildOp)>,
    starter: Who,
    stoppers: Vec<Who>,
    announced: bool,
    was_active: bool,
    permit: bool,
    /// What was said of why it is to stop, and it has not seen yet.
    stop_wanted: Option<&'static str>,
    stop_seen: bool,
    stop_said: bool,
    /// What the start is answered if it fails.
    failure: String,
    reason: &'static str,
    stuck: Vec<(KidId, u64)>,
    /// All that can be stopped has been.
    stalled: bool,
    /// Its start is over, and not all of it has ended: it has no supervisor any more.
    closed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Phase {
    /// Its key is reserved, and nothing more.
    Reserved,
    Admitting {
        until: u64,
    },
    Starting {
        until: u64,
    },
    Up,
    Stopping {
        until: Option<u64>,
    },
    /// All of it has ended.
    Over,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Waiting {
    who: Who,
    op: ChildOp,
    behind: Behind,
}

/// What an operation waits for to be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Behind {
    /// Nothing, or what is under way with its child.
    Child,
    InitialStart,
    Group,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum ChildOp {
    /// The place in the order is that of the call.
    Start(Rc<KidPlan>, usize),
    Terminate(KidId),
    Restart(KidId),
    Delete(KidId),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kid {
    slot: usize,
    plan: Rc<KidPlan>,
    run: u64,
    restarts: u64,
    /// Restarts since the last healthy run.
    failures: u32,
    up_since: u64,
    state: State,
    stage: Option<Stage>,
    /// Whether it is up and its supervisor has not heard of it.
    unheard: bool,
    /// What it was told and has not seen.
    told: Option<Told>,
    /// Who waits for it to be gone.
    callers: Vec<Who>,
}

/// What the supervisor takes a child to be doing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    /// Its spec is kept, it does not run.
    Down,
    /// It is one of the initial ones, and its turn has not come.
    Pending,
    /// Its restart is decided, and waits: for its backoff, for its turn in the group.
    Waiting {
        until: Option<u64>,
    },
    Starting {
        on: Account,
        late: Option<u64>,
    },
    Running {
        silent: Option<u64>,
    },
    Leaving {
        how: Leaving,
        why: Why,
        on: Option<Account>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Leaving {
    Asked { kill: Option<u64> },
    Killed { grace: u64 },
    Stuck,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Why {
    /// Somebody wants it gone.
    Wanted,
    /// Its `init` took too long.
    Late,
    /// It was silent for too long.
    Silent,
}

/// On whose account a child is started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Account {
    Initial,
    Caller { who: Who, fresh: bool },
    Restart,
    Group,
}

/// What a child does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Stage {
    /// It has a task, which has not run yet.
    Spawned,
    Init {
        until: u64,
        then: Option<End>,
    },
    Run,
    /// It runs, and has been told to end.
    Told(How),
    Hanging,
    Terminate {
        until: u64,
        end: End,
    },
    /// All of it has gone but a lease.
    Lingers {
        until: u64,
        end: End,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Told {
    Stop,
    /// Whatever else it was about to do, it does no more.
    Kill,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Group {
    /// The slot of its first member.
    from: usize,
    /// Those still to be started, once all of it is down.
    pending: Option<VecDeque<usize>>,
    starting: Option<usize>,
    /// Members that a caller stopped: they stay down.
    excluded: Vec<usize>,
    not_before: u64,
}

#[derive(Clone, Copy, Debug)]
enum Timer {
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

/// How a start was over without the child being up.
enum NotUp {
    Declined,
    Cancelled,
    Failed { end: End, late: bool },
}

/// How many ways things may have gone before we do not care any more.
pub const TOO_MANY: usize = 2000;

/// A pod's status, as it can be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Status {
    Starting,
    Active,
    Stopping,
    Stuck,
}

impl From<Status> for PodStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Starting => Self::Starting,
            Status::Active => Self::Active,
            Status::Stopping => Self::Stopping,
            Status::Stuck => Self::Stuck,
        }
    }
}

/// What is left of the order in which children of one pod came and went: each child's own.
pub fn by_child(log: &[Line]) -> Vec<Line> {
    let mut log = log.to_vec();
    log.sort_by_key(|line| match line {
        Line::Permit | Line::PermitBack => None,
        Line::Init(kid, _) | Line::Up(kid, _) | Line::Terminate(kid, _) | Line::Gone(kid, _) => Some(*kid),
    });
    log
}

/// Every way in which things may go up to a moment: what is due, and what calls there are, in any order.
fn explore<'a>(begin: Vec<(Life, Vec<(usize, &'a Call)>)>, moment: u64) -> (Vec<Life>, bool) {
    let (mut open, mut ends, mut is_open) = (begin, Vec::new(), false);
    let mut met: HashSet<(Life, usize)> = HashSet::new();
    while let Some((mut life, calls)) = open.pop() {
        let timers = life.timers();
        let next = timers.iter().map(|(at, _)| *at).min().filter(|at| *at <= moment);
        let due = timers.into_iter().filter(|(at, _)| Some(*at) == next);
        let mut ways: Vec<(Life, Vec<(usize, &'a Call)>)> = Vec::new();
        for (at, timer) in due {
            let mut life = life.clone();
            life.happen(at, timer);
            ways.push((life, calls.clone()));
        }
        for n in 0..calls.len() {
            let mut rest = calls.clone();
            let (number, call) = rest.remove(n);
            // A call whose future was dropped may not have been made.
            let dropped = call.looks();
            if dropped.is_none_or(|looks| looks > 0) {
                let mut life = life.clone();
                life.call(dropped.is_none().then_some(number), &call.op);
                ways.push((life, rest.clone()));
            }
            if dropped.is_some_and(|looks| looks == 0 || !call.op.begins_at_once()) {
                ways.push((life.clone(), rest));
            }
        }
        match ways.len() {
            0 => {
                life.now = moment;
                if !ends.contains(&life) {
                    ends.push(life);
                }
            }
            1 => open.append(&mut ways),
            _ => {
                is_open = true;
                for (mut life, calls) in ways {
                    // The order between children is not looked at then, so ways that differ in that alone are one.
                    life.out.log = by_child(&life.out.log);
                    life.out.answers.sort_unstable();
                    let left = calls.iter().map(|(number, _)| 1 << (number % 64)).sum();
                    if met.insert((life.clone(), left)) {
                        open.push((life, calls));
                    }
                }
                if met.len() > TOO_MANY {
                    return (Vec::new(), true);
                }
            }
        }
    }
    (ends, is_open)
}

// ------------------------------------------------------------------------------------------------ a task

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

    /// Lets time pass. Answers what may have become of it, and whether the order of things was open.
    pub fn run_to(self, moment: u64) -> (Vec<Life>, bool) {
        explore(vec![(self, Vec::new())], moment)
    }

    /// Several callers at once. Answers what may have become of it, in whatever order things happen.
    pub fn together(self, calls: Vec<(usize, &Call)>) -> (Vec<Life>, bool) {
        let now = self.now;
        explore(vec![(self, calls)], now)
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
    fn happen(&mut self, moment: u64, timer: Timer) {
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

    fn answer(&mut self, who: Who, answer: impl Into<String>) {
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
    fn pod_begins(&mut self) {
        let wait = if let Store::Slow(ms) = self.store { ms } else { 0 };
        if let Some(pod) = &mut self.pod {
            pod.phase = Phase::Admitting { until: self.now + wait };
            pod.announced = true;
            self.out.events.push(Event::Starting);
        }
    }

    /// The store has answered.
    fn admitted(&mut self) {
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
    fn stop_seen(&mut self) {
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
    fn stopping(&mut self, said: &'static str) {
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
    fn successor_begins(&mut self) {
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
    fn pod_ends(&mut self) {
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

// ------------------------------------------------------------------------------------------------ starting

impl Life {
    /// Starts the next of the initial children; after the last the pod is active.
    fn advance_start(&mut self) {
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

    fn begin_start(&mut self, slot: usize, on: Account) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        kid.run += 1;
        kid.restarts += u64::from(matches!(on, Account::Restart | Account::Group));
        kid.state = State::Starting { on, late: kid.plan.start_timeout.map(|timeout| now + timeout) };
        kid.stage = Some(Stage::Spawned);
    }

    /// The child's own task begins.
    fn init(&mut self, slot: usize) {
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

    fn init_done(&mut self, slot: usize, then: Option<End>) {
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
    fn up(&mut self, slot: usize) {
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
    fn not_up(&mut self, slot: usize, on: Account, how: NotUp) {
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
    fn start_fails(&mut self, failure: String, reason: &'static str) {
        if let Some(pod) = &mut self.pod {
            pod.failure = failure;
        }
        self.begin_stop(reason);
    }
}

// ------------------------------------------------------------------------------------------------ ends and restarts

impl Life {
    /// A child that runs is told to end by itself.
    fn end(&mut self, id: KidId, how: How) {
        let kid = self.pod.as_mut().and_then(|pod| pod.kids.iter_mut().find(|kid| kid.plan.id == id));
        if let Some(kid) = kid.filter(|kid| kid.stage == Some(Stage::Run)) {
            kid.stage = Some(Stage::Told(how));
        }
    }

    /// It ends as it was told.
    fn ends(&mut self, slot: usize, how: How) {
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
    fn terminate(&mut self, slot: usize, end: End, bound: Option<u64>) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        self.out.log.push(Line::Terminate(kid.plan.id, kid.run));
        let whole = bound.is_none_or(|bound| kid.plan.terminate <= bound);
        let end = if whole && kid.plan.fault == Some(Fault::TerminatePanics) { End::Panicked } else { end };
        let wait = kid.plan.terminate.min(bound.unwrap_or(u64::MAX));
        kid.stage = Some(Stage::Terminate { until: now + wait, end });
    }

    /// The child's value goes; the incarnation has ended when its lease does.
    fn let_go(&mut self, slot: usize, end: End) {
        let now = self.now;
        let Some(kid) = self.pod.as_mut().and_then(|pod| pod.kid(slot)) else { return };
        self.out.log.push(Line::Gone(kid.plan.id, kid.run));
        let panics = kid.plan.fault == Some(Fault::DropPanics) && !end.is_abnormal();
        let end = if panics { End::Panicked } else { end };
        kid.stage = Some(Stage::Lingers { until: now + kid.plan.linger, end });
    }

    /// The last of an incarnation has gone, and its supervisor is told.
    fn gone(&mut self, slot: usize) {
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
        let left = |pod: &Pod| pod.kids.iter().any(|kid| kid.plan.significant && kid.state != State::Down);
        match self.plan.auto_shutdown {
            AutoShutdown::Never => false,
            AutoShutdown::AnySignificant => true,
            AutoShutdown::AllSignificant => !self.pod.as_ref().is_some_and(left),
        }
    }

    /// A child is to be started again, and whoever its strategy says with it, unless that is once too often.
    fn restart(&mut self, slot: usize, end: End) {
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
    fn restart_group(&mut self, slot: usize) {
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
    fn advance_group(&mut self) {
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

// ------------------------------------------------------------------------------------------------ stopping

impl Life {
    fn is_stopping(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| matches!(pod.phase, Phase::Stopping { .. } | Phase::Over))
    }

    fn begin_stop(&mut self, reason: &'static str) {
        self.enter_stop(reason);
        self.advance_stop();
    }

    /// From here on nothing is started.
    fn enter_stop(&mut self, reason: &'static str) {
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
    fn advance_stop(&mut self) {
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
        self.out.events.push(Event::Stuck(pod.stuck.clone()));
        let answer = pod.stuck_answer();
        let starter = pod.starter.take();
        if !pod.was_active {
            (pod.closed, pod.reason) = (true, "failed");
        }
        self.answer(starter, answer);
    }

    /// Whoever waits for the end of a pod that is stuck sees that.
    fn see_stuck(&mut self) {
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
    fn kill_all(&mut self) {
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
    fn ask(&mut self, slot: usize) {
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
    fn sees(&mut self, slot: usize) {
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

    fn kill(&mut self, slot: usize, why: Why) {
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
    fn does_not_end(&mut self, slot: usize) {
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

// ------------------------------------------------------------------------------------------------ operations on children

impl Life {
    fn child_op(&mut self, who: Who, op: ChildOp) {
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
    fn settle(&mut self) {
        let mut at = 0;
        while let Some(Waiting { who, op, behind }) =
            self.pod.as_ref().and_then(|pod| pod.waiting.get(at)).cloned()
        {
            let Some(pod) = &mut self.pod else { return };
            // A stop of a child waits for nobody else's turn.
            let stop = matches!(op, ChildOp::Terminate(_));
            let turn = !pod.waiting[..at].iter().any(|before| before.op.id() == op.id());
            let behind = pod.waits(&op, behind);
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
    fn clear(&mut self, slot: usize, forget: bool) {
        let Some(pod) = &mut self.pod else { return };
        pod.kids.retain(|kid| kid.slot != slot || !(forget || kid.plan.restart == Restart::Temporary));
        if let Some(kid) = pod.kid(slot) {
            kid.state = State::Down;
        }
    }

    /// After a child has gone: who waited for that comes first.
    fn go_on(&mut self) {
        self.settle();
        if self.is_stopping() { self.advance_stop() } else { self.advance_group() }
    }
}

// ------------------------------------------------------------------------------------------------ time

impl Life {
    fn timers(&self) -> Vec<(u64, Timer)> {
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

    fn fire(&mut self, timer: Timer) {
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

    fn kid(&self, slot: usize) -> Option<&Kid> {
        self.pod.as_ref()?.kids.iter().find(|kid| kid.slot == slot)
    }
}

// ------------------------------------------------------------------------------------------------ small things

impl Pod {
    fn new(starter: Who) -> Self {
        Self {
            status: Status::Starting,
            phase: Phase::Reserved,
            kids: Vec::new(),
            next_slot: 0,
            window: Vec::new(),
            restarts: 0,
            group: None,
            early: Vec::new(),
            waiting: Vec::new(),
            knocking: Vec::new(),
            starter,
            stoppers: Vec::new(),
            announced: false,
            was_active: false,
            permit: false,
            stop_wanted: None,
            stop_seen: false,
            stop_said: false,
            failure: "ended".into(),
            reason: "",
            stuck: Vec::new(),
            stalled: false,
            closed: false,
        }
    }

    /// The next place in the order.
    fn slot(&mut self) -> usize {
        self.next_slot += 1;
        self.next_slot
    }

    fn add(&mut self, slot: usize, plan: Rc<KidPlan>, state: State) {
        let kid = Kid {
            slot,
            plan,
            run: 0,
            restarts: 0,
            failures: 0,
            up_since: 0,
            state,
            stage: None,
            unheard: false,
            told: None,
            callers: Vec::new(),
        };
        let place = self.kids.partition_point(|other| other.slot < slot);
        self.kids.insert(place, kid);
    }

    fn kid(&mut self, slot: usize) -> Option<&mut Kid> {
        self.kids.iter_mut().find(|kid| kid.slot == slot)
    }

    /// What an operation waits for, if anything; `before`: what it has been waiting for.
    fn waits(&self, op: &ChildOp, before: Behind) -> Option<Behind> {
        let kid = self.kids.iter().find(|kid| kid.plan.id == op.id());
        let stop = matches!(op, ChildOp::Terminate(_));
        // All but the stop of a child that is up or coming up.
        if let Phase::Starting { .. } = self.phase {
            let pending = kid.is_some_and(|kid| kid.state == State::Pending);
            return (!stop || pending || before == Behind::InitialStart).then_some(Behind::InitialStart);
        }
        let under_way = |kid: &Kid| matches!(kid.shown(), ChildState::Starting | ChildState::Stopping);
        if !stop && kid.is_some_and(under_way) {
            return Some(Behind::Child);
        }
        let group = self.group.as_ref()?;
        // A new child, and what is asked of a member that is down.
        let down = |kid: &Kid| kid.slot >= group.from && kid.state == State::Down;
        let new = matches!(op, ChildOp::Start(..));
        (before == Behind::Group || new || !stop && kid.is_some_and(down)).then_some(Behind::Group)
    }

    fn stuck_answer(&self) -> String {
        let names: Vec<String> = self.stuck.iter().map(|(id, run)| name(*id, *run)).collect();
        format!("stuck {}", names.join(" "))
    }
}

impl Kid {
    fn shown(&self) -> ChildState {
        let again = |on: &Option<Account>| matches!(on, Some(Account::Restart | Account::Group));
        match &self.state {
            State::Down | State::Pending => ChildState::Undefined,
            State::Waiting { .. } => ChildState::Restarting,
            State::Starting { on: Account::Restart | Account::Group, .. } => ChildState::Restarting,
            State::Starting { .. } => ChildState::Starting,
            State::Running { .. } => ChildState::Running,
            State::Leaving { how: Leaving::Stuck, .. } => ChildState::Stuck,
            State::Leaving { why: Why::Late, on, .. } if again(on) => ChildState::Restarting,
            State::Leaving { why: Why::Silent, .. } if self.plan.restart != Restart::Temporary => {
                ChildState::Restarting
            }
            State::Leaving { .. } => ChildState::Stopping,
        }
    }

    /// Whether it is being started as one of the initial children, or that is being taken back.
    fn is_initial(&self) -> bool {
        match &self.state {
            State::Starting { on, .. } => *on == Account::Initial,
            State::Leaving { how, on, .. } => *how != Leaving::Stuck && *on == Some(Account::Initial),
            _ => false,
        }
    }

    /// How long it waits before this restart.
    fn backoff(&mut self) -> u64 {
        let Some((initial, max)) = self.plan.backoff else { return 0 };
        let wait = (initial << self.failures.min(20)).min(max);
        self.failures += 1;
        wait
    }
}

impl ChildOp {
    fn id(&self) -> KidId {
        match self {
            Self::Start(plan, _) => plan.id,
            Self::Terminate(id) | Self::Restart(id) | Self::Delete(id) => *id,
        }
    }
}

impl End {
    fn is_abnormal(self) -> bool {
        matches!(self, Self::Failed | Self::Panicked | Self::Killed)
    }
}

/// A run of a child, as errors name it.
pub fn name(id: KidId, run: u64) -> String {
    format!("{}#{run}", KIDS[id])
}
