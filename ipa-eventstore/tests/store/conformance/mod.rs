//! One suite for every [`EventStore`]: each function takes an empty store and shows one promise.

pub mod append;
pub mod read;
pub mod retry;
pub mod snapshots;
pub mod streams;
pub mod subscribe;

use std::sync::Arc;
use std::time::Duration;

use ipa_eventstore::{EventStore, Expected, NewEvent, RecordedEvent, StreamId, StreamType, Subscription};

pub type Store = Arc<dyn EventStore>;

/// Makes a test of every function of the suite. `$run` takes a function and gives it a store.
macro_rules! conformance {
    (#$test:tt $run:path) => {
        $crate::conformance::conformance! { @module $test $run; append:
            appends_number_their_stream_alone
            events_come_back_to_the_byte
            exact_version_that_matches
            exact_version_that_does_not_match
            exact_zero_is_a_real_check
            missing_streams_are_not_created
            an_append_touches_updated_at_only
            ten_appends_at_once_leave_no_gap
            a_hundred_appenders_race_for_exact_versions
            a_batch_is_one_append
            a_batch_is_checked_once
            an_empty_batch_does_nothing
            invalid_appends_are_refused
            positions_rise_and_are_never_used_twice
        }
        $crate::conformance::conformance! { @module $test $run; retry:
            a_retry_gets_the_first_answer
            ids_come_before_existence_and_version
            a_partial_overlap_is_refused
            ids_in_another_stream_are_refused
            ids_in_another_order_are_refused
            deleted_ids_are_free_again
        }
        $crate::conformance::conformance! { @module $test $run; read:
            reads_are_ascending
            after_is_exclusive
            backward_has_the_same_bounds
            max_count_is_taken_after_the_filter
            event_types_filter
            everything_at_once
            an_empty_stream_is_not_missing
            read_all_follows_positions
            long_reads_cross_pages
            foreign_positions_are_refused
            a_lifecycle_replays
        }
        $crate::conformance::conformance! { @module $test $run; streams:
            start_stream_makes_ids
            start_stream_refuses_what_stands
            a_stream_starts_with_its_first_events
            blank_names_are_invalid
            exists_true_and_false
            deleted_is_gone
            list_streams_by_type_in_pages
        }
        $crate::conformance::conformance! { @module $test $run; snapshots:
            snapshots_are_saved_loaded_and_replaced
            snapshots_go_forward_only
            saving_a_snapshot_keeps_the_events
            snapshots_of_missing_streams
        }
        $crate::conformance::conformance! { @module $test $run; subscribe:
            a_subscriber_gets_what_reads_give
            a_batch_is_one_event_each
            published_means_readable
            refused_appends_publish_nothing
            publication_is_in_commit_order
            catch_up_crosses_into_live_without_a_seam
            filters_hold_for_history_and_live
            a_slow_subscriber_misses_nothing
            a_dropped_next_loses_nothing
            subscribing_to_a_missing_stream
            deletion_ends_a_subscription_to_its_stream
            a_new_stream_of_the_name_is_another
            the_whole_store_goes_on_past_a_deletion
            a_dropped_append_is_whole_or_absent
        }
    };
    (@module $test:tt $run:path; $module:ident: $($case:ident)*) => {
        mod $module {
            $(
                #$test
                async fn $case() {
                    $run($crate::conformance::$module::$case).await;
                }
            )*
        }
    };
}
pub(crate) use conformance;

pub fn id(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

pub fn kind(name: &str) -> StreamType {
    StreamType::new(name).unwrap()
}

pub fn event(event_type: &str) -> NewEvent {
    NewEvent::json(event_type, &serde_json::json!({ "of": event_type })).unwrap()
}

pub fn events(count: usize) -> Vec<NewEvent> {
    (1..=count).map(|n| event(&format!("e{n}"))).collect()
}

/// Creates a stream of type "task" with so many events.
pub async fn stream(store: &Store, name: &str, count: usize) -> StreamId {
    let id = id(name);
    let expected = Expected::NoStream(kind("task"));
    store.append(&id, expected, events(count)).await.unwrap();
    id
}

pub fn versions(events: &[RecordedEvent]) -> Vec<u64> {
    events.iter().map(|event| event.version).collect()
}

/// The next event of a subscription; a minute without one is a failure and not a hang.
pub async fn next(subscription: &mut Subscription) -> RecordedEvent {
    tokio::time::timeout(Duration::from_secs(60), subscription.next())
        .await
        .expect("an event within a minute")
        .expect("the subscription goes on")
        .expect("an event")
}

/// As [`next`], so many.
pub async fn take(subscription: &mut Subscription, count: usize) -> Vec<RecordedEvent> {
    let mut events = Vec::with_capacity(count);
    for _ in 0..count {
        events.push(next(subscription).await);
    }
    events
}
