//! Snapshots, written beside the commands and never in their way.
//!
//! Each is made and saved on a task of its own, one at a time. The task is aborted when the state manager's value is
//! dropped, and holds the incarnation's lease until it is gone: so nothing of a killed state manager runs on after
//! its end. A save that has reached the store by then may still take place, and is harmless: a snapshot is nothing
//! but what the stored events amount to, the store refuses one that is older than what it has, or ahead of the
//! stream, and one that comes to a later stream of the same name is known by its position.

use std::sync::Arc;

use ipa_supervisor::{Context, Lease};
use tokio::task::JoinSet;

use super::Config;
use super::aggregate::{Aggregate, Versioned};
use super::replay::to_snapshot;
use crate::StoreError;

pub(super) struct Snapshots {
    config: Arc<Config>,
    /// The version of the last that was tried, so that one that fails is not tried again at every command.
    tried: u64,
    /// The version of the last that is known to be saved.
    saved: u64,
    /// One task at most; its result is the version, if that was saved.
    saving: JoinSet<Option<u64>>,
}

impl Snapshots {
    pub(super) fn new(config: Arc<Config>) -> Self {
        Self { config, tried: 0, saved: 0, saving: JoinSet::new() }
    }

    /// The state is made anew, with a snapshot of this version that is there already (0: none). One that is being
    /// saved is of what was before.
    pub(super) fn begin_at(&mut self, version: u64) {
        (self.tried, self.saved) = (version, version);
        self.saving = JoinSet::new();
    }

    /// Begins to save a snapshot, if it is time for one.
    pub(super) fn if_due<A: Aggregate>(&mut self, state: &Arc<Versioned<A>>, cx: &Context) {
        let every = self.config.snapshot_every;
        if A::SNAPSHOT_SCHEMA.is_none() || every == 0 || state.version.saturating_sub(self.tried) < every {
            return;
        }
        while let Some(joined) = self.saving.try_join_next() {
            self.joined(joined);
        }
        if self.saving.is_empty() {
            self.start(state, cx);
        }
    }

    /// Saves a last snapshot, if there is something new in it, and waits for it.
    pub(super) async fn finish<A: Aggregate>(&mut self, state: &Arc<Versioned<A>>, cx: &Context) {
        self.drain().await;
        if A::SNAPSHOT_SCHEMA.is_some() && state.version > self.saved {
            self.start(state, cx);
            self.drain().await;
        }
    }

    async fn drain(&mut self) {
        while let Some(joined) = self.saving.join_next().await {
            self.joined(joined);
        }
    }

    fn start<A: Aggregate>(&mut self, state: &Arc<Versioned<A>>, cx: &Context) {
        self.tried = state.version;
        let save = Save { state: state.clone(), config: self.config.clone(), _lease: cx.lease() };
        self.saving.spawn(async move { save.run().await });
    }

    fn joined(&mut self, joined: Result<Option<u64>, tokio::task::JoinError>) {
        match joined {
            Ok(version) => self.saved = version.unwrap_or(self.saved),
            Err(error) => tracing::warn!(error = &error as &dyn std::error::Error, "no snapshot was saved"),
        }
    }
}

/// A snapshot to be saved. Its fields drop in this order: the lease goes when all else has.
struct Save<A> {
    state: Arc<Versioned<A>>,
    config: Arc<Config>,
    _lease: Lease,
}

impl<A: Aggregate> Save<A> {
    async fn run(&self) -> Option<u64> {
        let Config { store, stream, .. } = &*self.config;
        let version = self.state.version;
        let schema = A::SNAPSHOT_SCHEMA?;
        let snapshot = match to_snapshot(&self.state, schema) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                tracing::warn!(%stream, version, error = &*error, "no snapshot could be made of the state");
                return None;
            }
        };
        match store.save_snapshot(stream, snapshot).await {
            Ok(()) => Some(version),
            // Somebody else's, of a later version, stands there.
            Err(StoreError::SnapshotStale { stored, .. }) => Some(stored),
            Err(error) => {
                tracing::warn!(%stream, version, error = &error as &dyn std::error::Error, "the snapshot was not saved");
                None
            }
        }
    }
}
