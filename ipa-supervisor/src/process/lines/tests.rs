//! Lines do not depend on how they were read.

use super::*;

fn split(bytes: &[u8], read: usize) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut split = Split { rest: Vec::new(), line: |line: &[u8]| lines.push(line.to_vec()) };
    bytes.chunks(read).for_each(|chunk| split.feed(chunk));
    split.end();
    lines
}

#[test]
fn reads_of_any_size_give_the_same_lines() {
    let long = vec![b'x'; 2 * LONGEST + 1];
    let exact = vec![b'y'; LONGEST];
    let text = [b"a\n\nbc\n", &long[..], b"\n", &exact[..], b"\nunended"].concat();
    let expected: [&[u8]; 8] =
        [b"a", b"", b"bc", &long[..LONGEST], &long[..LONGEST], b"x", &exact, b"unended"];
    for read in [1, 3, 4095, 4096, LONGEST, LONGEST + 1, text.len()] {
        assert_eq!(split(&text, read), expected, "in reads of {read}");
    }
}
