//! The real stack, driven by a program and looked at.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use ipa_pod::{
    PodEvent, PodEvents, PodRef, PodStatus, PodSupervisor, PodSupervisorRef, RestartPodError,
    ShutdownPodsError, StartPodError, StopPodError,
};
use ipa_supervisor::{
    Cause, ChildRef, DeleteChildError, ExitReason, RestartChildError, StartChildError, Started, StuckChild,
    TerminateChildError,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::model::{self, End, Event, Out, PodSeen, Seen};
use crate::program::*;
use crate::puppet::{Streams, World, kid_of, ms, number_of};

/// Tells when a runtime has nothing left to do at this moment: it is then about to park.
///
/// So the clock, which moves on when the runtime parks, does not have to move for a program to see that all is at rest.
#[derive(Default)]
pub struct Idle {
    wanted: AtomicBool,
    here: Notify,
}

impl Idle {
    pub fn runtime(self: &Arc<Self>) -> Runtime {
        let idle = self.clone();
        let park = move || {
            if idle.wanted.swap(false, Ordering::Relaxed) {
                idle.here.notify_one();
            }
        };
        Builder::new_current_thread().enable_time().start_paused(true).on_thread_park(park).build().unwrap()
    }

    /// Waits until nobody else has anything to do at this moment.
    pub async fn wait(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        self.here.notified().await;
    }
}

type Answers = Arc<Mutex<Vec<(usize, String)>>>;

pub struct Stack {
    pub world: Arc<World>,
    pods: Option<PodSupervisor>,
    handle: PodSupervisorRef,
    events: PodEvents,
    answers: Answers,
    idle: Arc<Idle>,
    begun: Instant,
}

impl Stack {
    pub async fn new(plans: &[PodPlan], idle: Arc<Idle>) -> Self {
        let world = World::new(plans);
        let factory = world.clone();
        let pods = PodSupervisor::builder(Streams(world.clone()), move |scope: &_| factory.pod(scope));
        let pods = pods.start().await.unwrap();
        let (handle, events) = (pods.downgrade(), pods.subscribe());
        idle.wait().await;
        Self {
            world,
            pods: Some(pods),
            handle,
            events,
            answers: Answers::default(),
            idle,
            begun: Instant::now(),
        }
    }

    /// Lets time pass up to this moment, and all happen that happens by then.
    pub async fn run_to(&self, moment: u64) {
        sleep_until(self.begun + ms(moment)).await;
        self.rest(moment).await;
    }

    /// Lets all happen that happens at this moment.
    pub async fn rest(&self, moment: u64) {
        self.idle.wait().await;
        assert_eq!(self.begun.elapsed(), ms(moment), "the clock must not move by itself");
    }

    /// Makes a call, the `number`th. It is answered in its own time. Answers whether a child was there to be told to end.
    pub fn call(&self, number: usize, call: &Call) -> bool {
        let room = |task: Task| self.world.room(task);
        match &call.op {
            Op::Stream(task) => room(*task).stream = true,
            Op::NoStream(task) => room(*task).stream = false,
            Op::Store(store) => self.world.set_store(*store),
            Op::Next(task, kid, init, times) => {
                let mut room = room(*task);
                room.next.retain(|(of, ..)| of != kid);
                room.next.push((*kid, *init, *times));
            }
            Op::NextPod(task, how, times) => room(*task).next_pod = Some((*how, *times)),
            Op::End(task, kid, how) => return self.world.end(*task, *kid, *how),
            Op::Revoke(task) => {
                let revoker = room(*task).revoker.clone();
                if let Some(revoker) = revoker {
                    revoker.revoke();
                }
            }
            Op::Advance(_) | Op::Edge(..) => {}
            op => {
                let answer = answer(self.handle.clone(), self.world.clone(), op.clone());
                let answers = self.answers.clone();
                match call.looks() {
                    None => {
                        tokio::spawn(async move {
                            let answer = answer.await;
                            answers.lock().unwrap().push((number, answer));
                        });
                    }
                    Some(looks) => {
                        tokio::spawn(look_at(looks, answer));
                    }
                }
            }
        }
        true
    }

    /// Ends it all.
    pub fn finish(&mut self, number: usize, finale: Finale) {
        let (handle, answers) = (self.handle.clone(), self.answers.clone());
        if finale == Finale::Drop {
            return self.drop_handle();
        }
        tokio::spawn(async move {
            let result = match finale {
                Finale::Drain => handle.drain().await,
                Finale::Shutdown | Finale::Drop => handle.shutdown().await,
            };
            let answer = match result {
                Ok(()) => "ok".into(),
                Err(ShutdownPodsError::Stuck(pods)) => {
                    let mut names: Vec<_> = pods.iter().map(|pod| pod.task.to_string()).collect();
                    names.sort_unstable();
                    format!("stuck {}", names.join(" "))
                }
                Err(other) => other.to_string(),
            };
            answers.lock().unwrap().push((number, answer));
        });
    }

    /// Drops the last strong handle.
    pub fn drop_handle(&mut self) {
        self.pods = None;
    }

    /// What there is to be seen of a task now.
    pub async fn seen(&self, task: Task) -> Result<Seen, String> {
        let registry = self.handle.registry();
        let pod = self.handle.get_pod(TASKS[task]).ok();
        let running = self.handle.pod_running(TASKS[task]);
        let pod = match pod {
            None => None,
            Some(pod) => {
                let kids = pod.which_children().await.ok().map(|kids| {
                    let row = |kid: ipa_supervisor::ChildInfo| {
                        (kid_of(&kid.child.id), kid.child.incarnation.0, kid.state, kid.restarts)
                    };
                    kids.into_iter().map(row).collect()
                });
                Some(PodSeen { status: pod.status(), restarts: pod.restarts(), kids })
            }
        };
        let runs = |pod: &PodSeen| matches!(pod.status, PodStatus::Starting | PodStatus::Active);
        if running != pod.as_ref().is_some_and(runs) {
            return Err(format!("pod_running is {running}, and the pod {pod:?}"));
        }
        let mut registered: Vec<_> = registry
            .children()
            .list()
            .into_iter()
            .filter(|((of, _), _)| number_of(of) == task)
            .map(|((_, id), entry)| (kid_of(&id), entry.incarnation.0))
            .collect();
        registered.sort_unstable();
        Ok(Seen { pod, registered, permits: self.world.room(task).permits })
    }

    /// What has happened since the last look, for each task; answers go with the task that `task_of` says.
    pub fn outs(&mut self, task_of: impl Fn(usize) -> Option<Task>) -> (Vec<Out>, Vec<String>) {
        let tasks = 0..TASKS.len();
        let mut outs: Vec<Out> = tasks.map(|_| Out::default()).collect();
        for (task, out) in outs.iter_mut().enumerate() {
            out.log = std::mem::take(&mut self.world.room(task).log);
        }
        while let Ok(Some(event)) = self.events.try_recv() {
            outs[number_of(event.pod().task())].events.push(event_of(&event));
        }
        let mut rest = Vec::new();
        for (number, answer) in std::mem::take(&mut *self.answers.lock().unwrap()) {
            match task_of(number) {
                Some(task) => outs[task].answers.push((number, answer)),
                None => rest.push(answer),
            }
        }
        outs.iter_mut().for_each(|out| out.answers.sort_unstable());
        (outs, rest)
    }

    /// How many pods and children are registered.
    pub fn entries(&self) -> usize {
        self.handle.count_pods() + self.handle.registry().children().count()
    }

    pub fn stats(&self) -> ipa_pod::PodStats {
        self.handle.stats()
    }

    /// Who holds the world beside us.
    pub fn holders(&self) -> usize {
        Arc::strong_count(&self.world) - 1
    }

    /// How many tasks there are.
    pub fn tasks() -> usize {
        Handle::current().metrics().num_alive_tasks()
    }
}

/// Looks at a future so many times, then drops it.
async fn look_at(looks: u8, call: impl Future<Output = String>) {
    let mut call = pin!(call);
    for _ in 0..looks {
        let done = std::future::poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
        if done {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn answer(pods: PodSupervisorRef, world: Arc<World>, op: Op) -> String {
    let ok = || "ok".to_string();
    let pod = |task: Task| pods.get_pod(TASKS[task]);
    match op {
        Op::Start(task) => pods.start_pod(TASKS[task]).await.map_or_else(start_error, |_| ok()),
        Op::Stop(task) => pods.stop_pod(TASKS[task]).await.map_or_else(stop_error, |()| ok()),
        Op::StopWith(task) => {
            pods.stop_pod_with(TASKS[task], "because").await.map_or_else(stop_error, |()| ok())
        }
        Op::Restart(task) => match pods.restart_pod(TASKS[task]).await {
            Ok(_) => ok(),
            Err(RestartPodError::Stop(error)) => format!("old {}", stop_error(error)),
            Err(RestartPodError::Start(error)) => start_error(error),
            Err(error) => error.to_string(),
        },
        Op::StartChild(task, plan) => match pod(task) {
            Err(_) => "no pod".into(),
            Ok(pod) => start_child(pod, world.child(task, &plan)).await,
        },
        Op::TerminateChild(task, kid) => match pod(task) {
            Err(_) => "no pod".into(),
            Ok(pod) => match pod.terminate_child(KIDS[kid]).await {
                Ok(()) => ok(),
                Err(TerminateChildError::NotFound) => "not found".into(),
                Err(TerminateChildError::Closed) => "closed".into(),
                Err(TerminateChildError::Stuck(stuck)) => stuck_kids(&stuck),
                Err(error) => error.to_string(),
            },
        },
        Op::RestartChild(task, kid) => match pod(task) {
            Err(_) => "no pod".into(),
            Ok(pod) => match pod.restart_child(KIDS[kid]).await {
                Ok(Started::Child(_)) => ok(),
                Ok(Started::Ignored) => "ignored".into(),
                Err(RestartChildError::NotFound) => "not found".into(),
                Err(RestartChildError::Running) => "running".into(),
                Err(RestartChildError::Restarting) => "restarting".into(),
                Err(RestartChildError::Failed(failure)) if failure.timed_out => "timed out".into(),
                Err(RestartChildError::Failed(_)) => "failed".into(),
                Err(RestartChildError::Cancelled) => "cancelled".into(),
                Err(RestartChildError::Closed) => "closed".into(),
                Err(RestartChildError::Stuck(stuck)) => stuck_kids(&stuck),
                Err(error) => error.to_string(),
            },
        },
        Op::DeleteChild(task, kid) => match pod(task) {
            Err(_) => "no pod".into(),
            Ok(pod) => match pod.delete_child(KIDS[kid]).await {
                Ok(()) => ok(),
                Err(DeleteChildError::NotFound) => "not found".into(),
                Err(DeleteChildError::Running) => "running".into(),
                Err(DeleteChildError::Restarting) => "restarting".into(),
                Err(DeleteChildError::Closed) => "closed".into(),
                Err(DeleteChildError::Stuck(stuck)) => stuck_kids(&stuck),
                Err(error) => error.to_string(),
            },
        },
        other => format!("`{other}` has no answer"),
    }
}

async fn start_child(pod: PodRef, spec: ipa_supervisor::ChildSpec) -> String {
    match pod.start_child(spec).await {
        Ok(Started::Child(_)) => "ok".into(),
        Ok(Started::Ignored) => "ignored".into(),
        Err(StartChildError::AlreadyStarted(_)) => "already started".into(),
        Err(StartChildError::AlreadyPresent(_)) => "already present".into(),
        Err(StartChildError::Spec(_)) => "makes no sense".into(),
        Err(StartChildError::Failed(failure)) if failure.timed_out => "timed out".into(),
        Err(StartChildError::Failed(_)) => "failed".into(),
        Err(StartChildError::Cancelled) => "cancelled".into(),
        Err(StartChildError::Closed) => "closed".into(),
        Err(StartChildError::Stuck(stuck)) => stuck_kids(&stuck),
        Err(error) => error.to_string(),
    }
}

fn start_error(error: StartPodError) -> String {
    match error {
        StartPodError::AlreadyStarted { status, .. } => format!("already started, {status}"),
        StartPodError::StreamNotFound(_) => "stream not found".into(),
        StartPodError::Unavailable { .. } => "unavailable".into(),
        StartPodError::Factory { .. } => "factory".into(),
        StartPodError::TimedOut { child, .. } => format!("timed out at {}", child.unwrap_or("nobody".into())),
        StartPodError::ChildFailed { failure, .. } if failure.timed_out => {
            format!("child {} timed out", failure.child)
        }
        StartPodError::ChildFailed { failure, .. } => format!("child {} failed", failure.child),
        StartPodError::Ended { .. } => "ended".into(),
        StartPodError::Stuck { children, .. } => stuck_names(&children),
        StartPodError::Draining => "draining".into(),
        other => other.to_string(),
    }
}

fn stop_error(error: StopPodError) -> String {
    match error {
        StopPodError::NotRunning(_) => "not running".into(),
        StopPodError::Stuck { children, .. } => stuck_names(&children),
        other => other.to_string(),
    }
}

fn stuck_kids(stuck: &[StuckChild]) -> String {
    stuck_names(&stuck.iter().map(|stuck| stuck.0.clone()).collect::<Vec<_>>())
}

fn stuck_names(children: &[ChildRef]) -> String {
    let names: Vec<_> = children.iter().map(run_of).map(|(id, run)| model::name(id, run)).collect();
    format!("stuck {}", names.join(" "))
}

fn run_of(child: &ChildRef) -> (KidId, u64) {
    (kid_of(&child.id), child.incarnation.0)
}

fn event_of(event: &PodEvent) -> Event {
    match event {
        PodEvent::Starting(_) => Event::Starting,
        PodEvent::Active(_) => Event::Active,
        PodEvent::ChildRestarted { child, reason, .. } => {
            let end = match reason {
                ExitReason::Normal => End::Normal,
                ExitReason::Shutdown(_) => End::Shutdown,
                ExitReason::Killed => End::Killed,
                ExitReason::Failed(_) => End::Failed,
                ExitReason::Panicked(_) => End::Panicked,
                _ => End::Declined,
            };
            let (id, run) = run_of(child);
            Event::ChildRestarted(id, run, end)
        }
        PodEvent::Stopping { reason, .. } => Event::Stopping(match reason.as_deref() {
            None => "-",
            Some("because") => "because",
            Some("restart") => "restart",
            Some("drain") => "drain",
            Some(text) if text.contains("too many restarts") => "too many restarts",
            Some(text) if text.contains("revoked") => "revoked",
            Some(text) if text.contains("significant child") => "significant",
            Some(_) => "?",
        }),
        PodEvent::Stuck { children, .. } => Event::Stuck(children.iter().map(run_of).collect()),
        PodEvent::Ended { reason, was_active, .. } => {
            let reason = match reason {
                ExitReason::Shutdown(Cause::Requested(_)) => "requested",
                ExitReason::Shutdown(Cause::Intensity(_)) => "too many restarts",
                ExitReason::Shutdown(Cause::Significant { .. }) => "significant",
                ExitReason::Shutdown(Cause::FailedToStart(_)) => "failed to start",
                ExitReason::Shutdown(Cause::Revoked) => "revoked",
                ExitReason::Failed(_) => "failed",
                ExitReason::Killed => "killed",
                _ => "?",
            };
            Event::Ended { reason, was_active: *was_active }
        }
        _ => Event::Stopping("no such event"),
    }
}
