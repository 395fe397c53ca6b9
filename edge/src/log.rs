//! One line on standard error for what an operator has to know.

use std::{
    fmt::{Display, Write as _},
    io::Write as _,
};

/// Writes one line: the event's name, then the fields, each value quoted.
///
/// Nothing is logged for a request that went well, and no value may hold a secret.
pub(crate) fn error(event: &str, fields: &[(&str, &dyn Display)]) {
    let mut line = format!("level=error event={event}");
    for (name, value) in fields {
        // Debug quotes the text and keeps it on one line.
        let _ = write!(line, " {name}={:?}", value.to_string());
    }
    // Not `eprintln!`: it panics where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
