//! A random walk: whatever happens, in whatever order, these hold.
//!
//! - nothing panics, and no timer stays in the past;
//! - no action speaks of an incarnation that is not the present one, and there are never two of one child;
//! - every caller is answered exactly once, and before the exit at the latest;
//! - an id leads to its child, and to no other;
//! - a slot is forgotten exactly once, when it is gone; at the exit nothing lives, and nothing follows.
//!
//! The walk plays driver, callers and children, some of which ignore stops, some kills. `IPA_WALK_STEPS` and `IPA_WALK_SEED`
//! set its length and where it begins; a failure prints the seed that repeats it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::*;
use crate::backoff::Backoff;
use crate::policy::{AutoShutdown, Strategy};

const STEPS: u64 = 400_000;
const SEED: u64 = 0x1d0c_0ffe_e000_0001;
/// A machine is walked for so many steps at most, then brought to its end.
const LIFE: u64 = 400;

/// Marsaglia's xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize].clone()
    }
}

struct Walk {
    random: Random,
    machine: Machine<u64>,
    auto_shutdown: AutoShutdown,
    now: Duration,
    begun: bool,
    next_slot: u64,
    next_tag: u64,
    /// Started, and not reported as ended.
    live: BTreeMap<SlotId, Incarnation>,
    /// The latest incarnation that was started of each slot.
    latest: BTreeMap<SlotId, Incarnation>,
    unanswered: BTreeSet<u64>,
    /// Slots that the driver keeps something for.
    kept: BTreeSet<SlotId>,
    exited: bool,
}

const IDS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn duration(random: &mut Random) -> Duration {
    let millis = random.pick(&[0, 1, 5, 20, 100, 100, 1000]);
    if random.one_in(40) { Duration::MAX } else { ms(millis) }
}

fn policy(random: &mut Random, auto_shutdown: AutoShutdown, id: &str) -> Policy {
    let timeout = Shutdown::Timeout(duration(random));
    let restart = random.pick(&[Restart::Permanent, Restart::Transient, Restart::Temporary]);
    let backoff =
        Backoff { initial: duration(random), max: ms(200), reset_after: ms(50), ..Backoff::default() };
    let makes_sense = auto_shutdown != AutoShutdown::Never && restart != Restart::Permanent;
    Policy {
        restart,
        significant: makes_sense && random.one_in(4),
        backoff: random.one_in(4).then(|| Box::new(backoff)),
        max_silence: random.one_in(4).then(|| duration(random).max(ms(1))),
        shutdown: random.pick(&[timeout, timeout, Shutdown::Infinity, Shutdown::BrutalKill]),
        start_timeout: random.one_in(3).then(|| duration(random)),
        kind: random.pick(&[Kind::Worker, Kind::Supervisor]),
        ..Policy::new(id)
    }
}

fn end(random: &mut Random) -> End {
    if random.one_in(8) {
        return End::Declined;
    }
    End::Exited(random.pick(&all_ends()).0)
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let within = ms(random.pick(&[1, 50, 1000]));
        let options = MachineOptions {
            strategy: random.pick(&[Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll]),
            auto_shutdown: random.pick(&[
                AutoShutdown::Never,
                AutoShutdown::AnySignificant,
                AutoShutdown::AllSignificant,
            ]),
            seed: random.next(),
            intensity: RestartIntensity::new(random.pick(&[0, 1, 3, 20, u32::MAX]), within),
            kill_grace: random.pick(&[ms(0), ms(1), ms(50), ms(1000)]),
            start_timeout: random.one_in(4).then(|| duration(&mut random)),
            shutdown_timeout: random.one_in(3).then(|| duration(&mut random)),
            max_children: random.one_in(3).then(|| random.below(4) as usize),
        };
        let initial: Vec<_> = match random.one_in(2) {
            true => Vec::new(),
            false => {
                let ids = &IDS[..random.below(5) as usize];
                (0..)
                    .map(SlotId)
                    .zip(ids.iter().map(|id| policy(&mut random, options.auto_shutdown, id)))
                    .collect()
            }
        };
        let kept: BTreeSet<_> = initial.iter().map(|(slot, _)| *slot).collect();
        let machine = match initial.is_empty() && random.one_in(2) {
            true => Machine::dynamic(MachineOptions { strategy: Strategy::OneForOne, ..options }),
            false => Machine::ordered(options, initial),
        };
        Self {
            random,
            machine: machine.unwrap(),
            auto_shutdown: options.auto_shutdown,
            now: Duration::ZERO,
            begun: false,
            next_slot: kept.len() as u64,
            next_tag: 0,
            live: BTreeMap::new(),
            latest: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            kept,
            exited: false,
        }
    }

    fn step(&mut self) {
        if !self.begun && !self.random.one_in(4) {
            self.begun = true;
            return self.handle(Event::Begin);
        }
        let event = match self.random.below(100) {
            0..30 => match self.some_live() {
                Some((slot, incarnation)) => Event::Up { slot, incarnation },
                None => return,
            },
            30..50 => match self.some_live() {
                Some((slot, _)) => return self.end_of(slot),
                None => return,
            },
            50..55 => self.stale(),
            55..57 => match self.some_live() {
                Some((slot, incarnation)) => match self.random.one_in(2) {
                    true => Event::Lingers { slot, incarnation },
                    false => Event::Alive { slot, incarnation, working: self.random.one_in(2) },
                },
                None => return,
            },
            57..78 => {
                let pass = self.random.pick(&[0, 0, 1, 1, 3, 10, 60, 300]);
                return self.pass(ms(pass));
            }
            78..99 => self.command(),
            _ => match self.random.below(12) {
                0 => Event::Kill { cause: Cause::Revoked },
                1..4 => {
                    let tag = self.tag();
                    let caller = self.caller();
                    Event::Shutdown { tag, caller, cause: Cause::Requested(None) }
                }
                _ => Event::Tick,
            },
        };
        self.handle(event);
    }

    fn end_of(&mut self, slot: SlotId) {
        let end = end(&mut self.random);
        if let Some(incarnation) = self.live.remove(&slot) {
            self.handle(Event::Ended { slot, incarnation, end });
        }
    }

    /// A report that is late, early, or of nobody.
    fn stale(&mut self) -> Event<u64> {
        let slot = SlotId(self.random.below(self.next_slot + 2));
        let latest = self.latest.get(&slot).map_or(0, |incarnation| incarnation.0);
        let live = self.live.contains_key(&slot);
        // Whatever is not the incarnation that lives: that one's reports would not be stale.
        let any = Incarnation(self.random.below(latest + 3));
        let incarnation = if live && any.0 == latest { Incarnation(latest + 1) } else { any };
        match self.random.below(3) {
            0 => Event::Up { slot, incarnation },
            1 => Event::Lingers { slot, incarnation },
            _ => Event::Ended { slot, incarnation, end: end(&mut self.random) },
        }
    }

    fn command(&mut self) -> Event<u64> {
        let id = self.random.pick(&IDS);
        let target = match self.random.one_in(2) {
            true => Target::Id(id.into()),
            false => Target::Slot(SlotId(self.random.below(self.next_slot + 1))),
        };
        let op = match self.random.below(5) {
            0 | 1 => {
                let slot = SlotId(self.next_slot);
                self.next_slot += 1;
                self.kept.insert(slot);
                Op::Start(slot, policy(&mut self.random, self.auto_shutdown, id))
            }
            2 => Op::Restart(target),
            3 => Op::Delete(target),
            _ => Op::Terminate(target),
        };
        Event::Command(Command { tag: self.tag(), caller: self.caller(), op })
    }

    fn tag(&mut self) -> Option<u64> {
        if self.random.one_in(6) {
            return None;
        }
        self.next_tag += 1;
        self.unanswered.insert(self.next_tag);
        Some(self.next_tag)
    }

    fn caller(&mut self) -> Option<SlotId> {
        if self.random.one_in(4) { self.some_live().map(|(slot, _)| slot) } else { None }
    }

    fn some_live(&mut self) -> Option<(SlotId, Incarnation)> {
        let live: Vec<_> = self.live.iter().map(|(slot, incarnation)| (*slot, *incarnation)).collect();
        (!live.is_empty()).then(|| self.random.pick(&live))
    }

    /// Time passes; the driver ticks as it should, or late.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        if self.random.one_in(3) {
            self.now = until;
            return self.tick();
        }
        while let Some(next) = self.machine.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = until;
    }

    fn tick(&mut self) {
        // What a tick sets in motion may be due at once, where a time is zero, but not for ever.
        for _ in 0..8 {
            self.handle(Event::Tick);
            if self.machine.poll_timeout().is_none_or(|next| next > self.now) {
                return;
            }
        }
        panic!("a timer stays in the past: {:?} at {:?}", self.machine.poll_timeout(), self.now);
    }

    fn handle(&mut self, event: Event<u64>) {
        let stopping = self.machine.is_stopping();
        self.machine.handle(self.now, event);
        while let Some(action) = self.machine.poll_action() {
            let starts = matches!(action, Action::Start { .. } | Action::Started);
            assert!(!(stopping && starts), "started while it stops: {action:?}");
            self.perform(action);
        }
        self.check();
    }

    fn perform(&mut self, action: Action<u64>) {
        let after_exit = self.exited;
        match action {
            Action::Start { slot, incarnation } => {
                assert!(self.kept.contains(&slot), "started, and forgotten before");
                assert!(self.live.insert(slot, incarnation).is_none(), "two live incarnations of {slot:?}");
                let before = self.latest.insert(slot, incarnation).map_or(0, |before| before.0);
                assert_eq!(incarnation.0, before + 1, "incarnations count from 1");
                assert!(!after_exit, "started after the exit");
            }
            Action::Stop { slot, incarnation, .. } | Action::Kill { slot, incarnation } => {
                assert_eq!(self.live.get(&slot), Some(&incarnation), "not the present incarnation");
                assert!(!after_exit, "told after the exit");
            }
            Action::Forget { slot } => {
                assert!(self.kept.remove(&slot), "forgotten twice: {slot:?}");
                assert!(!self.live.contains_key(&slot), "forgotten while it lives: {slot:?}");
                let known = self.machine.which_child(&Target::Slot(slot));
                assert_eq!(known, None, "forgotten, and still listed");
            }
            Action::Reply(tag, _) => assert!(self.unanswered.remove(&tag), "{tag} answered twice"),
            Action::Exit(_) => {
                assert!(!after_exit, "two exits");
                assert!(self.live.is_empty(), "alive at the exit: {:?}", self.live);
                assert!(self.unanswered.is_empty(), "unanswered at the exit: {:?}", self.unanswered);
                self.exited = true;
            }
            Action::Started | Action::Stalled(_) | Action::Note(_) => assert!(!after_exit),
        }
    }

    /// What must hold whenever the machine has nothing to say.
    fn check(&mut self) {
        let children: Vec<_> = self.machine.which_children().collect();
        let listed: BTreeSet<_> = children.iter().map(|info| info.child.slot).collect();
        assert!(listed.is_subset(&self.kept), "listed, and forgotten: {listed:?} {:?}", self.kept);
        for info in &children {
            let slot = info.child.slot;
            let live = self.live.contains_key(&slot);
            match info.state {
                ChildState::Undefined => assert!(!live, "{info:?}"),
                // It may wait for its backoff, or for its turn in a group.
                ChildState::Restarting => {}
                _ => assert!(live, "{info:?}"),
            }
        }
        for slot in self.live.keys() {
            assert!(listed.contains(slot), "alive, and not listed: {slot:?}");
        }
        assert_eq!(self.machine.count_children().specs, children.len());
        if self.machine.discipline == Discipline::Ordered {
            for info in &children {
                let found = self.machine.which_child(&Target::Id(info.child.id.clone()));
                assert_eq!(found.as_ref(), Some(info), "an id leads to its child");
            }
        }
        if let Some(group) = &self.machine.group {
            let stuck = self.machine.stuck_of_group();
            assert!(stuck.is_empty() || group.deferred.is_empty(), "left to wait for {stuck:?}");
            for caller in group.deferred.iter().filter_map(|deferred| deferred.command.caller) {
                let waits = group.stops() && self.machine.group_waits_for(caller);
                assert!(!waits, "{caller:?} is left to wait for its own stop");
            }
        }
        if self.exited {
            assert_eq!(self.machine.poll_timeout(), None);
        }
    }

    /// Brings the machine to its end: a stop, and every child ends sooner or later.
    fn finish(&mut self) {
        let tag = self.tag();
        self.handle(Event::Shutdown { tag, caller: None, cause: Cause::Requested(None) });
        for _ in 0..10_000 {
            if self.exited {
                break;
            }
            match self.some_live() {
                Some((slot, _)) if self.random.one_in(3) => self.end_of(slot),
                _ => self.pass(ms(10)),
            }
        }
        assert!(self.exited, "a stop whose children all end does not end: {:?}", self.machine);
        // Too late for anything but a refusal.
        for _ in 0..3 {
            let event = self.command();
            self.handle(event);
        }
        self.handle(Event::Tick);
        self.handle(Event::Begin);
        assert!(self.unanswered.is_empty());
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

/// RT-14 RI-18 TM-19 DO-21 and every other case in any mixture.
#[test]
fn the_rules_hold_whatever_happens() {
    let (steps, mut seed) = (setting("IPA_WALK_STEPS", STEPS), setting("IPA_WALK_SEED", SEED));
    let mut walked = 0;
    while walked < steps {
        let walk = || {
            let mut walk = Walk::new(seed);
            let mut steps = 0;
            while steps < LIFE && !walk.exited {
                walk.step();
                steps += 1;
            }
            walk.finish();
            steps
        };
        match catch_unwind(AssertUnwindSafe(walk)) {
            Ok(steps) => walked += steps,
            Err(panic) => {
                eprintln!("repeat with IPA_WALK_STEPS=1 IPA_WALK_SEED={seed}");
                resume_unwind(panic);
            }
        }
        seed = Random(seed).next();
    }
}
