//! The central task manager: it starts the pods, follows their lives, and starts again what died before its task was done.
//!
//! It is the layer above pods in miniature. It learns of lives from [`PodEvents`], of work from a subscription to the store, and
//! what it decides it decides on what is stored. Two tricks. An event may be missed (a subscriber that lags is told so), so
//! every end is also found by looking, and an end that is found twice counts once, as a pod's incarnation has an identity. And
//! what is shown comes from the store, so it has happened.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipa_eventstore::{
    EventStore, Position, ReadAll, RecordedEvent, StoreError, StreamType, Subscribe, Subscription,
};
use ipa_pod::{
    PodEvent, PodEvents, PodEventsError, PodRef, PodRegistry, PodSupervisor, ShutdownPodsError, StartPodError,
};
use ipa_supervisor::BoxError;
use tokio::task::JoinSet;

use crate::args::Args;
use crate::chaos::{self, Chaos};
use crate::event::{Event, STREAM_TYPE};
use crate::history::History;
use crate::interrupt::Interrupt;
use crate::plan::Plan;
use crate::pod::{self, Shared};
use crate::progress::{self, Progress};
use crate::report::{TaskRow, TaskState};
use crate::setup::{Ready, chain};

/// How often a pod that dies is started again without a newly completed step in between. What chaos does is not counted.
const RESTARTS: u32 = 10;

/// Runs what is left of all tasks, until it is done or interrupted; a row for each, in the order of the plan.
///
/// # Errors
///
/// When the store cannot be read any more.
pub async fn run(
    plan: &Plan,
    ready: Ready,
    args: &Args,
    chaos: Chaos,
    progress: &Progress,
    interrupt: &mut Interrupt,
) -> Result<Vec<TaskRow>, BoxError> {
    let store = ready.store;
    let registry = PodRegistry::new();
    let shared = Shared {
        store: Arc::new(store.clone()),
        registry: registry.clone(),
        folders: ready.folders,
        chaos: Arc::new(chaos),
    };
    // The store itself says which tasks may run: those that have a stream.
    let pods = PodSupervisor::builder(store.clone(), pod::factory(Arc::new(shared)))
        .registry(registry)
        .max_pods(args.parallel)
        .start()
        .await?;

    let end = store.read_all(ReadAll::new().backward().max_count(1)).await?;
    let end = end.first().map_or(Position::START, |event| event.position);
    let news = store.subscribe(Subscribe::stream_types(end, [StreamType::new(STREAM_TYPE)?])).await?;
    let manager = Manager {
        plan,
        events: pods.subscribe(),
        pods,
        store: Arc::new(store.clone()),
        progress,
        news,
        starts: JoinSet::new(),
        tasks: ready
            .before
            .iter()
            .map(|&before| Tracked { before, shown: before, ..Tracked::default() })
            .collect(),
        places: plan.tasks.iter().enumerate().map(|(at, task)| (task.id.as_str(), at)).collect(),
        alive: 0,
    };
    let rows = manager.run(args.parallel, interrupt).await;
    // Even if something went wrong: what was acknowledged is carried over into the store's file. If somebody reads it, the next run does that.
    match store.close().await {
        Ok(()) | Err(StoreError::LogLeft { .. }) => rows,
        Err(error) => Err(error.into()),
    }
}

struct Manager<'a> {
    plan: &'a Plan,
    pods: PodSupervisor,
    events: PodEvents,
    store: Arc<dyn EventStore>,
    progress: &'a Progress,
    /// What happens to the tasks, in the order in which it is stored.
    news: Subscription,
    starts: JoinSet<(usize, Result<PodRef, StartPodError>)>,
    /// As in the plan.
    tasks: Vec<Tracked>,
    places: HashMap<&'a str, usize>,
    /// How many tasks have a pod, or are about to.
    alive: usize,
}

/// What the manager knows of a task beyond its plan and its stream.
#[derive(Default)]
struct Tracked {
    /// The version of its last event before this run.
    before: u64,
    /// The version of the last event that was shown.
    shown: u64,
    /// Its pod, if it is up.
    pod: Option<PodRef>,
    /// The last of its pods whose end was dealt with.
    ended: Option<PodRef>,
    /// When its first pod was started.
    began: Option<Instant>,
    elapsed: Duration,
    /// How many steps were done when its pod last died.
    done: usize,
    /// How often it has died since then.
    deaths: u32,
    child_restarts: u64,
    pod_restarts: u64,
    gave_up: bool,
}

impl Manager<'_> {
    async fn run(mut self, parallel: usize, interrupt: &mut Interrupt) -> Result<Vec<TaskRow>, BoxError> {
        let mut waiting = VecDeque::new();
        for (at, task) in self.plan.tasks.iter().enumerate() {
            let history = self.history(at).await?;
            self.tasks[at].done = history.state.done();
            if history.state.ending.is_none() {
                waiting.push_back(at);
            } else {
                let (done, total) = (history.state.done(), task.steps.len());
                self.progress.show(progress::Event::TaskEndedBefore { task: &task.id, done, total });
            }
        }
        loop {
            while self.alive < parallel
                && let Some(at) = waiting.pop_front()
            {
                self.begin(at);
            }
            if self.alive == 0 {
                break;
            }
            tokio::select! {
                biased;
                () = interrupt.nth(1) => {
                    self.progress.show(progress::Event::Note("interrupted: stopping; once more to end at once"));
                    break;
                }
                Some(started) = self.starts.join_next() => {
                    let (at, started) = started?;
                    self.started(at, started).await?;
                }
                event = self.events.recv() => self.follow(event).await?,
                Some(news) = self.news.next() => self.show(&news?),
            }
        }
        self.finish().await
    }

    /// Starts a task's first pod.
    fn begin(&mut self, at: usize) {
        let (task, tracked) = (&self.plan.tasks[at], &mut self.tasks[at]);
        let (done, total) = (tracked.done, task.steps.len());
        self.progress.show(progress::Event::TaskStarted { task: &task.id, done, total });
        tracked.began = Some(Instant::now());
        self.alive += 1;
        self.start(at);
    }

    /// Starts a pod; what comes of it is heard from `starts`. Several start side by side.
    fn start(&mut self, at: usize) {
        let (pods, task) = (self.pods.downgrade(), self.plan.tasks[at].id.clone());
        self.starts.spawn(async move { (at, pods.start_pod(task).await) });
    }

    async fn started(&mut self, at: usize, started: Result<PodRef, StartPodError>) -> Result<(), BoxError> {
        match started {
            // Its end has been missed, or comes in an event that is still to be read.
            Ok(pod) if pod.has_ended() => self.ended(&pod).await,
            Ok(pod) => {
                self.tasks[at].pod = Some(pod);
                Ok(())
            }
            Err(error) => {
                let by_chaos =
                    matches!(&error, StartPodError::Ended { reason, .. } if chaos::is_to_blame(reason));
                self.died(at, &chain(&error.into()), by_chaos).await
            }
        }
    }

    async fn follow(&mut self, event: Result<PodEvent, PodEventsError>) -> Result<(), BoxError> {
        match event {
            Ok(PodEvent::ChildRestarted { pod, child, reason }) => {
                let (task, child, reason) = (pod.task().as_str(), child.id.as_str(), reason.to_string());
                self.progress.show(progress::Event::ChildRestarted { task, child, reason: &reason });
            }
            Ok(PodEvent::Stuck { pod, children }) => {
                let text = format!("the pod of {} does not end, because of {children:?}", pod.task());
                self.progress.show(progress::Event::Note(&text));
            }
            // A start that failed is heard of as such.
            Ok(PodEvent::Ended { pod, was_active: true, .. }) => self.ended(&pod).await?,
            Ok(_) => {}
            Err(PodEventsError::Lagged(_)) => {
                let over: Vec<PodRef> =
                    self.tasks.iter().filter_map(|task| task.pod.clone()).filter(PodRef::has_ended).collect();
                for pod in over {
                    self.ended(&pod).await?;
                }
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// A pod that was up has ended.
    async fn ended(&mut self, pod: &PodRef) -> Result<(), BoxError> {
        let Some(&at) = self.places.get(pod.task().as_str()) else { return Ok(()) };
        let tracked = &mut self.tasks[at];
        if tracked.ended.as_ref() == Some(pod) {
            return Ok(());
        }
        tracked.ended = Some(pod.clone());
        tracked.pod = None;
        tracked.child_restarts += pod.restarts();
        let reason = pod.wait().await;
        self.died(at, &reason.to_string(), chaos::is_to_blame(&reason)).await
    }

    /// A task has no pod any more: it is done, is to have another, or cannot be kept up.
    async fn died(&mut self, at: usize, reason: &str, by_chaos: bool) -> Result<(), BoxError> {
        let history = self.history(at).await?;
        self.catch_up(at, history.version()).await?;
        let (task, tracked) = (self.plan.tasks[at].id.as_str(), &mut self.tasks[at]);
        if history.state.ending.is_none() {
            if history.state.done() > tracked.done {
                (tracked.done, tracked.deaths) = (history.state.done(), 0);
            }
            tracked.deaths += u32::from(!by_chaos);
            if tracked.deaths <= RESTARTS {
                tracked.pod_restarts += 1;
                self.progress.show(progress::Event::PodRestarted { task, reason });
                self.start(at);
                return Ok(());
            }
            tracked.gave_up = true;
            let reason =
                format!("its pod died {} times without getting on, at last: {reason}", tracked.deaths);
            self.progress.show(progress::Event::TaskFailed { task, reason: &reason });
        }
        tracked.elapsed = tracked.began.map(|began| began.elapsed()).unwrap_or_default();
        self.alive -= 1;
        Ok(())
    }

    /// Stops what is left, and reads the rows off the store.
    async fn finish(mut self) -> Result<Vec<TaskRow>, BoxError> {
        match self.pods.shutdown().await {
            Ok(()) => {}
            Err(error @ ShutdownPodsError::Stuck(_)) => {
                self.progress.show(progress::Event::Note(&error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
        let mut rows = Vec::new();
        for (at, task) in self.plan.tasks.iter().enumerate() {
            let history = self.history(at).await?;
            self.catch_up(at, history.version()).await?;
            let tracked = &self.tasks[at];
            let mut row = history.row(task, tracked.before);
            let running = tracked.pod.as_ref();
            row.child_restarts = tracked.child_restarts + running.map_or(0, PodRef::restarts);
            row.pod_restarts = tracked.pod_restarts;
            row.elapsed = match running.and(tracked.began) {
                Some(began) => began.elapsed(),
                None => tracked.elapsed,
            };
            if row.state == TaskState::Waiting && tracked.gave_up {
                row.state = TaskState::Failed;
            } else if row.state == TaskState::Waiting && tracked.began.is_some() {
                row.state = TaskState::Interrupted;
            }
            rows.push(row);
        }
        Ok(rows)
    }

    async fn history(&self, at: usize) -> Result<History, BoxError> {
        let task = &self.plan.tasks[at].id;
        let history = History::load(&*self.store, task).await?;
        history.ok_or_else(|| format!("the stream of task {task} is gone").into())
    }

    /// Shows all that has happened to a task up to a version. It is stored, so this does not wait for long.
    async fn catch_up(&mut self, at: usize, version: u64) -> Result<(), BoxError> {
        while self.tasks[at].shown < version
            && let Some(news) = self.news.next().await
        {
            self.show(&news?);
        }
        Ok(())
    }

    fn show(&mut self, news: &RecordedEvent) {
        let task = news.stream.as_str();
        // Another plan's task is none of ours; and what cannot be decoded, the state manager complains of.
        let (Some(&at), Ok(event)) = (self.places.get(task), Event::decode(news)) else { return };
        let tracked = &mut self.tasks[at];
        tracked.shown = news.version;
        let took = tracked.began.map(|began| began.elapsed()).unwrap_or_default();
        self.progress.show(match &event {
            Event::TaskCreated { .. } => return,
            Event::StepStarted { step, attempt, .. } => {
                progress::Event::StepStarted { task, step, attempt: *attempt }
            }
            Event::StepCompleted { step, took_ms, .. } => {
                progress::Event::StepCompleted { task, step, took: Duration::from_millis(*took_ms) }
            }
            Event::StepFailed { step, attempt, reason, last, .. } => {
                progress::Event::StepFailed { task, step, attempt: *attempt, will_retry: !last, reason }
            }
            Event::TaskCompleted {} => progress::Event::TaskCompleted { task, took },
            Event::TaskFailed { reason, .. } => progress::Event::TaskFailed { task, reason },
        });
    }
}

#[cfg(test)]
mod tests;
