//! Edits of a store's files: its bytes, its log's frames, what its tables hold, and what lies beside it.

use std::fs;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::input::Input;
use crate::log::edit::Edit as LogEdit;

/// The files of a store, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    /// The store's own.
    pub store: Vec<u8>,
    /// Its log, if there is one.
    pub log: Option<Vec<u8>>,
    /// What else lies beside it: the ending of its name, and its bytes.
    pub beside: Vec<(&'static str, Vec<u8>)>,
}

/// One edit.
#[derive(Debug, Clone)]
enum Edit {
    /// Statement `number` is run, and the files are left as a kill leaves them or as a close does.
    Sql { number: u8, value: u16, killed: bool },
    /// A byte of the store's file.
    Byte { at: u16, page: u8, value: u8 },
    /// A number in its header.
    Header { field: u8, value: u16 },
    /// Its file ends here.
    Truncate { at: u16 },
    /// It goes on with so many bytes.
    Extend { bytes: u16, value: u8 },
    /// A sector becomes zeros, or something else.
    Sector { at: u16, value: u8 },
    /// A page is copied over another.
    Page { from: u8, to: u8 },
    /// An edit of the log.
    Log(LogEdit),
    /// The log is gone, or there is one that is empty or another store's.
    OtherLog { which: u8 },
    /// A file beside it.
    Beside { which: u8, bytes: u16, value: u8 },
    /// The file is text.
    Foreign { bytes: u16, value: u8 },
}

/// Where SQLite's file header has its numbers, with their widths.
const HEADER: [(usize, usize); 18] = [
    (16, 2),
    (18, 1),
    (19, 1),
    (20, 1),
    (21, 1),
    (24, 4),
    (28, 4),
    (32, 4),
    (36, 4),
    (40, 4),
    (44, 4),
    (48, 4),
    (52, 4),
    (56, 4),
    (60, 4),
    (64, 4),
    (68, 4),
    (92, 4),
];

const BESIDE: [&str; 6] = ["-shm", "-journal", ".lock", ".ipa-draft", ".ipa-draft-wal", ".ipa-draft-journal"];

/// What could have been done to a store by other programs; `?1` is a number.
const SQL: [&str; 30] = [
    "DELETE FROM events WHERE version = ?1",
    "UPDATE events SET version = -version WHERE version > ?1",
    "UPDATE events SET data = '{' WHERE version = ?1",
    "UPDATE events SET data = CAST(x'22ff22' AS TEXT) WHERE version = ?1",
    "UPDATE events SET metadata = ' ' WHERE version >= ?1",
    "UPDATE events SET event_id = zeroblob(version + ?1)",
    "UPDATE events SET schema_version = -?1",
    "UPDATE events SET recorded_at = 9223372036854775807 - ?1",
    "UPDATE events SET recorded_at = -9223372036854775807 + ?1",
    "UPDATE events SET type = '' WHERE version = ?1",
    "UPDATE events SET stream = 999 WHERE version = ?1",
    "UPDATE events SET position = 9223372036854775807 - ?1 WHERE version = 1",
    "UPDATE events SET position = -position",
    "UPDATE streams SET version = version + ?1",
    "UPDATE streams SET version = 9223372036854775807 - ?1",
    "UPDATE streams SET version = -1",
    "UPDATE streams SET name = '' WHERE id % 2 = ?1 % 2",
    "UPDATE streams SET type = CAST(x'ff' AS TEXT)",
    "UPDATE streams SET created_at = 9223372036854775807, updated_at = -9223372036854775807",
    "UPDATE snapshots SET version = version + ?1",
    "UPDATE snapshots SET data = 'no json', schema = -?1",
    "UPDATE store SET value = 'process-crash' || substr('?', ?1 % 2)",
    "DELETE FROM store",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807 - ?1",
    "DELETE FROM sqlite_sequence",
    "DROP TABLE snapshots",
    "DROP TABLE events",
    "DROP TABLE store",
    "CREATE TRIGGER stop BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END",
    "CREATE TRIGGER change AFTER INSERT ON events BEGIN UPDATE streams SET version = version + 1; END",
];

impl Edit {
    fn read(input: &mut Input<'_>) -> Self {
        match input.byte() % 12 {
            0 | 1 => Self::Sql { number: input.byte(), value: input.short(), killed: input.byte() & 1 == 1 },
            2 => Self::Byte { at: input.short(), page: input.byte(), value: input.byte() },
            3 => Self::Header { field: input.byte(), value: input.short() },
            4 => Self::Truncate { at: input.short() },
            5 => Self::Extend { bytes: input.short(), value: input.byte() },
            6 => Self::Sector { at: input.short(), value: input.byte() },
            7 => Self::Page { from: input.byte(), to: input.byte() },
            8 => Self::Log(LogEdit::read(input)),
            9 => Self::OtherLog { which: input.byte() },
            10 => Self::Beside { which: input.byte(), bytes: input.short(), value: input.byte() },
            _ => Self::Foreign { bytes: input.short(), value: input.byte() },
        }
    }

    fn apply(&self, files: &mut Files, directory: &Path) {
        let store = &mut files.store;
        let length = store.len();
        match *self {
            Self::Sql { number, value, killed } => files.run(directory, number, value, killed),
            Self::Byte { at, page, value } if length > 0 => {
                store[(usize::from(page) * 4096 + usize::from(at) % 4096) % length] = value;
            }
            Self::Header { field, value } => {
                let (at, width) = HEADER[usize::from(field) % HEADER.len()];
                // The highest stand for the highest, and for negative ones.
                let wide = u32::from(value) | if value > u16::MAX - 8 { 0xffff_0000 } else { 0 };
                if let Some(place) = store.get_mut(at..at + width) {
                    place.copy_from_slice(&wide.to_be_bytes()[4 - width..]);
                }
            }
            Self::Truncate { at } => store.truncate(usize::from(at)),
            Self::Extend { bytes, value } => store.resize(length + usize::from(bytes), value),
            Self::Sector { at, value } => {
                let from = (usize::from(at) * 512).min(length);
                let to = (from + 512).min(length);
                store[from..to].fill(value);
            }
            Self::Page { from, to } if length >= 4096 => {
                let pages = length / 4096;
                let from = usize::from(from) % pages * 4096;
                store.copy_within(from..from + 4096, usize::from(to) % pages * 4096);
            }
            Self::Log(edit) => {
                if let Some(log) = &mut files.log {
                    edit.apply(log);
                }
            }
            Self::OtherLog { which } => {
                files.log = match which % 4 {
                    0 => None,
                    1 => Some(Vec::new()),
                    2 => Some(crate::log::LOG.to_vec()),
                    _ => Some(super::KILLED.log.to_vec()),
                };
            }
            Self::Beside { which, bytes, value } => {
                let mut content = vec![value; usize::from(bytes)];
                // Half of them begin as a store does.
                if value & 1 == 1 {
                    let begin = content.len().min(length);
                    content[..begin].copy_from_slice(&store[..begin]);
                }
                files.beside.push((BESIDE[usize::from(which) % BESIDE.len()], content));
            }
            Self::Foreign { bytes, value } => *store = vec![value; usize::from(bytes)],
            Self::Byte { .. } | Self::Page { .. } => {}
        }
    }
}

impl Files {
    /// These files, edited as the input says; the directory is used in between.
    pub fn edited(mut self, mut input: Input<'_>, directory: &Path) -> (Self, String) {
        let mut edits = Vec::new();
        // More edits hit the same places again, and each statement takes its time.
        while !input.is_empty() && edits.len() < 24 {
            let edit = Edit::read(&mut input);
            edit.apply(&mut self, directory);
            edits.push(edit);
        }
        (self, format!("{edits:?}"))
    }

    /// Runs a statement on them, with SQLite alone.
    fn run(&mut self, directory: &Path, number: u8, value: u16, killed: bool) {
        let path = directory.join("sql.db");
        self.write(&path);
        let run = || -> rusqlite::Result<()> {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(&path, flags)?;
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, killed)?;
            let sql = SQL[usize::from(number) % SQL.len()];
            let mut statement = connection.prepare(sql)?;
            match statement.parameter_count() {
                0 => statement.execute([])?,
                _ => statement.execute([i64::from(value % 64)])?,
            };
            Ok(())
        };
        // What does not work on these files changes nothing.
        let _ = run();
        let read = |ending: &str| fs::read(with_ending(&path, ending));
        self.store = read("").unwrap_or_default();
        self.log = read("-wal").ok();
        for ending in ["", "-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(with_ending(&path, ending));
        }
    }

    /// Writes them under this name.
    pub fn write(&self, path: &Path) {
        let write = |ending: &str, bytes: &[u8]| {
            fs::write(with_ending(path, ending), bytes).expect("a temporary file");
        };
        write("", &self.store);
        if let Some(log) = &self.log {
            write("-wal", log);
        }
        for (ending, bytes) in &self.beside {
            write(ending, bytes);
        }
    }
}

/// The file beside the store with this ending.
fn with_ending(path: &Path, ending: &str) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}
