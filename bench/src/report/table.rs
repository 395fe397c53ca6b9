//! Tables in Markdown.

use crate::statistics::Spread;

/// A table. All columns but the first are figures, and stand to the right.
#[derive(Clone, Debug, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    words: bool,
}

impl Table {
    /// A table with these headings.
    pub fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            head: head.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// With columns of words, which stand to the left.
    #[must_use]
    pub fn of_words(mut self) -> Self {
        self.words = true;
        self
    }

    /// Adds a row; what it lacks is left empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.head.len(), String::new());
        self.rows.push(cells);
    }

    /// Adds a row of a median and the quartiles around it.
    pub fn spread(&mut self, name: &str, spread: &Spread, text: fn(f64) -> String) {
        let quartiles = format!("{}–{}", text(spread.low), text(spread.high));
        self.row([name.to_owned(), text(spread.median), quartiles]);
    }

    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<_> = (0..self.head.len())
            .map(|column| {
                if column == 0 || self.words {
                    "---"
                } else {
                    "---:"
                }
                .to_owned()
            })
            .collect();
        let mut text = line(&self.head) + &line(&rule);
        text.extend(self.rows.iter().map(|row| line(row)));
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_to_the_right() {
        let mut table = Table::new(["who", "how much"]);
        table.row(["we", "1"]);
        table.row(["they"]);
        assert_eq!(
            table.markdown(),
            "| who | how much |\n| --- | ---: |\n| we | 1 |\n| they |  |\n"
        );
    }
}
