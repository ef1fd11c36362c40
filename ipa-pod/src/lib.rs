//! One supervised pod per task.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod admission;
mod child;
mod error;
mod event;
mod host;
mod pod;
mod registry;
mod scope;
mod spec;
mod stats;
mod supervisor;
mod task;

pub use async_trait::async_trait;

pub use self::admission::{Admission, AdmitError, Permit, Revoker};
pub use self::error::{PodNotFound, RestartPodError, StartPodError, StopPodError};
pub use self::event::{PodEvent, PodEvents, PodEventsError};
pub use self::pod::{PodInfo, PodRef, PodSnapshot, PodStatus};
pub use self::registry::{ChildEntry, PodRegistry};
pub use self::scope::{LookupError, PodScope};
pub use self::spec::{PodFactory, PodSpec};
pub use self::stats::PodStats;
pub use self::supervisor::{
    PodSupervisor, PodSupervisorBuilder, PodSupervisorRef, ShutdownPodsError, StuckPod,
};
pub use self::task::{InvalidTaskId, TaskId};
