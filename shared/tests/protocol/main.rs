//! The protocol, model-checked: every decision is taken by `tidemark_shared`, and every order of
//! steps within the bounds is explored. Each mutant takes one decision wrongly, and the checker has
//! to find out: a model that passes it would be too weak.
//!
//! `--nocapture` shows configurations, states explored, and the counter-examples.

mod database;
mod decisions;
mod edge;
mod mutant;
mod path;
mod reach;
mod redis;
mod relay;
mod report;
mod system;

use mutant::Mutant;
use path::{Does, Paths, Resolved};
use reach::Reach;
use report::{breaks, holds};
use system::{Config, Faults, NO_PROMISE};

const NO_FAULTS: Faults = Faults {
    evictions: 0,
    copies: 0,
    failovers: 0,
};

/// Requests share loads while data change.
const SHARING: Config = Config {
    name: "sharing",
    mutant: None,
    scopes: 1,
    touches: &[0, 0],
    overlapping: false,
    leaders: &[1],
    origins: &[1],
    heartbeats: 0,
    given_up: 0,
    elsewhere: false,
    home: NO_FAULTS,
    remote: NO_FAULTS,
    managers: 0,
    requests: 3,
    sharing: true,
    blind: 0,
    promise: NO_PROMISE,
    reaches: &[Reach::HitAfterChange, Reach::HitAtLeast, Reach::SharedLoad, Reach::SharedNextLoad],
};


/// Every key may be lost at any moment, twice; there is always a leader.
const EVICTION: Config = Config {
    name: "eviction",
    scopes: 2,
    touches: &[0, 1],
    home: Faults { evictions: 2, ..NO_FAULTS },
    requests: 2,
    sharing: false,
    reaches: &[Reach::HitAfterChange],
    ..SHARING
};

/// A leader hands over, is deposed, and still writes; Redis falls back.
const HANDOVER: Config = Config {
    name: "hand-over",
    leaders: &[1, 1],
    heartbeats: 1,
    home: Faults { copies: 1, failovers: 1, evictions: 0 },
    requests: 1,
    sharing: false,
    reaches: &[Reach::HitAfterChange, Reach::HitAfterFailover, Reach::OldLeaderWrites, Reach::EpochGoesOn],
    ..SHARING
};

const REGIONS: Config = Config {
    name: "regions",
    touches: &[0, 1],
    given_up: 1,
    elsewhere: true,
    home: Faults { copies: 1, failovers: 1, evictions: 0 },
    heartbeats: 1,
    requests: 1,
    sharing: false,
    reaches: &[Reach::HitAfterChange, Reach::HitAfterFailover],
    ..SHARING
};

const ROLLOUT: Config = Config {
    name: "roll-out",
    leaders: &[1, 2],
    origins: &[1, 2],
    requests: 2,
    touches: &[0, 0],
    sharing: false,
    reaches: &[Reach::HitAfterChange],
    ..SHARING
};

const MANAGER: Config = Config {
    name: "manager",
    managers: 1,
    heartbeats: 1,
    requests: 1,
    sharing: false,
    touches: &[0, 0],
    remote: Faults { copies: 1, failovers: 1, evictions: 0 },
    reaches: &[Reach::HitAfterChange, Reach::HeartbeatMissed, Reach::GapNoticed],
    ..SHARING
};

#[test]
fn sharing() {
    holds(SHARING);
}
#[test]
fn handover() {
    holds(HANDOVER);
}
#[test]
fn eviction() {
    holds(EVICTION);
}
#[test]
fn regions() {
    holds(REGIONS);
}
#[test]
fn rollout() {
    holds(ROLLOUT);
}
#[test]
fn manager() {
    holds(MANAGER);
}

const PATHS: Paths = Paths {
    name: "paths",
    resolved: Resolved::WhenDrained,
    transactions: &[Does::ChangesChild, Does::MovesParent, Does::ChangesChild],
    requests: 3,
};

#[test]
fn paths() {
    holds(PATHS);
}

/// A mutant of a model: named after the mutant, and nothing needs to be reachable.
const fn mutated(mutant: Mutant, name: &'static str, model: Config) -> Config {
    Config {
        name,
        mutant: Some(mutant),
        reaches: &[],
        ..model
    }
}

macro_rules! mutants {
    ($($test:ident: $mutant:ident of $model:expr, $invariant:literal;)*) => {$(
        #[test]
        fn $test() {
            breaks(&mutated(Mutant::$mutant, stringify!($mutant), $model), $invariant);
        }
    )*};
}

const IN_DOUBT: Config = Config { elsewhere: false, managers: 1, requests: 1, touches: &[0,0], home: NO_FAULTS, ..REGIONS };

mutants! {
    i1_mutant_stamps_after_origin: StampsAfterOrigin of EVICTION, "I1";
    i3_mutant_joins_older_load: JoinsOlderLoad of SHARING, "I3";
    i1_mutant_stores_older_load: StoresOlderLoad of SHARING, "I1";
    i3_mutant_joins_uncovered: JoinsUncovered of SHARING, "I3";
    i1_mutant_missing_is_zero: MissingIsZero of EVICTION, "I1";
    i1_mutant_stores_any_catalog: StoresAnyCatalog of ROLLOUT, "I1";
    i1_mutant_outbox_by_last_id: OutboxByLastId of OVERLAPPING, "I1";
    i1_mutant_as_of_after_snapshot: AsOfAfterSnapshot of HANDOVER, "I1";
    i4_mutant_rows_deleted_first: RowsDeletedFirst of HANDOVER, "I1";
    i1_mutant_tidemark_first: TidemarkFirst of HANDOVER, "I1";
    i4_mutant_two_steps: TwoSteps of HANDOVER, "I1";
    i4_mutant_blind_writes: BlindWrites of HANDOVER, "I1";
    i4_mutant_terms_only: TermsOnly of HANDOVER, "I1";
    i4_mutant_no_new_epoch: NoNewEpoch of HANDOVER, "I1";
    i4_mutant_ignores_last_change: IgnoresLastChange of REGIONS, "I1";
    i4_mutant_early_last_change: EarlyLastChange of REGIONS, "I1";
    i4_mutant_reused_number: ReusedNumber of IN_DOUBT, "I1";
    i4_mutant_ignores_gaps: IgnoresGaps of MANAGER, "I1";
    i4_mutant_manager_writes_blindly: ManagerWritesBlindly of MANAGER, "I1";
}

const OVERLAPPING: Config = Config {
    name: "overlapping",
    overlapping: true,
    touches: &[0, 0, 0],
    requests: 2,
    sharing: false,
    reaches: &[Reach::HitAfterChange],
    ..SHARING
};

#[test]
fn overlapping() {
    holds(OVERLAPPING);
}

#[test]
fn i1_mutant_resolved_when_written() {
    let mutant = Paths { name: "ResolvedWhenWritten", resolved: Resolved::WhenWritten, ..PATHS };
    breaks(&mutant, "I1");
}

#[test]
fn i1_mutant_resolved_later_than_drained() {
    let mutant = Paths { name: "ResolvedLaterThanDrained", resolved: Resolved::LaterThanDrained, ..PATHS };
    breaks(&mutant, "I1");
}

const LEADERS: Config = Config {
    name: "leaders",
    leaders: &[1, 1, 1],
    touches: &[0, 0],
    heartbeats: 0,
    given_up: 1,
    home: Faults { evictions: 1, ..NO_FAULTS },
    requests: 1,
    sharing: false,
    reaches: &[Reach::HitAfterChange, Reach::OldLeaderWrites, Reach::EpochGoesOn],
    ..SHARING
};
#[test]
fn leaders() {
    holds(LEADERS);
}
const PROMISE: Config = Config { name: "promise", promise: 1, blind: 1, requests: 2, ..SHARING };
#[test]
fn promise() {
    holds(PROMISE);
}
const MANAGERS: Config = Config { name: "managers", managers: 2, touches: &[0, 0], heartbeats: 0,
    remote: Faults { copies: 1, failovers: 1, evictions: 0 },
    reaches: &[Reach::HitAfterChange],
 ..MANAGER };
const UPSTREAM: Config = Config { name: "upstream", managers: 1, touches: &[0, 0], heartbeats: 0,
    leaders: &[1, 1],
    home: Faults { copies: 0, failovers: 1, evictions: 0 },
    remote: NO_FAULTS,
    reaches: &[Reach::HitAfterChange],
 ..MANAGER };
#[test]
fn upstream() {
    holds(UPSTREAM);
}
#[test]
fn managers() {
    holds(MANAGERS);
}
const COMBINED: Config = Config { name: "combined", leaders: &[1,1], touches: &[0], heartbeats: 0, given_up: 0,
    home: Faults { copies: 1, failovers: 1, evictions: 1 },
    requests: 2,
    sharing: true, ..SHARING };
#[test]
fn combined() {
    holds(COMBINED);
}
