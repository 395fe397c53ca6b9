//! The SQL of the catalog's queries, for whoever runs it without Tidemark.

/// Replaces `:name` by what stands for it, for each of the names. Of `::` nothing is a name.
pub fn with_parameters(sql: &str, parameters: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(sql.len());
    let mut rest = sql;
    while let Some(at) = rest.find(':') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let after = &from[1..];
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let name = &after[..end.unwrap_or(after.len())];
        match parameters.iter().find(|(known, _)| *known == name) {
            Some((_, value)) if !text.ends_with(':') => {
                text.push_str(value);
                rest = &after[name.len()..];
            }
            _ => {
                text.push(':');
                rest = after;
            }
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_and_casts_are_left_alone() {
        let sql = "SELECT :org, ':', x::org, :organization, :from::text -- :to";
        let given = with_parameters(sql, &[("org", "$1"), ("from", "$2"), ("to", "$3")]);
        assert_eq!(
            given,
            "SELECT $1, ':', x::org, :organization, $2::text -- $3"
        );
    }
}
