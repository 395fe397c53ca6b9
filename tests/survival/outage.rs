//! Something is gone for ten seconds, under a load of which the database could serve only a fraction.

use std::time::Duration;

use tidemark_tests::{
    consistency::report::say,
    stack::Stack,
    traffic::{Figures, Running},
    wait,
};
use tokio::time;

use crate::costly::{self, POOL};

/// How long it is gone.
const GONE: Duration = Duration::from_secs(10);

/// How soon everything is as it was.
const RECOVERY: Duration = Duration::from_secs(5);

/// What hits are counted over.
const WINDOW: Duration = Duration::from_secs(1);

/// How many of the paths count as hot: together they are half of all requests.
const HOT: usize = 20;

/// What the traffic got.
pub(crate) struct Outage {
    /// Right before.
    pub(crate) before: Figures,
    /// From the beginning of the outage to its end.
    pub(crate) meanwhile: Figures,
    /// The most wanted answers in that time.
    pub(crate) hot: Figures,
    /// The outage until the promise has run out, and from then on.
    pub(crate) proven: Figures,
    pub(crate) unproven: Figures,
    /// Everything, from the first request to the last.
    pub(crate) all: Figures,
    /// How many queries PostgreSQL has run since it began.
    pub(crate) executed: i64,
}

/// Waits until nearly everything is a hit.
async fn warmed_up(traffic: &Running) -> Figures {
    let last = async || traffic.last(WINDOW);
    let minute = Duration::from_secs(60);
    let is_warm = |figures: &Figures| figures.requests() > 100 && figures.hit_ratio() > 0.97;
    wait::until_within(minute, "a warm cache", last, is_warm).await
}

impl Outage {
    /// Lets something go, and come back after [`GONE`]; `meanwhile` looks at it shortly before that.
    /// Says the figures, and makes sure of what holds in any outage.
    pub(crate) async fn endured<T>(
        what: &str,
        mut stack: Stack,
        go: impl AsyncFnOnce(&mut Stack) -> T,
        meanwhile: impl AsyncFnOnce(&Stack),
        come_back: impl AsyncFnOnce(&mut Stack, T),
    ) -> Self {
        let traffic = costly::traffic(&stack).start(1);
        let before = warmed_up(&traffic).await;
        let activity = costly::activity(&stack).await;
        let executed = costly::executed(&stack).await;

        let gone = traffic.now();
        let absent = go(&mut stack).await;
        time::sleep(GONE).await;
        meanwhile(&stack).await;
        let returning = traffic.now();
        come_back(&mut stack, absent).await;
        let back = traffic.now();
        let is_as_before = |figures: &Figures| {
            traffic.now() > back + WINDOW && figures.hit_ratio() >= 0.95 * before.hit_ratio()
        };
        let last = async || traffic.last(WINDOW);
        wait::until_within(wait::LIMIT, "hits as before", last, is_as_before).await;
        let recovered = traffic.now().saturating_sub(back + WINDOW);

        let executed = costly::executed(&stack).await - executed;
        let meanwhile = traffic.between(gone, back);
        let run_out = gone + costly::PROMISE;
        let outage = Self {
            hot: meanwhile.hottest(HOT),
            // The tidemark was written a moment before, and is looked at a moment after the client asks.
            proven: traffic.between(gone, run_out - WINDOW),
            // Who has waited for its return may be served after it.
            unproven: traffic.between(run_out, returning).ended_by(returning),
            all: traffic.between(Duration::ZERO, traffic.now()),
            before,
            meanwhile,
            executed,
        };
        say(format_args!(
            "{what}: before {}\n  meanwhile {}; the slowest {:.1?}\n  the {HOT} hottest {}\n  \
             at most {} queries at a time, {executed} in all; hits as before after {recovered:.1?}",
            outage.before,
            outage.meanwhile,
            outage.all.slowest(),
            outage.hot,
            activity.most(),
        ));
        assert!(activity.most() <= i64::from(POOL), "{}", activity.most());
        assert!(recovered <= RECOVERY, "hits again after {recovered:?}");
        outage
    }
}
