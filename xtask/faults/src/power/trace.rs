//! The shim's trace, read.

use std::{fs, io, path::Path};

/// One thing that a process did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A file was opened (and created, if it was not there) under this number; "" is the directory.
    Open { open: u32, name: String },
    /// Bytes were written.
    Write { open: u32, offset: u64, data: Vec<u8> },
    /// The length was set.
    Truncate { open: u32, length: u64 },
    /// A file, or the directory, was synced.
    Sync { open: u32 },
    /// A sync failed.
    FailedSync { open: u32 },
    /// A name went.
    Unlink { name: String },
    /// A name became another.
    Rename { from: String, to: String },
    /// The process said something.
    Mark(String),
}

/// Reads a trace. A last record that is incomplete is left out: the process was killed.
///
/// # Errors
///
/// When the file cannot be read, or is no trace.
pub fn read(path: &Path) -> io::Result<Vec<Record>> {
    parse(&fs::read(path)?)
}

fn parse(bytes: &[u8]) -> io::Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while let Some((head, tail)) = rest.split_at_checked(17) {
        let number = |from: usize, to: usize| {
            head[from..to].iter().rev().fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte))
        };
        let (open, offset, length) = (number(1, 5) as u32, number(5, 13), number(13, 17) as usize);
        let Some((data, tail)) = tail.split_at_checked(length) else {
            break;
        };
        rest = tail;
        let text = || String::from_utf8_lossy(data).into_owned();
        records.push(match head[0] {
            b'O' => Record::Open { open, name: text() },
            b'W' => Record::Write { open, offset, data: data.to_vec() },
            b'T' => Record::Truncate { open, length: offset },
            b'S' => Record::Sync { open },
            b'F' => Record::FailedSync { open },
            b'U' => Record::Unlink { name: text() },
            b'R' => match text().split_once('/') {
                Some((from, to)) => Record::Rename { from: from.to_owned(), to: to.to_owned() },
                None => return Err(no_trace("a rename without two names")),
            },
            b'M' => Record::Mark(text()),
            other => return Err(no_trace(&format!("a record of kind {other}"))),
        });
    }
    Ok(records)
}

fn no_trace(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a trace of the shim: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_apart_and_the_last_one_may_be_torn() {
        let record = |kind: u8, open: u8, offset: u8, data: &[u8]| {
            let mut bytes = vec![kind, open, 0, 0, 0, offset, 0, 0, 0, 0, 0, 0, 0, data.len() as u8, 0, 0, 0];
            bytes.extend(data);
            bytes
        };
        let mut bytes = [
            record(b'O', 1, 0, b"a"),
            record(b'W', 1, 9, b"xy"),
            record(b'S', 1, 0, b""),
            record(b'R', 0, 0, b"a/b"),
        ]
        .concat();
        let whole = bytes.len();
        bytes.extend(record(b'M', 0, 0, b"said"));
        let expected = [
            Record::Open { open: 1, name: "a".into() },
            Record::Write { open: 1, offset: 9, data: b"xy".to_vec() },
            Record::Sync { open: 1 },
            Record::Rename { from: "a".into(), to: "b".into() },
            Record::Mark("said".into()),
        ];
        assert_eq!(parse(&bytes).unwrap(), expected);
        for cut in whole..bytes.len() {
            assert_eq!(parse(&bytes[..cut]).unwrap(), expected[..4], "{cut}");
        }
        assert!(parse(&record(b'?', 0, 0, b"")).is_err());
    }
}
