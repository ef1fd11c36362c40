//! One supervised child: its start, its bytes, its restart, and ten thousand restarts at once.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::tool::{block_on, each, resident};

/// How a child ends that is told to crash.
#[derive(Clone, Copy, PartialEq)]
pub enum How {
    Err,
    Panic,
}

/// What a child shares with who measures it.
pub struct Child {
    how: How,
    crash: Notify,
    crashed: Mutex<Instant>,
    /// Told whenever the child runs: how long after its crash, in microseconds.
    runs: mpsc::UnboundedSender<f64>,
}

impl Child {
    fn new(how: How, runs: mpsc::UnboundedSender<f64>) -> Arc<Self> {
        Arc::new(Self { how, crash: Notify::new(), crashed: Mutex::new(Instant::now()), runs })
    }

    /// The child itself, the same for everybody.
    pub async fn run(self: Arc<Self>) -> Result<(), std::io::Error> {
        let _ = self.runs.send(self.crashed.lock().elapsed().as_secs_f64() * 1e6);
        self.crash.notified().await;
        *self.crashed.lock() = Instant::now();
        match self.how {
            How::Err => Err(std::io::Error::other("told to")),
            How::Panic => panic!("told to"),
        }
    }
}

/// Whoever can supervise single children, without a limit of restarts.
pub trait Children: Clone + Send + Sync + 'static {
    /// With no child.
    fn new() -> impl Future<Output = Self> + Send;
    /// Returns when an idle child is up.
    fn start_idle(&self) -> impl Future<Output = ()> + Send;
    /// Returns when the child is up.
    fn start(&self, child: Arc<Child>) -> impl Future<Output = ()> + Send;
}

const COUNT: usize = 50_000;

/// Microseconds to start a child, 64 at once.
pub fn start<C: Children>() -> f64 {
    block_on(async {
        let children = C::new().await;
        each(COUNT, 64, move |_| {
            let children = children.clone();
            async move { children.start_idle().await }
        })
        .await
    })
}

/// Resident bytes of a child.
pub fn bytes<C: Children>() -> f64 {
    block_on(async {
        let before = resident();
        let children = C::new().await;
        let all = children.clone();
        each(COUNT, 64, move |_| {
            let children = all.clone();
            async move { children.start_idle().await }
        })
        .await;
        (resident() - before) / COUNT as f64
    })
}

/// The microseconds from a crash to the next run, of many, sorted.
fn restarts<C: Children>(how: How) -> Vec<f64> {
    block_on(async {
        let children = C::new().await;
        let (runs, mut ran) = mpsc::unbounded_channel();
        let child = Child::new(how, runs);
        children.start(child.clone()).await;
        ran.recv().await.expect("the child runs");
        let mut times = Vec::new();
        for n in 0..5_000 {
            child.crash.notify_one();
            let time = ran.recv().await.expect("the child runs again");
            if n >= 500 {
                times.push(time);
            }
        }
        times.sort_by(f64::total_cmp);
        times
    })
}

/// The median of the time from an `Err` to the next run, in microseconds.
pub fn restart_by_err<C: Children>() -> f64 {
    let times = restarts::<C>(How::Err);
    times[times.len() / 2]
}

/// The median of the time from a panic to the next run, in microseconds.
pub fn restart_by_panic<C: Children>() -> f64 {
    let times = restarts::<C>(How::Panic);
    times[times.len() / 2]
}

/// The 99th percentile over the median, of restarts by `Err`.
pub fn restart_tail<C: Children>() -> f64 {
    let times = restarts::<C>(How::Err);
    times[times.len() * 99 / 100] / times[times.len() / 2]
}

/// Milliseconds from 10,000 crashes at once until all run again.
pub fn storm<C: Children>() -> f64 {
    const CHILDREN: usize = 10_000;
    block_on(async {
        let children = C::new().await;
        let (runs, mut ran) = mpsc::unbounded_channel();
        let mut all = Vec::with_capacity(CHILDREN);
        for _ in 0..CHILDREN {
            let child = Child::new(How::Panic, runs.clone());
            children.start(child.clone()).await;
            all.push(child);
        }
        for _ in 0..CHILDREN {
            ran.recv().await.expect("the child runs");
        }
        let begun = Instant::now();
        for child in &all {
            child.crash.notify_one();
        }
        for _ in 0..CHILDREN {
            ran.recv().await.expect("the child runs again");
        }
        begun.elapsed().as_secs_f64() * 1e3
    })
}

mod bare {
    //! The limit: a task that runs the child, catches what it panics with, and runs it again; its start is answered when it is up, and
    //! its end can be awaited.

    use std::panic::AssertUnwindSafe;
    use std::pin::Pin;
    use std::task::Poll;

    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    use super::*;

    struct Running {
        stop: Arc<Notify>,
        task: JoinHandle<()>,
    }

    #[derive(Clone, Default)]
    pub struct Bare(Arc<Mutex<Vec<Running>>>);

    /// Polls with panics caught.
    async fn caught<F: Future>(future: F) -> Result<F::Output, ()> {
        let mut future = std::pin::pin!(future);
        std::future::poll_fn(|cx| {
            let polled = std::panic::catch_unwind(AssertUnwindSafe(|| Pin::as_mut(&mut future).poll(cx)));
            match polled {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
                Err(_) => Poll::Ready(Err(())),
            }
        })
        .await
    }

    impl Bare {
        async fn supervise<F>(&self, make: impl Fn() -> F + Send + 'static)
        where
            F: Future<Output = Result<(), std::io::Error>> + Send + 'static,
        {
            let (up, is_up) = oneshot::channel();
            let stop = Arc::new(Notify::new());
            let stopped = stop.clone();
            let task = tokio::spawn(async move {
                let _ = up.send(());
                loop {
                    tokio::select! {
                        biased;
                        () = stopped.notified() => return,
                        _ended = caught(make()) => {}
                    }
                }
            });
            is_up.await.expect("the child comes up");
            self.0.lock().push(Running { stop, task });
        }
    }

    impl Children for Bare {
        async fn new() -> Self {
            Self::default()
        }

        async fn start_idle(&self) {
            self.supervise(std::future::pending).await;
        }

        async fn start(&self, child: Arc<Child>) {
            self.supervise(move || child.clone().run()).await;
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            self.stop.notify_one();
            self.task.abort();
        }
    }
}

mod ours {
    //! The stack's dynamic supervisor.

    use ipa_supervisor::{ChildSpec, DynamicSupervisor, RestartIntensity};

    use super::*;

    #[derive(Clone)]
    pub struct Ours(Arc<DynamicSupervisor>);

    impl Children for Ours {
        async fn new() -> Self {
            let intensity = RestartIntensity::new(u32::MAX, std::time::Duration::from_secs(1));
            let supervisor = DynamicSupervisor::builder().intensity(intensity).start().await;
            Self(Arc::new(supervisor.expect("a supervisor starts")))
        }

        async fn start_idle(&self) {
            let spec = ChildSpec::task("child", |_| std::future::pending::<()>());
            let started = self.0.start_child(spec).await.expect("the child comes up");
            assert!(started.child().is_some());
        }

        async fn start(&self, child: Arc<Child>) {
            let spec = ChildSpec::task("child", move |_| child.clone().run());
            let started = self.0.start_child(spec).await.expect("the child comes up");
            assert!(started.child().is_some());
        }
    }
}

pub use bare::Bare;
pub use ours::Ours;
