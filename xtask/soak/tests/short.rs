//! The short form: 200 pods for 12 seconds, a few kills, every check.

use std::process::Command;

use serde_json::Value;

/// Each of these has to have been made, or the soak has looked away.
const CHECKS: [&str; 16] = [
    "Ok means done",
    "children live within their pod",
    "count = list = registry = who lives",
    "every batch is whole",
    "every event is published once, in order",
    "every task of the runtime has an owner",
    "lifecycle events are in order",
    "listed children = registered children",
    "no acknowledged event is lost",
    "no key without an owner",
    "no owner without a key",
    "nothing is left at the end",
    "one incarnation per child",
    "one pod per task",
    "state is what a replay gives",
    "versions are dense",
];

#[test]
fn every_check_holds_for_a_short_time() {
    let out = tempfile::tempdir().unwrap();
    let soak = Command::new(env!("CARGO_BIN_EXE_pod-soak"))
        .args(["--minutes", "0.2", "--pods", "200", "--seed", "7", "--json", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&soak.stdout), String::from_utf8_lossy(&soak.stderr));
    assert!(soak.status.success(), "{}: {stderr}\n{stdout}", soak.status);
    assert_eq!(stderr, "", "with --json only what is wrong is told there");

    let summary: Value = serde_json::from_str(&stdout).unwrap();
    let count = |table: &str, name: &str| summary[table][name].as_u64().unwrap_or(0);
    for check in CHECKS {
        assert!(count("checks", check) > 0, "`{check}` was never made: {stdout}");
    }
    assert!(!summary["kills"].as_array().unwrap().is_empty(), "{stdout}");
    assert!(summary["acknowledged"].as_u64().unwrap() > 100, "{stdout}");
    for event in
        ["crashes by error", "crashes by panic", "pods stuck", "store indeterminate", "streams deleted"]
    {
        assert!(count("counts", event) > 0, "`{event}` never happened: {stdout}");
    }
    assert!(std::fs::read_to_string(out.path().join("soak.svg")).unwrap().starts_with("<svg"));
    let mut left: Vec<_> = out.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["soak.json", "soak.svg"], "the store is gone when every check held");
}
