//! The demo's verb from outside: the example takes xtask's place, and its exit code is the caller's.
#![cfg(unix)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A stand-in for the example, in a folder that cargo keeps for tests.
fn fake(name: &str, script: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Written by another process: a file that a fork still holds open for writing cannot be executed.
    let write = Command::new("sh")
        .args(["-c", r#"printf %s "$1" > "$0" && chmod +x "$0""#])
        .arg(&program)
        .arg(script)
        .status();
    assert!(write.unwrap().success());
    program
}

fn xtask(args: &[&str], program: &Path) -> (u32, Output) {
    let child = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(args)
        .arg("--program")
        .arg(program)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child.id(), child.wait_with_output().unwrap())
}

#[test]
fn the_example_takes_our_place_and_gives_the_exit_code() {
    let program = fake("plain.sh", "#!/bin/sh\necho \"$$ $*\"\nexit 130\n");
    let (id, output) = xtask(&["demo", "--fresh", "--parallel", "2", "--json"], &program);
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    // The same process: no one is left in between to die of a Ctrl-C first.
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{id} --json --fresh --parallel 2\n"));
}

#[test]
fn a_kill_loop_prints_one_json_object_and_clears_its_folder() {
    let program = fake(
        "loop.sh",
        r#"#!/bin/sh
echo "$2" > "$0.store"
case "$*" in
*--check*) echo '{"tasks":1,"completed":1,"failed":0,"events":4,"violations":[]}';;
*) echo x >> "$2"; echo '{"tasks":1,"completed":1}';;
esac
"#,
    );
    let (_, output) = xtask(&["demo", "--kill-loop", "2", "--seed", "5", "--json"], &program);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["ok"], &report["seed"]), (&true.into(), &5.into()));
    assert_eq!(report["rounds"].as_array().unwrap().len(), 2);
    let store = fs::read_to_string(program.with_extension("sh.store")).unwrap();
    assert!(store.contains("kill-loop-") && !Path::new(store.trim()).parent().unwrap().exists(), "{store}");
}

#[test]
fn a_violation_is_exit_code_1_and_bad_usage_2() {
    let program = fake(
        "broken.sh",
        r#"#!/bin/sh
case "$*" in *--check*) echo '{"tasks":1,"completed":1,"events":4,"violations":["a gap"]}'; exit 1;; esac
echo x >> "$2"; echo '{"tasks":1,"completed":1}'
"#,
    );
    let (_, output) = xtask(&["demo", "--kill-loop", "1"], &program);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("--check: a gap"), "{stderr}");
    // What it found is kept to be looked at.
    let (_, folder) = stderr.trim_end().rsplit_once(" are in ").unwrap();
    assert!(Path::new(folder).join("round-0.db").exists(), "{folder}");
    fs::remove_dir_all(folder).unwrap();

    let (_, output) = xtask(&["demo", "--kill-loop", "1", "--db", "x"], &program);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let (_, output) = xtask(&["demo", "--kill-loop", "0"], &program);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
