//! The protocol, model-checked: every decision is taken by `tidemark_shared`, and every order of
//! steps within the bounds is explored. Each mutant takes one decision wrongly, and the checker has
//! to find out: a model that passes it would be too weak.
//!
//! `--nocapture` shows configurations, states explored, and the counter-examples.

mod database;
mod decisions;
mod edge;
mod mutant;
mod reach;
mod redis;
mod relay;
mod report;
mod system;

use mutant::Mutant;
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
    requests: 2,
    sharing: false,
    reaches: &[Reach::HitAfterChange, Reach::HitAfterFailover, Reach::OldLeaderWrites, Reach::EpochGoesOn],
    ..SHARING
};

const REGIONS: Config = Config {
    name: "regions",
    given_up: 1,
    elsewhere: true,
    home: Faults { copies: 1, failovers: 1, evictions: 0 },
    heartbeats: 0,
    requests: 2,
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
