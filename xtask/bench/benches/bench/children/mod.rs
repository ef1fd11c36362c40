//! One supervised child: its start, its bytes, its restart, and ten thousand restarts at once.

mod actix;
mod bare;
mod kameo;
mod ours;
mod ractor;
mod ractor_supervisor;
mod task_supervisor;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pin_project_lite::pin_project;
use tokio::sync::{Notify, mpsc};

use crate::tool::{CANNOT, block_on, each, median, quick, resident, some};

pub use actix::Actix;
pub use bare::{Bare, Respawn};
pub use kameo::Kameo;
pub use ours::Ours;
pub use ractor::Ractor;
pub use ractor_supervisor::RactorSupervisor;
pub use task_supervisor::TaskSupervisor;

/// How a child ends that is told to crash.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    Err,
    Panic,
}

/// What a child shares with who measures it.
pub struct Child {
    pub how: How,
    /// How it is told to crash; an actor sets it to a message to itself.
    trigger: Mutex<Option<Box<dyn Fn() + Send>>>,
    crash: Notify,
    crashed: Mutex<Instant>,
    /// Told whenever the child runs: how long after its crash, in microseconds.
    runs: mpsc::UnboundedSender<f64>,
}

impl Child {
    fn new(how: How, runs: mpsc::UnboundedSender<f64>) -> Arc<Self> {
        let (trigger, crash) = (Mutex::default(), Notify::new());
        Arc::new(Self { how, trigger, crash, crashed: Mutex::new(Instant::now()), runs })
    }

    /// The child as a future.
    pub fn run(self: Arc<Self>) -> impl Future<Output = Result<(), std::io::Error>> + Send {
        let life = async move {
            self.ran();
            self.crash.notified().await;
            self.end()
        };
        Apart { life }
    }

    /// It runs.
    pub fn ran(&self) {
        let _ = self.runs.send(self.crashed.lock().elapsed().as_secs_f64() * 1e6);
    }

    /// It crashes, as it is to.
    pub fn end(&self) -> Result<(), std::io::Error> {
        *self.crashed.lock() = Instant::now();
        match self.how {
            How::Err => Err(std::io::Error::other("told to")),
            How::Panic => panic!("told to"),
        }
    }

    /// For actors: this makes it end.
    pub fn crashed_by(&self, trigger: impl Fn() + Send + 'static) {
        *self.trigger.lock() = Some(Box::new(trigger));
    }

    /// Tells it to crash.
    fn crash(&self) {
        match &*self.trigger.lock() {
            Some(trigger) => trigger(),
            None => self.crash.notify_one(),
        }
    }
}

pin_project! {
    /// A future with a frame of its own on the stack, whoever polls it: ours, the limit, task-supervisor. Otherwise the compiler makes it a part of some that poll it and not of
    /// others, and where it does, a panic has one stop less on its way to whoever catches it: a fifth of a restart.
    struct Apart<F> {
        #[pin]
        life: F,
    }
}

impl<F: Future> Future for Apart<F> {
    type Output = F::Output;

    #[inline(never)]
    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<F::Output> {
        self.project().life.poll(cx)
    }
}

const MANY_RESTARTS: usize = 10_000;

/// Whoever can supervise single children, without a limit of restarts.
pub trait Children: Clone + Send + Sync + 'static {
    /// How many children are started; fewer where each takes long.
    const STARTS: usize = 150_000;
    /// How many restarts of one child are measured; fewer where each takes long.
    const RESTARTS: usize = MANY_RESTARTS;
    /// How many children crash at once; none where that would take minutes.
    const STORM: usize = 10_000;
    /// Whether a child may panic.
    const PANICS: bool = true;
    /// What a child is known by to whoever started it; it lives as long as that.
    type Handle: Send + 'static;
    /// With no child.
    fn new() -> impl Future<Output = Self> + Send;
    /// Returns when an idle child is up.
    fn start_idle(&self) -> impl Future<Output = Self::Handle> + Send;
    /// Returns when the child is up.
    fn start(&self, child: Arc<Child>) -> impl Future<Output = Self::Handle> + Send;
    /// Stops the child for good; returns when it is gone. `false` if that cannot be asked for.
    fn stop(&self, child: Self::Handle) -> impl Future<Output = bool> + Send;
}

/// Starts so many, so many at a time: microseconds for each, and the children, caller by caller.
async fn started<C: Children>(children: &C, count: usize, in_flight: usize) -> (f64, Vec<Vec<C::Handle>>) {
    let all = children.clone();
    each(0..count, in_flight, move |_| {
        let children = all.clone();
        async move { children.start_idle().await }
    })
    .await
}

/// Stops these, 64 at a time; microseconds for each.
async fn stopped<C: Children>(children: &C, which: Vec<Vec<C::Handle>>) -> f64 {
    let which: Vec<C::Handle> = which.into_iter().flatten().collect();
    let (all, count) = (children.clone(), which.len());
    let which = Arc::new(Mutex::new(which));
    let (time, stopped) = each(0..count, 64, move |_| {
        let (children, next) = (all.clone(), which.lock().pop());
        async move { children.stop(next.expect("as many as there are")).await }
    })
    .await;
    if stopped.into_iter().flatten().all(|stopped| stopped) { time } else { CANNOT }
}

/// Microseconds to start a child, 64 at once, by one caller, by two; resident bytes of each; microseconds to stop one, 64 at once.
pub fn starts<C: Children>() -> Vec<f64> {
    let count = some(C::STARTS);
    block_on(async {
        let before = resident();
        let children = C::new().await;
        let (start, all) = started(&children, count, 64).await;
        let bytes = (resident() - before) / count as f64;
        let (alone, _alone) = started(&children, count / 5, 1).await;
        let (two, _two) = started(&children, count / 5, 2).await;
        vec![start, alone, two, bytes, stopped(&children, all).await]
    })
}

/// One child that crashes over and over.
struct Crashing<C: Children> {
    child: Arc<Child>,
    ran: mpsc::UnboundedReceiver<f64>,
    _handle: C::Handle,
    _children: C,
}

impl<C: Children> Crashing<C> {
    async fn new(how: How) -> Self {
        let children = C::new().await;
        let (runs, mut ran) = mpsc::unbounded_channel();
        let child = Child::new(how, runs);
        let handle = children.start(child.clone()).await;
        ran.recv().await.expect("the child runs");
        Self { child, ran, _handle: handle, _children: children }
    }

    /// Of the microseconds from a crash to the next run, of many: the median, the 99th percentile, and that over the median.
    async fn times(&mut self) -> [f64; 3] {
        let mut times = Vec::new();
        let restarts = C::RESTARTS.min(some(MANY_RESTARTS));
        for n in 0..restarts {
            self.child.crash();
            let time = self.ran.recv().await.expect("the child runs again");
            if n >= restarts / 10 {
                times.push(time);
            }
        }
        times.sort_by(f64::total_cmp);
        let (half, most) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        [half, most, most / half]
    }
}

/// Many children that crash at once.
struct Storm<C: Children> {
    all: Vec<Arc<Child>>,
    ran: mpsc::UnboundedReceiver<f64>,
    _handles: Vec<C::Handle>,
    _children: C,
}

impl<C: Children> Storm<C> {
    async fn new() -> Self {
        let children = C::new().await;
        let (runs, mut ran) = mpsc::unbounded_channel();
        let (mut all, mut handles) = (Vec::with_capacity(C::STORM), Vec::with_capacity(C::STORM));
        for _ in 0..C::STORM {
            let child = Child::new(How::Panic, runs.clone());
            handles.push(children.start(child.clone()).await);
            all.push(child);
        }
        for _ in 0..C::STORM {
            ran.recv().await.expect("the child runs");
        }
        Self { all, ran, _handles: handles, _children: children }
    }

    /// Milliseconds until all run again.
    async fn time(&mut self) -> f64 {
        if self.all.is_empty() {
            return CANNOT;
        }
        let begun = Instant::now();
        for child in &self.all {
            child.crash();
        }
        for _ in &self.all {
            self.ran.recv().await.expect("the child runs again");
        }
        begun.elapsed().as_secs_f64() * 1e3
    }
}

/// Of the times from an `Err` to the next run, in microseconds: the median, the 99th percentile, and that over the median; the same from
/// a panic; milliseconds from 10,000 crashes at once until all run again. All in turns for a while, each the median of its turns: see
/// [`repeated`](crate::tool::repeated).
pub fn restarts<C: Children>() -> Vec<f64> {
    // On a task, as supervisors and children are.
    block_on(async { tokio::spawn(in_turns::<C>()).await.expect("nobody panics but children") })
}

async fn in_turns<C: Children>() -> Vec<f64> {
    let long_enough = Duration::from_millis(if quick() { 100 } else { 500 });
    let mut by_err = Crashing::<C>::new(How::Err).await;
    let mut by_panic = match C::PANICS {
        true => Some(Crashing::<C>::new(How::Panic).await),
        false => None,
    };
    let mut storm = Storm::<C>::new().await;
    let (begun, mut turns) = (Instant::now(), Vec::new());
    while turns.is_empty() || begun.elapsed() < long_enough {
        let err = by_err.times().await;
        let panic = match &mut by_panic {
            Some(by_panic) => by_panic.times().await,
            None => [CANNOT; 3],
        };
        turns.push([&err[..], &panic, &[storm.time().await]].concat());
    }
    let column = |n: usize| median(&turns.iter().map(|turn| turn[n]).collect::<Vec<_>>());
    (0..turns[0].len()).map(column).collect()
}
