//! The locks, wake-ups, tasks and clocks that the handshakes of this crate rest on, by one name each.
//!
//! Apart, so that `cargo xtask interleavings` can put others in their place (`--cfg ipa_interleavings`) and run those handshakes
//! through their interleavings: see `model`. In every other build this is nothing but names.

#[cfg(ipa_interleavings)]
pub(crate) mod model;

#[cfg(ipa_interleavings)]
pub(crate) use self::model::{
    AtomicU8, Mutex, Notify, Semaphore, SetOnce, oneshot, runtime, task, task_local, time,
};

#[cfg(not(ipa_interleavings))]
pub(crate) use std::sync::atomic::AtomicU8;

#[cfg(not(ipa_interleavings))]
pub(crate) use parking_lot::Mutex;
#[cfg(not(ipa_interleavings))]
pub(crate) use tokio::{
    runtime,
    sync::{Notify, Semaphore, SetOnce, oneshot},
    task, task_local, time,
};
