//! The list of all cases, and what makes tests of it.

use super::{
    Case, append, dropped, foreign_positions, positions, races, read, reopen, retry, snapshots, streams,
    subscribe,
};

/// Makes a test of every case of the conformance suite, in a module for each chapter.
///
/// The first argument is the attribute of each test, the second a function that is called by each,
/// with its case: `async fn run(case: Case)`. It makes a [`Subject`](crate::testkit::Subject) and
/// gives it to [`Case::run`](crate::testkit::Case::run). After `with` come the abilities that the
/// store has beyond the contract, in this order: `reopen`, `foreign_positions`.
///
/// ```
/// mod suite {
///     use ipa_eventstore::testkit::{Case, Subject};
///     use ipa_eventstore::{InMemoryEventStore, Position};
///
///     async fn run(case: Case) {
///         let foreign = [Position::from_parts(1, 0, 0)]; // a generation that this store never has
///         case.run(Subject::new(InMemoryEventStore::new()).foreign_positions(foreign)).await;
///     }
///
///     // append::exact_zero_is_a_real_check, append::a_batch_is_one_append ...
///     ipa_eventstore::conformance! { #[tokio::test(start_paused = true)] run, with foreign_positions }
/// }
/// ```
///
/// It is to stand in a module of its own, in which `run` is defined or imported.
#[macro_export]
macro_rules! conformance {
    (#$test:tt $run:path) => {
        $crate::__conformance_cases! { tests [$test $run] without without }
    };
    (#$test:tt $run:path, with reopen) => {
        $crate::__conformance_cases! { tests [$test $run] with without }
    };
    (#$test:tt $run:path, with foreign_positions) => {
        $crate::__conformance_cases! { tests [$test $run] without with }
    };
    (#$test:tt $run:path, with reopen, foreign_positions) => {
        $crate::__conformance_cases! { tests [$test $run] with with }
    };
}

/// The list. Each chapter says whether it is in: those that need an ability only with that ability.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {
    ($make:ident $args:tt $reopen:ident $foreign_positions:ident) => {
        $crate::__conformance_make! { $make $args
            with append:
                appends_number_their_stream_alone
                events_come_back_to_the_byte
                exact_version_that_matches
                exact_version_that_does_not_match
                exact_version_at_a_position
                exact_zero_is_a_real_check
                missing_streams_are_not_created
                an_append_touches_updated_at_only
                a_batch_is_one_append
                a_batch_is_checked_once
                an_empty_batch_does_nothing
                invalid_appends_are_refused
                odd_ids_names_and_numbers_come_back
                large_events_come_back
                times_are_the_wall_clocks
                a_batch_of_thousands_is_whole
                a_refused_batch_leaves_nothing
                an_empty_append_creates_with_no_stream_only
                invalid_is_told_first
            ;
            with retry:
                a_retry_gets_the_first_answer
                ids_come_before_existence_and_version
                a_partial_overlap_is_refused
                ids_in_another_stream_are_refused
                ids_in_another_order_are_refused
                deleted_ids_are_free_again
                a_stored_run_is_a_duplicate
                a_retry_does_not_rewrite
                a_creation_may_be_repeated
                a_retry_is_no_append
            ;
            with read:
                reads_are_ascending
                after_is_exclusive
                backward_has_the_same_bounds
                max_count_is_taken_after_the_filter
                event_types_filter
                everything_at_once
                an_empty_stream_is_not_missing
                read_all_follows_positions
                long_reads_cross_pages
                a_lifecycle_replays
                every_mixture_of_a_stream_s_options
                every_mixture_of_the_store_s_options
                pages_give_each_event_once
            ;
            with positions:
                positions_rise_and_are_never_used_twice
                positions_are_tokens
                an_append_tells_its_position
                the_newest_event_s_position_stays_used
                a_deleted_event_s_position_is_still_a_place
                refused_appends_take_no_position_from_others
            ;
            with streams:
                start_stream_makes_ids
                start_stream_refuses_what_stands
                a_stream_starts_with_its_first_events
                blank_names_are_invalid
                exists_true_and_false
                deleted_is_gone
                list_streams_by_type_in_pages
                a_stream_without_events_is_quiet
                a_new_store_is_empty
                a_deleted_stream_is_missing_everywhere
                a_name_can_be_used_again
                pages_of_a_list_that_changes
                long_lists_are_whole
            ;
            with snapshots:
                snapshots_are_saved_loaded_and_replaced
                snapshots_go_forward_only
                saving_a_snapshot_keeps_the_events
                snapshots_of_missing_streams
                a_refused_snapshot_changes_nothing
                a_snapshot_goes_with_its_stream
                snapshots_come_back_to_the_byte
                a_snapshot_is_no_event
            ;
            with subscribe:
                a_subscriber_gets_what_reads_give
                a_batch_is_one_event_each
                refused_appends_publish_nothing
                filters_hold_for_history_and_live
                a_slow_subscriber_misses_nothing
                subscribing_to_a_missing_stream
                deletion_ends_a_subscription_to_its_stream
                a_new_stream_of_the_name_is_another
                the_whole_store_goes_on_past_a_deletion
                from_every_place
                empty_filters_let_nothing_through
                subscriptions_are_independent
                subscribing_after_a_deletion
                dropped_subscribers_are_forgotten
                deletion_in_the_middle_of_history
            ;
            with races:
                ten_appends_at_once_leave_no_gap
                a_hundred_appenders_race_for_exact_versions
                published_means_readable
                publication_is_in_commit_order
                catch_up_crosses_into_live_without_a_seam
                the_same_append_at_once_is_stored_once
                of_many_creators_one_wins
                batches_are_seen_whole
                all_views_agree
                appends_race_a_deletion
                the_newest_of_many_snapshots_stays
            ;
            with dropped:
                a_dropped_next_loses_nothing
                a_dropped_append_is_whole_or_absent
                a_retry_after_a_dropped_append_stores_it_once
                a_dropped_append_that_is_stored_is_published
                a_dropped_deletion_is_whole_or_absent
                a_dropped_snapshot_is_the_old_or_the_new
                dropped_reads_hold_nothing_up
                next_may_be_dropped_anywhere
            ;
            $reopen reopen:
                everything_is_there_after_reopening
                everything_goes_on_after_reopening
                a_subscriber_goes_on_after_reopening
                closing_ends_what_hangs_on_it
            ;
            $foreign_positions foreign_positions:
                foreign_positions_are_refused
            ;
        }
    };
}

/// Tests of it, or the array of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_make {
    (tests $args:tt $($included:ident $chapter:ident: $($case:ident)*;)*) => {
        $($crate::__conformance_chapter! { $included $args $chapter $($case)* })*
    };
    (array [] $(with $chapter:ident: $($case:ident)*;)*) => {
        &[$($(
            Case {
                chapter: stringify!($chapter),
                name: stringify!($case),
                body: |subject| Box::pin(async move { $chapter::$case((&subject).into()).await }),
            },
        )*)*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_chapter {
    (without $args:tt $($rest:ident)*) => {};
    (with [$test:tt $run:path] $chapter:ident $($case:ident)*) => {
        mod $chapter {
            #[allow(unused_imports)]
            use super::*;

            $(
                #$test
                async fn $case() {
                    let case = concat!(stringify!($chapter), "::", stringify!($case));
                    $run($crate::testkit::case(case)).await;
                }
            )*
        }
    };
}

/// All cases, chapter by chapter, those included that not every subject can be put through.
pub static CASES: &[Case] = crate::__conformance_cases! { array [] with with };

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::CASES;

    /// A case that is written and not listed would never run.
    #[test]
    fn every_case_is_listed_once() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testkit");
        let mut written = Vec::new();
        for chapter in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = chapter.file_stem().unwrap().to_str().unwrap().to_owned();
            if ["fixtures", "list", "mod", "subject"].contains(&&*name) {
                continue;
            }
            for line in std::fs::read_to_string(&chapter).unwrap().lines() {
                if let Some(case) = line.strip_prefix("pub async fn ") {
                    written.push(format!("{name}::{}", case.split('(').next().unwrap()));
                }
            }
        }
        let mut listed: Vec<_> = CASES.iter().map(ToString::to_string).collect();
        written.sort();
        listed.sort();
        assert_eq!(listed, written);
        assert!(listed.len() > 90, "{}", listed.len());
    }
}
