//! Whole runs, with real processes: calm, with chaos, and with steps that fail.

use std::path::Path;

use super::*;
use crate::check;
use crate::setup;

/// Three tasks whose steps are quick, side by side where they can be; one fails twice at first.
const TASKS: &str = r#"
[[task]]
id = "fan"
title = "Out and in"
[[task.step]]
id = "first"
command = "echo $ATTEMPT >> $OUT/log"
[[task.step]]
id = "left"
after = ["first"]
command = "pwd > $OUT/left"
[[task.step]]
id = "right"
after = ["first"]
command = "test $(pwd) = $WORKSPACE"
[[task.step]]
id = "last"
after = ["left", "right"]
command = "test -f $OUT/left && test $TASK_ID.$STEP_ID.$MORE = fan.last.more"
env = { MORE = "more" }

[[task]]
id = "flaky"
title = "Fails twice"
[[task.step]]
id = "try"
retries = 2
command = "test -f $OUT/2 && exit 0; test -f $OUT/1 && { : > $OUT/2; exit 1; }; : > $OUT/1; exit 1"

[[task]]
id = "slow"
title = "Hangs once"
[[task.step]]
id = "hang"
retries = 1
timeout = "100ms"
command = "test -f $OUT/1 && exit 0; : > $OUT/1; sleep 1000"
"#;

struct Run {
    rows: Vec<TaskRow>,
    health: check::Health,
    folder: tempfile::TempDir,
}

/// A run of these tasks on a store of its own.
async fn run_with(text: &str, chaos: Chaos) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::parse(Path::new("t.toml"), text).unwrap();
    let db = folder.path().join("t.db");
    let args = Args::read(["tasks".as_ref(), "--db".as_ref(), db.as_os_str()]).unwrap();
    let ready = setup::prepare(&args, &plan).await.unwrap();
    let progress = Progress::lines(&plan, Box::new(std::io::sink()));
    let mut never = Interrupt::never();
    let rows = run(&plan, ready, &args, chaos, &progress, &mut never).await.unwrap();
    let store = ipa_eventstore::SqliteEventStore::open_read_only(&db).await.unwrap();
    let health = check::check(&store, &plan).await.unwrap();
    assert_eq!(std::fs::read_dir(args.scratch_dir()).unwrap().count(), 0, "every workspace is gone");
    Run { rows, health, folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calm_run() {
    let run = run_with(TASKS, Chaos::new(0.0, 0)).await;
    let counts =
        |row: &TaskRow| (row.state, row.steps_run, row.retries, row.child_restarts, row.pod_restarts);
    let all: Vec<_> = run.rows.iter().map(counts).collect();
    let completed = TaskState::Completed;
    assert_eq!(all, [(completed, 4, 0, 0, 0), (completed, 1, 2, 0, 0), (completed, 1, 1, 0, 0)]);
    assert_eq!(run.health.violations, [""; 0]);
    assert_eq!(std::fs::read_to_string(run.folder.path().join("t.db.out/fan/log")).unwrap(), "1\n");
    let progress = std::fs::read_to_string(run.folder.path().join("t.db.out/.progress/fan.jsonl")).unwrap();
    assert!(progress.lines().last().unwrap().contains(r#""state":"completed""#), "{progress}");
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_changes_nothing_but_the_counts() {
    chaos::hush();
    let mut restarts = 0;
    for seed in 0..6 {
        let run = run_with(TASKS, Chaos::new(0.3, seed)).await;
        assert_eq!(run.health.violations, [""; 0], "seed {seed}");
        for row in &run.rows {
            // A hang that chaos cuts off before its timeout may hang no more; retries are never more than the file allows.
            let most = match &*row.id {
                "fan" => 0,
                "flaky" => 2,
                _ => 1,
            };
            assert_eq!(row.state, TaskState::Completed, "seed {seed}: {row:?}");
            assert!(row.retries <= most, "seed {seed}: {row:?}");
            restarts += row.child_restarts;
        }
    }
    assert!(restarts > 0, "chaos did strike");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_a_retry_left_fails_its_task_alone() {
    let text = TASKS.replace("retries = 2", "retries = 1");
    let run = run_with(&text, Chaos::new(0.0, 0)).await;
    let states: Vec<TaskState> = run.rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [TaskState::Completed, TaskState::Failed, TaskState::Completed]);
    assert_eq!((run.health.completed, run.health.failed), (2, 1));
    assert_eq!(run.health.violations, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_kept_up_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let plan = Plan::parse(Path::new("t.toml"), TASKS).unwrap();
    let db = folder.path().join("t.db");
    let args = Args::read(["tasks".as_ref(), "--db".as_ref(), db.as_os_str()]).unwrap();
    let ready = setup::prepare(&args, &plan).await.unwrap();
    // Where the workspaces of one task should be there is a file.
    std::fs::write(args.scratch_dir().join("fan"), "").unwrap();
    let progress = Progress::lines(&plan, Box::new(std::io::sink()));
    let rows =
        run(&plan, ready, &args, Chaos::new(0.0, 0), &progress, &mut Interrupt::never()).await.unwrap();
    let states: Vec<TaskState> = rows.iter().map(|row| row.state).collect();
    assert_eq!(states, [TaskState::Failed, TaskState::Completed, TaskState::Completed]);
    assert_eq!(rows[0].pod_restarts, u64::from(RESTARTS));
}
