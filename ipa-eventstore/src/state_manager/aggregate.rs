//! What the user writes: the state of a stream, and the rules for changing it.

use ipa_supervisor::BoxError;

use crate::{Json, NewEvent, Position, RecordedEvent, StreamId, Upcasters};

/// The state of a stream and the rules for changing it; a [`StateManager`](crate::StateManager) keeps it.
///
/// A command is *decided* into events, the events are stored, and only then *applied*. So all that a state has seen
/// is in the stream, and applying the stream's events to the [`initial`](Self::initial) state gives the same state
/// again, on any machine, at any time. For that, `decide` and `apply` must depend on nothing but their arguments:
/// what a decision takes from elsewhere (a clock, a random number, an answer from the network) comes in with the
/// command and goes into the event.
///
/// `Clone` is called once for every command that has events: the new state is made beside the old one, which readers
/// may be holding. Where a state is large, keep its large parts in `Arc`s.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
/// use ipa_eventstore::{
///     Aggregate, EventStore, ExecuteError, InMemoryEventStore, Json, NewEvent, RecordedEvent, StateManager, StreamId,
///     StreamType,
/// };
/// use ipa_supervisor::{BoxError, Supervisor};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Clone, Serialize, Deserialize)]
/// struct Account { balance: u64 }
///
/// enum Command { Deposit(u64), Withdraw(u64) }
///
/// #[derive(Serialize, Deserialize)]
/// enum Event { Deposited(u64), Withdrawn(u64) }
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the account has {0}")]
/// struct TooLittle(u64);
///
/// impl Aggregate for Account {
///     type Command = Command;
///     type Event = Event;
///     type Rejection = TooLittle;
///
///     fn initial(_stream: &StreamId) -> Self { Self { balance: 0 } }
///     fn decide(&self, command: &Command) -> Result<Vec<Event>, TooLittle> {
///         match *command {
///             Command::Deposit(amount) => Ok(vec![Event::Deposited(amount)]),
///             Command::Withdraw(amount) if amount > self.balance => Err(TooLittle(self.balance)),
///             Command::Withdraw(amount) => Ok(vec![Event::Withdrawn(amount)]),
///         }
///     }
///     fn apply(&mut self, event: &Event) {
///         match event {
///             Event::Deposited(amount) => self.balance += amount,
///             Event::Withdrawn(amount) => self.balance -= amount,
///         }
///     }
///     fn encode(event: &Event) -> Result<NewEvent, BoxError> {
///         let name = match event { Event::Deposited(_) => "deposited", Event::Withdrawn(_) => "withdrawn" };
///         Ok(NewEvent::json(name, event)?)
///     }
///     fn decode(recorded: &RecordedEvent) -> Result<Event, BoxError> { Ok(recorded.data()?) }
///
///     // Snapshots are optional; raise the number when the form of the state changes.
///     const SNAPSHOT_SCHEMA: Option<u32> = Some(1);
///     fn to_snapshot(&self) -> Result<Json, BoxError> { Ok(Json::of(self)?) }
///     fn from_snapshot(_stream: &StreamId, state: &Json) -> Result<Self, BoxError> { Ok(state.decode()?) }
/// }
///
/// let store: Arc<dyn EventStore> = Arc::new(InMemoryEventStore::new());
/// let stream = StreamId::new("account-1")?;
/// store.start_stream(&StreamType::new("account")?, Some(stream.clone()), vec![]).await?;
///
/// let (spec, account) = StateManager::<Account>::new(store.clone(), stream.clone()).child("state");
/// let supervisor = Supervisor::builder().child(spec).start().await?;
/// assert_eq!(account.execute(Command::Deposit(10)).await?.version, 1);
/// let refused = account.execute(Command::Withdraw(11)).await;
/// assert!(matches!(refused, Err(ExecuteError::Rejected(TooLittle(10)))));
/// supervisor.shutdown().await?;
///
/// // Whoever manages the stream next begins where the last one was.
/// let (spec, account) = StateManager::<Account>::new(store, stream).child("state");
/// let supervisor = Supervisor::builder().child(spec).start().await?;
/// assert_eq!(account.state().await?.state.balance, 10);
/// supervisor.shutdown().await?;
/// # Ok(()) }
/// ```
///
/// # Panics
///
/// A panic in `decide` or `apply` ends that incarnation of the state manager, and the state of before stands. One in
/// `apply` while the events are replayed fails the start.
pub trait Aggregate: Clone + Send + Sync + 'static {
    /// What is asked of it.
    type Command: Send + 'static;

    /// What happened to it.
    type Event: Send + Sync + 'static;

    /// Why it refuses a command.
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// The form of the snapshots, as a number; `None`, the default, is no snapshots. A stored snapshot with another
    /// number is ignored, so raise it when the state's form changes, or what `apply` makes of events.
    const SNAPSHOT_SCHEMA: Option<u32> = None;

    /// The state of a stream without events.
    fn initial(stream: &StreamId) -> Self;

    /// Which events the command amounts to in this state; none, if there is nothing to do.
    ///
    /// Pure; it is called again, on a newer state, if somebody else appended to the stream meanwhile.
    ///
    /// # Errors
    ///
    /// The refusal; nothing is stored then.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Takes the event in. It has happened: there is no refusing it.
    fn apply(&mut self, event: &Self::Event);

    /// The event as it is stored. [`decode`](Self::decode) must make the same event of it.
    ///
    /// An event's own [id](NewEvent::id), derived from the command's, makes it safe to execute the command once more:
    /// its events are then found to be stored already, if [`decide`](Self::decide) answers the same on the state that contains them. One whose
    /// decision depends on what it has done keeps the commands' ids in its state. Leave it unset otherwise.
    ///
    /// # Errors
    ///
    /// Why it cannot be stored; the command is answered with it, and nothing of it is stored.
    fn encode(event: &Self::Event) -> Result<NewEvent, BoxError>;

    /// The event that was stored; also one that an earlier version of the program stored, as far as the
    /// [`upcasters`](Self::upcasters) have not brought it into its newest form.
    ///
    /// # Errors
    ///
    /// Why not. The state manager does not go on without it: its start fails.
    fn decode(recorded: &RecordedEvent) -> Result<Self::Event, BoxError>;

    /// How events that an earlier version of the program stored are brought into the form that
    /// [`decode`](Self::decode) knows. The default is none: `decode` is given each event as it is stored.
    ///
    /// Of the types that the upcasters speak of, [`encode`](Self::encode) must give the newest form:
    /// [set its schema version](NewEvent::schema_version). A command whose events are of another is answered with
    /// [`ExecuteError::Encode`](crate::ExecuteError::Encode), so that nothing is stored that would be read as what it is
    /// not.
    ///
    /// Called once, by [`StateManager::new`](crate::StateManager::new).
    fn upcasters() -> Upcasters {
        Upcasters::new()
    }

    /// The state as a snapshot. Called with [`SNAPSHOT_SCHEMA`](Self::SNAPSHOT_SCHEMA) set only, on a task of its
    /// own.
    ///
    /// # Errors
    ///
    /// Why not; it is logged.
    fn to_snapshot(&self) -> Result<Json, BoxError> {
        Err("SNAPSHOT_SCHEMA is set, and to_snapshot is not written".into())
    }

    /// The state that a snapshot of this [`SNAPSHOT_SCHEMA`](Self::SNAPSHOT_SCHEMA) holds.
    ///
    /// # Errors
    ///
    /// Why not; it is logged, and the state made from all events instead.
    fn from_snapshot(stream: &StreamId, state: &Json) -> Result<Self, BoxError> {
        let _ = (stream, state);
        Err("SNAPSHOT_SCHEMA is set, and from_snapshot is not written".into())
    }
}

/// A state, and which event is the last in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned<A> {
    /// The version of the last event that the state contains; 0 if it contains none.
    pub version: u64,
    /// The position of that event; `None` if the state contains none. It tells the stream from a later one of its
    /// name, which the version does not.
    pub position: Option<Position>,
    /// The state.
    pub state: A,
}

impl<A: Aggregate> Versioned<A> {
    pub(super) fn initial(stream: &StreamId) -> Self {
        Self { version: 0, position: None, state: A::initial(stream) }
    }

    pub(super) fn at(version: u64, position: Position, state: A) -> Self {
        Self { version, position: Some(position), state }
    }

    /// Takes in the event of the next version, which is stored there.
    pub(super) fn apply(&mut self, event: &A::Event, position: Position) {
        self.state.apply(event);
        self.version += 1;
        self.position = Some(position);
    }

    /// Whether this is the last event in the state.
    pub(super) fn ends_with(&self, event: &RecordedEvent) -> bool {
        event.version == self.version && Some(event.position) == self.position
    }
}
