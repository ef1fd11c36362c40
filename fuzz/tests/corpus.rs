//! The kept inputs of every target, run as an ordinary test; and where they come from.
//!
//! `IPA_WRITE_CORPUS=1 cargo test -p ipa-fuzz` writes the seeds and the first inputs anew. Further inputs, those that a fuzzer found
//! something with, are put beside them by hand.

use std::fs;
use std::path::{Path, PathBuf};

use ipa_fuzz::TARGETS;
use ipa_fuzz::log::LOG;
use ipa_fuzz::log::frames::{HEADER, place, taken_up, word};
use rusqlite::Connection;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn is_to_write() -> bool {
    std::env::var_os("IPA_WRITE_CORPUS").is_some()
}

/// Whatever a target's check says to any of its inputs, it says here.
#[test]
fn every_kept_input_passes() {
    if is_to_write() {
        write_corpus();
    }
    for target in TARGETS {
        let mut inputs: Vec<PathBuf> = fs::read_dir(folder("corpus").join(target.name))
            .unwrap_or_else(|error| panic!("{} has no corpus: {error}", target.name))
            .map(|entry| entry.unwrap().path())
            .collect();
        inputs.sort();
        assert!(inputs.len() >= 10, "{} has {} inputs", target.name, inputs.len());
        for input in inputs {
            // Shown if it fails.
            println!("{}", input.display());
            (target.check)(&fs::read(input).unwrap());
        }
    }
}

/// The seeds are what the targets take them for.
#[test]
fn the_seeds_are_sound() {
    if is_to_write() {
        write_seeds();
    }
    let read = |name: &str| fs::read(folder("seeds").join(name)).unwrap();
    let (log, before) = (read("pages.db-wal"), read("pages.before-last.db-wal"));
    let (commits, frames) = taken_up(&log);
    let (commits_before, frames_before) = taken_up(&before);
    assert_eq!((commits, commits_before), (6, 5));
    assert!(frames_before + 1 < frames, "the last transaction has several pages");
    assert_eq!(log.len(), before.len(), "an earlier log stands behind");
    assert_eq!(word(&log, 8), 512);
    let last = place(&log, frames_before as usize);
    assert_eq!(log[..last], before[..last]);
}

/// A log of several transactions of several pages each, with an earlier, longer one behind it, before and after its last one.
fn write_seeds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pages.db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE a (n INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT); CREATE INDEX i ON a (text);",
        )
        .unwrap();
    let insert = |count: usize| {
        for n in 0..count {
            let text = format!("{n} {}", "x".repeat(90));
            connection.execute("INSERT INTO a (text) VALUES (?1)", [text]).unwrap();
        }
    };
    let keep = |ending: &str, name: &str| {
        fs::create_dir_all(folder("seeds")).unwrap();
        let from = directory.path().join(format!("pages.db{ending}"));
        fs::copy(from, folder("seeds").join(name)).unwrap();
    };
    insert(10);
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
    keep("", "pages.db");
    insert(5);
    keep("-wal", "pages.before-last.db-wal");
    insert(1);
    keep("-wal", "pages.db-wal");
}

fn write_corpus() {
    let write = |target: &str, name: &str, bytes: &[u8]| {
        let folder = folder("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    };
    // An edit of a log: which, at, count, value.
    let edit = |kind: u8, at: u16, count: u8, value: u16| {
        let ([a, b], [c, d]) = (at.to_le_bytes(), value.to_le_bytes());
        vec![kind, a, b, count, c, d]
    };
    let logs: [(&str, Vec<Vec<u8>>); 14] = [
        ("untouched", vec![]),
        ("byte", vec![edit(0, 3, 0x55, 100)]),
        ("commit-mark-wiped", vec![edit(1, 9, 1, 0)]),
        ("page-zero", vec![edit(1, 4, 0, 0), edit(8, 4, 0, 0)]),
        ("sectors", vec![edit(2, 7, 2, 0)]),
        ("copied", vec![edit(3, 2, 3, 8), edit(8, 0, 0, 0)]),
        ("removed", vec![edit(4, 5, 1, 0)]),
        ("inserted", vec![edit(5, 2, 0, 6), edit(8, 6, 0, 0)]),
        ("truncated", vec![edit(6, 300, 7, 0)]),
        ("extended", vec![edit(7, 0, 3, 1), edit(8, 0, 0, 0)]),
        ("big-endian", vec![edit(9, 0, 0, 1), edit(10, 0, 0, 0), edit(8, 0, 0, 0)]),
        ("larger-pages", vec![edit(9, 0, 2, 3), edit(10, 0, 0, 0), edit(8, 0, 0, 0)]),
        ("other-salt", vec![edit(1, 6, 2, 7), edit(11, 20, 0, 0)]),
        ("other-format", vec![edit(9, 0, 1, 7), edit(10, 0, 0, 0)]),
    ];
    for (name, edits) in &logs {
        write("recovery", name, &edits.concat());
        write("log", name, &[&[0][..], &edits.concat()].concat());
        // The same done to a store that was killed, read-write and read-only.
        for (how, what) in [(1, "log"), (3, "log-read-only")] {
            let script: Vec<u8> = edits.iter().flat_map(|edit| [&[8][..], edit].concat()).collect();
            if !script.is_empty() {
                write("open", &format!("{what}-{name}"), &[&[how][..], &script].concat());
            }
        }
    }
    write("log", "power-loss", &[1, 0, 0b1010_0101, 0b0110]);
    write("log", "power-loss-at-the-end", &[1, 1, 2, 0b0101_1010]);
    write("log", "damage", &[2, 200, 3, 0xff]);
    write("log", "raw", &[&[3][..], &LOG[..HEADER + 536]].concat());

    let stores: [(&str, &[u8]); 15] = [
        ("closed", &[0]),
        ("killed", &[1]),
        ("read-only", &[2]),
        ("killed-read-only", &[3]),
        ("killed-other-mode", &[5]),
        ("byte", &[0, 2, 200, 0, 3, 0xff]),
        ("page-size", &[0, 3, 0, 0, 2]),
        ("newer", &[0, 3, 14, 99, 0]),
        ("another-program", &[0, 3, 16, 7, 0]),
        ("cut-off", &[0, 4, 0, 0x20]),
        ("zeros", &[1, 6, 20, 0, 0]),
        ("pages-exchanged", &[1, 7, 3, 5]),
        ("log-gone", &[1, 9, 0]),
        ("journal-beside", &[0, 10, 1, 0, 2, 1]),
        ("text", &[0, 11, 0, 2, b'x']),
    ];
    for (name, script) in stores {
        write("open", name, script);
    }
    for statement in 0..30 {
        for (how, killed) in [(0, 0), (1, 1)] {
            write("open", &format!("sql-{statement}-{killed}"), &[how, 0, statement, 3, 0, killed]);
        }
    }

    let tasks = fs::read_to_string(folder("../ipa-eventstore/examples/tasks/tasks.toml")).unwrap();
    let of_file = tasks.split("\n[[task]]\n").skip(1).map(|task| format!("[[task]]\n{task}"));
    let wrong = [
        "",
        "[[task]]",
        "task = 1",
        "[[task]]\nid = \"a\"\ntitle = \"\u{feff}\r\"\n",
        "\u{0}",
        "[[task]]\nid = \"a\"\ntitle = \"A\"\n[[task.step]]\nid = \"s\"\ncommand = \"x\"\nafter = [\"s\"]\n",
        "[[task]]\nid = \"a\"\ntitle = \"A\"\n[[task.step]]\nid = \"s\"\ncommand = []\ntimeout = \"9999999999999999999h\"\n",
        "[[task]]\nid = \"a\"\ntitle = \"A\"\nstep = [{ id = \"s\", command = [\"x\"], retries = 4294967295, env = { A = \"1\" }, timeout = \"168 h\" }]\n",
    ];
    for (number, text) in of_file.take(12).chain(wrong.map(String::from)).enumerate() {
        write("plan", &format!("{number:02}.toml"), text.as_bytes());
    }
    write("plan", "not-utf-8.toml", b"[[task]]\nid = \"\xff\"\n");
}
