//! The end of a lease: told once, after all that was tied to it is gone.
//!
//! The count of holders is one of the standard library's atomics; a `point` before each clone, drop and upgrade lets others go on there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::thread;

use super::{every, point};
use crate::child::End;
use crate::control::Control;
use crate::incarnation::Manner;
use crate::lease::{Hold, Lease, WeakLease};
use crate::machine::{ChildRef, Incarnation, SlotId};
use crate::message::{Message, Port};
use crate::policy::Policy;
use crate::reason::ExitReason;

fn child_of(parent: &Lease, port: &Arc<Port>, slot: u64) -> Lease {
    let child = ChildRef { id: "child".into(), slot: SlotId(slot), incarnation: Incarnation(1) };
    let manner = Manner::of(&Policy::new("child").into(), true);
    Hold::first(Arc::new(Control::new(child, port.clone(), parent.clone(), manner, false))).into()
}

/// Whose ends were reported, in order.
fn reported(port: &Port) -> Vec<u64> {
    std::iter::from_fn(|| port.inbox.try_pop())
        .map(|message| match message {
            Message::Ended { slot, .. } => slot.0,
            _ => panic!("a lease reports an end"),
        })
        .collect()
}

/// Drops after the point, so that others may go on before.
fn let_go(lease: Lease) {
    point();
    drop(lease);
}

/// Counts how many are alive, and asserts at its end that the lease's end was not reported yet.
struct Tied(Arc<AtomicUsize>, Arc<Port>);

impl Tied {
    fn new(alive: &Arc<AtomicUsize>, port: &Arc<Port>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self(alive.clone(), port.clone())
    }
}

impl Drop for Tied {
    fn drop(&mut self) {
        assert!(self.1.inbox.try_pop().is_none(), "the end was reported before this was gone");
        point();
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Whoever of three is last: the end is reported once, when the last one lets go, with what the task said.
#[test]
fn the_last_holder_reports_once() {
    every(1_000_000, || {
        let port = Port::new(None);
        let lease = child_of(&Lease::root(), &port, 1);
        let control = lease.control().unwrap().clone();
        let task = thread::spawn({
            let (lease, control) = (lease.clone(), control.clone());
            move || {
                control.task_ended(End::Exited(ExitReason::Normal));
                let_go(lease);
            }
        });
        let closure = thread::spawn({
            let lease = lease.clone();
            move || let_go(lease)
        });
        assert!(port.inbox.try_pop().is_none(), "one holds it still");
        let_go(lease);
        task.join().unwrap();
        closure.join().unwrap();
        assert_eq!(reported(&port), [1]);
        assert!(matches!(control.take_end(), End::Exited(ExitReason::Normal)));
    });
}

/// What is tied by one holder while others let go is gone before the end is reported.
#[test]
fn what_is_tied_goes_before_the_report() {
    every(1_000_000, || {
        let port = Port::new(None);
        let alive = Arc::new(AtomicUsize::new(0));
        let lease = child_of(&Lease::root(), &port, 1);
        let control = lease.control().unwrap().clone();
        lease.tie(Tied::new(&alive, &port));
        let others = [(); 2].map(|()| {
            let (lease, alive, port) = (lease.clone(), alive.clone(), port.clone());
            thread::spawn(move || {
                lease.tie(Tied::new(&alive, &port));
                let_go(lease);
            })
        });
        let_go(lease);
        others.into_iter().for_each(|other| other.join().unwrap());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(reported(&port), [1]);
        assert!(matches!(control.take_end(), End::Exited(ExitReason::Killed)), "what is not said is a kill");
    });
}

/// Who gets a lease from a weak one holds it: no end is reported before that one is dropped, and what it ties goes first.
#[test]
fn an_upgrade_holds_or_comes_too_late() {
    every(1_000_000, || {
        let port = Port::new(None);
        let alive = Arc::new(AtomicUsize::new(0));
        let lease = child_of(&Lease::root(), &port, 1);
        let weak = lease.downgrade();
        let upgraders = [(); 2].map(|()| {
            let (weak, alive, port) = (weak.clone(), alive.clone(), port.clone());
            thread::spawn(move || {
                point();
                if let Some(lease) = WeakLease::upgrade(&weak) {
                    lease.tie(Tied::new(&alive, &port));
                    let_go(lease);
                }
            })
        });
        let_go(lease);
        upgraders.into_iter().for_each(|upgrader| upgrader.join().unwrap());
        assert!(weak.upgrade().is_none());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(reported(&port).len(), 1);
    });
}

/// A supervisor has not ended before its children have, in whatever order they are let go.
#[test]
fn a_child_holds_its_parent() {
    every(1_000_000, || {
        let port = Port::new(None);
        let parent = child_of(&Lease::root(), &port, 1);
        let children = [child_of(&parent, &port, 2), child_of(&parent, &port, 3)];
        let others = children.map(|child| thread::spawn(move || let_go(child)));
        let_go(parent);
        others.into_iter().for_each(|other| other.join().unwrap());
        let order = reported(&port);
        assert!(order == [2, 3, 1] || order == [3, 2, 1], "{order:?}");
    });
}
