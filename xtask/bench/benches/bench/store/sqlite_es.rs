//! sqlite-es, in a program of its own (`xtask/bench/sqlite-es`), because its SQLite and ours cannot be in one.

use std::process::{Command, Stdio};

use ipa_bench::round::parsed;
use ipa_bench::row::Numbers;

fn measure(what: &str, rows: usize) -> Numbers {
    let program = crate::target().join("sqlite-es/release/bench-sqlite-es");
    if !program.exists() {
        return Err(format!("not built ({})", program.display()));
    }
    let output = Command::new(program).arg(what).stderr(Stdio::inherit()).output().expect("sqlite-es starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = parsed(&text, rows).filter(|_| output.status.success());
    numbers.unwrap_or_else(|| panic!("sqlite-es {what}: {}, printed {text:?}", output.status))
}

pub fn appends() -> Numbers {
    measure("appends", 4)
}

pub fn reads() -> Numbers {
    measure("reads", 4)
}
