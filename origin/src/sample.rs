//! Reads the hot sample, which the edges write: see [`tidemark_shared::hot`].

use redis::aio::ConnectionManager;
use tidemark_shared::{
    hot::{self, Era},
    key::Keyspace,
};

use crate::clock;

/// The requests that are read most with their scores, the hottest first, at most so many.
///
/// # Errors
/// Redis does not answer.
pub async fn hottest(
    redis: &mut ConnectionManager,
    keyspace: &Keyspace,
    most: usize,
) -> redis::RedisResult<Vec<(String, f64)>> {
    if most == 0 {
        return Ok(Vec::new());
    }
    let era = Era::at(clock::now_ms());
    let mut both = redis::pipe();
    for era in [era, era.previous()] {
        both.cmd("ZREVRANGE")
            .arg(keyspace.hot(era))
            .arg(0)
            .arg(most - 1)
            .arg("WITHSCORES");
    }
    let (current, previous) = both.query_async(redis).await?;
    Ok(hot::hottest(current, previous, most))
}
