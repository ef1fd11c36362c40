//! Who runs a supervisor's loop: the supervisor's own task, or whoever has something to tell it while nobody does.
//!
//! What a child says of itself, that it is up or has ended, is mostly what the next step of a start, a stop or a restart waits for. To
//! wake the supervisor's task for it takes two task switches, often to another worker and back. So the loop lies in a seat. A
//! child's own task that has something to say sits down, if the seat is free, does what follows from it, and gets up. What has to
//! wait for something, a deadline or the loop's owner, is left to the supervisor's task.
//!
//! The trick: nobody waits for a seat that is taken. Who brings something then leaves it in the inbox, with a mark, and who sits there looks
//! at the mark before getting up. Inbox and seat are under one lock, so nothing is left lying; and it is not held while the loop runs.

use std::future::poll_fn;
use std::hint;
use std::sync::Arc;
use std::task::{self, Poll, Waker, ready};

use crate::driver::Driver;
use crate::error::StartError;
use crate::incarnation::Body;
use crate::machine::{Incarnation, SlotId};
use crate::message::{Message, Port, REPORTS};
use crate::reason::ExitReason;

/// How many messages whoever brings one deals with at most; more are left to the supervisor's task. Who has brought one thing is
/// not to work for all.
const TURNS: usize = 16;

/// How often a child's task that is to run it again looks once more for a seat that is taken, and how many turns of a spin loop go by before
/// each look: two or three microseconds in all, in which a few exits are dealt with.
const LOOKS: usize = if cfg!(ipa_interleavings) { 1 } else { 5 };
const SPINS: usize = 20;

/// Where a supervisor's loop lies while nobody runs it: beside its inbox.
#[derive(Default)]
pub(crate) struct Seat {
    driver: Option<Box<Driver>>,
    taken: bool,
    /// Something was brought meanwhile, by somebody who relies on whoever sits there.
    brought: bool,
    /// The owner wants to go on.
    owner: Option<Waker>,
    /// The owner is gone, and the loop goes as soon as it can.
    orphaned: bool,
}

impl Seat {
    /// Takes the loop, if it is there and nobody runs it.
    fn sit_down(&mut self) -> Option<Box<Driver>> {
        let driver = self.driver.take();
        self.taken |= driver.is_some();
        driver
    }
}

/// The incarnation that has ended with a report.
pub(crate) struct Ended {
    pub(crate) slot: SlotId,
    pub(crate) incarnation: Incarnation,
    /// Its task is likely to go on as the next one.
    pub(crate) may_go_on: bool,
}

/// Whether there is another turn before getting up.
enum Another {
    No,
    /// If something was brought meanwhile.
    IfBrought,
    /// If there are messages.
    IfAny,
}

/// Runs the loop, which was taken out, for as long as `turn` is for another. It answers what it came to.
fn run<R>(port: &Port, mut driver: Box<Driver>, mut turn: impl FnMut(&mut Driver) -> (R, Another)) -> R {
    let mut unwinds = Unwinds(Some(port));
    loop {
        let (result, another) = turn(&mut driver);
        let mut lanes = port.inbox.lock();
        let any = !lanes.is_empty();
        let seat = &mut lanes.beside;
        let brought = std::mem::take(&mut seat.brought);
        if matches!((another, brought, any), (Another::IfBrought, true, _) | (Another::IfAny, _, true)) {
            continue;
        }
        seat.taken = false;
        let owner = seat.owner.take();
        let orphan = match seat.orphaned {
            true => Some(driver),
            false => {
                seat.driver = Some(driver);
                None
            }
        };
        drop(lanes);
        unwinds.0 = None;
        // Foreign code is dropped with it, and a waker's is called: not under the lock.
        drop(orphan);
        owner.into_iter().for_each(Waker::wake);
        return result;
    }
}

/// Tells the owner of a loop that goes in a panic, of a caller's waker, say. Drops before the loop does, which closes the inbox and forgets
/// who is to be woken there.
struct Unwinds<'a>(Option<&'a Port>);

impl Drop for Unwinds<'_> {
    fn drop(&mut self) {
        if let Some(port) = self.0 {
            let owner = {
                let seat = &mut port.inbox.lock().beside;
                seat.taken = false;
                seat.owner.take()
            };
            owner.into_iter().for_each(Waker::wake);
            port.inbox.wake_reader();
        }
    }
}

/// Tells a supervisor's loop what its child reports: runs the loop, unless somebody does, who then finds the report among the messages.
///
/// With `ended`, that incarnation has, and its task could go on as the next one: answers that, if there is to be one. To be called by a
/// child's own task, with no lock held, as what follows is done here: others are started, told to stop, answered.
pub(crate) fn report(port: &Port, message: Message, ended: Option<Ended>) -> Option<Body> {
    let (driver, mut message) = {
        let mut lanes = port.inbox.lock();
        // A task that is likely to go on as the next incarnation gives whoever sits there a moment to get up: another one would have to be made
        // for that else, which takes longer. Should the seat be taken still, nothing is lost but that.
        let mut looks = if ended.as_ref().is_some_and(|ended| ended.may_go_on) { LOOKS } else { 0 };
        while lanes.beside.taken && looks > 0 {
            drop(lanes);
            (0..SPINS).for_each(|_| hint::spin_loop());
            looks -= 1;
            lanes = port.inbox.lock();
        }
        // Not by way of the queue, if nothing is there that came before it.
        let ready = lanes.beside.driver.as_ref().is_some_and(|driver| !driver.has_news());
        let message = if ready && lanes.is_empty() {
            Some(message)
        } else {
            // Refused only when the loop is gone, and then nobody is left to be told. A report has nothing to drop.
            lanes.push_unheard(REPORTS, message).ok()?;
            None
        };
        lanes.beside.brought |= lanes.beside.taken;
        // Without one, the owner has yet to bring it, and looks at what is there then.
        (lanes.beside.sit_down()?, message)
    };
    let mut left = TURNS;
    let mut next = None;
    let wanted = run(port, driver, |driver| {
        driver.at_hand(ended.as_ref());
        match message.take() {
            Some(message) => {
                // As in every turn, before the message.
                let now = driver.look();
                // What a deadline leads to may take its time.
                let now = now.filter(|_| !driver.tick(now));
                if driver.has_news() {
                    let _ = port.inbox.lock().push_unheard(REPORTS, message);
                } else {
                    driver.receive(message, now);
                    left -= 1;
                }
            }
            None => {
                while left > 0 && !driver.has_news() && driver.turn() {
                    left -= 1;
                }
            }
        }
        // In any case: what is left at hand would be taken for that of whoever runs the loop next.
        let made = driver.take_next();
        next = next.take().or(made);
        // Also of what nobody brought, but what was dealt with has led to.
        let another = if left > 0 && !driver.has_news() { Another::IfAny } else { Another::No };
        (left == 0 || driver.wants_owner(), another)
    });
    if wanted {
        port.inbox.wake_reader();
    }
    next
}

/// A supervisor's loop as the supervisor's own task has it. The loop goes with it.
pub(crate) struct Owner(Arc<Port>);

impl Owner {
    pub(crate) fn new(driver: Box<Driver>) -> Self {
        let port = driver.port().clone();
        port.inbox.lock().beside.driver = Some(driver);
        Self(port)
    }

    /// Goes on with the loop when nobody else runs it.
    pub(crate) fn poll<R>(
        &mut self,
        cx: &mut task::Context<'_>,
        mut go_on: impl FnMut(&mut Driver, &mut task::Context<'_>) -> Poll<R>,
    ) -> Poll<R> {
        let driver = ready!(self.poll_take(cx));
        // What is left lying behind a result is for the next poll: the owner goes on, or it ends and the loop does.
        run(&self.0, driver, |driver| {
            let polled = go_on(driver, cx);
            // Not if there are others: it has left them to let others go on.
            let another = if polled.is_pending() { Another::IfBrought } else { Another::No };
            (polled, another)
        })
    }

    /// Runs the loop until the initial children are up, or it is clear that they will not be. Cancel safe.
    pub(crate) async fn up(&mut self) -> Result<(), StartError> {
        poll_fn(|cx| self.poll(cx, Driver::poll_up)).await
    }

    /// Runs the loop until the supervisor has ended. Cancel safe.
    pub(crate) async fn run(&mut self) -> ExitReason {
        poll_fn(|cx| self.poll(cx, |driver, cx| driver.poll_end(cx, &mut true, || {}))).await
    }

    fn poll_take(&self, cx: &task::Context<'_>) -> Poll<Box<Driver>> {
        let mut waker = None;
        loop {
            let mut lanes = self.0.inbox.lock();
            if !lanes.beside.taken {
                let driver = lanes.beside.sit_down();
                drop(lanes);
                // The owner ends as it does when the loop panics on its own task: the loop goes, and its children with it.
                return Poll::Ready(driver.unwrap_or_else(|| panic!("a supervisor's loop has panicked")));
            }
            // Cloned before, and dropped after: no waker's code runs under the lock.
            let Some(waker) = waker.take() else {
                drop(lanes);
                waker = Some(cx.waker().clone());
                continue;
            };
            let before = lanes.beside.owner.replace(waker);
            drop(lanes);
            drop(before);
            return Poll::Pending;
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let driver = {
            let seat = &mut self.0.inbox.lock().beside;
            seat.orphaned = seat.taken;
            seat.driver.take()
        };
        drop(driver);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::sync::{Notify, mpsc};

    use super::*;
    use crate::child::{Child, Init};
    use crate::context::Context;
    use crate::intensity::RestartIntensity;
    use crate::machine::{ChildRef, ChildState, Note};
    use crate::policy::Shutdown;
    use crate::reason::{BoxError, Cause, Exit};
    use crate::spec::ChildSpec;
    use crate::supervisor::Supervisor;

    /// A supervisor without children whose task waits, and its port.
    async fn idle() -> (Supervisor, Arc<Port>) {
        let supervisor = Supervisor::builder().start().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        let port = supervisor.downgrade().0.0.clone();
        (supervisor, port)
    }

    /// A message that leads to nothing.
    fn nobodys() -> Message {
        Message::Lingers { slot: SlotId(7), incarnation: Incarnation(1) }
    }

    /// Whoever brings one message deals with so many, and has the supervisor's task woken for the rest.
    #[tokio::test(start_paused = true)]
    async fn who_brings_one_does_not_work_for_all() {
        let (supervisor, port) = idle().await;
        let bring = |before: usize| {
            (0..before).for_each(|_| assert!(port.inbox.lock().push_unheard(REPORTS, nobodys()).is_ok()));
            assert!(report(&port, nobodys(), None).is_none());
        };
        let left = || std::iter::from_fn(|| port.inbox.try_pop()).count();
        bring(TURNS - 2);
        assert_eq!(left(), 0, "all, as they are fewer");
        bring(TURNS + 2);
        assert_eq!(left(), 3);
        tokio::time::sleep(Duration::from_millis(1)).await;
        bring(TURNS + 2);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(left(), 0, "the supervisor's task was woken");
        supervisor.shutdown().await.unwrap();
    }

    /// A child that does not come up by itself.
    struct Slow;

    #[async_trait]
    impl Child for Slow {
        async fn init(&mut self, _cx: &mut Context) -> Result<Init, BoxError> {
            std::future::pending().await
        }

        async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
            std::future::pending().await
        }
    }

    /// Has it started; answers the report that it is up.
    async fn slow(supervisor: &Supervisor) -> Message {
        let handle = supervisor.downgrade();
        tokio::spawn(async move { handle.start_child(ChildSpec::new("slow", || Slow)).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
        let ChildRef { slot, incarnation, .. } = supervisor.which_child("slow").await.unwrap().unwrap().child;
        Message::Up { slot, incarnation }
    }

    /// Lets time go by while nobody looks.
    async fn unseen(port: &Port, time: Duration) {
        let driver = port.inbox.lock().beside.sit_down();
        tokio::time::advance(time).await;
        let seat = &mut port.inbox.lock().beside;
        (seat.driver, seat.taken) = (driver, false);
    }

    /// A report that is heard at once is one of the messages that its bringer deals with.
    #[tokio::test(start_paused = true)]
    async fn a_report_that_is_heard_at_once_counts() {
        let port = Arc::new(OnceLock::<Arc<Port>>::new());
        let observer = {
            let port = port.clone();
            move |note: &Note| {
                if let (Note::Started(_), Some(port)) = (note, port.get()) {
                    let push = || port.inbox.lock().push_unheard(REPORTS, nobodys());
                    (0..TURNS + 4).for_each(|_| assert!(push().is_ok()));
                }
            }
        };
        let supervisor = Supervisor::builder().observer(Arc::new(observer)).start().await.unwrap();
        let up = slow(&supervisor).await;
        let port = port.get_or_init(|| supervisor.downgrade().0.0.clone());
        assert!(report(port, up, None).is_none());
        assert_eq!(std::iter::from_fn(|| port.inbox.try_pop()).count(), 5);
        supervisor.shutdown().await.unwrap();
    }

    /// A deadline that is over comes before what is reported after it, though nobody has looked at the clock yet.
    #[tokio::test(start_paused = true)]
    async fn a_deadline_comes_before_a_report() {
        let (notes, mut noted) = mpsc::unbounded_channel();
        let observer = move |note: &Note| {
            let _ = match note {
                Note::Started(child) => notes.send(format!("{child} has started")),
                Note::Silent(child) => notes.send(format!("{child} is silent")),
                _ => Ok(()),
            };
        };
        let quiet = ChildSpec::task("quiet", |_cx| std::future::pending::<()>());
        let quiet = quiet.max_silence(Duration::from_millis(10));
        let supervisor = Supervisor::builder().child(quiet).observer(Arc::new(observer));
        let supervisor = supervisor.start().await.unwrap();
        let up = slow(&supervisor).await;
        let port = supervisor.downgrade().0.0.clone();
        unseen(&port, Duration::from_millis(20)).await;
        assert!(report(&port, up, None).is_none());
        let noted: Vec<_> = std::iter::from_fn(|| noted.try_recv().ok()).collect();
        assert_eq!(noted, ["quiet#1 has started", "quiet#1 is silent", "slow#1 has started"]);
        supervisor.shutdown().await.unwrap();
    }

    /// What a deadline has led to is seen by the loop's owner before anything that is reported after it.
    #[tokio::test(start_paused = true)]
    async fn the_news_of_a_deadline_comes_before_a_report() {
        let (leases, mut leased) = mpsc::unbounded_channel();
        let held = ChildSpec::task("held", move |cx| {
            let _ = leases.send(cx.lease());
            std::future::pending::<()>()
        });
        let held = held.shutdown(Shutdown::BrutalKill);
        let grace = Duration::from_millis(10);
        let supervisor = Supervisor::builder().child(held).kill_grace(grace).start().await.unwrap();
        let port = supervisor.downgrade().0.0.clone();
        let lease = leased.recv().await.unwrap();
        supervisor.request_shutdown(Cause::Requested(None));
        tokio::time::sleep(Duration::from_millis(1)).await;
        unseen(&port, 2 * grace).await;
        assert!(report(&port, nobodys(), None).is_none());
        assert!(port.inbox.lock().beside.driver.as_ref().unwrap().has_news());
        assert!(port.inbox.try_pop().is_some(), "it was not heard");
        drop(lease);
        supervisor.wait().await;
    }

    /// What is brought while somebody sits there is dealt with before that one gets up, as nobody is woken for it.
    #[tokio::test(start_paused = true)]
    async fn who_finds_the_seat_taken_leaves_a_mark() {
        let (supervisor, port) = idle().await;
        let driver = { port.inbox.lock().beside.sit_down().unwrap() };
        let mut turns = 0;
        run(&port, driver, |driver| {
            turns += 1;
            match turns {
                1 => assert!(report(&port, nobodys(), None).is_none()),
                // Nor does one wait for long that could go on as the next incarnation.
                2 => {
                    assert!(driver.turn(), "it is there");
                    let ended = Ended { slot: SlotId(7), incarnation: Incarnation(1), may_go_on: true };
                    assert!(report(&port, nobodys(), Some(ended)).is_none());
                }
                _ => assert!(driver.turn(), "and so is that"),
            }
            ((), Another::IfBrought)
        });
        assert_eq!(turns, 3);
        supervisor.shutdown().await.unwrap();
    }

    /// A task that is not gone on with may come to deal with the end of the incarnation after its own, too, which ran on another: the next one
    /// is not its to go on as.
    #[tokio::test(start_paused = true)]
    async fn a_task_goes_on_as_its_own_successor_alone() {
        let (crash, (leases, mut leased)) = (Arc::new(Notify::new()), mpsc::unbounded_channel());
        let child = ChildSpec::task("a", {
            let crash = crash.clone();
            move |cx| {
                let (crash, leases) = (crash.clone(), leases.clone());
                async move {
                    let _ = leases.send((cx.child().clone(), cx.lease()));
                    crash.notified().await;
                }
            }
        });
        let often = RestartIntensity::new(100, Duration::from_secs(1));
        let supervisor = Supervisor::builder().child(child).intensity(often).start().await.unwrap();
        let port = supervisor.downgrade().0.0.clone();
        for (ended, number) in [(1, 2), (2, 3)] {
            let (child, lease) = leased.recv().await.unwrap();
            crash.notify_one();
            // The clock goes on when nobody has anything to do: it has ended but for the lease.
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(lease);
            // Not heard by the supervisor's task yet. In the first round it is the end of this very incarnation.
            let (slot, incarnation) = (child.slot, Incarnation(1));
            let at_hand = Ended { slot, incarnation, may_go_on: true };
            let next = report(&port, Message::Lingers { slot, incarnation }, Some(at_hand));
            assert_eq!(next.is_some(), ended == 1, "incarnation {number}");
            if let Some(next) = next {
                tokio::spawn(next.live());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            let info = supervisor.which_child("a").await.unwrap().unwrap();
            assert_eq!((info.child.incarnation, info.state), (Incarnation(number), ChildState::Running));
        }
        // With the last one's lease.
        drop(leased);
        supervisor.shutdown().await.unwrap();
    }
}
