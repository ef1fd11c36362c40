//! Supervision as Erlang/OTP has it, on tokio.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod backoff;
mod blueprint;
mod child;
mod context;
mod driver;
mod dynamic;
mod error;
mod function;
mod handle;
mod inbox;
mod incarnation;
mod intensity;
mod lease;
mod lineage;
mod log;
pub mod machine;
mod message;
mod millis;
mod nested;
mod ports;
mod process;
mod reason;
mod server;
mod spec;
mod supervisor;

pub use async_trait::async_trait;

pub use self::backoff::Backoff;
pub use self::child::{Child, End, Init, IntoExit};
pub use self::context::Context;
pub use self::dynamic::{DynamicSupervisor, DynamicSupervisorBuilder};
pub use self::error::{
    Closed, DeleteChildError, RestartChildError, ShutdownError, SpecError, StartChildError, StartError,
    StuckChild, TerminateChildError,
};
pub use self::handle::{DynamicRef, Started, SupervisorRef};
pub use self::intensity::RestartIntensity;
pub use self::lease::{Lease, WeakLease};
pub use self::machine::{ChildCounts, ChildInfo, ChildRef, ChildState, Incarnation, Note};
pub use self::nested::NestedSupervisor;
pub use self::ports::{Directory, Entry, Observer, Published};
pub use self::process::{Output, Process, ProcessEnd, ProcessError, ProcessInfo, ProcessWatch, StopSignal};
pub use self::reason::{BoxError, Cause, Exit, ExitReason, StartFailure};
pub use self::server::{
    Address, CallError, CastError, Flow, Mailbox, Reply, Server, ServerContext, WhenFull,
};
pub use self::spec::{
    AutoShutdown, ChildId, ChildSpec, Kind, OneShotSpec, Policy, Restart, Settings, Shutdown,
    SignificantRestart, StopMode, Strategy,
};
pub use self::supervisor::{Supervisor, SupervisorBuilder};
