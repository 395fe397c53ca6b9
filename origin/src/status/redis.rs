//! Redis: its tidemark, its memory, and whether it can make room.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, InfoDict, RedisResult};
use tidemark_shared::tidemark::Tidemark;

use super::{Expectation, Observation, Part};
use crate::{clock::now_ms, relay::region::is_cluster_node};

/// How long one step may take.
const STEP: Duration = Duration::from_secs(2);

/// Tidemarks come many times a second: one as old as this is late.
const LATE: Duration = Duration::from_millis(500);

/// The share of its memory above which a Redis is nearly full.
const NEARLY_FULL: f64 = 0.9;

/// Looks at one Redis, which is at `place`.
pub async fn redis(client: &Client, place: &str, expected: Expectation<'_>) -> Part {
    let observations = match look(client, expected).await {
        Ok(observations) => observations,
        Err(error) if error.redirect_node().is_some() => vec![Observation::problem(
            "server",
            format!("another node of the cluster has the namespace's slot ({error})"),
            "name that node in --redis, and in the edges' redis_url",
        )],
        Err(error) => vec![Observation::problem(
            "server",
            error.to_string(),
            "start it, or correct --redis; meanwhile the origin answers everything",
        )],
    };
    Part {
        name: format!("Redis {place}"),
        observations,
    }
}

async fn look(client: &Client, expected: Expectation<'_>) -> RedisResult<Vec<Observation>> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(STEP))
        .set_response_timeout(Some(STEP));
    let mut redis = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let info: InfoDict = redis::cmd("INFO").query_async(&mut redis).await?;
    if is_cluster_node(&info) && !expected.keyspace.is_in_one_slot() {
        return Ok(vec![scattered()]);
    }
    let tidemark: Option<Vec<u8>> = redis::cmd("GET")
        .arg(expected.keyspace.tidemark())
        .query_async(&mut redis)
        .await?;
    let tidemark = tidemark.as_deref().and_then(Tidemark::parse);
    Ok(vec![
        server(&info),
        tide(tidemark, expected, now_ms()),
        memory(&info),
        eviction(&info),
        lookups(&info),
    ])
}

/// A field of `INFO`; empty where it does not tell.
fn word(info: &InfoDict, field: &str) -> String {
    info.get(field).unwrap_or_default()
}

/// A field of `INFO`; 0 where it does not tell.
fn number(info: &InfoDict, field: &str) -> u64 {
    info.get(field).unwrap_or_default()
}

fn scattered() -> Observation {
    Observation::problem(
        "server",
        "a node of a cluster, which spreads the names over its slots: nothing can be proven",
        "give the names a hash tag of their own: --key-prefix '{tm}:', and the same as the edges' key_prefix",
    )
}

fn server(info: &InfoDict) -> Observation {
    let version = word(info, "redis_version");
    if word(info, "loading") == "1" {
        return Observation::warning(
            "server",
            format!("{version}, loading its data"),
            "wait; the origin answers meanwhile",
        );
    }
    match word(info, "role").as_str() {
        "slave" => Observation::problem(
            "server",
            format!("{version}, a read-only replica"),
            "name its primary: nothing can be written here",
        ),
        _ => Observation::ok(
            "server",
            format!("{version}, {} clients", word(info, "connected_clients")),
        ),
    }
}

fn tide(tidemark: Option<Tidemark>, expected: Expectation<'_>, now_ms: i64) -> Observation {
    const SUBJECT: &str = "tidemark";
    let Some(tidemark) = tidemark else {
        return Observation::problem(
            SUBJECT,
            "none: nothing in this Redis is proven",
            "see whether a relay leads that has this Redis among its --redis (or a manager its --to), \
             with the same --key-prefix",
        );
    };
    if tidemark.catalog != expected.repository.digest {
        return Observation::problem(
            SUBJECT,
            "the relay has another catalog than this one",
            "deploy the same catalog to relay, origins and edges; answers of one are not stored for the \
             other",
        );
    }
    let age = tidemark.age(now_ms);
    let text = format!(
        "{} ms old, event {}, epoch {}",
        age.as_millis(),
        tidemark.event,
        tidemark.epoch
    );
    match expected.promise() {
        Some(promise) if age > promise => Observation::problem(
            SUBJECT,
            format!("{text}: older than the shortest promise ({promise:?})"),
            "see what the relay logs: this Redis may be slow, or the clocks may differ",
        ),
        _ if age > LATE => Observation::warning(SUBJECT, text, "see what the relay logs"),
        _ => Observation::ok(SUBJECT, text),
    }
}

fn memory(info: &InfoDict) -> Observation {
    const SUBJECT: &str = "memory";
    let (used, most) = (number(info, "used_memory"), number(info, "maxmemory"));
    if most == 0 {
        return Observation::warning(
            SUBJECT,
            format!("{} used, without a limit", mebibytes(used)),
            "set maxmemory: without one Redis grows until the machine kills it",
        );
    }
    let share = used as f64 / most as f64;
    let text = format!(
        "{} of {} used ({:.0} %)",
        mebibytes(used),
        mebibytes(most),
        100.0 * share
    );
    let evicts = word(info, "maxmemory_policy") != "noeviction";
    if share > NEARLY_FULL && !evicts {
        let advice = "raise maxmemory, or let it evict: what is new is not cached once it is full";
        Observation::warning(SUBJECT, text, advice)
    } else {
        Observation::ok(SUBJECT, text)
    }
}

fn eviction(info: &InfoDict) -> Observation {
    const SUBJECT: &str = "eviction";
    let policy = word(info, "maxmemory_policy");
    let text = format!(
        "{policy}, {} keys evicted so far",
        number(info, "evicted_keys")
    );
    match policy.as_str() {
        "noeviction" => Observation::warning(
            SUBJECT,
            text,
            "set maxmemory-policy allkeys-lru: a full Redis then makes room for what is asked for",
        ),
        _ => Observation::ok(SUBJECT, text),
    }
}

fn lookups(info: &InfoDict) -> Observation {
    let (hits, misses) = (
        number(info, "keyspace_hits"),
        number(info, "keyspace_misses"),
    );
    let text = match hits + misses {
        0 => "none yet".to_owned(),
        all => format!("{:.1} % of {all} found", 100.0 * hits as f64 / all as f64),
    };
    Observation::ok("lookups", text)
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Level;

    fn info(text: &str) -> InfoDict {
        InfoDict::new(text)
    }

    #[test]
    fn a_redis_without_a_limit_or_a_way_to_make_room_is_a_warning() {
        let mib = 1 << 20;
        for (used, most, policy, memory_level, eviction_level) in [
            (mib, 0, "allkeys-lru", Level::Warning, Level::Ok),
            (mib, 2 * mib, "noeviction", Level::Ok, Level::Warning),
            (mib, mib, "noeviction", Level::Warning, Level::Warning),
            (mib, mib, "allkeys-lru", Level::Ok, Level::Ok),
        ] {
            let info = info(&format!(
                "# Memory\r\nused_memory:{used}\r\nmaxmemory:{most}\r\nmaxmemory_policy:{policy}\r\n"
            ));
            assert_eq!(memory(&info).level, memory_level, "{used} {most} {policy}");
            assert_eq!(eviction(&info).level, eviction_level, "{policy}");
        }
    }

    #[test]
    fn nothing_can_be_written_to_a_replica() {
        assert_eq!(server(&info("role:master")).level, Level::Ok);
        assert_eq!(server(&info("role:slave")).level, Level::Problem);
        assert_eq!(
            server(&info("role:master\nloading:1")).level,
            Level::Warning
        );
    }

    #[test]
    fn lookups_are_a_share() {
        assert_eq!(lookups(&info("")).text, "none yet");
        let some = info("keyspace_hits:3\nkeyspace_misses:1");
        assert_eq!(lookups(&some).text, "75.0 % of 4 found");
    }
}
