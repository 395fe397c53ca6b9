//! What the shared core takes as parameters: the time, and randomness.

use std::time::{SystemTime, UNIX_EPOCH};

use spin_sdk::wasip3::{clocks::monotonic_clock, random::random::get_random_u64};
use tidemark_shared::freshness::Moment;

/// The time, in ms since the Unix epoch.
pub(crate) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// The time passed since whenever, in ms, by a clock that is never set.
pub(crate) fn ticks_ms() -> i64 {
    i64::try_from(monotonic_clock::now() / 1_000_000).unwrap_or(i64::MAX)
}

/// The same in µs.
pub(crate) fn ticks_us() -> u64 {
    monotonic_clock::now() / 1_000
}

/// This moment, by both clocks.
pub(crate) fn moment() -> Moment {
    Moment {
        now_ms: now_ms(),
        ticks_ms: ticks_ms(),
    }
}

/// 128 bits from the host's cryptographically secure source.
pub(crate) fn random_token() -> u128 {
    u128::from(get_random_u64()) << 64 | u128::from(get_random_u64())
}
