//! Upcasters: events that earlier versions of a program stored, read as this one stores them.
//!
//! Apart from [`Aggregate::decode`](crate::Aggregate::decode), so that it knows one form of each event, however long
//! the history of the forms. The one trick: a chain is looked up, not built. Each step is filed under the form that
//! it starts from, and leads to the next version; so it ends, and an event of the newest form costs one look-up and no
//! parsing.
//!
//! It knows nothing of stores: it turns a value that was read into another, and what is stored stays as it is.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use ipa_supervisor::BoxError;

use crate::{Cause, Json, NewEvent, RecordedEvent, StreamId};

/// The steps from the forms in which events were stored once to the form in which they are stored now.
///
/// An event's form is its [type](RecordedEvent::event_type) and [schema version](RecordedEvent::schema_version). A step
/// leads from one form to the one of the next schema version, of the same type ([`step`](Self::step)) or of another
/// ([`rename`](Self::rename)); an event goes through as many as there are. So each step is written once, when the form
/// changes, and never touched again.
///
/// The newest version of a type is the highest that is spoken of: by a step that starts there or leads there, or by
/// [`newest`](Self::newest). Types that are not spoken of are left as they are, whatever their schema version.
///
/// Given to a [`StateManager`](crate::StateManager) by
/// [`Aggregate::upcasters`](crate::Aggregate::upcasters); to be used alone, see [`upcast`](Self::upcast). Nothing is
/// cached, and what is stored never changes. Cheap to clone.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use ipa_eventstore::{EventStore, InMemoryEventStore, Json, NewEvent, ReadStream, StreamType, Upcasters};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize)]
/// struct PaidInV1 { amount: u64 }
/// #[derive(Serialize, Deserialize)]
/// struct PaidInV2 { cents: u64 }
/// #[derive(Serialize, Deserialize)]
/// struct DepositedV3 { cents: u64, currency: String }
///
/// let upcasters = Upcasters::new()
///     .step("paid_in", 1, |event| {
///         let old: PaidInV1 = event.data()?;
///         Ok(Json::of(&PaidInV2 { cents: 100 * old.amount })?)
///     })
///     .rename("paid_in", 2, "deposited", |event| {
///         let old: PaidInV2 = event.data()?;
///         Ok(Json::of(&DepositedV3 { cents: old.cents, currency: "EUR".into() })?)
///     });
///
/// let store = InMemoryEventStore::new();
/// let old = NewEvent::json("paid_in", &serde_json::json!({"amount": 5}))?; // schema version 1
/// let new = NewEvent::json("deposited", &DepositedV3 { cents: 70, currency: "CHF".into() })?.schema_version(3);
/// let stream = store.start_stream(&StreamType::new("account")?, None, vec![old, new]).await?;
///
/// let mut cents = 0;
/// for recorded in store.read_stream(&stream, ReadStream::new()).await? {
///     let event = upcasters.upcast(recorded).expect("every form is known");
///     assert_eq!((&*event.event_type, event.schema_version), ("deposited", 3));
///     cents += event.data::<DepositedV3>()?.cents;
/// }
/// assert_eq!(cents, 570);
/// # Ok::<(), ipa_eventstore::StoreError>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
#[must_use = "upcasters do nothing until an event is given to them"]
pub struct Upcasters(Arc<HashMap<Arc<str>, Line>>);

/// What is known of one event type.
#[derive(Clone, Default)]
struct Line {
    newest: u32,
    /// By the version they start from.
    steps: HashMap<u32, Step>,
}

#[derive(Clone)]
struct Step {
    event_type: Arc<str>,
    upcast: Arc<Upcast>,
}

type Upcast = dyn Fn(&RecordedEvent) -> Result<Json, BoxError> + Send + Sync;

impl Upcasters {
    /// No steps: every event is left as it is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the step from a schema version of an event type to the next: the data in its next form.
    ///
    /// The step is given the event as it is by then: an earlier step's data, if there was one. It must depend on nothing
    /// but the event, and is called each time that an event of this form is read.
    ///
    /// # Panics
    ///
    /// If there is a step from this form already, or `from` is `u32::MAX`.
    pub fn step(
        self,
        event_type: impl Into<Arc<str>>,
        from: u32,
        upcast: impl Fn(&RecordedEvent) -> Result<Json, BoxError> + Send + Sync + 'static,
    ) -> Self {
        let event_type = event_type.into();
        self.add(event_type.clone(), from, event_type, Arc::new(upcast))
    }

    /// Adds a step, as [`step`](Self::step) does, with which the event's type changes: from schema version `from` of
    /// `event_type` to the next schema version, of `renamed`.
    ///
    /// # Panics
    ///
    /// As [`step`](Self::step).
    pub fn rename(
        self,
        event_type: impl Into<Arc<str>>,
        from: u32,
        renamed: impl Into<Arc<str>>,
        upcast: impl Fn(&RecordedEvent) -> Result<Json, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.add(event_type.into(), from, renamed.into(), Arc::new(upcast))
    }

    /// Says that an event type is known up to this schema version, for one that no step speaks of: events of a newer
    /// one are an error then, instead of a guess.
    pub fn newest(mut self, event_type: impl Into<Arc<str>>, schema_version: u32) -> Self {
        self.line(event_type.into(), schema_version);
        self
    }

    fn add(mut self, event_type: Arc<str>, from: u32, renamed: Arc<str>, upcast: Arc<Upcast>) -> Self {
        let Some(to) = from.checked_add(1) else { panic!("there is no schema version after {from}") };
        self.line(renamed.clone(), to);
        let step = Step { event_type: renamed, upcast };
        let before = self.line(event_type.clone(), from).steps.insert(from, step);
        assert!(before.is_none(), "there are two upcasters from {event_type} of schema version {from}");
        self
    }

    fn line(&mut self, event_type: Arc<str>, known: u32) -> &mut Line {
        let line = Arc::make_mut(&mut self.0).entry(event_type).or_default();
        line.newest = line.newest.max(known);
        line
    }

    /// The event in its newest form: type, schema version and data change, all else stays.
    ///
    /// One that is in its newest form, or whose type is not spoken of, comes back as it is, its data unparsed.
    ///
    /// # Errors
    ///
    /// See [`UpcastError`].
    ///
    /// # Panics
    ///
    /// If a step does.
    pub fn upcast(&self, recorded: RecordedEvent) -> Result<RecordedEvent, UpcastError> {
        let mut event = recorded;
        let mut stored: Option<EventForm> = None;
        while let Some(line) = self.0.get(&event.event_type) {
            let at = || {
                let form = EventForm::of(&event.event_type, event.schema_version);
                let stored = stored.clone().unwrap_or_else(|| form.clone());
                UpcastPlace { stream: event.stream.clone(), version: event.version, stored, form }
            };
            if event.schema_version > line.newest {
                return Err(UpcastError::Newer { at: at(), newest: line.newest });
            }
            let Some(step) = line.steps.get(&event.schema_version) else {
                if event.schema_version < line.newest {
                    return Err(UpcastError::Missing { at: at() });
                }
                break;
            };
            let data = (step.upcast)(&event)
                .map_err(|source| UpcastError::Failed { at: at(), source: Arc::from(source) })?;
            stored.get_or_insert_with(|| EventForm::of(&event.event_type, event.schema_version));
            event.event_type = step.event_type.clone();
            event.schema_version += 1;
            event.data = data;
        }
        Ok(event)
    }

    /// Whether an event that is to be stored has the form in which it will be read.
    pub(super) fn check(&self, event: &NewEvent) -> Result<(), BoxError> {
        let Some(line) = self.0.get(&event.event_type) else { return Ok(()) };
        if event.schema_version == line.newest && !line.steps.contains_key(&line.newest) {
            return Ok(());
        }
        let form = EventForm::of(&event.event_type, event.schema_version);
        Err(format!(
            "encode gave {form}, which is not the newest that the upcasters know: they take it for an old event. \
             Set NewEvent::schema_version"
        )
        .into())
    }
}

impl fmt::Debug for Upcasters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut forms: Vec<_> = self.0.iter().map(|(name, line)| (name, line.newest)).collect();
        forms.sort_unstable();
        f.debug_map().entries(forms).finish()
    }
}

/// The type of an event, and the version of its data's form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EventForm {
    /// The event's type.
    pub event_type: Arc<str>,
    /// Its schema version.
    pub schema_version: u32,
}

impl EventForm {
    fn of(event_type: &Arc<str>, schema_version: u32) -> Self {
        Self { event_type: event_type.clone(), schema_version }
    }
}

impl fmt::Display for EventForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of schema version {}", self.event_type, self.schema_version)
    }
}

/// Which event could not be upcast, and how far it came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpcastPlace {
    /// The event's stream.
    pub stream: StreamId,
    /// The event's version in it.
    pub version: u64,
    /// The form in which it is stored.
    pub stored: EventForm,
    /// The form that it had come to.
    pub form: EventForm,
}

impl fmt::Display for UpcastPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event {} of stream {}, {}", self.version, self.stream, self.stored)?;
        if self.form != self.stored {
            write!(f, ", upcast to {}", self.form)?;
        }
        Ok(())
    }
}

/// Why an event could not be brought into its newest form.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum UpcastError {
    /// A newer version of the program stored it.
    #[error("{at}: this program knows it up to schema version {newest}; run a newer one")]
    Newer {
        /// The event.
        at: UpcastPlace,
        /// The newest schema version of its type that is known.
        newest: u32,
    },
    /// The chain of steps has a gap.
    #[error("{at}: there is no upcaster from there to the next schema version")]
    Missing {
        /// The event.
        at: UpcastPlace,
    },
    /// A step could not make anything of it.
    #[error("{at}: the upcaster to the next schema version failed")]
    Failed {
        /// The event.
        at: UpcastPlace,
        /// What the step said.
        #[source]
        source: Cause,
    },
}

#[cfg(test)]
mod tests;
