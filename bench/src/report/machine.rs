//! How it was measured, and on what.

use std::fmt::Write as _;

use super::Table;
use crate::{results::About, scale::Scale, workload::Workload};

/// The part of the report before all sections.
pub(super) fn text(conditions: &[(Workload, About)]) -> String {
    let Some((_, latest)) = conditions
        .iter()
        .max_by(|(_, one), (_, other)| one.date.cmp(&other.date))
    else {
        return "Nothing has been measured yet: `make bench`.\n".to_owned();
    };
    let mut text = String::from(
        "## How it was measured\n\n\
         Everything runs on one machine, those who make the load included: [wrk](https://github.com/wg/wrk) asks for one \
         answer again and again,\npgbench writes, and the benchmarks' own clients follow the article's trace and time single \
         misses, starts and changes.\nAll loads are closed loops: each client has one request at a time. (But for the relay's, \
         which is a rate.)\nAbsolute figures drift on shared machines. So there are short rounds, in each of which everybody \
         has a turn, and\neach round begins with another one. Figures are medians of the rounds, ratios those of the \
         ratios within rounds;\nin parentheses are the quartiles. `make bench` does it again, `make bench-quick` in \
         under five minutes.\n\n",
    );
    let mut table = Table::new(["machine", ""]).of_words();
    table.row([
        "processor",
        &format!("{}, {} cores", latest.processor, latest.cores),
    ]);
    table.row(["memory", &format!("{:.0} GiB", latest.memory_gib)]);
    for (name, version) in &latest.versions {
        table.row([name, version]);
    }
    text += &table.markdown();
    text.push('\n');
    for (workload, about) in conditions {
        let scale = match about.scale {
            Scale::Full => "in full",
            Scale::Quick => "quickly, with few and short rounds",
            Scale::Trial => "**as a trial on little data: its figures mean nothing**",
        };
        let build = if about.release {
            ""
        } else {
            ", **by a debug build: its figures mean nothing**"
        };
        let _ = writeln!(
            text,
            "- {}: {} UTC, {scale}{build}.",
            workload.title(),
            about.date
        );
        let same = about.processor == latest.processor && about.cores == latest.cores;
        if !same {
            let _ = writeln!(
                text,
                "  On another machine: {}, {} cores.",
                about.processor, about.cores
            );
        }
    }
    text
}
