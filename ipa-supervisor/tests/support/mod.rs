//! A child that does as it is told, and a log of what was done to it.
#![allow(dead_code)]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipa_supervisor::{
    BoxError, Child, ChildInfo, ChildSpec, ChildState, Context, Exit, ExitReason, Init, async_trait,
};
use tokio::sync::Notify;

/// What a call of a child does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Returns well: ready, normal.
    Well,
    /// `init` declines; `run` ends by a shutdown of its own.
    Declines,
    Fails,
    Panics,
    /// Sleeps for so many milliseconds, then returns well.
    Sleeps(u64),
    Hangs,
}

impl Does {
    async fn act(self, what: &str) -> Result<Does, BoxError> {
        match self {
            Does::Fails => return Err(format!("{what} failed").into()),
            Does::Panics => panic!("{what} panicked"),
            Does::Sleeps(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Does::Hangs => std::future::pending().await,
            Does::Well | Does::Declines => {}
        }
        Ok(self)
    }
}

/// Where tests and children meet: the log, and what each child's `run` is to do next.
#[derive(Clone, Default)]
pub struct World(Arc<Shared>);

#[derive(Default)]
struct Shared {
    log: Mutex<Vec<String>>,
    orders: Mutex<HashMap<String, VecDeque<Does>>>,
    changed: Notify,
}

impl World {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn log(&self, line: impl Into<String>) {
        self.0.log.lock().unwrap().push(line.into());
        self.0.changed.notify_waiters();
    }

    /// The log so far, which begins anew.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.log.lock().unwrap())
    }

    /// Waits until the log holds this line.
    pub async fn seen(&self, line: &str) {
        self.until(|| self.0.log.lock().unwrap().iter().any(|logged| logged == line)).await;
    }

    /// Waits until the log holds so many lines that begin so.
    pub async fn seen_times(&self, times: usize, start: &str) {
        self.until(|| {
            self.0.log.lock().unwrap().iter().filter(|line| line.starts_with(start)).count() >= times
        })
        .await;
    }

    /// Tells the `run` of a child what to do; its present incarnation obeys, or the next to come.
    pub fn order(&self, name: &str, does: Does) {
        self.0.orders.lock().unwrap().entry(name.into()).or_default().push_back(does);
        self.0.changed.notify_waiters();
    }

    async fn ordered(&self, name: &str) -> Does {
        let mut order = None;
        self.until(|| {
            order = self.0.orders.lock().unwrap().get_mut(name).and_then(VecDeque::pop_front);
            order.is_some()
        })
        .await;
        order.unwrap()
    }

    async fn until(&self, mut holds: impl FnMut() -> bool) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            // Before the look, so that no change between look and wait is missed.
            changed.as_mut().enable();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    /// A child that runs until it is told what to do.
    pub fn kid(&self, name: &str) -> Kid {
        Kid { name: name.into(), world: self.clone(), init: Does::Well, terminate: Does::Well, quiet: false }
    }

    /// [`kid`](Self::kid) as a plain spec.
    pub fn spec(&self, name: &str) -> ChildSpec {
        self.kid(name).spec()
    }
}

#[derive(Clone)]
pub struct Kid {
    name: String,
    world: World,
    init: Does,
    terminate: Does,
    quiet: bool,
}

impl Kid {
    pub fn init(mut self, does: Does) -> Self {
        self.init = does;
        self
    }

    pub fn terminate(mut self, does: Does) -> Self {
        self.terminate = does;
        self
    }

    /// Logs no drop.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    pub fn spec(self) -> ChildSpec {
        ChildSpec::new(self.name.clone(), move || Actor(self.clone()))
    }
}

pub struct Actor(Kid);

#[async_trait]
impl Child for Actor {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let Kid { name, world, init, .. } = &self.0;
        world.log(format!("init {name}{}", cx.child().incarnation));
        match init.act("init").await? {
            Does::Declines => Ok(Init::Ignore),
            _ => Ok(Init::Ready),
        }
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        let Kid { name, world, .. } = &self.0;
        world.log(format!("run {name}{}", cx.child().incarnation));
        let order = world.ordered(name).await;
        match order.act("run").await? {
            Does::Declines => Ok(Exit::shutdown()),
            _ => Ok(Exit::Normal),
        }
    }

    async fn terminate(&mut self, _cx: &mut Context, reason: &ExitReason) {
        let Kid { name, world, terminate, .. } = &self.0;
        world.log(format!("terminate {name}: {reason}"));
        let _ = terminate.act("terminate").await;
        world.log(format!("terminated {name}"));
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if !self.0.quiet {
            self.0.world.log(format!("drop {}", self.0.name));
        }
    }
}

/// Children and their states, in order.
pub fn states(children: &[ChildInfo]) -> Vec<String> {
    children.iter().map(|info| format!("{} {:?}", info.child, info.state)).collect()
}

/// Whether all run.
pub fn all_running(children: &[ChildInfo]) -> bool {
    children.iter().all(|info| info.state == ChildState::Running)
}

/// Logs when it is dropped.
pub struct Guard(pub World, pub &'static str);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.log(self.1);
    }
}

/// Panics when it is dropped.
pub struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("boom in a drop");
    }
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
