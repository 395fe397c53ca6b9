//! The models: which part of the protocol each explores, and how far.
//!
//! Where loads are not shared, one request is enough: an entry depends on its own filler, and what
//! another one could add, new stamps where some are missing, its own filler does as well.

use crate::{
    memory::Remembering,
    path::{Does, Paths, Resolved},
    reach::Reach,
    system::{Config, Faults, NO_PROMISE},
};

const NO_FAULTS: Faults = Faults {
    evictions: 0,
    copies: 0,
    failovers: 0,
};

/// One failover, at any moment, to any earlier state.
const ONE_FAILOVER: Faults = Faults {
    evictions: 0,
    copies: 1,
    failovers: 1,
};

/// Requests of one instance share loads while the data change.
pub(crate) const SHARING: Config = Config {
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
    reaches: &[
        Reach::HitAfterChange,
        Reach::HitAtLeast,
        Reach::Recent,
        Reach::SharedLoad,
        Reach::SharedNextLoad,
    ],
};

/// The same with a promise that a slow relay breaks, and a request that can't reach Redis.
pub(crate) const PROMISE: Config = Config {
    name: "promise",
    promise: 1,
    requests: 2,
    blind: 1,
    ..SHARING
};

/// What all models have in common in which loads are not shared.
const ALONE: Config = Config {
    requests: 1,
    sharing: false,
    reaches: &[Reach::HitAfterChange],
    ..SHARING
};

/// Any two keys are lost; the query has two scopes, and each is touched.
pub(crate) const EVICTION: Config = Config {
    name: "eviction",
    scopes: 2,
    touches: &[0, 1],
    home: Faults {
        evictions: 2,
        ..NO_FAULTS
    },
    requests: 2,
    ..ALONE
};

/// Transactions overlap, take their outbox ids early, and commit in any order or not at all.
pub(crate) const OVERLAPPING: Config = Config {
    name: "overlapping",
    touches: &[0, 0, 0],
    overlapping: true,
    ..ALONE
};

/// A leader hands over, is deposed, and still writes; Redis falls back.
pub(crate) const HAND_OVER: Config = Config {
    name: "hand-over",
    leaders: &[1, 1],
    heartbeats: 1,
    home: ONE_FAILOVER,
    reaches: &[
        Reach::HitAfterChange,
        Reach::HitAfterFailover,
        Reach::OldLeaderWrites,
        Reach::EpochGoesOn,
    ],
    ..ALONE
};

/// Three leaders one after another; one gives up waiting for Redis; a key is lost.
pub(crate) const LEADERS: Config = Config {
    name: "leaders",
    leaders: &[1, 1, 1],
    given_up: 1,
    home: Faults {
        evictions: 1,
        ..NO_FAULTS
    },
    reaches: &[
        Reach::HitAfterChange,
        Reach::OldLeaderWrites,
        Reach::EpochGoesOn,
    ],
    ..ALONE
};

/// A region is lost and comes back, while the rows are settled for the others.
pub(crate) const RETURN: Config = Config {
    name: "return",
    touches: &[0, 1],
    heartbeats: 1,
    given_up: 1,
    elsewhere: true,
    ..ALONE
};

/// The same for one change, and the region's Redis falls back.
pub(crate) const REGIONS: Config = Config {
    name: "regions",
    touches: &[0],
    home: ONE_FAILOVER,
    reaches: &[Reach::HitAfterChange, Reach::HitAfterFailover],
    ..RETURN
};

/// A new catalog: its leader takes over, and origins of both answer.
pub(crate) const ROLL_OUT: Config = Config {
    name: "roll-out",
    leaders: &[1, 2],
    origins: &[1, 2],
    requests: 2,
    ..ALONE
};

/// A cache manager whose events are lost, repeated and reordered, and whose Redis falls back.
pub(crate) const MANAGER: Config = Config {
    name: "manager",
    heartbeats: 1,
    managers: 1,
    remote: ONE_FAILOVER,
    reaches: &[
        Reach::HitAfterChange,
        Reach::HitAfterFailover,
        Reach::HeartbeatMissed,
        Reach::GapNoticed,
    ],
    ..ALONE
};

/// Two cache managers: one was replaced, and still writes.
pub(crate) const MANAGERS: Config = Config {
    name: "managers",
    managers: 2,
    reaches: &[Reach::HitAfterChange, Reach::HitAfterFailover],
    ..MANAGER
};

/// A cache manager whose relay hands over and loses its own Redis.
pub(crate) const UPSTREAM: Config = Config {
    name: "upstream",
    leaders: &[1, 1],
    managers: 1,
    home: Faults {
        failovers: 1,
        ..NO_FAULTS
    },
    ..ALONE
};

/// A cache manager whose relay does not know whether an event was published.
pub(crate) const IN_DOUBT: Config = Config {
    name: "in doubt",
    heartbeats: 1,
    given_up: 1,
    managers: 1,
    ..ALONE
};

/// Requests share loads while their Redis falls back to any earlier state.
pub(crate) const FALLING_BACK: Config = Config {
    name: "falling back",
    touches: &[0],
    heartbeats: 1,
    home: ONE_FAILOVER,
    requests: 2,
    reaches: &[
        Reach::HitAfterChange,
        Reach::HitAfterFailover,
        Reach::SharedLoad,
    ],
    ..SHARING
};

/// A little of everything at once: shared loads, hand-over, eviction, failover.
pub(crate) const COMBINED: Config = Config {
    name: "combined",
    touches: &[0],
    leaders: &[1, 1],
    home: Faults {
        failovers: 1,
        ..NO_FAULTS
    },
    requests: 2,
    reaches: &[Reach::HitAfterChange, Reach::SharedLoad],
    ..SHARING
};

/// Scopes along a foreign key.
pub(crate) const PATHS: Paths = Paths {
    name: "paths",
    resolved: Resolved::WhenDrained,
    transactions: &[Does::ChangesRow, Does::MovesParent, Does::ChangesRow],
    requests: 2,
};

/// The same where the parent moves there and back.
pub(crate) const PATHS_AND_BACK: Paths = Paths {
    name: "paths and back",
    transactions: &[Does::MovesParent, Does::ChangesRow, Does::MovesParent],
    ..PATHS
};

/// The same against a foreign key: rows that refer come and go.
pub(crate) const PATHS_AGAINST: Paths = Paths {
    name: "paths against a foreign key",
    transactions: &[
        Does::TogglesReferrer(0),
        Does::ChangesRow,
        Does::TogglesReferrer(1),
    ],
    ..PATHS
};

/// The origin's memory while its relay loses the Redis and finds it again.
pub(crate) const MEMORY: Remembering = Remembering {
    name: "memory",
    slip: None,
    commits: 2,
    requests: 2,
    hand_overs: 0,
    losses: 1,
};

/// The same while the leadership goes to another origin and comes back.
pub(crate) const MEMORY_ACROSS: Remembering = Remembering {
    name: "memory across leaderships",
    commits: 1,
    hand_overs: 2,
    losses: 0,
    ..MEMORY
};
