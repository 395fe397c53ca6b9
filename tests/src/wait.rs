//! Waiting for conditions, never for time.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use tokio::time;

/// How long a condition may take that is usually met within milliseconds. Generous, because
/// machines that run tests are busy.
pub const LIMIT: Duration = Duration::from_secs(20);

/// Asks again and again until `accept` likes the answer, and gives it.
///
/// # Panics
/// It does not within `limit`; the message has the last answer.
pub async fn until_within<T: Debug>(
    limit: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> T,
    accept: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + limit;
    loop {
        let answer = ask().await;
        if accept(&answer) {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "after {limit:?} still not: {what}; last: {answer:?}"
        );
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// As [`until_within`] with [`LIMIT`].
///
/// # Panics
/// It does not within [`LIMIT`]; the message has the last answer.
pub async fn until<T: Debug>(
    what: &str,
    ask: impl AsyncFnMut() -> T,
    accept: impl Fn(&T) -> bool,
) -> T {
    until_within(LIMIT, what, ask, accept).await
}
