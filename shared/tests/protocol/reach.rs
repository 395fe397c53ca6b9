//! What a model has to reach: an invariant that holds because nothing happens says nothing.

use stateright::Property;

use crate::{
    relay::Link,
    system::{Config, State},
};

/// A situation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A hit shows a change, and is proven after it.
    HitAfterChange,
    /// A hit satisfies `Tidemark-At-Least`.
    HitAtLeast,
    /// A change has touched an answer, which is recent all the same.
    Recent,
    /// A hit on a Redis that has fallen back, proven later than that.
    HitAfterFailover,
    /// Several requests share the running load.
    SharedLoad,
    /// Several requests share the load after the running one.
    SharedNextLoad,
    /// A deposed leader's step succeeds although another one has connected.
    OldLeaderWrites,
    /// A new leader goes on in the old epoch, and an older entry is still a hit.
    EpochGoesOn,
    /// A cache manager goes on although it missed an event: a heartbeat.
    HeartbeatMissed,
    /// A cache manager begins a new epoch because it missed a change.
    GapNoticed,
}

impl Reach {
    pub(crate) fn property(&self) -> Property<Config> {
        match self {
            Self::HitAfterChange => {
                Property::sometimes("a hit shows a change", |config, state: &State| {
                    config
                        .hit(state, None)
                        .is_some_and(|(cached, as_of)| as_of > 0 && cached.shown.data > 0)
                })
            }
            Self::HitAtLeast => {
                Property::sometimes("a hit with at-least", |config, state: &State| {
                    config.hit(state, Some(1)).is_some()
                })
            }
            Self::Recent => Property::sometimes("a recent answer", |config, state: &State| {
                config
                    .recent(state, None)
                    .is_some_and(|(cached, as_of)| as_of == cached.shown.data && as_of > 0)
            }),
            Self::HitAfterFailover => {
                Property::sometimes("a hit after a failover", |config, state: &State| {
                    let left = (state.left.home.failovers, state.left.remote.failovers);
                    let fell_back = left != (config.home.failovers, config.remote.failovers);
                    let commits = state.database.commits;
                    fell_back && commits > 0 && config.hit(state, Some(commits)).is_some()
                })
            }
            Self::SharedLoad => {
                Property::sometimes("a running load is shared", |_, state: &State| {
                    state.edge.running.is_some_and(|load| load.shared)
                })
            }
            Self::SharedNextLoad => {
                Property::sometimes("the next load is shared", |_, state: &State| {
                    state.edge.waiting.is_some_and(|load| load.shared)
                })
            }
            Self::OldLeaderWrites => Property::sometimes(
                "an old leader writes after the hand-over",
                |_, state: &State| old_leader_has_written(state).unwrap_or(false),
            ),
            Self::EpochGoesOn => {
                Property::sometimes("an epoch goes on", |config, state: &State| {
                    let hit = config.hit(state, None).is_some();
                    hit && goes_on(state).unwrap_or(false)
                })
            }
            Self::HeartbeatMissed => {
                Property::sometimes("a missed heartbeat", |_, state: &State| {
                    missed(state).any(|same_epoch| same_epoch)
                })
            }
            Self::GapNoticed => Property::sometimes("a gap is noticed", |_, state: &State| {
                missed(state).any(|same_epoch| !same_epoch)
            }),
        }
    }
}

fn old_leader_has_written(state: &State) -> Option<bool> {
    let leader = state.leader?;
    let held = state.home.mark?;
    let Link::On { known, .. } = leader.link else {
        return None;
    };
    let later = known.is_none_or(|known| known.event < held.event);
    Some(held.term < leader.term && later)
}

fn goes_on(state: &State) -> Option<bool> {
    let leader = state.leader?;
    let Link::On { epoch, known } = leader.link else {
        return None;
    };
    let known = known?;
    Some(known.epoch == epoch && known.term < leader.term)
}

/// For each step of a cache manager that passes over an event: whether the epoch goes on.
fn missed(state: &State) -> impl Iterator<Item = bool> {
    state.managers.iter().flatten().filter_map(|step| {
        let held = step.over?;
        let between = |number| held.event < number && number < step.mark.event;
        let mut events = state.events.iter().flatten();
        let misses = events.any(|event| between(event.number));
        let same_upstream = held.upstream == step.mark.upstream;
        (misses && same_upstream).then_some(held.epoch == step.mark.epoch)
    })
}
