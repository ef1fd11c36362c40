//! The child: one incarnation of a state manager.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ipa_supervisor::{BoxError, Child, Context, Exit, ExitReason, Init, Settings, StopMode};

use super::Config;
use super::aggregate::{Aggregate, Versioned};
use super::error::{ExecuteError, ReplayError};
use super::handle::{Answer, Executed, Open, StateHandle};
use super::replay::Replay;
use super::snapshots::Snapshots;
use crate::{Appended, Expected, NewEvent, StoreError};

pub(super) struct Manager<A: Aggregate> {
    config: Arc<Config>,
    handle: StateHandle<A>,
    open: Option<Open<A>>,
    /// What is published. It is replaced whole, and only by what the stored events amount to.
    current: Arc<Versioned<A>>,
    /// Whether the stream may have events of ours that `current` has not.
    behind: bool,
    snapshots: Snapshots,
}

/// How long to wait before an append of unknown fate is sent again; after the last, it is given up.
const RETRIES: [Duration; 4] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(500),
];

/// What became of an append, if the store said.
enum Outcome {
    Stored(Appended),
    Conflict,
}

impl<A: Aggregate> Manager<A> {
    pub(super) fn new(config: Arc<Config>, handle: StateHandle<A>) -> Self {
        let current = Arc::new(Versioned::initial(&config.stream));
        let snapshots = Snapshots::new(config.clone());
        Self { config, handle, open: None, current, behind: false, snapshots }
    }

    async fn execute(&mut self, command: A::Command) -> Answer<A> {
        if self.behind {
            self.catch_up().await?;
        }
        let mut attempts = 0;
        loop {
            let current = self.current.clone();
            let events = current.state.decide(&command).map_err(ExecuteError::Rejected)?;
            if events.is_empty() {
                return Ok(Executed { version: current.version, events: 0 });
            }
            let records = self.encode(&events)?;
            attempts += 1;
            let outcome = self.append(&current, &records).await;
            self.behind = matches!(outcome, Err(ExecuteError::Indeterminate(_)));
            match outcome? {
                Outcome::Stored(appended) => {
                    self.take_in(&current, &events, appended).await?;
                    return Ok(Executed { version: appended.version, events: events.len() });
                }
                Outcome::Conflict => {
                    self.catch_up().await?;
                    if attempts > u64::from(self.config.max_conflicts) {
                        let stream = self.config.stream.clone();
                        return Err(ExecuteError::Conflict { stream, attempts });
                    }
                }
            }
        }
    }

    fn encode(&self, events: &[A::Event]) -> Result<Vec<NewEvent>, ExecuteError<A::Rejection>> {
        let encode = |event| {
            let record = A::encode(event)?;
            self.config.upcasters.check(&record)?;
            Ok(record)
        };
        events.iter().map(encode).collect::<Result<_, BoxError>>().map_err(ExecuteError::Encode)
    }

    /// Appends the events after a version. While their fate is unknown, sends them again, with the same ids.
    async fn append(
        &self,
        current: &Versioned<A>,
        events: &[NewEvent],
    ) -> Result<Outcome, ExecuteError<A::Rejection>> {
        let Config { store, stream, .. } = &*self.config;
        // The position too, because a stream that was created again may have as many events.
        let expected = match current.position {
            Some(position) => Expected::ExactAt { version: current.version, position },
            None => Expected::Exact(current.version),
        };
        let mut retries = RETRIES.iter();
        let mut unknown = false;
        loop {
            let error = match store.append(stream, expected.clone(), events.to_vec()).await {
                Ok(appended) => return Ok(Outcome::Stored(appended)),
                // Ids are looked at before the version, so an earlier try is not stored; nor will it be, because its
                // version is taken.
                Err(StoreError::Conflict { .. }) => return Ok(Outcome::Conflict),
                Err(error) => error,
            };
            unknown |= matches!(error, StoreError::Indeterminate(_));
            if !unknown {
                return Err(ExecuteError::Store(error));
            }
            // Whatever this try was answered, an earlier one may be stored.
            match retries.next() {
                Some(pause) if error.is_retryable() => tokio::time::sleep(*pause).await,
                _ => return Err(ExecuteError::Indeterminate(error)),
            }
        }
    }

    /// Applies and publishes what was stored.
    async fn take_in(
        &mut self,
        before: &Versioned<A>,
        events: &[A::Event],
        appended: Appended,
    ) -> Result<(), ExecuteError<A::Rejection>> {
        // Until it is taken in.
        self.behind = true;
        if appended.version == before.version + events.len() as u64
            && !appended.duplicate
            && let Some(position) = appended.position
        {
            let mut state = before.clone();
            // Nobody sees the positions of those before the last.
            events.iter().for_each(|event| state.apply(event, position));
            self.behind = false;
            self.publish(state);
            return Ok(());
        }
        // Stored already, by an earlier try or for an earlier command of the same ids, perhaps with other words, and
        // perhaps long in the state: only the store knows.
        self.catch_up().await.map_err(|error| match error {
            ExecuteError::Store(error) => ExecuteError::Indeterminate(error),
            error => error,
        })
    }

    /// Takes in what others have appended; everything, if the stream is not the one that was known.
    async fn catch_up(&mut self) -> Result<(), ExecuteError<A::Rejection>> {
        let state = match self.read_on().await {
            Ok(read) => read,
            Err(ReplayError::Store(error)) => return Err(ExecuteError::Store(error)),
            Err(error) => return Err(ExecuteError::Replay(error)),
        };
        self.behind = false;
        self.publish(state);
        Ok(())
    }

    async fn read_on(&mut self) -> Result<Versioned<A>, ReplayError> {
        if let Some(state) = self.replay().read_on(Versioned::clone(&self.current)).await? {
            return Ok(state);
        }
        tracing::warn!(
            stream = %self.config.stream, version = self.current.version,
            "the stream was deleted and created again under its state manager; the state is made anew"
        );
        let (state, begun) = self.replay().load().await?;
        self.snapshots.begin_at(begun);
        Ok(state)
    }

    fn replay(&self) -> Replay<'_> {
        let Config { store, stream, upcasters, .. } = &*self.config;
        Replay { store: &**store, stream, upcasters }
    }

    fn publish(&mut self, state: Versioned<A>) {
        if (state.version, state.position) != (self.current.version, self.current.position) {
            self.current = Arc::new(state);
            self.handle.publish(self.current.clone());
        }
    }
}

#[async_trait]
impl<A: Aggregate> Child for Manager<A> {
    async fn init(&mut self, cx: &mut Context) -> Result<Init, BoxError> {
        let (state, begun) = self.replay().load().await?;
        self.snapshots.begin_at(begun);
        self.current = Arc::new(state);
        // Open before it is published, so that whoever is woken by the state can execute.
        self.open = Some(self.handle.open());
        self.handle.publish(self.current.clone());
        cx.publish(self.handle.clone());
        Ok(Init::Ready)
    }

    async fn run(&mut self, cx: &mut Context) -> Result<Exit, BoxError> {
        // Owned by this call, so that the mailbox is closed when it is over, returned or dropped.
        let Some(mut open) = self.open.take() else {
            return Err("a state manager's run was called before its init".into());
        };
        loop {
            self.snapshots.if_due(&self.current, cx);
            let ask = tokio::select! {
                biased;
                reason = cx.stopped() => return Ok(stopped(reason)),
                Some(ask) = open.next() => ask,
            };
            let answer = self.execute(ask.command).await;
            let unreadable = match &answer {
                Err(ExecuteError::Replay(error)) => Some(error.clone()),
                _ => None,
            };
            // A caller that does not wait any more does not mind.
            let _ = ask.reply.send(answer);
            if let Some(error) = unreadable {
                return Err(error.into());
            }
        }
    }

    async fn terminate(&mut self, cx: &mut Context, reason: &ExitReason) {
        self.open = None;
        if !reason.is_abnormal() {
            self.snapshots.finish(&self.current, cx).await;
        }
    }

    fn defaults() -> Settings {
        Settings { stop_mode: Some(StopMode::Cooperative), ..Settings::default() }
    }
}

fn stopped(reason: ExitReason) -> Exit {
    match reason {
        ExitReason::Shutdown(cause) => Exit::Shutdown(cause),
        _ => Exit::Normal,
    }
}
