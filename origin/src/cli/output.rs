//! How a command shows what it has found: to people, or to programs.

use std::{
    fmt::Display,
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

#[derive(Debug, Args)]
pub(super) struct OutputArgs {
    /// Write JSON.
    #[arg(long)]
    pub(super) json: bool,
}

/// Prints a text as it is. Where nobody reads any more (`… | head`), that is an error, and no panic.
pub(super) fn print_text(text: impl Display) -> io::Result<()> {
    let mut output = io::stdout().lock();
    write!(output, "{text}")?;
    output.flush()
}

/// Prints a line.
pub(super) fn print_line(text: impl Display) -> io::Result<()> {
    print_text(format_args!("{text}\n"))
}

/// Prints a value as JSON, for a command that prints only one.
pub(super) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(value).context("cannot write JSON")?;
    Ok(print_line(json)?)
}

/// Prints a value as one line of JSON, for a command that prints one after the other.
pub(super) fn print_json_line(value: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_string(value).context("cannot write JSON")?;
    Ok(print_line(json)?)
}

/// Whether an error is only that nobody reads the output any more.
pub(super) fn is_unread(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A moment in ms since the Unix epoch, as RFC 3339 has it.
pub(super) fn moment(ms: i64) -> String {
    let since = Duration::from_millis(ms.max(0).unsigned_abs());
    match SystemTime::UNIX_EPOCH.checked_add(since) {
        Some(time) if (0..YEAR_9999_MS).contains(&ms) => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => format!("{ms} ms"),
    }
}

/// Beyond it RFC 3339 has no name for a moment.
const YEAR_9999_MS: i64 = 253_370_764_800_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_told_as_people_read_it() {
        assert_eq!(moment(1_763_863_200_123), "2025-11-23T02:00:00.123Z");
        for odd in [-1, i64::MAX] {
            assert_eq!(moment(odd), format!("{odd} ms"));
        }
    }
}
