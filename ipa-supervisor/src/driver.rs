//! The thin loop around the machine: messages in, actions out, one sleep for the earliest deadline.
//!
//! It holds what the machine must not know: factories, tasks, the way to answer. It never awaits a child's code; the only
//! things it awaits are its inbox and the clock. Root and nested supervisors, ordered and dynamic ones, are all this loop.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, ready};
use std::time::Duration;

use crate::context::Context;
use crate::control::Control;
use crate::error::{StartError, StuckChild};
use crate::incarnation::{Body, Bound, Manner};
use crate::lease::{Hold, Lease};
use crate::lineage::CURRENT;
use crate::log;
use crate::machine::{
    Action, ChildRef, ChildState, Command, Event, Incarnation, Machine, Note, Op, SlotId, Target,
};
use crate::message::{COMMANDS, Message, Port, Reply, Request, StartChild};
use crate::policy::{Kept, Policy, Restart};
use crate::ports::Observer;
use crate::reason::{Cause, ExitReason};
use crate::seat;
use crate::spec::Factory;
use crate::stop_request::StopRequest;
use crate::sync::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinHandle, spawn},
    time::{self, Instant},
};

use crate::table::Table;

pub(crate) struct Driver {
    /// Dropping a slot aborts what runs in it: no child outlives its supervisor, however that ends.
    slots: Table<Slot>,
    machine: Machine<Reply>,
    port: Arc<Port>,
    /// What its children's specs fall back on.
    defaults: Kept,
    observer: Option<Arc<dyn Observer>>,
    epoch: Instant,
    next_slot: u64,
    /// The children that keep its stop from being finished, as soon as none but those are left.
    stalled: Option<Box<[StuckChild]>>,
    /// The lease that this supervisor's children keep alive: its own.
    lease: Lease,
    /// Wakes the loop. There while there is a deadline.
    timer: Option<Pin<Box<time::Sleep>>>,
    /// Whether there are workers that go on while one is blocked.
    many_workers: bool,
    /// Its initial children are up.
    started: bool,
    /// It has ended; the reason lies in the port.
    ended: bool,
    /// The parent's request to stop was passed on.
    heeded: bool,
    /// There is something that the owner has not seen.
    news: bool,
    /// Something has happened since the owner last wanted a timer.
    moved: bool,
    at_hand: AtHand,
}

/// Whose task runs the loop.
#[derive(Default)]
enum AtHand {
    /// The supervisor's, or one that goes on as it is.
    #[default]
    Nobody,
    /// That of this incarnation, which has ended.
    Ended(SlotId, Incarnation),
    /// That of a child whose next incarnation this is, on the same task.
    Next(Body),
}

/// What a supervisor's loop has of a child.
pub(crate) struct Slot {
    factory: Option<Factory>,
    running: Option<Running>,
    /// The policy's, for the log: the machine may have forgotten the child by then.
    restart: Restart,
}

impl Slot {
    pub(crate) fn new(factory: Factory, restart: Restart) -> Self {
        Self { factory: Some(factory), running: None, restart }
    }
}

struct Running {
    control: Arc<Control>,
    task: JoinHandle<()>,
}

impl Running {
    /// A task that is aborted while it runs goes on to its next await: the word is for one that runs this loop.
    fn kill(&self) {
        self.control.set_killed();
        self.task.abort();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Says that the supervisor has ended, when its lease does.
struct Ended(Arc<Port>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set_ended();
    }
}

impl Driver {
    /// A loop for `machine`, which holds the children in these slots already; the others follow from `next_slot` on. `lease` is the
    /// supervisor's own.
    pub(crate) fn new(
        machine: Machine<Reply>,
        slots: Table<Slot>,
        next_slot: u64,
        defaults: Kept,
        observer: Option<Arc<dyn Observer>>,
        port: Arc<Port>,
        lease: Lease,
    ) -> Box<Self> {
        lease.tie(Ended(port.clone()));
        Box::new(Self {
            slots,
            machine,
            port,
            defaults,
            observer,
            epoch: Instant::now(),
            next_slot,
            stalled: None,
            lease,
            timer: None,
            many_workers: Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread,
            started: false,
            ended: false,
            heeded: false,
            news: false,
            moved: false,
            at_hand: AtHand::Nobody,
        })
    }

    pub(crate) fn port(&self) -> &Arc<Port> {
        &self.port
    }

    /// Begins to start the initial children. To be called once, as soon as the loop is made: the time begins with it.
    pub(crate) fn begin(&mut self) {
        self.feed_at(Duration::ZERO, Event::Begin);
    }

    /// Runs the loop until the initial children are up, or it is clear that they will not be. That stays news until
    /// [`poll_end`](Self::poll_end): nobody else goes on before the owner has passed it on.
    pub(crate) fn poll_up(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), StartError>> {
        loop {
            if let Some(reason) = self.ended() {
                return Poll::Ready(Err(start_error(reason)));
            }
            if let Some(stuck) = &self.stalled {
                return Poll::Ready(Err(StartError::Stuck(stuck.to_vec())));
            }
            if self.started {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_turn(cx));
        }
    }

    /// Runs the loop until the supervisor has ended. `stalled` is called if the stop cannot be finished for now, unless that was `told`.
    pub(crate) fn poll_end(
        &mut self,
        cx: &mut task::Context<'_>,
        told: &mut bool,
        stalled: impl Fn(),
    ) -> Poll<ExitReason> {
        loop {
            self.news = false;
            if let Some(reason) = self.ended() {
                return Poll::Ready(reason);
            }
            if self.stalled.is_some() && !*told {
                *told = true;
                stalled();
            }
            ready!(self.poll_turn(cx));
        }
    }

    fn ended(&self) -> Option<ExitReason> {
        self.ended.then(|| self.port.reason().cloned())?
    }

    /// Asks the supervisor to stop as soon as its parent does. Answers whether that was now.
    pub(crate) fn heed(&mut self, stop: &StopRequest, cx: &task::Context<'_>) -> bool {
        if self.heeded {
            return false;
        }
        let Poll::Ready(cause) = stop.poll(cx) else { return false };
        self.heeded = true;
        self.feed(Event::Shutdown { tag: None, caller: None, cause });
        true
    }

    /// Waits for one message or the next deadline, and deals with it.
    fn poll_turn(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        // A loop that always finds a message would otherwise never let its thread go.
        let progress = ready!(tokio::task::coop::poll_proceed(cx));
        let now = self.look();
        if self.tick(now) {
            progress.made_progress();
            return Poll::Ready(());
        }
        if let Poll::Ready(message) = self.port.inbox.poll_pop(cx) {
            progress.made_progress();
            self.receive(message, now);
            return Poll::Ready(());
        }
        ready!(self.poll_timer(cx));
        self.feed(Event::Tick);
        Poll::Ready(())
    }

    /// Deals with a deadline that is over, or else with the next message. Answers whether there was one.
    pub(crate) fn turn(&mut self) -> bool {
        // Before the inbox: one that is never empty would stop the clock.
        let now = self.look();
        if self.tick(now) {
            return true;
        }
        match self.port.inbox.try_pop() {
            Some(message) => {
                self.receive(message, now);
                true
            }
            None => false,
        }
    }

    /// Whether the owner is to see something before anybody goes on: what comes after the start must not seem to come before it.
    pub(crate) fn has_news(&self) -> bool {
        self.news
    }

    /// Whether there is something that [`turn`](Self::turn)s cannot do: the owner has to see it, or a timer to be set.
    pub(crate) fn wants_owner(&self) -> bool {
        self.news || self.deadline().is_some_and(|deadline| !self.has_timer(deadline))
    }

    /// The loop is run on a task that is not the supervisor's; that of this incarnation, if it has ended.
    pub(crate) fn at_hand(&mut self, ended: Option<&seat::Ended>) {
        self.at_hand = ended.map_or(AtHand::Nobody, |ended| AtHand::Ended(ended.slot, ended.incarnation));
    }

    /// What that task is to go on as.
    pub(crate) fn take_next(&mut self) -> Option<Body> {
        match std::mem::take(&mut self.at_hand) {
            AtHand::Next(body) => Some(body),
            AtHand::Ended(..) | AtHand::Nobody => None,
        }
    }

    /// The time, if there is a deadline that it may be past. To look at the clock is a good part of what a message takes.
    pub(crate) fn look(&self) -> Option<Duration> {
        self.machine.poll_timeout().map(|_| self.epoch.elapsed())
    }

    /// Deals with a deadline that is over. Answers whether there was one.
    pub(crate) fn tick(&mut self, now: Option<Duration>) -> bool {
        let (Some(due), Some(now)) = (self.machine.poll_timeout(), now) else { return false };
        if due <= now {
            self.feed_at(now, Event::Tick);
        }
        due <= now
    }

    /// The next one. One too far off to be a moment is none.
    fn deadline(&self) -> Option<Instant> {
        self.epoch.checked_add(self.machine.poll_timeout()?)
    }

    /// Whether there is one that is not due after this. It may go off in vain: one for each deadline would cost more.
    fn has_timer(&self, deadline: Instant) -> bool {
        self.timer.as_ref().is_some_and(|timer| timer.deadline() <= deadline)
    }

    fn poll_timer(&mut self, cx: &mut task::Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline() else {
            self.timer = None;
            return Poll::Pending;
        };
        if !self.has_timer(deadline) {
            // As long as one thing leads to another, as when children stop one after the other, whoever has the loop looks at the clock each time,
            // and it is all over before long. A timer, which all workers share the wheel of, is for when nothing happens from one turn to the
            // next. Not in the initial start, where the turn that this takes costs as much: another worker takes it.
            if std::mem::take(&mut self.moved) && self.started {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.timer = None;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(time::sleep_until(deadline)));
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(())
    }

    /// `now`: the time, if it was looked at for this.
    pub(crate) fn receive(&mut self, message: Message, now: Option<Duration>) {
        let now = now.unwrap_or_else(|| self.epoch.elapsed());
        match message {
            Message::Up { slot, incarnation } => self.feed_at(now, Event::Up { slot, incarnation }),
            Message::Alive { slot, incarnation } => {
                let pulse =
                    self.running(slot, incarnation).and_then(|running| running.control.pulse.as_ref());
                if let Some(working) = pulse.map(|pulse| pulse.read()) {
                    // By the clock after that: the child may have said it since the last look.
                    self.feed(Event::Alive { slot, incarnation, working });
                }
            }
            Message::Lingers { slot, incarnation } => self.feed_at(now, Event::Lingers { slot, incarnation }),
            Message::Ended { slot, incarnation } => {
                // There until another is started in its place, of which there is none before this is heard.
                if let Some(end) = self.running(slot, incarnation).map(|running| running.control.take_end()) {
                    self.feed_at(now, Event::Ended { slot, incarnation, end });
                }
            }
            Message::StartChild(start) => self.start_child(now, *start),
            Message::Request(request) => self.answer(now, *request),
        }
    }

    fn answer(&mut self, now: Duration, request: Request) {
        match request {
            Request::Shutdown { tag, caller, cause } => {
                self.feed_at(now, Event::Shutdown { tag, caller, cause })
            }
            Request::Kill { cause } => self.feed_at(now, Event::Kill { cause }),
            Request::Command(command) => self.feed_at(now, Event::Command(command)),
            Request::Terminate { tag, caller, target, again } => {
                self.terminate(now, tag, caller, target, again)
            }
            // A caller that does not wait any more is no concern of the answers below.
            Request::WhichChildren(reply) => {
                let _ = reply.send(self.machine.which_children().collect());
            }
            Request::WhichChild(target, reply) => {
                let _ = reply.send(self.machine.which_child(&target));
            }
            Request::CountChildren(reply) => {
                let _ = reply.send(self.machine.count_children());
            }
            Request::GetChildSpec(target, reply) => {
                let _ = reply.send(self.machine.policy(&target));
            }
        }
    }

    fn start_child(&mut self, now: Duration, StartChild { tag, caller, id, factory, settings }: StartChild) {
        let slot = SlotId(self.next_slot);
        self.next_slot += 1;
        let policy = Policy::resolve(id, settings.get(), self.defaults.get());
        // Kept before the machine hears of it: it says `Forget` of what it refuses.
        let restart = policy.restart;
        self.slots.insert(slot, Slot::new(factory, restart));
        self.feed_at(now, Event::Command(Command { tag: Some(tag), caller, op: Op::Start(slot, policy) }));
    }

    /// A stop of one child overtakes the exits that are queued, so that it is not restarted in vain. It must not overtake the
    /// start of what it stops, so if there is nothing to stop it is put behind the commands, once.
    fn terminate(
        &mut self,
        now: Duration,
        tag: Option<Reply>,
        caller: Option<SlotId>,
        target: Target,
        again: bool,
    ) {
        let runs = |state| state != ChildState::Undefined;
        if again || self.machine.which_child(&target).is_some_and(|info| runs(info.state)) {
            return self.feed_at(now, Event::Command(Command { tag, caller, op: Op::Terminate(target) }));
        }
        // Never refused: the inbox is closed only when this loop ends.
        let _ =
            self.port.inbox.push(COMMANDS, Request::Terminate { tag, caller, target, again: true }.into());
    }

    fn feed(&mut self, event: Event<Reply>) {
        self.feed_at(self.epoch.elapsed(), event);
    }

    fn feed_at(&mut self, now: Duration, event: Event<Reply>) {
        self.moved = true;
        self.machine.handle(now, event);
        while let Some(action) = self.machine.poll_action() {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action<Reply>) {
        match action {
            Action::Start { slot, incarnation } => self.start(slot, incarnation),
            Action::Stop { slot, incarnation, cause } => {
                if let Some(running) = self.running(slot, incarnation) {
                    running.control.stop.make(cause);
                }
            }
            Action::Kill { slot, incarnation } => {
                if let Some(running) = self.running(slot, incarnation) {
                    running.kill();
                }
            }
            Action::Forget { slot } => {
                // What the factory captured is foreign, and so is its Drop.
                let slot = self.slots.remove(slot);
                log::caught("a child's factory, when dropped", || drop(slot));
            }
            // A caller that has gone away does not undo what it asked for.
            Action::Reply(tag, result) => {
                let _ = tag.send(result);
            }
            Action::Started => {
                self.started = true;
                self.news = true;
            }
            Action::Stalled(stuck) => {
                self.stalled = Some(stuck.into());
                self.news = true;
            }
            Action::Note(note) => self.note(&note),
            Action::Exit(reason) => {
                self.port.set_reason(reason);
                self.ended = true;
                self.news = true;
            }
        }
    }

    fn running(&self, slot: SlotId, incarnation: Incarnation) -> Option<&Running> {
        self.slots
            .get(slot)?
            .running
            .as_ref()
            .filter(|running| running.control.child.incarnation == incarnation)
    }

    fn start(&mut self, id: SlotId, incarnation: Incarnation) {
        let Some(policy) = self.machine.kept_policy(id) else { return };
        let Some(slot) = self.slots.get_mut(id) else { return };
        // A temporary child is started once: what its factory captured goes with that one incarnation.
        let factory = match policy.restart {
            Restart::Temporary => slot.factory.take(),
            Restart::Permanent | Restart::Transient => slot.factory.clone(),
        };
        let child = ChildRef { id: policy.id.clone(), slot: id, incarnation };
        let watched = policy.max_silence().is_some();
        let last = slot.running.as_ref().map(|last| &last.control);
        let has_waited = last.is_some_and(|last| last.has_waited());
        // One that sees to it by itself does so each time: what it has awaited may be nothing but that.
        let lets_go = last.is_some_and(|last| last.waits_first()) || !has_waited;
        let manner = Manner::of(policy, self.many_workers && lets_go);
        let control = Control::new(child, self.port.clone(), self.lease.clone(), manner, watched);
        let control = Arc::new(control);
        let cx = Context::new(Hold::first(control.clone()));
        let body = Body { factory, cx, bound: Bound::of(policy) };
        if let AtHand::Ended(at, ended) = self.at_hand
            && at == id
            && let Some(last) = &mut slot.running
            // Else the task at hand is that of an earlier one, which was not gone on with: it deals with the end of the one after it, too.
            && last.control.child.incarnation == ended
            // One that has awaited nothing would never let its worker go, and one that was killed is aborted when it first awaits.
            && has_waited
            && !last.control.is_killed()
        {
            last.control = control;
            self.at_hand = AtHand::Next(body);
            return;
        }
        let task = spawn(CURRENT.scope(control.within(), body.live()));
        slot.running = Some(Running { control, task });
    }

    fn note(&self, note: &Note) {
        // Not the machine's: it may have forgotten the child by now, and says so after the note.
        log::said(|| log::note(note, |slot| self.slots.get(slot).map(|slot| slot.restart)));
        if let Some(observer) = &self.observer {
            log::caught("a supervisor's observer", || observer.observe(note));
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Whoever still waits for an answer is told that there is none: its half of the reply is dropped here. What factories
        // captured is foreign, and so is its Drop: a panic in one must not keep the others' children from being aborted.
        for message in self.port.inbox.close() {
            log::caught("a request to a supervisor, when dropped", || drop(message));
        }
        for slot in self.slots.values_mut() {
            slot.running = None;
        }
        for slot in std::mem::take(&mut self.slots).into_values() {
            log::caught("a child's factory, when dropped", || drop(slot));
        }
    }
}

fn start_error(reason: ExitReason) -> StartError {
    match reason {
        ExitReason::Shutdown(Cause::FailedToStart(failure)) => StartError::ChildFailed(failure),
        reason => StartError::Ended(reason),
    }
}
