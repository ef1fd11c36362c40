//! Where results go: `target/bench`, a JSON file, BENCHMARKS.md.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ipa_bench::report::Result as RowResult;
use ipa_bench::{machine, page, plot};

/// What is named with its version on the page.
const PACKAGES: &[&str] = &[
    "tokio",
    "rusqlite",
    "ractor",
    "ractor-supervisor",
    "kameo",
    "task-supervisor",
    "actix",
    "cqrs-es",
    "sqlite-es",
];

/// Table and plots, and the JSON if it is wanted.
pub fn write(out: &Path, json: Option<&Path>, results: &[RowResult]) -> Result<(), String> {
    let table: String = results.iter().map(|result| result.markdown() + "\n").collect();
    put(&out.join("results.md"), &table)?;
    let mut groups: BTreeMap<&str, Vec<RowResult>> = BTreeMap::new();
    for result in results {
        groups.entry(result.group).or_default().push(result.clone());
    }
    for (group, results) in groups {
        put(&out.join(format!("{group}.svg")), &plot::svg(group, &results))?;
    }
    match json {
        Some(file) => put(file, &serde_json::to_string_pretty(results).map_err(|error| error.to_string())?),
        None => Ok(()),
    }
}

/// The part of BENCHMARKS.md that shows the last run.
pub fn page(results: &[RowResult], took: Duration) -> Result<(), String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.join("../..");
    let locks = [root.join("Cargo.lock"), here.join("sqlite-es/Cargo.lock")];
    let locks = locks.each_ref().map(|lock| lock.as_path());
    let rounds = results.iter().flat_map(|result| &result.contenders).map(|line| line.rounds.len());
    let about = [
        format!("machine: {}", machine::machine()),
        format!("versions: {}", machine::versions(PACKAGES, &locks).join(", ")),
        format!("up to {} rounds, {:.0} s in all", rounds.max().unwrap_or_default(), took.as_secs_f64()),
    ];
    let file = root.join("BENCHMARKS.md");
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let new = page::between(&text, &page::page(&about, results))
        .ok_or_else(|| format!("{}: it has no markers to write between ({})", file.display(), page::BEGIN))?;
    put(&file, &new)
}

fn put(file: &Path, text: &str) -> Result<(), String> {
    std::fs::write(file, text).map_err(|error| format!("{}: {error}", file.display()))
}
