//! Elixir, from the script `elixir/bench.exs`, when it is on the machine.

use std::path::Path;
use std::process::{Command, Stdio};

use ipa_bench::round::parsed;
use ipa_bench::row::Numbers;

/// What the script measures under this name, so many numbers.
fn measure(name: &str, rows: usize) -> Numbers {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("elixir/bench.exs");
    let output = Command::new("elixir")
        // The default is one atom table and a quarter of a million processes.
        .args(["--erl", "+P 2000000 +S 2:2"])
        .arg(script)
        .arg(name)
        .stderr(Stdio::inherit())
        .output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err("not on this machine (`elixir` is not in the path)".to_owned());
        }
        output => output.expect("elixir starts"),
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = parsed(&text, rows).filter(|_| output.status.success());
    numbers.unwrap_or_else(|| panic!("elixir {name}: {}, printed {text:?}", output.status))
}

pub fn pods() -> Numbers {
    measure("pods", 7)
}

pub fn children() -> Numbers {
    measure("children", 5)
}

pub fn restarts() -> Numbers {
    measure("restarts", 7)
}

pub fn names_100() -> Numbers {
    measure("names-100", 2)
}

pub fn names_100k() -> Numbers {
    measure("names-100k", 6)
}
