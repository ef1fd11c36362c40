//! What the tests of pods share: a store of streams, and children that write down what happens to them.
#![allow(dead_code)]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipa_pod::{Admission, AdmitError, Permit, PodEvent, PodEvents, TaskId};
use ipa_supervisor::{BoxError, Child, ChildSpec, Context, Exit, ExitReason, Init, async_trait};

/// Streams that exist, by name; `down` makes the store fail, `slow` takes that long to answer.
#[derive(Clone, Default)]
pub struct Streams(pub Arc<Mutex<StreamsState>>);

#[derive(Default)]
pub struct StreamsState {
    pub streams: BTreeSet<String>,
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
        if !state.streams.contains(task.as_str()) {
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
