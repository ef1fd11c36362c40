//! The word that a child is up, its end, echoes of both, and a stop, in every order in which a loop can find them in its inbox: the real
//! inbox and the real machine, with the loop played here, in a few lines.
//!
//! A push and a pop are one step each, as `inbox.rs` beside this shows that they are; so the orders are enumerated here, and not left
//! to the scheduler, which would run through every step of every lock as well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::once;
use crate::child::End;
use crate::function::Function;
use crate::inbox::Inbox;
use crate::machine::{
    Action, Command, Event, Incarnation, Machine, MachineOptions, Op, Outcome, Refusal, SlotId, Target,
};
use crate::message::{REPORTS, STOPS};
use crate::policy::{Policy, Restart, Settings};
use crate::reason::ExitReason;
use crate::spec::ChildSpec;

type Tag = &'static str;
type Mail = Arc<Inbox<Event<Tag>, 2>>;

const SLOT: SlotId = SlotId(0);

fn up(incarnation: u64) -> Event<Tag> {
    Event::Up { slot: SLOT, incarnation: Incarnation(incarnation) }
}

fn ended(incarnation: u64) -> Event<Tag> {
    let end = End::Exited(ExitReason::failed("of itself"));
    Event::Ended { slot: SLOT, incarnation: Incarnation(incarnation), end }
}

fn command(tag: Tag, op: Op) -> Event<Tag> {
    Event::Command(Command { tag: Some(tag), caller: None, op })
}

/// The loop, and the children that it starts, of which the first is played by other threads.
struct Loop {
    machine: Machine<Tag>,
    inbox: Mail,
    /// The ends that were handled, by incarnation.
    ended: BTreeMap<u64, usize>,
    started: u64,
    answers: BTreeMap<Tag, Result<Outcome, Refusal>>,
}

impl Loop {
    fn new(inbox: &Mail, restart: Restart) -> Self {
        let machine = Machine::ordered(MachineOptions::default(), []).unwrap();
        let mut turn = Self {
            machine,
            inbox: inbox.clone(),
            ended: BTreeMap::new(),
            started: 0,
            answers: BTreeMap::new(),
        };
        turn.handle(Event::Begin);
        let spec = ChildSpec::new("child", || Function::new(|_| async {})).restart(restart);
        turn.handle(command(
            "start",
            Op::Start(SLOT, Policy::resolve(spec.id.clone(), spec.settings.get(), Settings::default())),
        ));
        assert_eq!(turn.started, 1);
        turn
    }

    fn handle(&mut self, event: Event<Tag>) {
        let late = match &event {
            Event::Ended { incarnation, .. } => {
                let times = self.ended.entry(incarnation.0).or_default();
                *times += 1;
                *times > 1
            }
            Event::Up { incarnation, .. } | Event::Lingers { incarnation, .. } => {
                self.ended.contains_key(&incarnation.0)
            }
            _ => false,
        };
        self.machine.handle(Duration::ZERO, event);
        while let Some(action) = self.machine.poll_action() {
            assert!(!late, "what came late of an incarnation that had ended did something: {action:?}");
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action<Tag>) {
        match action {
            Action::Start { incarnation, .. } => {
                assert_eq!(incarnation.0, self.started + 1, "each incarnation has the next number");
                assert!(
                    self.started == 0 || self.ended.contains_key(&self.started),
                    "the last one has not ended"
                );
                self.started = incarnation.0;
                if incarnation.0 > 1 {
                    assert!(self.inbox.push(REPORTS, up(incarnation.0)).is_ok());
                }
            }
            // The first one ends by itself.
            Action::Stop { incarnation, .. } if incarnation.0 > 1 => {
                assert!(self.inbox.push(REPORTS, ended(incarnation.0)).is_ok());
            }
            Action::Reply(tag, answer) => {
                assert!(self.answers.insert(tag, answer).is_none(), "{tag} was answered twice");
            }
            _ => {}
        }
    }
}

/// Who does the next step.
#[derive(Clone, Copy)]
enum Who {
    Child,
    Stopper,
    Loop,
}

const CHILD: usize = 5;
const STOPPER: usize = 1;

/// Calls `visit` with each order of so many steps of the child, of the stopper and of the loop.
fn orders(left: [usize; 3], order: &mut Vec<Who>, visit: &mut impl FnMut(&[Who])) {
    if left == [0; 3] {
        return visit(order);
    }
    for (who, next) in [Who::Child, Who::Stopper, Who::Loop].into_iter().enumerate() {
        if left[who] > 0 {
            let mut less = left;
            less[who] -= 1;
            order.push(next);
            orders(less, order, visit);
            order.pop();
        }
    }
}

fn up_stop_and_end(restart: Restart) {
    once(move || {
        let mut run = 0;
        orders([CHILD, STOPPER, CHILD + STOPPER], &mut Vec::new(), &mut |order| {
            run += 1;
            play(restart, order);
        });
        println!("{}: all {run} orders", super::name());
        assert_eq!(run, 5544);
    });
}

fn play(restart: Restart, order: &[Who]) {
    let inbox: Mail = Arc::new(Inbox::new(1));
    let mut turn = Loop::new(&inbox, restart);
    let lingers = Event::Lingers { slot: SLOT, incarnation: Incarnation(1) };
    // Its life, and then echoes of it, which find the next incarnation on its way, up, or stopping.
    let life: [_; CHILD] = [up(1), ended(1), lingers, ended(1), up(1)];
    let mut life = life.into_iter();
    for who in order {
        match who {
            Who::Child => assert!(inbox.push(REPORTS, life.next().unwrap()).is_ok()),
            Who::Stopper => {
                assert!(inbox.push(STOPS, command("stop", Op::Terminate(Target::Slot(SLOT)))).is_ok());
            }
            Who::Loop => inbox.try_pop().into_iter().for_each(|event| turn.handle(event)),
        }
    }
    while let Some(event) = inbox.try_pop() {
        turn.handle(event);
    }

    let stopped_first = match turn.answers.get("start") {
        Some(Ok(Outcome::Started(SLOT, Incarnation(1)))) => false,
        Some(Err(Refusal::Cancelled)) => true,
        Some(Err(Refusal::Failed(_))) => panic!("it came up before it ended"),
        other => panic!("the start was answered by {other:?}"),
    };
    match turn.answers.get("stop") {
        Some(Ok(Outcome::Done)) => {}
        // Of a temporary child that has ended nothing is left to stop.
        Some(Err(Refusal::NotFound)) => assert!(restart == Restart::Temporary && !stopped_first),
        other => panic!("the stop was answered by {other:?}"),
    }
    assert_eq!(turn.machine.count_children().active, 0, "it came back after the stop");
    assert!(turn.started <= if restart == Restart::Temporary { 1 } else { 2 });
}

/// A start is answered once, and says whether the child came up before the stop; so is the stop, and nothing runs after it.
#[test]
fn up_stop_and_end_of_a_permanent_child() {
    up_stop_and_end(Restart::Permanent);
}

/// The same, of a child that is not started again.
#[test]
fn up_stop_and_end_of_a_temporary_child() {
    up_stop_and_end(Restart::Temporary);
}
