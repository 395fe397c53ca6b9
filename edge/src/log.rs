//! One line on standard error for what an operator has to know.

use std::{
    fmt::{Display, Write as _},
    io::Write as _,
};

/// Something is wrong.
///
/// Nothing is logged for a request that went well, and no value may hold a secret.
pub(crate) fn error(event: &str, fields: &[(&str, &dyn Display)]) {
    write("error", event, fields);
}

/// What was wrong is right again.
pub(crate) fn info(event: &str, fields: &[(&str, &dyn Display)]) {
    write("info", event, fields);
}

/// Writes one line: the level, the event's name, then the fields, each value quoted.
fn write(level: &str, event: &str, fields: &[(&str, &dyn Display)]) {
    let mut line = format!("level={level} event={event}");
    for (name, value) in fields {
        // Debug quotes the text and keeps it on one line.
        let _ = write!(line, " {name}={:?}", value.to_string());
    }
    // Not `eprintln!`: it panics where standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}
