//! The limit: a task that runs the child, catches what it panics with, counts that, and runs it again; its start is answered when it is
//! up, with a handle that stops it and awaits its end.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A child, which ends with this.
pub struct Running {
    stop: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.notify_one();
        self.task.abort();
    }
}

#[derive(Clone, Default)]
pub struct Bare(Arc<Ended>);

/// How often children ended by themselves.
#[derive(Default)]
struct Ended {
    well: AtomicUsize,
    errors: AtomicUsize,
    panics: AtomicUsize,
}

/// Makes it and runs it, with panics of both caught.
async fn caught<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, ()> {
    let made = std::panic::catch_unwind(AssertUnwindSafe(make)).map_err(drop)?;
    let mut future = std::pin::pin!(made);
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
    async fn supervise<F>(&self, mut make: impl FnMut() -> F + Send + 'static) -> Running
    where
        F: Future<Output = Result<(), std::io::Error>> + Send,
    {
        let (up, is_up) = oneshot::channel();
        let stop = Arc::new(Notify::new());
        let (stopped, counts) = (stop.clone(), self.0.clone());
        let task = tokio::spawn(async move {
            let _ = up.send(());
            loop {
                let ended = tokio::select! {
                    biased;
                    () = stopped.notified() => return,
                    ended = caught(&mut make) => ended,
                };
                let count = match ended {
                    Ok(Ok(())) => &counts.well,
                    Ok(Err(_)) => &counts.errors,
                    Err(()) => &counts.panics,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        is_up.await.expect("the child comes up");
        Running { stop, task }
    }
}

impl Children for Bare {
    type Handle = Running;

    async fn new() -> Self {
        Self::default()
    }

    async fn start_idle(&self) -> Running {
        self.supervise(std::future::pending).await
    }

    async fn start(&self, child: Arc<Child>) -> Running {
        self.supervise(move || child.clone().run()).await
    }

    async fn stop(&self, mut child: Running) -> bool {
        child.stop.notify_one();
        (&mut child.task).await.is_ok()
    }
}

/// The other way, for restarts: a task for each run, which the child's own awaits and makes again.
#[derive(Clone, Default)]
pub struct Respawn(Arc<Ended>);

/// A run, which ends with this.
struct Run(JoinHandle<Result<(), std::io::Error>>);

impl Drop for Run {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Respawn {
    async fn supervise<F>(&self, mut make: impl FnMut() -> F + Send + 'static) -> Running
    where
        F: Future<Output = Result<(), std::io::Error>> + Send + 'static,
    {
        let (up, is_up) = oneshot::channel();
        let stop = Arc::new(Notify::new());
        let (stopped, counts) = (stop.clone(), self.0.clone());
        let task = tokio::spawn(async move {
            let _ = up.send(());
            loop {
                let mut run = Run(tokio::spawn(make()));
                let ended = tokio::select! {
                    biased;
                    () = stopped.notified() => {
                        run.0.abort();
                        let _ = (&mut run.0).await;
                        return;
                    }
                    ended = &mut run.0 => ended,
                };
                let count = match ended {
                    Ok(Ok(())) => &counts.well,
                    Ok(Err(_)) => &counts.errors,
                    Err(_) => &counts.panics,
                };
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        is_up.await.expect("the child comes up");
        Running { stop, task }
    }
}

impl Children for Respawn {
    type Handle = Running;

    async fn new() -> Self {
        Self::default()
    }

    async fn start_idle(&self) -> Running {
        self.supervise(std::future::pending).await
    }

    async fn start(&self, child: Arc<Child>) -> Running {
        self.supervise(move || child.clone().run()).await
    }

    async fn stop(&self, mut child: Running) -> bool {
        child.stop.notify_one();
        (&mut child.task).await.is_ok()
    }
}
