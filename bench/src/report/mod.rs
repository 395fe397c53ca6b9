//! The report: `docs/benchmarks.md` and its plots, made of the latest results alone.

pub mod chart;
pub mod goal;
mod machine;
pub mod number;
mod page;
pub mod table;

use std::{fs, path::Path};

pub use self::{
    chart::{Chart, Line, Point, Scale},
    goal::Goal,
    page::Page,
    table::Table,
};
use crate::{results::Results, workload::Workload};

/// Writes `benchmarks.md` and the folder `benchmarks` with its plots.
///
/// # Errors
/// A result can't be read, or the folder not written.
pub fn write(results: &Results, docs: &Path) -> anyhow::Result<()> {
    let mut page = Page::default();
    let mut conditions = Vec::new();
    for workload in Workload::ALL {
        if let Some(about) = workload.report(results, &mut page)? {
            conditions.push((workload, about));
        }
    }
    let plots = docs.join("benchmarks");
    fs::create_dir_all(&plots)?;
    for (name, svg) in page.plots() {
        fs::write(plots.join(format!("{name}.svg")), svg)?;
    }
    fs::write(
        docs.join("benchmarks.md"),
        page.markdown(&machine::text(&conditions)),
    )?;
    Ok(())
}
