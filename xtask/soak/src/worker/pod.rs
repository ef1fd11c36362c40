//! What a pod of the soak consists of: a state manager, and children of every type that misbehave when they are told to.
//!
//! A child publishes a [`Lever`], by which it is given orders. Which children a pod has, and its strategy, follow from its task's number.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use ipa_eventstore::{EventStore, StateManager};
use ipa_pod::{PodScope, PodSpec};
use ipa_supervisor::{
    BoxError, Child, ChildSpec, Context, Exit, Flow, Init, Output, Process, Restart, RestartIntensity,
    Server, ServerContext, Shutdown, Strategy, Supervisor,
};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::AS_ORDERED;
use super::ledger::Ledger;
use super::witness::{CHILDREN, ChildToken};
use super::world::{World, index_of};
use crate::random::Random;

/// How long a child may take to stop.
const CHILD_SHUTDOWN: Duration = Duration::from_millis(300);

/// How long a killed one may take to be gone before it is called stuck.
const KILL_GRACE: Duration = Duration::from_millis(200);

/// How long a pod's stop may take before the rest is killed.
const POD_SHUTDOWN: Duration = Duration::from_secs(1);

/// How long a worker may be silent.
const SILENCE: Duration = Duration::from_millis(500);

/// How long a child that blocks does: beyond all deadlines of a stop.
pub const BLOCKS: Duration = Duration::from_millis(2500);

/// How often a thread looks for orders.
const LOOK: Duration = Duration::from_millis(200);

/// What a child is told to do.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    Fail,
    Panic,
    /// Work, and say nothing: it is aborted.
    FallSilent,
    /// End, without a fault.
    Finish,
    /// Hold its thread for [`BLOCKS`], whoever asks it to stop.
    Block,
    /// As that, on the pool for blocking closures, while the child itself goes on.
    BlockElsewhere,
}

/// By which a child is given orders. The latest that it has not seen counts.
#[derive(Clone, Default)]
pub struct Lever(Arc<Pulled>);

#[derive(Default)]
struct Pulled {
    order: Mutex<Option<Order>>,
    notify: Notify,
}

impl Lever {
    pub fn pull(&self, order: Order) {
        *self.0.order.lock() = Some(order);
        self.0.notify.notify_one();
    }

    fn take(&self) -> Option<Order> {
        self.0.order.lock().take()
    }

    async fn next(&self) -> Order {
        loop {
            if let Some(order) = self.take() {
                return order;
            }
            self.0.notify.notified().await;
        }
    }
}

/// Makes the pods' specs.
pub fn spec(world: &Arc<World>, store: &Arc<dyn EventStore>, scope: &PodScope) -> Result<PodSpec, BoxError> {
    let index = index_of(scope.task().as_str()).ok_or("it is no task of the soak")?;
    let task = &world.tasks[index];
    let (state, _) =
        StateManager::<Ledger>::new(store.clone(), task.stream.clone()).snapshot_every(20).child("state");
    let mut spec = PodSpec::new()
        .child(state)
        .child(worker(world, index, 0))
        .child(server(world, index))
        .strategy(
            [Strategy::OneForOne, Strategy::OneForOne, Strategy::RestForOne, Strategy::OneForAll][index % 4],
        )
        .intensity(RestartIntensity::new(3, Duration::from_secs(5)))
        .child_shutdown(Shutdown::Timeout(CHILD_SHUTDOWN))
        .shutdown_timeout(POD_SHUTDOWN)
        .kill_grace(KILL_GRACE)
        .label(if index % 2 == 0 { "even" } else { "odd" });
    if index % 4 == 1 {
        spec = spec.child(group(world, index));
    }
    if index % 16 == 2 {
        spec = spec.child(thread_child(world, index));
    }
    if index % 128 == 3 {
        spec = spec.child(Process::command("sleep").arg("1000").output(Output::Null).spec("process"));
    }
    Ok(spec)
}

/// A function that takes orders.
pub fn worker(world: &Arc<World>, index: usize, place: usize) -> ChildSpec {
    let world = world.clone();
    ChildSpec::task(CHILDREN[place], move |cx| {
        let token = ChildToken::take(&world, index, place);
        let world = world.clone();
        async move {
            let _token = token;
            let lever = Lever::default();
            cx.publish(lever.clone());
            loop {
                cx.waiting();
                let order = lever.next().await;
                cx.working();
                if let Some(exit) = obey(&world, &cx, order).await? {
                    return Ok::<_, BoxError>(exit);
                }
            }
        }
    })
    .max_silence(SILENCE)
}

/// Does what it is told; answers how the child ends, if it does.
async fn obey(world: &Arc<World>, cx: &Context, order: Order) -> Result<Option<Exit>, BoxError> {
    match order {
        Order::Fail => Err(AS_ORDERED.into()),
        Order::Panic => panic!("{AS_ORDERED}"),
        Order::FallSilent => std::future::pending().await,
        Order::Finish => Ok(Some(Exit::Normal)),
        Order::Block => {
            let blocking = Blocking::begin(world);
            tokio::task::block_in_place(|| blocking.block());
            Ok(None)
        }
        Order::BlockElsewhere => {
            let blocking = Blocking::begin(world);
            // Not waited for: it holds the child's lease.
            drop(cx.spawn_blocking(|| blocking.block()));
            Ok(None)
        }
    }
}

/// A thread that is held on our order.
struct Blocking(Arc<World>);

impl Blocking {
    fn begin(world: &Arc<World>) -> Self {
        world.blocking.fetch_add(1, Ordering::SeqCst);
        Self(world.clone())
    }

    fn block(self) {
        thread::sleep(BLOCKS);
    }
}

impl Drop for Blocking {
    fn drop(&mut self) {
        self.0.blocking.fetch_sub(1, Ordering::SeqCst);
    }
}

fn server(world: &Arc<World>, index: usize) -> ChildSpec {
    let world = world.clone();
    let make = move || Obedient { world: world.clone(), _token: ChildToken::take(&world, index, 1) };
    ChildSpec::server("server", make).0
}

/// A mailbox server whose messages are orders.
struct Obedient {
    world: Arc<World>,
    _token: ChildToken,
}

#[async_trait]
impl Server for Obedient {
    type Message = Order;

    async fn handle(&mut self, order: Order, cx: &mut ServerContext<Order>) -> Result<Flow, BoxError> {
        // Silence is the worker's: this one would be waited for until it is stopped.
        let order = if matches!(order, Order::FallSilent) { Order::Fail } else { order };
        Ok(obey(&self.world, cx, order).await?.map_or(Flow::Continue, Flow::Stop))
    }
}

/// A closure on a thread of its own.
fn thread_child(world: &Arc<World>, index: usize) -> ChildSpec {
    let world = world.clone();
    ChildSpec::blocking("thread", move |cx| {
        let _token = ChildToken::take(&world, index, 2);
        let lever = Lever::default();
        cx.context().publish(lever.clone());
        while !cx.stopped_within(LOOK) {
            match lever.take() {
                None => {}
                Some(Order::Fail | Order::FallSilent) => return Err(BoxError::from(AS_ORDERED)),
                Some(Order::Panic) => panic!("{AS_ORDERED}"),
                Some(Order::Finish) => return Ok(()),
                Some(Order::Block | Order::BlockElsewhere) => Blocking::begin(&world).block(),
            }
        }
        Ok(())
    })
}

/// A supervisor of two children that fail by themselves now and then.
fn group(world: &Arc<World>, index: usize) -> ChildSpec {
    let world = world.clone();
    ChildSpec::supervisor("group", move || {
        let leaf = |place: usize| {
            let world = world.clone();
            ChildSpec::new(CHILDREN[place], move || Leaf {
                token: ChildToken::take(&world, index, place),
                world: world.clone(),
            })
            .restart(Restart::Permanent)
            .shutdown(Shutdown::Timeout(CHILD_SHUTDOWN))
        };
        Supervisor::builder()
            .children([leaf(3), leaf(4)])
            .strategy(Strategy::OneForAll)
            .kill_grace(KILL_GRACE)
    })
}

struct Leaf {
    token: ChildToken,
    world: Arc<World>,
}

#[async_trait]
impl Child for Leaf {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        cx.spawn(std::future::pending::<()>());
        Ok(Init::Ready)
    }

    async fn run(&mut self, _cx: &mut Context) -> Result<Exit, BoxError> {
        let life =
            Random::of(self.token.serial(), 0).between(Duration::from_secs(10), Duration::from_secs(300));
        tokio::time::sleep(life).await;
        self.world.tally.count("crashes of nested children");
        Err(AS_ORDERED.into())
    }
}
