//! The walk over a write-ahead log, in memory: does it say what SQLite takes up, and tell damage from an unfinished end?
//!
//! Four kinds of input, by the first byte: edits of a sound log; a power loss during its last commit, sector by sector; damage with
//! two whole transactions behind it; and bytes as they are.

pub mod edit;
pub mod frames;

use edit::Edit;
use frames::{HEADER, count, frame_size, header_is_sound, place, taken_up, word};
use sqlite::log::{End, Log};

use crate::input::Input;

#[path = "../../ipa-eventstore/src/sqlite"]
mod sqlite {
    #[allow(dead_code, reason = "the store opens a file")]
    pub(super) mod log;
}

/// A log of several transactions of several pages each; an earlier, longer one stands behind it.
pub const LOG: &[u8] = include_bytes!("../seeds/pages.db-wal");

/// The same before its last transaction.
const BEFORE: &[u8] = include_bytes!("../seeds/pages.before-last.db-wal");

const SECTOR: usize = 512;

/// Panics if the walk says something that is not so.
pub fn check(input: &[u8]) {
    let mut input = Input::new(input);
    match input.byte() % 4 {
        0 => {
            let edits = Edit::all(input);
            sound(&edited(&edits), &edits);
        }
        1 => power_loss(input),
        2 => damage(input),
        _ => sound(input.rest(), &[]),
    }
}

/// The log with these edits.
pub fn edited(edits: &[Edit]) -> Vec<u8> {
    let mut log = LOG.to_vec();
    edits.iter().for_each(|edit| edit.apply(&mut log));
    log
}

/// So many transactions in so many frames: what the walk says that SQLite takes up.
pub fn walked(bytes: &[u8]) -> (u64, u64) {
    let log = walk(bytes);
    (log.commits, log.frames)
}

fn walk(bytes: &[u8]) -> Log {
    sqlite::log::walk_bytes(bytes).expect("memory can be read")
}

/// What holds of every log.
fn sound(bytes: &[u8], edits: &[Edit]) {
    let log = walk(bytes);
    let (commits, frames) = taken_up(bytes);
    assert_eq!((log.commits, log.frames), (commits, frames), "what SQLite takes up: {log:?} {edits:?}");

    let (size, whole) = (frame_size(bytes), count(bytes) as u64);
    let is_ours = |frame: &[u8]| frame[8..16] == bytes[16..24] && word(frame, 0) != 0;
    match log.end {
        End::Clean => {
            let rest = bytes.get(HEADER..).unwrap_or_default().chunks_exact(size).skip(frames as usize);
            let ours = if header_is_sound(bytes) { rest.filter(|frame| is_ours(frame)).count() } else { 0 };
            assert_eq!(ours, 0, "frames of this log behind a clean end: {edits:?}");
        }
        End::Torn { frames: torn } => {
            assert!(torn > 0 && frames + torn <= whole, "{log:?} {edits:?}");
        }
        End::Cut { frame: 0, .. } => {
            assert!(!header_is_sound(bytes) && bytes.len() > HEADER, "{log:?} {edits:?}");
        }
        End::Cut { frame, byte, commits: lost, frames: cut } => {
            assert!(frame > frames && frame <= whole, "{log:?} {edits:?}");
            assert_eq!(byte, place(bytes, frame as usize - 1) as u64, "{log:?} {edits:?}");
            assert!(lost > 0 && lost <= cut && cut <= whole - frame + 1, "{log:?} {edits:?}");
        }
    }
    if frames > 0 {
        let alone = walk(&bytes[..place(bytes, frames as usize)]);
        assert_eq!(alone, Log { commits, frames, end: End::Clean }, "what is taken up, alone: {edits:?}");
    }
}

/// The number of the last frame of each transaction.
fn commits(bytes: &[u8]) -> Vec<usize> {
    let (_, frames) = taken_up(bytes);
    let frame = |number: usize| &bytes[place(bytes, number - 1)..];
    (1..=frames as usize).filter(|number| word(frame(*number), 4) != 0).collect()
}

/// Of the last transaction's sectors some got to disk and some did not: that is no damage, and takes nothing with it that was stored
/// before.
fn power_loss(mut input: Input<'_>) {
    let all = commits(LOG);
    let (new, old, stored) = if input.byte() & 1 == 0 {
        // Over what stood there of an earlier log.
        (LOG.to_vec(), BEFORE.to_vec(), all.len() - 1)
    } else {
        // At the end of the file; any transaction can be the last.
        let last = 1 + usize::from(input.byte()) % (all.len() - 1);
        let new = LOG[..place(LOG, all[last])].to_vec();
        let mut old = LOG[..place(LOG, all[last - 1])].to_vec();
        old.resize(new.len(), 0);
        (new, old, last)
    };
    let mut torn = new.clone();
    let start = place(&new, all[stored - 1]);
    let mut mask = 0;
    for (number, sector) in (start / SECTOR..torn.len().div_ceil(SECTOR)).enumerate() {
        if number % 8 == 0 {
            mask = input.byte();
        }
        if mask >> (number % 8) & 1 == 1 {
            let range = (sector * SECTOR).max(start)..((sector + 1) * SECTOR).min(torn.len());
            torn[range.clone()].copy_from_slice(&old[range]);
        }
    }
    let log = walk(&torn);
    assert!(!matches!(log.end, End::Cut { .. }), "a power loss is no damage: {log:?}");
    assert!(log.commits >= stored as u64, "{stored} were stored: {log:?}");
    sound(&torn, &[]);
}

/// Whatever happens to what two whole transactions stand behind, it is seen.
fn damage(mut input: Input<'_>) {
    let all = commits(LOG);
    let end = place(LOG, all[all.len() - 3]);
    let at = HEADER + usize::from(input.short()) % (end - HEADER);
    let mut damaged = LOG.to_vec();
    for (byte, with) in damaged[at..end].iter_mut().zip(input.rest()) {
        *byte ^= with;
    }
    let log = walk(&damaged);
    match damaged.iter().zip(LOG).position(|(damaged, sound)| damaged != sound) {
        None => assert_eq!((log.commits, log.end), (all.len() as u64, End::Clean)),
        Some(first) => {
            let first = 1 + (first - HEADER) / frame_size(LOG);
            let sound = all.iter().filter(|commit| **commit < first).count() as u64;
            assert!(
                matches!(log.end, End::Cut { frame, .. } if frame >= first as u64) && log.commits >= sound,
                "frame {first} is damaged: {log:?}"
            );
        }
    }
    self::sound(&damaged, &[]);
}
