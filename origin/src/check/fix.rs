//! Rewriting `reads` in a `tidemark.toml`, and nothing else of it: every comment and every space
//! stays where it is.

use std::collections::BTreeMap;

use serde::Serialize;
use tidemark_shared::catalog::{Catalog, CatalogError};
use toml_edit::{Array, DocumentMut, Value};

/// A catalog's text with other `reads`, and what is different.
#[derive(Debug, PartialEq, Eq)]
pub struct Fixed {
    /// The whole text.
    pub text: String,
    /// What was changed, query by query.
    pub changes: Vec<Change>,
}

/// What was changed in one query's `reads`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The query.
    pub query: String,
    /// The tables that were missing.
    pub added: Vec<String>,
    /// The names that did not belong there.
    pub removed: Vec<String>,
}

/// Why `reads` can't be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum FixError {
    /// The text is no TOML, or not the catalog that it was.
    #[error("the catalog has changed meanwhile; run it again")]
    Changed,
    /// With the right `reads`, something else in the catalog would be wrong.
    #[error(
        "with reads as they have to be, the catalog would not be valid, so nothing was changed; first correct this by hand: {0}"
    )]
    Invalid(#[from] CatalogError),
}

/// Rewrites `reads` of these queries; `file` is the catalog's name for messages.
///
/// # Errors
/// The result would be no valid catalog.
pub fn reads(
    file: &str,
    text: &str,
    wanted: &BTreeMap<String, Vec<String>>,
) -> Result<Fixed, FixError> {
    let mut document: DocumentMut = text.parse().map_err(|_| FixError::Changed)?;
    let mut changes = Vec::new();
    for (query, tables) in wanted {
        let array = document
            .get_mut("query")
            .and_then(|queries| queries.get_mut(query))
            .and_then(|query| query.get_mut("reads"))
            .and_then(|reads| reads.as_array_mut())
            .ok_or(FixError::Changed)?;
        let change = rewrite(query, array, tables);
        if !(change.added.is_empty() && change.removed.is_empty()) {
            changes.push(change);
        }
    }
    let text = document.to_string();
    if !changes.is_empty() {
        Catalog::parse(file, &text)?;
    }
    Ok(Fixed { text, changes })
}

fn rewrite(query: &str, array: &mut Array, tables: &[String]) -> Change {
    let names: Vec<String> = array
        .iter()
        .map(|name| name.as_str().unwrap_or_default().to_owned())
        .collect();
    let mut removed = Vec::new();
    for (at, name) in names.iter().enumerate().rev() {
        if !tables.contains(name) {
            remove(array, at);
            removed.insert(0, name.clone());
        }
    }
    let added: Vec<_> = tables
        .iter()
        .filter(|table| !names.contains(table))
        .cloned()
        .collect();
    for table in &added {
        append(array, table);
    }
    Change {
        query: query.to_owned(),
        added,
        removed,
    }
}

/// Removes a name. A comment behind a name stands, to the parser, before the next one: so what
/// stands before the removed name goes on before its successor.
fn remove(array: &mut Array, at: usize) {
    let before = prefix(array, at);
    array.remove(at);
    match array.get_mut(at) {
        Some(next) => next.decor_mut().set_prefix(before),
        None if before.contains('\n') => {
            array.set_trailing(before.trim_end_matches(' ').to_owned())
        }
        None => {}
    }
}

/// Appends a name, on a line of its own where the others have one.
fn append(array: &mut Array, table: &str) {
    let Some(last) = array.len().checked_sub(1) else {
        array.push(table);
        return;
    };
    let before = prefix(array, last);
    let Some((_, indent)) = before.rsplit_once('\n') else {
        array.push(table);
        return;
    };
    // What follows the last name: a comment, and the end of its line.
    let mut behind = array.trailing().as_str().unwrap_or_default().to_owned();
    if let Some(last) = array.get_mut(last) {
        let suffix = last.decor().suffix().and_then(|raw| raw.as_str());
        behind.insert_str(0, suffix.unwrap_or_default());
        last.decor_mut().set_suffix("");
    }
    let (comment, end) = behind.rsplit_once('\n').unwrap_or((&behind, ""));
    let mut value = Value::from(table);
    value
        .decor_mut()
        .set_prefix(format!("{}\n{indent}", comment.trim_end()));
    let end = format!("\n{end}");
    array.push_formatted(value);
    array.set_trailing(end);
    array.set_trailing_comma(true);
}

fn prefix(array: &Array, at: usize) -> String {
    let value = array.get(at);
    let prefix = value.and_then(|value| value.decor().prefix()?.as_str());
    prefix.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(reads: &str) -> String {
        format!(
            "# Ours.\n[query.x]  # x\npath = \"/x\"\nsql = \"x.sql\"\nreads = {reads} # all\n\n[table.a]\nscope = \"f:{{id}}\"\n"
        )
    }

    fn fixed(reads: &str, tables: &[&str]) -> Result<String, String> {
        let tables = tables.iter().map(|table| (*table).to_owned()).collect();
        let wanted = BTreeMap::from([("x".to_owned(), tables)]);
        match super::reads("t.toml", &catalog(reads), &wanted) {
            Ok(fixed) => Ok(fixed.text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn names_on_one_line_stay_there() {
        let cases: [(&str, &[&str], &str); 5] = [
            (r#"["a", "b"]"#, &["a", "b"], r#"["a", "b"]"#),
            (r#"["a"]"#, &["a", "b", "c"], r#"["a", "b", "c"]"#),
            (r#"["b", "a"]"#, &["a"], r#"["a"]"#),
            (r#"["a", "b"]"#, &["a"], r#"["a"]"#),
            (r#"[ "b", "a" ]"#, &["a", "c"], r#"[ "a", "c" ]"#),
        ];
        for (from, tables, to) in cases {
            let text = fixed(from, tables).unwrap();
            if from.starts_with("[ ") {
                // Inner space is a matter of taste; what counts is the list.
                assert!(text.contains("\"a\"") && text.contains("\"c\""), "{text}");
                assert!(!text.contains("\"b\""), "{text}");
            } else {
                assert_eq!(text, catalog(to));
            }
        }
    }

    #[test]
    fn names_on_lines_of_their_own_keep_their_comments() {
        let from = "[\n  # sold\n  \"a\", # first\n  \"b\", # second\n  \"c\", # third\n]";
        assert_eq!(
            fixed(from, &["a", "c", "d"]).unwrap(),
            catalog("[\n  # sold\n  \"a\", # first\n  \"c\", # third\n  \"d\",\n]")
        );
        assert_eq!(
            fixed(from, &["a", "b"]).unwrap(),
            catalog("[\n  # sold\n  \"a\", # first\n  \"b\", # second\n]")
        );
        let without_comma = "[\n  \"a\",\n  \"b\" # last\n]";
        assert_eq!(
            fixed(without_comma, &["a", "b", "c"]).unwrap(),
            catalog("[\n  \"a\",\n  \"b\", # last\n  \"c\",\n]")
        );
    }

    #[test]
    fn a_catalog_that_would_be_invalid_is_left_alone() {
        let error = fixed(r#"["a"]"#, &["b"]).unwrap_err();
        assert!(error.contains("no query reads the table \"a\""), "{error}");
        assert!(error.contains("nothing was changed"), "{error}");
    }

    #[test]
    fn what_changed_is_told() {
        let wanted = BTreeMap::from([("x".to_owned(), vec!["a".to_owned(), "c".to_owned()])]);
        let fixed = super::reads("t.toml", &catalog(r#"["a", "b"]"#), &wanted).unwrap();
        assert_eq!(
            fixed.changes,
            [Change {
                query: "x".to_owned(),
                added: vec!["c".to_owned()],
                removed: vec!["b".to_owned()],
            }]
        );
    }
}
