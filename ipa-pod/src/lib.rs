//! One supervised pod per task: started once, stopped in order, found by its id.
//!
//! A *pod* is an isolated supervision tree for one task of a larger system. [`PodSupervisor`] starts, stops, restarts, finds and
//! lists pods by [`TaskId`]; a [`PodSpec`] says what a pod consists of; a [`PodRef`] is one incarnation of one.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ipa_pod::{Admission, AdmitError, Permit, PodScope, PodSpec, PodSupervisor, TaskId, async_trait};
//! use ipa_supervisor::ChildSpec;
//!
//! struct Streams; // usually an event store
//! #[async_trait]
//! impl Admission for Streams {
//!     async fn admit(&self, task: &TaskId) -> Result<Permit, AdmitError> {
//!         if task.as_str().starts_with("task-") { Ok(Permit::new()) } else { Err(AdmitError::StreamNotFound) }
//!     }
//! }
//!
//! let pods = PodSupervisor::builder(Streams, |_scope: &PodScope| {
//!     Ok(PodSpec::new().child(ChildSpec::task("worker", |cx| async move { cx.stopped().await; })))
//! })
//! .start()
//! .await?;
//! pods.start_pod("task-1").await?;
//! assert!(pods.start_pod("nonsense").await.is_err());
//! pods.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # What can be relied on
//!
//! - There is never more than one pod per task. The task's key in the [`PodRegistry`] is reserved before anything of its pod starts
//!   and free only after the last of it has ended, the permit to run given back before that. So pod supervisors that have tasks in common
//!   are given one registry ([`PodSupervisorBuilder::registry`]); between processes it is the [`Admission`] that says no.
//! - A stop takes at most the pod's shutdown timeout plus its kill grace, 11 seconds by default; what does not end by then is
//!   named in the error and keeps the key.
//! - A pod that dies is not started again by itself: its [`PodEvent::Ended`] tells whoever decides that.
//!
//! # Ports
//!
//! What this crate needs of a store is the [`Admission`] port: may this task's pod run here, now? It knows no store itself.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod activity;
mod admission;
mod child;
mod error;
mod event;
mod foreign;
mod handle;
mod host;
mod link;
mod pod;
mod registry;
mod scope;
mod shared;
mod spec;
mod stats;
mod supervisor;
mod task;

pub use async_trait::async_trait;
pub use ipa_supervisor::ArcStr;
/// The crates whose types are among those of this one.
pub use {ipa_registry, ipa_supervisor};

pub use self::activity::Busy;
pub use self::admission::{Admission, AdmitError, Permit, Revoker};
pub use self::error::{
    PodNotFound, RestartPodError, ShutdownPodsError, StartPodError, StopPodError, StuckPod,
};
pub use self::event::{PodEvent, PodEvents, PodEventsError};
pub use self::handle::PodSupervisorRef;
pub use self::pod::{PodInfo, PodRef, PodSnapshot, PodStatus};
pub use self::registry::{ChildEntry, ChildRegistry, PodRegistry};
pub use self::scope::{LookupError, PodScope};
pub use self::spec::{PodFactory, PodSpec};
pub use self::stats::PodStats;
pub use self::supervisor::{PodSupervisor, PodSupervisorBuilder};
pub use self::task::{InvalidTaskId, TaskId};
