//! A store's events as JSON lines: to take them to another store, or to read them with other tools.
//!
//! Apart, because it knows no file and no SQLite: [`Export`] and [`Import`] work on any
//! [`EventStore`], any [`Write`](std::io::Write) and any [`BufRead`](std::io::BufRead), and
//! [`Lines`] reads the format with no store at all. The one trick: payloads are kept to the byte
//! and yet every record is one line.
//!
//! # The format
//!
//! UTF-8, one JSON object a line. Lines that are blank are ignored.
//!
//! ```json
//! {"format":"ipa-events","version":1}
//! {"stream":{"name":"task-1","type":"task","created_at":"2026-01-02T03:04:05.678901Z"}}
//! {"event":{"stream":"task-1","version":1,"id":"019b7c2e-7a9e-7000-8000-000000000001","type":"created","schema_version":1,"recorded_at":"2026-01-02T03:04:05.678901Z","position":"0000000000000000000000000000000000000001","actor":"ann","data":{"n":  1.0}}}
//! {"snapshot":{"stream":"task-1","version":1,"schema":1,"data":{"n":1}}}
//! {"end":{"streams":1,"events":1,"snapshots":1}}
//! ```
//!
//! - The first line names the format and its version. The last one counts the lines before it; without
//!   it the file was cut short, and importing it is an error.
//! - A stream's line comes before its first event. Events stand in the order of their positions, those
//!   of a stream by their versions, each version one above the one before it.
//! - `actor`, `causation`, `correlation` and `metadata` are left out where an event has none. `metadata`
//!   that is `null` is a JSON null, which is something else.
//! - `data` and `metadata` are the stored bytes. Where those contain a line break they are given as
//!   a JSON string instead, which holds the text: `data_text`, `metadata_text`.
//! - `created_at`, `recorded_at` and `position` tell of the store that was exported, and may be left out:
//!   the store that imports gives new ones. Fields that are not known are an error.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! use ipa_eventstore::transfer::{Export, Import, Lines};
//! use ipa_eventstore::{EventStore, InMemoryEventStore, NewEvent, StreamType};
//!
//! let store = InMemoryEventStore::new();
//! let first = vec![NewEvent::json("created", &())?];
//! let task = store.start_stream(&StreamType::new("task")?, None, first).await?;
//!
//! let mut text = Vec::new();
//! let exported = Export::new(&store).run(&mut text, |_| {}).await?;
//! assert_eq!((exported.streams, exported.events), (1, 1));
//!
//! let copy = InMemoryEventStore::new();
//! let mut import = Import::new(&copy);
//! import.run(Lines::new(text.as_slice())?).await?;
//! assert_eq!(import.done().events, 1);
//! assert_eq!(copy.stream_version(&task).await?, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! [`EventStore`]: crate::EventStore

mod error;
mod export;
mod format;
mod import;
mod lines;

pub use error::{ExportError, ImportError};
pub use export::{Export, Exported};
pub use format::{EndLine, EventLine, FORMAT, FORMAT_VERSION, Line, SnapshotLine, StreamLine};
pub use import::{Import, Imported};
pub use lines::Lines;
