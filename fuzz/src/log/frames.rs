//! The format of SQLite's write-ahead log, as its documentation has it ("WAL-mode File Format"): written a second time, and plainly,
//! so that the store's own reader has something to be compared with.

/// The bytes of the log's header.
pub const HEADER: usize = 32;
/// The bytes of a frame's header.
pub const FRAME_HEADER: usize = 24;
/// Where in a frame's header its words are: page, size after a commit, two salts, two checksums.
pub const FRAME_WORDS: [usize; 6] = [0, 4, 8, 12, 16, 20];

type Sum = [u32; 2];

/// A word of the log, which is big-endian wherever it is none of a checksum's input.
pub fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Sets a word, if it is in the log.
pub fn set_word(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(place) = bytes.get_mut(at..at + 4) {
        place.copy_from_slice(&value.to_be_bytes());
    }
}

/// The bytes of a frame: by the header's page size, or that of the smallest pages where it has none.
pub fn frame_size(bytes: &[u8]) -> usize {
    let page = if bytes.len() < HEADER { 0 } else { word(bytes, 8) };
    let sound = page.is_power_of_two() && (512..=65_536).contains(&page);
    FRAME_HEADER + if sound { page as usize } else { 512 }
}

/// The whole frames in the file.
pub fn count(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(HEADER) / frame_size(bytes)
}

/// Where a frame, from 0, begins.
pub fn place(bytes: &[u8], frame: usize) -> usize {
    HEADER + frame * frame_size(bytes)
}

fn sum(big_endian: bool, [mut a, mut b]: Sum, bytes: &[u8]) -> Sum {
    for pair in bytes.chunks_exact(8) {
        let [mut x, mut y] = [word(pair, 0), word(pair, 4)];
        if !big_endian {
            (x, y) = (x.swap_bytes(), y.swap_bytes());
        }
        a = a.wrapping_add(x).wrapping_add(b);
        b = b.wrapping_add(y).wrapping_add(a);
    }
    [a, b]
}

fn frame_sum(big_endian: bool, before: Sum, frame: &[u8]) -> Sum {
    sum(big_endian, sum(big_endian, before, &frame[..8]), &frame[FRAME_HEADER..])
}

/// Makes the header's checksum right.
pub fn seal_header(bytes: &mut [u8]) {
    if bytes.len() >= HEADER {
        let [a, b] = sum(word(bytes, 0) & 1 == 1, [0, 0], &bytes[..24]);
        set_word(bytes, 24, a);
        set_word(bytes, 28, b);
    }
}

/// Gives these frames the header's salts, and checksums that go on from the frame before.
pub fn seal(bytes: &mut [u8], from: usize, frames: usize) {
    let (size, whole) = (frame_size(bytes), count(bytes));
    for frame in from..from.saturating_add(frames).min(whole) {
        let at = place(bytes, frame);
        let before = if frame == 0 { 24 } else { at - size + 16 };
        let before = [word(bytes, before), word(bytes, before + 4)];
        bytes.copy_within(16..24, at + 8);
        let [a, b] = frame_sum(word(bytes, 0) & 1 == 1, before, &bytes[at..at + size]);
        set_word(bytes, at + 16, a);
        set_word(bytes, at + 20, b);
    }
}

/// Whether SQLite takes the header for one.
pub fn header_is_sound(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && word(bytes, 0) & !1 == 0x377f_0682
        && word(bytes, 4) == 3_007_000
        && frame_size(bytes) - FRAME_HEADER == word(bytes, 8) as usize
        && sum(word(bytes, 0) & 1 == 1, [0, 0], &bytes[..24]) == [word(bytes, 24), word(bytes, 28)]
}

/// What SQLite takes up: so many transactions, in so many frames.
pub fn taken_up(bytes: &[u8]) -> (u64, u64) {
    if !header_is_sound(bytes) {
        return (0, 0);
    }
    let mut before = [word(bytes, 24), word(bytes, 28)];
    let (mut commits, mut frames) = (0, 0);
    for (number, frame) in (1..).zip(bytes[HEADER..].chunks_exact(frame_size(bytes))) {
        let stored = [word(frame, 16), word(frame, 20)];
        if frame[8..16] != bytes[16..24]
            || word(frame, 0) == 0
            || frame_sum(word(bytes, 0) & 1 == 1, before, frame) != stored
        {
            break;
        }
        before = stored;
        if word(frame, 4) != 0 {
            (commits, frames) = (commits + 1, number);
        }
    }
    (commits, frames)
}
