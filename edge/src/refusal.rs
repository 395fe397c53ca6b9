//! Tells an error reply of Redis from a connection that is broken.
//!
//! Both come from the host as text, as the `redis` crate writes it: `"OOM": command not allowed …`,
//! `ReadOnly: You can't write …`, or from its older versions `OOM: …` and `An error was signalled by
//! the server - ReadOnly: …`. Of a connection it writes `Broken pipe (os error 32)`, say. What is not
//! known to be a reply is taken for a broken connection.

use spin_sdk::redis::Error;

const OLDER: &str = "An error was signalled by the server - ";

/// The codes that the crate has its own names for, without the `Error` in which some have ended.
const NAMED: [&str; 14] = [
    "Ask",
    "BusyLoading",
    "ClusterDown",
    "CrossSlot",
    "ExecAbort",
    "MasterDown",
    "Moved",
    "NoPerm",
    "NoScript",
    "NoSub",
    "NotBusy",
    "ReadOnly",
    "Response",
    "TryAgain",
];

/// The code of an error reply; `None` where Redis has not answered at all.
pub(crate) fn code(error: &Error) -> Option<&str> {
    match error {
        Error::TypeError => Some("WRONGTYPE"),
        Error::Other(reason) => code_in(reason),
        Error::InvalidAddress | Error::TooManyConnections => None,
    }
}

fn code_in(reason: &str) -> Option<&str> {
    let reply = reason.strip_prefix(OLDER).unwrap_or(reason);
    let code = reply.split(':').next()?.trim_matches('"');
    let named = NAMED.contains(&code.strip_suffix("Error").unwrap_or(code));
    let as_redis_writes_it = code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase());
    (named || as_redis_writes_it).then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_known_by_its_code() {
        for (reason, expected) in [
            (
                "\"OOM\": command not allowed when used memory > 'maxmemory'.",
                Some("OOM"),
            ),
            ("\"NOAUTH\": Authentication required.", Some("NOAUTH")),
            (
                "\"MISCONF\": Redis is configured to save RDB snapshots",
                Some("MISCONF"),
            ),
            ("\"WRONGTYPE\": Operation against a key", Some("WRONGTYPE")),
            (
                "BusyLoading: Redis is loading the dataset in memory",
                Some("BusyLoading"),
            ),
            (
                "ReadOnly: You can't write against a read only replica.",
                Some("ReadOnly"),
            ),
            (
                "ResponseError: unknown command 'MGET'",
                Some("ResponseError"),
            ),
            ("ResponseError", Some("ResponseError")),
            ("OOM: command not allowed", Some("OOM")),
            (
                "An error was signalled by the server - BusyLoadingError: loading",
                Some("BusyLoadingError"),
            ),
            ("Broken pipe (os error 32)", None),
            ("Connection refused (os error 111)", None),
            ("broken pipe", None),
            ("unexpected end of file", None),
            ("Incompatible type - Parse error", None),
            (
                "Multiplexed connection driver unexpectedly terminated - Io",
                None,
            ),
            ("connecting to Redis timed out", None),
            ("A: one letter is no code", None),
            ("", None),
        ] {
            assert_eq!(code_in(reason), expected, "{reason}");
        }
    }
}
