//! Operations on files that fail, the n-th for n = 1, 2, 3 ... until the work passes.
#![cfg(target_os = "linux")]

use std::path::Path;

use store_faults::fault::{self, KINDS, Subject, Tally};

const PROGRAM: &str = env!("CARGO_BIN_EXE_store-faults");

async fn loops(subjects: &[Subject]) -> Tally {
    let folder = tempfile::tempdir().unwrap();
    let kinds: Vec<_> = (0..KINDS.len()).collect();
    let tally = fault::run(Path::new(PROGRAM), folder.path(), subjects, &kinds).await.unwrap();
    println!("{} rounds, {} with errors: {:#?}", tally.rounds, tally.errors, tally.operations);
    assert!(tally.broken.is_empty(), "{} broken promises:\n{}", tally.broken.len(), tally.broken.join("\n"));
    tally
}

#[tokio::test]
async fn all() {
    loops(&Subject::ALL).await;
}
