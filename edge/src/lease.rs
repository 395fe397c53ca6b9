//! A key's lease in Redis: this instance loads it, and others had better wait a moment.
//!
//! How long it lasts and how long others wait is [`tidemark_shared::lease`]'s decision. Whatever
//! goes wrong with it costs a query more, never a wrong answer.

use tidemark_shared::{key::Key, lease};

use crate::{clock::random_token, instance::Instance, redis::RedisError};

/// A lease that this instance has.
#[derive(Debug)]
pub(crate) struct Lease {
    name: String,
    /// Nobody else's, so that only the lease itself is given back and not its successor.
    token: String,
}

impl Lease {
    /// Takes a key's lease; `None` if somebody has it.
    pub(crate) async fn take(instance: &Instance, key: &Key) -> Result<Option<Self>, RedisError> {
        let lease = Self {
            name: instance.settings.keyspace.lease(key),
            token: format!("{:032x}", random_token()),
        };
        let taken = instance
            .redis
            .set_if_absent(&lease.name, &lease.token, lease::LIFE)
            .await?;
        Ok(taken.then_some(lease))
    }

    /// Gives it back, so that the next one need not wait.
    pub(crate) async fn release(self, instance: &Instance) {
        // It ends by itself; that this failed is logged where it did.
        let _ = instance
            .redis
            .delete_if_equal(&self.name, &self.token)
            .await;
    }
}
