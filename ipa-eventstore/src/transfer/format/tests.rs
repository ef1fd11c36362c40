//! Every record survives its line, and no input makes the reader panic.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::transfer::Lines;

fn json() -> impl Strategy<Value = Json> {
    let texts = [
        "null",
        "1.0",
        "{\"a\":  1, \"a\": 2}",
        "\"\\u0041 \\n\"",
        "[\n 1,\r\n\t2 ]",
        "123456789012345678901234567890",
        "\"é\u{9b}\"",
    ];
    let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
    prop_oneof![
        proptest::sample::select(texts.to_vec()).prop_map(|text| Json::parse(text).unwrap()),
        Just(Json::parse(deep).unwrap()),
        ".*".prop_map(|text| Json::of(&text).unwrap()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    ".{1,20}".prop_filter("names are not blank", |name| !name.trim().is_empty() && !name.contains('\0'))
}

fn event() -> impl Strategy<Value = EventLine> {
    let text = || proptest::option::of(".*".prop_map(std::sync::Arc::<str>::from));
    let place =
        (any::<u64>(), proptest::option::of(0..4_000_000_000_000_u64), proptest::option::of(any::<u64>()));
    (name(), 1..u64::MAX, name(), json(), proptest::option::of(json()), (text(), text(), text()), place)
        .prop_map(
            |(
                stream,
                version,
                event_type,
                data,
                metadata,
                (actor, causation, correlation),
                (id, at, position),
            )| {
                let mut event = NewEvent::new(event_type, data).unwrap();
                event.id = EventId::from_uuid(uuid::Uuid::from_u64_pair(id, version));
                event.schema_version = id as u32;
                (event.actor, event.causation, event.correlation) = (actor, causation, correlation);
                event.metadata = metadata;
                EventLine {
                    stream: StreamId::new(stream).unwrap(),
                    version,
                    event,
                    recorded_at: at.map(|micros| SystemTime::UNIX_EPOCH + Duration::from_micros(micros)),
                    position: position.map(|low| Position::from_parts(0, 0, low)),
                }
            },
        )
}

const HEADER: &str = "{\"format\":\"ipa-events\",\"version\":1}\n";

proptest! {
    #[test]
    fn an_event_is_one_line_and_comes_back_to_the_byte(event in event()) {
        let line = Line::Event(event);
        let text = serde_json::to_string(&line).unwrap();
        prop_assert!(!text.contains(['\n', '\r']), "{}", text);
        let file = format!("{HEADER}{text}\n");
        let mut lines = Lines::new(file.as_bytes()).unwrap();
        prop_assert_eq!(lines.next_line().unwrap(), Some((2, line)));
    }

    #[test]
    fn a_snapshot_comes_back_to_the_byte(name in name(), version: u64, schema: u32, data in json()) {
        let snapshot = Snapshot::new(version, schema, data);
        let line = Line::Snapshot(SnapshotLine::new(StreamId::new(name).unwrap(), snapshot));
        let file = format!("{HEADER}{}", serde_json::to_string(&line).unwrap());
        let mut lines = Lines::new(file.as_bytes()).unwrap();
        prop_assert_eq!(lines.next_line().unwrap(), Some((2, line)));
    }

    /// As the fuzz target does, with what looks like lines.
    #[test]
    fn whatever_the_input_there_is_an_end(
        lines in proptest::collection::vec(
            prop_oneof![
                "\\PC*",
                event().prop_map(|event| serde_json::to_string(&Line::Event(event)).unwrap()),
                Just("{\"end\":{\"streams\":0,\"events\":0,\"snapshots\":0}}".to_owned()),
            ],
            0..5,
        ),
        cut: prop::sample::Index,
    ) {
        let mut file = format!("{HEADER}{}", lines.join("\n")).into_bytes();
        file.truncate(cut.index(file.len() + 1));
        let Ok(mut lines) = Lines::new(file.as_slice()) else { return Ok(()) };
        while let Ok(Some((line, _))) = lines.next_line() {
            prop_assert!(line > 1);
        }
    }
}

/// An absent `metadata` and one that is `null` are two things.
#[test]
fn null_is_not_absent() {
    let line = |metadata: &str| {
        format!(
            "{{\"stream\":\"a\",\"version\":1,\"id\":\"{}\",\"type\":\"t\",\"schema_version\":1{metadata},\"data\":null}}",
            uuid::Uuid::nil()
        )
    };
    let read = |metadata| serde_json::from_str::<EventLine>(&line(metadata)).unwrap().event.metadata;
    assert_eq!(read(""), None);
    assert_eq!(read(",\"metadata\":null"), Some(Json::of(&()).unwrap()));
    assert_eq!(read(",\"metadata_text\":\"\\nnull\""), Some(Json::of(&()).unwrap()));
}
