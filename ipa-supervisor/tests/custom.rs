//! A child type of a user's: its defaults, and the lease that a foreign thread holds. The chapter `custom`, put to the test.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use ipa_supervisor::{
    AutoShutdown, BoxError, Child, ChildCounts, ChildId, ChildRef, ChildSpec, ChildState, Context, Directory,
    Entry, Exit, ExitReason, Init, Kind, Published, Restart, Settings, Shutdown, ShutdownError,
    SignificantRestart, StartError, Supervisor, async_trait,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Holds a server that is a thread, and says what it does.
struct Foreign {
    world: World,
    server: Option<Server>,
}

/// What the test sees of all incarnations.
#[derive(Clone)]
struct World {
    seen: UnboundedSender<String>,
    addresses: Addresses,
    /// Of every server that was ever started.
    clients: Arc<Mutex<Vec<Client>>>,
    kill_grace: Duration,
    /// Whether `init` never sees its server come up.
    slow: bool,
}

#[derive(Debug)]
enum Order {
    /// Asks it to stop, which it takes its time to do.
    Stop,
    /// Lets one that was asked to stop end.
    End,
    Crash,
}

/// What leads to a server: its incarnation, and its orders.
#[derive(Clone)]
struct Client(u64, mpsc::Sender<Order>);

struct Server {
    client: Client,
    ended: JoinHandle<thread::Result<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.client.1.send(Order::Stop);
    }
}

impl World {
    fn new() -> (Self, UnboundedReceiver<String>) {
        let (seen, sees) = unbounded_channel();
        let kill_grace = Duration::from_secs(60);
        (
            Self { seen, addresses: Addresses::default(), clients: Arc::default(), kill_grace, slow: false },
            sees,
        )
    }
    fn spec(&self) -> ChildSpec {
        let world = self.clone();
        ChildSpec::new("foreign", move || Foreign { world: world.clone(), server: None })
    }
    async fn start(&self, spec: ChildSpec) -> Result<Supervisor, StartError> {
        Supervisor::builder()
            .directory(Arc::new(self.addresses.clone()))
            .kill_grace(self.kill_grace)
            .child(spec)
            .start()
            .await
    }
    fn published(&self) -> Option<Client> {
        self.addresses.0.lock().unwrap().get("foreign").and_then(Published::get::<Client>)
    }
}

/// The server's thread. It holds no client, so it ends when nobody does: a test that fails leaves no thread behind.
fn serve(n: u64, seen: &UnboundedSender<String>, orders: &mpsc::Receiver<Order>) {
    let _ = seen.send(format!("server {n}"));
    if let Ok(Order::Crash) = orders.recv() {
        panic!("the server has crashed");
    }
    let _ = seen.send(format!("asked {n}"));
    while !matches!(orders.recv(), Ok(Order::End) | Err(_)) {}
    let _ = seen.send(format!("ended {n}"));
}

#[async_trait]
impl Child for Foreign {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let n = cx.child().incarnation.0;
        let (sender, orders) = mpsc::channel();
        let seen = self.world.seen.clone();
        let thread = thread::spawn(move || serve(n, &seen, &orders));
        let ended = cx.spawn_blocking(move || thread.join());
        let client = Client(n, sender);
        cx.publish(client.clone());
        self.world.clients.lock().unwrap().push(client.clone());
        self.server = Some(Server { client, ended });
        if self.world.slow {
            std::future::pending::<()>().await;
        }
        Ok(Init::Ready)
    }
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        let server = self.server.as_mut().ok_or("run before init")?;
        let ended = (&mut server.ended).await;
        self.server = None;
        match ended? {
            Ok(()) => Ok(Exit::Normal),
            Err(payload) => resume_unwind(payload),
        }
    }
    async fn terminate(&mut self, _cx: &mut Context, reason: &ExitReason) {
        let _ = self.world.seen.send(format!("terminate: {reason}"));
        if let Some(mut server) = self.server.take() {
            let _ = server.client.1.send(Order::Stop);
            let _ = (&mut server.ended).await;
        }
    }
}

#[derive(Clone, Default)]
struct Addresses(Arc<Mutex<HashMap<ChildId, Published>>>);
struct Listed(ChildId, Addresses);

impl Directory for Addresses {
    fn enter(&self, child: &ChildRef) -> Result<Arc<dyn Entry>, BoxError> {
        Ok(Arc::new(Listed(child.id.clone(), self.clone())))
    }
}
impl Entry for Listed {
    fn publish(&self, address: Published) {
        self.1.0.lock().unwrap().insert(self.0.clone(), address);
    }
}
impl Drop for Listed {
    fn drop(&mut self) {
        self.1.0.lock().unwrap().remove(&self.0);
    }
}

/// What is seen next. A thread that is never asked to stop fails the test, instead of holding it up.
async fn next(sees: &mut UnboundedReceiver<String>) -> String {
    let seen = tokio::time::timeout(Duration::from_secs(30), sees.recv()).await;
    seen.expect("something is seen").expect("the world is there")
}

/// A type that is a supervisor of sorts: it says so, and how it is restarted and stopped.
struct Pool;

#[async_trait]
impl Child for Pool {
    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        std::future::pending().await
    }
    fn defaults() -> Settings {
        Settings {
            kind: Some(Kind::Supervisor),
            restart: Some(Restart::Temporary),
            shutdown: Some(Shutdown::Timeout(Duration::from_secs(20))),
            start_timeout: Some(Duration::from_secs(30)),
            ..Settings::default()
        }
    }
}

/// CS-19 a child type supplies defaults, and the caller overrides them afterwards; the kind stays what the type set.
#[tokio::test(start_paused = true)]
async fn the_caller_overrides_what_the_type_says() {
    let pool = || ChildSpec::new("pool", || Pool);
    let overridden = pool()
        .with_id("mine")
        .significant(SignificantRestart::Transient)
        .shutdown(Shutdown::BrutalKill)
        .start_timeout(Duration::from_secs(1));
    let permanent = pool().with_id("always").restart(Restart::Permanent);
    let supervisor = Supervisor::builder()
        // The type beats what the supervisor falls back on.
        .child_defaults(Settings { restart: Some(Restart::Permanent), ..Settings::default() })
        .auto_shutdown(AutoShutdown::AllSignificant)
        .children([pool(), overridden, permanent])
        .start()
        .await
        .unwrap();
    let policy = async |id: &str| supervisor.get_childspec(id).await.unwrap().unwrap();

    let pool = policy("pool").await;
    assert_eq!((pool.kind, pool.restart, pool.significant), (Kind::Supervisor, Restart::Temporary, false));
    assert_eq!(pool.shutdown, Shutdown::Timeout(Duration::from_secs(20)));
    assert_eq!(pool.start_timeout, Some(Duration::from_secs(30)));

    let mine = policy("mine").await;
    assert_eq!((mine.kind, mine.restart, mine.significant), (Kind::Supervisor, Restart::Transient, true));
    assert_eq!(mine.shutdown, Shutdown::BrutalKill);
    assert_eq!(mine.start_timeout, Some(Duration::from_secs(1)));

    let always = policy("always").await;
    assert_eq!((always.kind, always.restart), (Kind::Supervisor, Restart::Permanent));
    assert_eq!(always.shutdown, Shutdown::Timeout(Duration::from_secs(20)));

    let ChildCounts { supervisors, workers, .. } = supervisor.count_children().await.unwrap();
    assert_eq!((supervisors, workers), (3, 0));
    supervisor.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_stop_is_answered_when_the_foreign_thread_has_ended() {
    let (world, mut sees) = World::new();
    let supervisor = world.start(world.spec().shutdown(Shutdown::Infinity)).await.unwrap();
    let client = world.published().unwrap();
    let mut stop = Box::pin(supervisor.shutdown());
    let seen = tokio::select! {
        biased;
        _ = &mut stop => panic!("the stop was answered while the thread ran"),
        seen = async { [next(&mut sees).await, next(&mut sees).await, next(&mut sees).await] } => seen,
    };
    let mut seen = Vec::from(seen);
    seen.sort();
    assert_eq!(seen, ["asked 1", "server 1", "terminate: shutdown"]);
    client.1.send(Order::End).unwrap();
    stop.await.unwrap();
    assert_eq!(sees.try_recv().unwrap(), "ended 1");
    assert!(world.published().is_none());
}

#[tokio::test]
async fn a_crash_of_the_thread_is_the_child_s_and_the_address_follows() {
    let (world, mut sees) = World::new();
    let supervisor = world.start(world.spec().restart(Restart::Transient)).await.unwrap();
    let first = world.published().unwrap();
    assert_eq!(next(&mut sees).await, "server 1");
    first.1.send(Order::Crash).unwrap();
    assert_eq!(next(&mut sees).await, "terminate: panicked: the server has crashed");
    assert_eq!(next(&mut sees).await, "server 2");
    // Answered after the start is: it was reported before this was asked.
    let child = supervisor.which_child("foreign").await.unwrap().unwrap();
    let second = world.published().unwrap();
    assert_eq!((first.0, second.0, child.child.incarnation.0), (1, 2, 2));
    second.1.send(Order::Stop).unwrap();
    second.1.send(Order::End).unwrap();
    supervisor.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_killed_child_s_thread_is_asked_to_stop_and_is_stuck_until_it_has() {
    let (mut world, mut sees) = World::new();
    world.kill_grace = Duration::from_millis(1);
    let supervisor = world.start(world.spec().shutdown(Shutdown::BrutalKill)).await.unwrap();
    let client = world.published().unwrap();
    assert_eq!(next(&mut sees).await, "server 1");

    let Err(ShutdownError::Stuck(stuck)) = supervisor.shutdown().await else {
        panic!("the thread has not ended");
    };
    assert_eq!(stuck.iter().map(|stuck| stuck.0.id.as_str()).collect::<Vec<_>>(), ["foreign"]);
    assert_eq!(next(&mut sees).await, "asked 1", "by the drop, for terminate does not run");
    assert_eq!(supervisor.which_children().await.unwrap()[0].state, ChildState::Stuck);

    client.1.send(Order::End).unwrap();
    supervisor.wait().await;
    assert_eq!(sees.try_recv().unwrap(), "ended 1");
    assert!(sees.try_recv().is_err(), "no successor was started, and terminate did not run");
}

#[tokio::test]
async fn a_start_that_is_given_up_asks_the_thread_to_stop() {
    let (mut world, mut sees) = World::new();
    world.slow = true;
    let mut starting = Box::pin(world.start(world.spec().start_timeout(Duration::from_millis(1))));
    let seen = tokio::select! {
        biased;
        ended = &mut starting => panic!("the start was answered while the thread ran: {ended:?}"),
        seen = async { [next(&mut sees).await, next(&mut sees).await] } => seen,
    };
    assert_eq!(seen, ["server 1", "asked 1"]);
    let client = world.clients.lock().unwrap()[0].clone();
    client.1.send(Order::End).unwrap();
    let Err(StartError::ChildFailed(failure)) = starting.await else { panic!("the child never came up") };
    assert!(failure.timed_out, "{failure}");
    assert_eq!(sees.try_recv().unwrap(), "ended 1");
}
