//! A directory with a store, and the tool run on it.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use ipa_eventstore::{EventStore, Expected, NewEvent, SqliteEventStore, StreamId, StreamType};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> PathBuf {
        self.beside("events.db")
    }

    pub fn beside(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub async fn open(&self) -> SqliteEventStore {
        SqliteEventStore::open(self.path()).await.unwrap()
    }

    /// The store, closed, with so many events in each of these streams of type "task".
    pub async fn with(streams: &[(&str, usize)]) -> Self {
        let place = Self::new();
        let store = place.open().await;
        for (name, count) in streams {
            stream(&store, name, *count).await;
        }
        store.close().await.unwrap();
        place
    }

    /// Another program's connection to the store's file.
    pub fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    /// The names of the directory's files, sorted.
    pub fn files(&self) -> Vec<String> {
        let entries = self.0.path().read_dir().unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.beside(name), text).unwrap();
    }

    pub fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.beside(name)).unwrap()
    }

    /// The tool, in this directory: files are named without it.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ipa-events"));
        command.current_dir(self.0.path()).args(words).stdin(Stdio::null());
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran::from(self.command(words).output().unwrap())
    }

    /// Runs it, and it ends well and quietly: what it printed.
    pub fn ok(&self, words: &[&str]) -> String {
        let ran = self.run(words);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{words:?}: {ran:?}");
        ran.stdout
    }

    /// Runs it, and it ends with this code and one sentence, which names no function of Rust.
    pub fn fails(&self, words: &[&str], code: i32) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, code, "{words:?}: {ran:?}");
        assert_eq!(ran.stdout, "", "{words:?}");
        let error = ran.stderr.lines().last().unwrap_or_default().to_owned();
        assert!(error.starts_with("error: "), "{words:?}: {ran:?}");
        assert!(!error.contains("::") && !error.contains("open_read_only"), "{error}");
        error
    }

    /// Runs it with `--json`: the objects that it printed, one a line.
    pub fn json(&self, words: &[&str]) -> Vec<Value> {
        lines(&self.ok(&[words, &["--json"]].concat()))
    }
}

pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ends by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

pub fn id(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

pub fn events(count: usize) -> Vec<NewEvent> {
    (1..=count).map(|n| NewEvent::json(format!("e{n}"), &json!({ "n": n })).unwrap()).collect()
}

pub async fn stream(store: &SqliteEventStore, name: &str, count: usize) -> StreamId {
    let id = id(name);
    let expected = Expected::NoStream(StreamType::new("task").unwrap());
    store.append(&id, expected, events(count)).await.unwrap();
    id
}

/// A field of each line.
pub fn field<'a>(lines: &'a [Value], name: &str) -> Vec<&'a Value> {
    lines.iter().map(|line| &line[name]).collect()
}

pub fn versions(lines: &[Value]) -> Vec<u64> {
    field(lines, "version").into_iter().map(|version| version.as_u64().unwrap()).collect()
}
