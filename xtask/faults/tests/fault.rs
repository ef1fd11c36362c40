//! Operations on files that fail, the n-th for n = 1, 2, 3 ... until the work passes.
#![cfg(target_os = "linux")]

use std::path::Path;

use store_faults::fault::{self, KINDS, Subject, Tally};

const PROGRAM: &str = env!("CARGO_BIN_EXE_store-faults");

async fn loops(subjects: &[Subject], kinds: &[&str]) -> Tally {
    let folder = tempfile::tempdir().unwrap();
    let numbers: Vec<_> =
        kinds.iter().map(|kind| KINDS.iter().position(|known| known.to_string() == *kind).unwrap()).collect();
    let tally = fault::run(Path::new(PROGRAM), folder.path(), subjects, &numbers).await.unwrap();
    println!("{} rounds, {} with errors: {:#?}", tally.rounds, tally.errors, tally.operations);
    assert!(tally.broken.is_empty(), "{} broken promises:\n{}", tally.broken.len(), tally.broken.join("\n"));
    // Every loop has run until its subject passed, and every subject has something to fail at.
    assert_eq!(tally.operations.len(), subjects.len() * kinds.len());
    for subject in subjects {
        assert!(tally.operations[&format!("{subject}, any once EIO")] > 2, "{subject}");
    }
    tally
}

/// All that can be done to an open store, with any operation failing once, or all from the n-th on.
#[tokio::test]
async fn an_open_store_answers_the_truth_whatever_fails() {
    use Subject::*;
    let subjects = [First, Append, Batch, Start, Several, Snapshot, Delete, Checkpoint, Idle, Close];
    loops(&subjects, &["any once EIO", "any ever EIO"]).await;
}

/// All ways to open a store, likewise.
#[tokio::test]
async fn a_store_opens_or_says_why_not_whatever_fails() {
    use Subject::*;
    loops(&[Create, Open, Unclean, Switch], &["any once EIO", "any ever EIO"]).await;
}

/// A full disk, syncs that fail for ever, and writes that are cut short, with and without an error.
#[tokio::test]
async fn writes_and_syncs_that_fail_in_their_own_ways() {
    use Subject::*;
    let kinds = [
        "any once EIO",
        "write+truncate+open ever ENOSPC",
        "write once TORN",
        "write once SHORT",
        "sync ever EIO",
        "truncate ever EIO",
    ];
    let tally = loops(&[Append, Checkpoint], &kinds).await;
    // A write that is cut short without an error is gone on with: nothing comes of it.
    assert!(tally.operations["append, write once SHORT"] > 2);
}
