//! `ipa-events`, run as an operator would run it.

mod backup;
mod check;
mod export;
mod failures;
mod import;
mod reading;
mod tail;
mod tool;
