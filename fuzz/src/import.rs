//! Importing what may be any text: refused with its line, or a store that exports the same again.
//!
//! The input is the file as it is.

use ipa_eventstore::transfer::{Export, Import, ImportError, Imported, Lines};
use ipa_eventstore::{EventStore, InMemoryEventStore, ListStreams};
use serde_json::Value;

/// Panics if a file is refused without its line, if the dry run promises something else, or if what was imported is not what is
/// exported.
pub fn check(input: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let store = InMemoryEventStore::new();
        let (trial, promised) = import(&store, input, true).await;
        assert!(is_empty(&store).await, "a dry run imports nothing");
        let (done, imported) = import(&store, input, false).await;
        // What came before the error stays. The group that an error was in is counted by the dry run alone.
        assert_eq!(done.as_ref().err().map(ImportError::line), trial.as_ref().err().map(ImportError::line));
        match done {
            Err(error) => refused(&error, input),
            Ok(()) => {
                assert_eq!(promised, imported, "the dry run promised something else");
                let (again, second) = import(&store, input, false).await;
                again.expect("what was imported can be imported again");
                assert_eq!((second.streams, second.events, second.snapshots), (0, 0, 0), "{second:?}");
                assert_eq!(second.events_skipped, imported.events + imported.events_skipped);
                exports_the_same(&store).await;
            }
        }
    });
}

async fn import(
    store: &InMemoryEventStore,
    input: &[u8],
    dry_run: bool,
) -> (Result<(), ImportError>, Imported) {
    let lines = match Lines::new(input) {
        Ok(lines) => lines,
        Err(error) => return (Err(error), Imported::default()),
    };
    let mut import = Import::new(store);
    if dry_run {
        import = import.dry_run();
    }
    let result = import.run(lines).await;
    (result, import.done())
}

async fn is_empty(store: &InMemoryEventStore) -> bool {
    store.list_streams(ListStreams::new()).await.is_ok_and(|streams| streams.is_empty())
}

fn refused(error: &ImportError, input: &[u8]) {
    let text = error.to_string();
    assert!(text.starts_with(&format!("line {}", error.line())), "{text}");
    // The line behind the last one is where a file was cut short.
    let lines = input.split(|byte| *byte == b'\n').count() as u64;
    assert!((1..=lines + 1).contains(&error.line()), "there are {lines} lines: {text}");
    assert!(!matches!(error, ImportError::Read { .. }), "memory can be read: {text}");
}

/// What is exported, imported elsewhere and exported again is the same, apart from what tells of the store that it was exported from.
async fn exports_the_same(store: &InMemoryEventStore) {
    let first = export(store).await;
    let other = InMemoryEventStore::new();
    let (imported, _) = import(&other, &first, false).await;
    imported.expect("what was exported can be imported");
    let second = export(&other).await;
    assert_eq!(told(&first), told(&second));
}

async fn export(store: &InMemoryEventStore) -> Vec<u8> {
    let mut text = Vec::new();
    Export::new(store).run(&mut text, |_| {}).await.expect("a store in memory can be read");
    text
}

/// The lines without places and times of a store.
fn told(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let mut line: Value = serde_json::from_slice(line).expect("an exported line is JSON");
            for kind in ["stream", "event"] {
                if let Some(record) = line.get_mut(kind).and_then(Value::as_object_mut) {
                    for own in ["created_at", "recorded_at", "position"] {
                        record.remove(own);
                    }
                }
            }
            line
        })
        .collect()
}
