//! Losses of power.
#![cfg(target_os = "linux")]

use std::path::Path;

use ipa_eventstore::Durability;
use store_faults::power::{self, Round};

const PROGRAM: &str = env!("CARGO_BIN_EXE_store-faults");

async fn lose_power(round: Round) {
    let folder = tempfile::tempdir().unwrap();
    match power::round(Path::new(PROGRAM), folder.path(), round).await {
        Ok(tally) => println!("{tally:?}"),
        Err(trouble) => panic!("{trouble} (kept in {})", folder.keep().display()),
    }
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_power() {
    for seed in [1, fastrand::u64(..1_000_000)] {
        println!("seed {seed}");
        lose_power(Round { seed, durability: Durability::Full, images: 80, faults: false }).await;
    }
}

#[tokio::test]
async fn with_process_crash_a_loss_of_power_leaves_a_beginning() {
    for seed in [2, fastrand::u64(..1_000_000)] {
        println!("seed {seed}");
        lose_power(Round { seed, durability: Durability::ProcessCrash, images: 50, faults: false }).await;
    }
}

/// A sync that fails confirms nothing, and what it was for may be gone though the process goes on seeing it.
#[tokio::test]
async fn what_was_acknowledged_outlives_failed_syncs_and_the_power() {
    let seed = fastrand::u64(..1_000_000);
    println!("seed {seed}");
    lose_power(Round { seed, durability: Durability::Full, images: 60, faults: true }).await;
}
