//! Breaks the event store and shows what it promises.
//!
//! Three ways to break it, each with a judge that compares what was acknowledged with what is found:
//!
//! - [`fault`]: the n-th write, sync, truncate, open, rename or unlink fails, for every n until the work passes;
//! - [`power`]: the power goes, and what was not synced is lost, torn and reordered;
//! - [`kill`]: the process is killed at any moment.
//!
//! Files are broken by a small C library that is preloaded into a process of its own (`shim`, steered by `door`), so
//! there is no unsafe code here either. [`soak`] does all three for as long as one likes; short parts are ordinary tests.

pub mod busy;
pub mod count;
mod door;
mod examine;
pub mod fault;
mod folder;
pub mod full;
mod history;
pub mod kill;
pub mod power;
mod process;
mod shim;
pub mod soak;
pub mod trouble;
mod work;
