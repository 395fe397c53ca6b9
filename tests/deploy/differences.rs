//! What a schema says to a document, when the schema is a type: read as that type and written again, the
//! document must be the same. What the type does not know is gone then, and what it requires has come.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

/// What is wrong with `document` as a `T`; empty if nothing is.
pub(crate) fn as_a<T: Serialize + DeserializeOwned>(document: &Value) -> Vec<String> {
    let typed: T = match serde_json::from_value(document.clone()) {
        Ok(typed) => typed,
        Err(error) => return vec![error.to_string()],
    };
    let mut found = Vec::new();
    compare(
        "",
        document,
        &serde_json::to_value(typed).unwrap(),
        &mut found,
    );
    found
}

fn compare(place: &str, written: &Value, understood: &Value, found: &mut Vec<String>) {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (key, value) in written {
                let place = format!("{place}.{key}");
                match understood.get(key) {
                    Some(other) => compare(&place, value, other, found),
                    None => found.push(format!("{place} is unknown")),
                }
            }
            for key in understood.keys().filter(|key| !written.contains_key(*key)) {
                found.push(format!("{place}.{key} is missing"));
            }
        }
        (Value::Array(written), Value::Array(understood)) if written.len() == understood.len() => {
            for (index, (value, other)) in written.iter().zip(understood).enumerate() {
                compare(&format!("{place}[{index}]"), value, other, found);
            }
        }
        _ if written == understood => {}
        _ => found.push(format!("{place}: {written} is understood as {understood}")),
    }
}
