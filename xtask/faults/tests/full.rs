//! A disk that is full for a while.
#![cfg(target_os = "linux")]

use std::path::Path;

use store_faults::full;

const PROGRAM: &str = env!("CARGO_BIN_EXE_store-faults");

#[tokio::test]
async fn a_full_disk_is_named_reads_go_on_and_so_do_writes_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let seen = full::run(Path::new(PROGRAM), folder.path()).await.unwrap();
    assert_eq!(seen.refused.len(), 3, "{seen:#?}");
    // The first finds the disk full; the others may not get as far, since the files are opened again.
    assert!(seen.refused[0].contains("disk is full"), "{seen:#?}");
    for error in &seen.refused {
        assert!(error.contains("events.db"), "{error}");
    }
    assert!(seen.create.contains("other.db"), "{seen:#?}");
    assert_eq!((seen.readable, seen.afterwards), (3, 4));
}
