//! Supervision as Erlang/OTP has it, on tokio: children that are started in order, restarted when they crash, stopped in reverse
//! with time to clean up, and gone when a stop says that they are.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use ipa_supervisor::{ChildSpec, Exit, Restart, Supervisor};
//!
//! let supervisor = Supervisor::builder()
//!     .child(ChildSpec::task("listener", |cx| async move { cx.stopped().await; }))
//!     .child(ChildSpec::task("warm-up", |_cx| async { Exit::Normal }).restart(Restart::Transient))
//!     .start()
//!     .await?;
//! supervisor.shutdown().await?;
//! # Ok(()) }
//! ```
//!
//! # The pieces
//!
//! - A [`Child`] is a value with three calls, `init`, `run` and `terminate`, that lives on a task of its own. The child types that
//!   come with the crate are nothing more: an async function ([`ChildSpec::task`]), a mailbox server ([`Server`]), a
//!   blocking closure on a thread of its own ([`ChildSpec::blocking`]), an operating-system process ([`Process`]), a nested
//!   supervisor ([`ChildSpec::supervisor`]).
//! - A [`ChildSpec`] says how to make one, when to restart it, and how long it may take to stop.
//! - A [`Supervisor`] keeps children in order; a [`DynamicSupervisor`] keeps children that come and go.
//! - A [`Lease`] is what an incarnation lives by: it has ended when the last clone is dropped, wherever that is.
//! - Writing a child type of your own is a chapter: [`custom`].
//! - The [`machine`] holds all the rules, and no task, clock or I/O.
//!
//! # What can be relied on
//!
//! - **A supervisor never waits for a child's code.** Starting, stopping and restarting are states of a child. Listings, stops
//!   and starts of other children are answered at once, whatever a child awaits.
//! - **`Ok` means done.** A start returns when the child is up, a stop when it is gone: its task, its closures on other threads,
//!   its processes, its names. A start that failed is an error that names the child and keeps its source.
//! - **A dropped call is not a cancelled operation.** What was asked for goes on to its end; nothing half-started stays.
//! - **No child outlives its supervisor**, however that ends: told to, crashed, dropped, or with its runtime. What cannot be killed
//!   is *stuck*: reported, counted, never replaced while it may still run.
//!
//! # What tokio can promise, and what only a process can
//!
//! A kill of a task is a request: the task is dropped when it next yields. A child that blocks its thread, or computes without an
//! await, cannot be killed at all; the supervisor waits for its kill grace (1 second by default) and then says so
//! ([`ChildState::Stuck`]). Blocking work belongs in [`Context::spawn_blocking`], which holds the incarnation's lease until it is
//! done, and work that must be killable for good belongs in a [`Process`].
//!
//! A child that blocks its thread also holds up whatever the runtime would have run there: on a current-thread runtime, everything;
//! on a multi-threaded one, a task that it has just woken, which may be its supervisor (tokio keeps the last task woken for the
//! same worker). What a child *awaits* holds up nobody.
//!
//! A task that a child spawns by bare `tokio::spawn` is not supervised and does not stop with the child, unless it holds the
//! lease, in which case the child has not ended before it has.
//!
//! Panics are supervised where they unwind. With `panic = "abort"` a panic ends the process (RT-23), and a panic in a `Drop` that
//! runs while another panic unwinds does so always (RT-07); neither can be supervised from within. State behind an
//! `Arc<std::sync::Mutex>` that outlives an incarnation is poisoned by a panic under the lock, and every later incarnation will fail
//! on it (RT-21): let the factory build fresh state.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod address;
mod backoff;
mod blocking;
mod blueprint;
mod child;
mod context;
mod control;
pub mod custom;
mod driver;
mod dynamic;
mod error;
mod function;
mod handle;
mod inbox;
mod incarnation;
mod intensity;
#[cfg(all(test, ipa_interleavings))]
mod interleavings;
mod lease;
mod lineage;
mod log;
pub mod machine;
mod message;
mod millis;
mod nested;
mod policy;
mod ports;
mod process;
mod pulse;
mod reason;
mod scope;
mod seat;
mod server;
mod spec;
mod stop_request;
mod supervisor;
mod sync;
mod table;

pub use arcstr::ArcStr;
pub use async_trait::async_trait;

pub use self::address::{Address, CallError, CastError, Mailbox, Reply, WhenFull};
pub use self::backoff::Backoff;
pub use self::blocking::BlockingContext;
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
pub use self::policy::{
    AutoShutdown, Kind, Policy, Restart, Settings, Shutdown, SignificantRestart, StopMode, Strategy,
};
pub use self::ports::{Directory, Entry, Observer, Published};
pub use self::process::{Output, Process, ProcessEnd, ProcessError, ProcessInfo, ProcessWatch, StopSignal};
pub use self::reason::{BoxError, Cause, Exit, ExitReason, Failure, LastCrash, StartFailure};
pub use self::server::{Flow, Server, ServerContext};
pub use self::spec::{ChildId, ChildSpec, OneShotSpec};
pub use self::supervisor::{Supervisor, SupervisorBuilder};
