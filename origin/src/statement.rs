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
    /// What the file says, whatever `sql` has been made of it.
    pieces: Arc<[Piece]>,
}

/// A piece of a statement as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// SQL as it is.
    Text(String),
    /// A named parameter.
    Parameter {
        /// Its placeholder's number, from 1.
        number: usize,
        /// What PostgreSQL casts it to.
        sql_type: &'static str,
    },
    /// Where the main statement begins, behind a leading `WITH` list.
    Main,
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
    /// `INTERVAL :n DAY`: PostgreSQL reads the unit only together with a literal.
    #[error(
        "line {line}: INTERVAL with a unit takes no parameter; write :{name} * INTERVAL '1 {unit}'"
    )]
    IntervalUnit {
        /// The line, from 1.
        line: u64,
        /// The parameter.
        name: String,
        /// The unit, in lower case.
        unit: String,
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
    let tokens = tokenize(text)?;
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

/// Splits SQL into its statements, each with its first word in upper case.
///
/// # Errors
/// The SQL does not tokenize, or it is empty.
pub fn split(text: &str) -> Result<Vec<(String, &str)>, StatementError> {
    let tokens = tokenize(text)?;
    let lines = LineStarts::of(text);
    let mut statements = Vec::new();
    for tokens in tokens.split(|token| token.token == Token::SemiColon) {
        let significant = significant(tokens);
        if let (Some(first), Some(last)) = (significant.first(), significant.last()) {
            let from = lines.offset(text, first.span.start);
            let to = lines.offset(text, last.span.end);
            statements.push((first.token.to_string().to_uppercase(), &text[from..to]));
        }
    }
    match statements.is_empty() {
        true => Err(StatementError::Empty),
        false => Ok(statements),
    }
}

fn tokenize(text: &str) -> Result<Vec<TokenWithSpan>, StatementError> {
    Tokenizer::new(&PostgreSqlDialect {}, text)
        .with_unescape(false)
        .tokenize_with_location()
        .map_err(|error| StatementError::Syntax(error.to_string()))
}

/// The tokens but for space and comments.
fn significant(tokens: &[TokenWithSpan]) -> Vec<&TokenWithSpan> {
    let is_blank =
        |token: &&TokenWithSpan| matches!(token.token, Token::Whitespace(_) | Token::EOF);
    tokens.iter().filter(|token| !is_blank(token)).collect()
}

/// One statement's tokens, or none if they are only space and comments.
fn one(
    text: &str,
    lines: &LineStarts,
    tokens: &[TokenWithSpan],
    specs: &ParamSpecs,
) -> Result<Option<Statement>, StatementError> {
    let significant = significant(tokens);
    let (Some(first), Some(last)) = (significant.first(), significant.last()) else {
        return Ok(None);
    };
    let main = main_at(&significant);

    let mut pieces = Vec::new();
    let mut params: Vec<String> = Vec::new();
    let mut copied = lines.offset(text, first.span.start);
    let mut brackets = 0_usize;
    for (at, token) in significant.iter().enumerate() {
        let start = lines.offset(text, token.span.start);
        if Some(at) == main {
            pieces.push(Piece::Text(text[copied..start].to_owned()));
            pieces.push(Piece::Main);
            copied = start;
        }
        let before = at.checked_sub(1).map(|at| significant[at]);
        match (&token.token, significant.get(at + 1)) {
            (Token::Placeholder(placeholder), _) => {
                return Err(StatementError::Placeholder {
                    line: token.span.start.line,
                    placeholder: placeholder.clone(),
                });
            }
            (Token::LBracket, _) => brackets += 1,
            (Token::RBracket, _) => brackets = brackets.saturating_sub(1),
            (Token::Colon, Some(next)) if next.span.start == token.span.end => {
                let Token::Word(word) = &next.token else {
                    continue;
                };
                if brackets > 0 && before.is_some_and(|before| bounds_slice(before, token)) {
                    continue;
                }
                let line = token.span.start.line;
                let spec = specs
                    .get(&word.value)
                    .ok_or_else(|| StatementError::UnknownParam {
                        line,
                        name: word.value.clone(),
                    })?;
                let number = match params.iter().position(|name| *name == word.value) {
                    Some(index) => index + 1,
                    None => {
                        params.push(word.value.clone());
                        params.len()
                    }
                };
                let parameter = Piece::Parameter {
                    number,
                    sql_type: spec.kind.sql_type(),
                };
                match before.filter(|before| keyword(&before.token) == Some(Keyword::INTERVAL)) {
                    None => {
                        pieces.push(Piece::Text(text[copied..start].to_owned()));
                        pieces.push(parameter);
                    }
                    Some(interval) => {
                        if let Some(unit) = significant.get(at + 2).and_then(|token| unit(token)) {
                            return Err(StatementError::IntervalUnit {
                                line,
                                name: word.value.clone(),
                                unit,
                            });
                        }
                        // A typed literal can't be a parameter; its meaning is this cast.
                        let interval = lines.offset(text, interval.span.start);
                        pieces.push(Piece::Text(format!("{}CAST(", &text[copied..interval])));
                        pieces.push(parameter);
                        pieces.push(Piece::Text(" AS interval)".to_owned()));
                    }
                }
                copied = lines.offset(text, next.span.end);
            }
            _ => {}
        }
    }
    pieces.push(Piece::Text(
        text[copied..lines.offset(text, last.span.end)].to_owned(),
    ));
    let (with, main) = render(&pieces, numbered);
    Ok(Some(Statement {
        sql: format!("{with}{main}").into(),
        params,
        pieces: pieces.into(),
    }))
}

/// Whether a colon that follows this token, inside brackets, is that of a slice such as
/// `a[lo:hi]`: directly behind a bound, no parameter can begin.
fn bounds_slice(before: &TokenWithSpan, colon: &TokenWithSpan) -> bool {
    before.span.end == colon.span.start
        && matches!(
            before.token,
            Token::Word(_) | Token::Number(..) | Token::RParen | Token::RBracket
        )
}

/// The unit of an interval, if the token is one.
fn unit(token: &TokenWithSpan) -> Option<String> {
    match keyword(&token.token)? {
        Keyword::YEAR
        | Keyword::MONTH
        | Keyword::DAY
        | Keyword::HOUR
        | Keyword::MINUTE
        | Keyword::SECOND => Some(token.token.to_string().to_lowercase()),
        _ => None,
    }
}

/// Which of the tokens begins what follows a leading `WITH` list, if there is one.
fn main_at(tokens: &[&TokenWithSpan]) -> Option<usize> {
    let word = |at: usize| tokens.get(at).and_then(|token| keyword(&token.token));
    let is = |at: usize, token: &Token| tokens.get(at).is_some_and(|found| found.token == *token);
    let behind_keyword = |from: usize, wanted: Keyword| {
        (from..tokens.len())
            .find(|at| word(*at) == Some(wanted))
            .map(|at| at + 1)
    };
    if word(0) != Some(Keyword::WITH) {
        return None;
    }
    let mut at = 1;
    if word(at) == Some(Keyword::RECURSIVE) {
        at += 1;
    }
    loop {
        // The name, which may look like a keyword, and its columns.
        at += 1;
        if is(at, &Token::LParen) {
            at = behind_parentheses(tokens, at)?;
        }
        // AS, NOT, MATERIALIZED, and the query.
        while word(at).is_some() {
            at += 1;
        }
        if !is(at, &Token::LParen) {
            return None;
        }
        at = behind_parentheses(tokens, at)?;
        // Both clauses end with a keyword and a column.
        if word(at) == Some(Keyword::SEARCH) {
            at = behind_keyword(at, Keyword::SET)? + 1;
        }
        if word(at) == Some(Keyword::CYCLE) {
            at = behind_keyword(at, Keyword::USING)? + 1;
        }
        if !is(at, &Token::Comma) {
            return (at < tokens.len()).then_some(at);
        }
        at += 1;
    }
}

/// The token behind the parentheses that open at this one.
fn behind_parentheses(tokens: &[&TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The text before the main statement, and the main statement.
fn render(pieces: &[Piece], parameter: fn(usize, &str) -> String) -> (String, String) {
    let (mut before, mut text) = (String::new(), String::new());
    for piece in pieces {
        match piece {
            Piece::Text(piece) => text.push_str(piece),
            // In parentheses, since some clauses (FETCH FIRST, a slice) take no bare cast.
            Piece::Parameter { number, sql_type } => {
                text.push_str(&format!("({})", parameter(*number, sql_type)));
            }
            Piece::Main => before = std::mem::take(&mut text),
        }
    }
    (before, text)
}

fn numbered(number: usize, sql_type: &str) -> String {
    format!("${number}::{sql_type}")
}

fn null(_: usize, sql_type: &str) -> String {
    format!("NULL::{sql_type}")
}

/// The `WITH` list with another member, which is the main statement, and room for what uses it.
fn as_member(with: &str, member: &str, main: &str) -> String {
    let opening = if with.is_empty() {
        "WITH ".to_owned()
    } else {
        // On a line of its own: a comment may end what stands before it.
        format!("{with}\n, ")
    };
    format!("{opening}{member} AS (\n{main}\n)")
}

fn keyword(token: &Token) -> Option<Keyword> {
    match token {
        Token::Word(word) => Some(word.keyword),
        _ => None,
    }
}

impl Statement {
    /// The statement that runs this one and answers one row: `as_of` (bigint), the body (text), made
    /// by PostgreSQL, and its length in bytes (bigint). Both are NULL where the shape needs a row and
    /// there is none: that is an answer as well, true as of the same snapshot.
    ///
    /// It takes one argument more, behind the others: the longest body, in bytes (bigint). A longer one
    /// is `NULL`, so that it is not even sent.
    ///
    /// The original becomes the last member of its own `WITH` list, where PostgreSQL lets even
    /// `INSERT … RETURNING` stand.
    #[must_use]
    pub fn answering(self, shape: Shape) -> Self {
        let one_of = |body| format!("(SELECT {body} FROM {ANSWER} LIMIT 1) AS body");
        let (columns, body) = match shape {
            Shape::Rows => (
                "",
                format!(
                    "'[' || coalesce(string_agg(row_to_json({ANSWER})::text, ','), '') || ']' AS body FROM {ANSWER}"
                ),
            ),
            Shape::Row => ("", one_of(format!("row_to_json({ANSWER})::text"))),
            Shape::Json => (
                "(value)",
                one_of(format!("coalesce({ANSWER}.value::text, 'null')")),
            ),
        };
        let (with, main) = render(&self.pieces, numbered);
        let list = as_member(&with, &format!("{ANSWER}{columns}"), &main);
        // The body is made once: LIMIT does not let the planner see through.
        let sql = format!(
            "{list} SELECT as_of, CASE WHEN octet_length(body) <= ${}::bigint THEN body END, octet_length(body)::bigint FROM (SELECT {AS_OF} AS as_of, {body} LIMIT 1) AS tidemark_body",
            self.params.len() + 1
        );
        Self {
            sql: sql.into(),
            ..self
        }
    }

    /// The SQL as its file has it, with numbered placeholders.
    #[must_use]
    pub fn as_written(&self) -> String {
        let (with, main) = render(&self.pieces, numbered);
        format!("{with}{main}")
    }

    /// A query over this one that a view can have: `NULL` of the declared type for each parameter,
    /// and one column, since those of the statement may share a name.
    #[must_use]
    pub fn for_view(&self) -> String {
        let (with, main) = render(&self.pieces, null);
        let list = as_member(&with, ANSWER, &main);
        format!("{list} SELECT count(*) FROM {ANSWER}")
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
            "SELECT 'ä :ghost', a::text, b[1:2], /* :ghost */ \":ghost\", $$:ghost$$\nFROM t\nWHERE org = ($1::bigint) AND day >= ($2::date) AND (day < ($2::date) OR org=($1::bigint))"
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
            let sql = statement.sql.replace(AS_OF, "AS_OF").replace('\n', " ");
            sql.replace(
                "SELECT as_of, CASE WHEN octet_length(body) <= $1::bigint THEN body END, octet_length(body)::bigint FROM",
                "OF",
            )
        };
        assert_eq!(
            answering("SELECT 1 AS a;", Shape::Row),
            "WITH tidemark_answer AS ( SELECT 1 AS a ) OF (SELECT AS_OF AS as_of, (SELECT row_to_json(tidemark_answer)::text FROM tidemark_answer LIMIT 1) AS body LIMIT 1) AS tidemark_body"
        );
        assert_eq!(
            answering(
                "WITH x(insert_id) AS (SELECT 1), y AS (INSERT INTO t SELECT * FROM x RETURNING 1) SELECT * FROM y",
                Shape::Json
            ),
            "WITH x(insert_id) AS (SELECT 1), y AS (INSERT INTO t SELECT * FROM x RETURNING 1)  , tidemark_answer(value) AS ( SELECT * FROM y ) OF (SELECT AS_OF AS as_of, (SELECT coalesce(tidemark_answer.value::text, 'null') FROM tidemark_answer LIMIT 1) AS body LIMIT 1) AS tidemark_body"
        );
        assert!(
            answering("UPDATE t SET a = 1 RETURNING a", Shape::Rows).starts_with(
                "WITH tidemark_answer AS ( UPDATE t SET a = 1 RETURNING a ) OF (SELECT"
            )
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
        assert_eq!(&*statements[1].sql, "SELECT ($1::text), ($2::bigint)");
        assert_eq!(statements[1].params, ["b", "a"]);
    }

    #[test]
    fn a_colon_behind_a_bound_is_a_slice() {
        let text = "SELECT a[lo:hi], a[1:hi], a[f(x):hi], a[b[1]:hi], a[:lo:hi], a[:lo : :hi], ARRAY[lo,:hi]";
        let statement = parsed(text, &[("lo", "int"), ("hi", "int")])
            .unwrap()
            .remove(0);
        assert_eq!(
            &*statement.sql,
            "SELECT a[lo:hi], a[1:hi], a[f(x):hi], a[b[1]:hi], a[($1::bigint):hi], a[($1::bigint) : ($2::bigint)], ARRAY[lo,($2::bigint)]"
        );
    }

    #[test]
    fn an_interval_may_be_a_parameter() {
        let sql = |text| parsed(text, &[("n", "text")]).map(|mut all| all.remove(0).sql);
        assert_eq!(
            &*sql("SELECT now() - INTERVAL :n AS since").unwrap(),
            "SELECT now() - CAST(($1::text) AS interval) AS since"
        );
        assert_eq!(
            sql("SELECT\n interval :n Day").unwrap_err().to_string(),
            "line 2: INTERVAL with a unit takes no parameter; write :n * INTERVAL '1 day'"
        );
    }

    #[test]
    fn the_main_statement_may_be_in_parentheses_and_the_list_have_clauses() {
        let main = |text: &str| {
            let statement = parsed(text, &[]).unwrap().remove(0);
            render(&statement.pieces, numbered).1
        };
        assert_eq!(
            main("WITH x AS (SELECT 1) (SELECT 2) UNION (SELECT * FROM x)"),
            "(SELECT 2) UNION (SELECT * FROM x)"
        );
        assert_eq!(
            main(
                "WITH RECURSIVE t (a, b) AS NOT MATERIALIZED (SELECT 1) SEARCH DEPTH FIRST BY a, b SET o CYCLE a, b SET c USING p, select AS (SELECT 3) TABLE t"
            ),
            "TABLE t"
        );
        assert_eq!(
            main("(WITH x AS (SELECT 1) SELECT 2)"),
            "(WITH x AS (SELECT 1) SELECT 2)"
        );
        assert_eq!(main("SELECT 1"), "SELECT 1");
    }

    #[test]
    fn a_view_sees_nulls_for_parameters() {
        let text = "WITH x AS (SELECT :a)\nSELECT *, *, 1 FROM x -- all";
        let statement = parsed(text, &[("a", "date")]).unwrap().remove(0);
        let expected = "WITH x AS (SELECT (NULL::date))\n\n, tidemark_answer AS (\nSELECT *, *, 1 FROM x\n) SELECT count(*) FROM tidemark_answer";
        assert_eq!(statement.for_view(), expected);
        assert_eq!(statement.clone().answering(Shape::Row).for_view(), expected);
    }
}
