//! Ready, stop and exit of an incarnation in all orders: the real driver, machine, incarnation and lease, with a child that does what a
//! scenario tells it.
//!
//! The runs are random: a start alone has some dozens of steps.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use shuttle::future::{block_on, spawn};
use tokio::sync::Notify;

use super::{many, point};
use crate::child::{Child, Init};
use crate::context::Context;
use crate::error::{ShutdownError, StartChildError, StartError, TerminateChildError};
use crate::handle::Started;
use crate::intensity::RestartIntensity;
use crate::lease::Lease;
use crate::machine::{ChildRef, ChildState, Incarnation, Note};
use crate::message::{Message, REPORTS};
use crate::policy::{Restart, Shutdown};
use crate::ports::Observer;
use crate::reason::{BoxError, Exit, ExitReason};
use crate::spec::ChildSpec;
use crate::supervisor::Supervisor;
use crate::sync::time;

/// What the incarnations of a scenario's child do, and what became of them.
#[derive(Default)]
struct Play {
    made: AtomicUsize,
    alive: AtomicUsize,
    up: AtomicUsize,
    /// Ends a run.
    quit: Notify,
    /// With it, `init` waits for `let_up`.
    slow_init: bool,
    let_up: Notify,
    /// Keeps the lease of the first incarnation here.
    keep_lease: bool,
    kept: Mutex<Option<Lease>>,
    notes: Mutex<Vec<Note>>,
}

impl Play {
    fn spec(self: &Arc<Self>, restart: Restart) -> ChildSpec {
        let play = self.clone();
        ChildSpec::new("child", move || {
            play.made.fetch_add(1, Ordering::SeqCst);
            let others = play.alive.fetch_add(1, Ordering::SeqCst);
            assert_eq!(others, 0, "an incarnation was made while another was alive");
            assert!(play.kept.lock().unwrap().is_none(), "an incarnation was made while a lease was held");
            Actor(play.clone())
        })
        .restart(restart)
    }

    fn count(&self, which: impl Fn(&Note) -> bool) -> usize {
        self.notes.lock().unwrap().iter().filter(|note| which(note)).count()
    }

    fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    /// What holds whatever happened, once the supervisor has ended.
    fn check(&self) {
        assert_eq!(self.alive(), 0, "no child outlives its supervisor");
        let notes = self.notes.lock().unwrap();
        for number in 1..=self.made.load(Ordering::SeqCst) as u64 {
            let of = |child: &ChildRef| child.incarnation == Incarnation(number);
            let started = notes.iter().filter(|note| matches!(note, Note::Started(child) if of(child)));
            // Of a child that was told to stop an end is not noted, unless it was an error.
            let ended = notes.iter().filter(|note| match note {
                Note::Exited { child, .. }
                | Note::ShutdownError(child, _)
                | Note::RestartFailed(child, _) => of(child),
                _ => false,
            });
            assert!(started.count() <= 1 && ended.count() <= 1, "incarnation {number}: {notes:?}");
        }
    }
}

struct Actor(Arc<Play>);

impl Drop for Actor {
    fn drop(&mut self) {
        point();
        self.0.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Child for Actor {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        point();
        if self.0.keep_lease && cx.child().incarnation == Incarnation(1) {
            *self.0.kept.lock().unwrap() = Some(cx.lease());
        }
        if self.0.slow_init {
            self.0.let_up.notified().await;
        }
        self.0.up.fetch_add(1, Ordering::SeqCst);
        Ok(Init::Ready)
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        point();
        self.0.quit.notified().await;
        Err("told to quit".into())
    }
}

struct Notes(Arc<Play>);

impl Observer for Notes {
    fn observe(&self, note: &Note) {
        self.0.notes.lock().unwrap().push(note.clone());
    }
}

/// A supervisor without children, of an intensity that is never reached.
async fn supervisor(play: &Arc<Play>) -> Supervisor {
    Supervisor::builder()
        .intensity(RestartIntensity::new(100, Duration::from_secs(1)))
        .kill_grace(Duration::from_secs(1))
        .observer(Arc::new(Notes(play.clone())))
        .start()
        .await
        .unwrap()
}

/// A start, a stop and an exit at the same time: each call is answered, and says what is so.
#[test]
fn ready_stop_and_exit_in_all_orders() {
    for restart in [Restart::Permanent, Restart::Transient, Restart::Temporary] {
        many(move || {
            block_on(async {
                let play = Arc::new(Play::default());
                let supervisor = supervisor(&play).await;
                let start = spawn({
                    let (supervisor, play) = (supervisor.downgrade(), play.clone());
                    async move {
                        let started = supervisor.start_child(play.spec(restart)).await;
                        match &started {
                            Ok(Started::Child(child)) => {
                                assert_eq!(child.incarnation, Incarnation(1));
                                assert!(play.up.load(Ordering::SeqCst) >= 1, "Ok, and it was not up");
                            }
                            Err(StartChildError::Cancelled) => assert_eq!(play.alive(), 0),
                            other => panic!("{other:?}"),
                        }
                        started.is_ok()
                    }
                });
                let stop = spawn({
                    let (supervisor, play) = (supervisor.downgrade(), play.clone());
                    async move {
                        let stopped = supervisor.terminate_child("child").await;
                        match &stopped {
                            Ok(()) => assert_eq!(play.alive(), 0, "Ok, and it was not gone"),
                            Err(TerminateChildError::NotFound) => {}
                            other => panic!("{other:?}"),
                        }
                        stopped.is_ok()
                    }
                });
                let exit = spawn({
                    let play = play.clone();
                    async move {
                        point();
                        play.quit.notify_one();
                    }
                });
                exit.await.unwrap();
                let (started, stopped) = (start.await.unwrap(), stop.await.unwrap());
                assert!(started || stopped, "what was not started was stopped");
                if stopped {
                    assert_eq!(play.alive(), 0, "it came back after the stop");
                }
                supervisor.shutdown().await.unwrap();
                play.check();
            });
        });
    }
}

/// What comes late of the first incarnation, the end and the word that it is up, does nothing to the second.
#[test]
fn a_late_exit_does_nothing_to_the_next() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play::default());
            let supervisor = supervisor(&play).await;
            let first = supervisor.start_child(play.spec(Restart::Permanent)).await.unwrap().child().unwrap();
            play.quit.notify_one();
            let late = spawn({
                let port = supervisor.downgrade().0.0.clone();
                let play = play.clone();
                async move {
                    // The first report is the lease's; these are copies of it, and of its word.
                    while play.made.load(Ordering::SeqCst) < 2 {
                        shuttle::future::yield_now().await;
                    }
                    let (slot, incarnation) = (first.slot, first.incarnation);
                    for message in [
                        Message::Ended { slot, incarnation },
                        Message::Up { slot, incarnation },
                        Message::Lingers { slot, incarnation },
                    ] {
                        assert!(port.inbox.push(REPORTS, message).is_ok());
                    }
                }
            });
            late.await.unwrap();
            // Answered after what was queued before it.
            let info = supervisor.which_child("child").await.unwrap().unwrap();
            assert_eq!((info.child.incarnation, info.restarts), (Incarnation(2), 1));
            assert!(matches!(info.state, ChildState::Restarting | ChildState::Running), "{:?}", info.state);
            assert_eq!(play.alive(), 1);
            supervisor.terminate_child("child").await.unwrap();
            assert_eq!((play.alive(), play.made.load(Ordering::SeqCst)), (0, 2));
            supervisor.shutdown().await.unwrap();
            play.check();
        });
    });
}

/// A child crashes time and again while others keep its supervisor's loop busy: whichever task deals with an end, the next incarnation
/// lives on one that nobody aborts.
#[test]
fn crashes_in_a_row() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play::default());
            let supervisor = supervisor(&play).await;
            let _ = supervisor.start_child(play.spec(Restart::Permanent)).await.unwrap();
            let asks = spawn({
                let supervisor = supervisor.downgrade();
                async move {
                    for _ in 0..4 {
                        supervisor.count_children().await.unwrap();
                    }
                }
            });
            for crash in 1..4 {
                while play.up.load(Ordering::SeqCst) < crash {
                    shuttle::future::yield_now().await;
                }
                play.quit.notify_one();
            }
            while play.up.load(Ordering::SeqCst) < 4 {
                shuttle::future::yield_now().await;
            }
            asks.await.unwrap();
            assert_eq!((play.alive(), play.made.load(Ordering::SeqCst)), (1, 4));
            let failed = |note: &Note| matches!(note, Note::Exited { reason: ExitReason::Failed(_), .. });
            let exited = |note: &Note| matches!(note, Note::Exited { .. });
            assert_eq!((play.count(failed), play.count(exited)), (3, 3));
            supervisor.shutdown().await.unwrap();
            play.check();
        });
    });
}

/// A lease is held elsewhere when the child crashes: the next incarnation waits for it, and a stop meanwhile does, too.
#[test]
fn the_next_incarnation_waits_for_the_lease_of_the_last() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play { keep_lease: true, ..Play::default() });
            let supervisor = supervisor(&play).await;
            let _ = supervisor.start_child(play.spec(Restart::Permanent)).await.unwrap();
            let crash = spawn({
                let play = play.clone();
                async move {
                    point();
                    play.quit.notify_one();
                }
            });
            let holder = spawn({
                let play = play.clone();
                async move {
                    point();
                    let kept = play.kept.lock().unwrap().take();
                    drop(kept);
                }
            });
            supervisor.terminate_child("child").await.unwrap();
            assert!(play.kept.lock().unwrap().is_none(), "stopped, and a lease was held");
            assert_eq!(play.alive(), 0);
            crash.await.unwrap();
            holder.await.unwrap();
            supervisor.shutdown().await.unwrap();
            play.check();
        });
    });
}

/// A start's deadline as the child gets up: the start is answered once, and what it says is so.
#[test]
fn a_start_timeout_as_the_child_gets_up() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play { slow_init: true, ..Play::default() });
            let supervisor = supervisor(&play).await;
            let clock = spawn(async { time::advance(Duration::from_secs(1)) });
            let ready = spawn({
                let play = play.clone();
                async move {
                    point();
                    play.let_up.notify_one();
                }
            });
            let spec = play.spec(Restart::Temporary).start_timeout(Duration::from_secs(1));
            match supervisor.start_child(spec).await {
                Ok(Started::Child(_)) => {
                    assert_eq!(play.alive(), 1);
                    supervisor.terminate_child("child").await.unwrap();
                }
                Err(StartChildError::Failed(_)) => {}
                other => panic!("{other:?}"),
            }
            assert_eq!(play.alive(), 0, "a start that failed leaves nothing");
            clock.await.unwrap();
            ready.await.unwrap();
            supervisor.shutdown().await.unwrap();
            play.check();
        });
    });
}

/// The kill grace runs out as the last lease is let go: the stop is answered once, with what is so; a stuck child is reaped once.
#[test]
fn the_grace_runs_out_as_the_lease_ends() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play { keep_lease: true, ..Play::default() });
            let supervisor = supervisor(&play).await;
            let spec = play.spec(Restart::Permanent).shutdown(Shutdown::BrutalKill);
            let _ = supervisor.start_child(spec).await.unwrap();
            let clock = spawn(async { time::advance(Duration::from_secs(1)) });
            let holder = spawn({
                let play = play.clone();
                async move {
                    point();
                    let kept = play.kept.lock().unwrap().take();
                    drop(kept);
                }
            });
            let stopped = supervisor.terminate_child("child").await;
            match &stopped {
                Ok(()) => assert!(play.kept.lock().unwrap().is_none(), "stopped, and a lease was held"),
                Err(TerminateChildError::Stuck(stuck)) => assert_eq!(stuck.len(), 1),
                other => panic!("{other:?}"),
            }
            clock.await.unwrap();
            holder.await.unwrap();
            // A stop overtakes the report that the stuck one has ended; it is told so, and the end comes all the same.
            match supervisor.shutdown().await {
                Ok(()) => {}
                Err(ShutdownError::Stuck(_)) => assert!(stopped.is_err()),
                other => panic!("{other:?}"),
            }
            supervisor.wait().await;
            let stuck = play.count(|note| matches!(note, Note::Stuck(_)));
            assert_eq!(stuck, play.count(|note| matches!(note, Note::Reaped(_))), "who was stuck is reaped");
            assert_eq!(stuck, usize::from(stopped.is_err()));
            assert_eq!(play.made.load(Ordering::SeqCst), 1);
            play.check();
        });
    });
}

/// The last handle goes while a start is under way: the start is answered, the supervisor ends, and its children with it.
#[test]
fn the_last_handle_goes_during_a_start() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play::default());
            let supervisor = supervisor(&play).await;
            let weak = supervisor.downgrade();
            let start = spawn({
                let (weak, play) = (weak.clone(), play.clone());
                async move { weak.start_child(play.spec(Restart::Permanent)).await }
            });
            point();
            drop(supervisor);
            match start.await.unwrap() {
                Ok(_) | Err(StartChildError::Cancelled | StartChildError::Closed) => {}
                other => panic!("{other:?}"),
            }
            weak.wait().await;
            play.check();
        });
    });
}

/// A supervisor is killed while its child gets up: its end is told when the child is gone, and not before.
#[test]
fn a_kill_as_the_child_gets_up() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play::default());
            let supervisor = supervisor(&play).await;
            let start = spawn({
                let (supervisor, play) = (supervisor.downgrade(), play.clone());
                async move { supervisor.start_child(play.spec(Restart::Permanent)).await }
            });
            let killer = spawn({
                let supervisor = supervisor.downgrade();
                async move {
                    point();
                    supervisor.kill(crate::Cause::Revoked);
                }
            });
            supervisor.wait().await;
            assert_eq!(play.alive(), 0);
            killer.await.unwrap();
            assert!(!matches!(start.await.unwrap(), Err(StartChildError::AlreadyStarted(_))));
        });
    });
}

/// A nested supervisor is killed while its own child gets up, so that its loop is dropped in the middle of whatever it was at: the kill
/// is answered when the child is gone as well.
#[test]
fn a_nested_loop_is_dropped_as_its_child_gets_up() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play::default());
            let outer = supervisor(&play).await;
            let nested = ChildSpec::supervisor("nested", {
                let play = play.clone();
                move || Supervisor::builder().child(play.spec(Restart::Permanent))
            });
            let start = spawn({
                let outer = outer.downgrade();
                async move { outer.start_child(nested.shutdown(Shutdown::BrutalKill)).await }
            });
            match outer.terminate_child("nested").await {
                Ok(()) => assert_eq!(play.alive(), 0, "Ok, and its child was not gone"),
                Err(TerminateChildError::NotFound) => {}
                other => panic!("{other:?}"),
            }
            assert!(matches!(start.await.unwrap(), Ok(_) | Err(StartChildError::Cancelled)));
            outer.shutdown().await.unwrap();
            assert_eq!(play.alive(), 0);
        });
    });
}

/// An initial child fails as it is told to quit, or comes up first: the start of the supervisor says which, once.
#[test]
fn an_initial_start_and_a_crash() {
    many(|| {
        block_on(async {
            let play = Arc::new(Play { slow_init: true, ..Play::default() });
            let clock = spawn(async { time::advance(Duration::from_secs(1)) });
            let ready = spawn({
                let play = play.clone();
                async move {
                    point();
                    play.let_up.notify_one();
                    play.quit.notify_one();
                }
            });
            let started = Supervisor::builder()
                .child(play.spec(Restart::Temporary))
                .start_timeout(Duration::from_secs(1))
                .observer(Arc::new(Notes(play.clone())))
                .start()
                .await;
            match started {
                Ok(supervisor) => {
                    assert_eq!(play.up.load(Ordering::SeqCst), 1);
                    supervisor.shutdown().await.unwrap();
                }
                Err(StartError::ChildFailed(_)) => {}
                Err(other) => panic!("{other:?}"),
            }
            assert!(play.made.load(Ordering::SeqCst) <= 1, "a temporary child is made once");
            clock.await.unwrap();
            ready.await.unwrap();
            play.check();
        });
    });
}
