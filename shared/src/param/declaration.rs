//! The short notation in which a catalog declares a parameter: `int`, `text(64)?`,
//! `enum(day|week) = day`.

use super::{DEFAULT_TEXT_MAX, ParamType, Value};

/// A declared parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    /// Its type.
    pub kind: ParamType,
    /// What stands in for it where the client leaves it out.
    pub fallback: Fallback,
}

/// What happens when a parameter is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The request is refused.
    Required,
    /// The SQL sees NULL.
    Absent,
    /// This value, so that writing it out makes no difference.
    Default(Value),
}

/// A declaration that can't be read; `help` says what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclarationError {
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub help: String,
}

const TYPES: &str = "int, decimal, bool, date, timestamp, uuid, text(MAX) or enum(a|b|c), with ? behind it if it may be left out, or = VALUE for a default";

impl ParamSpec {
    /// Reads `TYPE`, `TYPE?` or `TYPE = DEFAULT`.
    ///
    /// # Errors
    /// The notation is not this one, or the default is not of the type.
    pub fn parse(text: &str) -> Result<Self, DeclarationError> {
        let (declared, default) = match text.split_once('=') {
            Some((declared, default)) => (declared.trim(), Some(default.trim())),
            None => (text.trim(), None),
        };
        let (declared, optional) = match declared.strip_suffix('?') {
            Some(declared) => (declared.trim_end(), true),
            None => (declared, false),
        };
        let kind = parse_type(declared)?;
        let fallback = match (optional, default) {
            (false, None) => Fallback::Required,
            (true, None) => Fallback::Absent,
            (false, Some(default)) => Fallback::Default(kind.parse_text(default).map_err(
                |reason| DeclarationError {
                    problem: format!("the default {default:?} is not of type {kind}"),
                    help: format!("a default that {reason}"),
                },
            )?),
            (true, Some(default)) => {
                return Err(DeclarationError {
                    problem: "a parameter with a default is never absent".to_owned(),
                    help: format!("{kind} = {default}, or {kind}?"),
                });
            }
        };
        Ok(Self { kind, fallback })
    }
}

fn parse_type(declared: &str) -> Result<ParamType, DeclarationError> {
    let unknown = || DeclarationError {
        problem: format!("unknown parameter type {declared:?}"),
        help: TYPES.to_owned(),
    };
    let (name, argument) = match declared.split_once('(') {
        Some((name, rest)) => (
            name.trim(),
            Some(rest.strip_suffix(')').ok_or_else(unknown)?.trim()),
        ),
        None => (declared, None),
    };
    match (name, argument) {
        ("int", None) => Ok(ParamType::Int),
        ("decimal", None) => Ok(ParamType::Decimal),
        ("bool", None) => Ok(ParamType::Bool),
        ("date", None) => Ok(ParamType::Date),
        ("timestamp", None) => Ok(ParamType::Timestamp),
        ("uuid", None) => Ok(ParamType::Uuid),
        ("text", None) => Ok(ParamType::Text {
            max: DEFAULT_TEXT_MAX,
        }),
        ("text", Some(max)) => match max.parse() {
            Ok(max) if max > 0 => Ok(ParamType::Text { max }),
            _ => Err(DeclarationError {
                problem: format!("{max:?} is no number of characters"),
                help: "text(64), say".to_owned(),
            }),
        },
        ("enum", Some(words)) => {
            let words: Vec<String> = words
                .split('|')
                .map(|word| word.trim().to_owned())
                .collect();
            let distinct: std::collections::BTreeSet<_> = words.iter().collect();
            if words.iter().any(String::is_empty) || distinct.len() != words.len() {
                return Err(DeclarationError {
                    problem: "an enum lists different words, none of them empty".to_owned(),
                    help: "enum(day|week|month), say".to_owned(),
                });
            }
            Ok(ParamType::Enum(words))
        }
        _ => Err(unknown()),
    }
}
