//! Edits of a log: what a disk, a copy that went wrong or a malicious hand could do to it.
//!
//! The one trick: the checksums run on from frame to frame, so a change of any byte ends the log right there, and nothing behind it is
//! ever looked at closely. `Kind::Seal` makes them right again.

use super::frames::{self, FRAME_WORDS, HEADER, count, frame_size, place, set_word};
use crate::input::Input;

/// One edit: six bytes of the input.
#[derive(Debug, Clone, Copy)]
pub struct Edit {
    kind: Kind,
    at: u16,
    count: u8,
    value: u16,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Frame `at`, the byte `value` of it, becomes `count`.
    Byte,
    /// Frame `at`, the word `count` of its header, becomes `value`; the highest stand for the highest.
    Word,
    /// So many sectors from `at` on become zeros, or what `value` says.
    Sectors,
    /// Frame `at` is copied over frame `value`, `count` more behind it too.
    Copy,
    /// Frame `at` and `count` behind it are taken out.
    Remove,
    /// Frame `at` is put in once more before frame `value`.
    Insert,
    /// The file ends here.
    Truncate,
    /// The file goes on with so many bytes, or frames.
    Extend,
    /// Frames from `at` on, so many or all, get right salts and checksums.
    Seal,
    /// The header's word `count` becomes `value`, or what SQLite might write there.
    Header,
    /// The header gets a right checksum.
    SealHeader,
    /// Frame `at` gets the header's salts, and keeps its checksum.
    Salt,
}

const KINDS: [Kind; 12] = [
    Kind::Byte,
    Kind::Word,
    Kind::Sectors,
    Kind::Copy,
    Kind::Remove,
    Kind::Insert,
    Kind::Truncate,
    Kind::Extend,
    Kind::Seal,
    Kind::Header,
    Kind::SealHeader,
    Kind::Salt,
];

/// The longest log that edits make: a fuzzer would make it ever longer.
const LONGEST: usize = 1 << 20;

impl Edit {
    /// The next of the input.
    pub fn read(input: &mut Input<'_>) -> Self {
        let kind = KINDS[usize::from(input.byte()) % KINDS.len()];
        Self { kind, at: input.short(), count: input.byte(), value: input.short() }
    }

    /// All that are left of the input.
    pub fn all(mut input: Input<'_>) -> Vec<Self> {
        std::iter::from_fn(|| (!input.is_empty()).then(|| Self::read(&mut input))).collect()
    }

    /// Edits the log.
    pub fn apply(self, log: &mut Vec<u8>) {
        let (at, number, value) = (usize::from(self.at), usize::from(self.count), usize::from(self.value));
        let (whole, size) = (count(log), frame_size(log));
        let wide =
            if self.value > u16::MAX - 8 { u32::from(self.value) << 16 | 0xffff } else { value as u32 };
        match self.kind {
            Kind::Truncate => log.truncate(HEADER + (at << 4 | number & 15)),
            Kind::Extend if log.len() < LONGEST => {
                let bytes = if value & 1 == 1 { number * size } else { at % 5000 };
                log.resize(log.len() + bytes, self.count);
            }
            Kind::Header if log.len() >= HEADER => match number % 8 {
                // What SQLite could have written.
                0 => set_word(log, 0, 0x377f_0682 | u32::from(self.value & 1)),
                2 => set_word(log, 8, 256 << (value % 10)),
                word => set_word(log, word * 4, wide),
            },
            Kind::SealHeader => frames::seal_header(log),
            Kind::Sectors => {
                let from = (at * 512).min(log.len());
                let to = (from + 512 * (number + 1)).min(log.len());
                log[from..to].fill(self.value.to_le_bytes()[0]);
            }
            _ if whole == 0 => {}
            Kind::Byte => {
                let byte = place(log, at % whole) + value % size;
                log[byte] = self.count;
            }
            Kind::Word => {
                let word = place(log, at % whole) + FRAME_WORDS[number % FRAME_WORDS.len()];
                set_word(log, word, wide);
            }
            Kind::Copy => {
                let (from, to) = (at % whole, value % whole);
                let frames = (1 + number % 8).min(whole - from.max(to));
                let (from, end, to) = (place(log, from), place(log, from + frames), place(log, to));
                log.copy_within(from..end, to);
            }
            Kind::Remove => {
                let from = at % whole;
                let to = (from + 1 + number % 8).min(whole);
                let (from, to) = (place(log, from), place(log, to));
                log.drain(from..to);
            }
            Kind::Insert if log.len() < LONGEST => {
                let (from, to) = (place(log, at % whole), place(log, value % whole));
                let frame = log[from..from + size].to_vec();
                log.splice(to..to, frame);
            }
            Kind::Seal => frames::seal(log, at % whole, if number == 0 { whole } else { number }),
            Kind::Salt => {
                let frame = place(log, at % whole);
                log.copy_within(16..24, frame + 8);
            }
            Kind::Extend | Kind::Insert | Kind::Header => {}
        }
    }
}
