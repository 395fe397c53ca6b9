//! How long the edge waits for others: the host's own limits are minutes, or none at all.

use std::{pin::pin, time::Duration};

use futures::future::{Either, select};
use spin_sdk::time::sleep;

/// For one step with Redis, connecting included. Past it the request goes on to the origin, so it
/// is what a frozen Redis costs each request; a healthy one answers in under a millisecond.
pub(crate) const REDIS: Duration = Duration::from_millis(250);

/// For storing an answer, which nobody waits for and which may be long.
pub(crate) const REDIS_STORE: Duration = Duration::from_secs(2);

/// For the origin's whole answer, body included. Well above the statement timeout of a sane origin,
/// whose own 504 says more than the edge's.
pub(crate) const ORIGIN: Duration = Duration::from_secs(30);

/// For a connection to the origin: who does not accept one for so long is not there.
pub(crate) const ORIGIN_CONNECT: Duration = Duration::from_secs(3);

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
