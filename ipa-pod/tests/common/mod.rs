//! What the tests of pods share: a store of streams, and children that write down what happens to them.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use ipa_pod::{
    Admission, AdmitError, Permit, PodEvent, PodEvents, PodScope, PodSpec, PodSupervisor,
    PodSupervisorBuilder, TaskId,
};
use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init, async_trait};
use tokio::sync::Notify;

/// Streams that exist, by name (`any`: all do); `down` makes the store fail, `slow` takes that long to answer. Permits that
/// are given back are written to `log`.
#[derive(Clone, Default)]
pub struct Streams(pub Arc<Mutex<StreamsState>>);

#[derive(Default)]
pub struct StreamsState {
    pub streams: BTreeSet<String>,
    pub any: bool,
    pub down: bool,
    pub owner: Option<String>,
    pub slow: Duration,
    pub asked: usize,
    pub log: Log,
}

impl Streams {
    pub fn of(names: &[&str]) -> Self {
        let streams = Self::default();
        streams.0.lock().unwrap().streams = names.iter().map(|name| name.to_string()).collect();
        streams
    }
    pub fn any() -> Self {
        let streams = Self::default();
        streams.0.lock().unwrap().any = true;
        streams
    }
    pub fn set(&self, change: impl FnOnce(&mut StreamsState)) {
        change(&mut self.0.lock().unwrap());
    }
    pub fn asked(&self) -> usize {
        self.0.lock().unwrap().asked
    }
}

#[async_trait]
impl Admission for Streams {
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
        let slow = self.0.lock().unwrap().slow;
        tokio::time::sleep(slow).await;
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        if state.down {
            return Err(AdmitError::Unavailable("disk on fire".into()));
        }
        if let Some(owner) = &state.owner {
            return Err(AdmitError::OwnedElsewhere(owner.clone()));
        }
        if !state.any && !state.streams.contains(task.as_str()) {
            return Err(AdmitError::StreamNotFound);
        }
        let log = state.log.clone();
        Ok(Permit::holding(OnDrop(Some(Box::new(move || log.push("permit back"))))))
    }
}

/// Runs a closure when dropped.
pub struct OnDrop(pub Option<Box<dyn FnOnce() + Send>>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(call) = self.0.take() {
            call();
        }
    }
}

/// Lines in the order in which things happened.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn push(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A child that logs `+id` when its init is done and `-id` in terminate.
#[derive(Clone)]
pub struct Logged {
    pub log: Log,
    pub init: Duration,
    pub terminate: Duration,
    pub fail: bool,
}

impl Logged {
    pub fn new(log: &Log) -> Self {
        Self { log: log.clone(), init: Duration::ZERO, terminate: Duration::ZERO, fail: false }
    }
    pub fn spec(self, id: &str) -> ChildSpec {
        ChildSpec::new(id, move || self.clone())
    }
}

#[async_trait]
impl Child for Logged {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        tokio::time::sleep(self.init).await;
        if self.fail {
            return Err(format!("{} will not", cx.id()).into());
        }
        self.log.push(format!("+{}", cx.id()));
        Ok(Init::Ready)
    }
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        std::future::pending().await
    }
    async fn terminate(&mut self, cx: &mut Context, _reason: &ExitReason) {
        tokio::time::sleep(self.terminate).await;
        self.log.push(format!("-{}", cx.id()));
    }
}

/// The events that are there now, by name.
pub fn names(events: &mut PodEvents) -> Vec<String> {
    let mut names = Vec::new();
    while let Ok(Some(event)) = events.try_recv() {
        let name = match &event {
            PodEvent::Starting(_) => "starting",
            PodEvent::Active(_) => "active",
            PodEvent::ChildRestarted { .. } => "child restarted",
            PodEvent::Stopping { .. } => "stopping",
            PodEvent::Stuck { .. } => "stuck",
            PodEvent::Ended { .. } => "ended",
            _ => "unknown",
        };
        names.push(format!("{} {name}", event.pod().task()));
    }
    names
}

type Admitting = Pin<Box<dyn Future<Output = Result<Permit, AdmitError>> + Send>>;

/// An admission made of a closure.
pub struct Admit(Box<dyn Fn(TaskId) -> Admitting + Send + Sync>);

impl Admit {
    pub fn by<F>(admit: impl Fn(TaskId) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Permit, AdmitError>> + Send + 'static,
    {
        Self(Box::new(move |task| Box::pin(admit(task))))
    }
}

#[async_trait]
impl Admission for Admit {
    async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
        (self.0)(task.clone()).await
    }
}

/// A pod supervisor whose pods are all made by `make`, which cannot fail.
pub fn builder(
    streams: &Streams,
    make: impl Fn(&PodScope) -> PodSpec + Send + Sync + 'static,
) -> PodSupervisorBuilder {
    PodSupervisor::builder(streams.clone(), move |scope: &PodScope| Ok(make(scope)))
}

/// As [`builder`], started.
pub async fn start(
    streams: &Streams,
    make: impl Fn(&PodScope) -> PodSpec + Send + Sync + 'static,
) -> PodSupervisor {
    builder(streams, make).start().await.unwrap()
}

/// A pod of two logged children, `a` and `b`.
pub fn ab(log: &Log) -> impl Fn(&PodScope) -> PodSpec + Send + Sync + 'static + use<> {
    let log = log.clone();
    move |_scope| PodSpec::new().child(Logged::new(&log).spec("a")).child(Logged::new(&log).spec("b"))
}

/// A child that does nothing until it is stopped.
pub fn idle(id: &str) -> ChildSpec {
    ChildSpec::task(id, |_cx| std::future::pending::<()>())
}

/// A child that fails each time `crash` is notified.
pub fn crashing(id: &str, crash: &Arc<Notify>) -> ChildSpec {
    let crash = crash.clone();
    ChildSpec::task(id, move |_cx| {
        let crash = crash.clone();
        async move {
            crash.notified().await;
            Err::<(), _>("crashed")
        }
    })
}

/// Counts who is alive at once; the most at any time is kept.
#[derive(Clone, Default)]
pub struct Gauge(Arc<(AtomicUsize, AtomicUsize)>);

impl Gauge {
    pub fn enter(&self) -> OnDrop {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        let gauge = self.clone();
        OnDrop(Some(Box::new(move || {
            gauge.0.0.fetch_sub(1, Ordering::SeqCst);
        })))
    }
    pub fn now(&self) -> usize {
        self.0.0.load(Ordering::SeqCst)
    }
    pub fn most(&self) -> usize {
        self.0.1.load(Ordering::SeqCst)
    }
    /// A child that is counted from its making, before its init, to the drop of its value.
    pub fn child(&self, id: &str) -> ChildSpec {
        let gauge = self.clone();
        ChildSpec::new(id, move || Gauged { _here: gauge.enter() })
    }
}

struct Gauged {
    _here: OnDrop,
}

#[async_trait]
impl Child for Gauged {
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        std::future::pending().await
    }
}

/// One look at a future.
pub async fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

/// Lets everything run that can, under a paused clock: this resolves when nobody else has anything to do for a millisecond.
pub async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// The texts of an error and its sources.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
