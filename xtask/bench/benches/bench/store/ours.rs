//! The stack's own store, as its defaults are, its state manager, and pods that it admits.

use std::path::Path;
use std::sync::Arc;

use ipa_eventstore::{
    Aggregate, EventStore, Expected, Json, NewEvent, ReadStream, RecordedEvent, SqliteEventStore,
    StateManager, StreamId, StreamType,
};
use ipa_pod::{PodScope, PodSpec, PodSupervisor};
use ipa_supervisor::{BoxError, ChildSpec, Flow, Reply, Server, ServerContext, Supervisor, async_trait};

use super::{DATA, Step, Store, steps};
use crate::pods::CHILDREN;
use crate::tool::{each, name};

#[derive(Clone)]
pub struct Ours {
    store: SqliteEventStore,
    data: Json,
}

fn stream(n: usize) -> StreamId {
    StreamId::new(name(n)).expect("a name")
}

#[derive(Clone)]
struct Sum(u64);

impl Aggregate for Sum {
    type Command = ();
    type Event = Step;
    type Rejection = std::convert::Infallible;

    fn initial(_: &StreamId) -> Self {
        Self(0)
    }
    fn decide(&self, (): &()) -> Result<Vec<Step>, Self::Rejection> {
        Ok(Vec::new())
    }
    fn apply(&mut self, event: &Step) {
        self.0 += event.step;
    }
    fn encode(event: &Step) -> Result<NewEvent, BoxError> {
        Ok(NewEvent::json("stepped", event)?)
    }
    fn decode(recorded: &RecordedEvent) -> Result<Step, BoxError> {
        Ok(recorded.data()?)
    }
}

/// A child of a pod; the first appends that the pod has started.
struct Echo(Option<(Ours, StreamId)>);

#[async_trait]
impl Server for Echo {
    type Message = (u64, Reply<u64>);

    async fn init(&mut self, _: &mut ServerContext<Self::Message>) -> Result<ipa_supervisor::Init, BoxError> {
        if let Some((store, stream)) = &self.0 {
            store.store.append(stream, Expected::Any, vec![store.event()]).await?;
        }
        Ok(ipa_supervisor::Init::Ready)
    }

    async fn handle(
        &mut self,
        (number, reply): Self::Message,
        _: &mut ServerContext<Self::Message>,
    ) -> Result<Flow, BoxError> {
        reply.send(number);
        Ok(Flow::Continue)
    }
}

impl Ours {
    fn event(&self) -> NewEvent {
        NewEvent::new("stepped", self.data.clone()).expect("a type")
    }
}

impl Store for Ours {
    async fn open(directory: &Path) -> Self {
        let store = SqliteEventStore::open(directory.join("ours.db")).await.expect("the store opens");
        Self { store, data: Json::parse(DATA).expect("it is JSON") }
    }

    async fn create(&self, streams: usize) {
        let store = self.store.clone();
        each(0..streams, 256, move |n| {
            let (store, kind) = (store.clone(), StreamType::new("task").expect("a name"));
            async move { store.start_stream(&kind, Some(stream(n)), vec![]).await.expect("the stream is new") }
        })
        .await;
    }

    async fn append(&self, n: usize, events: usize) {
        let events = (0..events).map(|_| self.event()).collect();
        self.store.append(&stream(n), Expected::Any, events).await.expect("the events are stored");
    }

    async fn read(&self, n: usize) -> usize {
        self.store.read_stream(&stream(n), ReadStream::new()).await.expect("the stream is read").len()
    }

    async fn read_decoded(&self, n: usize) -> u64 {
        let events = self.store.read_stream(&stream(n), ReadStream::new()).await.expect("the stream is read");
        events.iter().map(|event| steps(&event.data)).sum()
    }

    async fn exists(&self, n: usize) -> bool {
        self.store.stream_exists(&stream(n)).await.expect("the store answers")
    }

    async fn state(&self, n: usize) -> u64 {
        let (spec, handle) = StateManager::<Sum>::new(Arc::new(self.store.clone()), stream(n)).child("state");
        let supervisor = Supervisor::builder().child(spec).start().await.expect("it comes up");
        let sum = handle.state().await.expect("an answer").state.0;
        supervisor.shutdown().await.expect("it stops");
        sum
    }

    type Pods = Arc<PodSupervisor>;

    async fn pods(&self) -> Self::Pods {
        let store = self.clone();
        let factory = move |scope: &PodScope| {
            let stream = StreamId::new(scope.task().as_str())?;
            let children = CHILDREN.map(|id| {
                let started = (id == CHILDREN[0]).then(|| (store.clone(), stream.clone()));
                ChildSpec::server(id, move || Echo(started.clone())).0
            });
            Ok(PodSpec::new().children(children))
        };
        let pods = PodSupervisor::builder(self.store.clone(), factory).start().await;
        Arc::new(pods.expect("a pod supervisor starts"))
    }

    async fn start(pods: &Self::Pods, n: usize) {
        pods.start_pod(name(n)).await.expect("a pod starts");
    }

    async fn close(self) {
        self.store.close().await.expect("the store closes");
    }
}
