//! Two origins behind one address are restarted one after the other: nobody notices.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use rustix::process::Signal;
use tidemark_tests::{
    balancer::Balancer,
    consistency::{now_us, report::say},
    http::Client,
    port::{self, local},
    stack::Stack,
    traffic::Traffic,
    wait,
};
use tokio::{task::JoinHandle, time};

use crate::costly::{self, POOL, PROMISE};

/// How often each origin is restarted.
const ROUNDS: u32 = 5;

/// How many requests there are between two restarts.
const REQUESTS: usize = 1_000;

/// One path of so many is never cached, so that there is always a request on its way to an origin.
const LIVE: usize = 2;

/// How much time a client leaves between two requests: many meet an origin just as it goes.
const PACE: Duration = Duration::from_millis(10);

/// The greatest age that the tidemark is seen at, in ms.
fn greatest_age(stack: &Stack) -> (Arc<AtomicI64>, JoinHandle<()>) {
    let greatest = Arc::new(AtomicI64::new(0));
    let (seen, redis) = (greatest.clone(), stack.redis.url());
    let task = tokio::spawn(async move {
        let client = redis::Client::open(redis).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut pace = time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            let bytes: Vec<u8> = redis::cmd("GET")
                .arg("tm:tidemark")
                .query_async(&mut connection)
                .await
                .unwrap();
            let tidemark = tidemark_shared::tidemark::Tidemark::parse(&bytes).unwrap();
            seen.fetch_max(now_us() / 1_000 - tidemark.as_of, Ordering::Relaxed);
        }
    });
    (greatest, task)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_fails_no_request() {
    let _turn = crate::turn().await;
    let mut stack = costly::setup().start().await;
    let mut other = stack.origin_config.clone();
    other.listen = local(port::free());
    other.log.set_file_name("other-origin.log");
    let mut another = other.start().await.unwrap();
    let both = vec![stack.origin_config.listen, other.listen];
    let balancer = Balancer::before(both).await.unwrap();
    let edge = stack.edge_with("origin_url", balancer.url()).await;

    let paths = (1..=100).map(|id| match id % LIVE {
        0 => format!("/live/{id}"),
        _ => format!("/item/{id}"),
    });
    let traffic = Traffic {
        edge: edge.url().to_owned(),
        paths: paths.collect(),
        pace: PACE,
        ..costly::traffic(&stack)
    };
    let traffic = traffic.start(3);
    let last = async || traffic.last(Duration::from_secs(1));
    let minute = Duration::from_secs(60);
    wait::until_within(minute, "a warm cache", last, |last| {
        last.answered_ratio() == 1.0 && last.hit_ratio() > 0.5
    })
    .await;
    let activity = costly::activity(&stack).await;
    let (greatest_age, watch) = greatest_age(&stack);

    let begun = traffic.now();
    let mut longest = Duration::ZERO;
    for _ in 0..ROUNDS {
        for (config, origin) in [
            (&stack.origin_config, &mut stack.origin),
            (&other, &mut another),
        ] {
            let told = traffic.now();
            origin.process().signal(Signal::TERM);
            let status = origin.process().ended(wait::LIMIT).await.unwrap();
            assert!(status.success(), "{status}");
            longest = longest.max(traffic.now() - told);
            *origin = config.start().await.unwrap();
            // As whoever restarts them does: one is to be there before the next one goes.
            let readyz = format!("{}/readyz", origin.url());
            let ready = async || Client::default().get(&readyz).await.unwrap().status;
            wait::until("ready", ready, |status| *status == StatusCode::OK).await;
            let since = traffic.now();
            let asked = async || traffic.between(since, traffic.now()).requests();
            wait::until("requests", asked, |asked| *asked >= REQUESTS).await;
        }
    }
    watch.abort();
    let meanwhile = traffic.between(begun, traffic.now());
    let greatest_age = greatest_age.load(Ordering::Relaxed);
    say(format_args!(
        "rolling restart: {} restarts of two origins, each ended within {longest:.1?}; {meanwhile}\n  \
         the tidemark was at most {greatest_age} ms old; at most {} queries at a time",
        2 * ROUNDS,
        activity.most()
    ));
    let unexpected = meanwhile.unexpected(&[]);
    assert!(unexpected.is_none(), "{unexpected:?}");
    assert!(u128::from(greatest_age.unsigned_abs()) < PROMISE.as_millis());
    assert!(activity.most() <= 2 * i64::from(POOL));
}
