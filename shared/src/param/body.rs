//! Reading a command's JSON body against its declared parameters.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{error::Category, value::RawValue};

use super::{MAX_RECORDS, ParamError, ParamSpecs, ParamType, Value, ValueError};

/// The body's members as raw JSON, checked to be declared and not given in the path as well.
pub(super) fn members<'a>(
    body: &'a [u8],
    specs: &ParamSpecs,
    path_args: &[(String, String)],
) -> Result<BTreeMap<String, &'a RawValue>, ParamError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(BTreeMap::new());
    }
    let Object(pairs) = serde_json::from_slice(body).map_err(|error| ParamError::Body {
        reason: reason(&error),
    })?;
    let in_body = |name: &str| {
        specs.contains_key(name) && !path_args.iter().any(|(path_name, _)| path_name == name)
    };
    let mut members = BTreeMap::new();
    for (name, json) in pairs {
        if !in_body(&name) {
            let known = specs.keys().filter(|known| in_body(known));
            return Err(ParamError::unknown(&name, known));
        }
        if members.insert(name.clone(), json).is_some() {
            return Err(ParamError::Repeated { name });
        }
    }
    Ok(members)
}

/// What is wrong with a body, and where. Not in the parser's own words: those repeat what they found,
/// and answers end up in logs.
fn reason(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        Category::Data => return "it is something else".to_owned(),
        Category::Eof => "it ends too early",
        Category::Syntax | Category::Io => "it is not JSON",
    };
    let (line, column) = (error.line(), error.column());
    format!("{what}, at line {line} column {column}")
}

/// The canonical value of one member; `null` counts as left out.
pub(super) fn parse(kind: &ParamType, json: &str) -> Result<Option<Value>, ValueError> {
    if json == "null" {
        return Ok(None);
    }
    let value = match kind {
        ParamType::Records(fields) => records(fields, json)?,
        ParamType::Int | ParamType::Decimal if !json.starts_with('"') => kind.parse_text(json)?,
        ParamType::Bool if matches!(json, "true" | "false") => kind.parse_text(json)?,
        _ => {
            let text: String = serde_json::from_str(json).map_err(|_| ValueError::JsonType {
                expected: kind.to_string(),
            })?;
            kind.parse_text(&text)?
        }
    };
    Ok(Some(value))
}

/// A list of records: checked field by field and written again as canonical JSON.
fn records(fields: &ParamSpecs, json: &str) -> Result<Value, ValueError> {
    let rows: Vec<&RawValue> = serde_json::from_str(json).map_err(|_| ValueError::JsonType {
        expected: "a list of objects".to_owned(),
    })?;
    if rows.is_empty() || rows.len() > MAX_RECORDS {
        return Err(ValueError::RecordCount { count: rows.len() });
    }
    let mut canonical = Vec::with_capacity(rows.len());
    for (index, row) in rows.iter().enumerate() {
        canonical.push(
            super::Params::from_body(fields, &[], row.get().as_bytes()).map_err(|error| {
                ValueError::Record {
                    index,
                    reason: Box::new(error),
                }
            })?,
        );
    }
    let canonical: Vec<BTreeMap<&str, Option<&str>>> = canonical
        .iter()
        .map(|record| {
            record
                .iter()
                .map(|(name, value)| (name, value.map(Value::as_str)))
                .collect()
        })
        .collect();
    serde_json::to_string(&canonical)
        .map(Value::from_canonical)
        .map_err(|_| ValueError::JsonType {
            expected: "a list of objects".to_owned(),
        })
}

/// A JSON object as the list of its members, so that a repeated name can be seen.
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Object(pairs))
            }
        }

        from.deserialize_map(Members)
    }
}
