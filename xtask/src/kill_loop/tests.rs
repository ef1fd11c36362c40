use std::{fs, process::Command};

use super::*;
use crate::testing::TempDir;

/// Stands in for the example. `$RUN` counts its runs in the round, from 0: by the logs that the loop makes before it
/// starts one, so that a run killed early counts too. No process of its own where it may be killed: it would live on.
const FAKE: &str = r#"#!/bin/sh
store=$2
case "$*" in *--check*) CHECK; exit 0;; esac
args="$*"; set -- "${store%.db}".run-*.log; RUN=$(($# - 1))
BODY
echo '{"tasks":3,"completed":3,"steps_run":5,"steps_skipped_as_done":4,"child_restarts":1,"pod_restarts":2}'
"#;

/// A run that adds one line to its store.
const STORES: &str = r#"echo run >> "$store""#;

/// A check that finds nothing wrong: as many events as lines.
const SOUND: &str =
    r#"echo "{\"tasks\":3,\"completed\":3,\"failed\":0,\"events\":$(wc -l < "$store"),\"violations\":[]}""#;

struct Fixture {
    folder: TempDir,
    program: PathBuf,
}

fn fake(body: &str, check: &str) -> Fixture {
    let folder = TempDir::new("fake");
    let program = folder.path().join("fake.sh");
    let text = FAKE.replace("BODY", body).replace("CHECK", check);
    // Written by another process: a file that another test's fork still holds open for writing cannot be executed.
    let write = Command::new("sh")
        .args(["-c", r#"printf %s "$1" > "$0" && chmod +x "$0""#])
        .arg(&program)
        .arg(text)
        .status();
    assert!(write.unwrap().success());
    Fixture { folder, program }
}

impl Fixture {
    /// One round, in which a run is killed after each of the gaps.
    fn round(&self, gaps: &[Duration], patience: Duration) -> Round {
        let options = Options::default();
        let demo = Demo::new(&self.program, &options, self.folder.path());
        demo.round(1, gaps, patience, &mut Random::new(1)).unwrap()
    }

    fn undisturbed(&self) -> Round {
        self.round(&[], PATIENCE_FLOOR)
    }
}

fn assert_wrong(round: &Round, parts: &[&str]) {
    let all = round.violations.join("\n");
    for part in parts {
        assert!(all.contains(part), "`{part}` is not in: {all}");
    }
}

/// How long a run lives that blocks anyway.
const A_WHILE: Duration = Duration::from_millis(100);

#[test]
fn an_undisturbed_run_fills_its_row() {
    let round = fake(STORES, SOUND).undisturbed();
    assert_eq!(round.violations, [""; 0]);
    assert_eq!(
        (round.tasks, round.events, round.steps_run, round.steps_skipped, round.restarts),
        (3, 1, 5, 4, 3)
    );
    assert!(round.kills.is_empty());
}

#[test]
fn a_run_is_killed_and_taken_up_until_it_ends_by_itself() {
    let fake = fake(r#"echo run >> "$store"; [ "$RUN" -lt 2 ] && exec tail -f /dev/null"#, SOUND);
    fs::write(fake.folder.path().join("round-1.db"), "0\n0\n").unwrap();
    let round = fake.round(&[A_WHILE; 2], PATIENCE_FLOOR);
    assert_eq!(round.violations, [""; 0]);
    assert_eq!(round.kills.len(), 2);
    // A run may be killed before it reaches its store, however long it gets.
    assert!(
        (2..=3).contains(&round.kills[0].events) && (2..=4).contains(&round.kills[1].events),
        "{round:?}"
    );
    assert!(round.kills.iter().all(|kill| kill.after_ms >= 100));
    assert!(round.events > round.kills[1].events);
}

#[test]
fn a_run_killed_before_it_made_a_store_is_no_violation() {
    let fake = fake(r#"[ "$RUN" = 0 ] && exec tail -f /dev/null; echo run >> "$store""#, SOUND);
    let round = fake.round(&[A_WHILE], PATIENCE_FLOOR);
    assert_eq!(round.violations, [""; 0]);
    assert_eq!(round.kills.iter().map(|kill| kill.events).collect::<Vec<_>>(), [0]);
    assert_eq!(round.events, 1);
}

#[test]
fn a_run_that_is_quicker_than_its_killer_is_the_last() {
    let round = fake(STORES, SOUND).round(&[PATIENCE_FLOOR, PATIENCE_FLOOR], PATIENCE_FLOOR);
    assert_eq!(round.violations, [""; 0]);
    assert_eq!((round.kills.len(), round.events), (0, 1));
}

#[test]
fn a_run_that_does_not_end_is_a_violation() {
    let round = fake("exec tail -f /dev/null", SOUND).round(&[], A_WHILE);
    assert_wrong(&round, &["did not end by itself", "printed no summary"]);
}

#[test]
fn an_exit_code_or_an_open_task_at_the_end_is_a_violation() {
    let round = fake("echo broken >&2; exit 7", SOUND).undisturbed();
    assert_wrong(&round, &["the last run exited with 7; stderr: broken", "printed no summary"]);
    let round = fake(r#"echo '{"tasks":3,"completed":2}'; exit 0"#, SOUND).undisturbed();
    assert_wrong(&round, &["2 of 3 tasks completed"]);
}

#[test]
fn what_the_check_finds_is_a_violation() {
    let gap =
        r#"echo '{"tasks":3,"completed":3,"events":1,"violations":["walk: version 3 is missing"]}'; exit 1"#;
    let round = fake(STORES, gap).undisturbed();
    assert_eq!(round.violations, ["--check: walk: version 3 is missing"]);
    let silent = r#"echo '{"tasks":3,"completed":3,"events":1,"violations":[]}'; exit 1"#;
    assert_wrong(&fake(STORES, silent).undisturbed(), &["--check exited with 1 and names no violation"]);
    assert_wrong(
        &fake(STORES, "echo no store >&2; exit 2").undisturbed(),
        &["--check exited with 2", "no store"],
    );
    let lost = r#"echo '{"tasks":3,"completed":2,"events":1,"violations":[]}'"#;
    assert_wrong(&fake(STORES, lost).undisturbed(), &["the store has 2 of 3 tasks completed"]);
}

#[test]
fn events_that_are_lost_are_a_violation() {
    let fake = fake(r#"[ "$RUN" = 0 ] && exec tail -f /dev/null; : > "$store""#, SOUND);
    fs::write(fake.folder.path().join("round-1.db"), "0\n0\n").unwrap();
    let round = fake.round(&[A_WHILE], PATIENCE_FLOOR);
    assert_eq!(round.violations, ["events in the store fell from 2 to 0"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_outlives_the_round_is_a_violation() {
    // It ends when it is given a line to read.
    let fake = fake(
        r#"mkfifo "$store.fifo"; (read x < "$store.fifo") > /dev/null 2>&1 & echo run >> "$store""#,
        SOUND,
    );
    let round = fake.undisturbed();
    fs::write(fake.folder.path().join("round-1.db.fifo"), "over\n").unwrap();
    assert_wrong(&round, &["was started in this round and lives on"]);
    assert_eq!(round.violations.len(), 1);
}

#[test]
fn the_loop_measures_then_kills_and_adds_up() {
    let fake = fake(STORES, SOUND);
    let options = Options::default();
    let demo = Demo::new(&fake.program, &options, fake.folder.path());
    let mut lines = Vec::new();
    let report = rounds_of(&demo, 3, 42, |line| lines.push(line.to_string())).unwrap();
    assert!(report.ok, "{lines:#?}");
    assert_eq!((report.rounds.len(), report.seed), (3, 42));
    assert!(lines[0].contains("--seed 42"));
    assert_eq!(lines[2], report::head());
    assert_eq!(lines.len(), 7);
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["rounds"][0]["round"], 1);
}

#[test]
fn a_first_run_that_fails_ends_the_loop() {
    let fake = fake("exit 3", SOUND);
    let options = Options::default();
    let demo = Demo::new(&fake.program, &options, fake.folder.path());
    let error = rounds_of(&demo, 3, 42, |_| {}).unwrap_err();
    assert!(
        error.to_string().contains("the first run, which nobody killed: the last run exited with 3"),
        "{error}"
    );
}

#[test]
fn every_run_gets_the_same_arguments_and_chaos_a_seed() {
    let fake = fake(r#"echo "$args" > "$store.args"; echo run >> "$store""#, SOUND);
    let options = Options {
        chaos: Some("0.1".into()),
        file: Some("my.toml".into()),
        rest: vec!["--parallel".into(), "2".into()],
        ..Options::default()
    };
    let demo = Demo::new(&fake.program, &options, fake.folder.path());
    let round = demo.round(1, &[], PATIENCE_FLOOR, &mut Random::new(1_234_567)).unwrap();
    assert_eq!(round.violations, [""; 0]);
    let args = fs::read_to_string(fake.folder.path().join("round-1.db.args")).unwrap();
    let (_, args) = args.split_once("round-1.db ").unwrap();
    assert_eq!(args.trim_end(), "--file my.toml --chaos 0.1 --parallel 2 --json --seed 6457827717110365317");
}
