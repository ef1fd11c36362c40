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

/// A line that is too long is not broken within a character; what is no character is broken anywhere.
#[test]
fn characters_stay_whole() {
    for character in ["x", "é", "日", "🦀"] {
        let text = format!("a{}", character.repeat(LONGEST));
        for read in [1, 4096, text.len()] {
            let lines = split(text.as_bytes(), read);
            assert_eq!(lines.concat(), text.as_bytes());
            assert!(lines.iter().all(|line| line.len() <= LONGEST && str::from_utf8(line).is_ok()));
            assert_eq!(
                (lines[0].len() - 1) / character.len(),
                (LONGEST - 1) / character.len(),
                "as many as fit"
            );
        }
    }
    for byte in [0x80, 0xff] {
        let lines = split(&vec![byte; LONGEST + 1], 4096);
        assert_eq!(lines.iter().map(Vec::len).collect::<Vec<_>>(), [LONGEST, 1]);
    }
}
