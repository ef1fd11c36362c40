//! The state manager: what it promises of commands, crashes, conflicts, failures of the store and snapshots.

mod commands;
mod conflicts;
mod counter;
mod failures;
mod faulty;
mod journal;
mod model;
mod races;
mod recreated;
mod restarts;
mod scripted;
mod snapshots;
mod successor;
mod upcasting;
