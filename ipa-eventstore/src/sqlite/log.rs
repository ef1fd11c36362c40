//! A walk over the write-ahead log's frames, to tell damage from an unfinished end.
//!
//! When SQLite takes up a log after an unclean end it reads frames up to the first one that does not fit, and leaves the rest out
//! without a word: one flipped byte in the middle takes every later transaction with it, and both `quick_check` and
//! `integrity_check` call what is left sound. So the log is read here first, by the rules of SQLite's own documentation
//! ("WAL-mode File Format"), and by one of ours: what is left out may belong to the last transaction alone.
//!
//! The one trick: with `synchronous=FULL` a transaction is on disk before the next begins. A frame that does not fit, with frames
//! of a *later* transaction behind it, was whole once; that is damage. Within the last transaction it is a torn tail, which an
//! ordinary power loss leaves and nobody was told of as stored. Three things keep that exact: the writer never writes frames
//! before it commits (`cache_spill` is off), it never appends behind a commit that failed (the log is begun anew first), and a
//! sector of the disk is written whole or not at all.
//!
//! It reads the file and nothing else. It does not know which mode the store was written in, nor what an answer means for opening.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// What a log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Log {
    /// The whole transactions that SQLite takes up.
    pub(crate) commits: u64,
    /// Their frames.
    pub(crate) frames: u64,
    /// What stands behind them.
    pub(crate) end: End,
}

/// What stands behind a log's last whole transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// Nothing of this log.
    Clean,
    /// So many frames of one transaction whose commit is not there whole.
    Torn {
        /// Its frames that belong to this log.
        frames: u64,
    },
    /// Frames of later transactions, behind one that does not fit.
    Cut {
        /// The number of the frame that does not fit, from 1; 0 is the log's header.
        frame: u64,
        /// Where it begins in the file.
        byte: u64,
        /// The commits behind it that can still be seen.
        commits: u64,
        /// The frames from it on that belong to this log.
        frames: u64,
    },
}

/// Walks over the log in this file. No file, or an empty one, is a log without frames.
///
/// A writer may be at work: what it has not finished is a torn tail, and if it begins the log anew meanwhile the walk does so too.
///
/// # Errors
///
/// The file cannot be read.
pub(crate) fn walk(log: &Path) -> io::Result<Log> {
    loop {
        let begun = header_of(log)?;
        if begun.is_none() {
            return Ok(Log { commits: 0, frames: 0, end: End::Clean });
        }
        let found = walk_bytes(BufReader::with_capacity(1 << 18, File::open(log)?))?;
        if header_of(log)? == begun {
            return Ok(found);
        }
    }
}

/// The bytes of a log's header; `None` if it has none.
fn header_of(log: &Path) -> io::Result<Option<[u8; HEADER]>> {
    let mut header = [0; HEADER];
    match File::open(log) {
        Ok(mut file) => Ok(fill(&mut file, &mut header)?.then_some(header)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Walks over the log that these bytes are.
pub(crate) fn walk_bytes(mut reader: impl Read) -> io::Result<Log> {
    let nothing = |end| Log { commits: 0, frames: 0, end };
    let mut header = [0; HEADER];
    if !fill(&mut reader, &mut header)? {
        return Ok(nothing(End::Clean));
    }
    match Header::read(&header) {
        Some(header) => Walk::new(header).run(reader),
        // The header is synced before the first frame is written.
        None if fill(&mut reader, &mut [0])? => {
            Ok(nothing(End::Cut { frame: 0, byte: 0, commits: 0, frames: 0 }))
        }
        None => Ok(nothing(End::Clean)),
    }
}

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// What a disk writes whole or not at all, in bytes.
const SECTOR: u64 = 512;
const MAGIC: u32 = 0x377f_0682;
const FORMAT: u32 = 3_007_000;

/// A running checksum of SQLite's log: two sums over pairs of words.
type Sum = (u32, u32);

#[derive(Clone, Copy)]
struct Header {
    /// How the checksums read their words.
    big_endian: bool,
    page_size: usize,
    /// Both salts, as each frame repeats them.
    salt: [u8; 8],
    sum: Sum,
}

impl Header {
    /// `None` if SQLite would not take it for a header.
    fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let magic = word(bytes, 0);
        let page_size = word(bytes, 8);
        let known = magic & !1 == MAGIC
            && word(bytes, 4) == FORMAT
            && page_size.is_power_of_two()
            && (512..=65_536).contains(&page_size);
        let big_endian = magic & 1 == 1;
        let sum = checksum(big_endian, (0, 0), &bytes[..24]);
        if !known || sum != (word(bytes, 24), word(bytes, 28)) {
            return None;
        }
        let mut salt = [0; 8];
        salt.copy_from_slice(&bytes[16..24]);
        // At most 65,536, checked above.
        Some(Self { big_endian, page_size: page_size as usize, salt, sum })
    }

    /// Where a frame begins, by its number from 1.
    fn place(&self, frame: u64) -> u64 {
        HEADER as u64 + (frame - 1) * (FRAME_HEADER + self.page_size) as u64
    }
}

struct Walk {
    header: Header,
    /// The number of the frame in hand, from 1.
    number: u64,
    commits: u64,
    committed: u64,
    /// The checksums that the next frame may go on from: one; two behind a frame whose own may be what is wrong with it.
    sums: Vec<Sum>,
    /// The pages since the last commit. A transaction writes each at most once.
    pages: HashSet<u32>,
    /// Behind the first frame that does not fit.
    behind: Option<Behind>,
}

/// What is seen from the first frame on that does not fit.
struct Behind {
    frame: u64,
    frames: u64,
    commits: u64,
    /// Whether the last frame seen was a commit.
    after_commit: bool,
    /// Whether something of a later transaction was seen.
    later: bool,
    /// Whether a page came twice before the first commit.
    repeated: bool,
}

impl Walk {
    fn new(header: Header) -> Self {
        let sums = vec![header.sum];
        Self { header, number: 0, commits: 0, committed: 0, sums, pages: HashSet::new(), behind: None }
    }

    fn run(mut self, mut reader: impl Read) -> io::Result<Log> {
        let mut frame = vec![0; FRAME_HEADER + self.header.page_size];
        // What is left of the file behind the last whole frame was never part of a commit.
        while fill(&mut reader, &mut frame)? {
            self.number += 1;
            self.take(&frame);
        }
        Ok(self.finish())
    }

    fn take(&mut self, frame: &[u8]) {
        let (page, commit) = (word(frame, 0), word(frame, 4) != 0);
        let ours = frame[8..16] == self.header.salt && page != 0;
        // Page and mark are in one sector and the salts in the next: after a power loss the one may be new and the other old.
        let split = (self.header.place(self.number) + 8).is_multiple_of(SECTOR);
        let stored = (word(frame, 16), word(frame, 20));
        let content = |sum| {
            let sum = checksum(self.header.big_endian, sum, &frame[..8]);
            checksum(self.header.big_endian, sum, &frame[FRAME_HEADER..])
        };
        let computed: Vec<Sum> = self.sums.iter().map(|sum| content(*sum)).collect();
        let fits = computed.contains(&stored);
        let first = self.behind.is_none();
        if first && ours && fits {
            self.pages.insert(page);
            if commit {
                self.commits += 1;
                self.committed = self.number;
                self.pages.clear();
            }
            self.sums = vec![stored];
            return;
        }
        let number = self.number;
        let behind = self.behind.get_or_insert(Behind {
            frame: number,
            frames: 0,
            commits: 0,
            after_commit: false,
            later: false,
            repeated: false,
        });
        self.sums = vec![stored];
        if first {
            // If its stored checksum is what is wrong with it, the next goes on from what it should be.
            self.sums.extend(computed);
        }
        // If its salt is what is wrong with it, it is ours: the checksum does not cover the salt.
        let wrong_salt = first && fits && page != 0;
        if !ours && !wrong_salt {
            behind.after_commit = false;
            return;
        }
        behind.frames += 1;
        // A later transaction: what goes on from a commit, or a second commit.
        let believed = fits || !split;
        behind.later |= (behind.after_commit && fits) || (commit && believed && behind.commits > 0);
        // Or, where a commit's mark is what is wrong, a page that its transaction has already. The frame of a commit itself may repeat
        // one, if another program let its cache spill.
        behind.repeated |= believed && behind.commits == 0 && !self.pages.insert(page) && !commit;
        behind.commits += u64::from(commit && believed);
        behind.after_commit = commit && believed;
    }

    fn finish(self) -> Log {
        let unfinished = self.number - self.committed;
        let end = match self.behind {
            Some(behind) if behind.later || (behind.repeated && behind.commits > 0) => End::Cut {
                frame: behind.frame,
                byte: self.header.place(behind.frame),
                commits: behind.commits,
                frames: behind.frames,
            },
            Some(behind) => match behind.frame - 1 - self.committed + behind.frames {
                0 => End::Clean,
                frames => End::Torn { frames },
            },
            None if unfinished > 0 => End::Torn { frames: unfinished },
            None => End::Clean,
        };
        Log { commits: self.commits, frames: self.committed, end }
    }
}

/// SQLite's checksum of the log: over pairs of words, going on from `sum`.
fn checksum(big_endian: bool, (mut a, mut b): Sum, bytes: &[u8]) -> Sum {
    let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    let (pairs, _) = bytes.as_chunks::<8>();
    for &[c, d, e, f, g, h, i, j] in pairs {
        a = a.wrapping_add(read([c, d, e, f])).wrapping_add(b);
        b = b.wrapping_add(read([g, h, i, j])).wrapping_add(a);
    }
    (a, b)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].iter().fold(0, |word, byte| (word << 8) | u32::from(*byte))
}

/// Fills the buffer, or says that the file ends before.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
