//! Streams that earlier versions of the program wrote.

use std::sync::Arc;

use ipa_eventstore::{
    Aggregate, EventStore, ExecuteError, Expected, InMemoryEventStore, Json, NewEvent, ReadStream,
    RecordedEvent, ReplayError, StateHandle, StateManager, StreamId, StreamType, UpcastError, Upcasters,
};
use ipa_supervisor::{BoxError, StartError, Supervisor};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::counter::stream;

/// Notes of deposits. Once they were called `paid_in` and had whole units (1), then cents (2); then they were called
/// `deposited` (3), then they got a currency (4).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    deposits: Vec<Deposited>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Deposited {
    cents: u64,
    currency: String,
}

#[derive(Debug, thiserror::Error)]
#[error("never")]
struct Never;

/// Deposits one cent, as an event of this schema version.
struct Deposit(u32);

struct Event(Deposited, u32);

impl Aggregate for Account {
    type Command = Deposit;
    type Event = Event;
    type Rejection = Never;
    const SNAPSHOT_SCHEMA: Option<u32> = Some(1);

    fn initial(_stream: &StreamId) -> Self {
        Self::default()
    }
    fn decide(&self, command: &Deposit) -> Result<Vec<Event>, Never> {
        Ok(vec![Event(Deposited { cents: 1, currency: "EUR".into() }, command.0)])
    }
    fn apply(&mut self, event: &Event) {
        self.deposits.push(event.0.clone());
    }
    fn encode(event: &Event) -> Result<NewEvent, BoxError> {
        Ok(NewEvent::json("deposited", &event.0)?.schema_version(event.1))
    }
    fn decode(recorded: &RecordedEvent) -> Result<Event, BoxError> {
        assert_eq!(
            (&*recorded.event_type, recorded.schema_version),
            ("deposited", 4),
            "the only form it knows"
        );
        Ok(Event(recorded.data()?, recorded.schema_version))
    }
    fn upcasters() -> Upcasters {
        Upcasters::new()
            .step("paid_in", 1, |event| {
                #[derive(Deserialize)]
                struct Old {
                    amount: u64,
                }
                let old: Old = event.data()?;
                Ok(Json::of(&json!({"cents": 100 * old.amount}))?)
            })
            .rename("paid_in", 2, "deposited", |event| Ok(event.data.clone()))
            .step("deposited", 3, |event| {
                let mut data: serde_json::Map<String, serde_json::Value> = event.data()?;
                data.insert("currency".into(), "EUR".into());
                Ok(Json::of(&data)?)
            })
    }
    fn to_snapshot(&self) -> Result<Json, BoxError> {
        Ok(Json::of(self)?)
    }
    fn from_snapshot(_stream: &StreamId, state: &Json) -> Result<Self, BoxError> {
        Ok(state.decode()?)
    }
}

fn event(event_type: &str, schema_version: u32, data: serde_json::Value) -> NewEvent {
    NewEvent::json(event_type, &data).unwrap().schema_version(schema_version)
}

fn every_form() -> Vec<NewEvent> {
    vec![
        event("paid_in", 1, json!({"amount": 1})),
        event("deposited", 4, json!({"cents": 5, "currency": "CHF"})),
        event("paid_in", 2, json!({"cents": 20})),
        event("deposited", 3, json!({"cents": 30})),
        event("paid_in", 1, json!({"amount": 4})),
    ]
}

async fn create(store: &dyn EventStore, events: Vec<NewEvent>) {
    store.start_stream(&StreamType::new("account").unwrap(), Some(stream()), events).await.unwrap();
}

async fn start(store: &InMemoryEventStore) -> Result<(Supervisor, StateHandle<Account>), StartError> {
    let (spec, account) = StateManager::<Account>::new(Arc::new(store.clone()), stream()).child("state");
    Ok((Supervisor::builder().child(spec).start().await?, account))
}

async fn deposits(account: &StateHandle<Account>) -> Vec<(u64, String)> {
    let state = account.state().await.unwrap();
    assert_eq!(state.version, state.state.deposits.len() as u64);
    state.state.deposits.iter().map(|deposit| (deposit.cents, deposit.currency.clone())).collect()
}

fn euros(cents: &[u64]) -> Vec<(u64, String)> {
    cents.iter().map(|cents| (*cents, "EUR".to_owned())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_all_forms_is_read_in_the_newest_and_stays_as_it_is() {
    let store = InMemoryEventStore::new();
    create(&store, every_form()).await;
    let before = store.read_stream(&stream(), ReadStream::new()).await.unwrap();
    let (supervisor, account) = start(&store).await.unwrap();
    let mut expected = euros(&[100, 5, 20, 30, 400]);
    expected[1].1 = "CHF".to_owned();
    assert_eq!(deposits(&account).await, expected);
    // An older program appends beside this one: read on, too.
    store.append(&stream(), Expected::Any, vec![event("paid_in", 1, json!({"amount": 7}))]).await.unwrap();
    assert_eq!(account.execute(Deposit(4)).await.unwrap().version, 7);
    expected.extend(euros(&[700, 1]));
    assert_eq!(deposits(&account).await, expected);
    supervisor.shutdown().await.unwrap();
    let after = store.read_stream(&stream(), ReadStream::new()).await.unwrap();
    assert_eq!(after[..5], before);
    assert_eq!(after[6].schema_version, 4);
}

#[tokio::test(start_paused = true)]
async fn after_a_snapshot_older_forms_are_upcast_too() {
    let store = InMemoryEventStore::new();
    create(
        &store,
        vec![event("paid_in", 1, json!({"amount": 1})), event("paid_in", 2, json!({"cents": 20}))],
    )
    .await;
    let (supervisor, _account) = start(&store).await.unwrap();
    supervisor.shutdown().await.unwrap();
    let snapshot = store.load_snapshot(&stream()).await.unwrap().unwrap();
    assert_eq!(snapshot.version, 2);
    let later = vec![event("paid_in", 1, json!({"amount": 3})), event("deposited", 3, json!({"cents": 4}))];
    store.append(&stream(), Expected::Any, later).await.unwrap();
    let (_supervisor, account) = start(&store).await.unwrap();
    assert_eq!(deposits(&account).await, euros(&[100, 20, 300, 4]));
}

#[tokio::test(start_paused = true)]
async fn an_event_that_cannot_be_upcast_fails_the_start_and_is_named() {
    let cases = [
        (event("deposited", 5, json!({})), "deposited of schema version 5: this program knows it up to"),
        (event("deposited", 2, json!({})), "deposited of schema version 2: there is no upcaster"),
        (
            event("paid_in", 1, json!({"amount": "one"})),
            "paid_in of schema version 1: the upcaster to the next",
        ),
    ];
    for (last, text) in cases {
        let store = InMemoryEventStore::new();
        create(&store, [every_form(), vec![last]].concat()).await;
        let Err(StartError::ChildFailed(failure)) = start(&store).await else { panic!("{text}") };
        let source = failure.reason.source().and_then(|source| source.downcast_ref::<ReplayError>());
        let Some(ReplayError::Upcast(error)) = source else { panic!("{source:?}") };
        let all = format!("event 6 of stream counter-1, {text}");
        assert!(error.to_string().starts_with(&all), "{error}");
        assert!(failure.to_string().contains(&all), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_newer_program_ends_a_manager_that_is_up() {
    let store = InMemoryEventStore::new();
    create(&store, every_form()).await;
    let (supervisor, account) = start(&store).await.unwrap();
    let watch = account.watch().await.unwrap();
    store.append(&stream(), Expected::Any, vec![event("deposited", 5, json!({}))]).await.unwrap();
    match account.execute(Deposit(4)).await {
        Err(ExecuteError::Replay(ReplayError::Upcast(UpcastError::Newer { at, newest, .. }))) => {
            assert_eq!((at.version, newest), (6, 4));
        }
        other => panic!("expected Newer, got {other:?}"),
    }
    supervisor.wait().await;
    assert!(!watch.has_changed().unwrap());
    assert_eq!(store.stream_version(&stream()).await.unwrap(), 6);
}

/// Else it would be upcast once more when it is read.
#[tokio::test(start_paused = true)]
async fn an_event_of_another_than_the_newest_form_is_not_stored() {
    let store = InMemoryEventStore::new();
    create(&store, vec![]).await;
    let (_supervisor, account) = start(&store).await.unwrap();
    for wrong in [1, 3, 5] {
        match account.execute(Deposit(wrong)).await {
            Err(ExecuteError::Encode(source)) => {
                let text = source.to_string();
                assert!(text.contains(&format!("deposited of schema version {wrong},")), "{text}");
            }
            other => panic!("expected Encode, got {other:?}"),
        }
    }
    assert_eq!(store.stream_version(&stream()).await.unwrap(), 0);
    assert_eq!(account.execute(Deposit(4)).await.unwrap().version, 1);
}
