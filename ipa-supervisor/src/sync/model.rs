//! What stands in for locks, tasks and clocks when the interleavings are run, under shuttle.
//!
//! - `Semaphore`, `SetOnce`, `Notify` and `oneshot` are tokio's own. They need no runtime and never block a thread, so each operation is
//!   one step, and all that is added is a point before it at which shuttle may switch tasks. That each operation is atomic is taken
//!   from tokio, which checks them with loom itself.
//! - `Mutex`, tasks and task-locals are shuttle's.
//! - The clock stands still until a scenario moves it, so a timer fires when the scenario says, and at no other time.
//! - `AtomicU8` is loom's, not shuttle's, which knows no weak memory. Only `pulse.rs` uses it, and only its own scenarios run it.
//!
//! Reference counts are the standard library's: a scenario marks what matters of them by a `point`.

use std::future::Future;
use std::sync::PoisonError;

pub(crate) use loom::sync::atomic::AtomicU8;

pub(crate) mod task_local;
pub(crate) mod time;

pub(crate) use task_local::task_local;

/// A point at which another task may go on. Outside a scenario, and while one is torn down, it is none.
pub(crate) fn point() {
    if !std::thread::panicking() && shuttle::current::try_get_current_task().is_some() {
        // Shuttle switches before each operation of an atomic.
        shuttle::sync::atomic::AtomicBool::new(false).load(std::sync::atomic::Ordering::SeqCst);
    }
}

/// With the face of `parking_lot`'s, which knows no poison.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(shuttle::sync::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> shuttle::sync::MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Semaphore(tokio::sync::Semaphore);

impl Semaphore {
    pub(crate) const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

    pub(crate) fn new(permits: usize) -> Self {
        Self(tokio::sync::Semaphore::new(permits))
    }

    pub(crate) async fn acquire(
        &self,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, tokio::sync::AcquireError> {
        point();
        self.0.acquire().await
    }

    pub(crate) fn try_acquire(
        &self,
    ) -> Result<tokio::sync::SemaphorePermit<'_>, tokio::sync::TryAcquireError> {
        point();
        self.0.try_acquire()
    }

    pub(crate) fn add_permits(&self, permits: usize) {
        point();
        self.0.add_permits(permits);
    }

    pub(crate) fn close(&self) {
        point();
        self.0.close();
    }
}

#[derive(Debug)]
pub(crate) struct SetOnce<T>(tokio::sync::SetOnce<T>);

impl<T> SetOnce<T> {
    pub(crate) fn new() -> Self {
        Self(tokio::sync::SetOnce::new())
    }

    pub(crate) fn set(&self, value: T) -> Result<(), tokio::sync::SetOnceError<T>> {
        point();
        self.0.set(value)
    }

    pub(crate) async fn wait(&self) -> &T {
        point();
        self.0.wait().await
    }
}

#[derive(Debug, Default)]
pub(crate) struct Notify(tokio::sync::Notify);

impl Notify {
    pub(crate) fn notified(&self) -> tokio::sync::futures::Notified<'_> {
        point();
        self.0.notified()
    }

    pub(crate) fn notify_waiters(&self) {
        point();
        self.0.notify_waiters();
    }
}

pub(crate) mod oneshot {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::sync::oneshot;
    use tokio::sync::oneshot::error::RecvError;

    use super::point;

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let (sender, receiver) = oneshot::channel();
        (Sender(Some(sender)), Receiver(receiver))
    }

    /// There until it is used; its drop says that no answer will come.
    #[derive(Debug)]
    pub(crate) struct Sender<T>(Option<oneshot::Sender<T>>);

    impl<T> Sender<T> {
        pub(crate) fn send(mut self, value: T) -> Result<(), T> {
            point();
            match self.0.take() {
                Some(sender) => sender.send(value),
                None => Err(value),
            }
        }

        pub(crate) fn is_closed(&self) -> bool {
            point();
            self.0.as_ref().is_some_and(oneshot::Sender::is_closed)
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            if self.0.is_some() {
                point();
            }
        }
    }

    #[derive(Debug)]
    pub(crate) struct Receiver<T>(oneshot::Receiver<T>);

    impl<T> Future for Receiver<T> {
        type Output = Result<T, RecvError>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            point();
            Pin::new(&mut self.0).poll(cx)
        }
    }
}

pub(crate) mod task {
    pub(crate) use shuttle::future::{JoinHandle, yield_now};

    use super::Future;

    pub(crate) fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        shuttle::future::spawn(future)
    }
}

pub(crate) mod runtime {
    /// Any task may run at any point, as on a runtime with several workers.
    #[derive(PartialEq, Eq)]
    pub(crate) enum RuntimeFlavor {
        MultiThread,
    }

    pub(crate) struct Handle;

    impl Handle {
        pub(crate) fn current() -> Self {
            Self
        }

        pub(crate) fn runtime_flavor(&self) -> RuntimeFlavor {
            RuntimeFlavor::MultiThread
        }
    }
}
