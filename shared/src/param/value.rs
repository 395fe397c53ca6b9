//! Parameter types and the canonical form of their values.

use std::fmt;

use jiff::{Timestamp, civil::Date};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{ParamError, ParamSpecs};

/// The most characters that a `text` without a maximum of its own may have.
pub const DEFAULT_TEXT_MAX: usize = 200;

/// The type of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// A whole number of 64 bits.
    Int,
    /// A decimal number of up to 28 digits.
    Decimal,
    /// `true` or `false`; `1` and `0` will do.
    Bool,
    /// A day, `YYYY-MM-DD` (ISO 8601).
    Date,
    /// A moment with its offset from UTC (RFC 3339), to the microsecond.
    Timestamp,
    /// A UUID in any of its usual spellings (RFC 9562).
    Uuid,
    /// Any text without NUL, of at most `max` characters.
    Text {
        /// The most characters (Unicode scalar values).
        max: usize,
    },
    /// One of a list of words.
    Enum(Vec<String>),
    /// A list of records, for commands only: the SQL sees one `jsonb` array whose members are
    /// canonical texts.
    Records(ParamSpecs),
}

/// A value in the canonical form of its type.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(String);

impl Value {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn from_canonical(text: String) -> Self {
        Self(text)
    }
}

/// What is wrong with one value; completes "parameter x …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a whole number in range.
    #[error("must be a whole number from -9223372036854775808 to 9223372036854775807")]
    Int,
    /// Not a decimal number that can be kept exactly.
    #[error("must be a decimal number such as 12.50, with at most 28 digits")]
    Decimal,
    /// Not a truth value.
    #[error("must be true or false")]
    Bool,
    /// Not a day.
    #[error("must be a date such as 2025-01-31")]
    Date,
    /// Not a moment with an offset.
    #[error(
        "must be a timestamp such as 2025-01-31T12:00:00Z, with an offset (write + as %2B in a URL) and at most microseconds"
    )]
    Timestamp,
    /// Not a UUID.
    #[error("must be a UUID such as 018f4e2a-7d1c-7c3e-8a55-2f6c1b0d9e44")]
    Uuid,
    /// Longer than declared.
    #[error("must have at most {max} characters")]
    TextTooLong {
        /// The declared maximum in characters.
        max: usize,
    },
    /// Holds a NUL, which PostgreSQL can't store.
    #[error("must not contain the character U+0000")]
    TextNul,
    /// None of the declared words.
    #[error("must be one of {}", words.join(", "))]
    Enum {
        /// The declared words.
        words: Vec<String>,
    },
    /// Another JSON type than the declared one.
    #[error("must be {expected}")]
    JsonType {
        /// The type, as declared.
        expected: String,
    },
    /// An empty or endless list.
    #[error("must list 1 to {} records, not {count}", super::MAX_RECORDS)]
    RecordCount {
        /// How many there were.
        count: usize,
    },
    /// One record is wrong.
    #[error("record {index}: {reason}")]
    Record {
        /// Its place, from 0.
        index: usize,
        /// What is wrong with it.
        reason: Box<ParamError>,
    },
}

impl ParamType {
    /// The canonical value of a text from a path, a query string or a JSON string.
    ///
    /// # Errors
    /// The text is not of this type.
    pub fn parse_text(&self, text: &str) -> Result<Value, ValueError> {
        let canonical = match self {
            Self::Int => text
                .parse::<i64>()
                .map_err(|_| ValueError::Int)?
                .to_string(),
            Self::Decimal => decimal(text)?.to_string(),
            Self::Bool => match text {
                "true" | "1" => "true".to_owned(),
                "false" | "0" => "false".to_owned(),
                _ => return Err(ValueError::Bool),
            },
            Self::Date => date(text)?.to_string(),
            Self::Timestamp => timestamp(text)?.to_string(),
            Self::Uuid => Uuid::try_parse(text)
                .map_err(|_| ValueError::Uuid)?
                .hyphenated()
                .to_string(),
            Self::Text { max } => {
                if text.chars().count() > *max {
                    return Err(ValueError::TextTooLong { max: *max });
                }
                if text.contains('\0') {
                    return Err(ValueError::TextNul);
                }
                text.to_owned()
            }
            Self::Enum(words) => {
                if !words.iter().any(|word| word == text) {
                    return Err(ValueError::Enum {
                        words: words.clone(),
                    });
                }
                text.to_owned()
            }
            Self::Records(_) => {
                return Err(ValueError::JsonType {
                    expected: "a list of objects".to_owned(),
                });
            }
        };
        Ok(Value(canonical))
    }

    /// The PostgreSQL type that a placeholder of this type is cast to.
    pub const fn sql_type(&self) -> &'static str {
        match self {
            Self::Int => "bigint",
            Self::Decimal => "numeric",
            Self::Bool => "boolean",
            Self::Date => "date",
            Self::Timestamp => "timestamptz",
            Self::Uuid => "uuid",
            Self::Text { .. } | Self::Enum(_) => "text",
            Self::Records(_) => "jsonb",
        }
    }

    /// Whether a value can name the member of a row family: only types whose canonical text is
    /// the same as PostgreSQL's own (`numeric` and times have several spellings there).
    pub const fn is_identity(&self) -> bool {
        matches!(
            self,
            Self::Int | Self::Uuid | Self::Text { .. } | Self::Enum(_)
        )
    }
}

impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int => f.write_str("int"),
            Self::Decimal => f.write_str("decimal"),
            Self::Bool => f.write_str("bool"),
            Self::Date => f.write_str("date"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Uuid => f.write_str("uuid"),
            Self::Text { max } => write!(f, "text({max})"),
            Self::Enum(words) => write!(f, "enum({})", words.join("|")),
            Self::Records(_) => f.write_str("a list of objects"),
        }
    }
}

fn decimal(text: &str) -> Result<Decimal, ValueError> {
    // The crate also takes `1_000`, which no client of ours means.
    if text.contains('_') {
        return Err(ValueError::Decimal);
    }
    Decimal::from_str_exact(text)
        .map(|number| number.normalize())
        .map_err(|_| ValueError::Decimal)
}

fn date(text: &str) -> Result<Date, ValueError> {
    // The crate also takes a date with a time behind it, and the year 0, which PostgreSQL has not.
    if text.len() != "YYYY-MM-DD".len() {
        return Err(ValueError::Date);
    }
    text.parse::<Date>()
        .ok()
        .filter(|date| date.year() > 0)
        .ok_or(ValueError::Date)
}

fn timestamp(text: &str) -> Result<Timestamp, ValueError> {
    // The crate also takes RFC 9557 annotations; PostgreSQL keeps microseconds and has no year 0.
    if text.contains('[') {
        return Err(ValueError::Timestamp);
    }
    text.parse::<Timestamp>()
        .ok()
        .filter(|moment| moment.subsec_nanosecond() % 1_000 == 0)
        .filter(|moment| *moment >= YEAR_1)
        .ok_or(ValueError::Timestamp)
}

/// 0001-01-01T00:00:00Z.
const YEAR_1: Timestamp = Timestamp::constant(-62_135_596_800, 0);
