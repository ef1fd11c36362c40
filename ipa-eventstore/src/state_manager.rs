//! The event-sourced child: it keeps the state of one stream, and is the one way to change it.
//!
//! - [`aggregate`] is what the user writes; [`handle`] is what callers and readers hold.
//! - [`manager`] is the child; [`replay`] makes its state from the stream; [`snapshots`] shortens that.
//! - [`upcasters`] read events of older forms; they know nothing of the rest.
//!
//! The one trick: the state is a value that is replaced whole, and only by what stored events amount to. So there is
//! nothing to undo after a conflict, a failure or a panic, and what readers see has always happened.
//!
//! It does not know what is in an event, nor which store it has: it needs no more of it than
//! [`EventStore`] promises.

mod aggregate;
mod error;
mod handle;
mod manager;
mod replay;
mod snapshots;
mod upcasters;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use ipa_supervisor::{ChildId, ChildSpec};

pub use aggregate::{Aggregate, Versioned};
pub use error::{ExecuteError, ReplayError, StateGone};
pub use handle::{Executed, StateHandle};
pub use upcasters::{EventForm, UpcastError, UpcastPlace, Upcasters};

use crate::{EventStore, StreamId};
use manager::Manager;

/// A child that keeps the state of a stream: event sourcing as a child type. See [`Aggregate`] for an example.
///
/// # What it does
///
/// - **Start**: it takes the stream's snapshot, if there is one that it understands, and applies the events after it.
///   The stream must exist. An event that cannot be decoded fails the start with an error that names it
///   ([`ReplayError`]).
/// - **A command** is decided on the state; its events are appended with [`Expected::ExactAt`](crate::Expected::ExactAt),
///   then applied, then published, then it is answered. One that has no events is answered without an append, one
///   that is refused leaves all as it was.
/// - **A conflict** (somebody else appended) makes it read on and decide again,
///   [`max_conflicts`](Self::max_conflicts) times.
/// - **An append of unknown fate** is sent again with the same event ids, four times within 760 ms; a store that is
///   unavailable is answered as that, at once.
/// - **A crash** loses nothing: the next incarnation makes the same state from the stream. What was queued is
///   answered with [`Gone`](ExecuteError::Gone), what was under way with [`Lost`](ExecuteError::Lost).
/// - **A stop** lets the command in hand finish ([`Cooperative`](ipa_supervisor::StopMode::Cooperative), unless the
///   spec says otherwise).
/// - **Snapshots**, if the aggregate has them, are saved every [so many events](Self::snapshot_every) on a task of
///   their own, and when the child ends without a crash. One that cannot be saved is logged, and costs nothing but
///   time at the next start. What is saved is the aggregate's state and the position of the last event in it.
///
/// # What is guaranteed
///
/// - **Answered is stored.** `Ok` means that the command's events are in the stream, once, whole and side by side, as
///   durably as the store says, and that the published state contains them. Each error says whether they are
///   ([`ExecuteError`]).
/// - **Decided on what stands before it.** The events of a command that was answered with `Ok` follow directly on the
///   events that its state was made of. A command whose events [have ids of its own](Aggregate::encode) and were stored
///   by an earlier try was decided by that one.
/// - **A state is what a beginning of the stream amounts to.** Nothing is applied before it is stored, no event is left
///   out or applied twice, and what comes from the stream is applied only if it is the next version of the same
///   stream. A missing version within a stream is damage, and an error ([`ReplayError::Gap`]).
///
/// This holds whoever else appends, whatever the store answers, and whenever a manager, its process or its machine ends.
///
/// # Who else may append
///
/// Anybody, at the price of a conflict; no event is lost, or applied twice. Another state manager too: on a clone of
/// the store, or in the process that takes over when this one is gone. But the state manager does not follow its
/// stream: it is meant to be the one that writes it. What others append is seen by the next command that has events;
/// until then commands are decided on, and readers see, the state of before. Whoever must see each event of a stream
/// [subscribes](EventStore::subscribe) to it.
///
/// # A stream that is deleted
///
/// Stop the state manager first, if you can. Deleted under it, the stream is
/// [not found](crate::StoreError::StreamNotFound) by the next command that has events, and the state stays. If one of
/// its name is created, the next such command notices, however many events that one has: the append says at which
/// position the last event of its state stands ([`Expected::ExactAt`](crate::Expected::ExactAt)), and positions are never
/// used twice. That is a conflict like any other: the state is made from the new stream, published, and the command
/// decided on it.
///
/// # Events of older forms
///
/// [`Aggregate::upcasters`] brings them into the form that [`Aggregate::decode`] knows, each time they are read; what
/// is stored stays as it is. An event that a newer program stored is an error, and so is one for which a step is
/// missing. Events of the newest form cost one look-up.
///
/// # What a reader may rely on
///
/// [`StateHandle::state`] and [`StateHandle::watch`] never wait for commands. Each state that they give is what a
/// beginning of the stream amounts to, with the [version and position](Versioned) of its last event. It never goes
/// back, not even across restarts: position and version of the next are higher, or the same after a restart, and two
/// states of one position are the same. Only if the stream was created again the version may be lower (the position is
/// not, if there is an event). A slow reader skips states. Whoever has been answered with `Ok` finds a state that contains
/// the command.
#[must_use = "a state manager does nothing until a supervisor is given its child spec"]
pub struct StateManager<A> {
    config: Config,
    aggregate: PhantomData<fn() -> A>,
}

struct Config {
    store: Arc<dyn EventStore>,
    stream: StreamId,
    upcasters: Upcasters,
    snapshot_every: u64,
    max_conflicts: u32,
}

impl<A: Aggregate> StateManager<A> {
    /// A state manager for this stream.
    pub fn new(store: Arc<dyn EventStore>, stream: StreamId) -> Self {
        let upcasters = A::upcasters();
        let config = Config { store, stream, upcasters, snapshot_every: 100, max_conflicts: 8 };
        Self { config, aggregate: PhantomData }
    }

    /// After how many events a snapshot is saved, if the aggregate [has them](Aggregate::SNAPSHOT_SCHEMA). Default:
    /// 100. 0: only when the child ends.
    pub fn snapshot_every(mut self, events: u64) -> Self {
        self.config.snapshot_every = events;
        self
    }

    /// How often a command that met a conflict is decided again before it is answered with
    /// [`ExecuteError::Conflict`]. Default: 8.
    pub fn max_conflicts(mut self, conflicts: u32) -> Self {
        self.config.max_conflicts = conflicts;
        self
    }

    /// The state manager as a child, and the way to it.
    ///
    /// The child publishes a clone of the handle in its supervisor's directory.
    pub fn child(self, id: impl Into<ChildId>) -> (ChildSpec, StateHandle<A>) {
        let handle = StateHandle::new();
        let route = handle.clone();
        let config = Arc::new(self.config);
        let spec = ChildSpec::new(id, move || Manager::new(config.clone(), route.clone()));
        (spec, handle)
    }
}

impl<A> fmt::Debug for StateManager<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateManager")
            .field("stream", &self.config.stream)
            .field("snapshot_every", &self.config.snapshot_every)
            .field("max_conflicts", &self.config.max_conflicts)
            .finish_non_exhaustive()
    }
}
