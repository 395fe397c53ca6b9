//! Reading what is cached, and what governs it.

use bytes::Bytes;
use redis::aio::ConnectionManager;
use tidemark_shared::{freshness::Observation, key::Keyspace};

use crate::question::Question;

/// A question's entry and what governs it, all at the same moment.
pub(crate) async fn look_up(
    redis: &ConnectionManager,
    keyspace: &Keyspace,
    question: &Question<'_>,
) -> redis::RedisResult<(Option<Bytes>, Observation)> {
    let names = question.demand().names(keyspace);
    Ok(Observation::of_reply(get_all(redis, &names).await?))
}

/// The values of some names, all at the same moment.
pub(crate) async fn get_all(
    redis: &ConnectionManager,
    names: &[String],
) -> redis::RedisResult<Vec<Option<Bytes>>> {
    let values: Vec<Option<Vec<u8>>> = redis::cmd("MGET")
        .arg(names)
        .query_async(&mut redis.clone())
        .await?;
    let values = values.into_iter().map(|value| value.map(Bytes::from));
    Ok(values.collect())
}
