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

/// A folder with a store in it, and the tasks to run on it.
struct Place {
    folder: tempfile::TempDir,
    plan: Plan,
    args: Args,
}

impl Place {
    fn new(text: &str) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let plan = Plan::parse(Path::new("t.toml"), text).unwrap();
        let db = folder.path().join("t.db");
        let args = Args::read(["tasks".as_ref(), "--db".as_ref(), db.as_os_str()]).unwrap();
        Place { folder, plan, args }
    }

    async fn run(&self, chaos: Chaos) -> Vec<TaskRow> {
        let (_count, interrupt) = Interrupt::by_hand();
        self.run_until(interrupt, chaos, std::io::sink()).await
    }

    /// A run of the tasks, which shows its progress to `out`.
    async fn run_until(
        &self,
        mut interrupt: Interrupt,
        chaos: Chaos,
        out: impl std::io::Write + Send + 'static,
    ) -> Vec<TaskRow> {
        let ready = setup::prepare(&self.args, &self.plan).await.unwrap();
        let progress = Progress::lines(&self.plan, Box::new(out));
        let rows = run(&self.plan, ready, &self.args, chaos, &progress, &mut interrupt).await.unwrap();
        assert_eq!(std::fs::read_dir(self.args.scratch_dir()).unwrap().count(), 0, "every workspace is gone");
        rows
    }

    async fn health(&self) -> check::Health {
        let store = ipa_eventstore::SqliteEventStore::open_read_only(&self.args.db).await.unwrap();
        check::check(&store, &self.plan).await.unwrap()
    }

    fn text(&self, file: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(file)).unwrap()
    }
}

fn calm() -> Chaos {
    Chaos::new(0.0, 0)
}

fn states(rows: &[TaskRow]) -> Vec<TaskState> {
    rows.iter().map(|row| row.state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_calm_run() {
    let place = Place::new(TASKS);
    let rows = place.run(calm()).await;
    let counts =
        |row: &TaskRow| (row.state, row.steps_run, row.retries, row.child_restarts, row.pod_restarts);
    let all: Vec<_> = rows.iter().map(counts).collect();
    let completed = TaskState::Completed;
    assert_eq!(all, [(completed, 4, 0, 0, 0), (completed, 1, 2, 0, 0), (completed, 1, 1, 0, 0)]);
    assert_eq!(place.health().await.violations, [""; 0]);
    assert_eq!(place.text("t.db.out/fan/log"), "1\n");
    let progress = place.text("t.db.out/.progress/fan.jsonl");
    assert!(progress.lines().last().unwrap().contains(r#""state":"completed""#), "{progress}");

    let again = place.run(calm()).await;
    assert_eq!(
        again.iter().map(|row| (row.steps_run, row.steps_skipped)).collect::<Vec<_>>(),
        [(0, 4), (0, 1), (0, 1)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_changes_nothing_but_the_counts() {
    chaos::hush();
    let mut restarts = 0;
    for seed in 0..6 {
        let place = Place::new(TASKS);
        for row in place.run(Chaos::new(0.3, seed)).await {
            // Retries are never more than the file allows, whatever crashes.
            let most = match &*row.id {
                "fan" => 0,
                "flaky" => 2,
                _ => 1,
            };
            assert_eq!(row.state, TaskState::Completed, "seed {seed}: {row:?}");
            assert!(row.retries <= most, "seed {seed}: {row:?}");
            restarts += row.child_restarts;
        }
        assert_eq!(place.health().await.violations, [""; 0], "seed {seed}");
    }
    assert!(restarts > 0, "chaos did strike");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_without_a_retry_left_fails_its_task_alone() {
    let place = Place::new(&TASKS.replace("retries = 2", "retries = 1"));
    let rows = place.run(calm()).await;
    assert_eq!(states(&rows), [TaskState::Completed, TaskState::Failed, TaskState::Completed]);
    let health = place.health().await;
    assert_eq!((health.completed, health.failed, health.violations), (2, 1, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_kept_up_is_given_up() {
    let place = Place::new(TASKS);
    // Where the progress of one task should be written there is a directory.
    std::fs::create_dir_all(place.folder.path().join("t.db.out/.progress/fan.jsonl")).unwrap();
    let rows = place.run(calm()).await;
    assert_eq!(states(&rows), [TaskState::Failed, TaskState::Completed, TaskState::Completed]);
    assert_eq!(rows[0].pod_restarts, u64::from(RESTARTS));
}

/// Interrupts the run as soon as it shows that a step has started.
struct AtTheFirstStep(tokio::sync::watch::Sender<u32>);

impl std::io::Write for AtTheFirstStep {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if String::from_utf8_lossy(bytes).contains("step ") {
            self.0.send_replace(1);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_step_uses_up_no_retry_and_is_taken_up() {
    // The second does not mind being told to stop, and says so with success.
    for first in ["exec sleep 1000", "trap 'exit 0' TERM; sleep 1000 & wait"] {
        let place = Place::new(&format!(
            "[[task]]\nid = \"t\"\ntitle = \"T\"\n[[task.step]]\nid = \"s\"\ncommand = \"[ $ATTEMPT -ge 2 ] || {{ {first}; }}\"\n"
        ));
        let (count, interrupt) = Interrupt::by_hand();
        let rows = place.run_until(interrupt, calm(), AtTheFirstStep(count)).await;
        assert_eq!((rows[0].state, rows[0].steps_run, rows[0].steps_done), (TaskState::Interrupted, 1, 0));
        assert_eq!(place.health().await.violations, [""; 0]);
        let rows = place.run(calm()).await;
        assert_eq!((rows[0].state, rows[0].steps_run, rows[0].retries), (TaskState::Completed, 1, 0));
    }
}
