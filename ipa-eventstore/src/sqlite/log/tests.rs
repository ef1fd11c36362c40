use std::path::PathBuf;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

const PAGE: usize = 1024;
const FRAME: usize = FRAME_HEADER + PAGE;
const SECTOR: usize = super::SECTOR as usize;

/// A log of several transactions, as SQLite writes it, and what is known of it.
struct Sample {
    directory: TempDir,
    bytes: Vec<u8>,
    /// The number of the last frame of each transaction.
    commits: Vec<usize>,
}

impl Sample {
    /// So many transactions of several pages each; before them a longer log that was begun anew, whose frames stand behind these.
    fn new(transactions: usize, earlier: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample.db");
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA page_size = 1024; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
                 CREATE TABLE a (n INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT); CREATE INDEX i ON a (text);",
            )
            .unwrap();
        let insert = |count: usize| {
            for n in 0..count {
                let text = format!("{n} {}", "x".repeat(170));
                connection.execute("INSERT INTO a (text) VALUES (?1)", [text]).unwrap();
            }
        };
        insert(earlier);
        connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
        insert(transactions);
        let bytes = std::fs::read(directory.path().join("sample.db-wal")).unwrap();
        let salt = bytes[16..24].to_vec();
        let ours: Vec<&[u8]> =
            bytes[HEADER..].chunks_exact(FRAME).take_while(|frame| frame[8..16] == salt).collect();
        let commits: Vec<usize> =
            (1..).zip(&ours).filter(|(_, frame)| word(frame, 4) != 0).map(|(n, _)| n).collect();
        assert_eq!(commits.len(), transactions);
        assert!(commits.windows(2).all(|pair| pair[1] - pair[0] > 1), "several pages each: {commits:?}");
        Self { directory, bytes, commits }
    }

    fn frames(&self) -> usize {
        *self.commits.last().unwrap()
    }

    /// The first frame of the last transaction.
    fn last(&self) -> usize {
        self.commits[self.commits.len() - 2] + 1
    }

    fn walk(&self, bytes: &[u8]) -> Log {
        let path: PathBuf = self.directory.path().join("changed");
        std::fs::write(&path, bytes).unwrap();
        walk(&path).unwrap()
    }
}

/// Where a frame, from 1, begins.
fn place(frame: usize) -> usize {
    HEADER + (frame - 1) * FRAME
}

#[test]
fn a_log_that_was_finished_is_clean() {
    for earlier in [0, 40] {
        let sample = Sample::new(9, earlier);
        let whole = Log { commits: 9, frames: sample.frames() as u64, end: End::Clean };
        assert_eq!(sample.walk(&sample.bytes), whole, "the frames of an earlier log are no part of it");
    }
    let sample = Sample::new(2, 0);
    for nothing in [&[][..], &[0; HEADER], &sample.bytes[..7], &sample.bytes[..HEADER]] {
        assert_eq!(sample.walk(nothing), Log { commits: 0, frames: 0, end: End::Clean });
    }
}

/// The offset classes of a frame: its header's six words, and its page.
const CLASSES: [usize; 9] = [3, 7, 8, 14, 17, 23, FRAME_HEADER, 600, FRAME - 1];

/// One byte, or one sector, is damaged in any frame, at every class of offset: as long as a later transaction follows it is seen.
#[test]
fn damage_before_the_last_transaction_is_seen_at_every_offset() {
    let sample = Sample::new(6, 12);
    for frame in 1..=sample.frames() {
        for class in CLASSES {
            let at = place(frame) + class;
            // Each with the first frame that it damages.
            let mut damages = Vec::new();
            for flip in [0x01, 0x04, 0xff] {
                let mut bytes = sample.bytes.clone();
                bytes[at] ^= flip;
                damages.push((bytes, frame));
            }
            let mut bytes = sample.bytes.clone();
            let sector = at - at % SECTOR;
            bytes[sector..sector + SECTOR].fill(0);
            if sector > 0 && bytes != sample.bytes {
                damages.push((bytes, (sector - HEADER) / FRAME + 1));
            }
            for (bytes, first) in damages {
                let log = sample.walk(&bytes);
                match log.end {
                    End::Cut { frame: found, byte, .. } => {
                        // Zeros over zeros damage nothing, so the next may be the first.
                        assert!((first..=frame).contains(&(found as usize)), "{frame} {class}: {log:?}");
                        assert_eq!(byte as usize, place(found as usize));
                    }
                    End::Torn { .. } => assert!(frame >= sample.last(), "{frame} {class}: {log:?}"),
                    End::Clean => panic!("{frame} {class}: {log:?}"),
                }
                let sound = sample.commits.iter().filter(|commit| **commit < frame).count() as u64;
                let one_less = sample.commits.contains(&(frame - 1)) && first < frame;
                assert!(
                    log.commits == sound || one_less && log.commits == sound - 1,
                    "{frame} {class}: {log:?}"
                );
            }
        }
    }
}

/// A commit whose mark is wiped out joins its transaction to the next: the page that comes twice gives it away.
#[test]
fn a_wiped_commit_mark_is_seen() {
    let sample = Sample::new(6, 0);
    let lost = sample.commits[4];
    let mut bytes = sample.bytes.clone();
    bytes[place(lost) + 4..place(lost) + 8].fill(0);
    let log = sample.walk(&bytes);
    assert!(matches!(log.end, End::Cut { frame, commits: 1, .. } if frame as usize == lost), "{log:?}");
}

#[test]
fn a_damaged_header_is_seen() {
    let sample = Sample::new(3, 0);
    for at in 0..HEADER {
        let mut bytes = sample.bytes.clone();
        bytes[at] ^= 0x10;
        let log = sample.walk(&bytes);
        assert!(matches!(log.end, End::Cut { frame: 0, byte: 0, .. }), "{at}: {log:?}");
    }
    assert!(matches!(sample.walk("no log at all ".repeat(9).as_bytes()).end, End::Cut { frame: 0, .. }));
}

/// Cut off anywhere, a log has lost its end and nothing else: that is what is left when nothing was synced.
#[test]
fn a_truncated_log_is_a_torn_tail() {
    let sample = Sample::new(5, 0);
    for frame in 1..=sample.frames() {
        for length in [place(frame), place(frame) + 10, place(frame) + 700] {
            let log = sample.walk(&sample.bytes[..length]);
            let commits = sample.commits.iter().filter(|commit| **commit < frame).count();
            let committed = sample.commits[..commits].last().copied().unwrap_or(0);
            let end = match frame - 1 - committed {
                0 => End::Clean,
                torn => End::Torn { frames: torn as u64 },
            };
            assert_eq!(log, Log { commits: commits as u64, frames: committed as u64, end });
        }
    }
}

/// The last transaction got to disk in part, sector by sector, over whatever stood there: an ordinary power loss is never damage.
#[test]
fn a_power_loss_during_the_last_commit_is_no_damage() {
    // The header of frame 42 is in two sectors: it is in the last transaction of 7 or of 8.
    let kinds = [4, 7, 8].iter().flat_map(|transactions| [0, 2, 40].map(|earlier| (*transactions, earlier)));
    // And what stood there before: the log of before the last transaction, and the frames of an earlier log behind it.
    let samples: Vec<(Sample, Sample)> = kinds
        .map(|(transactions, earlier)| {
            (Sample::new(transactions, earlier), Sample::new(transactions - 1, earlier))
        })
        .collect();
    let luck = (0..samples.len(), proptest::collection::vec(any::<bool>(), 120), any::<bool>());
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(3_000) });
    let result = runner.run(&luck, |(which, kept, none)| {
        let (sample, before) = &samples[which];
        let (start, end) = (place(sample.last()), place(sample.frames() + 1));
        let mut torn = sample.bytes.clone();
        torn.resize(before.bytes.len().max(end), 0);
        for (at, byte) in torn.iter_mut().enumerate().skip(start) {
            *byte = before.bytes.get(at).copied().unwrap_or(0);
        }
        for (sector, kept) in (start / SECTOR..end.div_ceil(SECTOR)).zip(kept) {
            let range = start.max(sector * SECTOR)..end.min((sector + 1) * SECTOR);
            if kept && !none {
                torn[range.clone()].copy_from_slice(&sample.bytes[range]);
            }
        }
        let log = sample.walk(&torn);
        prop_assert!(!matches!(log.end, End::Cut { .. }), "{log:?}");
        prop_assert!(log.commits as usize >= sample.commits.len() - 1);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
