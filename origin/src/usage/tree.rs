//! PostgreSQL's node trees as text, the form in which it stores what a view means.
//!
//! Only as much of the format as it takes to find one's way: `{NAME :field value…}`, lists in
//! parentheses, and everything else as bare words. What is written between them differs from
//! version to version; this does not.

/// A value in a tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Value<'t> {
    Node(Node<'t>),
    List(Vec<Value<'t>>),
    /// Anything else, as it is written, escapes included.
    Word(&'t str),
}

/// A node: its type, and each field with its values in order.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node<'t> {
    pub(super) name: &'t str,
    pub(super) fields: Vec<(&'t str, Vec<Value<'t>>)>,
}

/// The text is no node tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL's description of a view can't be read")]
pub struct IllegibleTree;

/// Reads a whole tree.
pub(super) fn parse(text: &str) -> Result<Value<'_>, IllegibleTree> {
    let mut words = Words { text, at: 0 };
    let first = words.next().ok_or(IllegibleTree)?;
    let value = words.value(first)?;
    match words.next() {
        None => Ok(value),
        Some(_) => Err(IllegibleTree),
    }
}

impl<'t> Node<'t> {
    /// The values of a field.
    pub(super) fn field(&self, name: &str) -> Option<&[Value<'t>]> {
        let (_, values) = self.fields.iter().find(|(field, _)| *field == name)?;
        Some(values)
    }

    /// A field that is one number.
    pub(super) fn number(&self, name: &str) -> Option<i64> {
        match self.field(name)? {
            [Value::Word(word)] => word.parse().ok(),
            _ => None,
        }
    }
}

/// The words of a tree, in which each of `(){}` is one by itself.
struct Words<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Words<'t> {
    fn value(&mut self, word: &'t str) -> Result<Value<'t>, IllegibleTree> {
        match word {
            "{" => self.node().map(Value::Node),
            "(" => self.list().map(Value::List),
            "}" | ")" => Err(IllegibleTree),
            word => Ok(Value::Word(word)),
        }
    }

    fn node(&mut self) -> Result<Node<'t>, IllegibleTree> {
        let name = self.next().ok_or(IllegibleTree)?;
        let mut fields: Vec<(&str, Vec<Value<'_>>)> = Vec::new();
        loop {
            let word = self.next().ok_or(IllegibleTree)?;
            match (word, fields.last_mut()) {
                ("}", _) => return Ok(Node { name, fields }),
                // A field has a value, and that may be a name that begins with a colon.
                (word, Some((_, values))) if values.is_empty() || !word.starts_with(':') => {
                    values.push(self.value(word)?);
                }
                (word, _) => {
                    let field = word.strip_prefix(':').ok_or(IllegibleTree)?;
                    fields.push((field, Vec::new()));
                }
            }
        }
    }

    fn list(&mut self) -> Result<Vec<Value<'t>>, IllegibleTree> {
        let mut values = Vec::new();
        loop {
            match self.next().ok_or(IllegibleTree)? {
                ")" => return Ok(values),
                word => values.push(self.value(word)?),
            }
        }
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let rest = &self.text[self.at..];
        let rest = rest.trim_start_matches([' ', '\n', '\t']);
        let start = self.text.len() - rest.len();
        let mut length = 0;
        let mut escaped = false;
        for character in rest.chars() {
            let ends = matches!(character, ' ' | '\n' | '\t' | '(' | ')' | '{' | '}');
            if ends && !escaped {
                if length == 0 {
                    length = 1;
                }
                break;
            }
            escaped = character == '\\' && !escaped;
            length += character.len_utf8();
        }
        self.at = start + length;
        (length > 0).then(|| &self.text[start..self.at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_one_value_or_several() {
        let text = "({VAR :varno 1 :varattno -2} {CONST :constvalue 4 [ 1 0 ] :alias <>})";
        let Value::List(nodes) = parse(text).unwrap() else {
            panic!("no list");
        };
        let [Value::Node(var), Value::Node(constant)] = nodes.as_slice() else {
            panic!("{nodes:?}");
        };
        assert_eq!((var.name, var.number("varattno")), ("VAR", Some(-2)));
        assert_eq!(constant.field("constvalue").unwrap().len(), 5);
        assert_eq!(constant.number("alias"), None);
    }

    #[test]
    fn names_may_hold_anything() {
        let text = r#"{ALIAS :aliasname :varno :colnames ("a\ b\)" "\\" "ä:\{") :n 7}"#;
        let Value::Node(alias) = parse(text).unwrap() else {
            panic!("no node");
        };
        assert_eq!(alias.field("aliasname").unwrap(), [Value::Word(":varno")]);
        let [Value::List(names)] = alias.field("colnames").unwrap() else {
            panic!("{alias:?}");
        };
        assert_eq!(names.len(), 3);
        assert_eq!(alias.number("n"), Some(7));
    }

    #[test]
    fn what_is_no_tree_is_refused() {
        for text in ["", "{QUERY :a 1", "(1 2", "{A :b )}", "{A b}", "{A} {B}"] {
            assert_eq!(parse(text), Err(IllegibleTree), "{text}");
        }
    }
}
