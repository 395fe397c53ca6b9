//! The regions of one leadership: those that can be written, and those that are lost for the moment.
//!
//! An event is applied to all regions at once. One that fails, or does not answer within
//! [`DEADLINE`], is lost: the others go on without it, and a task of its own looks for it until it
//! is back. It gets no tidemark meanwhile, so its edges stop trusting it; and whether its epoch goes on
//! when it is back is decided by what it holds then, see [`tidemark_shared::history::resumed`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tidemark_shared::{
    digest::Digest,
    epoch::Epoch,
    event::{Event, EventId},
    history::Doubt,
    scope::Scope,
};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinSet,
    time,
};

use super::{
    back_off::BackOff,
    region::{Found, Region, RegionError, Target, within},
};
use crate::{metrics, refresh::Heat, tide::TideGauge};

/// How long a region may take to apply an event before the others go on without it.
const DEADLINE: Duration = Duration::from_millis(200);

/// How long one attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(1);

/// A region that stood this long is not the one that fails again and again.
const STEADY: Duration = Duration::from_secs(5);

/// What one event says to every region.
pub(super) struct Change {
    pub(super) id: EventId,
    pub(super) prev: EventId,
    /// Where it is the last one of a whole drain; else each region's tidemark keeps its own.
    pub(super) as_of: Option<i64>,
    pub(super) catalog: Digest,
    pub(super) stamp_ttl_ms: u64,
    pub(super) scopes: Vec<Scope>,
}

/// All regions. Dropping it ends the search for those that are lost.
pub(super) struct Fleet {
    /// The first one is the origin's own.
    slots: Vec<Slot>,
    gauge: TideGauge,
    heat: Arc<Heat>,
    seekers: JoinSet<()>,
    sender: UnboundedSender<Return>,
    receiver: UnboundedReceiver<Return>,
    /// Those that are back and not yet admitted.
    returned: Vec<Return>,
}

/// A lost region that answers again.
pub(super) struct Return {
    place: usize,
    pub(super) found: Found,
}

struct Slot {
    target: Arc<Target>,
    joined: Option<Joined>,
    back_off: BackOff,
}

struct Joined {
    region: Region,
    epoch: Epoch,
    /// Everything visible at this moment is reflected there; 0 in an epoch that has proved nothing.
    as_of: i64,
    since: Instant,
}

impl Fleet {
    /// All of them are lost at first, and looked for.
    pub(super) fn new(targets: &[Arc<Target>], gauge: TideGauge, heat: Arc<Heat>) -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut fleet = Self {
            slots: targets
                .iter()
                .map(|target| Slot {
                    target: target.clone(),
                    joined: None,
                    back_off: BackOff::default(),
                })
                .collect(),
            gauge,
            heat,
            seekers: JoinSet::new(),
            sender,
            receiver,
            returned: Vec::new(),
        };
        for place in 0..fleet.slots.len() {
            fleet.seek(place);
        }
        fleet
    }

    /// Whether there is none left to write to.
    pub(super) fn is_lost(&self) -> bool {
        self.slots.iter().all(|slot| slot.joined.is_none())
    }

    /// Waits until a lost region answers again. Nothing is lost if this is cut off.
    pub(super) async fn has_return(&mut self) {
        // Never `None`: the fleet has a sender itself.
        let found = self.receiver.recv().await;
        self.returned.extend(found);
    }

    /// Waits until all regions answer, at most `patience`: one that is a moment late would miss the
    /// first changes, and need a new epoch for that.
    pub(super) async fn gather(&mut self, patience: Duration) {
        let _ = time::timeout(patience, async {
            while self.returned.len() < self.slots.len() {
                self.has_return().await;
            }
        })
        .await;
    }

    /// The lost regions that answer again, to be admitted.
    pub(super) fn take_returned(&mut self) -> Vec<Return> {
        while let Ok(found) = self.receiver.try_recv() {
            self.returned.push(found);
        }
        std::mem::take(&mut self.returned)
    }

    /// Where a region is.
    pub(super) fn name(&self, back: &Return) -> String {
        self.slots[back.place].target.to_string()
    }

    /// Takes a region in, in an epoch that goes on or, for this reason, begins.
    pub(super) fn admit(&mut self, back: Return, epoch: Epoch, doubt: Option<Doubt>) {
        let slot = &mut self.slots[back.place];
        let held = back.found.tidemark().map_or(0, |held| held.as_of);
        let region = slot.target.to_string();
        match doubt {
            Some(doubt) => {
                metrics::count_epoch(&region, doubt);
                tracing::info!(region, %epoch, doubt = doubt.name(), "a new epoch begins");
            }
            None => tracing::info!(region, %epoch, "the epoch goes on"),
        }
        slot.joined = Some(Joined {
            region: Region::new(&slot.target, back.found),
            epoch,
            as_of: if doubt.is_none() { held } else { 0 },
            since: Instant::now(),
        });
    }

    /// Applies a change to every region that is not lost, all at the same time; those that fail are
    /// lost from now on. A command that waits for its own region does not wait for the others.
    pub(super) async fn apply(&mut self, change: &Change) {
        let (gauge, heat) = (&self.gauge, &self.heat);
        let steps = self
            .slots
            .iter_mut()
            .enumerate()
            .filter_map(|(place, slot)| {
                let joined = slot.joined.as_mut()?;
                Some(async move {
                    let applied = joined.apply(change).await;
                    if place == 0 && applied.is_ok() {
                        if let Some(as_of) = change.as_of {
                            gauge.rise(as_of);
                        }
                        heat.touch(&change.scopes);
                    }
                    (place, applied)
                })
            });
        for (place, applied) in join_all(steps).await {
            match applied {
                Ok(()) => self.slots[place].settle_down(),
                Err(error) => self.lose(place, &error),
            }
        }
    }

    fn lose(&mut self, place: usize, error: &RegionError) {
        let slot = &mut self.slots[place];
        let region = slot.target.to_string();
        slot.joined = None;
        if slot.back_off.is_quiet() {
            tracing::warn!(region, %error, "region lost; it is looked for");
        } else {
            tracing::debug!(region, %error, "region lost again");
        }
        self.seek(place);
    }

    fn seek(&mut self, place: usize) {
        let slot = &mut self.slots[place];
        let (target, sender) = (slot.target.clone(), self.sender.clone());
        let mut back_off = slot.back_off;
        // Should it be lost again at once, the next search begins less eagerly.
        slot.back_off.next();
        // Those that have ended.
        while self.seekers.try_join_next().is_some() {}
        self.seekers.spawn(async move {
            loop {
                time::sleep(back_off.next()).await;
                match within(CONNECT, target.connect()).await {
                    Ok(found) => {
                        // The leadership may have ended meanwhile.
                        let _ = sender.send(Return { place, found });
                        return;
                    }
                    Err(error) if back_off.is_quiet() => {
                        tracing::warn!(region = %target, %error, "region out of reach; it is tried again");
                    }
                    Err(_) => {}
                }
            }
        });
    }
}

impl Slot {
    /// Forgets earlier failures of a region that has stood for a while.
    fn settle_down(&mut self) {
        let stands = |joined: &Joined| joined.since.elapsed() >= STEADY;
        if !self.joined.as_ref().is_some_and(stands) {
            return;
        }
        if !self.back_off.is_quiet() {
            tracing::info!(region = %self.target, "region stands again");
        }
        self.back_off = BackOff::default();
    }
}

impl Joined {
    async fn apply(&mut self, change: &Change) -> Result<(), RegionError> {
        let as_of = change.as_of.unwrap_or(self.as_of);
        let event = Event {
            id: change.id,
            prev: change.prev,
            epoch: self.epoch,
            as_of,
            catalog: change.catalog,
            stamp_ttl_ms: change.stamp_ttl_ms,
            scopes: change.scopes.clone(),
        };
        within(DEADLINE, self.region.apply(&event, None)).await?;
        self.as_of = as_of;
        Ok(())
    }
}
