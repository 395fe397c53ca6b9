//! How long the edge waits for others: the host's own limits are minutes, or none at all.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};
use spin_sdk::time::sleep;

/// The longest deadline that can be configured.
pub(crate) const LONGEST: Duration = Duration::from_secs(600);

/// For storing an answer, which nobody waits for and which may be long; or longer, if Redis is given
/// more time for each step.
const REDIS_STORE: Duration = Duration::from_secs(2);

/// For a connection to the origin, unless the whole answer is given less: who does not accept one for
/// so long is not there.
const ORIGIN_CONNECT: Duration = Duration::from_secs(3);

/// How long the steps of a request may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadlines {
    /// For one step with Redis, connecting included. Past it the request goes on to the origin, so it
    /// is what a frozen Redis costs the first requests; a healthy one answers in under a millisecond.
    pub(crate) redis: Duration,
    /// For the origin's whole answer, body included. Well above the statement timeout of a sane
    /// origin, whose own 504 says more than the edge's.
    pub(crate) origin: Duration,
}

impl Deadlines {
    /// For storing an answer.
    pub(crate) fn redis_store(&self) -> Duration {
        self.redis.max(REDIS_STORE)
    }

    /// For a connection to the origin.
    pub(crate) fn origin_connect(&self) -> Duration {
        self.origin.min(ORIGIN_CONNECT)
    }
}

/// The deadline passed, and the work was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no answer in time")]
pub(crate) struct Elapsed;

/// Does some work within a deadline, or drops it.
pub(crate) async fn within<T>(
    deadline: Duration,
    work: impl Future<Output = T>,
) -> Result<T, Elapsed> {
    match select(pin!(work), pin!(sleep(deadline))).await {
        Either::Left((done, _)) => Ok(done),
        Either::Right(((), _)) => Err(Elapsed),
    }
}
