//! Finding the entries of a Redis, without holding it up.

use redis::aio::ConnectionManager;
use tidemark_shared::key::Keyspace;

/// How many names Redis looks at in one step.
const SCAN_COUNT: u32 = 200;

/// How many steps lead to one entry at most: in a Redis that is full of others' keys there may be none
/// for long.
const STEPS: u32 = 10;

/// A walk along the entries in Redis, from a cursor to the end; in the order of their hashes, so that
/// some of them in a row are as good as some at random.
pub struct Walk {
    pattern: String,
    cursor: u64,
    found: Vec<String>,
    ended: bool,
}

impl Walk {
    /// A walk along all entries, from the beginning.
    pub fn whole(keyspace: &Keyspace) -> Self {
        Self::matching(keyspace.entries())
    }

    /// A walk from somewhere to the end. (A cursor that Redis has not given out is no error; it only
    /// does not know what it has seen.)
    pub fn from_anywhere(keyspace: &Keyspace) -> Self {
        Self::new(keyspace.entries(), u64::from(rand::random::<u32>()))
    }

    /// A walk along the entries whose names match a glob pattern of a [`Keyspace`].
    pub fn matching(pattern: String) -> Self {
        Self::new(pattern, 0)
    }

    fn new(pattern: String, cursor: u64) -> Self {
        Self {
            pattern,
            cursor,
            found: Vec::new(),
            ended: false,
        }
    }

    /// Whether there is nothing more to be found.
    pub fn has_ended(&self) -> bool {
        self.ended && self.found.is_empty()
    }

    /// The name of the next entry. None where the walk has ended, or has found nothing for long and
    /// goes on with the next call.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn next(
        &mut self,
        redis: &mut ConnectionManager,
    ) -> redis::RedisResult<Option<String>> {
        for _ in 0..STEPS {
            if let Some(name) = self.found.pop() {
                return Ok(Some(name));
            }
            if self.ended {
                break;
            }
            (self.cursor, self.found) = redis::cmd("SCAN")
                .arg(self.cursor)
                .arg("MATCH")
                .arg(&self.pattern)
                .arg("COUNT")
                .arg(SCAN_COUNT)
                .query_async(redis)
                .await?;
            self.ended = self.cursor == 0;
        }
        Ok(self.found.pop())
    }
}
