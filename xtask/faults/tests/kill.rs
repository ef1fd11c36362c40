//! kill -9.
#![cfg(unix)]

use std::path::Path;

use store_faults::kill::{Kills, Tally};

const PROGRAM: &str = env!("CARGO_BIN_EXE_store-faults");

#[tokio::test]
async fn what_was_acknowledged_outlives_kill_9() {
    for seed in [1, fastrand::u64(..1_000_000)] {
        println!("seed {seed}");
        let folder = tempfile::tempdir().unwrap();
        let mut kills = Kills::new(folder.path(), seed);
        let mut tally = Tally::default();
        for _ in 0..10 {
            if let Err(trouble) = kills.kill(Path::new(PROGRAM), &mut tally).await {
                panic!("{trouble} (kept in {}; {tally:?})", folder.keep().display());
            }
        }
        println!("{tally:?}");
        assert_eq!(tally.kills, 10);
        assert!(tally.acknowledged > 100 && tally.opens > 20, "{tally:?}");
    }
}
