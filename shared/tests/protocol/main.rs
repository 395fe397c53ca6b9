//! The protocol, model-checked: every decision is taken by `tidemark_shared`, and every order of
//! steps within the bounds is explored.
//!
//! The models that hold are in [`models`], what they are made of in [`system`], [`path`] and [`memory`], and
//! the way to the decisions in [`decisions`]. Each [`Mutant`] takes one decision wrongly, and the checker
//! has to find out how that breaks an invariant: a model that a mutant passes would be too weak.
//!
//! `cargo test --test protocol -- --nocapture` shows configurations, states explored, and the
//! shortest counter-examples.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends by panicking"
)]

mod database;
mod decisions;
mod edge;
mod memory;
mod models;
mod mutant;
mod path;
mod reach;
mod redis;
mod relay;
mod report;
mod system;

use memory::{Remembering, Slip};
use models::{
    COMBINED, EVICTION, FALLING_BACK, HAND_OVER, IN_DOUBT, LEADERS, MANAGER, MANAGERS, MEMORY,
    MEMORY_ACROSS, OVERLAPPING, PATHS, PATHS_AGAINST, PATHS_AND_BACK, PROMISE, REGIONS, RETURN,
    ROLL_OUT, SHARING, UPSTREAM,
};
use mutant::Mutant;
use path::{Paths, Resolved};
use report::{breaks, holds};
use system::Config;

macro_rules! models {
    ($($test:ident: $model:expr;)*) => {$(
        #[test]
        fn $test() {
            holds($model);
        }
    )*};
}

models! {
    i1_i3_shared_loads: SHARING;
    i2_i3_shared_loads_within_a_promise: PROMISE;
    i1_transactions_overlap: OVERLAPPING;
    i1_new_catalog: ROLL_OUT;
    i1_scopes_along_a_foreign_key: PATHS;
    i1_scopes_along_a_foreign_key_and_back: PATHS_AND_BACK;
    i1_scopes_against_a_foreign_key: PATHS_AGAINST;
    i1_i3_origin_s_memory: MEMORY;
    i4_origin_s_memory_across_leaderships: MEMORY_ACROSS;
    i4_evicted_keys: EVICTION;
    i4_hand_over_and_failover: HAND_OVER;
    i4_three_leaders: LEADERS;
    i4_lost_region_returns: RETURN;
    i4_lost_region_falls_back: REGIONS;
    i4_lost_events: MANAGER;
    i4_two_cache_managers: MANAGERS;
    i4_cache_manager_of_a_failing_relay: UPSTREAM;
    i4_event_in_doubt: IN_DOUBT;
    i4_shared_loads_after_a_failover: FALLING_BACK;
    i4_combined: COMBINED;
}

/// A model with one decision taken wrongly; nothing needs to be reachable but the counter-example.
const fn mutated(model: Config, mutant: Mutant, name: &'static str) -> Config {
    Config {
        name,
        mutant: Some(mutant),
        reaches: &[],
        ..model
    }
}

macro_rules! mutants {
    ($($test:ident: $mutant:ident in $model:expr => $invariant:literal;)*) => {$(
        #[test]
        fn $test() {
            let mutant = mutated($model, Mutant::$mutant, stringify!($mutant));
            breaks(&mutant, $invariant);
        }
    )*};
}

mutants! {
    i1_mutant_stamps_after_origin: StampsAfterOrigin in EVICTION => "I1";
    i1_mutant_stores_older_load: StoresOlderLoad in SHARING => "I1";
    i1_mutant_tidemark_vouches: TidemarkVouches in SHARING => "I1";
    i1_mutant_any_epoch_vouches: AnyEpochVouches in ROLL_OUT => "I1";
    i1_mutant_missing_is_zero: MissingIsZero in EVICTION => "I1";
    i1_mutant_stores_any_catalog: StoresAnyCatalog in ROLL_OUT => "I1";
    i1_mutant_outbox_by_last_id: OutboxByLastId in OVERLAPPING => "I1";
    i1_mutant_as_of_after_snapshot: AsOfAfterSnapshot in HAND_OVER => "I1";
    i1_mutant_tidemark_first: TidemarkFirst in OVERLAPPING => "I1";
    i2_mutant_joins_uncovered: JoinsUncovered in PROMISE => "I2";
    i3_mutant_joins_uncovered: JoinsUncovered in SHARING => "I3";
    i3_mutant_joins_older_load: JoinsOlderLoad in SHARING => "I3";
    i4_mutant_joins_other_epoch: JoinsOtherEpoch in FALLING_BACK => "I3";
    i4_mutant_rows_deleted_first: RowsDeletedFirst in HAND_OVER => "I1";
    i4_mutant_two_steps: TwoSteps in HAND_OVER => "I1";
    i4_mutant_blind_writes: BlindWrites in HAND_OVER => "I1";
    i4_mutant_terms_only: TermsOnly in HAND_OVER => "I1";
    i4_mutant_no_new_epoch: NoNewEpoch in HAND_OVER => "I1";
    i4_mutant_ignores_last_change: IgnoresLastChange in RETURN => "I1";
    i4_mutant_early_last_change: EarlyLastChange in RETURN => "I1";
    i4_mutant_reused_number: ReusedNumber in IN_DOUBT => "I1";
    i4_mutant_ignores_gaps: IgnoresGaps in MANAGER => "I1";
    i4_mutant_manager_writes_blindly: ManagerWritesBlindly in MANAGER => "I1";
}

macro_rules! slips {
    ($($test:ident: $slip:ident in $model:expr => $invariant:literal;)*) => {$(
        #[test]
        fn $test() {
            let slipping = Remembering {
                name: stringify!($slip),
                slip: Some(Slip::$slip),
                commits: 1,
                ..$model
            };
            breaks(&slipping, $invariant);
        }
    )*};
}

slips! {
    i3_mutant_memory_is_told_after_redis: RedisFirst in MEMORY => "I3";
    i1_mutant_memory_s_tidemark_first: TidemarkFirst in MEMORY => "I1";
    i1_mutant_memory_s_stamps_after_sql: StampsAfterSql in MEMORY => "I1";
    i4_mutant_remembers_across_leaderships: RemembersAcross in MEMORY_ACROSS => "I1";
    i4_mutant_one_horizon_for_memory_and_redis: OneHorizon in MEMORY => "I1";
}

#[test]
fn i1_mutant_resolved_when_written() {
    let mutant = Paths {
        name: "ResolvedWhenWritten",
        resolved: Resolved::WhenWritten,
        ..PATHS
    };
    breaks(&mutant, "I1");
}

#[test]
fn i1_mutant_resolved_later_than_drained() {
    let mutant = Paths {
        name: "ResolvedLaterThanDrained",
        resolved: Resolved::LaterThanDrained,
        ..PATHS
    };
    breaks(&mutant, "I1");
}
