//! The page, to which each workload adds its part.

use super::{Chart, Goal, Table};

const TITLE: &str = "# Benchmarks\n\n\
    Written by `make bench`; don't edit it. Tidemark beside what one would use instead, in one run on one\n\
    machine, with the same PostgreSQL, the same Redis and the same data.\n";

/// The page under construction.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
    goals: Vec<Goal>,
    plots: Vec<(String, String)>,
}

impl Page {
    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        self.block(&format!("## {title}"));
    }

    /// Begins a part of a section.
    pub fn heading(&mut self, title: &str) {
        self.block(&format!("### {title}"));
    }

    /// Adds a paragraph, in Markdown.
    pub fn text(&mut self, text: impl AsRef<str>) {
        self.block(text.as_ref());
    }

    /// Adds a table.
    pub fn table(&mut self, table: &Table) {
        self.block(&table.markdown());
    }

    /// Adds a plot; its name is that of its file.
    ///
    /// # Errors
    /// It can't be drawn.
    pub fn plot(&mut self, name: &str, chart: &Chart) -> anyhow::Result<()> {
        let svg = chart.svg()?;
        self.block(&format!(
            "<img src=\"benchmarks/{name}.svg\" width=\"{}\" alt=\"{}\">",
            chart::WIDTH,
            chart.title()
        ));
        self.plots.push((name.to_owned(), svg));
        Ok(())
    }

    /// Adds a row to the table of goals.
    pub fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    /// The plots' names and contents.
    pub fn plots(&self) -> &[(String, String)] {
        &self.plots
    }

    /// The goals so far.
    pub fn goals(&self) -> &[Goal] {
        &self.goals
    }

    /// The whole page; `how` is what stands before all sections.
    pub(super) fn markdown(&self, how: &str) -> String {
        let mut goals = Table::new(["what", "goal", "measured", ""]).of_words();
        for goal in &self.goals {
            goals.row(goal.row());
        }
        format!(
            "{TITLE}\n{how}\n## Goals\n\nMedians of the rounds' ratios, with their quartiles.\n\n{}\n{}",
            goals.markdown(),
            self.text
        )
    }

    fn block(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push_str("\n\n");
    }
}

use super::chart;
