//! From a SQL file with named parameters to statements that PostgreSQL can prepare.
//!
//! `:org` becomes `$1::bigint`: every value travels as its canonical text and is cast to the
//! declared type by PostgreSQL, so that the SQL means the same whatever types surround it. A real
//! tokenizer finds the parameters, so that a colon in a string, a comment, a cast or a slice stays
//! what it is.

use std::sync::Arc;

use sqlparser::{
    dialect::PostgreSqlDialect,
    keywords::Keyword,
    tokenizer::{Location, Token, TokenWithSpan, Tokenizer},
};
use tidemark_shared::{catalog::Shape, param::ParamSpecs};

/// The name under which a statement's own rows are known in the statement that makes the answer.
const ANSWER: &str = "tidemark_answer";

/// The moment, in ms since the Unix epoch, before which every commit is visible to the statement.
///
/// `now()` is when the transaction began: outside of a transaction block that is when the server
/// received the statement, before it took the statement's snapshot. (`statement_timestamp()` and
/// `clock_timestamp()` can lie after the snapshot and would promise too much.) Rounded down.
pub(crate) const AS_OF: &str = "floor(extract(epoch from now()) * 1000)::bigint";

/// One prepared statement's text and what to bind to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The SQL with numbered placeholders.
    pub sql: Arc<str>,
    /// The parameter for each placeholder: the first is `$1`.
    pub params: Vec<String>,
    /// Where the main statement begins in `sql`, behind a leading `WITH` list; 0 without one.
    main_at: usize,
}

/// What is wrong with a SQL file.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The tokenizer stumbled.
    #[error("not SQL: {0}")]
    Syntax(String),
    /// A named parameter that is not declared.
    #[error("line {line}: :{name} is not in params; declare it in the catalog")]
    UnknownParam {
        /// The line, from 1.
        line: u64,
        /// The name.
        name: String,
    },
    /// A declared parameter that the SQL never uses.
    #[error(
        "the parameter {name:?} is declared but never used; use :{name}, or remove it from params"
    )]
    UnusedParam {
        /// The name.
        name: String,
    },
    /// `$1` or `?`.
    #[error("line {line}: {placeholder} is no named parameter; write :name")]
    Placeholder {
        /// The line, from 1.
        line: u64,
        /// The placeholder.
        placeholder: String,
    },
    /// Another number of statements than makes sense.
    #[error("a query is one statement, this file has {count}")]
    Count {
        /// How many there are.
        count: usize,
    },
    /// Nothing but comments.
    #[error("the file holds no statement")]
    Empty,
}

/// Splits a SQL file into statements and numbers their parameters.
///
/// # Errors
/// The SQL does not tokenize, its parameters do not match the declared ones, or it is empty.
pub fn parse(text: &str, specs: &ParamSpecs) -> Result<Vec<Statement>, StatementError> {
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|error| StatementError::Syntax(error.to_string()))?;
    let lines = LineStarts::of(text);
    let mut statements = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        if let Some(statement) = one(text, &lines, tokens, specs)? {
            statements.push(statement);
        }
    }
    if statements.is_empty() {
        return Err(StatementError::Empty);
    }
    for name in specs.keys() {
        if !statements
            .iter()
            .any(|statement| statement.params.contains(name))
        {
            return Err(StatementError::UnusedParam { name: name.clone() });
        }
    }
    Ok(statements)
}

/// One statement's tokens, or none if they are only space and comments.
fn one(
    text: &str,
    lines: &LineStarts,
    tokens: &[TokenWithSpan],
    specs: &ParamSpecs,
) -> Result<Option<Statement>, StatementError> {
    let is_blank =
        |token: &&TokenWithSpan| matches!(token.token, Token::Whitespace(_) | Token::EOF);
    let (Some(first), Some(last)) = (
        tokens.iter().find(|token| !is_blank(token)),
        tokens.iter().rfind(|token| !is_blank(token)),
    ) else {
        return Ok(None);
    };
    let main = main_keyword(tokens).map(|token| token.span.start);

    let mut sql = String::with_capacity(text.len());
    let mut params: Vec<String> = Vec::new();
    let mut main_at = 0;
    let mut copied = lines.offset(text, first.span.start);
    let mut following = tokens.iter().peekable();
    while let Some(token) = following.next() {
        if Some(token.span.start) == main {
            main_at = sql.len() + lines.offset(text, token.span.start) - copied;
        }
        match (&token.token, following.peek()) {
            (Token::Placeholder(placeholder), _) => {
                return Err(StatementError::Placeholder {
                    line: token.span.start.line,
                    placeholder: placeholder.clone(),
                });
            }
            (Token::Colon, Some(next)) if next.span.start == token.span.end => {
                let Token::Word(word) = &next.token else {
                    continue;
                };
                let spec = specs
                    .get(&word.value)
                    .ok_or_else(|| StatementError::UnknownParam {
                        line: token.span.start.line,
                        name: word.value.clone(),
                    })?;
                let number = match params.iter().position(|name| *name == word.value) {
                    Some(index) => index + 1,
                    None => {
                        params.push(word.value.clone());
                        params.len()
                    }
                };
                sql.push_str(&text[copied..lines.offset(text, token.span.start)]);
                // Behind a colon only a name is legal; the cast keeps the value's type.
                sql.push_str(&format!("${number}::{}", spec.kind.sql_type()));
                copied = lines.offset(text, next.span.end);
            }
            _ => {}
        }
    }
    sql.push_str(&text[copied..lines.offset(text, last.span.end)]);
    Ok(Some(Statement {
        sql: sql.into(),
        params,
        main_at,
    }))
}

/// The keyword that follows a leading `WITH` list, if there is one.
fn main_keyword(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let mut significant = tokens
        .iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_)));
    if keyword(&significant.next()?.token) != Some(Keyword::WITH) {
        return None;
    }
    let mut depth = 0;
    // Behind WITH, RECURSIVE or a comma stands a name, which may look like a keyword.
    let mut name_follows = true;
    for token in significant {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ if depth > 0 => {}
            Token::Comma => name_follows = true,
            other => match keyword(other) {
                Some(Keyword::RECURSIVE) if name_follows => {}
                Some(
                    Keyword::SELECT
                    | Keyword::INSERT
                    | Keyword::UPDATE
                    | Keyword::DELETE
                    | Keyword::VALUES
                    | Keyword::TABLE,
                ) if !name_follows => return Some(token),
                _ => name_follows = false,
            },
        }
    }
    None
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    }
}

impl Statement {
    /// The statement that runs this one and answers one row: `as_of` (bigint) and the body (text),
    /// made by PostgreSQL. No row means that there is nothing to answer.
    ///
    /// The original becomes the last member of its own `WITH` list, where PostgreSQL lets even
    /// `INSERT … RETURNING` stand.
    #[must_use]
    pub fn answering(self, shape: Shape) -> Self {
        let (with, main) = self.sql.split_at(self.main_at);
        let opening = if with.is_empty() {
            "WITH ".to_owned()
        } else {
            // On a line of its own: a comment may end what stands before it.
            format!("{with}\n, ")
        };
        let (columns, body, limit) = match shape {
            Shape::Rows => (
                "",
                format!("'[' || coalesce(string_agg(row_to_json({ANSWER})::text, ','), '') || ']'"),
                "",
            ),
            Shape::Row => ("", format!("row_to_json({ANSWER})::text"), " LIMIT 1"),
            Shape::Json => (
                "(value)",
                format!("coalesce({ANSWER}.value::text, 'null')"),
                " LIMIT 1",
            ),
        };
        let sql = format!(
            "{opening}{ANSWER}{columns} AS (\n{main}\n) SELECT {AS_OF}, {body} FROM {ANSWER}{limit}"
        );
        Self {
            sql: sql.into(),
            params: self.params,
            main_at: 0,
        }
    }
}

/// Where each line begins, to turn the tokenizer's line and column into a place in the text.
struct LineStarts(Vec<usize>);

impl LineStarts {
    fn of(text: &str) -> Self {
        let after_newlines = text.match_indices('\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(after_newlines).collect())
    }

    fn offset(&self, text: &str, at: Location) -> usize {
        let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
        let start = self.0.get(index(at.line)).copied().unwrap_or(text.len());
        text[start..]
            .char_indices()
            .nth(index(at.column))
            .map_or(text.len(), |(column, _)| start + column)
    }
}

#[cfg(test)]
mod tests {
    use tidemark_shared::param::ParamSpec;

    use super::*;

    fn parsed(text: &str, declared: &[(&str, &str)]) -> Result<Vec<Statement>, StatementError> {
        let specs = declared
            .iter()
            .map(|(name, kind)| ((*name).to_owned(), ParamSpec::parse(kind).unwrap()))
            .collect();
        parse(text, &specs)
    }

    #[test]
    fn named_parameters_become_typed_placeholders() {
        let statements = parsed(
            "-- which :ghost?\nSELECT 'ä :ghost', a::text, b[1:2], /* :ghost */ \":ghost\", $$:ghost$$\nFROM t\nWHERE org = :org AND day >= :from AND (day < :from OR org=:org);\n-- end\n",
            &[("org", "int"), ("from", "date")],
        )
        .unwrap();
        assert_eq!(statements.len(), 1);
        assert_eq!(statements[0].params, ["org", "from"]);
        assert_eq!(
            &*statements[0].sql,
            "SELECT 'ä :ghost', a::text, b[1:2], /* :ghost */ \":ghost\", $$:ghost$$\nFROM t\nWHERE org = $1::bigint AND day >= $2::date AND (day < $2::date OR org=$1::bigint)"
        );
    }

    #[test]
    fn parameters_must_match_the_declared_ones() {
        let error = |text, declared| parsed(text, declared).unwrap_err().to_string();
        assert_eq!(
            error("SELECT 1\nWHERE :x", &[]),
            "line 2: :x is not in params; declare it in the catalog"
        );
        assert_eq!(
            error("SELECT 1", &[("x", "int")]),
            "the parameter \"x\" is declared but never used; use :x, or remove it from params"
        );
        assert_eq!(
            error("SELECT $1", &[]),
            "line 1: $1 is no named parameter; write :name"
        );
        assert_eq!(error("-- nothing\n;", &[]), "the file holds no statement");
        assert!(error("SELECT 'open", &[]).starts_with("not SQL: "));
    }

    #[test]
    fn the_answer_is_the_last_of_the_with_list() {
        let answering = |text: &str, shape| {
            let statement = parsed(text, &[]).unwrap().remove(0).answering(shape);
            let sql = statement.sql.replace(AS_OF, "AS_OF");
            sql.replace('\n', " ")
        };
        assert_eq!(
            answering("SELECT 1 AS a;", Shape::Row),
            "WITH tidemark_answer AS ( SELECT 1 AS a ) SELECT AS_OF, row_to_json(tidemark_answer)::text FROM tidemark_answer LIMIT 1"
        );
        assert_eq!(
            answering(
                "WITH x(insert_id) AS (SELECT 1), y AS (INSERT INTO t SELECT * FROM x RETURNING 1) SELECT * FROM y",
                Shape::Json
            ),
            "WITH x(insert_id) AS (SELECT 1), y AS (INSERT INTO t SELECT * FROM x RETURNING 1)  , tidemark_answer(value) AS ( SELECT * FROM y ) SELECT AS_OF, coalesce(tidemark_answer.value::text, 'null') FROM tidemark_answer LIMIT 1"
        );
        assert!(
            answering("UPDATE t SET a = 1 RETURNING a", Shape::Rows)
                .starts_with("WITH tidemark_answer AS ( UPDATE t SET a = 1 RETURNING a ) SELECT")
        );
    }

    #[test]
    fn a_with_list_may_have_comments_and_names_like_keywords() {
        let text = "WITH RECURSIVE insert AS (SELECT 1 -- one )\n), update AS (SELECT 2)\n-- and now\nSELECT * FROM update";
        let sql = parsed(text, &[])
            .unwrap()
            .remove(0)
            .answering(Shape::Rows)
            .sql;
        assert!(
            sql.starts_with("WITH RECURSIVE insert AS (SELECT 1 -- one )\n), update AS (SELECT 2)\n-- and now\n\n, tidemark_answer AS (\nSELECT * FROM update\n)"),
            "{sql}"
        );
    }

    #[test]
    fn a_file_may_hold_several_statements() {
        let statements = parsed(
            "SELECT :a;\n\nSELECT :b, :a",
            &[("a", "int"), ("b", "text")],
        )
        .unwrap();
        assert_eq!(&*statements[1].sql, "SELECT $1::text, $2::bigint");
        assert_eq!(statements[1].params, ["b", "a"]);
    }
}
