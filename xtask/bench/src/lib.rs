//! How the stack is measured: rows, rounds, ratios, marks, tables and plots. What is measured is in `benches/bench/`.
//!
//! Absolute times differ between machines, and between two batches on one machine, by more than what is to be seen. So every row runs
//! all its contenders in turns, in several rounds, each measurement in a process of its own; what counts is the median of the
//! rounds' ratios.
//!
//! - [`row`] says what is compared and which mark is to be met; [`round`] runs it; [`numbers`] makes ratios of it.
//! - [`report`] writes them for people and for machines, [`page`] a whole run with its [`machine`]; [`plot`] draws them.

pub mod machine;
pub mod numbers;
pub mod page;
pub mod plot;
pub mod report;
pub mod round;
pub mod row;
