//! No lock is held while foreign code runs: wakers, entries in a directory, and the drops of wakers, entries and messages may use what
//! they are called by.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context as Task, Wake, Waker};
use std::thread;
use std::time::Duration;

use ipa_supervisor::{
    Address, BoxError, Child, ChildRef, ChildSpec, Context, Directory, Entry, Exit, Flow, Init,
    NestedSupervisor, Published, Server, ServerContext, Settings, Supervisor, SupervisorRef, async_trait,
};
use tokio::runtime::Builder;

/// Runs the test on a thread of its own, and fails if that does not end.
fn in_time<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let (done, is_done) = mpsc::channel();
    let thread = thread::spawn(move || {
        Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
        // Nobody listens any more if the time was up.
        done.send(()).ok();
    });
    if is_done.recv_timeout(Duration::from_secs(20)) == Err(mpsc::RecvTimeoutError::Timeout) {
        panic!("a deadlock: foreign code ran under a lock");
    }
    thread.join().unwrap();
}

/// How often the wakers woke, and how often they were dropped.
#[derive(Default)]
struct Uses {
    woken: AtomicUsize,
    dropped: AtomicUsize,
}

/// A waker that uses the supervisor it is to wake, when it wakes and when it is dropped.
struct Curious {
    supervisor: SupervisorRef,
    task: Waker,
    uses: Arc<Uses>,
}

impl Wake for Curious {
    fn wake(self: Arc<Self>) {
        assert!(!self.supervisor.is_closed());
        self.uses.woken.fetch_add(1, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

impl Drop for Curious {
    fn drop(&mut self) {
        let _ = self.supervisor.is_closed();
        self.uses.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// A supervisor that is polled by such wakers, a new one each time.
struct Watched {
    nested: NestedSupervisor,
    uses: Arc<Uses>,
}

async fn watched<T>(supervisor: SupervisorRef, uses: Arc<Uses>, life: impl Future<Output = T>) -> T {
    let mut life = pin!(life);
    poll_fn(|task| {
        let curious =
            Curious { supervisor: supervisor.clone(), task: task.waker().clone(), uses: uses.clone() };
        life.as_mut().poll(&mut Task::from_waker(&Waker::from(Arc::new(curious))))
    })
    .await
}

#[async_trait]
impl Child for Watched {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        watched(self.nested.handle(), self.uses.clone(), self.nested.init(cx)).await
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        watched(self.nested.handle(), self.uses.clone(), self.nested.run(cx)).await
    }

    fn defaults() -> Settings {
        NestedSupervisor::defaults()
    }
}

#[test]
fn a_waker_may_use_the_supervisor() {
    in_time(|| async {
        let (uses, (send, handles)) = (Arc::<Uses>::default(), mpsc::channel());
        let spec = ChildSpec::new("nested", {
            let uses = uses.clone();
            move || {
                let leaf = |id| {
                    ChildSpec::task(id, |cx| async move {
                        cx.stopped().await;
                    })
                };
                let nested = NestedSupervisor::new(Supervisor::builder().children([leaf("a"), leaf("b")]));
                send.send(nested.handle()).unwrap();
                Watched { nested, uses: uses.clone() }
            }
        });
        let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
        let nested = handles.recv().unwrap();
        // Calls and reports wake it by its inbox, a stop by its parent's request.
        nested.terminate_child("b").await.unwrap();
        assert_eq!(nested.count_children().await.unwrap().active, 1);
        supervisor.shutdown().await.unwrap();
        let (woken, dropped) = (&uses.woken, &uses.dropped);
        assert!(woken.load(Ordering::Relaxed) >= 4, "{woken:?}");
        assert!(dropped.load(Ordering::Relaxed) >= 4, "{dropped:?}");
    });
}

/// A message that uses its own way when it is dropped.
struct Loud(Address<Loud>, Arc<AtomicUsize>);

impl Drop for Loud {
    fn drop(&mut self) {
        assert!(!self.0.is_up(), "{:?}", self.0);
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

/// Keeps the first message, and takes no other.
struct Deaf(Vec<Loud>);

#[async_trait]
impl Server for Deaf {
    type Message = Loud;

    async fn handle(&mut self, message: Loud, _cx: &mut ServerContext<Loud>) -> Result<Flow, BoxError> {
        self.0.push(message);
        pending().await
    }
}

#[test]
fn the_drop_of_a_message_may_use_its_address() {
    in_time(|| async {
        let (spec, address) = ChildSpec::server("deaf", || Deaf(Vec::new()));
        let supervisor = Supervisor::builder().child(spec).start().await.unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        for _ in 0..3 {
            assert!(address.cast(Loud(address.clone(), dropped.clone())).await.is_ok());
        }
        supervisor.terminate_child("deaf").await.unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    });
}

/// An entry that publishes when it is published in, and when it is dropped, by the context that was published.
struct Echo {
    cx: Mutex<Option<Context>>,
    told: Arc<AtomicUsize>,
}

impl Entry for Echo {
    fn publish(&self, address: Published) {
        self.told.fetch_add(1, Ordering::Relaxed);
        if let Some(cx) = address.get::<Context>() {
            cx.publish("from within");
            *self.cx.lock().unwrap() = Some(cx);
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(cx) = self.cx.get_mut().unwrap().take() {
            cx.publish("too late for anybody");
            self.told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Echoes(Arc<AtomicUsize>);

impl Directory for Echoes {
    fn enter(&self, _child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
        Ok(Arc::new(Echo { cx: Mutex::new(None), told: self.0.clone() }))
    }
}

/// Publishes its own context.
struct Publisher;

#[async_trait]
impl Child for Publisher {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        cx.publish(cx.clone());
        Ok(Init::Ready)
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        pending().await
    }
}

#[test]
fn an_entry_in_a_directory_may_publish() {
    in_time(|| async {
        let told = Arc::new(AtomicUsize::new(0));
        let spec = ChildSpec::new("a", || Publisher);
        let builder = Supervisor::builder().directory(Arc::new(Echoes(told.clone()))).child(spec);
        let supervisor = builder.start().await.unwrap();
        supervisor.shutdown().await.unwrap();
        assert_eq!(told.load(Ordering::Relaxed), 3, "published, from within, dropped");
    });
}
