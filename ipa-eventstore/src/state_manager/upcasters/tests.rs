//! Chains, their gaps, and what is left alone.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::*;
use crate::Position;

fn stored(event_type: &str, schema_version: u32, data: Value) -> RecordedEvent {
    let event = NewEvent::json(event_type, &data)
        .and_then(|event| event.actor("ann").metadata(&json!({"host": "a1"})))
        .unwrap()
        .schema_version(schema_version);
    let stream = StreamId::new("account-1").unwrap();
    RecordedEvent::new(stream, 7, Position::from_parts(0, 0, 9), SystemTime::UNIX_EPOCH, event)
}

/// A step that notes in the data that it was taken.
fn note(name: &'static str) -> impl Fn(&RecordedEvent) -> Result<Json, BoxError> + Send + Sync {
    move |event| {
        let mut taken: Vec<String> = event.data()?;
        taken.push(format!("{name} on {} {}", event.event_type, event.schema_version));
        Ok(Json::of(&taken)?)
    }
}

fn three() -> Upcasters {
    // The order in which they are added does not matter.
    Upcasters::new().step("a", 3, note("third")).step("a", 1, note("first")).step("a", 2, note("second"))
}

#[test]
fn steps_are_taken_in_order_from_wherever_an_event_begins() {
    let all = ["first on a 1", "second on a 2", "third on a 3"];
    for from in 1..=4 {
        let before = stored("a", from, json!([]));
        let after = three().upcast(before.clone()).unwrap();
        assert_eq!(after.data::<Vec<String>>().unwrap(), all[from as usize - 1..]);
        assert_eq!((&*after.event_type, after.schema_version), ("a", 4));
        // All else stays.
        let back = RecordedEvent { schema_version: from, data: before.data.clone(), ..after };
        assert_eq!(back, before);
    }
}

#[test]
fn an_event_of_the_newest_form_is_not_even_parsed() {
    let event = stored("a", 4, json!({"not": "a list"}));
    let after = three().upcast(event.clone()).unwrap();
    assert!(std::ptr::eq(after.data.get(), event.data.get()), "the same bytes, not a copy of them");
    assert_eq!(after, event);
}

#[test]
fn types_that_are_not_spoken_of_are_left_alone() {
    for upcasters in [Upcasters::new(), three()] {
        for version in [0, 1, 9] {
            let event = stored("b", version, json!([]));
            assert_eq!(upcasters.upcast(event.clone()).unwrap(), event);
        }
    }
}

#[test]
fn a_renamed_type_goes_on_under_its_new_name() {
    let upcasters = Upcasters::new()
        .step("old", 1, note("first"))
        .rename("old", 2, "new", note("renamed"))
        .step("new", 3, note("third"));
    let taken = |event_type, version| {
        let after = upcasters.upcast(stored(event_type, version, json!([]))).unwrap();
        assert_eq!((&*after.event_type, after.schema_version), ("new", 4));
        after.data::<Vec<String>>().unwrap()
    };
    assert_eq!(taken("old", 1), ["first on old 1", "renamed on old 2", "third on new 3"]);
    assert_eq!(taken("old", 2), ["renamed on old 2", "third on new 3"]);
    assert_eq!(taken("new", 3), ["third on new 3"]);
    assert_eq!(taken("new", 4), [""; 0]);
    // What there never was is not guessed at.
    let text = upcasters.upcast(stored("new", 2, json!([]))).unwrap_err().to_string();
    assert_eq!(
        text,
        "event 7 of stream account-1, new of schema version 2: there is no upcaster from there to the next \
         schema version"
    );
    let newer = upcasters.upcast(stored("old", 3, json!([]))).unwrap_err();
    assert!(matches!(newer, UpcastError::Newer { newest: 2, .. }), "{newer:?}");
}

#[test]
fn two_types_may_become_one_and_a_name_may_come_back() {
    let upcasters = Upcasters::new()
        .rename("raised", 1, "changed", note("raised"))
        .rename("lowered", 1, "changed", note("lowered"))
        .rename("changed", 2, "raised", note("changed"))
        .newest("raised", 3);
    let after = upcasters.upcast(stored("raised", 1, json!([]))).unwrap();
    assert_eq!(after.data::<Vec<String>>().unwrap(), ["raised on raised 1", "changed on changed 2"]);
    assert_eq!((&*after.event_type, after.schema_version), ("raised", 3));
    assert_eq!(upcasters.upcast(stored("lowered", 1, json!([]))).unwrap().schema_version, 3);
}

#[test]
fn a_gap_in_the_chain_names_the_event_and_where_it_was_left() {
    let upcasters = Upcasters::new().step("a", 1, note("first")).step("a", 3, note("third"));
    let error = upcasters.upcast(stored("a", 1, json!([]))).unwrap_err();
    match &error {
        UpcastError::Missing { at } => {
            assert_eq!((at.stream.as_str(), at.version), ("account-1", 7));
            assert_eq!((&*at.stored.event_type, at.stored.schema_version), ("a", 1));
            assert_eq!((&*at.form.event_type, at.form.schema_version), ("a", 2));
        }
        other => panic!("expected Missing, got {other:?}"),
    }
    assert_eq!(
        error.to_string(),
        "event 7 of stream account-1, a of schema version 1, upcast to a of schema version 2: there is no upcaster \
         from there to the next schema version"
    );
    // The same from before the first step; and beyond the gap all is well.
    assert!(matches!(upcasters.upcast(stored("a", 0, json!([]))), Err(UpcastError::Missing { .. })));
    assert_eq!(upcasters.upcast(stored("a", 3, json!([]))).unwrap().schema_version, 4);
}

#[test]
fn an_event_of_a_newer_program_is_refused() {
    for (upcasters, newest) in
        [(three(), 4), (Upcasters::new().newest("a", 1), 1), (three().newest("a", 6), 6)]
    {
        match upcasters.upcast(stored("a", newest + 1, json!([]))) {
            Err(error @ UpcastError::Newer { newest: known, .. }) => {
                assert_eq!(known, newest);
                let text = error.to_string();
                let whole = format!(
                    "event 7 of stream account-1, a of schema version {}: this program knows it up to schema version \
                     {newest}; run a newer one",
                    newest + 1
                );
                assert_eq!(text, whole);
            }
            other => panic!("expected Newer, got {other:?}"),
        }
        assert!(upcasters.upcast(stored("a", newest, json!([]))).is_ok());
    }
}

#[test]
fn a_step_that_fails_is_named_with_its_cause() {
    let upcasters = three();
    // The second step is the first to find that the data is no list.
    let upcasters = upcasters.step("a", 0, |_| Ok(Json::of("no list")?));
    let error = upcasters.upcast(stored("a", 0, json!([]))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "event 7 of stream account-1, a of schema version 0, upcast to a of schema version 1: the upcaster to the \
         next schema version failed"
    );
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("a event 7 of stream account-1"), "{source}");
}

#[test]
fn what_is_to_be_stored_must_be_of_the_newest_form() {
    let upcasters = three().rename("old", 1, "a", note("renamed"));
    let check = |event_type, version| {
        upcasters.check(&NewEvent::json(event_type, &()).unwrap().schema_version(version))
    };
    assert!(check("a", 4).is_ok());
    assert!(check("b", 1).is_ok() && check("b", 9).is_ok());
    for (event_type, version) in [("a", 1), ("a", 3), ("a", 5), ("old", 1), ("old", 2)] {
        let text = check(event_type, version).unwrap_err().to_string();
        assert!(text.contains(&format!("{event_type} of schema version {version},")), "{text}");
    }
}

#[test]
#[should_panic(expected = "there are two upcasters from a of schema version 2")]
fn two_steps_from_one_form_are_a_mistake() {
    let _ = three().rename("a", 2, "b", note("again"));
}

#[test]
#[should_panic(expected = "there is no schema version after 4294967295")]
fn there_is_no_step_beyond_the_last_version() {
    let _ = Upcasters::new().step("a", u32::MAX, note("beyond"));
}
