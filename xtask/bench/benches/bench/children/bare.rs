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
