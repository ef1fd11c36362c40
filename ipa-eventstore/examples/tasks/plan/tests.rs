//! What a file of tasks may say, and where it is told that it may not.

use super::*;

fn parse(text: &str) -> Result<Plan, PlanError> {
    Plan::parse(Path::new("t.toml"), text)
}

/// The one line that a file is refused with.
fn refused(text: &str) -> String {
    let line = parse(text).expect_err("the file makes no sense").to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// A file with one task of these steps.
fn with_steps(steps: &str) -> String {
    format!("[[task]]\nid = \"t\"\ntitle = \"T\"\n{steps}")
}

const WHOLE: &str = r#"
[[task]]
id = "build"
title = "Build it"

[[task.step]]
id = "fetch"
command = ["fetch", "--all"]
timeout = "1500ms"
retries = 3
env = { MODE = "fast" }

[[task.step]]
id = "left"
command = "echo left > $OUT/left"

[[task.step]]
id = "right"
command = "echo right"
after = ["fetch"]

[[task.step]]
id = "alone"
command = "true"
after = []
timeout = "2 m"
"#;

#[test]
fn a_file_says_it_all() {
    let plan = parse(WHOLE).unwrap();
    assert_eq!((plan.tasks.len(), plan.steps()), (1, 4));
    let task = &plan.tasks[0];
    assert_eq!((task.id.as_str(), task.title.as_str()), ("build", "Build it"));
    assert_eq!(task.place, Place { line: 3, column: 6 });

    let fetch = &task.steps[0];
    assert_eq!(fetch.command, Command::Argv(vec!["fetch".into(), "--all".into()]));
    assert_eq!(fetch.timeout, Some(Duration::from_millis(1500)));
    assert_eq!(fetch.retries, 3);
    assert_eq!(fetch.env["MODE"], "fast");
    assert_eq!(task.steps[3].timeout, Some(Duration::from_secs(120)));

    let after: Vec<&[String]> = task.steps.iter().map(|step| step.after.as_slice()).collect();
    assert_eq!(after[0], [] as [String; 0]);
    assert_eq!(after[1], ["fetch"], "without `after`, the step before");
    assert_eq!(after[2], ["fetch"]);
    assert_eq!(after[3], [] as [String; 0]);

    let left = &task.steps[1];
    assert_eq!((left.timeout, left.retries, left.env.len()), (None, 0, 0));
    assert_eq!(left.command.argv(), ["sh", "-c", "echo left > $OUT/left"]);
    assert_eq!(fetch.command.argv(), ["fetch", "--all"]);
}

#[test]
fn commands_are_shown_on_one_line() {
    assert_eq!(Command::Shell("  a | b\nc\n".into()).to_string(), "a | b ...");
    assert_eq!(Command::Argv(vec!["awk".into(), "{ x }".into(), "".into()]).to_string(), r#"awk "{ x }" """#);
}

#[test]
fn a_task_survives_json_and_keeps_its_digest() {
    let task = parse(WHOLE).unwrap().tasks.remove(0);
    let json = serde_json::to_string(&task).unwrap();
    let back: Task = serde_json::from_str(&json).unwrap();
    assert_eq!(back.digest(), task.digest());
    assert_eq!(back, Task { place: Place::default(), ..task });
}

#[test]
fn the_digest_is_of_what_is_done() {
    let digest = |text: &str| parse(text).unwrap().tasks[0].digest();
    let whole = digest(WHOLE);
    // Pinned: stores hold it, so it may not change from build to build.
    assert_eq!(digest(&with_steps("[[task.step]]\nid = \"s\"\ncommand = \"true\"\n")), "62d2cc830b47d107");

    let same = [
        ("title = \"Build it\"", "title = \"Another\""),
        ("[[task]]", "# moved\n\n[[task]]"),
        ("1500ms", "1500 ms"),
    ];
    for (from, to) in same {
        assert_eq!(digest(&WHOLE.replacen(from, to, 1)), whole, "{to}");
    }
    let other = [
        ("build", "built"),
        ("--all", "--some"),
        ("1500ms", "1501ms"),
        ("retries = 3", "retries = 2"),
        ("fast", "slow"),
        ("after = []", "after = [\"left\"]"),
        ("id = \"right\"", "id = \"write\""),
        ("[\"fetch\", \"--all\"]", "\"fetch --all\""),
    ];
    for (from, to) in other {
        assert_ne!(digest(&WHOLE.replacen(from, to, 1)), whole, "{to}");
    }
}

#[test]
fn the_shape_is_checked_with_its_place() {
    assert!(refused("[[task]\n").starts_with("t.toml:1:"));
    assert!(
        refused("[[task]]\nid = \"t\"\ntitle = \"T\"\nwhat = 1\n")
            .starts_with("t.toml:4:1: unknown field `what`")
    );
    assert!(refused("\n  [[tasks]]\nid = \"t\"\n").starts_with("t.toml:2:5: unknown field `tasks`"));
    assert!(
        refused(&with_steps("[[task.step]]\nid = \"s\"\ncommand = 7\n"))
            .starts_with("t.toml:6:11: invalid type")
    );
    assert!(refused(&with_steps("[[task.step]]\nid = \"s\"\ncommand = 7\n")).contains("a shell line"));
    assert!(refused(&with_steps("[[task.step]]\nid = \"s\"\n")).contains("missing field `command`"));
    assert!(
        refused(&with_steps("[[task.step]]\nid = \"s\"\ncommand = \"x\"\nretries = -1\n"))
            .starts_with("t.toml:7:11: ")
    );
    assert!(
        refused(&with_steps("[[task.step]]\nid = \"s\"\ncommand = [\"x\", 1]\n"))
            .starts_with("t.toml:6:17: ")
    );
}

#[test]
fn the_sense_is_checked_with_its_place() {
    let cases = [
        ("", "t.toml:1:1: there is no task"),
        ("[[task]]\nid = \"t\"\ntitle = \"T\"\n", "t.toml:2:6: task `t`: there is no step"),
        ("[[task]]\nid = \"t\"\ntitle = \" \"\n", "t.toml:3:9: task `t`: the title must be"),
        ("[[task]]\nid = \"t\"\ntitle = \"\\u001b[2J\"\n", "t.toml:3:9: task `t`: the title must be"),
        ("[[task]]\nid = \"..\"\ntitle = \"T\"\n", "t.toml:2:6: task `..`: an id has 1 to 64"),
        ("[[task]]\nid = \"\"\ntitle = \"T\"\n", "t.toml:2:6: task ``: an id has 1 to 64"),
        ("[[task]]\nid = \"a/b\"\ntitle = \"T\"\n", "t.toml:2:6: task `a/b`: an id has 1 to 64"),
        ("[[task]]\nid = \"a\\nb\"\ntitle = \"T\"\n", "t.toml:2:6: task `a\\nb`: an id has 1 to 64"),
        ("[[task]]\nid = \"-rf\"\ntitle = \"T\"\n", "t.toml:2:6: task `-rf`: an id has 1 to 64"),
    ];
    for (text, want) in cases {
        let line = refused(text);
        assert!(line.starts_with(want), "{line}");
    }
    assert!(
        refused(&format!("[[task]]\nid = \"{}\"\ntitle = \"T\"\n", "x".repeat(65)))
            .contains("an id has 1 to 64")
    );
    let longest = WHOLE.replacen("build", &"x".repeat(64), 1);
    assert!(parse(&longest).is_ok());
}

#[test]
fn steps_are_checked_with_their_place() {
    let cases = [
        ("command = \" \"", "t.toml:6:11: task `t`, step `s`: the command is empty"),
        ("command = []", "t.toml:6:11: task `t`, step `s`: the command is empty"),
        ("command = [\"\", \"x\"]", "t.toml:6:11: task `t`, step `s`: the command is empty"),
        ("command = \"a\\u0000\"", "t.toml:6:11: task `t`, step `s`: the command has a NUL"),
        ("command = [\"a\", \"\\u0000\"]", "t.toml:6:11: task `t`, step `s`: the command has a NUL"),
        (
            "command = \"x\"\ntimeout = \"0s\"",
            "t.toml:7:11: task `t`, step `s`: the timeout `0s` is not between",
        ),
        (
            "command = \"x\"\ntimeout = \"169h\"",
            "t.toml:7:11: task `t`, step `s`: the timeout `169h` is not between",
        ),
        (
            "command = \"x\"\ntimeout = \"5\"",
            "t.toml:7:11: task `t`, step `s`: the timeout `5` is no time such as",
        ),
        (
            "command = \"x\"\ntimeout = \"99999999999999999h\"",
            "t.toml:7:11: task `t`, step `s`: the timeout `99999999999999999h` is no time",
        ),
        ("command = \"x\"\nenv = { \"A=B\" = \"\" }", "t.toml:7:9: task `t`, step `s`: `A=B` is no name"),
        (
            "command = \"x\"\nenv = { OUT = \"\" }",
            "t.toml:7:9: task `t`, step `s`: OUT in the environment is set by the runner",
        ),
        ("command = \"x\"\nenv = { A = \"\\u0000\" }", "t.toml:7:13: task `t`, step `s`: A has a NUL"),
        (
            "command = \"x\"\nafter = [\"y\"]",
            "t.toml:7:10: task `t`, step `s`: waits for `y`, which is no step",
        ),
        (
            "command = \"x\"\nafter = [\"s\"]",
            "t.toml:5:6: task `t`, step `s`: no step of a cycle can start: `s` waits for `s`",
        ),
        (
            "command = \"x\"\nafter = [\"a\", \"a\"]",
            "t.toml:7:15: task `t`, step `s`: `after` names `a` twice",
        ),
    ];
    for (keys, want) in cases {
        let line = refused(&with_steps(&format!("[[task.step]]\nid = \"s\"\n{keys}\n")));
        assert!(line.starts_with(want), "{line}");
    }
}

#[test]
fn duplicates_say_where_the_first_is() {
    let two = format!("{WHOLE}{WHOLE}");
    assert!(
        refused(&two).starts_with("t.toml:29:6: task `build`: the id is taken already, on line 3"),
        "{}",
        refused(&two)
    );
    let case = format!("{WHOLE}{}", WHOLE.replace("build", "Build"));
    assert!(refused(&case).contains("differs in case alone from one already, on line 3"));
    let step = WHOLE.replace("\"alone\"", "\"left\"");
    assert!(
        refused(&step).contains("task `build`, step `left`: the id is taken already, on line 14"),
        "{}",
        refused(&step)
    );
}

#[test]
fn a_cycle_over_an_unsaid_after_is_found() {
    // `b` waits for `a` because it comes next, and `a` names `b`.
    let text = with_steps(
        "[[task.step]]\nid = \"a\"\ncommand = \"x\"\nafter = [\"b\"]\n[[task.step]]\nid = \"b\"\ncommand = \"x\"\n",
    );
    assert_eq!(
        refused(&text),
        "t.toml:5:6: task `t`, step `a`: no step of a cycle can start: `a` waits for `b`, `b` waits for `a`"
    );
}

#[test]
fn later_faults_have_the_place_of_their_task() {
    let plan = parse(WHOLE).unwrap();
    let fault = plan.fault(&plan.tasks[0], "stands in the store with another definition");
    assert_eq!(fault.to_string(), "t.toml:3:6: task `build`: stands in the store with another definition");
}

#[test]
fn files_that_cannot_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("none.toml");
    let line = Plan::load(&file).unwrap_err().to_string();
    assert!(line.starts_with(&format!("{}: cannot be read: ", file.display())), "{line}");
    assert!(Plan::load(dir.path()).unwrap_err().to_string().contains("cannot be read"));

    std::fs::write(&file, b"# one\n# \xc3\xa9 \xff\n").unwrap();
    let line = Plan::load(&file).unwrap_err().to_string();
    assert_eq!(line, format!("{}:2:5: not UTF-8 text", file.display()));
}

#[test]
fn the_shipped_file_is_sound() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tasks/tasks.toml");
    let plan = Plan::load(&file).unwrap_or_else(|error| panic!("{error}"));
    assert!(plan.tasks.len() >= 20);
    assert!(plan.tasks.iter().all(|task| (3..=6).contains(&task.steps.len())));
    assert!(plan.tasks.iter().flat_map(|task| &task.steps).any(|step| step.retries > 0));
}
