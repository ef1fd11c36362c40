//! What an event store promises, tested on both stores, and what only the durable one does.

mod conformance;
mod crash;
mod memory;
mod model;
mod sabotage;
mod sqlite;
