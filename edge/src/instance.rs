//! What one instance keeps between its requests.
//!
//! An instance is a single thread: its requests are futures that take turns, so that nothing here
//! needs a lock, and it goes when the host drops it, after 128 requests or a second of idleness.

use std::{cell::OnceCell, rc::Rc};

use crate::{
    flight::Flights,
    instance_cache::InstanceCache,
    origin::{Loaded, Origin},
    question::Meanings,
    redis::Redis,
    settings::{Settings, SettingsError},
    tally::Tally,
};

/// The settings, what targets mean by them, the one connection to Redis, what it has proven, the loads that are under way, and what
/// has been counted.
pub(crate) struct Instance {
    pub(crate) settings: Settings,
    pub(crate) meanings: Meanings,
    pub(crate) redis: Redis,
    pub(crate) origin: Origin,
    pub(crate) l1: InstanceCache,
    pub(crate) flights: Flights<Loaded>,
    pub(crate) tally: Tally,
}

thread_local! {
    static CURRENT: OnceCell<Rc<Instance>> = const { OnceCell::new() };
}

/// This instance. Its first request sets it up; where that fails, the next one tries again.
pub(crate) async fn current() -> Result<Rc<Instance>, SettingsError> {
    if let Some(instance) = CURRENT.with(|current| current.get().cloned()) {
        return Ok(instance);
    }
    let loaded = Rc::new(Instance::new(Settings::load().await?));
    // Two first requests may both have loaded the settings; all go on with the same instance.
    Ok(CURRENT.with(|current| current.get_or_init(|| loaded).clone()))
}

impl Instance {
    fn new(settings: Settings) -> Self {
        Self {
            redis: Redis::new(&settings.redis_url, settings.deadlines),
            origin: Origin::new(settings.origin.clone(), settings.deadlines),
            meanings: Meanings::default(),
            l1: InstanceCache::of(settings.l1_bytes),
            flights: Flights::default(),
            tally: Tally::default(),
            settings,
        }
    }
}
