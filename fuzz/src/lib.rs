//! Fuzz targets for what reads bytes or text from outside, run by `cargo xtask fuzz`.
//!
//! Each target is a module here with a function `check`, which takes what the fuzzer made up and panics when a promise is
//! broken; the binaries in `fuzz_targets/` only hand it on. So the same function runs under the fuzzer, over the kept inputs in
//! `corpus/` as an ordinary test (`tests/corpus.rs`), and over a single input: `cargo run -p ipa-fuzz --bin log FILE`.
//!
//! Bytes alone hardly ever get past a checksum. So the targets that read binary files take their input for a *script of edits*, which
//! they apply to files that SQLite really wrote (`seeds/`).
//!
//! What is private to where it lives is taken in by its path, and not made public for the sake of a tool: the log's walk from the
//! store's sources, the task file from the example's.

use std::process::ExitCode;

pub mod import;
pub mod input;
pub mod log;
pub mod open;
pub mod plan;
pub mod recovery;

#[path = "../../ipa-eventstore/examples/tasks"]
#[allow(dead_code, reason = "the runner uses more of it")]
mod tasks {
    pub mod digest;
    pub mod order;
    pub mod plan;
}
// Where the sources of the example look for each other.
use tasks::{digest, order};

/// A target: what to call with an input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name: that of its binary and of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics when a promise is broken.
    pub check: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "plan", check: plan::check },
    Target { name: "log", check: log::check },
    Target { name: "recovery", check: recovery::check },
    Target { name: "open", check: open::check },
    Target { name: "import", check: import::check },
];

/// Makes the `main` of a target's binary: the fuzzer's entry point, or, built without a fuzzer, [`replay`].
#[macro_export]
macro_rules! target {
    ($check:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|input: &[u8]| $check(input));

        #[cfg(not(fuzzing))]
        fn main() -> std::process::ExitCode {
            $crate::replay($check)
        }
    };
}

/// Runs the check over the files that the command line names. A broken promise is a panic.
pub fn replay(check: fn(&[u8])) -> ExitCode {
    let files: Vec<_> = std::env::args_os().skip(1).collect();
    if files.is_empty() {
        eprintln!("give files to run as inputs; `cargo xtask fuzz` makes them up");
        return ExitCode::from(2);
    }
    for file in files {
        match std::fs::read(&file) {
            Ok(input) => check(&input),
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::from(2);
            }
        }
        println!("{}: ok", file.display());
    }
    ExitCode::SUCCESS
}
