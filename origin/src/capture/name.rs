//! Names in the generated SQL: quoted, and never longer than PostgreSQL keeps.

use tidemark_shared::digest::Digest;

/// The longest name that PostgreSQL keeps, in bytes; it cuts off the rest without an error.
const LONGEST: usize = 63;

/// A name of our own for something of a table's. One that PostgreSQL would cut off ends in a
/// digest instead, so that those of two tables never become one.
pub(super) fn bounded(name: &str) -> String {
    if name.len() <= LONGEST {
        return name.to_owned();
    }
    let digest = Digest::of(name.as_bytes()).to_string();
    let kept = name.floor_char_boundary(LONGEST - 1 - digest.len());
    format!("{}~{digest}", &name[..kept])
}

/// Quotes an identifier that may be qualified by a schema.
pub(crate) fn quoted(table: &str) -> String {
    let parts: Vec<_> = table.split('.').map(quoted_part).collect();
    parts.join(".")
}

/// Quotes one identifier.
pub(super) fn quoted_part(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Quotes a text, right whatever `standard_conforming_strings` says.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        format!("E'{}'", quoted.replace('\\', "\\\\"))
    } else {
        format!("'{quoted}'")
    }
}

/// Quotes a function's body with a tag that the body does not hold.
pub(super) fn dollar_quoted(body: &str) -> String {
    let mut tag = "$capture$".to_owned();
    let mut number = 0;
    while body.contains(&tag) {
        number += 1;
        tag = format!("$capture_{number}$");
    }
    format!("{tag}\n{body}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_stay_apart() {
        let [one, other] = ["a", "b"].map(|end| bounded(&format!("{}{end}", "x".repeat(80))));
        assert!(one.len() <= LONGEST && other.len() <= LONGEST);
        assert_ne!(one, other);
        assert_eq!(bounded("tidemark insert orders"), "tidemark insert orders");
        // Not cut inside a character.
        assert!(bounded(&"ä".repeat(60)).len() <= LONGEST);
    }

    #[test]
    fn nothing_ends_its_quotes() {
        assert_eq!(quoted_part("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("a'b"), "'a''b'");
        assert_eq!(literal("a\\'b"), "E'a\\\\''b'");
        let quoted = dollar_quoted("'$capture$';\n");
        assert!(quoted.starts_with("$capture_1$\n") && quoted.ends_with("\n$capture_1$"));
    }
}
