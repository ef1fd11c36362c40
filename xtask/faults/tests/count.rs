//! What an append costs, counted.
#![cfg(target_os = "linux")]

use std::{collections::BTreeMap, path::Path};

use store_faults::count;

const PROGRAM: &str = env!("CARGO_BIN_EXE_store-faults");

/// One append costs one sync when it is alone. Those that wait while a commit is on its way share the next one, so 256 of them
/// cost one sync together. When the log begins anew, its header (and when it is a new file, its name) has to be safe first.
#[tokio::test]
async fn a_lone_append_costs_one_sync_and_256_that_wait_share_one() {
    let folder = tempfile::tempdir().unwrap();
    let counted = count::run(Path::new(PROGRAM), folder.path()).await.unwrap();
    assert_eq!(counted.alone, [1; 10]);
    assert_eq!(counted.after_checkpoint, 3, "the log's header, its name, the frames");
    assert_eq!(counted.shared, 1);
    // 256 streams with one event each; one more for those appended to before.
    assert_eq!(counted.versions, BTreeMap::from([(1, 245), (2, 10), (3, 1)]));
}
