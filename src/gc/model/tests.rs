//! Explores every scenario, with all rules of the protocol and with each rule left out.

#![expect(
    clippy::print_stdout,
    reason = "how many states were explored, and how a violation comes about"
)]

use std::time::Instant;

use super::explore::{Outcome, explore};
use super::omissions::{COUNT, Omission};
use super::scenarios::{self, Scenario};
use super::state::{State, Violation};
use super::world::World;

fn run(title: &str, scenario: &Scenario, omitted: &[Omission]) -> Outcome {
    let (world, start) = scenario.open();
    let world = omitted
        .iter()
        .fold(world, |world, rule| world.without(*rule));
    tell(title, (&world, &start), omitted)
}

fn tell(title: &str, (world, start): (&World, &State), omitted: &[Omission]) -> Outcome {
    let begin = Instant::now();
    let outcome = explore(world, start);
    let Outcome {
        states,
        ends,
        violation,
    } = &outcome;
    let took = begin.elapsed();
    println!("{title} {omitted:?}: {states} states, {ends} ends, {took:.1?}");
    if let Some((violation, steps)) = violation {
        println!("{violation:?} after {} steps:", steps.len());
        steps.iter().for_each(|step| println!("  {step}"));
    }
    outcome
}

/// Explores a scenario as the protocol is.
fn holds(title: &str, scenario: &Scenario) {
    let outcome = run(title, scenario, &[]);
    assert_eq!(outcome.violation, None);
    assert!(outcome.ends > 0, "no run comes to an end");
}

/// Explores a scenario without some rules, where that has to go wrong.
fn finds(title: &str, scenario: &Scenario, omitted: &[Omission], expected: Violation) {
    let outcome = run(title, scenario, omitted);
    let found = outcome.violation.map(|(violation, _)| violation);
    assert_eq!(found, Some(expected));
}

macro_rules! hold {
    ($($test:ident: $scenario:ident;)*) => { $(
        #[test]
        fn $test() {
            holds(stringify!($scenario), &scenarios::$scenario);
        }
    )* };
}

hold! {
    an_import_of_a_dying_images_object_is_safe: IMPORT_OF_AN_OBJECT;
    an_import_of_a_dying_images_layer_is_safe: IMPORT_OF_A_LAYER;
    an_import_of_a_dying_image_is_safe: IMPORT_OF_THE_SAME;
    an_import_beside_two_collections_is_safe: IMPORT_TWO_COLLECTIONS;
    an_import_beside_two_collectors_is_safe: IMPORT_TWO_COLLECTORS;
    an_import_that_is_untagged_at_once_is_safe: IMPORT_UNTAGGED_AT_ONCE;
    two_imports_are_safe: TWO_IMPORTS;
    two_imports_beside_a_dying_image_are_safe: TWO_IMPORTS_BESIDE;
    two_imports_of_one_image_are_safe: TWO_IMPORTS_OF_ONE;
    a_tag_of_what_is_untagged_is_safe: TAG;
    a_tag_beside_two_collections_is_safe: TAG_TWO_COLLECTIONS;
    a_tag_below_an_index_is_safe: CHILD_TAG;
    a_tag_below_an_index_beside_two_collections_is_safe: CHILD_TAG_TWO_COLLECTIONS;
    a_tag_below_an_index_that_is_imported_is_safe: CHILD_TAG_OF_AN_IMPORT;
    a_tag_below_an_index_that_shares_with_a_dying_image_is_safe: CHILD_TAG_BESIDE;
    a_tag_below_an_index_is_safe_where_two_die: CHILD_TAG_TWO_DEATHS;
    an_import_beside_two_collectors_is_safe_where_two_die: IMPORT_TWO_DEATHS;
    an_import_beside_two_collections_is_safe_where_one_dies: IMPORT_TWICE_MORTAL;
    two_imports_beside_a_dying_image_are_safe_where_one_dies: TWO_IMPORTS_MORTAL;
    a_reader_beside_an_import_and_a_collection_is_safe_where_one_dies: READER_AND_IMPORT_MORTAL;
    a_reader_of_what_is_imported_is_safe_where_one_dies: READER_OF_AN_IMPORT_MORTAL;
    a_reader_beside_three_collections_is_safe: READER_THREE_COLLECTIONS;
    an_old_reader_and_a_later_import_beside_three_collections_are_safe: READER_IMPORT_THREE;
    a_reader_of_what_is_untagged_is_safe: READER;
    a_reader_beside_two_collectors_is_safe: READER_TWO_COLLECTORS;
    a_reader_of_what_is_imported_is_safe: READER_OF_AN_IMPORT;
    a_reader_of_what_is_tagged_is_safe: READER_OF_A_TAG;
    a_reader_beside_an_import_and_two_collections_is_safe: READER_AND_IMPORT;
    a_reader_beside_a_tag_and_two_collections_is_safe: READER_AND_TAG;
    a_reader_beside_a_tag_below_an_index_and_two_collections_is_safe: READER_AND_CHILD_TAG;
}

macro_rules! find {
    ($($test:ident: $($omission:ident)+, $scenario:ident => $violation:ident;)*) => {
        $(
            #[test]
            fn $test() {
                let omitted = [$(Omission::$omission),+];
                let title = stringify!($scenario);
                finds(title, &scenarios::$scenario, &omitted, Violation::$violation);
            }
        )*
        /// The rules whose omission is found, alone or with another one.
        const FOUND: &[Omission] = &[$($(Omission::$omission),+),*];
    };
}

find! {
    what_is_unlinked_at_once_beside_a_reader_is_lost_to_it:
        TrashBesideOthers, READER => ReaderLosesFile;
    without_the_second_look_at_the_epoch_an_entering_reader_loses_files:
        SecondLookAtEpoch, READER => ReaderLosesFile;
    an_import_that_takes_what_is_in_the_trash_for_there_loses_it:
        FindInPlaceOnly, IMPORT_OF_THE_SAME => RowOfFileGone;
    without_a_second_merge_an_import_takes_a_swept_row_for_damage:
        MergeAgain, IMPORT_OF_A_LAYER => ImportFails;
    without_a_claim_an_import_names_what_is_collected:
        Claim, IMPORT_OF_AN_OBJECT => NamedFileGone;
    without_a_claim_before_it_what_is_brought_back_goes_again:
        ClaimBeforeRestore, IMPORT_OF_AN_OBJECT => NamedFileGone;
    a_claim_that_is_seen_before_it_is_locked_is_taken_for_a_dead_one:
        ClaimLockedFirst, IMPORT_OF_AN_OBJECT => NamedFileGone;
    without_bringing_back_an_import_names_what_was_moved_away:
        Restore, IMPORT_OF_AN_OBJECT => NamedFileGone;
    without_bringing_back_from_its_own_epoch_an_import_names_what_was_moved_away:
        RestoreFromOwnEpoch, IMPORT_OF_AN_OBJECT => NamedFileGone;
    without_the_comparison_of_sweeps_an_import_puts_a_row_that_leads_nowhere:
        ComparisonOfSweeps, IMPORT_OF_A_LAYER => DanglingRow;
    without_a_claim_until_it_is_named_an_import_is_collected:
        ClaimUntilNamed, IMPORT_OF_AN_OBJECT => NamedFileGone;
    without_claims_that_stay_for_a_collection_a_row_outlives_its_file:
        ClaimForCollection, IMPORT_UNTAGGED_AT_ONCE => RowOfFileGone;
    without_the_claims_of_the_dead_a_row_outlives_its_file:
        DeadClaims, IMPORT_OF_AN_OBJECT => RowOfFileGone;
    a_reader_that_does_not_look_in_the_trash_loses_files:
        TrashForReaders, READER => ReaderLosesFile;
    a_look_up_that_is_not_under_publish_loses_files:
        LookUpUnderPublish, READER_AND_TAG => ReaderLosesFile;
    a_look_up_without_a_last_look_in_place_misses_what_comes_back:
        LastLookInPlace, CHILD_TAG => CannotFollow;
    a_check_that_is_not_under_the_lock_on_names_names_what_is_collected:
        CheckUnderNames, TAG => NamedFileGone;
    a_tagger_without_a_claim_names_what_is_collected:
        ClaimOfTagger, CHILD_TAG => NamedFileGone;
    freeing_the_trash_of_the_current_epoch_takes_files_from_readers:
        OnlyPastTrash, READER_TWO_COLLECTORS => ReaderLosesFile;
    freeing_what_an_earlier_collection_left_without_looking_takes_files_from_readers:
        WaitForEarlier, READER => ReaderLosesFile;
    names_before_claims_miss_an_import_that_ends_between:
        ClaimsBeforeNames ClaimForCollection, IMPORT_OF_AN_OBJECT => NamedFileGone;
    a_collector_that_does_not_look_at_claims_takes_what_is_imported:
        LookAtClaims, IMPORT_OF_AN_OBJECT => NamedFileGone;
    a_collector_that_does_not_look_in_the_trash_cannot_follow_a_claim:
        TrashForCollector, IMPORT_OF_AN_OBJECT => CannotFollow;
    objects_before_their_rows_leave_rows_of_what_is_gone:
        ObjectRowsFirst, IMPORT_OF_AN_OBJECT => RowOfFileGone;
    a_batch_without_a_look_takes_what_is_imported:
        LookBeforeBatch, IMPORT_OF_AN_OBJECT => NamedFileGone;
    a_batch_that_is_not_under_publish_takes_what_is_imported:
        BatchUnderPublish, IMPORT_OF_AN_OBJECT => NamedFileGone;
    without_a_next_epoch_freeing_takes_files_from_readers:
        NextEpoch, READER => ReaderLosesRow;
    without_waiting_freeing_takes_files_from_readers:
        Wait, READER => ReaderLosesRow;
    without_looking_at_older_epochs_a_long_reader_loses_files:
        OlderEpochs, READER => ReaderLosesRow;
    tree_rows_that_go_before_the_wait_are_lost_to_readers:
        WaitBeforeTreeRows, READER => ReaderLosesRow;
    tree_rows_that_go_without_a_look_are_lost_to_an_import:
        LookBeforeTreeRows, IMPORT_OF_THE_SAME => NamedRowGone;
    without_the_comparison_of_commits_tree_rows_of_a_claim_are_dropped:
        ComparisonOfCommits, TWO_IMPORTS => NamedRowGone;
    nodes_that_go_before_what_leads_to_them_leave_rows_that_lead_nowhere:
        TreeRootsFirst, IMPORT_OF_AN_OBJECT => DanglingRow;
}

/// Explores a scenario without claims that stay, where more goes wrong than that rows outlive what they speak of.
fn finds_without_claims_that_stay(title: &str, scenario: &Scenario, expected: Violation) {
    let omitted = Omission::ClaimForCollection;
    let (world, start) = scenario.open();
    let world = World {
        tolerated: &[Violation::RowOfFileGone, Violation::DanglingRow],
        ..world.without(omitted)
    };
    let outcome = tell(title, (&world, &start), &[omitted]);
    let found = outcome.violation.map(|(violation, _)| violation);
    assert_eq!(found, Some(expected));
}

#[test]
fn without_claims_that_stay_for_a_collection_a_reader_loses_rows() {
    let scenario = &scenarios::READER_OF_AN_IMPORT;
    let expected = Violation::ReaderLosesRow;
    finds_without_claims_that_stay("READER_OF_AN_IMPORT", scenario, expected);
}

#[test]
fn without_claims_that_stay_for_a_collection_a_tagger_names_what_has_no_rows() {
    let scenario = &scenarios::CHILD_TAG_OF_AN_IMPORT;
    let expected = Violation::NamedRowGone;
    finds_without_claims_that_stay("CHILD_TAG_OF_AN_IMPORT", scenario, expected);
}

/// Rules that no exploration misses, and why they are kept.
const REDUNDANT: &[Omission] = &[
    // The looks of C6 and C7 find the claims; marking them at once saves marking twice.
    Omission::ClaimsInMark,
    // A live object without a row is tolerated; the look keeps such rows where it can.
    Omission::LookBeforeObjectRows,
];

#[test]
fn every_rule_that_can_be_left_out_is_found_or_known_to_be_redundant() {
    let mut tested: Vec<u32> = FOUND
        .iter()
        .chain(REDUNDANT)
        .map(|omission| *omission as u32)
        .collect();
    tested.sort_unstable();
    tested.dedup();
    assert_eq!(tested, (0..COUNT).collect::<Vec<u32>>());
}

#[test]
fn redundant_rules_are_redundant_together_as_well() {
    for scenario in [
        &scenarios::IMPORT_OF_AN_OBJECT,
        &scenarios::IMPORT_OF_A_LAYER,
        &scenarios::IMPORT_UNTAGGED_AT_ONCE,
        &scenarios::CHILD_TAG_OF_AN_IMPORT,
        &scenarios::READER_OF_AN_IMPORT,
    ] {
        assert_eq!(run("redundant", scenario, REDUNDANT).violation, None);
    }
}
