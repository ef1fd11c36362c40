//! A concurrent registry: unique keys, typed values, entries that go when their owner goes.

mod error;
mod registration;
mod registry;
mod shard;
mod subscription;

pub use error::{AlreadyRegistered, RecvError, TryRecvError};
pub use registration::Registration;
pub use registry::Registry;
pub use subscription::{DEFAULT_CAPACITY, Event, Subscription};
