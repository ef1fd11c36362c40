//! The proof of the conformance suite: stores that have one fault each, and the cases that catch it.
//!
//! A suite that passes proves nothing about a suite. So each fault here is put in front of a healthy
//! store (see [`store::Fault`]), and a test asserts that the cases named beside it fail. Two more assert
//! that the healthy store passes in the same harness, and that every case is named by some fault: none
//! of them is there that could not fail.
//!
//! All run under a paused clock, where a case that waits for what never comes is over at once.

mod append;
mod batch;
mod data;
mod dropped;
mod positions;
mod read;
mod reopen;
mod retry;
mod snapshots;
mod store;
mod streams;
mod subscribe;

use std::collections::BTreeSet;

use ipa_eventstore::testkit::{self, CASES, Case};

use self::store::{Fault, subject};

/// Makes a test of each fault: the cases behind it fail on it.
macro_rules! faults {
    ($($module:ident { $($fault:ident => $($case:literal)+;)+ })+) => {
        /// The faults, and what catches each.
        const FAULTS: &[(&str, &[&str])] = &[$($((stringify!($fault), &[$($case),+])),+),+];

        /// Each test is named as its fault.
        #[allow(non_snake_case)]
        mod caught {
            $($(
                #[tokio::test(start_paused = true)]
                async fn $fault() {
                    super::assert_caught::<super::$module::$fault>(&[$($case),+]).await;
                }
            )+)+
        }
    };
}

faults! {
    append {
        SecondAppenderAcknowledged => "races::a_hundred_appenders_race_for_exact_versions";
        SecondCreatorAcknowledged => "races::of_many_creators_one_wins";
        AnyConflictsUnderLoad => "races::ten_appends_at_once_leave_no_gap";
        ExactZeroUnchecked => "append::exact_zero_is_a_real_check";
        OlderIsGoodEnough =>
            "append::exact_version_that_does_not_match" "races::a_hundred_appenders_race_for_exact_versions";
        ExpectsTheNextVersion => "append::exact_version_that_matches";
        PositionUnchecked => "append::exact_version_at_a_position";
        EachEventIsChecked => "append::a_batch_is_checked_once";
        MissingIsCreated => "append::missing_streams_are_not_created";
        StandingIsNoConflict =>
            "append::missing_streams_are_not_created" "streams::start_stream_refuses_what_stands";
        EmptyIsUnchecked => "append::an_empty_batch_does_nothing";
        EmptyNeedsNoStream => "append::an_empty_append_creates_with_no_stream_only";
        ConflictTellsNothing => "append::exact_version_that_does_not_match";
        RefusalBurnsAVersion => "append::exact_version_that_does_not_match";
        VersionsWithGaps => "append::a_batch_is_one_append" "append::a_batch_of_thousands_is_whole";
        OneNumberForAllStreams => "append::appends_number_their_stream_alone" "races::all_views_agree";
    }
    batch {
        HalfStaysOnOverlap => "append::a_refused_batch_leaves_nothing" "retry::a_partial_overlap_is_refused";
        HalfStaysOnInvalid => "append::a_refused_batch_leaves_nothing" "append::invalid_appends_are_refused";
        CreationStays =>
            "append::a_refused_batch_leaves_nothing" "retry::ids_in_another_stream_are_refused"
            "streams::a_stream_starts_with_its_first_events";
        BatchReversed => "append::a_batch_is_one_append" "append::a_batch_of_thousands_is_whole";
        BatchCutAtAThousand => "append::a_batch_of_thousands_is_whole";
        BatchInPieces => "races::batches_are_seen_whole" "dropped::a_dropped_append_is_whole_or_absent";
        TimesWithinABatch => "append::a_batch_is_one_append" "append::times_are_the_wall_clocks";
        TwiceIsOnce => "append::invalid_appends_are_refused";
        InvalidIsToldLast => "append::invalid_is_told_first";
    }
    data {
        DataWrittenAnew => "append::events_come_back_to_the_byte";
        AbsentBecomesNull => "append::events_come_back_to_the_byte";
        EmptyBecomesAbsent => "append::events_come_back_to_the_byte";
        CausationIsCorrelation => "append::events_come_back_to_the_byte";
        SchemaVersionCut => "append::events_come_back_to_the_byte" "append::odd_ids_names_and_numbers_come_back";
        TimesBeginWithTheProcess => "append::times_are_the_wall_clocks";
        TimesAreTooFine => "append::times_are_the_wall_clocks";
        DataStandsStill => "read::a_lifecycle_replays";
        LargeIsRefused => "append::large_events_come_back";
        NilIsReplaced => "append::odd_ids_names_and_numbers_come_back";
        NamesIgnoreCase => "append::odd_ids_names_and_numbers_come_back" "streams::exists_true_and_false";
        NamesAreTrimmed => "append::odd_ids_names_and_numbers_come_back" "streams::blank_names_are_invalid";
        TouchedByAnEmptyAppend => "append::an_empty_batch_does_nothing";
        TouchedByARefusal => "append::exact_version_that_does_not_match";
        TouchedByARetry => "retry::a_retry_gets_the_first_answer" "retry::a_retry_is_no_append";
        TouchedByASnapshot => "snapshots::a_snapshot_is_no_event" "snapshots::saving_a_snapshot_keeps_the_events";
        UpdatedAtStandsStill => "append::an_append_touches_updated_at_only";
        CreatedAtMoves => "append::an_append_touches_updated_at_only";
        CreatedEarlier => "streams::blank_names_are_invalid" "streams::a_stream_starts_with_its_first_events";
    }
    retry {
        RetryDoubles =>
            "retry::a_retry_gets_the_first_answer" "dropped::a_retry_after_a_dropped_append_stores_it_once"
            "races::the_same_append_at_once_is_stored_once";
        DuplicateIsUnmarked => "retry::a_retry_gets_the_first_answer" "retry::ids_come_before_existence_and_version";
        DuplicateAtANewPosition => "retry::a_retry_gets_the_first_answer" "retry::a_stored_run_is_a_duplicate";
        DuplicateAtTheStreamsVersion => "retry::a_retry_gets_the_first_answer";
        ExpectationBeforeIds => "retry::a_retry_gets_the_first_answer" "retry::ids_come_before_existence_and_version";
        ExistenceBeforeIds => "retry::ids_come_before_existence_and_version" "retry::a_creation_may_be_repeated";
        OverlapStoresTheRest => "retry::a_partial_overlap_is_refused";
        IdsOfOneStreamOnly => "retry::ids_in_another_stream_are_refused";
        OrderDoesNotCount => "retry::ids_in_another_order_are_refused";
        IdsOutliveTheirStream => "retry::deleted_ids_are_free_again";
        OnlyWholeBatchesAreKnown => "retry::a_stored_run_is_a_duplicate";
        RetryRewrites => "retry::a_retry_does_not_rewrite";
        RetryIsPublished => "retry::a_retry_is_no_append" "subscribe::refused_appends_publish_nothing";
        ConflictIsPublished => "subscribe::refused_appends_publish_nothing";
    }
    read {
        AfterIsInclusive => "read::after_is_exclusive" "read::every_mixture_of_a_stream_s_options";
        BeforeIsInclusive => "read::after_is_exclusive" "read::every_mixture_of_a_stream_s_options";
        BackwardBoundsSwapped => "read::backward_has_the_same_bounds";
        BackwardBeginsAtAfter => "read::backward_has_the_same_bounds";
        BackwardIsTurnedRound => "read::backward_has_the_same_bounds" "read::everything_at_once";
        EmptyTypesAreNone => "read::event_types_filter";
        ZeroIsAll => "read::max_count_is_taken_after_the_filter";
        CutAtAThousand => "read::long_reads_cross_pages";
        LostBetweenPages => "read::long_reads_cross_pages";
        PagesLeaveOneOut => "read::pages_give_each_event_once";
        FilterAfterLimit => "read::max_count_is_taken_after_the_filter" "read::everything_at_once";
        TypesIgnoreCase => "read::event_types_filter";
        UnsortedReads => "read::reads_are_ascending";
        EmptyIsMissing => "read::an_empty_stream_is_not_missing";
        MissingIsEmpty => "read::an_empty_stream_is_not_missing" "read::max_count_is_taken_after_the_filter";
        AfterIsInclusiveInAll => "read::read_all_follows_positions" "positions::positions_are_tokens";
        EmptyKindsAreNone =>
            "read::read_all_follows_positions" "read::every_mixture_of_the_store_s_options";
        OneFilterOnly => "read::read_all_follows_positions" "read::every_mixture_of_the_store_s_options";
        CountIgnoredForward => "read::every_mixture_of_the_store_s_options";
        StreamByStream => "read::read_all_follows_positions" "positions::positions_are_tokens";
        ForeignIsTheEnd => "foreign_positions::foreign_positions_are_refused";
    }
    positions {
        OnePositionForABatch => "positions::positions_are_tokens" "append::a_batch_is_one_append";
        UsedAgainAfterDeletion =>
            "positions::positions_rise_and_are_never_used_twice"
            "positions::the_newest_event_s_position_stays_used" "reopen::everything_goes_on_after_reopening";
        PositionsFall => "positions::positions_rise_and_are_never_used_twice" "positions::positions_are_tokens";
        RefusalFreesAPosition => "positions::refused_appends_take_no_position_from_others";
        FirstIsAtTheStart => "positions::positions_rise_and_are_never_used_twice" "positions::positions_are_tokens";
        AnsweredWithTheFirst => "positions::an_append_tells_its_position";
        DeletedPlaceIsTheStart => "positions::a_deleted_event_s_position_is_still_a_place";
        DeletedPlaceIsRefused =>
            "positions::a_deleted_event_s_position_is_still_a_place" "subscribe::subscribing_after_a_deletion";
    }
    streams {
        DeletionLeavesEvents => "streams::deleted_is_gone" "races::appends_race_a_deletion";
        DeletionLeavesTheSnapshot => "streams::deleted_is_gone" "snapshots::a_snapshot_goes_with_its_stream";
        DeletingNothingIsFine => "streams::deleted_is_gone" "streams::a_deleted_stream_is_missing_everywhere";
        DeletedIsListed => "streams::a_deleted_stream_is_missing_everywhere";
        VersionsGoOnAfterDeletion => "streams::a_name_can_be_used_again";
        CreationOutlivesDeletion => "streams::a_name_can_be_used_again";
        ListIgnoresCase => "streams::list_streams_by_type_in_pages";
        TypeAfterLimit => "streams::list_streams_by_type_in_pages";
        ListAfterIsInclusive =>
            "streams::list_streams_by_type_in_pages" "streams::pages_of_a_list_that_changes";
        ListIsCut => "streams::long_lists_are_whole";
        OwnStreamIsListed => "streams::a_new_store_is_empty";
        PagesByOffset => "streams::pages_of_a_list_that_changes";
        RefusedStartRetypes => "streams::start_stream_refuses_what_stands";
        OneIdForAll => "streams::start_stream_makes_ids";
        CreationIsAnEvent => "streams::a_stream_without_events_is_quiet";
        PrefixIsEnough => "streams::exists_true_and_false";
    }
    snapshots {
        SnapshotGoesBack =>
            "snapshots::snapshots_go_forward_only" "snapshots::a_refused_snapshot_changes_nothing"
            "races::the_newest_of_many_snapshots_stays";
        SnapshotMayBeAhead => "snapshots::snapshots_go_forward_only";
        RefusedSnapshotStays => "snapshots::a_refused_snapshot_changes_nothing";
        SameVersionIsStale => "snapshots::snapshots_go_forward_only";
        OneSnapshotForAll => "snapshots::snapshots_are_saved_loaded_and_replaced";
        SnapshotSchemaLost => "snapshots::snapshots_come_back_to_the_byte";
        SnapshotWrittenAnew => "snapshots::snapshots_come_back_to_the_byte";
        ReplacingDeletesEvents => "snapshots::saving_a_snapshot_keeps_the_events";
        MissingHasNoSnapshot => "snapshots::snapshots_of_missing_streams";
        SnapshotIsAnEvent => "snapshots::a_snapshot_is_no_event";
    }
    subscribe {
        SkipsALateCommitter => "races::publication_is_in_commit_order" "races::all_views_agree";
        OutOfCommitOrder => "subscribe::a_subscriber_gets_what_reads_give" "races::publication_is_in_commit_order";
        PublishedBeforeCommit => "races::published_means_readable";
        LostWhenDropped => "dropped::a_dropped_next_loses_nothing" "dropped::next_may_be_dropped_anywhere";
        LostAtTheSeam =>
            "subscribe::a_subscriber_gets_what_reads_give" "races::catch_up_crosses_into_live_without_a_seam";
        DoubledAtTheSeam => "subscribe::from_every_place" "races::catch_up_crosses_into_live_without_a_seam";
        SubscribesInclusive => "subscribe::from_every_place";
        BeyondIsTheEnd => "subscribe::subscribing_to_a_missing_stream" "subscribe::from_every_place";
        FilterForHistoryOnly => "subscribe::filters_hold_for_history_and_live";
        EmptyFilterIsNone => "subscribe::empty_filters_let_nothing_through";
        PayloadLeftOut => "subscribe::a_subscriber_gets_what_reads_give";
        LastOfABatchOnly => "subscribe::a_batch_is_one_event_each";
        SlowSubscribersLose => "subscribe::a_slow_subscriber_misses_nothing";
        MissingStreamIsWaitedFor =>
            "subscribe::subscribing_to_a_missing_stream" "subscribe::subscribing_after_a_deletion";
        GoesOnWithTheNext =>
            "subscribe::a_new_stream_of_the_name_is_another" "subscribe::deletion_in_the_middle_of_history";
        NotToldOfDeletion => "subscribe::deletion_ends_a_subscription_to_its_stream";
        DeletionEndsAll => "subscribe::the_whole_store_goes_on_past_a_deletion";
        SubscribersShare => "subscribe::subscriptions_are_independent";
        OneGoesAllGo => "subscribe::dropped_subscribers_are_forgotten";
    }
    dropped {
        AppendLeavesALock => "dropped::a_dropped_append_is_whole_or_absent";
        ReadLeavesALock => "dropped::dropped_reads_hold_nothing_up";
        PublishedByTheCaller => "dropped::a_dropped_append_that_is_stored_is_published";
        DeletionInPieces => "dropped::a_dropped_deletion_is_whole_or_absent";
        SnapshotInPieces => "dropped::a_dropped_snapshot_is_the_old_or_the_new";
    }
    reopen {
        LosesTheLast => "reopen::everything_is_there_after_reopening";
        LosesSnapshots => "reopen::everything_is_there_after_reopening";
        ForgetsIds => "reopen::everything_goes_on_after_reopening";
        MovesPositions => "reopen::a_subscriber_goes_on_after_reopening";
        SubscriptionsOutliveClosing => "reopen::closing_ends_what_hangs_on_it";
        ClosedStillAnswers => "reopen::closing_ends_what_hangs_on_it";
    }
}

async fn assert_caught<F: Fault>(cases: &[&str]) {
    for name in cases {
        let outcome = testkit::case(name).outcome(subject::<F>()).await;
        assert!(outcome.failure.is_some(), "the fault goes unseen: {outcome}");
        println!("{outcome}");
    }
}

/// No fault: the control.
#[derive(Default)]
struct Nothing;

impl Fault for Nothing {}

async fn run(case: Case) {
    case.run(subject::<Nothing>()).await;
}

mod control {
    use super::run;

    ipa_eventstore::conformance! {
        #[tokio::test(start_paused = true)] run, with reopen, foreign_positions
    }
}

/// A case that no fault is known to fail may be one that cannot fail.
#[test]
fn every_case_catches_something() {
    let named: BTreeSet<_> = FAULTS.iter().flat_map(|(_, cases)| cases.iter().copied()).collect();
    let idle: Vec<_> = CASES.iter().filter(|case| !named.contains(&*case.to_string())).collect();
    assert!(idle.is_empty(), "name a fault for each of these: {idle:?}");
}
