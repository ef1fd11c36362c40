//! A ledger that is a kameo actor, in a pod over an event store: what it was told is in its stream, so a crash loses nothing.
//!
//! ```text
//! cargo run -p foreign-actor --example ledger
//! ```

use std::sync::Arc;

use foreign_actor::{ActorAddress, ActorChild};
use ipa_eventstore::{EventStore, Expected, InMemoryEventStore, NewEvent, ReadStream, StreamId, StreamType};
use ipa_pod::{PodScope, PodSpec, PodSupervisor};
use ipa_registry::Event;
use ipa_supervisor::{AutoShutdown, BoxError, ChildSpec, SignificantRestart};
use kameo::actor::{Actor, ActorRef, WeakActorRef};
use kameo::error::ActorStopReason;
use kameo::message::{Context, Message};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, mpsc};

type Store = Arc<dyn EventStore>;
type Orders = Arc<Mutex<mpsc::UnboundedReceiver<i64>>>;

/// The actor. Its state is what its stream amounts to.
struct Ledger {
    store: Store,
    stream: StreamId,
    balance: i64,
    version: u64,
}

#[derive(Serialize, Deserialize)]
struct Booked {
    amount: i64,
}

/// Books an amount; answers the balance.
struct Book(i64);

impl Actor for Ledger {
    type Args = (Store, StreamId);
    type Error = BoxError;

    /// Anew at each start: from the stream.
    async fn on_start((store, stream): Self::Args, _actor: ActorRef<Self>) -> Result<Self, BoxError> {
        let mut ledger = Self { store, stream, balance: 0, version: 0 };
        for event in ledger.store.read_stream(&ledger.stream, ReadStream::new()).await? {
            ledger.balance += event.data::<Booked>()?.amount;
            ledger.version = event.version;
        }
        println!("ledger: up at version {}, balance {}", ledger.version, ledger.balance);
        Ok(ledger)
    }

    async fn on_stop(&mut self, _actor: WeakActorRef<Self>, reason: ActorStopReason) -> Result<(), BoxError> {
        println!("ledger: {reason}");
        Ok(())
    }
}

impl Message<Book> for Ledger {
    type Reply = Result<i64, BoxError>;

    async fn handle(&mut self, Book(amount): Book, _cx: &mut Context<Self, Self::Reply>) -> Self::Reply {
        assert!(amount != 0, "nothing to book"); // a bug, which is supervised
        let booked = NewEvent::json("booked", &Booked { amount })?;
        // Stored first, answered then.
        let stored = self.store.append(&self.stream, Expected::Exact(self.version), vec![booked]).await?;
        self.version = stored.version;
        self.balance += amount;
        Ok(self.balance)
    }
}

/// What a pod consists of: the ledger, and a clerk that books what comes in. When the clerk is done, the pod is.
fn pod(store: &Store, orders: &Orders, scope: &PodScope) -> Result<PodSpec, BoxError> {
    let (store, stream) = (store.clone(), StreamId::new(scope.task().as_str())?);
    let ledger = ActorChild::<Ledger>::new(move || (store.clone(), stream.clone()));
    let (address, orders) = (ActorAddress::<Ledger>::new(scope, "ledger"), orders.clone());
    let clerk = ChildSpec::task("clerk", move |_cx| {
        let (address, orders) = (address.clone(), orders.clone());
        async move {
            while let Some(amount) = orders.lock().await.recv().await {
                // The actor that is up now: after a restart it is another.
                match address.actor()?.ask(Book(amount)).await {
                    Ok(balance) => println!("clerk: booked {amount}, the balance is {balance}"),
                    Err(error) => println!("clerk: could not book {amount}: {error}"),
                }
            }
            Ok::<(), BoxError>(())
        }
    });
    Ok(PodSpec::new()
        .auto_shutdown(AutoShutdown::AnySignificant)
        .child(ledger.spec("ledger"))
        .child(clerk.significant(SignificantRestart::Transient)))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let memory = InMemoryEventStore::new();
    let store: Store = Arc::new(memory.clone());
    let account = StreamId::new("account-7")?;
    store.start_stream(&StreamType::new("account")?, Some(account.clone()), vec![]).await?;

    let (order, orders) = mpsc::unbounded_channel();
    let orders: Orders = Arc::new(Mutex::new(orders));
    let of_pods = store.clone();
    let pods =
        PodSupervisor::builder(memory, move |scope: &PodScope| pod(&of_pods, &orders, scope)).start().await?;
    let mut children = pods.registry().children().subscribe();
    let pod = pods.start_pod("account-7").await?;

    for amount in [10, 5, 0] {
        order.send(amount)?;
    }
    // The third is one too many for the ledger. Its successor is up when it publishes its address.
    let mut incarnation = 1;
    while incarnation < 2 {
        if let Event::Updated { key: (_, child), value } = children.recv().await?
            && child.as_str() == "ledger"
        {
            incarnation = value.incarnation.0;
        }
    }
    order.send(7)?;
    drop(order); // the clerk has nothing more to do
    println!("pod: {}", pod.wait().await); // the actor has stopped

    println!("stored: {} events", store.stream_version(&account).await?);
    pods.shutdown().await?;
    Ok(())
}
